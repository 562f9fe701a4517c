//! The `[database]` settings and their check.

use serde::Deserialize;

use super::Backend;
use crate::settings::{ConfigError, require};

/// The `[database]` settings; `config/default.toml` documents each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `sqlite:` and a path, or `postgres://`.
    pub url: String,
    /// Whether the start brings the schema up to date, or refuses an older one.
    pub migrate: bool,
    /// Connections of the `PostgreSQL` pool, or readers on `SQLite`.
    pub max_connections: u32,
    /// How many of a hundred connections one caller may hold at once; one at least.
    pub caller_share_percent: u8,
    /// How long a request waits for a connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long a statement may run, in milliseconds (`PostgreSQL`).
    pub statement_timeout_ms: u64,
    /// How long a statement waits for a row lock, in milliseconds.
    pub lock_timeout_ms: u64,
    /// A streaming replica of `url` for public reads, or empty.
    pub replica_url: String,
    /// How old an answer of the replica may be, in milliseconds; 0 leaves it out.
    pub replica_max_lag_ms: u64,
}

impl DatabaseSettings {
    /// Which of the two databases `url` names.
    pub fn backend(&self) -> Backend {
        if self.url.starts_with("sqlite:") { Backend::Sqlite } else { Backend::Postgres }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let is_postgres = |url: &str| ["postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme));
        let (url, replica) = (&self.url, &self.replica_url);
        require(
            url.starts_with("sqlite:") || is_postgres(url),
            "database.url",
            "must begin with sqlite: or postgres://",
        )?;
        require(!url.contains(":memory:"), "database.url", "must name a file: readers and the writer share it")?;
        require(
            replica.is_empty() || is_postgres(replica),
            "database.replica_url",
            "must begin with postgres://, or be empty",
        )?;
        require(
            replica.is_empty() || is_postgres(url),
            "database.replica_url",
            "needs PostgreSQL in database.url: an SQLite file has no replica; leave it empty",
        )?;
        require(
            (1..=10_000).contains(&self.max_connections),
            "database.max_connections",
            "must be between 1 and 10000",
        )?;
        require(
            (1..=100).contains(&self.caller_share_percent),
            "database.caller_share_percent",
            "must be between 1 and 100",
        )
    }
}
