//! Delivery: from the durable log to whoever listens.
//!
//! One direction, one source of truth: use cases write to the log (`events`), the [`tail`] reads it in the order of
//! positions and hands each event to the [`hub`], and the hub's feeds carry it to subscriptions. Nothing is published
//! from a use case. A channel may drop what a slow reader did not take; the feed then reads what it missed from the log,
//! so between commit and socket no event is lost, doubled or out of order. The same way a feed begins after a cursor:
//! what came since is replayed from the log, then it goes live, without gap or overlap.
//!
//! An event is executed and encoded once for all who hear the same of it, and carries the result with it ([`Delivery`]);
//! the last events stay in memory for those who come back. Other transports and more nodes have their place here and come
//! next.

mod delivery;
mod hub;
mod ring;
mod tail;

pub use delivery::{Delivery, Encoding, SharingKey};
pub use hub::{Feed, Hub};
pub use tail::run as run_tail;
