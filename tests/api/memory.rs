//! What passwords leave behind in memory: nothing, a moment after the last of them.

use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::support::{
    app::until,
    binary::{Home, Server},
    http::Http,
    socket::Socket,
};

/// As in production.
fn home() -> Home {
    Home::new()
        .with("LANCEWIRE_AUTH__PASSWORD_MEMORY_KIB", "19456")
        .with("LANCEWIRE_AUTH__PASSWORD_ITERATIONS", "2")
        .with("LANCEWIRE_AUTH__FREE_ATTEMPTS_PER_ACCOUNT", "1000000")
        .with("LANCEWIRE_AUTH__FREE_ATTEMPTS_PER_ADDRESS", "1000000")
        .with("LANCEWIRE_BUDGETS__ANONYMOUS", "100000000")
        .with("LANCEWIRE_BUDGETS__ADDRESS", "100000000")
}

/// Signs in so often, some at a time, and returns by how many MiB the server has grown once nobody waits any more.
async fn growth(sign_ins: usize) -> i64 {
    let home = home();
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let sign_in = async || {
        let query = "mutation($input: SignInInput!) { signIn(input: $input) { user { id } errors { __typename } } }";
        let input = json!({ "email": "ada@example.com", "password": "correct-horse-battery" });
        let reply = http.graphql(None, query, json!({ "input": input })).await;
        assert!(reply.at("/data/signIn/user/id").is_string(), "{reply}");
    };
    sign_in().await;
    let memory = |server: &Server| i64::try_from(server.memory().expect("the kernel tells")).expect("small") / 1024;
    let before = memory(&server);
    stream::iter(0..sign_ins).for_each_concurrent(24, |_| sign_in()).await;
    let left = || memory(&server) - before;
    println!("{sign_ins} sign-ins: {before} MiB before, {} MiB more afterwards", left());
    until("the memory is given back", || left() <= 64).await;
    let left = left();
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
    left
}

/// Enough to show: before it was given back these left 300 MiB and more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_leave_no_memory_behind() {
    assert!(growth(120).await <= 64);
}

/// The figure of docs/operations.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: cargo test --test api -- memory:: --include-ignored --nocapture --test-threads=1"]
async fn a_thousand_sign_ins_leave_no_memory_behind() {
    assert!(growth(1_000).await <= 64);
}

/// The figures of docs/operations.md, "How much a node takes".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures: cargo test --test api -- memory:: --include-ignored --nocapture --test-threads=1"]
async fn idle_sockets_take_little() {
    let home = home().with("LANCEWIRE_SOCKETS__SOCKETS_PER_ADDRESS", "100000");
    let home = home.with("LANCEWIRE_HTTP__CONNECTIONS_PER_ADDRESS", "100000");
    let server = home.serve().await;
    let kib = || server.memory().expect("the kernel tells");
    let rest = kib();
    let sockets: Vec<Socket> = stream::iter(0..1_000).then(|_| Socket::connect(server.addr, None)).collect().await;
    let taken = kib().saturating_sub(rest);
    println!("{} MiB at rest, {} KiB more for {} idle sockets", rest / 1024, taken, sockets.len());
    assert!(taken < 16 * 1024, "{taken} KiB");
    drop(sockets);
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}
