//! How a socket ends, and its last seconds.
//!
//! The loop of the [`session`](super::session) is over when this is called: nothing is served any more, and each wait
//! here has a limit of its own, so a peer that does not part properly is cut off. Also turns away the sockets that
//! never get a session.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    task::JoinError,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{close::Close, protocol::Invalid, writer::Written};

/// How long a peer has to take the last frames and to answer the close frame.
const GOODBYE: Duration = Duration::from_secs(3);

/// How long a connection stays open after the close frame when the rest of what the peer sent cannot be read: closing
/// over unread bytes resets the connection, and a reset can overtake the close frame.
const UNREAD_GOODBYE: Duration = Duration::from_secs(1);

/// The task that writes.
pub(super) type Writer = AbortOnDropHandle<Option<(SplitSink<WebSocket, Message>, Written)>>;

/// How it ended, with the sink unless the process ended it.
pub(super) type WriterEnd = Result<Option<(SplitSink<WebSocket, Message>, Written)>, JoinError>;

/// How a socket ends.
#[derive(Debug)]
pub(super) enum End {
    /// By us.
    Close(Close),
    /// By the peer's close frame.
    Peer,
    /// The connection broke.
    Gone,
    /// Nothing was heard for two intervals: nobody is there to say goodbye to.
    Silent,
}

impl End {
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

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Says what there is to say to the peer and closes the connection.
pub(super) async fn part(end: End, writer: Writer, writer_end: Option<WriterEnd>, mut reader: SplitStream<WebSocket>) {
    match end {
        End::Close(close) => {
            let last_words = async {
                let ended = match writer_end {
                    Some(ended) => ended,
                    None => writer.await,
                };
                if let Ok(Some((sink, Written::All | Written::Stalled))) = ended {
                    close_and_linger(sink, &mut reader, &close).await;
                }
            };
            // A peer that does not even take this is cut off.
            let _ = timeout(GOODBYE, last_words).await;
        }
        // Reading on sends the answer to the peer's close frame.
        End::Peer => drop(timeout(GOODBYE, drain(&mut reader)).await),
        End::Gone | End::Silent => {}
    }
}

/// Sends a close frame over a socket that has no session and waits for the peer to take it.
pub(super) async fn say_goodbye(socket: WebSocket, close: &Close) {
    let (sink, mut reader) = socket.split();
    let _ = timeout(GOODBYE, close_and_linger(sink, &mut reader, close)).await;
}

/// RFC 6455, 5.5.1: the peer answers a close frame by one of its own; then the server closes the connection.
async fn close_and_linger<S, R>(mut sink: S, reader: &mut R, close: &Close)
where
    S: Sink<Message> + Unpin,
    R: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    if sink.send(Message::Close(Some(close.frame()))).await.is_err() {
        return;
    }
    match close {
        Close::Framing | Close::TooLarge { .. } | Close::Invalid(Invalid::NotUtf8) => sleep(UNREAD_GOODBYE).await,
        _ => drain(reader).await,
    }
}

async fn drain<R>(reader: &mut R)
where
    R: Stream<Item = Result<Message, axum::Error>> + Unpin,
{
    while let Some(Ok(_)) = reader.next().await {}
}
