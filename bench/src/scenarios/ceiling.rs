//! The most deliveries a second that still arrive in time.

use std::time::Duration;

use anyhow::Result;

use super::{
    Bench,
    fanout::{Run, faults, measure},
    skip_or,
};
use crate::{
    load::{Load, Pace},
    report::{figure, grouped, millis, ratio},
    servers::{Kind, Target},
};

const SUBSCRIBERS: usize = 1_000;

/// More than elsewhere: each may have one change under way, which must not be what limits the rate.
const JOBS: usize = 64;

/// What p99 must stay within.
const IN_TIME: Duration = Duration::from_millis(50);

/// The first rate tried, and how much more is tried as long as it is reached.
const FIRST_RATE: f64 = 10.0;
const STEP: f64 = 1.5;

/// Steps up, and halvings of the last one.
const MOST_STEPS: usize = 14;
const HALVINGS: usize = 3;

/// All servers.
pub fn run(bench: &mut Bench) -> Result<()> {
    let subscribers = bench.options.scaled(SUBSCRIBERS);
    bench.report.section(
        "Ceiling",
        &format!(
            "The rate of events is raised until p99 passes {} ms, events are lost or the rate is not reached; each rate \
             gets two tries. {} subscribers.",
            IN_TIME.as_millis(),
            grouped(subscribers as f64)
        ),
    );
    let step = (bench.options.time() / 3).clamp(Duration::from_secs(2), Duration::from_secs(5));
    let mut found = Vec::new();
    for kind in bench.options.servers(&Kind::ALL) {
        let best = search(bench, kind, subscribers, step);
        if let Some(Some(run)) = skip_or(bench, kind, best)? {
            found.push((kind, run));
        }
    }
    let most = |wanted| found.iter().find(|(kind, _)| *kind == wanted).map(|(_, run): &(Kind, Run)| run.deliveries());
    let (raw, socket_io) = (most(Kind::Raw), most(Kind::SocketIo));
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|(kind, run)| {
            vec![
                kind.label().to_owned(),
                grouped(run.deliveries()),
                ratio(run.deliveries(), raw),
                ratio(run.deliveries(), socket_io),
                figure(run.rate()),
                millis(run.latency.quantile(0.99)),
                figure(run.cost()),
                faults(&run.tally),
                format!("{:.0} %", run.load() * 100.0),
                format!("{:.0} %", run.busy() * 100.0),
            ]
        })
        .collect();
    let head = [
        "",
        "deliveries/s",
        "to raw",
        "to Socket.IO",
        "events/s",
        "p99 ms",
        "CPU us",
        "lost / doubled / reordered / astray",
        "server busy",
        "generator busy",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

/// The best run, none if not even the first rate is reached.
fn search(bench: &mut Bench, kind: Kind, subscribers: usize, step: Duration) -> Result<Option<Run>> {
    let home = bench.folder()?;
    let mut target = Target::start(kind, JOBS, &bench.options, &home)?;
    let mut load = target.load()?;
    load.connect(target.subscribers(subscribers), Duration::from_secs(60))?;
    load.warm(Pace::PerSecond(FIRST_RATE), bench.options.warm_up())?;
    let mut best = None;
    let (mut low, mut high) = (FIRST_RATE / STEP, f64::INFINITY);
    for _ in 0..MOST_STEPS {
        let Some(run) = attempt(&mut target, &mut load, low * STEP, step)? else {
            high = low * STEP;
            break;
        };
        low *= STEP;
        best = Some(run);
    }
    for _ in 0..HALVINGS {
        if !high.is_finite() {
            break;
        }
        let middle = f64::midpoint(low, high);
        match attempt(&mut target, &mut load, middle, step)? {
            Some(run) => {
                low = middle;
                best = Some(run);
            }
            None => high = middle,
        }
    }
    Ok(best)
}

/// The run at a rate if it was reached in one of two tries.
fn attempt(target: &mut Target, load: &mut Load, rate: f64, step: Duration) -> Result<Option<Run>> {
    for _ in 0..2 {
        let run = measure(target, load, rate, step)?;
        if run.latency.quantile(0.99) <= IN_TIME && run.tally.lost == 0 && run.rate() >= 0.97 * rate {
            return Ok(Some(run));
        }
    }
    Ok(None)
}
