//! `/stock/graphql`: the same operations through async-graphql-axum's own handlers.
//!
//! A second way in, beside our own transports: to compare the two in tests and in the benchmark, and an example of how
//! any GraphQL server for async-graphql mounts [`operations`](crate::operations). Off in production
//! (`http.stock_mount`): it executes and encodes each event once for each subscription, where a group does so once for
//! all.
//!
//! - Queries and mutations by POST go to [`GraphQL`]. Subscriptions come by WebSocket to [`GraphQLWebSocket`], which is
//!   what `GraphQLSubscription` runs: used by itself, since only so it takes a token from `connection_init`.
//! - What stands in front is ours: the token of the request, budgets, the size of the body and the time for it, one
//!   content type, origins, a seat among the sockets of an address and a user, the size and the pace of messages.
//! - A socket is closed from outside by wrapping its halves: when the token or the session ends (4403), without
//!   `connection_init` in time (4408), when the process stops or the socket is old (1012), with too many messages or
//!   sockets (1013).
//!
//! What the library decides is as it is: a status of 200 for every answer that is JSON, `next` and `complete` in place of
//! `error`, a duplicate id that replaces the older operation, a mutation that ends with its socket.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_graphql::Data;
use async_graphql_axum::{GraphQL, GraphQLProtocol, GraphQLWebSocket};
use axum::{
    body::Body,
    extract::{
        ConnectInfo, FromRequestParts, Request, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt, future};
use governor::{Quota, RateLimiter};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::{
    authorization::{self, Authorization},
    graphql::{Refusal, discard_little, is_json, read_body, respond, unauthenticated},
    middleware,
    negotiation::MediaType,
    origins::{Origins, Target},
    state::GraphqlState,
    websocket::{Counted, Credential, NoSeat, SUBPROTOCOL, SocketSeat, crowded, refusal, stopping, wants_socket},
};
use crate::{
    auth::{actor::Origin, sessions::Unauthenticated},
    graphql::{classify::classify, errors::ErrorCode},
    operations::{Operations, Requester, Stopped},
};

/// How long the last frame of a socket may take.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Why a socket is closed from outside.
type Close = (u16, &'static str);

const FORBIDDEN: Close = (4403, "Forbidden");
const INIT_TIMEOUT: Close = (4408, "Connection initialisation timeout");
const RESTART: Close = (1012, "Service restart");
const TOO_MANY_MESSAGES: Close = (1013, "Too many messages");
const TOO_MANY_SOCKETS: Close = (1013, "Too many open sockets");
const UNAVAILABLE: Close = (1013, "The token cannot be looked at now");

/// `/stock/graphql` in both its forms.
pub(super) async fn endpoint(
    State(state): State<GraphqlState>,
    State(origins): State<Arc<Origins>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let client = state.proxies.client(peer.ip(), request.headers());
    if wants_socket(request.headers()) {
        let (mut parts, _) = request.into_parts();
        return upgrade(&state, &origins, client, &mut parts).await;
    }
    answer(&state, client, request).await.unwrap_or_else(|refusal| refusal.respond(MediaType::GraphqlResponse))
}

/// A query or mutation by POST.
async fn answer(state: &GraphqlState, client: IpAddr, request: Request) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let request_id = middleware::request_id(&parts);
    if parts.method != Method::POST {
        // By GET the library would run mutations, which a page of another origin can send.
        return Err(Refusal::Method);
    }
    if !is_json(&parts.headers) {
        return Err(Refusal::ContentType);
    }
    let authorization = authorization::of_request(&parts.headers);
    let refused = |mut refused: async_graphql::Response| {
        classify(&mut refused, &request_id);
        respond(refused, MediaType::GraphqlResponse)
    };
    let bearer = match state.operations.look(authorization, client) {
        Ok(bearer) => bearer,
        Err(stopped) => {
            discard_little(&parts.headers, body).await;
            return Ok(refused(match *stopped {
                Stopped::Unauthenticated(error) => unauthenticated(&error),
                Stopped::Refused(refused, ..) => refused,
            }));
        }
    };
    let body = read_body(&parts.headers, body, state.max_body_bytes);
    let Ok(body) = timeout(state.body_timeout, body).await else { return Ok(middleware::too_slow()) };
    let body = body?;
    let requester = match state.operations.authenticate(bearer).await {
        Ok(actor) => Requester::new(Origin { actor, address: client }, None),
        Err(error) => return Ok(refused(unauthenticated(&error))),
    };
    // One answer: who asks for many opens a socket, which has a seat.
    parts.headers.remove(header::ACCEPT);
    let mut handler = GraphQL::new(state.operations.executor(requester, 1));
    let Ok(response) = handler.call(Request::from_parts(parts, Body::from(body))).await;
    Ok(response)
}

/// Answers a request for a WebSocket.
async fn upgrade(state: &GraphqlState, origins: &Origins, client: IpAddr, parts: &mut Parts) -> Response {
    let target = parts.extensions.remove::<Target>().unwrap_or_default();
    if !origins.admit(&parts.headers, &target) {
        return refusal(StatusCode::FORBIDDEN, ErrorCode::Forbidden, "This origin may not open sockets");
    }
    let seat = match state.sockets.seat(client, Counted::socket) {
        Ok(seat) => seat,
        Err(NoSeat::Stopping) => return stopping(),
        Err(NoSeat::Full) => return crowded(),
    };
    // Of the two protocols that the library speaks the older one has no place for what we say.
    let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if !offered.flat_map(|value| value.split(',')).any(|offered| offered.trim() == SUBPROTOCOL) {
        let message = "Offer the subprotocol graphql-transport-ws";
        return refusal(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message);
    }
    parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let credential = Credential::of_request(&parts.headers);
    let protocol = match GraphQLProtocol::from_request_parts(parts, &()).await {
        Ok(protocol) => protocol,
        Err(refused) => return refused.into_response(),
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refused) => return refused.into_response(),
    };
    let settings = state.sockets.settings();
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    let largest = size(settings.max_message_bytes.get());
    let (queue, state) = (size(settings.queue_bytes.get()), state.clone());
    upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(queue.max(1))
        .max_message_size(largest)
        .max_frame_size(largest)
        .on_upgrade(move |socket| async move {
            // axum's own task has no owner: this one has.
            let lifecycle = state.sockets.lifecycle().clone();
            let _ = lifecycle.spawn(serve(state, client, seat, (socket, protocol), credential)).await;
        })
}

/// One socket, from its 101 to its last frame.
async fn serve(
    state: GraphqlState,
    client: IpAddr,
    seat: SocketSeat,
    (socket, protocol): (WebSocket, GraphQLProtocol),
    credential: Credential,
) {
    let settings = state.sockets.settings().clone();
    let (mut sink, messages) = socket.split();
    let (begun, begins) = oneshot::channel();
    let too_many = CancellationToken::new();
    let pace = RateLimiter::direct(Quota::per_minute(settings.messages_per_minute));
    let messages = messages.take_while({
        let too_many = too_many.clone();
        move |_| {
            let in_pace = pace.check().is_ok();
            if !in_pace {
                too_many.cancel();
            }
            future::ready(in_pace)
        }
    });
    let anonymous = Requester::anonymous(client);
    let executor = state.operations.executor(anonymous, settings.operations_per_socket.get());
    let operations = state.operations.clone();
    let serving = GraphQLWebSocket::new_with_pair(&mut sink, messages, executor, protocol)
        .on_connection_init(move |payload| async move {
            let of_payload = payload.as_object().map_or(Credential::Absent, Credential::from_payload);
            let known = requester(&operations, of_payload.or(credential), client).await;
            let data = known.as_ref().ok().map(|requester| {
                let mut data = Data::default();
                data.insert(requester.clone());
                data
            });
            let _ = begun.send(known);
            match data {
                Some(data) => Ok(data),
                // The library's own code for it is one that clients give up at: it is closed from outside.
                None => future::pending().await,
            }
        })
        .serve();
    let close = tokio::select! {
        // First, so that a busy socket is not kept open.
        biased;
        close = watch(&state, seat, begins) => Some(close),
        () = serving => too_many.is_cancelled().then_some(TOO_MANY_MESSAGES),
    };
    if let Some((code, reason)) = close {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = timeout(LAST_WORDS, sink.send(Message::Close(Some(frame)))).await;
    }
    let _ = timeout(LAST_WORDS, sink.close()).await;
}

/// Whom a socket's credential stands for.
async fn requester(operations: &Operations, credential: Credential, client: IpAddr) -> Result<Requester, Close> {
    let authorization = match &credential {
        Credential::Absent => Authorization::Empty,
        Credential::Token(token) => Authorization::Bearer(token),
        Credential::Malformed => Authorization::Foreign,
    };
    let authenticated = async { operations.authenticate_and_watch(operations.bearer(authorization)?).await };
    match authenticated.await {
        Ok((actor, watch)) => Ok(Requester::new(Origin { actor, address: client }, watch)),
        Err(Unauthenticated::Expired | Unauthenticated::Invalid) => Err(FORBIDDEN),
        Err(Unauthenticated::InternalError(error)) => {
            tracing::error!(error = %error, "a socket's token cannot be looked at");
            Err(UNAVAILABLE)
        }
    }
}

/// Completes when the socket must be closed, and says how.
async fn watch(
    state: &GraphqlState,
    mut seat: SocketSeat,
    begins: oneshot::Receiver<Result<Requester, Close>>,
) -> Close {
    let settings = state.sockets.settings();
    let init_timeout = Duration::from_millis(settings.init_timeout_ms.get());
    let known = tokio::select! {
        biased;
        () = seat.told_to_leave() => return RESTART,
        known = timeout(init_timeout, begins) => known,
    };
    let requester = match known {
        Ok(Ok(Ok(requester))) => requester,
        Ok(Ok(Err(close))) => return close,
        // The socket has ended, which the waiting task sees.
        Ok(Err(_)) => future::pending().await,
        Err(_) => return INIT_TIMEOUT,
    };
    if let Some(user) = requester.origin().actor.user()
        && seat.belongs_to(user).is_err()
    {
        return TOO_MANY_SOCKETS;
    }
    let mut forbidden = requester.forbidden(state.sockets.clock());
    loop {
        tokio::select! {
            biased;
            () = seat.told_to_leave() => return RESTART,
            _ = &mut forbidden => return FORBIDDEN,
            () = sleep(Duration::from_millis(settings.ping_interval_ms.get())) => {
                if seat.is_too_old() {
                    return RESTART;
                }
            }
        }
    }
}
