//! The command line.

use std::{
    env,
    path::{Path, PathBuf},
    process::exit,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::servers::Kind;

const USAGE: &str = "\
usage: bench/run [OPTION]..

  --only SCENARIO,..      fanout, ceiling, idle, private, filters, reconnect, mutations, list, lives, contention,
                          growth, and of two nodes cluster-latency, cluster-mutations, cluster-storm, cluster-rolling,
                          cluster-revocation,
                          cluster-model, or cluster for these six; default: all
  --server SERVER,..      lancewire, raw, socketio, stock, mercurius, yoga, apollo;
                          default: all, for the scenarios that compare
  --seconds N             length of each measurement; default 10
  --scale PERCENT         share of the subscribers, users and filters of the scenarios; default 100
  --database DATABASE     sqlite (default) or postgres, for lancewire
  --bus BUS               postgres or redis, for the scenarios of two nodes; default: both
  --binary PATH           this lancewire, instead of building one
  --against PATH          another lancewire, for the scenarios that compare: what a change brings
  --publish               write the report to bench/RESULTS.md, too";

/// The scenarios, in the order of the report.
pub const SCENARIOS: [&str; 17] = [
    "fanout",
    "ceiling",
    "idle",
    "private",
    "filters",
    "reconnect",
    "mutations",
    "list",
    "lives",
    "contention",
    "growth",
    "cluster-latency",
    "cluster-mutations",
    "cluster-storm",
    "cluster-rolling",
    "cluster-revocation",
    "cluster-model",
];

/// Stands for all scenarios whose names begin with it.
const CLUSTER: &str = "cluster";

/// Where lancewire keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// As the command line and the report have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// What connects two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    Postgres,
    Redis,
}

impl Bus {
    /// All.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Redis];

    /// As the command line and the setting have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }

    /// As the report has it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL alone",
            Self::Redis => "with Redis",
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub only: Vec<String>,
    /// As asked for; empty for all.
    servers: Vec<Kind>,
    pub seconds: u64,
    scale: usize,
    pub database: Database,
    pub buses: Vec<Bus>,
    pub binary: PathBuf,
    against: Option<PathBuf>,
    pub publish: bool,
    home: PathBuf,
}

impl Options {
    /// Reads the command line. `LANCEWIRE_BENCH_HOME` is the folder `bench`, which `bench/run` knows.
    pub fn read() -> Result<Self> {
        let home = PathBuf::from(env::var_os("LANCEWIRE_BENCH_HOME").context("start me by bench/run")?);
        let mut options = Self {
            only: SCENARIOS.map(ToOwned::to_owned).to_vec(),
            servers: Vec::new(),
            seconds: 10,
            scale: 100,
            database: Database::Sqlite,
            buses: Bus::ALL.to_vec(),
            binary: home.join("../target/release/lancewire"),
            against: None,
            publish: false,
            home,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--only" => options.only = value()?.split(',').flat_map(named).map(ToOwned::to_owned).collect(),
                "--server" => options.servers = value()?.split(',').map(Kind::named).collect::<Result<_>>()?,
                "--seconds" => options.seconds = value()?.parse().context("--seconds is a number")?,
                "--scale" => options.scale = value()?.parse().context("--scale is a number")?,
                "--database" => {
                    options.database = match value()?.as_str() {
                        "sqlite" => Database::Sqlite,
                        "postgres" => Database::Postgres,
                        other => bail!("no database {other}\n{USAGE}"),
                    };
                }
                "--bus" => {
                    let name = value()?;
                    options.buses = Bus::ALL.into_iter().filter(|bus| bus.name() == name).collect();
                    ensure!(!options.buses.is_empty(), "no bus {name}\n{USAGE}");
                }
                "--binary" => options.binary = value()?.into(),
                "--against" => options.against = Some(value()?.into()),
                "--publish" => options.publish = true,
                "--help" => {
                    println!("{USAGE}");
                    exit(0);
                }
                other => bail!("no option {other}\n{USAGE}"),
            }
        }
        for scenario in &options.only {
            ensure!(SCENARIOS.contains(&scenario.as_str()), "no scenario {scenario}\n{USAGE}");
        }
        ensure!((1..=600).contains(&options.seconds), "--seconds is between 1 and 600");
        ensure!((1..=100).contains(&options.scale), "--scale is between 1 and 100");
        ensure!(options.binary.exists(), "no {}: bench/run builds it", options.binary.display());
        match &options.against {
            Some(against) => ensure!(against.exists(), "no {}", against.display()),
            None => ensure!(!options.servers.contains(&Kind::Against), "--against says which build that is"),
        }
        Ok(options)
    }

    /// How long to measure.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How long to warm up: compilers in the peers take a few seconds until they are at their best.
    pub fn warm_up(&self) -> Duration {
        self.time().div_f64(3.0).max(Duration::from_secs(2))
    }

    /// A number of the scenario, made smaller by `--scale`.
    pub fn scaled(&self, number: usize) -> usize {
        (number * self.scale / 100).max(1)
    }

    /// Whether the report's scale is the real one.
    pub fn is_full(&self) -> bool {
        self.scale == 100
    }

    /// Which of these servers to run.
    pub fn servers(&self, candidates: &[Kind]) -> Vec<Kind> {
        let wanted = |kind: &&Kind| match kind {
            Kind::Against => self.against.is_some(),
            _ => self.servers.is_empty() || self.servers.contains(kind),
        };
        candidates.iter().filter(wanted).copied().collect()
    }

    /// The same with the build that `--against` names.
    pub fn other_build(&self) -> Option<Self> {
        Some(Self { binary: self.against.clone()?, ..self.clone() })
    }

    /// The folder of the peers in Node.
    pub fn peers(&self) -> PathBuf {
        self.home.join("peers")
    }

    /// The folder of the benchmark.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Another program of this package.
    pub fn sibling(name: &str) -> Result<PathBuf> {
        Ok(env::current_exe()?.with_file_name(name))
    }
}

/// The scenarios that a word stands for.
fn named(word: &str) -> Vec<&str> {
    let of_cluster = SCENARIOS.iter().copied().filter(|name| name.starts_with(CLUSTER));
    if word == CLUSTER { of_cluster.collect() } else { vec![word] }
}
