//! Documents and variables that do not fit the schema: the right code of the closed list, the right HTTP status, and a
//! word that helps.

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};

use super::{Scene, tells_nothing};
use crate::{
    on_both,
    support::{
        http::Reply,
        people::{PASSWORD, fresh_key},
    },
};

const UNFIT: &str = "GRAPHQL_VALIDATION_FAILED";
const UNUSABLE: &str = "BAD_USER_INPUT";

/// What is sent, its code, and what the message must say.
fn mistakes() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let nothing = || json!({});
    let order = "query($o: JobOrder) { jobs(first: 1, orderBy: $o) { nodes { id } } }";
    let filter = "query($f: JobFilter) { jobs(first: 1, filter: $f) { nodes { id } } }";
    let first = "query($n: Int!) { jobs(first: $n) { nodes { id } } }";
    let post = "mutation($i: PostJobInput!) { postJob(input: $i) { job { id } } }";
    let cancel = "mutation($i: CancelJobInput!) { cancelJob(input: $i) { job { id } } }";
    let confirm = "mutation($i: ConfirmTransactionInput!) { confirmTransaction(input: $i) { wallet { id } } }";
    let sign_up = "mutation($i: SignUpInput!) { signUp(input: $i) { user { id } } }";
    let admin = json!({ "email": "a@example.com", "password": PASSWORD, "displayName": "A", "roles": ["ADMIN"] });
    let settle = json!({ "transactionId": "x", "outcome": "MAYBE", "idempotencyKey": "a" });
    vec![
        ("{ jobz(first: 1) { nodes { id } } }", nothing(), UNFIT, "Did you mean \"job\", \"jobs\"?"),
        ("{ jobs(first: 1) { nodes { titles } } }", nothing(), UNFIT, "Did you mean \"title\"?"),
        ("{ jobs(first: 1) { nodes { client { emai } } } }", nothing(), UNFIT, "Did you mean \"email\"?"),
        ("mutation { postJobs(input: {}) { job { id } } }", nothing(), UNFIT, "Did you mean \"postJob\"?"),
        ("{ jobs(frist: 1) { nodes { id } } }", nothing(), UNFIT, "\"frist\""),
        ("query($x: Jobb) { job(id: $x) { id } }", nothing(), UNFIT, "\"Jobb\""),
        ("{ jobs(first: 1) @nope { nodes { id } } }", nothing(), UNFIT, "\"nope\""),
        ("{ job { id } }", nothing(), UNFIT, "\"id\""),
        ("{ viewer }", nothing(), UNFIT, "selection"),
        ("{ viewer { id { x } } }", nothing(), UNFIT, "selection"),
        ("query A { viewer { id } } query B { viewer { id } }", nothing(), UNFIT, "operationName"),
        ("{", nothing(), "GRAPHQL_PARSE_FAILED", "line 1"),
        ("{ viewer { id } } }", nothing(), "GRAPHQL_PARSE_FAILED", "line 1"),
        ("", nothing(), "BAD_REQUEST", "query"),
        (
            "{ jobs(first: 1, orderBy: { field: PRICE, direction: ASC }) { nodes { id } } }",
            nothing(),
            UNUSABLE,
            "\"PRICE\"",
        ),
        ("{ jobs(first: 1, filter: { statuss: [OPEN] }) { nodes { id } } }", nothing(), UNUSABLE, "\"statuss\""),
        ("{ jobs(first: 1.5) { nodes { id } } }", nothing(), UNUSABLE, "\"first\""),
        ("{ claims(status: [OPEN]) { nodes { id } } }", nothing(), UNUSABLE, "\"OPEN\""),
        (order, json!({ "o": { "field": "PRICE", "direction": "ASC" } }), UNUSABLE, "\"PRICE\""),
        (order, json!({ "o": { "field": "budget", "direction": "ASC" } }), UNUSABLE, "\"budget\""),
        (order, json!({ "o": { "field": "BUDGET" } }), UNUSABLE, "\"direction\""),
        (order, json!({ "o": { "field": "BUDGET", "direction": "ASC", "nulls": "LAST" } }), UNUSABLE, "\"nulls\""),
        (filter, json!({ "f": { "status": ["NOPE"] } }), UNUSABLE, "\"NOPE\""),
        (filter, json!({ "f": { "statuss": ["OPEN"] } }), UNUSABLE, "\"statuss\""),
        (filter, json!({ "f": { "anySkill": [null] } }), UNUSABLE, "anySkill"),
        (first, nothing(), UNUSABLE, "$n"),
        (first, json!({ "n": null }), UNUSABLE, "$n"),
        (first, json!({ "n": "1" }), UNUSABLE, "$n"),
        (first, json!({ "n": 1.5 }), UNUSABLE, "$n"),
        (first, json!({ "n": 3_000_000_000_u64 }), UNUSABLE, "$n"),
        (post, nothing(), UNUSABLE, "$i"),
        (post, json!({ "i": { "title": "A title" } }), UNUSABLE, "idempotencyKey"),
        (cancel, json!({ "i": { "id": true } }), UNUSABLE, "$i.id"),
        (cancel, json!({ "i": { "id": "x", "reason": 5 } }), UNUSABLE, "$i.reason"),
        (confirm, json!({ "i": settle }), UNUSABLE, "\"MAYBE\""),
        (sign_up, json!({ "i": admin }), UNUSABLE, "\"ADMIN\""),
    ]
}

/// Sends a body as it is.
async fn send(scene: &Scene, body: String) -> Reply {
    let request = scene.app.http.request(Method::POST, "/graphql");
    let request = request.header(ACCEPT, "application/graphql-response+json").header(CONTENT_TYPE, "application/json");
    Reply::of(request.body(body)).await
}

on_both! {
    async fn a_mistake_has_its_code_and_says_what_helps(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        for (query, variables, code, word) in mistakes() {
            let reply = scene.ada.run(query, variables).await;
            tells_nothing(&reply);
            assert_eq!((reply.status, reply.code()), (StatusCode::BAD_REQUEST, code), "{query}: {reply}");
            assert_eq!(reply.body.get("data"), None, "nothing ran: {reply}");
            assert!(reply.at("/errors/0/message").as_str().expect("a message").contains(word), "{query}: {reply}");
        }
        assert_eq!(scene.footprint().await, before);
    }

    async fn an_old_client_gets_the_same_errors_with_status_200(app: TestApp) {
        for (query, variables, code, _) in mistakes().into_iter().filter(|(query, ..)| !query.is_empty()) {
            let request = app.http.request(Method::POST, "/graphql").header(ACCEPT, "application/json");
            let reply = Reply::of(request.json(&json!({ "query": query, "variables": variables }))).await;
            let expected = if code == "GRAPHQL_PARSE_FAILED" { [StatusCode::OK, StatusCode::BAD_REQUEST] } else { [StatusCode::OK; 2] };
            assert!(expected.contains(&reply.status), "{query}: {reply}");
            assert_eq!(reply.code(), code, "{query}");
        }
    }

    async fn a_body_that_is_no_request_is_refused_before_anything_is_read_from_it(app: TestApp) {
        let scene = Scene::new(&app).await;
        for body in [
            "", "{", "null", "5", "\"{ viewer { id } }\"", "[]", "[{\"query\": \"{ viewer { id } }\"}]", "{\"query\": 5}",
            "{\"query\": \"{ viewer { id } }\", \"variables\": []}", "{\"query\": \"{ viewer { id } }\", \"variables\": \"{}\"}",
            "{\"query\": \"{ viewer { id } }\", \"operationName\": 5}", "{\"query\": \"\\ud800\"}", "{\"query\": \"{ viewer { id } }\"} x",
        ] {
            let reply = send(&scene, body.to_owned()).await;
            tells_nothing(&reply);
            assert_eq!((reply.status, reply.code()), (StatusCode::BAD_REQUEST, "BAD_REQUEST"), "{body}");
        }
        let unknown = json!({ "query": "query A { viewer { id } }", "operationName": "B" }).to_string();
        assert_eq!(send(&scene, unknown).await.code(), UNFIT);
    }

    async fn one_bad_field_leaves_its_siblings(app: TestApp) {
        let scene = Scene::new(&app).await;
        let query = "query($id: ID!) { bad: jobs(first: 0) { nodes { id } } job(id: $id) { title } skills(first: 1) { slug } }";
        let reply = scene.ada.run(query, json!({ "id": scene.open })).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!((reply.at("/data/bad"), reply.at("/data/job/title")), (&Value::Null, &json!("An open job")));
        assert_eq!((reply.code(), reply.at("/errors/0/path")), (UNUSABLE, &json!(["bad"])));
    }

    async fn a_number_beyond_an_int_changes_nothing(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        let update = json!({ "id": scene.open, "expectedVersion": 3_000_000_000_u64, "patch": { "title": "A title" } });
        let claim = json!({ "jobId": scene.open, "expectedVersion": 4_294_967_297_u64, "idempotencyKey": fresh_key() });
        for outcome in [scene.ada.mutate("updateJob", update, "").await, scene.ben.mutate("claimJob", claim, "").await] {
            tells_nothing(&outcome.reply);
            assert_eq!(outcome.code(), UNUSABLE);
        }
        assert_eq!(scene.footprint().await, before);
    }
}
