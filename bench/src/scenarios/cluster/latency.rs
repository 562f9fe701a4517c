//! From a commit on one node to a socket on the other.

use std::time::Duration;

use anyhow::Result;

use super::{Pair, both, millis, shares};
use crate::{
    cluster::Cluster,
    load::{Pace, Until, histogram::Histogram},
    options::Bus,
    process::{all_cores, cpu},
    report::{count, figure},
    scenarios::{Bench, fanout::faults, lone_lancewire},
};

/// Events a second: by mutations, and inserted beside them.
///
/// Two cores with a PostgreSQL and a generator on them may not manage 1,000 mutations a second: the table says what they
/// did, and the last pair makes up the number by events that no mutation had to be computed for.
const RATES: [(f64, u32); 3] = [(100.0, 0), (1_000.0, 0), (200.0, 800)];

/// Events inserted in one transaction.
const BATCH: u32 = 8;

/// Jobs that are changed in turn, each over a connection of its own.
const JOBS: usize = 32;

/// Sockets on the other node, each of which hears everything.
const SUBSCRIBERS: usize = 20;

/// A row for each rate and bus.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    bench.report.section(
        "Cluster: commit to socket",
        &format!(
            "`updateJob` on node A over {JOBS} connections, {SUBSCRIBERS} sockets on node B that hear every \
             change. Where there are more events than mutations, the others are copies inserted into `events`, {BATCH} a \
             transaction, which every node must number, read and carry, and nobody subscribes to. The \
             commit lies between the sending of a mutation and its answer, so the time to the socket lies between the \
             two figures; `B's count` is node B's own, from the moment at which the event was recorded, before the \
             commit (p50 and p99, bounds of buckets). CPU in per cent of a core; all of them share the cores {}.",
            all_cores()
        ),
    );
    let mut rows = Vec::new();
    for (rate, inserted) in RATES {
        for bus in bench.options.buses.clone() {
            rows.push(one(bench, bus, rate, inserted)?);
        }
    }
    let head = [
        "",
        "mutations/s",
        "events/s",
        "from sending: p50 / p99 ms",
        "from the answer: p50 / p99 ms",
        "B's count",
        "answered p50 / p99 ms",
        "delivered",
        "lost / doubled / reordered / astray",
        "CPU A",
        "B",
        "PostgreSQL",
        "Redis",
        "generator",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(bench: &mut Bench, bus: Bus, rate: f64, inserted: u32) -> Result<Vec<String>> {
    let mut pair = Pair::start(bench, bus, &Cluster::settings(), JOBS, SUBSCRIBERS)?;
    let mut load = pair.load()?;
    load.connect(pair.subscribers(0..SUBSCRIBERS), Duration::from_secs(60))?;
    load.warm(Pace::PerSecond(rate), Duration::from_secs(2))?;
    let inserting = Duration::from_millis(200) + bench.options.time();
    let inserting = (inserted > 0).then(|| pair.cluster.postgres().run(&filling(inserted, inserting))).transpose()?;
    let metrics = pair.cluster.node(1).metrics()?;
    let (before, generator) = (pair.cluster.cpu()?, cpu(std::process::id())?);
    let sent = load.drive(Pace::PerSecond(rate), Until::Elapsed(bench.options.time()))?;
    let (after, generated) = (pair.cluster.cpu()?, cpu(std::process::id())?);
    load.settle(Duration::from_secs(10))?;
    load.idle(Duration::from_millis(200))?;
    drop(inserting);
    let grown = pair.cluster.node(1).metrics()?.since(&metrics);
    let events = grown.sum("lancewire_events_total", "").unwrap_or(f64::NAN);
    let own = |share| grown.quantile("lancewire_commit_to_socket_seconds", share).map_or(f64::NAN, millis);
    let two = |times: &Histogram| both(millis(times.quantile(0.5)), millis(times.quantile(0.99)));
    let mut row = vec![
        bus.label().to_owned(),
        figure(sent.requests as f64 / sent.elapsed.as_secs_f64()),
        figure(events / sent.elapsed.as_secs_f64()),
        two(load.latency()),
        two(load.latency_after_answer()),
        both(own(0.5), own(0.99)),
        two(&sent.answers),
        count(load.tally().delivered),
        faults(&load.tally()),
    ];
    row.extend(shares(&before, &after, sent.elapsed));
    if bus == Bus::Postgres {
        row.push("-".to_owned());
    }
    row.extend(shares(&[generator], &[generated], sent.elapsed));
    Ok(row)
}

/// Commits so many events a second for some time: what a use case would record, but of a kind that nobody subscribes to.
/// It rings no doorbell; the mutations do.
fn filling(events: u32, time: Duration) -> String {
    let period = f64::from(BATCH) / f64::from(events);
    let rounds = time.as_secs_f64() / period;
    format!(
        "DO $$
        DECLARE began timestamptz := clock_timestamp();
        BEGIN
            FOR round IN 1..{rounds:.0} LOOP
                INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload,
                    occurred_at)
                SELECT gen_random_uuid(), 'JOB_POSTED', subject_id, subject_version, is_public, owner_id, claimant_id,
                    payload, occurred_at
                FROM (SELECT * FROM events WHERE kind = 'JOB_UPDATED' ORDER BY id DESC LIMIT 1) AS last,
                    generate_series(1, {BATCH});
                COMMIT;
                PERFORM pg_sleep(greatest(0, {period} * round - extract(epoch FROM clock_timestamp() - began)));
            END LOOP;
        END $$"
    )
}
