//! A vocabulary to begin with, and words that leave it.
//!
//! `skills.retired_at` says since when a word is given to nobody anew, and `merged_into` which word stands in its place:
//! what has a merged word is read as having the other one, so that no row of a job or a user is written. A word that was
//! merged is retired, and never merged into one that was merged itself.
//!
//! The words are those of `vocabulary.csv`; one that is there already, by its slug, stays as it is. The version before
//! shows a retired word like any other, and a merged one under its old name.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{DbBackend, Statement},
};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

/// Slug and name, in each line; neither has a comma.
const VOCABULARY: &str = include_str!("vocabulary.csv");

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (backend, connection) = (manager.get_database_backend(), manager.get_connection());
        let (time, uuid, fresh, slug, name) = match backend {
            DbBackend::Sqlite => ("TEXT", "BLOB", "randomblob(16)", "?1", "?2"),
            _ => ("timestamptz", "uuid", "gen_random_uuid()", "$1", "$2"),
        };
        connection.execute_unprepared(&format!("ALTER TABLE skills ADD COLUMN retired_at {time}")).await?;
        let merged = format!(
            "ALTER TABLE skills ADD COLUMN merged_into {uuid} CONSTRAINT skills_merged_fkey REFERENCES skills (id)"
        );
        connection.execute_unprepared(&merged).await?;
        let add = format!(
            "INSERT INTO skills (id, slug, name) VALUES ({fresh}, {slug}, {name}) ON CONFLICT (slug) DO NOTHING"
        );
        for (slug, name) in VOCABULARY.lines().filter_map(|line| line.split_once(',')) {
            let values = [slug.into(), name.into()];
            connection.execute_raw(Statement::from_sql_and_values(backend, &add, values)).await?;
        }
        Ok(())
    }
}
