//! Runs operations, whatever transport they came by.
//!
//! The one path from a document to its answer: weigh it (`graphql::document`), charge the caller (`graphql::budget`),
//! give it a scope and loaders, execute it within the time limit with panics caught, and give every error its code.
//! Called by the HTTP handler and, through [`SocketBackend`], by the sockets.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_graphql::{Response, Variables, parser::types::OperationType};
use futures_util::{FutureExt, StreamExt, future, stream};
use tokio_util::sync::CancellationToken;

use super::websocket::{Identity, Operation, OperationKind, Outcome, Refused, SocketBackend, SubscribePayload};
use crate::{
    auth::{
        actor::Actor,
        revocations::Watch,
        sessions::{Sessions, Unauthenticated},
    },
    clock::Clock,
    error::Fault,
    graphql::{
        budget::{Budget, Budgets, Caller},
        classify::{classify, is_request_error},
        context::Scope,
        document::{Prepared, prepare},
        errors::ErrorCode,
        limits::{Limits, failure},
        loader::Batches,
    },
    ids::{Ids, RequestId},
    realtime::{Delivery, Encoding, SharingKey},
    schema::{
        SINGLE_MUTATIONS, Schema, Services,
        event::{Beginning, Heard, Hearing, Pinned},
    },
};

/// What it takes to run an operation. Clones share everything.
#[derive(Clone)]
pub struct Operations {
    shared: Arc<Shared>,
}

struct Shared {
    schema: Schema,
    services: Services,
    sessions: Sessions,
    limits: Limits,
    budgets: Arc<Budgets>,
    timeout: Duration,
    clock: Clock,
    ids: Ids,
}

/// The parts of [`Operations`].
#[derive(Debug)]
pub struct Parts {
    /// What resolvers ask for.
    pub services: Services,
    /// Who tokens stand for.
    pub sessions: Sessions,
    /// What an operation may hold.
    pub limits: Limits,
    /// What a caller may spend.
    pub budgets: Arc<Budgets>,
    /// How long a query or mutation may run.
    pub timeout: Duration,
    /// Time.
    pub clock: Clock,
    /// For the ids of requests.
    pub ids: Ids,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// On whose behalf.
    pub actor: Actor,
    /// From where.
    pub address: IpAddr,
}

impl Origin {
    fn caller(&self) -> Caller {
        self.actor.user().map_or(Caller::Address(self.address), Caller::User)
    }
}

/// A document and its variables.
#[derive(Clone, Debug)]
pub struct Document {
    /// The text.
    pub query: String,
    /// Which operation of it.
    pub operation_name: Option<String>,
    /// Values.
    pub variables: Variables,
}

/// An operation that was read and paid for, or the answer that says why not.
pub enum Admitted {
    /// It may run.
    Ready(Box<Ready>),
    /// It may not.
    Refused(Box<Response>, Option<Budget>),
}

/// An operation that may run.
pub struct Ready {
    origin: Origin,
    prepared: Prepared,
    query: String,
    variables: Variables,
    /// Query, mutation or subscription.
    pub kind: OperationType,
    /// What is left of the budget.
    pub budget: Budget,
}

impl Ready {
    /// The first root field, for metrics.
    fn field(&self) -> String {
        self.prepared.root_fields.first().cloned().unwrap_or_default()
    }
}

impl Operations {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { services, sessions, limits, budgets, timeout, clock, ids } = parts;
        let schema = services.schema();
        Self { shared: Arc::new(Shared { schema, services, sessions, limits, budgets, timeout, clock, ids }) }
    }

    /// A new id for a request or an operation.
    pub fn request_id(&self) -> String {
        self.shared.ids.next::<RequestId>().to_string()
    }

    /// Whom the value of an `Authorization` header stands for; nobody without one.
    pub async fn authenticate(&self, authorization: Option<&[u8]>) -> Result<Actor, Unauthenticated> {
        let Some(value) = authorization else { return Ok(Actor::Anonymous) };
        let token = std::str::from_utf8(value).ok().and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or(Unauthenticated::Invalid)?;
        self.shared.sessions.authenticate(token.trim()).await.map(Actor::User)
    }

    /// Reads an operation and charges for it. `may_run` is the transport's word on its kind.
    pub fn admit<E>(
        &self,
        origin: Origin,
        document: Document,
        may_run: impl FnOnce(OperationType) -> Result<(), E>,
    ) -> Result<Admitted, E> {
        let shared = &self.shared;
        let Document { query, operation_name, variables } = document;
        let prepared = prepare(&query, operation_name.as_deref(), &variables, &shared.limits, SINGLE_MUTATIONS);
        if let Ok(prepared) = &prepared {
            may_run(prepared.operation)?;
        }
        // An operation that cannot run has been read all the same: it costs a point.
        let cost = prepared.as_ref().map_or(1, |prepared| prepared.cost);
        let budget = shared.budgets.spend(origin.caller(), cost);
        Ok(match (prepared, budget) {
            (_, Err(refused)) => {
                metrics::counter!("lancewire_operations_rejected_total", "reason" => "budget").increment(1);
                Admitted::Refused(Box::new(Response::from_errors(vec![refused.error()])), refused.budget())
            }
            (Err(errors), Ok(budget)) => {
                metrics::counter!("lancewire_operations_rejected_total", "reason" => "document").increment(1);
                Admitted::Refused(Box::new(Response::from_errors(errors)), Some(budget))
            }
            (Ok(prepared), Ok(budget)) => {
                let kind = prepared.operation;
                Admitted::Ready(Box::new(Ready { origin, prepared, query, variables, kind, budget }))
            }
        })
    }

    fn scope(&self, ready: &Ready) -> Scope {
        Scope::new(ready.origin.actor, ready.origin.address, ready.budget, &self.shared.clock)
    }

    /// Runs a query or a mutation to its answer.
    pub async fn run(&self, ready: Box<Ready>, request_id: &str) -> Response {
        let began = tokio::time::Instant::now();
        let (kind, field, scope) = (ready.kind, ready.field(), self.scope(&ready));
        let asks_cursor = ready.prepared.root_fields.iter().any(|field| field == "streamCursor");
        let request = ready.prepared.into_request(ready.query, ready.variables);
        let (request, batches) = self.shared.services.load_for(request);
        let execution = AssertUnwindSafe(async {
            // Before any resolver reads: what the list beside the cursor does not show comes after it in the stream.
            let cursor = if asks_cursor { Some(self.stream_cursor().await?) } else { None };
            let request = request.data(Arc::new(scope.at(cursor)));
            Ok::<_, Fault>(batches.drive(self.shared.schema.execute(request)).await)
        });
        let execution = execution.catch_unwind();
        let mut response = match tokio::time::timeout(self.shared.timeout, execution).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(fault))) => {
                Response::from_errors(vec![failure(ErrorCode::InternalServerError, fault.to_string(), None)])
            }
            // The panic hook has logged where; the rest of the answer is lost with the stack.
            Ok(Err(_)) => {
                Response::from_errors(vec![failure(ErrorCode::InternalServerError, "a resolver panicked", None)])
            }
            Err(_) => {
                let seconds = self.shared.timeout.as_secs_f32();
                let message = format!("The operation took longer than {seconds} s. Ask for less, or try again.");
                Response::from_errors(vec![failure(ErrorCode::Timeout, message, None)])
            }
        };
        classify(&mut response, request_id);
        // Only names that the schema knows become labels: a document that failed validation has any it likes.
        let field = if is_request_error(&response) { "-".to_owned() } else { field };
        let seconds = began.elapsed().as_secs_f64();
        metrics::histogram!("lancewire_operation_seconds", "kind" => kind_name(kind), "field" => field).record(seconds);
        response
    }

    async fn stream_cursor(&self) -> Result<String, Fault> {
        let log = self.shared.services.hub.log();
        Ok(log.cursor(log.stamp().await?))
    }

    /// Runs a subscription: each event's response as it comes, in JSON.
    ///
    /// The root field runs once now, to check the viewer and to say what will be heard. Each event is then executed once
    /// for all who hear it as everybody does, and once for each who hears it as their own.
    fn stream(&self, ready: Box<Ready>, request_id: String) -> stream::BoxStream<'static, Outcome> {
        let operations = self.clone();
        let outcomes = async_stream::stream! {
            let mut heard = match operations.begin(&ready, &request_id).await {
                Ok(heard) => heard,
                Err(refused) => {
                    yield outcome(*refused, true);
                    return;
                }
            };
            // Not before: a document that was refused has any field names it likes, and they must not become labels.
            let _listening = Listening::begin(ready.field());
            let key = sharing_key(&ready);
            while let Some(heard) = heard.next().await {
                match heard {
                    Ok((delivery, hearing)) => {
                        yield Outcome::Next(operations.encoded(&ready, key, delivery, hearing, &request_id).await);
                    }
                    Err(fault) => {
                        let error = failure(ErrorCode::InternalServerError, fault.to_string(), None);
                        let mut response = Response::from_errors(vec![error]);
                        classify(&mut response, &request_id);
                        yield outcome(response, true);
                        return;
                    }
                }
            }
        };
        outcomes.boxed()
    }

    /// Has the root field check its arguments and the viewer.
    async fn begin(&self, ready: &Ready, request_id: &str) -> Result<Heard, Box<Response>> {
        let beginning = Beginning::default();
        let (request, batches) = self.request(ready);
        let request = request.data(Arc::new(self.scope(ready))).data(beginning.clone());
        let mut responses = AssertUnwindSafe(self.shared.schema.execute_stream(request)).catch_unwind();
        let responses = batches.drive(responses.next()).await;
        let refused = match (responses, beginning.take()) {
            (None, Some(heard)) => return Ok(heard),
            (Some(Ok(response)), _) => response,
            (Some(Err(_)) | None, _) => Response::from_errors(vec![failure(
                ErrorCode::InternalServerError,
                "a subscription did not begin",
                None,
            )]),
        };
        let mut refused = Box::new(refused);
        classify(&mut refused, request_id);
        Err(refused)
    }

    /// The response to one event, out of the event's own encodings where it is the same for all.
    async fn encoded(
        &self,
        ready: &Ready,
        key: SharingKey,
        delivery: Arc<Delivery>,
        hearing: Hearing,
        request_id: &str,
    ) -> Arc<str> {
        if hearing == Hearing::Public {
            let shared = delivery.encoding(key, async || {
                let (response, private) = self.execute_one(ready, &delivery, hearing, request_id).await;
                // An error may be of this moment or of this viewer alone.
                if private || !response.errors.is_empty() { Encoding::Own } else { Encoding::Shared(next(response)) }
            });
            if let Encoding::Shared(response) = shared.await {
                metrics::counter!("lancewire_deliveries_total", "execution" => "shared").increment(1);
                return response;
            }
        }
        metrics::counter!("lancewire_deliveries_total", "execution" => "own").increment(1);
        next(self.execute_one(ready, &delivery, hearing, request_id).await.0)
    }

    /// Executes a subscription's document on one event, and says whether anything looked at the viewer.
    async fn execute_one(
        &self,
        ready: &Ready,
        delivery: &Arc<Delivery>,
        hearing: Hearing,
        request_id: &str,
    ) -> (Response, bool) {
        metrics::counter!("lancewire_executions_total").increment(1);
        let scope = Arc::new(self.scope(ready));
        let pinned = Pinned(Arc::clone(delivery), hearing);
        let (request, batches) = self.request(ready);
        let request = request.data(Arc::clone(&scope)).data(pinned);
        let mut responses = AssertUnwindSafe(self.shared.schema.execute_stream(request)).catch_unwind();
        let response = batches.drive(responses.next()).await;
        let mut response = response.and_then(Result::ok).unwrap_or_else(|| {
            Response::from_errors(vec![failure(ErrorCode::InternalServerError, "an event was not executed", None)])
        });
        classify(&mut response, request_id);
        (response, scope.is_private())
    }

    fn request(&self, ready: &Ready) -> (async_graphql::Request, Batches) {
        let request = ready.prepared.clone().into_request(ready.query.clone(), ready.variables.clone());
        self.shared.services.load_for(request)
    }
}

/// What two subscriptions must have in common to be answered alike: the document, the operation and the variables, but
/// for the one that says from where to resume.
fn sharing_key(ready: &Ready) -> SharingKey {
    let mut variables = ready.variables.clone();
    // Left out only where it can do nothing but that: declared once, used once, as the argument of that name.
    let only_resumes = |name: &str| {
        let used = ready.query.matches(&format!("${name}")).count() == 2;
        used && ready.query.replace(char::is_whitespace, "").contains(&format!("after:${name}"))
    };
    variables.retain(|name, _| !only_resumes(name));
    let variables = serde_json::to_string(&variables).unwrap_or_default();
    let name = ready.prepared.operation_name.as_deref().unwrap_or_default();
    SharingKey::new(&format!("{name}\u{0}{variables}\u{0}{}", ready.query))
}

/// Counts a subscription for as long as it lives.
struct Listening(metrics::Gauge);

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

const fn kind_name(kind: OperationType) -> &'static str {
    match kind {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// A response as a socket sends it.
fn outcome(mut response: Response, refused: bool) -> Outcome {
    if !refused {
        return Outcome::Next(next(response));
    }
    for error in &mut response.errors {
        error.locations.retain(|at| at.line > 0);
    }
    Outcome::Errors(json(&response.errors))
}

/// The payload of `next`.
fn next(mut response: Response) -> Arc<str> {
    for error in &mut response.errors {
        error.locations.retain(|at| at.line > 0);
    }
    json(&response)
}

fn json(value: &impl serde::Serialize) -> Arc<str> {
    // Values that are in memory as JSON can be written as JSON.
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned()).into()
}

/// Who is at the other end of a socket. The watch lives as long as anything that runs for them.
#[derive(Clone, Debug)]
pub struct SocketViewer {
    origin: Origin,
    _watch: Option<Arc<Watch>>,
}

impl SocketBackend for Operations {
    type Viewer = SocketViewer;

    async fn authenticate(&self, token: Option<&str>, address: IpAddr) -> Result<Identity<SocketViewer>, Refused> {
        let Some(token) = token else {
            let viewer = SocketViewer { origin: Origin { actor: Actor::Anonymous, address }, _watch: None };
            return Ok(Identity { viewer, user: None, expires_at: None, revoked: CancellationToken::new() });
        };
        match self.shared.sessions.authenticate_and_watch(token).await {
            Ok((principal, watch)) => {
                let revoked = watch.ended();
                let origin = Origin { actor: Actor::User(principal), address };
                let viewer = SocketViewer { origin, _watch: Some(Arc::new(watch)) };
                let (user, expires_at) = (Some(principal.user), Some(principal.expires_at));
                Ok(Identity { viewer, user, expires_at, revoked })
            }
            Err(Unauthenticated::Expired | Unauthenticated::Invalid) => Err(Refused::Forbidden),
            Err(Unauthenticated::Fault(fault)) => {
                tracing::error!(error = %fault, "a socket's token cannot be looked at");
                Err(Refused::Unavailable)
            }
        }
    }

    fn execute(&self, viewer: SocketViewer, payload: SubscribePayload) -> Operation {
        let request_id = self.request_id();
        let variables = payload.variables.unwrap_or_default();
        let variables = Variables::from_json(serde_json::Value::Object(variables));
        let document = Document { query: payload.query, operation_name: payload.operation_name, variables };
        let Ok(admitted) = self.admit(viewer.origin, document, |_| Ok::<_, std::convert::Infallible>(()));
        match admitted {
            Admitted::Refused(mut response, _) => {
                classify(&mut response, &request_id);
                let outcomes = stream::once(future::ready(outcome(*response, true))).boxed();
                Operation { kind: OperationKind::Query, outcomes }
            }
            Admitted::Ready(ready) if ready.kind == OperationType::Subscription => {
                let outcomes = self.stream(ready, request_id);
                // The viewer's watch must not end before what runs for them.
                let outcomes = outcomes.map(move |outcome| {
                    let _viewer = &viewer;
                    outcome
                });
                Operation { kind: OperationKind::Subscription, outcomes: outcomes.boxed() }
            }
            Admitted::Ready(ready) => {
                let kind = match ready.kind {
                    OperationType::Mutation => OperationKind::Mutation,
                    OperationType::Query | OperationType::Subscription => OperationKind::Query,
                };
                let operations = self.clone();
                let answer = async move {
                    let response = operations.run(ready, &request_id).await;
                    let refused = is_request_error(&response);
                    outcome(response, refused)
                };
                Operation { kind, outcomes: stream::once(answer).boxed() }
            }
        }
    }
}
