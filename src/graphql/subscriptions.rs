//! How a subscription's root field answers: with a stream, through one helper.
//!
//! A resolver says to [`events`] which events it means ([`Interest`]), from where on (`after`) and how one becomes an
//! object of the API, and returns the stream that it gets. Where the events come from is decided by the [`Source`] in the
//! context of the execution, of which resolvers know nothing:
//!
//! - Without any, for anybody's `Schema::execute_stream`, it is a [`Follower`](crate::realtime::Follower): a stream on
//!   its own behind a broadcast channel, which goes back to ring or log when it lags.
//! - [`Source::Group`]: one of our transports takes the viewer into the group that executes and encodes each event once.
//!   The stream of this execution is empty: the group's own executions bring the events.
//! - [`Source::One`]: such an execution of a group, whose stream is the one event. It has no arguments, so nothing is
//!   asked of them: the members were checked when they joined.
//!
//! A subscription that shows a state, and no events of the log, answers by [`states`]. Nobody shares it and nothing of it
//! can be resumed: under all transports it is a stream on its own ([`Source::Own`]).
//!
//! Called by the subscription roots of the domains; the sources are put in by `operations`.

use std::{future::Future, sync::Arc, time::Duration};

use async_graphql::{
    Context, Error, Result,
    futures_util::{
        StreamExt, future,
        stream::{self, BoxStream},
    },
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{context::ContextExt, errors::ErrorCode};
use crate::{
    auth::actor::Origin,
    events::ResumeError,
    realtime::{FeedEnd, Hub, Interest, Received},
};

/// What a subscription's root field has said: which events are meant, and from where on.
#[derive(Debug)]
pub struct Begun {
    /// The events.
    pub interest: Interest,
    /// The position after which they begin; what is published next, without one.
    pub after: Option<i64>,
}

/// A place that came beside the document. The subscription goes on from the later one of it and its own `after`.
#[derive(Clone, Debug)]
pub struct Resume {
    /// What it came in, for the error that refuses it.
    pub name: &'static str,
    /// The cursor; none where something else stood that is no text.
    pub cursor: Option<Arc<str>>,
}

/// Where the events of a subscription come from.
#[derive(Clone)]
pub enum Source {
    /// A group, which the executing transport takes the viewer into.
    Group(Beginning),
    /// This event and no other.
    One(Received),
    /// A stream on its own that counts and pays.
    Own(Metered),
}

/// Takes what a subscription's root field has said, for the one who joins the group. Clones share it.
#[derive(Clone, Default)]
pub struct Beginning {
    resume: Option<Resume>,
    begun: Arc<Mutex<Option<Begun>>>,
}

impl Beginning {
    /// One that goes on after the later one of this place and the document's own.
    pub fn resuming(resume: Option<Resume>) -> Self {
        Self { resume, begun: Arc::default() }
    }

    /// What the root field has said, once it has run.
    pub fn take(&self) -> Option<Begun> {
        self.begun.lock().take()
    }
}

/// A stream on its own whose viewer is charged for it. Clones share the notice of its beginning.
#[derive(Clone, Debug)]
pub struct Metered {
    /// What one execution costs, in millionths of a point.
    pub cost: u64,
    /// The place that came beside the document.
    pub resume: Option<Resume>,
    begun: Arc<Notify>,
}

impl Metered {
    /// One whose executions cost so many millionths of a point each.
    pub fn new(cost: u64, resume: Option<Resume>) -> Self {
        Self { cost, resume, begun: Arc::default() }
    }

    /// Completes once the root field has checked its arguments and the viewer, and the stream has its place. Cancel safe.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }
}

/// The stream of a subscription's root field: the events that `interest` asks for, from the one after the cursor `after`
/// on, or without one from what is published next, each made by `make` into what the field's type is.
///
/// `interest` also checks that the viewer may subscribe at all; who receives which of these events, and in which form, is
/// decided by each event's own audience. The stream ends with an error where what comes next is no longer kept
/// (`CURSOR_EXPIRED`) or cannot be paid for (`RATE_LIMITED`).
///
/// # Errors
///
/// Those of `interest`; `BAD_USER_INPUT` for what is no cursor of ours, `CURSOR_EXPIRED` for one that is too old or of
/// another log, `RATE_LIMITED` for one subscription too many.
pub(crate) async fn events<T: Send + 'static>(
    ctx: &Context<'_>,
    after: Option<String>,
    interest: impl Future<Output = Result<Interest>> + Send,
    make: fn(Received) -> Result<T>,
) -> Result<BoxStream<'static, Result<T>>> {
    let source = ctx.data_opt::<Source>();
    let resume = match source {
        Some(Source::One(received)) => return Ok(stream::once(future::ready(make(received.clone()))).boxed()),
        Some(Source::Group(Beginning { resume, .. }) | Source::Own(Metered { resume, .. })) => resume.as_ref(),
        None => None,
    };
    let interest = interest.await?;
    let beside = resume.map(|resume| match &resume.cursor {
        Some(cursor) => Ok((resume.name, &**cursor)),
        None => Err(refused_cursor(ResumeError::NotOurs(resume.name))),
    });
    let cursors: Vec<_> =
        after.as_deref().map(|cursor| ("after", cursor)).into_iter().chain(beside.transpose()?).collect();
    let hub = ctx.get::<Hub>();
    let after = hub.resume_point(&cursors).await.map_err(refused_cursor)?;
    let metered = match source {
        Some(Source::Group(beginning)) => {
            *beginning.begun.lock() = Some(Begun { interest, after });
            return Ok(stream::empty().boxed());
        }
        Some(Source::Own(metered)) => Some(metered),
        Some(Source::One(_)) | None => None,
    };
    let viewer = Origin { actor: ctx.actor(), address: ctx.address() };
    let follower = hub.follow(interest, after, viewer, metered.map(|metered| metered.cost));
    let follower = follower.map_err(|too_much| ErrorCode::RateLimited.error(too_much.to_string()))?;
    if let Some(metered) = metered {
        metered.begun.notify_one();
    }
    Ok(follower.into_stream().map(move |event| make(event.map_err(ended)?)).boxed())
}

/// The stream of a subscription's root field that shows a state and how it changes. Its resolver has checked the viewer, and
/// paces the stream: each of its items is executed for this subscriber alone and paid for by them.
///
/// # Errors
///
/// None; the result is of the same shape as that of [`events`].
pub(crate) async fn states<T: Send + 'static>(
    ctx: &Context<'_>,
    states: BoxStream<'static, Result<T>>,
) -> Result<BoxStream<'static, Result<T>>> {
    let metered = match ctx.data_opt::<Source>() {
        Some(Source::Own(metered)) => metered.clone(),
        None => return Ok(states),
        // No group has such a subscription: what is not begun is refused.
        Some(Source::Group(_) | Source::One(_)) => return Ok(stream::empty().boxed()),
    };
    metered.begun.notify_one();
    let (hub, viewer) = (ctx.get::<Hub>().clone(), Origin { actor: ctx.actor(), address: ctx.address() });
    let paid = stream::unfold((states, true), move |(mut states, first)| {
        let (hub, cost) = (hub.clone(), metered.cost);
        async move {
            let state = states.next().await?;
            // The first is in the price of the subscription.
            if !first && let Some(wait) = hub.charge(&viewer, cost) {
                tokio::time::sleep(wait).await;
            }
            Some((state, (states, false)))
        }
    });
    Ok(paid.boxed())
}

/// A cursor that a client sent back and that is no place to go on from.
pub(crate) fn refused_cursor(error: ResumeError) -> Error {
    match error {
        ResumeError::Expired => ErrorCode::CursorExpired.error(error.to_string()),
        ResumeError::NotOurs(_) => ErrorCode::BadUserInput.error(error.to_string()),
        ResumeError::InternalError(error) => error.into(),
    }
}

/// Why a stream on its own ends, as its last result.
fn ended(end: FeedEnd) -> Error {
    match end {
        FeedEnd::Expired => ErrorCode::CursorExpired.error(
            "What comes next is no longer kept. Read the list anew, with streamCursor, and subscribe from there.",
        ),
        FeedEnd::Unpaid(retry_after) => {
            let mut error = ErrorCode::RateLimited.error(FeedEnd::unpaid(retry_after));
            let millis = u64::try_from(retry_after.max(Duration::from_millis(1)).as_millis()).unwrap_or(u64::MAX);
            error.extensions.get_or_insert_default().set("retryAfterMs", millis);
            error
        }
        FeedEnd::Gone | FeedEnd::TooLarge => ErrorCode::Unavailable.error("The stream has ended. Subscribe again."),
    }
}
