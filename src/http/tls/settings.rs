//! The `[tls]` settings and their check.

use std::path::PathBuf;

use serde::Deserialize;

use crate::settings::{ConfigError, require};

/// `[tls]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct TlsSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub handshake_timeout_ms: u64,
    pub reload_ms: u64,
}

impl TlsSettings {
    /// Whether connections are secured here.
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let has_key = !self.key.as_os_str().is_empty();
        require(has_key || !self.is_on(), "tls.key", "must be set: tls.certificate is")?;
        require(self.is_on() || !has_key, "tls.certificate", "must be set: tls.key is")?;
        require(self.handshake_timeout_ms > 0, "tls.handshake_timeout_ms", "must be at least 1")?;
        require(self.reload_ms > 0, "tls.reload_ms", "must be at least 1")
    }
}
