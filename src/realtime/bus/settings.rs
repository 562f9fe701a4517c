//! The `[bus]` settings and their check.

use std::path::PathBuf;

use serde::Deserialize;

use crate::settings::{ConfigError, choice, require};

/// How nodes are notified of each other's commits.
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

impl BusSettings {
    /// The kind with `auto` resolved. `embedded` says that the database is one that a single node uses.
    pub fn kind(&self, embedded: bool) -> BusKind {
        match self.kind {
            BusKind::Auto if !self.redis_url.is_empty() => BusKind::Redis,
            BusKind::Auto if embedded => BusKind::Memory,
            BusKind::Auto => BusKind::Postgres,
            kind => kind,
        }
    }

    pub(crate) fn check(&self, embedded: bool) -> Result<(), ConfigError> {
        let kind = self.kind(embedded);
        require(
            !embedded || kind == BusKind::Memory,
            if self.redis_url.is_empty() { "bus.kind" } else { "bus.redis_url" },
            "connects several nodes, and SQLite is one node: leave it out, or set database.url to a PostgreSQL",
        )?;
        require(
            (kind == BusKind::Redis) != self.redis_url.is_empty(),
            "bus.redis_url",
            "must be set, such as redis://host:6379, if bus.kind is redis, and only then",
        )?;
        require(
            self.redis_ca.as_os_str().is_empty() || self.redis_url.starts_with("rediss:"),
            "bus.redis_ca",
            "is of use with TLS only: let bus.redis_url begin with rediss://, or leave it empty",
        )
    }
}
