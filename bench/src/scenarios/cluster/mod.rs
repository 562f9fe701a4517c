//! Two nodes on one PostgreSQL, without and with Redis: what each of them adds and costs.
//!
//! Mutations go to the first node, subscribers sit on the second. Servers may use all cores (`crate::cluster`).

use std::{rc::Rc, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::Bench;
use crate::{
    cluster::Cluster,
    lancewire::Settings,
    load::{
        Load, Numbered, Subscriber,
        publisher::Request,
        record::Hears,
        socket::{Opening, Protocol},
    },
    options::Bus,
    report::figure,
};

pub mod latency;
pub mod model;
pub mod mutations;
pub mod revocation;
pub mod rolling;
pub mod storm;

/// What a client of a cluster asks for; with the cursor of its last event it goes on where that was.
const QUERY: &str = "subscription($after: String) { jobUpdated(after: $after) { id cursor job { id version title } } }";

/// Two nodes, jobs to change and people to subscribe as.
struct Pair {
    cluster: Cluster,
    requests: Vec<Request>,
    tokens: Vec<Rc<str>>,
}

impl Pair {
    fn start(bench: &mut Bench, bus: Bus, settings: &Settings, jobs: usize, accounts: usize) -> Result<Self> {
        let home = bench.folder()?;
        let mut cluster = Cluster::start(bus, settings, &bench.options, home)?;
        let requests = cluster.node(0).change_requests(jobs)?;
        let tokens = cluster.node(0).accounts(accounts)?;
        cluster.join()?;
        Ok(Self { cluster, requests, tokens })
    }

    /// A generator that publishes on the first node and subscribes on the second.
    fn load(&mut self) -> Result<Load> {
        let first = self.cluster.node(0).process.address;
        let mut load = Load::new(first, Protocol::Graphql, Numbered::Mark, self.requests.len(), self.requests.clone())?;
        load.subscribe_to(self.cluster.node(1).process.address);
        Ok(load)
    }

    /// What subscriber `place` says when it comes with this cursor.
    fn opening(&self) -> impl Fn(usize, Option<&str>) -> Opening + 'static {
        let tokens = self.tokens.clone();
        move |place, after| Opening {
            token: Some(Rc::clone(&tokens[place % tokens.len()])),
            subscriptions: Rc::new([subscribe(after)]),
        }
    }

    /// Subscribers to all changes, without a cursor.
    fn subscribers(&self, places: std::ops::Range<usize>) -> impl Iterator<Item = Subscriber> + 'static {
        let opening = self.opening();
        places.map(move |place| Subscriber { opening: opening(place, None), hears: Hears::Every })
    }
}

fn subscribe(after: Option<&str>) -> String {
    let variables = after.map_or(Value::Null, |after| json!({ "after": after }));
    json!({ "query": QUERY, "variables": variables }).to_string()
}

/// CPU time by wall time, of each, as shares of a core.
fn shares(before: &[Duration], after: &[Duration], time: Duration) -> Vec<String> {
    let share = |(before, after): (&Duration, &Duration)| {
        format!("{:.0}", after.saturating_sub(*before).as_secs_f64() / time.as_secs_f64() * 100.0)
    };
    before.iter().zip(after).map(share).collect()
}

/// Two figures in one cell.
fn both(one: f64, other: f64) -> String {
    format!("{} / {}", figure(one), figure(other))
}

/// Milliseconds.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
