//! Sockets that reconnect: where they resume, what a cursor promises, and what the server says before it closes.

use std::time::Duration;

use chrono::DateTime;
use lancewire::{
    clock::Clock,
    events::{EventCursor, Mark},
};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp},
        people::{Person, new_job, text},
        socket::{Socket, Subscription},
    },
};

const TITLES: &str = "subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }";
const WALLET: &str =
    "subscription($after: String) { walletUpdated(after: $after) { cursor wallet { inEscrow { amount } } } }";
const FIELD: &str = "connection_init payload.after";

async fn cursor(person: &Person) -> String {
    text(&person.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor")
}

/// A socket whose `connection_init` has this `after`.
async fn resuming(app: &TestApp, token: Option<&str>, after: Value) -> Socket {
    let socket = Socket::connect_raw(app.addr, &[]).await.expect("an upgrade");
    let authorization = token.map(|token| format!("Bearer {token}"));
    let payload = json!({ "Authorization": authorization, "after": after });
    socket.send(&json!({ "type": "connection_init", "payload": payload }));
    socket.acknowledged().await;
    socket
}

async fn titles(socket: &Socket, feed: &Subscription, count: usize) -> Vec<String> {
    let mut titles = Vec::with_capacity(count);
    for _ in 0..count {
        titles.push(text(&socket.next(feed).await, "/data/jobPosted/job/title"));
    }
    titles
}

/// The code and the message with which a subscription is refused.
async fn refused(socket: &Socket, feed: &Subscription) -> (String, String) {
    let errors = socket.error(feed).await;
    (text(&errors, "/0/extensions/code"), text(&errors, "/0/message"))
}

/// Posts these jobs, and says where the stream stood before each of them and in the end.
async fn posted(client: &Person, titles: &[&str]) -> Vec<String> {
    let mut cursors = vec![cursor(client).await];
    for title in titles {
        client.post_job(title).await;
        cursors.push(cursor(client).await);
    }
    cursors
}

/// The form that cursors had before.
fn old_form(cursor: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    let EventCursor { log, position, .. } = EventCursor::decode(cursor).expect("a cursor");
    BASE64_URL_SAFE_NO_PAD.encode([log.as_bytes().as_slice(), &position.to_be_bytes()].concat())
}

fn foreign() -> String {
    EventCursor { log: uuid::Uuid::from_u128(7), position: 1, mark: Mark::NONE }.encode()
}

on_both! {
    async fn each_subscription_goes_on_from_the_later_one_of_the_sockets_place_and_its_own(app: TestApp) {
        let ada = app.client("Ada").await;
        let places = posted(&ada, &["One", "Two", "Three"]).await;
        assert!(places.is_sorted_by(|one, two| one < two), "cursors compare as strings: {places:?}");
        for token in [None, ada.token.as_deref()] {
            for place in [places[1].clone(), old_form(&places[1])] {
                let socket = resuming(&app, token, json!(place)).await;
                for (after, expected) in [
                    (Value::Null, &["Two", "Three"][..]),
                    (json!(places[0]), &["Two", "Three"]),
                    (json!(old_form(&places[0])), &["Two", "Three"]),
                    (json!(foreign()), &["Two", "Three"]),
                    (json!(places[2]), &["Three"]),
                    (json!(old_form(&places[2])), &["Three"]),
                ] {
                    let feed = socket.subscribe(TITLES, json!({ "after": after }));
                    assert_eq!(titles(&socket, &feed, expected.len()).await, expected, "{after}");
                }
                let literal = format!("subscription {{ jobPosted(after: {:?}) {{ job {{ title }} }} }}", places[2]);
                let default = TITLES.replace("String", &format!("String = {:?}", places[2]));
                for query in [literal, default] {
                    let feed = socket.subscribe(&query, json!({}));
                    assert_eq!(titles(&socket, &feed, 1).await, ["Three"], "{query}");
                }
            }
        }
        // One that is no good any more does not spoil one that is.
        let socket = resuming(&app, None, json!(foreign())).await;
        let feed = socket.subscribe(TITLES, json!({ "after": places[2] }));
        assert_eq!(titles(&socket, &feed, 1).await, ["Three"]);
        drop(socket);
        // Nothing was said.
        for nothing in [Value::Null, json!("")] {
            app.listening(0).await;
            let socket = resuming(&app, None, nothing).await;
            let feed = socket.subscribe(TITLES, json!({}));
            app.listening(1).await;
            ada.post_job("Later").await;
            assert_eq!(titles(&socket, &feed, 1).await, ["Later"]);
        }
    }

    async fn what_is_no_place_is_told_to_each_subscription_and_closes_nothing(app: TestApp) {
        let ada = app.client("Ada").await;
        let places = posted(&ada, &["One"]).await;
        let ours = EventCursor::decode(&places[1]).expect("a cursor");
        let ahead = EventCursor { position: ours.position + 1_000, ..ours }.encode();
        for bad in [json!(7), json!({ "cursor": places[0] }), json!([places[0]]), json!(true), json!("nonsense"),
                    json!("x".repeat(5_000)), json!("' OR 1=1 --")] {
            let socket = resuming(&app, None, bad.clone()).await;
            for after in [Value::Null, json!(places[0]), json!(foreign())] {
                let feed = socket.subscribe(TITLES, json!({ "after": after }));
                let (code, message) = refused(&socket, &feed).await;
                assert!(code == "BAD_USER_INPUT" && message.starts_with(FIELD), "{bad} and {after}: {code} {message}");
            }
            let query = socket.subscribe("{ streamCursor }", json!({}));
            assert_eq!(socket.next(&query).await["data"]["streamCursor"], json!(places[1]), "all else runs");
        }
        let socket = resuming(&app, None, json!(places[0])).await;
        let feed = socket.subscribe(TITLES, json!({ "after": "nonsense" }));
        let (code, message) = refused(&socket, &feed).await;
        assert!(code == "BAD_USER_INPUT" && message.starts_with("after "), "the one at fault is named: {message}");

        let socket = resuming(&app, None, json!(foreign())).await;
        for after in [Value::Null, json!(foreign()), json!(ahead)] {
            let feed = socket.subscribe(TITLES, json!({ "after": after }));
            assert_eq!(refused(&socket, &feed).await.0, "CURSOR_EXPIRED", "{after}");
        }
        socket.ping(Value::Null).await;
        app.listening(0).await;
    }

    async fn a_place_shows_nothing_that_is_not_ones_own(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.client("Ben").await);
        let start = cursor(&ada).await;
        ada.post_job("Hers").await;
        ben.post(new_job("His", "7.00")).await.good();
        let socket = resuming(&app, ben.token.as_deref(), json!(start)).await;
        let wallet = socket.subscribe(WALLET, json!({}));
        let first = socket.next(&wallet).await;
        assert_eq!(first["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "7.00");
        let nobody = resuming(&app, None, json!(start)).await;
        let wallet = nobody.subscribe(WALLET, json!({}));
        assert_eq!(refused(&nobody, &wallet).await.0, "UNAUTHENTICATED");
    }

    async fn a_fresh_token_keeps_the_place(app: TestApp) {
        let ada = app.client("Ada").await;
        let places = posted(&ada, &["One", "Two"]).await;
        let socket = resuming(&app, ada.token.as_deref(), json!(places[1])).await;
        let again = ada.sign_in_again().await;
        let authorization = format!("Bearer {}", again.token.as_deref().expect("a token"));
        socket.ping(json!({ "Authorization": authorization, "after": places[0] })).await;
        let feed = socket.subscribe(TITLES, json!({}));
        assert_eq!(titles(&socket, &feed, 1).await, ["Two"]);
    }
}

on_both! {
    // What the ring still has would be served from there.
    with "[events]\nring_bytes = 1";
    async fn a_place_that_was_forgotten_counts_only_where_there_is_no_later_one(app: TestApp) {
        let ada = app.client("Ada").await;
        let places = posted(&ada, &["Old"]).await;
        app.db_age().await;
        ada.post_job("Young").await;
        app.published().await;
        app.db_forget().await;
        let (old, good) = (json!(places[0]), json!(places[1]));
        for (place, after, expected) in [(&old, &good, Some("Young")), (&good, &old, Some("Young")), (&old, &old, None)] {
            let socket = resuming(&app, None, place.clone()).await;
            let feed = socket.subscribe(TITLES, json!({ "after": after }));
            match expected {
                Some(title) => assert_eq!(titles(&socket, &feed, 1).await, [title]),
                None => assert_eq!(refused(&socket, &feed).await.0, "CURSOR_EXPIRED"),
            }
        }
    }
}

on_both! {
    with "[sockets]\nping_interval_ms = 400\n[events]\nbuffer = 4";
    async fn a_ping_speaks_for_every_subscription_and_never_goes_back(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = cursor(&ada).await;
        let socket = app.socket(None).await;
        let react = "subscription { jobPosted(filter: { anySkill: [\"react\"] }) { id } }";
        socket.subscribe(react, json!({}));
        let mut feeds = Vec::new();
        let mut told = String::new();
        for number in 1..=6 {
            // One that begins behind the last ping keeps the next ones silent until it has caught up.
            feeds.push(socket.subscribe(TITLES, json!({ "after": start })));
            // From here on the server knows of it.
            socket.ping(Value::Null).await;
            ada.post_job(&format!("Job {number}")).await;
            let place = cursor(&ada).await;
            while told < place {
                let ping = socket.pinged().await;
                let Some(cursor) = ping["cursor"].as_str() else { continue };
                assert!(*cursor >= *told, "it goes back from {told} to {cursor}");
                cursor.clone_into(&mut told);
            }
            assert_eq!(told, place, "a quiet stream gets no older than its last ping");
            for feed in &feeds {
                assert_eq!(socket.unread(feed), number, "what a ping speaks for has come before it");
            }
        }
    }
}

/// What the server says last on a socket with two subscriptions, and how the socket ends.
async fn last_words(socket: &Socket) -> (Value, u16) {
    let (code, _) = socket.closed().await;
    (socket.pinged().await, code)
}

async fn before_a_restart_the_socket_is_told_how_far_it_has_come(database: Database) {
    let app = TestApp::start(database).await;
    let ada = app.client("Ada").await;
    let (busy, idle) = (ada.socket().await, ada.socket().await);
    let feed = busy.subscribe(TITLES, json!({}));
    busy.subscribe(WALLET, json!({}));
    app.listening(2).await;
    for number in 0..5 {
        ada.post_job(&format!("Job {number}")).await;
    }
    let end = cursor(&ada).await;
    for _ in 0..5 {
        socket_has(&busy, &feed).await;
    }
    app.published().await;
    let again = app.restarted().await;
    let (ping, code) = last_words(&busy).await;
    assert_eq!((code, ping), (1012, json!({ "cursor": end })));
    assert_eq!(idle.closed().await.0, 1012);
    // From there nothing comes twice, and nothing is missed.
    ada.post_job("Meanwhile").await;
    let socket = resuming(&again, None, json!(end)).await;
    let feed = socket.subscribe(TITLES, json!({}));
    assert_eq!(titles(&socket, &feed, 1).await, ["Meanwhile"]);
    again.finish().await;
}

async fn socket_has(socket: &Socket, feed: &Subscription) {
    assert!(socket.next(feed).await["data"]["jobPosted"]["cursor"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_sqlite_is_told_beforehand() {
    before_a_restart_the_socket_is_told_how_far_it_has_come(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_postgres_is_told_beforehand() {
    before_a_restart_the_socket_is_told_how_far_it_has_come(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_a_token_ends_the_socket_is_told_how_far_it_has_come() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let app = TestApp::start_with(Database::Sqlite, "", clock.clone()).await;
    let ada = app.client("Ada").await;
    let elsewhere = ada.sign_in_again().await;
    let (expired, revoked) = (ada.socket().await, elsewhere.socket().await);
    for socket in [&expired, &revoked] {
        socket.subscribe(TITLES, json!({}));
        socket.subscribe(WALLET, json!({}));
    }
    app.listening(4).await;
    ada.post_job("Heard by both").await;
    let end = cursor(&ada).await;
    app.published().await;
    elsewhere.run("mutation { signOut { errors { __typename } } }", json!({})).await.data();
    let (ping, code) = last_words(&revoked).await;
    assert!(code == 4403 && text(&ping, "/cursor") >= end, "{code} {ping}");
    let end = cursor(&ada).await;
    app.published().await;
    clock.advance(Duration::from_secs(900));
    assert_eq!(last_words(&expired).await, (json!({ "cursor": end }), 4403));
    app.finish().await;
}

/// A place is good on every node, also on one that has not heard of it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_goes_on_where_the_first_one_stood() {
    let app = TestApp::start(Database::Postgres).await;
    let neighbour = app.neighbour().await;
    let ada = app.client("Ada").await;
    for number in 0..10 {
        let places = posted(&ada, &["Before", "After"]).await;
        let socket = resuming(&neighbour, None, json!(places[1])).await;
        let feed = socket.subscribe(TITLES, json!({ "after": places[0] }));
        assert_eq!(titles(&socket, &feed, 1).await, ["After"], "round {number}");
    }
    neighbour.finish().await;
    app.finish().await;
}
