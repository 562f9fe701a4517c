//! The `[budgets]` settings and their check. Those of attempts and sign-ups stand in `[auth]`.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::settings::{ConfigError, require};

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
