//! The last events in memory, so that catching up seldom asks the database.
//!
//! Contiguous in positions and capped in bytes: the oldest leave first. What a slow reader missed a moment ago, or a
//! client that comes back after a restart of its Wi-Fi, is served from here, and with the very deliveries that everybody
//! else got, encodings included.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::Delivery;

/// A window on the end of the log.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<Delivery>>,
    bytes: usize,
    /// Bytes of the responses that the events carry: they come later than the events themselves.
    encoded: Arc<AtomicUsize>,
    capacity: usize,
}

impl Ring {
    /// A ring whose events take at most `capacity` bytes together, with the responses that they carry; but for the
    /// responses to the last of them, which are weighed when the next event comes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Adds the next event of the log. After a hole in the positions the window begins anew.
    pub(super) fn push(&mut self, delivery: Arc<Delivery>) {
        if self.events.back().is_some_and(|last| last.position() + 1 != delivery.position()) {
            while self.pop() {}
        }
        self.bytes += delivery.size();
        delivery.count_in(&self.encoded);
        self.events.push_back(delivery);
        while self.bytes + self.encoded.load(Ordering::Relaxed) > self.capacity && self.pop() {}
        #[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 52 bits")]
        metrics::gauge!("lancewire_ring_bytes").set((self.bytes + self.encoded.load(Ordering::Relaxed)) as f64);
    }

    /// Whether all that came after `position` is here.
    pub(super) fn reaches(&self, position: i64) -> bool {
        let Some((oldest, newest)) = self.events.front().zip(self.events.back()) else { return false };
        (oldest.position() - 1..=newest.position()).contains(&position)
    }

    fn pop(&mut self) -> bool {
        let Some(oldest) = self.events.pop_front() else { return false };
        self.bytes -= oldest.size();
        oldest.discount();
        true
    }

    /// Up to `limit` events after `position`, in order; none if the window does not reach back that far.
    pub(super) fn after(&self, position: i64, limit: usize) -> Option<Vec<Arc<Delivery>>> {
        let oldest = self.events.front()?.position();
        let skip = usize::try_from((position + 1).checked_sub(oldest)?).ok()?;
        Some(self.events.iter().skip(skip).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        clock::Clock,
        events::{Audience, Event, EventKind, NewEvent},
        ids::Ids,
    };

    fn delivery(position: i64) -> Arc<Delivery> {
        let ids = Ids::seeded(Clock::system(), 1);
        let recorded = NewEvent {
            id: ids.next(),
            kind: EventKind::JobPosted,
            subject: Uuid::nil(),
            subject_version: 1,
            audience: Audience { public: true, owner: ids.next(), claimant: None },
            payload: "x".repeat(1_000),
            occurred_at: Clock::system().now(),
        };
        Arc::new(Delivery::new(Event { position, recorded }, Uuid::nil()))
    }

    fn positions(events: Option<Vec<Arc<Delivery>>>) -> Option<Vec<i64>> {
        events.map(|events| events.iter().map(|event| event.position()).collect())
    }

    #[test]
    fn it_gives_what_it_has_and_says_when_it_does_not_reach_back() {
        let mut ring = Ring::new(delivery(0).size() * 3);
        assert_eq!(positions(ring.after(0, 10)), None);
        for position in 5..=9 {
            ring.push(delivery(position));
        }
        assert_eq!(positions(ring.after(5, 10)), None, "6 has left: the log must be asked");
        assert_eq!(positions(ring.after(6, 10)), Some(vec![7, 8, 9]));
        assert_eq!(positions(ring.after(6, 2)), Some(vec![7, 8]));
        assert_eq!(positions(ring.after(9, 10)), Some(vec![]));
        ring.push(delivery(20));
        assert_eq!(positions(ring.after(9, 10)), None, "never across a hole");
        assert_eq!(positions(ring.after(19, 10)), Some(vec![20]));
    }
}
