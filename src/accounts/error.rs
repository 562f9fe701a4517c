//! What can go wrong with an account.

use crate::{
    auth::actor::Denied,
    error::{AsDbError, Fault, Invalid},
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
    /// Too many failed attempts for this account or from this address.
    #[error("Too many failed attempts. Try again in {} s.", retry_after_ms.div_ceil(1_000))]
    TooMany {
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

faults_into!(AccountError);

impl AsDbError for AccountError {
    fn as_db_error(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::Fault(fault) => fault.as_db_error(),
            Self::Denied(_) | Self::Invalid(_) | Self::TooMany { .. } => None,
        }
    }
}
