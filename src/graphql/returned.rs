//! What an operation is charged for in the end: what its answer holds.
//!
//! Before an operation runs, the most that it can cost is taken off its caller's budget ([`super::limits`]); afterwards
//! this module says what it did cost, in the same unit, and the rest is given back. Called by the one place that runs
//! queries and mutations, whatever transport they came by.
//!
//! # For users of the API
//!
//! - each object in the answer costs 1 point, and so does each null in a list, since it was looked for;
//! - each root field of a mutation adds 10, and a root field that failed costs 1;
//! - an operation that asks for `__schema` or `__type`, one that ran into the time limit, and one of which an inner part
//!   failed cost the most that they could: the answer does not show what they took;
//! - no operation costs less than 1 point, nor more than was taken off before.
//!
//! What reading a long document costs is not given back, nor what a caller pays who does not wait for the answer.

use async_graphql::{Response, ServerError, Value, parser::types::OperationType};

use super::{classify::code, errors::ErrorCode, limits::MUTATION_POINTS};

/// The points that an operation with this answer cost, `ceiling` at most. The errors must have their codes.
pub fn charge(answer: &Response, kind: OperationType, root_fields: &[String], ceiling: u32) -> u32 {
    let introspects = root_fields.iter().any(|field| matches!(field.as_str(), "__schema" | "__type"));
    if introspects || answer.errors.iter().any(hides_work) {
        return ceiling;
    }
    let mut points = u64::try_from(answer.errors.len()).unwrap_or(u64::MAX);
    if let Value::Object(fields) = &answer.data {
        for value in fields.values() {
            points = points.saturating_add(returned(value));
            if kind == OperationType::Mutation {
                points = points.saturating_add(MUTATION_POINTS);
            }
        }
    }
    u32::try_from(points).unwrap_or(u32::MAX).clamp(1, ceiling.max(1))
}

/// Whether the answer does not show how much was done before this error.
fn hides_work(error: &ServerError) -> bool {
    let is = |wanted: ErrorCode| code(error) == Some(wanted.as_str());
    match error.path.len() {
        0 => is(ErrorCode::Timeout) || is(ErrorCode::InternalServerError),
        1 => false,
        _ => true,
    }
}

/// The objects of a value, and what was looked for in lists and not found.
fn returned(value: &Value) -> u64 {
    match value {
        Value::Object(fields) => fields.values().map(returned).fold(1, u64::saturating_add),
        Value::List(items) => {
            let item = |item: &Value| if *item == Value::Null { 1 } else { returned(item) };
            items.iter().map(item).fold(0, u64::saturating_add)
        }
        Value::Null | Value::Number(_) | Value::String(_) | Value::Boolean(_) | Value::Enum(_) | Value::Binary(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::PathSegment;
    use serde_json::json;

    use super::*;
    use crate::graphql::limits::failure;

    fn answer(data: serde_json::Value, errors: Vec<ServerError>) -> Response {
        let mut response = Response::new(Value::from_json(data).expect("a value"));
        response.errors = errors;
        response
    }

    fn error(code: ErrorCode, path: &[&str]) -> ServerError {
        let mut error = failure(code, "no", None);
        error.path = path.iter().map(|field| PathSegment::Field((*field).to_owned())).collect();
        error
    }

    fn query(data: serde_json::Value, errors: Vec<ServerError>) -> u32 {
        charge(&answer(data, errors), OperationType::Query, &["jobs".to_owned()], 2_000)
    }

    #[test]
    fn objects_count_and_leaves_do_not() {
        let jobs = json!({ "jobs": { "nodes": [{ "id": "1", "client": { "id": "2" } }, { "id": "3", "client": null }],
                                     "pageInfo": { "endCursor": "x" }, "tags": ["a", "b"] } });
        assert_eq!(query(jobs.clone(), Vec::new()), 5);
        assert_eq!(charge(&answer(jobs, Vec::new()), OperationType::Query, &[], 3), 3, "never above what was reserved");
        assert_eq!(query(json!({ "jobs": { "nodes": [] } }), Vec::new()), 1);
        assert_eq!(query(json!({ "nodes": [null, { "id": "1" }, null] }), Vec::new()), 3, "what was looked for counts");
        assert_eq!(query(json!({ "job": null }), Vec::new()), 1, "nothing is free");
        assert_eq!(query(json!({ "rateLimit": { "cost": 1 } }), Vec::new()), 1);
    }

    #[test]
    fn a_mutation_keeps_its_base_price() {
        let of = |data| charge(&answer(data, Vec::new()), OperationType::Mutation, &["postJob".to_owned()], 100);
        assert_eq!(of(json!({ "postJob": { "job": null, "errors": [{ "code": "INVALID" }] } })), 12);
        assert_eq!(of(json!({ "a": { "errors": [] }, "b": { "errors": [] } })), 22);
    }

    #[test]
    fn what_the_answer_does_not_show_is_not_given_back() {
        let ceiling = 2_000;
        for hidden in [
            error(ErrorCode::Timeout, &[]),
            error(ErrorCode::InternalServerError, &[]),
            error(ErrorCode::InternalServerError, &["jobs", "nodes"]),
        ] {
            assert_eq!(query(json!({ "jobs": null }), vec![hidden]), ceiling);
        }
        assert_eq!(query(json!({ "wallet": null }), vec![error(ErrorCode::Unauthenticated, &["wallet"])]), 1);
        assert_eq!(query(serde_json::Value::Null, vec![error(ErrorCode::GraphqlValidationFailed, &[])]), 1);
        let introspection = answer(json!({ "__schema": { "types": [{ "name": "A" }] } }), Vec::new());
        assert_eq!(charge(&introspection, OperationType::Query, &["__schema".to_owned()], 13), 13);
    }
}
