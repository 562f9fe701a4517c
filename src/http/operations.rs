//! Runs operations, whatever transport they came by.
//!
//! The one path from a document to its answer: read and weigh it (`graphql::language`), charge the caller (`limits::budgets`),
//! give it a scope and loaders, execute it within the time limit with panics caught, and give every error its code.
//! Called by the HTTP handler, by the streams that it opens and, through [`SocketBackend`], by the sockets.

use std::{net::IpAddr, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use async_graphql::{Request, Response, ServerError, parser::types::OperationType};
use futures_util::{FutureExt, StreamExt, future, stream};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

mod event_execution;
mod payment;

pub use payment::SubscriptionPayment;

use event_execution::EventExecution;

use super::{
    access::{self, Access},
    authorization::Authorization,
    graphql::Refusal as HttpRefusal,
    sharing::sharing_key,
    websocket::{
        Identity, NotJoined, Operation, OperationKind, Outcome, Position, Refused, SocketBackend, SubscribePayload,
        Subscription,
    },
};
use crate::{
    auth::{
        actor::{Actor, Origin, Principal},
        revocations::Watch,
        sessions::{Sessions, Unauthenticated},
    },
    clock::Clock,
    db::{
        Db,
        receipt::Receipt,
        replica::{Replica, Snapshot, Viewer},
        share::{MAX_OPERATIONS, ShareSizes, Shares},
    },
    error::Fault,
    events::{Mark, Point},
    graphql::{
        classify::{classify, is_request_error},
        context::Scope,
        errors::ErrorCode,
        language::{Documents, Prepared, SentVariables},
        limits::{Limits, failure, reading_cost, unpaid},
        loader::Batches,
        returned::charge,
    },
    ids::{Ids, RequestId, UserId},
    limits::budgets::{self, Budget, Budgets, Caller, Payer},
    realtime::{Feed, Outlet},
    schema::{
        SINGLE_MUTATIONS, Schema, Services,
        event::{Beginning, Begun, Resume},
        is_public_read,
    },
};

/// How long an answer waits for the place of its events, which usually comes before the answer is made.
const CURSOR_PATIENCE: Duration = Duration::from_millis(500);
/// When a caller who has too many operations under way may send the next, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// What it takes to run an operation. Clones share everything.
#[derive(Clone)]
pub struct Operations {
    shared: Arc<Shared>,
}

struct Shared {
    schema: Schema,
    db: Db,
    replica: Option<Replica>,
    /// For queries and events, nearly all of which fail nowhere.
    swift: Schema,
    services: Arc<Services>,
    sessions: Sessions,
    documents: Documents,
    limits: Limits,
    budgets: Arc<Budgets>,
    shares: Shares<Caller>,
    timeout: Duration,
    clock: Clock,
    ids: Ids,
}

/// The parts of [`Operations`].
#[derive(Debug)]
pub struct Parts {
    /// Where the services read and write.
    pub db: Db,
    /// What may answer public reads in its place.
    pub replica: Option<Replica>,
    /// What resolvers ask for.
    pub services: Services,
    /// Who tokens stand for.
    pub sessions: Sessions,
    /// The documents that were read last, in the language of the services' schema.
    pub documents: Documents,
    /// What an operation may hold.
    pub limits: Limits,
    /// What a caller may spend.
    pub budgets: Arc<Budgets>,
    /// How much of the database a caller may hold.
    pub share_sizes: ShareSizes,
    /// How long a query or mutation may run.
    pub timeout: Duration,
    /// Time.
    pub clock: Clock,
    /// For the ids of requests.
    pub ids: Ids,
}

/// Who pays for an operation. An account is opened at the cost of the address, also by a user who is signed in: otherwise
/// each would pay for the next.
fn payer(origin: &Origin, root_fields: &[String]) -> Payer {
    if root_fields.iter().any(|field| field == "signUp") {
        Caller::Address(origin.address).into()
    } else {
        origin.into()
    }
}

fn refuse(refused: &budgets::Refused) -> Admitted {
    metrics::counter!("lancewire_operations_rejected_total", "reason" => "budget").increment(1);
    Admitted::Refused(Box::new(Response::from_errors(vec![unpaid(refused)])), refused.budget())
}

/// A document and its variables.
#[derive(Clone, Debug)]
pub struct Document {
    /// The text.
    pub query: String,
    /// Which operation of it.
    pub operation_name: Option<String>,
    /// Values.
    pub variables: SentVariables,
}

/// An operation that was read and paid for, or the answer that says why not.
pub enum Admitted {
    /// It may run.
    Ready(Box<Ready>),
    /// It may not.
    Refused(Box<Response>, Option<Budget>),
}

/// Why a request is refused before its body is read.
#[expect(clippy::large_enum_variant, reason = "boxed wherever it goes")]
pub(super) enum Stopped {
    /// The token is no good.
    Unauthenticated(Unauthenticated),
    /// Nothing is left to spend.
    Refused(Response, Option<Budget>, Option<UserId>),
}

/// An operation that may run.
#[derive(Clone)]
pub struct Ready {
    origin: Origin,
    payer: Payer,
    prepared: Prepared,
    /// Query, mutation or subscription.
    pub kind: OperationType,
    /// What is left of the budget.
    pub budget: Budget,
}

impl Ready {
    /// The name of the operation, if it has one.
    pub(super) fn name(&self) -> Option<&str> {
        self.prepared.operation_name.as_deref()
    }

    /// What its document is called in the log.
    pub(super) fn document_hash(&self) -> &Arc<str> {
        &self.prepared.document_hash
    }

    /// The first root field, for metrics.
    fn field(&self) -> String {
        self.prepared.root_fields.first().cloned().unwrap_or_default()
    }
}

impl Operations {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { db, replica, services, sessions, documents, limits, budgets, share_sizes, timeout, clock, ids } =
            parts;
        let (schema, swift) = (services.schema(), services.swift_schema());
        let services = Arc::new(services);
        let shares = Shares::new(share_sizes);
        Self {
            shared: Arc::new(Shared {
                schema,
                db,
                replica,
                swift,
                services,
                sessions,
                documents,
                limits,
                budgets,
                shares,
                timeout,
                clock,
                ids,
            }),
        }
    }

    /// A new id for a request or an operation.
    pub fn request_id(&self) -> String {
        self.shared.ids.next::<RequestId>().to_string()
    }

    /// Whom a request's `Authorization` stands for; nobody without one.
    pub(super) async fn authenticate(&self, authorization: Authorization<'_>) -> Result<Actor, Unauthenticated> {
        match authorization {
            Authorization::Empty => Ok(Actor::Anonymous),
            Authorization::Bearer(token) => self.shared.sessions.authenticate(token).await.map(Actor::User),
            Authorization::Foreign => Err(Unauthenticated::Invalid),
        }
    }

    /// Refuses a request of which no more than the head is known: with a token that is not good, at the cost of a point
    /// for one that never was, or from a caller who has nothing left. Spends nothing else and asks no database.
    pub(super) fn look(&self, authorization: Authorization<'_>, address: IpAddr) -> Result<(), Box<Stopped>> {
        let Shared { budgets, sessions, .. } = &*self.shared;
        let known = match authorization {
            Authorization::Empty => Ok(None),
            Authorization::Bearer(token) => sessions.bearer(token).map(Some),
            Authorization::Foreign => Err(Unauthenticated::Invalid),
        };
        let refused = match &known {
            Ok(Some(user)) => budgets.look(Payer { caller: Caller::User(*user), address: Some(address) }),
            Err(Unauthenticated::Invalid) => budgets.spend(Caller::Address(address), 1).map(drop),
            Ok(None) | Err(_) => budgets.look(Caller::Address(address)),
        };
        if let Err(refused) = refused {
            metrics::counter!("lancewire_operations_rejected_total", "reason" => "budget").increment(1);
            let (response, user) = (Response::from_errors(vec![unpaid(&refused)]), known.ok().flatten());
            return Err(Box::new(Stopped::Refused(response, refused.budget(), user)));
        }
        known.map(drop).map_err(|error| Box::new(Stopped::Unauthenticated(error)))
    }

    /// The same, with word of the session's end for what lasts longer than a request.
    pub(super) async fn authenticate_and_watch(
        &self,
        authorization: Authorization<'_>,
    ) -> Result<(Actor, Option<Watch>), Unauthenticated> {
        match authorization {
            Authorization::Empty => Ok((Actor::Anonymous, None)),
            Authorization::Bearer(token) => {
                let (principal, watch) = self.shared.sessions.authenticate_and_watch(token).await?;
                Ok((Actor::User(principal), Some(watch)))
            }
            Authorization::Foreign => Err(Unauthenticated::Invalid),
        }
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
        // Before it is read: what cannot be paid for must not take our time again and again.
        if let Err(refused) = shared.budgets.look(&origin) {
            return Ok(refuse(&refused));
        }
        let reading = reading_cost(&query);
        if reading > 0
            && let Err(refused) = shared.budgets.spend(&origin, reading)
        {
            return Ok(refuse(&refused));
        }
        let (name, limits) = (operation_name.as_deref(), &shared.limits);
        let prepared = shared.documents.prepare(&query, name, &variables, limits, SINGLE_MUTATIONS);
        if let Ok(prepared) = &prepared {
            may_run(prepared.operation)?;
        }
        // An operation that cannot run was read and costs a point.
        let cost = prepared.as_ref().map_or(1, |prepared| prepared.cost);
        let payer = payer(&origin, prepared.as_ref().map_or(&[], |prepared| &prepared.root_fields));
        let budget = shared.budgets.spend(payer, cost);
        let budget = budget.map(|budget| Budget { cost: budget.cost.saturating_add(reading), ..budget });
        Ok(match (prepared, budget) {
            (_, Err(refused)) => {
                // It was read all the same. Who has no point left by now is refused before that the next time.
                let _ = shared.budgets.spend(&origin, 1);
                refuse(&refused)
            }
            (Err(errors), Ok(budget)) => {
                metrics::counter!("lancewire_operations_rejected_total", "reason" => "document").increment(1);
                Admitted::Refused(Box::new(Response::from_errors(errors)), Some(budget))
            }
            (Ok(prepared), Ok(budget)) => {
                let kind = prepared.operation;
                Admitted::Ready(Box::new(Ready { origin, payer, prepared, kind, budget }))
            }
        })
    }

    fn scope(&self, ready: &Ready) -> Scope {
        Scope::new(ready.origin.actor, ready.origin.address, ready.budget, &self.shared.clock)
    }

    /// Runs a query or a mutation to its answer, and gives back what it cost less than was taken off the budget. Returns
    /// what is left of that, too.
    pub async fn run(&self, ready: Box<Ready>, request_id: &str) -> (Response, Budget) {
        let began = tokio::time::Instant::now();
        let (kind, field) = (ready.kind, ready.field());
        let (payer, ceiling, reserved) = (ready.payer, ready.prepared.cost, ready.budget);
        let (root_fields, efforts) = (ready.prepared.root_fields.clone(), ready.prepared.efforts.clone());
        let receipt = (kind == OperationType::Mutation).then(Arc::<Receipt>::default);
        // Pinned where it is made: an execution is tens of KiB, and each time that it is handed on by value it is copied.
        let execution = pin!(AssertUnwindSafe(self.execute_in_share(ready, receipt.clone())).catch_unwind());
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
        let unused = ceiling.saturating_sub(charge(&response, &efforts, &root_fields, ceiling));
        let budget = if unused == 0 {
            reserved
        } else {
            let cost = reserved.cost.saturating_sub(unused);
            Budget { cost, ..self.shared.budgets.give_back(payer, unused) }
        };
        if let Some(receipt) = receipt {
            self.tell_cursor(&mut response, &receipt).await;
        }
        // Only names that the schema knows become labels: a document that failed validation has any it likes.
        let field = if is_request_error(&response) { "-".to_owned() } else { field };
        let seconds = began.elapsed().as_secs_f64();
        metrics::histogram!("lancewire_operation_seconds", "kind" => kind_name(kind), "field" => field).record(seconds);
        (response, budget)
    }

    /// Runs it in its caller's share of the database, unless too many of theirs run or wait already.
    async fn execute_in_share(&self, ready: Box<Ready>, receipt: Option<Arc<Receipt>>) -> Result<Response, Fault> {
        let Some(member) = self.shared.shares.enter(ready.payer.shared_caller()) else {
            metrics::counter!("lancewire_operations_rejected_total", "reason" => "share").increment(1);
            return Ok(Response::from_errors(vec![too_many()]));
        };
        member.run(pin!(self.execute(ready, receipt))).await
    }

    /// Reads all of a public query on the replica, if there is one that may answer; else, or if it fails half way, on
    /// the primary.
    async fn execute(&self, ready: Box<Ready>, receipt: Option<Arc<Receipt>>) -> Result<Response, Fault> {
        let Shared { services, db, .. } = &*self.shared;
        let asks_cursor = ready.prepared.root_fields.iter().any(|field| field == "streamCursor");
        let log = services.hub.log();
        if let Some(snapshot) = self.replica_for(&ready).await {
            let (position, stands) = snapshot.place();
            let place = Point { position, mark: stands.map_or(Mark::NONE, Mark::of) };
            let scope = self.scope(&ready).at(asks_cursor.then(|| log.cursor_at(place)));
            let services = Arc::new(services.on(&db.at(Arc::clone(&snapshot))));
            let response = self.answer(ready.clone(), scope, |request| services.serve(request)).await;
            if snapshot.held() {
                count_read("replica");
                return Ok(response);
            }
        }
        let author = ready.origin.actor.user().filter(|_| ready.kind == OperationType::Mutation && db.marks_commits());
        if ready.kind == OperationType::Query {
            count_read("primary");
        }
        // Before any resolver reads: what the list beside the cursor does not show comes after it in the stream.
        let cursor = if asks_cursor { Some(log.cursor_at(log.head().await?)) } else { None };
        let scope = self.scope(&ready).at(cursor);
        Ok(match receipt {
            Some(receipt) => {
                let db = author.map_or_else(|| db.clone(), |author| db.on_behalf_of(author)).noting(receipt);
                let services = Arc::new(services.on(&db));
                self.answer(ready, scope, |request| services.serve(request)).await
            }
            None => self.answer(ready, scope, |request| services.load_for(request)).await,
        })
    }

    /// Names in `extensions.cursor` where the events that a mutation has committed stand in the log: a stream that has
    /// passed it has passed them. Left out where that cannot be had in a moment: the answer itself matters more.
    async fn tell_cursor(&self, response: &mut Response, receipt: &Receipt) {
        let cursor = self.shared.services.hub.log().cursor_of(receipt);
        if let Ok(Some(cursor)) = tokio::time::timeout(CURSOR_PATIENCE, cursor).await {
            response.extensions.insert("cursor".to_owned(), cursor.into());
        }
    }

    /// Executes on what `serve` gives. Nearly all queries fail nowhere and are done by the swift schema; what fails is
    /// told by the schema that knows how. Nothing but a query may run twice.
    async fn answer(&self, ready: Box<Ready>, scope: Scope, serve: impl Fn(Request) -> (Request, Batches)) -> Response {
        let Shared { schema, swift, .. } = &*self.shared;
        let scope = Arc::new(scope);
        let run = async |schema: &Schema, request: Request| {
            let (request, batches) = serve(request);
            batches.drive(schema.execute(request.data(Arc::clone(&scope)))).await
        };
        let Ready { prepared, kind, .. } = *ready;
        if kind != OperationType::Query {
            return run(schema, prepared.request()).await;
        }
        let response = run(swift, prepared.request()).await;
        if response.errors.is_empty() { response } else { run(schema, prepared.request()).await }
    }

    /// Where to read a query that need not be read on the primary.
    async fn replica_for(&self, ready: &Ready) -> Option<Arc<Snapshot>> {
        let replica = self.shared.replica.as_ref()?;
        if ready.kind != OperationType::Query || !is_public_read(&ready.prepared.root_fields) {
            return None;
        }
        let viewer = match ready.origin.actor {
            Actor::User(Principal { user, session, commits, .. }) => Some(Viewer { user, session, commits }),
            Actor::Anonymous | Actor::System => None,
        };
        replica.open(viewer).await
    }

    /// Takes a subscription to the hub: its root field runs once now, to check the viewer and to say what is meant.
    /// Each event is then executed for all who select the same together. It begins after the later one of
    /// `resume` and the document's own cursor.
    pub(super) async fn join(
        &self,
        ready: Box<Ready>,
        resume: Option<Resume>,
        request_id: &str,
        outlet: Arc<dyn Outlet>,
    ) -> Result<(Feed, Listening), Box<Refusal>> {
        let Begun { interest, after } = self.begin(&ready, resume, request_id).await?;
        // Counted once it has begun: a document that was refused has any field names it likes, and they must not become labels.
        let field = ready.field();
        let (key, viewer) = (sharing_key(&ready.prepared), ready.origin);
        let execution = EventExecution::new(self.clone(), &ready);
        let feed =
            self.shared.services.hub.join(key, interest, execution, after, viewer, outlet).map_err(|too_much| {
                let refused = failure(ErrorCode::RateLimited, too_much.to_string(), None);
                Box::new(Refusal { response: Response::from_errors(vec![refused]), unavailable: false })
            })?;
        Ok((feed, Listening::begin(field)))
    }

    /// Has the root field check its arguments and the viewer, in the time that any operation has.
    async fn begin(&self, ready: &Ready, resume: Option<Resume>, request_id: &str) -> Result<Begun, Box<Refusal>> {
        let beginning = Beginning::resuming(resume);
        let (request, batches) = self.request(ready);
        let request = request.data(Arc::new(self.scope(ready))).data(beginning.clone());
        let mut responses = AssertUnwindSafe(self.shared.schema.execute_stream(request)).catch_unwind();
        let Some(member) = self.shared.shares.enter_always(ready.payer.shared_caller()) else {
            return Err(Box::new(Refusal { response: Response::from_errors(vec![too_many()]), unavailable: false }));
        };
        let first = member.run(batches.drive(responses.next()));
        let responses = tokio::time::timeout(self.shared.timeout, first).await;
        let refused = match (responses, beginning.take()) {
            (Ok(None), Some(begun)) => return Ok(begun),
            (Ok(Some(Ok(response))), _) => response,
            (Err(_), _) => return Err(Box::new(not_now())),
            (Ok(Some(Err(_)) | None), _) => Response::from_errors(vec![failure(
                ErrorCode::InternalServerError,
                "a subscription did not begin",
                None,
            )]),
        };
        let mut response = refused;
        let faults = || response.errors.iter().filter_map(|error| error.source::<Fault>());
        if let Some(fault) = faults().find(|fault| fault.is_out_of_reach()) {
            tracing::warn!(request.id = request_id, error = %fault, "a subscription cannot begin now");
            return Err(Box::new(not_now()));
        }
        let unavailable = faults().next().is_some();
        classify(&mut response, request_id);
        Err(Box::new(Refusal { response, unavailable }))
    }

    fn request(&self, ready: &Ready) -> (Request, Batches) {
        self.shared.services.load_for(ready.prepared.request())
    }
}

/// Why a subscription did not begin.
pub(super) struct Refusal {
    pub(super) response: Response,
    /// The database could not be asked: trying again later may help.
    pub(super) unavailable: bool,
}

/// Counts a subscription for as long as it lives.
pub(super) struct Listening(metrics::Gauge);

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
fn not_now() -> Refusal {
    let message = "The database cannot be asked right now. Nothing has begun: subscribe again, in a moment.";
    let response = Response::from_errors(vec![failure(ErrorCode::Unavailable, message, None)]);
    Refusal { response, unavailable: true }
}

/// The refusal of an operation of a caller who has too many under way.
fn too_many() -> ServerError {
    let message = format!(
        "{MAX_OPERATIONS} of your operations run or wait for the database. Send this one again when some are answered."
    );
    let mut error = failure(ErrorCode::RateLimited, message, None);
    error.extensions.get_or_insert_default().set("retryAfterMs", RETRY_AFTER_MS);
    error
}

fn count_read(from: &'static str) {
    metrics::counter!("lancewire_reads_total", "from" => from).increment(1);
}

const fn kind_name(kind: OperationType) -> &'static str {
    match kind {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// The payload of `error`.
fn errors(mut response: Response) -> Arc<str> {
    for error in &mut response.errors {
        error.locations.retain(|at| at.line > 0);
    }
    json(&response.errors)
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
                // What was so when the socket opened says nothing about when it is used.
                let principal = Principal { commits: None, ..principal };
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

    fn execute(&self, viewer: SocketViewer, payload: SubscribePayload, position: &Position) -> Operation {
        let request_id = self.request_id();
        if payload.is_hash {
            let refused = Response::from_errors(vec![HttpRefusal::PersistedQuery.error()]);
            let refused = Outcome::Errors(errors(refused));
            return Operation::Outcomes(OperationKind::Query, stream::once(future::ready(refused)).boxed());
        }
        let SubscribePayload { query, operation_name, variables, .. } = payload;
        let document = Document { query, operation_name, variables };
        let (began, mut access) = (tokio::time::Instant::now(), Access::of(&viewer.origin, &document.query));
        let span = access::span(&request_id);
        let Ok(admitted) = self.admit(viewer.origin, document, |_| Ok::<_, std::convert::Infallible>(()));
        match admitted {
            Admitted::Refused(mut response, budget) => {
                span.in_scope(|| {
                    classify(&mut response, &request_id);
                    access.answered(&response, budget.map_or(0, |budget| budget.cost));
                    access.log(began.elapsed());
                });
                let refused = Outcome::Errors(errors(*response));
                Operation::Outcomes(OperationKind::Query, stream::once(future::ready(refused)).boxed())
            }
            Admitted::Ready(ready) if ready.kind == OperationType::Subscription => {
                let operations = self.clone();
                access.admitted(&ready);
                let name = "connection_init payload.after";
                let resume = match position {
                    Position::Absent => None,
                    Position::Cursor(cursor) => Some(Resume { name, cursor: Some(Arc::clone(cursor)) }),
                    Position::Malformed => Some(Resume { name, cursor: None }),
                };
                Operation::Subscription(Box::new(move |outlet| {
                    async move {
                        let cost = ready.budget.cost;
                        let joined = operations.join(ready, resume, &request_id, outlet).await;
                        if let Err(refused) = &joined {
                            access.answered(&refused.response, cost);
                        }
                        access.log(began.elapsed());
                        match joined {
                            // The viewer's watch must not end before what runs for them.
                            Ok((feed, listening)) => Ok(Subscription { feed, guard: Box::new((listening, viewer)) }),
                            Err(refused) => Err(NotJoined(errors(refused.response))),
                        }
                    }
                    .instrument(span)
                    .boxed()
                }))
            }
            Admitted::Ready(ready) => {
                let kind = match ready.kind {
                    OperationType::Mutation => OperationKind::Mutation,
                    OperationType::Query | OperationType::Subscription => OperationKind::Query,
                };
                let operations = self.clone();
                access.admitted(&ready);
                let answer = async move {
                    let (response, budget) = operations.run(ready, &request_id).await;
                    access.answered(&response, budget.cost);
                    access.log(began.elapsed());
                    if is_request_error(&response) {
                        Outcome::Errors(errors(response))
                    } else {
                        Outcome::Next(next(response))
                    }
                };
                let answer = answer.instrument(span);
                Operation::Outcomes(kind, stream::once(answer).boxed())
            }
        }
    }

    fn ping_payload(&self, _: &SocketViewer, position: Option<i64>) -> Option<String> {
        let cursor = self.shared.services.hub.log().cursor(position?)?;
        Some(serde_json::json!({ "cursor": cursor }).to_string())
    }
}
