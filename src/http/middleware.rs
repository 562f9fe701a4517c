//! What stands around every request: an id, a log line, security headers, and the answer to a panic.

use std::any::Any;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::router::Web;
use crate::graphql::errors::ErrorCode;

/// Carries the id of a request, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id given to a request by [`around`].
#[derive(Clone, Debug)]
struct RequestId(String);

/// The id of the request that these parts are of.
pub fn request_id(parts: &Parts) -> String {
    parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// Gives the request an id, the response its headers, and the log a line.
pub async fn around(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let began = tokio::time::Instant::now();
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let sane = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let id = given.filter(sane).map_or_else(|| web.operations.request_id(), ToOwned::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        request.id = id,
        http.method = %method,
        http.path = path,
        http.status = status.as_u16(),
        duration.ms = millis,
        "request"
    );
    metrics::counter!("lancewire_http_requests_total", "status" => status.as_u16().to_string()).increment(1);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
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
