//! Where the events of an operation's commits stand in the log, for an answer that names that place.
//!
//! On `PostgreSQL` an event gets its place after the commit that recorded it, from whichever node numbers it. Asking for
//! that costs a numbering of its own at each commit. But the tail of this process comes to every event anyway, a moment
//! after its commit: it says so here ([`Arrivals::arrived`]), and an operation that wants to know ([`Receipt`]) has put
//! down the event before the commit, so the answer cannot be missed.
//!
//! Invariants: what is put down is taken away with the [`Arrival`] that waits for it, so nothing stays; while no tail
//! runs or its database is away nothing is put down and nobody waits.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::ids::EventId;

/// The events that are waited for in this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether a tail says what arrives.
    open: AtomicBool,
    /// How many are waited for: looked at without the lock.
    count: AtomicUsize,
    waiting: Mutex<HashMap<EventId, oneshot::Sender<i64>>>,
}

impl Arrivals {
    /// The tail runs, and its database answers.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::Release);
    }

    /// It is not connected, for an unknown time: waiting callers are released at once.
    pub fn close(&self) {
        self.0.open.store(false, Ordering::Release);
        let mut waiting = self.waiting();
        waiting.clear();
        self.0.count.store(0, Ordering::Release);
    }

    /// These events stand at these positions.
    pub fn arrived(&self, events: impl IntoIterator<Item = (EventId, i64)>) {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut waiting = self.waiting();
        for (event, position) in events {
            if let Some(sender) = waiting.remove(&event) {
                // A caller that has given up needs no answer.
                let _ = sender.send(position);
            }
        }
        self.0.count.store(waiting.len(), Ordering::Release);
    }

    /// Puts down an event that is about to be committed.
    fn expect(&self, event: EventId) -> Option<Arrival> {
        if !self.0.open.load(Ordering::Acquire) {
            return None;
        }
        let (sender, position) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.insert(event, sender);
        self.0.count.store(waiting.len(), Ordering::Release);
        drop(waiting);
        Some(Arrival { event, position, arrivals: self.clone() })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<EventId, oneshot::Sender<i64>>> {
        self.0.waiting.lock()
    }
}

/// One event that is waited for.
#[derive(Debug)]
pub struct Arrival {
    event: EventId,
    position: oneshot::Receiver<i64>,
    arrivals: Arrivals,
}

impl Arrival {
    /// Which one.
    pub const fn event(&self) -> EventId {
        self.event
    }

    /// Its position; none if nobody will say.
    pub async fn position(mut self) -> Option<i64> {
        (&mut self.position).await.ok()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut waiting = self.arrivals.waiting();
        waiting.remove(&self.event);
        self.arrivals.0.count.store(waiting.len(), Ordering::Release);
    }
}

/// What a transaction has left in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// This event, its last one.
    Event(EventId),
    /// Nothing now: what was asked for had been done before.
    Earlier,
}

/// What the last commit of an operation that has left anything has left.
#[derive(Debug)]
pub enum Place {
    /// An event that is on its way.
    Coming(Arrival),
    /// Something that stands where the log ends now, or before.
    Earlier,
}

/// Notes the commits of one operation.
#[derive(Debug, Default)]
pub struct Receipt(Mutex<Option<Place>>);

impl Receipt {
    /// What is known, once.
    pub fn take(&self) -> Option<Place> {
        self.place().take()
    }

    /// Gets ready for the commit of a transaction that has left this.
    pub(super) fn expect(arrivals: &Arrivals, left: Left) -> Option<Place> {
        match left {
            Left::Event(event) => arrivals.expect(event).map(Place::Coming),
            Left::Earlier => Some(Place::Earlier),
        }
    }

    /// The commit is done. In place of an earlier one's: what is recorded later stands later.
    pub(super) fn committed(&self, place: Option<Place>) {
        *self.place() = place;
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{clock::Clock, ids::Ids};

    #[tokio::test]
    async fn an_event_is_waited_for_from_before_its_commit_and_nothing_stays() {
        let (arrivals, ids) = (Arrivals::default(), Ids::seeded(Clock::system(), 1));
        let [first, second, third]: [EventId; 3] = [ids.next(), ids.next(), ids.next()];
        assert!(arrivals.expect(first).is_none(), "nobody would say");
        arrivals.open();
        let expect = |event| arrivals.expect(event).expect("open");
        let (early, late, dropped) = (expect(first), expect(second), expect(third));
        arrivals.arrived([(ids.next(), 1), (first, 2)]);
        assert_eq!(early.position().await, Some(2), "told before it was asked");
        let mut late = std::pin::pin!(late.position());
        assert!(late.as_mut().now_or_never().is_none());
        drop(dropped);
        arrivals.arrived([(third, 3), (second, 4)]);
        assert_eq!(late.await, Some(4));
        assert_eq!(arrivals.0.count.load(Ordering::Relaxed), 0);

        let lost = expect(first);
        arrivals.close();
        assert_eq!(lost.position().await, None, "nobody waits for what is not coming");
        assert!(arrivals.expect(second).is_none() && arrivals.waiting().is_empty());
    }
}
