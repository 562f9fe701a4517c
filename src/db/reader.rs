//! Where reads outside of a transaction are answered: by the primary, or by another place that an operation was given.

use std::{fmt, sync::Arc};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, prelude::async_trait::async_trait,
};

use super::{Pool, points::Point};

/// A place that answers reads instead of the primary, such as one state of a [`replica`](super::replica). This trait is
/// all that the rest of the house sees of it: services hold a [`Db`](super::Db) and do not know where it reads.
#[async_trait]
pub trait ReadSource: fmt::Debug + Send + Sync {
    /// Which database it is.
    fn backend(&self) -> DbBackend;
    /// As [`ConnectionTrait::execute_raw`]; what it cannot do is an error.
    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr>;
    /// As [`ConnectionTrait::execute_unprepared`]; what it cannot do is an error.
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr>;
    /// As [`ConnectionTrait::query_one_raw`].
    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr>;
    /// As [`ConnectionTrait::query_all_raw`].
    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr>;
}

/// Where reads outside a transaction go.
#[derive(Clone, Debug)]
pub enum Reader {
    /// The primary; each statement sees what is committed when it begins.
    Pool(Pool),
    /// Another place, for all statements of one operation.
    Elsewhere(Arc<dyn ReadSource>),
}

#[async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Pool(pool) => pool.get_database_backend(),
            Self::Elsewhere(source) => source.backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_raw(statement).await,
            Self::Elsewhere(source) => source.execute_raw(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Pool(pool) => pool.execute_unprepared(sql).await,
            Self::Elsewhere(source) => source.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => {
                pool.points().reach(Point::Read).await;
                pool.query_one_raw(statement).await
            }
            Self::Elsewhere(source) => source.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Pool(pool) => {
                pool.points().reach(Point::Read).await;
                pool.query_all_raw(statement).await
            }
            Self::Elsewhere(source) => source.query_all_raw(statement).await,
        }
    }
}
