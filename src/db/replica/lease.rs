//! Whether a replica may answer now: a lease that every look at it renews.
//!
//! A look reads where the primary's log stands at a moment and waits until the replica has come that far. From then on
//! the replica shows all that was committed before that moment, so for as long as the moment is no further back than
//! the limit, no answer is older than the limit allows. A lease runs out by itself: it needs no one to notice that the
//! replica, or the task that checks it, has stopped. One that was left out must come up to the primary within half the
//! limit three times running before it is back, so that one at the edge does not come and go.

use std::time::Duration;

use tokio::time::Instant;

/// Looks in a row that bring a replica back.
const GOOD_LOOKS: u32 = 3;

/// What is known of a replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplicaLease {
    limit: Duration,
    serving: bool,
    /// All that was committed before this moment can be seen.
    shows: Option<Instant>,
    good_looks: u32,
}

impl ReplicaLease {
    /// A replica that nobody has looked at. The first good look lets it serve.
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, serving: false, shows: None, good_looks: GOOD_LOOKS - 1 }
    }

    /// Whether it may answer.
    pub(super) fn serves(&self, now: Instant) -> bool {
        self.serving && self.age(now).is_some_and(|age| age <= self.limit)
    }

    /// It shows all that was committed before `asked`, as was found out `now`.
    pub(super) fn reached(&mut self, asked: Instant, now: Instant) {
        let took = now.saturating_duration_since(asked);
        self.shows = self.shows.max(Some(asked));
        if self.limit.is_zero() || took > self.limit {
            self.leave_out();
        } else if !self.serving {
            self.good_looks = if took <= self.limit / 2 { self.good_looks + 1 } else { 0 };
            self.serving = self.good_looks >= GOOD_LOOKS;
        }
    }

    /// It failed, or did not come up in time.
    pub(super) const fn leave_out(&mut self) {
        (self.serving, self.good_looks) = (false, 0);
    }

    /// Whether it was allowed to serve, with its lease renewed or not.
    pub(super) const fn is_in(&self) -> bool {
        self.serving
    }

    /// Whether no look has gone wrong or right yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.shows.is_none() && self.good_looks > 0
    }

    /// How old what it shows may be by now; nothing before the first good look.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.shows.map(|shows| now.saturating_duration_since(shows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);
    const LITTLE: Duration = Duration::from_millis(10);

    #[test]
    fn a_lease_ends_by_itself() {
        let (mut standing, start) = (ReplicaLease::new(LIMIT), Instant::now());
        assert!(!standing.serves(start));
        standing.reached(start, start + LITTLE);
        assert!(standing.serves(start + LITTLE));
        assert!(standing.serves(start + LIMIT));
        assert!(!standing.serves(start + LIMIT + LITTLE), "nobody has looked since");
        standing.reached(start + LIMIT, start + LIMIT + LITTLE);
        assert!(standing.serves(start + LIMIT + LITTLE), "it was there all along");
    }

    #[test]
    fn one_that_was_left_out_must_show_that_it_keeps_up() {
        let (mut standing, mut now) = (ReplicaLease::new(LIMIT), Instant::now());
        standing.reached(now, now + LITTLE);
        standing.leave_out();
        assert!(!standing.serves(now + LITTLE));
        for (took, serves) in [
            (LITTLE, false),
            (LITTLE, false),
            // In time, but not by much: it begins anew.
            (LIMIT, false),
            (LITTLE, false),
            (LITTLE, false),
            (LITTLE, true),
            (LIMIT, true),
            (LIMIT + LITTLE, false),
        ] {
            let asked = now;
            now += took;
            standing.reached(asked, now);
            assert_eq!(standing.serves(now), serves, "{standing:?}");
        }
    }

    #[test]
    fn no_lag_is_small_enough_for_a_limit_of_nothing() {
        let (mut standing, now) = (ReplicaLease::new(Duration::ZERO), Instant::now());
        for _ in 0..10 {
            standing.reached(now, now);
            assert!(!standing.serves(now));
        }
    }
}
