//! Durations in buckets no wider than 1.6 % of their value, so that a run of any length takes the same memory.

use std::time::Duration;

/// Buckets a power of two.
const STEPS: u64 = 64;

/// All buckets.
const BUCKETS: usize = 64 * POWERS;

/// Largest power of two that has buckets of its own: 2^37 ns are 137 s.
const POWERS: usize = 32;

/// Counts of durations.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&mut self, nanos: u64) {
        let last = self.counts.len() - 1;
        self.counts[bucket(nanos).min(last)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The least duration that `share` of all stay within, rounded up to its bucket's end.
    pub fn quantile(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(end(index).min(self.max));
            }
        }
        self.max()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// How many stay within a time, by the ends of their buckets.
    pub fn within(&self, time: Duration) -> u64 {
        let last = self.counts.len() - 1;
        self.counts[..=bucket(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).min(last)].iter().sum()
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

/// Values below 64 have a bucket each; above, the six bits after the leading one choose.
fn bucket(nanos: u64) -> usize {
    let power = nanos.checked_ilog2().unwrap_or(0).saturating_sub(STEPS.ilog2());
    usize::try_from(u64::from(power) * STEPS + (nanos >> power)).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn end(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let power = index / STEPS - 1;
    ((index - power * STEPS + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_no_earlier_than_its_values_and_hardly_later() {
        for nanos in [0, 1, 63, 64, 127, 128, 1_000, 123_456_789, 40_000_000_000] {
            let end = end(bucket(nanos));
            assert!(end >= nanos && end - nanos <= nanos / 32, "{nanos} {end}");
            assert_eq!(bucket(end), bucket(nanos));
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|micros| histogram.record(micros * 1_000));
        let close = |share, micros: u64| {
            histogram.quantile(share).as_micros().abs_diff(micros.into()) <= u128::from(micros) / 32
        };
        assert!(close(0.5, 500) && close(0.99, 990));
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(1));
    }
}
