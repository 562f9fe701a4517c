//! Files that people upload, and how much each of them keeps.
//!
//! A row is there before its bytes and goes before them. `attempt` counts the uploads that were begun, and only the last one
//! may end; `leased_until` says how long it may take. `remove_due_at` is when a file that nothing uses goes; one that is used
//! names what by, and in which place, and stays. `file_quotas` has the sums of a user's rows, kept with each change. The
//! version before knows no files.

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
        let (int4, int8, uuid, time, end) = match manager.get_database_backend() {
            DbBackend::Sqlite => ("INTEGER", "INTEGER", "BLOB", "TEXT", "STRICT"),
            _ => ("integer", "bigint", "uuid", "timestamptz", ""),
        };
        let files = format!(
            "CREATE TABLE files (id {uuid} NOT NULL CONSTRAINT files_pkey PRIMARY KEY, \
             owner_id {uuid} NOT NULL CONSTRAINT files_owner_fkey REFERENCES users (id), \
             name TEXT NOT NULL CONSTRAINT files_name_check CHECK (LENGTH(name) BETWEEN 1 AND 200), \
             content_type TEXT NOT NULL, \
             byte_size {int8} NOT NULL CONSTRAINT files_size_check CHECK (byte_size BETWEEN 1 AND 2147483647), \
             sha256 TEXT NOT NULL CONSTRAINT files_sha256_check CHECK (LENGTH(sha256) = 64), \
             status TEXT NOT NULL CONSTRAINT files_status_check CHECK (status IN ('PENDING', 'READY', 'REJECTED')), \
             rejection TEXT, \
             created_at {time} NOT NULL, \
             ready_at {time}, \
             attempt {int4} NOT NULL CONSTRAINT files_attempt_check CHECK (attempt >= 0), \
             leased_until {time}, \
             used_as TEXT CONSTRAINT files_used_as_check CHECK (used_as IN ('DELIVERABLE', 'MESSAGE')), \
             used_by {uuid}, \
             place {int4}, \
             remove_due_at {time}, \
             CONSTRAINT files_rejection_check CHECK ((rejection IS NULL) = (status <> 'REJECTED')), \
             CONSTRAINT files_ready_check CHECK ((ready_at IS NULL) = (status <> 'READY')), \
             CONSTRAINT files_lease_check CHECK (leased_until IS NULL OR status = 'PENDING'), \
             CONSTRAINT files_use_check CHECK ( \
                 (used_as IS NULL AND used_by IS NULL AND place IS NULL AND remove_due_at IS NOT NULL) OR \
                 (used_as IS NOT NULL AND used_by IS NOT NULL AND place IS NOT NULL AND remove_due_at IS NULL \
                  AND status = 'READY'))) {end}"
        );
        let quotas = format!(
            "CREATE TABLE file_quotas (user_id {uuid} NOT NULL CONSTRAINT file_quotas_pkey PRIMARY KEY \
                 CONSTRAINT file_quotas_user_fkey REFERENCES users (id), \
             files {int8} NOT NULL CONSTRAINT file_quotas_files_check CHECK (files >= 0), \
             bytes {int8} NOT NULL CONSTRAINT file_quotas_bytes_check CHECK (bytes >= 0)) {end}"
        );
        let connection = manager.get_connection();
        for sql in [
            files.as_str(),
            &quotas,
            "CREATE INDEX files_owner_idx ON files (owner_id)",
            "CREATE UNIQUE INDEX files_use_idx ON files (used_by, place) WHERE used_by IS NOT NULL",
            "CREATE INDEX files_remove_idx ON files (remove_due_at, id) WHERE remove_due_at IS NOT NULL",
        ] {
            connection.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
