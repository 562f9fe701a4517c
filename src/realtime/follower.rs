//! A subscription on its own: a stream of events for a server that executes the schema without our transports.
//!
//! [`Hub::follow`](super::Hub::follow) makes one. It reads what came after its position out of the ring or the log, as a
//! [`Feed`](super::Feed) does, and is then fed by the hub's `tokio::sync::broadcast` channel, which the tail fills. A reader
//! that is slower than the channel is long gets `Lagged`: it goes back to the ring or the log from its last position, so it
//! misses nothing. Each event passes the same audience and the same filter as in a group.
//!
//! What it lacks is the sharing: every follower wakes up for every event, and its caller executes and encodes each event for
//! this subscription alone. The groups are the fast path beside it (`docs/architecture.md` has the figures).
//!
//! Invariants: events leave in the order of positions, each once; the position only moves forward; in memory there is one
//! page of events at most, and the channel, which all followers share: [`HubSettings::broadcast`](super::HubSettings::broadcast) events, each no larger than
//! what a domain records.

use std::{sync::Arc, vec};

use futures_util::{Stream, StreamExt, stream};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use super::{Delivery, Interest, charges::POINT, feed::FeedEnd, hub::Noting, replay::Replay};
use crate::events::Hearing;

/// An event as a viewer receives it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The event.
    pub delivery: Arc<Delivery>,
    /// In which of its forms.
    pub hearing: Hearing,
}

/// A subscription outside of every group. Dropping it ends it.
pub struct Follower {
    interest: Interest,
    replay: Replay,
    /// Of one execution, in millionths of a point.
    cost: u64,
    page: vec::IntoIter<Arc<Delivery>>,
    /// Once it has caught up.
    live: Option<BroadcastStream<Arc<Delivery>>>,
    _noting: Option<Noting>,
}

impl Follower {
    pub(super) fn new(interest: Interest, replay: Replay, cost: u64, noting: Option<Noting>) -> Self {
        Self { interest, replay, cost, page: Vec::new().into_iter(), live: None, _noting: noting }
    }

    /// Its events, and why they end. Nothing happens before it is polled.
    pub fn into_stream(self) -> impl Stream<Item = Result<Received, FeedEnd>> + Send + 'static {
        stream::unfold(Some(self), async |follower| {
            let mut follower = follower?;
            match follower.next().await {
                Ok(received) => Some((Ok(received), Some(follower))),
                Err(end) => Some((Err(end), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Received, FeedEnd> {
        loop {
            let delivery = match self.page.next() {
                Some(delivery) => delivery,
                None => match self.next_live().await? {
                    Some(delivery) => delivery,
                    None => continue,
                },
            };
            let hearing = self.replay.hears(&self.interest, &delivery);
            self.replay.reach(delivery.position());
            if let Some(hearing) = hearing {
                self.replay.owe(self.cost);
                if self.replay.owed() >= POINT {
                    self.replay.afford().await?;
                }
                return Ok(Received { delivery, hearing });
            }
        }
    }

    /// The next event of the channel; none where there is a page to be looked at first, or more to be read.
    async fn next_live(&mut self) -> Result<Option<Arc<Delivery>>, FeedEnd> {
        let Some(live) = &mut self.live else {
            self.replay.afford_reading().await?;
            if let Some(receiver) = self.replay.hub.receive_after(self.replay.position()) {
                self.replay.caught_up();
                self.live = Some(BroadcastStream::new(receiver));
            } else {
                self.page = self.replay.read(&self.interest).await?.into_iter();
            }
            return Ok(None);
        };
        match live.next().await {
            Some(Ok(delivery)) if delivery.position() <= self.replay.position() => Ok(None),
            Some(Ok(delivery)) if self.is_next(&delivery) => Ok(Some(delivery)),
            // A hole, or an event whose body is not here: ring and log have all of it.
            Some(Ok(_)) => {
                self.live = None;
                Ok(None)
            }
            Some(Err(BroadcastStreamRecvError::Lagged(_))) => {
                metrics::counter!("lancewire_feed_lags_total").increment(1);
                self.live = None;
                Ok(None)
            }
            None => Err(FeedEnd::Gone),
        }
    }

    fn is_next(&self, delivery: &Delivery) -> bool {
        delivery.position() == self.replay.position() + 1
            && (delivery.has_body() || self.replay.may_hear(&self.interest, delivery).is_none())
    }
}
