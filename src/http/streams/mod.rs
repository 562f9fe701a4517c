//! Subscriptions over HTTP, for where sockets are blocked: server-sent events and Apollo's multipart protocol.
//!
//! Owns the response from the admission of a subscription to the last byte of its body; called by the handler of
//! `/graphql`. Hub, execution, limits and identity are those of sockets: a stream has a seat in the sockets' registry,
//! so that one limit for an address and for a user covers both, and is closed in the same batches. Cost and budget are
//! those of the operation on any transport.
//!
//! - [`sse`] and [`multipart`]: the two formats, pure
//! - [`queue`]: the results that wait for the reader
//! - [`subscription`]: the body, which drives the feed when hyper polls it: no task, and so nothing that could outlive
//!   the response
//! - [`metrics`]: how many there are, and how they end
//!
//! **How a stream ends.** What is sent decides whether a client reconnects:
//!
//! | What happened | Server-sent events | Multipart |
//! | --- | --- | --- |
//! | the document or its arguments are refused, an invalid cursor | `next` with the errors, `complete` | the errors as plain JSON if that is accepted, else a part with `errors` |
//! | the token in the request is bad or expired | 401 | 401 |
//! | over a limit or a budget; stopping, the database is unreachable (`UNAVAILABLE`); an internal error | 429; 503; 500 | the same |
//! | the token expires, the session or the rights end | `next` with the error, then the end **without** `complete` | a part with `errors`, closing boundary |
//! | the budget was spent for too long (`RATE_LIMITED`) | `next` with the error, then the end **without** `complete` | a part with `errors`, the end without closing boundary |
//! | the next event is no longer kept, or too large | `next` with the error, `complete` | a part with `errors`, closing boundary |
//! | the process stops, the stream is too old, or the reader was too slow | the end without `complete` | the end without closing boundary |
//!
//! graphql-sse treats error statuses and an end without `complete` as network failures: it reconnects, asks its
//! application for headers again, and with `variables.after` or `Last-Event-ID` continues from its position. After
//! `complete` it stops. So `complete` is never sent for what a reconnect can solve, as with the close codes of sockets.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use tokio_util::sync::CancellationToken;

use self::subscription::StreamBody;
use super::{
    GraphqlState,
    graphql::{encode, respond},
    negotiation::MediaType,
    websocket::NoSeat,
};
use crate::{
    auth::{actor::Origin, revocations::Watch},
    graphql::{classify::code, errors::ErrorCode, limits::failure, subscriptions::Resume},
    operations::{PreparedOperation, Requester},
};

pub mod metrics;
mod multipart;
mod queue;
mod sse;
mod subscription;

/// The id of the last event that a client has seen: the cursor to go on after.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx not to keep events back until it has many.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The two ways to stream over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Server-sent events, as graphql-sse has them in its distinct connections mode.
    Sse,
    /// Parts of `multipart/mixed`, as Apollo has them.
    Multipart,
}

impl Transport {
    /// The one that this media type stands for, if it is one of many answers.
    pub const fn of(media: MediaType) -> Option<Self> {
        match media {
            MediaType::EventStream => Some(Self::Sse),
            MediaType::Multipart => Some(Self::Multipart),
            MediaType::GraphqlResponse | MediaType::Json | MediaType::Html => None,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Multipart => "multipart",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Sse => sse::CONTENT_TYPE,
            Self::Multipart => multipart::CONTENT_TYPE,
        }
    }
}

/// A subscription that was admitted, and all that is known of who sent it.
pub struct Opening {
    /// How it is to be written.
    pub transport: Transport,
    /// How one answer would be written.
    pub media: MediaType,
    /// The operation.
    pub ready: Box<PreparedOperation>,
    /// Who sent it.
    pub origin: Origin,
    /// Word of the end of their session.
    pub watch: Option<Watch>,
    /// The value of `Last-Event-ID`, whichever way the stream is written: the later one of it and the document's own
    /// `after` counts.
    pub resume: Option<Arc<str>>,
    /// The request's id.
    pub request_id: String,
}

/// Opens a stream, or says why not.
pub async fn open(state: &GraphqlState, opening: Opening) -> Response {
    let Opening { transport, media, ready, origin, watch, resume, request_id } = opening;
    let seat = state.sockets.seat(origin.address, || metrics::counted(transport));
    let seat =
        seat.and_then(|mut seat| origin.actor.user().map_or(Ok(()), |user| seat.belongs_to(user)).map(|()| seat));
    let seat = match seat {
        Ok(seat) => seat,
        Err(no_seat) => return crowded(no_seat),
    };
    let settings = state.sockets.settings();
    let revoked = watch.as_ref().map_or_else(CancellationToken::new, Watch::ended);
    let capacity = usize::try_from(settings.queue_bytes.get()).unwrap_or(usize::MAX);
    let (outlet, reader) = queue::queue(capacity, revoked);
    // An empty id is that of a client that has seen nothing.
    let resume = resume.filter(|cursor| !cursor.is_empty());
    let resume = resume.map(|cursor| Resume { name: "Last-Event-ID", cursor: Some(cursor) });
    let joined = match state.operations.join(ready, resume, &request_id, outlet).await {
        Ok(joined) => joined,
        Err(refused) => {
            let mut response = refuse(refused.response, transport, media);
            if refused.unavailable {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            return response;
        }
    };
    let forbidden = Requester::new(origin, watch).forbidden(state.sockets.clock());
    let log = state.log.clone();
    let heartbeat = std::time::Duration::from_millis(settings.ping_interval_ms.get());
    let subscription = StreamBody::new(transport, joined, reader, forbidden, (log, heartbeat), seat, request_id);
    stream(transport, subscription.into_body())
}

/// The answer to an operation that was refused before anything ran.
pub fn refuse(mut refused: async_graphql::Response, transport: Transport, media: MediaType) -> Response {
    let worth_another_try =
        [ErrorCode::RateLimited, ErrorCode::InternalServerError, ErrorCode::Timeout, ErrorCode::Unavailable];
    let is = |wanted: ErrorCode| refused.errors.iter().any(|error| code(error) == Some(wanted.as_str()));
    let again = worth_another_try.into_iter().any(is);
    let plain = if again { Some(MediaType::Json) } else { Some(media).filter(|_| transport == Transport::Multipart) };
    // The root field of a subscription that did not begin has no place in a result, and so there is no data.
    refused.errors.iter_mut().for_each(|error| error.path.clear());
    let refused = async_graphql::Response::from_errors(refused.errors);
    match plain.filter(|media| *media != MediaType::Multipart) {
        Some(media) => respond(refused, media),
        None => once(refused, transport),
    }
}

/// One outcome and the end, for an operation that has no more.
pub fn once(mut outcome: async_graphql::Response, transport: Transport) -> Response {
    let mut out = Vec::new();
    match transport {
        Transport::Sse => {
            let Ok(response) = encode(&mut outcome) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
            sse::next(&mut out, &response, None);
            sse::complete(&mut out);
        }
        Transport::Multipart => {
            multipart::begin(&mut out);
            multipart::failure(&mut out, &subscription::serialised(outcome.errors));
            multipart::complete(&mut out);
        }
    }
    stream(transport, out.into())
}

/// The answer to one too many, in the words of a plain answer: a client that gets it comes back.
fn crowded(no_seat: NoSeat) -> Response {
    let (status, message, again) = match no_seat {
        NoSeat::Full => (StatusCode::TOO_MANY_REQUESTS, "Too many open subscriptions: end one first", "10"),
        NoSeat::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "This server is restarting: try again", "1"),
    };
    let refused = async_graphql::Response::from_errors(vec![failure(ErrorCode::RateLimited, message, None)]);
    let mut response = respond(refused, MediaType::Json);
    *response.status_mut() = status;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(again));
    response
}

fn stream(transport: Transport, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, transport.content_type()),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
        (BUFFERING, "no"),
    ];
    (headers, body).into_response()
}
