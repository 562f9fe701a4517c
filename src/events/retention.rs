//! Forgets events that nobody can want any more.
//!
//! An event is kept for `events.retention_seconds` (seven days by default) after it got its position, and up to a
//! sixty-fourth of that longer; a cursor from before that gets `CURSOR_EXPIRED`. The time is the database's: a node whose
//! clock is days ahead would else empty the log for all, and what a node with such a clock writes would be kept for too
//! long, or be gone at once. Only what has a position is forgotten, from the oldest on and in small steps, so that what
//! remains is contiguous and no reader waits for a long delete.
//!
//! Every node does so; each step is one transaction, and finds nothing to do where another node was first.

use std::time::Duration;

use chrono::TimeDelta;

use super::EventLog;
use crate::lifecycle::Lifecycle;

/// How often it looks.
const PERIOD: Duration = Duration::from_mins(1);
/// Events forgotten at a time.
const STEP: u32 = 1_000;

/// Forgets what is older than `kept` until the process stops.
pub async fn run(log: EventLog, kept: TimeDelta, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = log.note_age(kept).await {
            tracing::error!(error = %error, "how old events are cannot be put down");
        }
        while !lifecycle.is_stopping() {
            match log.forget(kept, STEP).await {
                Ok(0) => break,
                Ok(forgotten) => metrics::counter!("lancewire_events_forgotten_total").increment(forgotten),
                Err(error) => {
                    tracing::error!(error = %error, "old events cannot be forgotten");
                    break;
                }
            }
        }
    }
}
