//! The database: its pools, transactions that retry, and the doorbell.
//!
//! Knows no table but those of commit marks and of itself. `SQLite` gets one writing connection (`BEGIN IMMEDIATE`, so
//! that a transaction holds the write lock before it reads) and a pool of read-only ones; `PostgreSQL` gets one pool at
//! READ COMMITTED, where each decision is made on rows locked with `FOR UPDATE`. Both have a connection beside those
//! for the event tail.
//!
//! - [`transaction`]: transactions and the writes that wait for their end; [`receipt`]: what they leave in the event log
//! - [`pool`]: connections, how they are given out, and what stops a statement; [`share`]: a caller's part of them
//! - [`connect`]: how connections are opened; [`grants`]: which rights they need
//! - [`health`]: whether the database answers and takes writes
//! - [`replica`]: a second database that answers public reads, behind [`ReadSource`]
//! - [`points`]: where a simulation stops a use case
//!
//! Every part of the house that reads or writes holds a [`Db`].

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement, Value};
use tokio::sync::Notify;

use crate::{
    ids::{Ids, UserId},
    lifecycle::Lifecycle,
};

mod connect;
mod deferred;
pub mod grants;
mod health;
pub mod points;
mod pool;
mod reader;
pub mod receipt;
pub mod replica;
mod settings;
pub mod share;
mod statement;
mod transaction;

pub use pool::{DbTransaction, Pool};
pub use reader::{ReadSource, Reader};
pub use settings::DatabaseSettings;
pub use transaction::{Running, Tx};

use health::Writes;
use points::{CommitObserver, Points};
use pool::{Common, Deadlines, Purpose};
use receipt::{Arrivals, Receipt};
use share::ShareSizes;
use statement::statement;

/// How long an answer may take beyond the time that its statement may run for.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// How long the tail waits for an answer, whatever statements may take otherwise: all deliveries wait with it. A statement
/// that the server still runs then is not undone: what it numbers stays numbered.
const TAIL_ANSWER: Duration = Duration::from_secs(5);

/// Which of the two databases this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Embedded; one writer, one node.
    Sqlite,
    /// Any number of writers and nodes.
    Postgres,
}

/// The open database. Clones share the pools and the doorbell; there are several in every service, so they are cheap.
#[derive(Clone, Debug)]
pub struct Db {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    /// Whose commits these are.
    author: Option<UserId>,
    /// Who wants to know where their events stand.
    receipt: Option<Arc<Receipt>>,
}

#[derive(Debug)]
struct Shared {
    backend: Backend,
    writer: Pool,
    tail: Pool,
    /// The pool of `writer`, as sea-orm has it.
    migrator: DatabaseConnection,
    common: Common,
    ids: Ids,
    /// Whether a replica may be read, so that commits must be marked.
    marks: bool,
    writes: Writes,
    arrivals: Arrivals,
}

impl Db {
    /// Opens the pools; a missing `SQLite` file is created. Transactions that are dropped on the way end in tasks of
    /// `lifecycle`.
    pub async fn connect(settings: &DatabaseSettings, ids: Ids, lifecycle: Lifecycle) -> Result<Self, DbErr> {
        Self::open(settings, ids, lifecycle, Points::default()).await
    }

    /// The same for a simulation, whose `observer` is asked at each [`Point`].
    pub async fn simulated(
        settings: &DatabaseSettings,
        ids: Ids,
        lifecycle: Lifecycle,
        observer: Arc<dyn CommitObserver>,
    ) -> Result<Self, DbErr> {
        Self::open(settings, ids, lifecycle, Points::new(observer)).await
    }

    async fn open(settings: &DatabaseSettings, ids: Ids, lifecycle: Lifecycle, points: Points) -> Result<Self, DbErr> {
        let backend = settings.backend();
        let common = Common { statements: Arc::default(), doorbell: Arc::default(), lifecycle, points };
        let free = Duration::from_millis(settings.acquire_timeout_ms);
        let pool = |opened: &DatabaseConnection, size, purpose, answer| {
            Pool::new(opened, size, purpose, Deadlines { free, answer }, common.clone())
        };
        let (all, own) = (Purpose::Everything, Purpose::Internal);
        let (migrator, writer, reader, tail) = match backend {
            Backend::Sqlite => {
                let migrator = connect::sqlite(settings, false).await?;
                let (readers, tail) = (connect::sqlite(settings, true).await?, connect::sqlite(settings, true).await?);
                let writer = pool(&migrator, 1, all, None);
                (migrator, writer, pool(&readers, settings.max_connections, all, None), pool(&tail, 1, own, None))
            }
            Backend::Postgres => {
                let migrator = connect::postgres(settings).await?;
                let running = Some(settings.statement_timeout_ms).filter(|limit| *limit > 0).map(Duration::from_millis);
                let answer = running.map(|running| running + ON_THE_WAY);
                let writer = pool(&migrator, settings.max_connections, all, answer);
                (migrator, writer.clone(), writer, pool(&connect::tail(settings).await?, 1, own, Some(TAIL_ANSWER)))
            }
        };
        let shared = Shared {
            backend,
            writer,
            tail,
            migrator,
            common,
            ids,
            marks: !settings.replica_url.is_empty(),
            writes: Writes::default(),
            arrivals: Arrivals::default(),
        };
        let reader = Arc::new(Reader::Pool(reader));
        Ok(Self { shared: Arc::new(shared), reader, author: None, receipt: None })
    }

    /// How much of the pools of a database with these settings one caller may hold.
    pub fn share_sizes(settings: &DatabaseSettings) -> ShareSizes {
        let one_pool = settings.backend() == Backend::Postgres;
        ShareSizes::new(settings.max_connections, settings.caller_share_percent, one_pool)
    }

    /// The same database with its reads answered by `source`.
    #[must_use]
    pub fn with_snapshot(&self, source: Arc<impl ReadSource + 'static>) -> Self {
        Self { reader: Arc::new(Reader::Elsewhere(source)), ..self.clone() }
    }

    /// The same database, which notes in `receipt` what its commits leave in the event log.
    #[must_use]
    pub fn noting(&self, receipt: Arc<Receipt>) -> Self {
        Self { receipt: Some(receipt), ..self.clone() }
    }

    /// The events that are waited for; for the tail, which comes to all of them.
    pub fn arrivals(&self) -> &Arrivals {
        &self.shared.arrivals
    }

    /// Which database this is.
    pub fn backend(&self) -> Backend {
        self.shared.backend
    }

    /// Closes the pools; statements that come later fail.
    pub async fn close(self) {
        self.shared.writer.close().await;
        self.shared.tail.close().await;
        if let Reader::Pool(reader) = &*self.reader {
            reader.close().await;
        }
    }

    /// Makes ids and secrets.
    pub fn ids(&self) -> &Ids {
        &self.shared.ids
    }

    /// For reads outside a transaction.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// A read-only look at one state of everything on the primary. Dropped, it ends.
    pub async fn snapshot(&self) -> Result<DbTransaction, DbErr> {
        match (&*self.reader, self.shared.backend) {
            // A read transaction of SQLite is a snapshot.
            (Reader::Pool(reader), Backend::Sqlite) => reader.begin("BEGIN").await,
            _ => self.shared.writer.begin("BEGIN ISOLATION LEVEL REPEATABLE READ").await,
        }
    }

    /// For single statements on the primary. A query must be one that may be run twice; see [`Pool`].
    pub fn writer(&self) -> &Pool {
        &self.shared.writer
    }

    /// For the steps of the migration, which are transactions of sea-orm. On `SQLite` only before anything else writes:
    /// there is one such connection.
    pub fn migrator(&self) -> &DatabaseConnection {
        &self.shared.migrator
    }

    /// For the event tail alone, whose statements wait for nobody else's. One connection of its own, which keeps its plans
    /// and pages: in a pool each of many connections plans and warms up for itself what one of them does next.
    pub fn tail(&self) -> &Pool {
        &self.shared.tail
    }

    /// What its pools have in common.
    fn common(&self) -> &Common {
        &self.shared.common
    }

    /// Rung after each commit. One permit is kept, so a ring between two waits is not missed.
    pub fn doorbell(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.common.doorbell)
    }

    /// SQL statements run so far, for tests that count them.
    pub fn statements(&self) -> u64 {
        self.shared.common.statements.load(Ordering::Relaxed)
    }

    /// The database's time, by its own clock: the one that all nodes share.
    pub async fn now(&self) -> Result<DateTime<Utc>, DbErr> {
        let sql = match self.shared.backend {
            Backend::Postgres => "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) AS now_ms",
            Backend::Sqlite => "SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) AS now_ms",
        };
        let row = self.reader.query_one_raw(self.statement(sql, [])).await?;
        let now: i64 = row.ok_or_else(|| DbErr::RecordNotFound("the database's time".into()))?.try_get("", "now_ms")?;
        DateTime::from_timestamp_millis(now).ok_or_else(|| DbErr::Custom("the database's time is no time".into()))
    }

    /// The same as [`Db::statement`] for any number of values.
    pub fn statement_of(&self, sql: &str, values: Vec<Value>) -> Statement {
        statement(self.shared.backend, sql, values)
    }

    /// A statement for this database. Write `?` for each value; on `PostgreSQL` they become `$1`, `$2` ...
    pub fn statement<const N: usize>(&self, sql: &str, values: [Value; N]) -> Statement {
        statement(self.shared.backend, sql, values)
    }
}

#[cfg(test)]
mod tests;
