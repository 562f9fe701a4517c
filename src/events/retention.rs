//! Forgets events that nobody can want any more.
//!
//! An event is kept for `events.retention_seconds` (seven days by default) after it got its position, and up to a
//! sixty-fourth of that longer; a cursor from before that gets `CURSOR_EXPIRED`. The time is the database's: a node whose
//! clock is days ahead would else empty the log for all, and what a node with such a clock writes would be kept for too
//! long, or be gone at once. Only what has a position is forgotten, from the oldest on and in small steps
//! ([`retention`](crate::retention)), so that what remains is contiguous and no reader waits for a long delete.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{DbErr, prelude::async_trait::async_trait};

use super::EventLog;
use crate::retention::Prune;

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
