//! Every way in which the server ends a socket, end to end: the code, and which sockets stay open.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::DateTime;
use lancewire::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    app::{Database, TestApp, soon, until},
    people::{PASSWORD, Person},
    socket::Socket,
};

const FEED: &str = "subscription { jobPosted { job { title } } }";

/// A socket that has said nothing yet.
async fn silent(app: &TestApp) -> Socket {
    Socket::connect_raw(app.addr, &[]).await.expect("an upgrade")
}

/// How a socket ends that introduces itself with this payload.
async fn end_of_init(app: &TestApp, payload: Value) -> (u16, String) {
    let socket = silent(app).await;
    socket.send(&json!({ "type": "connection_init", "payload": payload }));
    socket.closed().await
}

fn bearer(token: &str) -> Value {
    json!({ "Authorization": format!("Bearer {token}") })
}

fn token(person: &Person) -> &str {
    person.token.as_deref().expect("a token")
}

/// These sockets, and no messages lost on them.
async fn still_open<'a>(sockets: impl IntoIterator<Item = &'a Socket>) {
    for socket in sockets {
        assert_eq!(socket.ping(json!({ "here": true })).await, json!({ "here": true }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_of_the_client_has_its_own_code() {
    let app = TestApp::start(Database::Sqlite).await;
    let bystander = app.socket(None).await;

    let frames: [(&str, Message); 5] = [
        ("not JSON", Message::text("hello")),
        ("no message", Message::text("[]")),
        ("an unknown type", Message::text(r#"{"type":"start","id":"1"}"#)),
        ("binary", Message::binary(vec![1, 2, 3])),
        ("too large", Message::text("x".repeat(70_000))),
    ];
    for (what, frame) in frames {
        let socket = silent(&app).await;
        socket.send_frame(frame);
        let (code, reason) = socket.closed().await;
        assert_eq!(code, 4400, "{what}: {reason}");
    }

    let socket = silent(&app).await;
    socket.subscribe(FEED, json!({}));
    assert_eq!(socket.closed().await.0, 4401, "nothing runs before the acknowledgement");

    for protocol in ["graphql-ws", "soap, wamp"] {
        let socket = Socket::connect_raw(app.addr, &[("sec-websocket-protocol", protocol)]).await.expect("an upgrade");
        assert_eq!(socket.closed().await.0, 4406, "{protocol}");
    }

    let socket = app.socket(None).await;
    let twice = json!({ "id": "same", "type": "subscribe", "payload": { "query": FEED } });
    socket.send(&twice);
    socket.send(&twice);
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4409);
    assert!(reason.contains("same"), "{reason}");

    let socket = app.socket(None).await;
    socket.send(&json!({ "type": "connection_init" }));
    assert_eq!(socket.closed().await.0, 4429);

    still_open([&bystander]).await;
    app.listening(0).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_says_who_they_are_is_sent_away() {
    let app = TestApp::start_with(Database::Sqlite, "[sockets]\ninit_timeout_ms = 100", Clock::system()).await;
    let socket = silent(&app).await;
    assert_eq!(socket.closed().await.0, 4408);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_is_never_taken_for_nobody() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let app = TestApp::start_with(Database::Sqlite, "", clock.clone()).await;
    let ada = app.freelancer("Ada").await;
    still_open([&ada.socket().await]).await;

    let [header, claims, signature] =
        token(&ada).split('.').collect::<Vec<_>>().try_into().expect("three parts of a JWT");
    let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","alg":"none"}"#);
    let mut other: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
    other["sub"] = json!("user_01j9zt5e9qf6sbf0yxv6xg5k8m");
    let other = BASE64_URL_SAFE_NO_PAD.encode(other.to_string());
    for (what, payload) in [
        ("no token at all", bearer("nonsense")),
        ("unsigned", bearer(&format!("{none}.{claims}."))),
        ("other claims", bearer(&format!("{header}.{other}.{signature}"))),
        ("no signature", bearer(&format!("{header}.{claims}."))),
        ("another scheme", json!({ "Authorization": "Basic YWRhOmFkYQ==" })),
        ("a refresh token", json!({ "authToken": ada.refresh_token })),
    ] {
        assert_eq!(end_of_init(&app, payload).await, (4403, "Forbidden".to_owned()), "{what}");
    }
    let socket = Socket::connect_raw(app.addr, &[("authorization", "Bearer nonsense")]).await.expect("an upgrade");
    socket.send(&json!({ "type": "connection_init" }));
    assert_eq!(socket.closed().await.0, 4403, "in the header of the upgrade");

    clock.advance(Duration::from_secs(900));
    assert_eq!(end_of_init(&app, bearer(token(&ada))).await.0, 4403, "expired");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_token_in_a_ping_keeps_a_socket_past_the_end_of_the_first() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let app = TestApp::start_with(Database::Sqlite, "", clock.clone()).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    let [renewed, careless, stolen] = [ada.socket().await, ada.socket().await, ada.socket().await];
    let wallet = renewed.subscribe("subscription { walletUpdated { wallet { inEscrow { amount } } } }", json!({}));
    app.listening(1).await;

    clock.advance(Duration::from_secs(600));
    let ada = Person { token: ada.sign_in_again().await.token, ..ada };
    let ben = ben.sign_in_again().await;
    assert_eq!(renewed.ping(bearer(token(&ada))).await, json!({ "expiresAt": "2027-01-15T08:25:00.000Z" }));
    stolen.send(&json!({ "type": "ping", "payload": bearer(token(&ben)) }));
    assert_eq!(stolen.closed().await.0, 4403, "a socket never changes its user");

    clock.advance(Duration::from_secs(300));
    assert_eq!(careless.closed().await, (4403, "Forbidden: token expired".to_owned()));
    ada.post_job("Later").await;
    let event = renewed.next(&wallet).await;
    assert_eq!(event["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "100.00");
    clock.advance(Duration::from_secs(600));
    assert_eq!(renewed.closed().await.0, 4403, "and the second one ends it");
    app.listening(0).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_session_closes_its_sockets_and_no_others() {
    let app = TestApp::start(Database::Sqlite).await;
    let (ada, ben, nobody) = (app.freelancer("Ada").await, app.freelancer("Ben").await, app.socket(None).await);
    let elsewhere = ada.sign_in_again().await;
    let [one, two] = [ada.socket().await, ada.socket().await];
    let [other_session, other_user] = [elsewhere.socket().await, ben.socket().await];
    one.subscribe(FEED, json!({}));
    nobody.subscribe(FEED, json!({}));
    app.listening(2).await;

    let revoked = (4403, "Forbidden: token revoked".to_owned());
    let reply = ada.run("mutation { signOut { errors { __typename } } }", json!({})).await;
    assert_eq!(reply.data()["signOut"]["errors"], json!([]));
    assert_eq!([one.closed().await, two.closed().await], [revoked.clone(), revoked.clone()]);
    app.listening(1).await;
    assert_eq!(end_of_init(&app, bearer(token(&ada))).await.0, 4403, "nor does the token open another one");
    still_open([&other_session, &other_user, &nobody]).await;

    // A refresh token that comes twice was stolen from somebody: all of its session ends.
    let third = ada.sign_in_again().await;
    let socket = third.socket().await;
    let refresh = json!({ "refreshToken": third.refresh_token });
    let anonymous = app.anonymous();
    let good = anonymous.mutate("refreshSession", refresh.clone(), "session { refreshToken }").await.good();
    let next = json!({ "refreshToken": good["session"]["refreshToken"] });
    anonymous.mutate("refreshSession", next, "session { refreshToken }").await.good();
    still_open([&socket]).await;
    anonymous.mutate("refreshSession", refresh, "session { accessToken }").await.refused("INVALID_CREDENTIALS");
    assert_eq!(socket.closed().await, revoked);
    still_open([&other_session, &other_user, &nobody]).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_password_or_rights_closes_the_sockets_that_it_is_meant_for_and_no_others() {
    let app = TestApp::start(Database::Sqlite).await;
    let (admin, bystander) = (app.admin().await, app.freelancer("Ben").await);
    let spared = [admin.socket().await, bystander.socket().await, app.socket(None).await];
    let revoked = (4403, "Forbidden: token revoked".to_owned());

    let ada = app.freelancer("Ada").await;
    let own = [ada.socket().await, ada.socket().await];
    let others = [ada.sign_in_again().await.socket().await, ada.sign_in_again().await.socket().await];
    let input = json!({ "currentPassword": PASSWORD, "newPassword": "another long secret" });
    let changed = ada.mutate("changePassword", input, "session { accessToken }").await.good();
    for socket in &others {
        assert_eq!(socket.closed().await, revoked);
    }
    still_open(&own).await;
    let token = changed["session"]["accessToken"].as_str().expect("a token");
    still_open([&app.socket(Some(token)).await]).await;

    let cem = app.freelancer("Cem").await;
    let socket = cem.socket().await;
    let input = json!({ "userId": cem.id, "roles": ["CLIENT"] });
    admin.mutate("setUserRoles", input, "user { roles }").await.good();
    assert_eq!(socket.closed().await, revoked);
    // Its session lives: it comes back with the new rights.
    let socket = cem.socket().await;
    let input = json!({ "userId": cem.id, "suspended": true, "reason": "Fraud." });
    admin.mutate("setUserSuspended", input, "user { id }").await.good();
    assert_eq!(socket.closed().await, revoked);
    assert_eq!(end_of_init(&app, bearer(cem.token.as_deref().expect("a token"))).await.0, 4403);
    still_open(&spared).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_1013() {
    let settings = "[sockets]\nmessages_per_minute = 5\nsockets_per_user = 1\nsockets_per_address = 3\n\
                    operations_per_socket = 1";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let ada = app.freelancer("Ada").await;
    let tasks = app.app.lifecycle.running();
    let first = ada.socket().await;
    let (code, reason) = end_of_init(&app, bearer(token(&ada))).await;
    assert_eq!(code, 1013, "{reason}");

    first.subscribe(FEED, json!({}));
    let second = first.subscribe(FEED, json!({}));
    assert_eq!(first.error(&second).await[0]["extensions"]["code"], "RATE_LIMITED");
    still_open([&first]).await;
    for _ in 0..2 {
        first.send(&json!({ "type": "pong" }));
    }
    assert_eq!(first.closed().await.0, 1013, "the sixth message within a minute");

    until("all seats are free again", || app.app.lifecycle.running() <= tasks).await;
    let seats = [app.socket(None).await, app.socket(None).await, app.socket(None).await];
    let fourth = Socket::connect_raw(app.addr, &[("origin", "http://localhost:3000")]).await.expect("an upgrade");
    assert_eq!(fourth.closed().await, (1013, "Try again later: too many sockets from this address".to_owned()));
    still_open(&seats).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_come_from_listed_origins_only() {
    let settings = "[http]\nallowed_origins = [\"https://market.example\"]";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    for origin in ["https://evil.example", "http://market.example", "https://market.example:444", "null"] {
        let refusal = Socket::connect_raw(app.addr, &[("origin", origin)]).await.expect_err(origin);
        assert_eq!(refusal.status.as_u16(), 403, "{origin}");
        assert!(refusal.body.contains("FORBIDDEN"), "{}", refusal.body);
    }
    let listed = Socket::connect_raw(app.addr, &[("origin", "https://market.example")]).await.expect("an upgrade");
    still_open([&listed, &silent(&app).await]).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_sends_everybody_home_with_1012() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.freelancer("Ada").await;
    let sockets = [ada.socket().await, app.socket(None).await, silent(&app).await];
    sockets[0].subscribe(FEED, json!({}));
    app.listening(1).await;
    assert!(app.app.shut_down().await, "a task did not leave by itself");
    for socket in &sockets {
        assert_eq!(socket.closed().await, (1012, "Service restart".to_owned()));
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_been_here_for_long_is_sent_to_come_again() {
    let settings = "[sockets]\nmax_age_ms = 400\nping_interval_ms = 50";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let began = Instant::now();
    let sockets = [app.socket(None).await, app.socket(None).await];
    let query = json!({ "query": FEED });
    let stream = |accept: &'static str| {
        let request = app.http.request(Method::POST, "/graphql").header("accept", accept);
        request.json(&query).send()
    };
    let sse = stream("text/event-stream").await.expect("a stream").text();
    let multipart =
        stream("multipart/mixed;subscriptionSpec=\"1.0\", application/json").await.expect("a stream").text();
    for socket in &sockets {
        assert_eq!(socket.closed().await, (1012, "Service restart".to_owned()));
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "not before nine tenths of the age");
    let sse = soon(sse).await.expect("an end");
    assert!(sse.ends_with(": restarting\n\n") && !sse.contains("complete"), "{sse}");
    let multipart = soon(multipart).await.expect("an end");
    assert!(
        !multipart.contains("--graphql--"),
        "without its closing boundary it is to be asked for again: {multipart}"
    );
    // The server itself goes on, and takes them again.
    still_open([&app.socket(None).await]).await;
    app.listening(0).await;
    app.finish().await;
}
