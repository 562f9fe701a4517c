//! Mutations as fast as they go, with and without subscribers, on both databases.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, fanout::faults, lone_lancewire};
use crate::{
    lancewire::Settings,
    load::{Pace, Until},
    options::Database,
    postgres::Postgres,
    report::{count, figure, grouped, millis},
    servers::Target,
};

const SUBSCRIBERS: usize = 1_000;

/// Connections, each with a job of its own and one change under way.
const JOBS: usize = 8;

/// Four rows.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    bench.report.section(
        "Mutations",
        &format!(
            "`updateJob` over {JOBS} connections, each sending as soon as it is answered. PostgreSQL runs on the server's \
             core, which it shares with lancewire; both are durable as in production."
        ),
    );
    let mut rows = Vec::new();
    for database in [Database::Sqlite, Database::Postgres] {
        for subscribers in [0, bench.options.scaled(SUBSCRIBERS)] {
            rows.push(one(bench, database, subscribers)?);
        }
    }
    let head = [
        "",
        "subscribers",
        "mutations/s",
        "answered p50 ms",
        "p99",
        "lancewire CPU ms",
        "PostgreSQL CPU ms",
        "deliveries/s",
        "lost / doubled / reordered / astray",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(bench: &mut Bench, database: Database, subscribers: usize) -> Result<Vec<String>> {
    let home = bench.folder()?;
    let mut target = Target::lancewire_on(&Settings::on(database), JOBS, &bench.options, &home)?;
    let mut load = target.load()?;
    load.connect(target.subscribers(subscribers), Duration::from_secs(60))?;
    load.warm(Pace::Flat, Duration::from_secs(2))?;
    let mut cpu = || -> Result<(Duration, Option<Duration>)> {
        let postgres = target.lancewire().and_then(|lancewire| lancewire.postgres.as_ref().map(Postgres::cpu));
        Ok((target.process().cpu()?, postgres.transpose()?))
    };
    let before = cpu()?;
    let sent = load.drive(Pace::Flat, Until::Elapsed(bench.options.time()))?;
    load.settle(Duration::from_secs(20))?;
    let after = cpu()?;
    let each = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3 / sent.requests as f64);
    Ok(vec![
        database.name().to_owned(),
        count(subscribers as u64),
        figure(sent.requests as f64 / sent.elapsed.as_secs_f64()),
        millis(sent.answers.quantile(0.5)),
        millis(sent.answers.quantile(0.99)),
        each(after.0 - before.0),
        after.1.zip(before.1).map_or_else(|| "-".to_owned(), |(after, before)| each(after.saturating_sub(before))),
        grouped(load.tally().delivered as f64 / sent.elapsed.as_secs_f64()),
        faults(&load.tally()),
    ])
}
