//! Many connections that are signed in, subscribed and idle.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bench, fanout::faults, skip_or, statements};
use crate::{
    lancewire::Lancewire,
    load::{Pace, Until},
    report::{count, figure},
    servers::{Kind, Target},
};

const CONNECTIONS: usize = 10_000;

/// Those that are worth a look beside lancewire.
const SERVERS: [Kind; 5] = [Kind::Lancewire, Kind::Raw, Kind::SocketIo, Kind::Stock, Kind::Mercurius];

/// One row a server.
pub fn run(bench: &mut Bench) -> Result<()> {
    let connections = bench.options.scaled(CONNECTIONS);
    bench.report.section(
        "Idle connections",
        &format!(
            "{} connections with one subscription each, on lancewire signed in; `connect` is the server's CPU for \
             connect, upgrade, init, acknowledgement and subscribe. At the end one event goes to all of them.",
            count(connections as u64)
        ),
    );
    let mut rows = Vec::new();
    for kind in bench.options.servers(&SERVERS) {
        let row = one(bench, kind, connections);
        rows.extend(skip_or(bench, kind, row)?);
    }
    let head = [
        "",
        "KiB each",
        "RSS before MiB",
        "after",
        "connect CPU ms",
        "connects/s",
        "idle CPU % of a core",
        "database statements/s",
        "lost / doubled / reordered / astray",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(bench: &mut Bench, kind: Kind, connections: usize) -> Result<Vec<String>> {
    const MIB: f64 = 1024.0 * 1024.0;
    let home = bench.folder()?;
    let mut target = Target::start(kind, 1, &bench.options, &home)?;
    let mut load = target.load()?;
    // A few first, so that what a server makes once is not counted.
    load.connect(target.subscribers(20), Duration::from_secs(20))?;
    load.warm(Pace::PerSecond(10.0), Duration::from_secs(1))?;
    let (memory, cpu) = (target.process().memory()?, target.process().cpu()?);
    let began = Instant::now();
    load.connect(target.subscribers(connections), Duration::from_secs(120))?;
    let took = began.elapsed();
    load.idle(Duration::from_millis(500))?;
    let connected = target.process().cpu()?;
    let after = target.process().memory()?;

    let metrics = target.lancewire().map(Lancewire::metrics).transpose()?;
    let before_idle = target.process().cpu()?;
    load.idle(bench.options.time())?;
    let idle = target.process().cpu()? - before_idle;
    let queries = match (metrics, target.lancewire()) {
        (Some(earlier), Some(lancewire)) => statements(&lancewire.metrics()?.since(&earlier), bench.options.time()),
        _ => "-".to_owned(),
    };

    load.begin();
    load.drive(Pace::Flat, Until::Sent(1))?;
    load.settle(Duration::from_secs(10))?;
    Ok(vec![
        kind.label().to_owned(),
        figure(after.saturating_sub(memory) as f64 / connections as f64 / 1024.0),
        figure(memory as f64 / MIB),
        figure(after as f64 / MIB),
        format!("{:.3}", (connected - cpu).as_secs_f64() * 1e3 / connections as f64),
        figure(connections as f64 / took.as_secs_f64()),
        figure(idle.as_secs_f64() / bench.options.time().as_secs_f64() * 100.0),
        queries,
        faults(&load.tally()),
    ])
}
