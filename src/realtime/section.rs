//! The members of a group with the same arguments.
//!
//! A section is an interest with its members: the unit of matching, where a group is the unit of execution. Ten
//! thousand filters of one selection are ten thousand sections of one group, and an event that matches all of them is
//! executed once. A section starts with its first subscription and ends with its last; it has no task and no backlog of
//! its own.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use super::{
    Delivery, SharingKey,
    charges::POINT,
    group::Group,
    interest::Interest,
    members::{Member, Members, Place},
};

/// Members of a group with one interest.
pub(super) struct Section {
    number: u64,
    key: SharingKey,
    group: Arc<Group>,
    interest: Interest,
    /// The position of the last event that was matched.
    matched: AtomicI64,
    /// What each member owes for events that were executed, in millionths of a point.
    owed: AtomicU64,
    members: Mutex<Members>,
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section")
            .field("number", &self.number)
            .field("interest", &self.interest)
            .finish_non_exhaustive()
    }
}

impl Section {
    pub(super) fn new(number: u64, key: SharingKey, group: Arc<Group>, interest: Interest) -> Self {
        let (matched, owed) = (AtomicI64::new(i64::MIN), AtomicU64::new(0));
        Self { number, key, group, interest, matched, owed, members: Mutex::default() }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) const fn key(&self) -> SharingKey {
        self.key
    }

    pub(super) const fn group(&self) -> &Arc<Group> {
        &self.group
    }

    pub(super) const fn interest(&self) -> &Interest {
        &self.interest
    }

    /// Whether any member may want this event; asked again for the same event, no. Under the hub's lock.
    pub(super) fn matches(&self, delivery: &Delivery) -> bool {
        // A candidate comes once for each term that it has in common with the event.
        if self.matched.swap(delivery.position(), Ordering::Relaxed) == delivery.position() {
            return false;
        }
        let circle = self.interest.circle(delivery);
        (circle.everybody || self.members().any_hears(&circle)) && self.interest.wants(delivery)
    }

    /// Each member owes so much more. True once for each whole point that it comes to: then they are to be charged.
    pub(super) fn owe(&self, cost: u64) -> bool {
        let before = self.owed.fetch_add(cost, Ordering::Relaxed);
        before < POINT && before + cost >= POINT
    }

    /// What each member owes, which is charged now.
    pub(super) fn take_owed(&self) -> u64 {
        self.owed.swap(0, Ordering::Relaxed)
    }

    /// Adds a member that has caught up with its own position. Under the hub's lock.
    pub(super) fn join(&self, member: Member) -> Place {
        self.members().insert(member)
    }

    /// Takes a member out: it gets nothing more.
    pub(super) fn leave(&self, place: Place) {
        let left = self.members().remove(place);
        drop(left);
    }

    pub(super) fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
