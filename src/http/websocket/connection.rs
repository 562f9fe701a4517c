//! The connection under a socket after the upgrade: plain TCP, or TLS over it.
//!
//! Both can be read and written through a shared reference and never wait: that is what lets a group of the hub write
//! to all its members by itself, as [`writer`](super::writer) does. The plain kind is the system call and nothing else.
//! For TLS the library's connection is behind a lock, which is held to encrypt or decrypt and to hand bytes to the
//! kernel, never across an await.
//!
//! Invariants: a write takes nothing while bytes that were encrypted earlier wait ([`SocketConnection::has_unsent`]),
//! so at most [`UNSENT`] bytes of plaintext do; those are flushed by the wire's pump before anything else.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
};

use parking_lot::{Mutex, MutexGuard};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConnection;

use crate::http::connections::Seated;

/// Bytes that are encrypted at a time, and so may wait for the kernel in that state.
const UNSENT: usize = 32 * 1024;

/// Records that are read in one call in search of content.
const RECORDS: usize = 8;

/// Pieces that are written in one call.
pub(super) const SLICES: usize = 64;

/// The way to one peer.
pub(super) enum SocketConnection {
    Plain(Seated),
    Secured(Box<Secured>),
}

/// TLS over TCP.
pub(super) struct Secured {
    tcp: Seated,
    session: Mutex<ServerConnection>,
}

impl SocketConnection {
    /// Goes on with a connection whose handshake is done.
    pub(super) fn secured(tcp: Seated, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(UNSENT));
        Self::Secured(Box::new(Secured { tcp, session: Mutex::new(session) }))
    }

    /// The connection to the peer's machine. Writing to it directly breaks it.
    pub(super) const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(seated) => seated.tcp(),
            Self::Secured(secured) => secured.tcp.tcp(),
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(seated) => seated.tcp().try_read(buffer),
            Self::Secured(secured) => secured.try_read(buffer),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // The system call alone: what the runtime remembers of the socket is one more place in memory to wait for.
            // It learns that there is no room when somebody waits for some.
            Self::Plain(seated) => SockRef::from(seated.tcp()).send(bytes),
            Self::Secured(secured) => secured.try_write(&[IoSlice::new(bytes)]),
        }
    }

    pub(super) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(seated) => seated.tcp().try_write_vectored(pieces),
            Self::Secured(secured) => secured.try_write(pieces),
        }
    }

    /// Whether bytes that were taken have not gone to the kernel.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secured(secured) => secured.session().wants_write(),
        }
    }

    /// Hands on bytes that were taken; fails with `WouldBlock` where the kernel takes none of them.
    pub(super) fn flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secured(secured) => secured.send(&mut secured.session()),
        }
    }

    /// Ends the connection, even if others still hold a reference.
    pub(super) fn shut_down(&self) {
        if let Self::Secured(secured) = self {
            let mut session = secured.session();
            session.send_close_notify();
            // A peer that takes nothing is notified of the end by TCP.
            let _ = secured.send(&mut session);
        }
        // An error means that it has ended already.
        let _ = SockRef::from(self.tcp()).shutdown(Shutdown::Both);
    }
}

impl Secured {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session();
        // Records may be without content. Where there are many in a row the caller comes back for the rest.
        for _ in 0..RECORDS {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            session.read_tls(&mut Raw(self.tcp.tcp()))?;
            let processed = session.process_new_packets();
            // An answer that TLS itself has to give, such as an alert. What the kernel does not take goes with the next
            // write.
            let _ = self.send(&mut session);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        match session.reader().read(buffer) {
            // The kernel may have no more to wait for: a read of nothing at all asks for another turn.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::Interrupted.into()),
            read => read,
        }
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session();
        if session.wants_write() {
            self.send(&mut session)?;
            if session.wants_write() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let mut slices: [IoSlice<'_>; SLICES] = [IoSlice::new(&[]); SLICES];
        let count = pieces.len().min(SLICES);
        slices[..count].copy_from_slice(&pieces[..count]);
        let (mut rest, mut taken) = (&mut slices[..count], 0);
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            // Together, so that a frame in three pieces is not three records.
            let written = session.writer().write_vectored(rest)?;
            taken += written;
            IoSlice::advance_slices(&mut rest, written);
            match self.send(&mut session) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ if session.wants_write() => break,
                _ => {}
            }
        }
        Ok(taken)
    }

    /// Hands encrypted bytes to the kernel until there are none or it takes no more.
    fn send(&self, session: &mut ServerConnection) -> io::Result<()> {
        let mut progress = false;
        while session.wants_write() {
            match session.write_tls(&mut Raw(self.tcp.tcp())) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => progress = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && progress => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn session(&self) -> MutexGuard<'_, ServerConnection> {
        // The library leaves nothing half done by a panic of ours.
        self.session.lock()
    }
}

/// TCP as the library wants it: as something that can be read and written, without waiting.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
