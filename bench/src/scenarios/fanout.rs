//! Every event to every subscriber, at a steady rate: the comparison.
//!
//! All servers of a size run side by side and are measured in turns. The speed of a machine that is shared
//! changes within minutes by more than what is to be seen, and so it changes for all of them.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Bench, skip_or};
use crate::{
    lancewire::{Lancewire, Metrics},
    load::{Load, Pace, Until, histogram::Histogram, record::Tally},
    process::cpu,
    report::{count, figure, millis, ratio},
    servers::{Kind, Target},
};

/// Subscribers and events a second.
const SIZES: [(usize, f64); 3] = [(1_000, 10.0), (2_000, 50.0), (100, 200.0)];

/// Jobs that are changed in turn, each over a connection of its own.
const JOBS: usize = 8;

/// How long a server is measured until it is the next one's turn, in seconds.
const TURN: u64 = 2;

/// Events that flow before a turn is measured: what lay still is warm again, and the kernel no longer acknowledges each
/// packet at once, as it does with the first 16 after a pause.
const LEAD: f64 = 20.0;

/// What one server did.
#[derive(Debug)]
pub struct Run {
    pub tally: Tally,
    pub latency: Histogram,
    requests: u64,
    elapsed: Duration,
    /// CPU of the server.
    cpu: Duration,
    /// CPU of the generator.
    generator: Duration,
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

    /// Share of its core that the generator used.
    pub fn busy(&self) -> f64 {
        self.generator.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// Events a second that were sent.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Deliveries a second.
    pub fn deliveries(&self) -> f64 {
        self.tally.delivered as f64 / self.elapsed.as_secs_f64()
    }

    fn and(mut self, other: Self) -> Self {
        self.tally += other.tally;
        self.latency.add(&other.latency);
        self.requests += other.requests;
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
        self.generator += other.generator;
        self
    }
}

/// A server with its subscribers, and what it has done in its turns.
struct Contender {
    kind: Kind,
    target: Target,
    load: Load,
    turns: Vec<Run>,
    /// Its own counts before the first turn.
    metrics: Option<Metrics>,
}

/// What one server did in all its turns.
struct Row {
    kind: Kind,
    run: Run,
    /// The cost of its cheapest and of its dearest turn.
    range: (f64, f64),
    /// The server's own p50 and p99 from commit to socket, if it tells.
    own: Option<(Duration, Duration)>,
}

/// The three sizes for all servers.
pub fn run(bench: &mut Bench) -> Result<()> {
    bench.report.section(
        "Fan-out",
        "Every change of a job to every subscriber. The servers take turns of two seconds. CPU is in microseconds a delivery, \
         which is seconds a million; \"turns\" are the cheapest and the dearest.",
    );
    for (subscribers, rate) in SIZES {
        let subscribers = bench.options.scaled(subscribers);
        bench.report.note(&format!("**{} subscribers, {rate} events a second**", count(subscribers as u64)));
        let mut contenders: Vec<Contender> = Vec::new();
        for kind in bench.options.servers(&Kind::ALL) {
            let contender = Contender::ready(bench, kind, subscribers, rate);
            contenders.extend(skip_or(bench, kind, contender)?);
            contenders.iter_mut().try_for_each(Contender::attend)?;
        }
        for turn in 0..usize::try_from(bench.options.seconds.div_ceil(TURN))? * contenders.len() {
            let place = turn % contenders.len();
            let contender = &mut contenders[place];
            contender.turn(rate).context(contender.kind.name())?;
            contenders.iter_mut().try_for_each(Contender::attend)?;
        }
        let rows: Result<Vec<_>> = contenders.into_iter().map(Contender::row).collect();
        table(bench, &rows?);
    }
    Ok(())
}

impl Contender {
    /// Starts a server and connects its subscribers.
    fn ready(bench: &mut Bench, kind: Kind, subscribers: usize, rate: f64) -> Result<Self> {
        let home = bench.folder()?;
        let mut target = Target::start(kind, JOBS, &bench.options, &home)?;
        let mut load = target.load()?;
        load.connect(target.subscribers(subscribers), Duration::from_secs(60))?;
        load.warm(Pace::PerSecond(rate), bench.options.warm_up())?;
        let metrics = target.lancewire().map(Lancewire::metrics).transpose()?;
        Ok(Self { kind, target, load, turns: Vec::new(), metrics })
    }

    /// Answers the pings of a server that waited for its turn and would take its subscribers for dead; it may have closed
    /// the connections on which nothing was published.
    fn attend(&mut self) -> Result<()> {
        self.load.publish_to(self.target.process().address)?;
        self.load.idle(Duration::from_millis(20))
    }

    fn turn(&mut self, rate: f64) -> Result<()> {
        self.load.drive(Pace::PerSecond(rate), Until::Elapsed(Duration::from_secs_f64(LEAD / rate)))?;
        self.load.settle(Duration::from_secs(10))?;
        self.turns.push(measure(&mut self.target, &mut self.load, rate, Duration::from_secs(TURN))?);
        Ok(())
    }

    fn row(mut self) -> Result<Row> {
        let own = match (self.metrics, self.target.lancewire()) {
            (Some(earlier), Some(lancewire)) => {
                let grown = lancewire.metrics()?.since(&earlier);
                let quantile = |share| grown.quantile("lancewire_commit_to_socket_seconds", share);
                quantile(0.5).zip(quantile(0.99))
            }
            _ => None,
        };
        let costs = || self.turns.iter().map(Run::cost);
        let range = (costs().fold(f64::INFINITY, f64::min), costs().fold(0.0, f64::max));
        let run = self.turns.into_iter().reduce(Run::and).context("no turn")?;
        Ok(Row { kind: self.kind, run, range, own })
    }
}

/// Publishes at a rate to all who are connected, for some time.
pub fn measure(target: &mut Target, load: &mut Load, rate: f64, time: Duration) -> Result<Run> {
    load.begin();
    let generator = cpu(std::process::id())?;
    let before = target.process().cpu()?;
    let sent = load.drive(Pace::PerSecond(rate), Until::Elapsed(time))?;
    load.settle(Duration::from_secs(10))?;
    let after = target.process().cpu()?;
    let generator = cpu(std::process::id())? - generator;
    // What comes twice comes late.
    load.idle(Duration::from_millis(200))?;
    Ok(Run {
        tally: load.tally(),
        latency: load.latency().clone(),
        requests: sent.requests,
        elapsed: sent.elapsed,
        cpu: after - before,
        generator,
    })
}

fn table(bench: &mut Bench, rows: &[Row]) {
    let cost = |wanted| rows.iter().find(|row| row.kind == wanted).map(|row| row.run.cost());
    let (raw, socket_io) = (cost(Kind::Raw), cost(Kind::SocketIo));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|Row { kind, run, range, .. }| {
            let quantile = |share| millis(run.latency.quantile(share));
            vec![
                kind.label().to_owned(),
                figure(run.cost()),
                format!("{} to {}", figure(range.0), figure(range.1)),
                ratio(run.cost(), raw),
                ratio(run.cost(), socket_io),
                quantile(0.5),
                quantile(0.95),
                quantile(0.99),
                millis(run.latency.max()),
                count(run.tally.delivered),
                faults(&run.tally),
                figure(run.rate()),
                format!("{:.0} %", run.busy() * 100.0),
            ]
        })
        .collect();
    let head = [
        "",
        "CPU us",
        "turns",
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
    bench.report.table(&head, &cells);
    for row in rows {
        if let Some((p50, p99)) = row.own {
            bench.report.note(&format!(
                "{}: by its own count, commit to socket p50 <= {} ms, p99 <= {} ms (bounds of its histogram's buckets).",
                row.kind.label(),
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
