//! While a server stops, clients that are still connected receive events.

use futures_util::future::{join, join_all};
use lancewire::clock::Clock;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, until},
        people::Person,
        redis::Redis,
        socket::{Socket, Subscription},
    },
};

const FEED: &str = "subscription { jobPosted { cursor job { title } } }";
/// One is sent home each tenth of a second.
const SOCKETS: usize = 40;
const SETTINGS: &str = "[sockets]\ndrain_ms = 8000\n";

async fn listeners(app: &TestApp) -> Vec<(Socket, Subscription)> {
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        let socket = app.socket(None).await;
        let feed = socket.subscribe(FEED, json!({}));
        sockets.push((socket, feed));
    }
    app.listening(SOCKETS).await;
    sockets
}

/// Waits until the first is sent home.
async fn begun(app: &TestApp) {
    let hub = &app.app.services.hub;
    until("somebody is sent home", || hub.listeners(lancewire::events::EventKind::JobPosted) < SOCKETS).await;
}

/// Most were still there when it happened, and they have got it; nobody got anything else.
async fn most_have_heard(sockets: Vec<(Socket, Subscription)>) {
    let ends = join_all(sockets.iter().map(|(socket, _)| socket.closed())).await;
    assert!(ends.iter().all(|(code, _)| *code == 1012), "{ends:?}");
    let heard = sockets.iter().filter(|(socket, feed)| socket.unread(feed) == 1).count();
    assert!(heard >= SOCKETS / 4, "{heard} of {SOCKETS} have heard of what happened before they were sent home");
}

async fn a_node_is_deployed(settings: &str) {
    let settings = format!("{SETTINGS}{settings}");
    let one = TestApp::start_with(Database::Postgres, &settings, Clock::system()).await;
    let other = one.neighbour().await;
    let ada: Person = one.client("Ada").await;
    let sockets = listeners(&other).await;
    let meanwhile = async {
        begun(&other).await;
        ada.post_job("While the other node stops").await;
    };
    let (in_time, ()) = join(other.app.shut_down(), meanwhile).await;
    assert!(in_time, "a task did not leave by itself");
    most_have_heard(sockets).await;
    one.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_commits_reaches_those_who_are_still_here() {
    a_node_is_deployed("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_commits_reaches_those_who_are_still_here_by_redis() {
    let redis = Redis::start().await;
    // By the bus, or not in time.
    let bus = format!("[events]\npoll_ms = 600000\n[bus]\nredis_url = \"redis://{}\"\n", redis.addr());
    a_node_is_deployed(&bus).await;
}

on_both! {
    with SETTINGS;

    async fn what_a_request_in_flight_commits_reaches_those_who_are_still_here(app: TestApp) {
        let ada = app.client("Ada").await;
        let sockets = listeners(&app).await;
        let db = &app.app.db;
        let hold = match db.backend() {
            lancewire::db::Backend::Sqlite => db.writer().begin("BEGIN IMMEDIATE").await,
            lancewire::db::Backend::Postgres => db.writer().begin("BEGIN; LOCK TABLE jobs IN EXCLUSIVE MODE").await,
        };
        let hold = hold.expect("a transaction");
        let statements = db.statements();
        let meanwhile = async {
            // The request is under way before the end begins.
            until("it is being looked at", || db.statements() > statements).await;
            let released = async {
                begun(&app).await;
                hold.rollback().await.expect("the end");
            };
            join(app.app.shut_down(), released).await.0
        };
        let (_, in_time) = join(ada.post_job("In flight"), meanwhile).await;
        assert!(in_time, "a task did not leave by itself");
        most_have_heard(sockets).await;
        db.reader().query_one_raw(db.statement("SELECT 1", [])).await.expect("the database is still open");
    }
}
