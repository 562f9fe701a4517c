//! What an event is.

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    ids::{EventId, UserId},
    named_enum,
};

named_enum! {
    /// What happened; one kind a subscription field.
    pub enum EventKind {
        /// A job became OPEN.
        JobPosted = "JOB_POSTED",
        /// A job changed.
        JobUpdated = "JOB_UPDATED",
        /// A wallet changed.
        WalletUpdated = "WALLET_UPDATED",
        /// Something reached an inbox.
        NotificationReceived = "NOTIFICATION_RECEIVED",
    }
}

/// Who may hear of an event, decided when it happened. Admins are judged by the subscription itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    /// Everybody may hear of it, though not of its private fields.
    pub public: bool,
    /// A job's client, or the user whose wallet or inbox it is.
    pub owner: UserId,
    /// The freelancer who was party to the job.
    pub claimant: Option<UserId>,
}

/// An event to be recorded.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Unique for ever: clients drop one that they have seen.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The job, wallet or inbox within which events are in order.
    pub subject: Uuid,
    /// The subject's version after the change; 0 where it has none.
    pub subject_version: i64,
    /// Who may hear of it.
    pub audience: Audience,
    /// A snapshot in JSON, written and read by the domain.
    pub payload: String,
    /// When.
    pub occurred_at: Timestamp,
}

/// A recorded event with its place in the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Contiguous from 1 in the order of publication.
    pub position: i64,
    /// What was recorded.
    pub recorded: NewEvent,
}
