//! What delivery to subscribers takes from the mutations.

use std::time::Duration;

use anyhow::Result;

use super::{Pair, both, millis};
use crate::{
    cluster::Cluster,
    load::{Load, Pace, Until},
    options::Bus,
    report::{figure, grouped},
    scenarios::{Bench, fanout::faults, lone_lancewire},
};

const JOBS: usize = 16;
const SUBSCRIBERS: usize = 10;

/// Stretches of each kind, taking turns, so that what else the machine does meets all of them alike.
const ROUNDS: u32 = 4;

/// A row for each bus.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    bench.report.section(
        "Cluster: mutations with subscribers",
        &format!(
            "`updateJob` on node A over {JOBS} connections, each sending as soon as it is answered, with \
             {SUBSCRIBERS} sockets on node B; against two nodes without subscribers, which number and read the events \
             all the same. Both pairs run; {ROUNDS} stretches each, taking turns. PostgreSQL and the nodes share the \
             cores, so whatever delivery uses the mutations lack."
        ),
    );
    let mut rows = Vec::new();
    for bus in bench.options.buses.clone() {
        rows.push(one(bench, bus)?);
    }
    let head = [
        "",
        "mutations/s without",
        "with",
        "with / without",
        "answered p50 / p99 ms without",
        "with",
        "CPU ms a mutation without: A / B / PostgreSQL / Redis",
        "with",
        "deliveries/s",
        "lost / doubled / reordered / astray",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

/// What was done in all stretches of one kind.
#[derive(Default)]
struct Done {
    requests: u64,
    elapsed: Duration,
    answers: Vec<(Duration, Duration)>,
    /// As [`Cluster::cpu`] has it.
    cpu: Vec<Duration>,
}

impl Done {
    fn drive(&mut self, cluster: &Cluster, load: &mut Load, time: Duration) -> Result<()> {
        load.drive(Pace::Flat, Until::Elapsed(time / 10))?;
        let before = cluster.cpu()?;
        let sent = load.drive(Pace::Flat, Until::Elapsed(time))?;
        let after = cluster.cpu()?;
        self.cpu.resize(before.len(), Duration::ZERO);
        for (total, (before, after)) in self.cpu.iter_mut().zip(before.into_iter().zip(after)) {
            *total += after.saturating_sub(before);
        }
        self.requests += sent.requests;
        self.elapsed += sent.elapsed;
        self.answers.push((sent.answers.quantile(0.5), sent.answers.quantile(0.99)));
        Ok(())
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    fn cpu_each(&self) -> Vec<String> {
        self.cpu.iter().map(|cpu| format!("{:.2}", millis(*cpu) / self.requests as f64)).collect()
    }

    fn answered(&self) -> String {
        let mean = |times: Duration| millis(times) / self.answers.len() as f64;
        let (p50, p99) =
            self.answers.iter().fold((Duration::ZERO, Duration::ZERO), |sum, (p50, p99)| (sum.0 + *p50, sum.1 + *p99));
        both(mean(p50), mean(p99))
    }
}

fn one(bench: &mut Bench, bus: Bus) -> Result<Vec<String>> {
    let mut quiet = Pair::start(bench, bus, &Cluster::settings(), JOBS, 1)?;
    let mut pair = Pair::start(bench, bus, &Cluster::settings(), JOBS, SUBSCRIBERS)?;
    let (mut quiet_load, mut load) = (quiet.load()?, pair.load()?);
    load.connect(pair.subscribers(0..SUBSCRIBERS), Duration::from_secs(60))?;
    load.warm(Pace::Flat, Duration::from_secs(1))?;
    quiet_load.drive(Pace::Flat, Until::Elapsed(Duration::from_secs(1)))?;
    let (mut without, mut with) = (Done::default(), Done::default());
    let mut delivered = 0;
    for _ in 0..ROUNDS {
        let time = bench.options.time() / ROUNDS;
        without.drive(&quiet.cluster, &mut quiet_load, time)?;
        with.drive(&pair.cluster, &mut load, time)?;
        load.settle(Duration::from_secs(10))?;
        delivered = load.tally().delivered;
    }
    load.idle(Duration::from_millis(200))?;
    let redis = |done: &Done| done.cpu_each().get(3).map_or_else(|| "-".to_owned(), Clone::clone);
    let cpu = |done: &Done| {
        format!("{} / {} / {} / {}", done.cpu_each()[0], done.cpu_each()[1], done.cpu_each()[2], redis(done))
    };
    Ok(vec![
        bus.label().to_owned(),
        figure(without.rate()),
        figure(with.rate()),
        format!("{:.2}x", with.rate() / without.rate()),
        without.answered(),
        with.answered(),
        cpu(&without),
        cpu(&with),
        grouped(delivered as f64 / with.elapsed.as_secs_f64()),
        faults(&load.tally()),
    ])
}
