//! Error codes listed are error codes sent: the list of `docs/api.md`, the code's own and what clients get are one list.
//!
//! That nothing else is ever sent is looked at in every story, by the clients of `support`.

use std::{collections::BTreeSet, time::Duration};

use chrono::DateTime;
use lancewire::{
    clock::Clock,
    events::{EventCursor, Mark},
    schema,
};
use reqwest::{Method, header::CONTENT_TYPE};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, soon},
        codes::{KNOWN, listed},
        http::Reply,
        people::{PASSWORD, Person, new_job, text},
        stream::{SSE, request},
    },
};

#[test]
fn the_document_lists_the_codes_that_there_are() {
    assert!(KNOWN.len() >= 14, "{:?}", *KNOWN);
    assert_eq!(listed(), *KNOWN);
}

/// Each code is sent by something; a new one must be provoked here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_is_sent() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let settings = "[budgets]\nanonymous = 200\n[http]\nbody_timeout_ms = 200\n[events]\nring_bytes = 1\n[database]\nmax_connections = 1\nacquire_timeout_ms = 1000";
    let app = TestApp::start_with(Database::Sqlite, settings, clock.clone()).await;
    let (ben, anonymous) = (app.freelancer("Ben").await, app.anonymous());
    let ada = app.client("Ada").await;
    let deep = format!("{{ viewer {}{{ id }}{} }}", "{ wallet { owner ".repeat(9), " } }".repeat(9));
    let lost = EventCursor { log: Uuid::nil(), position: 1, mark: Mark::NONE }.encode();
    let mut answers = Vec::new();
    for query in [
        "{",
        "{ nothing }",
        "{ jobs(first: 0) { nodes { id } } }",
        "{ jobs(first: 100) { nodes { skills { id } client { skills { id } wallet { transactions(first: 100) { nodes { id } } } } } } }",
        &deep,
        &format!("{{ events(first: 1, after: \"{lost}\") {{ nodes {{ id }} }} }}"),
    ] {
        answers.push(ben.run(query, json!({})).await);
    }
    answers.push(ben.post(new_job("Not a client", "1.00")).await.reply);
    answers.push(anonymous.run("{ wallet { id } }", json!({})).await);
    let post = || app.http.request(Method::POST, "/graphql");
    let hash = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "0".repeat(64) } } });
    answers.push(Reply::of(post().json(&hash)).await);
    answers.push(Reply::of(post().header(CONTENT_TYPE, "application/json").body("{}")).await);
    answers.push(Reply::of(app.http.request(Method::GET, "/nowhere")).await);
    for _ in 0..3 {
        answers.push(anonymous.run("{ jobs(first: 90) { nodes { id } } a: wallet { id } }", json!({})).await);
        answers.push(anonymous.run(&crate::limits::mutations(5), json!({})).await);
    }
    let start = text(&ben.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
    ada.post_job("After the cursor").await;
    app.published().await;
    let held = app.app.db.snapshot().await.expect("the only reader");
    let feed = "subscription($after: String) { jobPosted(after: $after) { cursor } }";
    answers.push(Reply::of(request(&app.http, SSE, None, feed, json!({ "after": start }))).await);
    held.rollback().await.expect("the end");
    app.app.db.writer().execute_unprepared("ALTER TABLE skills RENAME TO away").await.expect("renamed");
    answers.push(ben.run("{ skills { slug } }", json!({})).await);
    clock.advance(Duration::from_secs(3_600));
    answers.push(ben.run("{ viewer { id } }", json!({})).await);

    let code = |answer: &Reply| answer.body.pointer("/errors/0/extensions/code").map(ToString::to_string);
    let mut sent: BTreeSet<String> =
        answers.iter().filter_map(code).map(|code| code.trim_matches('"').to_owned()).collect();
    if half_a_body(&app).await.contains("\"TIMEOUT\"") {
        sent.insert("TIMEOUT".to_owned());
    }
    let missing: Vec<_> = KNOWN.iter().filter(|code| !sent.contains(**code)).collect();
    assert!(missing.is_empty(), "never sent: {missing:?}; sent were {sent:?}");
    app.app.db.writer().execute_unprepared("ALTER TABLE away RENAME TO skills").await.expect("renamed back");
    app.finish().await;
}

/// The answer to a request whose body does not come to an end.
async fn half_a_body(app: &TestApp) -> String {
    let mut stream = TcpStream::connect(app.addr).await.expect("connects");
    let head = "POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.expect("a text, and the end of the connection");
    answer
}

/// The codes in payloads that say of themselves that nothing sends them yet.
fn reserved() -> BTreeSet<String> {
    values().filter(|(_, words)| words.contains("Reserved")).map(|(code, _)| code).collect()
}

/// The values of `UserErrorCode` with their descriptions.
fn values() -> impl Iterator<Item = (String, String)> {
    let types = schema::introspection()["__schema"]["types"].as_array().expect("types");
    let codes = types.iter().find(|of| of["name"] == "UserErrorCode").expect("the type");
    let values = codes["enumValues"].as_array().expect("values").iter();
    values.map(|value| (text(value, "/name"), text(value, "/description")))
}

on_both! {
    async fn every_code_of_a_payload_is_sent_or_says_that_it_is_reserved(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let both = Person::sign_up(&app, "Both", &["CLIENT", "FREELANCER"]).await.funded("500.00").await;
        let mut sent = BTreeSet::new();
        let mut note = |code: &str| {
            sent.insert(code.to_owned());
        };

        note(ada.post(new_job("", "1.00")).await.code());
        note(ada.update("job_nowhere", json!({ "title": "Nothing" })).await.code());
        note(ada.post(new_job("Too dear", "99999.00")).await.code());
        let posted = new_job("Posted", "10.00");
        let job = text(&ada.post(posted.clone()).await.good(), "/job/id");
        let mut other = posted.clone();
        other["title"] = json!("Another");
        note(ada.post(other).await.code());
        let stale = json!({ "id": job, "expectedVersion": 7, "patch": { "title": "Changed" } });
        note(ada.mutate("updateJob", stale, "job { id }").await.code());
        let own = text(&both.post_job("My own").await, "/id");
        note(both.claim(&own).await.code());
        ben.claim(&job).await.good();
        note(both.claim(&job).await.code());
        note(ada.cancel(&job).await.code());
        for number in 0..5 {
            let more = text(&ada.post(new_job(&format!("More {number}"), "1.00")).await.good(), "/job/id");
            note(ben.claim(&more).await.code());
        }
        let deposit = text(&ada.deposit("1.00").await.good(), "/transaction/id");
        let admin = app.admin().await;
        admin.confirm(&deposit, "POST").await.good();
        note(admin.confirm(&deposit, "POST").await.code());
        let id = text(both.run("{ viewer { id } }", json!({})).await.data(), "/viewer/id");
        let roles = json!({ "userId": id, "roles": ["CLIENT", "FREELANCER", "ADMIN"] });
        admin.mutate("setUserRoles", roles, "user { id }").await.good();
        let own = text(&both.deposit("1.00").await.good(), "/transaction/id");
        note(both.confirm(&own, "POST").await.code());
        let account = json!({ "email": ada.email, "password": PASSWORD, "displayName": "Ada", "roles": ["CLIENT"] });
        note(app.anonymous().mutate("signUp", account, "user { id }").await.code());
        for _ in 0..8 {
            let guess = json!({ "email": ada.email, "password": "not the right one" });
            note(app.anonymous().mutate("signIn", guess, "user { id }").await.code());
        }
        // `idempotency::a_key_whose_first_request_hangs_is_in_progress` has this one.
        sent.insert("IDEMPOTENCY_IN_PROGRESS".to_owned());
        // `files::checks::bytes_of_another_type_make_a_file_rejected` has the first, and
        // `suspensions::a_claim_after_the_deadline_is_refused` the second.
        sent.insert("FILE_REJECTED".to_owned());
        sent.insert("DEADLINE_PASSED".to_owned());
        let silent: BTreeSet<_> = values().map(|(code, _)| code).filter(|code| !sent.contains(code)).collect();
        assert_eq!(silent, reserved(), "sent: {sent:?}");
    }
}
