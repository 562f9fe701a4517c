//! Lancewire under test: its settings, its database, its accounts and jobs, its metrics.

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    api::{Api, text},
    load::publisher::Request,
    options::{Database, Options},
    postgres::Postgres,
    process::{Process, Program, SERVER_CORE, free_address},
    servers::change_request,
};

/// As good as no limit.
const PLENTY: u32 = 4_000_000_000;

/// The password of the demo accounts, and of those made here.
const PASSWORD: &str = "correct-horse-battery";

/// The settings that differ from the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    database: Database,
    more: BTreeMap<String, String>,
    cores: String,
}

impl Settings {
    /// Those of every run.
    pub fn of(options: &Options) -> Self {
        Self::on(options.database)
    }

    /// The same on this database.
    pub fn on(database: Database) -> Self {
        Self { database, more: BTreeMap::new(), cores: SERVER_CORE.to_owned() }
    }

    /// The program with these settings, without a command.
    pub fn program(&self, options: &Options, database: &str, home: &Path) -> Program {
        let mut program = program(options, database, home);
        program.environment.extend(self.more.clone());
        program.on(&self.cores)
    }

    /// On these cores, as `taskset` has them.
    #[must_use]
    pub fn on_cores(mut self, cores: &str) -> Self {
        cores.clone_into(&mut self.cores);
        self
    }

    /// With one more.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.more.insert(name.to_owned(), value.to_string());
        self
    }
}

/// A running server with a database of its own.
pub struct Lancewire {
    pub process: Process,
    pub api: Api,
    // After the process: a field is dropped after those before it.
    pub postgres: Option<Postgres>,
    accounts: usize,
}

impl Lancewire {
    /// Starts one on a fresh database below `home`, with the demo people in it.
    pub fn start(options: &Options, settings: &Settings, home: &Path) -> Result<Self> {
        let (database, postgres) = match settings.database {
            Database::Sqlite => (format!("sqlite:{}", fresh_file(home)?.display()), None),
            Database::Postgres => {
                let postgres = Postgres::start(SERVER_CORE)?;
                (postgres.url(), Some(postgres))
            }
        };
        Self::start_on(options, settings, &database, postgres, home)
    }

    /// Starts one on a database that is there already.
    pub fn start_on(
        options: &Options,
        settings: &Settings,
        database: &str,
        postgres: Option<Postgres>,
        home: &Path,
    ) -> Result<Self> {
        let address = free_address()?;
        let program = settings.program(options, database, home);
        let process = Process::start(&serving(program, address), address, &home.join("lancewire.log"))?;
        Ok(Self { postgres, ..Self::of(process)? })
    }

    /// One that runs, on a database that is kept elsewhere.
    pub fn of(process: Process) -> Result<Self> {
        Ok(Self { api: Api::connect(process.address)?, process, postgres: None, accounts: 0 })
    }

    /// The access token of a demo account.
    pub fn sign_in(&mut self, email: &str) -> Result<Rc<str>> {
        let query = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } errors { __typename } } }";
        let answer = self.api.run(None, query, &json!({ "input": { "email": email, "password": PASSWORD } }))?;
        Ok(text(&answer, "/data/signIn/session/accessToken")?.into())
    }

    /// The access tokens of new freelancers.
    pub fn accounts(&mut self, count: usize) -> Result<Vec<Rc<str>>> {
        let query = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } errors { __typename } } }";
        (0..count)
            .map(|_| {
                self.accounts += 1;
                let email = format!("bench-{}@example.com", self.accounts);
                let input = json!({ "email": email, "password": PASSWORD, "displayName": "A subscriber", "roles": ["FREELANCER"] });
                let answer = self.api.run(None, query, &json!({ "input": input }))?;
                Ok(text(&answer, "/data/signUp/session/accessToken")?.into())
            })
            .collect()
    }

    /// Posts jobs and gives the request that changes each.
    pub fn change_requests(&mut self, jobs: usize) -> Result<Vec<Request>> {
        let token = self.sign_in("ada@example.com")?;
        let jobs: Vec<String> = (0..jobs).map(|job| self.post_job(&token, job)).collect::<Result<_>>()?;
        Ok(jobs.iter().map(|job| change_request(Some(&token), job)).collect())
    }

    fn post_job(&mut self, token: &str, number: usize) -> Result<String> {
        let query = "mutation($input: PostJobInput!) { postJob(input: $input) { job { id } errors { __typename } } }";
        let input = json!({
            "idempotencyKey": format!("bench-job-{number}"),
            "title": "Port a billing service to Rust",
            "description": "All of it, please.",
            "budget": { "amount": "50.00", "currencyCode": "USD" },
            "skills": ["rust", "graphql"],
        });
        let answer = self.api.run(Some(token), query, &json!({ "input": input }))?;
        text(&answer, "/data/postJob/job/id")
    }

    /// The counters, gauges and histograms as they are.
    pub fn metrics(&mut self) -> Result<Metrics> {
        Ok(Metrics::parse(&Api::connect(self.process.address)?.get("/metrics")?))
    }
}

/// Settings that not every build has, by their keys.
const LATER: [(&str, &str); 11] = [
    ("sign_ups_per_address", "LANCEWIRE_AUTH__SIGN_UPS_PER_ADDRESS"),
    // A budget of the address came with this one.
    ("sign_ups_per_address", "LANCEWIRE_BUDGETS__ADDRESS"),
    ("connections_per_address", "LANCEWIRE_HTTP__CONNECTIONS_PER_ADDRESS"),
    ("connections_per_address", "LANCEWIRE_HTTP__CONNECTIONS"),
    ("groups_per_user", "LANCEWIRE_SUBSCRIPTIONS__GROUPS_PER_USER"),
    ("groups_per_address", "LANCEWIRE_SUBSCRIPTIONS__GROUPS_PER_ADDRESS"),
    ("filters_per_user", "LANCEWIRE_SUBSCRIPTIONS__FILTERS_PER_USER"),
    ("filters_per_address", "LANCEWIRE_SUBSCRIPTIONS__FILTERS_PER_ADDRESS"),
    ("bytes_per_user", "LANCEWIRE_SUBSCRIPTIONS__BYTES_PER_USER"),
    ("bytes_per_address", "LANCEWIRE_SUBSCRIPTIONS__BYTES_PER_ADDRESS"),
    ("bytes_per_user", "LANCEWIRE_SUBSCRIPTIONS__BYTES"),
];

/// The program with the settings of every run, without a command.
pub fn program(options: &Options, database: &str, home: &Path) -> Program {
    let program = Program::new(&options.binary)
        .set("LANCEWIRE_ENVIRONMENT", "development")
        .set("LANCEWIRE_DATABASE__URL", database)
        .set("LANCEWIRE_AUTH__KEYS_DIR", home.join("keys").display())
        .set("LANCEWIRE_AUTH__ACCESS_TOKEN_SECONDS", 86_400)
        .set("LANCEWIRE_AUTH__PASSWORD_MEMORY_KIB", 8)
        .set("LANCEWIRE_AUTH__PASSWORD_ITERATIONS", 1)
        .set("LANCEWIRE_AUTH__FREE_ATTEMPTS_PER_ACCOUNT", PLENTY)
        .set("LANCEWIRE_AUTH__FREE_ATTEMPTS_PER_ADDRESS", PLENTY)
        .set("LANCEWIRE_BUDGETS__ANONYMOUS", PLENTY)
        .set("LANCEWIRE_BUDGETS__SIGNED_IN", PLENTY)
        .set("LANCEWIRE_SOCKETS__MESSAGES_PER_MINUTE", 1_000_000)
        .set("LANCEWIRE_SOCKETS__OPERATIONS_PER_SOCKET", 1_000)
        .set("LANCEWIRE_SOCKETS__SOCKETS_PER_USER", 1_000_000)
        .set("LANCEWIRE_SOCKETS__SOCKETS_PER_ADDRESS", 1_000_000)
        .set("LANCEWIRE_PAYMENTS__PROVIDER", "none")
        .set("LANCEWIRE_TELEMETRY__FILTER", "warn")
        // It has one core here: a second worker would only take turns with the first.
        .set("TOKIO_WORKER_THREADS", 1);
    // An older build, as --against may name one, starts with no setting that it does not know.
    let known = LATER.into_iter().filter(|(key, _)| names(&options.binary, key));
    known.fold(program, |program, (_, setting)| program.set(setting, PLENTY))
}

/// Whether a build's settings have a key: they are embedded in it.
pub fn names(binary: &Path, key: &str) -> bool {
    let found = Command::new("grep").args(["--quiet", "--text", "--fixed-strings", "--"]).arg(key).arg(binary).status();
    found.is_ok_and(|found| found.success())
}

/// The program as it serves at `address`.
pub fn serving(program: Program, address: SocketAddrV4) -> Program {
    program.argument("serve").set("LANCEWIRE_HTTP__LISTEN", address)
}

/// The path of a database that is not there yet.
pub fn fresh_file(home: &Path) -> Result<PathBuf> {
    let taken = |number: &u32| home.join(format!("{number}.db")).exists();
    let number = (0..10_000).find(|number| !taken(number)).context("too many databases")?;
    Ok(home.join(format!("{number}.db")))
}

/// What `/metrics` says, by the name with its labels.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// How much each has grown since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown =
            |(name, value): (&String, &f64)| (name.clone(), value - earlier.0.get(name).copied().unwrap_or_default());
        Self(self.0.iter().map(grown).collect())
    }

    /// The sum over all labels that contain `labels`, none if there is no such metric.
    pub fn sum(&self, name: &str, labels: &str) -> Option<f64> {
        let ours = |key: &&String| key.split('{').next() == Some(name) && key.contains(labels);
        let mut values = self.0.iter().filter(|(key, _)| ours(key)).map(|(_, value)| *value).peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// The upper bound of the bucket in which a share of a histogram's values lies, over all labels.
    pub fn quantile(&self, name: &str, share: f64) -> Option<Duration> {
        let total = self.sum(&format!("{name}_count"), "")?;
        let bucket = format!("{name}_bucket");
        let mut bounds: BTreeMap<u64, f64> = BTreeMap::new();
        for (key, value) in self.0.iter().filter(|(key, _)| key.split('{').next() == Some(&bucket)) {
            let bound: f64 = key.split("le=\"").nth(1)?.split('"').next()?.parse().unwrap_or(f64::INFINITY);
            *bounds.entry(bound.to_bits()).or_default() += value;
        }
        // Positive floats are in the order of their bits.
        let (bound, _) = bounds.into_iter().find(|(_, below)| total > 0.0 && *below >= total * share)?;
        Some(Duration::try_from_secs_f64(f64::from_bits(bound)).unwrap_or(Duration::MAX))
    }
}
