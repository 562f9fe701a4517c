//! A connection that breaks when its peer takes nothing for too long.
//!
//! hyper asks a body for more only once there is room to write, so nothing in a body, an answer or a stream, notices a
//! peer that has stopped reading. This does, from below: a write that has waited for the whole time fails, and hyper
//! lets go of the connection, of the body and so of all that the body holds. Used by [`server`](super::server) around
//! each connection, below TLS where there is TLS, which holds back a part of what it is given. A connection that is
//! upgraded comes out of it and has its owner's own timeout.
//!
//! Invariant: there is a timer only while a write waits.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A connection, and how long a write may wait for it.
pub(super) struct WriteTimeout<C> {
    connection: C,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<C> WriteTimeout<C> {
    pub(super) const fn new(connection: C, patience: Duration) -> Self {
        Self { connection, patience, waiting: None }
    }

    pub(super) const fn get_ref(&self) -> &C {
        &self.connection
    }

    /// The connection itself, without a timeout.
    pub(super) fn into_inner(self) -> C {
        self.connection
    }

    /// What became of a write; an error where it has waited for too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        metrics::counter!("lancewire_http_stalls_total").increment(1);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for WriteTimeout<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, buf);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, bufs);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_what_there_is_is_waited_for_and_one_that_takes_nothing_is_not() {
        let (ours, mut theirs) = duplex(4);
        let mut ours = WriteTimeout::new(ours, Duration::from_mins(1));
        let reading = async {
            let mut read = [0; 8];
            theirs.read_exact(&mut read).await.expect("bytes");
        };
        let (written, ()) = tokio::join!(ours.write_all(b"twelve bytes"), reading);
        written.expect("no wait was long");
        assert!(ours.waiting.is_none());
        ours.patience = Duration::from_millis(20);
        let late = ours.write_all(b"more").await.expect_err("nobody reads");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
