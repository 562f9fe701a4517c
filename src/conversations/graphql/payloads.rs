//! What mutations of conversations answer with: the changed rows, or why nothing was done.

use std::sync::Arc;

use async_graphql::{Error, Result, SimpleObject};

use super::{
    connections::MessageEdge,
    objects::{ConversationObject, MessageObject},
};
use crate::{
    conversations::{ConversationError, model::Conversation, service::Changed},
    graphql::{
        context::denied,
        errors::fault,
        user_errors::{IdempotencyError, InputError, TooManyAttemptsError},
    },
    user_errors,
};

user_errors! {
    /// Why a message was not taken.
    pub(crate) enum MessageError { InputError, IdempotencyError, TooManyAttemptsError }
}

impl MessageError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    fn of(error: ConversationError) -> Result<Self> {
        let message = error.to_string();
        let about = |message, retry_after_ms| IdempotencyError::about("clientId", message, retry_after_ms);
        Ok(match error {
            ConversationError::Denied(refused) => return Err(denied(refused)),
            ConversationError::Invalid(invalid) => InputError::from(invalid).into(),
            ConversationError::ClientIdReused => about(message, None).into(),
            ConversationError::ClientIdInUse { retry_after_ms } => about(message, Some(retry_after_ms)).into(),
            ConversationError::TooMany { retry_after_ms } => TooManyAttemptsError::new(message, retry_after_ms).into(),
            ConversationError::InternalError(failed) => return Err(fault(failed)),
        })
    }
}

/// The same where no message is written.
fn input_error(error: ConversationError) -> Result<InputError, Error> {
    match error {
        ConversationError::Denied(refused) => Err(denied(refused)),
        ConversationError::Invalid(invalid) => Ok(invalid.into()),
        ConversationError::InternalError(failed) => Err(fault(failed)),
        ConversationError::ClientIdReused
        | ConversationError::ClientIdInUse { .. }
        | ConversationError::TooMany { .. } => Err(Error::new("a refusal of a message where none was written")),
    }
}

/// Result of `sendMessage`, `editMessage` and `deleteMessage`.
#[derive(SimpleObject)]
pub(crate) struct MessagePayload {
    /// The message after this change; null if nothing was done.
    message: Option<MessageObject>,
    /// The message as a row of `Conversation.messages`; null if nothing was done.
    message_edge: Option<MessageEdge>,
    /// The conversation after this change; null if nothing was done.
    conversation: Option<ConversationObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<MessageError>,
}

/// What came of a change of a message.
pub(super) fn message_payload(done: Result<Changed, ConversationError>) -> Result<MessagePayload> {
    Ok(match done {
        Ok(Changed { conversation, message }) => {
            let (conversation, message) = (Arc::new(conversation), Arc::new(message));
            MessagePayload {
                message: Some(MessageObject::new(Arc::clone(&message), Some(&conversation))),
                message_edge: Some(MessageEdge::new(message, &conversation)),
                conversation: Some(ConversationObject::from((*conversation).clone())),
                errors: Vec::new(),
            }
        }
        Err(error) => {
            let errors = vec![MessageError::of(error)?];
            MessagePayload { message: None, message_edge: None, conversation: None, errors }
        }
    })
}

/// Result of `markConversationRead`.
#[derive(SimpleObject)]
pub(crate) struct MarkConversationReadPayload {
    /// The conversation with the caller's marker as it is now; null if nothing was done.
    conversation: Option<ConversationObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

/// What came of marking.
pub(super) fn marked_payload(done: Result<Conversation, ConversationError>) -> Result<MarkConversationReadPayload> {
    Ok(match done {
        Ok(conversation) => MarkConversationReadPayload { conversation: Some(conversation.into()), errors: Vec::new() },
        Err(error) => MarkConversationReadPayload { conversation: None, errors: vec![input_error(error)?] },
    })
}

/// Result of `signalTyping`.
#[derive(SimpleObject)]
pub(crate) struct SignalTypingPayload {
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

/// What came of a signal.
pub(super) fn signalled_payload(done: Result<(), ConversationError>) -> Result<SignalTypingPayload> {
    let errors = done.err().map(input_error).transpose()?;
    Ok(SignalTypingPayload { errors: errors.into_iter().collect() })
}
