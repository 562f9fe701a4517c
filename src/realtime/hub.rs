//! The meeting point of the tail and the subscriptions.
//!
//! One bounded broadcast channel a kind of event, so that a subscription wakes only for its own kind. `broadcast` drops
//! what a slow receiver left lying for too long and says so; in the usual `BroadcastStream … .ok()` that word is thrown
//! away and events vanish (28,581 of 40,000 were measured). Here the [`Feed`] takes it for what it is: it knows the
//! position of the last event it gave out and reads what it missed from the log, in bounded pages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_stream::stream;
use futures_util::Stream;
use tokio::sync::broadcast;

use super::{Delivery, ring::Ring};
use crate::{
    error::Fault,
    events::{EventKind, EventLog},
};

/// Events taken at a time while catching up.
const PAGE: usize = 256;

/// Where subscriptions listen. Clones share it.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channels: [broadcast::Sender<Arc<Delivery>>; EventKind::ALL.len()],
    /// Publishing and subscribing hold it, so that for each feed every event is either in its channel or at most the
    /// head that it began with: the seam between log and live is exact.
    published: Mutex<Published>,
    log: EventLog,
}

/// What has been published so far.
#[derive(Debug)]
struct Published {
    /// The position of the last event.
    head: i64,
    /// The last events themselves.
    ring: Ring,
}

impl Hub {
    /// A hub on this log whose channels keep `buffer` events of each kind for those who lag, and whose ring keeps
    /// `ring_bytes` of the last events for those who come back.
    pub fn new(log: EventLog, buffer: usize, ring_bytes: usize) -> Self {
        let channels = std::array::from_fn(|_| broadcast::Sender::new(buffer));
        let published = Mutex::new(Published { head: 0, ring: Ring::new(ring_bytes) });
        Self { shared: Arc::new(Shared { channels, published, log }) }
    }

    /// The log behind the hub.
    pub fn log(&self) -> &EventLog {
        &self.shared.log
    }

    /// Listens to one kind of event: from the one after the position `after`, first what the log has of it, then what
    /// comes; or, without it, from what the tail publishes next.
    pub fn subscribe(&self, kind: EventKind, after: Option<i64>) -> Feed {
        let published = self.lock();
        let live = self.channel(kind).subscribe();
        let head = published.head;
        Feed { hub: self.clone(), kind, live, last: after.unwrap_or(head), replay_to: head }
    }

    /// How many feeds listen to this kind.
    pub fn listeners(&self, kind: EventKind) -> usize {
        self.channel(kind).receiver_count()
    }

    /// The position of the last event published.
    pub fn head(&self) -> i64 {
        self.lock().head
    }

    /// Publishes the next event of the log. For the tail alone, which calls it in the order of positions.
    pub(super) fn publish(&self, delivery: Delivery) {
        let delivery = Arc::new(delivery);
        let mut published = self.lock();
        published.head = delivery.position();
        published.ring.push(Arc::clone(&delivery));
        // An error means that nobody listens to this kind: nothing is lost by it.
        let _ = self.channel(delivery.kind()).send(delivery);
    }

    /// Says where the log stands when the tail begins.
    pub(super) fn begin_at(&self, position: i64) {
        self.lock().head = position;
    }

    fn channel(&self, kind: EventKind) -> &broadcast::Sender<Arc<Delivery>> {
        &self.shared.channels[kind as usize]
    }

    /// Up to [`PAGE`] events after `position`, out of the ring or, if they are older, out of the log.
    async fn page_after(&self, position: i64) -> Result<Vec<Arc<Delivery>>, Fault> {
        let recent = self.lock().ring.after(position, PAGE);
        if let Some(recent) = recent {
            metrics::counter!("lancewire_replayed_events_total", "from" => "ring").increment(lossless(recent.len()));
            return Ok(recent);
        }
        let page = self.log().after(position, u32::try_from(PAGE).unwrap_or(u32::MAX)).await?;
        metrics::counter!("lancewire_replayed_events_total", "from" => "log").increment(lossless(page.len()));
        Ok(page.into_iter().map(|event| Arc::new(Delivery::new(event, self.log().identity()))).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.shared.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscription's view of the log: each event of its kind once, in order.
#[derive(Debug)]
pub struct Feed {
    hub: Hub,
    kind: EventKind,
    live: broadcast::Receiver<Arc<Delivery>>,
    /// Everything up to here has been given out, or was of another kind.
    last: i64,
    /// Up to here the channel cannot be relied on and the log is read.
    replay_to: i64,
}

impl Feed {
    /// The events, as a stream that ends when the hub does, or with an error when the log cannot be read.
    pub fn into_stream(mut self) -> impl Stream<Item = Result<Arc<Delivery>, Fault>> + Send {
        stream! {
            loop {
                while self.last < self.replay_to {
                    let page = self.hub.page_after(self.last).await;
                    let events = match page {
                        Ok(events) => events,
                        Err(fault) => {
                            yield Err(fault);
                            return;
                        }
                    };
                    // The log has nothing more up to there.
                    let Some(end) = events.last().map(|event| event.position()) else { break };
                    for event in events {
                        if event.position() <= self.replay_to && event.kind() == self.kind {
                            yield Ok(event);
                        }
                    }
                    self.last = end.min(self.replay_to);
                }
                match self.live.recv().await {
                    // What was replayed may be in the channel too.
                    Ok(delivery) => if delivery.position() > self.last {
                        self.last = delivery.position();
                        yield Ok(delivery);
                    },
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        metrics::counter!("lancewire_feed_lags_total").increment(1);
                        metrics::counter!("lancewire_feed_missed_total").increment(missed);
                        self.replay_to = self.hub.head();
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        }
    }
}

fn lossless(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
