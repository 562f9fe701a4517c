//! Subscriptions over HTTP, for where sockets are blocked: server-sent events as graphql-sse has them, and Apollo's
//! multipart protocol. The same stream as over sockets, and nothing that stays behind.

use std::time::Duration;

use chrono::DateTime;
use futures_util::future::join_all;
use lancewire::jobs::events::JOB_POSTED;
use lancewire::{
    clock::Clock,
    events::{EventCursor, Mark},
};
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use url::form_urlencoded;

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, soon},
        http::Reply,
        people::{PASSWORD, Person, fresh_key, money, new_job, text},
        stream::{Event, MULTIPART, SSE, Stream, request},
    },
};

mod stock;

const POSTED: &str = "subscription($after: String) { jobPosted(after: $after) { id cursor occurredAt job { id title version status \
                      budget { amount currencyCode } skills { slug name } client { id displayName } } } }";
const TITLES: &str = "subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }";
const WALLET: &str = "subscription { walletUpdated { cursor wallet { inEscrow { amount } } } }";
const COMPLETE: &str = "event: complete\ndata:\n\n";

async fn cursor(person: &Person) -> String {
    text(&person.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor")
}

/// A stream that begins once all that was committed is published.
async fn sse(person: &Person, query: &str, variables: Value) -> Stream {
    person.app.published().await;
    Stream::open(request(&person.http, SSE, person.token.as_deref(), query, variables)).await
}

/// As a client that comes back with the id of the last event that it saw.
async fn resumed(person: &Person, query: &str, variables: Value, last: &str) -> Stream {
    let request = request(&person.http, SSE, person.token.as_deref(), query, variables);
    Stream::open(request.header("last-event-id", last)).await
}

async fn events(stream: &mut Stream, count: usize) -> Vec<Event> {
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        events.push(stream.event().await.expect("an event"));
    }
    events
}

fn title(result: &Value) -> String {
    text(result, "/data/jobPosted/job/title")
}

/// The one code of the errors of a result.
fn code(result: &Value) -> &str {
    result["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no code in {result}"))
}

/// The code with which a subscription ends, and whether its client is told to stay away.
async fn end(mut stream: Stream) -> (String, bool) {
    let last = stream.next().await;
    assert!(last.get("data").is_none(), "{last}");
    (code(&last).to_owned(), stream.event().await.is_some_and(|event| event.event == "complete"))
}

async fn sqlite(settings: &str) -> TestApp {
    TestApp::start_with(Database::Sqlite, settings, Clock::system()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_and_mutations_are_one_event_and_the_end() {
    let app = sqlite("").await;
    let ada = app.client("Ada").await;
    let stream = sse(&ada, "{ viewer { email } }", json!({})).await;
    let header = |name: &str| stream.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!((header("cache-control"), header("x-accel-buffering"), header("vary")), ("no-store", "no", "Accept"));
    assert!(!header("ratelimit-remaining").is_empty());
    let result = json!({ "data": { "viewer": { "email": ada.email } } });
    assert_eq!(stream.rest().await, format!("event: next\ndata: {result}\n\n{COMPLETE}"));

    let by_get = |query: &str| {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        app.http.request(Method::GET, &format!("/graphql?query={query}")).header(ACCEPT, SSE)
    };
    let refused = Stream::open(by_get("{ skills { nothing } }")).await.rest().await;
    let all = Stream::open(by_get("{ skills { slug } }")).await.rest().await;
    assert!(refused.contains("GRAPHQL_VALIDATION_FAILED") && refused.ends_with(COMPLETE), "{refused}");
    assert!(all.starts_with("event: next\ndata: {\"data\":{\"skills\":[") && all.ends_with(COMPLETE), "{all}");

    let post = "mutation($input: PostJobInput!) { postJob(input: $input) { job { title } errors { __typename } } }";
    let mut posted = sse(&ada, post, json!({ "input": new_job("By SSE", "100.00") })).await;
    assert_eq!(posted.next().await["data"]["postJob"], json!({ "job": { "title": "By SSE" }, "errors": [] }));
    assert_eq!(posted.rest().await, COMPLETE);

    // A field that fails is data with errors.
    let partly =
        sse(&ada, "{ viewer { email } transactions(first: 1) { nodes { id } } }", json!({})).await.rest().await;
    assert!(partly.contains("\"data\":{\"viewer\":{\"email\"") && partly.contains("FORBIDDEN"), "{partly}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_told_as_its_client_reads_it() {
    let app = sqlite("[budgets]\nanonymous = 60").await;
    let anonymous = app.anonymous();
    for (query, expected) in [
        ("subscription { jobPosted { nothing } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { jobPosted {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { jobPosted(after: \"nonsense\") { id } }", "BAD_USER_INPUT"),
        ("subscription { walletUpdated { id } }", "UNAUTHENTICATED"),
    ] {
        let stream = sse(&anonymous, query, json!({})).await;
        assert_eq!(stream.status, 200, "{query}");
        assert_eq!(end(stream).await, (expected.to_owned(), true), "{query}");

        // Apollo Client accepts JSON too, and reads it; who does not gets a part.
        let both = format!("{MULTIPART},application/graphql-response+json,application/json;q=0.9");
        let plain = Reply::of(request(&app.http, &both, None, query, json!({}))).await;
        assert_eq!((plain.code(), plain.at("/errors").as_array().map(Vec::len)), (expected, Some(1)), "{plain}");
        let mut part = Stream::open(request(&app.http, MULTIPART, None, query, json!({}))).await;
        let refused = part.part().await.expect("a part");
        assert_eq!((code(&refused), &refused["payload"]), (expected, &Value::Null), "{query}");
        assert_eq!(part.rest().await, "--\r\n");
    }

    let subscription = json!({ "query": TITLES }).to_string();
    let post = |accept: &str, kind: &str, body: &str| {
        let request = app.http.request(Method::POST, "/graphql").header(ACCEPT, accept).header(CONTENT_TYPE, kind);
        request.body(body.to_owned())
    };
    let json = "application/json";
    let get = |query: &str| {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        app.http.request(Method::GET, &format!("/graphql?query={query}")).header(ACCEPT, SSE)
    };
    let query = r#"{"query":"{ skills { slug } }"}"#;
    let cases = [
        ("a mutation by GET", get("mutation { signOut { errors { __typename } } }"), 405, "BAD_REQUEST"),
        ("nothing by GET", app.http.request(Method::GET, "/graphql").header(ACCEPT, SSE), 400, "BAD_REQUEST"),
        ("a reservation", app.http.request(Method::PUT, "/graphql").header(ACCEPT, SSE), 405, "BAD_REQUEST"),
        ("plain text", post(SSE, "text/plain", &subscription), 415, "BAD_REQUEST"),
        ("broken JSON", post(SSE, json, "{"), 400, "BAD_REQUEST"),
        ("a query in parts", post(MULTIPART, json, query), 406, "BAD_REQUEST"),
        ("another protocol", post("multipart/mixed;deferSpec=20220824", json, &subscription), 406, "BAD_REQUEST"),
        ("no stream", post(json, json, &subscription), 400, "BAD_REQUEST"),
        ("a bad token", post(SSE, json, &subscription).bearer_auth("nonsense"), 401, "UNAUTHENTICATED"),
        ("a bad token, in parts", post(MULTIPART, json, &subscription).bearer_auth("x"), 401, "UNAUTHENTICATED"),
    ];
    for (what, request, status, code) in cases {
        let reply = Reply::of(request).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (status, code), "{what}: {reply}");
    }

    // What is worth another try has a status that says so.
    let wide = "{ jobs(first: 50) { nodes { id } } }";
    let refused = Reply::of(request(&app.http, SSE, None, wide, serde_json::json!({}))).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED"), "{refused}");
    assert!(refused.headers.contains_key("retry-after"), "{refused}");
    app.listening(0).await;
    app.finish().await;
}

on_both! {
    async fn a_stream_is_what_a_socket_hears_and_resumes_byte_for_byte(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = cursor(&ada).await;
        let socket = app.socket(None).await;
        let heard = socket.subscribe(POSTED, json!({}));
        let mut live = sse(&app.anonymous(), POSTED, json!({})).await;
        let mut parts = Stream::open(request(&app.http, MULTIPART, None, POSTED, json!({}))).await;
        app.listening(3).await;
        let first = live.block().await.expect("a block");
        assert_eq!((first.id.as_deref(), first.data.as_str()), (Some(start.as_str()), ""), "a place from the first byte on");
        for number in 0..12 {
            ada.post_job(&format!("Job {number}")).await;
        }
        let seen = events(&mut live, 12).await;
        for event in &seen {
            let result = event.result();
            assert_eq!(result, socket.next(&heard).await);
            assert_eq!(result, parts.payload().await);
            assert_eq!(event.id.as_deref(), result["data"]["jobPosted"]["cursor"].as_str());
        }
        // The later one of header and document counts; one that is no good any more is earlier than any that is good.
        let foreign = EventCursor { log: uuid::Uuid::from_u128(7), position: 1, mark: Mark::NONE }.encode();
        let id = |place: usize| seen[place].id.clone().expect("an id");
        let both = [
            (Value::Null, id(6)), (json!(start), id(6)), (json!(foreign), id(6)), (json!(id(6)), start.clone()),
            (json!(id(6)), foreign.clone()), (json!(id(6)), String::new()),
        ];
        for (after, last) in both {
            let mut again = resumed(&app.anonymous(), POSTED, json!({ "after": after }), &last).await;
            assert_eq!(events(&mut again, 5).await, seen[7..], "{after} and {last}");
            let parts = request(&app.http, MULTIPART, None, POSTED, json!({ "after": after }));
            let mut parts = Stream::open(parts.header("last-event-id", &last)).await;
            assert_eq!(parts.payload().await, seen[7].result(), "{after} and {last}, in parts");
        }
        let mut by_variable = sse(&app.anonymous(), POSTED, json!({ "after": start })).await;
        assert_eq!(events(&mut by_variable, 12).await, seen);
        for (last, expected) in [("nonsense", "BAD_USER_INPUT"), (foreign.as_str(), "CURSOR_EXPIRED")] {
            let refused = resumed(&app.anonymous(), POSTED, json!({}), last).await;
            assert_eq!(end(refused).await, (expected.to_owned(), true));
        }
        drop((live, parts, by_variable));
        drop(socket);
        app.listening(0).await;
    }

    async fn cut_again_and_again_it_misses_and_doubles_nothing(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = cursor(&ada).await;
        let titles: Vec<String> = (0..60).map(|number| format!("Job {number}")).collect();
        let posting = async {
            for title in &titles {
                ada.post_job(title).await;
            }
        };
        let reading = join_all((0..4).map(|reader: usize| {
            let (anonymous, mut last) = (app.anonymous(), start.clone());
            async move {
                let mut seen = Vec::new();
                while seen.len() < 60 {
                    let mut stream = resumed(&anonymous, TITLES, json!({}), &last).await;
                    for _ in 0..(reader * 3 + 1).min(60 - seen.len()) {
                        seen.push(title(&stream.next().await));
                    }
                    last = stream.last_id;
                }
                seen
            }
        }));
        let ((), records) = tokio::join!(posting, reading);
        for record in records {
            assert_eq!(record, titles);
        }
        app.listening(0).await;
    }

    async fn what_is_private_goes_to_its_owner_alone(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.client("Ben").await);
        let (mut adas, mut bens) = (sse(&ada, WALLET, json!({})).await, sse(&ben, WALLET, json!({})).await);
        let mut parts = Stream::open(request(&app.http, MULTIPART, ada.token.as_deref(), WALLET, json!({}))).await;
        app.listening(3).await;
        ada.post_job("Hers").await;
        ben.post(new_job("His", "7.00")).await.good();
        for (stream, amount) in [(&mut adas, "100.00"), (&mut bens, "7.00")] {
            assert_eq!(stream.next().await["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], amount);
        }
        assert_eq!(parts.payload().await["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "100.00");
        // Somebody else's cursor is a place, and shows nothing of theirs.
        let start = json!(adas.last_id.clone());
        let mut stolen = resumed(&ben, WALLET, json!({}), start.as_str().expect("a text")).await;
        assert_eq!(stolen.next().await["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "7.00");
    }
}

on_both! {
    with "[sockets]\nping_interval_ms = 20";
    async fn a_quiet_stream_stays_resumable(app: TestApp) {
        let ada = app.client("Ada").await;
        let nothing = "subscription { jobPosted(filter: { anySkill: [\"react\"] }) { id } }";
        let mut quiet = sse(&app.anonymous(), nothing, json!({})).await;
        let mut parts = Stream::open(request(&app.http, MULTIPART, None, nothing, json!({}))).await;
        app.listening(2).await;
        ada.post_job("In Rust").await;
        let now = cursor(&ada).await;
        while quiet.last_id != now {
            let block = quiet.block().await.expect("a heartbeat");
            assert_eq!((block.event.as_str(), block.data.as_str()), ("", ""));
        }
        for _ in 0..3 {
            assert_eq!(parts.part().await, Some(json!({})));
        }
        drop(quiet);
        let mut react = new_job("In React", "1.00");
        react["skills"] = json!(["react"]);
        ada.post(react).await.good();
        let mut again = resumed(&app.anonymous(), nothing, json!({}), &now).await;
        again.next().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_token_or_a_session_ends_its_streams_and_no_others() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let app = TestApp::start_with(Database::Sqlite, "", clock.clone()).await;
    let (ada, admin) = (app.client("Ada").await, app.admin().await);
    let mut public = sse(&app.anonymous(), TITLES, json!({})).await;

    let stream = sse(&ada, WALLET, json!({})).await;
    let mut parts = Stream::open(request(&app.http, MULTIPART, ada.token.as_deref(), WALLET, json!({}))).await;
    app.listening(3).await;
    let start = cursor(&ada).await;
    clock.advance(Duration::from_secs(900));
    // Without `complete`: stock clients come back with fresh headers.
    assert_eq!(end(stream).await, ("TOKEN_EXPIRED".to_owned(), false));
    let mut last = parts.part().await.expect("a part");
    while last == json!({}) {
        last = parts.part().await.expect("a part");
    }
    assert_eq!((code(&last), &last["payload"]), ("TOKEN_EXPIRED", &Value::Null));
    assert_eq!(parts.rest().await, "--\r\n");
    let (status, refused) = sse(&ada, WALLET, json!({})).await.refusal().await;
    assert_eq!((status, code(&refused)), (401, "TOKEN_EXPIRED"));

    let (ada, admin) = (ada.sign_in_again().await, admin.sign_in_again().await);
    ada.post_job("While away").await;
    let mut back = resumed(&ada, WALLET, json!({}), &start).await;
    assert_eq!(back.next().await["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "100.00");
    let elsewhere = ada.sign_in_again().await;
    let other_session = sse(&elsewhere, WALLET, json!({})).await;
    app.listening(3).await;
    ada.run("mutation { signOut { errors { __typename } } }", json!({})).await.data();
    assert_eq!(end(back).await, ("UNAUTHENTICATED".to_owned(), false));
    app.listening(2).await;
    let input = json!({ "userId": ada.id, "roles": ["CLIENT", "FREELANCER"] });
    admin.mutate("setUserRoles", input, "user { roles }").await.good();
    assert_eq!(end(other_session).await, ("UNAUTHENTICATED".to_owned(), false));
    sse(&elsewhere, "{ viewer { id } }", json!({})).await.next().await;
    let wallet = sse(&elsewhere, WALLET, json!({})).await;
    app.listening(2).await;
    let input = json!({ "currentPassword": PASSWORD, "newPassword": "another battery staple" });
    let third = elsewhere.sign_in_again().await;
    let mut kept = sse(&third, TITLES, json!({ "after": start })).await;
    third.mutate("changePassword", input, "session { accessToken }").await.good();
    assert_eq!(end(wallet).await, ("UNAUTHENTICATED".to_owned(), false));
    assert_eq!(title(&kept.next().await), "While away", "the session that it was changed from goes on");
    assert_eq!(title(&public.next().await), "While away");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_remains_of_clients_that_vanish_and_their_places_are_free() {
    let app = sqlite("[sockets]\nsockets_per_address = 20\nsockets_per_user = 11").await;
    let ada = app.client("Ada").await;
    let tasks = app.app.lifecycle.running();
    for _ in 0..2 {
        let mut streams = Vec::new();
        for _ in 0..10 {
            streams.push(sse(&ada, WALLET, json!({})).await);
            streams.push(Stream::open(request(&app.http, MULTIPART, None, TITLES, json!({}))).await);
        }
        assert!(streams.iter().all(|stream| stream.status == 200));
        app.listening(20).await;
        let (status, refused) = sse(&app.anonymous(), TITLES, json!({})).await.refusal().await;
        assert_eq!((status, code(&refused)), (429, "RATE_LIMITED"));
        let socket = crate::support::socket::Socket::connect_raw(app.addr, &[]).await.expect("an upgrade");
        assert_eq!(socket.closed().await.0, 1013, "one limit for all");
        drop(streams);
        app.listening(0).await;
        crate::support::app::until("their tasks are gone", || app.app.lifecycle.running() <= tasks + 1).await;
    }
    ada.post_job("Nobody listens").await;
    app.finish().await;

    let app = sqlite("[sockets]\nsockets_per_user = 1").await;
    let ada = app.client("Ada").await;
    let one = sse(&ada, WALLET, json!({})).await;
    let (status, refused) = sse(&ada, WALLET, json!({})).await.refusal().await;
    assert_eq!((status, code(&refused)), (429, "RATE_LIMITED"));
    drop(one);
    app.listening(0).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_sends_every_reader_to_the_next_one() {
    let app = sqlite("").await;
    let stream = sse(&app.anonymous(), TITLES, json!({})).await;
    let parts = Stream::open(request(&app.http, MULTIPART, None, TITLES, json!({}))).await;
    app.listening(2).await;
    assert!(app.app.shut_down().await, "a task did not leave by itself");
    let (stream, parts) = (stream.rest().await, parts.rest().await);
    assert!(stream.ends_with(": restarting\n\n") && !stream.contains("complete"), "{stream}");
    assert!(parts.ends_with("\r\n--graphql"), "{parts}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_is_whole_before_the_next_one_comes() {
    let app = sqlite("").await;
    let ada = app.client("Ada").await;
    let accept = format!("{MULTIPART},application/graphql-response+json,application/json;q=0.9");
    let mut parts = Stream::open(request(&app.http, &accept, None, TITLES, json!({}))).await;
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    assert_eq!(kind, Some("multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\""));
    app.listening(1).await;
    for number in 0..5 {
        ada.post_job(&format!("Job {number}")).await;
        assert_eq!(title(&parts.payload().await), format!("Job {number}"));
    }
    // The same header gets plain JSON where there is one answer.
    let reply = Reply::of(request(&app.http, &accept, None, "{ skills { slug } }", json!({}))).await;
    reply.data();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_worth_another_try() {
    let app = TestApp::start_with(Database::Postgres, "[events]\nring_bytes = 1", Clock::system()).await;
    let ada = app.client("Ada").await;
    let start = cursor(&ada).await;
    let mut live = sse(&app.anonymous(), TITLES, json!({})).await;
    app.listening(1).await;
    ada.post_job("Port it").await;
    live.next().await;
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        app.app.db.writer().execute_unprepared(&sql).await.expect("renamed");
    };
    rename("events", "mislaid").await;
    let both = format!("{MULTIPART},application/json");
    for accept in [SSE, &both, MULTIPART] {
        let reply = Reply::of(request(&app.http, accept, None, TITLES, json!({ "after": start }))).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (503, "INTERNAL_SERVER_ERROR"), "{reply}");
        assert!(reply.headers.contains_key("retry-after"), "{reply}");
    }
    rename("mislaid", "events").await;
    let mut stream = sse(&app.anonymous(), TITLES, json!({ "after": start })).await;
    assert_eq!(title(&stream.next().await), "Port it");
    app.finish().await;
}

/// Subscribes as a reader whose kernel takes little, and that reads nothing yet.
async fn frozen(app: &TestApp, query: &str) -> TcpStream {
    let tcp = TcpSocket::new_v4().expect("a socket");
    tcp.set_recv_buffer_size(4096).expect("a small buffer");
    let mut tcp = tcp.connect(app.addr).await.expect("connects");
    let body = json!({ "query": query }).to_string();
    // In HTTP/1.0 the body comes as it is, and its end is the connection's.
    let head = format!(
        "POST /graphql HTTP/1.0\r\naccept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    tcp.write_all((head + &body).as_bytes()).await.expect("sent");
    tcp
}

/// Ten times what was described, so that what waits does not fit into the buffers on the way.
fn wide() -> String {
    let copies = (0..10).map(|number| format!("copy{number}: description")).collect::<Vec<_>>().join(" ");
    format!("subscription {{ jobPosted {{ cursor job {{ id {copies} }} }} }}")
}

async fn post_wide(client: &Person) -> String {
    let input = json!({
        "idempotencyKey": fresh_key(), "title": "A long one", "description": "x".repeat(2_000), "budget": money("1.00"),
        "skills": ["rust"],
    });
    text(&client.mutate("postJob", input, "job { id }").await.good(), "/job/id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let app = sqlite("[sockets]\nqueue_bytes = 65536\nwrite_timeout_ms = 300").await;
    let ada = app.client("Ada").await;
    let frozen = frozen(&app, &wide()).await;
    let mut bystander = sse(&app.anonymous(), TITLES, json!({})).await;
    app.listening(2).await;
    let hub = &app.app.services.hub;
    let listeners = || hub.listeners(JOB_POSTED);
    let mut posted = 0;
    while listeners() == 2 {
        assert!(posted < 5_000, "it is never cut off");
        post_wide(&ada).await;
        posted += 1;
    }
    for _ in 0..posted {
        bystander.next().await;
    }
    drop((frozen, bystander));
    app.listening(0).await;
    app.finish().await;
}

/// How often a subscription of this process was let go by its group.
async fn lags(app: &TestApp) -> u64 {
    let metrics = app.http.request(Method::GET, "/metrics").send().await.expect("metrics");
    let text = metrics.text().await.expect("a body");
    let line = text.lines().find_map(|line| line.strip_prefix("lancewire_feed_lags_total "));
    line.map_or(0, |number| number.parse().expect("a number"))
}

async fn a_slow_reader_catches_up_without_loss_or_double(database: Database) {
    let settings = "[events]\nbuffer = 4\nring_bytes = 1\n[sockets]\nqueue_bytes = 65536\nwrite_timeout_ms = 600000";
    let app = TestApp::start_with(database, settings, Clock::system()).await;
    let ada = app.client("Ada").await;
    let mut slow = frozen(&app, &wide()).await;
    app.listening(1).await;
    let before = lags(&app).await;
    let mut posted = Vec::new();
    for _ in 0..300 {
        posted.push(post_wide(&ada).await);
    }
    assert!(lags(&app).await > before, "the reader was not slow enough for this test to show anything");
    let mut text = String::new();
    let mut heard = Vec::new();
    let mut chunk = vec![0; 65_536];
    while heard.len() < posted.len() {
        let read = soon(slow.read(&mut chunk)).await.expect("still open");
        assert!(read > 0, "the server has cut it off");
        text.push_str(std::str::from_utf8(&chunk[..read]).expect("ASCII"));
        while let Some((block, rest)) = text.split_once("\n\n") {
            if let Some((_, data)) = block.split_once("event: next\ndata: ") {
                let result: Value = serde_json::from_str(data).expect("JSON");
                heard.push(crate::support::people::text(&result, "/data/jobPosted/job/id"));
            }
            text = rest.to_owned();
        }
    }
    assert_eq!(heard, posted);
    drop(slow);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_catches_up_on_sqlite() {
    a_slow_reader_catches_up_without_loss_or_double(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_catches_up_on_postgres() {
    a_slow_reader_catches_up_without_loss_or_double(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_many_there_are_and_how_they_end_is_measured() {
    let app = sqlite("").await;
    let stream = sse(&app.anonymous(), TITLES, json!({})).await;
    app.listening(1).await;
    let metrics = async || {
        let reply = app.http.request(Method::GET, "/metrics").send().await.expect("metrics");
        reply.text().await.expect("a body")
    };
    assert!(metrics().await.contains("lancewire_streams{transport=\"sse\"} "));
    drop(stream);
    app.listening(0).await;
    assert!(metrics().await.contains("lancewire_stream_ends_total{transport=\"sse\",reason=\"gone\"} "));
    app.finish().await;
}
