//! Token buckets: how much of something each key may have in a while.
//!
//! Owns the arithmetic of points ([`budgets`](super::budgets)) and of sign-ups ([`sign_ups`](super::sign_ups)). A bucket is one number a key: the moment at which it will be full again,
//! if nothing more is taken (the theoretical arrival time of GCRA). Taking moves it into the future, giving back moves it
//! back, and a debt is a moment that lies further off than an empty bucket takes to fill. Own code, since `governor`'s
//! GCRA cannot give back.
//!
//! Invariants: what is refused costs nothing; no bucket holds more than its limit; a full bucket takes no memory after
//! the next [`Buckets::sweep`]. Leaf: knows nobody, and is told the time, in nanoseconds since some moment of the past.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The largest debt, in full buckets: more is forgiven.
pub const MAX_DEBT: u32 = 8;
/// Locks among which keys are spread.
const SHARDS: usize = 16;

/// The buckets of one kind of key. Some keys may have several times the limit: `times`, which is the same for a key
/// whenever it is named.
#[derive(Debug)]
pub struct Buckets<K> {
    shards: [Mutex<HashMap<K, u64>>; SHARDS],
    hasher: RandomState,
    limit: NonZeroU32,
    /// How long an empty bucket takes to fill, in nanoseconds.
    period: u64,
}

/// A bucket after something was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// How much a full one holds.
    pub limit: u32,
    /// How much is in it.
    pub left: u32,
    /// Time until it is full again, if nothing more is taken.
    pub full_after: Duration,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// There will be enough later.
    Now {
        /// The bucket as it is.
        level: Level,
        /// Time until there is enough, if nothing else is taken.
        retry_after: Duration,
    },
    /// A full bucket does not hold as much.
    Ever {
        /// How much a full one holds.
        limit: u32,
    },
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Full buckets of `limit`, each of which takes `period` to fill.
    pub fn new(limit: NonZeroU32, period: Duration) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        Self { shards: Default::default(), hasher: RandomState::new(), limit, period }
    }

    /// Takes `amount` out of the bucket of `key`.
    pub fn take(&self, key: &K, times: u32, amount: u32, now: u64) -> Result<Level, Short> {
        let bucket = self.bucket(times);
        let mut shard = self.shard(key);
        let full_at = shard.get(key).copied().unwrap_or_default().max(now);
        let taken = bucket.take(full_at, amount, now)?;
        shard.insert(key.clone(), taken);
        Ok(bucket.level(taken, now))
    }

    /// What [`Buckets::take`] would say. Takes nothing.
    pub fn look(&self, key: &K, times: u32, amount: u32, now: u64) -> Result<Level, Short> {
        let bucket = self.bucket(times);
        let full_at = self.shard(key).get(key).copied().unwrap_or_default().max(now);
        bucket.take(full_at, amount, now).map(|_| bucket.level(full_at, now))
    }

    /// Takes what may not be there, as a debt.
    pub fn owe(&self, key: &K, times: u32, amount: u32, now: u64) {
        let bucket = self.bucket(times);
        let mut shard = self.shard(key);
        let full_at = shard.get(key).copied().unwrap_or_default().max(now);
        let most = self.period.saturating_mul(1 + u64::from(MAX_DEBT)).saturating_add(now);
        shard.insert(key.clone(), full_at.saturating_add(bucket.worth(amount)).min(most));
    }

    /// Takes so many millionths of a unit for what was done already, as a debt where there is not enough. Returns how long it
    /// takes until a tenth of the bucket is there; none where it is.
    pub fn charge(&self, key: &K, times: u32, millionths: u64, now: u64) -> Option<Duration> {
        let interval = self.bucket(times).interval;
        let mut shard = self.shard(key);
        let before = shard.get(key).copied().unwrap_or_default().max(now);
        let worth = u128::from(interval) * u128::from(millionths) / 1_000_000;
        let most = self.period.saturating_mul(1 + u64::from(MAX_DEBT)).saturating_add(now).max(before);
        let after = before.saturating_add(u64::try_from(worth).unwrap_or(u64::MAX)).min(most);
        if after > before {
            shard.insert(key.clone(), after);
        }
        let wait = (after - now).saturating_sub(self.period - self.period / 10);
        (wait > 0).then(|| Duration::from_nanos(wait))
    }

    /// Puts back what was taken. Never more than what makes the bucket full.
    pub fn give_back(&self, key: &K, times: u32, amount: u32, now: u64) -> Level {
        let bucket = self.bucket(times);
        let mut shard = self.shard(key);
        let full_at = shard.get(key).copied().unwrap_or_default().saturating_sub(bucket.worth(amount)).max(now);
        if full_at == now {
            shard.remove(key);
        } else {
            shard.insert(key.clone(), full_at);
        }
        bucket.level(full_at, now)
    }

    /// Forgets keys whose buckets are full.
    pub fn sweep(&self, now: u64) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(|_, full_at| *full_at > now);
            shard.shrink_to_fit();
        }
    }

    /// How many keys take memory.
    pub fn known(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn bucket(&self, times: u32) -> Bucket {
        let limit = self.limit.get().saturating_mul(times.max(1));
        Bucket { limit, interval: (self.period / u64::from(limit)).max(1) }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, u64>> {
        // The remainder is below the number of shards.
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        lock(&self.shards[shard])
    }
}

/// How one bucket counts.
#[derive(Clone, Copy)]
struct Bucket {
    limit: u32,
    /// How long one unit takes to come back, in nanoseconds.
    interval: u64,
}

impl Bucket {
    /// When a bucket that is full at `full_at` is full after `amount` was taken.
    fn take(self, full_at: u64, amount: u32, now: u64) -> Result<u64, Short> {
        if amount > self.limit {
            return Err(Short::Ever { limit: self.limit });
        }
        let taken = full_at.saturating_add(self.worth(amount));
        let empty = now.saturating_add(self.worth(self.limit));
        if taken > empty {
            let retry_after = Duration::from_nanos(taken - empty);
            return Err(Short::Now { level: self.level(full_at, now), retry_after });
        }
        Ok(taken)
    }

    fn level(self, full_at: u64, now: u64) -> Level {
        let missing = full_at - now;
        let left = self.worth(self.limit).saturating_sub(missing) / self.interval;
        let left = u32::try_from(left).unwrap_or(self.limit).min(self.limit);
        Level { limit: self.limit, left, full_after: Duration::from_nanos(missing) }
    }

    /// How long so much takes to come back.
    fn worth(self, amount: u32) -> u64 {
        self.interval.saturating_mul(u64::from(amount))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn a_key_with_several_times_the_limit_has_as_much_in_the_same_time() {
        let buckets = Buckets::new(NonZeroU32::new(10).expect("ten"), Duration::from_hours(1));
        for (key, times) in [("one", 1), ("four", 4)] {
            for _ in 0..10 * times {
                buckets.take(&key, times, 1, 1).expect("there");
            }
            assert!(matches!(buckets.look(&key, times, 1, 1), Err(Short::Now { .. })), "{key}");
            assert!(matches!(buckets.take(&key, times, 1, 1), Err(Short::Now { .. })), "{key}");
            let level = buckets.take(&key, times, 10 * times, 1 + HOUR).expect("full after an hour");
            assert_eq!((level.left, level.limit), (0, 10 * times));
        }
        assert!(matches!(buckets.take(&"one", 1, 11, 1), Err(Short::Ever { limit: 10 })));
    }
}
