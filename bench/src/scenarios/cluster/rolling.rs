//! Both nodes are restarted, one after the other, while events go on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Pair, both, millis};
use crate::{
    cluster::Cluster,
    load::{Load, Pace, Until},
    options::Bus,
    report::{count, figure},
    scenarios::{Bench, fanout::faults, lone_lancewire},
};

const CLIENTS: usize = 2_000;

/// Events a second.
const RATE: f64 = 20.0;

const JOBS: usize = 4;
const ACCOUNTS: usize = 50;

/// How long a node may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A row for each bus.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    let clients = bench.options.scaled(CLIENTS).max(2);
    bench.report.section(
        "Cluster: a rolling restart",
        &format!(
            "{} clients, half of them on each node, {RATE} events a second. Each node in turn gets SIGTERM, sends its \
             clients home with 1012 over `sockets.drain_ms` (10 s), ends and is started again. A client comes back at once \
             to the node that runs, with the cursor of its last event. Mutations go to the node that stays: a load \
             balancer sees readiness fail.",
            count(clients as u64)
        ),
    );
    let mut rows = Vec::new();
    for bus in bench.options.buses.clone() {
        rows.push(one(bench, bus, clients)?);
    }
    let head = [
        "",
        "sent home",
        "back within 30 s",
        "away p50 / p99 ms",
        "longest",
        "a node's end, seconds",
        "events",
        "delivered",
        "lost / doubled / reordered / astray",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(bench: &mut Bench, bus: Bus, clients: usize) -> Result<Vec<String>> {
    let mut pair = Pair::start(bench, bus, &Cluster::settings(), JOBS, ACCOUNTS)?;
    let mut load = pair.load()?;
    let addresses = [0, 1].map(|node| pair.cluster.node(node).process.address);
    load.keep_cursors();
    for (node, places) in [(0, 0..clients / 2), (1, clients / 2..clients)] {
        load.subscribe_to(addresses[node]);
        load.connect(pair.subscribers(places), Duration::from_secs(60))?;
    }
    load.warm(Pace::PerSecond(RATE), Duration::from_secs(1))?;
    let opening = pair.opening();
    load.come_back(move |place, after| opening(place, Some(after)));
    let (mut events, mut ends) = (0, Vec::new());
    for leaving in [0, 1] {
        let staying = addresses[1 - leaving];
        load.subscribe_to(staying);
        load.publish_to(staying)?;
        let began = Instant::now();
        pair.cluster.node(leaving).process.ask_to_end()?;
        while pair.cluster.node(leaving).process.is_running() {
            ensure!(began.elapsed() < PATIENCE, "a node does not end");
            events += slice(&mut load)?;
        }
        ends.push(began.elapsed().as_secs_f64());
        pair.cluster.start_again(leaving)?;
        for _ in 0..4 {
            events += slice(&mut load)?;
        }
    }
    load.settle(Duration::from_secs(30))?;
    load.idle(Duration::from_millis(500))?;
    let (absences, away) = load.absences();
    let sent_home = absences.count() + away as u64;
    let back = absences.within(Duration::from_secs(30));
    Ok(vec![
        bus.label().to_owned(),
        count(sent_home),
        format!("{:.2} %", back as f64 / sent_home as f64 * 100.0),
        both(millis(absences.quantile(0.5)), millis(absences.quantile(0.99))),
        figure(millis(absences.max())),
        both(ends[0], ends[1]),
        count(events),
        count(load.tally().delivered),
        faults(&load.tally()),
    ])
}

/// Publishes for a moment.
fn slice(load: &mut Load) -> Result<u64> {
    Ok(load.drive(Pace::PerSecond(RATE), Until::Elapsed(Duration::from_millis(250)))?.requests)
}
