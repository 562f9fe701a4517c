//! Pauses between tries at something that is away: each about twice as long as the one before, and no two alike.
//!
//! Everybody who lost the same database or the same bus lost it at the same moment. Pauses of fixed lengths would bring
//! all of them back at the same moments too, so each is drawn at random from the upper half of its length. The
//! randomness is handed in, as everywhere ([`Ids`]).
//!
//! Own code: the crates for it (`backon`, `backoff`) draw from a generator of their own, which the simulations could not
//! seed, and wrap the whole call, where our loops wait for other things beside the pause.

use std::time::Duration;

use crate::ids::Ids;

/// The pauses of one who tries again and again.
#[derive(Clone, Debug)]
pub struct BackOff {
    ids: Ids,
    first: Duration,
    longest: Duration,
    /// The next pause is at most so long.
    next: Duration,
}

impl BackOff {
    /// Pauses from about the first length to about the second.
    pub fn new(ids: &Ids, (first, longest): (Duration, Duration)) -> Self {
        Self { ids: ids.clone(), first, longest, next: first.min(longest) }
    }

    /// How long the next pause is.
    #[must_use]
    pub fn length(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        let half = whole / 2;
        let drawn = u64::try_from(half.as_micros()).unwrap_or(u64::MAX - 1);
        half + Duration::from_micros(self.ids.below(drawn + 1))
    }

    /// Waits for the next pause. Cancel safe: one that is cut off counts as made.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.length()).await;
    }

    /// It has succeeded: the next pause is a first one.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn lengths(seed: u64) -> Vec<u128> {
        let ids = Ids::seeded(Clock::system(), seed);
        let mut pauses = BackOff::new(&ids, (Duration::from_millis(100), Duration::from_secs(2)));
        let lengths = (0..10).map(|_| pauses.length().as_millis()).collect();
        pauses.reset();
        assert!((50..=100).contains(&pauses.length().as_millis()), "from the beginning");
        lengths
    }

    #[test]
    fn pauses_grow_up_to_a_limit_and_no_two_clients_have_the_same() {
        let one = lengths(1);
        for (length, most) in one.iter().zip([100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000, 2_000, 2_000]) {
            assert!((most / 2..=most).contains(length), "{one:?}");
        }
        assert_eq!(one, lengths(1), "the same randomness, the same pauses");
        for seed in 2..50 {
            let other = lengths(seed);
            let equal = one.iter().zip(&other).filter(|(one, other)| one == other).count();
            assert!(equal <= 3, "{one:?} and {other:?}");
        }
        // All of many in one moment: evenly spread over half of the pause.
        let mut firsts: Vec<u128> = (0..1_000).map(|seed| lengths(seed)[4]).collect();
        firsts.sort_unstable();
        assert!(firsts[250] < 1_050 && (1_150..=1_250).contains(&firsts[500]) && firsts[750] > 1_350, "{firsts:?}");
    }
}
