//! The bus of a single process: the doorbell that the transaction helper rings after each commit.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::Notify;

use super::Bus;

/// A bus without a wire. Clones share the bell.
#[derive(Clone, Debug)]
pub struct MemoryBus {
    doorbell: Arc<Notify>,
}

impl MemoryBus {
    /// The bus that `doorbell` rings.
    pub const fn new(doorbell: Arc<Notify>) -> Self {
        Self { doorbell }
    }
}

impl Bus for MemoryBus {
    fn ring(&self) {
        self.doorbell.notify_one();
    }

    fn rung(&self) -> BoxFuture<'_, ()> {
        self.doorbell.notified().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_is_kept_until_somebody_waits_and_many_are_one() {
        let bus = MemoryBus::new(Arc::default());
        assert!(bus.rung().now_or_never().is_none());
        bus.ring();
        bus.ring();
        assert!(bus.rung().now_or_never().is_some());
        assert!(bus.rung().now_or_never().is_none());
    }
}
