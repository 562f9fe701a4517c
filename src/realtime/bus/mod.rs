//! What makes delivery fast; the log is what makes it right.
//!
//! A bus tells the tail that something was committed, here or on another node. It may drop, double and reorder what it
//! carries and nothing is lost by it: positions are contiguous, the tail reads what is missing from the log, and polls it
//! in case no ring came at all.

use futures_util::future::BoxFuture;

mod memory;

pub use memory::MemoryBus;

/// Carries the word that the log has grown.
pub trait Bus: Send + Sync + 'static {
    /// Tells every tail on the bus, this process's included, that something was committed. Never waits; many rings may
    /// become one.
    fn ring(&self);

    /// Completes when the bus was rung since it last did. Cancel safe: a ring that comes between two waits is kept.
    fn rung(&self) -> BoxFuture<'_, ()>;
}
