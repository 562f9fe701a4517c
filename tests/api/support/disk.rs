//! A disk so small that it can be filled: a file system in memory that one process and its children see.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
};

/// Mounts a file system of so many MiB with some options on a folder of the working directory, then runs a program.
const MOUNT: &str = r#"mount -t tmpfs -o "size=$1m,$2" tmpfs "$3" && shift 3 && exec "$@""#;

/// How to get one, if we may.
#[derive(Clone, Copy, Debug)]
pub struct SmallDisk {
    /// `unshare`, with what our rights need.
    unshare: &'static [&'static str],
    mebibytes: u32,
}

/// What fills a disk. Gone with this value.
#[derive(Debug)]
pub struct Ballast(PathBuf);

impl SmallDisk {
    /// A disk of so many MiB; none where only an administrator may have one.
    pub fn of(mebibytes: u32) -> Option<Self> {
        let ways: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
        ways.into_iter().map(|unshare| Self { unshare, mebibytes }).find(|disk| {
            let folder = tempfile::tempdir().expect("a temporary directory");
            let tried = disk.command(".", "mode=755").arg("true").current_dir(&folder).output();
            tried.is_ok_and(|output| output.status.success())
        })
    }

    /// Runs what is added to it with the disk on a folder of its working directory.
    pub fn command(&self, folder: &str, options: &str) -> Command {
        let mut command = Command::new("/usr/bin/env");
        command.arg("unshare").args(self.unshare).args(["/bin/sh", "-c", MOUNT, "disk"]);
        command.arg(self.mebibytes.to_string()).args([options, folder]);
        command
    }
}

impl Ballast {
    /// Fills the disk below this file to the last byte.
    pub fn fill(path: PathBuf) -> Self {
        let mut file = File::create(&path).expect("a new file");
        let ballast = Self(path);
        let mut chunk = vec![1; 1 << 20];
        while !chunk.is_empty() {
            if file.write_all(&chunk).is_err() {
                chunk.truncate(chunk.len() / 2);
            }
        }
        ballast
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // The disk may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}
