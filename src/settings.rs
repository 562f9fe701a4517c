//! What the settings of all parts have in common: how one is refused, and the two environments.
//!
//! Each part declares its own section and checks it in its `settings.rs`; [`config`](crate::config) reads all of them and
//! calls the checks. Leaf: knows nobody.

use serde::{Deserialize, Deserializer, de::IntoDeserializer};

/// A setting that cannot be used, in one line that names the setting and the fix.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// One line that names the setting and the fix.
    pub const fn new(line: String) -> Self {
        Self(line)
    }

    /// The setting `key`, and the rule that it breaks, which reads on after the key.
    pub fn of(key: &str, rule: &str) -> Self {
        Self(format!("settings: {key} {rule}"))
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

/// Refuses the setting `key` unless its rule holds.
pub(crate) fn require(holds: bool, key: &str, rule: &str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::of(key, rule)) }
}

/// Reads one of several values. serde alone would not name the values that are allowed.
pub(crate) fn choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(value)?.into_deserializer())
}

/// A list as the environment gives it: without blanks around its members, and without empty ones.
pub(crate) fn trimmed(list: &[String]) -> Vec<String> {
    let members = list.iter().map(|member| member.trim());
    members.filter(|member| !member.is_empty()).map(ToOwned::to_owned).collect()
}
