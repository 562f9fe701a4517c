//! The one seam through which anything is written to a socket: a bounded queue and the task that empties it.
//!
//! Invariants: what waits for a peer is at most `queue_bytes` of results and [`ANSWERS`] answers of the session's own;
//! frames leave in the order in which they were put in; after [`Queue::retire`] or [`Queue::close`] no frame of the
//! operations concerned is put in, so an id can be used again without meeting its past. Results wait for room by their
//! own operation, so a slow peer holds up its operations and nothing else; answers never wait: the session takes a slot
//! for the answer *before* it reads the next message.
//!
//! Own code, because a sink flushed for each message costs 2.8 CPU-seconds a million deliveries in bursts, and taking
//! all that waits and flushing once costs 1.05; and because the stock socket of async-graphql stops reading, pinging
//! and every other operation while one write is blocked.
//!
//! A payload waits as the shared allocation of its event; the copy with the id around it is made one at a time, when
//! it is written.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::extract::ws::Message;
use futures_util::{Sink, SinkExt};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{metrics::Counted, protocol::Frame, settings::SocketSettings};

/// Answers (acknowledgements, pongs, pings, refusals) that may wait for a peer; each is below 2 KiB.
const ANSWERS: usize = 64;

/// The capacity that an empty queue keeps.
const KEPT_CAPACITY: usize = 16;

/// Frames on their way to one peer. Shared by the session, its operations and the writer.
pub(super) struct Queue {
    capacity: u32,
    /// What the smallest result takes of `capacity`, which bounds their number.
    least: u32,
    patience: Duration,
    room: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The operations whose frames are welcome.
    live: HashSet<u64>,
    closed: bool,
}

/// A frame and the room it holds until it is written.
struct Waiting {
    operation: Option<u64>,
    frame: Frame,
    _room: Room,
    _counted: Counted,
}

/// Room for one frame, taken before there is a frame to put in; dropping it gives it back.
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// Why a result was not put in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The operation or the socket has ended.
    Gone,
    /// It is larger than the whole queue.
    TooLarge,
    /// There was no room for the write timeout.
    Stuck,
}

/// How writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The queue was closed, and what was to be delivered is flushed.
    All,
    /// The peer took nothing for the write timeout.
    Stalled,
    /// The connection is broken.
    Failed,
}

enum Step {
    Send(Waiting),
    Idle,
    Closed,
}

impl Queue {
    pub(super) fn new(settings: &SocketSettings) -> Self {
        let capacity = settings.queue_bytes.get();
        Self {
            capacity,
            least: (capacity / settings.queue_messages).max(1),
            patience: settings.write_timeout(),
            room: Arc::new(Semaphore::new(usize::try_from(capacity).unwrap_or(Semaphore::MAX_PERMITS))),
            answers: Arc::new(Semaphore::new(ANSWERS)),
            state: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Begins to take frames of `operation`.
    pub(super) fn open(&self, operation: u64) {
        self.state().live.insert(operation);
    }

    /// Takes room for a result of `len` bytes, waiting behind those who asked before. Cancel safe: room that was
    /// waited for and not received, or received and dropped, is free again.
    pub(super) async fn reserve(&self, len: usize) -> Result<Room, Unsent> {
        let len = u32::try_from(len).ok().filter(|len| *len <= self.capacity).ok_or(Unsent::TooLarge)?;
        match timeout(self.patience, Arc::clone(&self.room).acquire_many_owned(len.max(self.least))).await {
            Ok(Ok(permit)) => Ok(Room { _permit: permit }),
            Ok(Err(_closed)) => Err(Unsent::Gone),
            Err(_elapsed) => Err(Unsent::Stuck),
        }
    }

    /// Puts in a result of `operation` once there is room. Cancel safe: the frame is in the queue or nowhere.
    pub(super) async fn send(&self, operation: u64, frame: Frame) -> Result<(), Unsent> {
        let room = self.reserve(frame.len()).await?;
        if self.put(Some(operation), frame, room) { Ok(()) } else { Err(Unsent::Gone) }
    }

    /// Puts in the last frame of `operation` and takes no more of it.
    pub(super) fn finish(&self, operation: u64, last: Frame, room: Room) {
        self.put(Some(operation), last, room);
        self.state().live.remove(&operation);
    }

    /// Takes no more frames of `operation` and throws away those that wait.
    pub(super) fn retire(&self, operation: u64) {
        let mut state = self.state();
        state.live.remove(&operation);
        state.waiting.retain(|waiting| waiting.operation != Some(operation));
    }

    /// Room for an answer, if there is some now.
    pub(super) fn try_answer(&self) -> Option<Room> {
        let permit = Arc::clone(&self.answers).try_acquire_owned().ok()?;
        Some(Room { _permit: permit })
    }

    /// Room for an answer, when there is some; never, once closed. Cancel safe.
    pub(super) async fn answer_room(&self) -> Room {
        match Arc::clone(&self.answers).acquire_owned().await {
            Ok(permit) => Room { _permit: permit },
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Puts in an answer.
    pub(super) fn answer(&self, frame: Frame, room: Room) {
        self.put(None, frame, room);
    }

    /// Takes nothing more; what waits is delivered or thrown away, and then the writer ends.
    pub(super) fn close(&self, deliver: bool) {
        let mut state = self.state();
        state.closed = true;
        state.live.clear();
        let dropped = if deliver { VecDeque::new() } else { std::mem::take(&mut state.waiting) };
        drop(state);
        drop(dropped);
        self.room.close();
        self.answers.close();
        self.filled.notify_one();
    }

    fn put(&self, operation: Option<u64>, frame: Frame, room: Room) -> bool {
        let mut state = self.state();
        if state.closed || operation.is_some_and(|operation| !state.live.contains(&operation)) {
            return false;
        }
        let counted = Counted::queued(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        state.waiting.push_back(Waiting { operation, frame, _room: room, _counted: counted });
        drop(state);
        self.filled.notify_one();
        true
    }

    fn take(&self) -> Step {
        let mut state = self.state();
        match state.waiting.pop_front() {
            Some(waiting) => Step::Send(waiting),
            None if state.closed => Step::Closed,
            None => {
                state.waiting.shrink_to(KEPT_CAPACITY);
                Step::Idle
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change below the lock is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is put in `queue` until it is closed or the peer is lost, and gives the sink back for the goodbye.
///
/// Frames are fed while any wait, and flushed once when none do. It runs as a task of its own and is not a branch of
/// any `select`; a timed-out write is the end of it, so no frame is lost in between. A frame that was cut in the middle
/// stays whole in the sink's buffer, and a close frame can follow it.
pub(super) async fn write<S>(queue: Arc<Queue>, mut sink: S) -> (S, Written)
where
    S: Sink<Message> + Unpin,
{
    let mut unflushed = false;
    loop {
        let step = queue.take();
        let closed = matches!(step, Step::Closed);
        let written = match step {
            // `waiting` lives until the sink has taken the frame, and the room with it.
            Step::Send(ref waiting) => {
                unflushed = true;
                timeout(queue.patience, sink.feed(Message::Text(waiting.frame.encode().into()))).await
            }
            Step::Idle | Step::Closed if unflushed => {
                unflushed = false;
                timeout(queue.patience, sink.flush()).await
            }
            Step::Idle => {
                queue.filled.notified().await;
                continue;
            }
            Step::Closed => Ok(Ok(())),
        };
        match written {
            Ok(Ok(())) if closed => return (sink, Written::All),
            Ok(Ok(())) => {}
            Ok(Err(_broken)) => return (sink, Written::Failed),
            Err(_elapsed) => return (sink, Written::Stalled),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        num::{NonZeroU32, NonZeroU64},
        pin::Pin,
        task::{Context, Poll},
    };

    use super::{super::protocol::OperationId, *};

    /// Records what is written and flushed, and blocks when told to.
    #[derive(Default)]
    struct Wire {
        log: Vec<String>,
        blocked: bool,
    }

    impl Sink<Message> for Wire {
        type Error = ();

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            if self.blocked { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), ()> {
            self.log.push(message.into_text().map_err(|_| ())?.to_string());
            Ok(())
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            self.log.push("flush".to_owned());
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn queue(bytes: u32, messages: u32) -> Arc<Queue> {
        Arc::new(Queue::new(&SocketSettings {
            queue_bytes: NonZeroU32::new(bytes).expect("above zero"),
            queue_messages: NonZeroU32::new(messages).expect("above zero"),
            write_timeout_ms: NonZeroU64::new(20).expect("above zero"),
            ..SocketSettings::default()
        }))
    }

    fn id() -> OperationId {
        OperationId::new("1").expect("valid")
    }

    fn next(payload: &str) -> Frame {
        Frame::Next(id(), payload.into())
    }

    #[tokio::test]
    async fn what_waits_is_written_in_order_and_flushed_once() {
        let queue = queue(10_000, 10);
        queue.open(1);
        for payload in ["1", "2", "3"] {
            queue.send(1, next(payload)).await.expect("room");
        }
        let room = queue.reserve(10).await.expect("room");
        queue.finish(1, Frame::Complete(id()), room);
        assert_eq!(queue.send(1, next("4")).await, Err(Unsent::Gone), "after its last frame");
        queue.close(true);
        let (wire, written) = write(Arc::clone(&queue), Wire::default()).await;
        assert_eq!(written, Written::All);
        let expected = [next("1"), next("2"), next("3"), Frame::Complete(id())].map(|frame| frame.encode());
        assert_eq!(wire.log[..4], expected);
        assert_eq!(wire.log[4..], ["flush"]);
        assert_eq!(queue.room.available_permits(), 10_000);
    }

    #[tokio::test]
    async fn bytes_and_messages_are_bounded_and_a_full_queue_is_noticed() {
        for (bytes, messages, fits) in [(100, 100, 2), (100_000, 3, 3)] {
            let queue = queue(bytes, messages);
            queue.open(1);
            for _ in 0..fits {
                queue.send(1, next("12345")).await.expect("room");
            }
            assert_eq!(queue.send(1, next("12345")).await, Err(Unsent::Stuck));
            queue.retire(1);
            assert!(queue.state().waiting.is_empty(), "what waited is gone");
            assert!(queue.reserve(usize::try_from(bytes).expect("small")).await.is_ok(), "and its room is free");
            assert_eq!(queue.reserve(100_001).await.err(), Some(Unsent::TooLarge));
        }
    }

    #[tokio::test]
    async fn a_retired_operation_says_nothing_more_and_others_go_on() {
        let queue = queue(10_000, 10);
        queue.open(1);
        queue.open(2);
        queue.send(1, next("1")).await.expect("room");
        queue.send(2, next("2")).await.expect("room");
        queue.retire(1);
        assert_eq!(queue.send(1, next("3")).await, Err(Unsent::Gone));
        queue.close(true);
        let (wire, _) = write(queue, Wire::default()).await;
        assert_eq!(wire.log, [next("2").encode(), "flush".to_owned()]);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_ends_the_writer() {
        let queue = queue(10_000, 10);
        queue.open(1);
        queue.send(1, next("1")).await.expect("room");
        let (_, written) = write(queue, Wire { blocked: true, ..Wire::default() }).await;
        assert_eq!(written, Written::Stalled);
    }

    #[tokio::test]
    async fn answers_have_room_of_their_own_and_no_more() {
        let queue = queue(100, 100);
        let rooms: Vec<Room> = std::iter::from_fn(|| queue.try_answer()).collect();
        assert_eq!(rooms.len(), ANSWERS);
        drop(rooms);
        queue.answer(Frame::Ack, queue.answer_room().await);
        queue.close(false);
        assert!(queue.try_answer().is_none());
        let (wire, written) = write(queue, Wire::default()).await;
        assert_eq!((wire.log.len(), written), (0, Written::All));
    }
}
