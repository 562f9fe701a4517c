//! The operations of one socket: a task each, owned by the session.
//!
//! Invariants: an id is live from its `subscribe` until the client completes it or its last frame is in the queue, so
//! a client that has seen the last frame can use the id again; the last frame is put in here and not by the task, which
//! only brings the room for it, because only then is there no moment in which the client knows of an end that the
//! session does not. Subscriptions and queries are aborted when the client completes them or goes; mutations run to
//! their end unheard, and count against the limit until then. A panic of a stream is that operation's `error` and
//! nobody else's.
//!
//! Own code: the stock socket silently replaces a duplicate id, never sends `error`, has no limit, and a panic in a
//! resolver ends it.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::{
    backend::{Operation, OperationKind, Outcome},
    close::Close,
    metrics::Counted,
    protocol::{Frame, OperationId},
    writer::{Queue, Room, Unsent},
};
use crate::graphql::errors::ErrorCode;

/// What runs on one socket. Dropping it aborts everything, mutations included.
pub(super) struct Operations {
    queue: Arc<Queue>,
    limit: usize,
    last_number: u64,
    live: HashMap<OperationId, Live>,
    /// Mutations that their client has completed and that still run.
    unheard: HashSet<Id>,
    tasks: JoinSet<Finished>,
}

struct Live {
    /// Never used again, unlike the id.
    number: u64,
    kind: OperationKind,
    task: AbortHandle,
}

struct Finished {
    id: OperationId,
    number: u64,
    /// The last frame and the room for it.
    last: Result<(Frame, Room), Unsent>,
}

/// A task that has ended.
pub(super) struct Ended(Result<(Id, Finished), JoinError>);

impl Operations {
    pub(super) fn new(queue: Arc<Queue>, limit: u32) -> Self {
        Self {
            queue,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            last_number: 0,
            live: HashMap::new(),
            unheard: HashSet::new(),
            tasks: JoinSet::new(),
        }
    }

    pub(super) fn is_live(&self, id: &OperationId) -> bool {
        self.live.contains_key(id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.live.len() + self.unheard.len() >= self.limit
    }

    /// Whether mutations run whose client waits for the result.
    pub(super) fn has_mutations(&self) -> bool {
        self.live.values().any(|live| live.kind == OperationKind::Mutation)
    }

    /// Runs `operation` under an id that is not live.
    pub(super) fn start(&mut self, id: OperationId, operation: Operation) {
        self.last_number += 1;
        let (number, kind) = (self.last_number, operation.kind);
        self.queue.open(number);
        let task = self.tasks.spawn(run(Arc::clone(&self.queue), id.clone(), number, operation));
        self.live.insert(id, Live { number, kind, task });
    }

    /// The client has completed an operation: nothing more is sent under its id. An unknown id is one that has just
    /// ended here.
    pub(super) fn complete(&mut self, id: &OperationId) {
        let Some(live) = self.live.remove(id) else { return };
        self.queue.retire(live.number);
        match live.kind {
            OperationKind::Mutation => {
                self.unheard.insert(live.task.id());
            }
            OperationKind::Query | OperationKind::Subscription => live.task.abort(),
        }
    }

    /// Aborts all but mutations. What they have put in the queue stays there.
    pub(super) fn stop(&mut self) {
        self.live.retain(|_, live| {
            let stays = live.kind == OperationKind::Mutation;
            if !stays {
                live.task.abort();
            }
            stays
        });
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
            Ok((task, Finished { id, number, last })) => {
                self.unheard.remove(&task);
                if self.live.get(&id).is_some_and(|live| live.number == number) {
                    self.live.remove(&id);
                }
                match last {
                    // The queue knows whether the operation is still listened to.
                    Ok((frame, room)) => self.queue.finish(number, frame, room),
                    Err(Unsent::Stuck) => return Err(Close::SlowReader),
                    Err(Unsent::Gone | Unsent::TooLarge) => {}
                }
            }
            // Aborted, or a destructor panicked: the panics of the stream itself end as a frame.
            Err(error) => {
                self.unheard.remove(&error.id());
                let id = self.live.iter().find(|(_, live)| live.task.id() == error.id()).map(|(id, _)| id.clone());
                if let Some(live) = id.as_ref().and_then(|id| self.live.remove(id)) {
                    tracing::error!(operation.kind = live.kind.as_str(), "an operation panicked while it was dropped");
                    return Err(Close::Bug);
                }
            }
        }
        Ok(())
    }

    /// Waits for what cannot be aborted.
    pub(super) async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn run(queue: Arc<Queue>, id: OperationId, number: u64, operation: Operation) -> Finished {
    let Operation { kind, outcomes } = operation;
    let _counted = Counted::operation(kind.as_str());
    let caught = AssertUnwindSafe(drive(&queue, &id, number, kind, outcomes)).catch_unwind().await;
    let last = caught.unwrap_or_else(|_| {
        tracing::error!(operation.kind = kind.as_str(), "an operation panicked");
        Ok(failure(&id))
    });
    let last = match last {
        Ok(frame) => reserve(&queue, &id, frame).await,
        Err(unsent) => Err(unsent),
    };
    Finished { id, number, last }
}

/// Sends the outcomes of one operation and returns its last frame, which is still to be sent.
async fn drive(
    queue: &Queue,
    id: &OperationId,
    number: u64,
    kind: OperationKind,
    mut outcomes: BoxStream<'static, Outcome>,
) -> Result<Frame, Unsent> {
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Outcome::Next(payload) => match queue.send(number, Frame::Next(id.clone(), payload)).await {
                Ok(()) => {}
                Err(Unsent::TooLarge) => return Ok(too_large(id)),
                // Nobody listens, and it must still be done.
                Err(Unsent::Gone) if kind == OperationKind::Mutation => {}
                Err(unsent @ (Unsent::Gone | Unsent::Stuck)) => return Err(unsent),
            },
            Outcome::Errors(errors) => return Ok(Frame::Error(id.clone(), errors)),
        }
    }
    Ok(Frame::Complete(id.clone()))
}

async fn reserve(queue: &Queue, id: &OperationId, frame: Frame) -> Result<(Frame, Room), Unsent> {
    match queue.reserve(frame.len()).await {
        Ok(room) => Ok((frame, room)),
        Err(Unsent::TooLarge) => {
            let frame = too_large(id);
            queue.reserve(frame.len()).await.map(|room| (frame, room))
        }
        Err(unsent @ (Unsent::Gone | Unsent::Stuck)) => Err(unsent),
    }
}

/// The `error` of an operation that panicked.
pub(super) fn failure(id: &OperationId) -> Frame {
    Frame::failure(id.clone(), ErrorCode::InternalServerError, "Internal server error")
}

fn too_large(id: &OperationId) -> Frame {
    let message = "The result is larger than a socket carries: ask for less, or over HTTP";
    Frame::failure(id.clone(), ErrorCode::OperationTooComplex, message)
}
