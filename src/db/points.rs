//! The places at which somebody else may get ahead of a use case, or at which it may never go on.
//!
//! In production nothing stands there: [`Points::reach`] is one look at an empty option. A simulation (`tests/sim`)
//! hands in a [`CommitObserver`] with [`Db::simulated`](super::Db::simulated), which stops each use case at each place,
//! and lets another one run or drops the future for good, as its seed says. Everything between two places runs to its
//! end, waits for the database included: that is what makes a history the same each time.
//!
//! Invariant: a place is reached while no statement runs, so that a copy of the file taken there is what a process
//! leaves behind that is killed.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

/// Where a use case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before a read outside a transaction.
    Read,
    /// Before a transaction asks for its connection; on `SQLite` the next step waits for the one writer.
    Begin,
    /// Before a statement of a transaction.
    Statement,
    /// Before the commit.
    Commit,
    /// After the commit, before its caller knows.
    Committed,
    /// After a rollback, before its caller knows why.
    RolledBack,
}

/// Decides what happens at a place; given by a simulation.
pub trait CommitObserver: Send + Sync {
    /// Completes when the use case may go on. It may be dropped instead.
    fn reach(&self, point: Point) -> BoxFuture<'static, ()>;
}

/// The places of one database. Clones share the observer, if there is one.
#[derive(Clone, Default)]
pub(super) struct Points(Option<Arc<dyn CommitObserver>>);

impl Points {
    pub(super) fn new(observer: Arc<dyn CommitObserver>) -> Self {
        Self(Some(observer))
    }

    /// Comes by `point`.
    #[inline]
    pub(super) async fn reach(&self, point: Point) {
        if let Some(observer) = &self.0 {
            observer.reach(point).await;
        }
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Points").field(&self.0.is_some()).finish()
    }
}
