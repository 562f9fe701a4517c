//! The first schema: accounts, jobs, claims, the ledger, notifications, the event log.
//!
//! `tables.sql` is shared: its few column types that differ stand in braces. Text search, append-only triggers and
//! the position stamp are each database's own.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::compat;

const TABLES: &str = include_str!("initial/tables.sql");
const SQLITE: &str = include_str!("initial/sqlite.sql");
const POSTGRES: &str = include_str!("initial/postgres.sql");

/// What stands for each placeholder of `tables.sql`: its name, then `SQLite`'s word and `PostgreSQL`'s.
const WORDS: [(&str, &str, &str); 10] = [
    ("{uuid}", "BLOB", "uuid"),
    ("{time}", "TEXT", "timestamptz"),
    ("{bool}", "INTEGER", "boolean"),
    ("{int8}", "INTEGER", "bigint"),
    ("{int4}", "INTEGER", "integer"),
    ("{bytes}", "BLOB", "bytea"),
    ("{true}", "1", "true"),
    ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("{position}", "INTEGER GENERATED ALWAYS AS (id) VIRTUAL", "bigint"),
    ("{strict}", "STRICT", ""),
];

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sqlite = manager.get_database_backend() == DbBackend::Sqlite;
        let tables = WORDS.iter().fold(TABLES.to_owned(), |sql, (name, on_sqlite, on_postgres)| {
            sql.replace(name, if sqlite { on_sqlite } else { on_postgres })
        });
        let connection = manager.get_connection();
        connection.execute_unprepared(&tables).await?;
        connection.execute_unprepared(if sqlite { SQLITE } else { POSTGRES }).await?;
        compat::require(manager, self.name()).await
    }
}
