//! GraphQL over WebSocket: the subprotocol `graphql-transport-ws`.
//!
//! Owns every open socket from the upgrade to the last byte. [`Sockets::upgrade`] is called by the router and decides
//! everything that can be decided before 101: the process is not stopping, the page may call, the address does not have
//! too many sockets. Later refusals are close codes, which [`close`] lists.
//!
//! - [`session`]: the loop of one socket, the only place where its state changes
//! - [`closing`]: its last seconds
//! - [`operation`]: what runs on it
//! - [`writer`] and [`reader`]: the only way to write, and the library that reads; [`connection`]: TCP or TLS below both
//! - [`registry`]: which sockets are open, and how all are closed
//! - [`protocol`] and [`close`]: the messages and codes, pure
//! - [`backend`]: what a socket needs from the rest of the server
//! - [`spelling`]: of the headers of an upgrade
//!
//! **Where a client resumes.** `connection_init` may carry `after`, a cursor: the client has seen everything up to
//! there, of all that it is going to subscribe to on this socket. Each subscription starts after the later one of it
//! and its own `after`, for as long as the socket lives. Stock clients create this payload for each connection, while
//! they send the same variables again. Which cursors a client may send there:
//!
//! - The cursor of an *event* is valid for its own subscription: everything before it was sent. It says nothing of
//!   others, which may be catching up. With one subscription on the socket it is a good `after`.
//! - The cursor of a server's *ping* (`{"type":"ping","payload":{"cursor":".."}}`) is valid for every subscription of
//!   the socket: everything up to there was put in before the ping. These cursors never decrease; while a subscription
//!   is behind the last one, or a ping is not answered, pings carry none. So the server knew of a subscription that was
//!   sent before the previous ping arrived when it sent this one.
//! - Before a planned close (1012, 4403) a last ping says how far everything has come, unless queued results had to be
//!   thrown away.
//!
//! So the rule for several subscriptions is: send the cursor of the latest ping. A client that starts one more
//! subscription after an earlier cursor sends that one, until the second ping from then on.
//!
//! An invalid cursor is refused to each subscription with `BAD_USER_INPUT`, which a person can read, and not by a
//! close. One that is too old, or of a log that was replaced, is `CURSOR_EXPIRED` unless the subscription's own is
//! valid.
//!
//! **When a viewer's rights end.** When a token expires or its session ends, nothing more starts and nothing queued is
//! sent, except answers to running mutations: one of them may be what ended the session. Then the socket closes with
//! 4403.
//!
//! Own code instead of async-graphql's socket; docs/adr/0001-own-socket.md has the reasons and the measurements, and
//! [`stock`](super::stock) is that socket over the same operations, to compare the two. The connection is taken over
//! whole after the upgrade, since axum's socket has a buffer of its own and no way to write without it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    http::{
        HeaderMap, HeaderValue, Method, Request, StatusCode, Version,
        header::{ALLOW, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::time::timeout;
use tungstenite::{
    error::{Error as WireError, ProtocolError},
    handshake::server::create_response_with_body,
};

use self::{
    close::Close,
    connection::SocketConnection,
    reader::MessageReader,
    registry::{Registry, TurnedAway},
    session::Session,
    spelling::spell,
    writer::SocketWriter,
};
use super::{
    origins::{Origins, Target},
    server::{Connection, Served},
};
use crate::{clock::Clock, graphql::errors::ErrorCode, ids::Ids, lifecycle::Lifecycle};

mod backend;
mod close;
mod closing;
mod connection;
pub mod metrics;
mod operation;
mod protocol;
mod reader;
mod registry;
mod session;
mod settings;
mod spelling;
#[cfg(test)]
mod tests;
mod writer;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::reader::fuzz as fuzz_frames;

pub use self::{
    backend::{
        Brings, Identity, Joining, NotJoined, Operation, OperationKind, Outcome, Position, Refused, SocketBackend,
        SubscribePayload, Subscription,
    },
    settings::SocketSettings,
};
pub(in crate::http) use self::{
    metrics::Counted,
    protocol::{Credential, SUBPROTOCOL},
    registry::{NoSeat, SocketSeat},
};

/// Every WebSocket of this process. Clones share them.
#[derive(Clone)]
pub struct Sockets<B>(Arc<Shared<B>>);

struct Shared<B> {
    backend: B,
    settings: SocketSettings,
    origins: Arc<Origins>,
    clock: Clock,
    lifecycle: Lifecycle,
    registry: Registry,
}

impl<B: SocketBackend> Sockets<B> {
    /// Ready to take sockets until `lifecycle` stops; then all are told to go (1012), spread over `drain_ms`. When the last
    /// one has gone the lifecycle is told, and delivery ends.
    ///
    /// `origins` are the pages that may open sockets. Must be called within a tokio runtime.
    pub fn new(
        backend: B,
        settings: SocketSettings,
        origins: Arc<Origins>,
        clock: Clock,
        ids: Ids,
        lifecycle: Lifecycle,
    ) -> Self {
        let registry = Registry::new(&settings, ids);
        drop(lifecycle.spawn({
            let (registry, lifecycle, drain) = (registry.clone(), lifecycle.clone(), settings.drain());
            async move {
                lifecycle.stopping().await;
                registry.close_all(drain).await;
                registry.emptied().await;
                lifecycle.set_drained();
            }
        }));
        Self(Arc::new(Shared { backend, settings, origins, clock, lifecycle, registry }))
    }

    /// A place for a stream of another transport from `address`: under the same limits, and told to leave in the same
    /// batches.
    pub(in crate::http) fn seat(
        &self,
        address: IpAddr,
        counted: impl FnOnce() -> Counted,
    ) -> Result<SocketSeat, NoSeat> {
        self.0.registry.admit_as(address, counted)
    }

    pub(in crate::http) fn settings(&self) -> &SocketSettings {
        &self.0.settings
    }

    pub(in crate::http) fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    pub(in crate::http) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// How many sockets are open, streams of other transports included.
    pub fn open(&self) -> usize {
        self.0.registry.len()
    }

    /// Answers a request for an upgrade from `address`, the client's own behind any trusted proxy.
    ///
    /// Before 101: 405, 400 or 426 for what is no handshake (RFC 6455, 4.2), 403 for a page that may not call,
    /// 503 while the process stops, each with GraphQL errors as JSON. Native clients send no `Origin` and are let in. A
    /// client that does not offer `graphql-transport-ws` is upgraded and closed with 4406, and one from an address with
    /// too many sockets with 1013, because a page can read a close code and not a status; 429 where too many are being
    /// told so already.
    pub fn upgrade(&self, parts: &mut Parts, address: IpAddr) -> Response {
        let shared = &self.0;
        if shared.lifecycle.is_stopping() {
            return stopping();
        }
        let (mut response, upgrade) = match handshake(parts) {
            Ok(accepted) => accepted,
            Err(refusal) => return *refusal,
        };
        let target = parts.extensions.remove::<Target>().unwrap_or_default();
        if !shared.origins.admit(&parts.headers, &target) {
            metrics::refused("origin");
            return refusal(StatusCode::FORBIDDEN, ErrorCode::Forbidden, "This origin may not open sockets");
        }
        let seat = match shared.registry.admit(address) {
            Ok(seat) => Ok(seat),
            Err(NoSeat::Stopping) => return stopping(),
            Err(NoSeat::Full) => {
                metrics::refused("address");
                match shared.registry.turn_away(address) {
                    Some(turned_away) => Err(turned_away),
                    None => return crowded(),
                }
            }
        };
        let offered = offered(&parts.headers);
        let speaks = offered.contains(&SUBPROTOCOL);
        // A client fails by itself, without a code, when none of its protocols comes back.
        let chosen = if speaks { Some(SUBPROTOCOL) } else { offered.first().copied() };
        if let Some(chosen) = chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        spell(&mut response);
        let credential = Credential::of_request(&parts.headers);
        // The task owns the seat: an upgrade that fails gives it back.
        drop(match seat {
            Ok(seat) => {
                shared.lifecycle.spawn(take_over(Arc::clone(shared), upgrade, seat, address, credential, speaks))
            }
            Err(turned_away) => shared.lifecycle.spawn(turn_away(Arc::clone(shared), upgrade, turned_away)),
        });
        response
    }
}

/// Whether a request asks for a socket.
pub(in crate::http) fn wants_socket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// How long a socket without a seat stays open after its upgrade.
const TURN_AWAY: Duration = Duration::from_secs(3);

/// Serves a connection that has a seat.
async fn take_over<B: SocketBackend>(
    shared: Arc<Shared<B>>,
    upgrade: OnUpgrade,
    seat: SocketSeat,
    address: IpAddr,
    credential: Credential,
    speaks: bool,
) {
    let Some((wire, mut reader)) = connect(&shared, upgrade).await else { return };
    if speaks {
        // A task of its own: this one keeps the place of everything that it took to get here.
        let lifecycle = shared.lifecycle.clone();
        drop(lifecycle.spawn(Box::new(Session::new(shared, seat, address, credential, wire)).run(reader)));
    } else {
        part(Close::Subprotocol, &wire, &mut reader).await;
        drop(seat);
    }
}

/// Tells a socket that there is no seat for it. A peer that does not read it is not waited for long.
async fn turn_away<B: SocketBackend>(shared: Arc<Shared<B>>, upgrade: OnUpgrade, turned_away: TurnedAway) {
    let told = async {
        if let Some((wire, mut reader)) = connect(&shared, upgrade).await {
            part(Close::Crowded, &wire, &mut reader).await;
        }
    };
    let _ = timeout(TURN_AWAY, told).await;
    drop(turned_away);
}

async fn part(close: Close, wire: &SocketWriter, reader: &mut MessageReader) {
    metrics::closed(close.label());
    closing::part(close.into(), wire, reader, std::future::ready(())).await;
    wire.shut_down();
}

/// The connection of a socket, from the moment at which HTTP lets go of it.
async fn connect<B: SocketBackend>(
    shared: &Shared<B>,
    upgrade: OnUpgrade,
) -> Option<(Arc<SocketWriter>, MessageReader)> {
    let upgraded = upgrade.await.ok()?;
    let Ok(connection) = upgraded.downcast::<TokioIo<Served>>() else {
        tracing::error!("a socket came over something that the server has not accepted");
        return None;
    };
    // A copy: what was read early keeps all of HTTP's read buffer alive.
    let early = connection.read_buf.to_vec();
    drop(connection.read_buf);
    let pipe = match connection.io.into_inner().into_inner() {
        Connection::Left(tcp) => SocketConnection::Plain(tcp.into_inner()),
        Connection::Right(secured) => {
            let (tcp, session) = secured.into_inner();
            SocketConnection::secured(tcp.into_inner(), session)
        }
    };
    let wire = Arc::new(SocketWriter::new(pipe, &shared.settings));
    let largest = usize::try_from(shared.settings.max_message_bytes.get()).unwrap_or(usize::MAX);
    let reader = MessageReader::new(Arc::clone(&wire), early, largest);
    Some((wire, reader))
}

/// The response to a handshake, and the connection that will follow it.
fn handshake(parts: &mut Parts) -> Result<(Response, OnUpgrade), Box<Response>> {
    let bad = |status, message: &str| {
        metrics::refused("handshake");
        Box::new(refusal(status, ErrorCode::BadRequest, message))
    };
    if parts.method != Method::GET {
        let mut response = bad(StatusCode::METHOD_NOT_ALLOWED, "A WebSocket begins with GET");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Err(response);
    }
    let mut request = Request::new(());
    *request.headers_mut() = parts.headers.clone();
    *request.version_mut() = parts.version;
    let response = create_response_with_body(&request, Body::empty).map_err(|error| match error {
        WireError::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            let mut response = bad(StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13");
            response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            response
        }
        other => bad(StatusCode::BAD_REQUEST, &other.to_string()),
    })?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| parts.version == Version::HTTP_11);
    let upgrade = upgrade.ok_or_else(|| bad(StatusCode::BAD_REQUEST, "This connection cannot be upgraded"))?;
    Ok((response, upgrade))
}

/// The subprotocols that a client offers, in its order.
fn offered(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty()).collect()
}

pub(in crate::http) fn stopping() -> Response {
    metrics::refused("stopping");
    let message = "This server is restarting: try again";
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::RateLimited, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(in crate::http) fn crowded() -> Response {
    let message = "Too many open sockets from this address";
    let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

pub(in crate::http) fn refusal(status: StatusCode, code: ErrorCode, message: &str) -> Response {
    let body = json!({ "errors": [{ "message": message, "extensions": { "code": code.as_str() } }] });
    (status, Json(body)).into_response()
}
