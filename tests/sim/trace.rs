//! What happened, step by step: a hash of all of it, and the last lines to read.

use std::{collections::VecDeque, fmt::Write};

use sha2::{Digest, Sha256};

/// Lines that are kept to be read.
const KEPT: usize = 60;

#[derive(Clone, Default)]
pub(crate) struct Trace {
    hash: Sha256,
    last: VecDeque<String>,
}

impl Trace {
    pub(crate) fn line(&mut self, line: String) {
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(crate) fn hash(&self) -> String {
        let hash = self.hash.clone().finalize();
        hash.iter().take(8).fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a text grows");
            text
        })
    }

    pub(crate) fn last(&self) -> String {
        self.last.iter().fold(String::new(), |text, line| text + "  " + line + "\n")
    }
}
