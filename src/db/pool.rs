//! Connections for single statements and for transactions.
//!
//! Opening, counting and closing is left to the pool of sqlx. But that asks a connection whether it lives each time it is
//! taken out and each time it is given back: a round trip to `PostgreSQL` each, and on `SQLite`, where a connection is a
//! thread, a handing over to it and back, which costs more than most statements. And it hands idle ones out in turn, so
//! that of eight readers each finds the one that has rested longest, with cold pages. So connections stay taken out
//! here, and the one used last is the next; `BEGIN` and `COMMIT` are statements like others, which on `SQLite` saves two
//! more handings over each. What that is worth stands in docs/scaling.md, "Delivery and mutations".
//!
//! What sqlx's questions were good for is done where it is needed:
//! - A connection that the server has closed meanwhile is found out by the statement that fails on it. Then all that
//!   rest here are tried, and the statement is run once more on another one: a query, or the `BEGIN` of a transaction,
//!   but never a write, of which nobody knows whether it was done.
//! - One whose statement was not waited for is tried before anybody gets it.
//! - One whose transaction nobody waits for any more, be it while it begins, is rolled back by a task of its own before
//!   anybody gets it, and closed if that fails. The last that was asked for may have been its commit, so the doorbell is
//!   rung when it is known to be over.
//! - What rests long or has been out long is closed.
//!
//! **What nobody waits for is stopped.** A statement whose future is dropped, at the deadline of its operation or since the
//! client is gone, would go on: for seconds on `PostgreSQL`, for as long as it takes on `SQLite`, and its connection with
//! it. [`stop`](super::stop) ends it; the connection is tried and handed on, and counts as in use until then.
//!
//! **Shares.** Who runs in a caller's name ([`share`](super::share)) waits for a part of that caller's share first, and
//! leaves the last connection to those who do not.
//!
//! **Silence.** A connection to `PostgreSQL` may be gone without a word: after a fail-over, or behind a firewall that has
//! forgotten it. sqlx has no way to set keep-alive or `TCP_USER_TIMEOUT` on its sockets, so every answer has a deadline
//! here ([`Deadlines`]). A connection that misses one is closed at once, without a word to the server, and never handed
//! on; those that rest are tried, since they are probably as dead. One that has rested for more than [`QUIET`] is tried
//! before it is used. Connections do not go back to sqlx, whose own tries have no deadline and would hold a place in its
//! pool for as long as the kernel hopes. On `SQLite` an answer is a matter of this process, and none of this applies.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        self, Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    SqlxError, Statement, Values,
    prelude::async_trait::async_trait,
    sqlx::{
        self, AssertSqlSafe, Connection as _, Executor as _, PgPool, Postgres, Sqlite, SqlitePool, pool::PoolConnection,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::{
    sync::{AcquireError, MappedMutexGuard, Mutex, MutexGuard, Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{
    points::Points,
    share::{self, Use},
    stop::{Interrupt, StopOrders},
};
use crate::{error::is_gone, lifecycle::Lifecycle};

/// How long a connection may rest, and how old it may get.
const REST: Duration = Duration::from_mins(1);
const OLD: Duration = Duration::from_mins(30);
/// A connection that has rested for longer is tried before it is used.
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
    resting: sync::Mutex<Vec<Connection>>,
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

#[derive(Debug)]
struct Connection {
    raw: Raw,
    /// How a statement on it is stopped.
    interrupt: Interrupt,
    out_since: Instant,
    used_at: Instant,
    generation: u64,
}

#[derive(Debug)]
enum Raw {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    /// In the middle of its end, which nobody sees.
    Closed,
}

/// Runs the same on a connection to either database.
macro_rules! on_either {
    ($raw:expr, $connection:ident => $run:expr) => {
        match $raw {
            Raw::Sqlite($connection) => $run,
            Raw::Postgres($connection) => $run,
            Raw::Closed => return Err(DbErr::Custom("the connection is closed".to_owned())),
        }
    };
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
            resting: sync::Mutex::default(),
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
    pub async fn begin(&self, command: &str) -> Result<Transaction, DbErr> {
        loop {
            let lease = self.lease(Use::Transaction).await?;
            let rested = lease.rested;
            // One before it has begun: who lets go of it while it begins leaves it to its end.
            let transaction = self.transaction(lease);
            let outcome = transaction.lease().await?.command(command).await;
            match outcome {
                Ok(()) => return Ok(transaction),
                Err(error) if rested && is_dead(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A transaction that has yet to begin: by the first statement that is run in it, which says so itself. Nothing is
    /// committed before one has been run.
    pub(super) async fn begin_by_first_statement(&self) -> Result<Transaction, DbErr> {
        Ok(self.transaction(self.lease(Use::Transaction).await?))
    }

    fn transaction(&self, lease: Lease) -> Transaction {
        Transaction { backend: self.get_database_backend(), lease: Mutex::new(Some(lease)) }
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
        self.0.resting().clear();
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
        let idle = idle + self.0.resting().len();
        (size, size.saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX)))
    }

    async fn lease(&self, wanted: Use) -> Result<Lease, DbErr> {
        let began = Instant::now();
        let late = |_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout);
        let (seat, deadline) = self.0.seat(wanted).await?;
        let (connection, rested) = loop {
            let rested = self.0.resting().pop();
            let Some(mut connection) = rested else {
                // One that is being tried has a place in sqlx's pool, and may come back to us instead.
                tokio::select! {
                    taken = timeout_at(deadline, self.0.take_out()) => break (taken.map_err(late)??, false),
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
            self.0.distrust(generation);
        };
        metrics::histogram!("lancewire_database_wait_seconds").record(began.elapsed().as_secs_f64());
        let (connection, pool) = (Some(connection), Arc::clone(&self.0));
        Ok(Lease { connection, rested, whole: true, transaction: Phase::None, pool, seat: Some(seat) })
    }
}

impl Connection {
    /// Whether the server answers on it within so long.
    async fn lives(&mut self, within: Duration) -> bool {
        let Raw::Postgres(connection) = &mut self.raw else { return true };
        matches!(timeout(within, connection.ping()).await, Ok(Ok(())))
    }

    /// Whether it can be handed on, once the statement on it is over for which nobody waits: it is stopped, and its end is
    /// waited for, for so long at most.
    async fn settles(&mut self, stop_orders: Option<&StopOrders>, within: Duration) -> bool {
        self.interrupt.stop(stop_orders).await;
        let settled = async {
            // Before its own answer a ping may get what became of the statement, and what became of the order to stop it.
            for _ in 0..3 {
                let answer = match &mut self.raw {
                    Raw::Sqlite(connection) => connection.ping().await,
                    Raw::Postgres(connection) => connection.ping().await,
                    Raw::Closed => return false,
                };
                match answer {
                    Ok(()) => return true,
                    Err(error) if is_gone(&error) => return false,
                    Err(_) => {}
                }
            }
            false
        };
        let settled = timeout(within, settled).await.unwrap_or(false);
        self.interrupt.stopped();
        settled
    }
}

/// A connection's place among those that are in use, and in its caller's share.
#[derive(Debug)]
struct Seat {
    _place: OwnedSemaphorePermit,
    _of_callers: Option<OwnedSemaphorePermit>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Shared {
    fn resting(&self) -> sync::MutexGuard<'_, Vec<Connection>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its connections get old. Those of `SQLite` do not, and cost a thread at most.
    const fn ages(&self) -> bool {
        matches!(self.source, Source::Postgres(_))
    }

    /// Waits for a place. First in one's own share, where a caller waits for nobody else; that wait ends with the operation,
    /// every other one at this pool's deadline, which is returned.
    async fn seat(&self, wanted: Use) -> Result<(Seat, Instant), DbErr> {
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
        Ok((Seat { _place: place, _of_callers: of_callers, _share: share }, deadline))
    }

    async fn take_out(&self) -> Result<Connection, DbErr> {
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
    fn rest(self: &Arc<Self>, mut connection: Connection) {
        let now = Instant::now();
        connection.used_at = now;
        if connection.generation != self.generation.load(Ordering::Acquire) {
            return self.try_out(vec![connection], PROMPT);
        }
        let mut resting = self.resting();
        let too_many = self.ages() && resting.first().is_some_and(|first| now - first.used_at > REST);
        let oldest = too_many.then(|| resting.remove(0));
        let is_old = self.ages() && now - connection.out_since > OLD;
        let over = if is_old || self.closed.load(Ordering::Acquire) {
            Some(connection)
        } else {
            resting.push(connection);
            None
        };
        drop(resting);
        // Not under the lock.
        drop((oldest, over));
    }

    /// A connection was dead: the others of its generation that rest are not to be trusted.
    fn distrust(self: &Arc<Self>, generation: u64) {
        let next = generation + 1;
        if self.generation.compare_exchange(generation, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let resting = std::mem::take(&mut *self.resting());
            self.try_out(resting, PROMPT);
        }
    }

    /// Stops the statement on a connection for which nobody waits, and puts it back. Until then it is in use.
    fn recover(self: &Arc<Self>, mut connection: Connection, seat: Option<Seat>) {
        let pool = Arc::clone(self);
        drop(self.common.lifecycle.spawn(async move {
            let generation = pool.generation.load(Ordering::Acquire);
            let within = pool.deadlines.answer.unwrap_or(LONGEST_STEP);
            if connection.settles(pool.stop_orders.as_ref(), within).await {
                connection.generation = generation;
                pool.rest(connection);
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
                    pool.rest(connection);
                    pool.returned.notify_one();
                }
            }));
        }
    }
}

impl Drop for Connection {
    /// Closes it. Nothing is said to a `PostgreSQL`, which may not listen: the end of the stream is enough.
    fn drop(&mut self) {
        if let Raw::Postgres(_) = &self.raw
            && let Raw::Postgres(connection) = std::mem::replace(&mut self.raw, Raw::Closed)
        {
            drop(connection.detach());
        }
    }
}

/// What is known of the transaction on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none.
    None,
    /// There may be one. Nobody else gets the connection before it is over: it is closed sooner.
    Open,
    /// The same, and a statement of it has failed.
    Failed,
}

/// A connection that is in use.
#[derive(Debug)]
struct Lease {
    connection: Option<Connection>,
    /// Nobody has tried it since it was used last.
    rested: bool,
    /// Whether its last statement was waited for, and did not show that it is dead.
    whole: bool,
    transaction: Phase,
    pool: Arc<Shared>,
    /// Taken only when it is dropped.
    seat: Option<Seat>,
}

impl Lease {
    /// The connection, for one statement.
    fn raw(&mut self) -> Result<&mut Raw, DbErr> {
        self.whole = false;
        let connection = self.connection.as_mut();
        connection.map(|connection| &mut connection.raw).ok_or_else(|| DbErr::Custom("no connection".to_owned()))
    }

    /// The statement is done.
    fn done<T>(&mut self, outcome: Result<T, SqlxError>, wrap: fn(RuntimeErr) -> DbErr) -> Result<T, DbErr> {
        let outcome = outcome.map_err(|error| wrap(RuntimeErr::SqlxError(error.into())));
        if outcome.is_err() && self.transaction == Phase::Open {
            self.transaction = Phase::Failed;
        }
        self.whole = !outcome.as_ref().is_err_and(is_dead);
        if let Some(dead) = self.connection.take_if(|_| !self.whole) {
            let generation = dead.generation;
            drop(dead);
            self.pool.distrust(generation);
        }
        outcome
    }

    /// Whether nothing is wrong but that the connection had been closed by the time it was taken from those that rest.
    fn was_dead<T>(&self, outcome: &Result<T, DbErr>) -> bool {
        self.rested && outcome.as_ref().is_err_and(is_dead)
    }

    /// Ends a transaction for which nobody waits any more, wherever it stands: its last statement may still run, and may
    /// have been its commit.
    async fn abandon(mut self) {
        if !self.whole {
            let (orders, within) = (self.pool.stop_orders.as_ref(), self.pool.deadlines.answer.unwrap_or(LONGEST_STEP));
            if let Some(connection) = &mut self.connection {
                connection.settles(orders, within).await;
            }
        }
        // The first may be answered with what was wrong with the last statement. SQLite refuses to roll back what is
        // over; whether that was all, a transaction to begin tells.
        for how in ["ROLLBACK", "ROLLBACK", "BEGIN; ROLLBACK"] {
            if self.end(how).await.is_ok() {
                break;
            }
        }
        self.pool.common.doorbell.notify_one();
    }

    async fn ping(&mut self) -> Result<(), DbErr> {
        let within = self.pool.ages().then_some(PROMPT);
        let outcome = on_either!(self.raw()?, connection => in_time(within, connection.ping()).await);
        self.done(outcome, DbErr::Conn)
    }

    /// `BEGIN`, `COMMIT` or `ROLLBACK`.
    async fn command(&mut self, sql: &str) -> Result<(), DbErr> {
        // A commit may wait for the disk, and a rollback for the end of the statement before it.
        let answer = self.pool.deadlines.answer;
        let begins = sql.starts_with("BEGIN") && !sql.contains(';');
        let within = if begins { answer.map(|answer| answer.min(PROMPT)) } else { answer };
        let outcome = on_either!(self.raw()?, connection => {
            in_time(within, connection.execute(AssertSqlSafe(sql))).await.map(drop)
        });
        self.done(outcome, DbErr::Exec)
    }

    /// Ends a transaction by this command.
    async fn end(&mut self, how: &str) -> Result<(), DbErr> {
        self.command(how).await?;
        self.transaction = Phase::None;
        Ok(())
    }

    fn count(&self) {
        self.pool.common.statements.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("lancewire_database_statements_total").increment(1);
    }

    async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        self.count();
        let within = self.pool.deadlines.answer;
        let outcome = on_either!(self.raw()?, connection => {
            in_time(within, connection.execute(AssertSqlSafe(sql))).await.map(Into::into)
        });
        self.done(outcome, DbErr::Exec)
    }

    async fn execute(&mut self, statement: &Statement) -> Result<ExecResult, DbErr> {
        self.count();
        let (sql, values) = parts(statement);
        let within = self.pool.deadlines.answer;
        let outcome = on_either!(self.raw()?, connection => {
            in_time(within, sqlx::query_with(sql, values).execute(&mut **connection)).await.map(Into::into)
        });
        self.done(outcome, DbErr::Exec)
    }

    async fn query_one(&mut self, statement: &Statement) -> Result<Option<QueryResult>, DbErr> {
        self.count();
        let (sql, values) = parts(statement);
        let within = self.pool.deadlines.answer;
        let outcome = on_either!(self.raw()?, connection => {
            let row = in_time(within, sqlx::query_with(sql, values).fetch_optional(&mut **connection)).await;
            row.map(|row| row.map(Into::into))
        });
        self.done(outcome, DbErr::Query)
    }

    async fn query_all(&mut self, statement: &Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.count();
        let (sql, values) = parts(statement);
        let within = self.pool.deadlines.answer;
        let outcome = on_either!(self.raw()?, connection => {
            let rows = in_time(within, sqlx::query_with(sql, values).fetch_all(&mut **connection)).await;
            rows.map(|rows| rows.into_iter().map(Into::into).collect())
        });
        self.done(outcome, DbErr::Query)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.transaction != Phase::None {
            if let Raw::Sqlite(connection) = &mut connection.raw {
                connection.close_on_drop();
            }
        } else if self.whole {
            self.pool.rest(connection);
        } else {
            self.pool.recover(connection, self.seat.take());
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

/// A transaction. Dropped before its end, it is rolled back.
#[derive(Debug)]
pub struct Transaction {
    backend: DbBackend,
    /// Taken only when it is dropped.
    lease: Mutex<Option<Lease>>,
}

impl Transaction {
    /// Commits. After a statement that failed there is nothing to commit, whatever became of its error: `PostgreSQL`
    /// would roll back and call that a success.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.unfailed().await?.end("COMMIT").await
    }

    /// Commits by a statement that ends with `COMMIT`.
    pub(super) async fn commit_by(self, last: Statement) -> Result<(), DbErr> {
        let mut lease = self.unfailed().await?;
        lease.execute(&last).await?;
        lease.transaction = Phase::None;
        Ok(())
    }

    /// Undoes all of it, and waits for that.
    pub async fn rollback(self) -> Result<(), DbErr> {
        match &mut *self.lease.lock().await {
            Some(lease) if lease.transaction != Phase::None => lease.end("ROLLBACK").await,
            _ => Ok(()),
        }
    }

    /// The connection, for a statement.
    async fn lease(&self) -> Result<MappedMutexGuard<'_, Lease>, DbErr> {
        let lease = MutexGuard::try_map(self.lease.lock().await, Option::as_mut);
        let mut lease = lease.map_err(|_| DbErr::Custom("this transaction is over".to_owned()))?;
        if lease.transaction == Phase::None {
            lease.transaction = Phase::Open;
        }
        Ok(lease)
    }

    async fn unfailed(&self) -> Result<MappedMutexGuard<'_, Lease>, DbErr> {
        let lease = self.lease().await?;
        if lease.transaction == Phase::Failed {
            return Err(DbErr::Custom(
                "a statement of this transaction has failed, so it cannot be committed".to_owned(),
            ));
        }
        Ok(lease)
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.lease().await?.execute(&statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.lease().await?.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.lease().await?.query_one(&statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.lease().await?.query_all(&statement).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.get_mut().take().filter(|lease| lease.transaction != Phase::None) {
            let lifecycle = lease.pool.common.lifecycle.clone();
            drop(lifecycle.spawn(lease.abandon()));
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

/// Waits for an answer for at most so long.
async fn in_time<T>(
    within: Option<Duration>,
    answer: impl Future<Output = Result<T, SqlxError>>,
) -> Result<T, SqlxError> {
    let Some(within) = within else { return answer.await };
    timeout(within, answer).await.unwrap_or_else(|_| {
        metrics::counter!("lancewire_database_silences_total").increment(1);
        let words = format!("no answer within {} ms: the connection is taken for dead", within.as_millis());
        Err(SqlxError::Io(io::Error::new(io::ErrorKind::TimedOut, words)))
    })
}

fn parts(statement: &Statement) -> (AssertSqlSafe<&str>, SqlxValues) {
    let values = statement.values.clone().unwrap_or_else(|| Values(Vec::new()));
    (AssertSqlSafe(statement.sql.as_str()), SqlxValues(values))
}

/// Whether no statement after the one that failed so can succeed on that connection.
fn is_dead(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    matches!(**error, SqlxError::Protocol(_)) || is_gone(error)
}
