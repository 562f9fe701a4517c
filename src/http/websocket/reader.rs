//! The reading half of a socket: bytes from the kernel, messages from tungstenite.
//!
//! The library reads frames, unmasks, joins fragments, checks UTF-8 and answers pings and close frames; what it writes
//! by itself goes through the [`Wire`] like everything else. Its buffer is small: it is filled with zeros at each read
//! and held by every idle socket, and a larger message makes it grow for itself.
//!
//! **Invariant: no peer keeps a thread busy.** The library reads on by itself while bytes come and no message is whole, and
//! answers pings without a word to us. So it is given bytes in turns: after [`TURN`] reads from the kernel the task lets
//! others run, and each message takes part in the runtime's budget. Frames are bounded by their bytes, of which each
//! takes six or more: between two messages come at most twice as many as a message may have, and after our close frame at
//! most [`AFTER_CLOSE`].

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

use super::wire::Wire;

/// Too many bytes have come without a message.
pub(super) const TOO_MANY_BYTES: io::ErrorKind = io::ErrorKind::QuotaExceeded;

/// What is read at a time, until the size of a message is known. The buffer grows to twice that, or to what the largest
/// message took: a token's.
const READ_BUFFER: usize = 128;

/// Reads from the kernel until other tasks have a turn.
const TURN: u32 = 32;
/// What frames may take beside the bytes of a message that has the largest size.
const FRAMING: usize = 4096;
/// How many bytes are read to find the peer's answer to our close frame.
const AFTER_CLOSE: usize = 256 * 1024;

/// Reads the messages of one peer.
pub(super) struct Reader {
    socket: WebSocket<Io>,
    /// Bytes that may come from one message to the next.
    between: usize,
}

/// The connection as the library sees it: reading never waits, and writing always succeeds.
struct Io {
    wire: Arc<Wire>,
    /// Reads that are left in this turn.
    turn: u32,
    /// Bytes that may still come before the next message.
    left: usize,
}

impl Io {
    /// Whether it has stopped the library for the sake of others, and not for want of bytes.
    const fn has_had_its_turn(&self) -> bool {
        self.turn == 0
    }
}

impl Reader {
    /// A reader of what comes over `wire`, `early` first: what came with the request for the upgrade.
    pub(super) fn new(wire: Arc<Wire>, early: Vec<u8>, largest: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        let between = largest.saturating_mul(2).saturating_add(FRAMING);
        let io = Io { wire, turn: TURN, left: between };
        Self { socket: WebSocket::from_partially_read(io, early, Role::Server, Some(config)), between }
    }

    /// The next message; fails with [`TOO_MANY_BYTES`] where too many come without one. Cancel safe: what has been read of it
    /// stays in the library's buffer.
    pub(super) async fn next(&mut self) -> Result<Message, WireError> {
        let read = self.read().await;
        self.socket.get_mut().left = self.between;
        read
    }

    async fn read(&mut self) -> Result<Message, WireError> {
        loop {
            // A message is an event like those of the runtime's own: who has had many of them lets others run.
            consume_budget().await;
            self.socket.get_mut().turn = TURN;
            match self.socket.read() {
                Err(WireError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let io = self.socket.get_ref();
                    if io.has_had_its_turn() {
                        yield_now().await;
                    } else {
                        io.wire.pipe().tcp().readable().await?;
                    }
                }
                read => return read,
            }
        }
    }

    /// Puts a close frame in the wire, as the last of our frames.
    pub(super) fn close(&mut self, frame: CloseFrame) {
        // What fails here has failed for good: the connection is gone.
        let _ = self.socket.close(Some(frame));
    }

    /// Reads until the peer has closed its side, too, or has sent so much that it does not mean to.
    pub(super) async fn drain(&mut self) {
        self.socket.get_mut().left = AFTER_CLOSE;
        while self.read().await.is_ok() {}
    }
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.turn == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.left == 0 {
            return Err(TOO_MANY_BYTES.into());
        }
        let read = match self.wire.pipe().try_read(buffer) {
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

impl Write for Io {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.wire.control(frames)?;
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
