//! What can go wrong with an inbox.

use crate::{
    auth::actor::Denied,
    error::{AsDbError, InternalError, Invalid},
    faults_into,
};

/// Why a use case of notifications did nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(NotificationError);

impl AsDbError for NotificationError {
    fn as_db_error(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::InternalError(error) => error.as_db_error(),
            Self::Denied(_) | Self::Invalid(_) => None,
        }
    }
}
