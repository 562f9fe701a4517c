//! Searches for what a database or its text search might take for something else than words.

use serde_json::{Value, json};

use super::{Scene, refused_argument};
use crate::{
    on_both,
    support::people::{Person, new_job},
};

/// Titles of the jobs there are; the last one's description is about others.
const TITLES: [&str; 8] = [
    "Fifty% off_banner design",
    "Node.js and C++ backend",
    "Cotton AND wool OR silk NEAR Prague NOT Berlin",
    "Say \"hello\" to O'Brien",
    "TCP/IP over e-mail, full-stack, v1.2 at https://example.com/path?a=b",
    "Café logo 🦊",
    "column title:secret description",
    "Nothing",
];

/// What is looked for, and the places of the titles that hold all its words.
const SEARCHES: &[(&str, &[usize])] = &[
    ("fifty%", &[0]),
    ("%fifty%", &[0]),
    ("fif%", &[]),
    ("f_fty", &[]),
    ("banner", &[0]),
    ("off_banner", &[0]),
    ("node.js", &[1]),
    ("NODE", &[1]),
    ("js backend", &[1]),
    ("c++", &[1]),
    ("backend wool", &[]),
    ("cotton silk", &[2]),
    ("cotton AND silk", &[2]),
    ("cotton OR backend", &[]),
    ("cotton NOT silk", &[2]),
    ("NEAR(cotton silk)", &[2]),
    ("cotton NEAR/2 silk", &[]),
    ("\"cotton silk\"", &[2]),
    ("hello", &[3]),
    ("\"hello\"", &[3]),
    ("\"hello", &[3]),
    ("he\"llo", &[]),
    ("o'brien", &[3]),
    ("brien's", &[]),
    ("hello*", &[3]),
    ("hel*", &[]),
    ("^hello", &[3]),
    ("hello -cotton", &[3]),
    ("hello -brien", &[]),
    ("cotton -\"silk wool\"", &[]),
    ("cotton -\"silk hello\"", &[2]),
    ("!hello", &[3]),
    ("hello & brien", &[3]),
    ("hello | cotton", &[]),
    ("hello <-> brien", &[3]),
    ("hello:*", &[3]),
    ("(hello", &[3]),
    ("hello))", &[3]),
    ("{title} : hello", &[]),
    ("title:secret", &[6]),
    ("title : secret", &[6]),
    ("rank", &[]),
    ("tcp", &[4]),
    ("tcp/ip", &[4]),
    ("mail", &[4]),
    ("e-mail", &[4]),
    ("stack", &[4]),
    ("full-stack", &[4]),
    ("example.com", &[4]),
    ("example path", &[4]),
    ("https://example.com/path?a=b", &[4]),
    ("v1.2", &[4]),
    ("v1", &[4]),
    ("CAFÉ", &[5]),
    ("cafe\u{301}", &[5]),
    ("logo 🦊", &[5]),
    ("hello'; DROP TABLE jobs; --", &[]),
    ("hello\\", &[3]),
    ("hello ' \" \\ ; --", &[3]),
];

async fn post_all(ada: &Person) {
    for title in TITLES {
        let mut job = new_job(title, "1.00");
        job["description"] = "Plain words.".into();
        ada.post(job).await.good();
    }
}

/// Places of the titles found, in order; the count must agree.
async fn found(who: &Person, search: &str, order: &str) -> Vec<usize> {
    let query =
        "query($q: String, $o: JobOrder) { jobs(first: 100, query: $q, orderBy: $o) { nodes { title } totalCount } }";
    let order = json!({ "field": order, "direction": "DESC" });
    let reply = who.run(query, json!({ "q": search, "o": order })).await;
    let nodes = reply.data()["jobs"]["nodes"].as_array().expect("a list");
    assert_eq!(reply.data()["jobs"]["totalCount"], nodes.len(), "{search}");
    let place = |node: &Value| TITLES.iter().position(|title| node["title"] == *title);
    let mut places: Vec<_> = nodes.iter().filter_map(place).collect();
    places.sort_unstable();
    places
}

on_both! {
    async fn operators_are_plain_characters_between_words(app: TestApp) {
        let ada = app.client("Ada").await;
        post_all(&ada).await;
        let mut wrong = Vec::new();
        for (search, expected) in SEARCHES {
            for order in ["POSTED_AT", "RELEVANCE"] {
                let places = found(&app.anonymous(), search, order).await;
                if places != *expected {
                    wrong.push(format!("{search:?} by {order} finds {places:?} and not {expected:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    async fn a_search_without_a_word_finds_nothing(app: TestApp) {
        let scene = Scene::new(&app).await;
        post_all(&scene.ada).await;
        let blank = ["", "   "];
        for search in blank.into_iter().chain(["%", "_", "*", "\"", "''", "\"\"", "()", "-", ":", "^", "--", "/*", "🦊", "\\", ";", "-hello"]) {
            let all = if blank.contains(&search) { TITLES.len() } else { 0 };
            assert_eq!(found(&app.anonymous(), search, "POSTED_AT").await.len(), all, "{search}");
            let query = "query($q: String) { jobs(first: 1, query: $q, orderBy: { field: RELEVANCE, direction: DESC }) { nodes { id } } }";
            refused_argument(&app.anonymous().run(query, json!({ "q": search })).await, "RELEVANCE");
        }
        let vast = "zebra ".repeat(33);
        assert!(found(&app.anonymous(), &vast, "POSTED_AT").await.is_empty());
        refused_argument(&app.anonymous().run("{ jobs(first: 1, query: \"hello\\u0000\") { nodes { id } } }", json!({})).await, "query");
        for prefix in ["%", "_", "\u{0}", "'", "🦊", "ru%"] {
            let reply = app.anonymous().run("query($p: String) { skills(prefix: $p) { slug } }", json!({ "p": prefix })).await;
            assert_eq!(reply.data()["skills"], json!([]), "{prefix}");
        }
        let reply = app.anonymous().run("query($p: String) { skills(prefix: $p) { slug } }", json!({ "p": "x".repeat(101) })).await;
        refused_argument(&reply, "prefix");
    }
}
