//! Somebody signs out on one node: when does their socket on the other close?

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Pair, millis, subscribe};
use crate::{
    cluster::Cluster,
    load::{
        histogram::Histogram,
        socket::{Closed, Opening, Protocol, Reader, Socket, Stage},
    },
    options::Bus,
    report::figure,
    scenarios::{Bench, lone_lancewire},
};

const SESSIONS: usize = 50;

/// What the server says to a token whose session has ended.
const FORBIDDEN: u16 = 4403;

const SIGN_OUT: &str = "mutation { signOut { errors { __typename } } }";

/// How long a socket may stay open.
const PATIENCE: Duration = Duration::from_secs(10);

/// A row for each bus.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    bench.report.section(
        "Cluster: revocation",
        &format!(
            "{SESSIONS} people, one after the other, have a socket on node B and call `signOut` on node A. From sending \
             that until the close with {FORBIDDEN} is read, and from its answer."
        ),
    );
    let mut rows = Vec::new();
    for bus in bench.options.buses.clone() {
        rows.push(one(bench, bus)?);
    }
    let head = ["", "closed", "p50 ms", "p99", "max", "from the answer p50", "p99"];
    bench.report.table(&head, &rows);
    Ok(())
}

fn one(bench: &mut Bench, bus: Bus) -> Result<Vec<String>> {
    let mut pair = Pair::start(bench, bus, &Cluster::settings(), 0, SESSIONS)?;
    let address = pair.cluster.node(1).process.address;
    let (mut all, mut after_answer) = (Histogram::default(), Histogram::default());
    for token in pair.tokens.clone() {
        let opening = Opening { token: Some(Rc::clone(&token)), subscriptions: Rc::new([subscribe(None)]) };
        let source = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
        let mut socket = Socket::connect(source, address, Protocol::Graphql, opening)?;
        wait(&mut socket, |socket, _| socket.stage == Stage::Live)?;
        let began = Instant::now();
        pair.cluster.node(0).api.run(Some(&token), SIGN_OUT, &json!({}))?;
        let answered = Instant::now();
        wait(&mut socket, |_, closed| closed == Some(FORBIDDEN))?;
        let nanos = |since: Instant| u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        all.record(nanos(began));
        after_answer.record(nanos(answered));
    }
    Ok(vec![
        bus.label().to_owned(),
        format!("{} of {SESSIONS}", all.count()),
        figure(millis(all.quantile(0.5))),
        figure(millis(all.quantile(0.99))),
        figure(millis(all.max())),
        figure(millis(after_answer.quantile(0.5))),
        figure(millis(after_answer.quantile(0.99))),
    ])
}

/// Passes over whatever comes.
struct Nobody;

impl Reader for Nobody {
    fn event(&mut self, _: &[u8]) {}
}

/// Reads until `done`, which hears the close code, too.
fn wait(socket: &mut Socket, done: impl Fn(&Socket, Option<u16>) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut scratch = [0; 4096];
    let mut closed = None;
    while !done(socket, closed) {
        ensure!(Instant::now() < deadline && closed.is_none(), "a socket is not closed: {closed:?}");
        match socket.read(&mut scratch, &mut Nobody) {
            Ok(true) => {}
            Ok(false) => socket.wait(Duration::from_millis(100))?,
            Err(error) => {
                let code = error.downcast_ref::<Closed>().map(|closed| closed.code);
                closed = Some(code.with_context(|| format!("{error:#}"))?);
            }
        }
    }
    Ok(())
}
