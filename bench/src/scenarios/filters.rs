//! One event against many filters of which few match.

use std::{rc::Rc, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Bench, fanout::faults, lone_lancewire};
use crate::{
    lancewire::Settings,
    load::{
        Load, Numbered, Pace, Subscriber, Until,
        record::Hears,
        socket::{Opening, Protocol},
    },
    report::{count, millis},
};

/// Filters in all, and those that match every event.
const FILTERS: usize = 10_000;
const MATCHING: usize = 10;

/// Subscriptions that share a socket, of those that never match.
const A_SOCKET: usize = 100;

const RATE: f64 = 50.0;
const JOBS: usize = 8;

/// The vocabulary of the demo data. The jobs of the benchmark have the first two.
const SKILLS: [&str; 12] = [
    "rust",
    "graphql",
    "typescript",
    "postgresql",
    "react",
    "logo-design",
    "illustration",
    "copywriting",
    "translation",
    "video-editing",
    "data-analysis",
    "accessibility",
];

const QUERY: &str =
    "subscription($filter: JobFilter) { jobUpdated(filter: $filter) { id cursor job { id version title } } }";

/// What the subscriptions ask for; each has a filter of its own by its number.
struct Kind {
    title: &'static str,
    about: &'static str,
    matching: fn(usize) -> Value,
    other: fn(usize) -> Value,
}

const KINDS: [Kind; 2] = [
    Kind {
        title: "Filters",
        about: "any of a skill, and a bound of the budget; one in six of those that do not match names a skill of the job",
        matching,
        other,
    },
    Kind {
        title: "Saved searches",
        about: "two words, of which those that match are in the job, and one in six of the others has one of them",
        matching: matching_search,
        other: other_search,
    },
];

/// Ten filters alone, then among 10,000.
pub fn run(bench: &mut Bench) -> Result<()> {
    KINDS.iter().try_for_each(|kind| run_kind(bench, kind))
}

fn run_kind(bench: &mut Bench, kind: &Kind) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    let filters = bench.options.scaled(FILTERS).max(2 * MATCHING);
    bench.report.section(
        kind.title,
        &format!(
            "`jobUpdated` of jobs with two skills against {} distinct filters ({}), of which {MATCHING} match. CPU of the \
             server an event, publishing included, and without what the same mutation costs with nobody connected.",
            count(filters as u64),
            kind.about
        ),
    );
    let settings = Settings::of(&bench.options).set("LANCEWIRE_SOCKETS__PING_INTERVAL_MS", 3_600_000);
    let mut lancewire = bench.lancewire(&settings)?;
    let token = lancewire.sign_in("ben@example.com")?;
    let requests = lancewire.change_requests(JOBS)?;
    let mut load = Load::new(lancewire.process.address, Protocol::Graphql, Numbered::Mark, JOBS, requests)?;
    let time = bench.options.time();
    let each = |load: &mut Load| -> Result<Duration> {
        load.warm(Pace::PerSecond(RATE), Duration::from_secs(2))?;
        let before = lancewire.process.cpu()?;
        let sent = load.drive(Pace::PerSecond(RATE), Until::Elapsed(time))?;
        load.settle(Duration::from_secs(10))?;
        Ok((lancewire.process.cpu()? - before).div_f64(sent.requests as f64))
    };
    let opening = |filters: Vec<Value>| Opening {
        token: Some(Rc::clone(&token)),
        subscriptions: filters
            .into_iter()
            .map(|filter| json!({ "query": QUERY, "variables": { "filter": filter } }).to_string())
            .collect(),
    };

    let nobody = each(&mut load)?;
    let matching =
        (0..MATCHING).map(|number| Subscriber { opening: opening(vec![(kind.matching)(number)]), hears: Hears::Every });
    load.connect(matching, Duration::from_secs(20))?;
    let few = each(&mut load)?;
    let few_row = row(&format!("{MATCHING} filters"), few, nobody, few, &load);
    let others: Vec<usize> = (0..filters - MATCHING).collect();
    let others = others.chunks(A_SOCKET).map(|numbers| Subscriber {
        opening: opening(numbers.iter().map(|number| (kind.other)(*number)).collect()),
        hears: Hears::Nothing,
    });
    load.connect(others, Duration::from_secs(120))?;
    let many = each(&mut load)?;
    let many_row = row(&format!("{} filters", count(filters as u64)), many, nobody, few, &load);
    let nobody_row = vec!["nobody".to_owned(), format!("{:.3}", nobody.as_secs_f64() * 1e3)];
    let pad = |mut row: Vec<String>| {
        row.resize(8, "-".to_owned());
        row
    };
    let head = [
        "",
        "CPU ms an event",
        "to ten filters",
        "delivery part ms",
        "to ten filters",
        "p50 ms",
        "p99",
        "lost / doubled / reordered / astray",
    ];
    bench.report.table(&head, &[pad(nobody_row), few_row, many_row]);
    Ok(())
}

fn row(label: &str, each: Duration, nobody: Duration, few: Duration, load: &Load) -> Vec<String> {
    let part = |time: Duration| (time.as_secs_f64() - nobody.as_secs_f64()) * 1e3;
    vec![
        label.to_owned(),
        format!("{:.3}", each.as_secs_f64() * 1e3),
        format!("{:.2}x", each.as_secs_f64() / few.as_secs_f64()),
        format!("{:.3}", part(each)),
        format!("{:.2}x", part(each) / part(few)),
        millis(load.latency().quantile(0.5)),
        millis(load.latency().quantile(0.99)),
        faults(&load.tally()),
    ]
}

fn matching(number: usize) -> Value {
    json!({ "anySkill": ["rust"], "budget": { "currencyCode": "USD", "max": format!("{}.00", 1_000 + number) } })
}

/// Asks for more than any job of the benchmark pays.
fn other(number: usize) -> Value {
    let skill = SKILLS[number % SKILLS.len()];
    json!({ "anySkill": [skill], "budget": { "currencyCode": "USD", "min": format!("{}.00", 10_000 + number) } })
}

fn matching_search(number: usize) -> Value {
    json!({ "query": "billing please", "budget": { "currencyCode": "USD", "max": format!("{}.00", 1_000 + number) } })
}

/// Asks for a word that no job has; the rarer word is the longer one, but for one in six.
fn other_search(number: usize) -> Value {
    let word = if number % 6 == 0 { format!("x{number}") } else { format!("invented{number}") };
    json!({ "query": format!("{word} billing ") })
}
