//! Everybody comes back at once: the balancer starts anew, and then one of two nodes dies below half of them.

use std::{env, time::Instant};

use lancewire::events::EventKind;
use tokio::process::Command;

use super::{
    STAGE,
    fleet::{Listener, Records},
    stage::{Below, Stage, meanwhile},
};
use crate::support::binary::Home;

/// How many in the short run, and in the long one unless `LANCEWIRE_SOAK_CROWD` says otherwise.
const SHORT: usize = 300;
const LONG: usize = 10_000;
/// One of so many listens to the feed; the others wait for what rarely comes, as most people do.
const BUSY: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_comes_back_at_once() {
    let _alone = STAGE.lock().await;
    let below = Below::postgres().await;
    // As by default: who comes back waits for the database, and is not sent away after a second.
    let patient = |home: Home| home.with("LANCEWIRE_DATABASE__ACQUIRE_TIMEOUT_MS", "10000");
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("everybody-comes-back", below, (16, 1), patient).await;
    let crowd = match env::var("LANCEWIRE_SOAK_CROWD") {
        Ok(crowd) => crowd.parse().expect("LANCEWIRE_SOAK_CROWD is a number"),
        Err(_) if stage.scale.soak => LONG,
        Err(_) => SHORT,
    };
    // Each takes two files of the balancer.
    let crowd: usize = std::cmp::min(crowd, (open_files().await - 200) / 2);
    let admin = Some(stage.load.people.len() - 1);
    let client = |number: usize| {
        let (viewer, kind) = match number % BUSY {
            0 => (None, EventKind::JobPosted),
            _ => (admin, EventKind::WalletUpdated),
        };
        vec![Listener { viewer, kind }]
    };
    let began = Instant::now();
    // Past the wire that tests can cut: it would need two more files for each connection.
    let fleet = stage.fleet_at(cluster.balancer.addr, (0..crowd).map(client).collect(), "").await;
    let Stage { load, scale, report, .. } = &mut stage;
    report.remarks.push(format!("{crowd} came at first within {:.1?}", began.elapsed()));
    meanwhile(load, async {
        for round in scale.rounds() {
            load.answers(20).await;
            let connected = fleet.look(|records| records.connected);
            let all_back = |records: &Records| records.connected >= connected + crowd;
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            let began = Instant::now();
            cluster.balancer.restart().await;
            fleet.until("everybody is back", all_back).await;
            report.remarks.push(format!("all {crowd} were back {:.1?} after the balancer's end", began.elapsed()));
            load.answers(20).await;

            let node = round % 2;
            let connected = fleet.look(|records| records.connected);
            let began = Instant::now();
            cluster.nodes[node].kill().await;
            report.at.push(began);
            report.faults += 1;
            load.in_trouble();
            load.answers(1).await;
            let mut back = 0;
            fleet
                .until("those of the dead node are back", |records| {
                    back = records.connected - connected;
                    back > 0 && records.open() == crowd
                })
                .await;
            report.remarks.push(format!("{back} were back {:.1?} after the end of their node", began.elapsed()));
            cluster.nodes[node].serve().await;
            cluster.balancer.until(node, "UP").await;
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    stage.prove(&[&fleet], cluster.take_servers()).await;
}

/// How many files one process may open here.
async fn open_files() -> usize {
    let limit = Command::new("/bin/sh").args(["-c", "ulimit -n 65536 2>/dev/null; ulimit -H -n"]).output().await;
    let limit = String::from_utf8(limit.expect("a shell").stdout).expect("a text");
    // Where there is no limit there is a word.
    limit.trim().parse().unwrap_or(usize::MAX)
}
