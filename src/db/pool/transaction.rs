//! A transaction on one connection, without anything that runs it again: [`Db::transact`](crate::db::Db::transact) does.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, prelude::async_trait::async_trait,
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::lease::{Lease, TransactionPhase};

/// A transaction. Dropped before its end, it is rolled back.
#[derive(Debug)]
pub struct DbTransaction {
    pub(super) backend: DbBackend,
    /// Taken only when it is dropped.
    pub(super) lease: Mutex<Option<Lease>>,
}

impl DbTransaction {
    /// Commits. After a statement that failed there is nothing to commit, whatever became of its error: `PostgreSQL`
    /// would roll back and call that a success.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.unfailed().await?.end("COMMIT").await
    }

    /// Commits by a statement that ends with `COMMIT`.
    pub(in crate::db) async fn commit_by(self, last: Statement) -> Result<(), DbErr> {
        let mut lease = self.unfailed().await?;
        lease.execute(&last).await?;
        lease.transaction = TransactionPhase::None;
        Ok(())
    }

    /// Undoes all of it, and waits for that.
    pub async fn rollback(self) -> Result<(), DbErr> {
        match &mut *self.lease.lock().await {
            Some(lease) if lease.transaction != TransactionPhase::None => lease.end("ROLLBACK").await,
            _ => Ok(()),
        }
    }

    /// The connection, for a statement.
    pub(super) async fn lease(&self) -> Result<MappedMutexGuard<'_, Lease>, DbErr> {
        let lease = MutexGuard::try_map(self.lease.lock().await, Option::as_mut);
        let mut lease = lease.map_err(|_| DbErr::Custom("this transaction is over".to_owned()))?;
        if lease.transaction == TransactionPhase::None {
            lease.transaction = TransactionPhase::Open;
        }
        Ok(lease)
    }

    async fn unfailed(&self) -> Result<MappedMutexGuard<'_, Lease>, DbErr> {
        let lease = self.lease().await?;
        if lease.transaction == TransactionPhase::Failed {
            return Err(DbErr::Custom(
                "a statement of this transaction has failed, so it cannot be committed".to_owned(),
            ));
        }
        Ok(lease)
    }
}

#[async_trait]
impl ConnectionTrait for DbTransaction {
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

impl Drop for DbTransaction {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.get_mut().take().filter(|lease| lease.transaction != TransactionPhase::None) {
            let lifecycle = lease.pool.common.lifecycle.clone();
            drop(lifecycle.spawn(lease.abandon()));
        }
    }
}
