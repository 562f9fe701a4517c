//! The database: its pools, transactions that retry, and the doorbell.
//!
//! Owns how connections are opened ([`connect`]) and given out ([`pool`]), what is known of the database's health
//! ([`watch`], [`writes`]) and how a transaction runs; knows no table but that of commit marks, by which [`replica`]
//! tells whether somebody's own writes can be seen. `SQLite` gets one writing connection (`BEGIN IMMEDIATE`, so that a
//! transaction holds the write lock before it reads) and a pool of read-only ones; `PostgreSQL` gets one pool at READ
//! COMMITTED, where each decision is made on rows locked with `FOR UPDATE`. Both have a connection beside those for the
//! event tail.
//!
//! A use case hands [`Db::transact`] a closure. It is run again, a bounded number of times, when the database says that
//! only the moment was wrong (serialisation failure, deadlock, busy), so it must have no effect outside the
//! transaction. After a commit that left events the helper rings the doorbell that wakes the event tail: nobody else
//! does anything after a commit. One that fails is rolled back before its error is handed on. One whose future is dropped
//! is rolled back unless it was committing; then the commit may be done, and its events are found like any others.
//!
//! On `SQLite` each statement is handed to the connection's thread and its answer handed back, which costs more than
//! most statements do. Writes whose answer nobody needs therefore wait ([`Tx::later`]) and go over together with the
//! next statement, or with the commit; so does the transaction's `BEGIN`. Rows that a transaction does not read again wait
//! for its end on both databases ([`Tx::defer`]) and are written as one statement.
//!
//! Each `BEGIN` on `PostgreSQL` names its isolation level, and so does each connection for what runs outside of one: a
//! server or a role with another default changes nothing here.

use std::{
    future::Future,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, QueryTrait, Statement, Value,
    prelude::async_trait::async_trait,
};
use tokio::sync::Notify;

use crate::{
    error::{AsDbError, DbErrorKind},
    ids::{Ids, UserId},
    lifecycle::Lifecycle,
};

mod connect;
mod deferred;
pub mod grants;
pub mod points;
mod pool;
pub mod receipt;
pub mod replica;
mod settings;
pub mod share;
mod standing;
mod stop;
mod watch;
mod writes;

use points::{Point, Points, Witness};
use pool::{Common, Deadlines, Purpose};
use receipt::{Arrivals, Left, Receipt};
use replica::Snapshot;
use share::ShareSizes;
use writes::Writes;

pub use pool::{Pool, Transaction};
pub use settings::DatabaseSettings;

/// How long an answer may take beyond the time that its statement may run for.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// How long the tail waits for an answer, whatever statements may take otherwise: all deliveries wait with it. A statement
/// that the server still runs then is not undone: what it numbers stays numbered.
const TAIL_ANSWER: Duration = Duration::from_secs(5);

/// What the code relies on: each statement sees what was committed before it, and a row that was waited for is looked at
/// anew. Decisions are made on locked rows.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Runs of one transaction before its error is handed to the caller.
const ATTEMPTS: u32 = 10;

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

/// Where reads outside a transaction go.
#[derive(Clone, Debug)]
pub enum Reader {
    /// The primary; each statement sees what is committed when it begins.
    Pool(Pool),
    /// One state of a replica, for all statements of one operation.
    Snapshot(Arc<Snapshot>),
}

impl Db {
    /// Opens the pools; a missing `SQLite` file is created. Transactions that are dropped on the way end in tasks of
    /// `lifecycle`.
    pub async fn connect(settings: &DatabaseSettings, ids: Ids, lifecycle: Lifecycle) -> Result<Self, DbErr> {
        Self::open(settings, ids, lifecycle, Points::default()).await
    }

    /// The same for a simulation, whose `witness` is asked at each [`Point`].
    pub async fn simulated(
        settings: &DatabaseSettings,
        ids: Ids,
        lifecycle: Lifecycle,
        witness: Arc<dyn Witness>,
    ) -> Result<Self, DbErr> {
        Self::open(settings, ids, lifecycle, Points::new(witness)).await
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

    /// The same database with its reads answered from `snapshot`.
    #[must_use]
    pub fn at(&self, snapshot: Arc<Snapshot>) -> Self {
        Self { reader: Arc::new(Reader::Snapshot(snapshot)), ..self.clone() }
    }

    /// The same database with `author`'s mark on each commit, where a replica may be read.
    #[must_use]
    pub fn on_behalf_of(&self, author: UserId) -> Self {
        Self { author: self.shared.marks.then_some(author), ..self.clone() }
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

    /// Whether commits are marked.
    pub fn marks_commits(&self) -> bool {
        self.shared.marks
    }

    /// How many of `user`'s commits are marked.
    pub async fn commits_of(&self, user: UserId) -> Result<i64, DbErr> {
        let statement = self.statement("SELECT commits FROM commit_marks WHERE user_id = ?", [user.into()]);
        self.reader.query_one_raw(statement).await?.map_or(Ok(0), |row| row.try_get("", "commits"))
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
    pub async fn snapshot(&self) -> Result<Transaction, DbErr> {
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

    /// Sets the gauges of the pools: connections that are open, and those of them that are in use.
    pub fn report_pools(&self) {
        let report = |name: &'static str, pool: &Pool| {
            let (size, in_use) = pool.usage();
            metrics::gauge!("lancewire_database_connections", "pool" => name).set(size);
            metrics::gauge!("lancewire_database_connections_in_use", "pool" => name).set(in_use);
        };
        report("tail", &self.shared.tail);
        match self.shared.backend {
            Backend::Postgres => report("primary", &self.shared.writer),
            Backend::Sqlite => {
                report("writer", &self.shared.writer);
                if let Reader::Pool(readers) = &*self.reader {
                    report("readers", readers);
                }
            }
        }
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

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.query_one_raw(self.statement("SELECT 1", [])).await.map(drop)
    }

    /// Runs `work` in one transaction and commits if it succeeds; see the module for what it must not do.
    pub async fn transact<T, E, W, F>(&self, work: W) -> Result<T, E>
    where
        W: Fn(Tx) -> F,
        F: Future<Output = Result<T, E>>,
        E: From<DbErr> + AsDbError,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.attempt(&work).await {
                Ok((value, left)) => {
                    if left {
                        self.shared.common.doorbell.notify_one();
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            let retry = error.as_db_error().is_some_and(|error| DbErrorKind::of(error) == DbErrorKind::Retry);
            if !retry || attempt >= ATTEMPTS {
                if let Some(error) = error.as_db_error() {
                    self.shared.writes.note(self.shared.backend, error);
                }
                return Err(error);
            }
            metrics::counter!("lancewire_transaction_retries_total").increment(1);
            // Up to 2, 4, 8 .. 256 ms, drawn at random so that two that collided do not collide again.
            tokio::time::sleep(Duration::from_micros(self.shared.ids.below(1_000 << attempt.min(8)))).await;
        }
    }

    /// Once. Says, too, whether it left anything in the event log.
    async fn attempt<T, E, W, F>(&self, work: &W) -> Result<(T, bool), E>
    where
        W: Fn(Tx) -> F,
        F: Future<Output = Result<T, E>>,
        E: From<DbErr>,
    {
        let (writer, points) = (&self.shared.writer, &self.shared.common.points);
        points.reach(Point::Begin).await;
        let (transaction, waiting) = match self.shared.backend {
            Backend::Sqlite => (writer.begin_by_first_statement().await?, vec![command("BEGIN IMMEDIATE")]),
            Backend::Postgres => (writer.begin(BEGIN).await?, Vec::new()),
        };
        let running = Running {
            transaction,
            waiting: Mutex::new(waiting),
            deferred: Mutex::default(),
            left: Mutex::default(),
            points: points.clone(),
        };
        let tx = Tx(Arc::new(running));
        let outcome = match work(tx.clone()).await {
            // With the deferred writes, so that the row is held for no longer than the end of the transaction takes.
            Ok(value) => self.mark(&tx).await.map(|()| value).map_err(E::from),
            Err(error) => Err(error),
        };
        let tx = Arc::into_inner(tx.0).ok_or_else(|| DbErr::Custom("the transaction outlived its closure".into()))?;
        match outcome {
            Ok(value) => {
                // Before the commit, or the tail might come to the event before anybody waits for it.
                let left = tx.left();
                let receipt = self.receipt.as_ref().zip(left);
                let place = receipt.and_then(|(_, left)| Receipt::expect(&self.shared.arrivals, left));
                points.reach(Point::Commit).await;
                tx.commit().await?;
                points.reach(Point::Committed).await;
                if let Some((receipt, _)) = receipt {
                    receipt.committed(place);
                }
                Ok((value, left.is_some()))
            }
            Err(error) => {
                // Nobody waits for its locks when the error is told. If it fails it is tried again, beside us.
                let _ = tx.transaction.rollback().await;
                points.reach(Point::RolledBack).await;
                Err(error)
            }
        }
    }

    /// Marks a commit as its author's.
    async fn mark(&self, tx: &Tx) -> Result<(), DbErr> {
        let Some(author) = self.author else { return Ok(()) };
        let sql = "INSERT INTO commit_marks (user_id, commits) VALUES (?, 1) \
                   ON CONFLICT (user_id) DO UPDATE SET commits = commit_marks.commits + 1";
        tx.defer(sql, [author.into()]).await
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

#[async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Pool(pool) => pool.get_database_backend(),
            Self::Snapshot(_) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_raw(statement).await,
            Self::Snapshot(snapshot) => snapshot.note(snapshot.transaction().execute_raw(statement).await),
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_unprepared(sql).await,
            Self::Snapshot(snapshot) => snapshot.note(snapshot.transaction().execute_unprepared(sql).await),
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => {
                pool.points().reach(Point::Read).await;
                pool.query_one_raw(statement).await
            }
            Self::Snapshot(snapshot) => snapshot.note(snapshot.transaction().query_one_raw(statement).await),
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => {
                pool.points().reach(Point::Read).await;
                pool.query_all_raw(statement).await
            }
            Self::Snapshot(snapshot) => snapshot.note(snapshot.transaction().query_all_raw(statement).await),
        }
    }
}

/// A running transaction. Cheap to clone into closures; all clones are gone when the closure ends.
#[derive(Clone, Debug)]
pub struct Tx(Arc<Running>);

/// What the clones of a [`Tx`] share, and what runs the queries of sea-orm.
#[derive(Debug)]
pub struct Running {
    transaction: Transaction,
    /// `BEGIN` and writes that go over with the next statement, in order. Always empty on `PostgreSQL`, whose protocol
    /// takes one prepared statement at a time.
    waiting: Mutex<Vec<Statement>>,
    /// Writes that go over before the commit, as one; see [`deferred`].
    deferred: Mutex<Vec<Statement>>,
    left: Mutex<Option<Left>>,
    points: Points,
}

impl Deref for Tx {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl Tx {
    /// Which database this runs on.
    pub fn backend(&self) -> Backend {
        if self.get_database_backend() == DbBackend::Sqlite { Backend::Sqlite } else { Backend::Postgres }
    }

    /// Runs one statement and returns its rows; `?` stands for each value.
    pub async fn query(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<QueryResult>, DbErr> {
        self.query_all_raw(statement(self.backend(), sql, values)).await
    }

    /// Runs one write and returns how many rows it changed; `?` stands for each value.
    pub async fn execute<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<u64, DbErr> {
        Ok(self.execute_raw(statement(self.backend(), sql, values)).await?.rows_affected())
    }

    /// Notes what stands in the event log when this is committed. The last word counts.
    pub fn leaves(&self, left: Left) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
    }

    /// A write whose answer nobody needs; it returns no rows and `?` stands for each value.
    ///
    /// It runs before whatever comes after it, at the latest before the commit; what is wrong with it may come to light
    /// only then. So nothing that a caller must tell apart may rest on it, such as a key that may be taken.
    pub async fn later<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<(), DbErr> {
        self.put_off(statement(self.backend(), sql, values)).await
    }

    /// The same for a write that sea-orm builds.
    pub async fn later_built(&self, write: &impl QueryTrait) -> Result<(), DbErr> {
        self.put_off(write.build(self.get_database_backend())).await
    }

    /// A write at the end of the transaction, together with the others like it; `?` stands for each value.
    ///
    /// For rows that this transaction does not read again: no statement of it sees them. It must not depend on another
    /// deferred write, and each row may be written by one of them only. Rows of one table that come by the same statement
    /// are inserted in their order. What is wrong with one comes to light at the commit, as with [`Tx::later`].
    pub async fn defer<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<(), DbErr> {
        self.defer_statement(statement(self.backend(), sql, values)).await
    }

    /// The same for a write that sea-orm builds.
    pub async fn defer_built(&self, write: &impl QueryTrait) -> Result<(), DbErr> {
        self.defer_statement(write.build(self.get_database_backend())).await
    }

    async fn defer_statement(&self, write: Statement) -> Result<(), DbErr> {
        let held = |statement: &Statement| statement.values.as_ref().map_or(0, |values| values.0.len());
        let many = {
            let mut deferred = self.deferred();
            deferred.push(write);
            deferred.iter().map(held).sum::<usize>() >= deferred::MOST_VALUES
        };
        if many { self.write_deferred().await } else { Ok(()) }
    }

    async fn put_off(&self, write: Statement) -> Result<(), DbErr> {
        match self.backend() {
            Backend::Sqlite => {
                self.waiting().push(write);
                Ok(())
            }
            Backend::Postgres => self.transaction.execute_raw(write).await.map(|_| ()),
        }
    }
}

impl Running {
    fn left(&self) -> Option<Left> {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Statement>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deferred(&self) -> std::sync::MutexGuard<'_, Vec<Statement>> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over the deferred writes: on `SQLite` they go with what comes next, on `PostgreSQL` they run now.
    async fn write_deferred(&self) -> Result<(), DbErr> {
        let deferred = std::mem::take(&mut *self.deferred());
        let backend = self.get_database_backend();
        let statements = deferred::together(backend, deferred);
        if backend == DbBackend::Sqlite {
            self.waiting().extend(statements);
            return Ok(());
        }
        for statement in statements {
            self.transaction.execute_raw(statement).await?;
        }
        Ok(())
    }

    /// Runs what waits.
    async fn catch_up(&self) -> Result<(), DbErr> {
        let waiting = std::mem::take(&mut *self.waiting());
        match joined(waiting) {
            Some(statement) => self.transaction.execute_raw(statement).await.map(drop),
            None => Ok(()),
        }
    }

    async fn commit(self) -> Result<(), DbErr> {
        self.write_deferred().await?;
        let mut waiting = self.waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return self.transaction.commit().await;
        }
        let commit = command("COMMIT");
        waiting.push(commit.clone());
        self.transaction.commit_by(joined(waiting).unwrap_or(commit)).await
    }

    /// A statement with all that waits before it. What waits returns no rows, so the rows of both are those of the
    /// last.
    fn after_what_waits(&self, last: Statement) -> Statement {
        let mut waiting = std::mem::take(&mut *self.waiting());
        if waiting.is_empty() {
            return last;
        }
        waiting.push(last.clone());
        joined(waiting).unwrap_or(last)
    }
}

#[async_trait]
impl ConnectionTrait for Running {
    fn get_database_backend(&self) -> DbBackend {
        self.transaction.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.points.reach(Point::Statement).await;
        // Alone: the rows that it changes are counted.
        self.catch_up().await?;
        self.transaction.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.points.reach(Point::Statement).await;
        self.catch_up().await?;
        self.transaction.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.points.reach(Point::Statement).await;
        self.transaction.query_one_raw(self.after_what_waits(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.points.reach(Point::Statement).await;
        self.transaction.query_all_raw(self.after_what_waits(statement)).await
    }
}

/// A statement for `SQLite` that is nothing but a word or two.
fn command(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}

/// Several statements as one command, which sqlx takes apart again on `SQLite`; each takes its share of the values.
fn joined(statements: Vec<Statement>) -> Option<Statement> {
    statements.into_iter().reduce(|mut all, next| {
        all.sql.push_str("; ");
        all.sql.push_str(&next.sql);
        match (&mut all.values, next.values) {
            (Some(values), Some(more)) => values.0.extend(more.0),
            (values @ None, more) => *values = more,
            (Some(_), None) => {}
        }
        all
    })
}

fn statement(backend: Backend, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    let (backend, sql) = match backend {
        Backend::Sqlite => (DbBackend::Sqlite, sql.to_owned()),
        Backend::Postgres => {
            let mut parts = sql.split('?');
            let first = parts.next().unwrap_or_default().to_owned();
            let numbered = parts.enumerate().fold(first, |sql, (place, part)| format!("{sql}${}{part}", place + 1));
            (DbBackend::Postgres, numbered)
        }
    };
    Statement::from_sql_and_values(backend, sql, values)
}

#[cfg(test)]
mod tests;
