//! Responses as JSON, as the protocols of subscriptions carry them.

use std::sync::Arc;

use async_graphql::Response;

/// The payload of `error`.
pub(crate) fn errors(mut response: Response) -> Arc<str> {
    for error in &mut response.errors {
        error.locations.retain(|at| at.line > 0);
    }
    json(&response.errors)
}

/// The payload of `next`.
pub(crate) fn next(mut response: Response) -> Arc<str> {
    for error in &mut response.errors {
        error.locations.retain(|at| at.line > 0);
    }
    json(&response)
}

fn json(value: &impl serde::Serialize) -> Arc<str> {
    // Values that are in memory as JSON can be written as JSON.
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned()).into()
}
