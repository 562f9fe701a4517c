//! The clock of one node jumps, and only that of its process: libfaketime tells it another time than the machine has.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::{DateTime, TimeDelta};
use futures_util::join;
use lancewire::clock::Clock;
use serde_json::json;

use super::{
    STAGE,
    readiness::Says::Ready,
    stage::{Below, Stage, meanwhile},
};
use crate::support::{binary::Home, http::Http, people::text};

/// What a node's wall clock is told by, in its home.
const HANDS: &str = "clock";

/// An hour forward: it makes tokens of the future. An hour back: it takes everybody's tokens for such, until it is
/// right again. Nothing is lost either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_one_node_jumps_by_an_hour() {
    let _alone = STAGE.lock().await;
    let library = find_library().expect("libfaketime is missing: run scripts/prepare-tests");
    let movable = |home: Home| {
        set(home.path(), "+0");
        let hands = home.path().join(HANDS).display().to_string();
        home.with("LD_PRELOAD", library.display().to_string())
            .with("FAKETIME_TIMESTAMP_FILE", hands)
            .with("FAKETIME_NO_CACHE", "1")
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    let below = Below::postgres().await;
    let (mut stage, mut cluster, readiness) = Stage::set_cluster("clock-jumps", below, (16, 2), movable).await;
    let (fleet, curious) = join!(stage.fleet(), stage.curious());
    let Stage { load, scale, report, .. } = &mut stage;
    meanwhile(load, async {
        for round in scale.rounds() {
            let node = &cluster.nodes[round / 2 % 2];
            let (jump, hours) = [("+1h", 1), ("-1h", -1)][round % 2];
            load.answers(20).await;
            if hours < 0 {
                load.expects_refused_tokens();
            }
            set(node.home.path(), jump);
            report.at.push(Instant::now());
            report.faults += 1;
            load.in_trouble();
            let difference = ahead(node.addr).await - TimeDelta::hours(hours);
            assert!(
                difference.abs() < TimeDelta::minutes(1),
                "its clock is wrong by {difference} more than it was set"
            );
            load.answers(60).await;
            join!(readiness.until(0, &[Ready]), readiness.until(1, &[Ready]));
            set(node.home.path(), "+0");
            load.answers(20).await;
        }
        load.answers(20).await;
    })
    .await;
    report.remarks.push(readiness.remark());
    stage.prove(&[&fleet, &curious], cluster.take_servers()).await;
}

/// Sets the clock of the node that lives there, at once.
fn set(home: &Path, time: &str) {
    let fresh = home.join("clock.new");
    fs::write(&fresh, time).expect("written");
    fs::rename(fresh, home.join(HANDS)).expect("moved");
}

/// How far the clock of a node is ahead of ours, by the tokens that it makes.
async fn ahead(node: SocketAddr) -> TimeDelta {
    let query = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessTokenExpiresAt } } }";
    let input = json!({ "input": { "email": "ada@example.com", "password": lancewire::seed::PASSWORD } });
    let reply = Http::new(node).graphql(None, query, input).await;
    let expires = text(&reply.body, "/data/signIn/session/accessTokenExpiresAt");
    let expires = DateTime::parse_from_rfc3339(&expires).expect("a moment").to_utc();
    expires - TimeDelta::days(1) - Clock::system().now()
}

/// Where Debian and its relatives keep it; scripts/prepare-tests looks in the same places.
pub fn find_library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path());
    folders
        .chain([PathBuf::from("/usr/lib")])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
}
