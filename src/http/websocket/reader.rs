//! The reading half of a socket: bytes from the kernel, messages from tungstenite.
//!
//! The library reads frames, unmasks, joins fragments, checks UTF-8 and answers pings and close frames; what it writes
//! by itself goes through the [`Wire`] like everything else. Its buffer is small: it is filled with zeros at each read
//! and held by every idle socket, and a larger message makes it grow for itself.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use tungstenite::{
    Message, WebSocket,
    error::Error as WireError,
    protocol::{CloseFrame, Role, WebSocketConfig},
};

use super::wire::Wire;

/// What is read at a time, until the size of a message is known. The buffer grows to twice that, or to what the largest
/// message took: a token's.
const READ_BUFFER: usize = 128;

/// Reads the messages of one peer.
pub(super) struct Reader {
    socket: WebSocket<Io>,
}

/// The connection as the library sees it: reading never waits, and writing always succeeds.
struct Io {
    wire: Arc<Wire>,
}

impl Reader {
    /// A reader of what comes over `wire`, `early` first: what came with the request for the upgrade.
    pub(super) fn new(wire: Arc<Wire>, early: Vec<u8>, largest: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        Self { socket: WebSocket::from_partially_read(Io { wire }, early, Role::Server, Some(config)) }
    }

    /// The next message. Cancel safe: what has been read of it stays in the library's buffer.
    pub(super) async fn next(&mut self) -> Result<Message, WireError> {
        loop {
            match self.socket.read() {
                Err(WireError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.get_ref().wire.pipe().tcp().readable().await?;
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

    /// Reads until the peer has closed its side, too.
    pub(super) async fn drain(&mut self) {
        while self.next().await.is_ok() {}
    }
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.pipe().try_read(buffer)
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
