//! Words for what hyper refuses by itself: a request whose head it cannot read never reaches the router.
//!
//! hyper answers such a head with a bare status and closes, and has no hook for more. [`BadHeads`] stands between it and
//! the connection: an answer that is not ours (ours carry `x-request-id`) gets a body in the shape of every other error.
//! Then it reads on for a moment: a connection that is closed on a client in the middle of sending is reset, and the
//! reset overtakes the answer. Used by [`server`](super::server) around each connection, TLS included.
//!
//! Invariant: everything else passes as it is, and costs one comparison a write.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::graphql::errors::ErrorCode;

/// How many headers a request may have.
pub(super) const MAX_HEADERS: usize = 64;

/// How large the head of a request may be, in bytes.
pub(super) const MAX_HEAD: usize = 32 * 1024;

/// What is said of a larger one.
pub(super) const TOO_LARGE: &str = "The head of this request is too large: send at most 64 headers and 32 KiB in all, a long operation by POST in the \
                                    body.";

/// How much is read after the answer, and for how long.
const MOST: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_millis(500);

/// A connection on which unreadable requests are answered in words.
pub(super) struct BadHeads<C> {
    connection: C,
    answer: Option<Box<Answer>>,
    lingering: Option<Pin<Box<Sleep>>>,
    read: usize,
}

/// What is written in the place of hyper's answer.
struct Answer {
    bytes: Vec<u8>,
    written: usize,
    /// The length of what it takes the place of, while that waits to be acknowledged.
    replaces: Option<usize>,
    shut_down: bool,
}

impl<C> BadHeads<C> {
    pub(super) const fn new(connection: C) -> Self {
        Self { connection, answer: None, lingering: None, read: 0 }
    }

    /// The connection itself.
    pub(super) fn into_inner(self) -> C {
        self.connection
    }
}

impl<C: AsyncWrite + Unpin> BadHeads<C> {
    /// Writes the answer in words; `None` where `written` is no answer of hyper's own.
    fn poll_answer(&mut self, cx: &mut Context<'_>, written: &[u8]) -> Poll<Option<io::Result<usize>>> {
        if self.answer.is_none()
            && let Some(bytes) = in_words(written)
        {
            let answer = Answer { bytes, written: 0, replaces: Some(written.len()), shut_down: false };
            self.answer = Some(Box::new(answer));
        }
        let Some(answer) = &mut self.answer else { return Poll::Ready(None) };
        let Some(replaced) = answer.replaces else { return Poll::Ready(None) };
        while answer.written < answer.bytes.len() {
            let rest = &answer.bytes[answer.written..];
            match ready!(Pin::new(&mut self.connection).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(count) => answer.written += count,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        answer.replaces = None;
        Poll::Ready(Some(Ok(replaced)))
    }
}

/// The answer to be sent for one of hyper's own, all of whose head is `written`.
fn in_words(written: &[u8]) -> Option<Vec<u8>> {
    if !written.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let head = std::str::from_utf8(written).ok()?.strip_suffix("\r\n\r\n")?;
    if head.to_ascii_lowercase().contains("\r\nx-request-id:") {
        return None;
    }
    let status = head.get(9..12)?;
    let message = match status {
        "400" => {
            "The head of this request is not HTTP/1.1: a method, an address and a version in the first line, then a \
             header in each line, its name without blanks, its value without control characters, then an empty line."
        }
        "414" => "The address of this request is too long. Send the operation by POST, in the body.",
        "431" => TOO_LARGE,
        _ => return None,
    };
    metrics::counter!("lancewire_http_requests_total", "status" => status.to_owned()).increment(1);
    let code = ErrorCode::BadRequest.as_str();
    let body = json!({ "errors": [{ "message": message, "extensions": { "code": code } }] }).to_string();
    let kept = head.split("\r\n").filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case("content-length") && !name.eq_ignore_ascii_case("connection")
    });
    let mut answer = kept.collect::<Vec<_>>().join("\r\n");
    answer.push_str("\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ");
    answer.push_str(&body.len().to_string());
    answer.push_str("\r\nconnection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n");
    answer.push_str(&body);
    Some(answer.into_bytes())
}

impl<C: AsyncRead + Unpin> AsyncRead for BadHeads<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BadHeads<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.poll_answer(cx, buf)) {
            Some(answered) => Poll::Ready(answered),
            None => Pin::new(&mut self.connection).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // An answer of hyper's own has no body, and so it is alone.
        if let [only] = bufs
            && let Some(answered) = ready!(self.poll_answer(cx, only))
        {
            return Poll::Ready(answered);
        }
        Pin::new(&mut self.connection).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(answer) = &mut this.answer else { return Pin::new(&mut this.connection).poll_shutdown(cx) };
        if !answer.shut_down {
            ready!(Pin::new(&mut this.connection).poll_shutdown(cx))?;
            answer.shut_down = true;
        }
        let lingering = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut rest = [0; 4096];
        while this.read < MOST && lingering.as_mut().poll(cx).is_pending() {
            let mut rest = ReadBuf::new(&mut rest);
            match ready!(Pin::new(&mut this.connection).poll_read(cx, &mut rest)) {
                Ok(()) if !rest.filled().is_empty() => this.read += rest.filled().len(),
                // The client has read the answer and left, one way or the other.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hypers_own_refusals_get_a_body_and_ours_pass() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        let answer = String::from_utf8(in_words(bare).expect("words")).expect("a text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\ndate: now\r\n"), "{head}");
        assert_eq!(head.matches("content-length").count(), 1, "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_REQUEST");
        assert!(body["errors"][0]["message"].as_str().is_some_and(|message| message.contains("64 headers")));
        for ours in [
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nX-Request-Id: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\n\r\nbody",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(in_words(ours.as_bytes()), None, "{ours}");
        }
    }
}
