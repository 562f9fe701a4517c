//! The cost model of docs/scaling.md: its constants, measured at a low rate; what it then says of a high one, beside what
//! the nodes counted; and what it says of sizes that no single machine can try.
//!
//! | Symbol | |
//! | --- | --- |
//! | E | events a second, here one a mutation |
//! | N | nodes |
//! | W | wakes of a tail that find something to number: see [`wakes`] |
//! | m | statements of a mutation |

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Pair;
use crate::{
    cluster::Cluster,
    lancewire::Metrics,
    load::{Load, Pace, Until},
    options::Bus,
    report::{figure, grouped},
    scenarios::{Bench, lone_lancewire},
};

/// Events a second when the constants are measured, and when the model is put to the test.
const RATES: [f64; 2] = [40.0, 240.0];

const JOBS: usize = 16;
const SUBSCRIBERS: usize = 100;

/// The defaults: `events.poll_ms` and the heartbeat of the bus, both as times a second.
const POLLS: f64 = 10.0;
const HEARTBEATS: f64 = 1.0;

/// Seconds that numbering events and reading them takes, which is one statement, where the database has time.
const NUMBERING: f64 = 0.0005;

/// Seconds that a node is busy with reading what another one says is there.
const READING: f64 = 0.002;

/// Sizes to compute: nodes, events a second, sockets.
const SIZES: [(f64, f64, f64); 5] =
    [(2.0, 1e3, 2e4), (10.0, 1e3, 1e5), (10.0, 1e4, 1e6), (100.0, 1e4, 1e7), (100.0, 1e5, 1e7)];

/// Sockets that hear one public event, on average: a guess, since it is the market's and not the server's.
const AUDIENCE: f64 = 1_000.0;

/// Events that are numbered at once when PostgreSQL alone is looked at, and how many of them.
const BATCHES: [u32; 3] = [1, 10, 100];
const EVENTS: u32 = 5_000;

/// Constants and comparisons of each bus, then the sizes.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    let [low, high] = RATES;
    bench.report.section(
        "Cluster: the cost model",
        &format!(
            "Constants from {low} `updateJob` a second on node A, then the model's word on {high} a second beside what \
             the counters of both nodes say, with {SUBSCRIBERS} sockets on node B. docs/scaling.md explains it."
        ),
    );
    for bus in bench.options.buses.clone() {
        one(bench, bus)?;
    }
    log(bench)
}

/// What PostgreSQL alone takes to insert and to number events, in batches.
fn log(bench: &mut Bench) -> Result<()> {
    let mut pair = Pair::start(bench, Bus::Postgres, &Cluster::settings(), 1, 1)?;
    // An event to copy.
    let mut load = pair.load()?;
    load.drive(Pace::Flat, Until::Sent(1))?;
    // Their tails would number what is inserted, too.
    for node in 0..2 {
        pair.cluster.node(node).process.kill()?;
    }
    let rows = BATCHES
        .into_iter()
        .map(|batch| {
            let postgres = pair.cluster.postgres();
            postgres.ask(&filling(batch, EVENTS / batch))?;
            let answer = postgres.ask(&format!("SELECT part || seconds FROM took WHERE batch = {batch}"))?;
            let [insert, stamp] = ["insert", "stamp"].map(|part| -> Result<f64> {
                let text = answer.lines().find_map(|line| line.strip_prefix(part)).with_context(|| answer.clone())?;
                Ok(text.trim().parse::<f64>()? / f64::from(EVENTS) * 1e6)
            });
            let (insert, stamp) = (insert?, stamp?);
            Ok(vec![format!("{batch} at once"), figure(insert), figure(stamp), grouped(1e6 / stamp)])
        })
        .collect::<Result<Vec<_>>>()?;
    bench.report.note(
        "**The log itself**: events copied into `events` and numbered by `stamp_events()` in one session, without waiting \
         for the disk: what PostgreSQL computes. Numbering holds the one head row, so its inverse bounds all \
         nodes together.",
    );
    bench.report.table(&["events", "insert us each", "stamp us each", "events/s at most by the stamp"], &rows);
    Ok(())
}

/// Copies the last event `batch` at a time and numbers them, `rounds` times; says how many seconds each part took.
fn filling(batch: u32, rounds: u32) -> String {
    format!(
        "DO $$
        DECLARE began timestamptz; inserting interval := '0'; stamping interval := '0';
        BEGIN
            SET synchronous_commit = off;
            FOR round IN 1..{rounds} LOOP
                began := clock_timestamp();
                INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload,
                    occurred_at)
                SELECT gen_random_uuid(), kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload,
                    occurred_at
                FROM (SELECT * FROM events WHERE kind = 'JOB_UPDATED' ORDER BY id DESC LIMIT 1) AS last,
                    generate_series(1, {batch});
                COMMIT;
                inserting := inserting + (clock_timestamp() - began);
                began := clock_timestamp();
                PERFORM stamp_events();
                COMMIT;
                stamping := stamping + (clock_timestamp() - began);
            END LOOP;
            CREATE TABLE IF NOT EXISTS took (batch int, part text, seconds float8);
            INSERT INTO took VALUES ({batch}, 'insert ', extract(epoch FROM inserting)),
                ({batch}, 'stamp ', extract(epoch FROM stamping));
        END $$"
    )
}

/// What happened in a stretch of time, a second.
struct Seen {
    events: f64,
    /// By node.
    statements: [f64; 2],
    messages_out: f64,
    /// Read by node B, its own included.
    messages_in: f64,
    bytes_out: f64,
    bytes_in: f64,
    deliveries: f64,
    /// Seconds of CPU: A, B, PostgreSQL and Redis, if there is one.
    cpu: Vec<f64>,
}

/// What the model is made of.
struct Constants {
    /// Statements of a mutation.
    mutation: f64,
    /// Bytes an event takes on the bus.
    event_bytes: f64,
    /// Messages a second that have nothing to do with events: heartbeats and limit updates.
    chatter: f64,
    /// Their bytes.
    chatter_bytes: f64,
}

fn one(bench: &mut Bench, bus: Bus) -> Result<()> {
    let mut pair = Pair::start(bench, bus, &Cluster::settings(), JOBS, SUBSCRIBERS)?;
    let mut load = pair.load()?;
    let time = bench.options.time() / 2;
    let [low, high] = RATES;
    load.drive(Pace::PerSecond(high), Until::Elapsed(Duration::from_secs(2)))?;
    let idle = observe(&mut pair, &mut load, 0.0, time / 2)?;
    let calm = observe(&mut pair, &mut load, low, time)?;
    let alone = observe(&mut pair, &mut load, high, time)?;
    load.connect(pair.subscribers(0..SUBSCRIBERS), Duration::from_secs(60))?;
    load.warm(Pace::PerSecond(high), Duration::from_secs(1))?;
    let busy = observe(&mut pair, &mut load, high, time)?;

    let constants = Constants::of(bus, &idle, &calm);
    bench.report.note(&format!(
        "**{}**: a mutation takes {} statements, {} takes {} bytes on the bus, {} messages a second are heartbeats and \
         limit updates.",
        bus.label(),
        figure(constants.mutation),
        if bus == Bus::Postgres { "a numbering" } else { "an event" },
        figure(constants.event_bytes),
        figure(constants.chatter),
    ));
    let rows = compare(&constants.predict(bus, 2.0, busy.events, busy.events * SUBSCRIBERS as f64), &busy);
    bench.report.table(&["a second", "model", "seen", "seen / model"], &rows);

    let each = |index: usize| (alone.cpu[index] - idle.cpu[index]) / alone.events * 1e6;
    let delivery = (busy.cpu[1] / busy.events - alone.cpu[1] / alone.events) / SUBSCRIBERS as f64 * 1e6;
    let redis = if bus == Bus::Redis { format!(", Redis {}", figure(each(3))) } else { String::new() };
    bench.report.note(&format!(
        "CPU us an event, nobody subscribed: node A, mutation included, {}; node B {}; PostgreSQL {}{redis}. A delivery on \
         node B at {SUBSCRIBERS} sockets: {}.",
        figure(each(0)),
        figure(each(1)),
        figure(each(2)),
        figure(delivery),
    ));
    let head = [
        "N nodes, E events/s, S sockets",
        "log reads/s",
        "log rows/s",
        "bus messages/s out",
        "read by all",
        "MB/s read",
        "cores to hear, all nodes",
        "deliveries/s a node",
    ];
    let hear = each(1).max(0.0) / 1e6;
    let rows: Vec<Vec<String>> = SIZES.into_iter().map(|size| constants.size(bus, size, hear)).collect();
    bench.report.table(&head, &rows);
    Ok(())
}

fn observe(pair: &mut Pair, load: &mut Load, rate: f64, time: Duration) -> Result<Seen> {
    let metrics = |pair: &mut Pair| -> Result<[Metrics; 2]> {
        Ok([pair.cluster.node(0).metrics()?, pair.cluster.node(1).metrics()?])
    };
    let (before, cpu_before) = (metrics(pair)?, pair.cluster.cpu()?);
    let (events, elapsed) = if rate > 0.0 {
        let sent = load.drive(Pace::PerSecond(rate), Until::Elapsed(time))?;
        (sent.requests as f64, sent.elapsed)
    } else {
        load.idle(time)?;
        (0.0, time)
    };
    let (after, cpu_after) = (metrics(pair)?, pair.cluster.cpu()?);
    load.settle(Duration::from_secs(10))?;
    let seconds = elapsed.as_secs_f64();
    let grown = [after[0].since(&before[0]), after[1].since(&before[1])];
    let sum = |node: usize, name: &str, labels: &str| grown[node].sum(name, labels).unwrap_or(0.0) / seconds;
    let out = |name: &str| sum(0, name, "direction=\"out\"") + sum(1, name, "direction=\"out\"");
    let cpu =
        cpu_before.iter().zip(&cpu_after).map(|(before, after)| after.saturating_sub(*before).as_secs_f64() / seconds);
    Ok(Seen {
        events: events / seconds,
        statements: [0, 1].map(|node| sum(node, "lancewire_database_statements_total", "")),
        messages_out: out("lancewire_bus_messages_total"),
        messages_in: sum(1, "lancewire_bus_messages_total", "direction=\"in\""),
        bytes_out: out("lancewire_bus_bytes_total"),
        bytes_in: sum(1, "lancewire_bus_bytes_total", "direction=\"in\""),
        deliveries: sum(1, "lancewire_deliveries_total", ""),
        cpu: cpu.collect(),
    })
}

/// Numberings a second of a node on which so many events are committed.
///
/// After one it does not look for `busy`: the tail lets commits gather for four times as long as the numbering took, or
/// five where the bus does not carry the events. Then it looks at once if something was committed meanwhile, and else when
/// something is. For commits at random times the latter has the chance exp(-E busy) and takes 1 / E.
fn wakes(bus: Bus, events: f64) -> f64 {
    let times = match bus {
        Bus::Postgres => 5.0,
        Bus::Redis => 4.0,
    };
    let busy = NUMBERING * (1.0 + times);
    1.0 / (busy + (-events * busy).exp() / events)
}

/// Reads a second of a node that hears of so many numberings.
fn reads(heard: f64) -> f64 {
    1.0 / (1.0 / heard + READING)
}

/// What the model says of a second, in the order of the comparison.
struct Predicted {
    statements_committing: f64,
    statements_other: f64,
    messages_out: f64,
    messages_in: f64,
    bytes_out: f64,
    bytes_in: f64,
    deliveries: f64,
}

impl Constants {
    fn of(bus: Bus, idle: &Seen, calm: &Seen) -> Self {
        // None are sent while nothing is spent; node A sends four a second when something was.
        let limit_updates = 4.0;
        let chatter = idle.messages_out + limit_updates;
        let wakes = wakes(bus, calm.events);
        let chatter_bytes = idle.bytes_out;
        let message = if bus == Bus::Postgres { wakes } else { calm.events };
        Self {
            mutation: (calm.statements[0] - POLLS - wakes) / calm.events,
            event_bytes: (calm.bytes_out - chatter_bytes) / message,
            chatter,
            chatter_bytes,
        }
    }

    fn predict(&self, bus: Bus, nodes: f64, events: f64, deliveries: f64) -> Predicted {
        let wakes = wakes(bus, events);
        let (reads, units) = match bus {
            // Every node reads what another one says is there.
            Bus::Postgres => (reads(wakes), wakes),
            Bus::Redis => (0.0, events),
        };
        let messages = wakes + self.chatter / 2.0 * nodes;
        let bytes = units * self.event_bytes + self.chatter_bytes / 2.0 * nodes;
        Predicted {
            statements_committing: events * self.mutation + wakes + POLLS,
            statements_other: POLLS + reads,
            messages_out: messages,
            messages_in: messages,
            bytes_out: bytes,
            bytes_in: bytes,
            deliveries,
        }
    }

    /// What the model says of a size, every node committing its share.
    fn size(&self, bus: Bus, (nodes, events, sockets): (f64, f64, f64), hear: f64) -> Vec<String> {
        // Every node's tail is woken by its own commits; where the bus carries no events, by all others' too.
        let own = wakes(bus, events / nodes);
        let stampings = own * nodes;
        let (reads, rows, units) = match bus {
            Bus::Postgres => (nodes * reads(stampings), nodes * events, stampings),
            Bus::Redis => (stampings, events, events),
        };
        let messages = stampings + nodes * HEARTBEATS;
        let bytes = units * self.event_bytes * nodes;
        let deliveries = events * AUDIENCE.min(sockets) / nodes;
        vec![
            format!("{}, {}, {}", grouped(nodes), grouped(events), grouped(sockets)),
            grouped(reads),
            grouped(rows),
            grouped(messages),
            grouped(messages * nodes),
            figure(bytes / 1e6),
            figure(events * nodes * hear),
            grouped(deliveries),
        ]
    }
}

fn compare(model: &Predicted, seen: &Seen) -> Vec<Vec<String>> {
    let rows = [
        ("statements, node A", model.statements_committing, seen.statements[0]),
        ("statements, node B", model.statements_other, seen.statements[1]),
        ("bus messages out, both", model.messages_out, seen.messages_out),
        ("bus messages in, node B", model.messages_in, seen.messages_in),
        ("bus bytes out, both", model.bytes_out, seen.bytes_out),
        ("bus bytes in, node B", model.bytes_in, seen.bytes_in),
        ("deliveries, node B", model.deliveries, seen.deliveries),
    ];
    let row = |(name, model, seen): (&str, f64, f64)| {
        vec![name.to_owned(), figure(model), figure(seen), format!("{:.2}", seen / model)]
    };
    rows.into_iter().map(row).collect()
}
