//! A server process: started on a core of its own, measured, and ended whatever happens.
//!
//! Only processes started here are ever ended, each by its number. `setpriv` has the kernel end them with us, so that
//! neither an error nor an interrupt leaves one behind.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal};

/// Where servers run; the generator has the other core.
pub const SERVER_CORE: &str = "0";

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program with its arguments and settings.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    cores: String,
}

/// A running server.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub address: SocketAddrV4,
    log: PathBuf,
}

impl Program {
    /// A program without arguments and settings.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), arguments: Vec::new(), environment: BTreeMap::new(), cores: SERVER_CORE.to_owned() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds a setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.insert(name.to_owned(), value.to_string());
        self
    }

    /// On these cores instead of the servers' own, as `taskset` has them.
    #[must_use]
    pub fn on(mut self, cores: &str) -> Self {
        cores.clone_into(&mut self.cores);
        self
    }

    /// The command that runs it on its cores in a clean environment, to end with this process.
    pub fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &self.cores])
            .arg(&self.path)
            .args(&self.arguments);
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LANG"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(&self.environment).stdin(Stdio::null());
        command
    }
}

impl Process {
    /// Starts a server and waits until it accepts connections on `address`; what it says goes into `log`.
    pub fn start(program: &Program, address: SocketAddrV4, log: &Path) -> Result<Self> {
        let output = File::create(log)?;
        let mut command = program.command();
        command.stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("starting {}", program.path.display()))?;
        let mut process = Self { child, address, log: log.to_owned() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            ensure!(process.is_running(), "the server ended at once: {}", process.last_words());
            ensure!(Instant::now() < deadline, "the server does not listen: {}", process.last_words());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end, as a service manager does (SIGTERM).
    pub fn ask_to_end(&self) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a process has a number")?;
        Ok(rustix::process::kill_process(pid, Signal::TERM)?)
    }

    /// Ends it at once, as a failing machine does; nobody is told.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The end of its log, for an error message.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// CPU time it has used since its start, all threads, those that ended included.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id())
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> Result<u64> {
        memory(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process: the sum of utime and stime of `/proc/PID/stat`, but in nanoseconds instead of hundredths.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write to the local variable whose address they get, and to nothing else.
    let failure = unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) };
    ensure!(failure == 0, "no CPU clock of process {pid}");
    // SAFETY: as above.
    let failure = unsafe { libc::clock_gettime(clock, &raw mut time) };
    ensure!(failure == 0, "process {pid} has ended");
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

/// Resident memory of a process, in bytes.
pub fn memory(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("no Rss in smaps_rollup")? * 1024)
}

/// All cores, as `taskset` has them: for servers that are too many for one.
pub fn all_cores() -> String {
    let cores = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    if cores.trim().is_empty() { SERVER_CORE.to_owned() } else { cores.trim().to_owned() }
}

/// A free address on this machine.
pub fn free_address() -> Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))
}
