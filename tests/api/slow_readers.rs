//! Readers that take little at a time stay; readers that take nothing are closed, and learn why when they read again.
//! The same over plain TCP and over TLS.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use lancewire::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::Role},
};

use crate::support::{
    app::{Database, TestApp, soon, until},
    http::{Http, Reply},
    people::{Person, new_job, text},
    tls::{Certificate, Tunnel},
};

/// What the events take on such a socket: 20 KB each, so that 4 MB do not fit into the buffers on the way.
const EVENTS: usize = 200;

/// Subscribes after a cursor over a connection that nobody has read from, and hands it back: from then on only events come,
/// as many at once as there is room for.
async fn subscribe<S: AsyncRead + AsyncWrite + Unpin + Debug>(stream: S, app: &TestApp, after: &str) -> S {
    let mut request = "ws://localhost/graphql".into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let (mut socket, _) = client_async(request, stream).await.expect("an upgrade");
    socket.send(Message::text(r#"{"type":"connection_init"}"#)).await.expect("sends");
    soon(socket.next()).await.expect("an answer").expect("connection_ack");
    let copies = (0..10).map(|number| format!("copy{number}: description")).collect::<Vec<_>>().join(" ");
    let query = format!("subscription {{ jobPosted(after: \"{after}\") {{ job {{ title {copies} }} }} }}");
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": query } });
    socket.send(Message::text(subscribe.to_string())).await.expect("sends");
    app.listening(1).await;
    socket.into_inner()
}

/// A connection whose reader has little room.
async fn narrow(app: &TestApp) -> TcpStream {
    let tcp = TcpSocket::new_v4().expect("a socket");
    tcp.set_recv_buffer_size(4096).expect("a small buffer");
    tcp.connect(app.addr).await.expect("connects")
}

/// Posts what is to be read: the cursor before it, and the titles.
async fn post_large(app: &TestApp) -> (String, Vec<String>) {
    // On connections of her own, which end with her.
    let ada = Person { http: Http::new(app.addr), ..app.client("Ada").await };
    let start = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
    let titles: Vec<String> = (0..EVENTS).map(|number| format!("Large {number}")).collect();
    for title in &titles {
        let mut job = new_job(title, "0.50");
        job["description"] = json!("x".repeat(2_000));
        ada.post(job).await.good();
    }
    app.published().await;
    let tasks = app.app.lifecycle.running();
    drop(ada);
    until("her connections have ended", || app.app.lifecycle.running() < tasks).await;
    (start, titles)
}

/// The rest of what comes after these bytes: titles, and the close frame if there is one.
async fn read_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    read: Vec<u8>,
    count: usize,
) -> (Vec<String>, Option<u16>) {
    let mut socket = WebSocketStream::from_partially_read(stream, read, Role::Client, None).await;
    let mut titles = Vec::new();
    while titles.len() < count {
        match soon(socket.next()).await {
            Some(Ok(Message::Text(text))) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                let title = message.pointer("/payload/data/jobPosted/job/title").and_then(Value::as_str);
                titles.extend(title.map(ToOwned::to_owned));
            }
            Some(Ok(Message::Close(frame))) => return (titles, frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    (titles, None)
}

/// The patience of the server in the first story.
const PATIENCE: Duration = Duration::from_millis(1_500);

async fn takes_a_little_at_a_time<S: AsyncRead + AsyncWrite + Unpin + Debug>(
    app: &TestApp,
    stream: S,
    (start, posted): (String, Vec<String>),
) {
    let mut stream = subscribe(stream, app, &start).await;
    let (mut read, mut piece, began) = (Vec::new(), [0; 256], Instant::now());
    while began.elapsed() < PATIENCE * 3 {
        let taken = soon(stream.read(&mut piece)).await.expect("still open");
        assert_ne!(taken, 0, "it was closed after {} bytes in {:?}", read.len(), began.elapsed());
        read.extend_from_slice(&piece[..taken]);
        // A round trip is the pause that a slow reader makes.
        Reply::of(app.http.request(Method::GET, "/health/live")).await;
    }
    let slowly = read.len();
    let (titles, close) = read_on(stream, read, posted.len()).await;
    assert_eq!((titles.len(), close), (posted.len(), None), "after {slowly} bytes were read slowly");
    assert_eq!(titles, posted);
}

/// `tasks` are those of the server without this connection.
async fn takes_nothing<S: AsyncRead + AsyncWrite + Unpin + Debug>(
    app: &TestApp,
    tasks: usize,
    stream: S,
    (start, posted): (String, Vec<String>),
) {
    let stream = subscribe(stream, app, &start).await;
    app.listening(0).await;
    // The server has let go of it, whatever became of its last words.
    until("its task has ended", || app.app.lifecycle.running() <= tasks).await;
    let (titles, close) = read_on(stream, Vec::new(), usize::MAX).await;
    assert_eq!(close, Some(1013), "after {} events", titles.len());
    assert_eq!(titles, posted[..titles.len()], "in order, as far as they came");
    assert!(titles.len() < posted.len());
}

fn settings(patience: Duration) -> String {
    format!("[sockets]\nqueue_bytes = 100000\nwrite_timeout_ms = {}\n", patience.as_millis())
}

async fn plain(patience: Duration) -> TestApp {
    TestApp::start_with(Database::Sqlite, &settings(patience), Clock::system()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_a_little_at_a_time_stays() {
    let app = plain(PATIENCE).await;
    let posted = post_large(&app).await;
    takes_a_little_at_a_time(&app, narrow(&app).await, posted).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_learns_why_it_was_sent_away() {
    let app = plain(Duration::from_millis(500)).await;
    let posted = post_large(&app).await;
    let tasks = app.app.lifecycle.running();
    takes_nothing(&app, tasks, narrow(&app).await, posted).await;
    app.finish().await;
}

/// A server that speaks TLS, and a way to it for those who do not.
async fn secured(patience: Duration) -> (TestApp, TestApp, Certificate, Tunnel, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::issue(folder.path());
    let settings = format!("{}{}", certificate.settings(), settings(patience));
    let app = TestApp::start_with(Database::Sqlite, &settings, Clock::system()).await;
    let tunnel = Tunnel::to(app.addr, &certificate).await;
    let mut tunnelled = app.clone();
    (tunnelled.addr, tunnelled.http) = (tunnel.addr, Http::new(tunnel.addr));
    (app, tunnelled, certificate, tunnel, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_over_tls_that_takes_a_little_at_a_time_stays() {
    let (app, tunnelled, certificate, _tunnel, _folder) = secured(PATIENCE).await;
    let posted = post_large(&tunnelled).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = certificate.client().connect(name, narrow(&app).await).await.expect("a handshake");
    takes_a_little_at_a_time(&tunnelled, stream, posted).await;
    drop(tunnelled);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_over_tls_that_takes_nothing_learns_why_it_was_sent_away() {
    let (app, tunnelled, certificate, _tunnel, _folder) = secured(Duration::from_millis(500)).await;
    let posted = post_large(&tunnelled).await;
    let tasks = app.app.lifecycle.running();
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = certificate.client().connect(name, narrow(&app).await).await.expect("a handshake");
    takes_nothing(&tunnelled, tasks, stream, posted).await;
    drop(tunnelled);
    app.finish().await;
}
