//! What an operation is charged for in the end: what it did and what its answer holds.
//!
//! Before an operation runs, the most that it can cost is taken off its caller's budget ([`super::limits`]); afterwards
//! this module says what it did cost, in the same unit, and the rest is given back. Called by the one place that runs
//! queries and mutations, whatever transport they came by.
//!
//! # For users of the API
//!
//! - each object in the answer costs 1 point, and so does each null in a list, since it was looked for, and each text of
//!   1 KiB or more; 25 other values cost 1 point;
//! - counts, searches, rankings and mutations that ran cost what they cost before: their answers are small and their work is
//!   not. A root field that failed costs 1 beside that;
//! - an operation that asks for `__schema` or `__type`, one that ran into the time limit, and one of which an inner part
//!   failed cost the most that they could: the answer does not show what they took;
//! - no operation costs less than 1 point, nor more than was taken off before.
//!
//! What reading a long document costs is not given back, nor what a caller pays who does not wait for the answer.

use async_graphql::{Response, ServerError, Value};

use super::{
    classify::code,
    errors::ErrorCode,
    language::Efforts,
    prices::{LEAF, POINT, TEXT, TEXT_BYTES},
};

/// The points that an operation with this answer cost, `ceiling` at most. The errors must have their codes.
pub fn charge(answer: &Response, efforts: &Efforts, root_fields: &[String], ceiling: u32) -> u32 {
    let introspects = root_fields.iter().any(|field| matches!(field.as_str(), "__schema" | "__type"));
    if introspects || answer.errors.iter().any(hides_work) {
        return ceiling;
    }
    let failed = u64::try_from(answer.errors.len()).unwrap_or(u64::MAX).saturating_mul(POINT);
    let mut hundredths = failed.saturating_add(efforts.done(&answer.data));
    if let Value::Object(fields) = &answer.data {
        hundredths = fields.values().map(returned).fold(hundredths, u64::saturating_add);
    }
    u32::try_from(hundredths / POINT).unwrap_or(u32::MAX).clamp(1, ceiling.max(1))
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

/// The objects and values of a value, and what was looked for in lists and not found, in hundredths of a point.
fn returned(value: &Value) -> u64 {
    match value {
        Value::Object(fields) => fields.values().map(returned).fold(POINT, u64::saturating_add),
        Value::List(items) => {
            let item = |item: &Value| if *item == Value::Null { POINT } else { returned(item) };
            items.iter().map(item).fold(0, u64::saturating_add)
        }
        Value::String(text) if text.len() >= TEXT_BYTES => TEXT,
        Value::Number(_) | Value::String(_) | Value::Boolean(_) | Value::Enum(_) | Value::Binary(_) => LEAF,
        Value::Null => 0,
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
        charge(&answer(data, errors), &Efforts::default(), &["jobs".to_owned()], 2_000)
    }

    #[test]
    fn objects_count() {
        let jobs = json!({ "jobs": { "nodes": [{ "id": "1", "client": { "id": "2" } }, { "id": "3", "client": null }],
                                     "pageInfo": { "endCursor": "x" }, "tags": ["a", "b"] } });
        assert_eq!(query(jobs.clone(), Vec::new()), 5);
        assert_eq!(charge(&answer(jobs, Vec::new()), &Efforts::default(), &[], 3), 3, "never above what was reserved");
        assert_eq!(query(json!({ "jobs": { "nodes": [] } }), Vec::new()), 1);
        assert_eq!(query(json!({ "nodes": [null, { "id": "1" }, null] }), Vec::new()), 3, "what was looked for counts");
        assert_eq!(query(json!({ "job": null }), Vec::new()), 1, "nothing is free");
        assert_eq!(query(json!({ "rateLimit": { "cost": 1 } }), Vec::new()), 1);
    }

    #[test]
    fn values_count_in_bulk_and_long_texts_each() {
        let texts = |length: usize| json!({ "jobs": { "nodes": vec![json!({ "text": "x".repeat(length) }); 50] } });
        assert_eq!(query(texts(10), Vec::new()), 1 + 50 + 2);
        assert_eq!(query(texts(1024), Vec::new()), 1 + 50 + 50);
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
        assert_eq!(charge(&introspection, &Efforts::default(), &["__schema".to_owned()], 13), 13);
    }
}
