//! A PostgreSQL of the run's own, on the servers' core.
//!
//! Kept by a shell that ends the server and deletes its data when its standard input closes, which happens however we
//! end. PostgreSQL refuses to run as root; then it runs as `postgres` or `nobody`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::process::{cpu, free_address};

/// Durable as in production, which is what is measured.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
";

const KEEPER: &str = r#"
binaries=$1 port=$2 settings=$3
exec 2>>log
finish() {
    "$binaries/pg_ctl" --pgdata=data --mode=fast stop >>log
    rm -rf "$PWD"
}
trap finish EXIT
trap '' HUP INT TERM
"$binaries/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --no-locale >>log &&
    printf '%s' "$settings" >>data/postgresql.conf &&
    "$binaries/pg_ctl" --pgdata=data --log=log --options="-p $port" --wait start >>log ||
    { cat log; exit 1; }
trap '' PIPE
head -n 1 data/postmaster.pid
exec >&-
while read -r _; do :; done
"#;

/// A running server; its end is the end of this value.
#[derive(Debug)]
pub struct Postgres {
    keeper: Child,
    postmaster: u32,
    port: u16,
}

impl Postgres {
    /// Makes and starts one on these cores, as `taskset` has them.
    pub fn start(cores: &str) -> Result<Self> {
        let binaries =
            find_binaries().context("no PostgreSQL (initdb, pg_ctl): `scripts/prepare-tests` installs it")?;
        let port = free_address()?.port();
        let mut home = std::env::temp_dir();
        home.push(format!("lancewire-bench-postgres-{port}"));
        fs::create_dir(&home)?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", cores, "/bin/sh", "-c", KEEPER, "keeper"]);
        command.arg(binaries).arg(port.to_string()).arg(SETTINGS);
        // A clean environment: PGDATA and the like would steer the server. A group of its own: what interrupts us must
        // not stop the keeper before it has cleaned up.
        command.current_dir(&home).process_group(0).env_clear().env("LC_ALL", "C");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            let (user, group) = unprivileged().context("no user `postgres` or `nobody`")?;
            chown(&home, Some(user), Some(group))?;
            command.uid(user).gid(group);
        }
        let mut keeper = command.spawn()?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let postmaster = line.trim().parse().with_context(|| format!("PostgreSQL does not start: {line}"))?;
        Ok(Self { keeper, postmaster, port })
    }

    /// Where its one database is.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// What `psql` answers, one line a row.
    pub fn ask(&self, sql: &str) -> Result<String> {
        let output = self.psql(sql).output().context("psql")?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Runs a statement beside what goes on; it is waited for when the value is dropped.
    pub fn run(&self, sql: &str) -> Result<Statement> {
        Ok(Statement(self.psql(sql).spawn().context("psql")?))
    }

    fn psql(&self, sql: &str) -> Command {
        let beside = find_binaries().map(|binaries| binaries.join("psql")).filter(|psql| psql.exists());
        let mut command = Command::new(beside.unwrap_or_else(|| "psql".into()));
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql]).stdin(Stdio::null());
        command
    }

    /// CPU time of all its running processes.
    pub fn cpu(&self) -> Result<Duration> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.postmaster))?;
        ensure!(!children.is_empty(), "PostgreSQL has no processes");
        let ours = children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([self.postmaster]);
        // One that ended meanwhile is left out.
        Ok(ours.filter_map(|pid| cpu(pid).ok()).sum())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Waiting closes standard input, which is what the keeper waits for.
        let _ = self.keeper.wait();
    }
}

/// A statement that runs.
#[derive(Debug)]
pub struct Statement(Child);

impl Drop for Statement {
    fn drop(&mut self) {
        // Its outcome shows in the counters.
        let _ = self.0.wait();
    }
}

fn find_binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    debian.sort();
    debian.into_iter().rev().chain(std::env::split_paths(&path)).find(|directory| directory.join("pg_ctl").exists())
}

fn unprivileged() -> Option<(u32, u32)> {
    let users = fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    ["postgres", "nobody"].into_iter().find_map(|name| {
        let fields: Vec<&str> = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    })
}
