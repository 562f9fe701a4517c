//! A node dies with all its clients, which come back to the other one at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::{Resource, getrlimit};

use super::Pair;
use crate::{
    cluster::Cluster,
    load::{Pace, Subscriber, Until, record::Hears},
    options::Bus,
    report::{count, figure, grouped},
    scenarios::{Bench, fanout::faults, lone_lancewire},
};

const CLIENTS: usize = 20_000;

/// Files that a node or the generator has open beside a socket for each client.
const OTHER_FILES: u64 = 400;

/// Events while nobody is connected.
const MISSED: u64 = 20;

const JOBS: usize = 4;
const ACCOUNTS: usize = 50;

/// A row for each bus.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let allowed = usize::try_from(files.saturating_sub(OTHER_FILES))?;
    let clients = bench.options.scaled(CLIENTS).min(allowed);
    bench.report.section(
        "Cluster: a node dies",
        &format!(
            "Node B with {} signed-in clients is killed; {MISSED} events later all of them come to node A with their \
             cursors. Node A looks at the session of each, which is a statement; what they missed comes from its ring.",
            count(clients as u64)
        ),
    );
    if clients < bench.options.scaled(CLIENTS) {
        bench
            .report
            .note(&format!("A process may have {} files open here, so there are no more clients.", count(files)));
    }
    let mut rows = Vec::new();
    for bus in bench.options.buses.clone() {
        rows.push(one(bench, bus, clients)?);
    }
    let head = [
        "",
        "seconds to all connected",
        "to all resumed",
        "events replayed from the ring",
        "from the log",
        "statements a client",
        "CPU ms a client",
        "lost / doubled / reordered / astray",
        "with events after",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(bench: &mut Bench, bus: Bus, clients: usize) -> Result<Vec<String>> {
    let mut pair = Pair::start(bench, bus, &Cluster::settings(), JOBS, ACCOUNTS)?;
    let mut load = pair.load()?;
    load.keep_cursors();
    load.connect(pair.subscribers(0..clients), Duration::from_secs(120))?;
    load.warm(Pace::PerSecond(2.0), Duration::from_secs(1))?;

    pair.cluster.node(1).process.kill()?;
    let cursors = load.cursors();
    load.cut();
    load.drive(Pace::Flat, Until::Sent(MISSED))?;
    load.subscribe_to(pair.cluster.node(0).process.address);
    let opening = pair.opening();
    let back = cursors.iter().enumerate().map(|(place, after)| {
        let opening = opening(place, Some(after.as_str()));
        Subscriber { opening, hears: Hears::Every }
    });
    let back: Vec<Subscriber> = back.collect();
    let metrics = pair.cluster.node(0).metrics()?;
    let cpu = pair.cluster.node(0).process.cpu()?;
    let began = Instant::now();
    load.connect(back, Duration::from_secs(120))?;
    let connected = began.elapsed();
    load.settle(Duration::from_secs(60))?;
    let resumed = began.elapsed();
    let cpu = pair.cluster.node(0).process.cpu()? - cpu;
    let grown = pair.cluster.node(0).metrics()?.since(&metrics);
    let missed = load.tally();
    load.drive(Pace::PerSecond(2.0), Until::Sent(4))?;
    load.settle(Duration::from_secs(20))?;
    load.idle(Duration::from_millis(500))?;

    let replayed = |from| grown.sum("lancewire_replayed_events_total", from).map_or_else(|| "0".to_owned(), grouped);
    let statements = grown.sum("lancewire_database_statements_total", "").unwrap_or(f64::NAN);
    Ok(vec![
        bus.label().to_owned(),
        figure(connected.as_secs_f64()),
        figure(resumed.as_secs_f64()),
        replayed("ring"),
        replayed("log"),
        format!("{:.3}", statements / clients as f64),
        format!("{:.3}", cpu.as_secs_f64() * 1e3 / clients as f64),
        faults(&missed),
        faults(&load.tally()),
    ])
}
