//! The `[telemetry]` settings and their check.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::settings::{ConfigError, choice};

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

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl TelemetrySettings {
    /// Where to answer those who run the service; none where the public address does.
    pub fn metrics_listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let text = self.metrics_listen.trim();
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            let rule = format!("must be an address and a port such as 127.0.0.1:9090, or empty, not {text:?}");
            ConfigError::of("telemetry.metrics_listen", &rule)
        })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.metrics_listen().map(drop)
    }
}
