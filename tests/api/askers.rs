//! Limits of one caller's subscriptions: different selections, different filters, and bytes in memory; on every
//! transport, and each refusal names the limit and the fix.

use std::num::NonZeroU32;

use lancewire::clock::Clock;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, until},
        http::Reply,
        people::{Person, text},
        socket::Socket,
        stream::{MULTIPART, SSE, Stream, request},
    },
};

/// Few for a user, a few more for an address.
const FEW: &str =
    "[subscriptions]\ngroups_per_user = 2\ngroups_per_address = 3\nfilters_per_user = 3\nfilters_per_address = 100";

fn selecting(number: usize) -> String {
    format!("subscription {{ jobPosted {{ a{number}: id }} }}")
}

fn assert_refused(error: &Value, limit: &str, fix: &str) {
    assert_eq!(error["extensions"]["code"], "RATE_LIMITED", "{error}");
    let message = error["message"].as_str().expect("words");
    assert!(message.contains(limit) && message.contains(fix), "{message}");
}

on_both! {
    with FEW;
    async fn different_selections_are_limited_for_a_user_and_an_address_on_every_transport(app: TestApp) {
        let (ada, ben) = (app.freelancer("Ada").await, app.freelancer("Ben").await);
        let socket = ada.socket().await;
        let mut kept = vec![socket.subscribe(&selecting(0), json!({})), socket.subscribe(&selecting(1), json!({}))];
        app.listening(2).await;
        let (limit, fix) = ("subscriptions.groups_per_user", "Select the same fields");
        let refused = socket.error(&socket.subscribe(&selecting(2), json!({}))).await;
        assert_refused(&refused[0], limit, fix);
        for accept in [SSE, MULTIPART] {
            let stream = request(&ada.http, accept, ada.token.as_deref(), &selecting(2), json!({}));
            let (status, body) = Stream::open(stream).await.refusal().await;
            assert_eq!(status, 429, "{body}");
            assert_refused(&body["errors"][0], limit, fix);
        }
        // The same once more is no other, however it is spelled and whatever it comes by.
        kept.push(socket.subscribe("subscription Other { jobPosted { a1: id } }", json!({})));
        let stream = request(&ada.http, SSE, ada.token.as_deref(), &selecting(1), json!({}));
        let again = Stream::open(stream).await;
        assert_eq!(again.status.as_u16(), 200);
        app.listening(4).await;

        let other = ben.socket().await;
        other.subscribe(&selecting(2), json!({}));
        app.listening(5).await;
        let refused = other.error(&other.subscribe(&selecting(3), json!({}))).await;
        assert_refused(&refused[0], "subscriptions.groups_per_address", fix);
        // What is ended makes room.
        socket.complete(&kept[0]);
        until("it has ended", || app.app.services.hub.groups() == 2).await;
        other.subscribe(&selecting(3), json!({}));
        app.listening(5).await;
    }

    async fn different_filters_are_limited(app: TestApp) {
        let socket = app.freelancer("Ada").await.socket().await;
        let query = "subscription($min: Decimal) { jobPosted(filter: { budget: { currencyCode: \"USD\", min: $min } }) { id } }";
        let number = |min: usize| json!({ "min": format!("{min}.00") });
        for min in 0..3 {
            socket.subscribe(query, number(min));
        }
        app.listening(3).await;
        let refused = socket.error(&socket.subscribe(query, number(3))).await;
        assert_refused(&refused[0], "subscriptions.filters_per_user", "Use one wider filter");
        socket.subscribe(query, number(2));
        app.listening(4).await;
    }
}

/// A document of many fields takes a lot of memory for as long as somebody subscribes by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_documents_keep_in_memory_is_weighed() {
    let settings = "[subscriptions]\nbytes_per_user = 100000\nbytes_per_address = 300000";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let wide = |number: usize| {
        let fields: String = (0..25).map(|place| format!("a{number}x{place}: id ")).collect();
        format!("subscription {{ jobPosted {{ {fields} }} }}")
    };
    let socket = app.freelancer("Ada").await.socket().await;
    let (mut admitted, mut number) = (0, 0);
    let refused = loop {
        let id = socket.subscribe(&wide(number), json!({}));
        socket.ping(Value::Null).await;
        until("it has begun or not", || socket.unread(&id) > 0 || app.app.services.hub.groups() > admitted).await;
        if socket.unread(&id) > 0 {
            break socket.error(&id).await;
        }
        (admitted, number) = (admitted + 1, number + 1);
    };
    assert!((2..=20).contains(&admitted), "{admitted} documents of 25 fields in 100 kB");
    assert_refused(&refused[0], "subscriptions.bytes_per_user", "Send shorter documents");
    app.finish().await;
}

async fn cursor(person: &Person) -> String {
    text(&person.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor")
}

/// An address with one point a minute, which is what subscribing costs, and a user with many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_without_budget_gets_no_replay_of_the_log_and_may_come_back() {
    let app = TestApp::start(Database::Postgres).await;
    // Another node, where everybody pays, and those beside the proxy are told apart.
    let node = app.neighbour_with(|config| {
        config.budgets.anonymous = NonZeroU32::MIN;
        config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
    });
    let node = node.await;
    let ada = app.client("Ada").await;
    let start = cursor(&ada).await;
    for number in 0..100 {
        ada.post_job(&format!("Job {number}")).await;
    }
    node.published().await;
    let query = "subscription($after: String) { jobPosted(after: $after) { cursor } }";
    let place = |event: &Value| text(event, "/data/jobPosted/cursor");
    let told = |errors: &Value| {
        let error = &errors[0];
        assert_refused(error, "Nothing is lost", "after the last cursor");
        assert!(error["extensions"]["retryAfterMs"].as_u64().is_some_and(|millis| millis > 60_000), "{error}");
    };
    let vouched = |accept, address: &str| {
        request(&node.http, accept, None, query, json!({ "after": start })).header("x-forwarded-for", address)
    };

    let mut stream = Stream::open(vouched(SSE, "198.51.100.1")).await;
    let mut places = Vec::new();
    loop {
        let event = stream.next().await;
        if event.get("errors").is_some() {
            told(&event["errors"]);
            break;
        }
        places.push(place(&event));
    }
    assert!((1..100).contains(&places.len()), "some of them: {}", places.len());
    assert!(stream.event().await.is_none(), "it ends without complete, so that its client comes back");
    // A refusal before it begins, now that the address owes something.
    let refused = Reply::of(vouched(SSE, "198.51.100.1")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED"));

    let mut stream = Stream::open(vouched(MULTIPART, "198.51.100.2")).await;
    let end = loop {
        let part = stream.part().await.expect("a part");
        if part.get("errors").is_some() {
            break part;
        }
    };
    told(&end["errors"]);

    let socket = Socket::connect_raw(node.addr, &[("x-forwarded-for", "198.51.100.3")]).await.expect("an upgrade");
    socket.send(&json!({ "type": "connection_init" }));
    socket.acknowledged().await;
    let feed = socket.subscribe(query, json!({ "after": start }));
    let error = loop {
        let message = socket.message(&feed).await;
        if message["type"] == "error" {
            break message["payload"].clone();
        }
    };
    told(&error);
    // Its socket goes on.
    socket.ping(Value::Null).await;

    // A subscriber with points continues from there.
    let ben = app.freelancer("Ben").await.at(&node);
    let socket = ben.socket().await;
    let whole = socket.subscribe(query, json!({ "after": start }));
    let rest = socket.subscribe(query, json!({ "after": places.last() }));
    let mut expected = Vec::new();
    for _ in 0..100 {
        expected.push(place(&socket.next(&whole).await));
    }
    while places.len() < 100 {
        places.push(place(&socket.next(&rest).await));
    }
    assert_eq!(places, expected, "each once and in order");
    drop((ada, ben, socket));
    node.finish().await;
    app.finish().await;
}
