//! The `[auth]` settings and their check.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    keys::KeyPolicy, passwords::PasswordSettings, rotation::KeySettings, sessions::SessionLifetimes,
    tokens::TokenSettings,
};
use crate::settings::{ConfigError, Environment, require};

/// How long tokens may be good in production, in seconds: an access token a day, a refresh token a year.
const LONGEST_ACCESS_SECONDS: u64 = 86_400;
const LONGEST_REFRESH_SECONDS: u64 = 366 * 86_400;

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

    /// Where the keys of tokens are. Development makes one if there is none.
    pub fn keys(&self, environment: Environment) -> KeySettings {
        KeySettings {
            dir: self.keys_dir.clone(),
            signing_kid: Some(self.signing_kid.clone()).filter(|kid| !kid.is_empty()),
            policy: match environment {
                Environment::Development => KeyPolicy::CreateIfMissing,
                Environment::Production => KeyPolicy::Require,
            },
            reload: Duration::from_millis(self.keys_reload_ms),
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

    pub(crate) fn check(&self, environment: Environment) -> Result<(), ConfigError> {
        require(self.password_parallel > 0, "auth.password_parallel", "must be at least 1")?;
        require(self.access_token_seconds > 0, "auth.access_token_seconds", "must be at least 1")?;
        require(
            self.refresh_token_seconds >= self.access_token_seconds,
            "auth.refresh_token_seconds",
            "must be at least auth.access_token_seconds",
        )?;
        require(
            self.session_seconds >= self.access_token_seconds,
            "auth.session_seconds",
            "must be at least auth.access_token_seconds",
        )?;
        require(self.keys_reload_ms > 0, "auth.keys_reload_ms", "must be at least 1")?;
        match environment {
            Environment::Development => Ok(()),
            Environment::Production => self.check_production(),
        }
    }

    /// What only development may have.
    fn check_production(&self) -> Result<(), ConfigError> {
        require(
            self.passwords().is_strong(),
            "auth.password_memory_kib",
            "and auth.password_iterations are too small for production: set at least 19456 and 2, or 47104 and 1",
        )?;
        require(
            self.access_token_seconds <= LONGEST_ACCESS_SECONDS,
            "auth.access_token_seconds",
            "must be at most 86400 (a day) in production: a token that was stolen works until its end",
        )?;
        require(
            self.refresh_token_seconds <= LONGEST_REFRESH_SECONDS,
            "auth.refresh_token_seconds",
            "must be at most 31622400 (a year) in production",
        )?;
        require(
            self.session_seconds <= LONGEST_REFRESH_SECONDS,
            "auth.session_seconds",
            "must be at most 31622400 (a year) in production",
        )
    }
}
