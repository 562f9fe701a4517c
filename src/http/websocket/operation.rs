//! The operations of one socket, owned by its session.
//!
//! A query, a mutation, and a subscription that starts or catches up is a task, and so is one that is a stream of its own;
//! a live subscription is an entry in its group and here, and nothing else. When it leaves its group it becomes a task again.
//!
//! Invariants: an id is live from its `subscribe` until the client completes it or its last frame is in the wire, so a
//! client that has seen the last frame can use the id again. The last frame is put in here and not by the task, which
//! only reserves room for it: otherwise the client could know of an end before the session does. Subscriptions and
//! queries end when the client completes them or disconnects; mutations run to their end without an answer, and count
//! against the limit until then. A panic of a stream is that operation's `error` and affects no other.
//!
//! Own code: async-graphql's socket silently replaces a duplicate id and never sends `error`, a panic in a resolver
//! ends it, and so does its end a mutation that runs.

use std::{any::Any, collections::HashSet, future::pending, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either},
    stream::BoxStream,
};
use serde_json::json;
use smallvec::SmallVec;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::{
    backend::{Brings, Joining, NotJoined, Operation, OperationKind, Outcome, Subscription},
    close::Close,
    metrics::Counted,
    protocol::{Frame, OperationId, next_prefix},
    writer::{Room, SocketWriter, Unsent, numbered},
};
use crate::{
    graphql::errors::ErrorCode,
    realtime::{Feed, FeedEnd, Live as LiveFeed, Offer, Outlet, Payload, Progress},
};

/// Bytes before a payload whose id is a UUID.
const PREFIX: usize = 72;

/// What runs on one socket. Dropping it aborts everything, mutations included.
pub(super) struct RunningOperations {
    wire: Arc<SocketWriter>,
    limit: usize,
    last_number: u64,
    /// Few: a list is a quarter of a table, and there is one for each of many sockets.
    live: Vec<(OperationId, Entry)>,
    /// Mutations that their client has completed and that still run.
    unheard: HashSet<Id>,
    tasks: JoinSet<Finished>,
}

struct Entry {
    /// Never used again, unlike the id. See [`numbered`].
    number: u64,
    kind: OperationKind,
    state: State,
    /// Where its group let it go before this side knew that it was live.
    let_go_at: Option<i64>,
    /// What a subscription holds for as long as it lives.
    guard: Option<Box<dyn Any + Send>>,
    _counted: Counted,
}

enum State {
    Running(AbortHandle),
    CatchingUp(AbortHandle, Progress),
    /// A stream of its own, which has no place in the log.
    Streaming(AbortHandle),
    Live(Box<LiveFeed>),
    /// In the middle of a change, which nobody sees.
    Changing,
}

struct Finished {
    id: OperationId,
    number: u64,
    end: OperationEnd,
}

/// How a task of an operation ended.
enum OperationEnd {
    /// With the last frame, and the room for it.
    Last(Result<(Frame, Room), Unsent>),
    /// A subscription was admitted and is to catch up.
    Admitted(Box<Subscription>),
    /// A subscription has caught up.
    CaughtUp(Box<LiveFeed>),
}

/// A task that has ended.
pub(super) struct Ended(Result<(Id, Finished), JoinError>);

impl RunningOperations {
    pub(super) fn new(wire: Arc<SocketWriter>, limit: u32) -> Self {
        Self {
            wire,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            last_number: 0,
            live: Vec::new(),
            unheard: HashSet::new(),
            tasks: JoinSet::new(),
        }
    }

    pub(super) fn is_live(&self, id: &OperationId) -> bool {
        self.live.iter().any(|(live, _)| live == id)
    }

    /// Bytes that long ids take.
    pub(super) fn id_bytes(&self) -> usize {
        self.live.iter().map(|(live, _)| live.long_bytes()).sum()
    }

    pub(super) fn is_full(&self) -> bool {
        self.live.len() + self.unheard.len() >= self.limit
    }

    /// Whether mutations run whose client waits for the result.
    pub(super) fn has_mutations(&self) -> bool {
        self.live.iter().any(|(_, entry)| entry.kind == OperationKind::Mutation)
    }

    /// The position up to which every subscription has been given everything; none without a subscription.
    ///
    /// What is put in the wire afterwards comes behind all of it.
    pub(super) fn position(&self) -> Option<i64> {
        let positions = self.live.iter().filter_map(|(_, entry)| match &entry.state {
            // Nor has one that left its group a moment ago.
            State::Live(live) => Some(live.position().unwrap_or(i64::MIN)),
            State::CatchingUp(_, progress) => Some(progress.position()),
            // One that is about to begin has no position to speak for.
            State::Running(_) if entry.kind == OperationKind::Subscription => Some(i64::MIN),
            State::Running(_) | State::Streaming(_) | State::Changing => None,
        });
        let position = positions.min().filter(|position| *position != i64::MIN);
        // After looking: a group that has let one go a moment ago speaks for the others only.
        position.filter(|_| !self.wire.has_lagging())
    }

    /// Runs `operation` under an id that is not live.
    pub(super) fn start(&mut self, id: OperationId, operation: Operation) {
        self.last_number += 1;
        let is_mutation = matches!(operation, Operation::Outcomes(OperationKind::Mutation, _));
        let number = numbered(self.last_number, is_mutation);
        self.wire.open(number);
        let (kind, task) = match operation {
            Operation::Outcomes(kind, outcomes) => {
                let task = run(Arc::clone(&self.wire), id.clone(), number, kind, outcomes);
                (kind, Either::Left(task))
            }
            Operation::Subscription(joining) => {
                let task = begin(Arc::clone(&self.wire), id.clone(), number, joining);
                (OperationKind::Subscription, Either::Right(task))
            }
        };
        let state = State::Running(self.tasks.spawn(task));
        let counted = Counted::operation(kind.as_str());
        let entry = Entry { number, kind, state, let_go_at: None, guard: None, _counted: counted };
        self.live.push((id, entry));
    }

    /// The client has completed an operation: nothing more is sent under its id. An unknown id is one that has just
    /// ended here.
    pub(super) fn complete(&mut self, id: &OperationId) {
        let Some(entry) = self.remove(id) else { return };
        self.wire.retire(entry.number);
        match entry.state {
            State::Running(task) if entry.kind == OperationKind::Mutation => {
                self.unheard.insert(task.id());
            }
            State::Running(task) | State::CatchingUp(task, _) | State::Streaming(task) => task.abort(),
            State::Live(_) | State::Changing => {}
        }
    }

    /// Ends all but mutations. What they have put in the wire stays there.
    pub(super) fn stop(&mut self) {
        self.live.retain(|(_, entry)| {
            let stays = entry.kind == OperationKind::Mutation;
            let task = match &entry.state {
                State::Running(task) | State::CatchingUp(task, _) | State::Streaming(task) => Some(task),
                State::Live(_) | State::Changing => None,
            };
            if let Some(task) = task.filter(|_| !stays) {
                task.abort();
            }
            stays
        });
    }

    /// A group has let a subscription go at `position`: it catches up by itself.
    pub(super) fn let_go(&mut self, number: u64, position: i64) {
        let Some((id, entry)) = self.live.iter_mut().find(|(_, entry)| entry.number == number) else { return };
        match std::mem::replace(&mut entry.state, State::Changing) {
            State::Live(live) => {
                entry.state = catch_up(&mut self.tasks, &self.wire, id.clone(), number, live.lagged(position));
            }
            // Its task has just ended, and will be settled in a moment.
            other => {
                entry.state = other;
                entry.let_go_at = Some(position);
            }
        }
    }

    /// The next task that ends; never, while there is none. Cancel safe, as `JoinSet::join_next_with_id` is.
    pub(super) async fn next_ended(&mut self) -> Ended {
        match self.tasks.join_next_with_id().await {
            Some(ended) => Ended(ended),
            None => pending().await,
        }
    }

    /// Frees the id of an ended task and sends its last frame, or says why the socket must end.
    pub(super) fn settle(&mut self, Ended(ended): Ended) -> Result<(), Close> {
        match ended {
            Ok((task, Finished { id, number, end })) => {
                self.unheard.remove(&task);
                let entry = self.live.iter_mut().map(|(_, entry)| entry).find(|entry| entry.number == number);
                match (end, entry) {
                    (OperationEnd::Admitted(subscription), Some(entry)) => {
                        let Subscription { brings, guard } = *subscription;
                        entry.guard = Some(guard);
                        entry.state = match brings {
                            Brings::Feed(feed) => catch_up(&mut self.tasks, &self.wire, id, number, *feed),
                            Brings::Stream(outcomes) => {
                                let kind = OperationKind::Subscription;
                                let task = run(Arc::clone(&self.wire), id, number, kind, outcomes);
                                State::Streaming(self.tasks.spawn(task))
                            }
                        };
                    }
                    (OperationEnd::CaughtUp(live), Some(entry)) => {
                        entry.state = match entry.let_go_at.take() {
                            Some(position) => catch_up(&mut self.tasks, &self.wire, id, number, live.lagged(position)),
                            None => State::Live(live),
                        };
                    }
                    // The queue knows whether the operation is still listened to.
                    (OperationEnd::Last(Ok((frame, room))), entry) => {
                        let listened = entry.is_some();
                        if listened {
                            self.remove(&id);
                        }
                        self.wire.finish(number, frame, room);
                    }
                    (OperationEnd::Last(Err(Unsent::Gone | Unsent::TooLarge)), Some(_)) => drop(self.remove(&id)),
                    // Completed in the meantime.
                    (OperationEnd::Admitted(_) | OperationEnd::CaughtUp(_) | OperationEnd::Last(Err(_)), None) => {}
                }
            }
            // Aborted, or a destructor panicked: the panics of the stream itself end as a frame.
            Err(error) => {
                self.unheard.remove(&error.id());
                let of_task = |entry: &Entry| match &entry.state {
                    State::Running(task) | State::CatchingUp(task, _) | State::Streaming(task) => {
                        task.id() == error.id()
                    }
                    State::Live(_) | State::Changing => false,
                };
                let id = self.live.iter().find(|(_, entry)| of_task(entry)).map(|(id, _)| id.clone());
                if let Some(entry) = id.as_ref().and_then(|id| self.remove(id)) {
                    tracing::error!(operation.kind = entry.kind.as_str(), "an operation panicked while it was dropped");
                    return Err(Close::Bug);
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: &OperationId) -> Option<Entry> {
        let place = self.live.iter().position(|(live, _)| live == id)?;
        Some(self.live.swap_remove(place).1)
    }

    /// Waits for what cannot be aborted.
    pub(super) async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        // Nobody may be left in a group whose wire is about to go.
        self.live.clear();
    }
}

/// The outlet of one subscription: the socket's wire, under the subscription's id.
struct SocketOutlet {
    wire: Arc<SocketWriter>,
    number: u64,
    /// Next to the rest, since an offer that finds it elsewhere in memory waits for it: ids are mostly UUIDs.
    prefix: SmallVec<[u8; PREFIX]>,
}

impl Outlet for SocketOutlet {
    fn touch(&self) -> usize {
        self.wire.touch() + usize::from(self.prefix.last().copied().unwrap_or_default())
    }

    fn runs_by_itself(&self) -> bool {
        true
    }

    fn offer(&self, payloads: &[Payload]) -> Offer {
        let responses = payloads.iter().map(|payload| &payload.response);
        match self.wire.offer(self.number, &self.prefix, responses) {
            Ok(taken) => Offer::Taken(taken),
            Err(Unsent::TooLarge) => Offer::TooLarge,
            Err(Unsent::Gone) => Offer::Gone,
        }
    }

    fn room(&self, len: usize) -> BoxFuture<'_, ()> {
        self.wire.room(self.prefix.len() + len + 1).boxed()
    }

    fn lagged(&self, position: i64) {
        self.wire.let_go(self.number, position);
    }
}

/// Has a subscription checked and joined.
async fn begin(wire: Arc<SocketWriter>, id: OperationId, number: u64, joining: Joining) -> Finished {
    let prefix = next_prefix(&id).into_bytes().into();
    let outlet: Arc<dyn Outlet> = Arc::new(SocketOutlet { wire: Arc::clone(&wire), number, prefix });
    let joined = AssertUnwindSafe(async { joining(outlet).await }).catch_unwind().await;
    let last = match joined {
        Ok(Ok(subscription)) => return Finished { id, number, end: OperationEnd::Admitted(Box::new(subscription)) },
        Ok(Err(NotJoined(errors))) => Frame::Error(id.clone(), errors),
        Err(_) => panicked(&id, OperationKind::Subscription),
    };
    let end = OperationEnd::Last(reserve(&wire, &id, last).await);
    Finished { id, number, end }
}

fn catch_up(
    tasks: &mut JoinSet<Finished>,
    wire: &Arc<SocketWriter>,
    id: OperationId,
    number: u64,
    feed: Feed,
) -> State {
    let progress = feed.progress();
    let wire = Arc::clone(wire);
    let task = tasks.spawn(async move {
        let caught_up = AssertUnwindSafe(feed.catch_up()).catch_unwind().await;
        let last = match caught_up {
            Ok(Ok(live)) => return Finished { id, number, end: OperationEnd::CaughtUp(Box::new(live)) },
            Ok(Err(FeedEnd::Gone)) => return Finished { id, number, end: OperationEnd::Last(Err(Unsent::Gone)) },
            Ok(Err(FeedEnd::TooLarge)) => too_large(&id),
            Ok(Err(FeedEnd::Expired)) => {
                let message = "What comes next is no longer kept. Read the list anew, with streamCursor, and subscribe from there.";
                Frame::failure(id.clone(), ErrorCode::CursorExpired, message)
            }
            Ok(Err(FeedEnd::Unpaid(retry_after))) => unpaid(&id, retry_after),
            Err(_) => panicked(&id, OperationKind::Subscription),
        };
        let end = OperationEnd::Last(reserve(&wire, &id, last).await);
        Finished { id, number, end }
    });
    State::CatchingUp(task, progress)
}

async fn run(
    wire: Arc<SocketWriter>,
    id: OperationId,
    number: u64,
    kind: OperationKind,
    outcomes: BoxStream<'static, Outcome>,
) -> Finished {
    let caught = AssertUnwindSafe(drive(&wire, &id, number, kind, outcomes)).catch_unwind().await;
    let last = match caught.unwrap_or_else(|_| Ok(panicked(&id, kind))) {
        Ok(frame) => reserve(&wire, &id, frame).await,
        Err(unsent) => Err(unsent),
    };
    Finished { id, number, end: OperationEnd::Last(last) }
}

/// Sends the outcomes of one operation and returns its last frame, which is still to be sent.
async fn drive(
    wire: &Arc<SocketWriter>,
    id: &OperationId,
    number: u64,
    kind: OperationKind,
    mut outcomes: BoxStream<'static, Outcome>,
) -> Result<Frame, Unsent> {
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Outcome::Next(payload) => match wire.send(number, Frame::Next(id.clone(), payload)).await {
                Ok(()) => {}
                Err(Unsent::TooLarge) => return Ok(too_large(id)),
                // Nobody listens, and it must still be done.
                Err(Unsent::Gone) if kind == OperationKind::Mutation => {}
                Err(Unsent::Gone) => return Err(Unsent::Gone),
            },
            Outcome::Errors(errors) => return Ok(Frame::Error(id.clone(), errors)),
        }
    }
    Ok(Frame::Complete(id.clone()))
}

async fn reserve(wire: &Arc<SocketWriter>, id: &OperationId, frame: Frame) -> Result<(Frame, Room), Unsent> {
    match wire.reserve(frame.len()).await {
        Ok(room) => Ok((frame, room)),
        Err(Unsent::TooLarge) => {
            let frame = too_large(id);
            wire.reserve(frame.len()).await.map(|room| (frame, room))
        }
        Err(Unsent::Gone) => Err(Unsent::Gone),
    }
}

fn panicked(id: &OperationId, kind: OperationKind) -> Frame {
    tracing::error!(operation.kind = kind.as_str(), "an operation panicked");
    failure(id)
}

/// The `error` of an operation that panicked.
pub(super) fn failure(id: &OperationId) -> Frame {
    Frame::failure(id.clone(), ErrorCode::InternalServerError, "Internal server error")
}

/// The `error` of a subscription whose budget is spent.
fn unpaid(id: &OperationId, retry_after: Duration) -> Frame {
    let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    let extensions = json!({ "code": ErrorCode::RateLimited.as_str(), "retryAfterMs": millis });
    let errors = json!([{ "message": FeedEnd::unpaid(retry_after), "extensions": extensions }]);
    Frame::Error(id.clone(), errors.to_string().into())
}

fn too_large(id: &OperationId) -> Frame {
    let message = "The result is larger than a socket carries: ask for less, or over HTTP";
    Frame::failure(id.clone(), ErrorCode::OperationTooComplex, message)
}
