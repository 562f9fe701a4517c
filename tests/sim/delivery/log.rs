//! The log of all nodes, in memory.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::{BoxFuture, FutureExt};
use lancewire::events::{Advance, Event, LogSource, Mark, NewEvent, Page};
use sea_orm::DbErr;

use super::Chance;

/// Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    stored: Arc<Mutex<Stored>>,
    chance: Chance,
    /// Whether nobody gets an answer.
    pub(crate) away: Arc<AtomicBool>,
    /// Whether answers may be wrong in other ways.
    pub(crate) troubled: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Stored {
    /// Everything ever numbered; the position of the first is 1.
    numbered: Vec<Event>,
    committed: Vec<NewEvent>,
    /// Up to here events are no longer kept.
    forgotten: i64,
}

impl Stored {
    fn head(&self) -> i64 {
        i64::try_from(self.numbered.len()).expect("64 bits")
    }

    /// What stands at a position, if that is kept or was the last to go.
    fn stands(&self, position: i64) -> Option<Mark> {
        let position = position.min(self.head());
        if position < self.forgotten.max(1) {
            return None;
        }
        let event = self.numbered.get(usize::try_from(position - 1).ok()?)?;
        Some(Mark::of(event.recorded.id))
    }

    fn after(&self, position: i64, limit: u32) -> Vec<Event> {
        let skip = usize::try_from(position.max(self.forgotten)).unwrap_or(usize::MAX);
        let limit = usize::try_from(limit).expect("a usize");
        self.numbered.iter().skip(skip).take(limit).cloned().collect()
    }
}

impl Log {
    pub(crate) fn new(chance: Chance) -> Self {
        let troubled = Arc::new(AtomicBool::new(true));
        Self { stored: Arc::default(), chance, away: Arc::default(), troubled }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().expect("whole")
    }

    /// What a transaction leaves behind.
    pub(crate) fn commit(&self, events: Vec<NewEvent>) {
        self.stored().committed.extend(events);
    }

    /// Whether all that was committed has its position.
    pub(crate) fn is_numbered(&self) -> bool {
        self.stored().committed.is_empty()
    }

    /// The last position given out.
    pub(crate) fn head(&self) -> i64 {
        self.stored().head()
    }

    /// The last position that is not kept.
    pub(crate) fn forgotten(&self) -> i64 {
        self.stored().forgotten
    }

    /// All that was ever numbered.
    pub(crate) fn everything(&self) -> Vec<Event> {
        self.stored().numbered.clone()
    }

    /// What stands at a position, and nothing before the first.
    pub(crate) fn mark(&self, position: i64) -> Mark {
        if position == 0 { Mark::NONE } else { Mark::of(self.event(position).recorded.id) }
    }

    pub(crate) fn event(&self, position: i64) -> Event {
        self.stored().numbered[usize::try_from(position - 1).expect("a place")].clone()
    }

    /// Keeps so many of the last events.
    pub(crate) fn forget_all_but(&self, kept: i64) {
        let mut stored = self.stored();
        stored.forgotten = stored.forgotten.max(stored.head() - kept);
    }

    fn is_troubled(&self, once_in: usize) -> bool {
        self.troubled.load(Ordering::Relaxed) && self.chance.once_in(once_in)
    }

    /// On the way there or back.
    async fn way(&self) -> Result<(), DbErr> {
        self.chance.pause(6).await;
        if self.is_troubled(150) {
            // A connection that fell silent, until somebody's patience ends.
            self.chance.pause(2_000).await;
            return Err(DbErr::Custom("silence".into()));
        }
        if self.away.load(Ordering::Relaxed) || self.is_troubled(40) {
            return Err(DbErr::Custom("the log is away".into()));
        }
        Ok(())
    }
}

impl LogSource for Log {
    fn advance(&self, position: i64, limit: u32) -> BoxFuture<'_, Result<(Advance, i64), DbErr>> {
        async move {
            self.way().await?;
            let answer = {
                let mut stored = self.stored();
                let fresh = std::mem::take(&mut stored.committed);
                let numbered = i64::try_from(fresh.len()).expect("64 bits");
                for recorded in fresh {
                    let position = stored.head() + 1;
                    stored.numbered.push(Event { position, recorded });
                }
                let (head, stands) = (stored.head(), stored.stands(position));
                let events = stored.after(position, limit);
                (Advance { head, stands, events, unnumbered: false }, numbered)
            };
            // The numbering is done, whether anybody hears of it or not.
            self.way().await?;
            Ok(answer)
        }
        .boxed()
    }

    fn page(&self, position: i64, limit: u32) -> BoxFuture<'_, Result<Page, DbErr>> {
        async move {
            self.way().await?;
            let (mut events, stands) = {
                let stored = self.stored();
                (stored.after(position, limit), stored.stands(position))
            };
            if self.is_troubled(20) {
                // Of an older state.
                events.truncate(events.len() / 2);
            }
            self.way().await?;
            Ok(Page { stands, events })
        }
        .boxed()
    }

    fn oldest(&self) -> BoxFuture<'_, Result<Option<i64>, DbErr>> {
        async move {
            self.way().await?;
            let stored = self.stored();
            Ok((stored.forgotten < stored.head()).then_some(stored.forgotten + 1))
        }
        .boxed()
    }
}
