//! What clients really send in the heads of their requests, and how it is refused where it cannot be accepted. Over
//! every transport: POST, GET, server-sent events, multipart, sockets.

use lancewire::clock::Clock;
use reqwest::{
    Method, RequestBuilder,
    header::{ACCEPT, AUTHORIZATION, HeaderMap},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    app::{Database, TestApp, soon},
    http::Reply,
    node,
    people::PASSWORD,
    socket::Socket,
    stream::{MULTIPART, SSE, Stream},
};

const SKILLS: &str = "{ skills { slug } }";
const POSTED: &str = "subscription { jobPosted { id } }";

async fn sqlite(settings: &str) -> TestApp {
    TestApp::start_with(Database::Sqlite, settings, Clock::system()).await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().expect("a text")).unwrap_or_default()
}

/// Every value of a header, as one list.
fn list(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().expect("a text")).collect();
    values.join(", ").to_lowercase()
}

fn post(app: &TestApp, body: &Value) -> RequestBuilder {
    app.http.request(Method::POST, "/graphql").json(body)
}

/// Sends exactly these bytes and reads to the end of the connection: the head, and the body.
async fn raw(app: &TestApp, bytes: &[u8]) -> (String, String) {
    let mut connection = TcpStream::connect(app.addr).await.expect("connects");
    connection.write_all(bytes).await.expect("sends");
    let mut answer = String::new();
    soon(connection.read_to_string(&mut answer)).await.expect("an answer, and the end of the connection");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.to_owned(), body.to_owned())
}

/// A socket that begins with this `Authorization` in its upgrade and this payload.
async fn socket(app: &TestApp, upgrade: &[(&str, &str)], payload: &Value) -> Socket {
    let socket = Socket::connect_raw(app.addr, upgrade).await.expect("an upgrade");
    socket.send(&json!({ "type": "connection_init", "payload": payload }));
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_authorization_is_nobody_by_every_way_in() {
    let app = sqlite("").await;
    let query = json!({ "query": SKILLS });
    let requests = |value: &str| {
        let by_get = |query: &str| app.http.request(Method::GET, &format!("/graphql?query={query}"));
        [
            ("POST", post(&app, &query)),
            ("GET", by_get("{skills{slug}}")),
            ("SSE", post(&app, &json!({ "query": POSTED })).header(ACCEPT, SSE)),
            ("SSE by GET", by_get("{skills{slug}}").header(ACCEPT, SSE)),
            ("multipart", post(&app, &json!({ "query": POSTED })).header(ACCEPT, MULTIPART)),
        ]
        .map(|(what, request)| (what, request.header(AUTHORIZATION, value)))
    };
    for value in ["", "   ", "\t", "Bearer", "bearer "] {
        for (what, request) in requests(value) {
            assert_eq!(Stream::open(request).await.status.as_u16(), 200, "{what} with {value:?}");
        }
    }
    for value in ["Bearer x", "Bearer null", "Bearer undefined", "Basic dTpw", "null", "token"] {
        for (what, request) in requests(value) {
            let (status, body) = Stream::open(request).await.refusal().await;
            assert_eq!(status, 401, "{what} with {value:?}");
            assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{body}");
        }
    }
    // An empty one beside one that says something is no second one; two that say something are none.
    let ada = app.freelancer("Ada").await;
    let bearer = format!("Bearer {}", ada.token.as_deref().expect("a token"));
    let viewer = json!({ "query": "{ viewer { id } }" });
    let ask = async |values: &[&str]| {
        let request = values.iter().fold(post(&app, &viewer), |request, value| request.header(AUTHORIZATION, *value));
        Reply::of(request).await
    };
    assert_eq!(ask(&["", &bearer]).await.data()["viewer"]["id"], ada.id);
    assert_eq!(ask(&[&bearer, &bearer]).await.code(), "UNAUTHENTICATED");

    for payload in [
        json!({ "Authorization": "" }),
        json!({ "authorization": "  " }),
        json!({ "Authorization": "Bearer " }),
        json!({ "authToken": "" }),
        json!({ "Authorization": "", "authToken": null }),
    ] {
        let socket = socket(&app, &[], &payload).await;
        socket.acknowledged().await;
        assert!(socket.next(&socket.subscribe(SKILLS, json!({}))).await["data"]["skills"].is_array(), "{payload}");
    }
    socket(&app, &[("authorization", " ")], &json!({})).await.acknowledged().await;
    socket(&app, &[("authorization", "Bearer")], &json!(null)).await.acknowledged().await;
    for payload in
        [json!({ "Authorization": "Bearer null" }), json!({ "authToken": "null" }), json!({ "Authorization": "x" })]
    {
        assert_eq!(socket(&app, &[], &payload).await.closed().await.0, 4403, "{payload}");
    }
    let basic = socket(&app, &[("authorization", "Basic dTpw")], &json!({ "Authorization": "" })).await;
    assert_eq!(basic.closed().await.0, 4403);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_page_may_send_whatever_its_libraries_add() {
    let app = sqlite("[http]\nallowed_origins = [\"https://market.example\"]").await;
    let preflight = async |origin: &str, path: &str, names: &str| {
        let request = app.http.request(Method::OPTIONS, path).header("origin", origin);
        let request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-private-network", "true")
            .header("access-control-request-headers", names);
        Reply::of(request).await
    };
    for names in [
        "authorization,content-type",
        "content-type,apollographql-client-name,apollographql-client-version,apollo-require-preflight",
        "traceparent, tracestate, sentry-trace, baggage, x-requested-with, last-event-id",
        "x-anything_at.all",
    ] {
        for path in ["/graphql", "/graphql?query={viewer{id}}", "/health/ready", "/nowhere"] {
            let reply = preflight("https://market.example", path, names).await;
            let headers = &reply.headers;
            assert_eq!(reply.status.as_u16(), 200, "{path}");
            assert_eq!(header(headers, "access-control-allow-headers"), names, "{path}");
            assert_eq!(header(headers, "access-control-allow-origin"), "https://market.example");
            assert_eq!(header(headers, "access-control-allow-methods"), "GET, HEAD, POST, PUT");
            assert_eq!(header(headers, "access-control-allow-private-network"), "true");
            assert_eq!(header(headers, "access-control-max-age"), "7200");
            let vary = list(headers, "vary");
            assert!(vary.contains("origin") && vary.contains("access-control-request-headers"), "{vary}");
        }
    }
    assert_eq!(
        header(&preflight("https://market.example", "/graphql", "a b").await.headers, "access-control-allow-headers"),
        ""
    );
    for origin in ["https://evil.example", "null", "https://market.example.evil.example"] {
        let reply = preflight(origin, "/graphql", "authorization").await;
        let told: Vec<_> = reply.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
        assert!(told.is_empty(), "{origin}: {told:?}");
        assert_eq!(list(&reply.headers, "vary"), "origin");
    }
    // OPTIONS without a page is a question about the address.
    let options =
        Reply::of(app.http.request(Method::OPTIONS, "/graphql").header("origin", "https://market.example")).await;
    assert_eq!((options.status.as_u16(), header(&options.headers, "allow")), (204, "GET, HEAD, POST, OPTIONS"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_can_read_why_it_was_refused() {
    let settings = "[http]\nallowed_origins = [\"https://market.example\"]\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let app = sqlite(&format!("{settings}\n[budgets]\nanonymous = 3")).await;
    let query = json!({ "query": SKILLS });
    let address = std::cell::Cell::new(0);
    let ask = async |request: RequestBuilder, origin: &str| {
        // From one address each, so that no budget is the reason.
        address.set(address.get() + 1);
        let request = request.header("x-forwarded-for", format!("192.0.2.{}", address.get()));
        Reply::of(request.header("origin", origin)).await
    };
    let cases = || {
        [
            ("a wrong address", app.http.request(Method::POST, "/nowhere"), 404, "NOT_FOUND"),
            ("a wrong method", app.http.request(Method::DELETE, "/graphql"), 405, "BAD_REQUEST"),
            ("a page's wrong method", app.http.request(Method::POST, "/health/live"), 405, "BAD_REQUEST"),
            ("no JSON", app.http.request(Method::POST, "/graphql").body("query=x"), 415, "BAD_REQUEST"),
            ("a bad body", post(&app, &json!(7)), 400, "BAD_REQUEST"),
            ("an image", post(&app, &query).header(ACCEPT, "image/png"), 406, "BAD_REQUEST"),
            ("too much", post(&app, &json!({ "query": "x".repeat(300_000) })), 413, "BAD_REQUEST"),
            ("a bad token", post(&app, &query).bearer_auth("x"), 401, "UNAUTHENTICATED"),
        ]
    };
    for (what, request, status, code) in cases() {
        let reply = ask(request, "https://market.example").await;
        assert_eq!((reply.status.as_u16(), reply.code()), (status, code), "{what}");
        assert_eq!(header(&reply.headers, "access-control-allow-origin"), "https://market.example", "{what}");
        let exposed = header(&reply.headers, "access-control-expose-headers");
        for name in ["x-request-id", "retry-after", "www-authenticate", "allow"] {
            assert!(exposed.contains(name), "{what}: {exposed}");
        }
        assert!(list(&reply.headers, "vary").contains("origin"), "{what}");
    }
    for (what, request, status, _) in cases() {
        let reply = ask(request, "https://evil.example").await;
        assert_eq!(reply.status.as_u16(), status, "{what}");
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{what}");
        assert!(!reply.headers.contains_key("access-control-expose-headers"), "{what}");
    }
    let spend =
        || post(&app, &query).header("origin", "https://market.example").header("x-forwarded-for", "198.51.100.1");
    let mut last = Reply::of(spend()).await;
    while last.status.as_u16() != 429 {
        last = Reply::of(spend()).await;
    }
    assert_eq!(header(&last.headers, "access-control-allow-origin"), "https://market.example");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_the_servers_own_host_may_open_its_socket() {
    let listed = "[http]\nallowed_origins = [\"https://app.example\"]\n";
    let app = sqlite(listed).await;
    let here = app.addr.to_string();
    // The status of the upgrade, and whether a page of that origin may read an answer.
    let ask = async |app: &TestApp, headers: &[(&str, &str)]| {
        let upgrade = Socket::connect_raw(app.addr, headers).await;
        let request = post(app, &json!({ "query": SKILLS }));
        let reply =
            Reply::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await;
        reply.data();
        (
            upgrade.map_or_else(|refused| refused.status.as_u16(), |_| 101),
            reply.headers.contains_key("access-control-allow-origin"),
        )
    };
    let (in_, out) = ((101, true), (403, false));
    let at_home = format!("http://{here}");
    for (origin, host, expected) in [
        (at_home.as_str(), here.as_str(), in_),
        ("https://api.example", "api.example", in_),
        ("https://api.example", "API.EXAMPLE:443", in_),
        ("https://app.example", "elsewhere.example", in_),
        ("https://api.example", here.as_str(), out),
        ("https://api.example:444", "api.example", out),
        ("http://127.0.0.1:1", here.as_str(), out),
        ("https://app.example.evil.example", "app.example", out),
        ("https://evil.example", "app.example", out),
        ("null", here.as_str(), out),
    ] {
        assert_eq!(ask(&app, &[("origin", origin), ("host", host)]).await, expected, "{origin} at {host}");
    }
    // Nobody has listed a proxy.
    let forwarded =
        [("origin", "https://api.example"), ("x-forwarded-host", "api.example"), ("forwarded", "host=api.example")];
    assert_eq!(ask(&app, &forwarded).await, out);
    app.finish().await;

    let app = sqlite(&format!("{listed}trusted_proxies = [\"127.0.0.0/8\"]")).await;
    let by_proxy = async |origin: &str, host: &str, scheme: &str| {
        let headers = [("origin", origin), ("x-forwarded-host", host), ("x-forwarded-proto", scheme)];
        ask(&app, &headers).await
    };
    assert_eq!(by_proxy("https://api.example", "api.example", "https").await, in_);
    assert_eq!(by_proxy("https://api.example:8443", "api.example:8443, inner", "https, http").await, in_);
    assert_eq!(by_proxy("http://api.example", "api.example", "https").await, out, "a page in clear");
    assert_eq!(by_proxy("http://api.example", "api.example", "http").await, in_);
    assert_eq!(by_proxy("https://evil.example", "api.example", "https").await, out);
    assert_eq!(
        ask(&app, &[("origin", "https://api.example"), ("forwarded", "host=api.example")]).await,
        out,
        "the other header"
    );
    app.finish().await;

    let app = sqlite(&format!("{listed}own_hosts = [\"api.example\"]")).await;
    assert_eq!(ask(&app, &[("origin", "https://api.example"), ("host", "api.example")]).await, in_);
    let rebound = [("origin", "http://rebound.example:4000"), ("host", "rebound.example:4000")];
    assert_eq!(ask(&app, &rebound).await, out, "not one of the hosts that are ours");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accept_is_read_as_clients_write_it_by_post_and_get() {
    let app = sqlite("").await;
    let ask = async |accept: &str| {
        let by_get = app.http.request(Method::GET, "/graphql?query={__typename}");
        let mut statuses = Vec::new();
        for request in [post(&app, &json!({ "query": "{ __typename }" })), by_get] {
            statuses.push(Stream::open(request.header(ACCEPT, accept)).await.status.as_u16());
        }
        statuses
    };
    for accept in [
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "application/json;",
        "application/json ; ;",
        "application/json;q=.8",
        "application/json; charset=\"utf8\"",
        "application/json;odata=verbose",
        ", ,application/json",
        "APPLICATION/JSON;Q=1.000",
        "text/event-stream;",
        "multipart/mixed;;boundary=graphql;subscriptionSpec=\"1.0\";, application/json;q=.9",
    ] {
        assert_eq!(ask(accept).await, [200, 200], "{accept}");
    }
    for accept in ["application/xml", "application/json;q=0", "application/json;q=0.0", "image/png;q=.5"] {
        assert_eq!(ask(accept).await, [406, 406], "{accept}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_told_what_to_send() {
    let app = sqlite("").await;
    for (accept, query) in [("application/json", SKILLS), (SSE, POSTED), (MULTIPART, POSTED)] {
        for coding in ["gzip", "br", "deflate, identity", "zstd"] {
            let request = post(&app, &json!({ "query": query })).header("content-encoding", coding);
            let reply = Reply::of(request.header(ACCEPT, accept)).await;
            assert_eq!((reply.status.as_u16(), reply.code()), (415, "BAD_REQUEST"), "{accept}, {coding}");
            assert_eq!(header(&reply.headers, "accept-encoding"), "identity");
        }
    }
    let plain = post(&app, &json!({ "query": SKILLS })).header("content-encoding", "identity");
    Reply::of(plain).await.data();
    let form = app.http.request(Method::POST, "/graphql").header("content-type", "text/plain").body("{}");
    assert_eq!(header(&Reply::of(form).await.headers, "accept"), "application/json");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_cannot_be_read_is_answered_in_words() {
    let app = sqlite("").await;
    let many = (0..70).map(|number| format!("x-{number}: 1")).collect::<Vec<_>>().join("\r\n") + "\r\n";
    let large = format!("x-large: {}\r\n", "x".repeat(600_000));
    let long = format!("GET /graphql?query={} HTTP/1.1\r\nhost: here\r\n\r\n", "x".repeat(70_000));
    for (what, request, status, word) in [
        ("a blank in a name", "GET / HTTP/1.1\r\nhost: here\r\nx y: 1\r\n\r\n".to_owned(), 400, "not HTTP/1.1"),
        ("a control character", "GET / HTTP/1.1\r\nhost: here\r\nx: a\u{0}b\r\n\r\n".to_owned(), 400, "not HTTP/1.1"),
        ("no header", "GET / HTTP/1.1\r\nhost here\r\n\r\n".to_owned(), 400, "not HTTP/1.1"),
        ("no address", "GET http://[ HTTP/1.1\r\nhost: here\r\n\r\n".to_owned(), 400, "not HTTP/1.1"),
        ("another protocol", "HELO here\r\n\r\n".to_owned(), 400, "not HTTP/1.1"),
        (
            "a length that is none",
            "POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-length: x\r\n\r\n".to_owned(),
            400,
            "not HTTP/1.1",
        ),
        ("many headers", format!("GET / HTTP/1.1\r\nhost: here\r\n{many}\r\n"), 431, "64 headers"),
        ("a large header", format!("GET / HTTP/1.1\r\nhost: here\r\n{large}\r\n"), 431, "32 KiB"),
        (
            "a head of 33 KiB",
            format!("GET / HTTP/1.1\r\nhost: here\r\nx: {}\r\n\r\n", "x".repeat(33 * 1024)),
            431,
            "32 KiB",
        ),
        ("a long address", long, 431, "by POST"),
    ] {
        let (head, body) = raw(&app, request.as_bytes()).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {head}");
        let head = head.to_lowercase();
        assert!(
            head.contains("content-type: application/json") && head.contains("connection: close"),
            "{what}: {head}"
        );
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())) && head.contains("date: "),
            "{what}: {head}"
        );
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{what}: {body}"));
        assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_REQUEST", "{what}");
        let message = body["errors"][0]["message"].as_str().expect("a message");
        assert!(message.contains(word), "{what}: {message}");
    }
    // After a request that was well, on the same connection.
    let (head, rest) =
        raw(&app, b"GET /health/live HTTP/1.1\r\nhost: here\r\n\r\nGET / HTTP/1.1\r\nx y: 1\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(rest.contains("HTTP/1.1 400 "), "{rest}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_say_what_they_serve() {
    let app = sqlite("").await;
    let ask = async |method: Method, path: &str| Reply::of(app.http.request(method, path)).await;
    for path in ["/nowhere", "/graphql/", "/health", "/graphql/x?query={viewer{id}}"] {
        for method in [Method::GET, Method::POST, Method::OPTIONS, Method::DELETE] {
            let lost = ask(method.clone(), path).await;
            assert_eq!((lost.status.as_u16(), lost.code()), (404, "NOT_FOUND"), "{method} {path}");
        }
    }
    for path in ["/", "/schema.graphql", "/health/live", "/health/ready", "/metrics", "/.well-known/jwks.json"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let refused = ask(method.clone(), path).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (405, "BAD_REQUEST"), "{method} {path}");
            assert_eq!(list(&refused.headers, "allow"), "get,head", "{method} {path}");
            assert!(refused.at("/errors/0/message").as_str().is_some_and(|words| words.contains("GET")), "{refused}");
        }
        let options = ask(Method::OPTIONS, path).await;
        assert_eq!((options.status.as_u16(), list(&options.headers, "allow").as_str()), (204, "get,head"), "{path}");
        let (whole, head) = (ask(Method::GET, path).await, ask(Method::HEAD, path).await);
        assert_eq!((head.status, &head.body), (whole.status, &json!("")), "{path}");
        assert_eq!(header(&head.headers, "content-type"), header(&whole.headers, "content-type"), "{path}");
    }
    // HEAD is GET without the body: a query runs, a stream does not begin, nothing is changed.
    let head = |query: &str, accept: &str| {
        let path = format!("/graphql?query={}", query.replace(' ', "%20"));
        app.http.request(Method::HEAD, &path).header(ACCEPT, accept)
    };
    let asked = Reply::of(head("{viewer{id}}", "application/json")).await;
    assert_eq!((asked.status.as_u16(), &asked.body), (200, &json!("")));
    assert_eq!(header(&asked.headers, "content-type"), "application/json; charset=utf-8");
    assert_eq!(Reply::of(head("{nothing}", "application/graphql-response+json")).await.status.as_u16(), 400);
    for accept in [SSE, MULTIPART] {
        assert_eq!(Reply::of(head(POSTED, accept)).await.status.as_u16(), 400, "{accept}");
    }
    let changed = Reply::of(head("mutation{signOut{errors{__typename}}}", "application/json")).await;
    assert_eq!((changed.status.as_u16(), header(&changed.headers, "allow")), (405, "POST"));
    let page = Reply::of(app.http.request(Method::HEAD, "/graphql").header(ACCEPT, "text/html")).await;
    assert_eq!((page.status.as_u16(), header(&page.headers, "content-type")), (200, "text/html; charset=utf-8"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_without_its_document_is_declined_by_every_way_in() {
    let app = sqlite("").await;
    let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": "0".repeat(64) } });
    let declined = |errors: &Value| {
        assert_eq!(errors[0]["message"], "PersistedQueryNotSupported", "{errors}");
        assert_eq!(errors[0]["extensions"]["code"], "PERSISTED_QUERY_NOT_SUPPORTED", "{errors}");
    };
    let hash = json!({ "operationName": "A", "variables": {}, "extensions": extensions });
    for accept in [
        "application/json",
        "application/graphql-response+json",
        "multipart/mixed;subscriptionSpec=1.0;q=.9, application/json",
    ] {
        let reply = Reply::of(post(&app, &hash).header(ACCEPT, accept)).await;
        assert_eq!((reply.status.as_u16(), header(&reply.headers, "cache-control")), (200, "no-store"), "{accept}");
        declined(reply.at("/errors"));
    }
    let encoded: String = url::form_urlencoded::byte_serialize(extensions.to_string().as_bytes()).collect();
    let by_get = |more: &str| app.http.request(Method::GET, &format!("/graphql?extensions={encoded}{more}"));
    declined(Reply::of(by_get("")).await.at("/errors"));
    Reply::of(by_get("&query={skills{slug}}")).await.data();
    Reply::of(post(&app, &json!({ "query": SKILLS, "extensions": extensions }))).await.data();

    let mut stream = Stream::open(post(&app, &hash).header(ACCEPT, SSE)).await;
    declined(&stream.next().await["errors"]);
    assert_eq!(stream.event().await.expect("the end").event, "complete");
    let mut parts = Stream::open(post(&app, &hash).header(ACCEPT, MULTIPART)).await;
    declined(&parts.part().await.expect("a part")["errors"]);

    let socket = app.socket(None).await;
    for (id, payload) in
        [("1", json!({ "extensions": extensions })), ("2", json!({ "query": "", "extensions": extensions }))]
    {
        socket.send(&json!({ "id": id, "type": "subscribe", "payload": payload }));
        declined(&socket.error(&id.into()).await);
    }
    let whole = json!({ "query": SKILLS, "extensions": extensions });
    socket.send(&json!({ "id": "3", "type": "subscribe", "payload": whole }));
    assert!(socket.next(&"3".into()).await["data"]["skills"].is_array());
    app.finish().await;
}

/// Apollo's own link sends the hash of the first operation, is declined, and from then on each operation once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apollos_persisted_link_sends_the_second_operation_once() {
    let app = sqlite("").await;
    let url = format!("http://{}/graphql", app.addr);
    for by_get in ["", "GET"] {
        let output =
            node::script("persisted_client.mjs", &url).env("HASHES_BY", by_get).output().await.expect("node runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
        let first = json!([{ "hash": true, "query": false }, { "hash": false, "query": true }]);
        assert_eq!(told, json!({ "first": first, "second": [{ "hash": false, "query": true }] }), "{by_get}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_development_page_of_any_origin_may_call() {
    let app = sqlite("").await;
    let ada = app.freelancer("Ada").await;
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { user { id } } }";
    let variables = json!({ "input": { "email": ada.email, "password": PASSWORD } });
    let request = post(&app, &json!({ "query": sign_in, "variables": variables })).header("origin", "null");
    let reply = Reply::of(request).await;
    assert_eq!(reply.data()["signIn"]["user"]["id"], ada.id);
    assert_eq!(header(&reply.headers, "access-control-allow-origin"), "*");
    assert_eq!(list(&reply.headers, "vary"), "accept", "the same for every page");
    app.finish().await;
}
