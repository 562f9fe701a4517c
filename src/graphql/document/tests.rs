//! What passes [`Documents::prepare`] and what does not, and that what passes is what runs.

use std::{fmt::Write as _, time::Instant};

use async_graphql::{EmptyMutation, Object, Schema, Subscription};
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;

use super::{super::limits::reading_cost, *};
use crate::graphql::{classify::code, nulls::Nulls};

/// What graphql-js 17, and with it GraphiQL, graphql-codegen and Apollo's tools, sends by default.
const INTROSPECTION: &str = "
    query IntrospectionQuery {
      __schema {
        description
        queryType { name kind }
        mutationType { name kind }
        subscriptionType { name kind }
        types { ...FullType }
        directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } }
      }
    }
    fragment FullType on __Type {
      kind name description specifiedByURL isOneOf
      fields(includeDeprecated: true) {
        name description
        args(includeDeprecated: true) { ...InputValue }
        type { ...TypeRef }
        isDeprecated deprecationReason
      }
      inputFields(includeDeprecated: true) { ...InputValue }
      interfaces { ...TypeRef }
      enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
      possibleTypes { ...TypeRef }
    }
    fragment InputValue on __InputValue {
      name description type { ...TypeRef } defaultValue isDeprecated deprecationReason
    }
    fragment TypeRef on __Type {
      kind name
      ofType { name kind ofType { name kind ofType { name kind ofType { name kind ofType { name kind
        ofType { name kind ofType { name kind ofType { name kind ofType { name kind } } } } } } } } }
    }";

fn variables(values: serde_json::Value) -> Variables {
    Variables::from_json(values)
}

fn check(query: &str) -> Result<Prepared, Vec<ServerError>> {
    prepare(query, None, &Variables::default(), &Limits::default(), &["signIn", "deposit"])
}

fn check_with(query: &str, values: serde_json::Value) -> Result<Prepared, Vec<ServerError>> {
    prepare(query, None, &variables(values), &Limits::default(), &[])
}

/// The codes and texts of what is wrong, or nothing.
fn problems(result: Result<Prepared, Vec<ServerError>>) -> Vec<String> {
    let errors = result.err().unwrap_or_default();
    errors.iter().map(|error| format!("{} {}", code(error).unwrap_or("none"), error.message)).collect()
}

#[track_caller]
fn assert_refused(result: Result<Prepared, Vec<ServerError>>, expected: &str) {
    let problems = problems(result);
    assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected:?} is not in {problems:?}");
}

fn cost(query: &str) -> u32 {
    check(query).expect(query).cost
}

/// 18 levels that each spread the next one twice: a quarter of a million fields when expanded.
fn doubled(levels: usize, last: &str) -> String {
    let mut text = "{ ...f0 ...f0 }".to_owned();
    for level in 0..levels {
        let next = level + 1;
        let _ = write!(text, " fragment f{level} on Query {{ ...f{next} ...f{next} }}");
    }
    let _ = write!(text, " fragment f{levels} on Query {{ {last} }}");
    text
}

#[test]
fn the_cost_is_what_the_description_says() {
    assert_eq!(cost("{ jobs(first: 50) { edges { node { client { name } } } } }"), 151);
    assert_eq!(cost("{ streamCursor }"), 1, "never free");
    assert_eq!(cost("{ viewer { name } }"), 1);
    assert_eq!(cost("{ jobs { edges { node { title } } } }"), 1 + 20 * 2, "a connection without a size");
    assert_eq!(cost("{ jobs { ...F } } fragment F on JobConnection { nodes { title } }"), 1 + 20);
    assert_eq!(cost("{ jobs { totalCount } }"), 1);
    assert_eq!(cost("{ jobs(first: 2, last: 3) { nodes { skills { name } } } }"), 1 + 3 * 2);
    assert_eq!(cost("{ jobs(first: 0) { nodes { title } } }"), 2);
    assert_eq!(cost("{ jobs(first: 1000000) { nodes { title } } }"), 101, "refused by the resolver");
    assert_eq!(cost("{ jobs(first: -5) { nodes { title } } }"), 2);
    assert_eq!(cost("{ nodes(ids: [\"a\", \"b\", \"c\"]) { ... on Job { client { name } } } }"), 1 + 3);
    assert_eq!(cost("mutation { a: postJob { job { id } } b: postJob { job { id } } }"), 2 * 10 + 2 * 2);
    assert_eq!(cost("mutation { ...M } fragment M on Mutation { signOut { viewer { id } } }"), 12);
}

#[test]
fn page_sizes_in_variables_count_too() {
    let query = "query ($n: Int = 7, $ids: [ID!]) {
        jobs(first: $n) { nodes { client { name } } } nodes(ids: $ids) { ... on Job { client { id } } } }";
    assert_eq!(check_with(query, json!({})).expect("fine").cost, (1 + 7 * 2) + (1 + 1));
    assert_eq!(check_with(query, json!({"n": 30, "ids": ["a", "b"]})).expect("fine").cost, (1 + 30 * 2) + (1 + 2));
    assert_eq!(check_with(query, json!({"n": null})).expect("fine").cost, (1 + 20 * 2) + (1 + 1));
    let wide = "query ($n: Int) { jobs(first: $n) { nodes { claims(first: $n) { nodes { id } } } } }";
    assert_refused(check_with(wide, json!({"n": 100})), "OPERATION_TOO_COMPLEX This operation has 10201 points");
}

#[test]
fn every_limit_is_kept_and_says_what_to_do() {
    let many = |number: usize, item: &dyn Fn(usize) -> String| (0..number).map(item).collect::<Vec<_>>().join(" ");
    let nested = |levels: usize| format!("{}a{}", "a { ".repeat(levels - 1), " }".repeat(levels - 1));
    let at = |limit: usize, over: usize, make: &dyn Fn(usize) -> String, expected: &str| {
        assert_eq!(problems(check(&make(limit))), [""; 0], "{expected} at the limit");
        let problems = problems(check(&make(limit + over)));
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    };
    at(
        999,
        1,
        &|n| format!("{{ a {{ {} }} }}", many(n, &|_| "b".to_owned())),
        "1001 fields and fragments; the limit is 1000",
    );
    at(30, 1, &|n| format!("{{ a {{ {} }} }}", many(n, &|i| format!("a{i}: b"))), "31 aliases; the limit is 30");
    at(10, 1, &|n| format!("{{ {} }}", many(n, &|i| format!("f{i}"))), "11 root fields; the limit is 10");
    at(20, 1, &|n| format!("{{ a {{ {} }} }}", many(n, &|_| "b @skip(if: true)".to_owned())), "21 directives");
    at(12, 1, &|n| format!("{{ {} }}", nested(n)), "OPERATION_TOO_DEEP This operation has 13 levels of fields");
    at(
        50,
        1,
        &|n| {
            let (all, defined) =
                (many(n, &|i| format!("...f{i}")), many(n, &|i| format!("fragment f{i} on A {{ b }}")));
            format!("{{ a {{ {all} }} }} {defined}")
        },
        "51 fragments; the limit is 50",
    );
    at(100, 1, &|n| format!("{{ a(b: {{ c: [{}] }}) }}", many(n, &|i| i.to_string())), "101 items in one input list");
    at(30, 1, &|n| format!("{{ a {{ {} b {} }} }}", "... { ".repeat(n), "}".repeat(n)), "33 levels of selection sets");
}

#[test]
fn limits_hold_in_fragments_however_often_they_are_spread() {
    let query = "{ a { ...F ...F ...F } } fragment F on A { ";
    let aliases = (0..11).map(|index| format!("a{index}: b")).collect::<Vec<_>>().join(" ");
    assert_refused(check(&format!("{query}{aliases} }}")), "33 aliases");
    let fields = "b ".repeat(400);
    assert_refused(check(&format!("{query}{fields} }}")), "fields and fragments; the limit is 1000");
    assert_refused(
        check("mutation { ...F ...F } fragment F on Mutation { signIn { id } }"),
        "\"signIn\" is selected twice",
    );
    assert_refused(check_with("query ($x: [[Int]]) { a(b: $x) }", json!({"x": [vec![1; 101]]})), "101 items");
}

#[test]
fn doubled_fragments_cost_no_time() {
    for last in ["a", "...Nothing", "a { b }"] {
        for levels in [18, 28] {
            let query = doubled(levels, last);
            let start = Instant::now();
            assert_refused(check(&query), "OPERATION_TOO_COMPLEX");
            assert!(start.elapsed().as_millis() < 250, "{:?} for {} bytes", start.elapsed(), query.len());
        }
    }
    // What passes is small enough for the walks of async-graphql, which expand.
    assert_eq!(
        problems(check(&doubled(6, "a"))),
        ["OPERATION_TOO_COMPLEX This operation has 128 root fields; the limit is 10. Send several operations."]
    );
}

#[test]
fn levels_are_counted_from_the_deepest_spread() {
    let deep = |levels: usize| format!("{} ...F {}", "... { ".repeat(levels), "}".repeat(levels));
    let fragment = format!("fragment F on A {{ {} b {} }}", "... { ".repeat(14), "}".repeat(14));
    // The fragment adds 15 sets, wherever it was met first.
    assert_eq!(problems(check(&format!("{{ a {{ ...F {} }} }} {fragment}", deep(15)))), [""; 0]);
    assert_refused(check(&format!("{{ a {{ ...F {} }} }} {fragment}", deep(16))), "33 levels of selection sets");
}

#[test]
fn cycles_and_unused_fragments_are_told_before_they_are_walked() {
    assert_refused(
        check("{ ...A } fragment A on Query { a ...B } fragment B on Query { b ...A ...A }"),
        "within itself",
    );
    assert_refused(check("{ a { ...A } } fragment A on A { a { ...A } }"), "GRAPHQL_VALIDATION_FAILED Cannot spread");
    assert_refused(check("{ a } fragment A on Query { a }"), "Fragment \"A\" is never used");
    assert_refused(check("{ a } fragment A on Query { ...A ...A }"), "Fragment \"A\" is never used");
}

#[test]
fn reading_costs_by_the_length_of_what_is_read() {
    for (bytes, points) in [(0, 0), (4096, 0), (5119, 0), (5120, 1), (6144, 2), (204_800, 196)] {
        assert_eq!(reading_cost(&"#".repeat(bytes)), points, "{bytes}");
    }
    assert_eq!(reading_cost(INTROSPECTION), 0);
}

#[test]
fn introspection_is_affordable_once() {
    let prepared = check(INTROSPECTION).expect("the tools' query");
    assert_eq!((prepared.cost, prepared.depth), (13, 15));
    assert_eq!(cost("{ __type(name: \"Job\") { fields { name type { name } } } }"), 1);
    assert_eq!(cost("{ __typename viewer { __typename } }"), 1);

    let twice = INTROSPECTION.replacen("__schema {", "a: __schema { types { ...FullType } } b: __schema {", 1);
    assert_refused(check(&twice), "values of introspection");
    assert_refused(
        check("{ __schema { types { fields { type { fields { type { fields { name args { name } } } } } } } } }"),
        "values of introspection",
    );
    let deeper = INTROSPECTION.replace("name kind } }", "name kind ofType { name } } }");
    assert_refused(check(&deeper), "16 levels of introspection; the limit is 15");
    let leaves = format!("{{ __schema {{ types {{ fields {{ {} }} }} }} }}", "name ".repeat(900));
    assert_refused(check(&leaves), "values of introspection");
    // Its own limit of depth is for introspection alone.
    assert_refused(check(&format!("{{ a {{ {} }} }}", &INTROSPECTION[30..700])), "");
}

#[test]
fn a_text_that_was_parsed_before_is_read_as_if_it_were_new() {
    let documents = Documents::default();
    let told = |prepared: Result<Prepared, Vec<ServerError>>| {
        prepared.map_err(|errors| format!("{errors:?}")).map(|prepared| {
            let fragments = prepared.document.fragments.len();
            (prepared.operation, prepared.operation_name, prepared.cost, prepared.root_fields, fragments)
        })
    };
    let several = "query A($n: Int) { jobs(first: $n) { nodes { id } } } subscription B { ...R } \
                   subscription C { ...R ...S } fragment R on Subscription { jobPosted { id } } \
                   fragment S on Subscription { jobUpdated { id } }";
    for (name, first) in [("A", 3), ("B", 1), ("A", 90), ("C", 1), ("D", 1), ("B", 1), ("A", 3)] {
        let values = variables(json!({ "n": first }));
        let kept = documents.prepare(several, Some(name), &values, &Limits::default(), &[]);
        let fresh = prepare(several, Some(name), &values, &Limits::default(), &[]);
        assert_eq!(told(kept), told(fresh), "{name} {first}");
    }
    for broken in ["{ jobs", "{ a b }}", "{ jobs"] {
        let kept = documents.prepare(broken, None, &Variables::default(), &Limits::default(), &[]);
        assert_eq!(told(kept), told(check(broken)), "{broken}");
    }
}

#[test]
fn operations_are_chosen_by_name() {
    let two = "query A { a } query B { b } mutation C { c }";
    let choose = |query: &str, name| prepare(query, name, &Variables::default(), &Limits::default(), &[]);
    let chosen = choose(two, Some("B")).expect("B");
    assert_eq!((chosen.operation_name.as_deref(), &chosen.root_fields[..]), (Some("B"), &["b".to_owned()][..]));
    assert_eq!(choose(two, Some("C")).expect("C").operation, OperationType::Mutation);
    assert_eq!(choose("query A { a }", None).expect("the only one").operation_name.as_deref(), Some("A"));
    assert_eq!(choose("query A { a }", Some("")).expect("no name").operation_name.as_deref(), Some("A"));
    assert_refused(choose(two, None), "GRAPHQL_VALIDATION_FAILED Several operations");
    assert_refused(choose(two, Some("D")), "GRAPHQL_VALIDATION_FAILED Unknown operation named \"D\".");
    assert_refused(choose("{ a }", Some("D")), "Unknown operation named \"D\"");
}

#[test]
fn mistakes_in_the_text_have_a_place_and_readable_words() {
    let error = check("{ a\n  b( }").expect_err("no argument").remove(0);
    assert_eq!(
        (code(&error), error.message.as_str()),
        (Some("GRAPHQL_PARSE_FAILED"), "Syntax error at line 2, column 6: expected name.")
    );
    assert_eq!(error.locations, [Pos { line: 2, column: 6 }]);
    for text in ["", "{", "query", "{ 8f31 }", "type A { b: C }", "{ a } }"] {
        assert_refused(check(text), "GRAPHQL_PARSE_FAILED Syntax error at line 1");
    }
    for text in ["fragment F on A { b }", "{ a } query B { b }", "query A { a } query A { b }"] {
        assert_refused(check(text), "GRAPHQL_VALIDATION_FAILED");
    }
}

#[test]
fn variables_are_what_the_operation_declares() {
    let query = "query ($id: ID!, $n: Int = 3, $names: [String!], $on: Boolean, $x: Filter) { a(b: $id) }";
    for (values, expected) in [
        (json!({}), "BAD_USER_INPUT Variable \"$id\" of required type \"ID!\" was not provided."),
        (json!({"id": null}), "Variable \"$id\" of non-null type \"ID!\" must not be null."),
        (
            json!({"id": 1.5}),
            "Variable \"$id\" must be of type \"ID\", but is a number out of range or with a fraction.",
        ),
        (json!({"id": "a", "n": 3_000_000_000_u32}), "Variable \"$n\" must be of type \"Int\""),
        (json!({"id": "a", "n": "hunter2"}), "Variable \"$n\" must be of type \"Int\", but is a string."),
        (
            json!({"id": "a", "names": ["a", null]}),
            "Variable \"$names.1\" of non-null type \"String!\" must not be null.",
        ),
        (json!({"id": "a", "names": ["a", 2]}), "Variable \"$names.1\" must be of type \"String\", but is a number."),
        (json!({"id": "a", "on": "true"}), "Variable \"$on\" must be of type \"Boolean\", but is a string."),
    ] {
        let problems = problems(check_with(query, values));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{expected} is not {problems:?}");
    }
    for fine in [
        json!({"id": "a"}),
        json!({"id": 7, "n": null, "names": null, "unknown": 1}),
        json!({"id": "a", "names": "one", "x": {"any": [1, "b"]}}),
    ] {
        assert_eq!(problems(check_with(query, fine)), [""; 0]);
    }
}

#[test]
fn one_guarded_mutation_a_request() {
    assert_refused(
        check("mutation { a: signIn { id } b: signIn { id } }"),
        "2 mutations that must come alone (signIn, signIn); the limit is 1.",
    );
    assert_refused(
        check("mutation { signIn { id } ... on Mutation { deposit { id } } }"),
        "2 mutations that must come alone (signIn, deposit)",
    );
    assert_eq!(problems(check("mutation { signIn { id } a: claimJob { id } b: claimJob { id } }")), [""; 0]);
    assert_eq!(problems(check("{ a: signIn b: signIn }")), [""; 0], "a query's field of that name");
    assert_refused(check("mutation { postJob { id } postJob { id } }"), "\"postJob\" is selected twice");
}

#[test]
fn a_subscription_has_one_root_field() {
    for (query, expected) in [
        ("subscription { a { id } b { id } }", "must select only one root field"),
        ("subscription { a { id } ...F } fragment F on Subscription { b { id } }", "must select only one root field"),
        ("subscription { x: a { id } y: a { id } }", "must select only one root field"),
        ("subscription { a(b: 1) { id } a(b: 2) { id } }", "differ in name or arguments"),
        ("subscription { __typename }", "must not select \"__typename\""),
        ("subscription { a { id } __typename }", "must select only one root field"),
        ("subscription { a @skip(if: false) { id } }", "must not use @skip or @include"),
        ("subscription ($x: Boolean!) { ... @include(if: $x) { a { id } } }", "must not use @skip or @include"),
        ("subscription { ...F } fragment F on Query { a { id } }", "A fragment on \"Query\" cannot be spread"),
        ("subscription { ...F }", "Unknown fragment \"F\""),
    ] {
        assert_refused(check_with(query, json!({"x": true})), &format!("GRAPHQL_VALIDATION_FAILED {}", ""));
        assert_refused(check_with(query, json!({"x": true})), expected);
    }
}

struct Query;

#[Object]
impl Query {
    async fn number(&self, add: Option<i32>) -> i32 {
        1 + add.unwrap_or_default()
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

#[Subscription]
impl Items {
    async fn items(&self, times: usize) -> impl Stream<Item = Item> {
        stream::iter((0..times).map(|_| Item))
    }
}

fn schema() -> Schema<Query, EmptyMutation, Items> {
    Schema::build(Query, EmptyMutation, Items).extension(Nulls).finish()
}

#[tokio::test]
async fn what_was_prepared_is_what_runs() {
    let values = variables(json!({"x": 41}));
    let text = "query A { other: number } query B($x: Int) { number(add: $x) }";
    let prepared = prepare(text, Some("B"), &values, &Limits::default(), &[]).expect("fine");
    // The text is not parsed again, neither here ...
    let response = schema().execute(prepared.into_request("not GraphQL", values)).await;
    assert_eq!((json!(response.data), response.errors), (json!({"number": 42}), vec![]));
    // ... nor for streams.
    let prepared = check("subscription { items(times: 2) { id } }").expect("fine");
    let events = schema().execute_stream(prepared.into_request("not GraphQL", Variables::default()));
    let events: Vec<_> = events.map(|event| json!(event.data)).collect().await;
    assert_eq!(events, [json!({"items": {"id": 7}}), json!({"items": {"id": 7}})]);
}

#[tokio::test]
async fn fragments_at_the_root_of_a_subscription_give_events() {
    let query = "subscription S($n: Int!) { ...Root ... { items(times: $n) { ...More } } }
        fragment Root on Subscription { ... on Subscription { items(times: $n) { id } } }
        fragment More on Item { name }";
    let values = variables(json!({"n": 1}));
    let prepared = prepare(query, None, &values, &Limits::default(), &[]).expect("fine");
    assert_eq!(prepared.root_fields, ["items"]);
    let events = schema().execute_stream(prepared.into_request(query, values));
    let events: Vec<_> = events.map(|event| json!(event)).collect().await;
    assert_eq!(events, [json!({"data": {"items": {"id": 7, "name": "seven"}}})]);
}

#[tokio::test]
async fn introspection_runs() {
    let prepared = check(INTROSPECTION).expect("the tools' query");
    let response = schema().execute(prepared.into_request(INTROSPECTION, Variables::default())).await;
    assert_eq!(response.errors, []);
    assert_eq!(json!(response.data)["__schema"]["queryType"]["name"], "Query");
}

/// Pieces of documents, in any order: most are wrong, and wrong in every place.
const PIECES: &str = "([a-c{}():!$@\\[\\]\" \n#é\\\\]|\\.\\.\\.|\"\"\"|query|mutation|subscription\
                      |fragment F on Q|items|-1|2.5e3|@skip|null){0,40}";

proptest::proptest! {
    /// Whatever is sent is prepared or refused with codes, and what is prepared can be run.
    #[test]
    fn no_text_does_harm(text in PIECES) {
        match check(&text) {
            Ok(prepared) => {
                let request = prepared.into_request(text, Variables::default());
                let _ = futures_util::FutureExt::now_or_never(schema().execute_stream(request).next());
            }
            Err(errors) => assert!(!errors.is_empty() && errors.iter().all(|error| code(error).is_some())),
        }
    }
}
