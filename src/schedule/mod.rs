//! The clock room: what happens because its time has come.
//!
//! A due time is a column of the row that it is about, behind a partial index ([`DueRows`]). One task a process ([`run`])
//! looks at all kinds of such rows, sleeps until the least due time of them, takes those that are due in pages of
//! [`PAGE`], and calls for each the ordinary use case of its domain as `Actor::System` ([`Due::act`]). There is no leader
//! and no queue: every node does so. What makes it happen once is the guard of the use case on the locked row; rows that
//! another node has locked are skipped (`FOR UPDATE SKIP LOCKED`), which only saves work.
//!
//! **The database's time decides, never a node's.** What is due is found by it, and the guard asks for it once more
//! under the lock ([`Schedule::is_due_in`]); a due time that is written now counts from it ([`Schedule::after`]). So a
//! node whose clock is an hour ahead does nothing early. On `SQLite`, which is one node, it is the process's clock.
//!
//! A row that cannot be acted on now keeps no other waiting: a look goes through all that are due, whatever fails, and
//! comes back to those that failed after a pause that grows. All kinds take turns, a page each, and after a full page the
//! room rests: a hundred thousand rows of one kind, as after a month without a node, hold up neither another kind nor the
//! mutations of people. A due time of which nobody rang is found within five seconds ([`PERIOD`]).
//!
//! Domains get a [`Schedule`] to write due times and to say that there is a new one; the composition runs [`run`] with
//! what they bring. Uses the log for nothing: knows no domain and no event.

mod time;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait, DbErr, Value, prelude::async_trait::async_trait};
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

pub use self::time::DatabaseTime;
use crate::{
    backoff::BackOff,
    clock::{Clock, Timestamp},
    db::{Backend, Db, Tx},
    error::InternalError,
    lifecycle::Lifecycle,
};

/// Rows that are taken at a time.
pub const PAGE: usize = 64;
/// How long it sleeps at the most: another node may have written a due time, and stopped.
const PERIOD: Duration = Duration::from_secs(5);
/// The pauses before what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// After a full page it rests for this part of the time that the page took, so that others get their turn.
const REST: u32 = 4;
/// How long one row may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where due times of a kind stand. Names and conditions of ours, in SQL.
#[derive(Clone, Copy, Debug)]
pub struct DueRows {
    /// The table; its key is `id`, a UUID.
    pub table: &'static str,
    /// The column with the due time.
    pub due: &'static str,
    /// What holds of rows that are still to be acted on: with a due time, the condition of the partial index.
    pub open: &'static str,
}

/// Something that is done to rows when their time has come.
#[async_trait]
pub trait Due: fmt::Debug + Send + Sync {
    /// Where the rows are.
    fn rows(&self) -> DueRows;

    /// Calls the use case for one row, which looks under the lock whether it is still due ([`Schedule::is_due_in`]). One
    /// that is not is no failure.
    async fn act(&self, id: Uuid) -> Result<(), InternalError>;
}

/// What a domain has of the room. Clones share it.
#[derive(Clone, Debug)]
pub struct Schedule {
    db: Db,
    clock: Clock,
    time: DatabaseTime,
    bell: Arc<Notify>,
}

impl Schedule {
    /// A room on this database. `time` is kept fresh by who hands it in.
    pub fn new(db: Db, clock: Clock, time: DatabaseTime) -> Self {
        Self { db, clock, time, bell: Arc::default() }
    }

    /// When it is due what is due after `delay` from now. Asks nobody: as exact as the machine's steady clock is in the
    /// minute since the database was last asked.
    pub fn after(&self, delay: TimeDelta) -> Timestamp {
        let now = match self.db.backend() {
            Backend::Postgres => Timestamp::from_timestamp_millis(self.time.now_ms()).unwrap_or(self.clock.now()),
            Backend::Sqlite => self.clock.now(),
        };
        now + delay
    }

    /// Says that a due time was written. After the commit.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Locks a row if it is due and still open. The use case asks this first, or after it has locked what must be locked
    /// before, and decides by it.
    pub async fn is_due_in(&self, tx: &Tx, DueRows { table, due, open }: DueRows, id: Uuid) -> Result<bool, DbErr> {
        let select = format!("SELECT id FROM {table} WHERE id = ? AND {open} AND {due}");
        let rows = match tx.backend() {
            Backend::Postgres => tx.query(&format!("{select} <= clock_timestamp() FOR UPDATE"), [id.into()]).await?,
            Backend::Sqlite => tx.query(&format!("{select} <= ?"), [id.into(), self.clock.now().into()]).await?,
        };
        Ok(!rows.is_empty())
    }

    /// The time that decides.
    async fn now(&self) -> Result<Timestamp, DbErr> {
        match self.db.backend() {
            Backend::Postgres => self.db.now().await,
            Backend::Sqlite => Ok(self.clock.now()),
        }
    }

    /// The next rows that are due at `now`, behind a place in their order.
    async fn take(
        &self,
        DueRows { table, due, open }: DueRows,
        now: Timestamp,
        behind: Option<(Timestamp, Uuid)>,
    ) -> Result<Vec<(Timestamp, Uuid)>, DbErr> {
        let mut values: Vec<Value> = vec![now.into()];
        let mut further = String::new();
        if let Some((last, id)) = behind {
            values.extend([last.into(), id.into()]);
            further = format!(" AND ({due}, id) > (?, ?)");
        }
        let skip = if self.db.backend() == Backend::Postgres { " FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "SELECT {due} AS due, id FROM {table} WHERE {open} AND {due} IS NOT NULL AND {due} <= ?{further} \
             ORDER BY {due}, id LIMIT {PAGE}{skip}"
        );
        let take = self.db.statement_of(&sql, values);
        let rows = match self.db.backend() {
            Backend::Postgres => self.db.writer().query_all_raw(take).await?,
            Backend::Sqlite => self.db.reader().query_all_raw(take).await?,
        };
        rows.iter().map(|row| Ok((row.try_get("", "due")?, row.try_get("", "id")?))).collect()
    }

    /// The first due time behind `now`.
    async fn next(&self, DueRows { table, due, open }: DueRows, now: Timestamp) -> Result<Option<Timestamp>, DbErr> {
        let sql = format!(
            "SELECT {due} AS due FROM {table} WHERE {open} AND {due} IS NOT NULL AND {due} > ? ORDER BY {due} LIMIT 1"
        );
        let row = self.db.reader().query_one_raw(self.db.statement(&sql, [now.into()])).await?;
        row.map(|row| row.try_get("", "due")).transpose()
    }

    /// Acts on the next page of what is due at `now`.
    async fn act(&self, turn: &mut Turn<'_>, now: Timestamp, lifecycle: &Lifecycle) -> Result<(), DbErr> {
        let kind = turn.kind;
        let rows = self.take(kind.rows(), now, turn.behind).await?;
        for (_, id) in &rows {
            if lifecycle.is_stopping() {
                turn.open = false;
                return Ok(());
            }
            let late = || InternalError::Unavailable("it has taken too long".into());
            let acted = timeout(DEADLINE, kind.act(*id)).await.unwrap_or_else(|_| Err(late()));
            if let Err(error) = acted {
                tracing::error!(table = kind.rows().table, id = %id, error = %error, "what is due cannot be done");
                turn.failed = true;
            }
        }
        turn.behind = rows.last().copied();
        turn.open = rows.len() == PAGE;
        Ok(())
    }

    /// One look at everything.
    async fn look(&self, kinds: &[Box<dyn Due>], lifecycle: &Lifecycle) -> Result<Look, DbErr> {
        let (asked, now) = (Instant::now(), self.now().await?);
        let mut look = Look { asked, now, next: None, failed: false };
        let turn = |kind| Turn { kind, behind: None, open: true, failed: false };
        let mut turns: Vec<Turn<'_>> = kinds.iter().map(|kind| turn(&**kind)).collect();
        while turns.iter().any(|turn| turn.open) {
            for turn in turns.iter_mut().filter(|turn| turn.open) {
                let started = Instant::now();
                self.act(turn, now, lifecycle).await?;
                if turn.open {
                    tokio::time::sleep(started.elapsed() / REST).await;
                }
            }
        }
        look.failed = turns.iter().any(|turn| turn.failed);
        for kind in kinds {
            look.next = look.next.into_iter().chain(self.next(kind.rows(), now).await?).min();
        }
        Ok(look)
    }

    /// Sleeps until there is something to do after a look, and what failed for `pause` at the least.
    async fn sleep(&self, look: Option<Look>, pause: Option<Duration>) {
        let due = look.and_then(|look| Some((look, look.next?)));
        if self.db.backend() == Backend::Sqlite {
            // The process's clock decides, which a test may move.
            let again = pause.map(|pause| self.clock.now() + TimeDelta::from_std(pause).unwrap_or_default());
            let first = due.map(|(_, due)| due).into_iter().chain(again).min();
            let sleep = async {
                match first {
                    Some(moment) => self.clock.sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            // An earlier due time may have been written meanwhile.
            let _ = timeout(PERIOD, sleep).await;
            return;
        }
        let left = due.map(|(Look { asked, now, .. }, due)| {
            (due - now).to_std().unwrap_or_default().saturating_sub(asked.elapsed())
        });
        let wait = left.into_iter().chain(pause).min().unwrap_or(PERIOD);
        tokio::time::sleep(wait.min(PERIOD)).await;
    }
}

/// How far a look has come with one kind.
struct Turn<'a> {
    kind: &'a dyn Due,
    /// The last row of the page before.
    behind: Option<(Timestamp, Uuid)>,
    /// Whether there may be another page.
    open: bool,
    /// Whether something that was due could not be done.
    failed: bool,
}

/// What a look has found.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// When it began, by the steady clock.
    asked: Instant,
    /// And by the clock that decides.
    now: Timestamp,
    /// The first due time behind that.
    next: Option<Timestamp>,
    /// Whether something that was due could not be done.
    failed: bool,
}

/// Does what is due until the process stops. May be cut off anywhere.
pub async fn run(kinds: Vec<Box<dyn Due>>, schedule: Schedule, lifecycle: Lifecycle) {
    let mut pauses = BackOff::new(schedule.db.ids(), RETRY);
    while !lifecycle.is_stopping() {
        let look = schedule.look(&kinds, &lifecycle).await;
        if let Err(error) = &look {
            tracing::error!(error = %error, "cannot look for what is due");
        }
        let look = look.ok();
        let pause = if look.is_some_and(|look| !look.failed) {
            pauses.reset();
            None
        } else {
            Some(pauses.length())
        };
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = schedule.bell.notified() => {}
            () = schedule.sleep(look, pause) => {}
        }
    }
}
