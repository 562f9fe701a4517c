//! The program itself, as an operator starts it: in a directory of its own, steered by its environment.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use super::disk::SmallDisk;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpSocket,
    process::{Child, ChildStdout, Command},
};

/// Longer than anything here takes, shorter than patience.
const GUARD: Duration = Duration::from_secs(60);

/// A directory to start the program in, and what it finds in its environment there.
pub struct Home {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
    disk: Option<SmallDisk>,
    /// What a shell does first.
    before: Option<&'static str>,
}

/// A server that was started and has said where it is.
pub struct Server {
    pub addr: SocketAddr,
    /// What it told the newcomer.
    pub greeting: String,
    process: Child,
    _output: Lines<BufReader<ChildStdout>>,
}

impl Home {
    /// An empty directory and settings that make the program quick.
    pub fn new() -> Self {
        let environment = [
            ("LANCEWIRE_HTTP__LISTEN", "127.0.0.1:0"),
            ("LANCEWIRE_AUTH__PASSWORD_MEMORY_KIB", "8"),
            ("LANCEWIRE_AUTH__PASSWORD_ITERATIONS", "1"),
            ("LANCEWIRE_PAYMENTS__PROVIDER", "none"),
            ("LANCEWIRE_TELEMETRY__FILTER", "warn"),
            ("LANCEWIRE_SEARCH__FOLDER", "search"),
        ];
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            environment: environment.map(|(name, value)| (name, value.to_owned())).into(),
            disk: None,
            before: None,
        }
    }

    /// With one more variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// As in production, which takes no cheap password hashes.
    #[must_use]
    pub fn in_production(self) -> Self {
        let strong = self.with("LANCEWIRE_AUTH__PASSWORD_MEMORY_KIB", "19456");
        strong.with("LANCEWIRE_AUTH__PASSWORD_ITERATIONS", "2").with("LANCEWIRE_ENVIRONMENT", "production")
    }

    /// With `data` on a disk of its own, which only the server sees and which is gone with it.
    #[must_use]
    pub fn on(mut self, disk: SmallDisk) -> Self {
        fs::create_dir(self.path().join("data")).expect("a folder for the disk");
        self.disk = Some(disk);
        self
    }

    /// Started by a shell that does this first, such as `ulimit`.
    #[must_use]
    pub fn under(mut self, before: &'static str) -> Self {
        self.before = Some(before);
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program with these arguments. It sees nothing of our own environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_lancewire");
        let mut command = match &self.disk {
            None => match self.before {
                None => Command::new(program),
                Some(before) => {
                    let mut shell = Command::new("sh");
                    shell.args(["-c", &format!("{before} && exec \"$0\" \"$@\""), program]);
                    shell
                }
            },
            Some(disk) => {
                let mut command: Command = disk.command("data", "mode=755").into();
                command.arg(program);
                command
            }
        };
        command.args(arguments).current_dir(self.directory.path()).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// A script for bash, in which `lancewire` is the program, in the same directory and environment. With a variable
    /// `PATH_OF_POSTGRESQL` its tools are found, too.
    pub fn shell(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_lancewire")).parent().expect("a folder");
        let path = format!("export PATH={}:${{PATH_OF_POSTGRESQL:-}}:/usr/bin:/bin\n", program.display());
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &format!("{path}{script}")]);
        command.current_dir(self.directory.path()).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let output = tokio::time::timeout(GUARD, self.command(arguments).output()).await;
        output.expect("it ends").expect("it starts")
    }

    /// Starts a server and waits for its greeting. What it complains about goes to our own standard error.
    pub async fn serve(&self) -> Server {
        self.serve_with(Stdio::inherit()).await
    }

    /// The same for a server whose complaints go to a file in its home.
    pub async fn serve_into(&self, log: &str) -> Server {
        let log = fs::File::create(self.path().join(log)).expect("a new file");
        self.serve_with(log.into()).await
    }

    async fn serve_with(&self, complaints: Stdio) -> Server {
        let mut process = self.command(&[]).stderr(complaints).spawn().expect("it starts");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut greeting = String::new();
        while !greeting.contains("    -d ") {
            let line = tokio::time::timeout(GUARD, output.next_line()).await.expect("it greets in time");
            greeting += &line.expect("readable").expect("it does not end before it has greeted");
            greeting.push('\n');
        }
        let (_, rest) = greeting.split_once("://").expect("an address");
        let addr = rest.split('/').next().expect("a part").parse().expect("an address");
        Server { addr, greeting, process, _output: output }
    }
}

/// A port that stays ours while no server listens on it, so that the next one can: bound by us and never listened on,
/// it is given to nobody who has not asked for it by its number.
#[derive(Debug)]
pub struct Port {
    pub addr: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    pub fn reserve() -> Self {
        let held = TcpSocket::new_v4().expect("a socket");
        held.set_reuseaddr(true).expect("can be shared with the server");
        held.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        Self { addr: held.local_addr().expect("an address"), _held: held }
    }
}

/// Sends a signal to a process that a test has started.
pub async fn signal(process: &Child, name: &str) {
    let id = process.id().expect("it runs").to_string();
    let kill = Command::new("kill").args(["-s", name, &id]).status().await.expect("kill runs");
    assert!(kill.success(), "{name} reaches {id}");
}

impl Server {
    /// Sends a signal, such as `TERM`, `KILL` or `STOP`.
    pub async fn signal(&self, name: &str) {
        signal(&self.process, name).await;
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// A place in the server's home as the server sees it, disks of its own included.
    pub fn sees(&self, home: &Home, path: &str) -> PathBuf {
        let id = self.process.id().expect("it runs");
        Path::new(&format!("/proc/{id}/root")).join(home.path().strip_prefix("/").expect("absolute")).join(path)
    }

    /// The memory it holds for itself, in KiB: without what the kernel maps of files. None where nobody tells.
    pub fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok())
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> ExitStatus {
        tokio::time::timeout(GUARD, self.process.wait()).await.expect("it ends").expect("it was ours")
    }

    /// Whether it still accepts connections.
    pub fn accepts(&self) -> bool {
        std::net::TcpStream::connect(self.addr).is_ok()
    }
}

/// The lines that a program wrote.
pub fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(ToOwned::to_owned).collect()
}
