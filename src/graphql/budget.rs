//! How many points a caller may spend.
//!
//! Owns the point budgets: each signed-in user and each anonymous address has one that is full at first and refills
//! evenly over a minute. The transports spend an operation's cost ([`super::limits`]) before they run it, also for
//! operations that turn out wrong. Refills and bursts are [`governor`]'s (GCRA: one timestamp a caller, no timers).
//!
//! Invariants: what is refused costs nothing; a caller's balance never exceeds the burst; whoever has a full budget
//! takes no memory after the next [`Budgets::sweep`]. Budgets belong to a node: with several, a caller has several.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use async_graphql::ServerError;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use serde::Deserialize;

use super::{errors::ErrorCode, limits::failure};
use crate::ids::UserId;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl<C: Clock> Budgets<C> {
    /// The same on another clock.
    pub fn with_clock(settings: BudgetSettings, clock: &C) -> Self
    where
        C: Clone,
    {
        Self { users: Pool::new(settings.signed_in, clock), addresses: Pool::new(settings.anonymous, clock) }
    }

    /// Takes `cost` points, at least one.
    pub fn spend(&self, caller: Caller, cost: u32) -> Result<Budget, Refused> {
        match caller {
            Caller::User(user) => self.users.spend(&user, cost),
            Caller::Address(address) => self.addresses.spend(&subscriber(address), cost),
        }
    }

    /// Forgets callers whose budgets are full. To be called every minute or so.
    pub fn sweep(&self) {
        self.users.limiter.retain_recent();
        self.users.limiter.shrink_to_fit();
        self.addresses.limiter.retain_recent();
        self.addresses.limiter.shrink_to_fit();
    }

    /// Callers in memory, for the metrics.
    pub fn known(&self) -> usize {
        self.users.limiter.len() + self.addresses.limiter.len()
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
}

impl<K: std::hash::Hash + Eq + Clone, C: Clock> Pool<K, C> {
    fn new(limit: NonZeroU32, clock: &C) -> Self
    where
        C: Clone,
    {
        let quota = Quota::per_minute(limit).allow_burst(limit);
        Self { limiter: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()), limit }
    }

    fn spend(&self, key: &K, cost: u32) -> Result<Budget, Refused> {
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
