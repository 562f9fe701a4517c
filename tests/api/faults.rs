//! Servers, databases, connections and readers that fail under load: on real processes, with stock graphql-ws clients.
//!
//! Each story injects one fault again and again under load, and in the end every client's record equals what `events`
//! returns, no acknowledged change is missing, and `lancewire verify` finds nothing ([`Stage::prove`]). `make test`
//! runs them in seconds; with `LANCEWIRE_SOAK_SECONDS` (and `LANCEWIRE_SOAK_CLIENTS`) the same stories last longer,
//! which is `make soak`. Each leaves a report in `target/tmp/faults`, and its row in the table of all of them
//! ([`mod@report`]); `docs/faults.md` has that of a long run.
//!
//! Here it is one server. The modules below do the same to two nodes behind a balancer: [`nodes`] to one of them,
//! [`services`] to what they share, [`mod@clock`] to a clock, [`disk`] to a disk, [`crowd`] to all connections.

pub mod clock;
mod crowd;
mod disk;
pub mod fleet;
pub mod load;
mod nodes;
pub mod proof;
pub mod readiness;
pub mod report;
mod services;
pub mod stage;

use lancewire::jobs::events::{JOB_POSTED, JOB_UPDATED};
use std::time::{Duration, Instant};

use futures_util::future::join;
use reqwest::Method;
use tokio::sync::Mutex;

use crate::support::{
    binary::Server,
    http::{Http, Reply},
    proxy::Wire,
};
use fleet::{Listener, Records};
use stage::{Below, Stage, delays, meanwhile, metric};

/// These stories take all of the machine: one at a time.
static STAGE: Mutex<()> = Mutex::const_new(());

/// Kills the server again and again: at any moment, and while what was committed is on its way to the sockets and will
/// never arrive.
async fn the_server_is_killed(name: &'static str, below: Below) {
    let (mut stage, server) = Stage::set(name, below, (16, 6), &[], None, 20).await;
    let fleet = stage.fleet().await;
    let Stage { load, proxy, home, scale, random, report, .. } = &mut stage;
    let server = meanwhile(load, async {
        let mut server: Server = server;
        for round in scale.rounds() {
            load.answers(5 + usize::try_from(random.below(40)).expect("small")).await;
            let underway = round % 2 == 1;
            if underway {
                proxy.set(Wire::Stalled);
                load.answers(8).await;
            }
            server.signal("KILL").await;
            assert!(!server.ended().await.success());
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            if underway {
                proxy.set(Wire::Cut);
            }
            server = home.serve().await;
            proxy.set(Wire::Open);
        }
        load.answers(20).await;
        server
    })
    .await;
    let proof = stage.prove(&[&fleet], [server]).await;
    assert!(proof.late > 0, "no kill came between a commit and a socket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed_between_commit_and_socket_on_sqlite() {
    let _alone = STAGE.lock().await;
    the_server_is_killed("server-killed-on-sqlite", Below::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_killed_between_commit_and_socket_on_postgres() {
    let _alone = STAGE.lock().await;
    the_server_is_killed("server-killed-on-postgres", Below::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_crashes_under_load() {
    let _alone = STAGE.lock().await;
    let (mut stage, server) = Stage::set("postgres-crashes", Below::mortal().await, (16, 2), &[], None, 20).await;
    let fleet = stage.fleet().await;
    let Stage { load, below, scale, random, report, addr, .. } = &mut stage;
    let Below::Mortal(postgres) = below else { unreachable!("it was just started") };
    let http = Http::new(*addr);
    meanwhile(load, async {
        for _ in scale.rounds() {
            load.answers(20 + usize::try_from(random.below(60)).expect("small")).await;
            postgres.crash().await;
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            // Gone for so long that the server has noticed.
            while Reply::of(http.request(Method::GET, "/health/ready")).await.status.as_u16() != 503 {}
            postgres.recover().await;
            load.answers(1).await;
        }
        load.answers(20).await;
    })
    .await;
    stage.prove(&[&fleet], [server]).await;
}

/// Takes the wire away again and again: with a reset at both ends, behind the server's back, and for a moment in which
/// nothing moves.
async fn connections_are_cut(name: &'static str, below: Below) {
    let (mut stage, server) = Stage::set(name, below, (16, 3), &[], None, 20).await;
    let fleet = stage.fleet().await;
    let Stage { load, proxy, scale, random, report, .. } = &mut stage;
    let away = Duration::from_secs(2);
    meanwhile(load, async {
        for round in scale.rounds() {
            load.answers(5 + usize::try_from(random.below(40)).expect("small")).await;
            let fault = [Wire::Cut, Wire::Unplugged, Wire::Stalled][round % 3];
            proxy.set(fault);
            report.at.push(Instant::now());
            report.faults += 1;
            // As many as are done in the meantime, and some.
            let began = Instant::now();
            while began.elapsed() < away {
                load.answers(5).await;
            }
            proxy.set(Wire::Open);
        }
        load.answers(20).await;
    })
    .await;
    stage.prove(&[&fleet], [server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_under_load_on_sqlite() {
    let _alone = STAGE.lock().await;
    connections_are_cut("connections-cut-on-sqlite", Below::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_under_load_on_postgres() {
    let _alone = STAGE.lock().await;
    connections_are_cut("connections-cut-on-postgres", Below::postgres().await).await;
}

/// Little that may wait for a slow reader, and little memory for those who come back.
const NARROW: [(&str, &str); 3] = [
    ("LANCEWIRE_SOCKETS__QUEUE_BYTES", "65536"),
    ("LANCEWIRE_EVENTS__RING_BYTES", "1048576"),
    ("LANCEWIRE_EVENTS__BUFFER", "16"),
];

/// What the server's own memory may grow by while somebody does not read, in KiB. It owes the frozen clients several
/// times as much.
const GROWTH: u64 = 24 * 1024;

/// What may wait in the queues of the eight who do not read and, for a moment, of the others, in bytes.
const QUEUES: f64 = 10.0 * 65536.0;

/// How long after its answer a change may reach the others at the latest: about as long as a busy machine takes, and
/// much less than a reader stays frozen.
const DELAY: Duration = Duration::from_secs(3);

/// How many read beside the frozen ones at most: one process has them all, and what it cannot follow is late, too.
const OTHERS: usize = 100;

/// Stops a process full of readers; the others and the server must not notice. Those who wait for longer than the
/// server's patience are sent away and come back, the others catch up.
async fn a_reader_is_frozen(name: &'static str, below: Below, patience_ms: &str) {
    // Without an index, which gathers what is written in memory of its own.
    let others = [("LANCEWIRE_SOCKETS__WRITE_TIMEOUT_MS", patience_ms), ("LANCEWIRE_SEARCH__ENABLED", "false")];
    let settings: Vec<_> = NARROW.into_iter().chain(others).collect();
    let sent_away = patience_ms.len() < 6;
    let (mut stage, server) = Stage::set(name, below, (12, 1), &settings, Some(4096), 2_000).await;
    // Ten times the description: what is sent is much more than what is stored. And a private field, so that each
    // reader's copy is their own.
    let copies = (0..10).map(|number| format!("copy{number}: description")).collect::<Vec<_>>().join(" ");
    let copies = format!("{copies} escrow {{ amount }}");
    stage.scale.clients = stage.scale.clients.min(OTHERS);
    let others = stage.fleet().await;
    let listens = |viewer, kind| vec![Listener { viewer, kind }];
    let frozen: Vec<_> = (0..8)
        .map(|number| match number % 2 {
            0 => listens(None, JOB_POSTED),
            _ => listens(Some(number / 2), JOB_UPDATED),
        })
        .collect();
    let readers = 8.0;
    let frozen = stage.fleet_of(frozen, &copies).await;
    let Stage { load, scale, report, addr, .. } = &mut stage;
    meanwhile(load, async {
        for _ in scale.rounds() {
            let listening = frozen.look(|records| records.streams.iter().map(Vec::len).collect::<Vec<_>>());
            let all_listen =
                |records: &Records| records.streams.iter().zip(&listening).all(|(now, then)| now.len() > *then);
            let ((), ()) = join(load.answers(20), frozen.until("all readers read", all_listen)).await;
            let slow = async || metric(*addr, "lancewire_socket_closes_total{code=\"1013\"}").await;
            let closed_before = slow().await;
            frozen.signal("STOP").await;
            let (began, before, heard) = (Instant::now(), server.memory(), others.look(Records::heard));
            report.faults += 1;
            let (mut highest, mut answers) = (before, 0);
            let least = Duration::from_secs(if scale.soak { 30 } else { 0 });
            let closed = closed_before + if sent_away { readers } else { 0.0 };
            let mut waiting: f64 = 0.0;
            while answers < 300 || slow().await < closed || began.elapsed() < least {
                load.answers(5).await;
                answers += 5;
                highest = highest.max(server.memory());
                waiting = waiting.max(metric(*addr, "lancewire_socket_queue_bytes").await);
            }
            let lasted = began.elapsed();
            assert!(slow().await <= closed, "more were closed with 1013 than did not read");
            assert!(waiting <= QUEUES, "{waiting} bytes wait in queues");
            let growth = highest.zip(before).map_or(0, |(highest, before)| highest.saturating_sub(before));
            let told = others.look(Records::heard) - heard;
            frozen.signal("CONT").await;
            load.answers(20).await;
            let delays = delays(load, &others, began);
            let (median, longest) = (delays[delays.len() / 2], delays.last().copied().unwrap_or_default());
            report.remarks.push(format!(
                "frozen for {:.1} s: {answers} answers, {told} events to the others after {median:.1?}, at most \
                 {longest:.1?}; the server grew by {growth} KiB",
                lasted.as_secs_f64()
            ));
            report.remarks.push(format!("at most {waiting} bytes in queues"));
            assert!(growth < GROWTH, "the server's memory grew by {growth} KiB");
            assert!(longest < DELAY, "the others waited for {longest:?}");
        }
    })
    .await;
    stage.prove(&[&others, &frozen], [server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_reader_harms_nobody_is_sent_away_and_comes_back() {
    let _alone = STAGE.lock().await;
    a_reader_is_frozen("reader-frozen-on-sqlite", Below::Sqlite, "1000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_reader_harms_nobody_and_catches_up() {
    let _alone = STAGE.lock().await;
    a_reader_is_frozen("reader-frozen-on-postgres", Below::postgres().await, "600000").await;
}

/// What may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Crash,
    Cut,
    Unplug,
    Stall,
    Freeze,
}

/// One thing breaks, and before it is mended another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fault_comes_upon_the_other() {
    use Fault::{Crash, Cut, Freeze, Kill, Stall, Unplug};

    let _alone = STAGE.lock().await;
    let (mut stage, server) = Stage::set("fault-upon-fault", Below::mortal().await, (12, 5), &[], None, 20).await;
    let (fleet, other) = (stage.fleet().await, stage.fleet().await);
    let clients = stage.scale.clients;
    let Stage { load, proxy, home, below, scale, random, report, .. } = &mut stage;
    let Below::Mortal(postgres) = below else { unreachable!("it was just started") };
    let some = |least: usize, more: u64| least + usize::try_from(random.below(more)).expect("small");
    let all = [Kill, Crash, Cut, Unplug, Stall, Freeze];
    // In this order first, then in any.
    let first = [[Freeze, Kill], [Unplug, Crash], [Stall, Kill], [Freeze, Cut], [Crash, Kill]];
    let server = meanwhile(load, async {
        let mut server: Option<Server> = Some(server);
        for round in scale.rounds() {
            let faults = first.get(round).copied().unwrap_or_else(|| [all[some(0, 6)], all[some(0, 6)]]);
            load.answers(some(5, 40)).await;
            let began = Instant::now();
            for (place, fault) in faults.into_iter().enumerate() {
                // Without a server or a database nobody is answered.
                if place > 0 && !matches!(faults[0], Kill | Crash) {
                    load.answers(some(1, 20)).await;
                }
                if place > 0 && fault == faults[0] {
                    break;
                }
                match fault {
                    Kill => {
                        let server = server.take().expect("it runs");
                        server.signal("KILL").await;
                        server.ended().await;
                    }
                    Crash => postgres.crash().await,
                    Cut => proxy.set(Wire::Cut),
                    Unplug => proxy.set(Wire::Unplugged),
                    Stall => proxy.set(Wire::Stalled),
                    Freeze => other.signal("STOP").await,
                }
                report.at.push(Instant::now());
                report.faults += 1;
                if matches!(fault, Kill | Crash) {
                    load.in_trouble();
                }
            }
            if faults.iter().any(|fault| matches!(fault, Cut | Unplug)) && faults.contains(&Crash) {
                // Clients that reconnect find a server without its database.
                let tries = |records: &Records| records.connected + records.closed.values().sum::<usize>();
                let before = fleet.look(tries);
                proxy.set(Wire::Open);
                fleet.until("all try to come back", |records| tries(records) >= before + clients).await;
            }
            if faults.contains(&Crash) {
                postgres.recover().await;
            }
            if server.is_none() {
                server = Some(home.serve().await);
            }
            let mended = began.elapsed();
            proxy.set(Wire::Open);
            other.signal("CONT").await;
            load.answers(1).await;
            if began.elapsed() > Duration::from_secs(5) {
                let answered = began.elapsed();
                report.remarks.push(format!(
                    "round {round}, {faults:?}: mended after {mended:.1?}, answered after {answered:.1?}"
                ));
            }
        }
        load.answers(20).await;
        server.expect("it runs")
    })
    .await;
    let proof = stage.prove(&[&fleet, &other], [server]).await;
    assert!(proof.late > 0, "nothing broke between a commit and a socket");
}
