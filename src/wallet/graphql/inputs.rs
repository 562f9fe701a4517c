//! What mutations of money take.

use async_graphql::{ID, InputObject};

use super::objects::SettlementOutcome;
use crate::graphql::scalars::MoneyInput;

/// Add money. It is `available` once the deposit is settled.
#[derive(InputObject)]
pub(crate) struct DepositInput {
    /// Greater than zero, in the marketplace's currency, within the largest amount that it allows.
    pub(super) amount: MoneyInput,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}

/// Take money out.
#[derive(InputObject)]
pub(crate) struct WithdrawInput {
    /// Greater than zero, in the marketplace's currency, at most what is `available`.
    pub(super) amount: MoneyInput,
    /// Where the money goes, such as an IBAN: 1 to 200 characters.
    pub(super) destination: String,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}

/// Settle a PENDING deposit or withdrawal.
#[derive(InputObject)]
pub(crate) struct ConfirmTransactionInput {
    /// A deposit or withdrawal that is PENDING.
    pub(super) transaction_id: ID,
    /// How it ends: the money moved, or not.
    #[graphql(default_with = "SettlementOutcome::Post")]
    pub(super) outcome: SettlementOutcome,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}
