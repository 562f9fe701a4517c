//! The messages of `graphql-transport-ws`, without any input or output.
//!
//! Pure: what a client's text means, what a server's message looks like, and in which phase each is allowed. Called by
//! [`session`](super::session) for what arrives and by [`writer`](super::writer) for what leaves. The checks are those
//! of graphql-ws' `validateMessage`, and every refusal names the field at fault. An [`OperationId`] is kept as the JSON
//! literal that is sent, so that the part before the payload of a `next` is made once an operation.

use std::{fmt, sync::Arc};

use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    backend::{Position, SubscribePayload},
    close::Close,
};
use crate::{
    graphql::{errors::ErrorCode, language::SentVariables},
    http::{
        authorization::{self, Authorization},
        json::{Unreadable, marked_halves},
    },
};

/// The one subprotocol spoken here.
pub(in crate::http) const SUBPROTOCOL: &str = "graphql-transport-ws";

/// The longest id that costs a client nothing: see [`OperationId::is_long`].
const MAX_SHORT_ID_BYTES: usize = 256;

/// The longest text that is kept as a place to resume from: longer than any cursor.
const MAX_CURSOR_BYTES: usize = 128;

/// The largest `ping` payload that comes back in the `pong`.
const MAX_ECHO_BYTES: usize = 1024;

/// Why a text is not a message: the reason of a 4400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("a message must be text, not binary")]
    Binary,
    #[error("a message must be UTF-8")]
    NotUtf8,
    #[error("a message must be a JSON object")]
    NotObject,
    #[error("\"{field}\" must be {expected}")]
    Field { field: &'static str, expected: &'static str },
}

/// What a client says about who it is. A token never shows in a log.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::http) enum Credential {
    /// Nothing, null, or nothing in it.
    Absent,
    Token(String),
    /// An `Authorization` of another scheme: refused like a bad token.
    Malformed,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Token(_) => "Token(..)",
            Self::Malformed => "Malformed",
        })
    }
}

impl Credential {
    /// The credential of a request's `Authorization`.
    pub(in crate::http) fn of_request(headers: &HeaderMap) -> Self {
        authorization::of_request(headers).into()
    }

    /// The first that is there. One that is no text is a bad token like any other: the application is asked for another.
    pub(in crate::http) fn from_payload(payload: &Map<String, Value>) -> Self {
        let found = |key| match payload.get(key) {
            None | Some(Value::Null) => Self::Absent,
            Some(Value::String(value)) if key == "authToken" && value.trim().is_empty() => Self::Absent,
            Some(Value::String(value)) if key == "authToken" => Self::Token(value.clone()),
            Some(Value::String(value)) => Authorization::of(value).into(),
            Some(_) => Self::Malformed,
        };
        ["Authorization", "authorization", "authToken"].into_iter().map(found).fold(Self::Absent, Self::or)
    }

    /// This one, or `other` where nothing was said.
    pub(in crate::http) fn or(self, other: Self) -> Self {
        if self == Self::Absent { other } else { self }
    }
}

impl From<Authorization<'_>> for Credential {
    fn from(said: Authorization<'_>) -> Self {
        match said {
            Authorization::Empty => Self::Absent,
            Authorization::Bearer(token) => Self::Token(token.to_owned()),
            Authorization::Foreign => Self::Malformed,
        }
    }
}

/// A client's name for an operation: a JSON string literal, quotes included, cheap to clone.
///
/// As long as a message may be, as the protocol has it. Long ones are kept while the operation lives and come back with
/// each of its frames, so the session bounds what all of them together take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OperationId(Arc<str>);

impl OperationId {
    pub(super) fn new(id: &str) -> Result<Self, Invalid> {
        if id.is_empty() {
            return Err(Invalid::Field { field: "id", expected: "a string that is not empty" });
        }
        Ok(Self(Value::from(id).to_string().into()))
    }

    /// How much it takes, in bytes, where that counts.
    pub(super) fn long_bytes(&self) -> usize {
        if self.0.len() > MAX_SHORT_ID_BYTES { self.0.len() } else { 0 }
    }

    pub(super) fn is_long(&self) -> bool {
        self.long_bytes() > 0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message of the client's.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    Init(Credential, Position),
    /// `echo` is the payload for the `pong`, if it is small and holds no token.
    Ping {
        credential: Credential,
        echo: Option<String>,
    },
    Pong,
    /// An operation, or why its payload cannot be read.
    Subscribe(OperationId, Result<SubscribePayload, Unreadable>),
    Complete(OperationId),
}

impl Incoming {
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let mut message = match serde_json::from_str(text) {
            Ok(Value::Object(message)) => message,
            Ok(_) => return Err(Invalid::NotObject),
            Err(error) => match salvage(text, &error) {
                Some(Salvaged::Operation(id, unreadable)) => return Ok(Self::Subscribe(id?, Err(unreadable))),
                Some(Salvaged::Other(message)) => message,
                None => return Err(Invalid::NotObject),
            },
        };
        let kind = match message.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(_) | None => return Err(Invalid::Field { field: "type", expected: "a string" }),
        };
        match kind {
            "connection_init" => {
                let payload = optional_object(&mut message, "payload", "payload")?.unwrap_or_default();
                Ok(Self::Init(Credential::from_payload(&payload), position(&payload)))
            }
            "ping" => {
                let payload = optional_object(&mut message, "payload", "payload")?;
                let credential = payload.as_ref().map_or(Credential::Absent, Credential::from_payload);
                let echo = payload
                    .filter(|_| credential == Credential::Absent)
                    .map(|payload| Value::Object(payload).to_string())
                    .filter(|echo| echo.len() <= MAX_ECHO_BYTES);
                Ok(Self::Ping { credential, echo })
            }
            "pong" => optional_object(&mut message, "payload", "payload").map(|_| Self::Pong),
            "subscribe" => {
                let id = operation_id(&message)?;
                let Some(Value::Object(payload)) = message.remove("payload") else {
                    return Err(Invalid::Field { field: "payload", expected: "an object" });
                };
                Ok(Self::Subscribe(id, Ok(subscribe_payload(payload)?)))
            }
            "complete" => operation_id(&message).map(Self::Complete),
            _ => Err(Invalid::Field {
                field: "type",
                expected: "one of connection_init, ping, pong, subscribe, complete",
            }),
        }
    }
}

/// What is left of JSON that cannot be read.
enum Salvaged {
    /// An operation: it is answered, and the socket with all else that runs on it stays.
    Operation(Result<OperationId, Invalid>, Unreadable),
    /// Another message, in which halves of surrogate pairs mean nothing.
    Other(Map<String, Value>),
}

fn salvage(text: &str, error: &serde_json::Error) -> Option<Salvaged> {
    /// As much of a message as can be read whatever its payload is.
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "type")]
        kind: String,
        id: String,
    }
    if let Some(Value::Object(message)) = marked_halves(text) {
        let is_operation = message.get("type").and_then(Value::as_str) == Some("subscribe");
        return Some(match message.get("payload").filter(|_| is_operation) {
            Some(payload) => Salvaged::Operation(operation_id(&message), Unreadable::half(payload)),
            None => Salvaged::Other(message),
        });
    }
    let Envelope { kind, id } = serde_json::from_str(text).ok()?;
    (kind == "subscribe").then(|| Salvaged::Operation(OperationId::new(&id), Unreadable::other(error)))
}

fn operation_id(message: &Map<String, Value>) -> Result<OperationId, Invalid> {
    match message.get("id") {
        Some(Value::String(id)) => OperationId::new(id),
        Some(_) | None => Err(Invalid::Field { field: "id", expected: "a string" }),
    }
}

/// `after` of `connection_init`. Null and an empty text are those of a client that has seen nothing.
fn position(payload: &Map<String, Value>) -> Position {
    match payload.get("after") {
        None | Some(Value::Null) => Position::Absent,
        Some(Value::String(cursor)) if cursor.is_empty() => Position::Absent,
        Some(Value::String(cursor)) if cursor.len() <= MAX_CURSOR_BYTES => Position::Cursor(cursor.as_str().into()),
        Some(_) => Position::Malformed,
    }
}

fn optional_object(
    message: &mut Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<Option<Map<String, Value>>, Invalid> {
    match message.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Invalid::Field { field, expected: "an object" }),
    }
}

fn subscribe_payload(mut payload: Map<String, Value>) -> Result<SubscribePayload, Invalid> {
    let query = match payload.remove("query") {
        Some(Value::String(query)) => query,
        // In its place is the hash of one: the backend has an answer to that.
        None | Some(Value::Null) if has_persisted_query(payload.get("extensions")) => String::new(),
        _ => return Err(Invalid::Field { field: "payload.query", expected: "a string" }),
    };
    let operation_name = match payload.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(Invalid::Field { field: "payload.operationName", expected: "a string" }),
    };
    let variables = optional_object(&mut payload, "variables", "payload.variables")?;
    let extensions = optional_object(&mut payload, "extensions", "payload.extensions")?;
    let variables = SentVariables::new(&variables.unwrap_or_default());
    let is_hash = query.is_empty() && extensions.is_some_and(|extensions| extensions.contains_key("persistedQuery"));
    Ok(SubscribePayload { operation_name, query, variables, is_hash })
}

fn has_persisted_query(extensions: Option<&Value>) -> bool {
    extensions.and_then(|extensions| extensions.get("persistedQuery")).is_some()
}

/// A message of the server's. Payloads are JSON already.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Ack,
    Ping(Option<String>),
    Pong(Option<String>),
    Next(OperationId, Arc<str>),
    Error(OperationId, Arc<str>),
    Complete(OperationId),
}

impl Frame {
    /// An `error` with one error of ours.
    pub(super) fn failure(id: OperationId, code: ErrorCode, message: &str) -> Self {
        let errors = json!([{ "message": message, "extensions": { "code": code.as_str() } }]);
        Self::Error(id, errors.to_string().into())
    }

    /// How long the message is, in bytes.
    pub(super) fn len(&self) -> usize {
        let (before, payload, after) = self.clone().into_parts();
        before.len() + payload.map_or(0, |payload| payload.len()) + after.len()
    }

    /// The message as it is sent: what comes before the payload, the payload as it is shared, and what comes after it.
    pub(super) fn into_parts(self) -> (String, Option<Arc<str>>, &'static str) {
        let with = |kind: &str, payload| match payload {
            Some(payload) => format!(r#"{{"type":"{kind}","payload":{payload}}}"#),
            None => format!(r#"{{"type":"{kind}"}}"#),
        };
        match self {
            Self::Ack => (with("connection_ack", None), None, ""),
            Self::Ping(payload) => (with("ping", payload), None, ""),
            Self::Pong(payload) => (with("pong", payload), None, ""),
            Self::Next(id, payload) => (next_prefix(&id), Some(payload), "}"),
            Self::Error(id, payload) => (format!(r#"{{"id":{id},"type":"error","payload":"#), Some(payload), "}"),
            Self::Complete(id) => (format!(r#"{{"id":{id},"type":"complete"}}"#), None, ""),
        }
    }
}

/// What comes before the payload of each `next` of an operation; after it comes `}`.
pub(super) fn next_prefix(id: &OperationId) -> String {
    format!(r#"{{"id":{id},"type":"next","payload":"#)
}

/// How far the handshake of the protocol has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakePhase {
    /// No `connection_init` yet.
    Opened,
    /// `connection_init` came, its token is being looked at.
    Authenticating,
    /// `connection_ack` was sent.
    Ready,
}

impl HandshakePhase {
    /// The phase after a `connection_init`.
    pub(super) const fn init(self) -> Result<Self, Close> {
        match self {
            Self::Opened => Ok(Self::Authenticating),
            Self::Authenticating | Self::Ready => Err(Close::SecondInit),
        }
    }

    /// Whether a `subscribe` is allowed.
    pub(super) const fn subscribe(self) -> Result<(), Close> {
        match self {
            Self::Ready => Ok(()),
            Self::Opened | Self::Authenticating => Err(Close::Unauthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Incoming::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn what_is_not_a_message_is_told_which_field_is_wrong() {
        for (text, field) in [
            ("", "JSON object"),
            ("[]", "JSON object"),
            ("{", "JSON object"),
            ("{}", "\"type\""),
            (r#"{"type":1}"#, "\"type\""),
            (r#"{"type":"start","id":"1"}"#, "\"type\""),
            (r#"{"type":"next","id":"1","payload":{}}"#, "\"type\""),
            (r#"{"type":"connection_init","payload":"x"}"#, "\"payload\""),
            (r#"{"type":"ping","payload":[]}"#, "\"payload\""),
            (r#"{"type":"pong","payload":7}"#, "\"payload\""),
            (r#"{"type":"complete"}"#, "\"id\""),
            (r#"{"type":"complete","id":7}"#, "\"id\""),
            (r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#, "\"id\""),
            (r#"{"type":"subscribe","payload":{"query":"{a}"}}"#, "\"id\""),
            (r#"{"type":"subscribe","id":"1"}"#, "\"payload\""),
            (r#"{"type":"subscribe","id":"1","payload":{}}"#, "\"payload.query\""),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}"#, "\"payload.variables\""),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","extensions":1}}"#, "\"payload.extensions\""),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"","operationName":1}}"#, "\"payload.operationName\""),
        ] {
            assert!(fault(text).contains(field), "{text}: {}", fault(text));
        }
        assert!(fault(&"[".repeat(10_000)).contains("JSON"), "deep nesting is refused, not followed");
    }

    #[test]
    fn a_token_is_found_under_each_of_its_names_and_never_echoed() {
        let token = Credential::Token("t".into());
        for payload in [r#"{"Authorization":"Bearer t"}"#, r#"{"authorization":"bearer  t"}"#, r#"{"authToken":"t"}"#] {
            let init = Incoming::parse(&format!(r#"{{"type":"connection_init","payload":{payload}}}"#));
            assert_eq!(init, Ok(Incoming::Init(token.clone(), Position::Absent)), "{payload}");
            let ping = Incoming::parse(&format!(r#"{{"type":"ping","payload":{payload}}}"#));
            assert_eq!(ping, Ok(Incoming::Ping { credential: token.clone(), echo: None }), "{payload}");
        }
        for (payload, expected) in [
            (r#"{"Authorization":"Basic t"}"#, Credential::Malformed),
            (r#"{"Authorization":7}"#, Credential::Malformed),
            (r#"{"authorization":{"Bearer":"t"}}"#, Credential::Malformed),
            (r#"{"authToken":["t"]}"#, Credential::Malformed),
            (r#"{"authToken":false,"Authorization":"Bearer t"}"#, token.clone()),
            (r#"{"Authorization":null}"#, Credential::Absent),
            (r#"{"Authorization":" ","authorization":"","authToken":" "}"#, Credential::Absent),
            (r#"{"Authorization":"Bearer "}"#, Credential::Absent),
            (r#"{"Authorization":"","authToken":"t"}"#, token.clone()),
            (r#"{"Authorization":"","authorization":"Bearer t"}"#, token.clone()),
            (r#"{"Authorization":"Bearer null"}"#, Credential::Token("null".into())),
            (r#"{"Authorization":"null"}"#, Credential::Malformed),
        ] {
            let init = Incoming::parse(&format!(r#"{{"type":"connection_init","payload":{payload}}}"#));
            assert_eq!(init, Ok(Incoming::Init(expected, Position::Absent)), "{payload}");
        }
        assert!(!format!("{token:?}").contains("\"t\""));
    }

    #[test]
    fn a_place_to_resume_from_comes_with_the_handshake_and_is_looked_at_later() {
        let long = format!("\"{}\"", "x".repeat(129));
        for (after, expected) in [
            ("null", Position::Absent),
            ("\"\"", Position::Absent),
            ("\"x\"", Position::Cursor("x".into())),
            ("7", Position::Malformed),
            ("{\"cursor\":\"x\"}", Position::Malformed),
            (&*long, Position::Malformed),
        ] {
            let init = Incoming::parse(&format!(r#"{{"type":"connection_init","payload":{{"after":{after}}}}}"#));
            assert_eq!(init, Ok(Incoming::Init(Credential::Absent, expected)), "{after}");
        }
    }

    #[test]
    fn a_hash_may_stand_for_a_document() {
        let subscribe = |payload: &str| {
            Incoming::parse(&format!(r#"{{"type":"subscribe","id":"1","payload":{payload}}}"#)).map(|incoming| {
                match incoming {
                    Incoming::Subscribe(_, Ok(payload)) => (payload.query.clone(), payload.is_hash),
                    other => panic!("{other:?}"),
                }
            })
        };
        let hashed = r#""extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}"#;
        assert_eq!(subscribe(&format!("{{{hashed}}}")), Ok((String::new(), true)));
        assert_eq!(subscribe(&format!(r#"{{"query":null,{hashed}}}"#)), Ok((String::new(), true)));
        assert_eq!(subscribe(&format!(r#"{{"query":"","variables":{{}},{hashed}}}"#)), Ok((String::new(), true)));
        assert_eq!(subscribe(&format!(r#"{{"query":"{{a}}",{hashed}}}"#)), Ok(("{a}".to_owned(), false)));
        assert_eq!(subscribe(r#"{"query":""}"#), Ok((String::new(), false)));
        assert!(subscribe(r#"{"extensions":{}}"#).is_err());
        assert!(subscribe(&format!(r#"{{"query":1,{hashed}}}"#)).is_err());
    }

    #[test]
    fn what_no_text_can_hold_costs_its_own_operation() {
        let told = |text: &str| match Incoming::parse(text) {
            Ok(Incoming::Subscribe(id, Err(unreadable))) => format!("{id} {}", unreadable.error().message),
            other => panic!("{text}: {other:?}"),
        };
        let subscribe = |payload: &str| told(&format!(r#"{{"id":"1","type":"subscribe","payload":{payload}}}"#));
        let message = subscribe(r#"{"query":"{a}","variables":{"q":"logo \ud83d"}}"#);
        assert!(message.starts_with("\"1\" Variable \"$q\" holds half"), "{message}");
        assert!(subscribe(r#"{"query":"{a(b:\"\udfa8\")}"}"#).contains("\"query\" holds half"));
        assert!(
            subscribe(r#"{"query":"{a}","variables":{"n":1e999}}"#).contains("cannot be read: number out of range")
        );
        let deep = format!(r#"{{"query":"{{a}}","variables":{{"x":{}{}}}}}"#, "[".repeat(2_000), "]".repeat(2_000));
        assert!(subscribe(&deep).contains("cannot be read: recursion limit"));
        // Other messages say nothing with it.
        let pong = Incoming::parse(r#"{"type":"pong","payload":{"x":"\ud83d"}}"#);
        assert_eq!(pong, Ok(Incoming::Pong));
        let init = Incoming::parse(r#"{"type":"connection_init","payload":{"Authorization":"Bearer \ud83d"}}"#);
        assert!(matches!(init, Ok(Incoming::Init(Credential::Token(_), _))), "a bad token like any other: {init:?}");
        for malformed in [
            r#"{"id":"1","type":"subscribe","payload":{"query":"{a}""#,
            r#"{"type":"subscribe","payload":{"n":1e999}}"#,
        ] {
            assert_eq!(Incoming::parse(malformed), Err(Invalid::NotObject), "{malformed}");
        }
    }

    #[test]
    fn a_ping_comes_back_with_a_small_payload_only() {
        let echo = |payload: &str| match Incoming::parse(&format!(r#"{{"type":"ping","payload":{payload}}}"#)) {
            Ok(Incoming::Ping { echo, .. }) => echo,
            other => panic!("{other:?}"),
        };
        assert_eq!(echo(r#"{"n": 1}"#).as_deref(), Some(r#"{"n":1}"#));
        assert_eq!(echo("null"), None);
        assert_eq!(echo(&format!(r#"{{"n":"{}"}}"#, "x".repeat(1024))), None);
    }

    #[test]
    fn a_frame_is_as_long_as_it_says_and_its_id_is_escaped() {
        let id = OperationId::new("a\"\u{1}é").expect("valid");
        for (frame, expected) in [
            (
                Frame::Next(id.clone(), "{\"data\":null}".into()),
                r#"{"id":"a\"\u0001é","type":"next","payload":{"data":null}}"#,
            ),
            (Frame::Error(id.clone(), "[]".into()), r#"{"id":"a\"\u0001é","type":"error","payload":[]}"#),
            (Frame::Complete(id), r#"{"id":"a\"\u0001é","type":"complete"}"#),
            (Frame::Ack, r#"{"type":"connection_ack"}"#),
            (Frame::Ping(Some("{}".into())), r#"{"type":"ping","payload":{}}"#),
            (Frame::Pong(None), r#"{"type":"pong"}"#),
        ] {
            assert_eq!(frame.len(), expected.len());
            let (before, payload, after) = frame.into_parts();
            assert_eq!([&before, payload.as_deref().unwrap_or_default(), after].concat(), expected);
            serde_json::from_str::<Value>(expected).expect("JSON");
        }
    }

    #[test]
    fn the_handshake_goes_one_way() {
        assert_eq!(HandshakePhase::Opened.init(), Ok(HandshakePhase::Authenticating));
        assert_eq!(HandshakePhase::Authenticating.init(), Err(Close::SecondInit));
        assert_eq!(HandshakePhase::Ready.init(), Err(Close::SecondInit));
        assert_eq!(HandshakePhase::Authenticating.subscribe(), Err(Close::Unauthorized));
        assert_eq!(HandshakePhase::Ready.subscribe(), Ok(()));
    }
}
