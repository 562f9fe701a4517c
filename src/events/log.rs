//! Writing to the log, numbering what was committed, and reading it in order.
//!
//! A serial number is taken at insert and becomes visible at commit, so a reader that has passed 101 never sees a 100
//! that commits late. Positions are therefore given *after* commit: on `PostgreSQL` by [`EventLog::stamp`], which any
//! number of nodes may call at any time, since the numbering happens under the lock of one row; on `SQLite` there is
//! one writer at a time and a rolled-back number is given again, so the row id is the position already. Within one job,
//! wallet or inbox the order of positions is that of commits: the subject's row lock is held from before the insert
//! until commit.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};
use uuid::Uuid;

use super::{Audience, Event, EventKind, NewEvent};
use crate::{
    db::{Backend, Db, Tx},
    error::Fault,
};

/// Records an event in the transaction of the fact.
pub async fn record(tx: &Tx, event: NewEvent) -> Result<(), DbErr> {
    let values: [Value; 9] = [
        event.id.into(),
        event.kind.as_str().into(),
        event.subject.into(),
        event.subject_version.into(),
        event.audience.public.into(),
        event.audience.owner.into(),
        event.audience.claimant.into(),
        event.payload.into(),
        event.occurred_at.into(),
    ];
    let sql = "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, \
               payload, occurred_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING 1";
    tx.query(sql, values).await.map(drop)
}

/// The log as its readers see it.
#[derive(Clone, Debug)]
pub struct EventLog {
    db: Db,
    identity: Uuid,
}

impl EventLog {
    /// Opens the log.
    pub async fn open(db: Db) -> Result<Self, Fault> {
        let row = db.reader().query_one_raw(db.statement("SELECT log_id FROM event_log WHERE id = 1", [])).await?;
        let row = row.ok_or_else(|| Fault::corrupt("event_log has no row; run `lancewire migrate`"))?;
        Ok(Self { identity: row.try_get("", "log_id")?, db })
    }

    /// Part of every cursor.
    pub const fn identity(&self) -> Uuid {
        self.identity
    }

    /// Numbers what has been committed and returns the last position given out. Safe to call from any number of places.
    pub async fn stamp(&self) -> Result<i64, DbErr> {
        let (connection, sql) = match self.db.backend() {
            Backend::Postgres => (self.db.writer(), "SELECT stamp_events() AS head"),
            // The sequence and not the greatest id: retention may have removed the latest events.
            Backend::Sqlite => (
                self.db.reader(),
                "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS head",
            ),
        };
        let row = connection.query_one_raw(self.db.statement(sql, [])).await?;
        row.ok_or_else(|| DbErr::RecordNotFound("the head of the event log".into()))?.try_get("", "head")
    }

    /// Up to `limit` events after `position`, in order.
    pub async fn after(&self, position: i64, limit: u32) -> Result<Vec<Event>, Fault> {
        let sql = "SELECT position, event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, \
                   payload, occurred_at FROM events WHERE position > ? ORDER BY position LIMIT ?";
        let statement = self.db.statement(sql, [position.into(), i64::from(limit).into()]);
        self.db.reader().query_all_raw(statement).await?.iter().map(event).collect()
    }
}

fn event(row: &QueryResult) -> Result<Event, Fault> {
    Ok(Event {
        position: row.try_get("", "position")?,
        recorded: NewEvent {
            id: row.try_get("", "event_id")?,
            kind: EventKind::from_column(&row.try_get::<String>("", "kind")?)?,
            subject: row.try_get("", "subject_id")?,
            subject_version: row.try_get("", "subject_version")?,
            audience: Audience {
                public: row.try_get("", "is_public")?,
                owner: row.try_get("", "owner_id")?,
                claimant: row.try_get("", "claimant_id")?,
            },
            payload: row.try_get("", "payload")?,
            occurred_at: row.try_get("", "occurred_at")?,
        },
    })
}
