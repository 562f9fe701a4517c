//! How a socket ends, and its last seconds.
//!
//! Called when the loop of the [`session`](super::session) is over: nothing is served any more, and each wait here has
//! a limit of its own, so a peer that does not close properly is cut off. Also refuses the sockets that never get a
//! session.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::{sleep, timeout};

use super::{close::Close, protocol::Invalid, reader::MessageReader, writer::SocketWriter};

/// How long a peer has to take the last frames and to answer the close frame; one that was too slow has longer.
const GOODBYE: Duration = Duration::from_secs(3);

/// How long a connection stays open after the close frame when the rest of what the peer sent cannot be read: closing
/// over unread bytes resets the connection, and a reset can overtake the close frame.
const UNREAD_GOODBYE: Duration = Duration::from_secs(1);

/// How a socket ends.
#[derive(Debug)]
pub(super) enum SocketEnd {
    /// By us.
    Close(Close),
    /// By the peer's close frame.
    Peer,
    /// The connection broke.
    Gone,
    /// Nothing was received for two intervals: there is no peer to send a close frame to.
    Silent,
}

impl SocketEnd {
    /// The label of a metric.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Close(close) => close.label(),
            Self::Peer => "peer",
            Self::Gone => "gone",
            Self::Silent => "silent",
        }
    }

    /// Whether what waits for the peer is still delivered.
    pub(super) const fn delivers_queue(&self) -> bool {
        match self {
            Self::Close(close) => close.delivers_queue(),
            Self::Peer | Self::Gone | Self::Silent => false,
        }
    }
}

impl From<Close> for SocketEnd {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Says what there is to say to the peer, after what still waits for it, and closes the connection.
///
/// A peer that was too slow would not take that in [`GOODBYE`] either: it is waited for until `patience` is over. Closing
/// earlier would lose the close frame, since whatever it sends to a connection that is closed here is answered by a reset.
pub(super) async fn part(
    end: SocketEnd,
    wire: &SocketWriter,
    reader: &mut MessageReader,
    patience: impl Future<Output = ()>,
) {
    match end {
        // A peer that does not even take this is cut off.
        SocketEnd::Close(close) => {
            let mut goodbye = pin!(say_goodbye(wire, reader, &close));
            if timeout(GOODBYE, &mut goodbye).await.is_err() && close == Close::SlowReader {
                tokio::select! {
                    () = goodbye => {}
                    () = patience => {}
                }
            }
        }
        // Reading on makes the answer to the peer's close frame.
        SocketEnd::Peer => {
            let answer = async {
                reader.drain().await;
                wire.drain().await;
            };
            let _ = timeout(GOODBYE, answer).await;
        }
        SocketEnd::Gone | SocketEnd::Silent => {}
    }
}

/// RFC 6455, 5.5.1: the peer answers a close frame by one of its own; then the server closes the connection.
async fn say_goodbye(wire: &SocketWriter, reader: &mut MessageReader, close: &Close) {
    wire.hurry();
    reader.close(close.frame());
    if !wire.drain().await {
        return;
    }
    match close {
        Close::Framing | Close::TooLarge { .. } | Close::Invalid(Invalid::NotUtf8) => sleep(UNREAD_GOODBYE).await,
        _ => reader.drain().await,
    }
}
