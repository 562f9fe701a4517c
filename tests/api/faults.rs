//! Servers, databases, connections and readers that fail under load: on real processes, with stock graphql-ws clients.
//!
//! Each story breaks one thing again and again while a crowd works, and in the end every client's record is what
//! `events` says, nothing acknowledged is missing, and `lancewire verify` is content ([`Stage::prove`]). `make test`
//! tells them in seconds; with `LANCEWIRE_SOAK_SECONDS` (and `LANCEWIRE_SOAK_CLIENTS`) the same stories last, which is
//! `make soak`. Each leaves a report in `target/tmp/faults`.

pub mod fleet;
pub mod load;
pub mod stage;

use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::sync::Mutex;

use crate::support::{
    binary::Server,
    http::{Http, Reply},
    proxy::Wire,
};
use stage::{Below, Stage, closes, meanwhile};

/// These stories take all of the machine: one at a time.
static STAGE: Mutex<()> = Mutex::const_new(());

/// Kills the server again and again: at any moment, and while what was committed is on its way to the sockets and will
/// never arrive.
async fn the_server_is_killed(name: &'static str, below: Below) {
    let (mut stage, server) = Stage::set(name, below, (16, 6), &[], None, 20).await;
    let fleet = stage.fleet(stage.scale.clients, "").await;
    let Stage { load, proxy, home, scale, random, report, .. } = &mut stage;
    let server = meanwhile(load, async {
        let mut server: Server = server;
        for round in 0.. {
            if !scale.goes_on(round) {
                break;
            }
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
    stage.prove(&[&fleet], server).await;
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
    let (mut stage, server) = Stage::set("postgres-crashes", Below::mortal().await, (16, 3), &[], None, 20).await;
    let fleet = stage.fleet(stage.scale.clients, "").await;
    let Stage { load, below, scale, random, report, port, .. } = &mut stage;
    let Below::Mortal(postgres) = below else { unreachable!("it was just started") };
    let http = Http::new(port.addr);
    meanwhile(load, async {
        for round in 0.. {
            if !scale.goes_on(round) {
                break;
            }
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
    stage.prove(&[&fleet], server).await;
}

/// Takes the wire away again and again: with a reset at both ends, behind the server's back, and for a moment in which
/// nothing moves.
async fn connections_are_cut(name: &'static str, below: Below) {
    let (mut stage, server) = Stage::set(name, below, (16, 3), &[], None, 20).await;
    let fleet = stage.fleet(stage.scale.clients, "").await;
    let Stage { load, proxy, scale, random, report, .. } = &mut stage;
    let away = Duration::from_secs(2);
    meanwhile(load, async {
        for round in 0.. {
            if !scale.goes_on(round) {
                break;
            }
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
    stage.prove(&[&fleet], server).await;
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
const IMPATIENT: &[(&str, &str)] = &[
    ("LANCEWIRE_SOCKETS__QUEUE_BYTES", "65536"),
    ("LANCEWIRE_SOCKETS__WRITE_TIMEOUT_MS", "1000"),
    ("LANCEWIRE_EVENTS__RING_BYTES", "1048576"),
    ("LANCEWIRE_EVENTS__BUFFER", "16"),
];

/// What the server's own memory may grow by while somebody does not read, in KiB. It owes the frozen clients several
/// times as much.
const GROWTH: u64 = 24 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_reader_harms_nobody_and_comes_back() {
    let _alone = STAGE.lock().await;
    let (mut stage, server) = Stage::set("reader-frozen", Below::Sqlite, (12, 1), IMPATIENT, Some(4096), 2_000).await;
    // Ten times the description: what is sent is much more than what is stored.
    let copies = (0..10).map(|number| format!("copy{number}: description")).collect::<Vec<_>>().join(" ");
    let others = stage.fleet(stage.scale.clients, "").await;
    let frozen = stage.fleet(8, &copies).await;
    let Stage { load, scale, report, port, .. } = &mut stage;
    meanwhile(load, async {
        load.answers(20).await;
        frozen.until("the later frozen listen", |records| records.streams.iter().any(|stream| stream.len() > 5)).await;
        for round in 0.. {
            if !scale.goes_on(round) {
                break;
            }
            let slow = closes(port.addr, "1013").await;
            frozen.signal("STOP").await;
            let (began, before, heard) = (Instant::now(), server.memory(), others.look(fleet::Records::heard));
            report.faults += 1;
            let mut highest = before;
            let mut answers = 0;
            let stop = Duration::from_secs(if scale.soak { 30 } else { 0 });
            while answers < 150 || closes(port.addr, "1013").await == slow || began.elapsed() < stop {
                load.answers(5).await;
                answers += 5;
                highest = highest.max(server.memory());
            }
            let growth = highest.zip(before).map(|(highest, before)| highest.saturating_sub(before));
            let told = others.look(fleet::Records::heard) - heard;
            let slow = closes(port.addr, "1013").await - slow;
            report.remarks.push(format!(
                "frozen for {:.1} s: {answers} answers, {told} events to the others, {slow} closed with 1013, the \
                 server's memory grew by {growth:?} KiB",
                began.elapsed().as_secs_f64()
            ));
            assert!(growth.is_none_or(|growth| growth < GROWTH), "{growth:?} KiB");
            frozen.signal("CONT").await;
            load.answers(20).await;
        }
    })
    .await;
    stage.prove(&[&others, &frozen], server).await;
}
