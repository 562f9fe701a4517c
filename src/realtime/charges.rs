//! What subscriptions cost beyond their price, and who pays it.
//!
//! A subscription pays its price when it starts. The work that it causes afterwards is charged here, in millionths of a
//! point:
//!
//! - **Replay.** A [`Feed`](super::Feed) pays for the events that it reads and for those that are executed for it
//!   alone. The first page is part of the price, and results that exist already are free.
//! - **Live.** Each event that a group executes costs what [`Execution::cost`](super::Execution::cost) says, divided by
//!   all members who get it. A section notes what each of its members owes, which is one addition for each section and
//!   event; when that reaches a whole point, all its members are charged. So a member of a popular group pays nearly
//!   nothing, and a single member pays all of it.
//! - **Own results** are charged to the viewer for whom they are executed, by the lanes.
//!
//! **Invariant: no event is lost by it.** Nothing is executed for a subscriber without points: a live member leaves its
//! group, a feed waits, and both continue from their position once there are points. A feed that would wait for longer
//! than [`TIME_LIMIT`] ends, and its client is told to resume after the last cursor.
//!
//! Pure but for [`Payment`], which the composition root provides: delivery knows no budgets.

use std::{fmt, time::Duration};

use crate::auth::actor::Origin;

/// A point, in millionths.
pub const POINT: u64 = 1_000_000;
/// An event that is executed, at the least: a tenth of a point.
pub const EXECUTION: u64 = POINT / 10;
/// An event that is read from the log while catching up: a hundredth.
pub(super) const READ_FROM_LOG: u64 = POINT / 100;
/// An event that is still in memory and looked at while catching up: a thousandth.
pub(super) const READ_FROM_MEMORY: u64 = POINT / 1_000;
/// A look for the next event that may be for the viewer, where that may be far: a tenth.
pub(super) const SKIP: u64 = POINT / 10;
/// How long a feed waits for its subscriber's budget before it ends.
pub(super) const TIME_LIMIT: Duration = Duration::from_mins(2);
/// Replays of one address that are worked on at the same time; more wait for their turn.
pub(super) const REPLAYS: usize = 4;

/// The budgets from which subscriptions pay.
pub trait Payment: fmt::Debug + Send + Sync + 'static {
    /// Takes `cost` millionths of a point from the viewer's budget, as a debt where there is less. Returns how long
    /// nothing more may be done for the viewer's subscriptions, if there is not enough left.
    fn charge(&self, viewer: &Origin, cost: u64) -> Option<Duration>;
}

/// Takes nothing: for a hub without budgets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Free;

impl Payment for Free {
    fn charge(&self, _: &Origin, _: u64) -> Option<Duration> {
        None
    }
}

/// What each of so many receivers of an event owes for its execution.
pub(super) fn share(cost: u64, members: usize) -> u64 {
    (cost / u64::try_from(members.max(1)).unwrap_or(u64::MAX)).max(1)
}

/// Counts what was charged, by what for.
pub(super) fn count(what: &'static str, cost: u64) {
    metrics::counter!("lancewire_subscription_millipoints_total", "for" => what).increment(cost / 1_000);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_shared_and_never_free() {
        assert_eq!([0, 1, 4].map(|members| share(EXECUTION, members)), [EXECUTION, EXECUTION, EXECUTION / 4]);
        assert_eq!(share(EXECUTION, 10_000_000), 1);
    }
}
