//! Indexes on tables that are large and in use.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend},
};

/// Makes an index, on `PostgreSQL` beside the writes of other nodes. For steps without a transaction only; running it
/// again does no harm: what an attempt before it has left is dropped first, since that may be half built.
pub async fn create_index(manager: &SchemaManager<'_>, name: &str, on: &str) -> Result<(), DbErr> {
    let concurrently = if manager.get_database_backend() == DbBackend::Postgres { "CONCURRENTLY " } else { "" };
    // One statement at a time: several would be one transaction.
    for sql in
        [format!("DROP INDEX {concurrently}IF EXISTS {name}"), format!("CREATE INDEX {concurrently}{name} ON {on}")]
    {
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}
