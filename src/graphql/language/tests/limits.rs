//! What one operation may ask for, and that asking for too much takes no time.

use std::{fmt::Write as _, time::Instant};

use super::*;
use crate::graphql::limits::reading_cost;

/// What graphql-js 17, and with it GraphiQL, graphql-codegen and Apollo's tools, sends by default.
pub(super) const INTROSPECTION: &str = "
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

fn cost(query: &str) -> u32 {
    check(query).expect(query).cost
}

/// Levels that each spread the next one twice: 18 are a quarter of a million fields when unfolded.
fn doubled(levels: usize, last: &str) -> String {
    let mut text = "{ ...f0 ...f0 }".to_owned();
    for level in 0..levels {
        let next = level + 1;
        let _ = write!(text, " fragment f{level} on Query {{ ...f{next} ...f{next} }}");
    }
    let _ = write!(text, " fragment f{levels} on Query {{ {last} }}");
    text
}

fn many(number: usize, item: impl Fn(usize) -> String) -> String {
    (0..number).map(item).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_cost_is_what_the_description_says() {
    assert_eq!(cost("{ jobs(first: 50) { edges { node { client { name } } } } }"), 1 + 50 * 3 + 2);
    assert_eq!(cost("{ streamCursor }"), 1, "never free");
    assert_eq!(cost("{ viewer { name } }"), 1);
    assert_eq!(cost("{ jobs { edges { node { title } } } }"), 1 + 20 * 2, "a connection without a size");
    assert_eq!(cost("{ jobs { ...F } } fragment F on JobConnection { nodes { title } }"), 1 + 20);
    assert_eq!(cost("{ jobs(first: 2, last: 3) { nodes { skills { name } } } }"), 1 + 3 * 2);
    assert_eq!(cost("{ jobs(first: 0) { nodes { title } } }"), 2);
    assert_eq!(cost("{ jobs(first: 1000000) { nodes { title } } }"), 101 + 4, "refused by the resolver");
    assert_eq!(cost("{ jobs(first: -5) { nodes { title } } }"), 2);
    assert_eq!(cost("{ nodes(ids: [\"a\", \"b\", \"c\"]) { ... on Job { client { name } } } }"), 3 * 2);
    assert_eq!(cost("mutation { a: postJob { job { id } } b: postJob { job { id } } }"), 2 * 10 + 2 * 2);
    assert_eq!(cost("mutation { ...M } fragment M on Mutation { signOut { viewer { id } } }"), 12);
    assert_eq!(cost("{ jobs { nodes { id } } jobs { nodes { id } } }"), 43, "what is merged counts each time");
    assert_eq!(cost("{ jobs { nodes { id } } jobs @skip(if: true) { nodes { id } } }"), 43, "and what is skipped");
    let leaves = |count| format!("{{ jobs(first: 100) {{ nodes {{ {} }} }} }}", many(count, |_| "title".to_owned()));
    assert_eq!(cost(&leaves(1)), 101 + 4, "25 values are a point");
    assert_eq!(cost(&leaves(400)), 101 + 1_600);
    assert_refused(check(&leaves(950)), "OPERATION_TOO_COMPLEX This operation has 3901 points; the limit is 2000");
}

#[test]
fn counts_and_what_stands_beside_the_rows_are_paid_once_on_a_page_and_each_time_that_they_are_asked_for() {
    assert_eq!(cost("{ jobs { totalCount } }"), 1 + 10);
    assert_eq!(cost("{ jobs(first: 100) { totalCount pageInfo { hasNextPage } nodes { id } } }"), 1 + 10 + 1 + 104);
    let aliased = many(29, |number| format!("a{number}: totalCount"));
    assert_eq!(cost(&format!("{{ jobs(first: 1) {{ {aliased} }} }}")), 1 + 29 * 10);
    assert_eq!(cost(&format!("{{ jobs(first: 1) {{ ... on JobConnection {{ {aliased} }} }} }}")), 1 + 29 * 10);
    let nested = "{ jobs(first: 10) { nodes { claims(first: 1) { totalCount } } } }";
    assert_eq!(cost(nested), 1 + 10 * (1 + 1 + 10));
}

#[test]
fn searches_and_rankings_are_paid_where_they_are_asked_for() {
    let page = 1 + 20;
    assert_eq!(cost("{ jobs(query: \"rust\") { nodes { id } } }"), page + 10);
    assert_eq!(cost("{ jobs(query: \"  ,\") { nodes { id } } }"), page, "no words");
    assert_eq!(cost("{ jobs(query: \"rust\") { a: totalCount b: totalCount nodes { id } } }"), page + 2 * 10 + 3 * 10);
    let ranked = "orderBy: { field: RELEVANCE, direction: \"DESC\" }";
    assert_eq!(cost(&format!("{{ jobs(query: \"rust\", {ranked}) {{ totalCount nodes {{ id }} }} }}")), page + 50);
    assert_eq!(cost(&format!("{{ jobs({ranked}) {{ nodes {{ id }} }} }}")), page, "refused by the resolver");
    let asked = "query ($q: String, $by: Order, $field: Field! = POSTED, $n: Int = 20) {
        jobs(query: $q, orderBy: $by, first: $n) { totalCount nodes { id } }
        b: jobs(query: $q, orderBy: { field: $field, direction: \"DESC\" }, first: $n) { nodes { id } } }";
    let costs = |values| check_with(asked, values).expect("fine").cost;
    assert_eq!(costs(json!({})), 2 * page + 10 + 1);
    assert_eq!(costs(json!({ "q": "" })), 2 * page + 10 + 1);
    let by = json!({ "field": "RELEVANCE", "direction": "DESC" });
    // What a variable within an object says is taken for the most.
    assert_eq!(costs(json!({ "q": "rust" })), 2 * page + 10 + 1 + 2 * 10 + (10 + 20));
    assert_eq!(costs(json!({ "q": "rust", "by": by, "n": 1 })), 2 * 2 + 10 + 2 * 10 + 20 + (10 + 20));
}

#[test]
fn what_is_done_whatever_the_answer_holds_is_known_by_its_place() {
    let done = |query: &str, values: serde_json::Value, data: serde_json::Value| {
        let prepared = check_with(query, values).expect(query);
        prepared.efforts.done(&async_graphql::Value::from_json(data).expect("a value"))
    };
    let search = "query ($q: String) { list: jobs(query: $q, orderBy: { field: RELEVANCE, direction: \"DESC\" }) {
        a: totalCount totalCount nodes { claims { totalCount } } } }";
    let empty = json!({ "list": { "a": 0, "totalCount": 0, "nodes": [] } });
    assert_eq!(done(search, json!({ "q": "x" }), empty.clone()), 100 * (10 + 20 + 2 * (10 + 10)));
    assert_eq!(done(search, json!({}), empty), 100 * 2 * 10);
    let claims = json!({ "totalCount": 1 });
    let two = json!({ "list": { "nodes": [{ "claims": claims }, { "claims": claims }, { "claims": null }] } });
    assert_eq!(done(search, json!({}), two), 100 * 2 * 10);
    let failed = json!({ "list": null });
    assert_eq!(done(search, json!({ "q": "x" }), failed), 100 * (10 + 20), "it may have run");
    assert_eq!(
        done("mutation { a: postJob { id } b: signOut { id } }", json!({}), json!({ "a": null, "b": {} })),
        2_000
    );
    assert_eq!(
        done("{ jobs { totalCount } jobs { totalCount } }", json!({}), json!({ "jobs": { "totalCount": 1 } })),
        1_000
    );
    assert_eq!(done("mutation { a: postJob { id } }", json!({}), serde_json::Value::Null), 0, "nothing has begun");
}

#[test]
fn page_sizes_in_variables_and_defaults_count_too() {
    let query = "query ($n: Int = 7, $ids: [ID!]!) {
        jobs(first: $n) { nodes { client { name } } } nodes(ids: $ids) { ... on Job { client { id } } } }";
    assert_eq!(check_with(query, json!({"ids": []})).expect("fine").cost, (1 + 7 * 2) + 2);
    assert_eq!(check_with(query, json!({"n": 30, "ids": ["a", "b"]})).expect("fine").cost, (1 + 30 * 2) + 2 * 2 + 1);
    assert_eq!(check_with(query, json!({"n": null, "ids": "a"})).expect("fine").cost, (1 + 20 * 2) + 2);
    // The argument's own default.
    let node = "{ skills { __typename } jobs(first: 1) { nodes { skills { id } } } }";
    assert_eq!(check(node).expect("fine").cost, 1 + 1 + 2);
    let wide = "query ($n: Int) { jobs(first: $n) { nodes { claims(first: $n) { nodes { id } } } } }";
    assert_refused(check_with(wide, json!({"n": 100})), "OPERATION_TOO_COMPLEX This operation has 10601 points");
}

#[test]
fn every_limit_is_kept_and_says_what_to_do() {
    let nested = |levels: usize| format!("{}b{}", "a { ".repeat(levels - 1), " }".repeat(levels - 1));
    let at = |limit: usize, over: usize, make: &dyn Fn(usize) -> String, expected: &str| {
        assert_eq!(problems(check(&make(limit))), [""; 0], "{expected} at the limit");
        let problems = problems(check(&make(limit + over)));
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    };
    at(
        999,
        1,
        &|n| format!("{{ a {{ {} }} }}", many(n, |_| "b".to_owned())),
        "1001 fields and fragments; the limit is 1000",
    );
    at(30, 1, &|n| format!("{{ a {{ {} }} }}", many(n, |i| format!("a{i}: b"))), "31 aliases; the limit is 30");
    at(10, 1, &|n| format!("{{ {} }}", many(n, |i| format!("f{i}"))), "11 root fields; the limit is 10");
    at(
        20,
        1,
        &|n| format!("{{ a {{ {} }} }}", many(n, |_| "b @skip(if: true)".to_owned())),
        "21 directives; the limit is 20",
    );
    at(12, 1, &|n| format!("{{ {} }}", nested(n)), "OPERATION_TOO_DEEP This operation has 13 levels of fields");
    at(
        50,
        1,
        &|n| {
            let spreads = many(n, |i| format!("...f{i}"));
            let defined = many(n, |i| format!("fragment f{i} on A {{ b }}"));
            format!("{{ a {{ {spreads} }} }} {defined}")
        },
        "51 fragments; the limit is 50",
    );
    at(100, 1, &|n| format!("{{ a(list: [{}]) {{ b }} }}", many(n, |i| i.to_string())), "101 items in one input list");
    at(30, 1, &|n| format!("{{ a {{ {} b {} }} }}", "... { ".repeat(n), "}".repeat(n)), "33 levels of selection sets");
    let objects = |levels: usize| {
        let (open, close) = ("and: { ".repeat(levels - 1), "}".repeat(levels));
        format!("{{ a(c: {{ {open} text: \"x\" {close}) {{ b }} }}")
    };
    at(32, 1, &objects, "33 levels in one input value");
    at(128, 1, &|n| format!("query {} {{ f0 }}", "a".repeat(n)), "129 bytes in a name; the limit is 128");
    let tokens = |n: usize| format!("{{ {} }}", "f0 ".repeat(n - 2));
    assert_refused(
        check(&tokens(2_001)),
        "OPERATION_TOO_COMPLEX This operation has 2001 tokens or more; the limit is 2000",
    );
    assert_refused(check(&tokens(2_000)), "fields and fragments");
}

#[test]
fn limits_hold_in_fragments_however_often_they_are_spread() {
    let query = "{ a { ...F ...F ...F } } fragment F on A { ";
    let aliases = many(11, |index| format!("a{index}: b"));
    assert_refused(check(&format!("{query}{aliases} }}")), "33 aliases");
    let fields = "b ".repeat(400);
    assert_refused(check(&format!("{query}{fields} }}")), "fields and fragments; the limit is 1000");
    assert_refused(check_with("query ($x: [Int]) { a(list: $x) { b } }", json!({"x": vec![1; 101]})), "101 items");
    // A fragment that nothing spreads is no way around them.
    assert_refused(check(&format!("{{ f0 }} fragment F on A {{ {} }}", "b ".repeat(1_000))), "fields and fragments");
}

#[test]
fn doubled_fragments_cost_no_time() {
    for last in ["f0", "...Nothing", "a { b }"] {
        for levels in [18, 28] {
            let query = doubled(levels, last);
            let start = Instant::now();
            assert_refused(check(&query), "OPERATION_TOO_COMPLEX");
            assert!(start.elapsed().as_millis() < 500, "{:?} for {} bytes", start.elapsed(), query.len());
        }
    }
    assert_refused(check(&doubled(6, "f0")), "This operation has 128 root fields; the limit is 10.");
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
fn cycles_and_unused_fragments_are_told() {
    assert_refused(
        check("{ ...A } fragment A on Query { f0 ...B } fragment B on Query { f1 ...A ...A }"),
        "within itself",
    );
    assert_refused(check("{ a { ...A } } fragment A on A { a { ...A } }"), "GRAPHQL_VALIDATION_FAILED Cannot spread");
    assert_refused(check("{ f0 } fragment A on Query { f0 }"), "Fragment \"A\" is never used");
    assert_refused(check("{ f0 } fragment A on Query { ...A ...A }"), "Cannot spread fragment \"A\" within itself");
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
}

#[test]
fn the_deepest_texts_take_little_stack() {
    let texts = [
        format!("{{a(b:{}", "[".repeat(100_000)),
        format!("query($a: {}", "[".repeat(100_000)),
        "{a".repeat(100_000),
        format!("{{a(c:{}", "{and:".repeat(50_000)),
        "{...".repeat(100_000),
        // As deep as the parser goes.
        format!("{{ a(list: {}{}) {{ b }} }}", "[".repeat(100), "]".repeat(100)),
        format!("{}b{}", "{a".repeat(55), "}".repeat(55)),
    ];
    // Half of what the runtime gives its threads, in a build that uses far more stack than a release.
    let read = std::thread::Builder::new().stack_size(1024 * 1024);
    let read = read.spawn(move || texts.map(|text| problems(check(&text))));
    for problems in read.expect("a thread").join().expect("no overflow") {
        assert!(problems.iter().all(|problem| problem.starts_with("OPERATION_TOO_DEEP")), "{problems:?}");
        assert!(!problems.is_empty());
    }
}

/// Texts that pass the limits, or are refused late, each made to take some step of the front as long as it can.
fn worst() -> Vec<(&'static str, String)> {
    let sets = |field: &str| format!("{{ {} }}", many(490, |_| field.to_owned()));
    let chain = many(49, |i| format!("fragment f{i} on A {{ a {{ b }} ...f{} }}", i + 1)) + " fragment f49 on A { b }";
    let declared = many(280, |i| format!("$v{i}: Int"));
    let lists = many(19, |_| format!("a(list: [{}]) {{ b }}", many(96, |i| i.to_string())));
    vec![
        ("many fields of one name", sets("f0")),
        ("many sets of one name", format!("{{ {} }}", many(330, |_| "a { b }".to_owned()))),
        ("deep sets of one name", format!("{{ {} }}", many(45, |_| "a{a{a{a{a{a{a{a{a{a{b}}}}}}}}}}".to_owned()))),
        ("doubled fragments", doubled(7, "a { b }")),
        ("a chain of fragments", format!("{{ a {{ ...f0 }} }} {chain}")),
        (
            "unions of one name",
            format!(
                "mutation {{ signOut {{ {} }} }}",
                many(90, |_| {
                    "errors { m: __typename ... on TitleProblem { message } ... on LimitProblem { limit } }".to_owned()
                })
            ),
        ),
        (
            "interfaces in interfaces",
            format!(
                "{{ pet {{ {} }} }}",
                many(12, |_| {
                    "... on Dog { friend { ... on Cat { friend { ... on Dog { friend { name ... on Cat { name } } } } } } } \
             ... on Cat { friend { ... on Dog { friend { ... on Cat { friend { name } } } } } } name".to_owned()
                })
            ),
        ),
        ("many variables", format!("query ({declared}) {{ a(list: [{}]) {{ b }} }}", many(99, |i| format!("$v{i}")))),
        (
            "variables of many operations",
            many(20, |i| format!("query q{i}($a: Int) {{ a {{ ...F }} }}"))
                + " fragment F on A { "
                + &many(190, |_| "c(n: $a)".to_owned())
                + " }",
        ),
        ("lists", format!("{{ {lists} }}")),
        ("a string", format!("{{ a(c: {{ text: \"{}\" }}) {{ b }} }}", "\\u00e9".repeat(42_000))),
        ("wrong escapes", format!("{{ a(c: {{ text: \"{}\" }}) {{ b }} }}", "\\q".repeat(125_000))),
        ("no GraphQL", "%".repeat(250_000)),
        ("no GraphQL in lines", "%\n".repeat(125_000)),
        ("brackets", "{}".repeat(125_000)),
        ("comments", format!("{{ f0 }} #{}", "é".repeat(120_000))),
        ("unknown fields", format!("{{ {} }}", many(900, |i| format!("somethingUnknown{i}")))),
        ("unknown arguments", format!("{{ a({}) {{ b }} }}", many(600, |i| format!("unknown{i}:1")))),
        ("a long line", format!("{{ {} {} }}", " ".repeat(250_000), many(900, |i| format!("unknown{i}")))),
        ("undefined variables", format!("{{ {} }}", many(240, |i| format!("a(b:$v{i}) {{ b }}")))),
    ]
}

#[test]
fn nothing_that_passes_takes_long() {
    for (what, text) in worst() {
        assert!(text.len() <= 256 * 1024, "{what}: {} bytes", text.len());
        let start = Instant::now();
        let _ = check(&text);
        let took = start.elapsed();
        println!("{what}: {took:?} for {} bytes", text.len());
        // A hundred times what a release build takes: what doubles with its input takes far longer.
        assert!(took.as_secs() < 5, "{what} took {took:?}");
    }
}

#[test]
fn many_and_deep_variables_are_read_once_each() {
    let mut deep = json!({ "text": "x" });
    for _ in 0..100 {
        deep = json!({ "and": deep });
    }
    let unknown: serde_json::Map<_, _> =
        (0..20_000).map(|number| (format!("unknown{number}"), json!(number))).collect();
    let query = "query ($c: Filter) { a(c: $c) { b } }";
    assert_eq!(problems(check_with(query, json!({ "c": deep }))), [""; 0]);
    assert_eq!(problems(check_with(query, json!({ "c": unknown.clone() }))).len(), 50, "told the first");
    let prepared = check_with(query, serde_json::Value::Object(unknown)).expect("undeclared");
    assert!(prepared.variables.is_empty(), "what is not declared is not kept");
}
