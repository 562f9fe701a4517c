//! The one extension of the schema: errors of nullable fields, and codes for errors that come before execution.
//!
//! Owns two mends of async-graphql, installed once with `Schema::build(..).extension(Nulls)`:
//!
//! - A nullable field that fails is null and its siblings stay (spec 6.4.4). async-graphql does so only for what fails
//!   *below* such a field; when the field's own resolver fails (a guard refuses, the database is away), it nulls the
//!   parent, and with it all the answer.
//! - Errors of validation get their code where it is certain that they are that: here.
//!
//! Invariants: an error is either in `errors` or propagates, never both; a non-null field's error passes untouched and
//! stops at the nearest nullable field or list item. Works for subscriptions too, where each event is one execution.

use std::sync::Arc;

use async_graphql::{
    Response, ServerError, ServerResult, ValidationResult, Value, Variables,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery, NextResolve, NextValidation,
        ResolveInfo,
    },
    parser::types::ExecutableDocument,
};
use parking_lot::Mutex;

use super::errors::ErrorCode;

/// How many errors of validation one answer tells: a wrong document of a thousand fields has a thousand.
const MOST_VALIDATION_ERRORS: usize = 50;

/// Makes the extension; one instance serves one request or one subscription.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nulls;

impl ExtensionFactory for Nulls {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Collector::default())
    }
}

#[derive(Default)]
struct Collector {
    errors: Mutex<Vec<ServerError>>,
}

#[async_graphql::async_trait::async_trait]
impl Extension for Collector {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        // Prepared documents are parsed already and within all limits; this is for a request that was not prepared.
        next.run(ctx, query, variables).await.map_err(|error| coded(error, ErrorCode::GraphqlParseFailed))
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(ctx).await.map_err(|mut errors| {
            errors.truncate(MOST_VALIDATION_ERRORS);
            let code = |error: ServerError| {
                let of_argument = error.message.starts_with("Invalid value for argument");
                coded(error, if of_argument { ErrorCode::BadUserInput } else { ErrorCode::GraphqlValidationFailed })
            };
            errors.into_iter().map(code).collect()
        })
    }

    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        response.errors.append(&mut self.errors.lock());
        response
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let nullable = !info.return_type.ends_with('!');
        match next.run(ctx, info).await {
            Err(error) if nullable => {
                self.errors.lock().push(error);
                // Not None: for a list's item that is a panic.
                Ok(Some(Value::Null))
            }
            other => other,
        }
    }
}

/// The error with `code`, unless it has one.
fn coded(mut error: ServerError, code: ErrorCode) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", code.as_str());
    }
    error
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unused_async, reason = "async-graphql wants resolvers to be async")]

    use async_graphql::{EmptyMutation, Object, Schema, Subscription};
    use futures_util::{Stream, StreamExt, stream};
    use serde_json::json;

    use super::*;

    struct Query;
    struct Node;

    fn fails(what: &str) -> async_graphql::Error {
        ErrorCode::Forbidden.error(what)
    }

    #[Object]
    impl Query {
        async fn good(&self) -> i32 {
            1
        }
        async fn null(&self) -> async_graphql::Result<Option<i32>> {
            Err(fails("null"))
        }
        #[graphql(guard = "Never")]
        async fn guarded(&self) -> Option<i32> {
            Some(1)
        }
        async fn required(&self) -> async_graphql::Result<i32> {
            Err(fails("required"))
        }
        async fn node(&self) -> Option<Node> {
            Some(Node)
        }
        async fn firm(&self) -> Node {
            Node
        }
        async fn list(&self) -> Vec<Option<async_graphql::Result<i32>>> {
            vec![Some(Ok(1)), Some(Err(fails("item"))), None]
        }
        async fn firm_list(&self) -> Option<Vec<async_graphql::Result<i32>>> {
            Some(vec![Ok(1), Err(fails("item"))])
        }
        async fn nodes(&self) -> Vec<Option<Node>> {
            vec![Some(Node), None]
        }
    }

    #[Object]
    impl Node {
        async fn good(&self) -> i32 {
            1
        }
        async fn null(&self) -> async_graphql::Result<Option<Node>> {
            Err(fails("null"))
        }
        async fn required(&self) -> async_graphql::Result<i32> {
            Err(fails("required"))
        }
        async fn node(&self) -> Option<Node> {
            Some(Node)
        }
        async fn firm(&self) -> Node {
            Node
        }
    }

    struct Never;

    impl async_graphql::Guard for Never {
        async fn check(&self, _: &async_graphql::Context<'_>) -> async_graphql::Result<()> {
            Err(fails("guarded"))
        }
    }

    struct Events;

    #[Subscription]
    impl Events {
        async fn nodes(&self) -> impl Stream<Item = Node> {
            stream::iter([Node, Node])
        }
        async fn refused(&self) -> async_graphql::Result<stream::Empty<i32>> {
            Err(fails("refused"))
        }
    }

    fn schema() -> Schema<Query, EmptyMutation, Events> {
        Schema::build(Query, EmptyMutation, Events).extension(Nulls).finish()
    }

    /// The paths of the errors, and the data.
    async fn run(query: &str) -> (serde_json::Value, serde_json::Value) {
        let response = schema().execute(query).await;
        let paths = response.errors.iter().map(|error| &error.path).collect::<Vec<_>>();
        (json!(paths), json!(response.data))
    }

    #[tokio::test]
    async fn a_failing_nullable_field_is_null_and_its_siblings_stay() {
        assert_eq!(
            run("{ good null guarded node { good null { good } } }").await,
            (
                json!([["null"], ["guarded"], ["node", "null"]]),
                json!({"good": 1, "null": null, "guarded": null, "node": {"good": 1, "null": null}})
            )
        );
        assert_eq!(
            run("{ a: null good b: null }").await,
            (json!([["a"], ["b"]]), json!({"a": null, "good": 1, "b": null}))
        );
    }

    #[tokio::test]
    async fn a_failing_non_null_field_nulls_the_nearest_nullable_one() {
        assert_eq!(
            run("{ good node { good firm { required } } }").await,
            (json!([["node", "firm", "required"]]), json!({"good": 1, "node": null}))
        );
        assert_eq!(
            run("{ node { node { firm { required } } good } }").await,
            (json!([["node", "node", "firm", "required"]]), json!({"node": {"node": null, "good": 1}}))
        );
        assert_eq!(run("{ good required }").await, (json!([["required"]]), json!(null)));
        assert_eq!(run("{ good firm { required } }").await, (json!([["firm", "required"]]), json!(null)));
    }

    #[tokio::test]
    async fn items_of_lists_fail_each_for_itself_if_they_may_be_null() {
        assert_eq!(run("{ list good }").await, (json!([["list", 1]]), json!({"list": [1, null, null], "good": 1})));
        assert_eq!(run("{ firmList good }").await, (json!([["firmList", 1]]), json!({"firmList": null, "good": 1})));
        assert_eq!(
            run("{ nodes { required } good }").await,
            (json!([["nodes", 0, "required"]]), json!({"nodes": [null, null], "good": 1}))
        );
        assert_eq!(
            run("{ nodes { null { good } } }").await,
            (json!([["nodes", 0, "null"]]), json!({"nodes": [{"null": null}, null]}))
        );
    }

    #[tokio::test]
    async fn each_event_of_a_subscription_has_its_own_errors() {
        let events: Vec<_> = schema().execute_stream("subscription { nodes { good null { good } } }").collect().await;
        assert_eq!(events.len(), 2);
        for event in events {
            assert_eq!(json!(event.data), json!({"nodes": {"good": 1, "null": null}}));
            assert_eq!(
                json!(event.errors.iter().map(|error| &error.path).collect::<Vec<_>>()),
                json!([["nodes", "null"]])
            );
        }
        let events: Vec<_> = schema().execute_stream("subscription { nodes { required } }").collect().await;
        assert_eq!(
            events.iter().map(|event| (event.data.clone(), event.errors.len())).collect::<Vec<_>>(),
            [(Value::Null, 1), (Value::Null, 1)]
        );
        let events: Vec<_> = schema().execute_stream("subscription { refused }").collect().await;
        assert_eq!(json!(events[0].errors[0].path), json!(["refused"]));
    }
}
