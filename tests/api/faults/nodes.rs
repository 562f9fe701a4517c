//! Two nodes behind a balancer, of which one dies, freezes, is cut off from the database or is restarted.

use std::time::{Duration, Instant};

use futures_util::join;

use super::{
    STAGE,
    readiness::Says::{NotReady, Nothing, Ready},
    stage::{Below, Stage, meanwhile},
};
use crate::support::proxy::Wire;

/// How long a node stays away in the long run, which is much longer than anybody waits for it.
const LONG: Duration = Duration::from_secs(10);

/// At any moment, and while what was committed is on its way to the sockets and will never arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_is_killed_in_turn() {
    let _alone = STAGE.lock().await;
    let below = Below::postgres().await;
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("node-killed", below, (16, 4), |home| home).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, proxy, scale, random, report, .. } = &mut stage;
    meanwhile(load, async {
        for round in scale.rounds() {
            let dies = round % 2;
            load.answers(5 + usize::try_from(random.below(40)).expect("small")).await;
            let underway = round % 4 > 1;
            if underway {
                proxy.set(Wire::Stalled);
                load.answers(8).await;
            }
            cluster.nodes[dies].kill().await;
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            if underway {
                proxy.set(Wire::Cut);
                proxy.set(Wire::Open);
            }
            // The other one carries on alone.
            join!(readiness.until(dies, &[Nothing]), readiness.until(1 - dies, &[Ready]), load.answers(20));
            cluster.balancer.until(dies, "DOWN").await;
            cluster.nodes[dies].serve().await;
            join!(readiness.until(dies, &[Ready]), cluster.balancer.until(dies, "UP"));
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    let proof = stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
    assert!(proof.late > 0, "no kill came between a commit and a socket");
    assert!(proof.private > 0, "nobody saw what is theirs");
}

/// It answers nobody and closes nothing: the balancer must notice by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_frozen_and_thawed() {
    let _alone = STAGE.lock().await;
    let below = Below::postgres().await;
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("node-frozen", below, (16, 1), |home| home).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, scale, report, .. } = &mut stage;
    meanwhile(load, async {
        for round in scale.rounds() {
            let frozen = round % 2;
            load.answers(20).await;
            cluster.nodes[frozen].signal("STOP").await;
            let began = Instant::now();
            report.at.push(began);
            report.faults += 1;
            load.in_trouble();
            join!(readiness.until(frozen, &[Nothing]), cluster.balancer.until(frozen, "DOWN"));
            let noticed = began.elapsed();
            readiness.until(1 - frozen, &[Ready]).await;
            while scale.soak && began.elapsed() < LONG {
                load.answers(5).await;
            }
            load.answers(20).await;
            report.remarks.push(format!("frozen for {:.1?}, noticed after {noticed:.1?}", began.elapsed()));
            cluster.nodes[frozen].signal("CONT").await;
            join!(readiness.until(frozen, &[Ready]), cluster.balancer.until(frozen, "UP"));
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}

/// It keeps its sockets, says that it is not ready, and catches up by position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_cut_off_from_the_database() {
    let _alone = STAGE.lock().await;
    let below = Below::postgres().await;
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("node-cut-off", below, (16, 2), |home| home).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, scale, report, .. } = &mut stage;
    meanwhile(load, async {
        for round in scale.rounds() {
            // By a reset, or without learning of it: each node in both ways.
            let (alone, wire) = (round % 2, if (round / 2 + round) % 2 == 0 { Wire::Cut } else { Wire::Stalled });
            load.answers(20).await;
            cluster.nodes[alone].database.set(wire);
            let began = Instant::now();
            report.at.push(began);
            report.faults += 1;
            load.in_trouble();
            join!(readiness.until(alone, &[NotReady]), cluster.balancer.until(alone, "NOLB"));
            readiness.until(1 - alone, &[Ready]).await;
            load.answers(20).await;
            while scale.soak && began.elapsed() < LONG {
                load.answers(5).await;
            }
            cluster.nodes[alone].database.set(Wire::Cut);
            cluster.nodes[alone].database.set(Wire::Open);
            join!(readiness.until(alone, &[Ready]), cluster.balancer.until(alone, "UP"));
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    let moved = fleet.look(|records| records.connected) - fleet.clients;
    assert_eq!(moved, 0, "a node that cannot reach its database keeps its sockets");
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}

/// As a deploy does it: each node is asked to end, ends, and is started again before it is the next one's turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_restarted_one_after_the_other() {
    let _alone = STAGE.lock().await;
    let below = Below::postgres().await;
    let quick = |home: crate::support::binary::Home| home.with("LANCEWIRE_SOCKETS__DRAIN_MS", "1000");
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("nodes-restarted", below, (16, 2), quick).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, scale, report, .. } = &mut stage;
    meanwhile(load, async {
        for round in scale.rounds() {
            let node = round % 2;
            load.answers(20).await;
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            join!(cluster.nodes[node].stop(), load.answers(5));
            join!(readiness.until(node, &[Nothing]), readiness.until(1 - node, &[Ready]));
            cluster.nodes[node].serve().await;
            join!(readiness.until(node, &[Ready]), cluster.balancer.until(node, "UP"));
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}

/// For two seconds nobody gets through, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_cluster_are_cut_again_and_again() {
    let _alone = STAGE.lock().await;
    let below = Below::postgres().await;
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("cluster-cut", below, (16, 2), |home| home).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, proxy, scale, random, report, .. } = &mut stage;
    meanwhile(load, async {
        for round in scale.rounds() {
            load.answers(5 + usize::try_from(random.below(40)).expect("small")).await;
            proxy.set([Wire::Cut, Wire::Unplugged, Wire::Stalled][round % 3]);
            let began = Instant::now();
            report.at.push(began);
            report.faults += 1;
            while began.elapsed() < Duration::from_secs(2) {
                load.answers(5).await;
            }
            proxy.set(Wire::Open);
            // Every other time the next cut comes upon those who are still on their way back.
            if round % 2 == 0 {
                fleet.until("everybody is back", |records| records.open() == fleet.clients).await;
            }
        }
        load.answers(20).await;
    })
    .await;
    for node in 0..2 {
        assert_eq!(
            readiness.unready(node),
            Duration::ZERO,
            "node{} was not ready, and nothing was wrong with it: {:?}",
            node + 1,
            readiness.reasons(node)
        );
    }
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}
