//! How much of the database one caller may hold at a time, so that the others find some of it free.
//!
//! Owns the [`Share`] of each caller whose operations run: how many connections of each pool all of them together hold,
//! and how many operations there are. Made by `operations`, which has them run
//! [`within`] their caller's share; asked by [`super::pool`] before it gives out a connection. Callers are keys that mean
//! nothing here.
//!
//! What runs outside of any share is the server's own work: numbering and delivery, sessions, readiness, retention. It waits
//! for no caller's share, and of each pool of four connections or more one is left to it: all callers together never hold
//! the last one.
//!
//! The share is found through a task-local, which costs a pointer a poll. Handing it through the services as the replica's
//! snapshot is handed would clone all of them for each query.
//!
//! Invariants: a connection that a caller holds is counted until its statement has ended, also where nobody waits for that
//! any more; waiting is first come, first served, within a share and between callers; a caller has at most
//! [`MAX_OPERATIONS`] queries and mutations here, so what waits is bounded; each operation has a deadline, and who waits ends with it.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many queries and mutations of one caller may run or wait at a time.
pub const MAX_OPERATIONS: u32 = 500;

/// At how many callers those whose last statement has ended meanwhile are forgotten.
const SWEEP_AT: usize = 1_000;

tokio::task_local! {
    static SHARE: Arc<Share>;
}

/// What a connection is wanted for. Each has its own part of a share, so that a caller's transaction can read outside of
/// itself and never waits for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A single statement.
    Statement,
    /// A transaction that writes.
    Transaction,
    /// All of an operation's reads on the replica.
    Replica,
}

/// How many connections one caller may hold for each use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareSizes {
    pub(super) statements: usize,
    pub(super) transactions: usize,
    pub(super) replica: usize,
}

impl ShareSizes {
    /// Of `connections` each caller gets so many in a hundred, and one for each use at least. Where reads and transactions
    /// are of one pool, they divide the share.
    pub(super) fn new(connections: u32, percent: u8, one_pool: bool) -> Self {
        let all = usize::try_from(u64::from(connections) * u64::from(percent) / 100).unwrap_or(usize::MAX).max(1);
        if one_pool {
            let transactions = (all / 2).max(1);
            Self { statements: (all - all / 2).max(1), transactions, replica: all }
        } else {
            Self { statements: all, transactions: 1, replica: all }
        }
    }
}

/// What one caller holds.
#[derive(Debug)]
pub struct Share {
    statements: Arc<Semaphore>,
    transactions: Arc<Semaphore>,
    replica: Arc<Semaphore>,
    operations: AtomicU32,
}

impl Share {
    fn new(sizes: ShareSizes) -> Self {
        let semaphore = |size: usize| Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS)));
        Self {
            statements: semaphore(sizes.statements),
            transactions: semaphore(sizes.transactions),
            replica: semaphore(sizes.replica),
            operations: AtomicU32::new(0),
        }
    }

    fn of(&self, wanted: Use) -> Arc<Semaphore> {
        Arc::clone(match wanted {
            Use::Statement => &self.statements,
            Use::Transaction => &self.transactions,
            Use::Replica => &self.replica,
        })
    }
}

/// The shares of the callers whose operations run. `K` says who a caller is.
pub struct Shares<K: Eq + Hash> {
    sizes: ShareSizes,
    callers: Mutex<Callers<K>>,
}

struct Callers<K> {
    shares: HashMap<K, Arc<Share>>,
    /// At so many, those that are of no use any more are looked for.
    sweep_at: usize,
}

/// An operation of a caller. While it lives, the caller's share is kept.
pub struct Member<'s, K: Eq + Hash> {
    shares: &'s Shares<K>,
    caller: K,
    share: Arc<Share>,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// None in use.
    pub fn new(sizes: ShareSizes) -> Self {
        Self { sizes, callers: Mutex::new(Callers { shares: HashMap::new(), sweep_at: SWEEP_AT }) }
    }

    /// Counts an operation in; none if the caller has [`MAX_OPERATIONS`] already.
    pub fn enter(&self, caller: K) -> Option<Member<'_, K>> {
        self.count_in(caller, MAX_OPERATIONS)
    }

    /// Counts in what is bounded elsewhere, as subscriptions that begin are by sockets.
    pub fn enter_always(&self, caller: K) -> Option<Member<'_, K>> {
        self.count_in(caller, u32::MAX)
    }

    fn count_in(&self, caller: K, most: u32) -> Option<Member<'_, K>> {
        let mut callers = self.callers();
        if callers.shares.len() >= callers.sweep_at {
            callers.shares.retain(|_, share| share.is_used(self.sizes));
            callers.sweep_at = SWEEP_AT.max(2 * callers.shares.len());
        }
        let share = callers.shares.entry(caller.clone()).or_insert_with(|| Arc::new(Share::new(self.sizes)));
        // Changed under the lock alone.
        let operations = share.operations.load(Ordering::Relaxed);
        if operations >= most {
            return None;
        }
        share.operations.store(operations + 1, Ordering::Relaxed);
        let share = Arc::clone(share);
        drop(callers);
        Some(Member { shares: self, caller, share })
    }

    /// Callers with operations, for tests and metrics.
    pub fn callers_now(&self) -> usize {
        self.callers().shares.len()
    }
}

impl<K: Eq + Hash> Shares<K> {
    fn callers(&self) -> MutexGuard<'_, Callers<K>> {
        self.callers.lock()
    }
}

impl<K: Eq + Hash> fmt::Debug for Shares<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash> Member<'_, K> {
    /// Runs what asks for connections in this caller's name.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        SHARE.scope(Arc::clone(&self.share), work).await
    }
}

impl<K: Eq + Hash> Drop for Member<'_, K> {
    fn drop(&mut self) {
        let mut callers = self.shares.callers();
        let left = self.share.operations.load(Ordering::Relaxed).saturating_sub(1);
        self.share.operations.store(left, Ordering::Relaxed);
        // A statement that nobody waits for may still be counted in it: then the next operation finds it there, or the next
        // sweep.
        if !self.share.is_used(self.shares.sizes) {
            callers.shares.remove(&self.caller);
        }
    }
}

impl Share {
    fn is_used(&self, sizes: ShareSizes) -> bool {
        self.operations.load(Ordering::Relaxed) > 0
            || self.statements.available_permits() < sizes.statements
            || self.transactions.available_permits() < sizes.transactions
            || self.replica.available_permits() < sizes.replica
    }
}

/// Waits until the caller in whose name this runs holds less than its share; at once for what runs in nobody's name.
pub(super) async fn wait_for(wanted: Use) -> Option<OwnedSemaphorePermit> {
    let semaphore = SHARE.try_with(|share| share.of(wanted)).ok()?;
    // It is never closed.
    semaphore.acquire_owned().await.ok()
}

/// Whether this runs in a caller's name.
pub(super) fn is_a_callers() -> bool {
    SHARE.try_with(|_| ()).is_ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_share_is_a_part_of_the_connections_and_never_nothing() {
        let sizes = |connections, percent, one_pool| {
            let ShareSizes { statements, transactions, replica } = ShareSizes::new(connections, percent, one_pool);
            (statements, transactions, replica)
        };
        assert_eq!(sizes(16, 25, true), (2, 2, 4));
        assert_eq!(sizes(20, 25, true), (3, 2, 5));
        assert_eq!(sizes(16, 25, false), (4, 1, 4));
        assert_eq!(sizes(1, 25, true), (1, 1, 1));
        assert_eq!(sizes(1, 25, false), (1, 1, 1));
    }

    #[tokio::test]
    async fn a_caller_waits_for_itself_and_for_nobody_else() {
        let shares = Shares::new(ShareSizes::new(8, 25, false));
        let (ada, again, ben) = (shares.enter("ada"), shares.enter("ada"), shares.enter("ben"));
        let (ada, again, ben) = (ada.expect("free"), again.expect("free"), ben.expect("free"));
        let take = || wait_for(Use::Statement);
        let first = ada.run(take()).await;
        let _second = again.run(take()).await;
        let mut third = Box::pin(ada.run(take()));
        assert!((&mut third).now_or_never().is_none(), "two of eight are held");
        assert!(ada.run(wait_for(Use::Transaction)).now_or_never().is_some(), "another use");
        assert!(ben.run(take()).now_or_never().is_some(), "another caller");
        assert!(take().now_or_never().expect("at once").is_none(), "nobody's");
        drop(first);
        assert!(third.now_or_never().expect("its turn").is_some());
    }

    #[tokio::test]
    async fn a_share_goes_with_the_last_that_was_done_in_its_name() {
        let shares = Shares::new(ShareSizes::new(4, 25, true));
        let ada = shares.enter("ada").expect("free");
        let held = ada.run(wait_for(Use::Statement)).await;
        drop(ada);
        assert_eq!(shares.callers_now(), 1, "a statement is still running");
        let ada = shares.enter("ada").expect("free");
        assert!(ada.run(wait_for(Use::Statement)).now_or_never().is_none(), "it is counted");
        drop(held);
        drop(ada);
        assert_eq!(shares.callers_now(), 0);
    }

    #[test]
    fn operations_of_one_caller_are_bounded() {
        let shares = Shares::new(ShareSizes::new(4, 25, true));
        let all: Vec<_> = (0..MAX_OPERATIONS).map(|_| shares.enter("ada").expect("free")).collect();
        assert!(shares.enter("ada").is_none());
        assert!(shares.enter("ben").is_some());
        drop(all);
        assert!(shares.enter("ada").is_some());
    }
}
