//! How many points a caller may spend.
//!
//! Owns the point budgets: each signed-in user and each anonymous address has one that is full at first and refills
//! evenly over a minute ([`Buckets`]). The transports spend the most that an operation can cost ([`super::limits`]) before
//! they run it, also for operations that turn out wrong; what its answer did not use ([`super::returned`]) is given back
//! afterwards. Above them each address has a ceiling for all that comes from it, signed in or not: a stranger who opens
//! many accounts has no more points than one with a few. An IPv6 address has one in each of its networks ([`network`]).
//!
//! Invariants: what is refused costs nothing, neither the caller nor the address; a caller's balance never exceeds the
//! burst; a caller with a full budget takes no memory after the next [`Budgets::sweep`].
//!
//! **Several nodes** have one budget for a caller and one ceiling for an address. No request waits for another node: each
//! decides by itself and tells the others a moment later what it has let through ([`Budgets::take_spent`],
//! [`Budgets::take_by_address`], carried by `gossip`), and they take it off ([`Budgets::spent_elsewhere`],
//! [`Budgets::at_address_elsewhere`]), as a debt where there is not enough left. So a caller who asks all nodes at once may
//! spend more for as long as that moment lasts, and waits for it afterwards: over any longer time they get what one budget
//! refills. What is given back is told in the same way ([`Budgets::take_given_back`]): nearly always both within one
//! moment, so that the other nodes only hear of the difference.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_graphql::ServerError;
use serde::{Deserialize, Serialize};

use super::{errors::ErrorCode, limits::failure};
use crate::{
    auth::actor::Origin,
    buckets::{Buckets, Level, Short},
    ids::UserId,
    network::{self, Network},
    settings::{ConfigError, require},
};

/// Callers, and addresses, whose spending may wait to be told to the other nodes; of more, it is not told.
const MAX_UNTOLD: usize = 50_000;
/// In what time a budget refills.
const MINUTE: Duration = Duration::from_mins(1);

/// Budgets in points a minute; as many can be spent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// For each address without a token. Default 1,000.
    pub anonymous: NonZeroU32,
    /// For each signed-in user, from whatever addresses. Default 5,000.
    pub signed_in: NonZeroU32,
    /// For all that comes from one address, signed in or not; 0, the default, for as much as a caller without a token and
    /// five signed-in users have.
    pub address: u32,
}

/// How many signed-in users of one address may spend all they have, unless the settings say otherwise.
const USERS_OF_AN_ADDRESS: u32 = 5;

impl BudgetSettings {
    /// What all who call from one address have together.
    pub fn ceiling(&self) -> NonZeroU32 {
        let users = self.signed_in.get().saturating_mul(USERS_OF_AN_ADDRESS);
        NonZeroU32::new(self.address).unwrap_or(self.anonymous.saturating_add(users))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        require(
            self.address == 0 || self.address >= self.anonymous.max(self.signed_in).get(),
            "budgets.address",
            "must be at least budgets.anonymous and budgets.signed_in, since it is above all who call from one address, or 0",
        )
    }
}

impl Default for BudgetSettings {
    fn default() -> Self {
        let points = |points| NonZeroU32::new(points).unwrap_or(NonZeroU32::MIN);
        Self { anonymous: points(1_000), signed_in: points(5_000), address: 0 }
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

/// Who pays: the caller, and the address that they call from where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer {
    /// Whose budget it is.
    pub caller: Caller,
    /// Whose ceiling holds.
    pub address: Option<IpAddr>,
}

impl From<Caller> for Payer {
    fn from(caller: Caller) -> Self {
        let address = match caller {
            Caller::User(_) => None,
            Caller::Address(address) => Some(address),
        };
        Self { caller, address }
    }
}

impl From<&Origin> for Payer {
    fn from(origin: &Origin) -> Self {
        let caller = origin.actor.user().map_or(Caller::Address(origin.address), Caller::User);
        Self { caller, address: Some(origin.address) }
    }
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
    /// The caller could pay for it, and all who call from their address together have spent too much.
    AddressSpent {
        /// What is left to the address, and what the operation would have cost.
        budget: Budget,
        /// Time until the operation can be paid for, if nobody there spends anything.
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
            Self::Spent { budget, .. } | Self::AddressSpent { budget, .. } => Some(budget),
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
                later(message, millis)
            }
            Self::AddressSpent { budget: Budget { cost, limit, remaining, .. }, retry_after } => {
                let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                let message = format!(
                    "This operation may cost {cost} points, and of the {limit} that all who call from your address have \
                     together {remaining} are left. Try again in {millis} ms."
                );
                later(message, millis)
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

fn later(message: String, millis: u64) -> ServerError {
    let mut error = failure(ErrorCode::RateLimited, message, None);
    error.extensions.get_or_insert_default().set("retryAfterMs", millis);
    error
}

/// All callers' budgets.
pub struct Budgets {
    users: Buckets<UserId>,
    addresses: Buckets<IpAddr>,
    ceilings: Buckets<Network>,
    /// None if there are no other nodes.
    untold: Option<Mutex<Untold>>,
    /// Time since some moment of the past, on the machine's monotonic clock but in tests.
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// What the other nodes do not know of yet: spent, or given back where it is negative.
#[derive(Default)]
struct Untold {
    callers: HashMap<Caller, i64>,
    addresses: HashMap<IpAddr, i64>,
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
        Self {
            users: Buckets::new(settings.signed_in, MINUTE),
            addresses: Buckets::new(settings.anonymous, MINUTE),
            ceilings: Buckets::new(settings.ceiling(), MINUTE),
            untold: None,
            now: Box::new(now),
        }
    }

    /// Takes `cost` points, at least one, off the caller's budget and off the ceiling of their address.
    pub fn spend(&self, payer: impl Into<Payer>, cost: u32) -> Result<Budget, Refused> {
        let (Payer { caller, address }, now, cost) = (payer.into().folded(), self.now(), cost.max(1));
        let taken = match &caller {
            Caller::User(user) => self.users.take(user, 1, cost, now),
            Caller::Address(address) => self.addresses.take(address, 1, cost, now),
        };
        let level = taken.map_err(|short| refused(short, cost))?;
        if let Some(address) = address
            && let Err(short) = self.take_under_ceiling(address, cost, now)
        {
            self.refill(caller, cost, now);
            return Err(refused_to_address(short, cost));
        }
        self.note(caller, address, i64::from(cost));
        Ok(Budget::of(level, cost))
    }

    /// Whether the caller has anything left, for what must not be begun otherwise. Spends nothing.
    pub fn look(&self, payer: impl Into<Payer>) -> Result<(), Refused> {
        let (Payer { caller, address }, now) = (payer.into().folded(), self.now());
        let left = match &caller {
            Caller::User(user) => self.users.look(user, 1, 1, now),
            Caller::Address(address) => self.addresses.look(address, 1, 1, now),
        };
        left.map_err(|short| refused(short, 1))?;
        for level in address.into_iter().flat_map(network::Level::of) {
            let left = self.ceilings.look(&level.network, level.times, 1, now);
            left.map_err(|short| refused_to_address(short, 1))?;
        }
        Ok(())
    }

    /// Takes so many millionths of a point for what was done already, as a debt where there is not enough. Returns how long it
    /// takes until a tenth of the budget is left, if there is less: that much is kept for operations, and nothing more should
    /// be done until then that is paid for afterwards.
    pub fn charge(&self, payer: impl Into<Payer>, millionths: u64) -> Option<Duration> {
        let (Payer { caller, address }, now) = (payer.into().folded(), self.now());
        let (points, mut wait) = match &caller {
            Caller::User(user) => self.users.charge(user, 1, millionths, now),
            Caller::Address(address) => self.addresses.charge(address, 1, millionths, now),
        };
        for level in address.into_iter().flat_map(network::Level::of) {
            let (_, of_network) = self.ceilings.charge(&level.network, level.times, millionths, now);
            wait = wait.max(of_network);
        }
        if points > 0 {
            self.note(caller, address, points);
        }
        wait
    }

    /// Gives back what was spent on an operation that cost less, and returns what is left then; its cost is not known
    /// here and 0.
    pub fn give_back(&self, payer: impl Into<Payer>, points: u32) -> Budget {
        let (Payer { caller, address }, now) = (payer.into().folded(), self.now());
        let level = self.refill(caller, points, now);
        for level in address.into_iter().flat_map(network::Level::of) {
            self.ceilings.give_back(&level.network, level.times, points, now);
        }
        self.note(caller, address, -i64::from(points));
        Budget::of(level, 0)
    }

    /// What callers have spent here since this was last asked, for the other nodes.
    pub fn take_spent(&self) -> Vec<(Caller, u32)> {
        self.take(|points| points >= 0)
    }

    /// What callers were given back here since this was last asked, beyond what they have spent meanwhile.
    pub fn take_given_back(&self) -> Vec<(Caller, u32)> {
        self.take(|points| points < 0)
    }

    /// What was spent here from each address since this was last asked; negative where more was given back.
    pub fn take_by_address(&self) -> Vec<(IpAddr, i64)> {
        let Some(untold) = &self.untold else { return Vec::new() };
        let taken = std::mem::take(&mut lock(untold).addresses);
        taken.into_iter().filter(|(_, points)| *points != 0).collect()
    }

    /// Takes off what a caller has spent on another node. What is not there is owed.
    pub fn spent_elsewhere(&self, caller: Caller, points: u32) {
        match Payer::from(caller).folded().caller {
            Caller::User(user) => self.users.owe(&user, 1, points, self.now()),
            Caller::Address(address) => self.addresses.owe(&address, 1, points, self.now()),
        }
    }

    /// Gives back what a caller was given back on another node.
    pub fn given_back_elsewhere(&self, caller: Caller, points: u32) {
        self.refill(Payer::from(caller).folded().caller, points, self.now());
    }

    /// Counts what was spent from an address on another node, or given back where it is negative.
    pub fn at_address_elsewhere(&self, address: IpAddr, points: i64) {
        let (amount, now) = (u32::try_from(points.unsigned_abs()).unwrap_or(u32::MAX), self.now());
        for level in network::Level::of(address) {
            if points < 0 {
                self.ceilings.give_back(&level.network, level.times, amount, now);
            } else {
                self.ceilings.owe(&level.network, level.times, amount, now);
            }
        }
    }

    /// Forgets callers whose budgets are full. To be called every minute or so.
    pub fn sweep(&self) {
        self.users.sweep(self.now());
        self.addresses.sweep(self.now());
        self.ceilings.sweep(self.now());
    }

    /// Callers and networks in memory, for the metrics.
    pub fn known(&self) -> usize {
        self.users.known() + self.addresses.known() + self.ceilings.known()
    }

    /// From the ceilings of all networks that the address is in, or from none.
    fn take_under_ceiling(&self, address: IpAddr, cost: u32, now: u64) -> Result<(), Short> {
        for (place, level) in network::Level::of(address).enumerate() {
            if let Err(short) = self.ceilings.take(&level.network, level.times, cost, now) {
                for taken in network::Level::of(address).take(place) {
                    self.ceilings.give_back(&taken.network, taken.times, cost, now);
                }
                return Err(short);
            }
        }
        Ok(())
    }

    fn refill(&self, caller: Caller, points: u32, now: u64) -> Level {
        match &caller {
            Caller::User(user) => self.users.give_back(user, 1, points, now),
            Caller::Address(address) => self.addresses.give_back(address, 1, points, now),
        }
    }

    /// Notes what the other nodes are to hear of.
    fn note(&self, caller: Caller, address: Option<IpAddr>, points: i64) {
        fn add<K: std::hash::Hash + Eq>(noted: &mut HashMap<K, i64>, key: K, points: i64) {
            if noted.len() < MAX_UNTOLD || noted.contains_key(&key) {
                let noted = noted.entry(key).or_default();
                *noted = noted.saturating_add(points);
            }
        }
        let Some(untold) = &self.untold else { return };
        let mut untold = lock(untold);
        add(&mut untold.callers, caller, points);
        if let Some(address) = address {
            add(&mut untold.addresses, address, points);
        }
    }

    /// Takes what is to be told and `is` so.
    fn take(&self, is: impl Fn(i64) -> bool) -> Vec<(Caller, u32)> {
        let Some(untold) = &self.untold else { return Vec::new() };
        let taken = lock(untold).callers.extract_if(|_, points| is(*points)).collect::<Vec<_>>();
        let small = |points: i64| u32::try_from(points.unsigned_abs()).unwrap_or(u32::MAX);
        taken.into_iter().filter(|(_, points)| *points != 0).map(|(caller, points)| (caller, small(points))).collect()
    }

    fn now(&self) -> u64 {
        u64::try_from((self.now)().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Budget {
    fn of(level: Level, cost: u32) -> Self {
        Self { cost, limit: level.limit, remaining: level.left, reset_after: level.full_after }
    }
}

fn refused(short: Short, cost: u32) -> Refused {
    match short {
        Short::Now { level, retry_after } => Refused::Spent { budget: Budget::of(level, cost), retry_after },
        Short::Ever { limit } => Refused::TooExpensive { cost, limit },
    }
}

fn refused_to_address(short: Short, cost: u32) -> Refused {
    match short {
        Short::Now { level, retry_after } => Refused::AddressSpent { budget: Budget::of(level, cost), retry_after },
        Short::Ever { limit } => Refused::TooExpensive { cost, limit },
    }
}

impl Payer {
    /// The one caller that stands for all that share a budget, and so a part of the database.
    pub fn shared_caller(self) -> Caller {
        self.folded().caller
    }

    /// The one payer that stands for all that share a budget.
    fn folded(self) -> Self {
        let folded = |address| Network::of(address).address();
        let caller = match self.caller {
            Caller::User(user) => Caller::User(user),
            Caller::Address(address) => Caller::Address(folded(address)),
        };
        // A ceiling also holds for wider networks, which the smallest one lies in.
        Self { caller, address: self.address.map(folded) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
