//! The language is the same by every door: what the specification refuses is refused before anything runs, and what it
//! allows is answered as it says, over HTTP by POST and by GET, over sockets, as server-sent events and live.

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        footprint::footprint,
        http::Reply,
        people::{Person, fresh_key, new_job, text},
        stream::{SSE, Stream, request},
    },
};

/// The answers to an operation by every transport that may carry it, each with the transport's name.
async fn everywhere(person: &Person, query: &str, variables: &Value) -> Vec<(&'static str, Value)> {
    let mut answers = vec![("POST", person.run(query, variables.clone()).await.body)];
    if !query.starts_with("mutation") {
        let pairs = [("query", query.to_owned()), ("variables", variables.to_string())];
        let parameters = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let get = person.http.request(Method::GET, &format!("/graphql?{parameters}"));
        let get = if let Some(token) = &person.token { get.bearer_auth(token) } else { get };
        answers.push(("GET", Reply::of(get.header(ACCEPT, "application/graphql-response+json")).await.body));
    }
    let sse = request(&person.http, SSE, person.token.as_deref(), query, variables.clone());
    answers.push(("SSE", Stream::open(sse).await.next().await));
    let socket = person.socket().await;
    let id = socket.subscribe(query, variables.clone());
    let answer = socket.answer(&id).await;
    answers.push(("socket", answer));
    socket.close().await;
    answers
}

fn codes(answer: &Value) -> Vec<&str> {
    let errors = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().map(|error| error["extensions"]["code"].as_str().unwrap_or("none")).collect()
}

const UNFIT: &str = "GRAPHQL_VALIDATION_FAILED";
const UNUSABLE: &str = "BAD_USER_INPUT";
const UNREADABLE: &str = "GRAPHQL_PARSE_FAILED";

on_both! {
    async fn what_the_specification_refuses_is_refused_by_every_door(app: TestApp) {
        let ada = app.client("Ada").await;
        for (query, variables, code, word) in [
            // Fields of one name that are not one field, apart, in fragments and deep down.
            ("{ jobs(first: 1) { nodes { x: id x: status } } }", json!({}), UNFIT, "Fields \"x\" conflict"),
            ("{ viewer { id: displayName ...F } } fragment F on User { id }", json!({}), UNFIT, "Fields \"id\" conflict"),
            ("{ viewer { wallet { x: id } } viewer { wallet { x: version } } }", json!({}), UNFIT, "\"x\" conflict"),
            // Variables in places of another type, also within lists and objects.
            ("query($b: Boolean) { viewer { id @include(if: $b) } }", json!({}), UNFIT, "\"Boolean!\" is expected"),
            ("query($f: JobOrder) { jobs(first: 1, filter: $f) { nodes { id } } }", json!({}), UNFIT, "\"JobFilter\""),
            ("query($i: ID) { node(id: $i) { id } }", json!({ "i": "x" }), UNFIT, "\"ID!\" is expected"),
            (
                "query($s: String) { jobs(first: 1, filter: { postedAfter: $s }) { nodes { id } } }",
                json!({ "s": "2026-01-01T00:00:00Z" }), UNFIT, "\"DateTime\" is expected",
            ),
            (
                "query($s: JobStatus) { jobs(first: 1, filter: { status: [$s] }) { nodes { id } } }",
                json!({ "s": "OPEN" }), UNFIT, "\"JobStatus!\" is expected",
            ),
            // Variables that are not what was declared.
            ("query($n: Int!) { jobs(first: $n) { nodes { id } } }", json!({}), UNUSABLE, "\"$n\""),
            ("query($n: Int!) { jobs(first: $n) { nodes { id } } }", json!({ "n": "1" }), UNUSABLE, "\"$n\""),
            (
                "query($f: JobFilter) { jobs(first: 1, filter: $f) { nodes { id } } }",
                json!({ "f": { "postedAfter": "yesterday" } }), UNUSABLE, "\"$f.postedAfter\"",
            ),
            (
                "query($f: JobFilter) { jobs(first: 1, filter: $f) { nodes { id } } }",
                json!({ "f": { "status": ["OPEN", "NONE"] } }), UNUSABLE, "\"$f.status.1\"",
            ),
            ("{ jobs(first: 1, filter: { postedAfter: \"soon\" }) { nodes { id } } }", json!({}), UNUSABLE, "postedAfter"),
            // Directives, names and escapes.
            ("query($n: Int @include(if: true)) { jobs(first: $n) { nodes { id } } }", json!({ "n": 1 }), UNFIT, "@include"),
            ("{ viewer { id @skip(if: true) @skip(if: true) } }", json!({}), UNFIT, "only once"),
            ("query($a: Int) { viewer { id } }", json!({}), UNFIT, "\"$a\" is never used"),
            ("{ jobs(first: 1, query: \"x \\ud83c y\") { nodes { id } } }", json!({}), UNREADABLE, "line 1"),
            ("{ jobs(first: 1, query: \"x \\u{110000} y\") { nodes { id } } }", json!({}), UNREADABLE, "line 1"),
        ] {
            for (transport, answer) in everywhere(&ada, query, &variables).await {
                assert_eq!(codes(&answer)[0], code, "{transport} {query}: {answer}");
                assert!(answer.get("data").is_none(), "nothing ran: {transport} {query}: {answer}");
                let message = answer["errors"][0]["message"].as_str().expect("a message");
                assert!(message.contains(word), "{transport} {query}: {message}");
                let line = answer["errors"][0]["locations"][0]["line"].as_u64();
                assert!(line == Some(1), "{transport} {query} has a place: {answer}");
            }
        }
    }

    async fn what_the_specification_allows_is_answered_alike_by_every_door(app: TestApp) {
        let ada = app.client("Ada").await;
        let job = text(&ada.post_job("In every way").await, "/id");
        let viewer = json!({ "id": ada.id, "displayName": "Ada" });
        let node = json!({ "__typename": "Job", "id": job, "title": "In every way" });
        for (query, variables, expected) in [
            // Defaults of variables count, and values beat them.
            ("query($on: Boolean! = true) { viewer { id displayName @include(if: $on) } }", json!({}), json!({ "viewer": viewer })),
            ("query($on: Boolean! = false) { viewer { id ...P @skip(if: $on) } } fragment P on User { displayName }", json!({}), json!({ "viewer": viewer })),
            ("query($on: Boolean! = true) { viewer { id displayName @include(if: $on) } }", json!({ "on": false }), json!({ "viewer": { "id": ada.id } })),
            ("query($on: Boolean! = true) { viewer @include(if: $on) { id } }", json!({}), json!({ "viewer": { "id": ada.id } })),
            // Arguments without a value have their defaults.
            ("query($n: Int) { skills(first: $n, prefix: \"rus\") { slug } }", json!({}), json!({ "skills": [{ "slug": "rust" }] })),
            ("query($u: Boolean) { viewer { notifications(first: 5, unreadOnly: $u) { nodes { id } } } }", json!({}), json!({ "viewer": { "notifications": { "nodes": [] } } })),
            // One value for a list, one number for an int and an id.
            ("query($s: [JobStatus!]) { jobs(first: 1, filter: { status: $s }) { nodes { id } } }", json!({ "s": "OPEN" }), json!({ "jobs": { "nodes": [{ "id": job }] } })),
            ("query($n: Int!) { jobs(first: $n) { nodes { id } } }", json!({ "n": 1.0 }), json!({ "jobs": { "nodes": [{ "id": job }] } })),
            // Fields that are merged: lists too, whatever is in which part.
            ("{ jobs(first: 1) { nodes { id } } ...F } fragment F on Query { jobs(first: 1) { nodes { title id } } }", json!({}), json!({ "jobs": { "nodes": [{ "id": job, "title": "In every way" }] } })),
            ("query($i: ID!) { node(id: $i) { __typename ... on Job { id } ... on Node { id } ... on Job { title } } }", json!({ "i": job }), json!({ "node": node })),
            ("\"What this is for\" query A(\"How many\" $n: Int = 1) { jobs(first: $n) { nodes { id } } }", json!({}), json!({ "jobs": { "nodes": [{ "id": job }] } })),
            ("{ jobs(first: 1, query: \"every \\u{77}\\u0061y\") { nodes { id } } }", json!({ "unknown": 1 }), json!({ "jobs": { "nodes": [{ "id": job }] } })),
        ] {
            for (transport, answer) in everywhere(&ada, query, &variables).await {
                assert!(answer.get("errors").is_none(), "{transport} {query}: {answer}");
                assert_eq!(answer["data"], expected, "{transport} {query}");
            }
        }
    }

    async fn a_mistake_in_the_second_mutation_is_told_before_the_first_runs(app: TestApp) {
        let ada = app.client("Ada").await;
        let draft = text(&ada.draft(new_job("A draft", "10.00")).await.good(), "/job/id");
        let before = footprint(&app).await;
        let rest = "b: updateJob(input: { id: $id, expectedVersion: $v, patch: { deadline: $d } }) { job { id } } }";
        let query = format!("mutation($in: DraftJobInput!, $id: ID!, $v: Int!, $d: DateTime) {{ a: draftJob(input: $in) {{ job {{ id }} }} {rest}");
        let written = format!(
            "mutation($in: DraftJobInput!, $id: ID!, $v: Int!) {{ a: draftJob(input: $in) {{ job {{ id }} }} {}",
            rest.replace("$d", "\"soon\""),
        );
        let input = || new_job("Never written down", "10.00");
        for (query, variables, word) in [
            (&query, json!({ "in": input(), "id": draft, "v": "one" }), "$v"),
            (&query, json!({ "in": input(), "id": draft, "v": null }), "$v"),
            (&query, json!({ "in": input(), "id": draft, "v": 1, "d": "soon" }), "$d"),
            (&query, json!({ "in": input(), "id": [draft], "v": 1 }), "$id"),
            (&query, json!({ "in": input(), "v": 1 }), "$id"),
            (&written, json!({ "in": input(), "id": draft, "v": 1 }), "deadline"),
        ] {
            for (transport, answer) in everywhere(&ada, query, &variables).await {
                assert_eq!((codes(&answer), answer.get("data")), (vec![UNUSABLE], None), "{transport}: {answer}");
                assert!(answer["errors"][0]["message"].as_str().expect("words").contains(word), "{transport}: {answer}");
            }
        }
        assert_eq!(footprint(&app).await, before, "the first has not run");
        let fine = ada.run(&query, json!({ "in": input(), "id": draft, "v": 1 })).await;
        assert!(fine.at("/data/a/job/id").is_string(), "without the mistake it does: {fine}");
    }

    async fn a_mutation_that_is_selected_twice_runs_once(app: TestApp) {
        let ada = app.client("Ada").await;
        let query = "mutation($in: DraftJobInput!) { draftJob(input: $in) { job { title } } ...F } \
                     fragment F on Mutation { draftJob(input: $in) { errors { __typename } job { status title } } }";
        let count = app.db_number("SELECT COUNT(*) FROM jobs").await;
        let mut written = 0;
        for (transport, answer) in everywhere(&ada, query, &json!({ "in": new_job("Twice", "10.00") })).await {
            // The key is the same each time, so that the first is the only one that writes.
            let payload = json!({ "job": { "title": "Twice", "status": "DRAFT" }, "errors": [] });
            assert_eq!(answer["data"], json!({ "draftJob": payload }), "{transport}: {answer}");
            written += 1;
        }
        assert_eq!((written, app.db_number("SELECT COUNT(*) FROM jobs").await), (3, count + 1));
        let other = "mutation($in: DraftJobInput!, $o: DraftJobInput!) { draftJob(input: $in) { job { id } } draftJob(input: $o) { job { id } } }";
        let variables = json!({ "in": new_job("One", "1.00"), "o": new_job("Other", "1.00") });
        assert_eq!(ada.run(other, variables).await.code(), UNFIT);
        assert_eq!(app.db_number("SELECT COUNT(*) FROM jobs").await, count + 1);
    }

    async fn live_events_and_replay_take_defaults_and_merge_too(app: TestApp) {
        let ada = app.client("Ada").await;
        let query = "subscription($on: Boolean! = true, $off: Boolean! = false, $after: String) { jobPosted(after: $after) { cursor job { id } \
                     ... on JobPostedEvent @include(if: $on) { job { title description @include(if: $off) } } } }";
        let cursor = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let socket = ada.socket().await;
        let (plain, without) = (socket.subscribe(query, json!({})), socket.subscribe(query, json!({ "on": false, "unknown": [] })));
        socket.ping(Value::Null).await;
        let mut stream = Stream::open(request(&app.http, SSE, ada.token.as_deref(), query, json!({}))).await;
        app.listening(3).await;
        let job = text(&ada.post_job("Seen live").await, "/id");
        let whole = json!({ "id": job, "title": "Seen live" });
        assert_eq!(socket.next(&plain).await["data"]["jobPosted"]["job"], whole);
        assert_eq!(socket.next(&without).await["data"]["jobPosted"]["job"], json!({ "id": job }));
        assert_eq!(stream.next().await["data"]["jobPosted"]["job"], whole);
        for (variables, expected) in [
            (json!({ "after": cursor }), whole.clone()),
            (json!({ "after": cursor, "on": false }), json!({ "id": job })),
        ] {
            let id = socket.subscribe(query, variables.clone());
            assert_eq!(socket.next(&id).await["data"]["jobPosted"]["job"], expected, "replayed: {variables}");
        }
        for (variables, word) in [(json!({ "on": null }), "$on"), (json!({ "after": 7 }), "$after"), (json!({ "on": "yes" }), "$on")] {
            let id = socket.subscribe(query, variables);
            let error = socket.error(&id).await[0].clone();
            assert_eq!(error["extensions"]["code"], UNUSABLE, "{error}");
            assert!(error["message"].as_str().expect("words").contains(word), "{error}");
        }
    }

    async fn half_a_character_costs_its_own_operation(app: TestApp) {
        let ada = app.client("Ada").await;
        let socket = ada.socket().await;
        let live = socket.subscribe("subscription { jobPosted { job { id } } }", json!({}));
        socket.ping(Value::Null).await;
        app.listening(1).await;
        let half = r#"{"query":"query($q:String){jobs(query:$q,first:1){nodes{id}}}","variables":{"q":"logo \ud83d"}}"#;
        let within = r#"{"query":"{jobs(query:\"\udfa8\",first:1){nodes{id}}}"}"#;
        let large = r#"{"query":"query($n:Int!){jobs(first:$n){nodes{id}}}","variables":{"n":1e999}}"#;
        let deep = format!(r#"{{"query":"{{viewer{{id}}}}","variables":{{"x":{}{}}}}}"#, "[".repeat(500), "]".repeat(500));
        for (payload, code, word) in [
            (half, UNUSABLE, "\"$q\" holds half"),
            (within, "BAD_REQUEST", "\"query\" holds half"),
            (large, "BAD_REQUEST", "out of range"),
            (&deep, "BAD_REQUEST", "recursion limit"),
        ] {
            let error = socket.error(&socket.subscribe_raw(payload)).await[0].clone();
            assert_eq!(error["extensions"]["code"], code, "{payload}: {error}");
            assert!(error["message"].as_str().expect("words").contains(word), "{payload}: {error}");
            let post = |accept: &str| {
                let post = app.http.request(Method::POST, "/graphql").header(CONTENT_TYPE, "application/json");
                post.header(ACCEPT, accept).body(payload.to_owned())
            };
            let reply = Reply::of(post("application/graphql-response+json")).await;
            assert_eq!((reply.code(), reply.status), (code, StatusCode::BAD_REQUEST), "{payload}: {reply}");
            if payload == half || payload == within {
                let event = Stream::open(post(SSE)).await.next().await;
                assert_eq!(codes(&event), [code], "{payload}: {event}");
            }
        }
        let query: String = url::form_urlencoded::byte_serialize(b"query($q:String){jobs(query:$q,first:1){nodes{id}}}").collect();
        let get = app.http.request(Method::GET, &format!("/graphql?query={query}&variables=%7B%22q%22:%22%5Cud83d%22%7D"));
        let reply = Reply::of(get.header(ACCEPT, "application/graphql-response+json")).await;
        assert_eq!((reply.code(), reply.status), (UNUSABLE, StatusCode::BAD_REQUEST), "{reply}");
        // What ran on the socket goes on, and whole characters in the same spelling are text.
        let job = text(&ada.post(json!({
            "title": "Still here", "description": "x", "budget": { "amount": "1.00", "currencyCode": "USD" },
            "skills": [], "idempotencyKey": fresh_key(),
        })).await.good(), "/job/id");
        assert_eq!(socket.next(&live).await["data"]["jobPosted"]["job"]["id"], json!(job));
        let whole = socket.subscribe_raw(&half.replace("\\ud83d", "\\ud83c\\udfa8"));
        assert_eq!(socket.next(&whole).await["data"]["jobs"]["nodes"], json!([]));
    }
}
