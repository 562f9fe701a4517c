//! Reads the settings.
//!
//! Each part of the house declares its section and its check in its own `settings.rs`; here they are put together. Each
//! key stands with its default and its reason in `config/default.toml`, which is embedded in the binary, as are the files
//! of the two environments. Over these come a file named by `LANCEWIRE_CONFIG` and then the environment. What cannot be
//! used stops the start with one line that names the key.

use std::{collections::HashMap, fmt};

use config::{Environment as EnvironmentSource, File, FileFormat};
use serde::Deserialize;

use crate::{
    auth::settings::AuthSettings,
    claims::settings::MarketplaceSettings,
    db::{Backend, DatabaseSettings},
    events::EventSettings,
    files::settings::FileSettings,
    graphql::limits::Limits,
    http::{settings::HttpSettings, tls::TlsSettings, websocket::SocketSettings},
    limits::BudgetSettings,
    realtime::{AskingSettings, BusKind, BusSettings},
    retention::RetentionSettings,
    search::SearchSettings,
    settings::choice,
    telemetry::TelemetrySettings,
    wallet::settings::PaymentSettings,
};

pub use crate::settings::{ConfigError, Environment};

const DEFAULT: &str = include_str!("../config/default.toml");
const DEVELOPMENT: &str = include_str!("../config/development.toml");
const PRODUCTION: &str = include_str!("../config/production.toml");

/// Variables of our name that are no settings: the place of a file, a secret of the command line, a matter of the
/// tests.
const NO_SETTINGS: [&str; 3] = ["LANCEWIRE_CONFIG", "LANCEWIRE_ADMIN_PASSWORD", "LANCEWIRE_TEST_POSTGRES_URL"];

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
    /// `[files]`
    pub files: FileSettings,
    /// `[events]`
    pub events: EventSettings,
    /// `[retention]`
    pub retention: RetentionSettings,
    /// `[search]`
    pub search: SearchSettings,
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

    /// How nodes are notified of each other's commits, once `auto` is resolved.
    pub fn bus_kind(&self) -> BusKind {
        self.bus.kind(self.is_embedded())
    }

    fn build(sources: config::ConfigBuilder<config::builder::DefaultState>) -> Result<Self, ConfigError> {
        let unusable = |error: config::ConfigError| ConfigError::new(format!("settings: {}", one_line(&error)));
        let config: Self = sources.build().map_err(unusable)?.try_deserialize().map_err(unusable)?;
        config.check()?;
        Ok(config)
    }

    /// Whether the database is one that a single node uses.
    fn is_embedded(&self) -> bool {
        self.database.backend() == Backend::Sqlite
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.database.check()?;
        self.bus.check(self.is_embedded())?;
        self.marketplace.check()?;
        self.payments.check(self.environment)?;
        self.files.check()?;
        self.events.check()?;
        self.retention.check(self.events.retention_seconds)?;
        self.auth.check(self.environment)?;
        self.budgets.check()?;
        self.telemetry.check()?;
        self.tls.check()?;
        self.http.check(self.environment)
    }
}

fn environment_file(name: &str) -> Result<&'static str, ConfigError> {
    match name {
        "development" => Ok(DEVELOPMENT),
        "production" => Ok(PRODUCTION),
        other => Err(ConfigError::new(format!(
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
            assert_eq!((config.http.playground, config.http.stock_mount), (playground, playground));
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
            ("[files]\nmax_bytes = 0", "files.max_bytes"),
            ("[files]\nbytes_per_user = 10", "files.max_bytes"),
            ("[files]\ndownload_link_seconds = 301", "files.download_link_seconds"),
            ("[files]\nupload_link_seconds = 0", "files.upload_link_seconds"),
            ("[files]\nunused_seconds = 600", "files.unused_seconds"),
            ("[files]\npublic_url = \"example.com\"", "files.public_url"),
            ("[files]\nscanner = \"clamd\"", "files.scanner"),
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
