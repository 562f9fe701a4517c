//! Variables and literals by their types, before anything runs.

use super::*;

#[test]
fn variables_are_what_the_operation_declares() {
    let query = "query ($id: ID!, $n: Int = 3, $names: [Int!], $on: Boolean = true, $f: Filter, $o: Order, $t: DateTime, \
                 $c: Choice) { node(id: $id) { id @skip(if: $on) } jobs(first: $n, filter: $f, orderBy: $o) \
                 { totalCount } a(lists: $names) { b } at(time: $t) one(choice: $c) }";
    for (values, expected) in [
        (json!({}), "BAD_USER_INPUT Variable \"$id\" of required type \"ID!\" was not provided."),
        (json!({"id": null}), "Variable \"$id\" of non-null type \"ID!\" must not be null."),
        (json!({"id": 1.5}), "Variable \"$id\" must be of type \"ID\", but is a number with a fraction"),
        (json!({"id": ["a"]}), "Variable \"$id\" must be of type \"ID\", but is a list."),
        (json!({"id": "a", "n": 3_000_000_000_u32}), "Variable \"$n\" must be of type \"Int\", but is a number out of"),
        (json!({"id": "a", "n": "hunter2"}), "Variable \"$n\" must be of type \"Int\", but is a string."),
        (json!({"id": "a", "n": 1.5}), "Variable \"$n\" must be of type \"Int\", but is a number with a fraction."),
        (json!({"id": "a", "names": [1, null]}), "Variable \"$names.1\" of non-null type \"Int!\" must not be null."),
        (json!({"id": "a", "names": [1, "b"]}), "Variable \"$names.1\" must be of type \"Int\", but is a string."),
        (json!({"id": "a", "on": "true"}), "Variable \"$on\" must be of type \"Boolean\", but is a string."),
        (json!({"id": "a", "f": []}), "Variable \"$f\" must be of type \"Filter\", but is a list."),
        (json!({"id": "a", "f": {"and": {"status": "OPN"}}}), "\"OPN\" is none. Did you mean \"OPEN\"?"),
        (json!({"id": "a", "f": {"txt": "x"}}), "Variable \"$f\" has a field \"txt\" that \"Filter\" does not know."),
        (json!({"id": "a", "f": {"limit": null}}), "Variable \"$f.limit\" of non-null type \"Int!\" must not be null."),
        (json!({"id": "a", "f": {"since": "soon"}}), "Variable \"$f.since\" cannot be used: a DateTime is"),
        (json!({"id": "a", "o": {}}), "Variable \"$o\" lacks the field \"field\" of required type \"Field!\"."),
        (json!({"id": "a", "t": 5}), "Variable \"$t\" cannot be used: a DateTime is"),
        (
            json!({"id": "a", "c": {"name": "x", "number": 1}}),
            "Variable \"$c\" must have exactly one field of \"Choice\"",
        ),
        (json!({"id": "a", "c": {"name": null}}), "Variable \"$c\" must have exactly one field of \"Choice\""),
    ] {
        let problems = problems(check_with(query, values));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{expected} is not {problems:?}");
        assert!(!problems[0].contains("hunter2"), "never what was sent: {problems:?}");
    }
    for fine in [
        json!({"id": "a"}),
        json!({"id": 7, "n": null, "names": null, "unknown": 1}),
        json!({"id": "a", "names": 1, "f": {"status": "OPEN", "and": {"since": "2026", "limit": 1}}}),
        json!({"id": "a", "n": 2.0, "o": {"field": "BUDGET"}, "c": {"number": 1}}),
    ] {
        assert_eq!(problems(check_with(query, fine)), [""; 0]);
    }
}

#[test]
fn all_mistakes_of_all_variables_are_told_up_to_fifty() {
    let query =
        "query ($a: Int!, $l: [Int!], $o: Order) { jobs(first: $a, orderBy: $o) { totalCount } a(lists: $l) { b } }";
    let problems = problems(check_with(query, json!({"l": vec!["x"; 100], "o": {"feild": 1}})));
    assert_eq!(problems.len(), 50);
    assert!(problems[0].contains("\"$a\"") && problems[1].contains("\"$l.0\""), "{problems:?}");
}

#[test]
fn values_arrive_coerced() {
    let query = "query ($id: ID!, $n: Int = 3, $l: [Int!] = 4, $s: [Status!], $x: Int, $f: Float) { node(id: $id) { id } \
                 jobs(first: $n, last: $x, filter: { status: $s }) { totalCount } a(lists: $l) { b } float(of: $f) }";
    let prepared = check_with(query, json!({"id": 7, "s": "OPEN", "unknown": {"a": 1}})).expect("fine");
    assert_eq!(json!(prepared.variables), json!({"id": "7", "n": 3, "l": [4], "s": ["OPEN"]}));
    let prepared = check_with(query, json!({"id": 7.0, "n": 1e1, "l": null, "x": null, "f": 2})).expect("fine");
    assert_eq!(json!(prepared.variables), json!({"id": "7", "n": 10, "l": null, "x": null, "f": 2}));
}

#[test]
fn an_argument_without_a_value_is_left_out() {
    let query = "query ($n: Int, $p: String, $l: Int) { skills(first: $n, prefix: $p) { slug } \
                 jobs(last: $l) { edges { node { claims(first: $n) { totalCount } } } } }";
    assert_eq!(executed(query, json!({"p": "ru"})), "skills(prefix:$p){slug} jobs{edges{node{claims{totalCount}}}}");
    assert_eq!(
        executed(query, json!({"n": 2, "l": null})),
        "skills(first:$n){slug} jobs(last:$l){edges{node{claims(first:$n){totalCount}}}}"
    );
}

#[test]
fn literals_are_checked_before_anything_runs() {
    for (query, expected) in [
        ("{ jobs(first: 1.5) { totalCount } }", "Invalid value for argument \"first\": expected type \"Int\""),
        ("{ jobs(first: 3000000000) { totalCount } }", "Invalid value for argument \"first\": expected type \"Int\""),
        ("{ jobs(first: \"1\") { totalCount } }", "but this is a string."),
        ("{ jobs(filter: { status: [OPN] }) { totalCount } }", "has no value \"OPN\". Did you mean \"OPEN\"?"),
        ("{ jobs(filter: { status: [\"OPEN\"] }) { totalCount } }", "argument \"filter.status.0\""),
        ("{ jobs(filter: { statuss: OPEN }) { totalCount } }", "has no field \"statuss\". Did you mean \"status\"?"),
        ("{ jobs(orderBy: {}) { totalCount } }", "\"Order\" needs the field \"field\"."),
        ("{ jobs(filter: { limit: null }) { totalCount } }", "\"Int!\" must not be null"),
        ("{ node(id: null) { id } }", "\"ID!\" must not be null"),
        ("{ at(time: \"soon\") }", "Invalid value for argument \"time\": a DateTime is"),
        ("{ at(times: [\"2026\", 5]) }", "Invalid value for argument \"times.1\": a DateTime is"),
        ("{ jobs(filter: { and: { since: \"x\" } }) { totalCount } }", "argument \"filter.and.since\": a DateTime"),
        ("query ($t: DateTime = \"x\") { at(time: $t) }", "The default of variable \"$t\" cannot be used: a DateTime"),
        ("query ($n: Int = \"x\") { jobs(first: $n) { totalCount } }", "argument \"$n\": expected type \"Int\""),
        ("{ one(choice: { name: \"x\", number: 1 }) }", "\"Choice\" needs exactly one field"),
        ("{ one(choice: { name: null }) }", "must not be null"),
    ] {
        assert_refused(check(query), &format!("BAD_USER_INPUT {}", ""));
        assert_refused(check(query), expected);
    }
    let error = check("{ f0 jobs(filter: {\n  status: [NO]}) { totalCount } }").expect_err("no status").remove(0);
    assert_eq!(error.locations, [Pos { line: 2, column: 12 }]);
    for fine in [
        "{ a(b: 5, c: { status: OPEN, text: null }) { b } float(of: 1) }",
        "{ at(time: \"2026\", times: \"2026\") one(choice: { number: 1 }) }",
        "query ($l: [Int!] = 1, $n: Int = null) { a(lists: $l) { c(n: $n) } }",
    ] {
        assert_eq!(problems(check(fine)), [""; 0], "{fine}");
    }
}

#[test]
fn strings_may_be_written_in_every_way_that_the_grammar_knows() {
    let text = |literal: &str| {
        let query = format!("mutation {{ postJob(title: {literal}) {{ id }} }}");
        check(&query).map_err(|errors| errors[0].message.clone()).map(|prepared| {
            let value = prepared.root_argument("title").expect("there").node.clone();
            value.into_const().and_then(|value| value.into_json().ok()).expect("a constant")
        })
    };
    for (literal, expected) in [
        (r#""logo \ud83c\udfa8 here""#, "logo 🎨 here"),
        (r#""logo \u{1F3A8} here""#, "logo 🎨 here"),
        (r#""\u00e9\u{e9}\u{0000e9}é""#, "éééé"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        ("\"\"\"\n    a\n      b\n    \"\"\"", "a\n  b"),
        ("\"\"\"say \\\"\"\" \\n\"\"\"", "say \"\"\" \\n"),
        ("\"\"", ""),
    ] {
        assert_eq!(text(literal), Ok(json!(expected)), "{literal}");
    }
    for wrong in
        [r#""\ud83c""#, r#""\udfa8\ud83c""#, r#""\u{110000}""#, r#""\u{d83c}""#, r#""\u{}""#, r#""\x""#, "\"a\nb\""]
    {
        assert!(text(wrong).expect_err(wrong).starts_with("Syntax error at line"), "{wrong}");
    }
}
