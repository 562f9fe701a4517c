//! The event that this domain records: what it keeps and who receives it.
//!
//! `service` records it in the transaction that adds to the inbox.

use super::model::Notification;
use crate::{
    error::InternalError,
    events::{Audience, EventKind, NewEvent},
    ids::{EventId, UserId},
};

/// Something reached an inbox, for its owner alone. Payload: [`Notification`]. An inbox has no version.
pub const NOTIFICATION_RECEIVED: EventKind = EventKind::named("NOTIFICATION_RECEIVED").for_parties();

/// All of them.
pub const KINDS: &[EventKind] = &[NOTIFICATION_RECEIVED];

/// `NOTIFICATION_RECEIVED`, at the moment at which the notification was made.
pub(super) fn received(id: EventId, notification: &Notification) -> Result<NewEvent, InternalError> {
    Ok(NewEvent {
        id,
        kind: NOTIFICATION_RECEIVED,
        subject: notification.user_id.into(),
        subject_version: 0,
        audience: audience(notification.user_id),
        payload: serde_json::to_string(notification).map_err(InternalError::corrupt)?,
        occurred_at: notification.created_at,
    })
}

/// Who receives what reaches an inbox.
pub(super) fn audience(owner: UserId) -> Audience {
    Audience::of([owner])
}
