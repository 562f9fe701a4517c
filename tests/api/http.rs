//! What stands around every request: methods, types and sizes, ids and headers, health, metrics, keys and pages.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use lancewire::clock::Clock;
use reqwest::{
    Method, RequestBuilder,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap},
};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::form_urlencoded;

use crate::support::{
    app::{Database, TestApp, soon},
    http::Reply,
    people::new_job,
};

async fn sqlite(settings: &str) -> TestApp {
    TestApp::start_with(Database::Sqlite, settings, Clock::system()).await
}

fn post(app: &TestApp, body: impl Into<String>) -> RequestBuilder {
    post_as(app, "application/json", body)
}

fn post_as(app: &TestApp, content_type: &str, body: impl Into<String>) -> RequestBuilder {
    app.http.request(Method::POST, "/graphql").header(CONTENT_TYPE, content_type).body(body.into())
}

fn get(app: &TestApp, path: &str) -> RequestBuilder {
    app.http.request(Method::GET, path)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().expect("a text")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_graphql_request_is_refused_by_its_status() {
    let app = sqlite("").await;
    let sign_out = "mutation { signOut { errors { __typename } } }";
    let by_get = |query: &str| {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        get(&app, &format!("/graphql?query={query}"))
    };
    let query = json!({ "query": "{ skills { slug } }" });
    let mut padded = query.to_string();
    padded.extend(std::iter::repeat_n(' ', 256 * 1024));
    let cases: [(&str, RequestBuilder, u16); 14] = [
        ("a mutation by GET", by_get(sign_out), 405),
        ("a subscription by GET", by_get("subscription { jobPosted { id } }"), 400),
        ("a subscription by POST", post(&app, r#"{"query":"subscription { jobPosted { id } }"}"#), 400),
        ("PUT", app.http.request(Method::PUT, "/graphql").json(&query), 405),
        ("plain text", post_as(&app, "text/plain", query.to_string()), 415),
        ("a form", post_as(&app, "application/x-www-form-urlencoded", "query={skills{slug}}"), 415),
        ("no type", app.http.request(Method::POST, "/graphql").body(query.to_string()), 415),
        ("too large", post(&app, padded.clone()), 413),
        ("broken JSON", post(&app, r#"{"query":"#), 400),
        ("an empty body", post(&app, ""), 400),
        ("a batch", post(&app, format!("[{query}]")), 400),
        ("a number", post(&app, "7"), 400),
        ("no query", post(&app, r#"{"variables":{}}"#), 400),
        ("an image", post(&app, query.to_string()).header(ACCEPT, "image/png"), 406),
    ];
    for (what, request, status) in cases {
        let reply = Reply::of(request).await;
        assert_eq!(reply.status.as_u16(), status, "{what}: {reply}");
        assert_eq!(reply.code(), "BAD_REQUEST", "{what}: {reply}");
        assert!(reply.body.get("data").is_none(), "{what}: {reply}");
        assert!(!header(&reply.headers, "x-request-id").is_empty(), "{what}");
    }
    assert_eq!(header(&Reply::of(by_get(sign_out)).await.headers, "allow"), "POST");
    Reply::of(by_get("{ skills { slug } }")).await.data();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_one_id_from_header_to_error() {
    let app = sqlite("").await;
    let ask = async |id: Option<&str>| {
        let request = get(&app, "/health/live");
        let request = if let Some(id) = id { request.header("x-request-id", id) } else { request };
        header(&Reply::of(request).await.headers, "x-request-id").to_owned()
    };
    assert_eq!(ask(Some("mine-42.a_B")).await, "mine-42.a_B");
    let (one, two) = (ask(None).await, ask(None).await);
    assert!(one != two && one.len() > 20, "{one} {two}");
    for foreign in ["has space", "x".repeat(65).as_str(), "quote\"", "a;b"] {
        assert_ne!(ask(Some(foreign)).await, foreign, "what could forge a log line is replaced");
    }

    // A fault, by the back door: a table is gone.
    let ada = app.client("Ada").await;
    app.app.db.writer().execute_unprepared("ALTER TABLE skills RENAME TO mislaid").await.expect("renamed");
    let query = json!({ "query": "{ skills { slug } }" }).to_string();
    let reply = Reply::of(post(&app, query).header("x-request-id", "find-me")).await;
    assert_eq!(reply.code(), "INTERNAL_SERVER_ERROR");
    assert_eq!(reply.at("/errors/0/extensions/requestId"), "find-me");
    assert_eq!(header(&reply.headers, "x-request-id"), "find-me");
    for secret in ["skills\"", "no such table", "sql", "SELECT", "src/", ".rs"] {
        let shown = reply.at("/errors/0/message").to_string() + &reply.at("/errors/0/extensions").to_string();
        assert!(!shown.contains(secret), "{secret}: {reply}");
    }
    app.app.db.writer().execute_unprepared("ALTER TABLE mislaid RENAME TO skills").await.expect("renamed");
    ada.post(new_job("It works again", "1.00")).await.good();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_may_call() {
    let app = sqlite("[http]\nallowed_origins = [\"https://market.example\"]").await;
    let ask = async |method: Method, origin: &str| {
        let request = app.http.request(method, "/graphql?query={viewer{id}}").header("origin", origin);
        let request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        Reply::of(request).await
    };
    let listed = ask(Method::GET, "https://market.example").await;
    listed.data();
    assert_eq!(header(&listed.headers, "access-control-allow-origin"), "https://market.example");
    let exposed = header(&listed.headers, "access-control-expose-headers");
    for name in ["x-request-id", "retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let preflight = ask(Method::OPTIONS, "https://market.example").await;
    assert_eq!(preflight.status.as_u16(), 200);
    let allowed = header(&preflight.headers, "access-control-allow-headers");
    for name in ["authorization", "content-type"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    for origin in ["https://evil.example", "https://market.example.evil.example", "null"] {
        for method in [Method::GET, Method::OPTIONS] {
            let reply = ask(method.clone(), origin).await;
            assert_eq!(header(&reply.headers, "access-control-allow-origin"), "", "{method} from {origin}");
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_the_headers_that_protect_it() {
    let app = sqlite("").await;
    for path in
        ["/", "/graphql", "/graphql?query={viewer{id}}", "/health/live", "/metrics", "/nowhere", "/schema.graphql"]
    {
        let reply = Reply::of(get(&app, path)).await;
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")]
        {
            assert_eq!(header(&reply.headers, name), value, "{path}");
        }
        // The schema is the same for everybody, and says by its ETag when it is another.
        let kept = if path == "/schema.graphql" { "public, max-age=60" } else { "no-store" };
        assert_eq!(header(&reply.headers, "cache-control"), kept, "{path}");
    }
    let ada = app.freelancer("Ada").await;
    let reply = ada.run("{ viewer { email } }", json!({})).await;
    assert_eq!(header(&reply.headers, "cache-control"), "no-store");
    assert_eq!(header(&reply.headers, "content-type"), "application/graphql-response+json; charset=utf-8");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_get_pages_and_programs_get_json() {
    let app = sqlite("").await;
    for (path, sign) in [("/", "<h1>lancewire</h1>"), ("/graphql", "graphiql")] {
        let page = Reply::of(get(&app, path).header(ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")).await;
        assert_eq!(page.status.as_u16(), 200, "{path}");
        assert!(page.body.as_str().expect("a page").contains(sign), "{path}");
        assert_eq!(header(&page.headers, "content-type"), "text/html; charset=utf-8");
        let policy = header(&page.headers, "content-security-policy");
        for rule in ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
    }
    let lost = Reply::of(get(&app, "/nowhere").header(ACCEPT, "text/html")).await;
    assert_eq!((lost.status.as_u16(), lost.code()), (404, "NOT_FOUND"));
    let schema = Reply::of(get(&app, "/schema.graphql")).await;
    assert_eq!(schema.body, include_str!("../../schema.graphql"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_keys_verify_a_token() {
    let app = sqlite("").await;
    let ada = app.freelancer("Ada").await;
    let keys = Reply::of(get(&app, "/.well-known/jwks.json")).await;
    let key = keys.at("/keys/0");
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    assert!(key.get("d").is_none(), "a private key was published");
    let x = key["x"].as_str().expect("a public key");
    let token = ada.token.as_deref().expect("a token");
    let read = jsonwebtoken::decode_header(token).expect("a header");
    assert_eq!((read.kid.as_deref(), read.typ.as_deref()), (key["kid"].as_str(), Some("at+jwt")));
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["lancewire"]);
    validation.set_issuer(&["lancewire"]);
    let decoding = DecodingKey::from_ed_components(x).expect("a key");
    let claims = jsonwebtoken::decode::<Value>(token, &decoding, &validation).expect("verifies").claims;
    assert_eq!(claims["sub"], ada.id);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_how_it_is() {
    let app = sqlite("").await;
    let ada = app.client("Ada").await;
    let socket = ada.socket().await;
    let feed = socket.subscribe("subscription { jobPosted { id } }", json!({}));
    app.listening(1).await;
    ada.post_job("Counted").await;
    socket.next(&feed).await;
    for nonsense in ["{", "{ nothing }"] {
        app.anonymous().run(nonsense, json!({})).await;
    }

    let ready = Reply::of(get(&app, "/health/ready")).await;
    let expected = json!({ "status": "ready", "database": "ok", "schema": "ok", "delivery": "ok", "eventsBehind": 0, "bus": "ok", "stopping": false });
    assert_eq!((ready.status.as_u16(), &ready.body), (200, &expected));
    let metrics = Reply::of(get(&app, "/metrics")).await;
    let text = metrics.body.as_str().expect("a text");
    assert_eq!(header(&metrics.headers, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for name in [
        "lancewire_http_requests_total{status=\"200\"}",
        "lancewire_operation_seconds_bucket{kind=\"mutation\",field=\"postJob\",le=\"0.1\"}",
        "lancewire_operations_rejected_total{reason=\"document\"}",
        "lancewire_sockets ",
        "lancewire_socket_operations{kind=\"subscription\"}",
        "lancewire_socket_queue_bytes",
        "lancewire_subscriptions{field=\"jobPosted\"}",
        "lancewire_events_total{kind=\"JOB_POSTED\"}",
        "lancewire_events_behind ",
        "lancewire_delivery_lag_seconds ",
        "lancewire_database_connections{pool=\"writer\"} 1",
        "lancewire_database_connections_in_use{pool=\"readers\"}",
        "lancewire_tailed_events_total{from=\"log\"}",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert!(!text.contains(&ada.email) && !text.contains("Counted"), "nothing of anybody's is in there");
    assert!(!text.contains("nothing"), "a label must not be what a stranger makes up");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_is_alive_and_not_ready() {
    let app = sqlite("").await;
    let mut connections = Vec::new();
    for path in ["/health/ready", "/health/live"] {
        let mut connection = TcpStream::connect(app.addr).await.expect("connects");
        connection.write_all(format!("GET {path} HTTP/1.1\r\n").as_bytes()).await.expect("sends");
        connections.push(connection);
    }
    // By the time of these answers both of them have begun: a connection that has not is closed at once.
    for _ in 0..5 {
        Reply::of(get(&app, "/health/live")).await;
    }
    app.app.lifecycle.stop();
    for (connection, status) in connections.iter_mut().zip(["503 Service Unavailable", "200 OK"]) {
        connection.write_all(b"host: here\r\n\r\n").await.expect("sends");
        let mut answer = String::new();
        soon(connection.read_to_string(&mut answer)).await.expect("an answer, and the end of the connection");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(answer.contains("\"stopping\":true"), status.starts_with("503"), "{answer}");
    }
    app.finish().await;
}
