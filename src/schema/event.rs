//! The event stream: the interface over the events of all domains, resuming from a cursor, and `events`.
//!
//! A subscription and `events` show the same stream: the same snapshots, the same filter by audience, the same cursors.
//! Who was entitled when an event happened decides which events one gets; today's rights decide the private fields.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{
    Context, Error, ID, Interface, Object, Result, SimpleObject,
    futures_util::{
        StreamExt, future,
        stream::{self, BoxStream},
    },
};

use crate::{
    auth::actor::Actor,
    claims::{events::CLAIM_UPDATED, subscription::ClaimUpdatedEvent},
    events::{self, Hearing, Listener, Mark, Point, ResumeError},
    graphql::{
        connections::{MAX_PAGE, PageInfo},
        context::ContextExt,
        errors::ErrorCode,
        scalars::DateTime,
    },
    jobs::{
        events::{DRAFT_UPDATED, JOB_POSTED, JOB_UPDATED},
        subscription::{JobPostedEvent, JobUpdatedEvent},
    },
    notifications::{events::NOTIFICATION_RECEIVED, graphql::NotificationReceivedEvent},
    realtime::{Delivery, Hub, Interest},
    wallet::{events::WALLET_UPDATED, graphql::WalletUpdatedEvent},
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
    WalletUpdated(WalletUpdatedEvent),
    NotificationReceived(NotificationReceivedEvent),
}

impl Event {
    /// What the viewer hears of an event that they were entitled to, if anything.
    fn heard(actor: &Actor, delivery: Arc<Delivery>) -> Result<Option<Self>> {
        Ok(match delivery.kind() {
            JOB_POSTED => Some(Self::JobPosted(JobPostedEvent::of(delivery)?)),
            JOB_UPDATED | DRAFT_UPDATED => JobUpdatedEvent::heard(actor, delivery)?.map(Self::JobUpdated),
            CLAIM_UPDATED => Some(Self::ClaimUpdated(ClaimUpdatedEvent::of(delivery)?)),
            WALLET_UPDATED => Some(Self::WalletUpdated(WalletUpdatedEvent::of(delivery)?)),
            NOTIFICATION_RECEIVED => Some(Self::NotificationReceived(NotificationReceivedEvent::of(delivery)?)),
            _ => None,
        })
    }
}

/// What a subscription's root field has said: which events are meant, and from where on.
#[derive(Debug)]
pub struct Begun {
    /// The events.
    pub interest: Interest,
    /// The position after which they begin; what is published next, without one.
    pub after: Option<i64>,
}

/// Takes what a subscription's root field has to say.
///
/// A root field runs in two ways. When a subscription begins it finds a `Beginning` in the context: it checks its
/// arguments and the viewer, leaves what will be heard here, and yields nothing. For each event it then runs again with
/// a [`Pinned`] event and yields that. So an event is executed once for all who hear the same, and each listener is
/// checked all the same.
#[derive(Clone, Default)]
pub struct Beginning {
    resume: Option<Resume>,
    begun: Arc<Mutex<Option<Begun>>>,
}

/// A place that came beside the document. The subscription goes on from the later one of it and its own `after`.
#[derive(Clone, Debug)]
pub struct Resume {
    /// What it came in, for the error that refuses it.
    pub name: &'static str,
    /// The cursor; none where something else stood that is no text.
    pub cursor: Option<Arc<str>>,
}

impl Beginning {
    /// One that goes on after the later one of this place and the document's own.
    pub fn resuming(resume: Option<Resume>) -> Self {
        Self { resume, begun: Arc::default() }
    }

    /// What will be heard, once the root field has run.
    pub fn take(&self) -> Option<Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The one event that a root field is to yield, and as whom it is heard.
#[derive(Clone, Debug)]
pub struct Pinned(pub Arc<Delivery>, pub Hearing);

/// The event that this execution is about, if it is about one.
pub(crate) fn pinned(ctx: &Context<'_>) -> Option<Pinned> {
    ctx.data_opt::<Pinned>().cloned()
}

/// The one event of an execution that is about one.
pub(crate) fn only<T: Send + 'static>(event: Result<T>) -> BoxStream<'static, Result<T>> {
    stream::once(future::ready(event)).boxed()
}

/// Begins to listen, after a cursor if there is one. Who hears which of these events, and as whom, is the event's own
/// matter; the root field has checked that the viewer may listen at all.
pub(crate) async fn listen<T: Send + 'static>(
    ctx: &Context<'_>,
    interest: Interest,
    after: Option<&str>,
) -> Result<BoxStream<'static, Result<T>>> {
    let hub = ctx.get::<Hub>();
    let beginning = ctx.get::<Beginning>();
    let outside = beginning.resume.as_ref().map(|resume| match &resume.cursor {
        Some(cursor) => Ok((resume.name, &**cursor)),
        None => Err(refused_cursor(ResumeError::NotOurs(resume.name))),
    });
    let cursors: Vec<_> = after.map(|cursor| ("after", cursor)).into_iter().chain(outside.transpose()?).collect();
    let after = hub.resume_point(&cursors).await.map_err(refused_cursor)?;
    *beginning.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Begun { interest, after });
    Ok(stream::empty().boxed())
}

fn refused_cursor(error: ResumeError) -> Error {
    match error {
        ResumeError::Expired => ErrorCode::CursorExpired.error(error.to_string()),
        ResumeError::NotOurs(_) => ErrorCode::BadUserInput.error(error.to_string()),
        ResumeError::Fault(fault) => fault.into(),
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
