//! What the nodes tell each other of sessions and rights, through the log.
//!
//! Recorded by [`sessions`](super::sessions) in the transaction that ends a session or changes a right, and handed to its
//! [`Sessions::hear`](super::sessions::Sessions::hear) on every node. No client receives them; they have no payload.

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    events::{Audience, EventKind, NewEvent},
    ids::{EventId, SessionId, UserId},
};

/// A session is over.
pub const SESSION_ENDED: EventKind = EventKind::internal("SESSION_ENDED");
/// What a user may do has changed.
pub const RIGHTS_CHANGED: EventKind = EventKind::internal("RIGHTS_CHANGED");

/// All of them.
pub const KINDS: &[EventKind] = &[SESSION_ENDED, RIGHTS_CHANGED];

/// `SESSION_ENDED`, of this user's session.
pub(super) fn session_ended(id: EventId, session: SessionId, user: UserId, occurred_at: Timestamp) -> NewEvent {
    event(id, SESSION_ENDED, session.into(), user, occurred_at)
}

/// `RIGHTS_CHANGED`.
pub(super) fn rights_changed(id: EventId, user: UserId, occurred_at: Timestamp) -> NewEvent {
    event(id, RIGHTS_CHANGED, user.into(), user, occurred_at)
}

fn event(id: EventId, kind: EventKind, subject: Uuid, user: UserId, occurred_at: Timestamp) -> NewEvent {
    NewEvent {
        id,
        kind,
        subject,
        subject_version: 0,
        audience: Audience::of([user]),
        payload: "{}".to_owned(),
        occurred_at,
    }
}
