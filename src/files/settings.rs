//! The `[files]` settings and their check.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::settings::{ConfigError, require};

/// The longest life of a link to a file's bytes, in seconds.
const LONGEST_DOWNLOAD: u32 = 300;
/// The longest life of a link to upload by, in seconds.
const LONGEST_UPLOAD: u32 = 3_600;
/// The largest file that `File.byteSize` can say.
const LARGEST: u32 = 2_147_483_647;

/// `[files]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct FileSettings {
    pub folder: String,
    pub public_url: String,
    pub max_bytes: u32,
    pub bytes_per_user: u64,
    pub files_per_user: u32,
    pub uploads_per_user: u32,
    pub transfers: u32,
    pub upload_link_seconds: u32,
    pub download_link_seconds: u32,
    pub transfer_timeout_ms: u64,
    pub min_bytes_per_second: u32,
    pub unused_seconds: u32,
    pub scanner: String,
    pub scan_timeout_ms: u64,
}

impl FileSettings {
    /// Where the bytes are; none where files are not taken.
    pub fn folder(&self, database: &str) -> Option<PathBuf> {
        if !self.folder.is_empty() {
            return Some(self.folder.clone().into());
        }
        // Several nodes on a PostgreSQL would each look into a folder of their own.
        let file = database.strip_prefix("sqlite:")?;
        let file = file.trim_start_matches("//").split('?').next().unwrap_or_default();
        let mut name = Path::new(file).as_os_str().to_owned();
        name.push(".files");
        Some(name.into())
    }

    /// How links begin: without a slash at the end.
    pub fn base(&self, listen: SocketAddr, is_secured: bool) -> String {
        if !self.public_url.is_empty() {
            return self.public_url.trim_end_matches('/').to_owned();
        }
        let scheme = if is_secured { "https" } else { "http" };
        if listen.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", listen.port())
        } else {
            format!("{scheme}://{listen}")
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let is_web = |url: &str| {
            url::Url::parse(url).is_ok_and(|url| {
                ["http", "https"].contains(&url.scheme()) && url.query().is_none() && url.fragment().is_none()
            })
        };
        require(
            self.public_url.is_empty() || is_web(&self.public_url),
            "files.public_url",
            "must be where clients reach this server, such as https://api.example.com",
        )?;
        require(
            (1..=LARGEST).contains(&self.max_bytes) && u64::from(self.max_bytes) <= self.bytes_per_user,
            "files.max_bytes",
            "must be between 1 and 2147483647, and at most files.bytes_per_user",
        )?;
        require(
            i64::try_from(self.bytes_per_user).is_ok_and(|bytes| bytes <= i64::MAX / 2),
            "files.bytes_per_user",
            "must be at most 4611686018427387903",
        )?;
        require(self.min_bytes_per_second > 0, "files.min_bytes_per_second", "must be at least 1")?;
        require(self.transfers > 0, "files.transfers", "must be at least 1")?;
        require(self.uploads_per_user > 0, "files.uploads_per_user", "must be at least 1")?;
        require(
            (1..=LONGEST_UPLOAD).contains(&self.upload_link_seconds),
            "files.upload_link_seconds",
            "must be between 1 and 3600",
        )?;
        require(
            (2..=LONGEST_DOWNLOAD).contains(&self.download_link_seconds),
            "files.download_link_seconds",
            "must be between 2 and 300: a link cannot be revoked",
        )?;
        require(
            (1..=3_600_000).contains(&self.transfer_timeout_ms),
            "files.transfer_timeout_ms",
            "must be between 1 and 3600000",
        )?;
        require(
            (1..=600_000).contains(&self.scan_timeout_ms),
            "files.scan_timeout_ms",
            "must be between 1 and 600000",
        )?;
        require(
            u64::from(self.unused_seconds)
                > u64::from(self.upload_link_seconds) + (self.transfer_timeout_ms + self.scan_timeout_ms) / 1_000,
            "files.unused_seconds",
            "must be more than an upload may take: files.upload_link_seconds, files.transfer_timeout_ms and \
             files.scan_timeout_ms together",
        )?;
        require(
            self.scanner.is_empty() || self.scanner.starts_with("tcp:") || self.scanner.starts_with("unix:"),
            "files.scanner",
            "must be tcp:host:port or unix:/path of a clamd, or empty",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn settings(layer: &str) -> FileSettings {
        Config::layered(Environment::Development, &[&format!("[files]\n{layer}")]).expect("usable").files
    }

    #[test]
    fn the_folder_is_beside_the_file_unless_it_is_named() {
        let none = settings("");
        assert_eq!(none.folder("sqlite:///var/lib/a.db?mode=rwc").as_deref(), Some(Path::new("/var/lib/a.db.files")));
        assert_eq!(none.folder("postgres://x/y"), None, "nodes would have folders of their own");
        assert_eq!(settings("folder = \"x\"").folder("postgres://x/y").as_deref(), Some(Path::new("x")));
    }

    #[test]
    fn links_begin_where_clients_reach_the_server() {
        let listen = |text: &str| text.parse().expect("an address");
        assert_eq!(settings("").base(listen("127.0.0.1:4000"), false), "http://127.0.0.1:4000");
        assert_eq!(settings("").base(listen("0.0.0.0:443"), true), "https://localhost:443");
        let named = settings("public_url = \"https://api.example.com/\"");
        assert_eq!(named.base(listen("127.0.0.1:4000"), false), "https://api.example.com");
    }
}
