//! What a domain proves of its tables when `lancewire verify` asks.
//!
//! Each domain implements [`Part`] in its `verify.rs`; [`verify`](crate::verify) calls all of them on one
//! snapshot and knows none of their tables. Knows the database and the log.

use sea_orm::prelude::async_trait::async_trait;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    db::{Backend, DbTransaction},
    error::InternalError,
    events::{EventKind, NewEvent},
};

/// Rows that are named of each invariant; how many more there are is not said.
pub const MOST: usize = 1_000;

/// What a check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What should hold, after its number in the project's list of invariants.
    pub invariant: &'static str,
    /// The rows that break it, in words, at most [`MOST`]; none if it holds.
    pub broken: Vec<String>,
}

/// What was found, and what an operator should know beside it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One for each invariant.
    pub findings: Vec<Finding>,
    /// Lines to keep: the last seals, and what could not be compared.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.broken.is_empty())
    }
}

/// What the events of a kind tell. One that cannot be read is wrong.
pub fn told<'a, T: DeserializeOwned>(
    events: &'a [NewEvent],
    kind: EventKind,
    wrong: &mut Vec<String>,
) -> Vec<(&'a NewEvent, T)> {
    let mut told = Vec::new();
    for event in events.iter().filter(|event| event.kind == kind) {
        match serde_json::from_str(&event.payload) {
            Ok(payload) => told.push((event, payload)),
            Err(error) => wrong.push(format!("{}: cannot be read: {error}", Uuid::from(event.id))),
        }
    }
    told
}

/// Called with what is looked at.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// A domain's share of the proof. All of it reads one snapshot and writes nothing.
#[async_trait]
pub trait Part: Sync {
    /// Invariants, each with the query for what breaks it: rows of `subject` (an id or NULL) and `detail` (a text). The
    /// words that `verify` replaces are `{true}`, `{false}`, `{nobody}` and `{forgotten}`.
    fn checks(&self) -> Vec<(&'static str, String)>;

    /// What [`Part::events_agree`] proves; none if the part records no events.
    fn agreement(&self) -> Option<&'static str> {
        None
    }

    /// Compares those of these events that are the part's own with the rows that they are about, and says in `wrong` what
    /// differs. Called for each page of the log, oldest first.
    async fn events_agree(
        &self,
        _snapshot: &DbTransaction,
        _events: &[NewEvent],
        _wrong: &mut Vec<String>,
    ) -> Result<(), InternalError> {
        Ok(())
    }

    /// What no query shows, such as a chain of hashes that is computed anew.
    async fn examine(
        &self,
        _snapshot: &DbTransaction,
        _backend: Backend,
        _report: &mut Report,
        _progress: Progress<'_>,
    ) -> Result<(), InternalError> {
        Ok(())
    }
}

/// Bytes as they are shown.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}
