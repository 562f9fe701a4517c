//! The indexes of the ledger's chains: one number an entry within its account, and the entries that have none yet.
//!
//! A step of its own, since on `PostgreSQL` they are made beside the traffic: there may be millions of entries, and nobody
//! is to wait for them. One that was cut off leaves an invalid index behind, which is made anew.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const INDEXES: [(&str, &str); 2] = [
    ("entries_sequence_key", "CREATE UNIQUE INDEX {how} entries_sequence_key ON entries (account_id, sequence)"),
    (
        "entries_unchained_idx",
        "CREATE INDEX {how} entries_unchained_idx ON entries (account_id, journal_id, place) WHERE sequence IS NULL",
    ),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let how = if manager.get_database_backend() == DbBackend::Postgres { "CONCURRENTLY" } else { "" };
        for (name, sql) in INDEXES {
            let gone = format!("DROP INDEX {how} IF EXISTS {name}");
            manager.get_connection().execute_unprepared(&gone).await?;
            manager.get_connection().execute_unprepared(&sql.replace("{how}", how)).await?;
        }
        Ok(())
    }
}
