//! What two nodes have in common fails: PostgreSQL crashes; Redis dies, freezes or is out of reach.

use std::time::{Duration, Instant};

use futures_util::join;

use super::{
    STAGE,
    readiness::Says::{NotReady, Ready},
    stage::{Below, Stage, meanwhile},
};
use crate::support::proxy::Wire;

/// Neither node can do anything, and says so; sockets stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_crashes_below_two_nodes() {
    let _alone = STAGE.lock().await;
    let below = Below::mortal().await;
    let (mut stage, mut cluster, readiness) =
        Stage::set_cluster("postgres-crashes-below-two", below, (16, 2), |home| home).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, below, scale, random, report, .. } = &mut stage;
    let Below::Mortal(postgres) = below else { unreachable!("it was just started") };
    meanwhile(load, async {
        for _ in scale.rounds() {
            load.answers(20 + usize::try_from(random.below(60)).expect("small")).await;
            postgres.crash().await;
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            // Gone for so long that the nodes and the balancer have noticed.
            join!(readiness.until(0, &[NotReady]), readiness.until(1, &[NotReady]));
            join!(cluster.balancer.until(0, "NOLB"), cluster.balancer.until(1, "NOLB"));
            postgres.recover().await;
            join!(readiness.until(0, &[Ready]), readiness.until(1, &[Ready]), load.answers(1));
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    let moved = fleet.look(|records| records.connected) - fleet.clients;
    assert_eq!(moved, 0, "nodes that cannot reach their database keep their sockets");
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}

/// Latency is all that it may cost: nobody loses an event, and no node is less ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_dies_freezes_and_is_out_of_reach() {
    let _alone = STAGE.lock().await;
    let below = Below::postgres().await;
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("redis-lost", below, (16, 4), |home| home).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, scale, random, report, .. } = &mut stage;
    let away = Duration::from_secs(if scale.soak { 10 } else { 2 });
    meanwhile(load, async {
        for round in scale.rounds() {
            load.answers(5 + usize::try_from(random.below(40)).expect("small")).await;
            let alone = usize::try_from(random.below(2)).expect("small");
            match round % 4 {
                0 => cluster.redis.kill().await,
                1 => cluster.redis.signal("STOP").await,
                // One node, without learning of it, and then by a reset.
                2 => cluster.nodes[alone].redis.set(Wire::Stalled),
                _ => cluster.nodes[alone].redis.set(Wire::Cut),
            }
            let began = Instant::now();
            report.at.push(began);
            report.faults += 1;
            load.in_trouble();
            while began.elapsed() < away {
                load.answers(5).await;
            }
            match round % 4 {
                0 => cluster.redis.recover().await,
                1 => cluster.redis.signal("CONT").await,
                _ => cluster.nodes[alone].redis.set(Wire::Open),
            }
            load.answers(10).await;
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    for node in 0..2 {
        let reasons = readiness.reasons(node);
        assert_eq!(
            readiness.unready(node),
            Duration::ZERO,
            "node{} was not ready without Redis: {reasons:?}",
            node + 1
        );
        readiness.until(node, &[Ready]).await;
    }
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}
