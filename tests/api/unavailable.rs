//! A subscription that cannot start while the database is unreachable ends with an error that says to try again, while
//! the other operations of its socket continue.

use lancewire::clock::Clock;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp},
        http::Reply,
        people::text,
        stream::{MULTIPART, SSE, request},
    },
};

const FEED: &str = "subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }";

fn title(payload: &Value) -> &Value {
    &payload["data"]["jobPosted"]["job"]["title"]
}

on_both! {
    // A ring that keeps nothing: a cursor that the ring reaches back to would need no database.
    with "[database]\nmax_connections = 2\nacquire_timeout_ms = 300\n[events]\nring_bytes = 1\n";

    async fn who_finds_no_free_connection_is_told_to_try_again_and_the_others_go_on(app: TestApp) {
        let start = text(&app.anonymous().run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let ada = app.client("Ada").await;
        ada.post_job("Before").await;
        let socket = app.socket(None).await;
        let live = socket.subscribe(FEED, json!({}));
        app.listening(1).await;
        let db = &app.app.db;
        let held = [db.snapshot().await.expect("a connection"), db.snapshot().await.expect("the other one")];

        let refused = socket.subscribe(FEED, json!({ "after": start }));
        let errors = socket.error(&refused).await;
        assert_eq!(errors[0]["extensions"]["code"], "UNAVAILABLE", "{errors}");
        assert!(errors[0]["message"].as_str().is_some_and(|words| words.contains("again")), "{errors}");
        for accept in [SSE, MULTIPART] {
            let reply = Reply::of(request(&app.http, accept, None, FEED, json!({ "after": start }))).await;
            assert_eq!((reply.status, reply.code()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"), "{reply}");
            assert!(reply.headers.contains_key("retry-after"), "{reply}");
        }
        for held in held {
            held.rollback().await.expect("the end");
        }

        // The same socket, and the same subscription.
        let again = socket.subscribe(FEED, json!({ "after": start }));
        assert_eq!(title(&socket.next(&again).await), "Before");
        ada.post_job("After").await;
        assert_eq!(title(&socket.next(&live).await), "After");
        assert_eq!(title(&socket.next(&again).await), "After");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_while_the_database_is_away_is_told_to_try_again() {
    let settings = "[database]\nacquire_timeout_ms = 1000\n[events]\nring_bytes = 1";
    let app = TestApp::start_with(Database::Postgres, settings, Clock::system()).await;
    let start = text(&app.anonymous().run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
    app.client("Ada").await.post_job("Before").await;
    let socket = app.socket(None).await;
    let live = socket.subscribe(FEED, json!({}));
    app.listening(1).await;
    app.db_away(true).await;
    let refused = socket.subscribe(FEED, json!({ "after": start }));
    let errors = socket.error(&refused).await;
    let reply = Reply::of(request(&app.http, SSE, None, FEED, json!({ "after": start }))).await;
    app.db_away(false).await;
    assert_eq!(errors[0]["extensions"]["code"], "UNAVAILABLE", "{errors}");
    assert_eq!((reply.status.as_u16(), reply.code()), (503, "UNAVAILABLE"), "{reply}");
    app.client("Eve").await.post_job("After").await;
    assert_eq!(title(&socket.next(&live).await), "After");
    app.finish().await;
}
