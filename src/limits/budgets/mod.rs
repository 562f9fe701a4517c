//! How many points a caller may spend.
//!
//! Owns the point budgets: each signed-in user and each anonymous address has one that is full at first and refills
//! evenly over a minute ([`Buckets`]). The transports spend the most that an operation can cost
//! ([`graphql::limits`](crate::graphql::limits)) before they run it, also for operations that turn out wrong; what its
//! answer did not use ([`graphql::returned`](crate::graphql::returned)) is given back afterwards. Above them each address has a ceiling for all that comes from it, signed in or not: a stranger who opens
//! many accounts has no more points than one with a few. An IPv6 address has one in each of its networks ([`network`]).
//!
//! Invariants: what is refused costs nothing, neither the caller nor the address; a caller's balance never exceeds the
//! burst; a caller with a full budget takes no memory after the next [`Budgets::sweep`].
//!
//! **Several nodes** count each for itself: a caller whose requests reach N nodes has N budgets, and an address N
//! ceilings. So that an installation as a whole is not overspent, divide `[budgets]` by the number of nodes, or let the load
//! balancer send one address to one node.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    buckets::{Buckets, Level, Short},
    settings::BudgetSettings,
};
use crate::{
    auth::actor::Origin,
    ids::UserId,
    network::{self, Network},
};

/// In what time a budget refills.
const MINUTE: Duration = Duration::from_mins(1);

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
}

/// All callers' budgets.
pub struct Budgets {
    users: Buckets<UserId>,
    addresses: Buckets<IpAddr>,
    ceilings: Buckets<Network>,
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

    /// The same on another clock.
    pub fn with_clock(settings: BudgetSettings, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            users: Buckets::new(settings.signed_in, MINUTE),
            addresses: Buckets::new(settings.anonymous, MINUTE),
            ceilings: Buckets::new(settings.ceiling(), MINUTE),
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
        let mut wait = match &caller {
            Caller::User(user) => self.users.charge(user, 1, millionths, now),
            Caller::Address(address) => self.addresses.charge(address, 1, millionths, now),
        };
        for level in address.into_iter().flat_map(network::Level::of) {
            let of_network = self.ceilings.charge(&level.network, level.times, millionths, now);
            wait = wait.max(of_network);
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
        Budget::of(level, 0)
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

#[cfg(test)]
mod tests;
