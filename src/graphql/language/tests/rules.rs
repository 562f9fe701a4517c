//! Each rule of validation, by documents that break it and documents that nearly do.

use super::*;

#[test]
fn each_rule_is_kept() {
    for (query, expected) in [
        // 5.2: operations
        ("query A { f0 } query A { f1 }", "There can be only one operation named \"A\"."),
        ("{ f0 } query A { f1 }", "An operation without a name must be the only one"),
        // 5.3: fields
        ("{ nothing }", "Unknown field \"nothing\" on type \"Query\"."),
        ("{ viewr { name } }", "Did you mean \"viewer\"?"),
        ("{ node(id: 1) { title } }", "Did you mean to ask for it in \"... on Job { title }\"?"),
        ("mutation { signOut { errors { message } } }", "Unknown field \"message\" on type \"Problem\"."),
        ("{ f0 { x } }", "Field \"f0\" must not have a selection"),
        ("{ viewer }", "Field \"viewer\" of type \"User\" must have a selection of subfields"),
        // 5.4: arguments
        ("{ jobs(frist: 1) { totalCount } }", "Unknown argument \"frist\" on field \"jobs\". Did you mean \"first\"?"),
        ("{ jobs(first: 1, first: 1) { totalCount } }", "There can be only one argument named \"first\"."),
        ("{ node { id } }", "Field \"node\" needs the argument \"id\" of type \"ID!\"."),
        ("{ f0 @skip }", "Directive \"@skip\" needs the argument \"if\" of type \"Boolean!\"."),
        ("{ f0 @skip(if: true, unless: 1) }", "Unknown argument \"unless\" on directive \"@skip\"."),
        // 5.5: fragments
        ("{ ...F ...F } fragment F on Query { f0 } fragment F on Query { f1 }", "only one fragment named \"F\""),
        ("{ ...F } fragment F on Nowhere { f0 }", "Unknown type \"Nowhere\"."),
        ("{ viewer { ... on Usr { name } } }", "Unknown type \"Usr\". Did you mean \"User\"?"),
        ("{ viewer { ...F } } fragment F on Status { name }", "cannot be on \"Status\""),
        ("{ viewer { ... on Int { name } } }", "cannot be on \"Int\""),
        ("{ f0 } fragment F on Query { f0 }", "Fragment \"F\" is never used."),
        ("{ ...G }", "Unknown fragment \"G\"."),
        ("{ viewer { ... on Job { title } } }", "A fragment on \"Job\" cannot be spread in \"User\""),
        ("{ viewer { ...F } } fragment F on Job { title }", "Fragment \"F\" cannot be spread in \"User\""),
        ("{ pet { ... on Node { id } } }", "cannot be spread in \"Pet\""),
        // 5.6: values
        ("{ jobs(filter: { text: \"a\", text: \"b\" }) { totalCount } }", "only one input field named \"text\""),
        // 5.7: directives
        ("{ f0 @nope }", "Unknown directive \"nope\"."),
        ("{ f0 @skp(if: true) }", "Did you mean \"skip\"?"),
        ("query @skip(if: true) { f0 }", "Directive \"@skip\" may not be used on QUERY."),
        (
            "query ($n: Int @include(if: true)) { jobs(first: $n) { totalCount } }",
            "may not be used on VARIABLE_DEFINITION",
        ),
        ("{ f0 @skip(if: true) @skip(if: true) }", "Directive \"@skip\" can be used only once here."),
        // 5.8: variables
        ("query ($a: Int, $a: Int) { jobs(first: $a) { totalCount } }", "only one variable named \"$a\""),
        ("query ($a: User) { jobs(first: $a) { totalCount } }", "cannot be of type \"User\""),
        ("query ($a: Itn) { jobs(first: $a) { totalCount } }", "Unknown type \"Itn\". Did you mean \"Int\"?"),
        ("{ jobs(first: $a) { totalCount } }", "Variable \"$a\" is not defined by this operation."),
        ("query A { ...F } fragment F on Query { jobs(first: $a) { totalCount } }", "not defined by operation \"A\""),
        ("query ($a: Int) { f0 }", "Variable \"$a\" is never used."),
        ("{ f0 @include(if: $a) }", "Variable \"$a\" is not defined"),
    ] {
        assert_refused(check(query), &format!("GRAPHQL_VALIDATION_FAILED {}", ""));
        assert_refused(check(query), expected);
        let errors = check(query).expect_err(query);
        assert!(errors.iter().all(|error| !error.locations.is_empty()), "{query}: {errors:?}");
    }
}

#[test]
fn variables_stand_only_where_their_type_fits() {
    for (query, expected) in [
        ("query ($b: Boolean) { f0 @include(if: $b) }", "\"Boolean\" cannot stand where \"Boolean!\" is expected"),
        ("query ($b: String = \"a\") { f0 @include(if: $b) }", "\"String\" cannot stand"),
        ("query ($f: Order) { jobs(filter: $f) { totalCount } }", "\"Order\" cannot stand where \"Filter\""),
        ("query ($n: Float) { jobs(first: $n) { totalCount } }", "\"Float\" cannot stand"),
        ("query ($i: ID) { node(id: $i) { id } }", "\"ID\" cannot stand where \"ID!\""),
        ("query ($i: ID = null) { node(id: $i) { id } }", "\"ID\" cannot stand where \"ID!\""),
        ("query ($i: Int!) { node(id: $i) { id } }", "\"Int!\" cannot stand where \"ID!\""),
        (
            "query ($s: String) { jobs(filter: { since: $s }) { totalCount } }",
            "\"String\" cannot stand where \"DateTime\"",
        ),
        ("query ($s: [Status]) { jobs(filter: { status: $s }) { totalCount } }", "\"[Status]\" cannot stand"),
        ("query ($s: Status!) { jobs(filter: { status: $s }) { totalCount } }", "\"Status!\" cannot stand"),
        (
            "query ($s: Status) { jobs(filter: { status: [$s] }) { totalCount } }",
            "\"Status\" cannot stand where \"Status!\"",
        ),
        ("query ($s: String!) { jobs(orderBy: { field: $s }) { totalCount } }", "\"String!\" cannot stand"),
        ("query ($n: String) { one(choice: { name: $n }) }", "must be of a non-null type"),
    ] {
        assert_refused(check(query), expected);
    }
    for (query, values) in [
        ("query ($n: Int!) { jobs(first: $n) { totalCount } }", json!({"n": 1})),
        ("query ($i: ID = \"x\") { node(id: $i) { id } }", json!({})),
        ("query ($s: [Status!]) { jobs(filter: { status: $s }) { totalCount } }", json!({"s": "OPEN"})),
        ("query ($s: Status!) { jobs(filter: { status: [$s] }) { totalCount } }", json!({"s": "OPEN"})),
        ("query ($n: Int) { jobs(filter: { limit: $n }) { totalCount } }", json!({})),
        ("query ($n: Int) { skills(first: $n) { slug } }", json!({})),
        ("query ($n: String!) { one(choice: { name: $n }) }", json!({"n": "x"})),
    ] {
        assert_eq!(problems(check_with(query, values)), [""; 0], "{query}");
    }
}

#[test]
fn what_the_edition_of_2025_added_is_there() {
    for query in [
        "\"What it is for\" query A(\"How many\" $n: Int) { jobs(first: $n) { totalCount } }",
        "{ a { ...F } } \"A part\" fragment F on A { b }",
        "{ __type(name: \"Choice\") { isOneOf inputFields(includeDeprecated: true) { isDeprecated deprecationReason } } }",
        "{ __schema { description directives { isRepeatable args(includeDeprecated: true) { name } } } }",
        "query A($on: Boolean! = true) { __type(name: \"Choice\") { name isOneOf @include(if: $on) } }",
        "query A { f0 } query B { f1 } fragment F on Query { f2 } query C { ...F }",
    ] {
        let named = documents().prepare(
            query,
            query.contains("query A").then_some("A"),
            &SentVariables::default(),
            &Limits::default(),
            &[],
        );
        assert_eq!(problems(named), [""; 0], "{query}");
    }
    assert_refused(check("\"No name\" { f0 }"), "GRAPHQL_PARSE_FAILED");
    assert_refused(check("{ __type(name: \"A\") { isOneOf { x } } }"), "Unknown field \"isOneOf\"");
    assert_refused(check("{ isOneOf }"), "Unknown field \"isOneOf\" on type \"Query\".");
}

#[test]
fn fields_of_one_name_are_one_field() {
    for (query, expected) in [
        ("{ x: f0 x: f1 }", "Fields \"x\" conflict: \"f0\" and \"f1\" are different fields."),
        ("{ viewer { name name: email } }", "they return \"String!\" and \"String\""),
        ("{ jobs(first: 1) { totalCount } jobs(first: 2) { totalCount } }", "they have differing arguments"),
        ("{ jobs { totalCount } jobs(first: 2) { totalCount } }", "they have differing arguments"),
        (
            "query ($a: Int, $b: Int) { jobs(first: $a) { totalCount } jobs(first: $b) { totalCount } }",
            "differing arguments",
        ),
        // One plain, one in a fragment, and both in fragments of fragments.
        ("{ x: f0 ...F } fragment F on Query { x: f1 }", "different fields"),
        (
            "{ ...F ...G } fragment F on Query { ...H } fragment G on Query { x: f0 } fragment H on Query { x: f1 }",
            "different",
        ),
        ("{ ... { x: f0 } ... @include(if: false) { x: f1 } }", "different fields"),
        // Deep down, in sets that are merged.
        ("{ viewer { wallet { x: balance } } viewer { wallet { x: owner { id } } } }", "they return"),
        ("{ a { a { x: b } } ...F } fragment F on Query { a { a { x: c } } }", "they return \"String\" and \"Int\""),
        ("{ a { x: c(n: 1) } a { x: c(n: 2) } }", "differing arguments"),
        // Abstract types: what can be of one object, and shapes wherever they stand.
        ("{ node(id: 1) { x: id ... on Job { x: title } } }", "they return"),
        ("{ node(id: 1) { ... on Job { x: id } ... on Job { x: status } } }", "they return"),
        ("{ node(id: 1) { ... on Job { x: title } ... on User { x: email } x: __typename } }", "they return"),
        ("{ pet { ... on Dog { size } ... on Cat { size } } }", "they return \"Int\" and \"String\""),
        ("{ pet { ... on Dog { x: barks } ... on Cat { x: meows } } }", "they return \"Boolean!\" and \"Boolean\""),
        ("{ pet { ... on Dog { friend { x: name } } ... on Cat { friend { x: __typename } } } }", "they return"),
        ("mutation { signOut { errors { x: __typename ... on TitleProblem { x: message } } } }", "different fields"),
        (
            "mutation { signOut { errors { x: __typename } errors { ... on TitleProblem { x: message } } } }",
            "different",
        ),
    ] {
        assert_refused(check_with(query, json!({})), "GRAPHQL_VALIDATION_FAILED Fields \"");
        assert_refused(check_with(query, json!({})), expected);
    }
    let error = check("{ x: f0\n x: f1 }").expect_err("a conflict").remove(0);
    assert_eq!(error.locations, [Pos { line: 1, column: 3 }, Pos { line: 2, column: 2 }]);
    for fine in [
        "{ f0 f0 ...F } fragment F on Query { f0 }",
        "{ jobs(first: 1, last: 2) { totalCount } jobs(last: 2, first: 1) { pageInfo { hasNextPage } } }",
        "{ a(c: { text: \"x\", limit: 1 }) { b } a(c: { limit: 1, text: \"x\" }) { c } }",
        "{ pet { ... on Dog { x: name } ... on Cat { x: name } } }",
        "{ pet { ... on Dog { c: size } ... on Cat { d: size } } }",
        "{ node(id: 1) { ... on Job { x: title } ... on User { x: email } } }",
        "mutation { signOut { errors { ... on TitleProblem { message } ... on LimitProblem { message } } } }",
        "mutation { signOut { errors { x: __typename x: __typename ... on TitleProblem { x: __typename } } } }",
    ] {
        assert_eq!(problems(check(fine)), [""; 0], "{fine}");
    }
}

#[test]
fn a_subscription_has_one_root_field() {
    for (query, expected) in [
        ("subscription { jobPosted { id } jobUpdated { id } }", "must select only one root field"),
        (
            "subscription { jobPosted { id } ...F } fragment F on Subscription { jobUpdated { id } }",
            "only one root field",
        ),
        (
            "subscription { ...F ...G } fragment F on Subscription { jobPosted { id } } \
          fragment G on Subscription { ... { jobUpdated { id } } }",
            "only one root field",
        ),
        ("subscription { x: jobPosted { id } y: jobPosted { id } }", "only one root field"),
        ("subscription { jobPosted(after: \"1\") { id } jobPosted(after: \"2\") { id } }", "differing arguments"),
        ("subscription { __typename }", "must not select \"__typename\""),
        ("subscription { ... { x: __typename } }", "must not select \"__typename\""),
        ("subscription { jobPosted { id } __typename }", "only one root field"),
        ("subscription { jobPosted @skip(if: false) { id } }", "must not use @skip or @include"),
        ("subscription ($x: Boolean!) { ... @include(if: $x) { jobPosted { id } } }", "must not use @skip or @include"),
        ("subscription { ...F } fragment F on Query { f0 }", "Fragment \"F\" cannot be spread in \"Subscription\""),
        ("subscription { ...F }", "Unknown fragment \"F\""),
        ("subscription { f0 }", "Unknown field \"f0\""),
        ("{ f0 } subscription A { jobPosted { id } jobUpdated { id } }", "must be the only one"),
        ("query A { f0 } subscription B { jobPosted { id } jobUpdated { id } }", "only one root field"),
    ] {
        assert_refused(check_with(query, json!({"x": true})), "GRAPHQL_VALIDATION_FAILED");
        assert_refused(check_with(query, json!({"x": true})), expected);
    }
    let fine = "subscription { jobPosted { id } ...F } fragment F on Subscription { jobPosted { id title } }";
    assert_eq!(executed(fine, json!({})), "jobPosted{id title}");
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
    assert_refused(check("mutation { signIn { id } x: signIn @skip(if: true) { id } }"), "must come alone");
    assert_eq!(problems(check("mutation { signIn { id } a: claimJob { id } b: claimJob { id } }")), [""; 0]);
    assert_eq!(problems(check("mutation { signIn { id } signIn { job { id } } }")), [""; 0], "merged: it runs once");
}

#[test]
fn a_document_with_a_thousand_mistakes_is_told_the_first() {
    let wrong = (0..900).map(|number| format!("wrong{number}")).collect::<Vec<_>>().join(" ");
    let errors = check(&format!("{{ {wrong} }}")).expect_err("all wrong");
    assert_eq!(errors.len(), 50);
    assert!(errors.iter().all(|error| code(error) == Some("GRAPHQL_VALIDATION_FAILED")));
    assert_eq!(errors[0].message, "Unknown field \"wrong0\" on type \"Query\".", "in the order of the text");
}
