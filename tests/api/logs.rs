//! The log as an operator reads it: one line a request, everything of a request found by its id, and nothing private.

use std::fs;

use reqwest::{Method, header::ACCEPT};
use serde_json::{Value, json};

use crate::support::{
    app::{soon, until},
    binary::{Home, Server},
    http::{Http, Reply},
    people::text,
    socket::Socket,
    stream::{SSE, Stream},
};

const PASSWORD: &str = "correct-horse-battery";
const SIGN_IN: &str = "mutation SignIn($input: SignInInput!) { signIn(input: $input) { user { id } session { accessToken } \
                       errors { __typename } } }";

/// A server that writes its log as JSON, at `info`.
async fn start(home: &Home) -> (Server, Http) {
    let server = home.serve_into("log").await;
    let http = Http::new(server.addr);
    (server, http)
}

fn home() -> Home {
    Home::new().with("LANCEWIRE_TELEMETRY__FILTER", "info").with("LANCEWIRE_TELEMETRY__FORMAT", "json")
}

fn lines(home: &Home) -> Vec<Value> {
    let log = fs::read_to_string(home.path().join("log")).expect("a log");
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// The ids of the requests that a line belongs to.
fn request_id(line: &Value) -> Option<&str> {
    let spans = line["spans"].as_array()?;
    spans.iter().find_map(|span| span["request.id"].as_str())
}

/// The lines of one request.
fn of(home: &Home, id: &str) -> Vec<Value> {
    lines(home).into_iter().filter(|line| request_id(line) == Some(id)).collect()
}

/// The one line of a request, which is written once it has been answered.
async fn line_of(home: &Home, id: &str, message: &str) -> Value {
    let found = || of(home, id).into_iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    until("the line is written", || !found().is_empty()).await;
    let mut found = found();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

async fn post(http: &Http, id: &str, token: Option<&str>, body: &Value) -> Reply {
    let mut request = http.request(Method::POST, "/graphql").header("x-request-id", id).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    Reply::of(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_line_that_says_who_asked_what_and_what_came_of_it() {
    let home = home();
    let (server, http) = start(&home).await;
    let ada =
        json!({ "query": SIGN_IN, "variables": { "input": { "email": "ada@example.com", "password": PASSWORD } } });
    let signed_in = post(&http, "sign-in", None, &ada).await;
    let token = text(&signed_in.body, "/data/signIn/session/accessToken");
    let user = text(&signed_in.body, "/data/signIn/user/id");

    let line = line_of(&home, "sign-in", "request").await;
    assert_eq!((&line["operation.name"], &line["operation.kind"]), (&json!("SignIn"), &json!("mutation")), "{line}");
    assert_eq!((&line["outcome"], &line["http.status"]), (&json!("ok"), &json!(200)), "{line}");
    assert_eq!((&line["client.address"], &line["user.id"]), (&json!("127.0.0.1"), &Value::Null), "{line}");
    assert!(line["cost"].as_u64().is_some_and(|cost| cost > 0) && line["duration.ms"].is_number(), "{line}");

    // One document is one hash, whatever values are written into it; another one is another.
    let literal = |email: &str| json!({ "query": format!("mutation {{ signIn(input: {{ email: {email:?}, password: \"x\" }}) {{ user {{ id }} }} }}") });
    post(&http, "literal-1", None, &literal("nobody@example.com")).await;
    post(&http, "literal-2", None, &literal("somebody@example.org")).await;
    let hash = async |id: &str| text(&line_of(&home, id, "request").await, "/operation.hash");
    assert_eq!(hash("literal-1").await, hash("literal-2").await);
    assert_ne!(hash("literal-1").await, hash("sign-in").await);
    assert_eq!(hash("sign-in").await.len(), 16);

    // Who asked, and what became of what could not be done.
    let viewer = json!({ "query": "query Me { viewer { id } }" });
    post(&http, "viewer", Some(&token), &viewer).await.data();
    assert_eq!(line_of(&home, "viewer", "request").await["user.id"], json!(user));
    for (id, body, outcome) in [
        ("wrong", json!({ "query": "{ nothing }" }), "GRAPHQL_VALIDATION_FAILED"),
        ("denied", json!({ "query": "{ transactions(first: 1) { nodes { id } } }" }), "UNAUTHENTICATED"),
    ] {
        post(&http, id, None, &body).await;
        assert_eq!(line_of(&home, id, "request").await["outcome"], outcome, "{id}");
    }
    // By a socket and by a stream.
    let socket = Socket::connect(server.addr, Some(&token)).await;
    let id = socket.subscribe("query BySocket { viewer { id } }", json!({}));
    socket.next(&id).await;
    let begun = socket.subscribe("subscription Posted { jobPosted { id } }", json!({}));
    socket.ping(json!({})).await;
    let by_socket = |name: &str| lines(&home).into_iter().find(|line| line["operation.name"] == name);
    until("both are written", || by_socket("BySocket").is_some() && by_socket("Posted").is_some()).await;
    for (name, kind) in [("BySocket", "query"), ("Posted", "subscription")] {
        let line = by_socket(name).expect("a line");
        assert_eq!((&line["message"], &line["operation.kind"]), (&json!("operation"), &json!(kind)), "{line}");
        assert_eq!((&line["user.id"], &line["client.address"]), (&json!(user), &json!("127.0.0.1")), "{line}");
        assert!(request_id(&line).is_some_and(|id| id.starts_with("req_")), "{line}");
    }
    socket.complete(&begun);
    drop(socket);
    let ended = || lines(&home).into_iter().find(|line| line["message"] == "socket ended");
    until("the end of the socket is written", || ended().is_some()).await;
    let ended = ended().expect("a line");
    assert_eq!((&ended["user.id"], &ended["client.address"]), (&json!(user), &json!("127.0.0.1")), "{ended}");
    assert!(ended["socket.age.ms"].is_number() && ended["socket.end"].is_string(), "{ended}");
    let request = http.request(Method::POST, "/graphql").header("x-request-id", "stream").header(ACCEPT, SSE);
    let stream = Stream::open(request.json(&json!({ "query": "subscription S { jobPosted { id } }" }))).await;
    assert_eq!(line_of(&home, "stream", "request").await["operation.kind"], "subscription");
    drop(stream);
    let ended = soon(async {
        loop {
            // The server notices with its next heartbeat at the latest.
            if let Some(line) = of(&home, "stream").into_iter().find(|line| line["message"] == "stream ended") {
                return line;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(ended.await["stream.end"], "gone");
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_below_a_request_carries_its_id() {
    let home = home();
    let (server, http) = start(&home).await;
    let wrong =
        json!({ "query": SIGN_IN, "variables": { "input": { "email": "ada@example.com", "password": "not hers" } } });
    post(&http, "guess", None, &wrong).await;
    let nobody = json!({ "query": SIGN_IN, "variables": { "input": { "email": "nobody@example.com", "password": "not hers" } } });
    post(&http, "nobody", None, &nobody).await;
    for (id, known) in [("guess", true), ("nobody", false)] {
        let line = line_of(&home, id, "sign-in failed").await;
        assert_eq!((&line["account.known"], &line["client.address"]), (&json!(known), &json!("127.0.0.1")), "{line}");
        line_of(&home, id, "request").await;
    }
    // Paths are short, and hold nothing that a terminal would obey.
    let long = format!("/{}", "x".repeat(5_000));
    Reply::of(http.request(Method::GET, &long).header("x-request-id", "long")).await;
    let path = text(&line_of(&home, "long", "request").await, "/http.path");
    assert_eq!(path.chars().count(), 129, "{path}");
    // Probes are not of interest, unless they fail.
    for path in ["/health/live", "/health/ready", "/metrics"] {
        Reply::of(http.request(Method::GET, path).header("x-request-id", "probe")).await;
    }
    Reply::of(http.request(Method::POST, "/health/live").header("x-request-id", "bad-probe")).await;
    line_of(&home, "bad-probe", "request").await;
    assert_eq!(of(&home, "probe"), [Value::Null; 0]);
    let log = fs::read_to_string(home.path().join("log")).expect("a log");
    for private in ["ada@example.com", "nobody@example.com", "not hers"] {
        assert!(!log.contains(private), "{private}");
    }
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));

    // For people, too.
    let home = Home::new().with("LANCEWIRE_TELEMETRY__FILTER", "info").with("LANCEWIRE_TELEMETRY__FORMAT", "text");
    let (server, http) = start(&home).await;
    post(&http, "guess", None, &wrong).await;
    let log = || fs::read_to_string(home.path().join("log")).expect("a log");
    until("the line is written", || log().contains("operation.name=\"SignIn\"")).await;
    let log = log();
    let below: Vec<&str> = log.lines().filter(|line| line.contains("request.id=\"guess\"")).collect();
    assert!(below.iter().any(|line| line.contains("sign-in failed")), "{log}");
    assert!(below.iter().any(|line| line.contains("operation.name=\"SignIn\"")), "{log}");
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

/// What docs/operations.md says to type, typed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_document_find_what_they_say() {
    let home = home().with("LANCEWIRE_BUDGETS__ANONYMOUS", "100");
    let (server, http) = start(&home).await;
    let wrong =
        json!({ "query": SIGN_IN, "variables": { "input": { "email": "ada@example.com", "password": "not hers" } } });
    post(&http, "req_guess", None, &wrong).await;
    while post(&http, "req_again", None, &json!({ "query": "{ nothing }" })).await.status.as_u16() != 429 {}
    post(&http, "req_dear", None, &json!({ "query": "query Dear { jobs(first: 100) { nodes { id } } }" })).await;
    let limited = || lines(&home).iter().any(|line| line["outcome"] == "RATE_LIMITED");
    until("a refusal is written", limited).await;
    let document = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md"));
    let document = document.expect("the document");
    let commands = document.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
    assert_eq!(commands.lines().count(), 5);
    for command in commands.lines() {
        let command =
            command.replace("req_..", "req_guess").replace("203.0.113.9", "127.0.0.1").replace("lancewire.log", "log");
        let output = tokio::process::Command::new("sh").args(["-c", &command]).current_dir(home.path()).output().await;
        let output = output.expect("a shell");
        assert!(output.status.success() && !output.stdout.is_empty(), "{command}");
    }
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}
