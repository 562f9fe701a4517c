//! The loop of one socket: the only place where the state of a connection changes.
//!
//! Invariants: nothing in the loop waits for the peer to take bytes, so that reading, keep-alive, expiry and a request
//! to close are handled whatever the peer does; however the loop ends, its operations end with it (mutations run to
//! their end first), the queue is closed and the seat is given back. Runs as a task of the lifecycle, started by
//! [`Sockets::upgrade`](super::Sockets::upgrade).
//!
//! **Cancel safety.** Every branch of the `select` can be dropped and polled again without losing anything: `next` of
//! the reader keeps partial frames in tungstenite's buffer, `JoinSet` and the semaphores are documented as cancel
//! safe, and the timers and the pending check of a token are owned by the session and polled by reference. Events are
//! handled after the `select`, without awaiting.
//!
//! One task serves a socket, reading and writing: what the kernel does not take at once waits in the [`SocketWriter`],
//! and the loop passes it on as the peer takes it.

use std::{net::IpAddr, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use chrono::SecondsFormat;
use futures_util::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream,
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep};
use tungstenite::{
    Message,
    error::{Error as WireError, ProtocolError},
};

use super::{
    Shared,
    backend::{Identity, Operation, OperationKind, Outcome, Position, Refused, SocketBackend, SubscribePayload},
    close::{Close, Forbidden},
    closing::{SocketEnd, part},
    metrics,
    operation::{Ended, RunningOperations, failure},
    protocol::{Credential, Frame, HandshakePhase, Incoming, Invalid, OperationId},
    reader::{MessageReader, TOO_MANY_BYTES},
    registry::SocketSeat,
    writer::{Pumped, Room, SocketWriter},
};
use crate::{
    clock::{Clock, Timestamp},
    graphql::errors::ErrorCode,
    http::json::Unreadable,
    ids::UserId,
};

/// Bytes that the long ids of one socket may take together: at least one of any length has room.
const LONG_IDS: usize = 128 * 1024;

/// How long mutations that run when their token ends may take to answer.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

type Authentication<V> = BoxFuture<'static, Result<Identity<V>, Refused>>;

enum Event<V> {
    Leave,
    Pumped(Pumped),
    Stalled,
    Forbidden(Forbidden),
    Authenticated(Result<Identity<V>, Refused>),
    Ended(Ended),
    AnswerRoom(Room),
    Received(Result<Message, WireError>),
    Timer,
}

/// Who the socket acts for, once that is known.
struct SessionState<V> {
    viewer: V,
    user: Option<UserId>,
    expires_at: Option<Timestamp>,
}

/// The state of one socket.
pub(super) struct Session<B: SocketBackend> {
    shared: Arc<Shared<B>>,
    seat: SocketSeat,
    address: IpAddr,
    /// The credential of the upgrade's `Authorization`, for when `connection_init` has none.
    header: Credential,
    /// From where subscriptions begin that do not know better.
    position: Position,
    phase: HandshakePhase,
    standing: Option<SessionState<B::Viewer>>,
    /// A token being looked at, and the room for the answer.
    authentication: Option<(Authentication<B::Viewer>, Room)>,
    /// Completes when the token expires or is revoked.
    forbidden: BoxFuture<'static, Forbidden>,
    wire: Arc<SocketWriter>,
    /// Room for the answer to the next message: without it, none is read.
    answer: Option<Room>,
    operations: RunningOperations,
    pace: DefaultDirectRateLimiter,
    /// When the peer last sent something, or took something that had waited.
    heard: Instant,
    /// Until the acknowledgement the init timeout, then the next ping; the last moment, once told to leave.
    timer: Pin<Box<Sleep>>,
    /// The last moment for the peer to take something, while anything waits.
    patience: Option<Pin<Box<Sleep>>>,
    leaving: Option<Leaving>,
    /// The position that a ping has told last.
    told: i64,
    /// Pings that the peer has not answered.
    unanswered: u32,
}

/// Why nothing more begins here. The socket ends as soon as no mutation is left whose answer its client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// It was told to go.
    Restart,
    /// Its token has ended.
    Forbidden(Forbidden),
}

impl From<Leaving> for SocketEnd {
    fn from(leaving: Leaving) -> Self {
        match leaving {
            Leaving::Restart => Close::Restart.into(),
            Leaving::Forbidden(forbidden) => Close::Forbidden(forbidden).into(),
        }
    }
}

impl<B: SocketBackend> Session<B> {
    pub(super) fn new(
        shared: Arc<Shared<B>>,
        seat: SocketSeat,
        address: IpAddr,
        header: Credential,
        wire: Arc<SocketWriter>,
    ) -> Self {
        let settings = &shared.settings;
        Self {
            seat,
            address,
            header,
            position: Position::Absent,
            phase: HandshakePhase::Opened,
            standing: None,
            authentication: None,
            forbidden: std::future::pending().boxed(),
            operations: RunningOperations::new(Arc::clone(&wire), settings.operations_per_socket.get()),
            wire,
            answer: None,
            pace: RateLimiter::direct(Quota::per_minute(settings.messages_per_minute)),
            heard: Instant::now(),
            timer: Box::pin(sleep(settings.init_timeout())),
            patience: None,
            leaving: None,
            told: i64::MIN,
            unanswered: 0,
            shared,
        }
    }

    /// Serves the socket to its end.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, for each of many sockets")]
    pub(super) fn run(mut self: Box<Self>, mut reader: MessageReader) -> impl Future<Output = ()> + Send {
        async move {
            let opened = Instant::now();
            let served = AssertUnwindSafe(self.serve(&mut reader)).catch_unwind().await;
            let end = served.unwrap_or_else(|_| {
                tracing::error!("a socket's session panicked");
                SocketEnd::Close(Close::Bug)
            });
            metrics::closed(end.label());
            tracing::info!(
                socket.end = end.label(),
                socket.age.ms = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX),
                user.id = self.standing.as_ref().and_then(|standing| standing.user).map(tracing::field::display),
                client.address = %self.address,
                "socket ended"
            );
            self.operations.stop();
            self.wire.close(end.delivers_queue());
            self.authentication = None;
            let shared = Arc::clone(&self.shared);
            let patience = async {
                tokio::select! {
                    () = sleep(shared.settings.write_timeout()) => {}
                    () = shared.lifecycle.stopping() => {}
                }
            };
            part(end, &self.wire, &mut reader, patience).await;
            // A mutation that still runs holds on to the wire.
            self.wire.shut_down();
            self.operations.finish().await;
        }
    }

    async fn serve(&mut self, reader: &mut MessageReader) -> SocketEnd {
        loop {
            if self.answer.is_none() {
                self.answer = self.wire.try_answer();
            }
            let event = tokio::select! {
                // What ends the socket comes first, so that a busy peer cannot put it off. Reading comes before the
                // timer, so that a server that was itself held up reads from its peers before it calls them silent.
                biased;
                () = self.seat.told_to_leave(), if self.leaving.is_none() => Event::Leave,
                forbidden = &mut self.forbidden => Event::Forbidden(forbidden),
                pumped = self.wire.pump() => Event::Pumped(pumped),
                identity = poll_optional(self.authentication.as_mut().map(|(future, _)| future)) => {
                    Event::Authenticated(identity)
                }
                ended = self.operations.next_ended() => Event::Ended(ended),
                room = self.wire.answer_room(), if self.answer.is_none() => Event::AnswerRoom(room),
                message = reader.next(), if self.answer.is_some() => Event::Received(message),
                () = poll_optional(self.patience.as_mut()) => Event::Stalled,
                () = &mut self.timer => Event::Timer,
            };
            let handled = match event {
                Event::Leave => self.leave(),
                Event::Pumped(pumped) => self.pumped(pumped),
                Event::Stalled => Err(Close::SlowReader.into()),
                Event::Forbidden(forbidden) => self.forbid(forbidden),
                Event::Authenticated(identity) => self.authenticated(identity),
                Event::Ended(ended) => self.settle(ended),
                Event::AnswerRoom(room) => {
                    self.answer = Some(room);
                    Ok(())
                }
                Event::Received(message) => self.received(message),
                Event::Timer => self.timer(),
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    /// Something waits, was taken, or a subscription left its group.
    fn pumped(&mut self, pumped: Pumped) -> Result<(), SocketEnd> {
        match pumped {
            Pumped::Broken => return Err(SocketEnd::Gone),
            Pumped::Progress => {
                self.patience = None;
                // A peer that takes what was sent is alive. Our pings wait behind it.
                self.heard = Instant::now();
            }
            Pumped::Woken => {}
        }
        while let Some((operation, position)) = self.wire.next_lagging() {
            self.operations.let_go(operation, position);
        }
        if !self.wire.has_waiting() {
            self.patience = None;
        } else if self.patience.is_none() {
            self.patience = Some(Box::pin(sleep(self.shared.settings.write_timeout())));
        }
        Ok(())
    }

    fn received(&mut self, message: Result<Message, WireError>) -> Result<(), SocketEnd> {
        let message = match message {
            Ok(Message::Close(_)) => return Err(SocketEnd::Peer),
            Ok(message) => message,
            Err(error) => return Err(self.broken(&error)),
        };
        self.heard = Instant::now();
        if self.pace.check().is_err() {
            return Err(Close::TooManyMessages.into());
        }
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(Close::Invalid(Invalid::Binary).into()),
            // tungstenite answers pings.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return Ok(()),
        };
        match Incoming::parse(&text).map_err(Close::Invalid)? {
            Incoming::Init(credential, position) => {
                self.phase = self.phase.init()?;
                self.position = position;
                let header = std::mem::replace(&mut self.header, Credential::Absent);
                self.authenticate(credential.or(header))
            }
            Incoming::Ping { credential: Credential::Absent, echo } => {
                self.respond(Frame::Pong(echo));
                Ok(())
            }
            // There is nothing to renew before the acknowledgement.
            Incoming::Ping { .. } if self.phase != HandshakePhase::Ready => {
                self.respond(Frame::Pong(None));
                Ok(())
            }
            Incoming::Ping { credential, echo: _ } => self.authenticate(credential),
            Incoming::Pong => {
                self.unanswered = self.unanswered.saturating_sub(1);
                Ok(())
            }
            Incoming::Subscribe(id, payload) => self.subscribe(id, payload),
            Incoming::Complete(id) => {
                self.operations.complete(&id);
                self.leave_if_done()
            }
        }
    }

    /// Why reading failed.
    fn broken(&self, error: &WireError) -> SocketEnd {
        match error {
            WireError::Io(error) if error.kind() == TOO_MANY_BYTES => {
                Close::TooLarge { max: self.shared.settings.max_message_bytes.get() }.into()
            }
            WireError::Capacity(_) => Close::TooLarge { max: self.shared.settings.max_message_bytes.get() }.into(),
            WireError::Utf8(_) => Close::Invalid(Invalid::NotUtf8).into(),
            WireError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => SocketEnd::Gone,
            WireError::Protocol(_) => Close::Framing.into(),
            _ => SocketEnd::Gone,
        }
    }

    /// Begins to look at a token. A newer one takes the place of one that is still being looked at.
    fn authenticate(&mut self, credential: Credential) -> Result<(), SocketEnd> {
        // Too late: its subscriptions have ended.
        if let Some(Leaving::Forbidden(_)) = self.leaving {
            return Ok(());
        }
        let token = match credential {
            Credential::Absent => None,
            Credential::Token(token) => Some(token),
            Credential::Malformed => return self.forbid(Forbidden::Refused),
        };
        let older = self.authentication.take();
        let Some(room) = older.map(|(_, room)| room).or_else(|| self.answer.take()) else { return Ok(()) };
        let (backend, address) = (self.shared.backend.clone(), self.address);
        let future = async move { backend.authenticate(token.as_deref(), address).await }.boxed();
        self.authentication = Some((future, room));
        Ok(())
    }

    fn authenticated(&mut self, identity: Result<Identity<B::Viewer>, Refused>) -> Result<(), SocketEnd> {
        let Some((_, room)) = self.authentication.take() else { return Ok(()) };
        let identity = match identity {
            Ok(identity) => identity,
            Err(Refused::Forbidden) => return self.forbid(Forbidden::Refused),
            Err(Refused::Unavailable) => {
                // The token that is in use stays as good as it was, and the answer says until when.
                let Some(standing) = &self.standing else { return Err(Close::Unavailable.into()) };
                self.wire.answer(Frame::Pong(Some(expiry(standing.expires_at))), room);
                return Ok(());
            }
        };
        if self.standing.as_ref().is_some_and(|standing| standing.user != identity.user) {
            return self.forbid(Forbidden::OtherUser);
        }
        if let Some(user) = identity.user {
            self.seat.belongs_to(user).map_err(|_| Close::TooManySockets)?;
        }
        let Identity { viewer, user, expires_at, revoked } = identity;
        self.wire.until_revoked(revoked.clone());
        self.forbidden = forbidden(self.shared.clock.clone(), expires_at, revoked.cancelled_owned());
        self.standing = Some(SessionState { viewer, user, expires_at });
        if self.phase == HandshakePhase::Ready {
            self.wire.answer(Frame::Pong(Some(expiry(expires_at))), room);
        } else {
            self.phase = HandshakePhase::Ready;
            self.wire.answer(Frame::Ack, room);
            if self.leaving.is_none() {
                self.timer.as_mut().reset(Instant::now() + self.shared.settings.ping_interval());
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, id: OperationId, payload: Result<SubscribePayload, Unreadable>) -> Result<(), SocketEnd> {
        self.phase.subscribe()?;
        let Some(standing) = &self.standing else { return Err(Close::Unauthorized.into()) };
        if self.operations.is_live(&id) {
            return Err(Close::Duplicate(id).into());
        }
        // It has not begun: after 1012 or 4403 the client sends it again.
        if self.leaving.is_some() {
            return Ok(());
        }
        if self.shared.lifecycle.is_stopping() {
            return self.leave();
        }
        // What is answered at once has room for short ids only.
        if id.is_long() && (self.operations.is_full() || self.operations.id_bytes() + id.long_bytes() > LONG_IDS) {
            return Err(Close::TooManyOperations.into());
        }
        if self.operations.is_full() {
            let limit = self.shared.settings.operations_per_socket;
            let message = format!("A socket runs at most {limit} operations: complete one first");
            self.respond(Frame::failure(id, ErrorCode::RateLimited, &message));
            return Ok(());
        }
        let viewer = standing.viewer.clone();
        let (backend, position) = (&self.shared.backend, &self.position);
        let execute = || match payload {
            Ok(payload) => backend.execute(viewer, payload, position),
            Err(unreadable) => refused(&unreadable),
        };
        let begun = std::panic::catch_unwind(AssertUnwindSafe(execute));
        if let Ok(operation) = begun {
            self.operations.start(id, operation);
        } else {
            tracing::error!("an operation panicked before it began");
            if id.is_long() {
                return Err(Close::Bug.into());
            }
            self.respond(failure(&id));
        }
        Ok(())
    }

    fn settle(&mut self, ended: Ended) -> Result<(), SocketEnd> {
        self.operations.settle(ended)?;
        self.leave_if_done()
    }

    fn timer(&mut self) -> Result<(), SocketEnd> {
        if let Some(leaving) = self.leaving {
            return Err(leaving.into());
        }
        if self.standing.is_none() {
            return Err(Close::InitTimeout.into());
        }
        let interval = self.shared.settings.ping_interval();
        if self.seat.is_too_old() {
            return self.leave();
        }
        if self.heard.elapsed() >= interval * 2 {
            return Err(SocketEnd::Silent);
        }
        // Before the ping is put in: all up to there comes before it.
        let position = self.position_to_tell();
        self.ping(position);
        self.timer.as_mut().reset(Instant::now() + interval);
        Ok(())
    }

    /// Up to where everything has been put in the wire, if a ping may say so now: no earlier than one has said before, and
    /// only to a peer that has answered all pings, and whose subscriptions from before those are therefore known here.
    fn position_to_tell(&self) -> Option<i64> {
        self.operations.position().filter(|position| *position >= self.told && self.unanswered == 0)
    }

    fn ping(&mut self, position: Option<i64>) {
        let Some(standing) = &self.standing else { return };
        // No room means that pings before this one still wait for the peer: one more would tell it nothing.
        let Some(room) = self.wire.try_answer() else { return };
        self.wire.answer(Frame::Ping(self.shared.backend.ping_payload(&standing.viewer, position)), room);
        self.told = position.unwrap_or(self.told);
        self.unanswered += 1;
    }

    /// Says how far everything has come, behind all of it: a client that resumes there gets nothing twice.
    fn say_how_far(&mut self) {
        if let Some(position) = self.position_to_tell().filter(|position| *position > self.told) {
            self.ping(Some(position));
        }
    }

    /// Begins nothing more, and ends as soon as no mutation is left whose result the client waits for.
    fn leave(&mut self) -> Result<(), SocketEnd> {
        self.say_how_far();
        self.leaving = Some(Leaving::Restart);
        self.operations.stop();
        self.timer.as_mut().reset(Instant::now() + self.shared.settings.drain());
        self.leave_if_done()
    }

    /// The same for a socket whose token has ended. Of what waits for the peer only answers to mutations are still
    /// delivered: they were begun in time, one of them may have ended the token itself, and over HTTP they arrive as well.
    fn forbid(&mut self, forbidden: Forbidden) -> Result<(), SocketEnd> {
        // Where something waits it will be thrown away, and nobody may think that it was delivered.
        if self.leaving.is_none() && !self.wire.has_waiting() {
            self.say_how_far();
        }
        self.leaving = Some(Leaving::Forbidden(forbidden));
        self.forbidden = std::future::pending().boxed();
        self.authentication = None;
        self.operations.stop();
        self.wire.keep_answers();
        self.timer.as_mut().reset(Instant::now() + LAST_ANSWERS);
        self.leave_if_done()
    }

    fn leave_if_done(&self) -> Result<(), SocketEnd> {
        match self.leaving {
            Some(leaving) if !self.operations.has_mutations() => Err(leaving.into()),
            _ => Ok(()),
        }
    }

    /// Answers the message that was just read.
    fn respond(&mut self, frame: Frame) {
        if let Some(room) = self.answer.take() {
            self.wire.answer(frame, room);
        }
    }
}

async fn poll_optional<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn forbidden(
    clock: Clock,
    expires_at: Option<Timestamp>,
    revoked: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, Forbidden> {
    async move {
        let expired = async {
            match expires_at {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = revoked => Forbidden::Revoked,
            () = expired => Forbidden::Expired,
        }
    }
    .boxed()
}

/// The payload of the answer to a token.
fn expiry(at: Option<Timestamp>) -> String {
    json!({ "expiresAt": at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)) }).to_string()
}

/// The operation that a payload would have been, had it been readable.
fn refused(unreadable: &Unreadable) -> Operation {
    // Values that are in memory as JSON can be written as JSON.
    let errors = serde_json::to_string(&[unreadable.error()]).unwrap_or_else(|_| "[]".to_owned());
    let outcome = Outcome::Errors(errors.into());
    Operation::Outcomes(OperationKind::Query, stream::once(future::ready(outcome)).boxed())
}
