//! Growing delays for failed sign-ins.
//!
//! Owns how often a password may be guessed, per account and per address. Called by the sign-in use case, and by
//! nothing after it: [`Attempts::begin`] before the password is looked at, then [`Attempt::succeeded`] or
//! [`Attempt::failed`].
//!
//! An attempt is *reserved*: `begin` decides and counts it as failed in one step under one lock, so guesses sent side by
//! side see each other's reservations. It stays counted only where [`Attempt::failed`] says that the secret was compared
//! and was wrong. Whatever else becomes of it takes it back: a success, and as well a full queue of hashes, a database
//! that is away, a deadline, a request that was dropped. Nobody has learned anything from those, and none of them is a
//! person's mistake. A refused attempt is not counted: it was not a guess, and hammering does not prolong the wait.
//!
//! What nobody can guess needs no reservation: [`Attempts::check`] looks at the wait and [`Attempts::count_failure`]
//! counts what was wrong, so that any number of honest refreshes may come from one address at the same moment.
//!
//! - The first failures are free: 5 for an account, 20 for an address, behind which many people may sit. From then on
//!   each failure makes the next attempt wait: 1 s, 2 s, 4 s and so on up to 15 minutes. An hour after the last failure
//!   all is forgotten. (The limit that NIST SP 800-63B asks for, as a delay rather than a lock.)
//! - A success clears the account. The address only gets this attempt back: otherwise the owner of one account could
//!   clear their address between guesses at others.
//! - An IPv6 address counts in each of its networks, with more free failures in the wider ones ([`network`]).
//! - An unknown email counts exactly as a known one: keys are hashes of what was typed, so a delay tells nothing.
//!
//! The price of a delay per account is that a stranger can make its owner wait, for 15 minutes at most.
//!
//! The counts live in memory, and a restart forgets them. Several nodes count together: each tells the others what was
//! tried and what became of it ([`Attempts::said`], carried by [`sharing`](super::sharing)), so that guesses spread
//! over nodes see each other a moment later than guesses at one. Memory is bounded: when full, what counts least goes
//! first (forgotten, then few failures, then old ones), so that a flood of new keys evicts its own entries first, and
//! not the account under attack.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::{
    clock::{Clock, Timestamp},
    network::{self, Network},
};

/// The numbers; the defaults are those of the module's description.
#[derive(Clone, Debug)]
pub struct AttemptSettings {
    /// Failures of one account that cost nothing.
    pub free_per_account: u32,
    /// Failures from one address that cost nothing.
    pub free_per_address: u32,
    /// The wait after the first failure that is not free; doubled by each further one.
    pub first_delay: Duration,
    /// The longest wait.
    pub longest_delay: Duration,
    /// How long after its last failure a key is forgotten. No less than `longest_delay`.
    pub forget_after: Duration,
    /// The most keys kept, at about 100 bytes each.
    pub capacity: usize,
}

impl Default for AttemptSettings {
    fn default() -> Self {
        Self {
            free_per_account: 5,
            free_per_address: 20,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_mins(15),
            forget_after: Duration::from_hours(1),
            capacity: 100_000,
        }
    }
}

/// What failures are counted by. `Debug` tells the kind only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AttemptKey {
    /// The account, by the SHA-256 of its normalised email.
    Account([u8; 32]),
    /// The address of the peer, as the HTTP boundary trusts it.
    Address(IpAddr),
}

impl AttemptSettings {
    /// So many failures of one account and from one address cost nothing.
    pub fn new(free_per_account: u32, free_per_address: u32) -> Self {
        Self { free_per_account, free_per_address, ..Self::default() }
    }
}

impl AttemptKey {
    /// The key of the account with this email, which the caller has normalised; it need not exist.
    pub fn account(normalised_email: &str) -> Self {
        Self::Account(Sha256::digest(normalised_email).into())
    }

    /// What it is counted by, and how many times the free failures of one each has.
    fn counted(self) -> impl Iterator<Item = (Key, u32)> {
        let (account, address) = match self {
            Self::Account(hash) => (Some((Key::Account(hash), 1)), None),
            Self::Address(address) => (None, Some(address)),
        };
        let networks = address.into_iter().flat_map(network::Level::of);
        account.into_iter().chain(networks.map(|level| (Key::Network(level.network), level.times)))
    }

    /// As it is sent to other nodes: one key for all addresses of one subscriber.
    fn told(self) -> Self {
        match self {
            Self::Account(hash) => Self::Account(hash),
            Self::Address(address) => Self::Address(Network::of(address).address()),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Account([u8; 32]),
    Network(Network),
}

impl fmt::Debug for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account(_) => "Account(..)",
            Self::Address(_) => "Address(..)",
        })
    }
}

/// What one node tells the others of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// One was reserved, and counts as failed.
    Tried(AttemptKey),
    /// It was none after all.
    TakenBack(AttemptKey),
    /// The password was right: the account begins anew.
    Cleared(AttemptKey),
}

/// Words that may wait for the other nodes; the oldest go first.
const MAX_WORDS: usize = 10_000;

/// Too many failures: come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts")]
pub struct TooMany {
    /// How long until all keys of the attempt may try again.
    pub retry_after: Duration,
}

/// The failures of each key. Clones share them.
#[derive(Clone)]
pub struct Attempts {
    clock: Clock,
    settings: Arc<AttemptSettings>,
    state: Arc<Mutex<State>>,
    /// What the other nodes do not know of yet; none if there are no others.
    words: Option<Arc<Words>>,
}

#[derive(Default)]
struct Words {
    waiting: Mutex<VecDeque<Word>>,
    came: Notify,
}

#[derive(Default)]
struct State {
    failures: HashMap<Key, Failures>,
    /// Numbers the reservations, so that one taken back knows whether others came after it.
    reservations: u64,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
    /// The reservation that set `last`.
    by: u64,
    /// The reservation that began the count: older ones have no part in it.
    since: u64,
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A reserved attempt. To let it go is to take it back: see [`Attempt::failed`].
#[must_use = "an attempt that is let go is taken back at once"]
pub struct Attempt {
    attempts: Attempts,
    number: u64,
    /// What it was begun with.
    keys: Vec<AttemptKey>,
    /// What it is counted by, and when each had failed last before this attempt. Empty once it is settled.
    counted: Vec<(Key, Option<Timestamp>)>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("number", &self.number).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Words {
    fn take(&self, limit: usize) -> Vec<Word> {
        let mut waiting = self.lock();
        let count = waiting.len().min(limit);
        waiting.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Word>> {
        self.waiting.lock()
    }
}

impl Attempts {
    /// No failures yet.
    pub fn new(clock: Clock, settings: AttemptSettings) -> Self {
        Self { clock, settings: Arc::new(settings), state: Arc::default(), words: None }
    }

    /// The same, counted together with other nodes.
    pub fn shared(clock: Clock, settings: AttemptSettings) -> Self {
        Self { words: Some(Arc::default()), ..Self::new(clock, settings) }
    }

    /// What was tried here, for the other nodes: at least one word, once there is one, and at most `limit`. Cancel
    /// safe; never, if there are no others.
    pub async fn said(&self, limit: usize) -> Vec<Word> {
        let Some(words) = &self.words else { return std::future::pending().await };
        loop {
            let said = words.take(limit);
            if !said.is_empty() {
                return said;
            }
            // A permit is kept, so a word that comes in between is not slept through.
            words.came.notified().await;
        }
    }

    /// Counts in what was tried on another node.
    pub fn hear(&self, word: Word) {
        let now = self.clock.now();
        let mut state = self.lock();
        match word {
            Word::Tried(key) => {
                self.make_room(&mut state, key.counted().count(), now);
                state.reservations += 1;
                let number = state.reservations;
                for (key, _) in key.counted() {
                    self.count(&mut state, key, number, now);
                }
            }
            Word::TakenBack(key) => {
                for (key, _) in key.counted() {
                    if let Some(past) = state.failures.get_mut(&key) {
                        past.count = past.count.saturating_sub(1);
                        if past.count == 0 {
                            state.failures.remove(&key);
                        }
                    }
                }
            }
            Word::Cleared(key) => {
                for (key, _) in key.counted() {
                    state.failures.remove(&key);
                }
            }
        }
    }

    fn say(&self, words: impl Iterator<Item = Word>) {
        let Some(outbox) = &self.words else { return };
        let mut waiting = outbox.lock();
        waiting.extend(words);
        let surplus = waiting.len().saturating_sub(MAX_WORDS);
        waiting.drain(..surplus);
        drop(waiting);
        outbox.came.notify_one();
    }

    /// Reserves an attempt for all of `keys`, or says how long to wait for the slowest of them.
    pub fn begin(&self, keys: &[AttemptKey]) -> Result<Attempt, TooMany> {
        let mut state = self.lock();
        // Read under the lock, so that no reservation is dated before one that it follows.
        let now = self.clock.now();
        let distinct = self.may_try(&mut state, keys, now)?;
        let (number, counted) = self.count_all(&mut state, &distinct, now);
        drop(state);
        let keys = told(keys);
        self.say(keys.iter().copied().map(Word::Tried));
        Ok(Attempt { attempts: self.clone(), number, keys, counted })
    }

    /// Says how long to wait, if that is so, and reserves nothing: for what cannot be guessed.
    pub fn check(&self, keys: &[AttemptKey]) -> Result<(), TooMany> {
        let mut state = self.lock();
        let now = self.clock.now();
        self.may_try(&mut state, keys, now).map(drop)
    }

    /// Counts a failure that was not reserved.
    pub fn count_failure(&self, keys: &[AttemptKey]) {
        let mut state = self.lock();
        let now = self.clock.now();
        let distinct = distinct(keys);
        self.count_all(&mut state, &distinct, now);
        drop(state);
        self.say(told(keys).into_iter().map(Word::Tried));
    }

    /// What `keys` are counted by, if all of them may try now.
    fn may_try(&self, state: &mut State, keys: &[AttemptKey], now: Timestamp) -> Result<Vec<(Key, u32)>, TooMany> {
        let distinct = distinct(keys);
        // A clock that was turned back must not make anyone wait until it has caught up.
        for (key, _) in &distinct {
            state.failures.entry(*key).and_modify(|past| past.last = past.last.min(now));
        }
        let wait = |(key, times): &(Key, u32)| {
            state.failures.get(key).map_or(Duration::ZERO, |past| self.wait(*key, *times, past, now))
        };
        let retry_after = distinct.iter().map(wait).max().unwrap_or_default();
        if retry_after.is_zero() { Ok(distinct) } else { Err(TooMany { retry_after }) }
    }

    fn count_all(
        &self,
        state: &mut State,
        distinct: &[(Key, u32)],
        now: Timestamp,
    ) -> (u64, Vec<(Key, Option<Timestamp>)>) {
        self.make_room(state, distinct.len(), now);
        state.reservations += 1;
        let number = state.reservations;
        (number, distinct.iter().map(|(key, _)| (*key, self.count(state, *key, number, now))).collect())
    }

    /// Counts one failure, and says when the one before was.
    fn count(&self, state: &mut State, key: Key, number: u64, now: Timestamp) -> Option<Timestamp> {
        let past = state.failures.get(&key).filter(|past| !self.forgotten(past, now)).copied();
        let (count, since) = past.map_or((0, number), |past| (past.count, past.since));
        state.failures.insert(key, Failures { count: count.saturating_add(1), last: now, by: number, since });
        past.map(|past| past.last)
    }

    /// How long `key` must still wait.
    fn wait(&self, key: Key, times: u32, past: &Failures, now: Timestamp) -> Duration {
        let free = match key {
            Key::Account(_) => self.settings.free_per_account,
            Key::Network(_) => self.settings.free_per_address.saturating_mul(times),
        };
        if past.count <= free {
            return Duration::ZERO;
        }
        let doublings = 2_u32.saturating_pow(past.count - free - 1);
        let delay = self.settings.first_delay.saturating_mul(doublings).min(self.settings.longest_delay);
        delay.saturating_sub(since(past.last, now))
    }

    fn forgotten(&self, past: &Failures, now: Timestamp) -> bool {
        since(past.last, now) >= self.settings.forget_after
    }

    /// Drops what counts least when `more` keys might not fit; an eighth at once, so that few in a flood pay the
    /// search.
    fn make_room(&self, state: &mut State, more: usize, now: Timestamp) {
        let capacity = self.settings.capacity;
        if state.failures.len() + more <= capacity {
            return;
        }
        state.failures.retain(|_, past| !self.forgotten(past, now));
        let keep = (capacity - capacity / 8).saturating_sub(more);
        let surplus = state.failures.len().saturating_sub(keep);
        let Some(last_to_go) = surplus.checked_sub(1) else { return };
        let mut ranks: Vec<(u32, u64)> = state.failures.values().map(|past| (past.count, past.by)).collect();
        let last_to_go = *ranks.select_nth_unstable(last_to_go).1;
        state.failures.retain(|_, past| (past.count, past.by) > last_to_go);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts are changed one by one and each is valid in itself: a panic in between loses at most a count.
        self.state.lock()
    }
}

impl Attempt {
    /// The secret was right: clears the account and takes this attempt back from the address.
    pub fn succeeded(mut self) {
        let is_account = |key: &AttemptKey| matches!(key, AttemptKey::Account(_));
        let mut state = self.attempts.lock();
        for (key, _) in self.keys.iter().filter(|key| is_account(key)).flat_map(|key| key.counted()) {
            state.failures.remove(&key);
        }
        drop(state);
        let (accounts, others): (Vec<_>, Vec<_>) = self.keys.drain(..).partition(is_account);
        self.attempts.say(accounts.into_iter().map(Word::Cleared));
        self.counted.retain(|(key, _)| matches!(key, Key::Network(_)));
        self.keys = others;
        // What is left is taken back when this is dropped, here.
    }

    /// The secret was compared and is wrong: the attempt stays counted.
    pub fn failed(mut self) {
        self.counted.clear();
    }
}

impl Drop for Attempt {
    /// Nothing was compared, or nobody has learned the outcome: takes this attempt back, and no other.
    fn drop(&mut self) {
        if self.counted.is_empty() {
            return;
        }
        let mut state = self.attempts.lock();
        for (key, before) in &self.counted {
            let Some(past) = state.failures.get_mut(key).filter(|past| past.since <= self.number) else { continue };
            past.count = past.count.saturating_sub(1);
            if past.count == 0 {
                state.failures.remove(key);
            } else if past.by == self.number {
                past.last = before.unwrap_or(past.last);
            }
        }
        drop(state);
        self.attempts.say(self.keys.iter().copied().map(Word::TakenBack));
    }
}

/// What keys are counted by, each once.
fn distinct(keys: &[AttemptKey]) -> Vec<(Key, u32)> {
    let mut distinct: Vec<(Key, u32)> = keys.iter().flat_map(|key| key.counted()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

/// The keys as they are sent to other nodes, each once.
fn told(keys: &[AttemptKey]) -> Vec<AttemptKey> {
    let mut told: Vec<AttemptKey> = keys.iter().map(|key| key.told()).collect();
    told.sort_unstable();
    told.dedup();
    told
}

fn since(past: Timestamp, now: Timestamp) -> Duration {
    (now - past).max(TimeDelta::zero()).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests;
