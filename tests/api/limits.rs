//! What one caller may ask for, in points and in time, and that a refusal says when to come back.

use std::time::{Duration, Instant};

use lancewire::clock::Clock;
use reqwest::{Method, header::ACCEPT};
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::support::{
    app::{Database, TestApp, soon},
    http::Reply,
    people::{PASSWORD, new_job},
    stream::{SSE, request},
};

/// An operation of so many mutations that do nothing and keep their base price: 12 points each, 11 without a token.
pub(crate) fn mutations(count: usize) -> String {
    let one =
        |number| format!("m{number}: markNotificationsRead(input: {{ upToId: \"x\" }}) {{ errors {{ message }} }} ");
    format!("mutation {{ {} }}", (0..count).map(one).collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_document_costs_by_its_length_and_is_not_read_if_that_cannot_be_paid_for() {
    let app = sqlite("[budgets]\nanonymous = 250\nsigned_in = 300").await;
    let (ada, anonymous) = (app.freelancer("Ada").await, app.anonymous());
    let long = |text: &str| format!("{text} #{}", "x".repeat(150 * 1024));
    let reply = ada.run(&long("{ rateLimit { cost } }"), json!({})).await;
    assert_eq!(reply.data()["rateLimit"]["cost"], 147, "one, and 146 KiB after the first four");
    // What was read in vain is paid for, and what cannot be paid for is not read.
    assert_eq!(ada.run(&long("{ nobody }"), json!({})).await.code(), "GRAPHQL_VALIDATION_FAILED");
    let refused = ada.run(&long("this is no GraphQL"), json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED"), "{refused}");
    anonymous.run(&long("{ rateLimit { cost } }"), json!({})).await.data();
    assert_eq!(anonymous.run(&long("this is no GraphQL"), json!({})).await.code(), "RATE_LIMITED");
    app.finish().await;
}

async fn sqlite(settings: &str) -> TestApp {
    TestApp::start_with(Database::Sqlite, settings, Clock::system()).await
}

fn number(reply: &Reply, name: &str) -> i64 {
    let value = reply.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", reply.headers));
    value.to_str().expect("a text").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_budget_says_when_to_come_back_and_is_one_callers_alone() {
    let app = sqlite("[budgets]\nanonymous = 200\nsigned_in = 100").await;
    let (ada, ben) = (app.freelancer("Ada").await, app.freelancer("Ben").await);
    let query = "{ rateLimit { cost limit remaining resetAt } jobs(first: 40) { nodes { id } } }";
    let first = ada.run(query, json!({})).await;
    let told = first.data()["rateLimit"].clone();
    assert_eq!((&told["cost"], &told["limit"], &told["remaining"]), (&json!(43), &json!(100), &json!(57)), "{told}");
    let headers = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| number(&first, name));
    assert_eq!(headers[..2], [100, 98], "an empty page is two objects, and the rest was given back");
    assert!((1..=2).contains(&headers[2]), "2 of 100 points come back in 1.2 s: {headers:?}");

    let spent = ada.run(&mutations(5), json!({})).await;
    assert!((38..=42).contains(&number(&spent, "ratelimit-remaining")), "60 points: {spent}");
    ada.run(&mutations(1), json!({})).await.data();
    let refused = ada.run(query, json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "RATE_LIMITED"), "{refused}");
    assert!(refused.body.get("data").is_none(), "{refused}");
    let millis = refused.at("/errors/0/extensions/retryAfterMs").as_i64().expect("a number");
    assert_eq!(number(&refused, "retry-after"), (millis + 999) / 1000, "{refused}");
    assert!((1..=12_000).contains(&millis), "18 points are missing at 100 a minute: {refused}");
    // The same for clients that know only application/json.
    let request = app.http.request(Method::POST, "/graphql").header(ACCEPT, "application/json");
    let request = request.bearer_auth(ada.token.as_deref().expect("a token")).json(&json!({ "query": query }));
    assert_eq!(Reply::of(request).await.status.as_u16(), 429);

    // What is refused costs nothing, and a smaller one is still served.
    ada.run("{ viewer { id } }", json!({})).await.data();
    ben.run(query, json!({})).await.data();
    let reply = app.anonymous().run("{ rateLimit { limit } }", json!({})).await;
    assert_eq!(reply.data()["rateLimit"]["limit"], 200);
    let dear = ben.run("{ jobs(first: 100) { nodes { id skills { id } } } }", json!({})).await;
    assert_eq!(dear.code(), "OPERATION_TOO_COMPLEX", "waiting would not help: {dear}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_token_has_one_budget() {
    let app = sqlite("[budgets]\nanonymous = 50").await;
    let query = "{ jobs(first: 40) { nodes { id } } }";
    let anonymous = app.anonymous();
    // What was refused for want of a token keeps the base price of mutations.
    anonymous.run(&mutations(4), json!({})).await;
    assert_eq!(anonymous.run(query, json!({})).await.status.as_u16(), 429);
    // A document that cannot run has been read nevertheless.
    let before = number(&anonymous.run("{ skills { id } }", json!({})).await, "ratelimit-remaining");
    let after = number(&anonymous.run("{ nothing }", json!({})).await, "ratelimit-remaining");
    assert!(after <= before, "{after} of {before}");
    let mut served = 0;
    while anonymous.run("{", json!({})).await.status.as_u16() != 429 {
        served += 1;
        assert!(served < 50, "nonsense is free");
    }
    app.finish().await;
}

/// A page of jobs with much below it: 313 points at most, and three for each job that there is.
const WIDE: &str = "{ jobs(first: 100) { nodes { id client { id } activeClaim { id } } } }";

async fn a_budget_is_charged_by_what_was_returned(database: Database) {
    let app = TestApp::start_with(database, "[budgets]\nanonymous = 1000\nsigned_in = 450", Clock::system()).await;
    let clients = [app.client("Ada").await, app.client("Eve").await];
    for client in &clients {
        for number in 0..3 {
            client.post_job(&format!("Job {number}")).await;
        }
    }
    // 13 points each: two rows of two objects, a connection, and nothing for the private field that is null.
    let anonymous = app.anonymous();
    let before = number(&anonymous.run("{ skills(first: 1) { id } }", json!({})).await, "ratelimit-remaining");
    for round in 0..8 {
        let reply = anonymous.run(WIDE, json!({})).await;
        assert_eq!(reply.data()["jobs"]["nodes"].as_array().map(Vec::len), Some(6), "round {round}: {reply}");
        let left = number(&reply, "ratelimit-remaining");
        assert!(left >= before - 13 * (round + 1) && left <= 1_000, "{left} after round {round}");
    }
    // The most that it can cost must be there beforehand, on every transport; what is given back, too.
    let ben = app.freelancer("Ben").await;
    let socket = ben.socket().await;
    for _ in 0..3 {
        let id = socket.subscribe(WIDE, json!({}));
        assert_eq!(socket.next(&id).await["data"]["jobs"]["nodes"].as_array().map(Vec::len), Some(6));
        socket.completed(&id).await;
        let once = request(&ben.http, SSE, ben.token.as_deref(), WIDE, json!({})).send().await.expect("an answer");
        let left: i64 = once.headers()["ratelimit-remaining"].to_str().expect("a text").parse().expect("a number");
        assert!((350..=450).contains(&left), "{left}");
    }
    for _ in 0..2 {
        ben.run(&mutations(10), json!({})).await.data();
    }
    let refused = ben.run(WIDE, json!({})).await;
    assert_eq!((refused.code(), refused.status.as_u16()), ("RATE_LIMITED", 429), "{refused}");
    assert!(number(&refused, "ratelimit-remaining") > 13, "what it would have returned could be paid for: {refused}");
    let id = socket.subscribe(WIDE, json!({}));
    assert_eq!(socket.error(&id).await[0]["extensions"]["code"], "RATE_LIMITED");
    let once = request(&ben.http, SSE, ben.token.as_deref(), WIDE, json!({})).send().await.expect("an answer");
    assert_eq!(once.status().as_u16(), 429);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_charged_by_what_was_returned_on_sqlite() {
    a_budget_is_charged_by_what_was_returned(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_charged_by_what_was_returned_on_postgres() {
    a_budget_is_charged_by_what_was_returned(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_in_part_is_answered_in_full_and_paid_for_and_done_once() {
    let app = sqlite("[budgets]\nanonymous = 200").await;
    let ada = app.freelancer("Ada").await;
    let query = "{ rateLimit { cost remaining } skills { slug } events(first: 0) { nodes { id } } \
                 jobs(first: 40) { nodes { id } } }";
    let (first, second) = (app.anonymous().run(query, json!({})).await, app.anonymous().run(query, json!({})).await);
    for reply in [&first, &second] {
        assert_eq!((reply.code(), reply.at("/errors/0/path")), ("BAD_USER_INPUT", &json!(["events"])), "{reply}");
        assert!(reply.at("/errors").as_array().is_some_and(|errors| errors.len() == 1), "told once: {reply}");
        assert!(reply.at("/data/events").is_null(), "{reply}");
        assert!(reply.at("/data/skills/0/slug").is_string(), "what is beside it stays: {reply}");
        assert_eq!(reply.at("/data/jobs/nodes"), &json!([]), "{reply}");
    }
    let points = |reply: &Reply, what: &str| reply.at(&format!("/data/rateLimit/{what}")).as_i64().expect("points");
    let (cost, spent) = (points(&first, "cost"), points(&first, "remaining") - points(&second, "remaining"));
    assert!(cost > 40 && spent <= cost, "{spent} points were taken for {cost}");

    let query = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } \
                 user { claims(first: 0) { nodes { id } } } } }";
    let before = app.db_number("SELECT COUNT(*) FROM sessions").await;
    let reply = ada.run(query, json!({ "input": { "email": ada.email, "password": PASSWORD } })).await;
    assert!(reply.body.get("errors").is_some() && reply.at("/data/signIn/session/accessToken").is_string(), "{reply}");
    assert_eq!(app.db_number("SELECT COUNT(*) FROM sessions").await, before + 1, "a mutation never runs again");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_document_that_unfolds_into_a_large_one_is_refused_at_once() {
    let app = sqlite("").await;
    let mut bomb = "{ viewer { ...F0 } }".to_owned();
    for level in 0..19 {
        let next = level + 1;
        bomb += &format!(" fragment F{level} on User {{ ...F{next} ...F{next} }}");
    }
    bomb += " fragment F19 on User { id }";
    let loops = "{ viewer { ...A } } fragment A on User { ...B } fragment B on User { ...A }";
    let aliases = (0..31).map(|number| format!("a{number}: id")).collect::<Vec<_>>().join(" ");
    let roots = (0..11).map(|number| format!("a{number}: viewer {{ id }}")).collect::<Vec<_>>().join(" ");
    let directives = "@include(if: true) ".repeat(21);
    for (what, query, code) in [
        ("a fragment bomb", bomb, "OPERATION_TOO_COMPLEX"),
        ("a loop", loops.to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("aliases", format!("{{ viewer {{ {aliases} }} }}"), "OPERATION_TOO_COMPLEX"),
        ("root fields", format!("{{ {roots} }}"), "OPERATION_TOO_COMPLEX"),
        ("directives", format!("{{ viewer {{ id {directives} }} }}"), "OPERATION_TOO_COMPLEX"),
        ("tokens", format!("{{ viewer {{ {} }} }}", "id ".repeat(2_000)), "OPERATION_TOO_COMPLEX"),
        (
            "depth",
            format!("{{ viewer {}{} }}", "{ wallet { owner ".repeat(7), "{ id }".to_owned() + &" } }".repeat(7)),
            "OPERATION_TOO_DEEP",
        ),
        ("brackets", format!("{{ viewer(a: {}", "[".repeat(20_000)), "OPERATION_TOO_DEEP"),
    ] {
        let began = Instant::now();
        let reply = app.anonymous().run(&query, json!({})).await;
        assert_eq!((reply.code(), reply.status.as_u16()), (code, 400), "{what}: {reply}");
        assert!(began.elapsed() < Duration::from_secs(2), "{what} took {:?}", began.elapsed());
    }
    let ids: Vec<Value> = (0..101).map(|number| json!(number.to_string())).collect();
    let many = app.anonymous().run("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({ "ids": ids })).await;
    assert_eq!(many.code(), "OPERATION_TOO_COMPLEX");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_slowly_is_not_waited_for() {
    let app = sqlite("[http]\nbody_timeout_ms = 200\nidle_timeout_ms = 200").await;
    let talk = async |text: &str| {
        let mut stream = TcpStream::connect(app.addr).await.expect("connects");
        stream.write_all(text.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.expect("a text, and the end of the connection");
        answer
    };
    let head = "POST /graphql HTTP/1.1\r\nhost: here\r\n";
    let answer = talk(head).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "half a head: {answer}");
    assert_eq!(talk("").await, "", "no head at all");
    let answer = talk(&format!("{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"query\"")).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"TIMEOUT\""), "half a body: {answer}");
    app.finish().await;
}

async fn an_operation_that_waits_too_long_is_given_up_and_undone(database: Database) {
    let app = TestApp::start_with(database, "[http]\noperation_timeout_ms = 2000", Clock::system()).await;
    let ada = app.client("Ada").await;
    let (held, release) = (&Notify::new(), &Notify::new());
    // On SQLite the one writer is taken, on PostgreSQL the ledger's accounts.
    let hold = app.app.db.transact(|tx| async move {
        if database == Database::Postgres {
            tx.execute_unprepared("LOCK TABLE accounts IN EXCLUSIVE MODE").await?;
        }
        held.notify_one();
        release.notified().await;
        Ok::<_, DbErr>(())
    });
    let job = new_job("Waits in vain", "100.00");
    let meanwhile = async {
        held.notified().await;
        let outcome = ada.post(job.clone()).await;
        assert_eq!((outcome.reply.status.as_u16(), outcome.code()), (503, "TIMEOUT"), "{}", outcome.reply);
        release.notify_one();
    };
    let (released, ()) = soon(futures_util::future::join(hold, meanwhile)).await;
    released.expect("commits");
    // The same key again: had anything been kept, this would be its answer or a conflict.
    let posted = ada.post(job).await.good();
    assert_eq!(posted["wallet"]["available"]["amount"], "9900.00", "paid once");
    assert_eq!(app.db_number("SELECT COUNT(*) FROM jobs").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_waits_too_long_is_given_up_on_sqlite() {
    an_operation_that_waits_too_long_is_given_up_and_undone(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_waits_too_long_is_given_up_on_postgres() {
    an_operation_that_waits_too_long_is_given_up_and_undone(Database::Postgres).await;
}
