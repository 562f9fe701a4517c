//! The use cases, interleaved.
//!
//! - [`world`]: a process of the server on a database of its own
//! - [`stage`]: runs one use case from point to point
//! - [`play`]: the scheduler, which chooses by its seed
//! - [`oracle`]: what must have happened

mod oracle;
mod play;
mod stage;
mod world;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};

use crate::Failure;

pub(crate) use play::Report;
pub(crate) use world::{Template, start};

/// One thread, and nothing else that could be first.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Plays the history of a seed, on this thread.
pub(crate) fn run(seed: u64) -> Result<Report, Failure> {
    Template::get();
    runtime().block_on(async {
        let played = AssertUnwindSafe(play::play(seed)).catch_unwind().await;
        played.unwrap_or_else(|_| Err(Failure { why: "a panic, see above".into(), trace: String::new() }))
    })
}
