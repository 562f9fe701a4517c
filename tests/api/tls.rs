//! TLS at the server's own port: everything works over it, plain HTTP gets an answer that says so, and a certificate is
//! exchanged while clients stay connected.

use std::{fs, time::Duration};

use chrono::DateTime;
use futures_util::{SinkExt, StreamExt};
use lancewire::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    clients::Client,
    support::{
        app::{Database, TestApp, soon, until},
        binary::{Home, lines},
        http::{Http, Reply},
        node,
        people::{Person, new_job},
        tls::{Certificate, Tunnel},
    },
};

const FEED: &str = "subscription { jobPosted { job { title } } }";

/// A server with a certificate; those who speak no TLS go through the tunnel, which is where `addr` and `http` lead.
struct Edge {
    app: TestApp,
    server: std::net::SocketAddr,
    certificate: Certificate,
    folder: TempDir,
    _tunnel: Tunnel,
}

impl Edge {
    async fn start(settings: &str, clock: Clock) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = Certificate::issue(folder.path());
        // A table may stand only once: what a test adds to [tls] comes first in `settings`.
        let settings = format!("{}{settings}", certificate.settings());
        let mut app = TestApp::start_with(Database::Sqlite, &settings, clock).await;
        let server = app.addr;
        let tunnel = Tunnel::to(server, &certificate).await;
        app.addr = tunnel.addr;
        app.http = Http::new(tunnel.addr);
        Self { app, server, certificate, folder, _tunnel: tunnel }
    }

    /// The certificate that a newcomer is shown.
    async fn shown(&self, trusted: &Certificate) -> Option<CertificateDer<'static>> {
        let secured = trusted.connect(self.server).await.ok()?;
        let (_, session) = secured.get_ref();
        Some(session.peer_certificates()?.first()?.clone().into_owned())
    }
}

async fn started() -> Edge {
    Edge::start("", Clock::system()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_sockets_and_streams_are_served_over_tls() {
    let edge = started().await;
    let mut raw = edge.certificate.connect(edge.server).await.expect("a handshake");
    assert_eq!(raw.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "of h2 and http/1.1");
    let body = json!({ "query": "{ skills(prefix: \"rust\") { slug } }" }).to_string();
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    raw.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    soon(raw.read_to_string(&mut answer)).await.expect("an answer and a proper end of TLS");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"slug\":\"rust\""), "{answer}");

    let app = &edge.app;
    let (ada, nobody) = (app.client("Ada").await, app.socket(None).await);
    let feed = nobody.subscribe(FEED, json!({}));
    app.listening(1).await;
    for title in ["First", "Second"] {
        ada.post_job(title).await;
        assert_eq!(nobody.next(&feed).await["data"]["jobPosted"]["job"]["title"], title);
    }
    nobody.complete(&feed);
    app.listening(0).await;
    nobody.close().await;

    let stream = app.http.request(Method::POST, "/graphql").header("accept", "text/event-stream");
    let mut stream = stream.json(&json!({ "query": FEED })).send().await.expect("a stream");
    app.listening(1).await;
    ada.post_job("Third").await;
    let mut heard = String::new();
    while !heard.contains("Third") {
        let chunk = soon(stream.chunk()).await.expect("readable").expect("open");
        heard.push_str(std::str::from_utf8(&chunk).expect("text"));
    }
    drop(stream);
    app.listening(0).await;
    let metrics = Reply::of(app.http.request(Method::GET, "/metrics")).await;
    let metrics = metrics.body.as_str().expect("text");
    assert!(metrics.contains("lancewire_tls_handshakes_total{outcome=\"done\"}"), "{metrics}");
    // The first of January 4096, where nobody says otherwise.
    assert!(metrics.contains("lancewire_tls_certificate_expiry_timestamp_seconds 67090118400\n"), "{metrics}");
    edge.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_subscribes_over_wss_and_hears_of_the_end() {
    let edge = started().await;
    let ada = edge.app.client("Ada").await;
    let mut command = node::script("graphql_ws_client.mjs", &format!("wss://localhost:{}/graphql", edge.server.port()));
    command.env("NODE_EXTRA_CA_CERTS", &edge.certificate.certificate);
    let mut client = Client::of(command, ada.token.as_deref().expect("a token"));
    client.tell(json!({ "op": "subscribe", "id": "feed", "query": FEED })).await;
    client.take("connected", None).await;
    edge.app.listening(1).await;
    ada.post_job("Seen over wss").await;
    assert_eq!(client.next("feed").await["jobPosted"]["job"]["title"], "Seen over wss");
    edge.app.app.shut_down().await;
    let closed = client.take("closed", None).await;
    assert_eq!((&closed["code"], &closed["clean"]), (&json!(1012), &json!(true)), "{closed}");
}

/// A socket whose reader has little room: what it does not take soon waits in the server.
async fn slow(edge: &Edge) -> WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpSocket::new_v4().expect("a socket");
    tcp.set_recv_buffer_size(4096).expect("a small buffer");
    let tcp = tcp.connect(edge.server).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    let secured = edge.certificate.client().connect(name, tcp).await.expect("a handshake");
    let mut request = "wss://localhost/graphql".into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let (mut socket, _) = client_async(request, secured).await.expect("an upgrade");
    socket.send(Message::text(r#"{"type":"connection_init"}"#)).await.expect("sends");
    soon(socket.next()).await.expect("an answer").expect("connection_ack");
    let copies = (0..10).map(|number| format!("copy{number}: description")).collect::<Vec<_>>().join(" ");
    let query = format!("subscription {{ jobPosted {{ job {{ title {copies} }} }} }}");
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": query } });
    socket.send(Message::text(subscribe.to_string())).await.expect("sends");
    edge.app.listening(1).await;
    socket
}

/// Posts jobs that take 20 KB each on a [`slow`] socket, more than everything on the way holds.
async fn post_large(edge: &Edge, ada: &Person, count: usize) -> Vec<String> {
    let titles: Vec<String> = (0..count).map(|number| format!("Large {number}")).collect();
    for title in &titles {
        let mut job = new_job(title, "1.00");
        job["description"] = json!("x".repeat(2_000));
        ada.post(job).await.good();
    }
    edge.app.published().await;
    titles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_over_tls_misses_nothing() {
    let edge = Edge::start("[sockets]\nqueue_bytes = 100000\n", Clock::system()).await;
    let ada = edge.app.client("Ada").await;
    let mut socket = slow(&edge).await;
    let posted = post_large(&edge, &ada, 200).await;
    let mut heard = Vec::new();
    while heard.len() < posted.len() {
        let frame = soon(socket.next()).await.expect("still open").expect("a frame").into_text().expect("text");
        let message: Value = serde_json::from_str(&frame).expect("JSON");
        if message["type"] == "next" {
            let title = message.pointer("/payload/data/jobPosted/job/title").and_then(Value::as_str);
            heard.push(title.expect("a title").to_owned());
        }
    }
    assert_eq!(heard, posted);
    drop(socket);
    edge.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_over_tls_who_takes_nothing_is_cut_off() {
    let edge = Edge::start("[sockets]\nqueue_bytes = 100000\nwrite_timeout_ms = 300\n", Clock::system()).await;
    let ada = edge.app.client("Ada").await;
    let mut socket = slow(&edge).await;
    // Its patience is over long before these are all posted.
    let posted = post_large(&edge, &ada, 200).await;
    let closed = async {
        let metrics = async || Reply::of(edge.app.http.request(Method::GET, "/metrics")).await.body;
        while !metrics().await.as_str().expect("text").contains("lancewire_socket_closes_total{code=\"1013\"} ") {}
    };
    soon(closed).await;
    let mut heard = 0;
    let end = loop {
        match soon(socket.next()).await {
            Some(Ok(Message::Text(_))) => heard += 1,
            end => break end,
        }
    };
    assert!(heard < posted.len(), "{heard}: the end was {end:?}");
    edge.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_tls_is_told_so_and_holds_up_nobody() {
    let edge = Edge::start("handshake_timeout_ms = 300\n", Clock::system()).await;
    let mut silent = TcpStream::connect(edge.server).await.expect("connects");
    for (sent, expected) in [
        (&b"GET /graphql HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], "HTTP/1.1 400 "),
        (b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello", "HTTP/1.1 400 "),
        (b"\x16\x03\x01\x00\x05\x05\x00\x00\x01x", "\u{15}\u{3}"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", "\u{15}\u{3}"),
    ] {
        let mut plain = TcpStream::connect(edge.server).await.expect("connects");
        plain.write_all(sent).await.expect("sends");
        let mut answer = Vec::new();
        // A reset after the answer is an end, too.
        let _ = soon(plain.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(expected), "{sent:?}: {answer:?}");
        assert_eq!(answer.contains("use https or wss"), expected.starts_with("HTTP"), "{answer}");
    }
    // Others are served all the while, and who says nothing is sent away.
    assert!(edge.shown(&edge.certificate).await.is_some());
    let mut nothing = Vec::new();
    soon(silent.read_to_end(&mut nothing)).await.expect("the end");
    assert_eq!(nothing, b"");
    edge.app.anonymous().run("{ skills { slug } }", json!({})).await.data();
    edge.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_nobody() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let edge = Edge::start("", clock.clone()).await;
    let socket = edge.app.socket(None).await;
    let feed = socket.subscribe(FEED, json!({}));
    edge.app.listening(1).await;
    let first = edge.certificate.der();
    assert_eq!(edge.shown(&edge.certificate).await, Some(first.clone()));

    // Nobody looks at a file that is not due.
    let second = Certificate::issue(edge.folder.path());
    assert_eq!(edge.shown(&second).await, None, "still the first one, which is no longer trusted");
    let exchanged = async {
        while edge.shown(&second).await.is_none() {
            clock.advance(Duration::from_secs(10));
        }
    };
    soon(exchanged).await;
    assert_ne!(edge.shown(&second).await, Some(first));

    // What becomes of bad ones is told next to the code; here it is that nobody sees them.
    for bad in [&b""[..], b"no PEM", &fs::read(&second.certificate).expect("a certificate")] {
        fs::write(&second.key, bad).expect("written");
        for _ in 0..3 {
            clock.advance(Duration::from_secs(10));
            assert_eq!(edge.shown(&second).await, Some(second.der()));
        }
    }
    // The first connection has outlived it all.
    assert_eq!(socket.ping(json!({ "here": true })).await, json!({ "here": true }));
    socket.complete(&feed);
    edge.app.listening(0).await;
    edge.app.finish().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start_with_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    Certificate::issue(folder.path());
    let stranger = folder.path().join("stranger.pem");
    fs::copy(&key, &stranger).expect("copied");
    Certificate::issue(folder.path());
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").expect("written");
    let missing = folder.path().join("missing.pem");
    let none = std::path::PathBuf::new();
    for (certificate, key, named, why) in [
        (&missing, &key, "tls.certificate: ", "cannot be read"),
        (&certificate, &missing, "tls.key: ", "cannot be read"),
        (&empty, &key, "tls.certificate: ", "holds no certificate"),
        (&key, &key, "tls.certificate: ", "holds no certificate"),
        (&certificate, &empty, "tls.key: ", "holds no private key"),
        (&certificate, &stranger, "tls.key: ", "is not the key of the certificate"),
        (&certificate, &none, "tls.key ", "must be set: tls.certificate is"),
        (&none, &key, "tls.certificate ", "must be set: tls.key is"),
    ] {
        let home = Home::new()
            .with("LANCEWIRE_TLS__CERTIFICATE", certificate.display().to_string())
            .with("LANCEWIRE_TLS__KEY", key.display().to_string());
        let output = home.run(&[]).await;
        let said = lines(&output.stderr);
        assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{certificate:?} {key:?}: {said:#?}");
        assert!(said[0].contains(named) && said[0].contains(why), "{said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_says_that_it_is_secured_and_ends_properly() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::issue(folder.path());
    let home = Home::new()
        .with("LANCEWIRE_TLS__CERTIFICATE", certificate.certificate.display().to_string())
        .with("LANCEWIRE_TLS__KEY", certificate.key.display().to_string());
    let server = home.serve().await;
    assert!(server.greeting.contains(&format!("https://{}/graphql", server.addr)), "{}", server.greeting);
    assert!(server.greeting.contains(&format!("wss://{}/graphql", server.addr)), "{}", server.greeting);
    let tunnel = Tunnel::to(server.addr, &certificate).await;
    let socket = crate::support::socket::Socket::connect(tunnel.addr, None).await;
    let half_way = TcpStream::connect(server.addr).await.expect("connects");
    server.signal("TERM").await;
    assert_eq!(socket.closed().await, (1012, "Service restart".to_owned()));
    until("the server takes no new connections", || !server.accepts()).await;
    assert_eq!(server.ended().await.code(), Some(0));
    drop(half_way);
}
