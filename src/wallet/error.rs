//! What can go wrong with money.

use super::{
    ledger::LedgerError,
    model::{Transaction, Wallet},
};
use crate::{
    auth::actor::Denied,
    error::{AsDbError, InternalError, Invalid},
    faults_into,
    idempotency::KeyConflict,
    money::Money,
};

/// What a user can spend does not cover it.
#[derive(Debug, thiserror::Error)]
#[error("Your available balance does not cover this. Deposit the shortfall or choose a smaller amount.")]
pub struct InsufficientFunds {
    /// The wallet as it is.
    pub wallet: Box<Wallet>,
    /// What is missing.
    pub shortfall: Money,
}

/// Why money was not set aside.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// `available` does not cover it.
    #[error(transparent)]
    InsufficientFunds(#[from] InsufficientFunds),
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(HoldError);

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
    #[error(transparent)]
    InsufficientFunds(#[from] InsufficientFunds),
    /// It has been settled before.
    #[error("This transaction has been settled already; a posted one can only be undone by a reversal.")]
    NotPending(Box<Transaction>),
    /// The idempotency key cannot be used now.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(WalletError);

impl AsDbError for WalletError {
    fn as_db_error(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::InternalError(error) => error.as_db_error(),
            Self::Denied(_) | Self::Invalid(_) | Self::InsufficientFunds(_) | Self::NotPending(_) | Self::Key(_) => {
                None
            }
        }
    }
}

impl From<HoldError> for WalletError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::InsufficientFunds(missing) => missing.into(),
            HoldError::InternalError(error) => error.into(),
        }
    }
}

impl From<LedgerError> for InternalError {
    fn from(error: LedgerError) -> Self {
        match error {
            // Who takes from a user's available balance looks for this case first.
            LedgerError::Insufficient(account) => Self::corrupt(format!("{account:?} would be overdrawn")),
            LedgerError::InternalError(error) => error,
        }
    }
}
