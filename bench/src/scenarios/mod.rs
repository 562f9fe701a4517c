//! What is measured, one scenario a file.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Result;

use crate::{
    lancewire::{Lancewire, Metrics, Settings},
    options::Options,
    report::{Report, figure},
    servers::Kind,
};

pub mod ceiling;
pub mod cluster;
pub mod fanout;
pub mod filters;
pub mod growth;
pub mod idle;
pub mod list;
pub mod money;
pub mod mutations;
pub mod private;
pub mod reconnect;

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

    /// Starts lancewire on a fresh database.
    pub fn lancewire(&mut self, settings: &Settings) -> Result<Lancewire> {
        let home = self.folder()?;
        Lancewire::start(&self.options, settings, &home)
    }
}

/// Whether a scenario that only lancewire can play is wanted.
pub fn lone_lancewire(bench: &Bench) -> bool {
    !bench.options.servers(&[Kind::Lancewire]).is_empty()
}

/// Database statements a second, if this lancewire counts them.
pub fn statements(grown: &Metrics, time: Duration) -> String {
    let sum = grown.sum("lancewire_database_statements_total", "");
    sum.map_or_else(|| "not counted".to_owned(), |sum| figure(sum / time.as_secs_f64()))
}

/// What came of one server: a setting that this lancewire does not know yet leaves its row out, any other failure ends
/// the run.
pub fn skip_or<T>(bench: &mut Bench, kind: Kind, outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if kind == Kind::Stock && format!("{error:#}").contains("settings:") => {
            bench.report.note(&format!("{}: this build has no such setting.", kind.label()));
            Ok(None)
        }
        Err(error) => Err(error.context(kind.name())),
    }
}
