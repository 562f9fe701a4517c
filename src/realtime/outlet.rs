//! Where a subscription's results go: all that delivery knows of a transport.
//!
//! Each transport implements [`Outlet`] for its subscriptions. Nothing here waits: a group offers results to a thousand
//! outlets one after the other, and a slow reader must not delay the others. An outlet without room says so; its
//! subscription then leaves the group and catches up by itself, from the ring or the log, as its reader takes what is
//! queued ([`Feed::catch_up`](super::Feed::catch_up)).

use std::sync::Arc;

use futures_util::future::BoxFuture;

/// The response to one event, ready to be sent.
#[derive(Clone, Debug)]
pub struct Payload {
    /// A serialised execution result; one allocation for all who get the same.
    pub response: Arc<str>,
    /// The event's place in the log.
    pub position: i64,
}

/// What an outlet made of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It took so many of the results, in order. Fewer than were offered mean that there is no room for the next.
    Taken(usize),
    /// The next result is larger than there will ever be room for.
    TooLarge,
    /// Nobody listens any more.
    Gone,
}

/// The way to one subscription's reader.
pub trait Outlet: Send + Sync + 'static {
    /// Reads a little of what an offer will look at, so that it is in the processor's caches by then, and returns
    /// anything. A group asks several members ahead of their offers: what they have in memory is then fetched at the same
    /// time, where each offer would wait for its own.
    fn touch(&self) -> usize {
        0
    }

    /// Whether its feed runs as a task of its own. Only such a feed takes turns with the others of its address: one that is
    /// polled when its reader takes something would hold the turn of others for as long as it takes nothing.
    fn runs_by_itself(&self) -> bool {
        false
    }

    /// Takes what there is room for, from the front. Never waits.
    fn offer(&self, payloads: &[Payload]) -> Offer;

    /// Completes when there is room for a response of `len` bytes, or when nobody listens any more. Cancel safe.
    fn room(&self, len: usize) -> BoxFuture<'_, ()>;

    /// The group has let the subscription go: it gets nothing more until it has caught up from `position`.
    fn lagged(&self, position: i64);
}
