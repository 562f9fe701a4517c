//! Money in the API: `Wallet`, `Transaction`, deposits and withdrawals. Their event stands in
//! [`subscription`](super::subscription).
//!
//! Only translation between the schema and the domain: no rule, no SQL.

mod errors;
mod inputs;
mod loaders;
mod mutations;
mod objects;
mod payloads;
mod queries;

pub(crate) use errors::{InsufficientFundsError, TransactionNotPendingError};
pub(crate) use loaders::{WalletLoader, visible_transaction, visible_wallet};
pub(crate) use mutations::WalletMutation;
pub(crate) use objects::{TransactionObject, WalletObject};
pub(crate) use queries::WalletQuery;
