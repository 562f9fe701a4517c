//! How many commits each user has made, by which a read replica is known to show somebody's own writes.
//!
//! One narrow row a user, counted up by each of their mutations where a replica is read; no foreign key, for the rows
//! of users are never deleted and this is written with each mutation. Half of each page is left free, so that a new
//! count lands beside the old one and touches no index. The same table stands unused in `SQLite`.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (uuid, int8, end) = match manager.get_database_backend() {
            DbBackend::Sqlite => ("BLOB", "INTEGER", "STRICT"),
            _ => ("uuid", "bigint", "WITH (fillfactor = 50)"),
        };
        let sql = format!(
            "CREATE TABLE commit_marks (user_id {uuid} NOT NULL CONSTRAINT commit_marks_pkey PRIMARY KEY, \
             commits {int8} NOT NULL CONSTRAINT commit_marks_commits_check CHECK (commits >= 1)) {end}"
        );
        manager.get_connection().execute_unprepared(&sql).await.map(drop)
    }
}
