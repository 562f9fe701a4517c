//! The one home of time.
//!
//! Owns the wall clock that everything else is handed, so that tests move time instead of waiting for it. Times are
//! UTC and truncated to milliseconds: what the API shows, what both databases store and what is compared are the same
//! value. Calling `Utc::now` anywhere else is refused by `clippy.toml` and `tests/architecture.rs`.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::sync::watch;

/// A moment in UTC with millisecond precision.
pub type Timestamp = DateTime<Utc>;

/// A source of time, cheap to clone: the system's, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<watch::Sender<Timestamp>>),
}

impl Clock {
    /// The machine's wall clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(start.trunc_subsecs(3)))))
    }

    /// The present moment, truncated to milliseconds.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Utc::now().trunc_subsecs(3),
            Source::Manual(now) => *now.borrow(),
        }
    }

    /// Moves a manual clock; the system's clock cannot be moved and ignores it.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.send_modify(|now| *now += TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX));
        }
    }

    /// Completes once the clock shows `deadline` or later. Cancel safe.
    ///
    /// On the system's clock the wait is re-read every minute, so that a jump of the wall clock is noticed.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        match &self.0 {
            Source::System => loop {
                let Ok(left) = (deadline - self.now()).to_std() else { return };
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_mins(1))).await;
            },
            Source::Manual(now) => {
                let mut now = now.subscribe();
                // An error means that the clock was dropped, so nothing can move it any more.
                let _ = now.wait_for(|now| *now >= deadline).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_it_is_moved() {
        let start = DateTime::from_timestamp_millis(1_700_000_000_000).expect("valid");
        let clock = Clock::manual(start);
        let asleep = clock.sleep_until(start + TimeDelta::seconds(10));
        let mut asleep = std::pin::pin!(asleep);
        assert!(asleep.as_mut().now_or_never().is_none(), "the clock stands still");
        clock.advance(Duration::from_secs(10));
        asleep.await;
        assert_eq!(clock.now(), start + TimeDelta::seconds(10));
    }
}
