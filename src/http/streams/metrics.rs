//! The metrics of streams, and the guard that keeps them exact.
//!
//! A stream is counted from before its response begins until its body is dropped, and its end has one reason: `gone`,
//! unless the stream itself came to say why.

use metrics::{counter, gauge};

use tokio::time::Instant;

use super::Transport;
use crate::http::{access::span, websocket::Counted};

/// Gauge by `transport` (sse, multipart): subscriptions that are open over HTTP.
pub const STREAMS: &str = "lancewire_streams";
/// Counter by `transport` and `reason`: why they ended. `gone` is a client that left, or that took nothing for too long.
pub const ENDS: &str = "lancewire_stream_ends_total";

pub(super) fn counted(transport: Transport) -> Counted {
    Counted::new(gauge!(STREAMS, "transport" => transport.label()), 1.0)
}

/// Counts an end and writes its line, whichever way it comes.
pub(super) struct Ending {
    pub(super) transport: Transport,
    pub(super) reason: &'static str,
    opened: Instant,
    /// Of the request that the stream is the answer to.
    request_id: String,
}

impl Ending {
    pub(super) fn of(transport: Transport, request_id: String) -> Self {
        Self { transport, reason: "gone", opened: Instant::now(), request_id }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        counter!(ENDS, "transport" => self.transport.label(), "reason" => self.reason).increment(1);
        span(&self.request_id).in_scope(|| {
            tracing::info!(
                stream.transport = self.transport.label(),
                stream.end = self.reason,
                stream.age.ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
                "stream ended"
            );
        });
    }
}
