//! Many stock graphql-ws clients in one Node process, and what each of their subscriptions has received.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    process::Stdio,
    time::Duration,
    time::Instant,
};

use lancewire::events::{EventCursor, EventKind};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{binary::signal, node};

/// How long anything that must come may take, and how much longer for each client.
const GUARD: Duration = Duration::from_secs(60);
const GUARD_EACH: Duration = Duration::from_millis(50);
/// How long a client waits before it comes back, about.
const RETRY_MS: u32 = 150;
/// More than so many are a crowd, and wait as graphql-ws does by default: a second, then two, four and so on.
const CROWD: usize = 2_000;

/// What one subscription is: who listens to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// A place among the people; none for somebody anonymous.
    pub viewer: Option<usize>,
    pub kind: EventKind,
}

/// One event, as a subscription or `events` gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub position: i64,
    pub id: String,
    pub subject: String,
    pub version: i64,
}

/// What has come so far.
#[derive(Debug, Default)]
pub struct Records {
    /// By subscription, with the moment of arrival.
    pub streams: Vec<Vec<(Heard, Instant)>>,
    /// Events that came again and were dropped by the cursor check.
    pub seen: usize,
    /// Jobs of which a private field came, by subscription.
    pub private: Vec<(usize, String)>,
    /// Operations that ended in errors and were begun again.
    pub errors: Vec<Value>,
    /// Connections made, and closes by code.
    pub connected: usize,
    pub closed: BTreeMap<u64, usize>,
    /// Clients that are connected now.
    open: HashSet<u64>,
}

/// A Node process full of clients. Gone with this value.
pub struct Fleet {
    /// By subscription.
    pub listeners: Vec<Listener>,
    /// How many clients, each with a connection.
    pub clients: usize,
    process: Child,
    _commands: ChildStdin,
    records: watch::Sender<Records>,
    _reader: AbortOnDropHandle<()>,
}

/// The subscription to a kind of event, with more fields of a job.
fn subscription(kind: EventKind, more: &str) -> String {
    let (field, subject) = match kind {
        EventKind::JobPosted => ("jobPosted", format!("job {{ id version {more} }}")),
        EventKind::JobUpdated => ("jobUpdated", format!("job {{ id version {more} }}")),
        EventKind::ClaimUpdated => ("claimUpdated", "claim { id version }".to_owned()),
        EventKind::WalletUpdated => ("walletUpdated", "wallet { id version }".to_owned()),
        EventKind::NotificationReceived => ("notificationReceived", "notification { id }".to_owned()),
        EventKind::DraftUpdated | EventKind::SessionEnded | EventKind::RightsChanged | EventKind::Unknown => {
            unreachable!("nobody here listens to {kind:?}")
        }
    };
    format!("subscription($after: String) {{ {field}(after: $after) {{ id cursor {subject} }} }}")
}

/// The place in the log of a cursor.
pub fn position(cursor: &str) -> i64 {
    EventCursor::decode(cursor).expect("one of ours").position
}

impl Fleet {
    /// Starts clients, each of which listens to some things on a connection of its own, from the cursor `after` on, and
    /// waits until all are connected.
    #[expect(clippy::disallowed_methods, reason = "the reader is the fleet's own and is aborted with it")]
    pub async fn start(
        addr: SocketAddr,
        clients: &[Vec<Listener>],
        tokens: impl Fn(usize) -> String,
        after: &str,
        more: &str,
    ) -> Self {
        let mut listeners = Vec::new();
        let orders: Vec<Value> = clients
            .iter()
            .map(|wanted| {
                let viewer = wanted.first().expect("a client listens to something").viewer;
                let begin = |listener: &Listener| {
                    listeners.push(*listener);
                    let query = subscription(listener.kind, more);
                    json!({ "id": listeners.len() - 1, "query": query, "variables": { "after": after } })
                };
                json!({ "token": viewer.map(&tokens), "subscriptions": wanted.iter().map(begin).collect::<Vec<_>>() })
            })
            .collect();
        let mut command = node::script("many_clients.mjs", "");
        let mut process = command.stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("node runs");
        let mut commands = process.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let orders = json!({
            "url": format!("ws://{addr}/graphql"),
            "retryMs": if orders.len() > CROWD { 1_000 } else { RETRY_MS },
            "backOff": orders.len() > CROWD,
            "clients": orders,
        });
        commands.write_all(format!("{orders}\n").as_bytes()).await.expect("node listens");
        let streams = vec![Vec::new(); listeners.len()];
        let records = watch::Sender::new(Records { streams, ..Records::default() });
        let reading = records.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                reading.send_modify(|records| records.take(&line));
            }
        });
        let reader = AbortOnDropHandle::new(reader);
        let (clients, listening) = (clients.len(), listeners);
        let fleet = Self { listeners: listening, clients, process, _commands: commands, records, _reader: reader };
        fleet.until("all are connected", |records| records.connected >= clients).await;
        fleet
    }

    /// Sends a signal to all clients at once: they are one process.
    pub async fn signal(&self, name: &str) {
        signal(&self.process, name).await;
    }

    /// Waits until what has come fulfils a condition.
    pub async fn until(&self, what: &str, condition: impl FnMut(&Records) -> bool) {
        let mut records = self.records.subscribe();
        let guard = GUARD + GUARD_EACH * u32::try_from(self.clients).expect("small");
        let waited = tokio::time::timeout(guard, records.wait_for(condition)).await;
        if waited.is_err() {
            let records = self.records.borrow();
            let lengths: Vec<usize> = records.streams.iter().map(Vec::len).collect();
            let (closed, errors) = (&records.closed, records.errors.last());
            panic!("waited in vain until {what}: heard {lengths:?}, closed {closed:?}, last error {errors:?}");
        }
    }

    /// Looks at what has come.
    pub fn look<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.records.borrow())
    }
}

impl Records {
    fn take(&mut self, line: &Value) {
        let number = |place: usize| line[place].as_u64().expect("a number");
        let stream = || usize::try_from(number(1)).expect("small");
        let word = |place: usize| line[place].as_str().expect("a text").to_owned();
        match line[0].as_str() {
            Some("event") => {
                let version = line[5].as_i64().expect("a version");
                let heard = Heard { position: position(&word(2)), id: word(3), subject: word(4), version };
                if line[6] == Value::Bool(true) {
                    self.private.push((stream(), heard.subject.clone()));
                }
                self.streams[stream()].push((heard, Instant::now()));
            }
            Some("seen") => self.seen += 1,
            Some("error") => self.errors.push(line[2].clone()),
            Some("connected") => {
                self.connected += 1;
                self.open.insert(number(1));
            }
            Some("closed") => {
                *self.closed.entry(number(2)).or_default() += 1;
                self.open.remove(&number(1));
            }
            _ => panic!("not a line of many_clients.mjs: {line}"),
        }
    }

    /// How many connections are open; a refused one was never made and is not closed.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How many events have come.
    pub fn heard(&self) -> usize {
        self.streams.iter().map(Vec::len).sum()
    }
}
