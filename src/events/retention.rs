//! Forgets events that nobody can want any more.
//!
//! An event is kept for `events.retention_seconds` (seven days by default) after it got its position, and up to a
//! sixty-fourth of that longer; a cursor from before that gets `CURSOR_EXPIRED`. The time is the database's: a node whose
//! clock is days ahead would else empty the log for all, and what a node with such a clock writes would be kept for too
//! long, or be gone at once. Only what has a position is forgotten, from the oldest on and in small steps
//! ([`retention`](crate::retention)), so that what remains is contiguous and no reader waits for a long delete.
//!
//! How long an event has had its position goes by the database's clock: [`EventLog::note_age`] writes down now and then how
//! far the log goes, and [`EventLog::forget`] removes what it went to long enough ago. `occurred_at` is the time of the node
//! that wrote the event, and decides nothing.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, Value, prelude::async_trait::async_trait};
use uuid::Uuid;

use super::EventLog;
use crate::{
    db::{Backend, Tx},
    retention::Prune,
};

/// The last event that was forgotten, and the last one that has been there for long enough.
pub const FORGOTTEN_SO_FAR: &str = "SELECT forgotten_position AS gone, \
     (SELECT MAX(position) FROM event_ages WHERE noted_ms <= ?) AS old FROM event_log WHERE id = 1";
/// The oldest event that is kept. From behind the last forgotten one on: what was removed there since the last vacuum is
/// not walked again.
pub const FIRST_KEPT: &str = "SELECT MIN(position) AS first FROM events WHERE position > ?";
/// The last event of a step.
pub const LAST_OF_STEP: &str = "SELECT position, event_id FROM events WHERE position > ? AND position <= ? \
     ORDER BY position DESC LIMIT 1";
/// A step.
pub const FORGET_STEP: &str = "DELETE FROM events WHERE position > ? AND position <= ?";

/// The events of a log beyond those that are kept for so long.
#[derive(Debug)]
pub struct OldEvents {
    log: EventLog,
    kept: TimeDelta,
}

impl OldEvents {
    /// What `log` has had for longer than `kept`.
    pub const fn new(log: EventLog, kept: TimeDelta) -> Self {
        Self { log, kept }
    }
}

#[async_trait]
impl Prune for OldEvents {
    fn what(&self) -> &'static str {
        "events"
    }

    async fn prepare(&self) -> Result<(), DbErr> {
        self.log.note_age(self.kept).await
    }

    async fn step(&self, _: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
        let forgotten = self.log.forget(self.kept, most).await?;
        metrics::counter!("lancewire_events_forgotten_total").increment(forgotten);
        Ok(forgotten)
    }

    async fn overdue(&self, now: DateTime<Utc>) -> Result<TimeDelta, DbErr> {
        self.log.overdue(self.kept, now).await
    }
}

impl EventLog {
    /// Puts down how far the log goes now, by the database's clock, unless that was done a short while ago: a sixty-fourth
    /// of `kept`. Notes of what is gone are removed.
    pub async fn note_age(&self, kept: TimeDelta) -> Result<(), DbErr> {
        let head = self.stamp().await?;
        let now = self.time.ask(&self.db).await?;
        let gap = kept.num_milliseconds() / 64;
        // A position that is there already has been so since then.
        let note = "INSERT INTO event_ages (position, noted_ms) SELECT CAST(? AS bigint), CAST(? AS bigint) \
                    WHERE NOT EXISTS (SELECT 1 FROM event_ages WHERE noted_ms > ?) ON CONFLICT (position) DO NOTHING";
        let values: [Value; 3] = [head.into(), now.into(), (now - gap).into()];
        self.db.writer().execute_raw(self.db.statement(note, values)).await?;
        // What is past its time and still there keeps its note, by which one knows how late it is.
        let tidy = "DELETE FROM event_ages WHERE position < (SELECT forgotten_position FROM event_log WHERE id = 1)";
        self.db.writer().execute_raw(self.db.statement(tidy, [])).await?;
        Ok(())
    }

    /// Forgets up to `limit` of the oldest events that have had their positions for longer than `kept`, by the database's
    /// clock, and returns how many.
    ///
    /// What remains is contiguous, and `event_log` names the last one forgotten: from there the next step goes on, and
    /// passes over none that are gone.
    pub async fn forget(&self, kept: TimeDelta, limit: u32) -> Result<u64, DbErr> {
        let long_ago = self.time.ask(&self.db).await? - kept.num_milliseconds();
        let work = |tx: Tx| async move {
            if tx.backend() == Backend::Postgres {
                // The plan stays what it is for a young table, of which reading all costs the least.
                tx.pipeline("SET LOCAL enable_seqscan = off", []).await?;
            }
            let rows = tx.query(FORGOTTEN_SO_FAR, [long_ago.into()]).await?;
            let bounds = rows.first().ok_or_else(|| DbErr::RecordNotFound("event_log has no row".into()))?;
            let (gone, old): (i64, Option<i64>) = (bounds.try_get("", "gone")?, bounds.try_get("", "old")?);
            let (Some(old), Some(first)) = (old, first_after(&tx, gone).await?) else { return Ok(0) };
            let last = old.min(first + i64::from(limit) - 1);
            let rows = tx.query(LAST_OF_STEP, [gone.into(), last.into()]).await?;
            let Some(last) = rows.first() else { return Ok(0) };
            let (position, event): (i64, Uuid) = (last.try_get("", "position")?, last.try_get("", "event_id")?);
            let note = "UPDATE event_log SET forgotten_position = ?, forgotten_event = ? \
                        WHERE id = 1 AND forgotten_position < ?";
            let noted: [Value; 3] = [position.into(), event.into(), position.into()];
            if tx.backend() == Backend::Sqlite {
                // First: the guard against early deletion remembers each event that is deleted before that is said.
                tx.pipeline(note, noted).await?;
                return tx.execute(FORGET_STEP, [gone.into(), position.into()]).await;
            }
            let forgotten = tx.execute(FORGET_STEP, [gone.into(), position.into()]).await?;
            // Last: numbering waits for this row. The guard against early deletion looks at the commit.
            tx.execute(note, noted).await?;
            Ok::<_, DbErr>(forgotten)
        };
        self.db.transact(work).await
    }

    /// For how long the oldest event that is there has had its position beyond `kept` at `now`, as far as that was put
    /// down.
    async fn overdue(&self, kept: TimeDelta, now: DateTime<Utc>) -> Result<TimeDelta, DbErr> {
        let sql = "SELECT MIN(noted_ms) AS noted FROM event_ages \
                   WHERE position > (SELECT forgotten_position FROM event_log WHERE id = 1)";
        let row = self.db.reader().query_one_raw(self.db.statement(sql, [])).await?;
        let noted = row.map_or(Ok(None), |row| row.try_get::<Option<i64>>("", "noted"))?;
        let age = noted.map_or(0, |noted| now.timestamp_millis().saturating_sub(noted));
        Ok((TimeDelta::milliseconds(age) - kept).max(TimeDelta::zero()))
    }
}

/// The oldest position that is kept behind one that is not.
async fn first_after(tx: &Tx, gone: i64) -> Result<Option<i64>, DbErr> {
    let rows = tx.query(FIRST_KEPT, [gone.into()]).await?;
    rows.first().map_or(Ok(None), |row| row.try_get("", "first"))
}
