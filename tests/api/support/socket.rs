//! GraphQL over a WebSocket (`graphql-transport-ws`), knowing nothing of the marketplace.
//!
//! A background task reads everything, answers pings and sorts messages by subscription; the methods wait for what the
//! story expects. Nothing here sleeps: each wait ends with the message it is for, or fails after [`GUARD`] and shows
//! all that came instead. To show that something did *not* come, make something else happen after it and
//! [`Socket::drain_until`] that, or let a [`Socket::ping`] go round: frames keep their order.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
    },
};
use tokio_util::task::AbortOnDropHandle;

use super::codes;

/// How long any single wait may last.
const GUARD: Duration = Duration::from_secs(20);

/// A connected client. Dropping it cuts the connection without a goodbye, as a vanished client does.
#[derive(Debug)]
pub struct Socket {
    outgoing: mpsc::UnboundedSender<Message>,
    received: watch::Sender<Received>,
    next_id: AtomicU32,
    _reader: AbortOnDropHandle<()>,
}

/// The id of an operation on one socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription(String);

/// The server's answer to an upgrade it did not want.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP body.
    pub body: String,
}

/// What waits to be taken, and what has been.
#[derive(Debug, Default)]
struct Received {
    /// Unread messages by [`key`].
    unread: HashMap<String, VecDeque<Value>>,
    /// Every message since the start, for the report of a failure.
    log: Vec<String>,
    closed: Option<(u16, String)>,
}

impl Socket {
    /// Connects, signed in with an access token or anonymously, and waits until the server has agreed.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub async fn connect(addr: SocketAddr, token: Option<&str>) -> Self {
        let socket = Self::connect_raw(addr, &[]).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        socket.send(&match token {
            Some(token) => {
                json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })
            }
            None => json!({ "type": "connection_init" }),
        });
        socket.acknowledged().await;
        socket
    }

    /// Connects and says nothing yet. `headers` are added to those of the upgrade; an empty value takes one away.
    ///
    /// # Panics
    ///
    /// When there is no HTTP answer at all.
    pub async fn connect_raw(addr: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, Refusal> {
        let mut request = format!("ws://{addr}/graphql").into_client_request().expect("a WebSocket URL");
        let upgrade = request.headers_mut();
        upgrade.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("graphql-transport-ws"));
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header's name");
            if value.is_empty() {
                upgrade.remove(name);
            } else {
                upgrade.insert(name, value.parse().expect("a header's value"));
            }
        }
        let stream = TcpStream::connect(addr).await.expect("a TCP connection");
        stream.set_nodelay(true).expect("no delay");
        match tokio::time::timeout(GUARD, client_async(request, stream)).await.expect("an answer to the upgrade") {
            Ok((stream, _)) => Ok(Self::over(stream)),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                Err(Refusal { status: response.status(), body: body.into_owned() })
            }
            Err(error) => panic!("the upgrade fails: {error}"),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the reader is the socket's own and is aborted with it")]
    fn over(stream: WebSocketStream<TcpStream>) -> Self {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let received = watch::Sender::default();
        let reader = AbortOnDropHandle::new(tokio::spawn(run(stream, queue, received.clone())));
        Self { outgoing, received, next_id: AtomicU32::new(1), _reader: reader }
    }

    /// Waits for the server's `connection_ack` and returns its payload, null if it has none.
    pub async fn acknowledged(&self) -> Value {
        payload(self.take("connection_ack").await)
    }

    /// Starts an operation. To be sure that the server has seen it, let a [`Socket::ping`] go round.
    #[expect(clippy::needless_pass_by_value, reason = "as callers write it: json!({ .. })")]
    pub fn subscribe(&self, query: &str, variables: Value) -> Subscription {
        let id = Subscription(self.next_id.fetch_add(1, Ordering::Relaxed).to_string());
        self.send(&json!({
            "id": id.0, "type": "subscribe", "payload": { "query": query, "variables": variables }
        }));
        id
    }

    /// Starts an operation with a payload as it is, whatever JSON libraries think of it.
    pub fn subscribe_raw(&self, payload: &str) -> Subscription {
        let id = Subscription(self.next_id.fetch_add(1, Ordering::Relaxed).to_string());
        let message = format!(r#"{{"id":"{}","type":"subscribe","payload":{payload}}}"#, id.0);
        self.send_frame(Message::text(message));
        id
    }

    /// Ends an operation from our side; the server answers nothing.
    pub fn complete(&self, id: &Subscription) {
        self.send(&json!({ "id": id.0, "type": "complete" }));
    }

    /// The payload (`data`, `errors`, `extensions`) of the operation's next `next`.
    ///
    /// # Panics
    ///
    /// When the operation or the connection ends instead.
    pub async fn next(&self, id: &Subscription) -> Value {
        let message = self.take(&key_of(id)).await;
        self.expect("next", &message);
        payload(message)
    }

    /// The one answer of a query or mutation, as it would come over HTTP, refused or not.
    pub async fn answer(&self, id: &Subscription) -> Value {
        let message = self.take(&key_of(id)).await;
        if message["type"] == "error" {
            return json!({ "errors": payload(message) });
        }
        self.expect("next", &message);
        self.completed(id).await;
        payload(message)
    }

    /// Takes payloads up to and with the first that satisfies `last`.
    pub async fn drain_until(&self, id: &Subscription, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut payloads = Vec::new();
        loop {
            let payload = self.next(id).await;
            let found = last(&payload);
            payloads.push(payload);
            if found {
                return payloads;
            }
        }
    }

    /// The operation's next message, whatever it is.
    pub async fn message(&self, id: &Subscription) -> Value {
        self.take(&key_of(id)).await
    }

    /// The list of errors of the operation's `error`, which must be what comes next.
    pub async fn error(&self, id: &Subscription) -> Value {
        let message = self.take(&key_of(id)).await;
        self.expect("error", &message);
        payload(message)
    }

    /// Waits for the server's `complete`, which must be what comes next of the operation.
    pub async fn completed(&self, id: &Subscription) {
        let message = self.take(&key_of(id)).await;
        self.expect("complete", &message);
    }

    /// Sends a `ping` and returns the payload of the `pong`; null means no payload, both ways.
    pub async fn ping(&self, payload: Value) -> Value {
        self.send(&match payload {
            Value::Null => json!({ "type": "ping" }),
            payload => json!({ "type": "ping", "payload": payload }),
        });
        self::payload(self.take("pong").await)
    }

    /// The payload of the server's next `ping`, which has been answered already.
    pub async fn pinged(&self) -> Value {
        payload(self.take("ping").await)
    }

    /// Sends any JSON message.
    pub fn send(&self, message: &Value) {
        self.send_frame(Message::text(message.to_string()));
    }

    /// Sends any frame. Once the connection has ended frames vanish: [`Socket::closed`] tells.
    pub fn send_frame(&self, frame: Message) {
        let _ = self.outgoing.send(frame);
    }

    /// Waits for the end of the connection and returns the server's code and reason: 1005 for a close without a code, 1006
    /// for an end without a close.
    ///
    /// Messages that came before it can still be taken.
    pub async fn closed(&self) -> (u16, String) {
        self.wait("the connection's end", |received| received.closed.clone()).await
    }

    /// How many messages of the operation have come and were not taken. Only once something later has come, such as the
    /// end of the connection, does it say that nothing more was on its way.
    pub fn unread(&self, id: &Subscription) -> usize {
        self.received.borrow().unread.get(&key_of(id)).map_or(0, VecDeque::len)
    }

    /// Says goodbye (1000) and waits until the server has done so too.
    pub async fn close(self) {
        self.send_frame(Message::Close(None));
        self.closed().await;
    }

    /// The next unread message with this key.
    async fn take(&self, key: &str) -> Value {
        self.wait(&format!("`{key}`"), |received| {
            let message = received.unread.get_mut(key).and_then(VecDeque::pop_front);
            assert!(message.is_some() || received.closed.is_none(), "closed while waiting for `{key}`:\n{received}");
            message
        })
        .await
    }

    /// Tries `take` now and after each message.
    async fn wait<T>(&self, what: &str, mut take: impl FnMut(&mut Received) -> Option<T>) -> T {
        let mut changes = self.received.subscribe();
        let search = async {
            loop {
                changes.mark_unchanged();
                let mut found = None;
                // Taking is nobody's news.
                self.received.send_if_modified(|received| {
                    found = take(received);
                    false
                });
                match found {
                    Some(found) => return found,
                    None => changes.changed().await.expect("we hold the sender"),
                }
            }
        };
        let found = tokio::time::timeout(GUARD, search).await.ok();
        found.unwrap_or_else(|| panic!("{GUARD:?} without {what}; received so far:\n{}", *self.received.borrow()))
    }

    fn expect(&self, kind: &str, message: &Value) {
        assert!(
            message["type"] == kind,
            "expected `{kind}`, got {message}; received so far:\n{}",
            *self.received.borrow()
        );
    }
}

impl From<&str> for Subscription {
    /// For an id of the test's own choice, used with [`Socket::send`].
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, message) in self.log.iter().enumerate() {
            writeln!(f, "{:>5}  {message}", number + 1)?;
        }
        Ok(())
    }
}

/// Carries frames both ways until the connection ends.
async fn run(
    mut stream: WebSocketStream<TcpStream>,
    mut outgoing: mpsc::UnboundedReceiver<Message>,
    received: watch::Sender<Received>,
) {
    let mut closed = (1006, String::new());
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame,
            Some(frame) = outgoing.recv() => {
                // A failure to write shows in the next read.
                let _ = stream.send(frame).await;
                continue;
            }
        };
        match frame {
            Some(Ok(Message::Text(text))) => {
                let message: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                codes::check(&message);
                if message["type"] == "ping" {
                    let _ = stream.send(Message::text(json!({ "type": "pong" }).to_string())).await;
                }
                received.send_modify(|received| {
                    received.log.push(text.to_string());
                    received.unread.entry(key(&message)).or_default().push_back(message);
                });
            }
            Some(Ok(Message::Close(frame))) => {
                closed = frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                // The library has the answer ready; nothing else may come.
                let _ = stream.flush().await;
                break;
            }
            // Pings and pongs of the transport are the library's affair, and keep it busy here.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(other)) => received.send_modify(|received| received.log.push(format!("{other:?}"))),
            Some(Err(error)) => {
                received.send_modify(|received| received.log.push(format!("{error}")));
                break;
            }
            None => break,
        }
    }
    received.send_modify(|received| {
        received.log.push(format!("closed: {} {}", closed.0, closed.1));
        received.closed = Some(closed);
    });
}

/// Where a message waits to be taken: with its operation, or else with those of its type.
fn key(message: &Value) -> String {
    match (message["id"].as_str(), message["type"].as_str()) {
        (Some(id), _) => key_of(&id.into()),
        (None, Some(kind)) => kind.to_owned(),
        (None, None) => "not a message".to_owned(),
    }
}

fn key_of(id: &Subscription) -> String {
    format!("operation {id}")
}

fn payload(mut message: Value) -> Value {
    message["payload"].take()
}
