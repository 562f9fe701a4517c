//! One subscriber: a WebSocket from the handshake to the last delivery.
//!
//! Speaks as much of graphql-transport-ws and of Engine.IO 4 with Socket.IO 5 on top as a subscriber needs, answers
//! both's pings, and hands everything else to the [`Reader`]. Reads into a buffer that all sockets share; only a frame
//! that has not arrived whole is copied.

use std::{net::SocketAddrV4, rc::Rc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use lancewire_bench::wire::{self, opcode};
use rustix::{
    event::{self, PollFd, PollFlags, Timespec},
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt},
};

/// What is spoken over the socket once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// graphql-transport-ws at `/graphql`.
    Graphql,
    /// Engine.IO 4 and Socket.IO 5.
    SocketIo,
    /// Every connection gets every event.
    Plain,
}

/// What a subscriber says when it comes.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The bearer token, for `connection_init`.
    pub token: Option<Rc<str>>,
    /// The `payload` of each `subscribe` message.
    pub subscriptions: Rc<[String]>,
}

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits for 101.
    Upgrading,
    /// Waits for the protocol's acknowledgement.
    Opening,
    /// Has subscribed and waits for the answer to a ping sent after that.
    Subscribing,
    /// Gets events.
    Live,
}

/// The server ended a socket.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The close code; [`Closed::WITHOUT_A_WORD`] if the connection just ended.
    pub code: u16,
    reason: String,
}

impl Closed {
    /// What a browser reports for it, too (RFC 6455, 7.1.5).
    pub const WITHOUT_A_WORD: u16 = 1006;

    fn without_a_word() -> Self {
        Self { code: Self::WITHOUT_A_WORD, reason: "without a word".to_owned() }
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server closed a subscriber's socket with {}: {}", self.code, self.reason)
    }
}

impl std::error::Error for Closed {}

/// Takes what a live socket reads.
pub trait Reader {
    /// A message that is no business of the protocol.
    fn event(&mut self, payload: &[u8]);
}

/// A subscriber's socket.
#[derive(Debug)]
pub struct Socket {
    pub stream: OwnedFd,
    pub stage: Stage,
    protocol: Protocol,
    opening: Opening,
    partial: Vec<u8>,
}

impl Socket {
    /// Connects from `source` (an address of this machine; port 0) and asks for the upgrade.
    pub fn connect(source: SocketAddrV4, server: SocketAddrV4, protocol: Protocol, opening: Opening) -> Result<Self> {
        let stream = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&stream, &source).with_context(|| format!("no port free on {source}"))?;
        // Blocks until the kernel has answered, whether or not the server has accepted: no need to come back for it.
        rustix::net::connect(&stream, &server).with_context(|| format!("connecting to {server}"))?;
        rustix::io::ioctl_fionbio(&stream, true)?;
        sockopt::set_tcp_nodelay(&stream, true)?;
        let (path, offer) = match protocol {
            Protocol::Graphql => ("/graphql", "graphql-transport-ws"),
            Protocol::SocketIo => ("/socket.io/?EIO=4&transport=websocket", ""),
            Protocol::Plain => ("/", ""),
        };
        let socket = Self { stream, stage: Stage::Upgrading, protocol, opening, partial: Vec::new() };
        socket.send(&wire::handshake(&server.to_string(), path, offer))?;
        Ok(socket)
    }

    /// Reads once. False when nothing was there.
    pub fn read(&mut self, scratch: &mut [u8], reader: &mut impl Reader) -> Result<bool> {
        let length = match rustix::net::recv(&self.stream, &mut *scratch, rustix::net::RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::CONNRESET) => return Err(Closed::without_a_word().into()),
            Err(error) => bail!("reading from a subscriber's socket: {error}"),
        };
        if length == 0 {
            return Err(Closed::without_a_word().into());
        }
        if self.partial.is_empty() {
            let done = self.consume(&scratch[..length], reader)?;
            self.partial.extend_from_slice(&scratch[done..length]);
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(&scratch[..length]);
            let done = self.consume(&partial, reader)?;
            partial.drain(..done);
            if !partial.is_empty() {
                self.partial = partial;
            }
        }
        Ok(true)
    }

    /// Waits until something can be read, at most for `time`.
    pub fn wait(&self, time: Duration) -> Result<()> {
        let time = Timespec { tv_sec: i64::try_from(time.as_secs())?, tv_nsec: time.subsec_nanos().into() };
        match event::poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&time)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("waiting for a socket"),
        }
    }

    /// Takes all whole messages; returns how many bytes they had.
    fn consume(&mut self, bytes: &[u8], reader: &mut impl Reader) -> Result<usize> {
        let mut done = 0;
        if self.stage == Stage::Upgrading {
            let Some(message) = wire::message(bytes) else { return Ok(0) };
            let head = &bytes[message.head];
            ensure!(wire::status(head) == 101, "no upgrade: {}", String::from_utf8_lossy(bytes));
            done = message.end;
            self.upgraded()?;
        }
        while let Some(frame) = wire::frame(&bytes[done..]) {
            let payload = &bytes[done..][frame.payload.clone()];
            match frame.opcode {
                opcode::CLOSE => {
                    let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(Closed { code, reason }.into());
                }
                opcode::PING => self.send(&wire::client_frame(opcode::PONG, payload))?,
                opcode::PONG => {}
                _ => self.message(payload, reader)?,
            }
            done += frame.payload.end;
        }
        Ok(done)
    }

    fn upgraded(&mut self) -> Result<()> {
        match self.protocol {
            Protocol::Graphql => {
                let payload = self
                    .opening
                    .token
                    .as_ref()
                    .map_or_else(String::new, |token| format!(r#""Authorization":"Bearer {token}""#));
                self.send(&wire::client_text(&format!(r#"{{"type":"connection_init","payload":{{{payload}}}}}"#)))?;
                self.stage = Stage::Opening;
            }
            Protocol::SocketIo => self.stage = Stage::Opening,
            Protocol::Plain => self.stage = Stage::Live,
        }
        Ok(())
    }

    fn message(&mut self, payload: &[u8], reader: &mut impl Reader) -> Result<()> {
        match self.protocol {
            Protocol::Graphql => self.graphql(payload, reader),
            Protocol::SocketIo => self.socket_io(payload, reader),
            Protocol::Plain => {
                reader.event(payload);
                Ok(())
            }
        }
    }

    fn graphql(&mut self, payload: &[u8], reader: &mut impl Reader) -> Result<()> {
        let is = |kind: &str| memchr::memmem::find(payload, kind.as_bytes()).is_some();
        // What matters in the middle of a measurement comes first.
        if is(r#""next""#) {
            reader.event(payload);
        } else if is(r#""ping""#) {
            self.send(&wire::client_text(r#"{"type":"pong"}"#))?;
        } else if is(r#""connection_ack""#) && self.stage == Stage::Opening {
            let mut frames = Vec::new();
            for (id, subscription) in self.opening.subscriptions.iter().enumerate() {
                let message = format!(r#"{{"id":"{}","type":"subscribe","payload":{subscription}}}"#, id + 1);
                frames.extend_from_slice(&wire::client_text(&message));
            }
            frames.extend_from_slice(&wire::client_text(r#"{"type":"ping"}"#));
            self.send(&frames)?;
            self.stage = Stage::Subscribing;
        } else if is(r#""pong""#) {
            self.stage = Stage::Live;
        } else {
            bail!("unexpected message: {}", String::from_utf8_lossy(payload));
        }
        Ok(())
    }

    fn socket_io(&mut self, payload: &[u8], reader: &mut impl Reader) -> Result<()> {
        match payload {
            // An event.
            [b'4', b'2', ..] => reader.event(payload),
            b"2" => self.send(&wire::client_text("3"))?,
            // The transport is open: enter the main namespace.
            [b'0', b'{', ..] => self.send(&wire::client_text("40"))?,
            [b'4', b'0', b'{', ..] => self.stage = Stage::Live,
            _ => bail!("unexpected message: {}", String::from_utf8_lossy(payload)),
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let written = rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL)?;
        ensure!(written == bytes.len(), "a subscriber's socket is full in the client's direction");
        Ok(())
    }
}
