//! How far each named consumer of the log has come, and which node works for it.
//!
//! `position` is that of the last event worked on; `attempt` counts the takings of the lease, and only the last one may
//! write here; `leased_until_ms` is by the database's clock, in milliseconds since 1970. See the program's
//! `events::consumers`. The version before knows no consumers.

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
        let (int8, end) = match manager.get_database_backend() {
            DbBackend::Sqlite => ("INTEGER", "STRICT"),
            _ => ("bigint", "WITH (fillfactor = 50)"),
        };
        let sql = format!(
            "CREATE TABLE event_consumers (name TEXT NOT NULL CONSTRAINT event_consumers_pkey PRIMARY KEY, \
             position {int8} NOT NULL CONSTRAINT event_consumers_position_check CHECK (position >= 0), \
             attempt {int8} NOT NULL CONSTRAINT event_consumers_attempt_check CHECK (attempt >= 0), \
             leased_until_ms {int8} NOT NULL) {end}"
        );
        manager.get_connection().execute_unprepared(&sql).await.map(drop)
    }
}
