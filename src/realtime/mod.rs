//! Delivery: from the durable log to subscribers.
//!
//! One direction, one source of truth: use cases write to the log (`events`), the [`tail`] reads it in the order of
//! positions and publishes in the [`hub`], and the hub's groups carry each event to their subscriptions. Nothing is
//! published from a use case, and a subscription whose reader is slow reads what it missed from the ring or the log: so
//! between commit and socket no event is lost, doubled or out of order. The same way a subscription begins after a
//! cursor.
//!
//! - [`tail`]: follows the log, woken by the [`bus`]
//! - [`hub`]: who listens, and the exact seam between what was and what comes
//! - [`group`]: all who subscribe to the same selection; one execution and one encoding an event for all who receive the
//!   same
//! - [`section`]: those of a group who ask for the same events, by the same arguments
//! - [`members`] and [`interest`]: bookkeeping of a section, and which section wants which event
//! - [`lanes`]: results that are one viewer's own, beside what is done for all
//! - [`feed`]: one subscription, catching up or live
//! - [`follower`]: a subscription outside of the groups, as a stream behind a broadcast channel
//! - [`replay`]: reading what was published before, which feeds and followers have in common
//! - [`outlet`]: what a transport must be able to do
//! - [`charges`] and [`askers`]: what subscriptions cost beyond their price, and how much one caller may ask for
//! - [`lag`]: how late delivery is, for readiness
//! - [`delivery`] and [`ring`]: an event on its way, and the last of them in memory

mod askers;
mod bus;
mod charges;
mod delivery;
mod feed;
mod follower;
mod group;
mod hub;
mod interest;
mod lag;
mod lanes;
mod members;
mod outlet;
mod replay;
mod ring;
mod section;
mod tail;

pub use askers::{AskingSettings, TooMuch, Whose};
pub use bus::{
    Announced, Bus, BusError, BusKind, BusSettings, LimitUpdate, MemoryBus, MemoryNetwork, Party, PostgresBus,
    PostgresBusError, PresenceUpdate, ReceivedEvent, RedisBus, RedisBusError, Seal, Signal, Topic, start as start_bus,
};
pub use charges::{EXECUTION, Free, POINT, Payment};
pub use delivery::{Delivery, SelectionKey, SharingKey};
pub use feed::{Feed, FeedEnd, Live};
pub use follower::{Follower, Received};
pub use group::{Executed, Execution, Together};
pub use hub::{Hub, HubSettings, TermsOf};
pub use interest::{EventTerms, Interest, Leaving, Terms};
pub use lag::Lag;
pub use outlet::{Offer, Outlet, Payload};
pub use replay::Progress;
pub use tail::{Pace, Tail};

use delivery::Encoding;
