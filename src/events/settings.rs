//! The `[events]` settings and their check.

use serde::Deserialize;

use crate::settings::{ConfigError, require};

/// `[events]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct EventSettings {
    pub poll_ms: u64,
    pub retention_seconds: u32,
    pub ring_bytes: usize,
    pub buffer: usize,
    pub broadcast: usize,
}

impl EventSettings {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        require(self.buffer > 0, "events.buffer", "must be at least 1")?;
        require(self.broadcast > 0, "events.broadcast", "must be at least 1")?;
        require(self.poll_ms > 0, "events.poll_ms", "must be at least 1")
    }
}
