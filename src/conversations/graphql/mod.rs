//! Conversations in the API: `Conversation`, `Message`, sending, reading, and who is there. Their subscriptions stand in
//! [`subscription`](super::subscription).
//!
//! Only translation between the schema and the domain: no rule, no SQL.

mod connections;
mod inputs;
mod loaders;
mod mutations;
mod objects;
mod payloads;
mod queries;

pub(crate) use connections::ConversationConnection;
pub(crate) use loaders::{
    ConversationLoader, conversation_of_claim, conversations_of, visible_conversation, visible_message,
};
pub(crate) use mutations::ConversationMutation;
pub(crate) use objects::{ConversationObject, MessageObject, PresenceObject, present};
pub(crate) use queries::ConversationQuery;
