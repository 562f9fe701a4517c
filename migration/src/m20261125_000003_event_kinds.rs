//! Two more kinds of events: what happens to a draft, for its author alone, and what happens to a claim.
//!
//! Only widens a CHECK, so that the version before runs on beside this one: it passes over kinds that it does not know.
//! `SQLite` cannot change a CHECK: there the log moves to a table of the same shape, with its positions and its sequence,
//! by which a cursor stays what it was.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const KINDS: &str = "'JOB_POSTED', 'JOB_UPDATED', 'DRAFT_UPDATED', 'CLAIM_UPDATED', 'WALLET_UPDATED', \
                     'NOTIFICATION_RECEIVED', 'SESSION_ENDED', 'RIGHTS_CHANGED'";

/// Not valid for rows that are there: they have passed a narrower one, and reading all of them would keep everybody waiting.
const POSTGRES: &str = "
ALTER TABLE events DROP CONSTRAINT events_kind_check;
ALTER TABLE events ADD CONSTRAINT events_kind_check CHECK (kind IN ({kinds})) NOT VALID;
";

const SQLITE: &str = "
CREATE TABLE events_wider (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    position INTEGER GENERATED ALWAYS AS (id) VIRTUAL CONSTRAINT events_position_key UNIQUE,
    event_id BLOB NOT NULL CONSTRAINT events_event_id_key UNIQUE,
    kind TEXT NOT NULL CONSTRAINT events_kind_check CHECK (kind IN ({kinds})),
    subject_id BLOB NOT NULL,
    subject_version INTEGER NOT NULL,
    is_public INTEGER NOT NULL,
    owner_id BLOB NOT NULL,
    claimant_id BLOB,
    payload TEXT NOT NULL,
    occurred_at TEXT NOT NULL
) STRICT;
INSERT INTO events_wider (id, event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload,
        occurred_at)
    SELECT id, event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload, occurred_at
    FROM events ORDER BY id;
DELETE FROM sqlite_sequence WHERE name = 'events_wider';
INSERT INTO sqlite_sequence (name, seq) SELECT 'events_wider', seq FROM sqlite_sequence WHERE name = 'events';
DROP TABLE events;
ALTER TABLE events_wider RENAME TO events;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = if manager.get_database_backend() == DbBackend::Sqlite { SQLITE } else { POSTGRES };
        manager.get_connection().execute_unprepared(&sql.replace("{kinds}", KINDS)).await.map(drop)
    }
}
