//! A log that can tell one history from another, forgets by the database's own clock, and is numbered in batches.
//!
//! - `event_log` names the last event that retention has removed, so that a reader that stands exactly there can still be
//!   told that nothing else ever stood there. The version before does not write it; a reader that stood where that one has
//!   removed something begins anew.
//! - [`FOLLOW_EVENTS`] does what `read_events` does and says besides what stands at the position asked about, or at the
//!   head if that is earlier. [`NUMBER_EVENTS`] numbers so many rows and no more: with 1.2 million of them, which is what a
//!   tool or a long import leaves, one statement is cut off by its time-out each time anew. The functions before them stay
//!   for the version that runs beside.
//! - `event_ages` holds how far the log went at a few moments, by the database's clock, in milliseconds since 1970: events
//!   carry the time of the node that wrote them, which may be any.
//! - `node_secret` is what all nodes have and nobody else: from it they make the key of what they tell each other. Keep
//!   other roles from reading it.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const TABLES: &str = "
ALTER TABLE event_log ADD COLUMN forgotten_position {int8} NOT NULL DEFAULT 0;
ALTER TABLE event_log ADD COLUMN forgotten_event {uuid};
CREATE TABLE event_ages (
    position {int8} NOT NULL CONSTRAINT event_ages_pkey PRIMARY KEY,
    noted_ms {int8} NOT NULL
) {strict};
CREATE TABLE node_secret (
    id {int4} NOT NULL CONSTRAINT node_secret_pkey PRIMARY KEY CONSTRAINT node_secret_single_check CHECK (id = 1),
    secret {bytes} NOT NULL
) {strict};
INSERT INTO node_secret (id, secret) VALUES (1, {random});
";

/// Joins by the primary key whatever the planner takes the table for: both other ways read all of it.
const NUMBER_EVENTS: &str = "
CREATE FUNCTION number_events(most integer, OUT numbered bigint, OUT head bigint) LANGUAGE plpgsql
    SET enable_bitmapscan = off SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off AS $$
BEGIN
    numbered := 0;
    IF NOT EXISTS (SELECT FROM events WHERE position IS NULL) THEN
        SELECT last_position INTO head FROM event_log WHERE id = 1;
        RETURN;
    END IF;
    SELECT last_position INTO head FROM event_log WHERE id = 1 FOR UPDATE;
    WITH fresh AS (
        SELECT first.id, row_number() OVER (ORDER BY first.id) AS place
        FROM (SELECT id FROM events WHERE position IS NULL ORDER BY id LIMIT most) AS first
    ), stamped AS (
        UPDATE events SET position = head + fresh.place FROM fresh WHERE events.id = fresh.id RETURNING 1
    )
    SELECT count(*) INTO numbered FROM stamped;
    IF numbered > 0 THEN
        head := head + numbered;
        UPDATE event_log SET last_position = head WHERE id = 1;
    END IF;
END $$";

/// At least one row: where nothing follows it has no event. What stands at the position and what follows it are read in one
/// statement, after the numbering, so they are of one state.
const FOLLOW_EVENTS: &str = "
CREATE FUNCTION follow_events(
    \"after\" bigint, most integer, batch integer,
    OUT numbered bigint, OUT head bigint, OUT log_id uuid, OUT stands uuid,
    OUT \"position\" bigint, OUT event_id uuid, OUT kind text, OUT subject_id uuid, OUT subject_version bigint,
    OUT is_public boolean, OUT owner_id uuid, OUT claimant_id uuid, OUT payload text, OUT occurred_at timestamptz
) RETURNS SETOF record LANGUAGE plpgsql SET enable_bitmapscan = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    stamped record;
    place bigint;
BEGIN
    SELECT n.numbered, n.head INTO stamped FROM number_events($3) AS n;
    place := LEAST($1, stamped.head);
    RETURN QUERY
        SELECT stamped.numbered, stamped.head, l.log_id,
               COALESCE((SELECT p.event_id FROM events AS p WHERE p.position = place),
                        CASE WHEN l.forgotten_position = place THEN l.forgotten_event END),
               e.position, e.event_id, e.kind, e.subject_id, e.subject_version,
               e.is_public, e.owner_id, e.claimant_id, e.payload, e.occurred_at
        FROM event_log AS l
        LEFT JOIN LATERAL (
            SELECT f.* FROM events AS f WHERE f.position > $1 ORDER BY f.position LIMIT $2
        ) AS e ON true
        WHERE l.id = 1
        ORDER BY e.position;
END $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        let words = if postgres {
            // 244 bits from the server's own source of randomness.
            let random = "uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())";
            [
                ("int8", "bigint"),
                ("int4", "integer"),
                ("uuid", "uuid"),
                ("bytes", "bytea"),
                ("strict", ""),
                ("random", random),
            ]
        } else {
            [
                ("int8", "INTEGER"),
                ("int4", "INTEGER"),
                ("uuid", "BLOB"),
                ("bytes", "BLOB"),
                ("strict", "STRICT"),
                ("random", "randomblob(32)"),
            ]
        };
        let word = |sql: String, (name, word): (&str, &str)| sql.replace(&format!("{{{name}}}"), word);
        let tables = words.into_iter().fold(TABLES.to_owned(), word);
        manager.get_connection().execute_unprepared(&tables).await?;
        if postgres {
            manager.get_connection().execute_unprepared(NUMBER_EVENTS).await?;
            manager.get_connection().execute_unprepared(FOLLOW_EVENTS).await?;
        }
        Ok(())
    }
}
