//! What a socket needs from the rest of the server, and all it knows of it.
//!
//! One trait, so that the protocol is tested without a database and the schema without a socket. The session calls
//! [`SocketBackend::authenticate`] once for `connection_init` and once for each token in a `ping`, and
//! [`SocketBackend::execute`] once for each `subscribe`.

use std::{any::Any, fmt, future::Future, net::IpAddr, sync::Arc};

use futures_util::{future::BoxFuture, stream::BoxStream};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Timestamp,
    graphql::language::SentVariables,
    ids::UserId,
    realtime::{Feed, Outlet},
};

/// The server behind the sockets. Clones share one server.
pub trait SocketBackend: Clone + Send + Sync + 'static {
    /// Who an operation runs for; cloned for each operation.
    type Viewer: Clone + Send + Sync + 'static;

    /// Finds out who holds `token`, or gives the anonymous viewer for none.
    ///
    /// The future is dropped when the socket ends first, or when `init_timeout` passes.
    fn authenticate(
        &self,
        token: Option<&str>,
        address: IpAddr,
    ) -> impl Future<Output = Result<Identity<Self::Viewer>, Refused>> + Send;

    /// Begins an operation. Does no more than parse at once: it is called from the loop that reads the socket; the
    /// work belongs in the stream, which runs in a task of its own. A subscription begins after the later one of
    /// `position` and its own `after`.
    fn execute(&self, viewer: Self::Viewer, payload: SubscribePayload, position: &Position) -> Operation;

    /// A JSON object for the payload of the server's pings: up to which position everything has been sent before this
    /// ping, for a socket with subscriptions. Called once an interval.
    fn ping_payload(&self, viewer: &Self::Viewer, position: Option<i64>) -> Option<String>;
}

/// Who is at the other end, and for how long that is known.
#[derive(Clone, Debug)]
pub struct Identity<V> {
    /// Given to each operation.
    pub viewer: V,
    /// None for the anonymous viewer. A socket never changes its user.
    pub user: Option<UserId>,
    /// When the socket is closed with 4403, by [`Clock`](crate::clock::Clock); None for never.
    pub expires_at: Option<Timestamp>,
    /// Cancelled when the token is revoked or its session signed out: 4403 at once.
    pub revoked: CancellationToken,
}

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Bad, expired or revoked: 4403, and the client asks its application for another one.
    Forbidden,
    /// It could not be looked at now: 1013, and the client comes back.
    Unavailable,
}

/// The place up to which the client has seen everything, for all that it subscribes to on this socket: `after` in the
/// payload of `connection_init`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Position {
    /// It said nothing.
    #[default]
    Absent,
    /// A text that may be a cursor.
    Cursor(Arc<str>),
    /// Something that can be none. Told to each subscription, so that a person reads why: after a close for a bad
    /// message, stock clients give up without a word.
    Malformed,
}

/// The payload of a `subscribe` message. Of its extensions nothing is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscribePayload {
    /// Which operation of the document to run.
    pub operation_name: Option<String>,
    /// The document.
    pub query: String,
    /// Values of its variables.
    pub variables: SentVariables,
    /// Whether it has the hash of a document in place of the document.
    pub is_hash: bool,
}

/// Shows only the name: documents and variables may hold secrets and stay out of logs.
impl fmt::Debug for SubscribePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribePayload").field("operation_name", &self.operation_name).finish_non_exhaustive()
    }
}

/// An operation that has begun.
pub enum Operation {
    /// One that makes its outcomes itself: one for a query or a mutation, any number for a stream. Dropped when the
    /// client completes the operation or the socket ends, unless it is a mutation, which always runs to its end.
    Outcomes(OperationKind, BoxStream<'static, Outcome>),
    /// A subscription to the hub, once its outlet is known.
    Subscription(Joining),
}

/// Joins a subscription to the hub, or says why not.
pub type Joining = Box<dyn FnOnce(Arc<dyn Outlet>) -> BoxFuture<'static, Result<Subscription, NotJoined>> + Send>;

/// Why a subscription did not begin: a serialised array of errors. One that could not be looked at now says so by its code
/// (`UNAVAILABLE`): it ends by itself, and the others of its socket go on.
pub struct NotJoined(pub Arc<str>);

/// What brings the results of a subscription.
pub enum Brings {
    /// Its place in a group.
    Feed(Box<Feed>),
    /// A stream of its own, with nothing to resume. It waits while the socket has no room.
    Stream(BoxStream<'static, Outcome>),
}

/// A subscription that has been admitted.
pub struct Subscription {
    /// What brings its results.
    pub brings: Brings,
    /// Kept for as long as the subscription lives: counts it, and watches over its viewer's session.
    pub guard: Box<dyn Any + Send>,
}

/// The three kinds of GraphQL operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Reads once. A document that does not parse or validate also counts as one.
    Query,
    /// Changes something: never cut off in the middle by its client.
    Mutation,
    /// Lasts.
    Subscription,
}

impl OperationKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

/// One step of an operation, already JSON, so that a shared event is encoded once for all sockets: it waits in their
/// queues as one allocation and each splices its own id around it only when it writes.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A serialised execution result, with `data` and perhaps `errors`: sent as `next`.
    Next(Arc<str>),
    /// A serialised array of errors: execution never began, or the stream itself failed. Sent as `error`; the rest of
    /// the stream is dropped.
    Errors(Arc<str>),
}
