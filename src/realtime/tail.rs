//! Reads the log as it grows and hands each event to the hub, in order.
//!
//! One a process. It wakes by the bus that every commit rings, and by a timer for rings that were lost. Each time it has committed events numbered (`stamp`) and reads all
//! positions after the last one it saw. Positions are contiguous: a hole would be a bug, is counted and never skipped
//! in silence.

use std::{pin::pin, time::Duration};

use super::{Bus, Delivery, Hub};
use crate::{error::Fault, lifecycle::Lifecycle};

/// Events read at a time.
const PAGE: u32 = 512;
/// Events that fill the ring at the start.
const RECENT: i64 = 8_192;
/// The longest pause between tries while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Begins where the log stands now; called once, before anybody joins.
///
/// The last events fill the ring, so that a crowd that comes back after a restart is served from memory.
pub async fn begin(hub: &Hub) -> Result<(), Fault> {
    let head = hub.log().stamp().await?;
    hub.begin_at(head, recent(hub, head).await);
    Ok(())
}

/// Publishes what comes after the hub's head, until the process stops.
pub async fn run(bus: impl Bus, hub: Hub, poll: Duration, lifecycle: Lifecycle) {
    let mut last = hub.head();
    let mut pause = poll;
    let mut away = false;
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
            () = bus.rung() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The last events up to `head`, as many as are kept of them.
async fn recent(hub: &Hub, head: i64) -> Vec<Delivery> {
    let (mut deliveries, mut last) = (Vec::new(), (head - RECENT).max(0));
    while last < head {
        match hub.log().after(last, PAGE).await {
            Ok(page) => {
                let Some(end) = page.last().map(|event| event.position) else { break };
                let page = page.into_iter().filter(|event| event.position <= head);
                deliveries.extend(page.map(|event| Delivery::new(event, hub.log().identity())));
                last = end;
            }
            Err(fault) => {
                // The ring only saves queries.
                tracing::warn!(error = %fault, "the last events cannot be read");
                break;
            }
        }
    }
    deliveries
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
        let mut deliveries = Vec::with_capacity(events.len());
        for event in events {
            if event.position != *last + 1 {
                metrics::counter!("lancewire_event_gaps_total").increment(1);
                tracing::error!(after = *last, next = event.position, "positions are not contiguous");
            }
            *last = event.position;
            metrics::counter!("lancewire_events_total", "kind" => event.recorded.kind.as_str()).increment(1);
            deliveries.push(Delivery::new(event, hub.log().identity()));
        }
        hub.publish(deliveries);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of how far behind needs no more than 52 bits")]
const fn lossy(count: i64) -> f64 {
    count as f64
}
