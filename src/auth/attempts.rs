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
//! - A success clears the account. The address only gets this attempt back: else whoever owns one account could clear
//!   their address between guesses at others.
//! - An IPv6 address counts in each of its networks, with more free failures in the wider ones ([`network`]).
//! - An unknown email counts exactly as a known one: keys are hashes of what was typed, so a delay tells nothing.
//!
//! The price of a delay per account is that a stranger can make its owner wait, for 15 minutes at most.
//!
//! The counts live in memory, and a restart forgets them. Several nodes count together: each tells the others what was
//! tried and what became of it ([`Attempts::said`], carried by `gossip`), so that guesses spread over nodes see each
//! other a moment later than guesses at one. Memory is bounded: when full, what counts least goes first (forgotten,
//! then few failures, then old ones), so that a flood of new keys washes out the flood and not the account under
//! attack.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
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

    /// As other nodes are told: one key for all addresses of one subscriber.
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
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The keys as other nodes are told, each once.
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
mod tests {
    use chrono::DateTime;

    use super::*;

    fn attempts() -> (Attempts, Clock) {
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
        (Attempts::new(clock.clone(), AttemptSettings::default()), clock)
    }

    fn account(name: &str) -> AttemptKey {
        AttemptKey::account(&format!("{name}@example.org"))
    }

    fn address(text: &str) -> AttemptKey {
        AttemptKey::Address(text.parse().expect("is an address"))
    }

    fn fail(attempts: &Attempts, keys: &[AttemptKey]) -> Result<(), TooMany> {
        attempts.begin(keys).map(Attempt::failed)
    }

    /// Fails as often as is allowed without waiting, and says how often and how long the wait is then.
    fn exhaust(attempts: &Attempts, keys: &[AttemptKey]) -> (usize, Duration) {
        let failures = std::iter::repeat_with(|| fail(attempts, keys)).take_while(Result::is_ok).count();
        (failures, wait(attempts, keys))
    }

    fn wait(attempts: &Attempts, keys: &[AttemptKey]) -> Duration {
        attempts.begin(keys).expect_err("must wait").retry_after
    }

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour_and_are_forgotten_after_an_hour() {
        let (attempts, clock) = attempts();
        let ada = [account("ada")];
        assert_eq!(exhaust(&attempts, &ada), (6, Duration::from_secs(1)), "5 are free, the 6th costs a second");
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            let delay = Duration::from_secs(seconds);
            assert_eq!(wait(&attempts, &ada), delay);
            clock.advance(delay.saturating_sub(Duration::from_millis(1)));
            assert_eq!(wait(&attempts, &ada), Duration::from_millis(1));
            clock.advance(Duration::from_millis(1));
            fail(&attempts, &ada).expect("has waited");
        }
        clock.advance(Duration::from_hours(1));
        assert_eq!(exhaust(&attempts, &ada), (6, Duration::from_secs(1)));
    }

    #[test]
    fn parallel_guesses_see_each_other() {
        let (attempts, _clock) = attempts();
        let keys = [account("ada"), address("192.0.2.1")];
        let barrier = std::sync::Barrier::new(32);
        let admitted: Vec<Option<Attempt>> = std::thread::scope(|scope| {
            let guess = || (barrier.wait(), attempts.begin(&keys).ok()).1;
            let guesses: Vec<_> = (0..32).map(|_| scope.spawn(guess)).collect();
            guesses.into_iter().map(|thread| thread.join().expect("ends")).collect()
        });
        assert_eq!(admitted.iter().flatten().count(), 6);
    }

    #[test]
    fn a_success_clears_the_account_and_not_the_address() {
        let (attempts, clock) = attempts();
        let (ada, mallory, home) = (account("ada"), account("mallory"), address("192.0.2.1"));
        (0..5).for_each(|_| fail(&attempts, &[ada, home]).expect("is free"));
        attempts.begin(&[ada, home]).expect("is free").succeeded();
        assert_eq!(exhaust(&attempts, &[ada]).0, 6, "the account begins anew");
        // Signing in to an account of one's own between guesses buys none.
        for guess in 6..=21 {
            attempts.begin(&[mallory, home]).expect("is free").succeeded();
            fail(&attempts, &[home]).unwrap_or_else(|_| panic!("guess {guess} of 21 goes through"));
        }
        assert_eq!(wait(&attempts, &[mallory, home]), Duration::from_secs(1));
        // And once the wait is over, a success does not start it again for the others behind the address.
        clock.advance(Duration::from_secs(1));
        attempts.begin(&[mallory, home]).expect("has waited").succeeded();
        fail(&attempts, &[home]).expect("has waited");
        assert_eq!(wait(&attempts, &[home]), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn nodes_count_together() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
        let [one, two] = [(), ()].map(|()| Attempts::shared(Clock::manual(start), AttemptSettings::default()));
        let exchange = async |from: &Attempts, to: &Attempts| {
            from.said(100).await.into_iter().for_each(|word| to.hear(word));
        };
        let keys = [account("ada"), address("192.0.2.1")];
        (0..3).for_each(|_| fail(&one, &keys).expect("is free"));
        exchange(&one, &two).await;
        assert_eq!(exhaust(&two, &keys), (3, Duration::from_secs(1)), "5 are free on both together");
        exchange(&two, &one).await;
        assert_eq!(wait(&one, &keys), Duration::from_secs(1));
        // A success on one of them, once the wait is over, clears the account on the other, and not the address.
        let later = Clock::manual(start + TimeDelta::seconds(2));
        let [one, two] = [one, two].map(|attempts| Attempts { clock: later.clone(), ..attempts });
        one.begin(&keys).expect("has waited").succeeded();
        exchange(&one, &two).await;
        assert_eq!(exhaust(&two, &[account("ada")]).0, 6);
        let failures = two.lock().failures[&Key::Network(Network::of([192, 0, 2, 1].into()))].count;
        assert_eq!(failures, 6, "each failure counts once, and the success for none");
    }

    #[test]
    fn what_cannot_be_guessed_is_counted_when_it_was_wrong() {
        let (attempts, clock) = attempts();
        let home = [address("192.0.2.1")];
        for _ in 0..100 {
            attempts.check(&home).expect("nothing has failed");
        }
        for _ in 0..=20 {
            attempts.check(&home).expect("is free");
            attempts.count_failure(&home);
        }
        assert_eq!(attempts.check(&home).expect_err("must wait").retry_after, Duration::from_secs(1));
        assert_eq!(wait(&attempts, &home), Duration::from_secs(1), "the same count");
        clock.advance(Duration::from_secs(1));
        attempts.check(&home).expect("has waited");
    }

    #[test]
    fn an_attempt_of_which_nothing_came_is_taken_back_alone() {
        let (attempts, _clock) = attempts();
        let ada = [account("ada")];
        for _ in 0..100 {
            drop(attempts.begin(&ada).expect("is free"));
        }
        let late = attempts.begin(&ada).expect("is free");
        attempts.begin(&ada).expect("is free").succeeded();
        fail(&attempts, &ada).expect("is free");
        drop(late);
        assert_eq!(exhaust(&attempts, &ada).0, 5, "the failure after the success still counts");
    }

    #[test]
    fn the_longest_wait_is_told_and_a_refused_attempt_counts_for_nobody() {
        let (attempts, clock) = attempts();
        let (ada, ben, home) = (account("ada"), account("ben"), address("192.0.2.1"));
        exhaust(&attempts, &[ada]);
        clock.advance(Duration::from_secs(1));
        exhaust(&attempts, &[ada]); // Once more: two seconds.
        exhaust(&attempts, &[home]);
        for _ in 0..100 {
            assert_eq!(wait(&attempts, &[home, ada, ben]), Duration::from_secs(2));
        }
        assert_eq!(exhaust(&attempts, &[ben]).0, 6);
    }

    #[test]
    fn one_subscriber_is_one_address() {
        let (attempts, _clock) = attempts();
        exhaust(&attempts, &[address("2001:db8:0:1::1"), address("2001:db8:0:1::2")]);
        assert!(attempts.begin(&[address("2001:db8:0:1:ffff::9")]).is_err());
        assert!(attempts.begin(&[address("2001:db8:0:2::1")]).is_ok());
        // A whole /48 has four times as much, and a /56 twice.
        let (attempts, _clock) = super::tests::attempts();
        let failures = |from: u16| {
            let nets = (from..from + 16).map(|net| address(&format!("2001:db8:0:{net:x}::1")));
            nets.map(|net| exhaust(&attempts, &[net]).0).sum::<usize>()
        };
        assert_eq!((failures(0x100), failures(0x200), failures(0x300)), (41, 40, 0));
        assert_eq!(exhaust(&attempts, &[address("::ffff:192.0.2.1")]).0, 21);
        assert!(attempts.begin(&[address("192.0.2.1")]).is_err());
        assert!(attempts.begin(&[address("::ffff:192.0.2.2")]).is_ok());
    }

    #[test]
    fn a_flood_of_new_keys_is_bounded_and_does_not_wash_out_an_attack() {
        let attempts = Attempts::new(attempts().1, AttemptSettings { capacity: 1_000, ..AttemptSettings::default() });
        let ada = [account("ada")];
        exhaust(&attempts, &ada);
        for (pause, kept) in [(0, true), (60, false)] {
            attempts.clock.advance(Duration::from_mins(pause));
            for stranger in 0..10_000 {
                fail(&attempts, &[account(&stranger.to_string())]).expect("is free");
                assert!(attempts.lock().failures.len() <= 1_000);
            }
            assert_eq!(attempts.lock().failures.contains_key(&distinct(&ada)[0].0), kept, "until it is forgotten");
        }
    }

    #[test]
    fn a_clock_turned_back_keeps_nobody_waiting() {
        let (attempts, clock) = attempts();
        exhaust(&attempts, &[account("ada")]);
        let attempts = Attempts { clock: Clock::manual(clock.now() - TimeDelta::days(365)), ..attempts };
        assert_eq!(wait(&attempts, &[account("ada")]), Duration::from_secs(1));
        attempts.clock.advance(Duration::from_secs(1));
        assert!(attempts.begin(&[account("ada")]).is_ok());
    }
}
