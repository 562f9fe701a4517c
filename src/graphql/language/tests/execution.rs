//! That what is executed is what was asked for, merged.

use async_graphql::{EmptyMutation, Object, Schema, Subscription};
use futures_util::{Stream, StreamExt, stream};

use super::{limits::INTROSPECTION, *};
use crate::graphql::nulls::Nulls;

#[test]
fn fields_are_merged_in_the_order_of_their_first_occurrence() {
    for (query, expected) in [
        ("{ f1 f0 f1 }", "f1 f0"),
        ("{ ...F f0 f2 } fragment F on Query { f2 f1 }", "f2 f1 f0"),
        ("{ viewer { name } f0 viewer { email name } }", "viewer{name email} f0"),
        (
            "{ jobs { nodes { id } } jobs { nodes { title client { name } } totalCount } }",
            "jobs{nodes{id title client{name}} totalCount}",
        ),
        (
            "mutation { postJob(title: \"a\") { id } postJob(title: \"a\") { job { id } } }",
            "postJob(title:\"a\"){id job{id}}",
        ),
        // Of an abstract type: apart as long as no name is there twice ...
        (
            "{ node(id: 1) { id ... on Job { title } ...F } } fragment F on User { name }",
            "node(id:1){id ...Job{title} ...User{name}}",
        ),
        (
            "{ node(id: 1) { ... on Node { id } ... on Job { ... on Node { x: id } title } } }",
            "node(id:1){id ...Job{x:id title}}",
        ),
        // ... and written out for each object otherwise.
        (
            "{ node(id: 1) { ... on Job { client { name } } ... on Job { id client { email } } id } }",
            "node(id:1){...Job{client{name email} id} ...Skill{id} ...User{id}}",
        ),
        (
            "mutation { signOut { errors { __typename ... on TitleProblem { message path __typename } } } }",
            "signOut{errors{...TitleProblem{__typename message path} ...LimitProblem{__typename}}}",
        ),
        (
            "mutation { signOut { errors { ... on Said { message } ... on TitleProblem { path } } } }",
            "signOut{errors{...Said{message} ...TitleProblem{path}}}",
        ),
        (
            "{ pet { name ... on Dog { friend { name } name } ... on Cat { friend { ... on Dog { barks } } } } }",
            "pet{...Cat{name friend{...Dog{barks}}} ...Dog{name friend{name}}}",
        ),
    ] {
        assert_eq!(executed(query, json!({})), expected, "{query}");
    }
}

#[test]
fn conditions_are_resolved_with_defaults() {
    let query = "query ($on: Boolean! = true, $off: Boolean! = false) { f0 @include(if: $on) f1 @skip(if: $on) ...F @include(if: $off) \
                 ... @skip(if: $off) { f3 } f4 @include(if: false) f5 @skip(if: false) viewer { name ...G } } \
                 fragment F on Query { f2 } fragment G on User { email @include(if: $on) }";
    assert_eq!(executed(query, json!({})), "f0 f3 f5 viewer{name email}");
    assert_eq!(executed(query, json!({"on": false})), "f1 f3 f5 viewer{name}");
    assert_eq!(executed(query, json!({"off": true})), "f0 f2 f5 viewer{name email}");
    let merged =
        "query ($a: Boolean!, $b: Boolean!) { viewer @include(if: $a) { name } viewer @include(if: $b) { email } f0 }";
    assert_eq!(executed(merged, json!({"a": true, "b": true})), "viewer{name email} f0");
    assert_eq!(executed(merged, json!({"a": false, "b": true})), "viewer{email} f0");
    assert_eq!(executed(merged, json!({"a": false, "b": false})), "f0");
    let nullable = "query ($on: Boolean = true) { f0 @include(if: $on) }";
    assert_eq!(executed(nullable, json!({})), "f0");
    assert_refused(check_with(nullable, json!({"on": null})), "BAD_USER_INPUT The argument \"if\" of \"@include\"");
}

struct Query;

#[Object]
impl Query {
    async fn number(&self, add: Option<i32>) -> i32 {
        1 + add.unwrap_or_default()
    }
    async fn items(&self) -> Vec<Item> {
        vec![Item, Item]
    }
}

struct Item;

#[Object]
impl Item {
    async fn id(&self) -> i32 {
        7
    }
    async fn name(&self) -> &str {
        "seven"
    }
}

struct Items;

#[Subscription(name = "Subscription")]
impl Items {
    async fn items(&self, #[graphql(default = 1)] times: usize) -> impl Stream<Item = Item> {
        stream::iter((0..times).map(|_| Item))
    }
}

fn schema() -> (Schema<Query, EmptyMutation, Items>, Documents) {
    let schema = Schema::build(Query, EmptyMutation, Items)
        .extension(Nulls)
        .validation_mode(async_graphql::ValidationMode::Fast)
        .finish();
    let language = Language::new(&schema.sdl(), &[], Prices::default()).expect("a schema");
    (schema, Documents::new(Arc::new(language)))
}

async fn run(query: &str, name: Option<&str>, values: serde_json::Value) -> serde_json::Value {
    let (schema, documents) = schema();
    let prepared = documents.prepare(query, name, &variables(values), &Limits::default(), &[]).expect(query);
    let response = schema.execute(prepared.request()).await;
    assert_eq!(response.errors, []);
    json!(response.data)
}

#[tokio::test]
async fn what_was_prepared_is_what_runs() {
    let text = "query A { other: number } query B($x: Int, $y: Int = 1) { number(add: $x) y: number(add: $y) }";
    assert_eq!(run(text, Some("B"), json!({"x": 41})).await, json!({"number": 42, "y": 2}));
    assert_eq!(run(text, Some("B"), json!({"y": null})).await, json!({"number": 1, "y": 1}));
    assert_eq!(run(text, Some("A"), json!({})).await, json!({"other": 1}));
    let merged = run("{ items { id } ...F number } fragment F on Query { items { name id } }", None, json!({})).await;
    assert_eq!(merged.to_string(), r#"{"items":[{"id":7,"name":"seven"},{"id":7,"name":"seven"}],"number":1}"#);
    let introspection = run(INTROSPECTION, None, json!({})).await;
    assert_eq!(introspection["__schema"]["queryType"]["name"], "Query");
    let empty = run("{ items { id @skip(if: true) } }", None, json!({})).await;
    assert_eq!(empty, json!({"items": [{}, {}]}));
}

#[tokio::test]
async fn a_subscription_gives_events_however_its_root_is_written() {
    let (schema, documents) = schema();
    for query in [
        "subscription S($n: Int! = 2) { ...Root ... { items(times: $n) { ...More } } }
         fragment Root on Subscription { ... on Subscription { items(times: $n) { id } } }
         fragment More on Item { name }",
        "subscription ($on: Boolean! = true) { items(times: 2) { id name @include(if: $on) } }",
        "subscription ($n: Int) { items(times: 2) { id name } items(times: 2) { id } }",
    ] {
        let query = &query.replace("($n: Int)", "");
        let prepared = documents.prepare(query, None, &SentVariables::default(), &Limits::default(), &[]).expect(query);
        assert_eq!(prepared.root_fields[..], ["items".to_owned()]);
        let events: Vec<_> = schema.execute_stream(prepared.request()).map(|event| json!(event.data)).collect().await;
        assert_eq!(
            events,
            [json!({"items": {"id": 7, "name": "seven"}}), json!({"items": {"id": 7, "name": "seven"}})]
        );
    }
    let once = documents.prepare(
        "subscription($n: Int) { items(times: $n) { id } }",
        None,
        &SentVariables::default(),
        &Limits::default(),
        &[],
    );
    let events: Vec<_> = schema.execute_stream(once.expect("a default").request()).collect().await;
    assert_eq!(events.len(), 1, "the argument's default");
}

/// Pieces of documents, in any order: most are wrong, and wrong in every place.
const PIECES: &str = "([a-c{}():!$@\\[\\]\" \n#é\\\\]|\\.\\.\\.|\"\"\"|query|mutation|subscription\
                      |fragment F on Query|items|number| \\{ id \\}|-1|2.5e3|@skip\\(if: true\\)|null|\\.\\.\\.F){0,40}";

proptest::proptest! {
    /// Whatever is sent is prepared or refused with codes, and what is prepared can be run.
    #[test]
    fn no_text_does_harm(text in PIECES) {
        let (schema, documents) = schema();
        match documents.prepare(&text, None, &SentVariables::default(), &Limits::default(), &[]) {
            Ok(prepared) => {
                let _ = futures_util::FutureExt::now_or_never(schema.execute_stream(prepared.request()).next());
            }
            Err(errors) => assert!(!errors.is_empty() && errors.iter().all(|error| code(error).is_some())),
        }
    }
}
