//! What stands around every request: an id, a log line, security headers, and the answer to a panic.

use std::{
    any::Any,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use tracing::Instrument as _;

use super::{
    access::{self, Access},
    bad_heads::{self, MAX_HEAD},
    client_address::Proxies,
};
use crate::{graphql::errors::ErrorCode, limits::Arrivals, operations::Operations};

/// Carries the id of a request, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id given to a request by [`request_middleware`].
#[derive(Clone, Debug)]
struct RequestId(String);

/// The id of the request that these parts are of.
pub fn request_id(parts: &Parts) -> String {
    parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// Gives the request an id, the response its headers, and the log a line.
pub async fn request_middleware(
    State(operations): State<Operations>,
    State(proxies): State<Arc<Proxies>>,
    State(arrivals): State<Arrivals>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = tokio::time::Instant::now();
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let sane = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let id = given.filter(sane).map_or_else(|| operations.request_id(), ToOwned::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), shown(request.uri().path()));
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let address = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| proxies.client(peer, request.headers()));
    let span = access::span(&id);
    let mut response = match arrivals.request(address) {
        Err(retry_after) => too_fast(retry_after),
        Ok(()) if head_size(&request) > MAX_HEAD => too_large(),
        Ok(()) => next.run(request).instrument(span.clone()).await,
    };
    let status = response.status();
    let line = access::Request {
        method: method.as_str(),
        path: &path,
        status: status.as_u16(),
        address,
        duration: began.elapsed(),
    };
    span.in_scope(|| match response.extensions_mut().remove::<Access>() {
        Some(access) => access.log_request(&line),
        None => line.log(),
    });
    metrics::counter!("lancewire_http_requests_total", "status" => status.as_u16().to_string()).increment(1);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    secure(headers);
    response
}

/// How many bytes the head of a request has, but for what stands between its parts. hyper looks at the size of what it has
/// read only while that is not yet a whole head, and reads more than it is set to.
fn head_size(request: &Request) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    headers.sum::<usize>() + target
}

fn too_large() -> Response {
    let mut response = error(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ErrorCode::BadRequest, bad_heads::TOO_LARGE);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Closes the connection, too: the next request on it would cost us as much, and the sender nothing.
fn too_fast(retry_after: Duration) -> Response {
    let message =
        "Too many requests from your address. Wait as long as Retry-After says, and ask for more in each request.";
    let mut response = error(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A path as the log shows it: its first 128 characters, and none that a terminal would obey.
fn shown(path: &str) -> String {
    const MOST: usize = 128;
    let mut characters = path.chars();
    let mut shown: String =
        characters.by_ref().take(MOST).map(|letter| if letter.is_ascii_graphic() { letter } else { '?' }).collect();
    if characters.next().is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// The headers that every response has.
pub(super) fn secure(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// The answer when a handler panicked. The panic hook has logged where and why; nothing of it goes out.
pub fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = "Something went wrong on our side. Tell us the x-request-id, and we find out what.";
    error(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::InternalServerError, message)
}

/// The answer to a body that did not arrive in time.
pub fn too_slow() -> Response {
    error(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout, "The request's body did not arrive in time. Send it again.")
}

/// A JSON error in GraphQL's shape.
pub fn error(status: StatusCode, code: ErrorCode, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "message": message, "extensions": { "code": code.as_str() } }] });
    (status, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_log_is_short_and_harmless() {
        assert_eq!(shown("/graphql"), "/graphql");
        assert_eq!(shown("/a\u{1b}[31m\u{85}\u{202e}\n b"), "/a?[31m????b");
        let long = shown(&"/x".repeat(10_000));
        assert!(long.chars().count() == 129 && long.ends_with('\u{2026}'), "{long}");
    }
}
