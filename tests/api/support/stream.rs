//! Readers of subscriptions over HTTP: server-sent events and multipart, as they come over the wire.
//!
//! Each wait ends with the piece it is for, or fails after a while and shows what came instead. Dropping a reader cuts
//! its connection.

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, HeaderMap},
};
use serde_json::{Value, json};

use super::{app::soon, codes, http::Http};

/// What a reader of server-sent events accepts.
pub const SSE: &str = "text/event-stream";
/// What Apollo Client accepts for a subscription.
pub const MULTIPART: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0";

/// A response that goes on.
#[derive(Debug)]
pub struct Stream {
    pub status: StatusCode,
    pub headers: HeaderMap,
    response: Response,
    /// What was read and not taken.
    unread: String,
    /// The id that a browser would come back with.
    pub last_id: String,
}

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub event: String,
    pub data: String,
}

impl Event {
    /// The execution result of a `next`.
    pub fn result(&self) -> Value {
        assert_eq!(self.event, "next", "{self:?}");
        let result = serde_json::from_str(&self.data).expect("JSON");
        codes::check(&result);
        result
    }
}

/// A request for a stream: by POST, and by somebody if there is a token.
#[expect(clippy::needless_pass_by_value, reason = "as callers write it: json!({ .. })")]
pub fn request(http: &Http, accept: &str, token: Option<&str>, query: &str, variables: Value) -> RequestBuilder {
    let request = http.request(Method::POST, "/graphql").header(ACCEPT, accept);
    let request = request.json(&json!({ "query": query, "variables": variables })).timeout(Duration::from_secs(600));
    if let Some(token) = token { request.bearer_auth(token) } else { request }
}

impl Stream {
    pub async fn open(request: RequestBuilder) -> Self {
        let response = soon(request.send()).await.expect("a response");
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, response, unread: String::new(), last_id: String::new() }
    }

    /// The JSON of a response that is none of a stream.
    pub async fn refusal(self) -> (u16, Value) {
        let text = self.response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        codes::check(&body);
        (self.status.as_u16(), body)
    }

    /// Up to `end`, without it; none at the end of the body, where nothing may be left over.
    pub async fn piece(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.unread.find(end) {
                let rest = self.unread.split_off(at + end.len());
                self.unread.truncate(at);
                return Some(std::mem::replace(&mut self.unread, rest));
            }
            let Some(chunk) = soon(self.response.chunk()).await.expect("the connection holds") else {
                assert_eq!(self.unread, "", "the body ends in the middle");
                return None;
            };
            self.unread.push_str(std::str::from_utf8(&chunk).expect("whole letters"));
        }
    }

    /// What is left, to the end.
    pub async fn rest(mut self) -> String {
        while let Some(chunk) = soon(self.response.chunk()).await.expect("the connection holds") {
            self.unread.push_str(std::str::from_utf8(&chunk).expect("whole letters"));
        }
        self.unread
    }

    /// The next block of the event stream, heartbeats included.
    pub async fn block(&mut self) -> Option<Event> {
        let text = self.piece("\n\n").await?;
        let mut block = Event::default();
        for line in text.lines() {
            match line.split_once(':').map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value))) {
                Some(("", _)) => {}
                Some(("id", value)) => block.id = Some(value.to_owned()),
                Some(("event", value)) => value.clone_into(&mut block.event),
                Some(("data", value)) => value.clone_into(&mut block.data),
                _ => panic!("no line of an event stream: {line:?}"),
            }
        }
        if let Some(id) = &block.id {
            id.clone_into(&mut self.last_id);
        }
        Some(block)
    }

    /// The next event; none at the end.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            match self.block().await {
                Some(block) if block.event.is_empty() => {}
                other => return other,
            }
        }
    }

    /// The next event, which must be a result.
    pub async fn next(&mut self) -> Value {
        self.event().await.expect("an event").result()
    }

    /// The next part of a multipart stream, as soon as its end can be known; none after the closing boundary.
    pub async fn part(&mut self) -> Option<Value> {
        let part = self.piece("\r\n--graphql").await?;
        if part.is_empty() {
            return Box::pin(self.part()).await;
        }
        let (head, body) = part.split_once("\r\n\r\n").expect("a head");
        assert_eq!(head, "\r\ncontent-type: application/json");
        let part = serde_json::from_str(body).expect("JSON");
        codes::check(&part);
        Some(part)
    }

    /// The payload of the next part that has one.
    pub async fn payload(&mut self) -> Value {
        loop {
            let mut part = self.part().await.expect("a part");
            if part != json!({}) {
                return part["payload"].take();
            }
        }
    }
}
