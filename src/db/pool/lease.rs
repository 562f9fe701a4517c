//! A connection that is in use, and the statements that are run on it.

use std::{
    future::Future,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sea_orm::{
    DbErr, ExecResult, QueryResult, RuntimeErr, SqlxError, Statement, Values,
    sqlx::{self, AssertSqlSafe, Connection as _, Executor as _},
};
use sea_query_sqlx::SqlxValues;
use tokio::time::timeout;

use super::{
    LONGEST_STEP, PROMPT, Permit, Shared,
    connection::{Connection, Raw},
};
use crate::error::is_gone;

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

/// What is known of the transaction on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionPhase {
    /// There is none.
    None,
    /// There may be one. Nobody else gets the connection before it is over: it is closed sooner.
    Open,
    /// The same, and a statement of it has failed.
    Failed,
}

/// A connection that is in use.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Option<Connection>,
    /// Nobody has tried it since it was used last.
    pub(super) was_idle: bool,
    /// Whether its last statement was waited for, and did not show that it is dead.
    pub(super) whole: bool,
    pub(super) transaction: TransactionPhase,
    pub(super) pool: Arc<Shared>,
    /// Taken only when it is dropped.
    pub(super) seat: Option<Permit>,
}

impl Lease {
    /// The connection, for one statement.
    pub(super) fn raw(&mut self) -> Result<&mut Raw, DbErr> {
        self.whole = false;
        let connection = self.connection.as_mut();
        connection.map(|connection| &mut connection.raw).ok_or_else(|| DbErr::Custom("no connection".to_owned()))
    }

    /// The statement is done.
    pub(super) fn done<T>(&mut self, outcome: Result<T, SqlxError>, wrap: fn(RuntimeErr) -> DbErr) -> Result<T, DbErr> {
        let outcome = outcome.map_err(|error| wrap(RuntimeErr::SqlxError(error.into())));
        if outcome.is_err() && self.transaction == TransactionPhase::Open {
            self.transaction = TransactionPhase::Failed;
        }
        self.whole = !outcome.as_ref().is_err_and(is_dead);
        if let Some(dead) = self.connection.take_if(|_| !self.whole) {
            let generation = dead.generation;
            drop(dead);
            self.pool.invalidate(generation);
        }
        outcome
    }

    /// Whether nothing is wrong but that the connection had been closed by the time it was taken from those that rest.
    pub(super) fn was_dead<T>(&self, outcome: &Result<T, DbErr>) -> bool {
        self.was_idle && outcome.as_ref().is_err_and(is_dead)
    }

    /// Ends a transaction for which nobody waits any more, wherever it stands: its last statement may still run, and may
    /// have been its commit.
    pub(super) async fn abandon(mut self) {
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

    pub(super) async fn ping(&mut self) -> Result<(), DbErr> {
        let within = self.pool.ages().then_some(PROMPT);
        let outcome = on_either!(self.raw()?, connection => in_time(within, connection.ping()).await);
        self.done(outcome, DbErr::Conn)
    }

    /// `BEGIN`, `COMMIT` or `ROLLBACK`.
    pub(super) async fn command(&mut self, sql: &str) -> Result<(), DbErr> {
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
    pub(super) async fn end(&mut self, how: &str) -> Result<(), DbErr> {
        self.command(how).await?;
        self.transaction = TransactionPhase::None;
        Ok(())
    }

    pub(super) fn count(&self) {
        self.pool.common.statements.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("lancewire_database_statements_total").increment(1);
    }

    pub(super) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        self.count();
        let within = self.pool.deadlines.answer;
        let outcome = on_either!(self.raw()?, connection => {
            in_time(within, connection.execute(AssertSqlSafe(sql))).await.map(Into::into)
        });
        self.done(outcome, DbErr::Exec)
    }

    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<ExecResult, DbErr> {
        self.count();
        let (sql, values) = parts(statement);
        let within = self.pool.deadlines.answer;
        let outcome = on_either!(self.raw()?, connection => {
            in_time(within, sqlx::query_with(sql, values).execute(&mut **connection)).await.map(Into::into)
        });
        self.done(outcome, DbErr::Exec)
    }

    pub(super) async fn query_one(&mut self, statement: &Statement) -> Result<Option<QueryResult>, DbErr> {
        self.count();
        let (sql, values) = parts(statement);
        let within = self.pool.deadlines.answer;
        let outcome = on_either!(self.raw()?, connection => {
            let row = in_time(within, sqlx::query_with(sql, values).fetch_optional(&mut **connection)).await;
            row.map(|row| row.map(Into::into))
        });
        self.done(outcome, DbErr::Query)
    }

    pub(super) async fn query_all(&mut self, statement: &Statement) -> Result<Vec<QueryResult>, DbErr> {
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
        if self.transaction != TransactionPhase::None {
            if let Raw::Sqlite(connection) = &mut connection.raw {
                connection.close_on_drop();
            }
        } else if self.whole {
            self.pool.check_in(connection);
        } else {
            self.pool.recover(connection, self.seat.take());
        }
    }
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
pub(super) fn is_dead(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    matches!(**error, SqlxError::Protocol(_)) || is_gone(error)
}
