//! All clients are cut off, miss something, and reconnect at once.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::json;

use super::{Bench, fanout::faults, lone_lancewire, statements};
use crate::{
    lancewire::Settings,
    load::{
        Load, Numbered, Pace, Subscriber, Until,
        record::Hears,
        socket::{Opening, Protocol},
    },
    report::{count, figure, grouped},
};

const CLIENTS: usize = 10_000;

/// Events while nobody is connected.
const MISSED: u64 = 20;

const JOBS: usize = 8;
const ACCOUNTS: usize = 50;

const QUERY: &str = "subscription($after: String) { jobUpdated(after: $after) { id cursor job { id version title } } }";

/// Lancewire alone: the peers cannot resume.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    let clients = bench.options.scaled(CLIENTS);
    bench.report.section(
        "Reconnect",
        &format!(
            "{} clients are cut off, miss {MISSED} events, and come back with the cursor of their last event; then some \
             more events go out. Time until every one of them has got all it missed.",
            count(clients as u64)
        ),
    );
    let mut lancewire = bench.lancewire(&Settings::of(&bench.options))?;
    let requests = lancewire.change_requests(JOBS)?;
    let tokens = lancewire.accounts(ACCOUNTS)?;
    let mut load = Load::new(lancewire.process.address, Protocol::Graphql, Numbered::Mark, JOBS, requests)?;
    load.keep_cursors();
    let subscriber = |place: usize, after: Option<&str>| Subscriber {
        opening: Opening {
            token: Some(Rc::clone(&tokens[place % ACCOUNTS])),
            subscriptions: Rc::new([json!({ "query": QUERY, "variables": { "after": after } }).to_string()]),
        },
        hears: Hears::Every,
    };
    load.connect((0..clients).map(|place| subscriber(place, None)), Duration::from_secs(120))?;
    load.warm(Pace::PerSecond(5.0), Duration::from_secs(1))?;

    let cursors = load.cursors();
    load.cut();
    load.drive(Pace::Flat, Until::Sent(MISSED))?;
    // Long enough for the server to see that they have gone.
    load.idle(Duration::from_secs(2))?;
    let metrics = lancewire.metrics()?;
    let cpu = lancewire.process.cpu()?;
    let began = Instant::now();
    let returning: Vec<Subscriber> =
        cursors.iter().enumerate().map(|(place, after)| subscriber(place, Some(after))).collect();
    load.connect(returning, Duration::from_secs(120))?;
    let connected = began.elapsed();
    load.settle(Duration::from_secs(60))?;
    let resumed = began.elapsed();
    let cpu = lancewire.process.cpu()? - cpu;
    let grown = lancewire.metrics()?.since(&metrics);
    let missed = load.tally();
    load.drive(Pace::PerSecond(5.0), Until::Sent(MISSED))?;
    load.settle(Duration::from_secs(20))?;
    load.idle(Duration::from_millis(500))?;

    let replayed = |from| grown.sum("lancewire_replayed_events_total", from).map_or_else(|| "-".to_owned(), grouped);
    let head = [
        "",
        "seconds to all connected",
        "to all resumed",
        "CPU ms a client",
        "replayed from memory",
        "from the log",
        "database statements",
        "lost / doubled / reordered / astray",
        "with events after",
    ];
    let row = vec![
        "**lancewire**".to_owned(),
        figure(connected.as_secs_f64()),
        figure(resumed.as_secs_f64()),
        format!("{:.3}", cpu.as_secs_f64() * 1e3 / clients as f64),
        replayed("ring"),
        replayed("log"),
        statements(&grown, Duration::from_secs(1)),
        faults(&missed),
        faults(&load.tally()),
    ];
    bench.report.table(&head, &[row]);
    Ok(())
}
