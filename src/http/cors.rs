//! What pages of other origins may read and send (CORS, in the Fetch standard).
//!
//! Surrounds every route and its refusals, so that a page can read why it was refused. A page that may call is allowed
//! any header that it asks for: libraries add their own (`apollographql-client-name`, `traceparent`, `sentry-trace`),
//! and a list would miss the next one. That is safe: callers authenticate by a token that a page must have, never by a
//! cookie. A page that may not call gets no CORS headers, and its browser hides the answer. Records with [`Target`]
//! where each request was sent to.
//!
//! Own code: `tower-http` answers every OPTIONS itself, also one that is no preflight, and tells pages that may not
//! call the methods and headers of those that may.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    client_address::Proxies,
    header_values::members,
    origins::{Origins, OverTls, Target},
};

const METHODS: &str = "GET, HEAD, POST, PUT";
/// What a page may read of an answer beyond what it always may.
const EXPOSED: &str = "x-request-id, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset, \
                       www-authenticate, allow, accept-encoding";
/// How long a browser need not ask again, in seconds. None keeps it longer.
const MAX_AGE: &str = "7200";
/// Asked for where a public page calls an address of a private network.
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// What the answer to a preflight depends on, besides the origin.
const PREFLIGHT_VARY: &str =
    "access-control-request-method, access-control-request-headers, access-control-request-private-network";

/// Answers preflights, and tells browsers what a page may read.
pub async fn cors(
    State(origins): State<Arc<Origins>>,
    State(proxies): State<Arc<Proxies>>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = target(&proxies, &request);
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    // `*` is the same for everybody; else the answer names the one origin that it is for.
    let allowed = if origins.are_all() {
        Some(HeaderValue::from_static("*"))
    } else {
        origin.clone().filter(|_| origins.admit(headers, &target))
    };
    let is_preflight = request.method() == Method::OPTIONS
        && origin.is_some()
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &allowed {
        Some(_) if is_preflight => preflight(headers),
        _ => {
            request.extensions_mut().insert(target);
            next.run(request).await
        }
    };
    let headers = response.headers_mut();
    if !origins.are_all() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if !is_preflight {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
    response
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    for names in asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        if is_list_of_names(names) {
            headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
    }
    if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true") {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    headers.append(header::VARY, HeaderValue::from_static(PREFLIGHT_VARY));
    response
}

/// Nothing else is given back as it came.
fn is_list_of_names(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|names| members(names).all(|name| name.parse::<HeaderName>().is_ok()))
}

fn target(proxies: &Proxies, request: &Request) -> Target {
    let (headers, extensions) = (request.headers(), request.extensions());
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let (forwarded, secured) = peer.map_or_else(Default::default, |peer| proxies.called(peer, headers));
    let secure = secured || extensions.get::<OverTls>().is_some();
    Target::new(request.uri(), headers, forwarded, secure)
}
