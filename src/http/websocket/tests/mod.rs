//! Sockets told as stories: a real client over TCP against a server with a fake backend.
//!
//! The fake understands documents of a word and a number, see [`Fake::execute`], and counts what lives, so that a test
//! waits for conditions and never for time.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    response::Response,
    routing::any,
};
use chrono::{DateTime, TimeDelta};
use futures_util::{SinkExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error as WireError, Message, client::IntoClientRequest, http::HeaderName},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    clock::Timestamp,
    http::{
        connections::{ConnectionLimits, Connections},
        server,
    },
    ids::UserId,
    limits::Arrivals,
};

mod handshake;
mod limits;
mod operations;
mod tokens;

/// Longer than anything here takes, shorter than anyone's patience.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A backend without a schema.
#[derive(Clone)]
struct Fake(Arc<FakeState>);

struct FakeState {
    start: Timestamp,
    /// Streams of operations that exist.
    live: watch::Sender<usize>,
    /// Results that were made.
    made: watch::Sender<usize>,
    /// Mutations that were done.
    mutated: watch::Sender<usize>,
    /// Lets a `mutate` or a slow token go on.
    gate: Semaphore,
    revocations: Mutex<HashMap<String, CancellationToken>>,
}

/// Counts a stream for as long as it exists.
struct Alive(Arc<FakeState>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.live.send_modify(|live| *live -= 1);
    }
}

impl Fake {
    fn new(start: Timestamp) -> Self {
        Self(Arc::new(FakeState {
            start,
            live: watch::Sender::default(),
            made: watch::Sender::default(),
            mutated: watch::Sender::default(),
            gate: Semaphore::new(0),
            revocations: Mutex::default(),
        }))
    }

    fn revoke(&self, token: &str) {
        self.0.revocations.lock().unwrap()[token].cancel();
    }
}

async fn until(watched: &watch::Sender<usize>, condition: impl FnMut(&usize) -> bool) {
    timeout(TIME_LIMIT, watched.subscribe().wait_for(condition)).await.expect("in time").expect("open");
}

impl SocketBackend for Fake {
    type Viewer = String;

    /// `ada` and `ben` are users and good for 60 seconds, `ada again` for 120.
    async fn authenticate(&self, token: Option<&str>, _: IpAddr) -> Result<Identity<String>, Refused> {
        let Some(token) = token else {
            let (viewer, revoked) = ("nobody".to_owned(), CancellationToken::new());
            return Ok(Identity { viewer, user: None, expires_at: None, revoked });
        };
        let (user, seconds) = match token {
            "ada" => (1, 60),
            "ada again" => (1, 120),
            "ben" => (2, 60),
            "down" => return Err(Refused::Unavailable),
            "boom" => panic!("a test's panic in authenticate"),
            "slow" => {
                self.0.gate.acquire().await.unwrap().forget();
                (3, 60)
            }
            _ => return Err(Refused::Forbidden),
        };
        let revoked = CancellationToken::new();
        self.0.revocations.lock().unwrap().insert(token.to_owned(), revoked.clone());
        let expires_at = Some(self.0.start + TimeDelta::seconds(seconds));
        let user = Some(UserId::from(uuid::Uuid::from_u128(user)));
        Ok(Identity { viewer: token.to_owned(), user, expires_at, revoked })
    }

    fn execute(&self, viewer: String, payload: SubscribePayload, position: &Position) -> Operation {
        let (word, number) = payload.query.split_once(' ').unwrap_or((&payload.query, "0"));
        let number: usize = number.parse().expect("a number");
        let data = |value: Value| Outcome::Next(json!({ "data": value }).to_string().into());
        let errors = || Outcome::Errors(r#"[{"message":"no"}]"#.into());
        assert_ne!(word, "explode", "a test's panic in execute");
        let state = Arc::clone(&self.0);
        let (kind, outcomes) = match word {
            "viewer" => (OperationKind::Query, stream::iter([data(json!(viewer))]).boxed()),
            "position" => (OperationKind::Query, stream::iter([data(json!(format!("{position:?}")))]).boxed()),
            "size" => (OperationKind::Query, stream::iter([data(json!("x".repeat(number)))]).boxed()),
            "refuse" => (OperationKind::Query, stream::iter([errors()]).boxed()),
            "break" => (OperationKind::Subscription, stream::iter([data(json!(1)), errors(), data(json!(2))]).boxed()),
            "count" => (OperationKind::Subscription, stream::iter((0..number).map(move |n| data(json!(n)))).boxed()),
            "forever" => (OperationKind::Subscription, stream::pending().boxed()),
            "flood" => {
                let result: Outcome = data(json!("x".repeat(number)));
                (OperationKind::Subscription, stream::repeat(result).boxed())
            }
            "panic" => {
                let outcomes = stream::iter([1, 2]).map(move |n| {
                    assert_eq!(n, 1, "a test's panic in a stream");
                    data(json!(n))
                });
                (OperationKind::Subscription, outcomes.boxed())
            }
            "mutate" => {
                let mutation = stream::once(async move {
                    state.gate.acquire().await.unwrap().forget();
                    state.mutated.send_modify(|mutated| *mutated += 1);
                    data(json!("done"))
                });
                (OperationKind::Mutation, mutation.boxed())
            }
            other => panic!("no such word: {other}"),
        };
        self.0.live.send_modify(|live| *live += 1);
        let alive = Alive(Arc::clone(&self.0));
        let counted = outcomes.inspect(move |_| alive.0.made.send_modify(|made| *made += 1));
        Operation::Outcomes(kind, counted.boxed())
    }

    fn ping_payload(&self, viewer: &String, position: Option<i64>) -> Option<String> {
        assert_eq!(position, None, "nothing here comes from a log");
        Some(json!({ "viewer": viewer }).to_string())
    }
}

/// A running server.
struct Server {
    sockets: Sockets<Fake>,
    fake: Fake,
    clock: Clock,
    /// Of the sockets.
    lifecycle: Lifecycle,
    /// Of what accepts connections, which goes on while the sockets drain.
    _listening: tokio_util::sync::DropGuard,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut SocketSettings)) -> Self {
        let mut settings = SocketSettings::default();
        change(&mut settings);
        let start = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
        let (fake, clock, lifecycle) = (Fake::new(start), Clock::manual(start), Lifecycle::new());
        let origins = Arc::new(Origins::new(&["https://lance.example".to_owned()], &[]));
        let ids = Ids::seeded(clock.clone(), 1);
        let sockets = Sockets::new(fake.clone(), settings, origins, clock.clone(), ids, lifecycle.clone());
        let app = Router::new().route("/graphql", any(upgrade)).with_state(sockets.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = CancellationToken::new();
        let minute = Duration::from_mins(1);
        let limits = ConnectionLimits { total: 10_000, per_address: NonZeroU32::MAX };
        let server = server::Server {
            router: app,
            timeouts: server::Timeouts { head: minute, idle: minute, write: minute },
            tls: None,
            connections: Connections::new(limits, Arc::default()),
            arrivals: Arrivals::new(0, Vec::new()),
            lifecycle: Lifecycle::new(),
        };
        let serving = server::serve(listener, server);
        drop(Lifecycle::new().spawn(listening.clone().run_until_cancelled_owned(serving)));
        Self { sockets, fake, clock, lifecycle, _listening: listening.drop_guard(), address }
    }

    async fn tcp(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that a client that does not read is noticed early.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn connect(&self, headers: &[(&'static str, &str)]) -> Result<Client, WireError> {
        let mut request = "ws://localhost/graphql".into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let (socket, _) = client_async(request, self.tcp().await).await?;
        Ok(Client { socket })
    }

    /// A socket on which nothing was said yet.
    async fn open(&self) -> Client {
        self.connect(&[("sec-websocket-protocol", "graphql-transport-ws")]).await.expect("an upgrade")
    }

    /// An acknowledged socket of `token`, or of nobody for an empty one.
    async fn client(&self, token: &str) -> Client {
        let mut client = self.open().await;
        let payload = if token.is_empty() { json!({}) } else { json!({ "authToken": token }) };
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
        client
    }

    /// Waits until nothing is left of any client.
    async fn empty(&self) {
        until(&self.fake.0.live, |live| *live == 0).await;
        timeout(TIME_LIMIT, async {
            while self.sockets.open() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("all sockets are given back");
    }
}

async fn upgrade(
    State(sockets): State<Sockets<Fake>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    sockets.upgrade(&mut request.into_parts().0, peer.ip())
}

/// A client that says exactly what it is told to.
struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    async fn send(&mut self, message: Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    async fn send_raw(&mut self, message: Message) {
        timeout(TIME_LIMIT, self.socket.send(message)).await.expect("in time").expect("sent");
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({ "id": id, "type": "subscribe", "payload": { "query": query } })).await;
    }

    async fn complete(&mut self, id: &str) {
        self.send(json!({ "id": id, "type": "complete" })).await;
    }

    /// The next message, whatever it is.
    async fn next_raw(&mut self) -> Message {
        timeout(TIME_LIMIT, self.socket.next()).await.expect("in time").expect("open").expect("readable")
    }

    /// The next message, which must be text.
    async fn next(&mut self) -> Value {
        match self.next_raw().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("not a text: {other:?}"),
        }
    }

    /// Proves that everything sent so far was handled, and that nothing but the pong came back.
    async fn settled(&mut self) {
        self.send(json!({ "type": "ping" })).await;
        assert_eq!(self.next().await, json!({ "type": "pong" }));
    }

    /// The close frame, after whatever else comes; it is answered.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.next_raw().await {
                let frame = frame.expect("a code");
                let ended = async { while self.socket.next().await.is_some_and(|message| message.is_ok()) {} };
                timeout(TIME_LIMIT, ended).await.expect("in time");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

fn next(id: &str, data: impl Into<Value>) -> Value {
    json!({ "id": id, "type": "next", "payload": { "data": data.into() } })
}

fn complete(id: &str) -> Value {
    json!({ "id": id, "type": "complete" })
}

fn u32(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("above zero")
}

fn u64(value: u64) -> NonZeroU64 {
    NonZeroU64::new(value).expect("above zero")
}
