//! The log as the tails read it: [`EVENTS_AFTER`] a position, and [`READ_EVENTS`] with the numbering before it, in one
//! round trip.
//!
//! The tail of every node does the two after each commit, and most of what each costs is its way there and back. One
//! plain statement cannot do both, since an outer query has a snapshot from before the numbering that it calls; each
//! statement *inside* a function has its own.
//!
//! A function can also say which plan it wants. A statement that was prepared while the log had few events keeps a scan
//! of all of it until there are statistics (docs/scaling.md, "Delivery and mutations", has the difference). `PostgreSQL`
//! only: `SQLite` needs neither.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

/// In order.
const EVENTS_AFTER: &str = "
CREATE FUNCTION events_after(\"after\" bigint, most integer) RETURNS SETOF events LANGUAGE sql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
    SELECT * FROM events WHERE events.position > $1 ORDER BY events.position LIMIT $2
$$";

/// At least one row: where nothing follows it has no event.
const READ_EVENTS: &str = "
CREATE FUNCTION read_events(
    \"after\" bigint, most integer,
    OUT numbered bigint, OUT head bigint, OUT log_id uuid,
    OUT \"position\" bigint, OUT event_id uuid, OUT kind text, OUT subject_id uuid, OUT subject_version bigint,
    OUT is_public boolean, OUT owner_id uuid, OUT claimant_id uuid, OUT payload text, OUT occurred_at timestamptz
) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    stamped record;
BEGIN
    SELECT s.numbered, s.head INTO stamped FROM stamp_events() AS s;
    RETURN QUERY
        SELECT stamped.numbered, stamped.head, l.log_id,
               e.position, e.event_id, e.kind, e.subject_id, e.subject_version,
               e.is_public, e.owner_id, e.claimant_id, e.payload, e.occurred_at
        FROM event_log AS l LEFT JOIN events_after($1, $2) AS e ON true
        WHERE l.id = 1
        ORDER BY e.position;
END $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(EVENTS_AFTER).await?;
            manager.get_connection().execute_unprepared(READ_EVENTS).await?;
        }
        Ok(())
    }
}
