//! The settings: where they come from and what they may be.
//!
//! Each key stands with its default and its reason in `config/default.toml`, which is embedded in the binary, as are
//! the files of the two environments. Over these come a file named by `LANCEWIRE_CONFIG` and then the environment. What
//! cannot be used stops the start with one line that names the key.

use std::{collections::HashMap, fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use config::{Environment as EnvironmentSource, File, FileFormat};
use serde::{Deserialize, Deserializer, de::IntoDeserializer};

use crate::{
    auth::{attempts::AttemptSettings, passwords::PasswordSettings, sessions::SessionLifetimes, tokens::TokenSettings},
    db::{Backend, DatabaseSettings},
    graphql::{budget::BudgetSettings, limits::Limits},
    http::{
        client_address::{Proxies, ProxyHeader},
        origins::{Origins, is_host},
        tls::TlsSettings,
        websocket::SocketSettings,
    },
    jobs::quota::DraftQuota,
    money::{Currency, Money},
    realtime::AskingSettings,
};

const DEFAULT: &str = include_str!("../config/default.toml");
const DEVELOPMENT: &str = include_str!("../config/development.toml");
const PRODUCTION: &str = include_str!("../config/production.toml");

/// How long tokens may be good in production, in seconds: an access token a day, a refresh token a year.
const LONGEST_ACCESS_SECONDS: u64 = 86_400;
const LONGEST_REFRESH_SECONDS: u64 = 366 * 86_400;

/// Variables of our name that are no settings: the place of a file, a secret of the command line, a matter of the
/// tests.
const NO_SETTINGS: [&str; 3] = ["LANCEWIRE_CONFIG", "LANCEWIRE_ADMIN_PASSWORD", "LANCEWIRE_TEST_POSTGRES_URL"];

/// A setting that cannot be used, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// One line that names the setting and the fix.
    pub const fn new(line: String) -> Self {
        Self(line)
    }
}

/// How forgiving the start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Makes what is missing.
    Development,
    /// Demands it.
    Production,
}

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How forgiving the start is.
    #[serde(deserialize_with = "choice")]
    pub environment: Environment,
    /// `[http]`
    pub http: HttpSettings,
    /// `[tls]`
    pub tls: TlsSettings,
    /// `[database]`
    pub database: DatabaseSettings,
    /// `[auth]`
    pub auth: AuthSettings,
    /// `[marketplace]`
    pub marketplace: MarketplaceSettings,
    /// `[payments]`
    pub payments: PaymentSettings,
    /// `[events]`
    pub events: EventSettings,
    /// `[retention]`
    pub retention: RetentionSettings,
    /// `[bus]`
    pub bus: BusSettings,
    /// `[limits]`
    pub limits: Limits,
    /// `[budgets]`
    pub budgets: BudgetSettings,
    /// `[sockets]`
    pub sockets: SocketSettings,
    /// `[subscriptions]`
    pub subscriptions: AskingSettings,
    /// `[telemetry]`
    pub telemetry: TelemetrySettings,
}

/// `[http]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct HttpSettings {
    pub listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    pub own_hosts: Vec<String>,
    pub trusted_proxies: Vec<String>,
    #[serde(deserialize_with = "choice")]
    pub proxy_header: ProxyHeader,
    pub playground: bool,
    pub connections: u32,
    pub connections_per_address: u32,
    pub requests_per_second: u32,
    pub head_timeout_ms: u64,
    pub max_body_bytes: usize,
    pub operation_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub drain_delay_ms: u64,
}

impl HttpSettings {
    /// The pages that may call.
    pub fn origins(&self) -> Origins {
        Origins::new(&self.allowed_origins, &self.own_hosts())
    }

    /// As a list in the environment is written: with blanks, or with nothing in it.
    fn own_hosts(&self) -> Vec<String> {
        let hosts = self.own_hosts.iter().map(|host| host.trim());
        hosts.filter(|host| !host.is_empty()).map(ToOwned::to_owned).collect()
    }

    /// Who may say for whom they call.
    pub fn proxies(&self) -> Result<Proxies, ConfigError> {
        // As a list in the environment is written: with blanks, or with nothing in it.
        let networks: Vec<String> = self
            .trusted_proxies
            .iter()
            .map(|network| network.trim().to_owned())
            .filter(|network| !network.is_empty())
            .collect();
        Proxies::new(&networks, self.proxy_header).map_err(|wrong| {
            let rule = "must hold networks such as 10.0.0.0/8 or addresses";
            ConfigError(format!("settings: http.trusted_proxies {rule}, not {wrong:?}"))
        })
    }
}

/// `[auth]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct AuthSettings {
    pub issuer: String,
    pub audience: String,
    pub access_token_seconds: u64,
    pub refresh_token_seconds: u64,
    pub session_seconds: u64,
    pub keys_dir: PathBuf,
    pub signing_kid: String,
    pub keys_reload_ms: u64,
    pub password_memory_kib: u32,
    pub password_iterations: u32,
    pub password_lanes: u32,
    pub password_parallel: usize,
    pub free_attempts_per_account: u32,
    pub free_attempts_per_address: u32,
    pub sign_ups_per_address: NonZeroU32,
}

impl AuthSettings {
    /// What access tokens are made with.
    pub fn tokens(&self) -> TokenSettings {
        TokenSettings {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            lifetime: Duration::from_secs(self.access_token_seconds),
        }
    }

    /// How many failed attempts are free.
    pub fn attempts(&self) -> AttemptSettings {
        AttemptSettings {
            free_per_account: self.free_attempts_per_account,
            free_per_address: self.free_attempts_per_address,
            ..AttemptSettings::default()
        }
    }

    /// How long sessions and their refresh tokens live.
    pub fn lifetimes(&self) -> SessionLifetimes {
        SessionLifetimes::new(self.refresh_token_seconds, self.session_seconds)
    }

    /// What passwords are hashed with.
    pub const fn passwords(&self) -> PasswordSettings {
        PasswordSettings {
            memory_kib: self.password_memory_kib,
            iterations: self.password_iterations,
            lanes: self.password_lanes,
            parallel: self.password_parallel,
        }
    }
}

/// `[marketplace]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct MarketplaceSettings {
    pub currency: String,
    pub decimals: u32,
    pub max_amount_minor: i64,
    pub fee_basis_points: u16,
    pub live_claims: u32,
    pub drafts_per_client: u32,
    pub draft_bytes_per_client: u64,
    pub claim_seconds: u32,
    pub auto_approve_seconds: u32,
}

impl MarketplaceSettings {
    /// The one currency.
    pub fn currency(&self) -> Currency {
        Currency::new(&self.currency, self.decimals, Money::from_minor(self.max_amount_minor))
    }

    /// What a client may keep in drafts.
    pub const fn draft_quota(&self) -> DraftQuota {
        DraftQuota { drafts: self.drafts_per_client, bytes: self.draft_bytes_per_client }
    }
}

/// Who settles deposits and withdrawals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProvider {
    /// An admin or a processor, by `confirmTransaction`.
    None,
    /// They settle themselves a moment later.
    Sandbox,
}

/// `[payments]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct PaymentSettings {
    #[serde(deserialize_with = "choice")]
    pub provider: PaymentProvider,
    pub sandbox_delay_ms: u32,
}

/// `[events]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct EventSettings {
    pub poll_ms: u64,
    pub retention_seconds: u32,
    pub ring_bytes: usize,
    pub buffer: usize,
    pub shared_execution: bool,
    pub delivery: bool,
}

/// `[retention]`: see `config/default.toml`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct RetentionSettings {
    pub idempotency_key_seconds: u32,
    pub read_notification_seconds: u32,
    pub unread_notification_seconds: u32,
}

/// How nodes hear of each other's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusKind {
    /// What fits: Redis if its address is given, `PostgreSQL` if that is the database, else none.
    Auto,
    /// Not at all: there is one node.
    Memory,
    /// By NOTIFY.
    Postgres,
    /// By Pub/Sub.
    Redis,
}

/// `[bus]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct BusSettings {
    #[serde(deserialize_with = "choice")]
    pub kind: BusKind,
    pub redis_url: String,
    pub redis_ca: PathBuf,
}

/// `[telemetry]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct TelemetrySettings {
    #[serde(deserialize_with = "choice")]
    pub format: LogFormat,
    pub filter: String,
    /// Empty for none.
    pub metrics_listen: String,
}

impl TelemetrySettings {
    /// Where to answer those who run the service; none where the public address does.
    pub fn metrics_listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let text = self.metrics_listen.trim();
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            let rule = "must be an address and a port such as 127.0.0.1:9090, or empty";
            ConfigError(format!("settings: telemetry.metrics_listen {rule}, not {text:?}"))
        })
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Reads the settings from all their sources.
    pub fn load() -> Result<Self, ConfigError> {
        let environment = std::env::var("LANCEWIRE_ENVIRONMENT").unwrap_or_else(|_| "development".to_owned());
        let mut sources = config::Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
        sources = sources.add_source(File::from_str(environment_file(&environment)?, FileFormat::Toml));
        if let Ok(path) = std::env::var("LANCEWIRE_CONFIG") {
            sources = sources.add_source(File::new(&path, FileFormat::Toml).required(true));
        }
        let environment = EnvironmentSource::with_prefix("LANCEWIRE")
            .prefix_separator("_")
            .separator("__")
            .source(Some(variables()))
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("http.allowed_origins")
            .with_list_parse_key("http.own_hosts")
            .with_list_parse_key("http.trusted_proxies");
        Self::build(sources.add_source(environment))
    }

    /// The defaults of an environment with layers of TOML on top, the last one winning, as tests want them.
    pub fn layered(environment: Environment, layers: &[&str]) -> Result<Self, ConfigError> {
        let file = match environment {
            Environment::Development => DEVELOPMENT,
            Environment::Production => PRODUCTION,
        };
        let sources = [DEFAULT, file]
            .into_iter()
            .chain(layers.iter().copied())
            .map(|text| File::from_str(text, FileFormat::Toml));
        Self::build(config::Config::builder().add_source(sources.collect::<Vec<_>>()))
    }

    /// How nodes hear of each other's commits, once `auto` is resolved.
    pub fn bus_kind(&self) -> BusKind {
        match self.bus.kind {
            BusKind::Auto if !self.bus.redis_url.is_empty() => BusKind::Redis,
            BusKind::Auto if self.database.backend() == Backend::Sqlite => BusKind::Memory,
            BusKind::Auto => BusKind::Postgres,
            kind => kind,
        }
    }

    fn build(sources: config::ConfigBuilder<config::builder::DefaultState>) -> Result<Self, ConfigError> {
        let unusable = |error: config::ConfigError| ConfigError(format!("settings: {}", one_line(&error)));
        let config: Self = sources.build().map_err(unusable)?.try_deserialize().map_err(unusable)?;
        config.check()?;
        Ok(config)
    }

    #[expect(clippy::too_many_lines, reason = "one line a setting")]
    fn check(&self) -> Result<(), ConfigError> {
        let money = &self.marketplace;
        let url = &self.database.url;
        require(
            ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme)),
            "database.url",
            "must begin with sqlite: or postgres://",
        )?;
        require(!url.contains(":memory:"), "database.url", "must name a file: readers and the writer share it")?;
        require(
            self.database.backend() != Backend::Sqlite || self.bus_kind() == BusKind::Memory,
            if self.bus.redis_url.is_empty() { "bus.kind" } else { "bus.redis_url" },
            "connects several nodes, and SQLite is one node: leave it out, or set database.url to a PostgreSQL",
        )?;
        require(
            (self.bus_kind() == BusKind::Redis) != self.bus.redis_url.is_empty(),
            "bus.redis_url",
            "must be set, such as redis://host:6379, if bus.kind is redis, and only then",
        )?;
        require(
            self.bus.redis_ca.as_os_str().is_empty() || self.bus.redis_url.starts_with("rediss:"),
            "bus.redis_ca",
            "is of use with TLS only: let bus.redis_url begin with rediss://, or leave it empty",
        )?;
        let replica = &self.database.replica_url;
        let postgres = |url: &str| ["postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme));
        require(
            replica.is_empty() || postgres(replica),
            "database.replica_url",
            "must begin with postgres://, or be empty",
        )?;
        require(
            replica.is_empty() || postgres(url),
            "database.replica_url",
            "needs PostgreSQL in database.url: an SQLite file has no replica; leave it empty",
        )?;
        require(
            (1..=10_000).contains(&self.database.max_connections),
            "database.max_connections",
            "must be between 1 and 10000",
        )?;
        require(
            (1..=100).contains(&self.database.caller_share_percent),
            "database.caller_share_percent",
            "must be between 1 and 100",
        )?;
        require(
            money.currency.len() >= 3 && money.currency.bytes().all(|byte| byte.is_ascii_uppercase()),
            "marketplace.currency",
            "must be an upper-case code such as USD",
        )?;
        require(money.decimals <= 8, "marketplace.decimals", "must be at most 8")?;
        require(
            (1..=i64::MAX / 1_000_000).contains(&money.max_amount_minor),
            "marketplace.max_amount_minor",
            "must be between 1 and 9223372036854",
        )?;
        require(money.fee_basis_points <= 10_000, "marketplace.fee_basis_points", "must be at most 10000")?;
        require(money.live_claims > 0, "marketplace.live_claims", "must be at least 1")?;
        require(self.events.buffer > 0, "events.buffer", "must be at least 1")?;
        require(self.events.poll_ms > 0, "events.poll_ms", "must be at least 1")?;
        let RetentionSettings { idempotency_key_seconds, read_notification_seconds, unread_notification_seconds } =
            self.retention;
        require(
            idempotency_key_seconds >= 3_600,
            "retention.idempotency_key_seconds",
            "must be at least 3600: a client that was cut off repeats its request for a while",
        )?;
        require(
            read_notification_seconds / 2 >= self.events.retention_seconds,
            "retention.read_notification_seconds",
            "must be at least twice events.retention_seconds: the event of a notification leads to it",
        )?;
        require(
            unread_notification_seconds >= read_notification_seconds,
            "retention.unread_notification_seconds",
            "must be at least retention.read_notification_seconds",
        )?;
        require(self.auth.password_parallel > 0, "auth.password_parallel", "must be at least 1")?;
        require(self.auth.access_token_seconds > 0, "auth.access_token_seconds", "must be at least 1")?;
        require(
            self.auth.refresh_token_seconds >= self.auth.access_token_seconds,
            "auth.refresh_token_seconds",
            "must be at least auth.access_token_seconds",
        )?;
        require(
            self.auth.session_seconds >= self.auth.access_token_seconds,
            "auth.session_seconds",
            "must be at least auth.access_token_seconds",
        )?;
        let BudgetSettings { anonymous, signed_in, address } = self.budgets;
        require(
            address == 0 || address >= anonymous.max(signed_in).get(),
            "budgets.address",
            "must be at least budgets.anonymous and budgets.signed_in, since it is above all who call from one address, or 0",
        )?;
        require(self.auth.keys_reload_ms > 0, "auth.keys_reload_ms", "must be at least 1")?;
        require(
            self.http.connections == 0 || self.http.connections >= 16,
            "http.connections",
            "must be at least 16, or 0 for as many as the limit of open files leaves",
        )?;
        require(self.http.head_timeout_ms > 0, "http.head_timeout_ms", "must be at least 1")?;
        self.telemetry.metrics_listen()?;
        let has_key = !self.tls.key.as_os_str().is_empty();
        require(has_key || !self.tls.is_on(), "tls.key", "must be set: tls.certificate is")?;
        require(self.tls.is_on() || !has_key, "tls.certificate", "must be set: tls.key is")?;
        require(self.tls.handshake_timeout_ms > 0, "tls.handshake_timeout_ms", "must be at least 1")?;
        require(self.tls.reload_ms > 0, "tls.reload_ms", "must be at least 1")?;
        self.http.proxies()?;
        for origin in &self.http.allowed_origins {
            let exact = url::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            require(
                origin == "*" || exact,
                "http.allowed_origins",
                &format!("must hold origins such as https://example.com, not {origin:?}"),
            )?;
        }
        for host in self.http.own_hosts() {
            let rule = format!("must hold hosts such as api.example.com or [::1]:4000, not {host:?}");
            require(is_host(&host), "http.own_hosts", &rule)?;
        }
        match self.environment {
            Environment::Development => Ok(()),
            Environment::Production => self.check_production(),
        }
    }

    /// What only development may have.
    fn check_production(&self) -> Result<(), ConfigError> {
        require(
            !self.http.allowed_origins.iter().any(|origin| origin == "*"),
            "http.allowed_origins",
            "must list origins in production, not \"*\"",
        )?;
        require(
            self.payments.provider != PaymentProvider::Sandbox,
            "payments.provider",
            "must not be sandbox in production: it would confirm deposits that nobody paid",
        )?;
        require(
            self.auth.passwords().is_strong(),
            "auth.password_memory_kib",
            "and auth.password_iterations are too small for production: set at least 19456 and 2, or 47104 and 1",
        )?;
        require(
            self.auth.access_token_seconds <= LONGEST_ACCESS_SECONDS,
            "auth.access_token_seconds",
            "must be at most 86400 (a day) in production: a token that was stolen works until its end",
        )?;
        require(
            self.auth.refresh_token_seconds <= LONGEST_REFRESH_SECONDS,
            "auth.refresh_token_seconds",
            "must be at most 31622400 (a year) in production",
        )?;
        require(
            self.auth.session_seconds <= LONGEST_REFRESH_SECONDS,
            "auth.session_seconds",
            "must be at most 31622400 (a year) in production",
        )?;
        Ok(())
    }
}

/// Refuses a setting for which a rule does not hold.
fn require(holds: bool, key: &str, rule: &str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError(format!("settings: {key} {rule}"))) }
}

/// One of several values. By itself the crate would not say which there are.
fn choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(value)?.into_deserializer())
}

fn environment_file(name: &str) -> Result<&'static str, ConfigError> {
    match name {
        "development" => Ok(DEVELOPMENT),
        "production" => Ok(PRODUCTION),
        other => Err(ConfigError(format!(
            "settings: environment (LANCEWIRE_ENVIRONMENT) must be development or production, not {other:?}"
        ))),
    }
}

/// The environment without what only looks like a setting; anything else of our name must be one.
fn variables() -> HashMap<String, String> {
    let texts =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| !NO_SETTINGS.contains(&name.as_str())).collect()
}

fn one_line(error: &impl fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(environment: Environment, overrides: &str) -> String {
        Config::layered(environment, &[overrides]).expect_err("must be refused").to_string()
    }

    #[test]
    fn the_embedded_files_are_usable() {
        for (environment, playground) in [(Environment::Development, true), (Environment::Production, false)] {
            let config = Config::layered(environment, &[]).expect("usable");
            assert_eq!(config.http.playground, playground);
        }
    }

    #[test]
    fn a_bad_setting_is_named_in_one_line() {
        for (overrides, expected) in [
            ("[http]\nlisten = \"nowhere\"", "http.listen"),
            ("[http]\nlissen = \"127.0.0.1:1\"", "lissen"),
            ("[database]\nurl = \"mysql://x\"", "database.url"),
            ("[database]\nmax_connections = \"many\"", "max_connections"),
            ("[database]\ncaller_share_percent = 0", "database.caller_share_percent"),
            ("[database]\ncaller_share_percent = 101", "database.caller_share_percent"),
            ("[database]\nreplica_url = \"postgres://x/y\"", "database.replica_url needs PostgreSQL"),
            ("[database]\nurl = \"postgres://x/y\"\nreplica_url = \"x/y\"", "database.replica_url must begin"),
            ("[database]\nreplica_max_lag_ms = -1", "replica_max_lag_ms"),
            ("[limits]\ndepht = 3", "depht"),
            ("[bus]\nkind = \"postgres\"", "bus.kind"),
            ("[bus]\nredis_url = \"redis://127.0.0.1\"", "bus.redis_url"),
            ("[bus]\nkind = \"kafka\"", "bus.kind"),
            ("[database]\nurl = \"postgres://x/y\"\n[bus]\nkind = \"redis\"", "bus.redis_url"),
            ("[marketplace]\nfee_basis_points = 10001", "fee_basis_points"),
            ("[http]\nallowed_origins = [\"example.com\"]", "allowed_origins"),
            ("[http]\nown_hosts = [\"https://example.com\"]", "http.own_hosts"),
            ("[http]\nown_hosts = [\"a@example.com\"]", "http.own_hosts"),
            ("[retention]\nidempotency_key_seconds = 60", "retention.idempotency_key_seconds"),
            ("[retention]\nread_notification_seconds = 60", "retention.read_notification_seconds"),
            ("[retention]\nunread_notification_seconds = 60", "retention.unread_notification_seconds"),
            ("[http]\nconnections = 1", "http.connections"),
            ("[http]\nconnections_per_address = -1", "connections_per_address"),
            ("[http]\nrequests_per_second = -1", "requests_per_second"),
            ("[auth]\nsession_seconds = 60", "auth.session_seconds"),
            ("[budgets]\naddress = 99999", "budgets.address"),
            ("[telemetry]\nmetrics_listen = \"9090\"", "telemetry.metrics_listen"),
        ] {
            let message = refusal(Environment::Development, overrides);
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_value_that_is_none_of_several_is_told_which_there_are() {
        for (overrides, key, values) in [
            ("environment = \"staging\"", "environment", vec!["development", "production"]),
            ("[http]\nproxy_header = \"via\"", "http.proxy_header", vec!["x-forwarded-for", "forwarded"]),
            ("[payments]\nprovider = \"paypal\"", "payments.provider", vec!["none", "sandbox"]),
            ("[bus]\nkind = \"kafka\"", "bus.kind", vec!["auto", "memory", "postgres", "redis"]),
            ("[bus]\nkind = 3", "bus.kind", vec!["auto", "memory", "postgres", "redis"]),
            ("[telemetry]\nformat = \"xml\"", "telemetry.format", vec!["text", "json"]),
        ] {
            let message = refusal(Environment::Development, overrides);
            assert!(message.contains(&format!("`{key}`")), "{message}");
            assert!(values.iter().all(|value| message.contains(&format!("`{value}`"))), "{message}");
        }
    }

    #[test]
    fn a_list_may_have_blanks_and_nothing_in_it() {
        let networks = "[http]\ntrusted_proxies = [\"10.0.0.0/8\", \" fd00::/8\", \"\"]";
        let config = Config::layered(Environment::Development, &[networks]).expect("usable");
        config.http.proxies().expect("networks");
    }

    #[test]
    fn production_refuses_what_only_development_may_have() {
        assert!(refusal(Environment::Production, "[http]\nallowed_origins = [\"*\"]").contains("allowed_origins"));
        assert!(refusal(Environment::Production, "[payments]\nprovider = \"sandbox\"").contains("payments.provider"));
        for (overrides, named) in [
            ("password_memory_kib = 8", "auth.password_memory_kib"),
            ("password_iterations = 1", "auth.password_memory_kib"),
            ("access_token_seconds = 86401", "auth.access_token_seconds"),
            ("refresh_token_seconds = 4000000000", "auth.refresh_token_seconds"),
            ("session_seconds = 4000000000", "auth.session_seconds"),
        ] {
            let layer = format!("[auth]\n{overrides}");
            Config::layered(Environment::Development, &[&layer]).expect("good enough for development");
            let refused = refusal(Environment::Production, &layer);
            assert!(refused.contains(named), "{refused}");
        }
        let one_pass = "[auth]\npassword_memory_kib = 47104\npassword_iterations = 1";
        Config::layered(Environment::Production, &[one_pass]).expect("as strong");
        assert!(
            refusal(Environment::Development, "[auth]\nrefresh_token_seconds = 60").contains("refresh_token_seconds")
        );
    }
}
