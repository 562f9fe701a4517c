//! The event stream: the interface over the events of all domains, resuming from a cursor, and `events`.
//!
//! A subscription and `events` show the same stream: the same snapshots, the same filter by audience, the same cursors.
//! Who was entitled when an event happened decides which events one gets; today's rights decide the private fields.

use std::sync::Arc;

use async_graphql::{Context, ID, Interface, Object, Result, SimpleObject};

use crate::{
    auth::actor::Actor,
    claims::{events::CLAIM_UPDATED, subscription::ClaimUpdatedEvent},
    conversations::{events::MESSAGE_UPDATED, subscription::MessageUpdatedEvent},
    events::{self, EventKind, Listener, Mark, Point},
    graphql::{
        connections::{MAX_PAGE, PageInfo},
        context::ContextExt,
        errors::ErrorCode,
        scalars::DateTime,
        subscriptions::refused_cursor,
    },
    jobs::{
        events::{DRAFT_UPDATED, JOB_POSTED, JOB_UPDATED},
        subscription::{JobPostedEvent, JobUpdatedEvent},
    },
    notifications::{events::NOTIFICATION_RECEIVED, graphql::NotificationReceivedEvent},
    realtime::{Delivery, Hub},
    wallet::{events::WALLET_UPDATED, subscription::WalletUpdatedEvent},
};

/// A committed change. Delivery is at least once and in order; drop an `id` already seen.
#[derive(Clone, Interface)]
#[graphql(
    field(name = "id", ty = "ID", desc = "Unique for ever: drop an event whose id was seen before."),
    field(
        name = "cursor",
        ty = "String",
        desc = "Resume point: pass the last one seen as `after` to miss nothing. It speaks for its own subscription. Cursors \
                compare as strings: the greater one is the later one. After CURSOR_EXPIRED begin anew with `streamCursor`."
    ),
    field(name = "occurred_at", ty = "DateTime", desc = "When the change was made.")
)]
pub(crate) enum Event {
    JobPosted(JobPostedEvent),
    JobUpdated(JobUpdatedEvent),
    ClaimUpdated(ClaimUpdatedEvent),
    MessageUpdated(MessageUpdatedEvent),
    WalletUpdated(WalletUpdatedEvent),
    NotificationReceived(NotificationReceivedEvent),
}

/// The types of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventType {
    JobPosted,
    JobUpdated,
    ClaimUpdated,
    MessageUpdated,
    WalletUpdated,
    NotificationReceived,
}

impl EventType {
    /// As what the events of a kind are shown; none for those that only nodes receive, of which a test makes sure.
    fn of(kind: EventKind) -> Option<Self> {
        Some(match kind {
            JOB_POSTED => Self::JobPosted,
            JOB_UPDATED | DRAFT_UPDATED => Self::JobUpdated,
            CLAIM_UPDATED => Self::ClaimUpdated,
            MESSAGE_UPDATED => Self::MessageUpdated,
            WALLET_UPDATED => Self::WalletUpdated,
            NOTIFICATION_RECEIVED => Self::NotificationReceived,
            _ => return None,
        })
    }
}

impl Event {
    /// What the viewer may see of an event that they were entitled to, if anything.
    fn heard(actor: &Actor, delivery: Arc<Delivery>) -> Result<Option<Self>> {
        let Some(shown) = EventType::of(delivery.kind()) else { return Ok(None) };
        Ok(match shown {
            EventType::JobPosted => Some(Self::JobPosted(JobPostedEvent::of(delivery)?)),
            EventType::JobUpdated => JobUpdatedEvent::heard(actor, delivery)?.map(Self::JobUpdated),
            EventType::ClaimUpdated => Some(Self::ClaimUpdated(ClaimUpdatedEvent::of(delivery)?)),
            EventType::MessageUpdated => Some(Self::MessageUpdated(MessageUpdatedEvent::of(delivery)?)),
            EventType::WalletUpdated => Some(Self::WalletUpdated(WalletUpdatedEvent::of(delivery)?)),
            EventType::NotificationReceived => {
                Some(Self::NotificationReceived(NotificationReceivedEvent::of(delivery)?))
            }
        })
    }
}

/// A page of events.
#[derive(SimpleObject)]
pub(crate) struct EventConnection {
    /// The events of this page with their cursors, oldest first.
    edges: Vec<EventEdge>,
    /// The events of this page alone.
    nodes: Vec<Event>,
    /// Where the page stands; its `endCursor` is how far the log was read, also of an empty page.
    page_info: PageInfo,
}

/// An event in a page of events.
#[derive(SimpleObject)]
pub(crate) struct EventEdge {
    /// The event's own cursor.
    cursor: String,
    /// The event, as one of the types that implement `Event`.
    node: Event,
}

/// Reads of the event stream.
#[derive(Default)]
pub(crate) struct EventQuery;

#[Object]
impl EventQuery {
    /// Catch up over HTTP: every event the viewer could have received, oldest first, kept for 7 days.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many events from the oldest on, 1 to 100; `first` or `last` is required.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only events after this cursor, which an event or `streamCursor` gave.")] after: Option<
            String,
        >,
        #[graphql(desc = "How many events up to the newest, 1 to 100. Give `first` or `last`, not both.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only events before this cursor, which an event or `streamCursor` gave.")] before: Option<
            String,
        >,
    ) -> Result<Option<EventConnection>> {
        let refused = |message: &str| ErrorCode::BadUserInput.error(message);
        let (size, backward) = match (first, last) {
            (Some(size), None) => (size, false),
            (None, Some(size)) => (size, true),
            _ => return Err(refused("Give first or last, 1 to 100, and not both.")),
        };
        let size = u8::try_from(size).ok().filter(|size| (1..=MAX_PAGE).contains(size));
        let size = size.ok_or_else(|| refused("first and last must be between 1 and 100."))?;
        let hub = ctx.get::<Hub>();
        let log = hub.log();
        // Before the events are read: up to here this page has looked.
        let head = log.head().await?;
        // By the log alone: what the ring still has of forgotten events cannot be read here.
        let after = match &after {
            Some(cursor) => log.resume_point("after", cursor).await.map_err(refused_cursor)?,
            None => 0,
        };
        let before = match &before {
            Some(cursor) => log.resume_point("before", cursor).await.map_err(refused_cursor)?,
            None => head.position + 1,
        };
        let actor = ctx.actor();
        let listener = Listener { user: actor.user(), admin: actor.is_admin() };
        let mut events = log.heard_by(listener, (after, before), u32::from(size) + 1, backward).await?;
        let more = events.len() > usize::from(size);
        if more {
            // The one read beyond the page, at its far end.
            let far = if backward { 0 } else { events.len() - 1 };
            events.remove(far);
        }
        let place = |event: &events::Event| Point { position: event.position, mark: Mark::of(event.recorded.id) };
        let begins = events.first().map(place);
        let ends = match events.last() {
            Some(event) => place(event),
            None if before > head.position && after <= head.position => head,
            // Between two cursors there was nothing: that is what has been read, and the log knows what stands at its end.
            None => {
                let position = (before - 1).max(after);
                Point { position, mark: log.stands_at(position).await?.unwrap_or(Mark::NONE) }
            }
        };
        let mut edges = Vec::with_capacity(events.len());
        for event in events {
            let delivery = Arc::new(Delivery::new(event, log.identity()));
            let cursor = delivery.cursor();
            if let Some(node) = Event::heard(&actor, delivery)? {
                edges.push(EventEdge { cursor, node });
            }
        }
        let (has_previous, has_next) = if backward { (more, before <= head.position) } else { (after > 0, more) };
        let page_info = PageInfo {
            has_next_page: has_next,
            has_previous_page: has_previous,
            start_cursor: begins.map(|begins| log.cursor_at(begins)),
            end_cursor: Some(log.cursor_at(ends)),
        };
        Ok(Some(EventConnection { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }))
    }

    /// Where the event stream stood when this request began. Read it with a list, pass it as `after`: no gap, no race.
    /// Cursors of events, of pings, of answers to mutations and this one compare as strings: the greater one is the
    /// later one.
    async fn stream_cursor(&self, ctx: &Context<'_>) -> Option<String> {
        ctx.scope().stream_cursor().map(ToOwned::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domains::KINDS;

    #[test]
    fn every_kind_for_clients_has_a_type_and_no_other_has() {
        for kind in KINDS.iter() {
            assert_eq!(EventType::of(kind).is_some(), !kind.is_internal(), "{kind:?}");
        }
    }
}
