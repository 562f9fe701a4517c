//! Connections for single statements and for transactions.
//!
//! Opening, counting and closing is left to the pool of sqlx. But that asks a connection whether it lives each time it is
//! checked out and each time it is returned: a round trip to `PostgreSQL` each, and on `SQLite`, where a connection is a
//! thread, a handing over to it and back, which costs more than most statements. And it hands idle ones out in turn, so
//! that of eight readers each finds the one that has been idle longest, with cold pages. So connections stay checked out
//! here, and the one used last is the next; `BEGIN` and `COMMIT` are statements like others, which on `SQLite` saves two
//! more handings over each. What that is worth stands in docs/scaling.md, "Delivery and mutations".
//!
//! What sqlx's questions were good for is done where it is needed:
//! - A connection that the server has closed meanwhile is found out by the statement that fails on it. Then all that
//!   rest here are tried, and the statement is run once more on another one: a query, or the `BEGIN` of a transaction,
//!   but never a write, of which nobody knows whether it was done.
//! - One whose statement was not waited for is tried before anybody gets it.
//! - One whose transaction's future was dropped, even while it began, is rolled back by a task of its own before
//!   anybody gets it, and closed if that fails. The last that was asked for may have been its commit, so the doorbell is
//!   rung when it is known to be over.
//! - What rests long or has been out long is closed.
//!
//! **What nobody waits for is stopped.** A statement whose future is dropped, at the deadline of its operation or since
//! the client is gone, would go on: for seconds on `PostgreSQL`, for as long as it takes on `SQLite`, and its
//! connection with it. [`stop`] ends it; the connection is tried and handed on, and counts as in use until then.
//!
//! **Shares.** Who runs in a caller's name ([`share`]) waits for a part of that caller's share first, and
//! leaves the last connection to those who do not.
//!
//! **Silence.** A connection to `PostgreSQL` may be gone without a word: after a fail-over, or behind a firewall that
//! has forgotten it. sqlx has no way to set keep-alive or `TCP_USER_TIMEOUT` on its sockets, so every answer has a
//! deadline here ([`Deadlines`]). A connection that misses one is closed at once, without a word to the server, and
//! never handed on; those that rest are tried, since they are probably as dead. One that has been idle for more than
//! [`QUIET`] is tried before it is used. Connections do not go back to sqlx, whose own tries have no deadline and would
//! hold a place in its pool for as long as the kernel hopes. On `SQLite` an answer is a matter of this process, and
//! none of this applies.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    SqlxError, Statement,
    prelude::async_trait::async_trait,
    sqlx::{PgPool, SqlitePool},
};
use tokio::{
    sync::{AcquireError, Mutex, Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    points::Points,
    share::{self, Use},
};
use crate::lifecycle::Lifecycle;

mod connection;
mod lease;
mod stop;
mod transaction;

pub use transaction::DbTransaction;

use connection::{Connection, Raw};
use lease::{Lease, TransactionPhase, is_dead};
use stop::{Interrupt, StopOrders};

/// How long a connection may rest, and how old it may get.
const MOST_IDLE: Duration = Duration::from_mins(1);
const OLD: Duration = Duration::from_mins(30);
/// A connection that has been idle for longer is tried before it is used.
const QUIET: Duration = Duration::from_millis(250);
/// How long the server may take for what waits for nothing there: `BEGIN` and a ping.
const PROMPT: Duration = Duration::from_secs(2);
/// How long a step of `SQLite` may take that cannot be interrupted.
const LONGEST_STEP: Duration = Duration::from_mins(1);
/// A pool of so many connections keeps one that no caller gets.
const KEEPS_ONE: usize = 4;

/// Connections to one database. Clones share them. Single statements may be run on it as on one connection; one that
/// returns rows must be one that may run twice, and one that may not is executed or has a transaction of its own.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

/// How long callers and connections are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// How long a caller waits for a free connection.
    pub free: Duration,
    /// The answer to a statement; none on `SQLite`, and where statements may run for ever. Longer than the server's own
    /// limit, which so has the first word.
    pub answer: Option<Duration>,
}

/// What the pools of one database have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// Counts every statement but `BEGIN`, `COMMIT` and `ROLLBACK`.
    pub statements: Arc<AtomicU64>,
    /// Rung when a transaction is over for whose end nobody waited.
    pub doorbell: Arc<Notify>,
    /// Owns the tasks that end such transactions.
    pub lifecycle: Lifecycle,
    /// Where a simulation stops.
    pub points: Points,
}

/// What a pool is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The server's own work: no caller uses it.
    Internal,
    /// Statements and transactions of callers and of the server.
    Everything,
    /// Reads of whole operations on the replica.
    Replica,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    /// Used last is last.
    idle_connections: parking_lot::Mutex<Vec<Connection>>,
    seats: Arc<Semaphore>,
    /// Those of them that callers may have, all together.
    callers: Arc<Semaphore>,
    purpose: Purpose,
    /// Calls statements off, on `PostgreSQL`.
    stop_orders: Option<StopOrders>,
    deadlines: Deadlines,
    closed: AtomicBool,
    /// A connection has been tried and rests again. A permit is kept, so one that comes back between two looks is found.
    returned: Notify,
    /// Raised when a connection turned out to be dead: those of before are tried before they rest here again.
    generation: AtomicU64,
    common: Common,
}

#[derive(Debug)]
enum Source {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// The connections of a pool that sea-orm has opened, at most `size` at a time.
    pub(super) fn new(
        opened: &DatabaseConnection,
        size: u32,
        purpose: Purpose,
        deadlines: Deadlines,
        common: Common,
    ) -> Self {
        let source = match opened.get_database_backend() {
            DbBackend::Sqlite => Source::Sqlite(opened.get_sqlite_connection_pool().clone()),
            _ => Source::Postgres(opened.get_postgres_connection_pool().clone()),
        };
        let stop_orders = match &source {
            Source::Sqlite(_) => None,
            Source::Postgres(pool) => Some(StopOrders::new((*pool.connect_options()).clone())),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let callers = if size >= KEEPS_ONE { size - 1 } else { size };
        Self(Arc::new(Shared {
            source,
            idle_connections: parking_lot::Mutex::default(),
            seats: Arc::new(Semaphore::new(size)),
            callers: Arc::new(Semaphore::new(callers)),
            purpose,
            stop_orders,
            deadlines,
            closed: AtomicBool::new(false),
            returned: Notify::new(),
            generation: AtomicU64::new(0),
            common,
        }))
    }

    /// Begins a transaction by this command.
    pub async fn begin(&self, command: &str) -> Result<DbTransaction, DbErr> {
        loop {
            let lease = self.lease(Use::Transaction).await?;
            let was_idle = lease.was_idle;
            // One before it has begun: who lets go of it while it begins leaves it to its end.
            let transaction = self.transaction(lease);
            let outcome = transaction.lease().await?.command(command).await;
            match outcome {
                Ok(()) => return Ok(transaction),
                Err(error) if was_idle && is_dead(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A transaction that has yet to begin: by the first statement that is run in it, which says so itself. Nothing is
    /// committed before one has been run.
    pub(super) async fn begin_by_first_statement(&self) -> Result<DbTransaction, DbErr> {
        Ok(self.transaction(self.lease(Use::Transaction).await?))
    }

    fn transaction(&self, lease: Lease) -> DbTransaction {
        DbTransaction { backend: self.get_database_backend(), lease: Mutex::new(Some(lease)) }
    }

    pub(super) fn points(&self) -> &Points {
        &self.0.common.points
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.lease(Use::Statement).await?.ping().await
    }

    /// Closes all, and fails whatever comes later.
    pub(super) async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.idle_connections().clear();
        match &self.0.source {
            Source::Sqlite(pool) => pool.close().await,
            Source::Postgres(pool) => pool.close().await,
        }
    }

    /// How many connections there are, and how many of them are in use.
    pub(super) fn usage(&self) -> (u32, u32) {
        let (size, idle) = match &self.0.source {
            Source::Sqlite(pool) => (pool.size(), pool.num_idle()),
            Source::Postgres(pool) => (pool.size(), pool.num_idle()),
        };
        let idle = idle + self.0.idle_connections().len();
        (size, size.saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX)))
    }

    async fn lease(&self, wanted: Use) -> Result<Lease, DbErr> {
        let began = Instant::now();
        let late = |_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout);
        let (seat, deadline) = self.0.seat(wanted).await?;
        let (connection, was_idle) = loop {
            let was_idle = self.0.idle_connections().pop();
            let Some(mut connection) = was_idle else {
                // One that is being tried has a place in sqlx's pool, and may come back to us instead.
                tokio::select! {
                    taken = timeout_at(deadline, self.0.check_out()) => break (taken.map_err(late)??, false),
                    () = self.0.returned.notified() => continue,
                }
            };
            if !self.0.ages() || connection.used_at.elapsed() <= QUIET {
                break (connection, true);
            }
            let generation = connection.generation;
            if timeout_at(deadline, connection.lives(PROMPT)).await.map_err(late)? {
                break (connection, true);
            }
            drop(connection);
            self.0.invalidate(generation);
        };
        metrics::histogram!("lancewire_database_wait_seconds").record(began.elapsed().as_secs_f64());
        let (connection, pool) = (Some(connection), Arc::clone(&self.0));
        Ok(Lease { connection, was_idle, whole: true, transaction: TransactionPhase::None, pool, seat: Some(seat) })
    }
}

/// A connection's place among those that are in use, and in its caller's share.
#[derive(Debug)]
struct Permit {
    _place: OwnedSemaphorePermit,
    _of_callers: Option<OwnedSemaphorePermit>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Shared {
    fn idle_connections(&self) -> parking_lot::MutexGuard<'_, Vec<Connection>> {
        self.idle_connections.lock()
    }

    /// Whether its connections get old. Those of `SQLite` do not, and cost a thread at most.
    const fn ages(&self) -> bool {
        matches!(self.source, Source::Postgres(_))
    }

    /// Waits for a place. First in one's own share, where a caller waits for nobody else; that wait ends with the operation,
    /// every other one at this pool's deadline, which is returned.
    async fn seat(&self, wanted: Use) -> Result<(Permit, Instant), DbErr> {
        let wanted = match self.purpose {
            Purpose::Internal => None,
            Purpose::Everything => Some(wanted),
            Purpose::Replica => Some(Use::Replica),
        };
        let share = match wanted.filter(|_| share::is_a_callers()) {
            Some(wanted) => waited(share::wait_for(wanted)).await,
            None => None,
        };
        let deadline = Instant::now() + self.deadlines.free;
        let places = async {
            let of_callers = match &share {
                Some(_) => Some(Arc::clone(&self.callers).acquire_owned().await?),
                None => None,
            };
            Ok::<_, AcquireError>((of_callers, Arc::clone(&self.seats).acquire_owned().await?))
        };
        let places = timeout_at(deadline, places).await;
        let places = places.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?;
        let (of_callers, place) = places.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        Ok((Permit { _place: place, _of_callers: of_callers, _share: share }, deadline))
    }

    async fn check_out(&self) -> Result<Connection, DbErr> {
        let generation = self.generation.load(Ordering::Acquire);
        let opened = match &self.source {
            Source::Sqlite(pool) => match pool.acquire().await {
                Ok(mut connection) => {
                    let interrupt = Interrupt::of_sqlite(&mut connection).await;
                    interrupt.map(|interrupt| (Raw::Sqlite(connection), interrupt))
                }
                Err(error) => Err(error),
            },
            Source::Postgres(pool) => match pool.acquire().await {
                Ok(mut connection) => {
                    let interrupt = Interrupt::of_postgres(&mut connection).await;
                    interrupt.map(|interrupt| (Raw::Postgres(connection), interrupt))
                }
                Err(error) => Err(error),
            },
        };
        let now = Instant::now();
        let (raw, interrupt) = opened.map_err(|error| match error {
            SqlxError::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
            SqlxError::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
            error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
        })?;
        Ok(Connection { raw, interrupt, out_since: now, used_at: now, generation })
    }

    /// Takes a connection back whose last statement is done.
    fn check_in(self: &Arc<Self>, mut connection: Connection) {
        let now = Instant::now();
        connection.used_at = now;
        if connection.generation != self.generation.load(Ordering::Acquire) {
            return self.try_out(vec![connection], PROMPT);
        }
        let mut idle_connections = self.idle_connections();
        let too_many = self.ages() && idle_connections.first().is_some_and(|first| now - first.used_at > MOST_IDLE);
        let oldest = too_many.then(|| idle_connections.remove(0));
        let is_old = self.ages() && now - connection.out_since > OLD;
        let over = if is_old || self.closed.load(Ordering::Acquire) {
            Some(connection)
        } else {
            idle_connections.push(connection);
            None
        };
        drop(idle_connections);
        // Not under the lock.
        drop((oldest, over));
    }

    /// A connection was dead: the others of its generation that rest are not to be trusted.
    fn invalidate(self: &Arc<Self>, generation: u64) {
        let next = generation + 1;
        if self.generation.compare_exchange(generation, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let idle_connections = std::mem::take(&mut *self.idle_connections());
            self.try_out(idle_connections, PROMPT);
        }
    }

    /// Stops the statement on a connection for which nobody waits, and puts it back. Until then it is in use.
    fn recover(self: &Arc<Self>, mut connection: Connection, seat: Option<Permit>) {
        let pool = Arc::clone(self);
        drop(self.common.lifecycle.spawn(async move {
            let generation = pool.generation.load(Ordering::Acquire);
            let within = pool.deadlines.answer.unwrap_or(LONGEST_STEP);
            if connection.settles(pool.stop_orders.as_ref(), within).await {
                connection.generation = generation;
                pool.check_in(connection);
                pool.returned.notify_one();
            }
            drop(seat);
        }));
    }

    /// Puts connections back that answer within so long, each for itself, and closes the others.
    fn try_out(self: &Arc<Self>, connections: Vec<Connection>, within: Duration) {
        if !self.ages() {
            // sqlx asks the thread of a connection to SQLite.
            return drop(connections);
        }
        for mut connection in connections {
            let pool = Arc::clone(self);
            drop(self.common.lifecycle.spawn(async move {
                let generation = pool.generation.load(Ordering::Acquire);
                if connection.lives(within).await {
                    connection.generation = generation;
                    pool.check_in(connection);
                    pool.returned.notify_one();
                }
            }));
        }
    }
}

#[async_trait]
impl ConnectionTrait for Pool {
    fn get_database_backend(&self) -> DbBackend {
        match self.0.source {
            Source::Sqlite(_) => DbBackend::Sqlite,
            Source::Postgres(_) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.lease(Use::Statement).await?.execute(&statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.lease(Use::Statement).await?.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        loop {
            let mut lease = self.lease(Use::Statement).await?;
            let outcome = lease.query_one(&statement).await;
            if !lease.was_dead(&outcome) {
                return outcome;
            }
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        loop {
            let mut lease = self.lease(Use::Statement).await?;
            let outcome = lease.query_all(&statement).await;
            if !lease.was_dead(&outcome) {
                return outcome;
            }
        }
    }
}

/// Waits for a share, and tells the metrics how long if it is not there at once.
async fn waited<T>(wait: impl Future<Output = T>) -> T {
    let mut wait = pin!(wait);
    if let Some(there) = (&mut wait).now_or_never() {
        return there;
    }
    let began = Instant::now();
    let there = wait.await;
    metrics::histogram!("lancewire_database_share_wait_seconds").record(began.elapsed().as_secs_f64());
    there
}
