//! What can go wrong with a conversation.

use sea_orm::DbErr;

use crate::{
    auth::actor::Denied,
    error::{AsDbError, InternalError, Invalid},
    faults_into,
};

/// Why a use case of conversations did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An input cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The sender has used the `clientId` for something else.
    #[error("This clientId was used for another message. Use a new one for a new message.")]
    ClientIdReused,
    /// A message with this `clientId` is being sent to another conversation.
    #[error("A message with this clientId is still being sent. Send the same one again in a moment.")]
    ClientIdInUse {
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// The sender has sent as many messages as one may for now.
    #[error("You have sent many messages here within a minute. Send this one again in a moment.")]
    TooMany {
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

faults_into!(ConversationError);

impl AsDbError for ConversationError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::InternalError(error) => error.as_db_error(),
            Self::Denied(_)
            | Self::Invalid(_)
            | Self::ClientIdReused
            | Self::ClientIdInUse { .. }
            | Self::TooMany { .. } => None,
        }
    }
}
