//! Events that one user alone may receive: does a delivery cost more when others are connected?

use std::{rc::Rc, time::Duration};

use anyhow::Result;
use lancewire_bench::wire;
use serde_json::json;

use super::{Bench, fanout::faults, lone_lancewire};
use crate::{
    lancewire::Settings,
    load::{
        Load, Numbered, Pace, Subscriber, Until,
        publisher::Request,
        record::Hears,
        socket::{Opening, Protocol},
    },
    report::{count, millis},
};

/// How many are connected, each with a wallet of its own.
const USERS: [usize; 3] = [100, 1_000, 10_000];

/// How many of them get deposits.
const RECEIVERS: usize = 8;

const RATE: f64 = 200.0;

/// Everybody has a turn.
const EVERYBODY: usize = 2_000;

const WALLET_UPDATED: &str = r#"{"query":"subscription { walletUpdated { cursor wallet { id version available { amount } pendingIn { amount } } transaction { id status } } }"}"#;

/// One to one of N, for growing N, and then 2,000 of 2,000.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    bench.report.section(
        "Private events",
        &format!(
            "`walletUpdated` after a `deposit`, {RATE} a second, to {RECEIVERS} of N users in turn; what reaches anybody \
             else is astray. The delivery part is the difference to the same mutations with nobody connected."
        ),
    );
    let mut rows = Vec::new();
    for users in USERS {
        let users = bench.options.scaled(users).max(RECEIVERS);
        rows.push(one(bench, users, RECEIVERS)?);
    }
    let everybody = bench.options.scaled(EVERYBODY).max(RECEIVERS);
    rows.push(one(bench, everybody, everybody)?);
    let head = [
        "N users / receivers",
        "CPU ms a mutation",
        "with subscribers",
        "delivery part",
        "p50 ms",
        "p99",
        "delivered",
        "lost / doubled / reordered / astray",
    ];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(bench: &mut Bench, users: usize, receivers: usize) -> Result<Vec<String>> {
    // Its pings would be a part of what is measured.
    let settings = Settings::of(&bench.options).set("LANCEWIRE_SOCKETS__PING_INTERVAL_MS", 3_600_000);
    let mut lancewire = bench.lancewire(&settings)?;
    let tokens = lancewire.accounts(users)?;
    let requests = tokens[..receivers].iter().map(|token| deposit(token)).collect();
    let server = lancewire.process.address;
    let mut load = Load::new(server, Protocol::Graphql, Numbered::Version, RECEIVERS, requests)?;
    let each = |load: &mut Load| -> Result<Duration> {
        load.drive(Pace::PerSecond(RATE), Until::Elapsed(Duration::from_secs(2)))?;
        load.settle(Duration::from_secs(10))?;
        load.begin();
        let before = lancewire.process.cpu()?;
        let sent = load.drive(Pace::PerSecond(RATE), Until::Elapsed(bench.options.time()))?;
        load.settle(Duration::from_secs(10))?;
        Ok((lancewire.process.cpu()? - before).div_f64(sent.requests as f64))
    };
    let alone = each(&mut load)?;
    let subscriptions: Rc<[String]> = Rc::new([WALLET_UPDATED.to_owned()]);
    let subscribers = tokens.iter().enumerate().map(|(place, token)| Subscriber {
        opening: Opening { token: Some(Rc::clone(token)), subscriptions: Rc::clone(&subscriptions) },
        hears: if place < receivers { Hears::Only(place) } else { Hears::Nothing },
    });
    load.connect(subscribers, Duration::from_secs(120))?;
    let heard = each(&mut load)?;
    load.idle(Duration::from_millis(200))?;
    let part = (heard.as_secs_f64() - alone.as_secs_f64()) * 1e3;
    Ok(vec![
        format!("{} / {}", count(users as u64), count(receivers as u64)),
        format!("{:.3}", alone.as_secs_f64() * 1e3),
        format!("{:.3}", heard.as_secs_f64() * 1e3),
        format!("{part:.3}"),
        millis(load.latency().quantile(0.5)),
        millis(load.latency().quantile(0.99)),
        count(load.tally().delivered),
        faults(&load.tally()),
    ])
}

/// Each sending needs another idempotency key: the mark is one.
fn deposit(token: &str) -> Request {
    let query =
        "mutation($input: DepositInput!) { deposit(input: $input) { transaction { id } errors { __typename } } }";
    let input = json!({
        "amount": { "amount": "1.00", "currencyCode": "USD" },
        "idempotencyKey": format!("bench-{}", wire::blank_mark()),
    });
    Request::graphql(Some(token), query, &json!({ "input": input }))
}
