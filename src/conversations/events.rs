//! The event that this domain records: what it keeps, who receives it and by what it is found.
//!
//! `service` records one in the transaction of each change of a conversation.
//!
//! The text of a message that is deleted later stays in the events from before, for those who could read it then and for as
//! long as events are kept: the log is append-only, and a replay is what was live.

use serde::{Deserialize, Serialize};

use super::model::{Conversation, Message};
use crate::{
    clock::Timestamp,
    error::InternalError,
    events::{Audience, EventKind, NewEvent},
    ids::EventId,
    realtime::{Delivery, EventTerms},
};

/// A message was sent, edited, deleted or read, for the two sides of its conversation. Payload: [`MessageUpdate`].
pub const MESSAGE_UPDATED: EventKind = EventKind::named("MESSAGE_UPDATED").for_parties();

/// All of them.
pub const KINDS: &[EventKind] = &[MESSAGE_UPDATED];

/// What a `messageUpdated` event keeps of its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageUpdate {
    /// The conversation after the change.
    pub conversation: Conversation,
    /// The message that was sent, edited or deleted, or up to which was read, after the change.
    pub message: Message,
}

/// `MESSAGE_UPDATED`.
pub(super) fn updated(id: EventId, update: &MessageUpdate, occurred_at: Timestamp) -> Result<NewEvent, InternalError> {
    Ok(NewEvent {
        id,
        kind: MESSAGE_UPDATED,
        subject: update.conversation.id.into(),
        subject_version: update.conversation.version,
        audience: audience(&update.conversation),
        payload: serde_json::to_string(update).map_err(InternalError::corrupt)?,
        occurred_at,
    })
}

/// Who receives a change: the two sides.
pub(super) fn audience(conversation: &Conversation) -> Audience {
    Audience::of(conversation.sides())
}

/// By its conversation.
pub fn terms(delivery: &Delivery) -> EventTerms {
    EventTerms { named: vec![delivery.subject()], words: Some(Vec::new()) }
}
