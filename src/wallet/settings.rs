//! The `[payments]` settings and their check.

use chrono::TimeDelta;
use serde::Deserialize;

use crate::settings::{ConfigError, Environment, choice, require};

/// Who settles deposits and withdrawals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProvider {
    /// An admin or a processor, by `confirmTransaction`.
    None,
    /// They settle themselves a moment later.
    Sandbox,
}

/// `[payments]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct PaymentSettings {
    #[serde(deserialize_with = "choice")]
    pub provider: PaymentProvider,
    pub sandbox_delay_ms: u32,
}

impl PaymentSettings {
    /// After what time the sandbox settles; none where there is no sandbox.
    pub fn sandbox_delay(&self) -> Option<TimeDelta> {
        match self.provider {
            PaymentProvider::Sandbox => Some(TimeDelta::milliseconds(self.sandbox_delay_ms.into())),
            PaymentProvider::None => None,
        }
    }

    pub(crate) fn check(&self, environment: Environment) -> Result<(), ConfigError> {
        require(
            environment == Environment::Development || self.provider != PaymentProvider::Sandbox,
            "payments.provider",
            "must not be sandbox in production: it would confirm deposits that nobody paid",
        )
    }
}
