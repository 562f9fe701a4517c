//! The conversations' share of `lancewire verify`: one a claim, messages without holes, markers and sides in step, and
//! their events.
//!
//! Queries for rows that break an invariant, and the comparison of events with rows. Called by [`crate::verify`] alone, on
//! one snapshot.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter,
    prelude::{Uuid, async_trait::async_trait},
};

use super::{
    entity::{conversations, messages},
    events::{MESSAGE_UPDATED, MessageUpdate, audience},
    model::{Conversation, Message},
};
use crate::{
    db::DbTransaction,
    error::InternalError,
    events::NewEvent,
    ids::{ConversationId, MessageId},
    proof::{Part, told},
};

/// This domain's share of the proof.
pub struct Proof;

#[async_trait]
impl Part for Proof {
    fn checks(&self) -> Vec<(&'static str, String)> {
        let checks = [
            (
                "13 each claim has its conversation, between its two sides",
                "SELECT c.id AS subject, CASE WHEN v.id IS NULL THEN 'no conversation' ELSE 'other sides' END AS detail \
                 FROM claims c JOIN jobs j ON j.id = c.job_id LEFT JOIN conversations v ON v.id = c.id \
                 WHERE v.id IS NULL OR v.client_id <> j.client_id OR v.freelancer_id <> c.freelancer_id",
            ),
            (
                "13 the messages of a conversation are numbered from 1 without holes, and sent by its sides",
                "SELECT v.id AS subject, COUNT(m.id) || ' messages, the last ' || COALESCE(MAX(m.number), 0) || ' of ' \
                 || v.last_number AS detail FROM conversations v LEFT JOIN messages m ON m.conversation_id = v.id \
                 GROUP BY v.id, v.last_number, v.client_id, v.freelancer_id \
                 HAVING COUNT(m.id) <> v.last_number OR COALESCE(MAX(m.number), 0) <> v.last_number \
                 OR COUNT(CASE WHEN m.sender_id NOT IN (v.client_id, v.freelancer_id) THEN 1 END) > 0",
            ),
            (
                "13 a side has read at least what it sent last",
                "SELECT v.id AS subject, 'a marker before a message of its own' AS detail FROM conversations v \
                 WHERE v.client_read < COALESCE((SELECT MAX(m.number) FROM messages m WHERE m.conversation_id = v.id \
                     AND m.sender_id = v.client_id), 0) \
                 OR v.freelancer_read < COALESCE((SELECT MAX(m.number) FROM messages m WHERE m.conversation_id = v.id \
                     AND m.sender_id = v.freelancer_id), 0)",
            ),
            (
                "7 the last event of a conversation is of its version, and there is one for each",
                "SELECT v.id AS subject, 'version ' || v.version || ', last event ' || e.last || ', ' || e.told || ' told' \
                 AS detail FROM conversations v JOIN (SELECT subject_id, MAX(subject_version) AS last, COUNT(*) AS told, \
                     COUNT(DISTINCT subject_version) AS versions FROM events WHERE kind = 'MESSAGE_UPDATED' \
                     GROUP BY subject_id) e ON e.subject_id = v.id \
                 WHERE e.last <> v.version OR e.told <> e.versions OR (e.told <> v.version - 1 AND NOT {forgotten})",
            ),
        ];
        checks.map(|(invariant, sql)| (invariant, sql.to_owned())).into()
    }

    fn agreement(&self) -> Option<&'static str> {
        Some("7 what an event says of a message is what happened to it")
    }

    async fn events_agree(
        &self,
        snapshot: &DbTransaction,
        events: &[NewEvent],
        wrong: &mut Vec<String>,
    ) -> Result<(), InternalError> {
        let told = told::<MessageUpdate>(events, MESSAGE_UPDATED, wrong);
        let ids: Vec<MessageId> = told.iter().map(|(_, update)| update.message.id).collect();
        let rows = messages::Entity::find().filter(messages::Column::Id.is_in(ids)).all(snapshot).await?;
        let rows: HashMap<MessageId, Message> = rows.into_iter().map(|row| (row.id, row.into())).collect();
        let ids: Vec<ConversationId> = told.iter().map(|(_, update)| update.conversation.id).collect();
        let of = conversations::Entity::find().filter(conversations::Column::Id.is_in(ids)).all(snapshot).await?;
        let of: HashMap<ConversationId, Conversation> = of.into_iter().map(|row| (row.id, row.into())).collect();
        for (event, MessageUpdate { conversation, message }) in told {
            let why = if Uuid::from(conversation.id) != event.subject || conversation.version != event.subject_version {
                "it is about another conversation or version than it says"
            } else if event.audience != audience(&conversation) {
                "it is for others than the conversation's two sides"
            } else if message.conversation_id != conversation.id {
                "its message is of another conversation"
            } else if !rows.get(&message.id).is_some_and(|row| is_later_or_same(row, &message)) {
                "the message is not as the event has it"
            } else if !of.get(&conversation.id).is_some_and(|row| has_become(row, &conversation)) {
                "the conversation is not as the event has it"
            } else {
                continue;
            };
            wrong.push(format!("{}: {why}", Uuid::from(event.id)));
        }
        Ok(())
    }
}

/// Whether a message is the one that an event tells of, or what became of it.
fn is_later_or_same(now: &Message, told: &Message) -> bool {
    if now.version == told.version {
        return now == told;
    }
    now.version > told.version
        && (now.conversation_id, now.number, now.sender_id, now.sent_at)
            == (told.conversation_id, told.number, told.sender_id, told.sent_at)
}

/// The same for a conversation.
fn has_become(now: &Conversation, told: &Conversation) -> bool {
    if now.version == told.version {
        return now == told;
    }
    now.version > told.version
        && (now.sides(), now.created_at) == (told.sides(), told.created_at)
        && now.last_number >= told.last_number
        && now.client_read >= told.client_read
        && now.freelancer_read >= told.freelancer_read
}
