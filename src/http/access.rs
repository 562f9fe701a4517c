//! What the log says of a request: one line each, from which an operator can tell what was asked, by whom, and what
//! came of it.
//!
//! Owns the fields of that line and how a document is named in it. Filled in where operations are admitted and run;
//! written by [`middleware`](super::middleware) for requests over HTTP, and here for operations over sockets
//! ([`Access::log`]). All lines below a request carry its id, by the span around it ([`span`]).
//!
//! Invariant: nothing that a client sent as a value is in it. A document is named by its operation's name, which is
//! part of the program that sent it, and by a hash of the document without the values in it ([`shape`]): a password
//! that somebody wrote into a document cannot be guessed from that.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use async_graphql::{Response, parser::types::OperationType};
use axum::http::StatusCode;
use tracing::{Level, Span};

use crate::{
    auth::actor::Origin,
    graphql::{classify::code, language::shape},
    ids::UserId,
    operations::PreparedOperation,
};

/// The most characters of an operation's name.
const LONGEST_NAME: usize = 64;

/// What is known of an operation.
#[derive(Clone, Debug)]
pub(super) struct Access {
    document: Named,
    /// The name of the operation, if it has one and was understood.
    name: Option<String>,
    kind: &'static str,
    user: Option<UserId>,
    address: IpAddr,
    /// `ok`, or the code of the first error.
    outcome: String,
    /// In points.
    cost: u32,
}

/// What the document is called.
#[derive(Clone, Debug)]
enum Named {
    /// Nobody has read it yet.
    Text(String),
    Hash(Arc<str>),
    /// There is none, or nobody reads the log at this level.
    Not,
}

/// The span of a request: every line below it carries the id.
pub(super) fn span(id: &str) -> Span {
    // Not switched off with the lines of lower levels: it is what the others are found by.
    tracing::error_span!("request", request.id = id)
}

impl Access {
    /// An operation that came from somebody, with this document.
    pub(super) fn of(origin: &Origin, document: &str) -> Self {
        let document = if tracing::enabled!(Level::INFO) { Named::Text(document.to_owned()) } else { Named::Not };
        let (user, address) = (origin.actor.user(), origin.address);
        Self { document, name: None, kind: "-", user, address, outcome: "ok".to_owned(), cost: 0 }
    }

    /// A request of which no more than the head was looked at.
    pub(super) fn unread(user: Option<UserId>, address: IpAddr) -> Self {
        Self { document: Named::Not, name: None, kind: "-", user, address, outcome: "ok".to_owned(), cost: 0 }
    }

    /// It was understood and paid for.
    pub(super) fn admitted(&mut self, ready: &PreparedOperation) {
        self.name = ready.name().map(|name| name.chars().take(LONGEST_NAME).collect());
        self.kind = match ready.kind {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        };
        self.cost = ready.budget.cost;
        self.document = Named::Hash(Arc::clone(ready.document_hash()));
    }

    /// The hash of the document, or nothing.
    fn hash(&self) -> Cow<'_, str> {
        match &self.document {
            Named::Text(text) => shape::hash(text).into(),
            Named::Hash(hash) => (&**hash).into(),
            Named::Not => "".into(),
        }
    }

    /// What came of it.
    pub(super) fn answered(&mut self, response: &Response, cost: u32) {
        self.cost = cost;
        if let Some(error) = response.errors.first() {
            code(error).unwrap_or("ERROR").clone_into(&mut self.outcome);
        }
    }

    /// A stream was begun, or refused with this status.
    pub(super) fn opened(&mut self, status: StatusCode) {
        if !status.is_success() {
            self.outcome = format!("HTTP {}", status.as_u16());
        }
    }

    /// Writes the line of an operation that came over a socket.
    pub(super) fn log(&self, duration: Duration) {
        tracing::info!(
            operation.name = self.name.as_deref(),
            operation.kind = self.kind,
            operation.hash = &*self.hash(),
            user.id = self.user.map(tracing::field::display),
            client.address = %self.address,
            outcome = self.outcome,
            cost = self.cost,
            duration.ms = millis(duration),
            "operation"
        );
    }

    /// Writes the line of a request over HTTP.
    pub(super) fn log_request(&self, request: &Request<'_>) {
        tracing::info!(
            http.method = request.method,
            http.path = request.path,
            http.status = request.status,
            operation.name = self.name.as_deref(),
            operation.kind = self.kind,
            operation.hash = &*self.hash(),
            user.id = self.user.map(tracing::field::display),
            client.address = %self.address,
            outcome = self.outcome,
            cost = self.cost,
            duration.ms = millis(request.duration),
            "request"
        );
    }
}

/// What HTTP knows of a request.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Short and harmless.
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) address: IpAddr,
    pub(super) duration: Duration,
}

impl Request<'_> {
    /// Writes the line of a request that is no operation. Probes come every second or two: they are of interest to
    /// somebody who looks for them.
    pub(super) fn log(&self) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    http.method = self.method,
                    http.path = self.path,
                    http.status = self.status,
                    client.address = %self.address,
                    duration.ms = millis(self.duration),
                    "request"
                )
            };
        }
        let probe = self.path.starts_with("/health/") || self.path == "/metrics";
        if probe && self.status < 400 { line!(debug) } else { line!(info) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
