//! Operations as `async_graphql::Executor`: what any GraphQL server for async-graphql takes in place of a schema.
//!
//! [`Operations::executor`] gives one for one requester, with everything that stands in front of the schema: tokens and
//! the ends of sessions, budgets, limits of depth and cost, shares of the database, time limits, codes of errors. A
//! server finds out who asks ([`Operations::requester`]), makes an executor of it for a request, or for a socket whose
//! `connection_init` may put another [`Requester`] into the session's data.
//!
//! What stays with the server: sizes of bodies and messages, origins of pages, counts of connections, and not to run
//! mutations that come by GET.

use std::{any::TypeId, future::pending, net::IpAddr, sync::Arc};

use async_graphql::{BatchRequest, BatchResponse, Data, Executor, Request, Response, parser::types::OperationType};
use futures_util::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use serde_json::Map;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Admission, Document, Operations, PreparedOperation};
use crate::{
    auth::{
        actor::{Actor, Origin},
        authorization::Authorization,
        revocations::Watch,
        sessions::Unauthenticated,
    },
    clock::Clock,
    graphql::{classify::classify, errors::ErrorCode, language::SentVariables, limits::failure},
};

/// Who asks, and for how long that is known. Clones share the watch over the session.
#[derive(Clone, Debug)]
pub struct Requester {
    origin: Origin,
    /// None for anonymous ones. Must live as long as anything that runs for them.
    watch: Option<Arc<Watch>>,
}

impl Requester {
    pub(crate) fn new(origin: Origin, watch: Option<Watch>) -> Self {
        Self { origin, watch: watch.map(Arc::new) }
    }

    /// Somebody without a token, at this address: budgets of anonymous viewers are those of their addresses.
    pub fn anonymous(address: IpAddr) -> Self {
        Self::new(Origin { actor: Actor::Anonymous, address }, None)
    }

    /// On whose behalf operations run.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Completes when the requester may listen no more: `TOKEN_EXPIRED`, or `UNAUTHENTICATED` for a session that has ended.
    /// Holds the watch over the session.
    pub(crate) fn forbidden(&self, clock: &Clock) -> BoxFuture<'static, ErrorCode> {
        let (watch, clock) = (self.watch.clone(), clock.clone());
        let expires_at = match self.origin.actor {
            Actor::User(principal) => Some(principal.expires_at),
            Actor::Anonymous | Actor::System => None,
        };
        async move {
            let revoked = async {
                match &watch {
                    Some(watch) => watch.ended().cancelled_owned().await,
                    None => pending().await,
                }
            };
            let expired = async {
                match expires_at {
                    Some(at) => clock.sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = revoked => ErrorCode::Unauthenticated,
                () = expired => ErrorCode::TokenExpired,
            }
        }
        .boxed()
    }
}

/// Runs the operations of one requester. Clones share the limit on how many run at a time.
#[derive(Clone)]
pub struct OperationExecutor {
    operations: Operations,
    requester: Requester,
    running: Arc<Semaphore>,
}

impl Operations {
    /// An executor of the operations of `requester`, of which at most so many run at a time, subscriptions included.
    pub fn executor(&self, requester: Requester, operations: u32) -> OperationExecutor {
        let running = usize::try_from(operations).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        OperationExecutor { operations: self.clone(), requester, running: Arc::new(Semaphore::new(running)) }
    }

    /// Whom the value of an `Authorization` stands for, as a request has it or the payload of `connection_init`; an anonymous
    /// requester without one.
    ///
    /// # Errors
    ///
    /// The token is expired or no good, or cannot be looked at now.
    pub async fn requester(&self, authorization: Option<&str>, address: IpAddr) -> Result<Requester, Unauthenticated> {
        let authorization = authorization.map_or(Authorization::Empty, Authorization::of);
        let (actor, watch) = self.authenticate_and_watch(self.bearer(authorization)?).await?;
        Ok(Requester::new(Origin { actor, address }, watch))
    }
}

impl OperationExecutor {
    /// Reads an operation and charges for it, or says why it does not run.
    fn admit(
        &self,
        requester: &Requester,
        request: &Request,
        request_id: &str,
    ) -> Result<Box<PreparedOperation>, Box<Response>> {
        let document = Document {
            query: request.query.clone(),
            operation_name: request.operation_name.clone().filter(|name| !name.is_empty()),
            variables: sent(request),
        };
        let Ok(admitted) = self.operations.admit(requester.origin, document, |_| Ok::<_, std::convert::Infallible>(()));
        match admitted {
            Admission::Ready(ready) => Ok(ready),
            Admission::Refused(mut response, _) => {
                classify(&mut response, request_id);
                Err(response)
            }
        }
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Box<Response>> {
        Arc::clone(&self.running).try_acquire_owned().map_err(|_| {
            let message = "Too many operations of this connection run. Complete one of them first.";
            Box::new(Response::from_errors(vec![failure(ErrorCode::RateLimited, message, None)]))
        })
    }
}

impl Executor for OperationExecutor {
    async fn execute(&self, request: Request) -> Response {
        let _permit = match self.permit() {
            Ok(permit) => permit,
            Err(refused) => return *refused,
        };
        let request_id = self.operations.request_id();
        match self.admit(&self.requester, &request, &request_id) {
            Ok(ready) if ready.kind == OperationType::Subscription => {
                let message = "Subscriptions give many answers and this request has room for one. Open a WebSocket with the \
                               subprotocol graphql-transport-ws.";
                Response::from_errors(vec![failure(ErrorCode::BadRequest, message, None)])
            }
            Ok(ready) => self.operations.run(ready, &request_id).await.0,
            Err(refused) => *refused,
        }
    }

    async fn execute_batch(&self, batch: BatchRequest) -> BatchResponse {
        match batch {
            BatchRequest::Single(request) => self.execute(request).await.into(),
            BatchRequest::Batch(_) => {
                let message = "Batches are not served. Send each operation in a request of its own.";
                Response::from_errors(vec![failure(ErrorCode::BadRequest, message, None)]).into()
            }
        }
    }

    fn execute_stream(&self, request: Request, session: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        let permit = match self.permit() {
            Ok(permit) => permit,
            Err(refused) => return stream::once(future::ready(*refused)).boxed(),
        };
        let executor = self.clone();
        let of_session = session.as_ref().and_then(|data| data.get(&TypeId::of::<Requester>()));
        let requester = of_session.and_then(|requester| requester.downcast_ref()).unwrap_or(&self.requester).clone();
        let responses = async move {
            let request_id = executor.operations.request_id();
            match executor.admit(&requester, &request, &request_id) {
                Ok(ready) if ready.kind == OperationType::Subscription => {
                    executor.operations.stream(ready, None, &requester, request_id)
                }
                Ok(ready) => {
                    let (response, _) = executor.operations.run(ready, &request_id).await;
                    stream::once(future::ready(response)).boxed()
                }
                Err(refused) => stream::once(future::ready(*refused)).boxed(),
            }
        };
        let responses = stream::once(responses).flatten().boxed();
        // Until its end it counts.
        let counted = stream::unfold((responses, permit), async |(mut responses, permit)| {
            let response = responses.next().await?;
            Some((response, (responses, permit)))
        });
        counted.boxed()
    }
}

/// The values of a request's variables, as operations read them.
fn sent(request: &Request) -> SentVariables {
    let values = request.variables.iter();
    let values = values.filter_map(|(name, value)| Some((name.to_string(), value.clone().into_json().ok()?)));
    SentVariables::new(&values.collect::<Map<_, _>>())
}
