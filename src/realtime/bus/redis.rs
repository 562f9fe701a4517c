//! The bus of many nodes: Redis Pub/Sub carries the events themselves.
//!
//! The node that has numbered events publishes them: the body of a private one to the channels of the users that it
//! concerns, then the headers of all with the public bodies to all nodes. A node subscribes to the channel of a user
//! while that user has a subscription there, so private bodies reach only the nodes that need them. A node whose
//! positions are contiguous needs no read; a hole, or a private event without its body for a user who has just
//! subscribed, is read from the log. Channel names include the log and its database, so several installations, and
//! copies of one, may share a Redis.
//!
//! **Other users of Redis** can read messages, private bodies included, and can delay them. What they publish is
//! dropped ([`Seal`]).
//!
//! Two tasks: the publisher sends what is in the outbox, one pipeline at a time; the subscriber fills the inbox and
//! subscribes as [`Bus::follow`] asks. Each reconnects by itself, and after that the log is read first. Without Redis
//! events are late by a poll, and nothing else happens; it keeps no state of ours.
//!
//! The crate's `PubSub` delivers messages by an unbounded channel. The subscriber empties it into a bounded inbox and
//! waits for nothing else but, for at most two seconds, the answer to a change of subscriptions.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt},
};
use parking_lot::{Mutex, MutexGuard};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, TlsCertificates,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::TcpSettings,
};
use socket2::TcpKeepalive;
use tokio::{
    sync::Notify,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};
use tokio_rustls::rustls::{self, crypto::ring};
use uuid::Uuid;

use super::{
    Announced, Bus, Inbox, LimitUpdate, PAUSE, Party, PresenceUpdate, SILENCE, Seal, Signal, TIME_LIMIT,
    message::{Message, decode, encode_events, encode_head, encode_limit_update, encode_presence},
    report_connected, report_dropped, report_message,
    seal::Dropped,
};
use crate::{
    backoff::BackOff,
    events::{Event, Kinds},
    lifecycle::Lifecycle,
    tls_roots::{authorities, tls_failure},
};

const NAME: &str = "redis";
/// Bytes that may wait to be published.
const OUTBOX: usize = 16 << 20;
/// Messages sent in one pipeline.
const PIPELINE: usize = 256;
/// What is said of a Redis that says nothing.
const SILENT: &str = "no answer";
/// The channel of limit and presence updates, by the name that nodes of the version before know, too.
const LIMITS: &str = "gossip";

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum RedisBusError {
    /// It cannot be an address.
    #[error("bus.redis_url is no address of a Redis, such as redis://host:6379: {0}")]
    Address(#[source] RedisError),
    /// Somebody answers there, but not as a Redis that lets us in.
    #[error("bus.redis_url: the Redis there refuses: {0}")]
    Refused(#[source] RedisError),
    /// The server's certificate is not trusted.
    #[error(
        "bus.redis_url: the connection cannot be secured: {0}; bus.redis_ca names the file (PEM) of the authority to trust"
    )]
    Insecure(rustls::Error),
    /// The file of those to trust.
    #[error("bus.redis_ca: {} {}", .0.display(), .1)]
    Authorities(PathBuf, String),
}

/// Pub/Sub. Clones share the connections.
#[derive(Clone)]
pub struct RedisBus {
    shared: Arc<Shared>,
}

struct Shared {
    seal: Seal,
    kinds: Kinds,
    client: Client,
    /// Before the name of every channel.
    prefix: String,
    inbox: Inbox,
    outbox: Mutex<Outbox>,
    filled: Notify,
    followed: Mutex<Followed>,
    follows_changed: Notify,
    subscribed: AtomicBool,
}

/// Messages to publish, in order.
#[derive(Default)]
struct Outbox {
    messages: VecDeque<(String, Vec<u8>)>,
    bytes: usize,
}

/// Whose channels are wanted, and what has changed since the subscriber last looked.
#[derive(Default)]
struct Followed {
    wanted: HashSet<Party>,
    changed: HashSet<Party>,
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("node", &self.shared.seal.node()).finish_non_exhaustive()
    }
}

impl RedisBus {
    /// A bus over this Redis for the nodes of one installation ([`EventLog::installation`](crate::events::EventLog::installation)),
    /// with its tasks in `lifecycle`. Events that are of none of these kinds are unknown.
    ///
    /// A Redis that cannot be reached now is no error: the node starts, and connects when it can. One that answers and
    /// refuses is, and so is one that cannot be trusted: `ca` is a file of the authorities to trust with `rediss://`, or
    /// empty for the system's.
    pub async fn start(
        url: &str,
        ca: &Path,
        installation: &str,
        (seal, kinds): (Seal, Kinds),
        lifecycle: &Lifecycle,
    ) -> Result<Self, RedisBusError> {
        let client = client(url, ca)?;
        let absent = match timeout(TIME_LIMIT, ping(&client)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                if let Some(failure) = insecurity(&error) {
                    return Err(RedisBusError::Insecure(failure.clone()));
                }
                if refuses(&error) {
                    return Err(RedisBusError::Refused(error));
                }
                Some(error.to_string())
            }
            Err(_) => Some(SILENT.to_owned()),
        };
        if let Some(reason) = absent {
            tracing::warn!(reason, "bus.redis_url: nobody answers there now; the log is polled meanwhile");
        }
        let shared = Arc::new(Shared {
            seal,
            kinds,
            client,
            prefix: format!("lancewire:{installation}"),
            inbox: Inbox::default(),
            outbox: Mutex::default(),
            filled: Notify::new(),
            followed: Mutex::default(),
            follows_changed: Notify::new(),
            subscribed: AtomicBool::new(false),
        });
        report_connected(NAME, false);
        let (publisher, subscriber) = (Arc::clone(&shared), Arc::clone(&shared));
        drop(lifecycle.until_drained().spawn(async move { publisher.publish().await }));
        drop(lifecycle.until_drained().spawn(async move { subscriber.subscribe().await }));
        Ok(Self { shared })
    }
}

impl Bus for RedisBus {
    fn carries_events(&self) -> bool {
        true
    }

    fn ring(&self, head: i64) {
        self.shared.send(self.shared.channel("events"), encode_head(&self.shared.seal, head), "head");
    }

    fn announce(&self, events: &[Announced]) {
        let shared = &self.shared;
        let mut private: HashMap<Party, Vec<&Announced>> = HashMap::new();
        for event in events.iter().filter(|event| travels_privately(event.delivery.event())) {
            Party::all_of(event.delivery.event()).for_each(|party| private.entry(party).or_default().push(event));
        }
        // Bodies first, so that a node that gets the headers has the bodies already.
        for (party, events) in private {
            let bodies = encode_events(&shared.seal, events.into_iter(), |_| true);
            shared.send(shared.channel_of(party), bodies, "events");
        }
        let headers = encode_events(&shared.seal, events.iter(), |event| event.recorded.audience.public);
        shared.send(shared.channel("events"), headers, "events");
    }

    fn follow(&self, party: Party) {
        self.shared.want(party, true);
    }

    fn unfollow(&self, party: Party) {
        self.shared.want(party, false);
    }

    fn heard(&self) -> BoxFuture<'_, Signal> {
        self.shared.inbox.heard().boxed()
    }

    fn tell(&self, limit_update: LimitUpdate) {
        let message = encode_limit_update(&self.shared.seal, &limit_update);
        self.shared.send(self.shared.channel(LIMITS), message, "limits");
    }

    fn told(&self) -> BoxFuture<'_, LimitUpdate> {
        self.shared.inbox.told().boxed()
    }

    fn tell_presence(&self, update: PresenceUpdate) {
        let message = encode_presence(&self.shared.seal, &update);
        self.shared.send(self.shared.channel(LIMITS), message, "presence");
    }

    fn presence(&self) -> BoxFuture<'_, PresenceUpdate> {
        self.shared.inbox.presence().boxed()
    }

    fn is_connected(&self) -> bool {
        self.shared.subscribed.load(Ordering::Acquire)
    }
}

/// What only nodes receive needs no body; it concerns every node.
fn travels_privately(event: &Event) -> bool {
    !event.recorded.audience.public && !event.recorded.kind.is_internal()
}

fn client(url: &str, ca: &Path) -> Result<Client, RedisBusError> {
    let info = url.into_connection_info().map_err(RedisBusError::Address)?.set_tcp_settings(tcp());
    if !url.starts_with("rediss:") {
        return Client::open(info).map_err(RedisBusError::Address);
    }
    // The crate takes the process's provider, and rustls panics where there is none and it is built with several. An
    // error says that there is one.
    let _ = ring::default_provider().install_default();
    let root_cert = if ca.as_os_str().is_empty() {
        None
    } else {
        Some(authorities(ca).map_err(|why| RedisBusError::Authorities(ca.to_owned(), why))?)
    };
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert }).map_err(RedisBusError::Address)
}

/// A Redis that is gone without a word is found out by the kernel too, once nobody waits for an answer any more.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(TIME_LIMIT);
    let settings = TcpSettings::default().set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE * 2);
    settings
}

async fn ping(client: &Client) -> Result<(), RedisError> {
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async(&mut connection).await
}

/// Why nothing came of a try that had so much time.
fn why(tried: Result<Option<RedisError>, Elapsed>) -> String {
    let error = tried.ok().flatten();
    error.map_or_else(|| SILENT.to_owned(), |error| error.to_string())
}

/// Why a connection could not be secured, if that is what is wrong.
fn insecurity(error: &RedisError) -> Option<&rustls::Error> {
    // The crate keeps what it got from the socket in an `Arc`.
    let source = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    tls_failure(source.downcast_ref()?)
}

/// Whether somebody answered, and not as hoped.
fn refuses(error: &RedisError) -> bool {
    !error.is_io_error() && !error.is_timeout() && !error.is_connection_refusal() && error.kind() != ErrorKind::Io
}

impl Shared {
    fn channel(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    fn channel_of(&self, party: Party) -> String {
        match party {
            Party::User(user) => format!("{}:user:{}", self.prefix, Uuid::from(user).simple()),
            Party::Admins => self.channel("admins"),
        }
    }

    fn send(&self, channel: String, message: Vec<u8>, what: &'static str) {
        let mut outbox = self.outbox();
        if outbox.bytes + message.len() > OUTBOX {
            report_dropped(NAME, what);
            return;
        }
        outbox.bytes += message.len();
        outbox.messages.push_back((channel, message));
        drop(outbox);
        self.filled.notify_one();
    }

    fn want(&self, party: Party, wanted: bool) {
        let mut followed = self.followed();
        let changed = if wanted { followed.wanted.insert(party) } else { followed.wanted.remove(&party) };
        if changed {
            followed.changed.insert(party);
            drop(followed);
            self.follows_changed.notify_one();
        }
    }

    /// Publishes what is in the outbox, for ever.
    async fn publish(&self) {
        let mut connection: Option<MultiplexedConnection> = None;
        let mut pauses = BackOff::new(self.seal.ids(), PAUSE);
        loop {
            let messages = self.take_messages();
            if messages.is_empty() {
                self.filled.notified().await;
                continue;
            }
            let mut pipeline = redis::Pipeline::with_capacity(messages.len());
            for (channel, message) in &messages {
                report_message(NAME, "out", message.len());
                pipeline.cmd("PUBLISH").arg(channel).arg(message.as_slice()).ignore();
            }
            match timeout(TIME_LIMIT, self.send_pipeline(&mut connection, &pipeline)).await {
                Ok(Ok(())) => pauses.reset(),
                failed => {
                    connection = None;
                    report_dropped(NAME, "pipeline");
                    let reason = why(failed.map(Result::err));
                    tracing::debug!(reason, "nothing can be published to the other nodes");
                    pauses.pause().await;
                }
            }
        }
    }

    fn take_messages(&self) -> Vec<(String, Vec<u8>)> {
        let mut outbox = self.outbox();
        let count = outbox.messages.len().min(PIPELINE);
        let messages: Vec<_> = outbox.messages.drain(..count).collect();
        outbox.bytes -= messages.iter().map(|(_, message)| message.len()).sum::<usize>();
        messages
    }

    async fn send_pipeline(
        &self,
        connection: &mut Option<MultiplexedConnection>,
        pipeline: &redis::Pipeline,
    ) -> Result<(), RedisError> {
        let connection = if let Some(connection) = connection {
            connection
        } else {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(TIME_LIMIT))
                .set_response_timeout(Some(TIME_LIMIT));
            connection.insert(self.client.get_multiplexed_async_connection_with_config(&config).await?)
        };
        pipeline.query_async(connection).await
    }

    /// Fills the inbox, for ever.
    async fn subscribe(&self) {
        let mut pauses = BackOff::new(self.seal.ids(), PAUSE);
        let mut away = false;
        loop {
            let reason = match timeout(TIME_LIMIT, self.subscription()).await {
                Ok(Ok(pubsub)) => {
                    if away {
                        tracing::info!("the bus between the nodes is heard again");
                    }
                    away = false;
                    pauses.reset();
                    self.connected(true);
                    self.inbox.signal(Signal::Missed);
                    let ended = self.take_in(pubsub).await;
                    self.connected(false);
                    ended
                }
                failed => why(failed.map(Result::err)),
            };
            if !away {
                tracing::warn!(reason, "the bus between the nodes is out of reach; the log is polled meanwhile");
            }
            away = true;
            pauses.pause().await;
        }
    }

    /// A connection that is subscribed to all that is wanted.
    async fn subscription(&self) -> Result<PubSub, RedisError> {
        let mut pubsub = self.client.get_async_pubsub().await?;
        pubsub.subscribe(self.all_channels()).await?;
        Ok(pubsub)
    }

    fn all_channels(&self) -> Vec<String> {
        let mut followed = self.followed();
        followed.changed.clear();
        let parties = followed.wanted.iter().map(|party| self.channel_of(*party));
        [self.channel("events"), self.channel(LIMITS)].into_iter().chain(parties).collect()
    }

    /// Takes in what comes, until the connection ends; returns how it did.
    async fn take_in(&self, pubsub: PubSub) -> String {
        let (mut sink, mut stream) = pubsub.split();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = timeout_at(heard + SILENCE, stream.next()) => {
                    let Ok(message) = message else { return "silence".to_owned() };
                    let Some(message) = message else { return "the connection ended".to_owned() };
                    heard = Instant::now();
                    self.hear(message.get_payload_bytes());
                }
                () = self.follows_changed.notified() => {
                    let (more, less) = self.changes();
                    let changes = async {
                        if !more.is_empty() {
                            sink.subscribe(more).await?;
                        }
                        if !less.is_empty() {
                            sink.unsubscribe(less).await?;
                        }
                        Ok::<(), RedisError>(())
                    };
                    match timeout(TIME_LIMIT, changes).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return error.to_string(),
                        Err(_) => return "no answer to a subscription".to_owned(),
                    }
                }
            }
        }
    }

    /// The channels to subscribe to and to leave, since this was last asked.
    fn changes(&self) -> (Vec<String>, Vec<String>) {
        let mut followed = self.followed();
        let changed = std::mem::take(&mut followed.changed);
        let (more, less): (Vec<Party>, Vec<Party>) =
            changed.into_iter().partition(|party| followed.wanted.contains(party));
        let channels = |parties: Vec<Party>| parties.into_iter().map(|party| self.channel_of(party)).collect();
        (channels(more), channels(less))
    }

    fn hear(&self, bytes: &[u8]) {
        report_message(NAME, "in", bytes.len());
        match decode(&self.seal, self.kinds, bytes) {
            Ok(None) => {}
            Ok(Some(Message::Head(head))) => self.inbox.signal(Signal::Head(head)),
            Ok(Some(Message::Events(events))) => self.inbox.signal(Signal::Events(events)),
            Ok(Some(Message::LimitUpdate(limit_update))) => self.inbox.limit_update(limit_update),
            Ok(Some(Message::Presence(update))) => self.inbox.presence_update(update),
            Err(dropped) => {
                self.seal.report(NAME, dropped);
                if dropped == Dropped::Unreadable {
                    self.inbox.signal(Signal::Missed);
                }
            }
        }
    }

    fn connected(&self, connected: bool) {
        self.subscribed.store(connected, Ordering::Release);
        report_connected(NAME, connected);
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock()
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock()
    }
}
