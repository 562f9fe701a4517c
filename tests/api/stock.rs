//! async-graphql-axum's handlers at `/stock/graphql`, with every protection in place that our own transports have.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, until},
        http::Reply,
        people::PASSWORD,
        socket::Socket,
    },
};
use lancewire::clock::Clock;

const STOCK: &str = "/stock/graphql";
const POSTED: &str = "subscription { jobPosted { cursor job { title } } }";
const WALLET: &str = "subscription { walletUpdated { cursor } }";

async fn post(app: &TestApp, token: Option<&str>, query: &str) -> Reply {
    let request = app.http.request(Method::POST, STOCK).json(&json!({ "query": query }));
    Reply::of(if let Some(token) = token { request.bearer_auth(token) } else { request }).await
}

async fn silent(app: &TestApp, headers: &[(&str, &str)]) -> Socket {
    Socket::connect_raw_to(app.addr, STOCK, headers).await.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

on_both! {
    async fn requests_pass_the_same_door(app: TestApp) {
        let ada = app.client("Ada").await;
        let hers = post(&app, ada.token.as_deref(), "{ viewer { id } }").await;
        assert_eq!(hers.at("/data/viewer/id"), &json!(ada.id));
        let forged = post(&app, Some("forged"), "{ viewer { id } }").await;
        assert_eq!((forged.status.as_u16(), forged.code()), (401, "UNAUTHENTICATED"));
        // What a page of another origin can send without asking first does not run.
        let mutation = format!(r#"mutation {{ signIn(input: {{ email: "{}", password: "{PASSWORD}" }}) {{ session {{ accessToken }} }} }}"#, ada.email);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", &mutation).finish();
        let by_get = Reply::of(app.http.request(Method::GET, &format!("{STOCK}?{query}"))).await;
        assert_eq!(by_get.status, 405);
        for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"] {
            let body = json!({ "query": mutation }).to_string();
            let request = app.http.request(Method::POST, STOCK).header(header::CONTENT_TYPE, content_type).body(body);
            assert_eq!(Reply::of(request).await.status, 415, "{content_type}");
        }
        let large = format!("{{ streamCursor }} #{}", "x".repeat(300 * 1024));
        assert_eq!(post(&app, None, &large).await.status, 413);
        let batch = app.http.request(Method::POST, STOCK).json(&json!([{ "query": "{ streamCursor }" }]));
        assert_eq!(Reply::of(batch).await.code(), "BAD_REQUEST");
        let deep = format!("{{ viewer {{ {} id {} }} }}", "wallet { owner { ".repeat(20), "} }".repeat(20));
        assert_ne!(post(&app, None, &deep).await.body["errors"], Value::Null);
        assert_eq!(post(&app, None, "{ jobs(first: 1000) { nodes { id } } }").await.code(), "BAD_USER_INPUT");
        assert_eq!(post(&app, None, "{ nothing }").await.code(), "GRAPHQL_VALIDATION_FAILED");
        assert_eq!(post(&app, None, POSTED).await.code(), "BAD_REQUEST", "it has one answer");
        let multipart = app.http.request(Method::POST, STOCK).header(header::ACCEPT, "multipart/mixed;subscriptionSpec=1.0");
        assert_eq!(Reply::of(multipart.json(&json!({ "query": POSTED }))).await.code(), "BAD_REQUEST", "it has no seat");
    }

    async fn sockets_pass_the_same_door(app: TestApp) {
        let ada = app.client("Ada").await;
        let older = Socket::connect_raw_to(app.addr, STOCK, &[("sec-websocket-protocol", "graphql-ws")]).await;
        assert_eq!(older.err().map(|refusal| refusal.status.as_u16()), Some(400));
        let forged = silent(&app, &[]).await;
        forged.send(&json!({ "type": "connection_init", "payload": { "Authorization": "Bearer forged" } }));
        assert_eq!(forged.closed().await.0, 4403);
        // A token of the upgrade counts where `connection_init` has none, and the other way round it is the later word.
        let token = format!("Bearer {}", ada.token.as_deref().expect("a token"));
        let by_header = silent(&app, &[("authorization", &token)]).await;
        by_header.send(&json!({ "type": "connection_init" }));
        by_header.acknowledged().await;
        let by_payload = Socket::connect_to(app.addr, STOCK, ada.token.as_deref()).await;
        let nobody = Socket::connect_to(app.addr, STOCK, None).await;
        let feeds = [&by_header, &by_payload].map(|socket| socket.subscribe(WALLET, json!({})));
        let refused = nobody.subscribe(WALLET, json!({}));
        assert_eq!(nobody.answer(&refused).await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
        until("both follow", || app.app.services.hub.followers() == 2).await;
        ada.post_job("Port it").await;
        by_header.next(&feeds[0]).await;
        by_payload.next(&feeds[1]).await;
        ada.run("mutation { signOut { errors { __typename } } }", json!({})).await;
        assert_eq!(by_header.closed().await.0, 4403, "the session has ended");
        assert_eq!(by_payload.closed().await.0, 4403);
        until("nothing follows", || app.app.services.hub.followers() == 0).await;
        nobody.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused() {
    let settings = "[http]\nallowed_origins = [\"https://market.example\"]\n[sockets]\ninit_timeout_ms = 200\noperations_per_socket = 2\nsockets_per_user = 1\nmessages_per_minute = 20\n\
                    [subscriptions]\ngroups_per_user = 1\n[budgets]\nanonymous = 400\naddress = 100000000";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let ada = app.client("Ada").await;
    let refused = Socket::connect_raw_to(app.addr, STOCK, &[("origin", "https://evil.example")]).await;
    assert_eq!(refused.err().map(|refusal| refusal.status.as_u16()), Some(403));
    let late = silent(&app, &[]).await;
    assert_eq!(late.closed().await.0, 4408);
    let first = Socket::connect_to(app.addr, STOCK, ada.token.as_deref()).await;
    let second = silent(&app, &[]).await;
    second.send(&json!({ "type": "connection_init", "payload": { "authToken": ada.token.as_deref() } }));
    assert_eq!(second.closed().await.0, 1013, "one socket a user");
    first.subscribe(POSTED, json!({}));
    until("it follows", || app.app.services.hub.followers() == 1).await;
    let another = first.subscribe(WALLET, json!({}));
    assert_eq!(first.answer(&another).await["errors"][0]["extensions"]["code"], "RATE_LIMITED", "one selection a user");
    for _ in 0..30 {
        first.send(&json!({ "type": "pong" }));
    }
    assert_eq!(first.closed().await.0, 1013, "too many messages");
    // A budget is one, whichever way the operations come.
    let mut last = post(&app, None, "{ streamCursor }").await;
    for _ in 0..500 {
        if last.body["errors"].is_array() {
            break;
        }
        last = post(&app, None, "{ streamCursor }").await;
    }
    assert_eq!(last.code(), "RATE_LIMITED");
    let ours = app.http.graphql(None, "{ streamCursor }", json!({})).await;
    assert_eq!(ours.code(), "RATE_LIMITED");
    // Who stops tells them to come back, and waits for them.
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_sends_them_home() {
    let app = TestApp::start(Database::Sqlite).await;
    let socket = Socket::connect_to(app.addr, STOCK, None).await;
    socket.subscribe(POSTED, json!({}));
    until("it follows", || app.app.services.hub.followers() == 1).await;
    app.app.lifecycle.stop();
    assert_eq!(socket.closed().await.0, 1012);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_off_in_production() {
    let app = TestApp::start_with(Database::Sqlite, "[http]\nstock_mount = false", Clock::system()).await;
    assert_eq!(post(&app, None, "{ streamCursor }").await.status, 404);
    app.finish().await;
}
