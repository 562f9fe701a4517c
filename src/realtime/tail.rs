//! Reads the log as it grows and hands each event to the hub, in order.
//!
//! One a process. It wakes by the doorbell that every commit of this process rings, and by a timer for the commits of
//! other processes and for rings that were lost. Each time it has committed events numbered (`stamp`) and reads all
//! positions after the last one it saw. Positions are contiguous: a hole would be a bug, is counted and never skipped
//! in silence.

use std::{pin::pin, time::Duration};

use super::{Delivery, Hub};
use crate::{db::Db, error::Fault, lifecycle::Lifecycle};

/// Events read at a time.
const PAGE: u32 = 512;
/// The longest pause between tries while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Feeds the hub from `from` on until the process stops.
pub async fn run(db: Db, hub: Hub, from: i64, poll: Duration, lifecycle: Lifecycle) {
    let doorbell = db.doorbell();
    let mut last = from;
    let mut pause = poll;
    let mut away = false;
    hub.begin_at(from);
    let mut stopping = pin!(lifecycle.stopping());
    loop {
        match advance(&hub, &mut last).await {
            Ok(()) => {
                if away {
                    tracing::info!(position = last, "the event log answers again");
                }
                (away, pause) = (false, poll);
            }
            Err(fault) => {
                if !away {
                    tracing::error!(error = %fault, "the event log cannot be read; trying again");
                }
                (away, pause) = (true, (pause * 2).min(LONGEST_PAUSE));
            }
        }
        tokio::select! {
            () = &mut stopping => return,
            () = doorbell.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn advance(hub: &Hub, last: &mut i64) -> Result<(), Fault> {
    let head = hub.log().stamp().await?;
    metrics::gauge!("lancewire_events_behind").set(lossy(head - *last));
    while *last < head {
        let events = hub.log().after(*last, PAGE).await?;
        if events.is_empty() {
            // The read came from an older snapshot than the head; the next round sees more.
            return Ok(());
        }
        for event in events {
            if event.position != *last + 1 {
                metrics::counter!("lancewire_event_gaps_total").increment(1);
                tracing::error!(after = *last, next = event.position, "positions are not contiguous");
            }
            *last = event.position;
            metrics::counter!("lancewire_events_total", "kind" => event.recorded.kind.as_str()).increment(1);
            hub.publish(Delivery::new(event, hub.log().identity()));
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of how far behind needs no more than 52 bits")]
const fn lossy(count: i64) -> f64 {
    count as f64
}
