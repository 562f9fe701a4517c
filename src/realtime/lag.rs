//! How late delivery is: the highest possible age of the oldest committed event that was not delivered.
//!
//! The [`tail`](super::tail) reports here when it has reached the end of the log, and when it had started to read:
//! everything that was committed before that moment has been published. So an event that still waits is younger than
//! that moment, whatever the reason for its waiting: an unreachable or silent database, a lock on the head of the log,
//! a blocked tail. This needs no query and compares no clocks of different machines. Read by `/health/ready`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How old an event that waits may be, beyond the time between two polls, before this node is not ready.
const LIMIT: Duration = Duration::from_secs(3);
/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// The time between two polls while no tail runs: nothing is late then.
const NO_TAIL: u64 = u64::MAX;

const LAG: &str = "lancewire_delivery_lag_seconds";

/// How late delivery is. Clones share it.
#[derive(Clone, Debug)]
pub struct Lag(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    /// Milliseconds after the beginning at which the tail last asked for all there was, and got it.
    caught_up: AtomicU64,
    /// Milliseconds between two polls.
    poll: AtomicU64,
}

impl Default for Lag {
    fn default() -> Self {
        Self(Arc::new(Shared { began: Instant::now(), caught_up: AtomicU64::default(), poll: AtomicU64::new(NO_TAIL) }))
    }
}

impl Lag {
    /// A tail begins that polls so often.
    pub(super) fn begin(&self, poll: Duration) {
        self.caught_up(Instant::now());
        self.0.poll.store(millis(poll), Ordering::Release);
    }

    /// The tail has ended: nobody expects anything.
    pub(super) fn end(&self) {
        self.0.poll.store(NO_TAIL, Ordering::Release);
    }

    /// All that was committed at this moment has been published.
    pub(super) fn caught_up(&self, asked: Instant) {
        self.0.caught_up.fetch_max(millis(asked.saturating_duration_since(self.0.began)), Ordering::AcqRel);
    }

    /// No event that waits for delivery is older. Nothing while no tail runs.
    pub fn age(&self) -> Duration {
        self.age_at(Instant::now())
    }

    /// Whether an event may wait that should have been delivered.
    pub fn is_late(&self) -> bool {
        self.is_late_at(Instant::now())
    }

    fn age_at(&self, now: Instant) -> Duration {
        if self.0.poll.load(Ordering::Acquire) == NO_TAIL {
            return Duration::ZERO;
        }
        let caught_up = Duration::from_millis(self.0.caught_up.load(Ordering::Acquire));
        now.saturating_duration_since(self.0.began).saturating_sub(caught_up)
    }

    fn is_late_at(&self, now: Instant) -> bool {
        self.age_at(now) > LIMIT.saturating_add(Duration::from_millis(self.0.poll.load(Ordering::Acquire)))
    }

    /// Says once when delivery becomes late and once when it is no more, and keeps the gauge. For ever.
    pub async fn watch(self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut late = false;
        loop {
            ticks.tick().await;
            metrics::gauge!(LAG).set(self.age().as_secs_f64());
            if self.is_late() == late {
                continue;
            }
            late = !late;
            if late {
                let age_ms = millis(self.age());
                tracing::error!(age_ms, "delivery is late: the event log does not answer; this node is not ready");
            } else {
                tracing::info!("delivery is on time again");
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_younger_than_the_last_question_that_was_answered() {
        let (lag, second) = (Lag::default(), Duration::from_secs(1));
        let began = lag.0.began;
        assert!(!lag.is_late_at(began + second * 60), "nobody delivers, so nothing is late");
        lag.begin(second);
        let asked = began + second * 100;
        lag.caught_up(asked);
        assert_eq!(lag.age_at(asked), Duration::ZERO);
        assert!(!lag.is_late_at(asked + second * 4), "three seconds after the next poll");
        assert!(lag.is_late_at(asked + second * 5));
        lag.caught_up(asked + second * 2);
        assert!(!lag.is_late_at(asked + second * 5));
        // An older answer that comes later.
        lag.caught_up(asked);
        assert_eq!(lag.age_at(asked + second * 5), second * 3);
        lag.end();
        assert!(!lag.is_late_at(asked + second * 60));
    }
}
