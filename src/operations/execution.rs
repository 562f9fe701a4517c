//! An admitted query or mutation, from its first resolver to its answer.
//!
//! In its caller's share of the database, on the replica where that may answer, within the time limit, with panics
//! caught; every error gets its code, and what the answer did not use of its price is given back.

use std::{net::IpAddr, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use async_graphql::{Request, Response, ServerError, parser::types::OperationType};
use futures_util::FutureExt;

use super::{Operations, PreparedOperation, Shared};
use crate::{
    auth::actor::{Actor, Principal},
    db::{
        receipt::Receipt,
        replica::{Snapshot, Viewer},
        share::MAX_OPERATIONS,
    },
    error::InternalError,
    events::{Mark, Point},
    graphql::{
        classify::{classify, is_request_error},
        context::Scope,
        errors::ErrorCode,
        limits::failure,
        loader::Batches,
        returned::charge,
    },
    ids::UserId,
    limits::budgets::Budget,
    schema::{Schema, Services, is_public_read},
};

/// How long an answer waits for the place of its events, which usually comes before the answer is made.
const CURSOR_TIME_LIMIT: Duration = Duration::from_millis(500);
/// When a caller who has too many operations under way may send the next, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

impl Operations {
    pub(super) fn scope(&self, ready: &PreparedOperation) -> Scope {
        Scope::new(ready.origin.actor, ready.origin.address, ready.budget, &self.shared.clock)
    }

    /// Runs a query or a mutation to its answer, and gives back what it cost less than was taken off the budget. Returns
    /// what is left of that, too.
    pub async fn run(&self, ready: Box<PreparedOperation>, request_id: &str) -> (Response, Budget) {
        let began = tokio::time::Instant::now();
        let (kind, field) = (ready.kind, ready.field());
        let (payer, ceiling, reserved) = (ready.payer, ready.prepared.cost, ready.budget);
        let (root_fields, efforts) = (ready.prepared.root_fields.clone(), ready.prepared.efforts.clone());
        let author = ready.origin.actor.user().map(|user| (user, ready.origin.address));
        let receipt = (kind == OperationType::Mutation).then(Arc::<Receipt>::default);
        // Pinned where it is made: an execution is tens of KiB, and each time that it is handed on by value it is copied.
        let execution = pin!(AssertUnwindSafe(self.execute_in_share(ready, receipt.clone())).catch_unwind());
        let mut response = match tokio::time::timeout(self.shared.timeout, execution).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(error))) => {
                Response::from_errors(vec![failure(ErrorCode::InternalServerError, error.to_string(), None)])
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
            self.tell_cursor(&mut response, &receipt, author).await;
        }
        // Only names that the schema knows become labels: a document that failed validation has any it likes.
        let field = if is_request_error(&response) { "-".to_owned() } else { field };
        let seconds = began.elapsed().as_secs_f64();
        metrics::histogram!("lancewire_operation_seconds", "kind" => kind_name(kind), "field" => field).record(seconds);
        (response, budget)
    }

    /// Runs it in its caller's share of the database, unless too many of theirs run or wait already.
    async fn execute_in_share(
        &self,
        ready: Box<PreparedOperation>,
        receipt: Option<Arc<Receipt>>,
    ) -> Result<Response, InternalError> {
        let Some(member) = self.shared.shares.enter(ready.payer.shared_caller()) else {
            metrics::counter!("lancewire_operations_rejected_total", "reason" => "share").increment(1);
            return Ok(Response::from_errors(vec![too_many()]));
        };
        member.run(pin!(self.execute(ready, receipt))).await
    }

    /// Reads all of a public query on the replica, if there is one that may answer; else, or if it fails half way, on
    /// the primary.
    async fn execute(
        &self,
        ready: Box<PreparedOperation>,
        receipt: Option<Arc<Receipt>>,
    ) -> Result<Response, InternalError> {
        let Shared { services, db, .. } = &*self.shared;
        let asks_cursor = ready.prepared.root_fields.iter().any(|field| field == "streamCursor");
        let log = services.hub.log();
        if let Some(snapshot) = self.replica_for(&ready).await {
            let (position, stands) = snapshot.place();
            let place = Point { position, mark: stands.map_or(Mark::NONE, Mark::of) };
            let scope = self.scope(&ready).at(asks_cursor.then(|| log.cursor_at(self.behind_searches(&ready, place))));
            let services = Arc::new(services.on(&db.with_snapshot(Arc::clone(&snapshot))));
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
        let cursor =
            if asks_cursor { Some(log.cursor_at(self.behind_searches(&ready, log.head().await?))) } else { None };
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

    /// The place for `streamCursor`: that of the log, and beside a list that a search may have found that of the index, if it
    /// is further behind.
    fn behind_searches(&self, ready: &PreparedOperation, place: Point) -> Point {
        let searches = ready.prepared.root_fields.iter().any(|field| field == "jobs");
        let index = self.shared.services.jobs.search().place().filter(|_| searches);
        index.filter(|index| index.position < place.position).unwrap_or(place)
    }

    /// Names in `extensions.cursor` where the events that a mutation has committed stand in the log: a stream that has
    /// passed it has passed them. Left out where that cannot be had in a moment: the answer itself matters more.
    ///
    /// The next search of the same user waits for that place.
    async fn tell_cursor(&self, response: &mut Response, receipt: &Receipt, author: Option<(UserId, IpAddr)>) {
        let Services { hub, jobs, .. } = &*self.shared.services;
        let place = hub.log().place_of(receipt);
        if let Ok(Some(place)) = tokio::time::timeout(CURSOR_TIME_LIMIT, place).await {
            if let Some((user, address)) = author {
                jobs.search().wrote(user.into(), address, place.position);
            }
            response.extensions.insert("cursor".to_owned(), hub.log().cursor_at(place).into());
        }
    }

    /// Executes on what `serve` gives. Nearly all queries fail nowhere and are done by the fast schema; what fails is
    /// told by the schema that knows how. Nothing but a query may run twice.
    async fn answer(
        &self,
        ready: Box<PreparedOperation>,
        scope: Scope,
        serve: impl Fn(Request) -> (Request, Batches),
    ) -> Response {
        let Shared { schema, fast, .. } = &*self.shared;
        let scope = Arc::new(scope);
        let run = async |schema: &Schema, request: Request| {
            let (request, batches) = serve(request);
            batches.drive(schema.execute(request.data(Arc::clone(&scope)))).await
        };
        let PreparedOperation { prepared, kind, .. } = *ready;
        if kind != OperationType::Query {
            return run(schema, prepared.request()).await;
        }
        let response = run(fast, prepared.request()).await;
        if response.errors.is_empty() { response } else { run(schema, prepared.request()).await }
    }

    /// Where to read a query that need not be read on the primary.
    async fn replica_for(&self, ready: &PreparedOperation) -> Option<Arc<Snapshot>> {
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
}

/// The refusal of an operation of a caller who has too many under way.
pub(super) fn too_many() -> ServerError {
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
