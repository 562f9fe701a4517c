//! Runs operations, whatever transport they came by: the application, below HTTP.
//!
//! The one path from a document to its answer: read and weigh it (`graphql::language`), charge the caller
//! (`limits::budgets`), give it a scope and loaders, execute it within the time limit with panics caught, and give
//! every error its code. Knows no transport and no HTTP library.
//!
//! - [`admission`]: callers and their tokens, what they may spend, documents that are read before anything runs
//! - [`execution`]: a query or mutation, to its answer
//! - [`subscription`]: into a group for our own transports, or as the schema's own stream of responses
//! - [`event_execution`]: a selection, executed on one event for all of a group; [`sharing`] says who is in it
//! - [`executor`]: all of that as `async_graphql::Executor`, for any GraphQL server
//! - [`payment`]: from whose budget subscriptions pay
//!
//! Called by the HTTP handler and by the streams that it opens, by the sockets, and by async-graphql-axum's handlers.

use std::{sync::Arc, time::Duration};

use async_graphql::{Request, Response, parser::types::OperationType};

mod admission;
mod encoding;
mod event_execution;
mod execution;
mod executor;
mod payment;
mod sharing;
mod subscription;

pub(crate) use encoding::{errors, next};
pub use executor::{OperationExecutor, Requester};
pub use payment::SubscriptionPayment;
pub(crate) use subscription::{Joined, Listening};

use crate::{
    auth::{
        actor::Origin,
        sessions::{Sessions, Unauthenticated},
    },
    clock::Clock,
    db::{
        Db,
        replica::Replica,
        share::{ShareSizes, Shares},
    },
    events::EventLog,
    graphql::{
        language::{Documents, Prepared, SentVariables},
        limits::Limits,
        loader::Batches,
    },
    ids::{Ids, RequestId, UserId},
    limits::budgets::{Budget, Budgets, Caller, Payer},
    schema::{Schema, Services},
};

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
    fast: Schema,
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
pub enum Admission {
    /// It may run.
    Ready(Box<PreparedOperation>),
    /// It may not.
    Refused(Box<Response>, Option<Budget>),
}

/// Why a request is refused before its body is read.
#[expect(clippy::large_enum_variant, reason = "boxed wherever it goes")]
pub(crate) enum Stopped {
    /// The token is no good.
    Unauthenticated(Unauthenticated),
    /// Nothing is left to spend.
    Refused(Response, Option<Budget>, Option<UserId>),
}

/// An operation that may run.
#[derive(Clone)]
pub struct PreparedOperation {
    origin: Origin,
    payer: Payer,
    prepared: Prepared,
    /// Query, mutation or subscription.
    pub kind: OperationType,
    /// What is left of the budget.
    pub budget: Budget,
}

impl PreparedOperation {
    /// The name of the operation, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.prepared.operation_name.as_deref()
    }

    /// What its document is called in the log.
    pub(crate) fn document_hash(&self) -> &Arc<str> {
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
        let (schema, fast) = (services.full_schema(), services.fast_schema());
        let services = Arc::new(services);
        let shares = Shares::new(share_sizes);
        Self {
            shared: Arc::new(Shared {
                schema,
                db,
                replica,
                fast,
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

    /// Who tokens stand for.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// The log of events.
    pub(crate) fn log(&self) -> &EventLog {
        self.shared.services.hub.log()
    }

    fn request(&self, ready: &PreparedOperation) -> (Request, Batches) {
        self.shared.services.load_for(ready.prepared.request())
    }
}
