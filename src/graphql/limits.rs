//! What one operation may ask for, and what it costs.
//!
//! Owns the [`Limits`] and the shape of their errors. [`super::language`] keeps them for every operation, over every
//! transport.
//!
//! # Cost, for users of the API
//!
//! An operation costs points, by what its fields do ([`super::prices`]). They are counted before it runs, from its text and
//! variables alone; what an argument is not given, it is by its default:
//!
//! - a field with a selection set costs 1, a plain value a twenty-fifth, a text that may be long (`Job.description`, notes) 1;
//! - everything below `edges` or `nodes` of a connection is multiplied by its `first` or `last` (1 to 100; 20 without
//!   either), and so is what stands below a plain list with `first`. Each alias of a list counts for itself;
//! - `nodes` and everything below it is multiplied by the length of `ids`; a list without a page size counts as 5 rows;
//! - `totalCount` and `unreadCount` add 10 each time; a `query` adds 10 to the page and to each count of the same list, and
//!   sorting by RELEVANCE 20; a page of `events` adds 5;
//! - each root field of a mutation adds 10, and one that hashes a password 20;
//! - `__schema` and `__type` cost 1 and a point for about 10,000 values: the query of GraphiQL costs 13;
//! - each whole KiB of the text after the first four adds 1, whatever is in it: comments are read, too. Values in
//!   variables are free.
//!
//! Parts that `@skip` or `@include` take out count too. The sum is rounded down, and no operation costs less than 1 point.
//! What a subscription costs so is the price of one event. Example: `{ jobs(first: 50) { edges { node { client { name } } } } }`
//! costs 1 + 50 × (3 + 1/25) = 153.

use std::time::Duration;

use async_graphql::{Pos, ServerError};
use serde::Deserialize;

use super::errors::ErrorCode;
use crate::limits::budgets::{Budget, Refused};

/// How many bytes of a document's text are free, and how many more cost a point: reading them takes as long as what else
/// costs one.
const FREE_BYTES: usize = 4096;
const BYTES_OF_A_POINT: usize = 1024;

/// What reading a document costs by the length of its text, in points: nothing for most. On top of what the operation in
/// it costs, and known before it is read.
pub fn reading_cost(text: &str) -> u32 {
    u32::try_from(text.len().saturating_sub(FREE_BYTES) / BYTES_OF_A_POINT).unwrap_or(u32::MAX)
}

/// What one operation may ask for. All are upper bounds, the number itself is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Lexical tokens of the document.
    pub tokens: u32,
    /// Levels of fields, counted from the root. Introspection has its own limit of 15.
    pub depth: u32,
    /// Points of the operation, by the rule in this module's description.
    pub cost: u32,
    /// Fields and fragments of all operations in the document, each counted as often as spreads repeat it.
    pub fields: u32,
    /// Aliases in the operation, repeated ones counted each time.
    pub aliases: u32,
    /// Root fields of the operation, repeated ones counted each time.
    pub root_fields: u32,
    /// Directives of all operations in the document, repeated ones counted each time.
    pub directives: u32,
    /// Fragment definitions in the document.
    pub fragments: u32,
    /// Items of each list in arguments and variables.
    pub list_items: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tokens: 2_000,
            depth: 12,
            cost: 2_000,
            fields: 1_000,
            aliases: 30,
            root_fields: 10,
            directives: 20,
            fragments: 50,
            list_items: 100,
        }
    }
}

/// A coded error of a whole request: it has a place in the document or none, but never a path.
pub fn failure(code: ErrorCode, message: impl Into<String>, at: Option<Pos>) -> ServerError {
    let mut error = ServerError::new(message, at);
    error.extensions.get_or_insert_default().set("code", code.as_str());
    error
}

/// The error of a limit: what, how much is allowed, how much it was, and what to do.
pub(super) fn exceeded(code: ErrorCode, what: &str, limit: u64, actual: u64, fix: &str) -> ServerError {
    let message = format!("This operation has {actual} {what}; the limit is {limit}. {fix}");
    let mut error = failure(code, message, None);
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("limit", limit);
    extensions.set("actual", actual);
    error
}

/// Why an operation was not paid for: `RATE_LIMITED` with `retryAfterMs`, or `OPERATION_TOO_COMPLEX`.
pub fn unpaid(refused: &Refused) -> ServerError {
    let later = |message: String, millis: u64| {
        let mut error = failure(ErrorCode::RateLimited, message, None);
        error.extensions.get_or_insert_default().set("retryAfterMs", millis);
        error
    };
    let millis = |retry_after: Duration| u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    match *refused {
        Refused::Spent { budget: Budget { cost, limit, remaining, .. }, retry_after } => {
            let millis = millis(retry_after);
            let message = format!(
                "This operation may cost {cost} points and {remaining} of {limit} are left. Try again in {millis} ms."
            );
            later(message, millis)
        }
        Refused::AddressSpent { budget: Budget { cost, limit, remaining, .. }, retry_after } => {
            let millis = millis(retry_after);
            let message = format!(
                "This operation may cost {cost} points, and of the {limit} that all who call from your address have \
                 together {remaining} are left. Try again in {millis} ms."
            );
            later(message, millis)
        }
        Refused::TooExpensive { cost, limit } => {
            let message = format!(
                "This operation may cost {cost} points, more than your full budget of {limit}. Ask for smaller \
                 pages, or sign in for a larger budget."
            );
            failure(ErrorCode::OperationTooComplex, message, None)
        }
    }
}
