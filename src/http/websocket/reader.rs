//! The reading half of a socket: bytes from the kernel, messages from tungstenite. Owned by the session.
//!
//! The library reads frames, unmasks, joins fragments, checks UTF-8 and answers pings and close frames; what it writes
//! by itself goes through the [`SocketWriter`] like everything else. Its buffer is small, because it is filled with
//! zeros at each read and held by every idle socket; a larger message makes it grow.
//!
//! **Invariant: no peer keeps a thread busy.** The library continues to read while bytes arrive and no message is
//! complete, and answers pings without returning. Therefore it gets bytes in turns: after [`TURN`] reads from the
//! kernel the task yields, and each message consumes the runtime's budget. Frames are bounded by their bytes, of which
//! each takes six or more: between two messages at most twice the size of the largest message is read, and after our
//! close frame at most [`AFTER_CLOSE`].

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use tokio::task::{coop::consume_budget, yield_now};
use tungstenite::{
    Message, WebSocket,
    error::Error as WireError,
    protocol::{CloseFrame, Role, WebSocketConfig},
};

use super::writer::SocketWriter;

/// Too many bytes have come without a message.
pub(super) const TOO_MANY_BYTES: io::ErrorKind = io::ErrorKind::QuotaExceeded;

/// What is read at a time, until the size of a message is known. The buffer grows to twice that, or to what the largest
/// message took: a token's.
const READ_BUFFER: usize = 128;

/// Reads from the kernel until other tasks have a turn.
const TURN: u32 = 32;
/// What frames may take beside the bytes of a message of the largest size.
const FRAMING: usize = 4096;
/// How many bytes are read to find the peer's answer to our close frame.
const AFTER_CLOSE: usize = 256 * 1024;

/// Where frames come from, and where the library's own answers go.
pub(super) trait Source {
    /// Reads what is there, without waiting.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Takes whole frames: pongs and the close frame.
    fn control(&self, frames: &[u8]) -> io::Result<()>;
}

impl Source for Arc<SocketWriter> {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.connection().try_read(buffer)
    }

    fn control(&self, frames: &[u8]) -> io::Result<()> {
        SocketWriter::control(self, frames)
    }
}

/// Reads the messages of one peer.
pub(super) struct MessageReader {
    frames: Frames<Arc<SocketWriter>>,
}

/// The library with its limits. Nothing in it waits, so that it can be tested and fuzzed without a connection.
pub(super) struct Frames<S> {
    socket: WebSocket<Io<S>>,
    /// Bytes that may come from one message to the next.
    between: usize,
}

/// What came of one turn.
pub(super) enum Turn {
    /// A message, or the end.
    Read(Result<Message, WireError>),
    /// The turn is over: others should run first.
    Over,
    /// There are no bytes.
    Dry,
}

/// The connection as the library sees it: reading never waits, and writing always succeeds.
struct Io<S> {
    source: S,
    /// Reads that are left in this turn.
    turn: u32,
    /// Bytes that may still come before the next message.
    left: usize,
}

impl<S: Source> Frames<S> {
    /// Frames from `source`, after the bytes in `early`. No message may be larger than `largest` bytes.
    pub(super) fn new(source: S, early: Vec<u8>, largest: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        let between = largest.saturating_mul(2).saturating_add(FRAMING);
        let io = Io { source, turn: TURN, left: between };
        Self { socket: WebSocket::from_partially_read(io, early, Role::Server, Some(config)), between }
    }

    /// Reads until there is a message, but for at most one turn.
    pub(super) fn turn(&mut self) -> Turn {
        self.socket.get_mut().turn = TURN;
        match self.socket.read() {
            Err(WireError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.socket.get_ref().turn == 0 { Turn::Over } else { Turn::Dry }
            }
            read => Turn::Read(read),
        }
    }

    /// Allows as many bytes again before the next message.
    pub(super) fn message_is_over(&mut self) {
        self.socket.get_mut().left = self.between;
    }
}

impl MessageReader {
    /// A reader of what comes over `wire`, after the bytes in `early`, which came with the request for the upgrade.
    pub(super) fn new(wire: Arc<SocketWriter>, early: Vec<u8>, largest: usize) -> Self {
        Self { frames: Frames::new(wire, early, largest) }
    }

    /// The next message; fails with [`TOO_MANY_BYTES`] if too many arrive without one. Cancel safe: what has been read of it
    /// stays in the library's buffer.
    pub(super) async fn next(&mut self) -> Result<Message, WireError> {
        let read = self.read().await;
        self.frames.message_is_over();
        read
    }

    async fn read(&mut self) -> Result<Message, WireError> {
        loop {
            // A message counts like an event of the runtime: after many of them other tasks get a turn.
            consume_budget().await;
            match self.frames.turn() {
                Turn::Read(read) => return read,
                Turn::Over => yield_now().await,
                Turn::Dry => self.frames.socket.get_ref().source.connection().tcp().readable().await?,
            }
        }
    }

    /// Puts a close frame in the wire, as the last of our frames.
    pub(super) fn close(&mut self, frame: CloseFrame) {
        // An error here means that the connection is gone.
        let _ = self.frames.socket.close(Some(frame));
    }

    /// Reads until the peer has closed its side as well, or has sent too much to wait for that.
    pub(super) async fn drain(&mut self) {
        self.frames.socket.get_mut().left = AFTER_CLOSE;
        while self.read().await.is_ok() {}
    }
}

impl<S: Source> Read for Io<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.turn == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.left == 0 {
            return Err(TOO_MANY_BYTES.into());
        }
        let read = match self.source.try_read(buffer) {
            // There may be more, and nothing tells when.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.turn = 0;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            read => read?,
        };
        self.turn -= 1;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }
}

impl<S: Source> Write for Io<S> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.source.control(frames)?;
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Feeds the bytes of a stranger to the frame reader and its messages to the parser of the protocol.
///
/// # Panics
///
/// When a message is larger than it may be, or more bytes are read between two messages than may be.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use std::cell::RefCell;

    use super::protocol::Incoming;

    const LARGEST: usize = 512;

    /// Gives its bytes in pieces, and notes how many were taken.
    struct Memory<'a> {
        rest: RefCell<&'a [u8]>,
        piece: usize,
    }

    impl Source for Memory<'_> {
        fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut rest = self.rest.borrow_mut();
            let (now, later) = rest.split_at(rest.len().min(self.piece).min(buffer.len()));
            buffer[..now.len()].copy_from_slice(now);
            *rest = later;
            if now.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(now.len()) }
        }

        fn control(&self, frames: &[u8]) -> io::Result<()> {
            assert!(!frames.is_empty(), "an answer has a frame");
            Ok(())
        }
    }

    let Some((piece, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let (early, rest) = bytes.split_at(bytes.len().min(piece % 8));
    let mut frames = Frames::new(Memory { rest: RefCell::new(rest), piece }, early.to_vec(), LARGEST);
    let mut since_message = 0;
    loop {
        let left = |frames: &Frames<Memory<'_>>| frames.socket.get_ref().source.rest.borrow().len();
        let before = left(&frames);
        let turn = frames.turn();
        since_message += before - left(&frames);
        // The last read before the limit may take one piece more.
        assert!(since_message <= frames.between + piece, "{since_message} bytes without a message");
        match turn {
            Turn::Read(Ok(message)) => {
                assert!(message.len() <= LARGEST, "{} bytes", message.len());
                if let Message::Text(text) = &message {
                    let _ = Incoming::parse(text);
                }
                frames.message_is_over();
                since_message = 0;
            }
            Turn::Read(Err(_)) | Turn::Dry => break,
            Turn::Over => {}
        }
    }
}
