//! The protocol as a client sees it, through a small server.
#![expect(clippy::unused_async, reason = "async-graphql wants resolvers to be async")]

use async_graphql::{Object, Schema, Subscription};
use axum::{
    Router,
    http::{Request, Uri},
    routing::any,
};
use serde_json::json;
use tower::ServiceExt;

use super::*;
use crate::{
    graphql::{
        classify::classify,
        language::{Documents, Language},
        limits::Limits,
        nulls::Nulls,
        prices::Prices,
    },
    http::negotiation::negotiate,
};

struct Query;

#[Object]
impl Query {
    async fn number(&self, add: Option<i32>) -> i32 {
        1 + add.unwrap_or_default()
    }
    async fn refused(&self) -> async_graphql::Result<i32> {
        Err(ErrorCode::BadUserInput.error("No."))
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn change(&self) -> bool {
        true
    }
}

struct Ticks;

#[Subscription(name = "Subscription")]
impl Ticks {
    async fn ticks(&self) -> futures_util::stream::Empty<i32> {
        futures_util::stream::empty()
    }
}

async fn handler(method: Method, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    let Some(media) = negotiate(&headers, &[MediaType::GraphqlResponse, MediaType::Json]) else {
        return Refusal::NotAcceptable.respond(MediaType::Json);
    };
    match answer(&method, &uri, &headers, body).await {
        Ok(outcome) => respond(outcome, media),
        Err(refusal) => refusal.respond(media),
    }
}

async fn answer(method: &Method, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Outcome, Refusal> {
    let incoming = match *method {
        Method::GET => parse_get(uri.query())?,
        Method::POST => parse_post(headers, &read_body(headers, body, MAX_BODY).await?)?,
        _ => return Err(Refusal::Method),
    };
    let (name, limits) = (incoming.operation_name.as_deref(), Limits::default());
    let schema = Schema::build(Query, Mutation, Ticks).extension(Nulls).finish();
    let documents = Documents::new(Language::new(&schema.sdl(), &[], Prices::default()).expect("a schema").into());
    let mut outcome = match documents.prepare(&incoming.query, name, &incoming.variables, &limits, &[]) {
        Err(errors) => Outcome::from_errors(errors),
        Ok(prepared) => {
            check_transport(method, prepared.operation)?;
            schema.execute(prepared.request()).await
        }
    };
    classify(&mut outcome, "req-7");
    Ok(outcome)
}

/// Status, headers and body of the answer.
async fn send(request: Request<Body>) -> (u16, HeaderMap, Value) {
    let response = Router::new().route("/graphql", any(handler)).oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).expect("JSON"))
}

const STRICT: &str = "application/graphql-response+json";

async fn post(accept: &str, body: impl Into<Body>) -> (u16, HeaderMap, Value) {
    let request = Request::post("/graphql").header("content-type", "application/json").header("accept", accept);
    send(request.body(body.into()).expect("a request")).await
}

async fn get(parameters: &[(&str, &str)]) -> (u16, HeaderMap, Value) {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let request = Request::get(format!("/graphql?{query}")).header("accept", STRICT);
    send(request.body(Body::empty()).expect("a request")).await
}

fn message(body: &Value) -> &str {
    body["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn get_serves_queries_with_all_parameters() {
    let query = "query A { a: number } query B($n: Int) { number(add: $n) }";
    let parameters = [("query", query), ("operationName", "B"), ("variables", "{\"n\": 41}"), ("extensions", "")];
    let (status, headers, body) = get(&parameters).await;
    assert_eq!((status, &body), (200, &json!({"data": {"number": 42}})));
    assert_eq!(headers["content-type"], "application/graphql-response+json; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-store");

    assert_eq!(get(&[("query", "{ number }"), ("other", "1"), ("operationName", "")]).await.0, 200);
    let (status, _, body) = get(&[("query", "{ number }"), ("variables", "{")]).await;
    assert_eq!(status, 400);
    assert!(message(&body).starts_with("\"variables\" is not JSON: EOF"), "{body}");
    let (status, _, body) = get(&[("query", "{ number }"), ("query", "{ refused }")]).await;
    assert_eq!((status, message(&body)), (400, "\"query\" is there twice."));
    assert_eq!(get(&[]).await.0, 400);
}

#[tokio::test]
async fn what_changes_things_comes_by_post_of_json() {
    let (status, headers, body) = get(&[("query", "mutation { change }")]).await;
    assert_eq!((status, headers["allow"].to_str().ok()), (405, Some("POST")));
    assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_REQUEST");
    assert_eq!(post(STRICT, r#"{"query": "mutation { change }"}"#).await.2, json!({"data": {"change": true}}));

    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/json; charset=utf-16"),
        Some("application/jsonp"),
        Some(""),
        Some("text/plain; application/json"),
        Some("application/json, text/plain"),
        Some("text/plain; x=\", application/json"),
        Some("application/json x"),
        Some("application/json; charset=utf-8; charset=utf-16"),
        Some("application/json; charset=\"utf-8"),
    ] {
        let mut request = Request::post("/graphql");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let body = Body::from(r#"{"query": "mutation { change }"}"#);
        assert_eq!(send(request.body(body).expect("a request")).await.0, 415, "{content_type:?}");
    }
    let request = Request::put("/graphql").body(Body::empty()).expect("a request");
    let (status, headers, _) = send(request).await;
    assert_eq!((status, headers["allow"].to_str().ok()), (405, Some("GET, HEAD, POST, OPTIONS")));
}

#[tokio::test]
async fn json_is_json_in_every_spelling_of_its_type() {
    for content_type in [
        "application/json;",
        "application/json ; ; ",
        "Application/JSON;charset=UTF-8",
        "application/json; charset=utf8",
        "application/json;CHARSET = \"utf-8\";",
        "application/json; profile=\"a;b, c\"; v=1",
        "application/json; x",
        "application/json, application/json; charset=utf-8",
    ] {
        let request = Request::post("/graphql").header("content-type", content_type);
        let (status, _, body) = send(request.body(Body::from(r#"{"query": "{ number }"}"#)).expect("a request")).await;
        assert_eq!((status, body), (200, json!({"data": {"number": 1}})), "{content_type}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_told_what_is_read() {
    for (coding, expected) in [
        ("gzip", 415),
        ("br", 415),
        ("x", 415),
        ("identity, gzip", 415),
        ("", 200),
        ("identity", 200),
        ("Identity,", 200),
    ] {
        let request = Request::post("/graphql").header("content-type", "application/json");
        let request = request.header("content-encoding", coding).body(Body::from(r#"{"query": "{ number }"}"#));
        let (status, headers, body) = send(request.expect("a request")).await;
        assert_eq!(status, expected, "{coding}: {body}");
        if status == 415 {
            assert_eq!(headers["accept-encoding"], "identity");
            assert!(message(&body).contains("Content-Encoding"), "{body}");
        }
    }
}

#[tokio::test]
async fn subscriptions_are_told_where_to_go() {
    let (status, _, body) = post(STRICT, r#"{"query": "subscription { ticks }"}"#).await;
    assert_eq!(status, 400);
    assert!(message(&body).contains("graphql-transport-ws"), "{body}");
    assert_eq!(get(&[("query", "subscription { ticks }")]).await.0, 400);
}

#[tokio::test]
async fn a_request_that_is_none_says_what_is_wrong() {
    for (body, expected) in [
        ("", "The body is empty."),
        ("{ \"not a JSON", "The body is not JSON: EOF while parsing a string at line 1 column 13."),
        ("[{\"query\": \"{ number }\"}]", "Batches are not served."),
        ("7", "The body must be a JSON object, but is a number."),
        ("{}", "\"query\" is missing"),
        (r#"{"query": ["a"]}"#, "\"query\" must be a string, but is an array."),
        (r#"{"query": "{ number }", "variables": "a"}"#, "\"variables\" must be an object, but is a string."),
        (r#"{"query": "{ number }", "extensions": 0}"#, "\"extensions\" must be an object, but is a number."),
        (r#"{"query": "{ number }", "operationName": false}"#, "\"operationName\" must be a string, but is a boolean."),
    ] {
        for accept in [STRICT, "application/json"] {
            let (status, _, answer) = post(accept, body).await;
            assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (400, &json!("BAD_REQUEST")), "{body}");
            assert!(message(&answer).starts_with(expected), "{body}: {answer}");
            assert!(answer.get("data").is_none());
        }
    }
    let (status, headers, _) = post("image/png", r#"{"query": "{ number }"}"#).await;
    assert_eq!((status, headers["content-type"].to_str().ok()), (406, Some("application/json; charset=utf-8")));
}

#[tokio::test]
async fn large_bodies_are_refused_unread() {
    let padded = |length: usize| {
        let query = r#"{"query": "{ number }"}"#;
        format!("{query}{}", " ".repeat(length - query.len()))
    };
    assert_eq!(post(STRICT, padded(MAX_BODY)).await.0, 200);
    assert_eq!(post(STRICT, padded(MAX_BODY + 1)).await.0, 413);
    // Without a length that is announced.
    let chunks = futures_util::stream::iter((0..9).map(|_| Ok::<_, std::io::Error>(" ".repeat(32 * 1024))));
    assert_eq!(post(STRICT, Body::from_stream(chunks)).await.0, 413);
    let announced =
        Request::post("/graphql").header("content-type", "application/json").header("content-length", "999999");
    assert_eq!(send(announced.body(Body::empty()).expect("a request")).await.0, 413);
}

#[tokio::test]
async fn the_status_tells_whether_execution_began() {
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: Int!) { number(add: $n) }", "BAD_USER_INPUT"),
        ("{ number(add: \\\"x\\\") }", "BAD_USER_INPUT"),
        ("{ a { b { c { d { e { f { g { h { i { j { k { l { m } } } } } } } } } } } } }", "OPERATION_TOO_DEEP"),
    ] {
        let body = format!(r#"{{"query": "{query}"}}"#);
        for (accept, expected) in [(STRICT, 400), ("application/json", 200)] {
            let (status, _, answer) = post(accept, body.clone()).await;
            assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (expected, &json!(code)), "{answer}");
            assert!(answer.get("data").is_none(), "{answer}");
        }
    }
    let (status, _, answer) = post(STRICT, r#"{"query": "{ refused }"}"#).await;
    assert_eq!((status, &answer["data"]), (200, &Value::Null));
    assert!(answer.as_object().expect("an object").contains_key("data"));
}

#[tokio::test]
async fn persisted_queries_are_declined_in_the_clients_words() {
    let (status, _, answer) = post("application/json", r#"{"extensions": {"persistedQuery": {"version": 1}}}"#).await;
    assert_eq!(status, 200);
    assert_eq!(answer["errors"][0]["message"], "PersistedQueryNotSupported");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "PERSISTED_QUERY_NOT_SUPPORTED");
    let hashed = r#"{"query": "", "extensions": {"persistedQuery": {"version": 1}}}"#;
    assert_eq!(post(STRICT, hashed).await.0, 200, "clients that read no body of another status");
    let whole = r#"{"query": "{ number }", "extensions": {"persistedQuery": {"version": 1}}}"#;
    assert_eq!(post("application/json", whole).await.2, json!({"data": {"number": 1}}));
}

#[test]
fn refused_callers_are_told_how_to_come_back() {
    let refuse = |error: ServerError| respond(Outcome::from_errors(vec![error]), MediaType::Json);
    let response = refuse(failure(ErrorCode::TokenExpired, "Refresh it.", None));
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");

    let mut limited = failure(ErrorCode::RateLimited, "Later.", None);
    limited.extensions.get_or_insert_default().set("retryAfterMs", 1_200);
    let mut response = refuse(limited);
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &HeaderValue::from(2)));
    let reset_after = std::time::Duration::from_millis(2_100);
    tell_budget(response.headers_mut(), &Budget { cost: 3, limit: 1_000, remaining: 7, reset_after });
    let told =
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| response.headers()[name].clone());
    assert_eq!(told, ["1000", "7", "3"]);
    assert_eq!(refuse(failure(ErrorCode::Timeout, "Too long.", None)).status(), 503);
}
