//! The same streams read by stock clients: graphql-sse, a browser's `EventSource` and Apollo Client.

use std::time::Duration;

use chrono::DateTime;
use lancewire::clock::Clock;
use serde_json::json;

use super::{TITLES, WALLET, code, sqlite, title};
use crate::{
    clients::Client,
    support::{
        app::{Database, TestApp},
        node,
        people::Person,
    },
};

/// A stock client: `tests/js/stream_client.mjs` says what it understands and tells.
fn stock(app: &TestApp, which: &str, token: Option<&str>) -> Client {
    let mut command = node::script("stream_client.mjs", &format!("http://{}/graphql", app.addr));
    command.arg(which);
    Client::of(command, token.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_sse_lives_through_a_restart_and_a_token_and_misses_nothing() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let app = TestApp::start_with(Database::Sqlite, "", clock.clone()).await;
    let ada = app.client("Ada").await;
    let mut client = stock(&app, "graphql-sse", ada.token.as_deref());
    client.tell(json!({ "op": "subscribe", "id": "jobs", "query": TITLES, "resume": true })).await;
    client.take("connected", Some("jobs")).await;
    app.listening(1).await;
    ada.post_job("Before").await;
    assert_eq!(client.titles("jobs", 1).await, ["Before"]);

    let app = app.restarted().await;
    for title in ["Missed by a hair", "Missed by a mile"] {
        ada.post_job(title).await;
    }
    assert_eq!(client.titles("jobs", 2).await, ["Missed by a hair", "Missed by a mile"]);

    clock.advance(Duration::from_secs(600));
    let ada = Person { token: Some(ada.sign_in_again().await.token.expect("a token")), ..ada };
    client.tell(json!({ "op": "token", "token": ada.token.as_deref() })).await;
    client.tell(json!({ "op": "subscribe", "id": "wallet", "query": WALLET })).await;
    app.listening(2).await;
    clock.advance(Duration::from_secs(300));
    assert_eq!(code(&client.take("next", Some("jobs")).await["payload"]), "TOKEN_EXPIRED");
    ada.post_job("After the end").await;
    assert_eq!(client.titles("jobs", 1).await, ["After the end"]);
    client.tell(json!({ "op": "complete", "id": "jobs" })).await;
    client.take("complete", Some("jobs")).await;
    app.listening(1).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_sse_reports_what_is_refused_at_once() {
    let app = sqlite("").await;
    let mut client = stock(&app, "graphql-sse", None);
    client.tell(json!({ "op": "subscribe", "id": "a", "query": "subscription { jobPosted { nothing } }" })).await;
    assert_eq!(code(&client.take("next", Some("a")).await["payload"]), "GRAPHQL_VALIDATION_FAILED");
    client.take("complete", Some("a")).await;
    client.tell(json!({ "op": "subscribe", "id": "b", "query": "{ skills { slug } }" })).await;
    assert!(client.next("b").await["skills"].is_array());
    client.take("complete", Some("b")).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_event_source_comes_back_by_itself_and_misses_nothing() {
    let app = sqlite("[sockets]\nping_interval_ms = 20").await;
    let ada = app.client("Ada").await;
    let mut client = stock(&app, "eventsource", None);
    client.tell(json!({ "op": "subscribe", "id": "jobs", "query": TITLES })).await;
    client.take("connected", Some("jobs")).await;
    app.listening(1).await;
    // It has had no event yet: the id of a heartbeat is all that it can come back with.
    let app = app.restarted().await;
    ada.post_job("While away").await;
    let first = client.take("next", Some("jobs")).await["payload"].clone();
    assert_eq!(title(&first), "While away");
    assert_eq!(first["lastEventId"], first["data"]["jobPosted"]["cursor"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apollo_client_sees_each_event_before_the_next_one() {
    let app = sqlite("").await;
    let ada = app.client("Ada").await;
    let mut client = stock(&app, "apollo", ada.token.as_deref());
    client.tell(json!({ "op": "subscribe", "id": "jobs", "query": TITLES })).await;
    client.tell(json!({ "op": "subscribe", "id": "wallet", "query": WALLET })).await;
    app.listening(2).await;
    for number in 0..3 {
        ada.post_job(&format!("Job {number}")).await;
        assert_eq!(client.titles("jobs", 1).await, [format!("Job {number}")]);
        client.next("wallet").await;
    }
    client.tell(json!({ "op": "complete", "id": "jobs" })).await;
    app.listening(1).await;
    app.finish().await;
}
