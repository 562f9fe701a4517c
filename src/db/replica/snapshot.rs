//! One state of the replica, from which all of an operation is answered.

use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, prelude::async_trait::async_trait,
};

use super::{Absence, PassedOver, Replica, count_passed_over, sqlstate};
use crate::{
    db::{DbTransaction, ReadSource},
    ids::EventId,
};

/// One state of the replica, for one operation. Ends when it is dropped.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) transaction: DbTransaction,
    pub(super) place: (i64, Option<EventId>),
    pub(super) broken: AtomicBool,
    pub(super) replica: Replica,
}

impl Snapshot {
    /// The last position that the event log has given out in this state, and what stands there if that is kept.
    pub const fn place(&self) -> (i64, Option<EventId>) {
        self.place
    }

    /// Whether all that was asked was answered. What was made of less is to be thrown away and made on the primary.
    pub fn held(&self) -> bool {
        let broken = self.broken.load(Ordering::Relaxed);
        if broken {
            count_passed_over(PassedOver::Failed);
        }
        !broken
    }

    /// Takes note of a statement's outcome.
    fn note<T>(&self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        if let Err(error) = &outcome {
            let code = sqlstate(error);
            // What took too long here would take too long there.
            if code.as_deref() != Some("57014") {
                self.broken.store(true, Ordering::Relaxed);
            }
            // It goes down or has gone. All else is the statement's affair: a conflict with what is replayed, say.
            if code.is_none_or(|code| ["57P", "08", "53", "58"].iter().any(|class| code.starts_with(class))) {
                self.replica.leave_out(&Absence::Unreachable(error.clone()));
            }
        }
        outcome
    }
}

#[async_trait]
impl ReadSource for Snapshot {
    fn backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.note(self.transaction.execute_raw(statement).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.note(self.transaction.execute_unprepared(sql).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.note(self.transaction.query_one_raw(statement).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.note(self.transaction.query_all_raw(statement).await)
    }
}
