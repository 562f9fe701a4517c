//! The ceiling: the bytes of a frame, made once an event, written straight to each socket. No GraphQL, no runtime.
//!
//! One thread, one epoll. A POST's body carries the same variables as lancewire's mutation; its title goes into a frame
//! of the same shape and size as lancewire's. One write for each socket and event, unless a socket is full: then the
//! rest waits in a buffer of that socket, as every server must do.

use std::{
    collections::HashMap,
    env,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use anyhow::{Context as _, Result};
use lancewire_bench::wire;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
};

const LISTENER: u64 = u64::MAX;

/// What one read may take.
const READ: usize = 16 * 1024;

struct Raw {
    epoll: rustix::fd::OwnedFd,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    next: u64,
    position: u64,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of a request that is not all there yet.
    read: Vec<u8>,
    /// Bytes that the socket had no room for.
    waiting: Vec<u8>,
    subscribed: bool,
}

fn main() -> Result<()> {
    let address = env::args().nth(1).context("usage: raw ADDRESS")?;
    let listener = TcpListener::bind(&address)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut raw = Raw { epoll, listener, connections: HashMap::new(), next: 0, position: 0 };
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&raw.epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => raw.accept()?,
                key => raw.turn(key, event.flags),
            }
        }
    }
}

impl Raw {
    fn accept(&mut self) -> Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            epoll::add(&self.epoll, &stream, EventData::new_u64(self.next), EventFlags::IN)?;
            let connection = Connection { stream, read: Vec::new(), waiting: Vec::new(), subscribed: false };
            self.connections.insert(self.next, connection);
            self.next += 1;
        }
        Ok(())
    }

    /// Does what a connection's readiness allows, and forgets the connection when it is over.
    fn turn(&mut self, key: u64, ready: EventFlags) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let mut alive = true;
        if ready.contains(EventFlags::OUT) {
            alive = connection.flush(&self.epoll, key).is_ok();
        }
        if alive && ready.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            alive = self.read(key).is_ok();
        }
        if !alive {
            // Closing the socket takes it out of the epoll.
            self.connections.remove(&key);
        }
    }

    fn read(&mut self, key: u64) -> Result<()> {
        let connection = self.connections.get_mut(&key).context("a known connection")?;
        let mut bytes = [0; READ];
        let length = connection.stream.read(&mut bytes)?;
        anyhow::ensure!(length > 0, "the client has gone");
        if connection.subscribed {
            // Pongs and closes: nothing that a ceiling would have to read.
            return Ok(());
        }
        connection.read.extend_from_slice(&bytes[..length]);
        while let Some(message) = wire::message(&self.connections.get(&key).context("known")?.read) {
            let connection = self.connections.get_mut(&key).context("a known connection")?;
            let request: Vec<u8> = connection.read.drain(..message.end).collect();
            if wire::header(&request[message.head], "upgrade").is_some() {
                connection.subscribed = true;
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    wire::ACCEPT
                );
                connection.stream.write_all(answer.as_bytes())?;
                return Ok(());
            }
            let answer = self.publish(&request[message.body]).context("a body with a job's id and title")?;
            let connection = self.connections.get_mut(&key).context("a known connection")?;
            connection.stream.write_all(&answer)?;
        }
        Ok(())
    }

    /// Writes the event of a change to every subscriber, and gives the answer to the change itself.
    fn publish(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let (id, title) = (text_after(body, b"\"id\":\"")?, text_after(body, b"\"title\":\"")?);
        self.position += 1;
        let position = self.position;
        let frame = wire::server_text(
            format!(
                r#"{{"id":"1","type":"next","payload":{{"data":{{"jobUpdated":{{"id":"event_{position:026}","cursor":"{position:032}","job":{{"id":"{id}","version":{position},"title":"{title}"}}}}}}}}}}"#
            )
            .as_bytes(),
        );
        let epoll = &self.epoll;
        self.connections
            .retain(|key, connection| !connection.subscribed || connection.send(&frame, epoll, *key).is_ok());
        let answer =
            format!(r#"{{"data":{{"updateJob":{{"job":{{"id":"{id}","version":{position}}},"errors":[]}}}}}}"#);
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        Some((head + &answer).into_bytes())
    }
}

impl Connection {
    fn send(&mut self, frame: &[u8], epoll: &rustix::fd::OwnedFd, key: u64) -> std::io::Result<()> {
        if !self.waiting.is_empty() {
            self.waiting.extend_from_slice(frame);
            return Ok(());
        }
        let written = match self.stream.write(frame) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if written < frame.len() {
            self.waiting.extend_from_slice(&frame[written..]);
            epoll::modify(epoll, &self.stream, EventData::new_u64(key), EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }

    fn flush(&mut self, epoll: &rustix::fd::OwnedFd, key: u64) -> std::io::Result<()> {
        let written = match self.stream.write(&self.waiting) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.waiting.drain(..written);
        if self.waiting.is_empty() {
            epoll::modify(epoll, &self.stream, EventData::new_u64(key), EventFlags::IN)?;
        }
        Ok(())
    }
}

fn text_after<'body>(body: &'body [u8], key: &[u8]) -> Option<&'body str> {
    let text = body.get(memchr::memmem::find(body, key)? + key.len()..)?;
    str::from_utf8(text.get(..memchr::memchr(b'"', text)?)?).ok()
}
