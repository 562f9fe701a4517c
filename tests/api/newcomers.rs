//! Limits of accounts, which cost nothing: sign-ups of an address, points of all its users together, drafts. And that
//! failures of the server never count against a user, and that sessions end.

use std::time::Duration;

use chrono::DateTime;
use futures_util::future::join_all;
use lancewire::clock::Clock;
use reqwest::Method;
use sea_orm::{ConnectOptions, ConnectionTrait};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, soon},
        http::Reply,
        people::{Outcome, PASSWORD, Person, fresh_key, new_job, text},
    },
};

const PAIR: &str = "session { accessToken accessTokenExpiresAt refreshToken refreshTokenExpiresAt } user { id }";
const SIGN_UP: &str = "mutation($input: SignUpInput!) { signUp(input: $input) { user { id } session { accessToken } \
                       errors { ... on UserError { code message } ... on TooManyAttemptsError { retryAfterMs } } } }";

/// Opens an account from an address behind a proxy, perhaps as somebody; the first error, or null.
async fn sign_up(app: &TestApp, from: &str, email: &str, token: Option<&str>) -> (Value, Reply) {
    let input = json!({ "email": email, "password": PASSWORD, "displayName": "New", "roles": ["FREELANCER"] });
    let mut request = app.http.request(Method::POST, "/graphql").header("x-forwarded-for", from);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let reply = Reply::of(request.json(&json!({ "query": SIGN_UP, "variables": { "input": input } }))).await;
    (reply.body.pointer("/data/signUp/errors/0").cloned().unwrap_or_default(), reply)
}

fn fresh_email() -> String {
    format!("new-{}@example.com", fresh_key())
}

/// How many accounts can be opened from an address.
async fn opened(app: &TestApp, from: &str) -> usize {
    for count in 0..100 {
        let (error, reply) = sign_up(app, from, &fresh_email(), None).await;
        if error.is_null() {
            reply.data();
        } else {
            assert_eq!(error["code"], "TOO_MANY_ATTEMPTS", "{reply}");
            let message = error["message"].as_str().expect("a message");
            assert!(message.starts_with("Too many accounts were opened from your address."), "{message}");
            assert!(error["retryAfterMs"].as_u64().is_some_and(|millis| millis > 60_000), "{error}");
            return count;
        }
    }
    panic!("no end from {from}")
}

on_both! {
    with "[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[auth]\nsign_ups_per_address = 5";

    async fn an_address_opens_so_many_accounts_an_hour(app: TestApp) {
        // What opens none counts for none.
        let taken = fresh_email();
        assert_eq!(sign_up(&app, "192.0.2.9", &taken, None).await.0, Value::Null);
        for _ in 0..10 {
            assert_eq!(sign_up(&app, "192.0.2.1", &taken, None).await.0["code"], "EMAIL_TAKEN");
            assert_eq!(sign_up(&app, "192.0.2.1", "nobody", None).await.0["code"], "INVALID");
        }
        assert_eq!(opened(&app, "192.0.2.1").await, 5);
        assert_eq!(opened(&app, "::ffff:192.0.2.1").await, 0, "the same address");
        // At the same moment, too.
        let many = join_all((0..20).map(|_| async { sign_up(&app, "192.0.2.2", &fresh_email(), None).await.0 })).await;
        assert_eq!(many.iter().filter(|error| error.is_null()).count(), 5, "{many:?}");
        // A /56 has twice as many, and a /48 four times.
        for (from, expected) in [
            ("2001:db8:1::1", 5),
            ("2001:db8:1::2", 0),
            ("2001:db8:1:1::1", 5),
            ("2001:db8:1:2::1", 0),
            ("2001:db8:1:100::1", 5),
            ("2001:db8:1:200::1", 5),
            ("2001:db8:1:300::1", 0),
            ("2001:db8:2::1", 5),
        ] {
            assert_eq!(opened(&app, from).await, expected, "{from}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_count_accounts_together_and_points_each_for_itself() {
    let settings = "[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[auth]\nsign_ups_per_address = 5\n\
                    [budgets]\nanonymous = 300\nsigned_in = 300\naddress = 600";
    let one = TestApp::start_with(Database::Postgres, settings, Clock::system()).await;
    let two = one.neighbour().await;
    assert_eq!(opened(&one, "192.0.2.1").await, 5);
    // It takes a moment to hear of the others; meanwhile some may be opened.
    let heard = async { while sign_up(&two, "192.0.2.1", &fresh_email(), None).await.0.is_null() {} };
    soon(heard).await;
    assert_eq!(opened(&two, "192.0.2.2").await, 5, "another address");

    // Points are those of a node.
    let ada = one.freelancer("Ada").await;
    spend(&ada, "192.0.2.3").await;
    ask(&ada.at(&two), "192.0.2.3").await.data();
    two.finish().await;
    one.finish().await;
}

/// A query of a few points by somebody who calls from an address.
async fn ask(person: &Person, from: &str) -> Reply {
    let request = person.http.request(Method::POST, "/graphql").header("x-forwarded-for", from);
    let request = request.bearer_auth(person.token.as_deref().expect("a token"));
    Reply::of(request.json(&json!({ "query": "{ jobs(first: 20) { nodes { id } } viewer { id } }" }))).await
}

async fn spend(person: &Person, from: &str) -> Reply {
    let nothing = crate::limits::mutations(9);
    loop {
        let request = person.http.request(Method::POST, "/graphql").header("x-forwarded-for", from);
        let request = request.bearer_auth(person.token.as_deref().expect("a token"));
        let reply = Reply::of(request.json(&json!({ "query": nothing }))).await;
        if reply.status.as_u16() == 429 {
            return reply;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_no_more_points_for_more_accounts() {
    let settings =
        "[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[budgets]\nanonymous = 400\nsigned_in = 400\naddress = 1000";
    let clock = Clock::system();
    let app = TestApp::start_with(Database::Sqlite, settings, clock).await;
    let people = join_all((0..6).map(|number| app.freelancer(["A", "B", "C", "D", "E", "F"][number]))).await;
    for person in &people[..4] {
        spend(person, "192.0.2.1").await;
    }
    let fifth = spend(&people[4], "192.0.2.1").await;
    assert_eq!(fifth.code(), "RATE_LIMITED");
    assert!(
        fifth.at("/errors/0/message").as_str().is_some_and(|words| words.contains("all who call from your address"))
    );
    assert!(fifth.headers.contains_key("retry-after"), "{fifth}");
    assert_eq!(ask(&people[4], "192.0.2.2").await.status.as_u16(), 200, "their own budget is whole");
    // A sign-up is paid for by the address, signed in or not.
    let token = people[5].token.as_deref();
    let before = sign_up(&app, "192.0.2.3", "nobody", token).await.1;
    assert_eq!(before.headers["ratelimit-limit"], "400");
    while sign_up(&app, "192.0.2.3", "nobody", None).await.1.status.as_u16() != 429 {}
    assert_eq!(ask(&people[5], "192.0.2.3").await.status.as_u16(), 200, "they could pay for it themselves");
    assert_eq!(sign_up(&app, "192.0.2.3", "nobody", token).await.1.status.as_u16(), 429);
    app.finish().await;
}

on_both! {
    with "[marketplace]\ndrafts_per_client = 4\ndraft_bytes_per_client = 3000";

    async fn drafts_are_limited_in_number_and_in_bytes(app: TestApp) {
        let ada = app.client("Ada").await;
        let drafts = join_all((0..12).map(|_| ada.draft(new_job("A draft", "1.00")))).await;
        let (good, refused): (Vec<_>, Vec<_>) = drafts.into_iter().partition(Outcome::is_good);
        assert_eq!(good.len(), 4, "at the same moment");
        for refused in refused {
            let error = refused.refused("INVALID");
            assert_eq!(error["path"], json!(["input", "title"]));
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains("at most 4 drafts") && message.contains("Post some"), "{message}");
        }
        let ids: Vec<String> = good.into_iter().map(|draft| text(&draft.good(), "/job/id")).collect();
        // Calling one off and writing another makes no room.
        ada.cancel(&ids[0]).await.good();
        ada.draft(new_job("Another", "1.00")).await.refused("INVALID");
        // One that was posted is no draft, and others have their own.
        ada.publish(&ids[1]).await.good();
        ada.draft(new_job("Another", "1.00")).await.good();
        ada.post(new_job("A job", "1.00")).await.good();
        app.client("Eve").await.draft(new_job("A draft", "1.00")).await.good();

        // Bytes: a later text counts as the first one does.
        let long = |bytes: usize| json!({ "description": "\u{e9}".repeat(bytes / 2) });
        ada.update(&ids[2], long(1_800)).await.good();
        let error = ada.update(&ids[3], long(1_800)).await.refused("INVALID");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("3000 bytes of text") && message.contains("are left"), "{message}");
        ada.update(&ids[3], long(1_000)).await.good();
        ada.update(&ids[2], long(20)).await.good();
        ada.update(&ids[3], long(1_800)).await.good();
        let ben = app.client("Ben").await;
        let mut input = new_job("A long one", "1.00");
        input["description"] = json!("x".repeat(3_000));
        assert_eq!(ben.draft(input).await.refused("INVALID")["path"], json!(["input", "description"]));
    }
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Outcome {
    app.anonymous().mutate("signIn", json!({ "email": email, "password": password }), PAIR).await
}

async fn refresh(app: &TestApp, token: &str) -> Outcome {
    app.anonymous().mutate("refreshSession", json!({ "refreshToken": token }), PAIR).await
}

on_both! {
    with "[auth]\nfree_attempts_per_address = 20\npassword_parallel = 1\npassword_memory_kib = 4096";

    async fn sixty_honest_refreshes_at_once_are_sixty_sessions(app: TestApp) {
        let mut people = Vec::new();
        for number in 0..60 {
            people.push(app.freelancer(&format!("P{number}")).await);
        }
        let refreshed = join_all(people.iter().map(|person| refresh(&app, &person.refresh_token))).await;
        assert_eq!(refreshed.iter().filter(|refreshed| refreshed.is_good()).count(), 60);
        // What is wrong is counted, for the refreshes and for the sign-ins of the address.
        let mut refused = 0;
        while refresh(&app, &"A".repeat(43)).await.code() == "INVALID_CREDENTIALS" {
            refused += 1;
        }
        assert_eq!(refused, 21);
        assert_eq!(sign_in(&app, &people[0].email, PASSWORD).await.code(), "TOO_MANY_ATTEMPTS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_of_hashes_is_nobodys_failure() {
    // 64 wait and one is served: of 90 at once some 25 are too many, and five times 25 are more than are free.
    let settings = "[auth]\nfree_attempts_per_address = 95\npassword_parallel = 1\npassword_memory_kib = 19456";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let mut people = Vec::new();
    for number in 0..30 {
        people.push(app.freelancer(&format!("P{number}")).await);
    }
    let mut busy = 0;
    for _ in 0..5 {
        let three = people.iter().flat_map(|person| (0..3).map(|_| sign_in(&app, &person.email, PASSWORD)));
        for outcome in join_all(three).await {
            if !outcome.is_good() {
                let error = outcome.refused("TOO_MANY_ATTEMPTS");
                assert!(error["message"].as_str().is_some_and(|words| words.contains("being checked")), "{error}");
                busy += 1;
            }
        }
    }
    assert!(busy > 95, "the queue was full for {busy} only");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_nobodys_failure() {
    let settings = "[auth]\nfree_attempts_per_account = 2\nfree_attempts_per_address = 10\n\
                    [database]\nacquire_timeout_ms = 200";
    let app = TestApp::start_with(Database::Postgres, settings, Clock::system()).await;
    let ada = app.freelancer("Ada").await;
    app.db_away(true).await;
    for _ in 0..15 {
        let reply = sign_in(&app, &ada.email, PASSWORD).await;
        assert!(["INTERNAL_SERVER_ERROR", "UNAVAILABLE", "TIMEOUT"].contains(&reply.code()), "{}", reply.reply);
    }
    app.db_away(false).await;
    soon(async { while !ask_ready(&app).await {} }).await;
    sign_in(&app, &ada.email, PASSWORD).await.good();
    app.finish().await;
}

async fn ask_ready(app: &TestApp) -> bool {
    app.http.request(Method::GET, "/health/ready").send().await.is_ok_and(|answer| answer.status().is_success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_nobodys_failure() {
    let settings = "[http]\noperation_timeout_ms = 300\n[auth]\nfree_attempts_per_account = 2\n\
                    [database]\nlock_timeout_ms = 60000";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let ada = app.freelancer("Ada").await;
    // Somebody else writes, so the session cannot be opened.
    let mut options = ConnectOptions::new(app.app.config.database.url.clone());
    let lock =
        sea_orm::Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.expect("opens");
    lock.execute_unprepared("BEGIN IMMEDIATE").await.expect("locked");
    for _ in 0..6 {
        assert_eq!(sign_in(&app, &ada.email, PASSWORD).await.code(), "TIMEOUT");
    }
    lock.execute_unprepared("ROLLBACK").await.expect("free");
    lock.close().await.expect("closes");
    sign_in(&app, &ada.email, PASSWORD).await.good();
    // A wrong password is one, as before.
    for _ in 0..3 {
        sign_in(&app, &ada.email, "a wrong password").await.refused("INVALID_CREDENTIALS");
    }
    assert_eq!(sign_in(&app, &ada.email, PASSWORD).await.code(), "TOO_MANY_ATTEMPTS");
    app.finish().await;
}

async fn a_session_has_a_greatest_age(database: Database) {
    let start = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
    let clock = Clock::manual(start);
    let settings = "[auth]\nsession_seconds = 3600\naccess_token_seconds = 900\nrefresh_token_seconds = 2000";
    let app = TestApp::start_with(database, settings, clock.clone()).await;
    let ada = app.freelancer("Ada").await;
    let end = "2027-01-15T09:00:00.000Z";
    let minutes = |minutes: u64| clock.advance(Duration::from_secs(minutes * 60));
    minutes(30);
    let first = refresh(&app, &ada.refresh_token).await.good();
    assert_eq!(text(&first, "/session/refreshTokenExpiresAt"), end, "not half an hour and some more");
    assert_eq!(text(&first, "/session/accessTokenExpiresAt"), "2027-01-15T08:45:00.000Z");
    minutes(25);
    let second = refresh(&app, &text(&first, "/session/refreshToken")).await.good();
    assert_eq!(text(&second, "/session/accessTokenExpiresAt"), end, "nor the last one");
    // A new password does not make it younger.
    let token = text(&second, "/session/accessToken");
    let change = json!({ "input": { "currentPassword": PASSWORD, "newPassword": "another long secret" } });
    let query = "mutation($input: ChangePasswordInput!) { changePassword(input: $input) { session { \
                 refreshToken refreshTokenExpiresAt } errors { __typename } } }";
    let changed = app.http.graphql(Some(&token), query, change).await;
    assert_eq!(changed.at("/data/changePassword/session/refreshTokenExpiresAt"), end);
    let viewer = async || app.http.graphql(Some(&token), "{ viewer { id } }", json!({})).await;
    viewer().await.data();
    minutes(5);
    assert_eq!(viewer().await.code(), "TOKEN_EXPIRED");
    for token in
        [text(&second, "/session/refreshToken"), text(&changed.body, "/data/changePassword/session/refreshToken")]
    {
        refresh(&app, &token).await.refused("INVALID_CREDENTIALS");
    }
    let ended = app.db_number("SELECT COUNT(*) FROM sessions WHERE end_reason = 'greatest age'").await;
    assert_eq!(ended, 1);
    let again = sign_in(&app, &ada.email, "another long secret").await.good();
    let refreshed = refresh(&app, &text(&again, "/session/refreshToken")).await.good();
    assert_eq!(text(&refreshed, "/session/refreshTokenExpiresAt"), "2027-01-15T09:33:20.000Z");
    minutes(59);
    minutes(1);
    // The one that is refused for it says what to do.
    let told = refresh(&app, &text(&refreshed, "/session/refreshToken")).await.refused("INVALID_CREDENTIALS");
    assert!(told["message"].as_str().is_some_and(|words| words.contains("greatest age. Sign in again")), "{told}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_a_greatest_age_on_sqlite() {
    a_session_has_a_greatest_age(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_a_greatest_age_on_postgres() {
    a_session_has_a_greatest_age(Database::Postgres).await;
}
