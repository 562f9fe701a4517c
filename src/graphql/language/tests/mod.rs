//! What passes [`Documents::prepare`] and what does not, and that what passes is what runs.

mod execution;
mod limits;
mod rules;
mod values;

use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};

use async_graphql::ServerError;
use serde_json::json;

use super::*;
use crate::graphql::{
    classify::code,
    prices::{Table, Work},
};

/// A schema with everything that the rules tell apart.
const SDL: &str = r"
    type Query {
        a(b: ID, c: Filter, list: [Int], lists: [Int!]): A
        viewer: User
        jobs(query: String, first: Int, last: Int, filter: Filter, orderBy: Order): JobConnection
        skills(first: Int! = 20, prefix: String): [Skill!]
        node(id: ID!): Node
        nodes(ids: [ID!]!): [Node]!
        streamCursor: String
        at(time: DateTime, times: [DateTime!]): String
        one(choice: Choice): String
        pet: Pet
        float(of: Float): Float
        f0: Int f1: Int f2: Int f3: Int f4: Int f5: Int f6: Int f7: Int f8: Int f9: Int f10: Int
    }
    type Mutation { postJob(title: String): Payload signIn: Payload deposit: Payload claimJob(at: DateTime): Payload signOut: Payload }
    type Subscription { jobPosted(after: String): Job jobUpdated(after: String): Job }
    type Payload { id: ID job: Job viewer: User errors: [Problem!]! }
    interface Node { id: ID! }
    type A { a: A b: String c(n: Int): Int }
    type User implements Node { id: ID! name: String! email: String wallet: Wallet }
    type Wallet { owner: User balance: Int }
    type Job implements Node { id: ID! title: String status: Status client: User skills: [Skill!] claims(first: Int): JobConnection }
    type Skill implements Node { id: ID! slug: String! name: String }
    type JobConnection { nodes: [Job!]! edges: [Edge!]! pageInfo: PageInfo! totalCount: Int }
    type Edge { node: Job cursor: String }
    type PageInfo { hasNextPage: Boolean }
    union Problem = TitleProblem | LimitProblem
    interface Said { message: String! }
    type TitleProblem implements Said { message: String! path: [String!] }
    type LimitProblem implements Said { message: String! limit: Int! }
    interface Pet { name: String }
    type Dog implements Pet { name: String barks: Boolean! size: Int friend: Pet }
    type Cat implements Pet { name: String meows: Boolean size: String friend: Pet }
    enum Status { OPEN CLAIMED }
    enum Field { BUDGET POSTED RELEVANCE }
    input Filter { status: [Status!] text: String since: DateTime and: Filter limit: Int! = 3 }
    input Order { field: Field! ascending: Boolean = true direction: String }
    input Choice @oneOf { name: String number: Int }
    scalar DateTime
    directive @skip(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
    directive @include(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
";

fn date_time(value: async_graphql::Value) -> Result<(), String> {
    match value {
        async_graphql::Value::String(text) if text.starts_with("20") => Ok(()),
        _ => Err("a DateTime is a text that begins with 20".to_owned()),
    }
}

/// What is no page, count or change by its shape.
const PRICES: Table = &[("Query", &[("jobs", Work::SearchPage)])];

static LANGUAGE: LazyLock<Arc<Language>> = LazyLock::new(|| {
    Arc::new(Language::new(SDL, &[("DateTime", date_time)], Prices::new(&[PRICES])).expect("a schema"))
});

#[expect(clippy::needless_pass_by_value, reason = "given as `json!`")]
fn variables(values: serde_json::Value) -> SentVariables {
    SentVariables::new(values.as_object().expect("an object"))
}

fn documents() -> Documents {
    Documents::new(Arc::clone(&LANGUAGE))
}

fn check(query: &str) -> Result<Prepared, Vec<ServerError>> {
    documents().prepare(query, None, &SentVariables::default(), &Limits::default(), &["signIn", "deposit"])
}

fn check_with(query: &str, values: serde_json::Value) -> Result<Prepared, Vec<ServerError>> {
    documents().prepare(query, None, &variables(values), &Limits::default(), &[])
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

/// The document that is executed, as text without places.
fn executed(query: &str, values: serde_json::Value) -> String {
    use async_graphql::parser::types::{DocumentOperations, Selection, SelectionSet};
    fn print(set: &SelectionSet, text: &mut String) {
        for selection in &set.items {
            let inner = match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    assert!(field.directives.is_empty(), "conditions are resolved");
                    text.extend(field.alias.iter().map(|alias| format!("{}:", alias.node)));
                    text.push_str(&field.name.node);
                    for (name, value) in &field.arguments {
                        write!(text, "({}:{})", name.node, value.node).expect("a string");
                    }
                    &field.selection_set.node
                }
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().expect("typed");
                    write!(text, "...{}", on.node.on.node).expect("a string");
                    &inline.node.selection_set.node
                }
                Selection::FragmentSpread(_) => panic!("unfolded"),
            };
            if !inner.items.is_empty() {
                text.push('{');
                print(inner, text);
                text.truncate(text.trim_end().len());
                text.push('}');
            }
            text.push(' ');
        }
    }
    let prepared = check_with(query, values).expect(query);
    let mut request = prepared.request();
    let document = request.parsed_query().expect("prepared").clone();
    assert!(document.fragments.is_empty());
    let DocumentOperations::Single(operation) = document.operations else { panic!("one operation") };
    let mut text = String::new();
    print(&operation.node.selection_set.node, &mut text);
    text.trim_end().to_owned()
}

#[test]
fn operations_are_chosen_by_name() {
    let two = "query A { f0 } query B { f1 } mutation C { signOut { id } }";
    let choose =
        |query: &str, name| documents().prepare(query, name, &SentVariables::default(), &Limits::default(), &[]);
    let chosen = choose(two, Some("B")).expect("B");
    assert_eq!((chosen.operation_name.as_deref(), &chosen.root_fields[..]), (Some("B"), &["f1".to_owned()][..]));
    assert_eq!(choose(two, Some("C")).expect("C").operation, async_graphql::parser::types::OperationType::Mutation);
    assert_eq!(choose("query A { f0 }", None).expect("the only one").operation_name.as_deref(), Some("A"));
    assert_eq!(choose("query A { f0 }", Some("")).expect("no name").operation_name.as_deref(), Some("A"));
    assert_refused(choose(two, None), "GRAPHQL_VALIDATION_FAILED Several operations");
    assert_refused(choose(two, Some("D")), "GRAPHQL_VALIDATION_FAILED Unknown operation named \"D\".");
    assert_refused(choose("{ f0 }", Some("D")), "Unknown operation named \"D\"");
}

#[test]
fn a_text_that_was_read_before_is_read_as_if_it_were_new() {
    let kept = documents();
    let told = |prepared: Result<Prepared, Vec<ServerError>>| {
        prepared.map_err(|errors| format!("{errors:?}")).map(|prepared| {
            let document = format!("{:?}", prepared.request().parsed_query());
            (prepared.operation, prepared.operation_name, prepared.cost, prepared.root_fields, document)
        })
    };
    let several = "query A($n: Int) { jobs(first: $n) { nodes { id } } } subscription B { ...R } \
                   query C($on: Boolean! = true) { f0 @include(if: $on) f1 } \
                   fragment R on Subscription { jobPosted { id } }";
    for (name, values) in [
        ("A", json!({"n": 3})),
        ("B", json!({})),
        ("A", json!({"n": 90})),
        ("A", json!({})),
        ("C", json!({"on": false})),
        ("C", json!({})),
        ("D", json!({})),
        ("B", json!({"unknown": 1})),
        ("A", json!({"n": 3})),
        ("A", json!({"n": "x"})),
    ] {
        let prepare = |documents: &Documents| {
            documents.prepare(several, Some(name), &variables(values.clone()), &Limits::default(), &[])
        };
        assert_eq!(told(prepare(&kept)), told(prepare(&documents())), "{name} {values}");
    }
    for broken in ["{ jobs", "{ a b }}", "{ jobs"] {
        let again = kept.prepare(broken, None, &SentVariables::default(), &Limits::default(), &[]);
        assert_eq!(told(again), told(check(broken)), "{broken}");
    }
}

#[test]
fn what_is_kept_is_bounded_by_the_bytes_it_takes() {
    let kept = documents();
    let text = "x".repeat(40 * 1024);
    // The text as the key, and once more as a value in what came of it.
    for number in 0..400 {
        let query = format!("query Q{number} {{ jobs(filter: {{ text: \"{text}\" }}) {{ totalCount }} }}");
        kept.prepare(&query, None, &SentVariables::default(), &Limits::default(), &[]).expect("valid");
    }
    let bytes = kept.kept_bytes();
    assert!((8 * 1024 * 1024..=16 * 1024 * 1024).contains(&bytes), "{bytes} bytes are kept");
}

#[test]
fn mistakes_in_the_text_have_a_place_and_readable_words() {
    let error = check("{ f0\n  b( }").expect_err("no argument").remove(0);
    assert_eq!(
        (code(&error), error.message.as_str()),
        (Some("GRAPHQL_PARSE_FAILED"), "Syntax error at line 2, column 6: expected a name, at \"}\".")
    );
    assert_eq!(error.locations, [Pos { line: 2, column: 6 }]);
    for text in
        ["", "{", "query", "{ 8f31 }", "type A { b: C }", "{ a } }", "{ a(b: \"x", "{ a(b: \"\n\") { b } }", "{}"]
    {
        assert_refused(check(text), "GRAPHQL_PARSE_FAILED Syntax error at line 1");
    }
    for text in ["fragment F on A { b }", "{ f0 } query B { f0 }", "query A { f0 } query A { f0 }"] {
        assert_refused(check(text), "GRAPHQL_VALIDATION_FAILED");
    }
}
