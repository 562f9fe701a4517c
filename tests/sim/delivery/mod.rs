//! Delivery, with everything around it gone wrong.
//!
//! Real tails and hubs of several nodes on a log in memory ([`lancewire::events::LogSource`]), on tokio's paused clock:
//! nothing waits for anything outside, so time goes on only when everybody sleeps, and how long each sleeps follows from
//! the seed. The log answers late, from an older state, with errors, or not at all for a while, and forgets what is old:
//! often before a node has come to it, which must give up then. The bus loses, doubles and swaps what it carries. Readers
//! are slow; nodes end at once, or send their sockets home first; sessions are gone from one moment to the next.
//!
//! **What must be so.** What a session has got is what the log has for it from where it began: nothing lost, doubled, out
//! of order, or somebody else's, by whatever ping or event it has gone on. Once nothing goes wrong any more everybody gets
//! everything, and the cursors of those who are concerned by nothing come to the end of the log too. A session is told that
//! something is missing where something is, and nowhere else.
//!
//! **Who is believed.** On the bus a node that is wrong itself speaks of positions that nobody has given out, and of events
//! of another history. What no node has said does not come so far: it ends at the seal below
//! [`Bus`](lancewire::realtime::Bus), and `tests/api/bus/strangers.rs` forges bytes there. An event that follows the right
//! one has come through the seal, so it is one of the log.
//!
//! Not here: a log that loses what it had. That a node then gives the log another identity is SQL, and has a story
//! of its own (`tests/api/bus.rs`).

mod bus;
mod log;
mod play;
mod session;

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::runtime::Builder;

pub(crate) use play::Report;

use crate::{Failure, random::Random, trace::Trace};

/// The one source of choices and the one record of a history. Clones share both.
#[derive(Clone)]
pub(crate) struct Chance(Arc<Mutex<(Random, Trace)>>);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new((Random::new(seed), Trace::default()))))
    }

    fn below(&self, bound: usize) -> usize {
        self.0.lock().expect("whole").0.below(bound)
    }

    fn once_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Lets up to so many milliseconds pass.
    async fn pause(&self, most: usize) {
        let millis = self.below(most + 1);
        tokio::time::sleep(Duration::from_millis(u64::try_from(millis).expect("64 bits"))).await;
    }

    fn line(&self, line: String) {
        self.0.lock().expect("whole").1.line(line);
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chance").finish_non_exhaustive()
    }
}

/// Plays the history of a seed, on this thread.
pub(crate) fn run(seed: u64) -> Result<Report, Failure> {
    let outside = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (db, time) = outside.block_on(play::unused(seed));
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let chance = Chance::new(seed);
    let played =
        runtime.block_on(AssertUnwindSafe(play::play(chance.clone(), seed, (db.clone(), time))).catch_unwind());
    drop(runtime);
    outside.block_on(db.close());
    let trace = chance.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.clone();
    match played {
        Ok(Ok(report)) => Ok(Report { hash: trace.hash(), ..report }),
        Ok(Err(why)) => Err(Failure { why, trace: trace.last() }),
        Err(_) => Err(Failure { why: "a panic, see above".into(), trace: trace.last() }),
    }
}
