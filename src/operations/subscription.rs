//! An admitted subscription, from its root field to its place in a group or its own stream.
//!
//! [`Operations::join`] is for our own transports: the root field checks the viewer and says what is meant, and the
//! viewer joins the group that executes and encodes each event once; a subscription that shows a state, and not events of
//! the log, becomes a stream of its own there, too. [`Operations::stream`] is for anybody's: the
//! schema's own stream of responses, executed for this subscription alone, under the same limits.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Response, ServerError};
use futures_util::{
    FutureExt, StreamExt,
    future::{self, BoxFuture, pending},
    stream::{self, BoxStream},
};

use super::{
    Operations, PreparedOperation, Requester,
    event_execution::{EventExecution, event_cost, is_out_of_reach},
    execution::too_many,
    sharing::sharing_key,
};
use crate::{
    error::InternalError,
    graphql::{
        classify::classify,
        errors::ErrorCode,
        limits::failure,
        loader::Batches,
        subscriptions::{Beginning, Begun, Metered, Resume, Source},
    },
    realtime::{Feed, Outlet},
    schema::shows_state,
};

type Panic = Box<dyn Any + Send>;
type Responses = BoxStream<'static, Result<Response, Panic>>;

impl Operations {
    /// Takes a subscription to the hub: its root field runs once now, to check the viewer and to say what is meant.
    /// Each event is then executed for all who select the same together. It begins after the later one of
    /// `resume` and the document's own cursor.
    pub(crate) async fn join(
        &self,
        ready: Box<PreparedOperation>,
        resume: Option<Resume>,
        request_id: &str,
        outlet: Arc<dyn Outlet>,
    ) -> Result<Joined, Box<SubscriptionRefusal>> {
        if shows_state(&ready.prepared.root_fields) {
            // The transport itself ends what its viewer may see no more.
            let states = self.clone().open(ready, None, pending().boxed(), request_id.to_owned()).await?;
            return Ok(Joined::States(states));
        }
        let Begun { interest, after } = self.begin(&ready, resume, request_id).await?;
        // Counted once it has begun: a document that was refused has any field names it likes, and they must not become labels.
        let field = ready.field();
        let (key, viewer) = (sharing_key(&ready.prepared), ready.origin);
        let execution = EventExecution::new(self.clone(), &ready);
        let feed =
            self.shared.services.hub.join(key, interest, execution, after, viewer, outlet).map_err(|too_much| {
                let refused = failure(ErrorCode::RateLimited, too_much.to_string(), None);
                Box::new(SubscriptionRefusal { response: Response::from_errors(vec![refused]), unavailable: false })
            })?;
        Ok(Joined::Events(Box::new(feed), Listening::begin(field)))
    }

    /// Has the root field check its arguments and the viewer, in the time that any operation has.
    async fn begin(
        &self,
        ready: &PreparedOperation,
        resume: Option<Resume>,
        request_id: &str,
    ) -> Result<Begun, Box<SubscriptionRefusal>> {
        let beginning = Beginning::resuming(resume);
        let (mut responses, batches) = self.responses(ready, Source::Group(beginning.clone()));
        let first = self.in_time(ready, batches.drive(responses.next())).await?;
        match (first, beginning.take()) {
            (None, Some(begun)) => Ok(begun),
            (first, _) => Err(Box::new(refusal(first, request_id))),
        }
    }

    /// The schema's own stream of responses, for a transport that is not ours: each event is executed for this subscription
    /// alone, and charged to its viewer. It begins after the later one of `resume` and the document's own cursor.
    ///
    /// It ends with a response of errors alone where the subscription is refused, where its viewer may listen no more
    /// (`requester`), and where the database is out of reach: then the client goes on after its last cursor.
    pub(crate) fn stream(
        &self,
        ready: Box<PreparedOperation>,
        resume: Option<Resume>,
        requester: &Requester,
        request_id: String,
    ) -> BoxStream<'static, Response> {
        let (operations, forbidden) = (self.clone(), requester.forbidden(&self.shared.clock));
        let opened = async move {
            let opened = operations.open(ready, resume, forbidden, request_id).await;
            opened.unwrap_or_else(|refused| stream::once(future::ready(refused.response)).boxed())
        };
        stream::once(opened).flatten().boxed()
    }

    async fn open(
        self,
        ready: Box<PreparedOperation>,
        resume: Option<Resume>,
        forbidden: BoxFuture<'static, ErrorCode>,
        request_id: String,
    ) -> Result<BoxStream<'static, Response>, Box<SubscriptionRefusal>> {
        let metered = Metered::new(event_cost(ready.prepared.cost), resume);
        let (mut responses, batches) = self.responses(&ready, Source::Own(metered.clone()));
        // A state comes at once: its loads would be lost with what drives them.
        let comes_at_once = shows_state(&ready.prepared.root_fields);
        let first = self.in_time(&ready, async {
            tokio::select! {
                response = batches.clone().drive(responses.next()) => Some(response),
                () = metered.begun(), if !comes_at_once => None,
            }
        });
        let first = first.await?;
        // An event may come in the very moment of the beginning.
        let first = match first {
            Some(refused) if metered.begun().now_or_never().is_none() => {
                return Err(Box::new(refusal(refused, &request_id)));
            }
            first => first.flatten(),
        };
        let own =
            Own { responses, batches, forbidden, request_id, over: false, _listening: Listening::begin(ready.field()) };
        let own = stream::unfold((own, first), async |(mut own, first)| {
            let response = own.next(first).await?;
            Some((response, (own, None)))
        });
        Ok(own.boxed())
    }

    /// The responses of the schema that knows how to tell what failed, and what drives their loaders.
    fn responses(&self, ready: &PreparedOperation, source: Source) -> (Responses, Batches) {
        let (request, batches) = self.request(ready);
        let request = request.data(Arc::new(self.scope(ready))).data(source);
        (AssertUnwindSafe(self.shared.schema.execute_stream(request)).catch_unwind().boxed(), batches)
    }

    /// What a subscription does to begin, in its caller's share of the database and in the time that any operation has.
    async fn in_time<F: Future>(
        &self,
        ready: &PreparedOperation,
        beginning: F,
    ) -> Result<F::Output, Box<SubscriptionRefusal>> {
        let Some(member) = self.shared.shares.enter_always(ready.payer.shared_caller()) else {
            let response = Response::from_errors(vec![too_many()]);
            return Err(Box::new(SubscriptionRefusal { response, unavailable: false }));
        };
        let beginning = tokio::time::timeout(self.shared.timeout, member.run(beginning)).await;
        beginning.map_err(|_| Box::new(not_now()))
    }
}

/// What a subscription of one of our own transports has become.
pub(crate) enum Joined {
    /// A member of a group.
    Events(Box<Feed>, Listening),
    /// A stream of its own, of states that each take the place of the one before.
    States(BoxStream<'static, Response>),
}

/// A subscription that is executed for itself.
struct Own {
    responses: Responses,
    batches: Batches,
    forbidden: BoxFuture<'static, ErrorCode>,
    request_id: String,
    over: bool,
    _listening: Listening,
}

impl Own {
    /// The next response, `first` before all others; none at the end.
    async fn next(&mut self, first: Option<Result<Response, Panic>>) -> Option<Response> {
        if self.over {
            return None;
        }
        let response = if let Some(first) = first {
            Some(first)
        } else {
            tokio::select! {
                // First, so that a busy stream is not kept open.
                biased;
                code = &mut self.forbidden => {
                    self.over = true;
                    return Some(Response::from_errors(vec![no_more(code)]));
                }
                response = self.batches.clone().drive(self.responses.next()) => response,
            }
        };
        let Ok(mut response) = response? else {
            self.over = true;
            let message = "an event was not executed";
            let mut response = Response::from_errors(vec![failure(ErrorCode::InternalServerError, message, None)]);
            classify(&mut response, &self.request_id);
            return Some(response);
        };
        if response.errors.iter().any(is_out_of_reach) {
            self.over = true;
            return Some(not_now().response);
        }
        classify(&mut response, &self.request_id);
        Some(response)
    }
}

/// What the root field gave in place of a beginning.
fn refusal(first: Option<Result<Response, Panic>>, request_id: &str) -> SubscriptionRefusal {
    let Some(Ok(mut response)) = first else {
        let message = "a subscription did not begin";
        let mut response = Response::from_errors(vec![failure(ErrorCode::InternalServerError, message, None)]);
        classify(&mut response, request_id);
        return SubscriptionRefusal { response, unavailable: false };
    };
    let faults = || response.errors.iter().filter_map(|error| error.source::<InternalError>());
    if let Some(error) = faults().find(|error| error.is_out_of_reach()) {
        tracing::warn!(request.id = request_id, error = %error, "a subscription cannot begin now");
        return not_now();
    }
    let unavailable = faults().next().is_some();
    classify(&mut response, request_id);
    SubscriptionRefusal { response, unavailable }
}

/// Why a viewer may listen no more.
fn no_more(code: ErrorCode) -> ServerError {
    let message = match code {
        ErrorCode::TokenExpired => "The access token has expired. Come back with a new one from refreshSession.",
        _ => "The session has ended or its rights have changed. Come back with a good token.",
    };
    failure(code, message, None)
}

/// Why a subscription did not begin.
pub(crate) struct SubscriptionRefusal {
    pub(crate) response: Response,
    /// The database could not be asked: trying again later may help.
    pub(crate) unavailable: bool,
}

/// Counts a subscription for as long as it lives.
pub(crate) struct Listening(metrics::Gauge);

impl Listening {
    fn begin(field: String) -> Self {
        let gauge = metrics::gauge!("lancewire_subscriptions", "field" => field);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The refusal of a subscription that could not be looked at in time.
fn not_now() -> SubscriptionRefusal {
    let message = "The database cannot be asked right now. Nothing has begun: subscribe again, in a moment.";
    let response = Response::from_errors(vec![failure(ErrorCode::Unavailable, message, None)]);
    SubscriptionRefusal { response, unavailable: true }
}
