//! The names of all metrics of sockets, and the guards that keep the gauges exact.
//!
//! A gauge is only changed by a guard: it decreases wherever the counted thing ends, also after a panic or an aborted
//! task. Labels have few and fixed values, never text of a client.

use metrics::{Gauge, counter, gauge};

/// Gauge: sockets that are open, from the upgrade until the last mutation of the socket has finished.
pub const SOCKETS: &str = "lancewire_sockets";
/// Gauge by `kind` (query, mutation, subscription): operations that run over sockets.
pub const OPERATIONS: &str = "lancewire_socket_operations";
/// Gauge: bytes of messages that wait for slow peers, over all sockets.
pub const QUEUE_BYTES: &str = "lancewire_socket_queue_bytes";
/// Counter by `code`: why sockets ended; a close code of ours, or `peer`, `gone`, `silent`.
pub const CLOSES: &str = "lancewire_socket_closes_total";
/// Counter by `reason` (origin, address, stopping): upgrades refused before 101.
pub const REFUSALS: &str = "lancewire_socket_refusals_total";

pub(super) fn closed(code: &'static str) {
    counter!(CLOSES, "code" => code).increment(1);
}

pub(super) fn refused(reason: &'static str) {
    counter!(REFUSALS, "reason" => reason).increment(1);
}

/// An amount that counts in a gauge for as long as the guard lives.
pub(in crate::http) struct Counted {
    gauge: Gauge,
    amount: f64,
}

impl Counted {
    pub(super) fn socket() -> Self {
        Self::new(gauge!(SOCKETS), 1.0)
    }

    pub(super) fn operation(kind: &'static str) -> Self {
        Self::new(gauge!(OPERATIONS, "kind" => kind), 1.0)
    }

    pub(super) fn queued(bytes: u32) -> Self {
        Self::new(gauge!(QUEUE_BYTES), f64::from(bytes))
    }

    pub(in crate::http) fn new(gauge: Gauge, amount: f64) -> Self {
        gauge.increment(amount);
        Self { gauge, amount }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.decrement(self.amount);
    }
}
