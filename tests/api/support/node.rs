//! Programs in `tests/js`: the reference implementations of the protocols, run by Node against a server of ours.

use std::{path::PathBuf, process::Stdio};

use tokio::process::Command;

/// `node tests/js/<script> <url>`, ended with the test.
///
/// # Panics
///
/// When its packages are not installed: a test that needs them never passes without.
pub fn script(script: &str, url: &str) -> Command {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/js");
    assert!(folder.join("node_modules").exists(), "tests/js/node_modules is missing: run `make prepare-tests`");
    let mut command = Command::new("node");
    command.arg(folder.join(script)).arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}
