//! GraphQL over HTTP: from a request to what is to be run, and from its outcome to a response.
//!
//! Owns the protocol (the GraphQL-over-HTTP draft) as plain functions; the handler in the router strings them together:
//! [`negotiate`](super::negotiation::negotiate), [`read_body`], [`parse_get`] or [`parse_post`],
//! [`Documents::prepare`](crate::graphql::language::Documents::prepare), [`check_transport`], the budget, the schema,
//! [`respond`]. The npm package graphql-http audits the result (`tests/js/audit.mjs`): all 61 audits, optional ones
//! included, pass.
//!
//! Invariants: mutations run by POST with `application/json` only, which a foreign page cannot send without asking
//! first (the defence against forged requests); nothing is parsed before its size is known; each answer is JSON with
//! `errors` and/or `data`, and one for a request that never ran has no `data`.
//!
//! Own code: async-graphql-axum runs mutations by GET and from `text/plain`, has no limit on the size of a body, and
//! answers 200 with one media type whatever happens. (Batches would be no reason: its `GraphQLRequest` refuses them.)
//! It is mounted beside this, with what it lacks in front of it: [`stock`](super::stock).

use async_graphql::{Response as Outcome, ServerError, parser::types::OperationType};
use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use http_body_util::LengthLimitError;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    header_values::{members, with_parameters},
    json::{Unreadable, marked_halves},
    negotiation::{MediaType, is_utf8},
};
use crate::{
    auth::sessions::Unauthenticated,
    graphql::{
        classify::{code, is_request_error},
        errors::ErrorCode,
        language::SentVariables,
        limits::failure,
    },
    limits::budgets::Budget,
};

/// The largest body that is read, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// The methods of `/graphql`.
pub const ALLOWED: &str = "GET, HEAD, POST, OPTIONS";

/// Apollo's and urql's clients look for exactly this text. Then they send whole documents, once each.
pub const PERSISTED_QUERY_NOT_SUPPORTED: &str = "PersistedQueryNotSupported";

/// The parameters of one request. Unknown ones are ignored, as the draft wants it; so are extensions.
///
/// It waits while the caller is authenticated: so it takes no more memory than what was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// The document.
    pub query: String,
    /// Which of its operations to run; an empty name is none.
    pub operation_name: Option<String>,
    /// Values of its variables.
    pub variables: SentVariables,
}

/// Why a request is not a GraphQL request that this endpoint serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `Accept` names nothing we send: 406.
    NotAcceptable,
    /// Neither GET nor POST: 405.
    Method,
    /// A mutation by GET: 405.
    MutationByGet,
    /// A subscription where one answer is all there is: 400.
    Subscription,
    /// A POST of something else than JSON: 415.
    ContentType,
    /// A compressed body: 415.
    ContentEncoding,
    /// A body above the limit, in bytes: 413.
    TooLarge(usize),
    /// Not the parameters of a GraphQL request, and why: 400.
    Malformed(String),
    /// Parameters that no text can hold.
    Unreadable(Unreadable),
    /// A hash without its document. None is kept here, so the client sends whole documents from now on: 200.
    PersistedQuery,
}

impl Refusal {
    fn message(&self) -> String {
        match self {
            Self::NotAcceptable => "Accept application/graphql-response+json, application/json or text/event-stream; \
                                    for subscriptions also multipart/mixed;subscriptionSpec=1.0."
                .to_owned(),
            Self::Method => "Send GraphQL by POST, or queries by GET.".to_owned(),
            Self::MutationByGet => "Mutations are not run by GET. Send this one by POST.".to_owned(),
            Self::Subscription => "Subscriptions give many answers and JSON has room for one. Open a WebSocket with \
                                   the subprotocol graphql-transport-ws, or accept text/event-stream or \
                                   multipart/mixed;subscriptionSpec=1.0."
                .to_owned(),
            Self::ContentType => {
                "Send the body as JSON, with the header \"Content-Type: application/json\" (UTF-8).".to_owned()
            }
            Self::ContentEncoding => {
                "Send the body as it is, without Content-Encoding: compressed bodies are not read here.".to_owned()
            }
            Self::TooLarge(limit) => format!("The body is larger than {limit} bytes. Send less."),
            Self::Malformed(why) => why.clone(),
            Self::Unreadable(unreadable) => unreadable.error().message,
            Self::PersistedQuery => PERSISTED_QUERY_NOT_SUPPORTED.to_owned(),
        }
    }

    /// The refusal as a GraphQL error.
    pub fn error(&self) -> ServerError {
        let code = match self {
            Self::Unreadable(unreadable) => return unreadable.error(),
            Self::PersistedQuery => ErrorCode::PersistedQueryNotSupported,
            _ => ErrorCode::BadRequest,
        };
        failure(code, self.message(), None)
    }

    /// The refusal as a response; without an acceptable media type it is [`MediaType::Json`].
    pub fn respond(&self, media: MediaType) -> Response {
        let mut response = respond(Outcome::from_errors(vec![self.error()]), media);
        let status = match self {
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Method | Self::MutationByGet => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType | Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Subscription | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unreadable(_) => response.status(),
            // In every media type: clients for phones look at no body of another status, and would never send the whole
            // document.
            Self::PersistedQuery => StatusCode::OK,
        };
        *response.status_mut() = status;
        let (name, value) = match self {
            Self::Method => (header::ALLOW, ALLOWED),
            Self::MutationByGet => (header::ALLOW, "POST"),
            // What to send instead (RFC 9110, section 15.5.16).
            Self::ContentType => (header::ACCEPT, "application/json"),
            Self::ContentEncoding => (header::ACCEPT_ENCODING, "identity"),
            _ => return response,
        };
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}

/// The answer to a request whose token is no good.
pub(super) fn unauthenticated(error: &Unauthenticated) -> Outcome {
    let code = match error {
        Unauthenticated::Expired => ErrorCode::TokenExpired,
        Unauthenticated::Invalid => ErrorCode::Unauthenticated,
        Unauthenticated::InternalError(_) => ErrorCode::InternalServerError,
    };
    Outcome::from_errors(vec![failure(code, error.to_string(), None)])
}

/// Reads a body of at most `limit` bytes that is not compressed. Cancel safe, but what was read is lost.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Refusal> {
    if !is_plain(headers) {
        discard(body).await;
        return Err(Refusal::ContentEncoding);
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) {
        discard(body).await;
        return Err(Refusal::TooLarge(limit));
    }
    to_bytes(body, limit).await.map_err(|error| {
        let is_too_large = error.into_inner().is::<LengthLimitError>();
        if is_too_large { Refusal::TooLarge(limit) } else { Refusal::Malformed("The body broke off.".to_owned()) }
    })
}

/// Reads on what will not be used if it is little, so that the connection can be used again. One that has been told to
/// wait for a word (`Expect: 100-continue`) sends nothing.
pub async fn discard_little(headers: &HeaderMap, body: Body) {
    const LITTLE: u64 = 16 * 1024;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length <= LITTLE) && !headers.contains_key(header::EXPECT) {
        discard(body).await;
    }
}

/// Reads on for a moment what will not be used. A connection that is closed on a client in the middle of sending is reset,
/// and the reset overtakes the answer. Bounded in bytes and in time, for those who would send for ever.
pub async fn discard(body: Body) {
    const MOST: usize = 4 * MAX_BODY;
    let rest = async {
        let (mut chunks, mut read) = (body.into_data_stream(), 0);
        while let Some(Ok(chunk)) = chunks.next().await {
            read += chunk.len();
            if read > MOST {
                return;
            }
        }
    };
    // Either way the answer goes out now.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), rest).await;
}

/// The parameters of a GET, from the part of its URL after `?`. `variables` and `extensions` are JSON.
pub fn parse_get(query: Option<&str>) -> Result<Incoming, Refusal> {
    let mut parameters = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let value = match name.as_ref() {
            "query" | "operationName" => Value::String(value.into_owned()),
            "variables" | "extensions" if value.is_empty() => continue,
            "variables" | "extensions" => serde_json::from_str(&value).map_err(|error| {
                let half = marked_halves(&value).map(|value| unreadable(&json!({ &*name: value })));
                half.unwrap_or_else(|| Refusal::Malformed(format!("\"{name}\" is not JSON: {error}.")))
            })?,
            _ => continue,
        };
        if parameters.insert(name.to_string(), value).is_some() {
            return Err(Refusal::Malformed(format!("\"{name}\" is there twice.")));
        }
    }
    incoming(parameters)
}

/// The parameters of a POST.
pub fn parse_post(headers: &HeaderMap, body: &[u8]) -> Result<Incoming, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::ContentType);
    }
    if body.is_empty() {
        return Err(Refusal::Malformed("The body is empty. Send a JSON object with \"query\".".to_owned()));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(parameters)) => incoming(parameters),
        Ok(Value::Array(_)) => {
            Err(Refusal::Malformed("Batches are not served. Send each operation in a request of its own.".to_owned()))
        }
        Ok(other) => Err(Refusal::Malformed(format!("The body must be a JSON object, but is {}.", kind(&other)))),
        Err(error) => {
            let half = std::str::from_utf8(body).ok().and_then(marked_halves);
            let half = half.as_ref().map(unreadable);
            Err(half.unwrap_or_else(|| Refusal::Malformed(format!("The body is not JSON: {error}."))))
        }
    }
}

fn unreadable(parameters: &Value) -> Refusal {
    Refusal::Unreadable(Unreadable::half(parameters))
}

/// Whether every type that the request names is JSON in UTF-8. One is usual; a proxy may have written it twice.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_TYPE).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut types = lines.flat_map(members).peekable();
    types.peek().is_some()
        && types.all(|media_type| {
            let (essence, mut parameters) = with_parameters(media_type);
            essence.eq_ignore_ascii_case("application/json")
                && parameters.all(|(name, value)| !name.eq_ignore_ascii_case("charset") || is_utf8(&value))
        })
}

/// Whether the body comes as it is: not compressed.
fn is_plain(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(members).all(|coding| coding.eq_ignore_ascii_case("identity"))
}

fn incoming(mut parameters: Map<String, Value>) -> Result<Incoming, Refusal> {
    let wrong = |name: &str, expected: &str, found: &Value| {
        Refusal::Malformed(format!("\"{name}\" must be {expected}, but is {}.", kind(found)))
    };
    let operation_name = match parameters.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
        Some(other) => return Err(wrong("operationName", "a string", &other)),
    };
    let mut object = |name: &str| match parameters.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(other) => Err(wrong(name, "an object", &other)),
    };
    let (variables, extensions) = (object("variables")?, object("extensions")?);
    // Of protocol extensions none is known but `persistedQuery`: a hash without its document is declined.
    let variables = SentVariables::new(&variables);
    let query = match parameters.remove("query") {
        Some(Value::String(query)) if !query.is_empty() => query,
        None | Some(Value::Null | Value::String(_)) if extensions.contains_key("persistedQuery") => {
            return Err(Refusal::PersistedQuery);
        }
        None | Some(Value::Null | Value::String(_)) => {
            return Err(Refusal::Malformed("\"query\" is missing: send the GraphQL document in it.".to_owned()));
        }
        Some(other) => return Err(wrong("query", "a string", &other)),
    };
    Ok(Incoming { query, operation_name, variables })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Whether an operation of this kind may come by this method.
pub fn check_transport(method: &Method, operation: OperationType) -> Result<(), Refusal> {
    match operation {
        OperationType::Query => Ok(()),
        OperationType::Mutation if method == Method::POST => Ok(()),
        OperationType::Mutation => Err(Refusal::MutationByGet),
        OperationType::Subscription => Err(Refusal::Subscription),
    }
}

/// The outcome of an operation, or the errors that kept it from running, as a response.
///
/// Errors without a path make the status: 401 with a challenge for tokens, 403, 429 with `Retry-After`, 500 and 503 in
/// both media types; all others 400, or 200 for clients that only know `application/json`.
pub fn respond(mut outcome: Outcome, media: MediaType) -> Response {
    let of_request = is_request_error(&outcome);
    let status = if of_request { status(&outcome.errors, media) } else { StatusCode::OK };
    let Ok(body) = encode(&mut outcome) else {
        // Values that are in memory as JSON can be written as JSON.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let content_type = match media {
        MediaType::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        MediaType::Json | MediaType::EventStream | MediaType::Multipart | MediaType::Html => {
            "application/json; charset=utf-8"
        }
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.extend(std::mem::take(&mut outcome.http_headers));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    }
    if let Some(millis) = retry_after(&outcome.errors) {
        headers.insert(header::RETRY_AFTER, millis.div_ceil(1_000).max(1).into());
    }
    response
}

/// An outcome in JSON, as the specification shapes it: without `data` if the operation never ran.
pub fn encode(outcome: &mut Outcome) -> serde_json::Result<String> {
    let of_request = is_request_error(outcome);
    for error in &mut outcome.errors {
        // The place of an error that has none is line 0 in async-graphql; the specification counts from 1.
        error.locations.retain(|at| at.line > 0);
    }
    serde_json::to_string(&Answer {
        errors: &outcome.errors,
        data: (!of_request).then_some(&outcome.data),
        extensions: &outcome.extensions,
    })
}

/// The body of an answer (spec 7.1).
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a async_graphql::Value>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extensions: &'a std::collections::BTreeMap<String, async_graphql::Value>,
}

fn status(errors: &[ServerError], media: MediaType) -> StatusCode {
    let is = |wanted: ErrorCode| errors.iter().any(|error| code(error) == Some(wanted.as_str()));
    if is(ErrorCode::InternalServerError) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if is(ErrorCode::Timeout) || is(ErrorCode::Unavailable) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if is(ErrorCode::RateLimited) {
        StatusCode::TOO_MANY_REQUESTS
    } else if is(ErrorCode::Unauthenticated) || is(ErrorCode::TokenExpired) {
        StatusCode::UNAUTHORIZED
    } else if is(ErrorCode::Forbidden) {
        StatusCode::FORBIDDEN
    } else if is(ErrorCode::BadRequest) || media == MediaType::GraphqlResponse {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    }
}

/// When to come back, in milliseconds, if the whole request was refused for that.
fn retry_after(errors: &[ServerError]) -> Option<u64> {
    let [ServerError { extensions: Some(extensions), path, .. }] = errors else { return None };
    match extensions.get("retryAfterMs")? {
        async_graphql::Value::Number(millis) if path.is_empty() => millis.as_u64(),
        _ => None,
    }
}

/// Tells what is left of the caller's budget, in whole seconds and points (draft-ietf-httpapi-ratelimit-headers-06).
pub fn tell_budget(headers: &mut HeaderMap, budget: &Budget) {
    let reset = budget.reset_after.as_secs() + u64::from(budget.reset_after.subsec_nanos() > 0);
    headers.insert(HeaderName::from_static("ratelimit-limit"), budget.limit.into());
    headers.insert(HeaderName::from_static("ratelimit-remaining"), budget.remaining.into());
    headers.insert(HeaderName::from_static("ratelimit-reset"), reset.into());
}

#[cfg(test)]
mod tests;
