//! The metrics of streams, and the guard that keeps them exact.
//!
//! A stream is counted from before its response begins until its body is dropped, and its end has one reason: `gone`,
//! unless the stream itself came to say why.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::Transport;
use crate::http::websocket::Counted;

/// Gauge by `transport` (sse, multipart): subscriptions that are open over HTTP.
pub const STREAMS: &str = "lancewire_streams";
/// Counter by `transport` and `reason`: why they ended. `gone` is a client that left, or that took nothing for too long.
pub const ENDS: &str = "lancewire_stream_ends_total";

/// Tells the recorder what the metrics mean. Called once, after a recorder is installed.
pub fn describe() {
    describe_gauge!(STREAMS, "Open subscriptions over HTTP, by transport");
    describe_counter!(ENDS, "Ended subscriptions over HTTP, by transport and reason");
    describe_counter!("lancewire_http_stalls_total", "Connections cut because their clients took nothing of an answer");
}

pub(super) fn counted(transport: Transport) -> Counted {
    Counted::new(gauge!(STREAMS, "transport" => transport.label()), 1.0)
}

/// Counts an end, whichever way it comes.
pub(super) struct Ending {
    pub(super) transport: Transport,
    pub(super) reason: &'static str,
}

impl Ending {
    pub(super) const fn of(transport: Transport) -> Self {
        Self { transport, reason: "gone" }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        counter!(ENDS, "transport" => self.transport.label(), "reason" => self.reason).increment(1);
    }
}
