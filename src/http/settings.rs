//! The `[http]` settings and their check.

use std::{net::SocketAddr, num::NonZeroU32};

use serde::Deserialize;

use super::{
    client_address::{Proxies, ProxyHeader},
    connections::{ConnectionLimits, ceiling},
    origins::{Origins, is_host},
};
use crate::settings::{ConfigError, Environment, choice, require, trimmed};

/// How many connections there may be where the settings do not say.
const MOST_CONNECTIONS: usize = 100_000;
/// How many connections one address may have where the settings do not say: so many for each socket, and some more.
const CONNECTIONS_OF_A_SOCKET: NonZeroU32 = NonZeroU32::new(2).expect("a literal above zero");
const MORE_THAN_SOCKETS: u32 = 56;

/// `[http]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct HttpSettings {
    pub listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    pub own_hosts: Vec<String>,
    pub trusted_proxies: Vec<String>,
    #[serde(deserialize_with = "choice")]
    pub proxy_header: ProxyHeader,
    pub playground: bool,
    pub connections: u32,
    pub connections_per_address: u32,
    pub requests_per_second: u32,
    pub head_timeout_ms: u64,
    pub max_body_bytes: usize,
    pub operation_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub drain_delay_ms: u64,
}

impl HttpSettings {
    /// The pages that may call.
    pub fn origins(&self) -> Origins {
        Origins::new(&self.allowed_origins, &trimmed(&self.own_hosts))
    }

    /// The proxies whose word about the client's address is taken.
    pub fn proxies(&self) -> Result<Proxies, ConfigError> {
        Proxies::new(&trimmed(&self.trusted_proxies), self.proxy_header).map_err(|wrong| {
            let rule = format!("must hold networks such as 10.0.0.0/8 or addresses, not {wrong:?}");
            ConfigError::of("http.trusted_proxies", &rule)
        })
    }

    /// How many connections there may be where the system allows `files` open files, of which `databases` connections to
    /// databases need some, and each address may have so many sockets.
    pub fn connection_limits(&self, files: u64, databases: usize, sockets_per_address: NonZeroU32) -> ConnectionLimits {
        let wanted = match self.connections {
            0 => MOST_CONNECTIONS,
            connections => usize::try_from(connections).unwrap_or(usize::MAX),
        };
        // A socket is a connection, and its page makes some more.
        let per_address = NonZeroU32::new(self.connections_per_address)
            .unwrap_or(sockets_per_address.saturating_mul(CONNECTIONS_OF_A_SOCKET).saturating_add(MORE_THAN_SOCKETS));
        ConnectionLimits { total: ceiling(wanted, files, databases), per_address }
    }

    pub(crate) fn check(&self, environment: Environment) -> Result<(), ConfigError> {
        require(
            self.connections == 0 || self.connections >= 16,
            "http.connections",
            "must be at least 16, or 0 for as many as the limit of open files leaves",
        )?;
        require(self.head_timeout_ms > 0, "http.head_timeout_ms", "must be at least 1")?;
        self.proxies()?;
        for origin in &self.allowed_origins {
            let exact = url::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            require(
                origin == "*" || exact,
                "http.allowed_origins",
                &format!("must hold origins such as https://example.com, not {origin:?}"),
            )?;
        }
        for host in trimmed(&self.own_hosts) {
            let rule = format!("must hold hosts such as api.example.com or [::1]:4000, not {host:?}");
            require(is_host(&host), "http.own_hosts", &rule)?;
        }
        require(
            environment == Environment::Development || !self.allowed_origins.iter().any(|origin| origin == "*"),
            "http.allowed_origins",
            "must list origins in production, not \"*\"",
        )
    }
}
