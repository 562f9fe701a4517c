//! The latest events in memory, so that catching up seldom needs the database.
//!
//! Contiguous in positions and bounded in bytes: the oldest leave first. A slow reader, or a client that reconnects
//! after a short disconnect, is served from here, with the same deliveries that all others got, encodings included.

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
    /// Bytes of what was made of the events, parsed payloads and responses: it comes later than the events themselves.
    made: Arc<AtomicUsize>,
    capacity: usize,
}

impl Ring {
    /// A ring whose events take at most `capacity` bytes together, with what was made of them; but for what is made of
    /// them after the last one came, which is weighed when the next event comes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Adds the next event of the log. After a hole in the positions the window begins anew.
    pub(super) fn push(&mut self, delivery: Arc<Delivery>) {
        if self.events.back().is_some_and(|last| last.position() + 1 != delivery.position()) {
            while self.pop() {}
        }
        self.bytes += delivery.size();
        delivery.count_in(&self.made);
        self.events.push_back(delivery);
        while self.bytes + self.made.load(Ordering::Relaxed) > self.capacity && self.pop() {}
        #[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 52 bits")]
        metrics::gauge!("lancewire_ring_bytes").set((self.bytes + self.made.load(Ordering::Relaxed)) as f64);
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

    /// What parsed payloads are made of: texts, lists and numbers.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Snapshot {
        id: Uuid,
        version: i64,
        title: String,
        description: String,
        reason: Option<String>,
        skills: Vec<Tag>,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Tag {
        id: Uuid,
        slug: String,
        name: String,
    }

    /// What an allocator takes for so many bytes.
    fn allocated(bytes: usize) -> usize {
        if bytes == 0 { 0 } else { (bytes + size_of::<usize>()).next_multiple_of(16).max(32) }
    }

    fn heap(snapshot: &Snapshot) -> usize {
        let text = |text: &String| allocated(text.capacity());
        let tags: usize = snapshot.skills.iter().map(|tag| text(&tag.slug) + text(&tag.name)).sum();
        let list = allocated(snapshot.skills.capacity() * size_of::<Tag>());
        text(&snapshot.title) + text(&snapshot.description) + list + tags
    }

    #[tokio::test]
    async fn it_weighs_what_it_keeps_with_all_that_was_made_of_it() {
        const EVENTS: usize = 100;
        const RESPONSE: usize = 600;
        let arc = 2 * size_of::<usize>();
        for (description, selections) in [(40, 0_usize), (40, 1), (40, 3), (1_500, 3), (1_500, 40), (12_000, 1)] {
            let mut ring = Ring::new(usize::MAX);
            let mut expected = 0;
            for position in 0..EVENTS {
                let tag = |name: &str| Tag { id: Uuid::nil(), slug: name.to_lowercase(), name: name.to_owned() };
                let snapshot = Snapshot {
                    id: Uuid::nil(),
                    version: 7,
                    title: "Port it to Rust".to_owned(),
                    description: "x".repeat(description),
                    reason: None,
                    skills: ["Rust", "React", "PostgreSQL"].map(tag).into(),
                };
                let mut event = delivery(i64::try_from(position).expect("few"));
                let unshared = Arc::get_mut(&mut event).expect("just made");
                unshared.set_payload(serde_json::to_string(&snapshot).expect("JSON"));
                expected += allocated(arc + size_of::<Delivery>()) + size_of::<Arc<Delivery>>();
                expected += allocated(event.event().recorded.payload.capacity());
                let parsed = event.payload::<Snapshot>().expect("readable");
                expected += allocated(size_of::<Snapshot>()) + heap(parsed);
                ring.push(Arc::clone(&event));
                // Later, while it is in the ring.
                for selection in 0..selections {
                    let key = super::super::SharingKey::new(&selection.to_string()).selection();
                    let response = Arc::from("x".repeat(RESPONSE));
                    event.encoding(key, async || super::super::Encoding::Shared(response)).await;
                    expected += allocated(arc + RESPONSE) + allocated(arc + event.cell_size());
                }
                let places = if selections == 0 { 0 } else { (selections * 8 / 7 + 1).next_power_of_two().max(4) };
                expected += allocated(places * (32 + size_of::<usize>() + 1) + 16 * usize::from(places > 0));
            }
            let weighed = ring.bytes + ring.made.load(Ordering::Relaxed);
            let off = |least: usize, most: usize| weighed * 100 >= expected * least && weighed * 100 <= expected * most;
            assert!(off(90, 140), "{description}, {selections}: {weighed} for about {expected}");
            while ring.pop() {}
            assert_eq!((ring.bytes, ring.made.load(Ordering::Relaxed)), (0, 0), "nothing is left of it");
        }
    }

    #[tokio::test]
    async fn what_is_made_later_pushes_the_oldest_out() {
        let one = delivery(0).size();
        let mut ring = Ring::new(one * 10);
        for position in 0..10 {
            ring.push(delivery(position));
        }
        assert_eq!(positions(ring.after(-1, 20)).map(|all| all.len()), Some(10));
        let last = ring.events.back().cloned().expect("there");
        let key = super::super::SharingKey::new("large").selection();
        last.encoding(key, async || super::super::Encoding::Shared("x".repeat(one * 4).into())).await;
        ring.push(delivery(10));
        let kept = positions(ring.after(10, 20)).and(ring.events.front().map(|oldest| oldest.position()));
        assert_eq!(kept, Some(6), "the event and its response are as heavy as six");
    }
}
