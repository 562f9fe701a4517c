//! What can go wrong with an account.

use crate::{
    auth::actor::Denied,
    error::{AsDbError, InternalError, Invalid},
    faults_into,
};

/// Why a use case of accounts did nothing.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Too much of something at this time.
    #[error("{}. Try again in {} s.", what.as_str(), retry_after_ms.div_ceil(1_000))]
    TooMany {
        /// Of what.
        what: TooMuch,
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// Failed attempts for an account or from an address.
    Failures,
    /// Passwords that are being hashed: nothing was compared.
    Hashing,
    /// Accounts opened from an address.
    SignUps,
}

impl TooMuch {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "Too many failed attempts",
            Self::Hashing => "Too many passwords are being checked at this moment",
            Self::SignUps => "Too many accounts were opened from your address",
        }
    }
}

faults_into!(AccountError);

impl AsDbError for AccountError {
    fn as_db_error(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::InternalError(error) => error.as_db_error(),
            Self::Denied(_) | Self::Invalid(_) | Self::TooMany { .. } => None,
        }
    }
}
