//! Operations over a socket: the same operations, limits and refusals as over HTTP, and nothing that stays behind.

use serde_json::{Value, json};

use crate::{
    limits::mutations,
    support::{
        app::{Database, TestApp, until},
        people::{JOB, fresh_key, money, new_job, text},
        socket::{Socket, Subscription},
    },
};

/// Runs an operation to its one answer.
async fn answer(socket: &Socket, query: &str, variables: Value) -> Value {
    let id = socket.subscribe(query, variables);
    let answer = socket.next(&id).await;
    socket.completed(&id).await;
    answer
}

/// The codes of the errors with which an operation was refused.
async fn refused(socket: &Socket, query: &str, variables: Value) -> Vec<String> {
    let id = socket.subscribe(query, variables);
    codes(socket, &id).await
}

async fn codes(socket: &Socket, id: &Subscription) -> Vec<String> {
    let errors = socket.error(id).await;
    errors.as_array().expect("a list").iter().map(|error| text(error, "/extensions/code")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_and_mutations_run_over_a_socket_too() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.client("Ada").await;
    let socket = ada.socket().await;
    let viewer = answer(&socket, "{ viewer { id email } }", json!({})).await;
    assert_eq!(viewer, json!({ "data": { "viewer": { "id": ada.id, "email": ada.email } } }));

    let post = format!(
        "mutation($input: PostJobInput!) {{ postJob(input: $input) {{ job {{ {JOB} }} errors {{ __typename }} }} }}"
    );
    let posted = answer(&socket, &post, json!({ "input": new_job("Over a socket", "100.00") })).await;
    assert_eq!(posted["data"]["postJob"]["errors"], json!([]));
    let id = text(&posted, "/data/postJob/job/id");
    let query = format!("query($id: ID!) {{ job(id: $id) {{ {JOB} }} }}");
    let read = answer(&socket, &query, json!({ "id": id })).await;
    assert_eq!(read["data"]["job"], posted["data"]["postJob"]["job"]);
    assert_eq!(ada.run(&query, json!({ "id": id })).await.data()["job"], read["data"]["job"], "as over HTTP");

    // A field that fails is data with errors and not the end of the operation without an answer.
    let partly = answer(&socket, "{ viewer { id } transactions(first: 1) { nodes { id } } }", json!({})).await;
    assert_eq!((&partly["data"]["viewer"]["id"], &partly["data"]["transactions"]), (&json!(ada.id), &Value::Null));
    assert_eq!(partly["errors"][0]["extensions"]["code"], "FORBIDDEN");

    let introspection = answer(&socket, "{ __schema { subscriptionType { fields { name } } } }", json!({})).await;
    let fields = &introspection["data"]["__schema"]["subscriptionType"]["fields"];
    assert_eq!(fields.as_array().map(Vec::len), Some(7), "{introspection}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_on_sockets() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.client("Ada").await;
    let socket = ada.socket().await;

    let deep = format!("{{ viewer {{ {} id {} }} }}", "wallet { owner { ".repeat(6), "} } ".repeat(6));
    assert_eq!(refused(&socket, &deep, json!({})).await, ["OPERATION_TOO_DEEP"]);
    let wide = "{ jobs(first: 100) { nodes { client { postedJobs(first: 100) { nodes { client { id } } } } } } }";
    assert_eq!(refused(&socket, wide, json!({})).await, ["OPERATION_TOO_COMPLEX"]);

    let two = "mutation($a: DepositInput!, $b: DepositInput!) { a: deposit(input: $a) { errors { __typename } } \
               b: deposit(input: $b) { errors { __typename } } }";
    let deposit = || json!({ "amount": money("5.00"), "idempotencyKey": fresh_key() });
    let before = app.db_number("SELECT COUNT(*) FROM transactions").await;
    assert_eq!(refused(&socket, two, json!({ "a": deposit(), "b": deposit() })).await, ["OPERATION_TOO_COMPLEX"]);
    assert_eq!(app.db_number("SELECT COUNT(*) FROM transactions").await, before, "neither of the two was made");

    assert_eq!(refused(&socket, "{ nothing }", json!({})).await, ["GRAPHQL_VALIDATION_FAILED"]);
    assert_eq!(refused(&socket, "{ viewer {", json!({})).await, ["GRAPHQL_PARSE_FAILED"]);
    assert_eq!(refused(&socket, "query($id: ID!) { job(id: $id) { id } }", json!({})).await, ["BAD_USER_INPUT"]);
    assert_eq!(socket.ping(json!({ "still": "open" })).await, json!({ "still": "open" }));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_hold_on_sockets() {
    let settings = "[budgets]\nanonymous = 100";
    let app = TestApp::start_with(Database::Sqlite, settings, lancewire::clock::Clock::system()).await;
    let socket = app.socket(None).await;
    let page = "{ jobs(first: 60) { nodes { id } } }";
    for _ in 0..3 {
        // An empty page costs next to nothing, here too.
        assert_eq!(answer(&socket, page, json!({})).await["data"]["jobs"]["nodes"], json!([]));
    }
    answer(&socket, &mutations(5), json!({})).await;
    let id = socket.subscribe(page, json!({}));
    let error = socket.error(&id).await[0].clone();
    assert_eq!(error["extensions"]["code"], "RATE_LIMITED", "{error}");
    assert!(error["extensions"]["retryAfterMs"].as_u64().is_some_and(|millis| millis > 0), "{error}");
    // One budget, whatever the transport.
    let reply = app.anonymous().run(page, json!({})).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (429, "RATE_LIMITED"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_refused_with_its_code() {
    let app = TestApp::start(Database::Sqlite).await;
    let socket = app.socket(None).await;
    for (query, code) in [
        ("subscription { walletUpdated { id } }", "UNAUTHENTICATED"),
        ("subscription { notificationReceived { id } }", "UNAUTHENTICATED"),
        ("subscription { jobPosted { nothing } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothing { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { jobPosted { id } jobUpdated { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { a: jobPosted { id } b: jobPosted { id } }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { ...Two } fragment Two on Subscription { jobPosted { id } jobUpdated { id } }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("subscription { jobPosted(filter: { budget: 5 }) { id } }", "BAD_USER_INPUT"),
        ("subscription A { jobPosted { id } } subscription B { jobPosted { id } }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let codes = refused(&socket, query, json!({})).await;
        assert!(codes.iter().all(|found| found == code) && !codes.is_empty(), "{query}: {codes:?}");
    }
    app.listening(0).await;
    socket.ping(Value::Null).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_may_be_written_in_any_way() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.client("Ada").await;
    let socket = app.socket(None).await;
    let by_fragment = socket.subscribe(
        "subscription { ...Root } fragment Root on Subscription { jobPosted { ...Event } } \
         fragment Event on JobPostedEvent { job { ... on Job { title } } }",
        json!({}),
    );
    let by_alias = socket.subscribe("subscription { fresh: jobPosted { job { name: title } } }", json!({}));
    let by_variables = "subscription Wanted($filter: JobFilter) { jobPosted(filter: $filter) { job { title } } } \
                        query Other { viewer { id } }";
    socket.send(&json!({ "id": "named", "type": "subscribe", "payload": {
        "query": by_variables, "operationName": "Wanted", "variables": { "filter": { "anySkill": ["react"] } },
    } }));
    app.listening(3).await;

    ada.post_job("In Rust").await;
    let mut in_react = new_job("In React", "100.00");
    in_react["skills"] = json!(["react"]);
    ada.post(in_react).await.good();
    for title in ["In Rust", "In React"] {
        assert_eq!(socket.next(&by_fragment).await, json!({ "data": { "jobPosted": { "job": { "title": title } } } }));
        assert_eq!(socket.next(&by_alias).await, json!({ "data": { "fresh": { "job": { "name": title } } } }));
    }
    let first = socket.next(&"named".into()).await;
    assert_eq!(first["data"]["jobPosted"]["job"]["title"], "In React", "the filter kept the other one back");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_remains_of_clients_that_complete_or_vanish() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.client("Ada").await;
    let tasks = app.app.lifecycle.running();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let socket = ada.socket().await;
        for query in ["subscription { jobPosted { id } }", "subscription { walletUpdated { id } }"] {
            socket.subscribe(query, json!({}));
        }
        sockets.push(socket);
    }
    app.listening(40).await;
    assert_eq!(app.app.lifecycle.running(), tasks + 20, "a task a socket, and none for what is quiet");

    let last = sockets.pop().expect("a socket");
    for id in ["1", "2"] {
        last.complete(&id.into());
    }
    app.listening(38).await;
    // No goodbye: their connections break.
    drop(sockets);
    app.listening(0).await;
    last.ping(Value::Null).await;
    last.close().await;
    until("the tasks of the sockets are gone", || app.app.lifecycle.running() <= tasks).await;
    ada.post_job("Nobody listens").await;
    app.finish().await;
}
