//! Who may receive an event, as a list of users beside `is_public`, and an index of what lies for each viewer.
//!
//! - `events.recipients`: a JSON list of user ids in hexadecimal, and `events.for_admins`. Empty in rows from before and in
//!   those of the version before, which knows `owner_id` and `claimant_id` alone; this one writes all four.
//! - `event_viewers`: for each event that has a position, the fewest viewers by which all who may receive it find it. That
//!   is everybody (the id of zeros) for a public one, and else each user of its list, or its owner and its claimant if it
//!   has no list, and the admins (the id one) if it is for them, or if it is a `JOB_UPDATED` and says nothing of admins.
//!   Triggers write it, so it holds the events of both versions; on `PostgreSQL` with the rights of the tables' owner, since
//!   the version before may run as a user who has none on this table. Rows from before: the next step.
//! - [`TAIL_EVENTS`] reads the log as `follow_events` does, which stays for the version before, with the new columns.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const POSTGRES: &str = "
ALTER TABLE events ADD COLUMN recipients text;
ALTER TABLE events ADD COLUMN for_admins boolean;
DROP TRIGGER events_append_only ON events;
CREATE TRIGGER events_append_only BEFORE UPDATE ON events FOR EACH ROW
    WHEN (old.position IS NOT NULL
        OR old.id IS DISTINCT FROM new.id
        OR old.event_id IS DISTINCT FROM new.event_id
        OR old.kind IS DISTINCT FROM new.kind
        OR old.subject_id IS DISTINCT FROM new.subject_id
        OR old.subject_version IS DISTINCT FROM new.subject_version
        OR old.is_public IS DISTINCT FROM new.is_public
        OR old.owner_id IS DISTINCT FROM new.owner_id
        OR old.claimant_id IS DISTINCT FROM new.claimant_id
        OR old.payload IS DISTINCT FROM new.payload
        OR old.occurred_at IS DISTINCT FROM new.occurred_at
        OR old.recipients IS DISTINCT FROM new.recipients
        OR old.for_admins IS DISTINCT FROM new.for_admins)
    EXECUTE FUNCTION refuse_change();

CREATE TABLE event_viewers (
    viewer_id uuid NOT NULL,
    kind text NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT event_viewers_pkey PRIMARY KEY (viewer_id, kind, position)
);

CREATE FUNCTION viewers_of(
    is_public boolean, recipients text, owner_id uuid, claimant_id uuid, for_admins boolean, kind text
) RETURNS SETOF uuid LANGUAGE sql IMMUTABLE ROWS 3 AS $$
    SELECT CAST('00000000-0000-0000-0000-000000000000' AS uuid) WHERE $1
    UNION ALL SELECT CAST(listed.id AS uuid) FROM json_array_elements_text(CAST($2 AS json)) AS listed (id) WHERE NOT $1
    UNION ALL SELECT $3 WHERE NOT $1 AND $2 IS NULL
    UNION ALL SELECT $4 WHERE NOT $1 AND $2 IS NULL AND $4 <> $3
    UNION ALL SELECT CAST('00000000-0000-0000-0000-000000000001' AS uuid)
        WHERE NOT $1 AND COALESCE($5, $6 = 'JOB_UPDATED')
$$;

CREATE FUNCTION index_viewers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO event_viewers (viewer_id, kind, position)
        SELECT v, n.kind, n.position
        FROM numbered AS n,
            viewers_of(n.is_public, n.recipients, n.owner_id, n.claimant_id, n.for_admins, n.kind) AS v
        WHERE n.position IS NOT NULL
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER events_viewers_index AFTER UPDATE ON events REFERENCING NEW TABLE AS numbered
    FOR EACH STATEMENT EXECUTE FUNCTION index_viewers();

-- One by one along the key: joined, the planner reads all of the table, whatever it is told.
CREATE FUNCTION forget_viewers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    gone record;
BEGIN
    FOR gone IN
        SELECT v AS viewer_id, f.kind, f.position
        FROM forgotten AS f,
            viewers_of(f.is_public, f.recipients, f.owner_id, f.claimant_id, f.for_admins, f.kind) AS v
    LOOP
        DELETE FROM event_viewers AS w
            WHERE w.viewer_id = gone.viewer_id AND w.kind = gone.kind AND w.position = gone.position;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER events_viewers_forget AFTER DELETE ON events REFERENCING OLD TABLE AS forgotten
    FOR EACH STATEMENT EXECUTE FUNCTION forget_viewers();
";

/// At least one row: where nothing follows it has no event. What stands at the position and what follows it are read in one
/// statement, after the numbering, so they are of one state.
const TAIL_EVENTS: &str = "
CREATE FUNCTION tail_events(
    \"after\" bigint, most integer, batch integer,
    OUT numbered bigint, OUT head bigint, OUT log_id uuid, OUT stands uuid,
    OUT \"position\" bigint, OUT event_id uuid, OUT kind text, OUT subject_id uuid, OUT subject_version bigint,
    OUT is_public boolean, OUT owner_id uuid, OUT claimant_id uuid, OUT payload text, OUT occurred_at timestamptz,
    OUT recipients text, OUT for_admins boolean
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
               e.is_public, e.owner_id, e.claimant_id, e.payload, e.occurred_at, e.recipients, e.for_admins
        FROM event_log AS l
        LEFT JOIN LATERAL (
            SELECT f.* FROM events AS f WHERE f.position > $1 ORDER BY f.position LIMIT $2
        ) AS e ON true
        WHERE l.id = 1
        ORDER BY e.position;
END $$";

const SQLITE: &str = "
ALTER TABLE events ADD COLUMN recipients TEXT;
ALTER TABLE events ADD COLUMN for_admins INTEGER;
CREATE TABLE event_viewers (
    viewer_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    CONSTRAINT event_viewers_pkey PRIMARY KEY (viewer_id, kind, position)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER events_viewers_index AFTER INSERT ON events BEGIN
    INSERT OR IGNORE INTO event_viewers (viewer_id, kind, position)
        SELECT zeroblob(16), new.kind, new.id WHERE new.is_public
        UNION SELECT unhex(value), new.kind, new.id FROM json_each(new.recipients) WHERE NOT new.is_public
        UNION SELECT new.owner_id, new.kind, new.id WHERE NOT new.is_public AND new.recipients IS NULL
        UNION SELECT new.claimant_id, new.kind, new.id
            WHERE NOT new.is_public AND new.recipients IS NULL AND new.claimant_id IS NOT NULL
        UNION SELECT x'00000000000000000000000000000001', new.kind, new.id
            WHERE NOT new.is_public AND COALESCE(new.for_admins, new.kind = 'JOB_UPDATED');
END;
CREATE TRIGGER events_viewers_forget AFTER DELETE ON events BEGIN
    DELETE FROM event_viewers WHERE kind = old.kind AND position = old.id
        AND viewer_id IN (zeroblob(16), x'00000000000000000000000000000001', old.owner_id, old.claimant_id);
    DELETE FROM event_viewers WHERE kind = old.kind AND position = old.id
        AND viewer_id IN (SELECT unhex(value) FROM json_each(old.recipients));
END;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Sqlite {
            return connection.execute_unprepared(SQLITE).await.map(drop);
        }
        // A function with its owner's rights must not find another table of the same name.
        let schema = "SELECT CAST(quote_ident(current_schema()) AS text) AS name";
        let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, schema)).await?;
        let schema: String =
            row.ok_or_else(|| DbErr::RecordNotFound("current_schema()".into()))?.try_get("", "name")?;
        connection.execute_unprepared(&POSTGRES.replace("{schema}", &schema)).await?;
        connection.execute_unprepared(TAIL_EVENTS).await.map(drop)
    }
}
