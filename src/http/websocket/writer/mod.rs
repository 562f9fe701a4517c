//! The only place that writes to a socket.
//!
//! A frame goes straight to the kernel if nothing is queued before it; otherwise it waits in a bounded queue that the
//! session empties as the peer takes it ([`SocketWriter::pump`]), as much at a time as the kernel accepts. So a quiet
//! socket costs one system call a result, and one that is behind gets many results in one.
//!
//! Invariants: at most `queue_bytes` of results and [`ANSWERS`] answers of the session's own wait for a peer; frames
//! leave whole and in the order in which they were put in; after [`SocketWriter::retire`] or [`SocketWriter::close`] no
//! frame of the operations concerned is put in, so a frame of an earlier operation cannot reach a later one with the
//! same id. Nothing here waits while it holds the lock. Answers never wait for results: the session takes a place for
//! the answer *before* it reads the next message.
//!
//! Own code instead of a sink of frames, which costs a task and a flush for each subscriber:
//! docs/adr/0001-own-socket.md has the measurements. And the stock socket of async-graphql stops reading, pinging and
//! every other operation while one write is blocked.

#[cfg(target_os = "linux")]
use std::time::Duration;
use std::{
    cell::RefCell,
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

mod queue;

use self::queue::{Cost, State, Waiting};
use super::{
    connection::{SLICES, SocketConnection},
    metrics::Counted,
    protocol::Frame,
    settings::SocketSettings,
};

/// Answers (acknowledgements, pongs, pings, refusals) that may wait for a peer; each is below 2 KiB.
const ANSWERS: usize = 64;
/// What a waiting frame takes beside its text.
const OVERHEAD: usize = 128;
/// How long the kernel keeps what a peer does not take, once the socket is about to end.
#[cfg(target_os = "linux")]
const LAST_WORDS: Duration = Duration::from_mins(1);
/// The longest header of a frame that is not masked.
const HEADER: usize = 10;

thread_local! {
    /// Where frames are put together before they are written; each call leaves nothing in it.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The number of an operation, by the order in which they begin: odd for mutations, whose answers stay when all else
/// that waits is thrown away.
pub(super) fn numbered(place: u64, is_mutation: bool) -> u64 {
    place * 2 + u64::from(is_mutation)
}

const fn is_mutation(number: u64) -> bool {
    number % 2 == 1
}

/// The way to one peer. Shared by the session, its operations and the groups it subscribes to.
pub(super) struct SocketWriter {
    pipe: SocketConnection,
    capacity: usize,
    state: Mutex<State>,
    /// Something waits that was not there before, or the session is to look at a subscription that left its group.
    wake: Notify,
    /// There is room again.
    room: Notify,
}

/// Room for one frame, taken before there is a frame to put in; dropping it gives it back.
pub(super) struct Room {
    wire: Arc<SocketWriter>,
    cost: Option<Cost>,
}

/// Why a result was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The operation or the socket has ended.
    Gone,
    /// It is larger than all that may wait.
    TooLarge,
}

/// What [`SocketWriter::pump`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Something began to wait, or a subscription left its group.
    Woken,
    /// The peer took something.
    Progress,
    /// The connection is broken.
    Broken,
}

impl SocketWriter {
    pub(super) fn new(pipe: SocketConnection, settings: &SocketSettings) -> Self {
        let capacity = usize::try_from(settings.queue_bytes.get()).unwrap_or(usize::MAX);
        // Who is silent is told by pings, and who takes nothing by the session's write timeout: the kernel, which has a
        // shorter one for HTTP, would break the connection of a reader that is only stopped, without a word and a code.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(pipe.tcp()).set_tcp_user_timeout(None);
        Self { pipe, capacity, state: Mutex::default(), wake: Notify::new(), room: Notify::new() }
    }

    /// From here on the kernel takes all that it has room for: these are the last frames, and they reach a peer that reads
    /// later. It keeps them for as long as [`LAST_WORDS`].
    #[cfg(target_os = "linux")]
    pub(super) fn hurry(&self) {
        let socket = socket2::SockRef::from(self.pipe.tcp());
        // What fails here is a connection that is gone.
        let _ = socket.set_tcp_notsent_lowat(u32::MAX);
        let _ = socket.set_tcp_user_timeout(Some(LAST_WORDS));
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) const fn hurry(&self) {}

    /// For reading.
    pub(super) const fn connection(&self) -> &SocketConnection {
        &self.pipe
    }

    /// Reads a little of what [`offer`](Self::offer) will look at; see [`Outlet::touch`](crate::realtime::Outlet::touch).
    pub(super) fn touch(&self) -> usize {
        // The flag is in the cache line of the lock.
        self.capacity + usize::from(self.state.is_poisoned())
    }

    /// Begins to take frames of `operation`.
    pub(super) fn open(&self, operation: u64) {
        self.state().open.push(operation);
    }

    /// Whether anything waits for the peer.
    pub(super) fn has_waiting(&self) -> bool {
        !self.state().waiting.is_empty() || self.pipe.has_unsent()
    }

    /// Takes room for a result of `len` bytes. Cancel safe: room that was received and dropped is free again.
    pub(super) async fn reserve(self: &Arc<Self>, len: usize) -> Result<Room, Unsent> {
        if len > self.capacity {
            return Err(Unsent::TooLarge);
        }
        loop {
            // Listening begins before looking: room made in between is not missed.
            let room = self.room.notified();
            {
                let mut state = self.state();
                if state.closed || state.broken {
                    return Err(Unsent::Gone);
                }
                if state.taken == 0 || state.taken + len + OVERHEAD <= self.capacity {
                    let cost = len + OVERHEAD;
                    state.taken += cost;
                    return Ok(Room { wire: Arc::clone(self), cost: Some(Cost::Bytes(cost)) });
                }
            }
            room.await;
        }
    }

    /// Puts in a result of `operation` once there is room. Cancel safe: the frame is put in or nowhere.
    pub(super) async fn send(self: &Arc<Self>, operation: u64, frame: Frame) -> Result<(), Unsent> {
        let room = self.reserve(frame.len()).await?;
        if self.put(Some(operation), frame, room) { Ok(()) } else { Err(Unsent::Gone) }
    }

    /// Puts in the last frame of `operation` and takes no more of it.
    pub(super) fn finish(&self, operation: u64, last: Frame, room: Room) {
        self.put(Some(operation), last, room);
        self.state().open.retain(|open| *open != operation);
    }

    /// Takes no more frames of `operation` and throws away those that wait, but for one that has begun to leave.
    pub(super) fn retire(&self, operation: u64) {
        let mut state = self.state();
        state.open.retain(|open| *open != operation);
        state.lagging.retain(|(lagging, _)| *lagging != operation);
        state.throw_away(|waiting| waiting.operation == Some(operation));
        drop(state);
        self.room.notify_waiters();
    }

    /// Takes answers to mutations alone from now on, and throws away all other results that wait but for one that has
    /// begun to leave.
    pub(super) fn keep_answers(&self) {
        let mut state = self.state();
        state.open.retain(|number| is_mutation(*number));
        state.throw_away(|waiting| waiting.operation.is_some_and(|number| !is_mutation(number)));
        drop(state);
        self.room.notify_waiters();
    }

    /// Room for an answer, if there is some now.
    pub(super) fn try_answer(self: &Arc<Self>) -> Option<Room> {
        let mut state = self.state();
        if state.answers >= ANSWERS || state.closed {
            return None;
        }
        state.answers += 1;
        drop(state);
        Some(Room { wire: Arc::clone(self), cost: Some(Cost::Answer) })
    }

    /// Room for an answer, when there is some; never, once closed. Cancel safe.
    pub(super) async fn answer_room(self: &Arc<Self>) -> Room {
        loop {
            let room = self.room.notified();
            if let Some(answer) = self.try_answer() {
                return answer;
            }
            room.await;
        }
    }

    /// Puts in an answer.
    pub(super) fn answer(&self, frame: Frame, room: Room) {
        self.put(None, frame, room);
    }

    /// Puts in what the library has to say by itself: a pong, or the close frame. It comes one at a time.
    pub(super) fn control(&self, frame: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.write_or_wait(&mut state, None, Cost::Bytes(0), frame, None, "")
    }

    /// Takes no more results once this is cancelled. In place of what was said before.
    pub(super) fn until_revoked(&self, revoked: CancellationToken) {
        self.state().revoked = Some(revoked);
    }

    /// Offers results of a subscription, from the front: how many were taken.
    pub(super) fn offer<'a>(
        &self,
        operation: u64,
        prefix: &[u8],
        payloads: impl Iterator<Item = &'a Arc<str>> + Clone,
    ) -> Result<usize, Unsent> {
        let mut state = self.state();
        let revoked = state.revoked.as_ref().is_some_and(CancellationToken::is_cancelled);
        if state.closed || state.broken || revoked || !state.open.contains(&operation) {
            return Err(Unsent::Gone);
        }
        let mut rest = payloads.clone();
        let mut taken = 0;
        if state.waiting.is_empty() {
            // The usual case: all that came goes out by one call.
            taken = SCRATCH
                .with_borrow_mut(|scratch| {
                    let mut count = 0;
                    for payload in payloads {
                        let length = prefix.len() + payload.len() + 1;
                        // No more than may wait, should the kernel take none of it.
                        let room = if count == 0 { length } else { scratch.len() + length + (count + 1) * OVERHEAD };
                        if room > self.capacity {
                            break;
                        }
                        push_header(scratch, length);
                        scratch.extend_from_slice(prefix);
                        scratch.extend_from_slice(payload.as_bytes());
                        scratch.push(b'}');
                        count += 1;
                    }
                    let written = if count > 0 { self.write(|pipe| pipe.try_write(scratch)) } else { Ok(0) };
                    let outcome = match written {
                        Ok(written) if written == scratch.len() => Ok(count),
                        Ok(written) => {
                            Ok(self.keep_rest(&mut state, operation, prefix, rest.clone().take(count), written))
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                        Err(_) => Err(Unsent::Gone),
                    };
                    scratch.clear();
                    scratch.shrink_to(64 * 1024);
                    outcome
                })
                .inspect_err(|_| self.break_off(&mut state))?;
            if taken > 0 {
                rest.nth(taken - 1);
            }
        }
        for payload in rest {
            let cost = prefix.len() + payload.len() + 1 + OVERHEAD;
            if cost - OVERHEAD > self.capacity {
                return if taken == 0 { Err(Unsent::TooLarge) } else { Ok(taken) };
            }
            if state.taken > 0 && state.taken + cost > self.capacity {
                break;
            }
            state.taken += cost;
            let head = head(prefix, payload.len() + 1);
            self.wait(&mut state, Some(operation), Cost::Bytes(cost), head, Some(Arc::clone(payload)), "}");
            taken += 1;
        }
        Ok(taken)
    }

    /// A group has let a subscription go.
    pub(super) fn let_go(&self, operation: u64, position: i64) {
        let mut state = self.state();
        if state.open.contains(&operation) {
            state.lagging.push((operation, position));
            self.wake.notify_one();
        }
    }

    /// Whether a subscription left its group that the session has not looked at.
    pub(super) fn has_lagging(&self) -> bool {
        !self.state().lagging.is_empty()
    }

    /// A subscription that left its group, and its position.
    pub(super) fn next_lagging(&self) -> Option<(u64, i64)> {
        self.state().lagging.pop()
    }

    /// Completes when half of all room is free and a result of `len` bytes would be taken, or none ever will be. Cancel
    /// safe.
    pub(super) async fn room(&self, len: usize) {
        let wanted = (len + OVERHEAD).max(self.capacity / 2);
        loop {
            let room = self.room.notified();
            {
                let state = self.state();
                if state.closed || state.broken || state.taken == 0 || state.taken + wanted <= self.capacity {
                    return;
                }
            }
            room.await;
        }
    }

    /// Takes nothing more but control frames; what waits is still delivered, or thrown away.
    pub(super) fn close(&self, deliver: bool) {
        let mut state = self.state();
        state.closed = true;
        state.open = SmallVec::new();
        state.lagging = Vec::new();
        if !deliver {
            state.throw_away(|_| true);
        }
        drop(state);
        self.room.notify_waiters();
    }

    /// Waits until something waits for the peer, and then until the peer takes some of it. Cancel safe: what the kernel
    /// has taken is noted before anything else can happen.
    pub(super) async fn pump(&self) -> Pumped {
        let (waits, broken) = {
            let state = self.state();
            (!state.waiting.is_empty() || self.pipe.has_unsent(), state.broken)
        };
        if broken {
            return Pumped::Broken;
        }
        if !waits {
            self.wake.notified().await;
            return Pumped::Woken;
        }
        tokio::select! {
            () = self.wake.notified() => Pumped::Woken,
            writable = self.pipe.tcp().writable() => match writable.and_then(|()| self.flush()) {
                Ok(()) => Pumped::Progress,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pumped::Woken,
                Err(_) => Pumped::Broken,
            },
        }
    }

    /// Waits until nothing waits for the peer any more; false if the connection broke.
    pub(super) async fn drain(&self) -> bool {
        while self.has_waiting() {
            if self.pump().await == Pumped::Broken {
                return false;
            }
        }
        true
    }

    /// Ends the connection, even if others still hold a reference.
    pub(super) fn shut_down(&self) {
        self.pipe.shut_down();
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        let written = if self.pipe.has_unsent() {
            // What was taken before goes before, and the next round brings more.
            self.pipe.flush().map(|()| 0)
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let mut skip = state.sent;
            'pieces: for waiting in &state.waiting {
                for piece in waiting.pieces() {
                    if skip >= piece.len() {
                        skip -= piece.len();
                        continue;
                    }
                    if count == SLICES {
                        break 'pieces;
                    }
                    slices[count] = IoSlice::new(&piece[skip..]);
                    skip = 0;
                    count += 1;
                }
            }
            self.pipe.try_write_vectored(&slices[..count])
        };
        match written {
            Ok(written) => state.advance(written),
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.break_off(&mut state);
                }
                return Err(error);
            }
        }
        drop(state);
        self.room.notify_waiters();
        Ok(())
    }

    fn put(&self, operation: Option<u64>, frame: Frame, mut room: Room) -> bool {
        let mut state = self.state();
        if state.closed || state.broken || operation.is_some_and(|operation| !state.open.contains(&operation)) {
            return false;
        }
        let Some(cost) = room.cost.take() else { return false };
        let (before, payload, after) = frame.into_parts();
        let length = payload.as_ref().map_or(0, |payload| payload.len()) + after.len();
        let head = head(before.as_bytes(), length);
        // The session sees an error when it reads, too.
        let _ = self.write_or_wait(&mut state, operation, cost, &head, payload, after);
        let kept = !state.waiting.is_empty();
        drop(state);
        if !kept {
            self.room.notify_waiters();
        }
        true
    }

    /// Writes; what the pipe could not hand on is the pump's from then on.
    fn write(&self, write: impl FnOnce(&SocketConnection) -> io::Result<usize>) -> io::Result<usize> {
        let written = write(&self.pipe);
        if self.pipe.has_unsent() {
            self.wake.notify_one();
        }
        written
    }

    /// Writes a frame if nothing waits before it; keeps what the kernel does not take.
    fn write_or_wait(
        &self,
        state: &mut State,
        operation: Option<u64>,
        cost: Cost,
        head: &[u8],
        payload: Option<Arc<str>>,
        tail: &'static str,
    ) -> io::Result<()> {
        let mut sent = 0;
        if state.waiting.is_empty() {
            let text = payload.as_ref().map_or(&[][..], |payload| payload.as_bytes());
            let pieces = [IoSlice::new(head), IoSlice::new(text), IoSlice::new(tail.as_bytes())];
            sent = match self.write(|pipe| pipe.try_write_vectored(&pieces)) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => {
                    state.give_back(cost);
                    self.break_off(state);
                    return Err(error);
                }
            };
            if sent == head.len() + text.len() + tail.len() {
                state.give_back(cost);
                return Ok(());
            }
        }
        self.wait(state, operation, cost, head.into(), payload, tail);
        state.sent += sent;
        Ok(())
    }

    /// Keeps what the kernel did not take of frames that were written together; returns how many were dealt with.
    fn keep_rest<'a>(
        &self,
        state: &mut State,
        operation: u64,
        prefix: &[u8],
        payloads: impl Iterator<Item = &'a Arc<str>>,
        mut written: usize,
    ) -> usize {
        let mut count = 0;
        for payload in payloads {
            let head = head(prefix, payload.len() + 1);
            let length = head.len() + payload.len() + 1;
            count += 1;
            if state.waiting.is_empty() && written >= length {
                written -= length;
                continue;
            }
            let cost = prefix.len() + payload.len() + 1 + OVERHEAD;
            state.taken += cost;
            self.wait(state, Some(operation), Cost::Bytes(cost), head, Some(Arc::clone(payload)), "}");
        }
        state.sent += written;
        count
    }

    fn wait(
        &self,
        state: &mut State,
        operation: Option<u64>,
        cost: Cost,
        head: Box<[u8]>,
        payload: Option<Arc<str>>,
        tail: &'static str,
    ) {
        let length = head.len() + payload.as_ref().map_or(0, |payload| payload.len()) + tail.len();
        let counted = Counted::queued(u32::try_from(length).unwrap_or(u32::MAX));
        if state.waiting.is_empty() {
            self.wake.notify_one();
        }
        state.waiting.push_back(Waiting { operation, head, payload, tail, cost, _counted: counted });
    }

    fn break_off(&self, state: &mut State) {
        state.broken = true;
        state.throw_away(|_| true);
        self.room.notify_waiters();
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change below the lock is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(cost) = self.cost.take() {
            self.wire.state().give_back(cost);
            self.wire.room.notify_waiters();
        }
    }
}

/// The header of a text frame and the text before its payload, of which `rest` bytes follow.
fn head(before: &[u8], rest: usize) -> Box<[u8]> {
    let mut head = Vec::with_capacity(HEADER + before.len());
    push_header(&mut head, before.len() + rest);
    head.extend_from_slice(before);
    head.into()
}

fn push_header(out: &mut Vec<u8>, length: usize) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    // Writing to memory does not fail.
    let _ = header.format(u64::try_from(length).unwrap_or(u64::MAX), out);
}

#[cfg(test)]
mod tests;
