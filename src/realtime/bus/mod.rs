//! What makes delivery between nodes fast. Its correctness rests on the log alone.
//!
//! A bus wakes the tails of other nodes when the log has grown, and may carry the events themselves. It may lose,
//! duplicate, reorder and delay messages, or be unreachable, and no event is lost by that: positions are contiguous, so
//! the [`tail`](super::tail) sees every hole and reads it from the log, and it polls in case no message arrives.
//!
//! Beside the log a bus carries soft state: [`LimitUpdate`], counts of sign-ins and sign-ups, so that their limits hold for
//! all nodes together, where what gets lost makes a limit a little wider for a moment; and [`PresenceUpdate`], who is there,
//! which is said again and again.
//!
//! | Bus | Nodes | Carries |
//! | --- | --- | --- |
//! | [`MemoryBus`] | one process | nothing on its own; several hubs of one process, in tests |
//! | [`PostgresBus`] | a few | the position up to which a node has numbered, by NOTIFY; the events are read from the log |
//! | [`RedisBus`] | many | the events: headers and public bodies to all, private bodies to the nodes that need them |
//!
//! **Authentication.** Messages are authenticated ([`Seal`]) with a key that only nodes of the same log have. Others
//! who may publish on Redis or call `pg_notify` can make a node drop a message, and no more. A node that is itself
//! wrong, for example on the old database after a fail-over, is not trusted against the log: an event names the one
//! that it [`follows`](ReceivedEvent::follows), and the [`tail`](super::tail) discards nothing because of what only the
//! bus has said.
//!
//! Clients see the same results with each bus (`tests/api/bus.rs`).

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::Delivery;
use crate::{
    events::{Event, Mark},
    ids::UserId,
};

mod inbox;
mod memory;
mod message;
mod postgres;
mod redis;
mod seal;
mod settings;
mod start;

use inbox::Inbox;
pub use memory::{MemoryBus, MemoryNetwork};
pub use postgres::{PostgresBus, PostgresBusError};
pub use redis::{RedisBus, RedisBusError};
pub use seal::Seal;
pub use settings::{BusKind, BusSettings};
pub use start::{BusError, start};

/// What a bus says of the log.
#[derive(Clone, Debug)]
pub enum Signal {
    /// Another node says that positions up to here have been given out.
    Head(i64),
    /// Events as another node has read them, in order of position within one signal.
    Events(Vec<ReceivedEvent>),
    /// Something may have been missed: the log must be asked.
    Missed,
}

/// An event that came over a bus.
#[derive(Clone, Debug)]
pub struct ReceivedEvent {
    /// The event; with an empty payload, if it has no body.
    pub event: Event,
    /// What stands before it.
    pub follows: Mark,
    /// Whether the payload came along. A private one goes only where somebody listens for it.
    pub has_body: bool,
}

/// An event that a node tells the others of.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The event.
    pub delivery: Arc<Delivery>,
    /// What stands before it: by that the others see whether it goes on from what they have.
    pub follows: Mark,
}

/// What a limit update is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Failed and successful sign-ins.
    Attempts,
    /// Accounts that were opened.
    SignUps,
}

/// Soft state of one node that the others count in. At most [`LimitUpdate::LIMIT`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUpdate {
    /// What it is about.
    pub topic: Topic,
    /// What only its author and its reader understand.
    pub body: Vec<u8>,
}

impl LimitUpdate {
    /// The most bytes of a body: what fits in a NOTIFY (8,000 bytes, sealed and in base64) with some to spare.
    pub const LIMIT: usize = 5_000;
}

/// What one node says of the people who are there. At most [`PresenceUpdate::LIMIT`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceUpdate {
    /// What only its author and its reader understand.
    pub body: Vec<u8>,
}

impl PresenceUpdate {
    /// The most bytes of a body, as for [`LimitUpdate::LIMIT`].
    pub const LIMIT: usize = LimitUpdate::LIMIT;
}

/// Whose private events are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// A user's.
    User(UserId),
    /// Those that admins receive besides the parties themselves.
    Admins,
}

impl Party {
    /// Whom the body of a private event concerns.
    pub(super) fn all_of(event: &Event) -> impl Iterator<Item = Self> + use<'_> {
        let audience = &event.recorded.audience;
        let users = audience.users().iter().copied().map(Self::User);
        users.chain(audience.admins.then_some(Self::Admins))
    }
}

/// Connects the tails of several nodes. All calls but the two that wait are quick and never block: what there is no room
/// for is dropped.
pub trait Bus: Send + Sync + 'static {
    /// Whether events travel by it: then a node waits a moment for them before it reads the log.
    fn carries_events(&self) -> bool;

    /// Tells the other nodes up to where positions have been given out: after numbering, where the bus carries no events,
    /// and now and then anyway, which shows that the last message was lost. Many such calls may become one.
    fn ring(&self, head: i64);

    /// Tells the other nodes the events that this one has numbered, in order.
    fn announce(&self, events: &[Announced]);

    /// Somebody on this node listens for the private events of `party` from now on. What was announced a moment ago may
    /// still come without its body.
    fn follow(&self, party: Party);

    /// Nobody does any more.
    fn unfollow(&self, party: Party);

    /// What another node says next. Cancel safe.
    fn heard(&self) -> BoxFuture<'_, Signal>;

    /// Passes soft state on to the other nodes.
    fn tell(&self, limit_update: LimitUpdate);

    /// Soft state of another node. Cancel safe.
    fn told(&self) -> BoxFuture<'_, LimitUpdate>;

    /// Passes on to the other nodes who is there. Without room the oldest is dropped.
    fn tell_presence(&self, update: PresenceUpdate);

    /// What another node says of who is there. For one waiter; cancel safe.
    fn presence(&self) -> BoxFuture<'_, PresenceUpdate>;

    /// Whether it is connected now, for readiness and metrics. A node serves without it, only later.
    fn is_connected(&self) -> bool;
}

/// The first and the longest pause between tries to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long one exchange with the server behind a bus may take.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// A connection on which nothing came for so long is taken for dead: every node rings several times in this time, and
/// hears itself.
const SILENCE: Duration = Duration::from_secs(5);

/// Tells a node's own messages from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodeId(u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A gauge with the name of the bus.
fn report_connected(bus: &'static str, connected: bool) {
    metrics::gauge!("lancewire_bus_connected", "bus" => bus).set(f64::from(u8::from(connected)));
}

/// Counts what a bus had to drop.
fn report_dropped(bus: &'static str, what: &'static str) {
    metrics::counter!("lancewire_bus_dropped_total", "bus" => bus, "what" => what).increment(1);
}

/// Counts messages by direction.
fn report_message(bus: &'static str, direction: &'static str, bytes: usize) {
    metrics::counter!("lancewire_bus_messages_total", "bus" => bus, "direction" => direction).increment(1);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    metrics::counter!("lancewire_bus_bytes_total", "bus" => bus, "direction" => direction).increment(bytes);
}
