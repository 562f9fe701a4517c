//! Forgets events that nobody can want any more.
//!
//! An event is kept for `events.retention_seconds` (seven days by default); a cursor from before that gets
//! `CURSOR_EXPIRED`. Only what has a position is forgotten, from the oldest on and in small steps, so that what remains
//! is contiguous and no reader waits for a long delete.

use std::time::Duration;

use chrono::TimeDelta;

use super::EventLog;
use crate::{clock::Clock, lifecycle::Lifecycle};

/// How often it looks.
const PERIOD: Duration = Duration::from_mins(1);
/// Events forgotten at a time.
const STEP: u32 = 1_000;

/// Forgets what is older than `kept` until the process stops.
pub async fn run(log: EventLog, kept: TimeDelta, clock: Clock, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        while !lifecycle.is_stopping() {
            match log.forget(clock.now() - kept, STEP).await {
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
