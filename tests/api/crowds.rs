//! Limits of one address before any request is served: connections, time for a head, bytes of a head and of a body. And
//! that operators get an answer while strangers use all of it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use lancewire::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{
    app::{Database, TestApp, soon, until},
    binary::{Home, lines},
    http::{Http, Reply},
    stream::{MULTIPART, SSE},
};

async fn sqlite(settings: &str) -> TestApp {
    TestApp::start_with(Database::Sqlite, settings, Clock::system()).await
}

/// A connection from an address of our own choice: all of 127.0.0.0/8 is this machine.
async fn connect(to: SocketAddr, last: u8) -> TcpStream {
    try_connect(last, to).await.expect("connects")
}

/// The status and the body of one request on a connection of its own; 0 if that was closed without a word, which may be
/// before we know that we are connected.
async fn ask_from(last: u8, to: SocketAddr, path: &str) -> (u16, String) {
    match try_connect(last, to).await {
        Some(connection) => ask(connection, path).await,
        None => (0, String::new()),
    }
}

/// A connection from an address of our own choice, unless it was reset at once.
async fn try_connect(last: u8, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).expect("an address of ours");
    socket.connect(to).await.ok()
}

/// The status and the body of one request on a connection; 0 if it was closed without a word.
async fn ask(mut connection: TcpStream, path: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let talk = async {
        connection.write_all(head.as_bytes()).await?;
        connection.read_to_string(&mut answer).await
    };
    // One that is closed at once may be reset.
    let _ = soon(talk).await;
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer)
}

/// A connection that has been served once and stays.
async fn hold(to: SocketAddr, last: u8) -> TcpStream {
    let mut connection = connect(to, last).await;
    connection.write_all(b"GET /health/live HTTP/1.1\r\nhost: here\r\n\r\n").await.expect("sends");
    let mut answer = Vec::new();
    while !answer.ends_with(b"{\"status\":\"ok\"}") {
        let count = soon(connection.read_buf(&mut answer)).await.expect("an answer");
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
    }
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_holds_so_many_connections_and_others_are_served() {
    let app = sqlite("[http]\nconnections_per_address = 6\ntrusted_proxies = [\"127.0.0.9\"]").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(hold(app.addr, 2).await);
    }
    // A socket keeps its place after the upgrade.
    for _ in 0..3 {
        let mut socket = connect(app.addr, 2).await;
        let upgrade = "GET /graphql HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       sec-websocket-protocol: graphql-transport-ws\r\n\r\n";
        socket.write_all(upgrade.as_bytes()).await.expect("sends");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(soon(socket.read_buf(&mut answer)).await.expect("an answer") > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        held.push(socket);
    }
    let (status, answer) = ask_from(2, app.addr, "/schema.graphql").await;
    assert_eq!(status, 429, "{answer}");
    let answer = answer.to_lowercase();
    assert!(answer.contains("retry-after: ") && answer.contains("\"code\":\"rate_limited\""), "{answer}");
    assert!(answer.contains("too many connections from your address"), "{answer}");
    assert_eq!(ask_from(2, app.addr, "/health/ready").await.0, 200, "whether it is ready is always said");
    // More than are told so are closed at once.
    let mut waiting = Vec::new();
    let full = async {
        while ask_from(2, app.addr, "/health/ready").await.0 != 0 {
            waiting.extend(try_connect(2, app.addr).await);
        }
    };
    soon(full).await;
    drop(waiting);

    assert_eq!(ask_from(3, app.addr, "/schema.graphql").await.0, 200, "another address");
    let mut proxied = Vec::new();
    for _ in 0..20 {
        proxied.push(hold(app.addr, 9).await);
    }
    drop(held);
    let served = async { while ask_from(2, app.addr, "/schema.graphql").await.0 != 200 {} };
    soon(served).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_comes_so_fast_and_others_are_served() {
    let app = sqlite("[http]\nrequests_per_second = 2\ntrusted_proxies = [\"127.0.0.9\"]").await;
    // Ten seconds' worth at once: the connection, nineteen requests on it, and one that is told to wait.
    let mut pipeline = connect(app.addr, 2).await;
    let requests = "GET /health/live HTTP/1.1\r\nhost: here\r\n\r\n".repeat(400);
    pipeline.write_all(requests.as_bytes()).await.expect("sends");
    let mut answers = Vec::new();
    // The end, or a reset, since it does not read what came after.
    while soon(pipeline.read_buf(&mut answers)).await.is_ok_and(|read| read > 0) {}
    let answers = String::from_utf8_lossy(&answers).to_lowercase();
    let (served, refused) = (answers.matches("http/1.1 200 ").count(), answers.matches("http/1.1 429 ").count());
    // What comes back meanwhile may let one or two more through.
    assert!((19..400).contains(&served) && refused == 1, "{served} {refused}: {answers}");
    let (_, last) = answers.split_once("http/1.1 429 ").expect("the refusal");
    assert!(last.contains("retry-after: 1\r\n") && last.contains("connection: close\r\n"), "{last}");
    assert!(
        last.contains("\"code\":\"rate_limited\"") && last.contains("too many requests from your address"),
        "{last}"
    );
    let closed = async { while ask_from(2, app.addr, "/health/live").await.0 != 0 {} };
    soon(closed).await;
    assert_eq!(ask_from(3, app.addr, "/health/live").await.0, 200, "another address");
    // A proxy brings everybody; a client behind it is counted by its own address.
    for _ in 0..30 {
        assert_eq!(ask_from(9, app.addr, "/health/live").await.0, 200);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_hold_all_connections_keep_no_probe_out() {
    let settings =
        "[http]\nconnections = 16\nconnections_per_address = 1000\n[telemetry]\nmetrics_listen = \"127.0.0.1:0\"";
    let app = sqlite(settings).await;
    // All of this machine may use the reserve, too: 64.
    let mut held = Vec::new();
    for _ in 0..80 {
        held.push(hold(app.addr, 2).await);
    }
    let (status, answer) = ask_from(3, app.addr, "/graphql?query={__typename}").await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("no room for more connections"), "{answer}");
    let (status, answer) = ask_from(3, app.addr, "/health/ready").await;
    assert!(status == 200 && answer.contains("\"status\":\"ready\""), "{answer}");
    // Those who run the service have a listener of their own, and nobody else sees the figures.
    let operators = app.app.operators_address().expect("it listens");
    let own = Http::new(operators);
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(Reply::of(own.request(Method::GET, path)).await.status.as_u16(), 200, "{path}");
    }
    let figures = Reply::of(own.request(Method::GET, "/metrics")).await;
    let figures = figures.body.as_str().expect("a text");
    assert!(figures.contains("lancewire_http_connections_refused_total{reason=\"total\"}"), "{figures}");
    for path in ["/graphql?query={__typename}", "/", "/schema.graphql"] {
        assert_eq!(Reply::of(own.request(Method::GET, path)).await.status.as_u16(), 404, "{path}");
    }
    drop(held);
    let public = async { Reply::of(app.http.request(Method::GET, "/metrics")).await.status.as_u16() };
    let served = async { while ask_from(3, app.addr, "/schema.graphql").await.0 != 200 {} };
    soon(served).await;
    assert_eq!(public.await, 404);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_head_in_time_is_closed_and_one_that_was_served_stays() {
    let app = sqlite("[http]\nhead_timeout_ms = 300\nidle_timeout_ms = 3600000").await;
    let mut served = hold(app.addr, 2).await;
    for sent in ["", "GET /health/live HTTP/1.1\r\nhost: he"] {
        let mut slow = connect(app.addr, 2).await;
        slow.write_all(sent.as_bytes()).await.expect("sends");
        let mut answer = Vec::new();
        let ended = soon(slow.read_to_end(&mut answer)).await;
        assert!(ended.is_err() || answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    served.write_all(b"GET /health/live HTTP/1.1\r\nhost: here\r\n\r\n").await.expect("sends");
    let mut answer = [0; 15];
    soon(served.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    app.finish().await;
}

/// The head of a request whose body never comes, and what is answered.
async fn with_a_body_to_come(app: &TestApp, headers: &str) -> (u16, Value) {
    let mut connection = TcpStream::connect(app.addr).await.expect("connects");
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: 262144\r\n{headers}\r\n"
    );
    connection.write_all(head.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    soon(connection.read_to_string(&mut answer)).await.expect("an answer, and the end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let body = body.find('{').and_then(|at| serde_json::from_str(body[at..].trim_end()).ok()).unwrap_or_default();
    (head[9..12].parse().expect("a status"), body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_not_read_for_who_cannot_pay_or_is_nobody() {
    let settings = "[http]\nbody_timeout_ms = 1000\n[budgets]\nanonymous = 60\nsigned_in = 60";
    let app = sqlite(settings).await;
    let ada = app.freelancer("Ada").await;
    let token = ada.token.clone().expect("a token");
    let bearer = format!("authorization: Bearer {token}\r\n");
    // Who can pay is waited for.
    assert_eq!(with_a_body_to_come(&app, &bearer).await.0, 408);
    let anonymous = app.anonymous();
    // Budgets grow with time: nothing is left just before each is asked about.
    let spend_all = async || {
        for person in [&ada, &anonymous] {
            while person.run("{ nothing }", json!({})).await.status.as_u16() != 429 {}
        }
    };
    for accept in ["", "accept: application/json\r\n"] {
        for caller in [bearer.as_str(), ""] {
            spend_all().await;
            let (status, body) = with_a_body_to_come(&app, &format!("{caller}{accept}")).await;
            assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (429, &json!("RATE_LIMITED")), "{body}");
            assert!(body["errors"][0]["extensions"]["retryAfterMs"].is_number(), "{body}");
        }
    }
    // Streams say it in their own way, and as early.
    for accept in [SSE, MULTIPART] {
        spend_all().await;
        let (_, body) = with_a_body_to_come(&app, &format!("accept: {accept}\r\n{bearer}")).await;
        assert_ne!(body, json!({ "errors": [] }));
    }
    // A token that is none costs a point of the address, and then there are none left.
    let app_2 = sqlite("[http]\nbody_timeout_ms = 1000\n[budgets]\nanonymous = 3").await;
    let forged = "authorization: Bearer e30.e30.e30\r\n";
    for expected in [401, 401, 401, 429] {
        assert_eq!(with_a_body_to_come(&app_2, forged).await.0, expected);
    }
    app_2.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_open_files_is_raised_and_connections_stay_below_it() {
    let limit = |pid: u32| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("readable");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line").to_owned();
        let mut words = line.split_ascii_whitespace().skip(3).map(|word| word.parse::<u64>().expect("a number"));
        (words.next().expect("soft"), words.next().expect("hard"))
    };
    let home = Home::new()
        .with("LANCEWIRE_TELEMETRY__FILTER", "info")
        .with("LANCEWIRE_TELEMETRY__FORMAT", "json")
        .with("LANCEWIRE_HTTP__CONNECTIONS_PER_ADDRESS", "100000")
        .under("ulimit -S -n 256 && ulimit -H -n 512");
    let server = home.serve_into("log").await;
    assert_eq!(limit(server.id()), (512, 512));
    let log = fs::read(home.path().join("log")).expect("a log");
    let said =
        lines(&log).into_iter().find(|line| line.contains("so many connections there may be")).expect("it says so");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let ceiling = said["connections"].as_u64().expect("a number");
    assert!((128..400).contains(&ceiling), "{said}");
    // More strangers than there are files: the database still answers, and so does the listener. Who is one too many may be
    // reset before we know that we are connected.
    let mut held = Vec::new();
    for _ in 0..600 {
        held.extend(try_connect(2, server.addr).await);
    }
    let operator = connect(server.addr, 3).await;
    let (status, answer) = ask(operator, "/health/ready").await;
    assert!(status == 200 && answer.contains("\"database\":\"ok\""), "{answer}");
    let log = || fs::read_to_string(home.path().join("log")).expect("a log");
    assert!(!log().contains("cannot accept a connection"), "{}", log());
    drop(held);
    until("it serves again", || log().contains("serving")).await;
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_ask_whether_it_is_ready_the_database_is_asked_by_few() {
    let app = sqlite("").await;
    let ask = async || Reply::of(app.http.request(Method::GET, "/health/ready")).await.status.as_u16();
    let before = app.app.db.statements();
    let answers = futures_util::future::join_all((0..300).map(|_| ask())).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    let asked = app.app.db.statements() - before;
    assert!(asked < 300, "{asked} statements for 300 questions, of three at least each");
    app.finish().await;
}
