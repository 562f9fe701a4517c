//! Subscriptions with the same selection are one group, whatever they resume from, and each sees its own private
//! results.

use lancewire::events::{EventCursor, EventKind};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, until},
        people::{Person, text},
        socket::Socket,
    },
};

/// Public fields, fields that look at the viewer, and fields for the parties alone.
const EVERYTHING: &str = "subscription { jobUpdated { cursor changes previousStatus job { id version title status \
                          viewerCanClaim viewerCanUpdate escrow { amount } activeClaim { id freelancer { id } } } } }";

async fn cursor(app: &TestApp) -> String {
    text(&app.anonymous().run("{ streamCursor }", json!({})).await.body, "/data/streamCursor")
}

fn position(cursor: &Value) -> i64 {
    EventCursor::decode(cursor.as_str().expect("a cursor")).expect("one of ours").position
}

on_both! {
    async fn equal_subscriptions_share_a_group_wherever_they_resume(app: TestApp) {
        let ada = app.client("Ada").await;
        let (early, _) = (cursor(&app).await, ada.post_job("First").await);
        let late = cursor(&app).await;
        let hub = &app.app.services.hub;
        let socket = app.socket(None).await;
        let by_variable = "subscription($after: String) { jobPosted(after: $after) { cursor } }";
        let mut feeds = vec![
            socket.subscribe(by_variable, json!({ "after": early })),
            socket.subscribe(by_variable, json!({ "after": late })),
            socket.subscribe(by_variable, json!({})),
        ];
        app.listening(3).await;
        assert_eq!(hub.groups(), 1, "the variable that says from where on is not part of the question");
        for after in [&early, &late] {
            let query = format!("subscription {{ jobPosted(after: \"{after}\") {{ cursor }} }}");
            feeds.push(socket.subscribe(&query, json!({})));
        }
        app.listening(5).await;
        assert_eq!((hub.groups(), hub.sections()), (1, 1), "nor is a literal");
        let filtered = "subscription($after: String, $f: JobFilter) { jobPosted(after: $after, filter: $f) { cursor } }";
        for skill in ["rust", "react"] {
            feeds.push(socket.subscribe(filtered, json!({ "after": late, "f": { "anySkill": [skill] } })));
        }
        app.listening(7).await;
        assert_eq!((hub.groups(), hub.sections()), (1, 3), "other filters are other questions about the same");
        for feed in [&feeds[0], &feeds[3]] {
            let replayed = position(&socket.next(feed).await["data"]["jobPosted"]["cursor"]);
            assert!((position(&json!(early)) + 1..=position(&json!(late))).contains(&replayed), "the first one");
        }
        ada.post_job("Second, in Rust").await;
        for feed in feeds.iter().take(6) {
            assert!(position(&socket.next(feed).await["data"]["jobPosted"]["cursor"]) > position(&json!(late)));
        }
        for feed in &feeds {
            socket.complete(feed);
        }
        until("no group is left", || hub.groups() == 0).await;
        assert_eq!(socket.unread(&feeds[6]), 0, "the last one asked for something else");
    }

    async fn no_byte_of_a_private_field_reaches_another_audience_of_the_group(app: TestApp) {
        let (ada, eve) = (app.client("Ada").await, app.client("Eve").await);
        let (ben, tom, root) = (app.freelancer("Ben").await, app.freelancer("Tom").await, app.admin().await);
        let mut sockets: Vec<(&str, Socket)> = vec![("nobody", app.socket(None).await)];
        for (name, person) in [("ada", &ada), ("eve", &eve), ("ben", &ben), ("tom", &tom), ("root", &root)] {
            sockets.push((name, person.socket().await));
        }
        let feeds: Vec<_> = sockets.iter().map(|(_, socket)| socket.subscribe(EVERYTHING, json!({}))).collect();
        app.listening(6).await;
        assert_eq!(app.app.services.hub.groups(), 1, "one group for all of them");

        let job = text(&ada.post_job("Watched").await, "/id");
        let claim = text(&ben.claim(&job).await.good(), "/claim/id");
        ben.submit(&claim).await.good();
        for ((name, socket), feed) in sockets.iter().zip(&feeds) {
            let party = ["ada", "ben", "root"].contains(name);
            for status in ["CLAIMED", "IN_REVIEW"] {
                let event = socket.next(feed).await;
                let update = &event["data"]["jobUpdated"];
                assert_eq!(update["job"]["status"], status, "{name}: {event}");
                assert_eq!(event.to_string().contains(&claim), party, "{name}: {event}");
                assert_eq!(update["job"]["escrow"].is_object(), party, "{name}: {event}");
                assert!(!update["changes"].to_string().contains("ESCROW"), "no money moved: {event}");
                let private = update["changes"].to_string().contains("CLAIM");
                assert!(party || !private, "{name} hears of changes that are not theirs: {event}");
            }
        }
    }
}

/// With the number of events the gauges and the hub are asked for; ten times as many and more by `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_subscriptions_leave_nothing_behind() {
    let number = if std::env::var_os("LANCEWIRE_SOAK_SECONDS").is_some() { 100_000 } else { 5_000 };
    let settings = "[budgets]\nanonymous = 4000000000\nsigned_in = 4000000000\naddress = 4000000000\n\
                    [sockets]\nmessages_per_minute = 4000000000\n[limits]\ncost = 2000";
    let app = TestApp::start_with(Database::Sqlite, settings, lancewire::clock::Clock::system()).await;
    let hub = &app.app.services.hub;
    let tasks = app.app.lifecycle.running();
    let socket = app.socket(None).await;
    for chunk in 0..number / 50 {
        let feeds: Vec<_> = (0..50)
            .map(|place| {
                let query =
                    format!("subscription {{ jobPosted(filter: {{ anySkill: [\"rust\"] }}) {{ x{place}: id }} }}");
                socket.subscribe(&query, json!({}))
            })
            .collect();
        for feed in &feeds {
            socket.complete(feed);
        }
        // What was asked before the ping is dealt with once it is answered.
        socket.ping(json!({ "chunk": chunk })).await;
    }
    until("nobody listens", || hub.listeners(EventKind::JobPosted) == 0).await;
    assert_eq!(hub.groups(), 0);
    socket.close().await;
    until("the socket's task is gone", || app.app.lifecycle.running() <= tasks).await;
    app.finish().await;
}

/// A quiet stream must not expire: the server's pings say up to where everything has been sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_tells_from_where_a_quiet_stream_would_resume() {
    let app =
        TestApp::start_with(Database::Sqlite, "[sockets]\nping_interval_ms = 50", lancewire::clock::Clock::system())
            .await;
    let ada: Person = app.client("Ada").await;
    let socket = app.socket(None).await;
    assert_eq!(socket.pinged().await, Value::Null, "nothing to resume without a subscription");
    let query =
        "subscription($after: String) { jobPosted(filter: { anySkill: [\"react\"] }, after: $after) { cursor } }";
    socket.subscribe(query, json!({}));
    app.listening(1).await;
    ada.post_job("Of no interest").await;
    let head = cursor(&app).await;
    // It moves on though nothing came.
    let resume = loop {
        let payload = socket.pinged().await;
        if payload["cursor"].is_string() && position(&payload["cursor"]) >= position(&json!(head)) {
            break payload["cursor"].clone();
        }
    };
    let mut wanted = crate::support::people::new_job("In React", "1.00");
    wanted["skills"] = json!(["react"]);
    ada.post(wanted).await.good();
    let again = app.socket(None).await;
    let feed = again.subscribe(query, json!({ "after": resume }));
    assert!(position(&again.next(&feed).await["data"]["jobPosted"]["cursor"]) > position(&resume));
    app.finish().await;
}
