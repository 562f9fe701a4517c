//! The meeting point of the tail and the subscriptions.
//!
//! One bounded broadcast channel a kind of event, so that a subscription wakes only for its own kind. `broadcast` drops
//! what a slow receiver left lying for too long and says so; in the usual `BroadcastStream … .ok()` that word is thrown
//! away and events vanish (28,581 of 40,000 were measured). Here the [`Feed`] takes it for what it is: it knows the
//! position of the last event it gave out and reads what it missed from the log, in bounded pages.

use std::sync::Arc;

use async_stream::stream;
use futures_util::Stream;
use tokio::sync::{broadcast, watch};

use super::Delivery;
use crate::{
    error::Fault,
    events::{EventKind, EventLog},
};

/// Events read from the log at a time while catching up.
const PAGE: u32 = 256;

/// Where subscriptions listen. Clones share it.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channels: [broadcast::Sender<Arc<Delivery>>; EventKind::ALL.len()],
    head: watch::Sender<i64>,
    log: EventLog,
}

impl Hub {
    /// A hub on this log that keeps `buffer` events of each kind for those who lag.
    pub fn new(log: EventLog, buffer: usize) -> Self {
        let channels = std::array::from_fn(|_| broadcast::Sender::new(buffer));
        Self { shared: Arc::new(Shared { channels, head: watch::Sender::new(0), log }) }
    }

    /// The log behind the hub.
    pub fn log(&self) -> &EventLog {
        &self.shared.log
    }

    /// Listens to one kind of event, from what the tail publishes next.
    pub fn subscribe(&self, kind: EventKind) -> Feed {
        // In this order: an event published in between is in the channel and its position above the head read here, or
        // at most the head and of the time before the subscription.
        let live = self.channel(kind).subscribe();
        let last = *self.shared.head.borrow();
        Feed { hub: self.clone(), kind, live, last }
    }

    /// How many feeds listen to this kind.
    pub fn listeners(&self, kind: EventKind) -> usize {
        self.channel(kind).receiver_count()
    }

    /// The position of the last event published.
    pub fn head(&self) -> i64 {
        *self.shared.head.borrow()
    }

    /// Publishes the next event of the log. For the tail alone, which calls it in the order of positions.
    pub(super) fn publish(&self, delivery: Delivery) {
        let position = delivery.position();
        // An error means that nobody listens to this kind: nothing is lost by it.
        let _ = self.channel(delivery.kind()).send(Arc::new(delivery));
        self.shared.head.send_replace(position);
    }

    /// Says where the log stands when the tail begins.
    pub(super) fn begin_at(&self, position: i64) {
        self.shared.head.send_replace(position);
    }

    fn channel(&self, kind: EventKind) -> &broadcast::Sender<Arc<Delivery>> {
        &self.shared.channels[kind as usize]
    }
}

/// One subscription's view of the log: each event of its kind once, in order.
#[derive(Debug)]
pub struct Feed {
    hub: Hub,
    kind: EventKind,
    live: broadcast::Receiver<Arc<Delivery>>,
    last: i64,
}

impl Feed {
    /// The events, as a stream that ends when the hub does. After an error it goes on where it stood.
    pub fn into_stream(mut self) -> impl Stream<Item = Result<Arc<Delivery>, Fault>> + Send {
        stream! {
            loop {
                match self.live.recv().await {
                    Ok(delivery) => {
                        // Given out already while catching up.
                        if delivery.position() > self.last {
                            self.last = delivery.position();
                            yield Ok(delivery);
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        metrics::counter!("lancewire_feed_lags_total").increment(1);
                        metrics::counter!("lancewire_feed_missed_total").increment(missed);
                        // What is in the channel now is at most the head; up to there the log is read instead.
                        let head = self.hub.head();
                        while self.last < head {
                            match self.hub.log().after(self.last, PAGE).await {
                                Ok(events) => {
                                    let Some(end) = events.last().map(|event| event.position) else { break };
                                    for event in events.into_iter().filter(|event| event.position <= head) {
                                        if event.recorded.kind == self.kind {
                                            yield Ok(Arc::new(Delivery::new(event, self.hub.log().identity())));
                                        }
                                    }
                                    self.last = end.min(head);
                                }
                                Err(fault) => {
                                    yield Err(fault);
                                    return;
                                }
                            }
                        }
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        }
    }
}
