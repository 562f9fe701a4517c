//! Histories that follow from a seed.
//!
//! One thread decides by a seed who acts next, between any two steps of the real use cases on a real `SQLite`, who hangs
//! up in the middle, and when the process is killed. Afterwards the database must be what the rules say, to the cent, the
//! version and the event. The same seed gives the same history, so what was found once can be looked at again.
//!
//! - `market`: use cases ([`lancewire::db::points`] marks where they may be stopped)
//! - `delivery`: tails, hubs and sessions of several nodes, on a log and a bus that go wrong
//! - `faults/*.patch`: mistakes of both to be found; `scripts/sim-faults` puts each into a copy of the sources and says after how
//!   many seeds it is
//!
//! `LANCEWIRE_SIM_SEEDS` says how many seeds are played (default: what `make test` has time for), and
//! `LANCEWIRE_SIM_SEED` which is the first. A seed that has found something goes into [`FOUND`].

#![allow(missing_docs, reason = "names of verbs and stories say what they are")]
#![allow(clippy::large_futures, reason = "a history is one future")]
#![allow(clippy::too_many_lines, reason = "a history is as long as it is")]

mod delivery;
mod market;
#[allow(dead_code, reason = "shared with tests/api, which asks for more of it")]
#[path = "../api/books/model.rs"]
mod model;
mod random;
mod trace;

use std::{
    env,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

/// Seeds that have found a fault, each with what it was: of use cases, and of delivery.
const FOUND: [(u64, &str); 0] = [];
const FOUND_IN_DELIVERY: [(u64, &str); 1] = [(1, "a ping of a node that was behind took a client back")];
/// Seeds of `make test`, and the transactions that they come to at least.
const SEEDS: u64 = 190;
const TRANSACTIONS: u64 = 50_000;
const DELIVERY_SEEDS: u64 = 80;
/// Histories that are played at the same time, each on its own thread and database.
const THREADS: usize = 2;

/// Why a history is wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    /// The last steps.
    pub(crate) trace: String,
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// Plays seeds from the first on, until one fails, and says how many there were and how long they took.
fn sweep<R: Send>(usual: u64, run: fn(u64) -> Result<R, Failure>, story: &str, add: impl Fn(R) + Sync) -> String {
    let first = setting("LANCEWIRE_SIM_SEED").unwrap_or(1);
    let seeds = setting("LANCEWIRE_SIM_SEEDS").unwrap_or(usual);
    let began = Instant::now();
    let (next, failed) = (AtomicU64::new(0), Mutex::new(None::<(u64, Failure)>));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds || failed.lock().expect("whole").is_some() {
                        return;
                    }
                    let seed = first.wrapping_add(at);
                    match run(seed) {
                        Ok(report) => add(report),
                        Err(failure) => {
                            let mut failed = failed.lock().expect("whole");
                            if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                                *failed = Some((seed, failure));
                            }
                            return;
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, failure)) = failed.into_inner().expect("whole") {
        panic!("after {} seeds, {}", seed.wrapping_sub(first) + 1, explain(seed, &failure, story));
    }
    format!("seeds {first} to {}, {:.1} s", first.wrapping_add(seeds) - 1, began.elapsed().as_secs_f64())
}

fn explain(seed: u64, Failure { why, trace }: &Failure, story: &str) -> String {
    format!(
        "seed {seed}: {why}\nthe last steps:\n{trace}\
         again: LANCEWIRE_SIM_SEED={seed} LANCEWIRE_SIM_SEEDS=1 cargo test --test sim {story}\n\
         mended, the seed goes into FOUND or FOUND_IN_DELIVERY in tests/sim/main.rs"
    )
}

#[test]
fn people_do_what_they_like_and_everything_adds_up() {
    let sum = Mutex::new(market::Report::default());
    let swept = sweep(SEEDS, market::run, "people", |report| {
        let mut sum = sum.lock().expect("whole");
        sum.deeds += report.deeds;
        sum.transactions += report.transactions;
        sum.commits += report.commits;
        sum.dropped += report.dropped;
        sum.killed += report.killed;
    });
    let market::Report { deeds, transactions, commits, dropped, killed, .. } = sum.into_inner().expect("whole");
    println!(
        "{swept}: {deeds} requests, {transactions} transactions ({commits} commits), {dropped} requests dropped, \
         {killed} processes killed"
    );
    let is_usual = setting("LANCEWIRE_SIM_SEEDS").is_none();
    assert!(!is_usual || transactions >= TRANSACTIONS, "{transactions} transactions are too few");
}

#[test]
fn subscribers_get_what_the_log_has_for_them() {
    let sum = Mutex::new(delivery::Report::default());
    let swept = sweep(DELIVERY_SEEDS, delivery::run, "subscribers", |report| {
        let mut sum = sum.lock().expect("whole");
        sum.events += report.events;
        sum.deliveries += report.deliveries;
        sum.connections += report.connections;
        sum.nodes += report.nodes;
        sum.failed += report.failed;
        sum.expired += report.expired;
    });
    let delivery::Report { events, deliveries, connections, nodes, failed, expired, .. } =
        sum.into_inner().expect("whole");
    println!(
        "{swept}: {events} events, {deliveries} deliveries, {connections} connections to {nodes} nodes, of which {failed} \
         gave up; {expired} lists read anew"
    );
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for (seed, what) in FOUND {
        if let Err(failure) = market::run(seed) {
            panic!("{what}: {}", explain(seed, &failure, "people"));
        }
    }
    for (seed, what) in FOUND_IN_DELIVERY {
        if let Err(failure) = delivery::run(seed) {
            panic!("{what}: {}", explain(seed, &failure, "subscribers"));
        }
    }
}

/// Plays a history, and says its hash.
type Hash<'a> = &'a dyn Fn(u64) -> Result<String, Failure>;

#[test]
fn the_same_seed_gives_the_same_history() {
    let market = |seed| market::run(seed).map(|report| report.hash);
    let delivery = |seed| delivery::run(seed).map(|report| report.hash);
    let stories: [(&str, Hash<'_>); 2] = [("people", &market), ("subscribers", &delivery)];
    for (story, run) in stories {
        let hash = |seed| run(seed).unwrap_or_else(|failure| panic!("{}", explain(seed, &failure, story)));
        let hashes = [71, 72, 71, 71].map(hash);
        assert_eq!((&hashes[2], &hashes[3]), (&hashes[0], &hashes[0]), "the same seed, the same history");
        assert_ne!(hashes[0], hashes[1], "another seed, another history");
    }
}

/// So that `scripts/sim-faults` finds what it is to put in. What it takes to find them is no part of `make test`.
#[test]
fn the_faults_to_be_found_fit_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/sim/faults");
    let mut patches: Vec<_> =
        folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    patches.retain(|path| path.extension().is_some_and(|ending| ending == "patch"));
    patches.sort();
    assert!(patches.len() >= 20, "{} faults", patches.len());
    // Each after those before it: they are built together.
    let checked = Command::new("git").args(["apply", "--check"]).args(&patches).current_dir(root).output();
    let checked = checked.expect("git is there");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
