//! Conversations: what the two sides of a claim say to each other, and whether they are there.
//!
//! Owns `conversations` and `messages`, the event `messageUpdated`, and who is present in a conversation. There is one
//! conversation for each claim, with the claim's id; the database makes it with the claim. Its sides, the claim's
//! freelancer and the job's client, never change: they read it for good, also when the claim has ended, and write until 30
//! days after that. Nobody else knows of it, but for admins while the job is DISPUTED; each of their reads is in the audit
//! log.
//!
//! Invariants: messages are numbered 1, 2, 3 .. under the lock of the conversation's row, without holes; the sender's own
//! id of a message (`clientId`) is used once; a read marker only grows; each committed change of a conversation is one
//! version of it and one event. [`presence`] is soft state: it is in no table and in no log.
//!
//! Above `claims` and `jobs`, which know nothing of it.

pub mod entity;
pub mod error;
pub mod events;
pub(crate) mod graphql;
pub mod list;
pub mod model;
pub mod presence;
pub mod service;
pub(crate) mod subscription;
pub mod verify;

pub use error::ConversationError;
pub use service::Conversations;
