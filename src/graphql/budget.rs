//! How many points a caller may spend.
//!
//! Owns the point budgets: each signed-in user and each anonymous address has one that is full at first and refills
//! evenly over a minute. The transports spend the most that an operation can cost ([`super::limits`]) before they run it,
//! also for operations that turn out wrong; what its answer did not use ([`super::returned`]) is given back afterwards.
//! Own code, since `governor`'s GCRA cannot give back: one timestamp a caller and no timers, as there.
//!
//! Invariants: what is refused costs nothing; a caller's balance never exceeds the burst; a caller with a full budget
//! takes no memory after the next [`Budgets::sweep`].
//!
//! **Several nodes** have one budget for a caller. No request waits for another node: each decides by itself and tells
//! the others a moment later what it has let through ([`Budgets::take_spent`], carried by `gossip`), and they take it
//! off ([`Budgets::spent_elsewhere`]), as a debt where there is not enough left. So a caller who asks all nodes at once
//! may spend more for as long as that moment lasts, and waits for it afterwards: over any longer time they get what one
//! budget refills. What is given back is told in the same way ([`Budgets::take_given_back`]): nearly always both within
//! one moment, so that the other nodes only hear of the difference.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_graphql::ServerError;
use serde::{Deserialize, Serialize};

use super::{errors::ErrorCode, limits::failure};
use crate::ids::UserId;

/// The largest debt, in full budgets: more is forgiven.
const MAX_DEBT: u32 = 8;
/// Callers whose spending may wait to be told to the other nodes; of more, it is not told.
const MAX_UNTOLD: usize = 50_000;
/// A minute in nanoseconds.
const MINUTE: u64 = 60_000_000_000;
/// Locks among which callers are spread.
const SHARDS: usize = 16;

/// Budgets in points a minute; as many can be spent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// For each address without a token. Default 1,000.
    pub anonymous: NonZeroU32,
    /// For each signed-in user, from whatever addresses. Default 5,000.
    pub signed_in: NonZeroU32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        let points = |points| NonZeroU32::new(points).unwrap_or(NonZeroU32::MIN);
        Self { anonymous: points(1_000), signed_in: points(5_000) }
    }
}

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Caller {
    /// A signed-in user.
    User(UserId),
    /// Someone without a token, known by the address. IPv6 callers share a budget with their /64: that is what one
    /// subscriber gets, who could else use a new address for each request.
    Address(IpAddr),
}

/// What is left after an operation was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Points this operation cost.
    pub cost: u32,
    /// Points of a full budget.
    pub limit: u32,
    /// Points left.
    pub remaining: u32,
    /// Time until the budget is full again, if nothing more is spent.
    pub reset_after: Duration,
}

/// Why an operation was not paid for. Nothing was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It can be paid for later.
    Spent {
        /// What is left, and what the operation would have cost.
        budget: Budget,
        /// Time until the operation can be paid for, if nothing else is spent.
        retry_after: Duration,
    },
    /// It costs more than a full budget.
    TooExpensive {
        /// Points the operation costs.
        cost: u32,
        /// Points of a full budget.
        limit: u32,
    },
}

impl Refused {
    /// What is left, if a smaller operation could be paid for.
    pub fn budget(&self) -> Option<Budget> {
        match *self {
            Self::Spent { budget, .. } => Some(budget),
            Self::TooExpensive { .. } => None,
        }
    }

    /// `RATE_LIMITED` with `retryAfterMs`, or `OPERATION_TOO_COMPLEX`.
    pub fn error(&self) -> ServerError {
        match *self {
            Self::Spent { budget: Budget { cost, limit, remaining, .. }, retry_after } => {
                let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                let message = format!(
                    "This operation may cost {cost} points and {remaining} of {limit} are left. Try again in {millis} ms."
                );
                let mut error = failure(ErrorCode::RateLimited, message, None);
                error.extensions.get_or_insert_default().set("retryAfterMs", millis);
                error
            }
            Self::TooExpensive { cost, limit } => {
                let message = format!(
                    "This operation may cost {cost} points, more than your full budget of {limit}. Ask for smaller \
                     pages, or sign in for a larger budget."
                );
                failure(ErrorCode::OperationTooComplex, message, None)
            }
        }
    }
}

/// All callers' budgets.
pub struct Budgets {
    users: Pool<UserId>,
    addresses: Pool<IpAddr>,
    /// What the other nodes do not know of yet: spent, or given back where it is negative. None if there are no others.
    untold: Option<Mutex<HashMap<Caller, i64>>>,
    /// Time since some moment of the past, on the machine's monotonic clock but in tests.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl std::fmt::Debug for Budgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budgets").field("known", &self.known()).finish_non_exhaustive()
    }
}

impl Budgets {
    /// Full budgets for everyone, on the machine's monotonic clock.
    pub fn new(settings: BudgetSettings) -> Self {
        let began = Instant::now();
        Self::with_clock(settings, move || began.elapsed())
    }

    /// The same, shared with other nodes.
    pub fn shared(settings: BudgetSettings) -> Self {
        Self { untold: Some(Mutex::default()), ..Self::new(settings) }
    }

    /// The same on another clock.
    pub fn with_clock(settings: BudgetSettings, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let (users, addresses) = (Pool::new(settings.signed_in), Pool::new(settings.anonymous));
        Self { users, addresses, untold: None, now: Box::new(now) }
    }

    /// Takes `cost` points, at least one.
    pub fn spend(&self, caller: Caller, cost: u32) -> Result<Budget, Refused> {
        let (caller, now) = (caller.folded(), self.now());
        let budget = match &caller {
            Caller::User(user) => self.users.spend(user, cost, now),
            Caller::Address(address) => self.addresses.spend(address, cost, now),
        }?;
        self.note(caller, i64::from(budget.cost));
        Ok(budget)
    }

    /// Whether the caller has anything left, for what must not be begun otherwise. Spends nothing.
    pub fn look(&self, caller: Caller) -> Result<(), Refused> {
        let (caller, now) = (caller.folded(), self.now());
        match &caller {
            Caller::User(user) => self.users.look(user, now),
            Caller::Address(address) => self.addresses.look(address, now),
        }
    }

    /// Takes so many millionths of a point for what was done already, as a debt where there is not enough. Returns how long it
    /// takes until a tenth of the budget is left, if there is less: that much is kept for operations, and nothing more should
    /// be done until then that is paid for afterwards.
    pub fn charge(&self, caller: Caller, millionths: u64) -> Option<Duration> {
        let (caller, now) = (caller.folded(), self.now());
        let (points, wait) = match &caller {
            Caller::User(user) => self.users.charge(user, millionths, now),
            Caller::Address(address) => self.addresses.charge(address, millionths, now),
        };
        if points > 0 {
            self.note(caller, points);
        }
        wait
    }

    /// Gives back what was spent on an operation that cost less, and returns what is left then; its cost is not known
    /// here and 0.
    pub fn give_back(&self, caller: Caller, points: u32) -> Budget {
        let (caller, now) = (caller.folded(), self.now());
        let budget = match &caller {
            Caller::User(user) => self.users.give_back(user, points, now),
            Caller::Address(address) => self.addresses.give_back(address, points, now),
        };
        self.note(caller, -i64::from(points));
        budget
    }

    /// What callers have spent here since this was last asked, for the other nodes.
    pub fn take_spent(&self) -> Vec<(Caller, u32)> {
        self.take(|points| points >= 0)
    }

    /// What callers were given back here since this was last asked, beyond what they have spent meanwhile.
    pub fn take_given_back(&self) -> Vec<(Caller, u32)> {
        self.take(|points| points < 0)
    }

    /// Takes off what a caller has spent on another node. What is not there is owed.
    pub fn spent_elsewhere(&self, caller: Caller, points: u32) {
        match caller.folded() {
            Caller::User(user) => self.users.owe(&user, points, self.now()),
            Caller::Address(address) => self.addresses.owe(&address, points, self.now()),
        }
    }

    /// Gives back what a caller was given back on another node.
    pub fn given_back_elsewhere(&self, caller: Caller, points: u32) {
        match caller.folded() {
            Caller::User(user) => self.users.give_back(&user, points, self.now()),
            Caller::Address(address) => self.addresses.give_back(&address, points, self.now()),
        };
    }

    /// Forgets callers whose budgets are full. To be called every minute or so.
    pub fn sweep(&self) {
        self.users.sweep(self.now());
        self.addresses.sweep(self.now());
    }

    /// Callers in memory, for the metrics.
    pub fn known(&self) -> usize {
        self.users.known() + self.addresses.known()
    }

    /// Notes what the other nodes are to hear of.
    fn note(&self, caller: Caller, points: i64) {
        let Some(untold) = &self.untold else { return };
        let mut untold = lock(untold);
        if untold.len() < MAX_UNTOLD || untold.contains_key(&caller) {
            let noted = untold.entry(caller).or_default();
            *noted = noted.saturating_add(points);
        }
    }

    /// Takes what is to be told and `is` so.
    fn take(&self, is: impl Fn(i64) -> bool) -> Vec<(Caller, u32)> {
        let Some(untold) = &self.untold else { return Vec::new() };
        let taken = lock(untold).extract_if(|_, points| is(*points)).collect::<Vec<_>>();
        let small = |points: i64| u32::try_from(points.unsigned_abs()).unwrap_or(u32::MAX);
        taken.into_iter().filter(|(_, points)| *points != 0).map(|(caller, points)| (caller, small(points))).collect()
    }

    fn now(&self) -> u64 {
        u64::try_from((self.now)().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Caller {
    /// The one caller that stands for all that share a budget.
    fn folded(self) -> Self {
        match self {
            Self::User(user) => Self::User(user),
            Self::Address(address) => Self::Address(subscriber(address)),
        }
    }
}

/// The address that stands for all addresses its holder can use.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The budgets of one kind of caller.
///
/// A token bucket in one number a caller: the moment at which the budget will be full again, if nothing more is spent
/// (the theoretical arrival time of GCRA). Spending moves it into the future, giving back moves it back, and a debt is a
/// moment that lies further off than an empty budget takes to fill.
struct Pool<K> {
    shards: [Mutex<HashMap<K, u64>>; SHARDS],
    hasher: RandomState,
    limit: NonZeroU32,
    /// How long one point takes to come back, in nanoseconds.
    interval: u64,
}

impl<K: Hash + Eq + Clone> Pool<K> {
    fn new(limit: NonZeroU32) -> Self {
        let interval = MINUTE / u64::from(limit.get());
        Self { shards: Default::default(), hasher: RandomState::new(), limit, interval }
    }

    fn spend(&self, key: &K, cost: u32, now: u64) -> Result<Budget, Refused> {
        let (cost, limit) = (cost.max(1), self.limit.get());
        if cost > limit {
            return Err(Refused::TooExpensive { cost, limit });
        }
        let mut shard = self.shard(key);
        let full_at = shard.get(key).copied().unwrap_or_default().max(now);
        let spent = full_at.saturating_add(self.worth(cost));
        let empty = now.saturating_add(self.worth(limit));
        if spent > empty {
            let retry_after = Duration::from_nanos(spent - empty);
            return Err(Refused::Spent { budget: self.budget(cost, full_at, now), retry_after });
        }
        shard.insert(key.clone(), spent);
        Ok(self.budget(cost, spent, now))
    }

    fn look(&self, key: &K, now: u64) -> Result<(), Refused> {
        let full_at = self.shard(key).get(key).copied().unwrap_or_default().max(now);
        let (spent, empty) = (full_at.saturating_add(self.worth(1)), now.saturating_add(self.worth(self.limit.get())));
        if spent <= empty {
            return Ok(());
        }
        Err(Refused::Spent { budget: self.budget(1, full_at, now), retry_after: Duration::from_nanos(spent - empty) })
    }

    fn owe(&self, key: &K, points: u32, now: u64) {
        let mut shard = self.shard(key);
        let full_at = shard.get(key).copied().unwrap_or_default().max(now);
        let most = self.worth(self.limit.get()).saturating_mul(1 + u64::from(MAX_DEBT)).saturating_add(now);
        shard.insert(key.clone(), full_at.saturating_add(self.worth(points)).min(most));
    }

    /// Returns how many whole points went by with it, and how long it takes until a tenth of the budget is left.
    fn charge(&self, key: &K, millionths: u64, now: u64) -> (i64, Option<Duration>) {
        let full = self.worth(self.limit.get());
        let mut shard = self.shard(key);
        let before = shard.get(key).copied().unwrap_or_default().max(now);
        let worth = u128::from(self.interval) * u128::from(millionths) / 1_000_000;
        let most = full.saturating_mul(1 + u64::from(MAX_DEBT)).saturating_add(now).max(before);
        let after = before.saturating_add(u64::try_from(worth).unwrap_or(u64::MAX)).min(most);
        if after > before {
            shard.insert(key.clone(), after);
        }
        let interval = self.interval.max(1);
        let points = i64::try_from(after / interval - before / interval).unwrap_or(i64::MAX);
        let wait = (after - now).saturating_sub(full - full / 10);
        (points, (wait > 0).then(|| Duration::from_nanos(wait)))
    }

    /// Never more than what makes the budget full.
    fn give_back(&self, key: &K, points: u32, now: u64) -> Budget {
        let mut shard = self.shard(key);
        let full_at = shard.get(key).copied().unwrap_or_default().saturating_sub(self.worth(points)).max(now);
        if full_at == now {
            shard.remove(key);
        } else {
            shard.insert(key.clone(), full_at);
        }
        self.budget(0, full_at, now)
    }

    fn budget(&self, cost: u32, full_at: u64, now: u64) -> Budget {
        let (limit, missing) = (self.limit.get(), full_at - now);
        let left = self.worth(limit).saturating_sub(missing) / self.interval.max(1);
        let remaining = u32::try_from(left).unwrap_or(limit).min(limit);
        Budget { cost, limit, remaining, reset_after: Duration::from_nanos(missing) }
    }

    /// How long so many points take to come back.
    fn worth(&self, points: u32) -> u64 {
        self.interval.saturating_mul(u64::from(points))
    }

    fn sweep(&self, now: u64) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(|_, full_at| *full_at > now);
            shard.shrink_to_fit();
        }
    }

    fn known(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, u64>> {
        // The remainder is below the number of shards.
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        lock(&self.shards[shard])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering};

    use super::*;
    use crate::{clock, graphql::classify::code, ids::Ids};

    /// A clock that stands until it is advanced.
    struct FakeClock(Arc<AtomicU64>);

    impl FakeClock {
        fn advance(&self, by: Duration) {
            self.0.fetch_add(u64::try_from(by.as_nanos()).expect("short"), Ordering::Relaxed);
        }
    }

    fn budgets() -> (Budgets, FakeClock) {
        let clock = FakeClock(Arc::new(AtomicU64::new(1)));
        let now = Arc::clone(&clock.0);
        let now = move || Duration::from_nanos(now.load(Ordering::Relaxed));
        (Budgets::with_clock(BudgetSettings::default(), now), clock)
    }

    fn address(text: &str) -> Caller {
        Caller::Address(text.parse().expect("an address"))
    }

    #[test]
    fn points_are_spent_and_come_back_evenly() {
        let (budgets, clock) = budgets();
        let ada = address("192.0.2.1");
        let budget = budgets.spend(ada, 400).expect("full");
        assert_eq!((budget.cost, budget.limit, budget.remaining), (400, 1_000, 600));
        assert_eq!(budget.reset_after, Duration::from_secs(24));
        assert_eq!(budgets.spend(ada, 600).expect("exactly the rest").remaining, 0);

        let Err(refused @ Refused::Spent { budget, retry_after }) = budgets.spend(ada, 100) else {
            panic!("nothing is left")
        };
        assert_eq!((budget.remaining, retry_after), (0, Duration::from_secs(6)));
        assert_eq!(code(&refused.error()), Some("RATE_LIMITED"));
        assert_eq!(refused.error().extensions.expect("some").get("retryAfterMs"), Some(&6_000.into()));

        clock.advance(Duration::from_secs(3));
        let Err(Refused::Spent { budget, retry_after }) = budgets.spend(ada, 100) else { panic!("half is back") };
        assert_eq!((budget.remaining, retry_after), (50, Duration::from_secs(3)));
        clock.advance(retry_after);
        assert_eq!(budgets.spend(ada, 100).expect("as promised").remaining, 0);
        assert_eq!(budgets.spend(address("192.0.2.2"), 1).expect("another caller").remaining, 999);
    }

    #[test]
    fn nothing_is_free_and_some_things_are_never_affordable() {
        let (budgets, _) = budgets();
        assert_eq!(budgets.spend(address("192.0.2.1"), 0).expect("full").remaining, 999);
        let refused = budgets.spend(address("192.0.2.1"), 1_001).expect_err("more than all");
        assert_eq!(refused, Refused::TooExpensive { cost: 1_001, limit: 1_000 });
        assert_eq!(code(&refused.error()), Some("OPERATION_TOO_COMPLEX"));
        let user = Caller::User(Ids::seeded(clock::Clock::system(), 1).next());
        assert_eq!(budgets.spend(user, 1_001).expect("a larger budget").remaining, 3_999);
    }

    #[test]
    fn addresses_of_one_subscriber_share_a_budget() {
        let (budgets, _) = budgets();
        assert_eq!(budgets.spend(address("2001:db8:1:2::1"), 10).expect("full").remaining, 990);
        assert_eq!(budgets.spend(address("2001:db8:1:2:ffff::9"), 10).expect("the same").remaining, 980);
        assert_eq!(budgets.spend(address("2001:db8:1:3::1"), 10).expect("another").remaining, 990);
        assert_eq!(budgets.spend(address("192.0.2.1"), 10).expect("full").remaining, 990);
        assert_eq!(budgets.spend(address("::ffff:192.0.2.1"), 10).expect("the same").remaining, 980);
    }

    #[test]
    fn what_is_spent_elsewhere_is_taken_off_and_owed_where_there_is_not_enough() {
        let (budgets, clock) = budgets();
        let budgets = Budgets { untold: Some(Mutex::default()), ..budgets };
        let ada = address("2001:db8:1:2::1");
        budgets.spend(ada, 300).expect("full");
        budgets.spend(address("2001:db8:1:2::2"), 100).expect("the same caller");
        assert_eq!(budgets.take_spent(), [(address("2001:db8:1:2::"), 400)]);
        assert_eq!(budgets.take_spent(), []);
        budgets.spent_elsewhere(ada, 500);
        assert_eq!(budgets.spend(ada, 50).expect("100 are left").remaining, 50);
        // 50 are left and 150 are owed: 100 remain to be paid.
        budgets.spent_elsewhere(ada, 150);
        let Err(Refused::Spent { budget, retry_after }) = budgets.spend(ada, 10) else { panic!("it is owed first") };
        assert_eq!((budget.remaining, retry_after), (0, Duration::from_millis(6_600)));
        let refused = budgets.spend(ada, 1_001).expect_err("more than all");
        assert_eq!(refused, Refused::TooExpensive { cost: 1_001, limit: 1_000 }, "waiting would not help");
        clock.advance(retry_after);
        assert_eq!(budgets.spend(ada, 10).expect("as promised").remaining, 0);
        // What is owed is not told again: it was told to us.
        assert_eq!(budgets.take_spent(), [(address("2001:db8:1:2::"), 60)]);
        budgets.spent_elsewhere(ada, u32::MAX);
        for _ in 0..=MAX_DEBT {
            clock.advance(Duration::from_mins(1));
            budgets.sweep();
        }
        assert_eq!(budgets.spend(ada, 1).expect("a debt has its limit").remaining, 999);
    }

    #[test]
    fn what_is_given_back_can_be_spent_again_and_never_fills_more_than_the_budget() {
        let (budgets, clock) = budgets();
        let budgets = Budgets { untold: Some(Mutex::default()), ..budgets };
        let ada = address("192.0.2.1");
        budgets.spend(ada, 900).expect("full");
        budgets.spend(ada, 200).expect_err("the most that it can cost must be there");
        let left = budgets.give_back(ada, 850);
        assert_eq!((left.remaining, left.reset_after), (950, Duration::from_secs(3)));
        assert_eq!(budgets.take_spent(), [(ada, 50)], "the others hear of the difference alone");
        assert_eq!(budgets.take_given_back(), []);
        clock.advance(Duration::from_mins(1));
        assert_eq!(budgets.give_back(ada, 500).remaining, 1_000);
        assert_eq!(budgets.spend(ada, 1_000).expect("a full budget").remaining, 0);
        budgets.take_spent();
        // What was told before is told back.
        budgets.give_back(ada, 400);
        assert_eq!((budgets.take_spent(), budgets.take_given_back()), (vec![], vec![(ada, 400)]));
        budgets.given_back_elsewhere(ada, 100);
        assert_eq!(budgets.spend(ada, 500).expect("given back here and there").remaining, 0);
        budgets.spent_elsewhere(ada, 300);
        budgets.given_back_elsewhere(ada, 300);
        clock.advance(Duration::from_secs(6));
        assert_eq!(budgets.spend(ada, 100).expect("a debt that was given back is none").remaining, 0);
    }

    #[test]
    fn what_was_done_already_is_charged_in_small_parts_and_leaves_a_tenth_for_operations() {
        let (budgets, clock) = budgets();
        let budgets = Budgets { untold: Some(Mutex::default()), ..budgets };
        let ada = address("192.0.2.1");
        for _ in 0..8_995 {
            assert_eq!(budgets.charge(ada, 100_000), None);
        }
        assert_eq!(budgets.take_spent(), [(ada, 899)], "the other nodes hear of whole points");
        assert_eq!(budgets.charge(ada, 500_000), None);
        assert_eq!(budgets.charge(ada, 2_000_000), Some(Duration::from_millis(120)), "two of the last hundred points");
        assert_eq!(budgets.spend(ada, 98).expect("what is left is for operations").remaining, 0);
        assert_eq!(budgets.charge(ada, 1_000_000_000), Some(Duration::from_secs(66)), "a debt");
        clock.advance(Duration::from_secs(66));
        assert_eq!(budgets.charge(ada, 0), None, "as promised");
        budgets.charge(ada, u64::MAX);
        assert_eq!(budgets.charge(ada, 0), Some(Duration::from_secs(8 * 60 + 6)), "a debt has its limit");
    }

    #[test]
    fn a_full_budget_takes_no_memory() {
        let (budgets, clock) = budgets();
        for last in 0..=255 {
            let _ = budgets.spend(Caller::Address([192, 0, 2, last].into()), 1 + u32::from(last));
        }
        assert_eq!(budgets.known(), 256);
        clock.advance(Duration::from_secs(10));
        budgets.sweep();
        assert!((50..150).contains(&budgets.known()), "{}", budgets.known());
        clock.advance(Duration::from_mins(1));
        budgets.sweep();
        assert_eq!(budgets.known(), 0);
    }
}
