//! The `[retention]` settings and their check.

use serde::Deserialize;

use crate::settings::{ConfigError, require};

/// `[retention]`: see `config/default.toml`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct RetentionSettings {
    pub idempotency_key_seconds: u32,
    pub read_notification_seconds: u32,
    pub unread_notification_seconds: u32,
}

impl RetentionSettings {
    /// `events_seconds` is how long events are kept.
    pub(crate) fn check(self, events_seconds: u32) -> Result<(), ConfigError> {
        let Self { idempotency_key_seconds, read_notification_seconds, unread_notification_seconds } = self;
        require(
            idempotency_key_seconds >= 3_600,
            "retention.idempotency_key_seconds",
            "must be at least 3600: a client that was cut off repeats its request for a while",
        )?;
        require(
            read_notification_seconds / 2 >= events_seconds,
            "retention.read_notification_seconds",
            "must be at least twice events.retention_seconds: the event of a notification leads to it",
        )?;
        require(
            unread_notification_seconds >= read_notification_seconds,
            "retention.unread_notification_seconds",
            "must be at least retention.read_notification_seconds",
        )
    }
}
