//! The inboxes' share of `lancewire verify`: each entry and the event that told of it are the same.
//!
//! Called by [`crate::verify`] alone, on one snapshot.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter,
    prelude::{Uuid, async_trait::async_trait},
};

use super::{
    entity::{Column, Entity},
    events::{NOTIFICATION_RECEIVED, audience},
    model::Notification,
};
use crate::{
    db::DbTransaction,
    error::InternalError,
    events::NewEvent,
    ids::NotificationId,
    proof::{Part, told},
};

/// This domain's share of the proof.
pub struct Proof;

#[async_trait]
impl Part for Proof {
    fn checks(&self) -> Vec<(&'static str, String)> {
        vec![(
            // As long as nothing is forgotten; later there are entries whose event is gone.
            "7 each entry of an inbox has its event",
            "SELECT n.user_id AS subject, COUNT(*) || ' entries, ' || COALESCE(MAX(e.told), 0) || ' events' AS detail \
             FROM notifications n LEFT JOIN (SELECT subject_id, COUNT(*) AS told FROM events \
                 WHERE kind = 'NOTIFICATION_RECEIVED' GROUP BY subject_id) e ON e.subject_id = n.user_id \
             WHERE NOT {forgotten} GROUP BY n.user_id HAVING COUNT(*) > COALESCE(MAX(e.told), 0)"
                .into(),
        )]
    }

    fn agreement(&self) -> Option<&'static str> {
        Some("7 what an event says of an inbox is what came into it")
    }

    async fn events_agree(
        &self,
        snapshot: &DbTransaction,
        events: &[NewEvent],
        wrong: &mut Vec<String>,
    ) -> Result<(), InternalError> {
        let told = told::<Notification>(events, NOTIFICATION_RECEIVED, wrong);
        let ids: Vec<NotificationId> = told.iter().map(|(_, notification)| notification.id).collect();
        let rows = Entity::find().filter(Column::Id.is_in(ids)).all(snapshot).await?;
        let rows: HashMap<NotificationId, Notification> = rows
            .into_iter()
            .map(|row| Ok((row.id, Notification::try_from(row)?)))
            .collect::<Result<_, InternalError>>()?;
        for (event, notification) in told {
            let owner = notification.user_id;
            let row = rows.get(&notification.id);
            let why = if Uuid::from(owner) != event.subject || event.audience != audience(owner) {
                "it is for somebody else than the inbox's owner"
            } else if row.is_none() {
                "the inbox has no such entry"
            } else if row
                .is_some_and(|row| Notification { read_at: notification.read_at, ..row.clone() } != notification)
            {
                "the entry is not as the event has it"
            } else {
                continue;
            };
            wrong.push(format!("{}: {why}", Uuid::from(event.id)));
        }
        Ok(())
    }
}
