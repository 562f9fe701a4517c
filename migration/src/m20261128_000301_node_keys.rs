//! Which signing keys each node knows, so that a new one signs only when all nodes can verify it.
//!
//! A row a node, which it writes anew every few seconds and takes away when it stops; one that was not written for a while
//! is of a node that is no more. Public keys only. The same table stands unused in `SQLite`, which is one node. Nodes of a
//! version before this one write no rows, and nobody waits for them.

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
        let (uuid, time, end) = match manager.get_database_backend() {
            DbBackend::Sqlite => ("BLOB", "TEXT", "STRICT"),
            _ => ("uuid", "timestamptz", ""),
        };
        let sql = format!(
            "CREATE TABLE node_keys (node_id {uuid} NOT NULL CONSTRAINT node_keys_pkey PRIMARY KEY, \
             keys TEXT NOT NULL, signing_kid TEXT NOT NULL, seen_at {time} NOT NULL) {end}"
        );
        manager.get_connection().execute_unprepared(&sql).await.map(drop)
    }
}
