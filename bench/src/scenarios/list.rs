//! A list over plain HTTP, beside the fastest GraphQL server for Node on the same database.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Bench;
use crate::{
    api::Api,
    lancewire::{Lancewire, Settings, fresh_file, program},
    load::{Load, Numbered, Pace, Until, publisher::Request, socket::Protocol},
    options::Database,
    process::{Process, Program, free_address},
    report::{count, figure, millis},
    servers::Kind,
};

const JOBS: usize = 10_000;
const REQUESTS: u64 = 10_000;
const CONNECTIONS: usize = 4;

const QUERY: &str = "query($first: Int!) { jobs(first: $first) { nodes { id title status budget { amount currencyCode } \
                     postedAt skills { slug name } client { id displayName } } } }";

/// Lancewire and Mercurius on copies of one file.
pub fn run(bench: &mut Bench) -> Result<()> {
    let (jobs, requests) = (bench.options.scaled(JOBS), bench.options.scaled(usize::try_from(REQUESTS)?) as u64);
    bench.report.section(
        "List",
        &format!(
            "20 open jobs with skills and client out of {}, over HTTP, {CONNECTIONS} connections, {} requests, on the same \
             SQLite file; Mercurius with its JIT, loaders and better-sqlite3. The answers are compared first.",
            count(jobs as u64),
            count(requests)
        ),
    );
    let home = bench.folder()?;
    let file = fresh_file(&home)?;
    let database = format!("sqlite:{}", file.display());
    finish(&program(&bench.options, &database, &home).argument("seed"))?;
    let peers = bench.options.peers();
    let node = |script: &str| Program::new("node").argument(peers.join(script).display().to_string());
    finish(&node("fill.js").argument(file.display().to_string()).argument(jobs.to_string()))?;

    let mut rows = Vec::new();
    let mut answers = Vec::new();
    for kind in bench.options.servers(&[Kind::Lancewire, Kind::Mercurius]) {
        let row = if kind == Kind::Lancewire {
            let settings = Settings::on(Database::Sqlite);
            let lancewire = Lancewire::start_on(&bench.options, &settings, &database, None, &home)?;
            one(kind, &lancewire.process, requests, &mut answers)?
        } else {
            let address = free_address()?;
            let program = node("list.js").argument(address.to_string()).argument(file.display().to_string());
            let program = program.set("NODE_ENV", "production");
            let process = Process::start(&program, address, &home.join("list.log"))?;
            one(kind, &process, requests, &mut answers)?
        };
        rows.push(row);
    }
    if let [first, second] = &answers[..] {
        ensure!(first == second, "the servers do not answer the same: {first} {second}");
    }
    let times: Vec<f64> = rows.iter().map(|(_, time)| time.as_secs_f64()).collect();
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .zip(&times)
        .map(|((mut row, _), time)| {
            row.push(times.last().map_or_else(String::new, |last| format!("{:.2}x", time / last)));
            row
        })
        .collect();
    let head = ["", "CPU s", "requests/s", "p50 ms", "p99", "answer bytes", "to the last row"];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(kind: Kind, process: &Process, requests: u64, answers: &mut Vec<Value>) -> Result<(Vec<String>, Duration)> {
    let variables = json!({ "first": 20 });
    let mut answer = Api::connect(process.address)?.run(None, QUERY, &variables)?;
    let size = answer.to_string().len();
    strip_ids(&mut answer);
    answers.push(answer);
    let request = Request::graphql(None, QUERY, &variables);
    let mut load =
        Load::new(process.address, Protocol::Graphql, Numbered::Mark, CONNECTIONS, vec![request; CONNECTIONS])?;
    load.drive(Pace::Flat, Until::Sent(requests / 5))?;
    let before = process.cpu()?;
    let sent = load.drive(Pace::Flat, Until::Sent(requests))?;
    let cpu = process.cpu()? - before;
    let row = vec![
        kind.label().to_owned(),
        figure(cpu.as_secs_f64()),
        figure(sent.requests as f64 / sent.elapsed.as_secs_f64()),
        millis(sent.answers.quantile(0.5)),
        millis(sent.answers.quantile(0.99)),
        count(size as u64),
    ];
    Ok((row, cpu))
}

/// Ids are spelled differently.
fn strip_ids(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("id");
            fields.values_mut().for_each(strip_ids);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_ids),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn finish(program: &Program) -> Result<()> {
    let output = program.command().output().with_context(|| program.path.display().to_string())?;
    ensure!(output.status.success(), "{}: {}", program.path.display(), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
