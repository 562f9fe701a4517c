//! The results that wait for one stream's reader: the outlet of its subscription, emptied by the body of its response.
//!
//! Invariants: at most `capacity` bytes wait, except for one result that is alone; results leave in the order in which
//! they arrived; the notice that the subscription has left its group comes after the last result that was accepted
//! before it; nothing is accepted after the reader has gone. The group puts in from its own task and never waits; the
//! body takes out when hyper asks for more, which it does as the client reads.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::realtime::{Offer, Outlet, Payload};

/// What a waiting result takes beside its text.
const OVERHEAD: usize = 128;

/// The end that the group knows.
struct Queue {
    capacity: usize,
    /// Cancelled when the viewer's rights have ended: from then on nothing is taken, before the body knows of it.
    revoked: CancellationToken,
    state: Mutex<State>,
    /// Something waits, or the subscription left its group.
    wake: Notify,
    /// There is room again.
    room: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Payload>,
    bytes: usize,
    let_go_at: Option<i64>,
    closed: bool,
}

/// The end that the body holds. Dropping it says that nobody listens any more.
pub(super) struct QueueReader(Arc<Queue>);

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Found {
    /// Results, in order.
    Payloads(Vec<Payload>),
    /// The group has let the subscription go.
    LetGo(i64),
}

/// Both ends of a queue of so many bytes, which takes nothing once `revoked` is cancelled.
pub(super) fn queue(capacity: usize, revoked: CancellationToken) -> (Arc<dyn Outlet>, QueueReader) {
    let queue = Queue { capacity, revoked, state: Mutex::default(), wake: Notify::new(), room: Notify::new() };
    let queue = Arc::new(queue);
    (Arc::clone(&queue) as Arc<dyn Outlet>, QueueReader(queue))
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Outlet for Queue {
    fn offer(&self, payloads: &[Payload]) -> Offer {
        let mut state = self.state();
        if state.closed || self.revoked.is_cancelled() {
            return Offer::Gone;
        }
        let mut taken = 0;
        for payload in payloads {
            let cost = payload.response.len() + OVERHEAD;
            if payload.response.len() > self.capacity {
                if taken == 0 {
                    return Offer::TooLarge;
                }
                break;
            }
            if state.bytes > 0 && state.bytes + cost > self.capacity {
                break;
            }
            state.bytes += cost;
            state.waiting.push_back(payload.clone());
            taken += 1;
        }
        drop(state);
        if taken > 0 {
            self.wake.notify_one();
        }
        Offer::Taken(taken)
    }

    fn room(&self, len: usize) -> BoxFuture<'_, ()> {
        let wanted = (len + OVERHEAD).max(self.capacity / 2);
        async move {
            loop {
                // Listening begins before looking: room made in between is not missed.
                let room = self.room.notified();
                {
                    let state = self.state();
                    if state.closed || state.bytes == 0 || state.bytes + wanted <= self.capacity {
                        return;
                    }
                }
                room.await;
            }
        }
        .boxed()
    }

    fn lagged(&self, position: i64) {
        self.state().let_go_at = Some(position);
        self.wake.notify_one();
    }
}

impl QueueReader {
    /// What comes next: up to so many bytes of results, or else, if `live`, word that the subscription left its group. Cancel safe.
    pub(super) async fn next(&self, most: usize, live: bool) -> Found {
        loop {
            let wake = self.0.wake.notified();
            if let Some(found) = self.take(most, live) {
                return found;
            }
            wake.await;
        }
    }

    /// All that waits now, and whether the subscription left its group after it.
    pub(super) fn take_all(&self) -> (Vec<Payload>, bool) {
        let mut state = self.0.state();
        let (payloads, let_go) = (std::mem::take(&mut state.waiting).into(), state.let_go_at.is_some());
        state.bytes = 0;
        drop(state);
        self.0.room.notify_waiters();
        (payloads, let_go)
    }

    fn take(&self, most: usize, live: bool) -> Option<Found> {
        let mut state = self.0.state();
        if state.waiting.is_empty() {
            return if live { state.let_go_at.take().map(Found::LetGo) } else { None };
        }
        let (mut payloads, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(payload) = state.waiting.pop_front()
        {
            let cost = payload.response.len() + OVERHEAD;
            state.bytes -= cost;
            bytes += cost;
            payloads.push(payload);
        }
        if state.waiting.is_empty() {
            // An empty queue keeps nothing.
            state.waiting = VecDeque::new();
        }
        drop(state);
        self.0.room.notify_waiters();
        Some(Found::Payloads(payloads))
    }
}

impl Drop for QueueReader {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.waiting = VecDeque::new();
        state.bytes = 0;
        drop(state);
        self.0.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(position: i64, len: usize) -> Payload {
        Payload { response: "x".repeat(len).into(), position }
    }

    fn positions(found: Found) -> Vec<i64> {
        match found {
            Found::Payloads(payloads) => payloads.iter().map(|payload| payload.position).collect(),
            Found::LetGo(position) => panic!("let go at {position}"),
        }
    }

    #[tokio::test]
    async fn what_has_no_room_is_not_taken_and_comes_later() {
        let (outlet, reader) = queue(1_000, CancellationToken::new());
        let payloads: Vec<Payload> = (1..=5).map(|position| payload(position, 200)).collect();
        assert_eq!(outlet.offer(&payloads), Offer::Taken(3));
        assert_eq!(outlet.offer(&payloads[3..]), Offer::Taken(0));
        outlet.lagged(3);
        assert!(outlet.room(200).now_or_never().is_none());
        assert_eq!(positions(reader.next(1, true).await), [1]);
        assert_eq!(positions(reader.next(10_000, true).await), [2, 3]);
        outlet.room(200).await;
        assert!(reader.next(1, false).now_or_never().is_none(), "kept until somebody can do something about it");
        assert!(matches!(reader.next(1, true).await, Found::LetGo(3)));
        assert_eq!(outlet.offer(&payloads[3..]), Offer::Taken(2));
        assert_eq!((reader.take_all().0.len(), reader.take_all().1), (2, false));
    }

    #[tokio::test]
    async fn a_result_that_never_fits_says_so_and_nothing_is_taken_once_nobody_reads() {
        let (outlet, reader) = queue(1_000, CancellationToken::new());
        assert_eq!(outlet.offer(&[payload(1, 10), payload(2, 1_001)]), Offer::Taken(1));
        assert_eq!(outlet.offer(&[payload(2, 1_001)]), Offer::TooLarge);
        drop(reader.take_all());
        assert_eq!(outlet.offer(&[payload(3, 1_000)]), Offer::Taken(1), "alone it may be as large as all");
        assert!(outlet.room(900).now_or_never().is_none(), "not while anything waits");
        drop(reader);
        assert_eq!(outlet.offer(&[payload(4, 1)]), Offer::Gone);
        outlet.room(900).await;
    }

    #[test]
    fn nothing_is_taken_after_the_rights_have_ended() {
        let revoked = CancellationToken::new();
        let (outlet, _reader) = queue(1_000, revoked.clone());
        let payloads = [Payload { response: "{}".into(), position: 1 }];
        assert_eq!(outlet.offer(&payloads), Offer::Taken(1));
        revoked.cancel();
        assert_eq!(outlet.offer(&payloads), Offer::Gone);
    }
}
