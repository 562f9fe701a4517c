//! What mutations of conversations take.

use async_graphql::{ID, InputObject};

/// Say something to the other side of a claim.
#[derive(InputObject)]
pub(crate) struct SendMessageInput {
    /// A conversation of the caller's own.
    pub(super) conversation_id: ID,
    /// Any text that this caller has not used for a message before, 1 to 100 visible ASCII characters, such as a UUID. The
    /// same one with the same text again gives the first message; with another text or conversation it is refused. It is
    /// remembered for good.
    pub(super) client_id: ID,
    /// 1 to 4,000 characters.
    pub(super) body: String,
}

/// Give one's own message another text.
#[derive(InputObject)]
pub(crate) struct EditMessageInput {
    /// A message that the caller sent, and that is not deleted.
    pub(super) message_id: ID,
    /// The new text: 1 to 4,000 characters.
    pub(super) body: String,
    /// The `Message.version` that the caller decided on. If the message has changed since, nothing is done and the code is
    /// `VERSION_CONFLICT`. Null: any version.
    pub(super) expected_version: Option<i32>,
}

/// Take the text of one's own message away.
#[derive(InputObject)]
pub(crate) struct DeleteMessageInput {
    /// A message that the caller sent.
    pub(super) message_id: ID,
}

/// Only ever grows.
#[derive(InputObject)]
pub(crate) struct MarkConversationReadInput {
    /// A conversation of the caller's own.
    pub(super) conversation_id: ID,
    /// The number of the last message that was read. One at or before the caller's marker changes nothing.
    pub(super) up_to_number: i32,
}

/// Tell the other side that one is writing, or is no more.
#[derive(InputObject)]
pub(crate) struct SignalTypingInput {
    /// A conversation of the caller's own.
    pub(super) conversation_id: ID,
    /// True: for the next 6 seconds, unless the same is said again; more often than every 2 seconds has no effect. False: not
    /// any more.
    pub(super) typing: bool,
}
