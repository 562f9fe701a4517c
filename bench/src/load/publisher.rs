//! Connections over which requests are sent, one at a time each, and the requests themselves.

use std::{io::ErrorKind, io::Read, io::Write, net::SocketAddrV4, net::TcpStream};

use anyhow::{Context as _, Result, bail, ensure};
use lancewire_bench::wire;
use serde_json::Value;

/// The request that publishes on one channel, ready to be sent but for the numbers of its mark.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    slot: Option<usize>,
}

impl Request {
    /// A GraphQL request to `/graphql`; [`wire::blank_mark`] in a variable is filled in at each sending.
    pub fn graphql(token: Option<&str>, query: &str, variables: &Value) -> Self {
        let body = serde_json::json!({ "query": query, "variables": variables }).to_string();
        let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let bytes = format!(
            "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n\
             {token}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
        Self { slot: wire::mark_slot(&bytes), bytes }
    }

    /// As it goes out: with the numbers of this sending.
    pub fn stamped(&mut self, channel: usize, sequence: u32) -> &[u8] {
        if let Some(slot) = self.slot {
            wire::stamp(&mut self.bytes, slot, channel, sequence);
        }
        &self.bytes
    }

    /// As it was made.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Publisher {
    pub stream: TcpStream,
    /// When the request in flight was sent.
    pub sent_at: Option<u64>,
    /// The channel that it was for.
    pub channel: usize,
    answer: Vec<u8>,
}

impl Publisher {
    /// Connects.
    pub fn connect(server: SocketAddrV4) -> Result<Self> {
        let stream = TcpStream::connect(server).with_context(|| format!("connecting to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, sent_at: None, channel: 0, answer: Vec::new() })
    }

    /// Sends a request; the one before must have been answered.
    pub fn send(&mut self, request: &[u8], channel: usize, now: u64) -> Result<()> {
        let written = self.stream.write(request)?;
        ensure!(written == request.len(), "a request did not fit into an idle connection");
        (self.sent_at, self.channel) = (Some(now), channel);
        Ok(())
    }

    /// Reads once; gives the time of sending when the answer is complete, and fails if it tells of an error.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<Option<u64>> {
        let length = match self.stream.read(scratch) {
            Ok(0) => bail!("the server closed a connection for requests"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("reading an answer"),
        };
        self.answer.extend_from_slice(&scratch[..length]);
        let Some(message) = wire::message(&self.answer) else { return Ok(None) };
        check(&self.answer[message.head], &self.answer[message.body])?;
        self.answer.clear();
        Ok(self.sent_at.take())
    }
}

/// Fails unless an answer is 200 and tells of no errors.
pub fn check(head: &[u8], body: &[u8]) -> Result<()> {
    let failed = wire::status(head) != 200 || memchr::memmem::find(body, br#""errors":[{"#).is_some();
    ensure!(!failed, "refused: {}{}", String::from_utf8_lossy(head), String::from_utf8_lossy(body));
    Ok(())
}
