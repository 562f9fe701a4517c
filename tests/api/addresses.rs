//! Whose address a request counts for, behind proxies and without them: budgets, sign-in attempts and seats alike.

use chrono::DateTime;
use lancewire::clock::Clock;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    app::{Database, TestApp},
    binary::{Home, lines},
    http::Reply,
    socket::Socket,
};

const LISTED: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n";

async fn start(http: &str, settings: &str) -> TestApp {
    // Points come back with time.
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    TestApp::start_with(Database::Sqlite, &format!("[http]\n{http}\n{settings}"), clock).await
}

/// A query of one point with a header; its status, and what is left of the caller's budget.
async fn ask(app: &TestApp, header: &str, value: &str) -> (u16, i64) {
    let request = app.http.request(Method::POST, "/graphql").header(header, value);
    let reply = Reply::of(request.json(&json!({ "query": "{ skills { slug } }" }))).await;
    let left = reply.headers.get("ratelimit-remaining").expect("a budget").to_str().expect("a text");
    (reply.status.as_u16(), left.parse().expect("a number"))
}

/// Spends a budget of five points.
async fn spend(app: &TestApp, header: &str, value: &str) {
    let mut status = 200;
    for _ in 0..10 {
        status = ask(app, header, value).await.0;
    }
    assert_eq!(status, 429, "{header}: {value}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_listed_proxy_each_client_has_a_budget_of_its_own() {
    let app = start(LISTED, "[budgets]\nanonymous = 5").await;
    let of = async |value: &str| ask(&app, "x-forwarded-for", value).await.0;
    spend(&app, "x-forwarded-for", "198.51.100.1").await;
    for same in ["198.51.100.1:4711", "6.6.6.6, 198.51.100.1", "198.51.100.1, 10.1.2.3", "::ffff:198.51.100.1"] {
        assert_eq!(of(same).await, 429, "{same}");
    }
    for other in ["198.51.100.2", "198.51.100.1, 198.51.100.3", "2001:db8::1", "10.1.2.3"] {
        assert_eq!(of(other).await, 200, "{other}");
    }
    spend(&app, "x-forwarded-for", "[2001:db8:1::1]:443").await;
    assert_eq!(of("2001:db8:1::ffff").await, 429, "a subscriber has a whole network of IPv6");
    assert_eq!(of("2001:db8:2::1").await, 200);
    // What says nothing is the proxy's own, and one budget for all of it.
    spend(&app, "x-forwarded-for", "unknown").await;
    assert_eq!(of("198.51.100.9, nonsense").await, 429);
    assert_eq!(ask(&app, "forwarded", "for=198.51.100.10").await.0, 429, "nobody has vouched for that one");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_may_speak_in_the_standards_words() {
    let settings = format!("{LISTED}proxy_header = \"forwarded\"\n");
    let app = start(&settings, "[budgets]\nanonymous = 5").await;
    spend(&app, "forwarded", "for=\"[2001:db8::1]:4711\";proto=https, for=10.0.0.2").await;
    assert_eq!(ask(&app, "forwarded", "for=198.51.100.7").await.0, 200);
    spend(&app, "x-forwarded-for", "198.51.100.8").await;
    assert_eq!(ask(&app, "x-forwarded-for", "198.51.100.9").await.0, 429);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_invents_addresses_changes_nothing() {
    for listed in ["", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n"] {
        let app = start(listed, "[budgets]\nanonymous = 5\n[sockets]\nsockets_per_address = 2").await;
        let mut statuses = Vec::new();
        for number in 0..10 {
            let header = if number % 2 == 0 { "x-forwarded-for" } else { "forwarded" };
            let value = if number % 2 == 0 { format!("10.0.0.{number}") } else { format!("for=10.0.0.{number}") };
            statuses.push(ask(&app, header, &value).await.0);
        }
        assert_eq!(statuses.last(), Some(&429), "{listed}: {statuses:?}");
        let connect = async |address| Socket::connect_raw(app.addr, &[("x-forwarded-for", address)]).await;
        let seats = [connect("10.0.0.1").await.expect("a seat"), connect("10.0.0.2").await.expect("a seat")];
        assert_eq!(connect("10.0.0.3").await.expect("an upgrade").closed().await.0, 1013, "a third: {listed}");
        drop(seats);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_and_attempts_go_by_the_same_address() {
    let settings = "[sockets]\nsockets_per_address = 1\n[auth]\nfree_attempts_per_address = 3";
    let app = start(LISTED, settings).await;
    let connect = async |address| Socket::connect_raw(app.addr, &[("x-forwarded-for", address)]).await;
    let seat = connect("198.51.100.1").await.expect("a seat");
    assert_eq!(connect("198.51.100.1").await.expect("an upgrade").closed().await.0, 1013, "a second one");
    let stream = |address: &str| {
        let request = app.http.request(Method::POST, "/graphql").header("accept", "text/event-stream");
        request.header("x-forwarded-for", address).json(&json!({ "query": "subscription { jobPosted { id } }" }))
    };
    assert_eq!(stream("198.51.100.1").send().await.expect("an answer").status().as_u16(), 429);
    let open = stream("198.51.100.2").send().await.expect("an answer");
    assert_eq!(open.status().as_u16(), 200);
    assert_eq!(connect("198.51.100.2").await.expect("an upgrade").closed().await.0, 1013, "a socket beside a stream");
    drop((seat, open));

    let guess = async |address: &str, number: usize| {
        let query = "mutation($input: SignInInput!) { signIn(input: $input) { errors { ... on UserError { code } } } }";
        let input = json!({ "email": format!("nobody-{number}@example.com"), "password": "a wrong password" });
        let request = app.http.request(Method::POST, "/graphql").header("x-forwarded-for", address);
        let reply = Reply::of(request.json(&json!({ "query": query, "variables": { "input": input } }))).await;
        reply.at("/data/signIn/errors/0/code").as_str().expect("a code").to_owned()
    };
    for number in 0..4 {
        assert_eq!(guess("198.51.100.1", number).await, "INVALID_CREDENTIALS");
    }
    assert_eq!(guess("198.51.100.1", 5).await, "TOO_MANY_ATTEMPTS");
    assert_eq!(guess("198.51.100.2", 6).await, "INVALID_CREDENTIALS");
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_network_stops_the_start_with_one_line() {
    for bad in ["10.0.0.0/33", "balancer", "10.0.0.0/8,x"] {
        let output = Home::new().with("LANCEWIRE_HTTP__TRUSTED_PROXIES", bad).run(&[]).await;
        let said = lines(&output.stderr);
        assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{bad}: {said:#?}");
        assert!(said[0].contains("http.trusted_proxies must hold networks"), "{said:#?}");
    }
    let output = Home::new().with("LANCEWIRE_HTTP__PROXY_HEADER", "x-real-ip").run(&[]).await;
    assert!(lines(&output.stderr)[0].contains("http.proxy_header"), "{:?}", lines(&output.stderr));
}
