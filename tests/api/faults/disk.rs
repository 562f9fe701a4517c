//! The disk below the database is full: what cannot be written down is not acknowledged, and when there is room again
//! the crowd goes on as if nothing had been.

use std::{fs, time::Instant};

use futures_util::join;
use reqwest::Method;
use serde_json::json;

use super::{
    STAGE,
    readiness::Says::Ready,
    stage::{Below, Stage, meanwhile},
};
use crate::support::{
    app::soon,
    binary::Home,
    disk::{Ballast, SmallDisk},
    http::Http,
    people::text,
    postgres::Mortal,
};

/// Enough failures to call a disk full, of any kind of change.
const FAILURES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_below_sqlite_is_full() {
    let Some(disk) = SmallDisk::of(64) else {
        println!("not told: we may not mount a small disk here");
        return;
    };
    let _alone = STAGE.lock().await;
    let home = Home::new().on(disk);
    let (mut stage, server) = Stage::set_in(home, "disk-full-below-sqlite", Below::Sqlite, (16, 2), None, 20).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, home, scale, report, .. } = &mut stage;
    meanwhile(load, async {
        for _ in scale.rounds() {
            load.answers(40).await;
            let ballast = Ballast::fill(server.sees(home, "data/ballast"));
            let began = Instant::now();
            report.at.push(began);
            report.faults += 1;
            load.failures(FAILURES).await;
            drop(ballast);
            load.answers(1).await;
            load.was_out(began.elapsed());
            load.answers(20).await;
        }
        load.answers(20).await;
    })
    .await;
    // Nobody writes any more. SQLite would follow the way into the server's world back into ours, where no such file is:
    // what is verified is a copy.
    let copy = Home::new();
    fs::create_dir(copy.path().join("data")).expect("a folder");
    for file in ["data/lancewire.db", "data/lancewire.db-wal"] {
        fs::copy(server.sees(home, file), copy.path().join(file)).expect("a copy");
    }
    let _kept = std::mem::replace(&mut stage.home, copy);
    stage.prove(&[&fleet, &curious], [server]).await;
}

/// A server that cannot write is no place for traffic, and says so; once it can, it says that too, though nobody writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_a_full_disk_is_not_ready() {
    let Some(disk) = SmallDisk::of(64) else {
        println!("not told: we may not mount a small disk here");
        return;
    };
    let home = Home::new().on(disk).with("LANCEWIRE_BUDGETS__ANONYMOUS", "1000000000");
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { errors { __typename } } }";
    let input = json!({ "input": { "email": "ada@example.com", "password": "correct-horse-battery" } });
    let readiness = async || {
        let answer = http.request(Method::GET, "/health/ready").send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, text(&answer.json().await.expect("JSON"), "/database"))
    };
    assert_eq!(readiness().await, (200, "ok".to_owned()));
    let ballast = Ballast::fill(server.sees(&home, "data/ballast"));
    // The room that the write-ahead log has already may take some more.
    let refused = async {
        loop {
            let answer = http.graphql(None, sign_in, input.clone()).await;
            if answer.body.get("errors").is_some() {
                return answer;
            }
        }
    };
    assert_eq!(soon(refused).await.code(), "INTERNAL_SERVER_ERROR");
    // All who ask within a moment get one answer.
    soon(async { while readiness().await != (503, "takes no writes".to_owned()) {} }).await;
    http.graphql(None, "{ skills { slug } }", json!({})).await.data();
    assert_eq!(readiness().await, (503, "takes no writes".to_owned()), "reading is not enough");
    drop(ballast);
    soon(async { while readiness().await != (200, "ok".to_owned()) {} }).await;
    assert_eq!(http.graphql(None, sign_in, input).await.at("/data/signIn/errors"), &json!([]));
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

/// It may stop altogether when its own log has no room, and is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_below_postgres_is_full() {
    let postgres = match SmallDisk::of(160) {
        Some(disk) => Mortal::start_on(disk).await,
        None => None,
    };
    let Some(postgres) = postgres else {
        println!("not told: we may not mount a small disk for PostgreSQL here");
        return;
    };
    let _alone = STAGE.lock().await;
    let below = Below::Mortal(postgres);
    let (mut stage, mut cluster, readiness) =
        Stage::set_cluster("disk-full-below-postgres", below, (16, 2), |home| home).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, below, scale, report, .. } = &mut stage;
    let Below::Mortal(postgres) = below else { unreachable!("it was just started") };
    meanwhile(load, async {
        for _ in scale.rounds() {
            load.answers(40).await;
            let ballast = postgres.fill();
            let began = Instant::now();
            report.at.push(began);
            report.faults += 1;
            load.failures(FAILURES).await;
            drop(ballast);
            postgres.revive().await;
            load.answers(1).await;
            load.was_out(began.elapsed());
            join!(readiness.until(0, &[Ready]), readiness.until(1, &[Ready]), load.answers(20));
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}
