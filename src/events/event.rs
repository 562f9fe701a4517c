//! What an event is.

use uuid::Uuid;

use super::{Audience, EventKind};
use crate::{clock::Timestamp, ids::EventId};

/// An event to be recorded.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Unique for ever: clients drop one that they have seen.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The job, wallet, inbox, session or user within which events are in order.
    pub subject: Uuid,
    /// The subject's version after the change; 0 where it has none.
    pub subject_version: i64,
    /// Who may receive it.
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
