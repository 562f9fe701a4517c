//! The `[marketplace]` settings and their check.
//!
//! They stand here, in the highest of the domains: claims know the currency of the wallets and the drafts of jobs, and not
//! the other way round.

use serde::Deserialize;

use crate::{
    jobs::quota::DraftQuota,
    money::{Currency, Money},
    settings::{ConfigError, require},
};

/// `[marketplace]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct MarketplaceSettings {
    pub currency: String,
    pub decimals: u32,
    pub max_amount_minor: i64,
    pub fee_basis_points: u16,
    pub live_claims: u32,
    pub drafts_per_client: u32,
    pub draft_bytes_per_client: u64,
    pub claim_seconds: u32,
    pub auto_approve_seconds: u32,
}

impl MarketplaceSettings {
    /// The one currency.
    pub fn currency(&self) -> Currency {
        Currency::new(&self.currency, self.decimals, Money::from_minor(self.max_amount_minor))
    }

    /// What a client may keep in drafts.
    pub const fn draft_quota(&self) -> DraftQuota {
        DraftQuota { drafts: self.drafts_per_client, bytes: self.draft_bytes_per_client }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        require(
            self.currency.len() >= 3 && self.currency.bytes().all(|byte| byte.is_ascii_uppercase()),
            "marketplace.currency",
            "must be an upper-case code such as USD",
        )?;
        require(self.decimals <= 8, "marketplace.decimals", "must be at most 8")?;
        require(
            (1..=i64::MAX / 1_000_000).contains(&self.max_amount_minor),
            "marketplace.max_amount_minor",
            "must be between 1 and 9223372036854",
        )?;
        require(self.fee_basis_points <= 10_000, "marketplace.fee_basis_points", "must be at most 10000")?;
        require(self.live_claims > 0, "marketplace.live_claims", "must be at least 1")
    }
}
