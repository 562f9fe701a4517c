//! All clients reconnect at once: the balancer restarts, and then one of two nodes with half of them dies.

use std::{env, time::Instant};

use futures_util::future::{join, join_all};
use lancewire::events::EventKind;
use tokio::process::Command;

use super::{
    STAGE,
    fleet::Listener,
    stage::{Below, Stage, meanwhile},
};
use crate::support::{balancer::Balancer, binary::Home};

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
    // Each takes two files of a balancer: where it may not have so many there are more of them, side by side.
    let each = (open_files().await - 200) / 2;
    let nodes = cluster.nodes.each_ref().map(|node| node.addr);
    let mut beside = join_all((1..crowd.div_ceil(each)).map(|_| Balancer::before(nodes))).await;
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
    let doors: Vec<_> = [&cluster.balancer].into_iter().chain(&beside).map(|balancer| balancer.addr).collect();
    let share = crowd.div_ceil(doors.len());
    let comes_to = |door: usize| (door * share..crowd.min((door + 1) * share)).map(client).collect();
    let fleets = doors.iter().enumerate().map(|(door, addr)| stage.fleet_at(*addr, comes_to(door), ""));
    let fleets = join_all(fleets).await;
    let connected = || -> Vec<usize> { fleets.iter().map(|fleet| fleet.look(|records| records.connected)).collect() };
    let Stage { load, scale, report, .. } = &mut stage;
    report.remarks.push(format!("{crowd} came at first within {:.1?}", began.elapsed()));
    meanwhile(load, async {
        for round in scale.rounds() {
            load.answers(20).await;
            let before = connected();
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            let began = Instant::now();
            join(cluster.balancer.restart(), join_all(beside.iter_mut().map(Balancer::restart))).await;
            let all_back = fleets.iter().zip(&before).map(|(fleet, before)| {
                fleet.until("everybody is back", move |records| records.connected >= before + fleet.clients)
            });
            join_all(all_back).await;
            report.remarks.push(format!("all {crowd} were back {:.1?} after the balancer's end", began.elapsed()));
            load.answers(20).await;

            let node = round % 2;
            let before = connected();
            let began = Instant::now();
            cluster.nodes[node].kill().await;
            report.at.push(began);
            report.faults += 1;
            load.in_trouble();
            load.answers(1).await;
            let all_back = fleets.iter().zip(&before).map(|(fleet, before)| {
                fleet.until("those of the dead node are back", move |records| {
                    records.connected > *before && records.open() == fleet.clients
                })
            });
            join_all(all_back).await;
            let back = connected().iter().sum::<usize>() - before.iter().sum::<usize>();
            report.remarks.push(format!("{back} were back {:.1?} after the end of their node", began.elapsed()));
            cluster.nodes[node].serve().await;
            join(cluster.balancer.until(node, "UP"), join_all(beside.iter().map(|other| other.until(node, "UP"))))
                .await;
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    stage.prove(&fleets.iter().collect::<Vec<_>>(), cluster.take_servers()).await;
}

/// How many files one process may open here.
async fn open_files() -> usize {
    let limit = Command::new("/bin/sh").args(["-c", "ulimit -n 65536 2>/dev/null; ulimit -H -n"]).output().await;
    let limit = String::from_utf8(limit.expect("a shell").stdout).expect("a text");
    // Where there is no limit there is a word.
    limit.trim().parse().unwrap_or(usize::MAX)
}
