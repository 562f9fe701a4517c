//! Sessions that end by the thousand at once.
//!
//! `users.session_epoch` counts the moments at which all sessions of a user ended together, and `sessions.epoch` says in
//! which of these a session began: one from an earlier epoch than its user's is over, whatever its own row says. So one row
//! ends any number of sessions, and the rows themselves are tidied afterwards, in small steps.
//!
//! The version before knows neither column. Sessions that it opens beside this one have no epoch: they are ended row by row
//! (`sessions_no_epoch_idx` finds them), as it does itself.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

/// With its default the column is there at once for all rows; without it new rows of the version before have none.
const POSTGRES: &str = "
ALTER TABLE users ADD COLUMN session_epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN epoch bigint DEFAULT 0;
ALTER TABLE sessions ALTER COLUMN epoch DROP DEFAULT;
";

const SQLITE: &str = "
ALTER TABLE users ADD COLUMN session_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN epoch INTEGER DEFAULT 0;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = if manager.get_database_backend() == DbBackend::Sqlite { SQLITE } else { POSTGRES };
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }
}
