//! What an operator may set about sockets.
//!
//! Every bound of the session has a key here. A zero that would disable a limit or stop a timer does not parse, except
//! for the age, which is optional. Times are milliseconds. `config/default.toml` documents the keys for operators;
//! `Default` holds the same values for a server that is built without a file.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use serde::Deserialize;

/// Limits and timers of one WebSocket, and of the sockets of one user or address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketSettings {
    /// From the upgrade to the acknowledgement of `connection_init`; later is closed with 4408.
    pub init_timeout_ms: NonZeroU64,
    /// Between two pings of the server; a peer that was silent for two of them is dropped.
    pub ping_interval_ms: NonZeroU64,
    /// The largest message a client may send; a larger one is closed with 4400 before it is read into memory.
    pub max_message_bytes: NonZeroU32,
    /// Messages a client may send in a minute, and at once after a pause of a minute; more are closed with 1013.
    pub messages_per_minute: NonZeroU32,
    /// Operations that may run on one socket; the next one is answered by an `error` with code `RATE_LIMITED`.
    pub operations_per_socket: NonZeroU32,
    /// Open sockets of one signed-in user; the next one is closed with 1013 after its `connection_init`.
    pub sockets_per_user: NonZeroU32,
    /// Open sockets of one IPv4 address or one IPv6 /64 network; the next one is closed with 1013 after the upgrade, or
    /// refused with 429 before it where several are being closed already.
    pub sockets_per_address: NonZeroU32,
    /// Bytes of results that may wait for one peer. A result that is larger by itself ends its operation.
    pub queue_bytes: NonZeroU32,
    /// How long a peer for whom something waits may take nothing before 1013, and how long that then waits for it.
    pub write_timeout_ms: NonZeroU64,
    /// How old a socket or a stream may get before it is told to go (1012), give or take a tenth; 0 for any age.
    pub max_age_ms: u64,
    /// Over how long sockets are told to go (1012) when the process stops, and how long a mutation in flight may hold
    /// its own socket open after that.
    pub drain_ms: NonZeroU64,
}

impl Default for SocketSettings {
    fn default() -> Self {
        const fn u32(value: u32) -> NonZeroU32 {
            NonZeroU32::new(value).expect("a literal above zero")
        }
        const fn u64(value: u64) -> NonZeroU64 {
            NonZeroU64::new(value).expect("a literal above zero")
        }
        const {
            Self {
                init_timeout_ms: u64(10_000),
                ping_interval_ms: u64(15_000),
                max_message_bytes: u32(64 * 1024),
                messages_per_minute: u32(600),
                operations_per_socket: u32(100),
                sockets_per_user: u32(20),
                sockets_per_address: u32(100),
                queue_bytes: u32(1024 * 1024),
                write_timeout_ms: u64(30_000),
                max_age_ms: 21_600_000,
                drain_ms: u64(10_000),
            }
        }
    }
}

impl SocketSettings {
    pub(super) const fn init_timeout(&self) -> Duration {
        Duration::from_millis(self.init_timeout_ms.get())
    }

    pub(super) const fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms.get())
    }

    pub(super) const fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms.get())
    }

    pub(super) const fn max_age(&self) -> Option<Duration> {
        match self.max_age_ms {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    pub(super) const fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms.get())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_keys_missing_keys_and_zeros_are_refused() {
        let good = json!({
            "init_timeout_ms": 10_000, "ping_interval_ms": 15_000, "max_message_bytes": 65_536,
            "messages_per_minute": 600, "operations_per_socket": 100, "sockets_per_user": 20,
            "sockets_per_address": 100, "queue_bytes": 1_048_576, "write_timeout_ms": 30_000, "max_age_ms": 21_600_000,
            "drain_ms": 10_000,
        });
        let parse = serde_json::from_value::<SocketSettings>;
        assert_eq!(parse(good.clone()).expect("parses"), SocketSettings::default());
        for (key, value) in [("ping_interval_ms", json!(0)), ("unknown", json!(1)), ("drain_ms", json!(null))] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(parse(bad).is_err(), "{key}");
        }
    }
}
