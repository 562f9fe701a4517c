//! A subscription keeps no more memory than what was sent for it: undeclared variables and extensions are dropped, and
//! of the declared variables only what its events need is kept, as text.

use serde_json::{Value, json};

use crate::support::{
    app::soon,
    binary::{Home, Server},
    http::Http,
    socket::Socket,
    stream::{MULTIPART, SSE, Stream, request},
};

/// The sum of a metric of this name over all labels.
async fn metric(http: &Http, name: &str) -> f64 {
    let page = http.request(reqwest::Method::GET, "/metrics").send().await.expect("an answer");
    let page = page.text().await.expect("a page");
    let of = |line: &str| {
        let (key, value) = line.rsplit_once(' ')?;
        (key.split('{').next() == Some(name)).then(|| value.parse::<f64>().expect("a number"))
    };
    page.lines().filter_map(of).sum()
}

async fn listening(http: &Http, count: u32) {
    soon(async { while metric(http, "lancewire_subscriptions").await < f64::from(count) {} }).await;
}

/// As a tree this takes some forty times what it takes as text.
fn nested() -> Value {
    json!(vec![vec![0; 100]; 100])
}

async fn start() -> (Home, Server, Http) {
    let home = Home::new().with("LANCEWIRE_SOCKETS__MESSAGES_PER_MINUTE", "100000");
    let home = home.with("LANCEWIRE_SOCKETS__SOCKETS_PER_ADDRESS", "1000");
    let home = home.with("LANCEWIRE_SOCKETS__OPERATIONS_PER_SOCKET", "1000");
    let server = home.serve().await;
    let http = Http::new(server.addr);
    (home, server, http)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_operation_declares_leaves_nothing_in_memory() {
    let (_home, server, http) = start().await;
    let variables = json!({ "a": nested(), "b": nested(), "declared": null });
    let sent = variables.to_string().len() / 1024;
    let query = "subscription($declared: String) { jobPosted(after: $declared) { id } }";
    let socket = Socket::connect(server.addr, None).await;
    // The first ones make what is there once.
    socket.subscribe(query, variables.clone());
    listening(&http, 1).await;
    let Some(before) = server.memory() else { return };
    for _ in 0..300 {
        socket.subscribe(query, variables.clone());
    }
    let mut streams = Vec::new();
    for accept in [SSE, MULTIPART] {
        for _ in 0..50 {
            streams.push(Stream::open(request(&http, accept, None, query, variables.clone())).await);
        }
    }
    listening(&http, 401).await;
    let grown = server.memory().expect("as before").saturating_sub(before);
    let sent = u64::try_from(400 * sent).expect("small");
    assert!(grown < sent, "{grown} KiB are kept of {sent} KiB that were sent, and no operation declares them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_large_variables_is_less_than_was_sent() {
    let (_home, server, http) = start().await;
    let socket = Socket::connect(server.addr, None).await;
    let query = |place: u32| {
        format!("subscription($f: JobFilter, $a: String) {{ jobPosted(filter: $f, after: $a) {{ a{place}: id }} }}")
    };
    let (small, large) = (json!({}), json!({ "f": { "status": vec!["OPEN"; 100] } }));
    let mut kept = Vec::new();
    for (round, variables) in [&small, &large].into_iter().enumerate() {
        let before = metric(&http, "lancewire_subscription_bytes").await;
        let first = 40 * u32::try_from(round).expect("two");
        for place in first..first + 40 {
            socket.subscribe(&query(place), variables.clone());
        }
        listening(&http, first + 40).await;
        kept.push(metric(&http, "lancewire_subscription_bytes").await - before);
    }
    assert!(kept[0] > 40.0 * 1024.0, "each takes about a KiB with its document: {kept:?}");
    let sent = large.to_string().len();
    let more = (kept[1] - kept[0]) / 40.0;
    assert!(more < f64::from(u32::try_from(sent).expect("small")), "{more} bytes are kept of {sent} that were sent");
}
