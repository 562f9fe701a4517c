//! Every event to every subscriber, at a steady rate: the comparison.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, skip_or};
use crate::{
    lancewire::Lancewire,
    load::{Load, Pace, Until, record::Tally},
    process::cpu,
    report::{count, figure, millis, ratio},
    servers::{Kind, Target},
};

/// Subscribers and events a second.
const SIZES: [(usize, f64); 3] = [(1_000, 10.0), (2_000, 50.0), (100, 200.0)];

/// Jobs that are changed in turn, each over a connection of its own.
const JOBS: usize = 8;

/// What one server did.
pub struct Run {
    pub tally: Tally,
    /// Events a second that were sent.
    pub rate: f64,
    elapsed: Duration,
    pub latency: [Duration; 4],
    /// CPU of the server.
    cpu: Duration,
    /// Share of its core that the generator used.
    pub busy: f64,
    /// The server's own p50 and p99 from commit to socket, if it tells.
    pub own: Option<(Duration, Duration)>,
}

impl Run {
    /// CPU microseconds a delivery, which is CPU seconds a million.
    pub fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.delivered as f64
    }

    /// Share of its core that the server used.
    pub fn load(&self) -> f64 {
        self.cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// Deliveries a second.
    pub fn deliveries(&self) -> f64 {
        self.tally.delivered as f64 / self.elapsed.as_secs_f64()
    }
}

/// The three sizes for all servers.
pub fn run(bench: &mut Bench) -> Result<()> {
    bench.report.section(
        "Fan-out",
        "Every change of a job to every subscriber. CPU is in microseconds a delivery, which is seconds a million.",
    );
    for (subscribers, rate) in SIZES {
        let subscribers = bench.options.scaled(subscribers);
        bench.report.note(&format!("**{} subscribers, {rate} events a second**", count(subscribers as u64)));
        let mut runs = Vec::new();
        for kind in bench.options.servers(&Kind::ALL) {
            let run = compare(bench, kind, subscribers, rate);
            runs.extend(skip_or(bench, kind, run)?.map(|run| (kind, run)));
        }
        table(bench, &runs);
    }
    Ok(())
}

fn compare(bench: &mut Bench, kind: Kind, subscribers: usize, rate: f64) -> Result<Run> {
    let home = bench.folder()?;
    let mut target = Target::start(kind, JOBS, &bench.options, &home)?;
    let mut load = target.load()?;
    load.connect(target.subscribers(subscribers), Duration::from_secs(60))?;
    load.warm(Pace::PerSecond(rate), bench.options.warm_up())?;
    measure(&mut target, &mut load, rate, bench.options.time())
}

/// Publishes at a rate to all who are connected, for some time.
pub fn measure(target: &mut Target, load: &mut Load, rate: f64, time: Duration) -> Result<Run> {
    let metrics = target.lancewire().map(Lancewire::metrics).transpose()?;
    load.begin();
    let generator = cpu(std::process::id())?;
    let before = target.process().cpu()?;
    let sent = load.drive(Pace::PerSecond(rate), Until::Elapsed(time))?;
    load.settle(Duration::from_secs(10))?;
    let after = target.process().cpu()?;
    let busy = (cpu(std::process::id())? - generator).as_secs_f64() / sent.elapsed.as_secs_f64();
    // What comes twice comes late.
    load.idle(Duration::from_millis(200))?;
    let own = match (metrics, target.lancewire()) {
        (Some(earlier), Some(lancewire)) => {
            let grown = lancewire.metrics()?.since(&earlier);
            let quantile = |share| grown.quantile("lancewire_commit_to_socket_seconds", share);
            quantile(0.5).zip(quantile(0.99))
        }
        _ => None,
    };
    let latency = load.latency();
    Ok(Run {
        tally: load.tally(),
        rate: sent.requests as f64 / sent.elapsed.as_secs_f64(),
        elapsed: sent.elapsed,
        latency: [latency.quantile(0.5), latency.quantile(0.95), latency.quantile(0.99), latency.max()],
        cpu: after - before,
        busy,
        own,
    })
}

fn table(bench: &mut Bench, runs: &[(Kind, Run)]) {
    let cost = |wanted| runs.iter().find(|(kind, _)| *kind == wanted).map(|(_, run)| run.cost());
    let (raw, socket_io) = (cost(Kind::Raw), cost(Kind::SocketIo));
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|(kind, run)| {
            let [p50, p95, p99, max] = run.latency.map(millis);
            vec![
                kind.label().to_owned(),
                figure(run.cost()),
                ratio(run.cost(), raw),
                ratio(run.cost(), socket_io),
                p50,
                p95,
                p99,
                max,
                count(run.tally.delivered),
                faults(&run.tally),
                figure(run.rate),
                format!("{:.0} %", run.busy * 100.0),
            ]
        })
        .collect();
    let head = [
        "",
        "CPU us",
        "to raw",
        "to Socket.IO",
        "p50 ms",
        "p95",
        "p99",
        "max",
        "delivered",
        "lost / doubled / reordered / astray",
        "events/s",
        "generator busy",
    ];
    bench.report.table(&head, &rows);
    for (kind, run) in runs {
        if let Some((p50, p99)) = run.own {
            bench.report.note(&format!(
                "{}: by its own count, commit to socket p50 <= {} ms, p99 <= {} ms (bounds of its histogram's buckets).",
                kind.label(),
                millis(p50),
                millis(p99)
            ));
        }
    }
}

/// The four counts that should be zero.
pub fn faults(tally: &Tally) -> String {
    format!("{} / {} / {} / {}", tally.lost, tally.doubled, tally.reordered, tally.astray)
}
