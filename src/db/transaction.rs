//! Transactions that are run again when only the moment was wrong, and the writes that wait for their end.
//!
//! A use case hands [`Db::transact`] a closure. It is run again, a bounded number of times, when the database says that
//! only the moment was wrong (serialisation failure, deadlock, busy), so it must have no effect outside the
//! transaction. After a commit that left events the helper rings the doorbell that wakes the event tail: nobody else
//! does anything after a commit. One that fails is rolled back before its error is handed on. One whose future is dropped
//! is rolled back unless it was committing; then the commit may be done, and its events are found like any others.
//!
//! On `SQLite` each statement is handed to the connection's thread and its answer handed back, which costs more than
//! most statements do. Writes whose answer nobody needs therefore wait ([`Tx::pipeline`]) and go over together with the
//! next statement, or with the commit; so does the transaction's `BEGIN`. Rows that a transaction does not read again
//! wait for its end on both databases ([`Tx::defer`]) and are written as one statement.
//!
//! Each `BEGIN` on `PostgreSQL` names its isolation level, and so does each connection for what runs outside of one: a
//! server or a role with another default changes nothing here.

use std::{future::Future, ops::Deref, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, QueryTrait, Statement, Value,
    prelude::async_trait::async_trait,
};

use super::{
    Backend, Db, DbTransaction, deferred,
    points::{Point, Points},
    receipt::{Left, Receipt},
    statement::{command, joined, statement},
};
use crate::error::{AsDbError, DbErrorKind};

/// What the code relies on: each statement sees what was committed before it, and a row that was waited for is looked at
/// anew. Decisions are made on locked rows.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Runs of one transaction before its error is handed to the caller.
const ATTEMPTS: u32 = 10;

impl Db {
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
                // Nobody waits for its locks when the error is returned. If it fails it is tried again, beside us.
                let _ = tx.transaction.rollback().await;
                points.reach(Point::RolledBack).await;
                Err(error)
            }
        }
    }
}

/// A running transaction. Cheap to clone into closures; all clones are gone when the closure ends.
#[derive(Clone, Debug)]
pub struct Tx(Arc<Running>);

/// What the clones of a [`Tx`] share, and what runs the queries of sea-orm.
#[derive(Debug)]
pub struct Running {
    transaction: DbTransaction,
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
        *self.left.lock() = Some(left);
    }

    /// A write whose answer nobody needs; it returns no rows and `?` stands for each value.
    ///
    /// It runs before whatever comes after it, at the latest before the commit; what is wrong with it may come to light
    /// only then. So nothing that a caller must tell apart may rest on it, such as a key that may be taken.
    pub async fn pipeline<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<(), DbErr> {
        self.pipeline_statement(statement(self.backend(), sql, values)).await
    }

    /// The same for a write that sea-orm builds.
    pub async fn pipeline_built(&self, write: &impl QueryTrait) -> Result<(), DbErr> {
        self.pipeline_statement(write.build(self.get_database_backend())).await
    }

    /// A write at the end of the transaction, together with the others like it; `?` stands for each value.
    ///
    /// For rows that this transaction does not read again: no statement of it sees them. It must not depend on another
    /// deferred write, and each row may be written by one of them only. Rows of one table that come by the same statement
    /// are inserted in their order. What is wrong with one comes to light at the commit, as with [`Tx::pipeline`].
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

    async fn pipeline_statement(&self, write: Statement) -> Result<(), DbErr> {
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
        *self.left.lock()
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Vec<Statement>> {
        self.waiting.lock()
    }

    fn deferred(&self) -> MutexGuard<'_, Vec<Statement>> {
        self.deferred.lock()
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
        let mut waiting = self.waiting.into_inner();
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
