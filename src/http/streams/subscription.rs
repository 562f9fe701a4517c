//! The body of one stream: a subscription, from its first byte to its last.
//!
//! A state machine that hyper polls when there is room for more: it catches up, is live, and catches up again when its
//! group let it go, or it hands on a stream of states; and between that it keeps the connection alive. Everything that the stream holds is in here, so the
//! end of the response, whichever way it comes, is the end of all of it.
//!
//! Invariants: results leave in the order of their positions; a heartbeat's cursor is one up to which everything has
//! left before it, so that resuming there misses nothing, and it never goes back; after the end of the viewer's token
//! or session nothing of what waited is sent.

use std::{convert::Infallible, time::Duration};

use async_graphql::{Response, ServerError};
use axum::body::{Body, Bytes};
use futures_util::{
    FutureExt,
    future::{BoxFuture, pending},
    stream::{self, BoxStream, StreamExt},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    Transport,
    metrics::Ending,
    multipart,
    queue::{Found, QueueReader},
    sse,
};
use crate::{
    events::EventLog,
    graphql::{classify::is_request_error, errors::ErrorCode, limits::failure},
    http::{graphql::encode, websocket::SocketSeat},
    operations::{Joined, Listening, next},
    realtime::{Feed, FeedEnd, Live, Payload, Progress},
};

/// Bytes handed to hyper at a time, more or less.
const CHUNK: usize = 32 * 1024;

/// The state of one stream.
pub(super) struct StreamBody {
    transport: Transport,
    // Before the reader: who has left the group is offered nothing.
    flow: Flow,
    reader: QueueReader,
    /// Completes when the viewer's token expires or is revoked.
    forbidden: BoxFuture<'static, ErrorCode>,
    heartbeat: Interval,
    log: EventLog,
    /// Everything up to here has been written; none for what has no place in the log.
    position: Option<i64>,
    begun: bool,
    ended: bool,
    seat: SocketSeat,
    ending: Ending,
    _listening: Option<Listening>,
}

enum Flow {
    CatchingUp(BoxFuture<'static, Result<Live, FeedEnd>>, Progress),
    Live(Box<Live>),
    /// A stream of its own, of states.
    States(BoxStream<'static, Response>),
    /// The subscription is over, or in the middle of a change which nobody sees.
    Over,
}

enum Event {
    Leave,
    Forbidden(ErrorCode),
    Found(Found),
    CaughtUp(Result<Live, FeedEnd>),
    State(Option<Response>),
    Heartbeat,
}

impl Flow {
    fn catch_up(feed: Feed) -> Self {
        let progress = feed.progress();
        Self::CatchingUp(feed.catch_up().boxed(), progress)
    }

    /// The next change of it; never, where none is to come. Cancel safe.
    async fn next(&mut self) -> Event {
        match self {
            Self::CatchingUp(catching_up, _) => Event::CaughtUp(catching_up.await),
            Self::States(states) => Event::State(states.next().await),
            Self::Live(_) | Self::Over => pending().await,
        }
    }

    /// Everything up to here has been put in the queue, unless the group has let the subscription go.
    fn position(&self) -> Option<i64> {
        match self {
            Self::CatchingUp(_, progress) => Some(progress.position()),
            Self::Live(live) => live.position(),
            Self::States(_) | Self::Over => None,
        }
    }
}

impl StreamBody {
    pub(super) fn new(
        transport: Transport,
        joined: Joined,
        reader: QueueReader,
        forbidden: BoxFuture<'static, ErrorCode>,
        (log, interval): (EventLog, Duration),
        seat: SocketSeat,
        request_id: String,
    ) -> Self {
        let (position, flow, listening) = match joined {
            Joined::Events(feed, listening) => {
                (Some(feed.progress().position()), Flow::catch_up(*feed), Some(listening))
            }
            Joined::States(states) => (None, Flow::States(states), None),
        };
        let mut heartbeat = interval_at(Instant::now() + interval, interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            transport,
            position,
            flow,
            reader,
            forbidden,
            heartbeat,
            log,
            begun: false,
            ended: false,
            seat,
            ending: Ending::of(transport, request_id),
            _listening: listening,
        }
    }

    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut subscription| async move {
            let chunk = subscription.next_chunk().await?;
            Some((Ok::<_, Infallible>(Bytes::from(chunk)), subscription))
        }))
    }

    /// What is to be sent next; none at the end.
    async fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if !self.begun {
            self.begun = true;
            // The head of the response leaves with it, and a browser knows from where to come back.
            self.begin(&mut out);
            return Some(out);
        }
        while out.is_empty() && !self.ended {
            let live = matches!(self.flow, Flow::Live(_));
            let event = tokio::select! {
                // What ends the stream comes first, so that a busy one is not kept open.
                biased;
                () = self.seat.told_to_leave() => Event::Leave,
                code = &mut self.forbidden => Event::Forbidden(code),
                found = self.reader.next(CHUNK, live) => Event::Found(found),
                event = self.flow.next() => event,
                _ = self.heartbeat.tick() => Event::Heartbeat,
            };
            match event {
                Event::Leave => self.leave(&mut out),
                Event::Forbidden(code) => self.forbid(code, &mut out),
                Event::Found(Found::Payloads(payloads)) => self.write(&payloads, &mut out),
                Event::Found(Found::LetGo(position)) => self.let_go(position),
                Event::CaughtUp(Ok(live)) => self.flow = Flow::Live(Box::new(live)),
                Event::CaughtUp(Err(end)) => self.exhausted(end, &mut out),
                Event::State(state) => self.show(state, &mut out),
                Event::Heartbeat if self.seat.is_too_old() => self.leave(&mut out),
                Event::Heartbeat => self.beat(&mut out),
            }
        }
        (!out.is_empty()).then_some(out)
    }

    fn begin(&self, out: &mut Vec<u8>) {
        match self.transport {
            Transport::Sse => self.sse_heartbeat(out),
            Transport::Multipart => {
                multipart::begin(out);
                multipart::heartbeat(out);
            }
        }
    }

    fn write(&mut self, payloads: &[Payload], out: &mut Vec<u8>) {
        for Payload { response, position } in payloads {
            self.position = self.position.max(Some(*position));
            match self.transport {
                Transport::Sse => sse::next(out, response, self.log.cursor(*position).as_deref()),
                Transport::Multipart => multipart::next(out, response),
            }
        }
    }

    /// One state, or the end of them.
    fn show(&mut self, state: Option<Response>, out: &mut Vec<u8>) {
        let Some(state) = state else {
            self.end("over");
            match self.transport {
                Transport::Sse => sse::complete(out),
                Transport::Multipart => multipart::complete(out),
            }
            return;
        };
        if is_request_error(&state) {
            // Without the end of the protocol: the client is to come back.
            self.end("failed");
            match self.transport {
                Transport::Sse => sse::next(out, &next(state), None),
                Transport::Multipart => multipart::failure(out, &serialised(state.errors)),
            }
            return;
        }
        let state = next(state);
        match self.transport {
            Transport::Sse => sse::next(out, &state, None),
            Transport::Multipart => multipart::next(out, &state),
        }
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        // Before the queue is emptied: all up to there is in it by now, or has left.
        let position = self.flow.position();
        let (payloads, let_go) = self.reader.take_all();
        self.write(&payloads, out);
        // The group goes on without those that left it.
        if let Some(position) = position.filter(|_| !let_go) {
            self.position = self.position.max(Some(position));
        }
        match self.transport {
            Transport::Sse => self.sse_heartbeat(out),
            Transport::Multipart => multipart::heartbeat(out),
        }
    }

    /// Without a cursor, where nobody knows any more what stands there: the client keeps its last one.
    fn sse_heartbeat(&self, out: &mut Vec<u8>) {
        match self.position.and_then(|position| self.log.cursor(position)) {
            Some(cursor) => sse::heartbeat(out, &cursor),
            None => sse::comment(out, ""),
        }
    }

    fn let_go(&mut self, position: i64) {
        // Asked for only while live.
        if let Flow::Live(live) = std::mem::replace(&mut self.flow, Flow::Over) {
            self.flow = Flow::catch_up(live.lagged(position));
        }
    }

    /// The process stops, or the stream is old: the client is to come back, perhaps to another node.
    fn leave(&mut self, out: &mut Vec<u8>) {
        self.end("restart");
        if self.transport == Transport::Sse {
            sse::comment(out, "restarting");
        }
    }

    fn forbid(&mut self, code: ErrorCode, out: &mut Vec<u8>) {
        let (reason, message) = match code {
            ErrorCode::TokenExpired => {
                ("token_expired", "The access token has expired. Come back with a new one from refreshSession.")
            }
            _ => ("token_revoked", "The session has ended or its rights have changed. Come back with a good token."),
        };
        self.end(reason);
        self.fail(code, message, out);
        if self.transport == Transport::Multipart {
            multipart::complete(out);
        }
    }

    /// Nothing more can come.
    fn exhausted(&mut self, end: FeedEnd, out: &mut Vec<u8>) {
        let (payloads, _) = self.reader.take_all();
        self.write(&payloads, out);
        match end {
            FeedEnd::Gone => return self.end("gone"),
            // Without the end of the protocol: the client is to come back.
            FeedEnd::Unpaid(retry_after) => {
                self.end("unpaid");
                let mut error = failure(ErrorCode::RateLimited, FeedEnd::unpaid(retry_after), None);
                let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                error.extensions.get_or_insert_default().set("retryAfterMs", millis);
                return self.fail_with(error, out);
            }
            FeedEnd::TooLarge => {
                self.end("too_large");
                let message = "The result is larger than a stream carries: ask for less.";
                self.fail(ErrorCode::OperationTooComplex, message, out);
            }
            FeedEnd::Expired => {
                self.end("cursor_expired");
                let message = "What comes next is no longer kept. Read the list anew, with streamCursor, and subscribe \
                               from there.";
                self.fail(ErrorCode::CursorExpired, message, out);
            }
        }
        match self.transport {
            Transport::Sse => sse::complete(out),
            Transport::Multipart => multipart::complete(out),
        }
    }

    fn fail(&self, code: ErrorCode, message: &str, out: &mut Vec<u8>) {
        self.fail_with(failure(code, message, None), out);
    }

    fn fail_with(&self, error: ServerError, out: &mut Vec<u8>) {
        let errors = vec![error];
        match self.transport {
            // What is in memory as JSON can be written as JSON.
            Transport::Sse => sse::next(out, &encode(&mut Response::from_errors(errors)).unwrap_or_default(), None),
            Transport::Multipart => multipart::failure(out, &serialised(errors)),
        }
    }

    /// Leaves the group at once: the rest of the body may wait for a slow reader.
    fn end(&mut self, reason: &'static str) {
        self.flow = Flow::Over;
        self.ended = true;
        self.ending.reason = reason;
    }
}

/// A list of errors in JSON.
pub(super) fn serialised(mut errors: Vec<ServerError>) -> String {
    for error in &mut errors {
        // The place of an error that has none is line 0.
        error.locations.retain(|at| at.line > 0);
    }
    serde_json::to_string(&errors).unwrap_or_else(|_| "[]".to_owned())
}
