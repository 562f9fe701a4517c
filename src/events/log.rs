//! Writing to the log, numbering what was committed, and reading it in order.
//!
//! A serial number is taken at insert and becomes visible at commit, so a reader that has passed 101 never sees a 100
//! that commits late. Positions are therefore given *after* commit: on `PostgreSQL` by [`EventLog::stamp`], which any
//! number of nodes may call at any time, since the numbering happens under the lock of one row; on `SQLite` there is
//! one writer at a time and a rolled-back number is given again, so the row id is the position already. Within one job,
//! wallet or inbox the order of positions is that of commits: the subject's row lock is held from before the insert
//! until commit.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};
use uuid::Uuid;

use super::{Audience, Event, EventCursor, EventKind, LogSource, NewEvent};
use crate::{
    clock::Timestamp,
    db::{
        Backend, Db, Tx,
        receipt::{Arrivals, Left, Place, Receipt},
    },
    error::Fault,
    ids::UserId,
};

/// Records an event in the transaction of the fact.
pub async fn record(tx: &Tx, event: NewEvent) -> Result<(), DbErr> {
    // The positions of one transaction's events are in the order in which they are recorded.
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
    tx.leaves(Left::Event(event.id));
    let sql = "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, \
               payload, occurred_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    tx.later(sql, values).await
}

/// On whose behalf the log is read.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// The viewer; none for anonymous ones, who hear what is public.
    pub user: Option<UserId>,
    /// Admins hear of every change of a job.
    pub admin: bool,
}

/// Why a cursor is no place to resume from.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It is older than what is kept, or of a log that was replaced.
    #[error(
        "The cursor is older than the events that are kept. Read the list anew, with streamCursor, and subscribe from there."
    )]
    Expired,
    /// It is not a cursor of this server; the name is that of the argument, field or header which it came in.
    #[error("{0} is not a cursor of this event log. Pass on one that an event, a ping or streamCursor gave, as it is.")]
    NotOurs(&'static str),
    /// Nobody can tell now.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Ranges of positions that may wait for the tail.
const MAX_NUMBERED: usize = 1_024;

/// Numbers events, and says whether the log is still the one that it was.
const STAMP: &str = "SELECT numbered, head, (SELECT log_id FROM event_log WHERE id = 1) AS log_id FROM stamp_events()";

/// What [`event`] reads. Named everywhere, so that a column that a newer version adds troubles no statement that is
/// prepared already.
macro_rules! columns {
    () => {
        "position, event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload, occurred_at"
    };
}

/// The same as [`STAMP`], with the events that follow a position.
const READ: &str = concat!("SELECT numbered, head, log_id, ", columns!(), " FROM read_events(?, CAST(? AS integer))");

/// How far the log has got, on `SQLite`: the sequence and not the greatest id, since retention may have removed the
/// latest events.
macro_rules! head {
    () => {
        "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS head"
    };
}

/// The same as [`head`], with the event that follows a position.
const READ_ONE: &str = concat!(
    "SELECT head, ",
    columns!(),
    " FROM (",
    head!(),
    ") LEFT JOIN events ON position = (SELECT MIN(position) FROM events WHERE position > ?)"
);

/// How far the log has got.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The last position given out.
    pub head: i64,
    /// What follows the position that was asked about, in order; up to the limit.
    pub events: Vec<Event>,
}

/// The log as its readers see it.
#[derive(Clone, Debug)]
pub struct EventLog {
    db: Db,
    identity: Uuid,
    numbered: Arc<Mutex<Vec<RangeInclusive<i64>>>>,
    replaced: Arc<AtomicBool>,
    /// What is read in place of the database, in a simulation.
    source: Option<Arc<dyn LogSource>>,
}

impl EventLog {
    /// Opens the log.
    pub async fn open(db: Db) -> Result<Self, Fault> {
        let row = db.reader().query_one_raw(db.statement("SELECT log_id FROM event_log WHERE id = 1", [])).await?;
        let row = row.ok_or_else(|| Fault::corrupt("event_log has no row; run `lancewire migrate`"))?;
        let identity = row.try_get("", "log_id")?;
        Ok(Self { identity, db, numbered: Arc::default(), replaced: Arc::default(), source: None })
    }

    /// A log that is not in the database, for a simulation. Only what delivery asks for is there.
    pub fn simulated(db: Db, identity: Uuid, source: Arc<dyn LogSource>) -> Self {
        Self { db, identity, numbered: Arc::default(), replaced: Arc::default(), source: Some(source) }
    }

    /// Part of every cursor.
    pub const fn identity(&self) -> Uuid {
        self.identity
    }

    /// Numbers what has been committed and returns the last position given out. Safe to call from any number of places.
    pub async fn stamp(&self) -> Result<i64, DbErr> {
        if let Some(source) = &self.source {
            let (Advance { head, .. }, numbered) = source.advance(i64::MAX, 1).await?;
            self.note_numbered(numbered, head);
            return Ok(head);
        }
        let ask = |sql| self.db.statement(sql, []);
        let nothing = || DbErr::RecordNotFound("the head of the event log".into());
        match self.db.backend() {
            Backend::Postgres => {
                let row = self.db.writer().query_one_raw(ask(STAMP)).await?;
                self.stamped(&row.ok_or_else(nothing)?)
            }
            Backend::Sqlite => {
                self.db.reader().query_one_raw(ask(head!())).await?.ok_or_else(nothing)?.try_get("", "head")
            }
        }
    }

    /// Numbers what has been committed, and reads up to `limit` events after `position`: one statement, and on `SQLite`
    /// another where more than one follows. For the tail, over its own connection.
    pub async fn advance(&self, position: i64, limit: u32) -> Result<Advance, Fault> {
        if let Some(source) = &self.source {
            let (advance, numbered) = source.advance(position, limit).await?;
            self.note_numbered(numbered, advance.head);
            return Ok(advance);
        }
        if self.db.backend() == Backend::Sqlite {
            return self.advance_sqlite(position, limit).await;
        }
        let statement = self.db.statement(READ, [position.into(), i64::from(limit).into()]);
        // All rows, and with them the word that the numbering is committed: before that nobody may hear of it.
        let rows = self.db.tail().query_all_raw(statement).await?;
        let first = rows.first().ok_or_else(|| Fault::corrupt("event_log has no row"))?;
        let head = self.stamped(first)?;
        let follows = first.try_get::<Option<i64>>("", "position")?.is_some();
        let rows = if follows { rows.as_slice() } else { &[] };
        Ok(Advance { head, events: rows.iter().map(event).collect::<Result<_, _>>()? })
    }

    /// One row for one event, which is the usual number: each further one is handed over by itself.
    async fn advance_sqlite(&self, position: i64, limit: u32) -> Result<Advance, Fault> {
        let row = self.db.tail().query_one_raw(self.db.statement(READ_ONE, [position.into()])).await?;
        let row = row.ok_or_else(|| Fault::corrupt("sqlite_sequence"))?;
        let head: i64 = row.try_get("", "head")?;
        if row.try_get::<Option<i64>>("", "position")?.is_none() {
            return Ok(Advance { head, events: Vec::new() });
        }
        let mut events = vec![event(&row)?];
        if let Some(first) = events.first().map(|first| first.position).filter(|first| *first < head && limit > 1) {
            events.extend(self.next(first, limit - 1).await?);
        }
        // The second statement may see more than the first.
        let head = events.last().map_or(head, |last| last.position.max(head));
        Ok(Advance { head, events })
    }

    /// Notes what was numbered, and returns the last position given out.
    fn stamped(&self, row: &QueryResult) -> Result<i64, DbErr> {
        if row.try_get::<Uuid>("", "log_id")? != self.identity {
            self.replaced.store(true, Ordering::Release);
            return Err(DbErr::Custom("the event log was replaced under this process".into()));
        }
        let (numbered, head): (i64, i64) = (row.try_get("", "numbered")?, row.try_get("", "head")?);
        self.note_numbered(numbered, head);
        Ok(head)
    }

    fn note_numbered(&self, numbered: i64, head: i64) {
        if numbered > 0 {
            let mut ranges = self.numbered();
            // Only where no tail asks for them; one that is dropped is found by the others a moment later.
            if ranges.len() < MAX_NUMBERED {
                ranges.push(head - numbered + 1..=head);
            }
        }
    }

    /// Whether the log that this process began with is no more: the database has another one in its place.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// Gives the log another identity, unless another node has done so already, and with it an end to all cursors of before.
    ///
    /// For a log that has lost events which were delivered: after a failover to a standby that lacked the last commits, or
    /// a restore. New events get the positions of the lost ones, and a cursor among those would skip them in silence.
    pub async fn renounce(&self) -> Result<(), DbErr> {
        let sql = "UPDATE event_log SET log_id = ? WHERE id = 1 AND log_id = ?";
        let renounced = self.db.statement(sql, [Uuid::from_bytes(self.db.ids().secret()).into(), self.identity.into()]);
        self.db.writer().execute_raw(renounced).await?;
        self.replaced.store(true, Ordering::Release);
        Ok(())
    }

    /// Names this log and the place where it is: a copy of the database, though it has the same log, has another name.
    /// `PostgreSQL` only.
    pub async fn installation(&self) -> Result<String, Fault> {
        let sql = "SELECT CAST(system_identifier AS text) || '-' || \
                   (SELECT CAST(oid AS text) FROM pg_database WHERE datname = current_database()) AS place \
                   FROM pg_control_system()";
        let row = self.db.writer().query_one_raw(self.db.statement(sql, [])).await?;
        let place: String = row.ok_or_else(|| Fault::corrupt("pg_control_system"))?.try_get("", "place")?;
        Ok(format!("{}:{place}", self.identity.simple()))
    }

    /// The ranges of positions that this process has given out since it was last asked: nobody else knows of them yet.
    ///
    /// For the tail, which tells the other nodes. None on `SQLite`, where events are born with their positions.
    pub fn take_numbered(&self) -> Vec<RangeInclusive<i64>> {
        std::mem::take(&mut *self.numbered())
    }

    fn numbered(&self) -> MutexGuard<'_, Vec<RangeInclusive<i64>>> {
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `limit` events after `position`, in order.
    pub async fn after(&self, position: i64, limit: u32) -> Result<Vec<Event>, Fault> {
        self.read(self.db.reader(), position, limit).await
    }

    /// The same for the tail, over its own connection.
    pub async fn next(&self, position: i64, limit: u32) -> Result<Vec<Event>, Fault> {
        self.read(self.db.tail(), position, limit).await
    }

    async fn read(&self, db: &impl ConnectionTrait, position: i64, limit: u32) -> Result<Vec<Event>, Fault> {
        if let Some(source) = &self.source {
            return Ok(source.page(position, limit).await?);
        }
        let sql = match self.db.backend() {
            // Planned for a log of any age.
            Backend::Postgres => concat!("SELECT ", columns!(), " FROM events_after(?, CAST(? AS integer))"),
            Backend::Sqlite => {
                concat!("SELECT ", columns!(), " FROM events WHERE position > ? ORDER BY position LIMIT ?")
            }
        };
        let statement = self.db.statement(sql, [position.into(), i64::from(limit).into()]);
        db.query_all_raw(statement).await?.iter().map(event).collect()
    }

    /// Up to `limit` events between two positions, both excluded, that `listener` was entitled to when they happened:
    /// the first ones in order, or the last ones if `backward`, still in order.
    pub async fn heard_by(
        &self,
        listener: Listener,
        (after, before): (i64, i64),
        limit: u32,
        backward: bool,
    ) -> Result<Vec<Event>, Fault> {
        let direction = if backward { "DESC" } else { "ASC" };
        // Named, so that what another version has recorded for the nodes alone takes no place on anybody's page.
        let told = EventKind::ALL.iter().filter(|kind| !kind.is_internal());
        let told: Vec<String> = told.map(|kind| format!("'{}'", kind.as_str())).collect();
        let told = told.join(", ");
        let sql = format!(
            "SELECT {columns} FROM events WHERE position > ? AND position < ? AND kind IN ({told}) \
             AND (is_public = ? OR owner_id = ? OR claimant_id = ? OR (? = ? AND kind IN ('JOB_POSTED', 'JOB_UPDATED'))) \
             ORDER BY position {direction} LIMIT ?",
            columns = columns!()
        );
        // Nobody's id, for those who are not signed in.
        let user = listener.user.map_or(Uuid::nil(), Uuid::from);
        let values: [Value; 8] = [
            after.into(),
            before.into(),
            true.into(),
            user.into(),
            user.into(),
            listener.admin.into(),
            true.into(),
            i64::from(limit).into(),
        ];
        let rows = self.db.reader().query_all_raw(self.db.statement(&sql, values)).await?;
        let mut events: Vec<Event> = rows.iter().map(event).collect::<Result<_, _>>()?;
        if backward {
            events.reverse();
        }
        Ok(events)
    }

    /// Reads a cursor as a client sent it back in `name`. It must be of this log, not ahead of it, and what came after
    /// it must still be kept.
    pub async fn resume_point(&self, name: &'static str, cursor: &str) -> Result<i64, ResumeError> {
        let cursor = EventCursor::decode(cursor).ok_or(ResumeError::NotOurs(name))?;
        if cursor.log != self.identity {
            return Err(ResumeError::Expired);
        }
        let head = self.stamp().await.map_err(Fault::from)?;
        if cursor.position > head {
            return Err(ResumeError::NotOurs(name));
        }
        // The first event after the cursor is the one that retention would have taken first.
        let kept = cursor.position == head || self.oldest().await?.is_some_and(|oldest| oldest <= cursor.position + 1);
        if kept { Ok(cursor.position) } else { Err(ResumeError::Expired) }
    }

    /// The oldest position that is kept.
    pub async fn oldest(&self) -> Result<Option<i64>, Fault> {
        if let Some(source) = &self.source {
            return Ok(source.oldest().await?);
        }
        let sql = "SELECT MIN(position) AS oldest FROM events";
        let row = self.db.reader().query_one_raw(self.db.statement(sql, [])).await?;
        row.map_or(Ok(None), |row| Ok(row.try_get("", "oldest")?))
    }

    /// Forgets up to `limit` of the oldest events that happened before `moment`, and returns how many. What remains is
    /// contiguous: an older event behind a younger one waits for that.
    pub async fn forget(&self, moment: Timestamp, limit: u32) -> Result<u64, DbErr> {
        let sql = "DELETE FROM events WHERE position < COALESCE( \
                   (SELECT MIN(position) FROM events WHERE occurred_at >= ?), \
                   (SELECT MAX(position) + 1 FROM events)) \
                   AND position < (SELECT MIN(position) FROM events) + ?";
        let values = [moment.into(), i64::from(limit).into()];
        Ok(self.db.writer().execute_raw(self.db.statement(sql, values)).await?.rows_affected())
    }

    /// The cursor of the last event that the commits of an operation have left; of one that repeats what was done before,
    /// where the log stands now. None if they have left nothing, or if nobody can tell.
    ///
    /// May wait for as long as the tail takes: the caller has a deadline.
    pub async fn cursor_of(&self, receipt: &Receipt) -> Option<String> {
        let position = match receipt.take()? {
            Place::Coming(arrival) => arrival.position().await,
            Place::Earlier => self.stamp().await.ok(),
        };
        position.map(|position| self.cursor(position))
    }

    /// For the tail alone, which says there what it has come to.
    pub fn arrivals(&self) -> &Arrivals {
        self.db.arrivals()
    }

    /// A position as clients hold it.
    pub fn cursor(&self, position: i64) -> String {
        EventCursor { log: self.identity, position }.encode()
    }
}

fn event(row: &QueryResult) -> Result<Event, Fault> {
    Ok(Event {
        position: row.try_get("", "position")?,
        recorded: NewEvent {
            id: row.try_get("", "event_id")?,
            kind: EventKind::recorded_as(&row.try_get::<String>("", "kind")?),
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
