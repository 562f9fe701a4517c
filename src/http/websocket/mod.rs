//! GraphQL over WebSocket: the subprotocol `graphql-transport-ws`.
//!
//! Owns every open socket from the upgrade to the last byte. [`Sockets::upgrade`] is called by the router and decides
//! everything that can be decided before 101: the process is not stopping, the `Origin` is listed, the address has not
//! too many sockets. What needs the protocol is told by a close code afterwards, [`close`] lists them.
//!
//! - [`session`]: the loop of one socket, the only place where its state changes
//! - [`goodbye`]: its last seconds
//! - [`operation`]: what runs on it
//! - [`writer`]: the one seam for writing
//! - [`registry`]: who is connected, and how all are sent home
//! - [`protocol`] and [`close`]: the messages and codes, pure
//! - [`backend`]: what the rest of the server gives
//!
//! Own code instead of async-graphql's socket, which closes with codes that end graphql-ws clients for good, has no
//! timeout before `connection_init`, replaces a duplicate id, never sends `error`, never pings, has no limits, cannot
//! be closed from outside, and takes 143 KB a connection and 36.5 CPU-seconds a million deliveries. Here 3,000 idle
//! sockets with one subscription each were measured at 6 KB a socket (debug build), and prototypes with shared payloads
//! and one flush for all that waits stayed below nine CPU-seconds.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json,
    extract::ws::{WebSocket, WebSocketUpgrade},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, ORIGIN, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

use self::{
    close::Close,
    protocol::{Credential, SUBPROTOCOL},
    registry::{NoSeat, Registry, Seat},
    session::Session,
};
use crate::{clock::Clock, graphql::errors::ErrorCode, lifecycle::Lifecycle};

mod backend;
mod close;
mod goodbye;
pub mod metrics;
mod operation;
mod protocol;
mod registry;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    backend::{Identity, Operation, OperationKind, Outcome, Refused, SocketBackend, SubscribePayload},
    settings::SocketSettings,
};

/// tungstenite zero-fills its read buffer at each poll: 128 KiB of it cost 14 us a message.
const READ_BUFFER: usize = 4 * 1024;

/// What is gathered before a write when much waits.
const WRITE_BUFFER: usize = 16 * 1024;

/// Room in the write buffer for frame headers and answers beside the largest result.
const WRITE_SLACK: usize = 8 * 1024;

/// Every WebSocket of this process. Clones share them.
#[derive(Clone)]
pub struct Sockets<B>(Arc<Shared<B>>);

struct Shared<B> {
    backend: B,
    settings: SocketSettings,
    origins: Origins,
    clock: Clock,
    lifecycle: Lifecycle,
    registry: Registry,
}

impl<B: SocketBackend> Sockets<B> {
    /// Ready to take sockets until `lifecycle` stops; then all are told to go (1012), spread over `drain_ms`.
    ///
    /// `origins` are what browsers may come from, as they write it in `Origin` (`https://example.org`); `*` admits
    /// every page and is for development. Must be called within a tokio runtime.
    pub fn new(backend: B, settings: SocketSettings, origins: &[String], clock: Clock, lifecycle: Lifecycle) -> Self {
        let registry = Registry::new(&settings);
        drop(lifecycle.spawn({
            let (registry, lifecycle, drain) = (registry.clone(), lifecycle.clone(), settings.drain());
            async move {
                lifecycle.stopping().await;
                registry.close_all(drain).await;
            }
        }));
        let origins = Origins::new(origins);
        Self(Arc::new(Shared { backend, settings, origins, clock, lifecycle, registry }))
    }

    /// How many sockets are open.
    pub fn open(&self) -> usize {
        self.0.registry.len()
    }

    /// Answers a request for an upgrade from `address`, the client's own behind any trusted proxy.
    ///
    /// Before 101: 403 for an `Origin` that is not listed, 429 for an address with too many sockets, 503 while the
    /// process stops, each with GraphQL errors as JSON. Native clients send no `Origin` and are let in. A client that
    /// does not offer `graphql-transport-ws` is upgraded and closed with 4406, because it can read a close code and
    /// not a status.
    pub fn upgrade(&self, upgrade: WebSocketUpgrade, headers: &HeaderMap, address: IpAddr) -> Response {
        let shared = &self.0;
        if shared.lifecycle.is_stopping() {
            return stopping();
        }
        if !shared.origins.admit(headers) {
            metrics::refused("origin");
            return refusal(StatusCode::FORBIDDEN, ErrorCode::Forbidden, "This origin may not open sockets");
        }
        let seat = match shared.registry.admit(address) {
            Ok(seat) => seat,
            Err(NoSeat::Stopping) => return stopping(),
            Err(NoSeat::Full) => {
                metrics::refused("address");
                let message = "Too many open sockets from this address";
                let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
                return response;
            }
        };
        let credential = Credential::from_header(headers.get(AUTHORIZATION));
        let shared = Arc::clone(shared);
        // The closure owns the seat: an upgrade that fails gives it back. The task in which axum runs it is nobody's,
        // so it ends at once and the socket goes on in one of the lifecycle's.
        self.configure(upgrade).on_upgrade(move |socket| {
            let lifecycle = shared.lifecycle.clone();
            drop(if socket.protocol().is_some_and(|protocol| protocol == SUBPROTOCOL) {
                lifecycle.spawn(Session::new(shared, seat, address, credential).run(socket))
            } else {
                lifecycle.spawn(turn_away(socket, seat))
            });
            std::future::ready(())
        })
    }

    fn configure(&self, upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        let settings = &self.0.settings;
        let largest = size(settings.max_message_bytes.get());
        let mut upgrade = upgrade
            .protocols([SUBPROTOCOL])
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(size(settings.queue_bytes.get()).saturating_add(WRITE_BUFFER + WRITE_SLACK))
            .max_message_size(largest)
            .max_frame_size(largest);
        if upgrade.selected_protocol().is_none() {
            // A client fails by itself, without a code, when none of its protocols comes back.
            let offered = upgrade.requested_protocols().find(|protocol| !protocol.is_empty()).cloned();
            if let Some(offered) = offered {
                upgrade.set_selected_protocol(offered);
            }
        }
        upgrade
    }
}

async fn turn_away(socket: WebSocket, seat: Seat) {
    let close = Close::Subprotocol;
    metrics::closed(close.label());
    goodbye::say_goodbye(socket, &close).await;
    drop(seat);
}

fn stopping() -> Response {
    metrics::refused("stopping");
    let message = "This server is restarting: try again";
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::RateLimited, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refusal(status: StatusCode, code: ErrorCode, message: &str) -> Response {
    let body = json!({ "errors": [{ "message": message, "extensions": { "code": code.as_str() } }] });
    (status, Json(body)).into_response()
}

/// The pages that may open sockets.
struct Origins {
    all: bool,
    listed: Vec<String>,
}

impl Origins {
    fn new(origins: &[String]) -> Self {
        Self {
            all: origins.iter().any(|origin| origin == "*"),
            listed: origins.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect(),
        }
    }

    /// Browsers always send exactly one `Origin`; a `null` one is an origin like any other.
    fn admit(&self, headers: &HeaderMap) -> bool {
        self.all
            || headers.get_all(ORIGIN).iter().all(|origin| {
                self.listed.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
            })
    }
}
