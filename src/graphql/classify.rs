//! Every error has a code from the closed list, and no fault of ours shows its text.
//!
//! Owns the last look at a response before it is sent. Each transport calls [`classify`] once on each response; each
//! fault is logged here and nowhere else. Errors of documents carry their codes already ([`super::language`],
//! [`super::nulls`]), as do those that resolvers make on purpose through [`ErrorCode::error`]. What is left came out
//! of execution without a code: an argument that a scalar or a validator refused, which async-graphql finds only when
//! the field resolves, or something nobody foresaw.

use async_graphql::{ErrorExtensionValues, Response, ServerError, Value};

use super::errors::ErrorCode;

/// What a client reads in place of a fault's text.
const MASKED: &str = "Something went wrong on our side. Tell us the requestId, and we find out what.";

/// Gives each error without a code its code; masks and logs faults, and adds `requestId` to them.
pub fn classify(response: &mut Response, request_id: &str) {
    for error in &mut response.errors {
        match code(error) {
            Some(code) if code != ErrorCode::InternalServerError.as_str() => {}
            Some(_) if has_request_id(error) => {}
            None if is_refused_argument(error) => {
                error.extensions.get_or_insert_default().set("code", ErrorCode::BadUserInput.as_str());
            }
            _ => mask(error, request_id),
        }
    }
}

/// Whether execution never began: such a response has no `data` entry at all (spec 7.1.2).
///
/// Errors of execution have the path of a field; those of a request have none (spec 7.1.2, "Errors").
pub fn is_request_error(response: &Response) -> bool {
    matches!(response.data, Value::Null)
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// The error's code, if it has one.
pub fn code(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

/// An error of async-graphql's `InputValueError`, known by its fixed beginning: its type is gone by then.
///
/// Errors that resolvers pass on with `?` carry their source, so a fault that happens to begin so is still masked.
fn is_refused_argument(error: &ServerError) -> bool {
    error.source.is_none()
        && ["Failed to parse \"", "Expected input type \""].iter().any(|start| error.message.starts_with(start))
}

/// Whether this fault was masked already: calling twice must not log twice.
fn has_request_id(error: &ServerError) -> bool {
    error.extensions.as_ref().is_some_and(|extensions| extensions.get("requestId").is_some())
}

fn mask(error: &mut ServerError, request_id: &str) {
    let message = std::mem::replace(&mut error.message, MASKED.to_owned());
    let path = serde_json::to_string(&error.path).unwrap_or_default();
    tracing::error!(request.id = request_id, graphql.path = path, error = message, "a field failed unexpectedly");
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", ErrorCode::InternalServerError.as_str());
    extensions.set("requestId", request_id);
    error.extensions = Some(extensions);
    error.source = None;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unused_async, reason = "async-graphql wants resolvers to be async")]

    use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};
    use serde_json::json;

    use super::*;
    use crate::graphql::nulls::Nulls;

    struct Query;

    #[Object]
    impl Query {
        async fn bug(&self) -> async_graphql::Result<Option<i32>> {
            Err(std::io::Error::other("SELECT secret FROM users").into())
        }
        async fn careless(&self) -> async_graphql::Result<Option<i32>> {
            Err(ErrorCode::InternalServerError.error("/srv/src/main.rs"))
        }
        async fn forbidden(&self) -> async_graphql::Result<Option<i32>> {
            Err(ErrorCode::Forbidden.error("Only clients post jobs."))
        }
        async fn page(&self, #[graphql(validator(maximum = 100))] first: i32) -> Option<i32> {
            Some(first)
        }
        async fn at(&self, time: async_graphql::types::ID, when: Option<crate::graphql::scalars::DateTime>) -> String {
            format!("{}{when:?}", time.as_str())
        }
    }

    async fn run(query: &str) -> (serde_json::Value, bool) {
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).extension(Nulls).finish();
        let mut response = schema.execute(query).await;
        classify(&mut response, "req-7");
        classify(&mut response, "never twice");
        (json!(response.errors), is_request_error(&response))
    }

    fn codes(errors: &serde_json::Value) -> Vec<&str> {
        let errors = errors.as_array().expect("a list").iter();
        errors.map(|error| error["extensions"]["code"].as_str().unwrap_or("none")).collect()
    }

    #[tokio::test]
    async fn faults_are_masked_and_name_the_request() {
        let (errors, of_request) = run("{ bug careless }").await;
        assert!(!of_request);
        assert_eq!(codes(&errors), ["INTERNAL_SERVER_ERROR"; 2]);
        assert_eq!(errors[0]["path"], json!(["bug"]));
        assert_eq!(errors[0]["extensions"]["requestId"], "req-7");
        assert!(!errors.to_string().contains("secret") && !errors.to_string().contains("main.rs"), "{errors}");
    }

    #[tokio::test]
    async fn what_a_resolver_says_on_purpose_stays() {
        let (errors, _) = run("{ forbidden }").await;
        assert_eq!(codes(&errors), ["FORBIDDEN"]);
        assert_eq!(errors[0]["message"], "Only clients post jobs.");
    }

    #[tokio::test]
    async fn each_phase_has_its_code() {
        for (query, expected, before_execution) in [
            ("{", "GRAPHQL_PARSE_FAILED", true),
            ("{ nothing }", "GRAPHQL_VALIDATION_FAILED", true),
            ("{ page(first: \"x\") }", "BAD_USER_INPUT", true),
            ("{ page }", "GRAPHQL_VALIDATION_FAILED", true),
            ("{ page(first: 101) }", "BAD_USER_INPUT", false),
            ("{ at(time: 1, when: \"yesterday\") }", "BAD_USER_INPUT", false),
        ] {
            let (errors, of_request) = run(query).await;
            assert_eq!((codes(&errors), of_request), (vec![expected], before_execution), "{query}: {errors}");
        }
    }

    #[tokio::test]
    async fn a_document_with_a_thousand_mistakes_is_told_the_first() {
        let wrong = (0..1_000).map(|number| format!("wrong{number}")).collect::<Vec<_>>().join(" ");
        let (errors, _) = run(&format!("{{ {wrong} }}")).await;
        assert_eq!(codes(&errors), ["GRAPHQL_VALIDATION_FAILED"; 50]);
    }
}
