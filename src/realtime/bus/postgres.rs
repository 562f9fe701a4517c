//! The bus of a few nodes that share nothing but `PostgreSQL`: LISTEN and NOTIFY.
//!
//! A NOTIFY takes a lock of the whole database when its transaction commits, so it is never part of a business
//! transaction: it is sent after the commit and the numbering, as a statement of its own on a connection of its own,
//! and those that arrive while one is being sent are merged into one. It names the sender and the position up to which
//! events have been numbered, nothing else: a node that has read that far does not read again, and a node does not wake
//! itself. Events are read from the log. Every role that may connect to the database may send notifications, so they
//! are authenticated ([`Seal`]).
//!
//! Two tasks: the speaker sends what is in the outbox, the listener fills the inbox. Each reconnects by itself.
//! Notifications sent meanwhile are lost, so the first step after that is to read the log.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::{Mutex, MutexGuard};
use sea_orm::sqlx::{
    self, Connection, PgConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::Notify,
    time::{error::Elapsed, timeout},
};

use super::{
    Announced, Bus, Inbox, LimitUpdate, PAUSE, Party, PresenceUpdate, SILENCE, Seal, Signal, TIME_LIMIT,
    message::{Message, decode, encode_head, encode_limit_update, encode_presence},
    report_connected, report_dropped, report_message,
    seal::Dropped,
};
use crate::{backoff::BackOff, error::sqlx_cause, events::Kinds, lifecycle::Lifecycle};

const NAME: &str = "postgres";
/// The notification channel; there is one log in a database.
const CHANNEL: &str = "lancewire_log";
/// Limit updates that may wait to be sent.
const LIMIT_UPDATES: usize = 64;
/// Presence updates that may wait to be sent.
const PRESENCE_UPDATES: usize = 256;

/// The address of the database is none.
#[derive(Debug, thiserror::Error)]
#[error("database.url is no address of a PostgreSQL: {}", sqlx_cause(.0))]
pub struct PostgresBusError(#[source] sqlx::Error);

/// LISTEN and NOTIFY. Clones share the connections.
#[derive(Clone)]
pub struct PostgresBus {
    shared: Arc<Shared>,
}

impl fmt::Debug for PostgresBus {
    // The options hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBus").field("node", &self.shared.seal.node()).finish_non_exhaustive()
    }
}

struct Shared {
    seal: Seal,
    options: PgConnectOptions,
    inbox: Inbox,
    outbox: Mutex<Outbox>,
    filled: Notify,
    listening: AtomicBool,
}

#[derive(Debug, Default)]
struct Outbox {
    head: Option<i64>,
    limit_update: VecDeque<LimitUpdate>,
    presence: VecDeque<PresenceUpdate>,
}

impl PostgresBus {
    /// A bus over this database, with its tasks in `lifecycle`. It connects in the background: a node starts without it.
    pub fn start(url: &str, seal: Seal, lifecycle: &Lifecycle) -> Result<Self, PostgresBusError> {
        let options = PgConnectOptions::from_str(url).map_err(PostgresBusError)?.application_name("lancewire-bus");
        // A NOTIFY is a transaction. What it says is in the log already, so nobody need wait for the disk before hearing it.
        let options = options.options([("synchronous_commit", "off")]);
        let shared = Arc::new(Shared {
            seal,
            options,
            inbox: Inbox::default(),
            outbox: Mutex::default(),
            filled: Notify::new(),
            listening: AtomicBool::new(false),
        });
        report_connected(NAME, false);
        let (speaker, listener) = (Arc::clone(&shared), Arc::clone(&shared));
        drop(lifecycle.until_drained().spawn(async move { speaker.speak().await }));
        drop(lifecycle.until_drained().spawn(async move { listener.listen().await }));
        Ok(Self { shared })
    }
}

impl Bus for PostgresBus {
    fn carries_events(&self) -> bool {
        false
    }

    fn ring(&self, head: i64) {
        let mut outbox = self.shared.outbox();
        outbox.head = outbox.head.max(Some(head));
        drop(outbox);
        self.shared.filled.notify_one();
    }

    fn announce(&self, _: &[Announced]) {}

    fn follow(&self, _: Party) {}

    fn unfollow(&self, _: Party) {}

    fn heard(&self) -> BoxFuture<'_, Signal> {
        self.shared.inbox.heard().boxed()
    }

    fn tell(&self, limit_update: LimitUpdate) {
        let mut outbox = self.shared.outbox();
        if limit_update.body.len() > LimitUpdate::LIMIT || outbox.limit_update.len() >= LIMIT_UPDATES {
            report_dropped(NAME, "limits");
            return;
        }
        outbox.limit_update.push_back(limit_update);
        drop(outbox);
        self.shared.filled.notify_one();
    }

    fn told(&self) -> BoxFuture<'_, LimitUpdate> {
        self.shared.inbox.told().boxed()
    }

    fn tell_presence(&self, update: PresenceUpdate) {
        let mut outbox = self.shared.outbox();
        if update.body.len() > PresenceUpdate::LIMIT {
            report_dropped(NAME, "presence");
            return;
        }
        if outbox.presence.len() >= PRESENCE_UPDATES {
            report_dropped(NAME, "presence");
            outbox.presence.pop_front();
        }
        outbox.presence.push_back(update);
        drop(outbox);
        self.shared.filled.notify_one();
    }

    fn presence(&self) -> BoxFuture<'_, PresenceUpdate> {
        self.shared.inbox.presence().boxed()
    }

    fn is_connected(&self) -> bool {
        self.shared.listening.load(Ordering::Acquire)
    }
}

impl Shared {
    /// Sends what is in the outbox, for ever.
    async fn speak(&self) {
        let mut connection: Option<PgConnection> = None;
        let mut pauses = BackOff::new(self.seal.ids(), PAUSE);
        loop {
            let Outbox { head, limit_update, presence } = std::mem::take(&mut *self.outbox());
            let messages = limit_update.iter().map(|limit_update| encode_limit_update(&self.seal, limit_update));
            let messages = messages.chain(head.map(|head| encode_head(&self.seal, head)));
            let messages = messages.chain(presence.iter().map(|update| encode_presence(&self.seal, update)));
            let payloads: Vec<String> = messages.map(|message| BASE64_STANDARD_NO_PAD.encode(message)).collect();
            if payloads.is_empty() {
                self.filled.notified().await;
                continue;
            }
            match timeout(TIME_LIMIT, self.notify(&mut connection, &payloads)).await {
                Ok(Ok(())) => pauses.reset(),
                failed => {
                    // The head is said again with the next one; limit updates are not kept for ever.
                    connection = None;
                    report_dropped(NAME, "notification");
                    let reason = why(failed.map(Result::err));
                    tracing::debug!(reason, "the nodes' doorbell cannot be rung");
                    pauses.pause().await;
                }
            }
        }
    }

    async fn notify(&self, connection: &mut Option<PgConnection>, payloads: &[String]) -> Result<(), sqlx::Error> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(PgConnection::connect_with(&self.options).await?),
        };
        for payload in payloads {
            sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(&mut *connection).await?;
            report_message(NAME, "out", payload.len());
        }
        Ok(())
    }

    /// Fills the inbox, for ever.
    async fn listen(&self) {
        let mut pauses = BackOff::new(self.seal.ids(), PAUSE);
        let mut away = false;
        loop {
            let reason = match timeout(TIME_LIMIT, self.listener()).await {
                Ok(Ok(mut listener)) => {
                    if away {
                        tracing::info!("the nodes' doorbell is heard again");
                    }
                    away = false;
                    pauses.reset();
                    self.connected(true);
                    self.inbox.signal(Signal::Missed);
                    // Ends when the connection does.
                    while let Ok(Ok(Some(notification))) = timeout(SILENCE, listener.try_recv()).await {
                        self.hear(notification.payload());
                    }
                    self.connected(false);
                    "the connection ended".to_owned()
                }
                failed => why(failed.map(Result::err)),
            };
            if !away {
                tracing::warn!(reason, "the nodes' doorbell is out of reach; the log is polled meanwhile");
            }
            away = true;
            pauses.pause().await;
        }
    }

    async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(TIME_LIMIT);
        let mut listener = PgListener::connect_with(&pool.connect_lazy_with(self.options.clone())).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }

    fn hear(&self, payload: &str) {
        report_message(NAME, "in", payload.len());
        // What is no base64 is nobody's seal.
        let message = BASE64_STANDARD_NO_PAD.decode(payload).unwrap_or_default();
        // It carries no events: their kinds are not asked for.
        match decode(&self.seal, Kinds::NONE, &message) {
            Ok(None) => {}
            Ok(Some(Message::Head(head))) => self.inbox.signal(Signal::Head(head)),
            Ok(Some(Message::LimitUpdate(limit_update))) => self.inbox.limit_update(limit_update),
            Ok(Some(Message::Presence(update))) => self.inbox.presence_update(update),
            // Nobody sends any.
            Ok(Some(Message::Events(_))) => self.inbox.signal(Signal::Missed),
            Err(dropped) => {
                self.seal.report(NAME, dropped);
                if dropped == Dropped::Unreadable {
                    self.inbox.signal(Signal::Missed);
                }
            }
        }
    }

    fn connected(&self, connected: bool) {
        self.listening.store(connected, Ordering::Release);
        report_connected(NAME, connected);
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock()
    }
}

/// Why nothing came of a try that had so much time.
fn why(tried: Result<Option<sqlx::Error>, Elapsed>) -> String {
    tried.ok().flatten().map_or_else(|| "no answer".to_owned(), |error| sqlx_cause(&error))
}
