//! A salt beside a refresh token that was used: with the token itself it makes the next one again.
//!
//! Two tabs, or a client whose answer was lost, send one token twice within seconds and are to get the same next one;
//! tokens are stored hashed, so it cannot be looked up. The salt alone opens nothing, and is taken away when the next
//! token is used. Rows that an older program writes have none: there a second use ends the session, as before.

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
        let bytes = match manager.get_database_backend() {
            DbBackend::Sqlite => "BLOB",
            _ => "bytea",
        };
        let sql = format!("ALTER TABLE refresh_tokens ADD COLUMN successor_salt {bytes}");
        manager.get_connection().execute_unprepared(&sql).await.map(drop)
    }
}
