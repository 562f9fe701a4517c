//! The viewers of events from before the index of them.
//!
//! Along the log in small steps, each a transaction of its own: a log of a week may have millions of events, and nobody is
//! to wait for them. What gets its position meanwhile is indexed by the triggers of the step before, and so is what is there
//! twice; what retention forgets between the reading and the writing of a step is taken out again at the end. Running it
//! again does no harm.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

/// Positions of one step.
const STEP: i64 = 10_000;

const POSTGRES: &str = "
INSERT INTO event_viewers (viewer_id, kind, position)
    SELECT v, e.kind, e.position
    FROM events AS e,
        viewers_of(e.is_public, e.recipients, e.owner_id, e.claimant_id, e.for_admins, e.kind) AS v
    WHERE e.position > {after} AND e.position <= {after} + {step}
    ON CONFLICT DO NOTHING";

/// Rows from before have no list.
const SQLITE: &str = "
INSERT OR IGNORE INTO event_viewers (viewer_id, kind, position)
    SELECT zeroblob(16), kind, id FROM events WHERE id > {after} AND id <= {after} + {step} AND is_public
    UNION SELECT owner_id, kind, id FROM events WHERE id > {after} AND id <= {after} + {step} AND NOT is_public
    UNION SELECT claimant_id, kind, id FROM events
        WHERE id > {after} AND id <= {after} + {step} AND NOT is_public AND claimant_id IS NOT NULL
    UNION SELECT x'00000000000000000000000000000001', kind, id FROM events
        WHERE id > {after} AND id <= {after} + {step} AND NOT is_public AND kind = 'JOB_UPDATED'";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (backend, connection) = (manager.get_database_backend(), manager.get_connection());
        let insert = if backend == DbBackend::Sqlite { SQLITE } else { POSTGRES };
        let bounds = "SELECT MIN(position) AS first, MAX(position) AS last FROM events";
        let row = connection.query_one_raw(Statement::from_string(backend, bounds)).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("the bounds of the log".into()))?;
        let (first, last): (Option<i64>, Option<i64>) = (row.try_get("", "first")?, row.try_get("", "last")?);
        let mut after = first.unwrap_or(1) - 1;
        while last.is_some_and(|last| after < last) {
            let step = insert.replace("{after}", &after.to_string()).replace("{step}", &STEP.to_string());
            connection.execute_unprepared(&step).await?;
            after += STEP;
        }
        let gone = "DELETE FROM event_viewers \
                    WHERE position <= (SELECT forgotten_position FROM event_log WHERE id = 1)";
        connection.execute_unprepared(gone).await.map(drop)
    }
}
