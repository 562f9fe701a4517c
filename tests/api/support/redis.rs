//! A Redis of one test's own: on a loopback port, keeping nothing on disk, gone with the test.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{
    binary::{Port, signal},
    tls::Authority,
};

/// Longer than it takes to start.
const GUARD: Duration = Duration::from_secs(30);

/// A server that may be killed, started again and frozen. Its address stays the same.
#[derive(Debug)]
pub struct Redis {
    port: Port,
    /// A folder with its certificate and key, if it is spoken to over TLS only.
    secured: Option<TempDir>,
    running: Option<(Child, Lines<BufReader<ChildStdout>>)>,
}

impl Redis {
    /// A new server.
    ///
    /// # Panics
    ///
    /// When there is no Redis to start: a test that needs one never passes without.
    pub async fn start() -> Self {
        let mut redis = Self { port: Port::reserve(), secured: None, running: None };
        redis.recover().await;
        redis
    }

    /// A new server that is spoken to over TLS only, and shows a certificate of this authority. None where Redis was
    /// built without TLS.
    pub async fn start_secured(authority: &Authority) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in ["certificate", "key"].into_iter().zip(authority.certify()) {
            fs::write(folder.path().join(name), content).expect("written");
        }
        let mut redis = Self { port: Port::reserve(), secured: Some(folder), running: None };
        redis.try_recover().await.ok().map(|()| redis)
    }

    pub fn addr(&self) -> SocketAddr {
        self.port.addr
    }

    /// Starts it again after [`Redis::kill`]; what it knew is gone.
    pub async fn recover(&mut self) {
        self.try_recover().await.unwrap_or_else(|said| panic!("Redis does not start:\n{said}"));
    }

    async fn try_recover(&mut self) -> Result<(), String> {
        let mut command = Command::new("redis-server");
        let port = self.port.addr.port().to_string();
        command.args(["--bind", "127.0.0.1"]);
        match &self.secured {
            None => command.args(["--port", &port]),
            Some(folder) => {
                command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
                command.arg("--tls-cert-file").arg(folder.path().join("certificate"));
                command.arg("--tls-key-file").arg(folder.path().join("key"))
            }
        };
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", "/"]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut process = command.env("PATH", path).spawn().expect("redis-server runs: see scripts/prepare-tests");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut said = String::new();
        while !said.contains("Ready to accept connections") {
            let line = tokio::time::timeout(GUARD, output.next_line()).await.expect("Redis is ready in time");
            let Some(line) = line.expect("readable") else { return Err(said) };
            said += &line;
            said.push('\n');
        }
        self.running = Some((process, output));
        Ok(())
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
