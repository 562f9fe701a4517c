//! What can go wrong with money.

use super::{
    ledger::LedgerError,
    model::{Transaction, Wallet},
};
use crate::{
    auth::actor::Denied,
    error::{AsDbError, Fault, Invalid},
    faults_into,
    idempotency::KeyConflict,
    money::Money,
};

/// Why a use case of wallets did nothing.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// `available` does not cover it.
    #[error("Your available balance does not cover this. Deposit the shortfall or choose a smaller amount.")]
    InsufficientFunds {
        /// The wallet as it is.
        wallet: Box<Wallet>,
        /// What is missing.
        shortfall: Money,
    },
    /// It has been settled before.
    #[error("This transaction has been settled already; a posted one can only be undone by a reversal.")]
    NotPending(Box<Transaction>),
    /// The idempotency key cannot be used now.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

faults_into!(WalletError);

impl AsDbError for WalletError {
    fn as_db_error(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::Fault(fault) => fault.as_db_error(),
            Self::Denied(_)
            | Self::Invalid(_)
            | Self::InsufficientFunds { .. }
            | Self::NotPending(_)
            | Self::Key(_) => None,
        }
    }
}

impl From<LedgerError> for WalletError {
    fn from(error: LedgerError) -> Self {
        match error {
            // Callers that take from a user's available balance look for this case themselves.
            LedgerError::Insufficient(account) => Fault::corrupt(format!("{account:?} would be overdrawn")).into(),
            LedgerError::Fault(fault) => fault.into(),
        }
    }
}
