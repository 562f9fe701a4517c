//! The GraphQL language: from the text of a request to an operation that is safe to run.
//!
//! Owns parsing, validation by the specification's edition of September 2025, the limits of a document, the coercion of
//! variables and the merging of fields. [`Documents::prepare`] is the one door of every transport to the schema: nothing
//! reaches async-graphql that did not pass it, and async-graphql does not validate again
//! ([`ValidationMode::Fast`](async_graphql::ValidationMode)).
//!
//! A text goes through these, in order, and what does not pass is refused with coded errors:
//!
//! 1. bluejay-parser, within the limits of tokens and nesting ([`parse`]);
//! 2. [`guard`]: the limits of its shape, in time linear in the text;
//! 3. [`rules`]: the rules of validation, by bluejay-validator; [`words`] tells what they find;
//! 4. [`convert`]: fragments unfolded, literals of custom scalars parsed;
//! 5. [`overlap`] and [`roots`]: the rules that the library has not, or not right;
//! 6. [`price`] and [`merge`]: what it costs, and what is executed.
//!
//! What comes of it is kept ([`documents`]) and depends on the text alone. For each request there is then left to choose
//! the operation, to coerce its variables by their declared types ([`coerce`]), and to weigh it.
//!
//! # Why these libraries
//!
//! async-graphql 8.0.0-rc.5 validates by fewer rules than the specification has, and finds malformed variables when the
//! field that uses them resolves, after others ran. Two libraries were compared with graphql-js 16. bluejay 0.5 differs
//! about the roots of subscriptions alone, and is several times faster than apollo-compiler 1.33, which differs in more
//! places (input fields that are named twice, variables inside lists and input objects, descriptions of operations) but
//! is bounded. So bluejay, behind a guard of ours. `make differential` compares what is in use with graphql-js.
//!
//! # The worst case
//!
//! Within 256 KiB, 2,000 tokens and 1,000 unfolded fields nothing takes more than some tens of milliseconds, in a release
//! build on one core. Each step is bounded by what it counts: tokens (the parser), the unfolded fields (validation,
//! unfolding), [`overlap`]'s steps and [`merge`]'s nodes. `tests::nothing_that_passes_takes_long` holds the inputs.

use async_graphql::{Pos, ServerError};
use bluejay_core::definition::SchemaDefinition as _;
use bluejay_parser::ast::{Parse as _, ParseOptions, executable::ExecutableDocument};

mod coerce;
mod convert;
mod documents;
mod guard;
mod inputs;
mod merge;
mod operation;
mod overlap;
mod price;
mod roots;
mod rules;
mod sent;
pub mod shape;
mod source;
mod spelling;
mod suggest;
mod types;
mod words;

pub use documents::{Documents, ForEvents, Prepared};
pub use inputs::ScalarParser;
pub use price::Efforts;
pub use sent::SentVariables;

use self::{inputs::Inputs, operation::Operation, source::Source, types::Schema};
use super::{
    errors::ErrorCode,
    limits::{Limits, exceeded, failure},
    prices::Prices,
};

/// How many mistakes of one document are reported: a wrong document of a thousand fields has a thousand.
const MOST_ERRORS: usize = 50;

/// What the parser may nest. A level of fields takes it two of these, so that 32 levels of selection sets, with the values
/// in them, fit. Recursion that deep must fit into a thread's stack in a debug build as well.
const MAX_NESTING: usize = 120;

/// A schema that documents cannot be checked against.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema cannot be read: {0}")]
pub struct InvalidSchema(String);

/// A schema, as documents are checked against it.
pub struct Language {
    schema: &'static Schema,
    inputs: Inputs,
    prices: Prices,
}

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Language").finish_non_exhaustive()
    }
}

impl Language {
    /// Reads a schema in the schema definition language. `scalars` are the custom scalars that can tell what a value of
    /// theirs is; any value goes for others. `prices` says what each field does. The schema is kept for the life of the process.
    ///
    /// # Errors
    ///
    /// What is wrong with the schema.
    pub fn new(sdl: &str, scalars: &[(&str, ScalarParser)], prices: Prices) -> Result<Self, InvalidSchema> {
        let schema = types::parse(sdl).map_err(InvalidSchema)?;
        Ok(Self { schema, inputs: Inputs::new(schema, scalars), prices })
    }

    /// Reads a document: whether it may be executed at all, and all that can be known of it without its variables.
    fn read(&self, text: &str, limits: &Limits) -> Result<Vec<Operation>, Vec<ServerError>> {
        let source = Source::new(text);
        let document = parse(&source, limits.tokens)?;
        let measured = guard::measure(&source, &document, limits)?;
        let refuse = |errors: Vec<ServerError>| if errors.is_empty() { Ok(()) } else { Err(errors) };
        refuse(rules::mistakes(&source, &document, self.schema, MOST_ERRORS))?;
        let unfolded = convert::unfold(self, &source, &document)?;
        let mut errors = Vec::new();
        for operation in &unfolded {
            let Some(root) = self.schema.get_type_definition(operation.root) else { continue };
            errors.extend(overlap::conflicts(self.schema, root, &operation.selections, MOST_ERRORS));
            if operation.kind == async_graphql::parser::types::OperationType::Subscription {
                let roots = roots::collect(&operation.selections);
                errors.extend(roots::check_subscription(&operation.selections, &roots));
            }
        }
        errors.truncate(MOST_ERRORS);
        refuse(errors)?;
        let operations = unfolded.into_iter().zip(measured);
        operations
            .map(|(unfolded, measured)| Operation::new(self.schema, &self.prices, unfolded, measured))
            .collect::<Result<_, _>>()
            .map_err(|error| vec![error])
    }
}

/// Parses a text, within limits; its first mistake in words for people.
fn parse<'a>(source: &Source<'a>, tokens: u32) -> Result<ExecutableDocument<'a>, ServerError> {
    let limit = usize::try_from(tokens).unwrap_or(usize::MAX);
    let options = ParseOptions { graphql_ruby_compatibility: false, max_depth: MAX_NESTING, max_tokens: Some(limit) };
    let text = source.text();
    let details = ExecutableDocument::parse_with_options(text, options);
    let errors = match details.result {
        Ok(document) => return Ok(document),
        Err(errors) => errors,
    };
    if details.token_count > limit {
        let fix = "Ask for fewer fields, or move literal input into variables.";
        let (limit, least) = (u64::from(tokens), details.token_count as u64);
        return Err(exceeded(ErrorCode::OperationTooComplex, "tokens or more", limit, least, fix));
    }
    let first = bluejay_parser::Error::into_graphql_errors(text, errors.into_iter().take(1)).into_iter().next();
    let Some(first) = first else {
        return Err(failure(ErrorCode::GraphqlParseFailed, "Syntax error.", None));
    };
    if first.message == "Max depth exceeded" {
        let message = "The document nests too deep. Nest fewer fields, fragments and values.";
        return Err(failure(ErrorCode::OperationTooDeep, message, None));
    }
    let at = first.locations.first().map_or(Pos { line: 1, column: 1 }, |at| Pos { line: at.line, column: at.col });
    let what = explain(&first.message);
    let message = format!("Syntax error at line {}, column {}: {what}{}.", at.line, at.column, found(text, at));
    Err(failure(ErrorCode::GraphqlParseFailed, message, Some(at)))
}

/// The parser's words for a mistake, as the end of a sentence.
fn explain(message: &str) -> String {
    match message {
        "Unexpected EOF" => "the document ends too early".to_owned(),
        "Unable to parse" => "this is no GraphQL".to_owned(),
        "Invalid unicode escape sequence" | "String value invalid" => {
            "a string with a wrong escape or a line break".to_owned()
        }
        "Document does not contain any definitions" => "there is no operation in it".to_owned(),
        other => {
            let mut letters = other.chars();
            let first = letters.next().map(|first| first.to_ascii_lowercase());
            first.into_iter().chain(letters).take(200).collect()
        }
    }
}

/// What stands at a place, as the end of a sentence: nothing at the end of the text.
fn found(text: &str, at: Pos) -> String {
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let rest: String = line.chars().skip(at.column.saturating_sub(1)).take(20).collect();
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let word: String = rest.chars().take_while(|letter| is_word(*letter)).collect();
    let token = if word.is_empty() { rest.chars().take(1).collect() } else { word };
    if token.is_empty() { String::new() } else { format!(", at {token:?}") }
}

#[cfg(test)]
mod tests;
