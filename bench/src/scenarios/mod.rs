//! What is measured, one scenario a file.

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::{options::Options, report::Report, servers::Kind};

pub mod fanout;

/// What the scenarios share.
pub struct Bench {
    pub options: Options,
    pub report: Report,
    home: PathBuf,
    folders: usize,
}

impl Bench {
    /// Nothing measured yet; databases and logs go below `home`.
    pub fn new(options: Options, home: PathBuf) -> Self {
        Self { options, report: Report::default(), home, folders: 0 }
    }

    /// A new folder for one server's data.
    pub fn folder(&mut self) -> Result<PathBuf> {
        self.folders += 1;
        let folder = self.home.join(self.folders.to_string());
        fs::create_dir(&folder)?;
        Ok(folder)
    }
}

/// What came of one server: a setting that this lancewire does not know yet leaves its row out, any other failure ends
/// the run.
pub fn skip_or<T>(bench: &mut Bench, kind: Kind, outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if kind == Kind::Unshared && format!("{error:#}").contains("settings:") => {
            bench.report.note(&format!("{}: this build has no such setting.", kind.label()));
            Ok(None)
        }
        Err(error) => Err(error.context(kind.name())),
    }
}
