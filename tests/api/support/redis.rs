//! A Redis of one test's own: on a loopback port, keeping nothing on disk, gone with the test.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::binary::{Port, signal};

/// Longer than it takes to start.
const GUARD: Duration = Duration::from_secs(30);

/// A server that may be killed, started again and frozen. Its address stays the same.
#[derive(Debug)]
pub struct Redis {
    port: Port,
    running: Option<(Child, Lines<BufReader<ChildStdout>>)>,
}

impl Redis {
    /// A new server.
    ///
    /// # Panics
    ///
    /// When there is no Redis to start: a test that needs one never passes without.
    pub async fn start() -> Self {
        let mut redis = Self { port: Port::reserve(), running: None };
        redis.recover().await;
        redis
    }

    pub fn addr(&self) -> SocketAddr {
        self.port.addr
    }

    /// Starts it again after [`Redis::kill`]; what it knew is gone.
    pub async fn recover(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.addr.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", "/"]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut process = command.env("PATH", path).spawn().expect("redis-server runs: see scripts/prepare-tests");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut said = String::new();
        while !said.contains("Ready to accept connections") {
            let line = tokio::time::timeout(GUARD, output.next_line()).await.expect("Redis is ready in time");
            said += &line.expect("readable").unwrap_or_else(|| panic!("Redis does not start:\n{said}"));
            said.push('\n');
        }
        self.running = Some((process, output));
    }

    /// Ends it at once; nobody is told.
    pub async fn kill(&mut self) {
        let (mut process, _) = self.running.take().expect("it runs");
        process.kill().await.expect("it was ours");
    }

    /// Sends a signal, such as `STOP`.
    pub async fn signal(&self, name: &str) {
        let (process, _) = self.running.as_ref().expect("it runs");
        signal(process, name).await;
    }
}
