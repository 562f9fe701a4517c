//! Which versions of the program may use the schema.
//!
//! A version of the program is known by the last step that it knows. Most steps only add: every older program goes on
//! as before beside the new one. A step that takes away what an older program uses says so by [`require`], and from
//! then on older ones refuse to start and running ones fall out of readiness.

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

/// From this step on the schema is only for programs that know `version`, the name of this step or of an earlier one.
/// Never lowers what an earlier step has asked for.
pub async fn require(manager: &SchemaManager<'_>, version: &str) -> Result<(), DbErr> {
    let version = version.replace('\'', "''");
    let sql = format!(
        "INSERT INTO schema_compat (id, min_version) VALUES (1, '{version}') ON CONFLICT (id) DO UPDATE \
         SET min_version = excluded.min_version WHERE schema_compat.min_version < excluded.min_version"
    );
    manager.get_connection().execute_unprepared(&sql).await.map(drop)
}
