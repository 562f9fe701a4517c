//! How many points a caller may spend.
//!
//! Owns the point budgets: each signed-in user and each anonymous address has one that is full at first and refills
//! evenly over a minute. The transports spend an operation's cost ([`super::limits`]) before they run it, also for
//! operations that turn out wrong. Refills and bursts are [`governor`]'s (GCRA: one timestamp a caller, no timers).
//!
//! Invariants: what is refused costs nothing; a caller's balance never exceeds the burst; whoever has a full budget
//! takes no memory after the next [`Budgets::sweep`].
//!
//! **Several nodes** have one budget for a caller. No request waits for another node: each decides by itself and tells
//! the others a moment later what it has let through ([`Budgets::take_spent`], carried by `gossip`), and they take it
//! off ([`Budgets::spent_elsewhere`]), as a debt where there is not enough left. So a caller who asks all nodes at once
//! may spend more for as long as that moment lasts, and waits for it afterwards: over any longer time they get what one
//! budget refills.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::ServerError;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use serde::{Deserialize, Serialize};

use super::{errors::ErrorCode, limits::failure};
use crate::ids::UserId;

/// The largest debt, in full budgets: more is forgiven.
const MAX_DEBT: u32 = 8;
/// Callers whose spending may wait to be told to the other nodes; of more, it is not told.
const MAX_UNTOLD: usize = 50_000;

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
                    "This operation costs {cost} points and {remaining} of {limit} are left. Try again in {millis} ms."
                );
                let mut error = failure(ErrorCode::RateLimited, message, None);
                error.extensions.get_or_insert_default().set("retryAfterMs", millis);
                error
            }
            Self::TooExpensive { cost, limit } => {
                let message = format!(
                    "This operation costs {cost} points, more than your full budget of {limit}. Ask for smaller \
                     pages, or sign in for a larger budget."
                );
                failure(ErrorCode::OperationTooComplex, message, None)
            }
        }
    }
}

/// All callers' budgets. `C` is a clock for tests, [`governor::clock::FakeRelativeClock`].
pub struct Budgets<C: Clock = DefaultClock> {
    users: Pool<UserId, C>,
    addresses: Pool<IpAddr, C>,
    /// What the other nodes do not know of yet; none if there are no others.
    untold: Option<Mutex<HashMap<Caller, u32>>>,
}

impl<C: Clock> std::fmt::Debug for Budgets<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budgets").field("known", &self.known()).finish_non_exhaustive()
    }
}

impl Budgets {
    /// Full budgets for everyone, on the machine's monotonic clock.
    pub fn new(settings: BudgetSettings) -> Self {
        Self::with_clock(settings, &DefaultClock::default())
    }

    /// The same, shared with other nodes.
    pub fn shared(settings: BudgetSettings) -> Self {
        Self { untold: Some(Mutex::default()), ..Self::new(settings) }
    }
}

impl<C: Clock> Budgets<C> {
    /// The same on another clock.
    pub fn with_clock(settings: BudgetSettings, clock: &C) -> Self
    where
        C: Clone,
    {
        Self {
            users: Pool::new(settings.signed_in, clock),
            addresses: Pool::new(settings.anonymous, clock),
            untold: None,
        }
    }

    /// Takes `cost` points, at least one.
    pub fn spend(&self, caller: Caller, cost: u32) -> Result<Budget, Refused> {
        let caller = caller.folded();
        let budget = match &caller {
            Caller::User(user) => self.users.spend(user, cost),
            Caller::Address(address) => self.addresses.spend(address, cost),
        }?;
        if let Some(untold) = &self.untold {
            let mut untold = lock(untold);
            if untold.len() < MAX_UNTOLD || untold.contains_key(&caller) {
                let points = untold.entry(caller).or_default();
                *points = points.saturating_add(budget.cost);
            }
        }
        Ok(budget)
    }

    /// What callers have spent here since this was last asked, for the other nodes.
    pub fn take_spent(&self) -> Vec<(Caller, u32)> {
        self.untold.as_ref().map_or_else(Vec::new, |untold| lock(untold).drain().collect())
    }

    /// Takes off what a caller has spent on another node. What is not there is owed.
    pub fn spent_elsewhere(&self, caller: Caller, points: u32) {
        match caller.folded() {
            Caller::User(user) => self.users.owe(&user, points),
            Caller::Address(address) => self.addresses.owe(&address, points),
        }
    }

    /// Forgets callers whose budgets are full. To be called every minute or so.
    pub fn sweep(&self) {
        self.users.sweep();
        self.addresses.sweep();
    }

    /// Callers in memory, for the metrics.
    pub fn known(&self) -> usize {
        self.users.limiter.len() + self.addresses.limiter.len()
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

struct Pool<K: std::hash::Hash + Eq + Clone, C: Clock> {
    limiter: RateLimiter<K, DashMapStateStore<K>, C, StateInformationMiddleware>,
    limit: NonZeroU32,
    /// Points that were spent on other nodes and could not be taken off yet.
    debts: Mutex<HashMap<K, u32>>,
}

impl<K: std::hash::Hash + Eq + Clone, C: Clock> Pool<K, C> {
    fn new(limit: NonZeroU32, clock: &C) -> Self
    where
        C: Clone,
    {
        let quota = Quota::per_minute(limit).allow_burst(limit);
        Self {
            limiter: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            limit,
            debts: Mutex::default(),
        }
    }

    fn spend(&self, key: &K, cost: u32) -> Result<Budget, Refused> {
        let mut debts = lock(&self.debts);
        let debt = if debts.is_empty() { 0 } else { self.pay(&mut debts, key) };
        drop(debts);
        if debt > 0 {
            let (cost, limit) = (cost.max(1), self.limit.get());
            if cost > limit {
                // To come back later would not help.
                return Err(Refused::TooExpensive { cost, limit });
            }
            let interval = Duration::from_mins(1) / limit;
            let budget = Budget { cost, limit, remaining: 0, reset_after: interval * limit.saturating_add(debt) };
            return Err(Refused::Spent { budget, retry_after: interval * cost.saturating_add(debt) });
        }
        self.take(key, cost)
    }

    fn owe(&self, key: &K, points: u32) {
        let mut debts = lock(&self.debts);
        let debt = debts.entry(key.clone()).or_default();
        *debt = debt.saturating_add(points).min(self.limit.get().saturating_mul(MAX_DEBT));
        self.pay(&mut debts, key);
    }

    /// Pays a debt as far as there is something to pay it with; returns what is left of it.
    fn pay(&self, debts: &mut HashMap<K, u32>, key: &K) -> u32 {
        let Some(debt) = debts.get_mut(key) else { return 0 };
        while *debt > 0 {
            let part = (*debt).min(self.limit.get());
            match self.take(key, part) {
                Ok(_) => *debt -= part,
                Err(Refused::Spent { budget: Budget { remaining, .. }, .. }) if remaining > 0 => {
                    let paid = self.take(key, remaining).map_or(0, |budget| budget.cost);
                    *debt -= paid.min(*debt);
                    if paid == 0 {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        let left = *debt;
        if left == 0 {
            debts.remove(key);
        }
        left
    }

    fn sweep(&self) {
        let mut debts = lock(&self.debts);
        let keys: Vec<K> = debts.keys().cloned().collect();
        for key in keys {
            self.pay(&mut debts, &key);
        }
        debts.shrink_to_fit();
        drop(debts);
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    fn take(&self, key: &K, cost: u32) -> Result<Budget, Refused> {
        let points = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
        let (cost, limit) = (points.get(), self.limit.get());
        let interval = Duration::from_mins(1) / limit;
        let budget = |remaining: u32| {
            let remaining = remaining.min(limit);
            Budget { cost, limit, remaining, reset_after: interval * (limit - remaining) }
        };
        match self.limiter.check_key_n(key, points) {
            Ok(Ok(state)) => Ok(budget(state.remaining_burst_capacity())),
            Ok(Err(refusal)) => {
                let retry_after = refusal.wait_time_from(self.limiter.clock().now());
                // What is missing is what refills in the time to wait.
                let missing = retry_after.as_nanos().div_ceil(interval.as_nanos().max(1));
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                Err(Refused::Spent { budget: budget(cost.saturating_sub(missing)), retry_after })
            }
            Err(_) => Err(Refused::TooExpensive { cost, limit }),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::{clock, graphql::classify::code, ids::Ids};

    fn budgets() -> (Budgets<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Budgets::with_clock(BudgetSettings::default(), &clock), clock)
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
