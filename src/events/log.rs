//! Writing to the log, numbering what was committed, and reading it in order.
//!
//! A serial number is taken at insert and becomes visible at commit, so a reader that has passed 101 never sees a 100
//! that commits late. Positions are therefore given *after* commit: on `PostgreSQL` by [`EventLog::stamp`], which any
//! number of nodes may call at any time, since the numbering happens under the lock of one row; on `SQLite` there is
//! one writer at a time and a rolled-back number is given again, so the row id is the position already. Within one job,
//! wallet or inbox the order of positions is that of commits: the subject's row lock is held from before the insert
//! until commit.
//!
//! **A position is compared by what stands there.** A fail-over that lost commits, or a restore, gives positions that
//! were delivered to other events, and a head that has passed them says nothing of it. So a reader knows the event
//! there by its [`Mark`]: the tail compares it at each read ([`Advance::stands`]), a cursor carries it
//! ([`EventLog::resume_point`]), and a subscription that catches up compares each page with what this process has
//! published. The event just before the oldest one that is kept is known too, by `event_log`; a reader that stands
//! further back, or where nobody can say what stood, cannot resume.
//!
//! What is old is removed by [`retention`](super::retention).

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use hmac::{Hmac, KeyInit, Mac};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};
use sha2::Sha256;
use uuid::Uuid;

use super::{
    Audience, Event, EventCursor, EventKind, Kinds, LogSource, MOST_USERS, NewEvent,
    cursor::{Mark, Point},
    marks::Marks,
    viewers,
};
use crate::{
    db::{
        Backend, Db, Tx,
        receipt::{self, Arrivals, Left, Receipt},
    },
    error::InternalError,
    ids::{Ids, UserId},
    schedule::DatabaseTime,
};

/// Records an event in the transaction of the fact.
pub async fn record(tx: &Tx, event: NewEvent) -> Result<(), DbErr> {
    // The positions of one transaction's events are in the order in which they are recorded: rows of one insert.
    if event.audience.users().len() > MOST_USERS {
        return Err(DbErr::Custom(format!("an event names {} users", event.audience.users().len())));
    }
    let (owner, claimant) = event.audience.pair();
    let values: [Value; 11] = [
        event.id.into(),
        event.kind.as_str().into(),
        event.subject.into(),
        event.subject_version.into(),
        event.audience.public.into(),
        event.audience.list().into(),
        event.audience.admins.into(),
        owner.into(),
        claimant.into(),
        event.payload.into(),
        event.occurred_at.into(),
    ];
    tx.leaves(Left::Event(event.id));
    let sql = "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, recipients, \
               for_admins, owner_id, claimant_id, payload, occurred_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    tx.defer(sql, values).await
}

/// On whose behalf the log is read.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// The viewer; none for anonymous ones, who receive what is public.
    pub user: Option<UserId>,
    /// Admins receive every change of a job.
    pub admin: bool,
}

/// Why a cursor is no place to resume from.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It is older than what is kept, or of a log that was replaced.
    #[error(
        "The cursor is older than the events that are kept, or of a log that was replaced. Read the list anew, with \
         streamCursor, and subscribe from there."
    )]
    Expired,
    /// It is not a cursor of this server; the name is that of the argument, field or header which it came in.
    #[error("{0} is not a cursor of this event log. Pass on one that an event, a ping or streamCursor gave, as it is.")]
    NotOurs(&'static str),
    /// Nobody can tell now.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

/// Ranges of positions that may wait for the tail.
const MAX_NUMBERED: usize = 1_024;

/// Events that one statement numbers at the most: it must be done long before `database.statement_timeout_ms`.
const BATCH: u32 = 5_000;

/// What [`event`] reads. Named everywhere, so that a column that a newer version adds troubles no statement that is
/// prepared already.
macro_rules! columns {
    () => {
        "position, event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload, occurred_at, \
         recipients, for_admins"
    };
}

/// Numbers events, and says up to where, in which log, what stands at a position (or at the head, if that is earlier), and
/// which events follow.
const FOLLOW: &str = concat!(
    "SELECT numbered, head, log_id, stands, ",
    columns!(),
    " FROM tail_events(?, CAST(? AS integer), CAST(? AS integer))"
);

/// The same without the events.
const PLACE: &str = "SELECT numbered, head, log_id, stands FROM tail_events(?, 0, CAST(? AS integer))";

/// How far the log has got, on `SQLite`: the sequence and not the greatest id, since retention may have removed the
/// latest events. And what stands at a position or at the head, as above.
macro_rules! place {
    () => {
        "SELECT 0 AS numbered, head, log_id, COALESCE( \
             (SELECT event_id FROM events WHERE position = MIN(?, head)), \
             CASE WHEN forgotten_position = MIN(?, head) THEN forgotten_event END) AS stands \
         FROM (SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS head) \
         JOIN event_log ON event_log.id = 1"
    };
}

/// The same, with the event that follows a position.
const FOLLOW_ONE: &str = concat!(
    "SELECT numbered, head, log_id, stands, ",
    columns!(),
    " FROM (",
    place!(),
    ") LEFT JOIN events ON position = (SELECT MIN(position) FROM events WHERE position > ?)"
);

/// How far the log has got.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The last position given out.
    pub head: i64,
    /// What stands at the position that was asked about, or at the head, if that is earlier; none if nobody knows.
    pub stands: Option<Mark>,
    /// What follows the position that was asked about, in order; up to the limit.
    pub events: Vec<Event>,
    /// Whether there may be more to number: as many were as one statement numbers.
    pub unnumbered: bool,
}

/// Events after a position.
#[derive(Clone, Debug)]
pub struct Page {
    /// What stands at the position itself; none if that event is not kept.
    pub stands: Option<Mark>,
    /// What follows it, in order; up to the limit.
    pub events: Vec<Event>,
}

/// A position as the log has it.
#[derive(Clone, Copy, Debug)]
struct Place {
    head: i64,
    stands: Option<Mark>,
    unnumbered: bool,
}

/// The log as its readers see it.
#[derive(Clone, Debug)]
pub struct EventLog {
    pub(super) db: Db,
    kinds: Kinds,
    identity: Uuid,
    numbered: Arc<Mutex<Vec<RangeInclusive<i64>>>>,
    replaced: Arc<AtomicBool>,
    marks: Arc<Marks>,
    pub(super) time: DatabaseTime,
    /// What is read in place of the database, in a simulation.
    source: Option<Arc<dyn LogSource>>,
}

impl EventLog {
    /// Opens the log, of which events of other kinds than these are passed over as [`EventKind::UNKNOWN`].
    pub async fn open(db: Db, kinds: Kinds) -> Result<Self, InternalError> {
        let row = db.reader().query_one_raw(db.statement("SELECT log_id FROM event_log WHERE id = 1", [])).await?;
        let row = row.ok_or_else(|| InternalError::corrupt("event_log has no row; run `lancewire migrate`"))?;
        let identity = row.try_get("", "log_id")?;
        let time = DatabaseTime::asked(&db).await?;
        let (numbered, replaced, marks) = Default::default();
        Ok(Self { db, kinds, identity, numbered, replaced, marks, time, source: None })
    }

    /// A log that is not in the database, for a simulation. Only what delivery asks for is there.
    pub fn simulated(db: Db, identity: Uuid, time: DatabaseTime, source: Arc<dyn LogSource>) -> Self {
        let (numbered, replaced, marks) = Default::default();
        Self { db, kinds: Kinds::NONE, identity, numbered, replaced, marks, time, source: Some(source) }
    }

    /// The kinds of events that this version knows.
    pub const fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Part of every cursor.
    pub const fn identity(&self) -> Uuid {
        self.identity
    }

    /// Numbers all that has been committed, in batches, and returns the last position given out. Safe to call from any
    /// number of places.
    pub async fn stamp(&self) -> Result<i64, DbErr> {
        loop {
            let place = self.place(i64::MAX).await?;
            if !place.unnumbered {
                return Ok(place.head);
            }
        }
    }

    /// Where the log ends, and what stands there, after a batch of what has been committed was numbered. What waits for its
    /// number after that will stand behind it.
    pub async fn head(&self) -> Result<Point, DbErr> {
        let Place { head, stands, .. } = self.place(i64::MAX).await?;
        let point = Point { position: head, mark: stands.unwrap_or(Mark::NONE) };
        self.note(point);
        Ok(point)
    }

    /// What stands at a position; none if nobody knows, or if the log does not go that far.
    pub async fn stands_at(&self, position: i64) -> Result<Option<Mark>, DbErr> {
        let place = self.place(position).await?;
        Ok(place.stands.filter(|_| position <= place.head))
    }

    async fn place(&self, position: i64) -> Result<Place, DbErr> {
        if let Some(source) = &self.source {
            let (Advance { head, stands, unnumbered, .. }, numbered) = source.advance(position, 0).await?;
            self.note_numbered(numbered, head);
            return Ok(Place { head, stands, unnumbered });
        }
        let statement = match self.db.backend() {
            Backend::Postgres => self.db.statement(PLACE, [position.into(), i64::from(BATCH).into()]),
            Backend::Sqlite => self.db.statement(place!(), [position.into(), position.into()]),
        };
        let row = match self.db.backend() {
            Backend::Postgres => self.db.writer().query_one_raw(statement).await?,
            Backend::Sqlite => self.db.reader().query_one_raw(statement).await?,
        };
        self.stamped(&row.ok_or_else(|| DbErr::RecordNotFound("the head of the event log".into()))?)
    }

    /// Numbers what has been committed, and reads up to `limit` events after `position` and what stands there: one
    /// statement, and on `SQLite` another where more than one follows. For the tail, over its own connection.
    pub async fn advance(&self, position: i64, limit: u32) -> Result<Advance, InternalError> {
        if let Some(source) = &self.source {
            let (advance, numbered) = source.advance(position, limit).await?;
            self.note_numbered(numbered, advance.head);
            return Ok(advance);
        }
        if self.db.backend() == Backend::Sqlite {
            return self.advance_sqlite(position, limit).await;
        }
        let statement = self.db.statement(FOLLOW, [position.into(), i64::from(limit).into(), i64::from(BATCH).into()]);
        // All rows, and with them the word that the numbering is committed: before that no other node may be notified.
        let rows = self.db.tail().query_all_raw(statement).await?;
        let first = rows.first().ok_or_else(|| InternalError::corrupt("event_log has no row"))?;
        let Place { head, stands, unnumbered } = self.stamped(first)?;
        let follows = first.try_get::<Option<i64>>("", "position")?.is_some();
        let rows = if follows { rows.as_slice() } else { &[] };
        Ok(Advance { head, stands, events: self.events(rows)?, unnumbered })
    }

    /// One row for one event, which is the usual number: each further one is handed over by itself.
    async fn advance_sqlite(&self, position: i64, limit: u32) -> Result<Advance, InternalError> {
        let statement = self.db.statement(FOLLOW_ONE, [position.into(), position.into(), position.into()]);
        let row = self.db.tail().query_one_raw(statement).await?;
        let row = row.ok_or_else(|| InternalError::corrupt("event_log has no row"))?;
        let Place { head, stands, unnumbered } = self.stamped(&row)?;
        if row.try_get::<Option<i64>>("", "position")?.is_none() {
            return Ok(Advance { head, stands, events: Vec::new(), unnumbered });
        }
        let mut events = self.events(std::slice::from_ref(&row))?;
        if let Some(first) = events.first().map(|first| first.position).filter(|first| *first < head && limit > 1) {
            events.extend(self.next(first, limit - 1).await?.events);
        }
        // The second statement may see more than the first.
        let head = events.last().map_or(head, |last| last.position.max(head));
        Ok(Advance { head, stands, events, unnumbered })
    }

    fn events(&self, rows: &[QueryResult]) -> Result<Vec<Event>, InternalError> {
        rows.iter().map(|row| event(row, self.kinds)).collect()
    }

    /// Notes what was numbered, and reads what every statement about a place says.
    fn stamped(&self, row: &QueryResult) -> Result<Place, DbErr> {
        if row.try_get::<Uuid>("", "log_id")? != self.identity {
            self.replaced.store(true, Ordering::Release);
            return Err(DbErr::Custom("the event log was replaced under this process".into()));
        }
        let (numbered, head): (i64, i64) = (row.try_get("", "numbered")?, row.try_get("", "head")?);
        self.note_numbered(numbered, head);
        let stands = row.try_get::<Option<Uuid>>("", "stands")?;
        let stands = stands.map(|event| Mark::of(event.into()));
        Ok(Place { head, stands, unnumbered: numbered >= i64::from(BATCH) })
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
    pub async fn installation(&self) -> Result<String, InternalError> {
        let sql = "SELECT CAST(system_identifier AS text) || '-' || \
                   (SELECT CAST(oid AS text) FROM pg_database WHERE datname = current_database()) AS place \
                   FROM pg_control_system()";
        let row = self.db.writer().query_one_raw(self.db.statement(sql, [])).await?;
        let place: String = row.ok_or_else(|| InternalError::corrupt("pg_control_system"))?.try_get("", "place")?;
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

    /// Up to `limit` events after `position`, in order, if they go on from what this process has published.
    pub async fn after(&self, position: i64, limit: u32) -> Result<Vec<Event>, InternalError> {
        let page = self.read(self.db.reader(), position, limit).await?;
        let known = |position| self.marks.at(position).unwrap_or(Mark::NONE);
        let other = page.stands.is_some_and(|stands| stands.contradicts(known(position)))
            || page.events.iter().any(|event| Mark::of(event.recorded.id).contradicts(known(event.position)));
        if other {
            // The tail finds out within a poll, and this process begins anew.
            return Err(InternalError::Unavailable("the event log has another history".into()));
        }
        page.events.iter().filter(|event| self.marks.at(event.position).is_none()).for_each(|event| {
            self.note(Point { position: event.position, mark: Mark::of(event.recorded.id) });
        });
        Ok(page.events)
    }

    /// The same with what stands at `position`, which is not compared: for those who know what should stand there.
    pub async fn follow(&self, position: i64, limit: u32) -> Result<Page, InternalError> {
        self.read(self.db.reader(), position, limit).await
    }

    /// The same for the tail, over its own connection; with what stands at `position`.
    pub async fn next(&self, position: i64, limit: u32) -> Result<Page, InternalError> {
        self.read(self.db.tail(), position, limit).await
    }

    /// Reads the event at `position` along, to see that it is the one that the caller knows.
    async fn read(&self, db: &impl ConnectionTrait, position: i64, limit: u32) -> Result<Page, InternalError> {
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
        let own = u32::from(position > 0);
        let values = [(position - i64::from(own)).into(), i64::from(limit.saturating_add(own)).into()];
        let rows = db.query_all_raw(self.db.statement(sql, values)).await?;
        let mut events = self.events(&rows)?;
        let mut stands = None;
        if events.first().is_some_and(|first| first.position == position) {
            stands = Some(Mark::of(events.remove(0).recorded.id));
        } else {
            // The event at the position is not kept, and one more was read in its place.
            events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(Page { stands, events })
    }

    /// Up to `limit` events between two positions, both excluded, that `listener` was entitled to when they happened:
    /// the first ones in order, or the last ones if `backward`, still in order.
    pub async fn heard_by(
        &self,
        listener: Listener,
        bounds: (i64, i64),
        limit: u32,
        backward: bool,
    ) -> Result<Vec<Event>, InternalError> {
        let select = self.select_heard_by(listener, bounds, limit, backward);
        let rows = self.db.reader().query_all_raw(select).await?;
        let mut events = self.events(&rows)?;
        if backward {
            events.reverse();
        }
        Ok(events)
    }

    /// The rows of [`EventLog::heard_by`], the last ones backward.
    pub fn select_heard_by(&self, listener: Listener, bounds: (i64, i64), limit: u32, backward: bool) -> Statement {
        let direction = if backward { "DESC" } else { "ASC" };
        // Named, so that what another version has recorded for the nodes alone takes no place on anybody's page.
        let told: Vec<EventKind> = self.kinds.iter().collect();
        let (meant, mut values) = viewers::positions(listener, &told, bounds, limit, backward);
        values.push(i64::from(limit).into());
        let sql = format!(
            "SELECT {columns} FROM events WHERE position IN (SELECT position FROM (SELECT DISTINCT position \
             FROM ({meant}) AS meant ORDER BY position {direction} LIMIT ?) AS page) ORDER BY position {direction}",
            columns = columns!()
        );
        self.db.statement_of(&sql, values)
    }

    /// The first position behind `after` and up to `head` of an event for `listener`, of one of these kinds; none if there
    /// is none. All up to `head` must have been numbered. What lies between is not read.
    ///
    /// Also none in a simulation, which has no indexes: [`EventLog::can_skip`].
    pub async fn next_for(
        &self,
        listener: Listener,
        kinds: &[EventKind],
        after: i64,
        head: i64,
    ) -> Result<Option<i64>, InternalError> {
        let (candidates, values) = viewers::positions(listener, kinds, (after, head + 1), 1, false);
        if candidates.is_empty() {
            return Ok(None);
        }
        let sql = format!("SELECT MIN(position) AS next FROM ({candidates}) AS candidates");
        let row = self.db.reader().query_one_raw(self.db.statement_of(&sql, values)).await?;
        row.map_or(Ok(None), |row| Ok(row.try_get("", "next")?))
    }

    /// Whether the log is in a database, where a reader can be told what is for them.
    pub const fn can_skip(&self) -> bool {
        self.source.is_none()
    }

    /// Reads a cursor as a client sent it back in `name`. It must be of this log and of this history, and what came after
    /// it must still be kept.
    ///
    /// What stands at its position proves all of that: what is kept has no holes, so where that event is kept, or was the
    /// last one to be removed, all that came after it is there. One ahead of the log is of a history that is lost; nobody
    /// can tell it from an invented one, and what a client must do is the same.
    pub async fn resume_point(&self, name: &'static str, cursor: &str) -> Result<i64, ResumeError> {
        let cursor = EventCursor::decode(cursor).ok_or(ResumeError::NotOurs(name))?;
        if cursor.log != self.identity {
            return Err(ResumeError::Expired);
        }
        let EventCursor { position, mark, .. } = cursor;
        let Place { head, stands, .. } = self.place(position).await.map_err(InternalError::from)?;
        let holds = if position > head {
            false
        } else if mark == Mark::NONE {
            // Before the first event, or a cursor of before: its position is all that it says.
            position == head || self.oldest().await?.is_some_and(|oldest| oldest <= position + 1)
        } else {
            stands == Some(mark)
        };
        if !holds {
            return Err(ResumeError::Expired);
        }
        self.note(Point { position, mark: stands.unwrap_or(mark) });
        Ok(position)
    }

    /// The oldest position that is kept.
    pub async fn oldest(&self) -> Result<Option<i64>, InternalError> {
        if let Some(source) = &self.source {
            return Ok(source.oldest().await?);
        }
        // From behind the last forgotten one on: those that are gone are not walked again.
        let sql = "SELECT MIN(position) AS oldest FROM events \
                   WHERE position > (SELECT forgotten_position FROM event_log WHERE id = 1)";
        let row = self.db.reader().query_one_raw(self.db.statement(sql, [])).await?;
        row.map_or(Ok(None), |row| Ok(row.try_get("", "oldest")?))
    }

    /// The cursor of the last event that the commits of an operation have left; of one that repeats what was done before,
    /// where the log stands now. None if they have left nothing, or if nobody can tell.
    ///
    /// May wait for as long as the tail takes: the caller has a deadline.
    pub async fn place_of(&self, receipt: &Receipt) -> Option<Point> {
        Some(match receipt.take()? {
            receipt::Place::Coming(arrival) => {
                let mark = Mark::of(arrival.event());
                Point { position: arrival.position().await?, mark }
            }
            receipt::Place::Earlier => self.head().await.ok()?,
        })
    }

    /// For the pauses of those who read.
    pub fn ids(&self) -> &Ids {
        self.db.ids()
    }

    /// For the tail alone, which says there what it has come to.
    pub fn arrivals(&self) -> &Arrivals {
        self.db.arrivals()
    }

    /// A place as clients hold it.
    pub fn cursor_at(&self, Point { position, mark }: Point) -> String {
        EventCursor { log: self.identity, position, mark }.encode()
    }

    /// A position as clients hold it, if this process knows what stands there: it does of all that it has published of
    /// late, and of what a subscription that catches up has just read.
    pub fn cursor(&self, position: i64) -> Option<String> {
        self.mark_at(position).map(|mark| self.cursor_at(Point { position, mark }))
    }

    /// What stands at a position, if this process knows.
    pub fn mark_at(&self, position: i64) -> Option<Mark> {
        self.marks.at(position)
    }

    /// Puts down what stands at a position.
    pub fn note(&self, Point { position, mark }: Point) {
        self.marks.set(position, mark);
    }

    /// The database's time, as this process knows it.
    pub const fn time(&self) -> &DatabaseTime {
        &self.time
    }

    /// A key for `purpose` that all nodes on this database can make, and nobody who cannot read `node_secret` there.
    pub async fn shared_key(&self, purpose: &str) -> Result<[u8; 32], InternalError> {
        let sql = "SELECT secret FROM node_secret WHERE id = 1";
        let row = self.db.reader().query_one_raw(self.db.statement(sql, [])).await?;
        let row = row.ok_or_else(|| InternalError::corrupt("node_secret has no row; run `lancewire migrate`"))?;
        let secret: Vec<u8> = row.try_get("", "secret")?;
        // HMAC takes keys of any length.
        let mut key = Hmac::<Sha256>::new_from_slice(&secret).map_err(|_| InternalError::corrupt("node_secret"))?;
        key.update(self.identity.as_bytes());
        key.update(purpose.as_bytes());
        Ok(key.finalize().into_bytes().into())
    }
}

fn event(row: &QueryResult, kinds: Kinds) -> Result<Event, InternalError> {
    let kind = kinds.recorded_as(&row.try_get::<String>("", "kind")?);
    Ok(Event {
        position: row.try_get("", "position")?,
        recorded: NewEvent {
            id: row.try_get("", "event_id")?,
            kind,
            subject: row.try_get("", "subject_id")?,
            subject_version: row.try_get("", "subject_version")?,
            audience: Audience::of_row(row, kind)?,
            payload: row.try_get("", "payload")?,
            occurred_at: row.try_get("", "occurred_at")?,
        },
    })
}
