//! GraphQL over a blocking connection, for everything that happens before and after a measurement.

use std::{
    io::{Read, Write},
    net::{SocketAddrV4, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lancewire_bench::wire;
use serde_json::Value;

use crate::load::publisher::{Request, check};

/// A keep-alive connection.
#[derive(Debug)]
pub struct Api {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Api {
    /// Connects.
    pub fn connect(server: SocketAddrV4) -> Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Runs an operation; any error is one.
    pub fn run(&mut self, token: Option<&str>, query: &str, variables: &Value) -> Result<Value> {
        let body = self.exchange(Request::graphql(token, query, variables).bytes())?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// What stands at a page, as text.
    pub fn get(&mut self, path: &str) -> Result<String> {
        let body = self.exchange(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
        Ok(String::from_utf8(body)?)
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.stream.write_all(request)?;
        let mut scratch = [0; 16 * 1024];
        loop {
            if let Some(message) = wire::message(&self.buffer) {
                let answer: Vec<u8> = self.buffer.drain(..message.end).collect();
                check(&answer[message.head], &answer[message.body.clone()])?;
                return Ok(answer[message.body].to_vec());
            }
            let length = self.stream.read(&mut scratch)?;
            ensure!(length > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&scratch[..length]);
        }
    }
}

/// The text at a JSON pointer.
pub fn text(value: &Value, pointer: &str) -> Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(ToOwned::to_owned).with_context(|| format!("no {pointer} in {value}"))
}
