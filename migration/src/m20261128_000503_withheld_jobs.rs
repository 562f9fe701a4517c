//! OPEN jobs of suspended clients, which nobody may claim and no list shows.
//!
//! `jobs.withheld` is set for each OPEN job of a client who is suspended, and taken back when they are reinstated. There
//! may be tens of thousands, so the suspension only notes the client in `withholding_due`, with the job up to which the
//! work is done; it goes on from there in small steps.
//!
//! The version before knows neither: it shows such jobs, and where it changes their status the flag stays, which means
//! nothing for a job that is not OPEN.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const TABLES: &str = "
ALTER TABLE jobs ADD COLUMN withheld {bool} NOT NULL DEFAULT {false};
CREATE TABLE withholding_due (
    user_id {uuid} NOT NULL CONSTRAINT withholding_due_pkey PRIMARY KEY
        CONSTRAINT withholding_due_user_fkey REFERENCES users (id),
    after_job {uuid} NOT NULL
) {strict};
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let words = match manager.get_database_backend() {
            DbBackend::Sqlite => [("bool", "INTEGER"), ("false", "0"), ("uuid", "BLOB"), ("strict", "STRICT")],
            _ => [("bool", "boolean"), ("false", "false"), ("uuid", "uuid"), ("strict", "")],
        };
        let word = |sql: String, (name, word): (&str, &str)| sql.replace(&format!("{{{name}}}"), word);
        let sql = words.into_iter().fold(TABLES.to_owned(), word);
        manager.get_connection().execute_unprepared(&sql).await?;
        // Those of clients who are suspended already.
        let due = "INSERT INTO withholding_due (user_id, after_job) \
                   SELECT u.id, {nil} FROM users u WHERE u.suspended_at IS NOT NULL AND u.is_client";
        let nil = match manager.get_database_backend() {
            DbBackend::Sqlite => "zeroblob(16)",
            _ => "CAST('00000000-0000-0000-0000-000000000000' AS uuid)",
        };
        manager.get_connection().execute_unprepared(&due.replace("{nil}", nil)).await.map(drop)
    }
}
