//! The `[search]` settings.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// `[search]`: see `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented where users read it: config/default.toml")]
pub struct SearchSettings {
    pub enabled: bool,
    pub folder: String,
}

impl SearchSettings {
    /// Where the index of a node is that uses this database.
    pub fn folder(&self, database: &str) -> PathBuf {
        if !self.folder.is_empty() {
            return self.folder.clone().into();
        }
        match database.strip_prefix("sqlite:") {
            Some(file) => {
                let file = file.trim_start_matches("//").split('?').next().unwrap_or_default();
                let mut name = Path::new(file).as_os_str().to_owned();
                name.push(".search");
                name.into()
            }
            None => std::env::temp_dir().join("lancewire-search"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_beside_the_file_unless_it_is_named() {
        let folder = |folder: &str, url: &str| SearchSettings { enabled: true, folder: folder.to_owned() }.folder(url);
        assert_eq!(folder("", "sqlite:///var/lib/a.db?mode=rwc"), Path::new("/var/lib/a.db.search"));
        assert_eq!(folder("", "sqlite:a.db"), Path::new("a.db.search"));
        assert_eq!(folder("x", "sqlite:a.db"), Path::new("x"));
        assert!(folder("", "postgres://x/y").ends_with("lancewire-search"));
    }
}
