//! The load balancer that stands in front of two nodes, as `deploy/haproxy.cfg` has it.

use std::{env, fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use reqwest::Method;
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use super::{binary::Port, http::Http};

/// Longer than it takes to notice anything.
const GUARD: Duration = Duration::from_secs(60);
/// How often it is asked.
const TICK: Duration = Duration::from_millis(50);

/// As many connections as the system allows. Debian keeps the program where only root looks.
const START: &str = r#"
PATH=$PATH:/usr/sbin
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"
exec haproxy -db -f "$1"
"#;

/// A running `HAProxy`. Gone with this value.
#[derive(Debug)]
pub struct Balancer {
    /// Where clients come.
    pub addr: SocketAddr,
    nodes: [SocketAddr; 2],
    figures: Http,
    ports: [Port; 2],
    log: NamedTempFile,
    process: Child,
}

impl Balancer {
    /// In front of nodes that serve; waits until it has found both.
    ///
    /// # Panics
    ///
    /// When there is no `HAProxy` to start: a test that needs one never passes without.
    pub async fn before(nodes: [SocketAddr; 2]) -> Self {
        let ports = [Port::reserve(), Port::reserve()];
        let log = NamedTempFile::new().expect("a temporary file");
        let (addr, figures) = (ports[0].addr, Http::new(ports[1].addr));
        let process = start(&ports, nodes, &log);
        let balancer = Self { addr, nodes, figures, ports, log, process };
        for node in 0..nodes.len() {
            balancer.until(node, "UP").await;
        }
        balancer
    }

    /// Ends it at once, with every connection through it, and starts it again.
    pub async fn restart(&mut self) {
        self.process.kill().await.expect("it was ours");
        self.process = start(&self.ports, self.nodes, &self.log);
        for node in 0..self.nodes.len() {
            self.until(node, "UP").await;
        }
    }

    /// Waits until it holds a node for `UP`, `DOWN` or, when no new connections go there, `NOLB`.
    pub async fn until(&self, node: usize, state: &str) {
        let name =
            format!("haproxy_server_status{{proxy=\"lancewire\",server=\"node{}\",state=\"{state}\"}} 1", node + 1);
        let patient = async {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                let Ok(figures) = self.figures.request(Method::GET, "/metrics").send().await else { continue };
                let figures = figures.text().await.unwrap_or_default();
                if figures.lines().any(|line| line == name) {
                    return;
                }
            }
        };
        if tokio::time::timeout(GUARD, patient).await.is_err() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            panic!("the balancer never held node{} for {state}:\n{said}", node + 1);
        }
    }
}

fn start(ports: &[Port; 2], nodes: [SocketAddr; 2], log: &NamedTempFile) -> Child {
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy.cfg");
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(START).arg("balancer").arg(settings);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    let addresses = [ports[0].addr, ports[1].addr, nodes[0], nodes[1]].map(|addr| addr.to_string());
    let names = ["LANCEWIRE_LISTEN", "LANCEWIRE_STATS", "LANCEWIRE_NODE1", "LANCEWIRE_NODE2"];
    command.envs(names.into_iter().zip(addresses));
    if cfg!(debug_assertions) {
        // What two debug builds can take.
        command.env("LANCEWIRE_SESSIONS_PER_SECOND", "200");
    }
    let log = log.reopen().expect("its log can be written");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    command.spawn().expect("/bin/sh starts")
}
