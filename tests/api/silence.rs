//! Connections that fall silent: bytes are lost both ways without an error, as after a fail-over or behind a firewall
//! that dropped its state. New connections work.

use std::time::{Duration, Instant};

use futures_util::future::{join, join3};
use lancewire::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::support::{
    app::{Database, TestApp, soon},
    http::Reply,
    people::{Person, new_job},
    proxy::Proxy,
    redis::Redis,
    socket::{Socket, Subscription},
};

const FEED: &str = "subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }";
/// Each viewer's own, so that somebody's event waits for the database.
const OWN: &str = "subscription { jobPosted { job { title viewerClaim { id } } } }";

/// Two nodes; the first one's connections to the database go through the proxy.
async fn behind_a_firewall(settings: &str) -> (TestApp, TestApp, Proxy) {
    // A statement that runs for longer would be the server's to end.
    let settings = format!("[database]\nstatement_timeout_ms = 2000\n[events]\nring_bytes = 1\n{settings}");
    let direct = TestApp::start_with(Database::Postgres, &settings, Clock::system()).await;
    let mut url: Url = direct.app.config.database.url.parse().expect("a URL");
    let proxy = Proxy::to(url.socket_addrs(|| Some(5432)).expect("an address")[0], None);
    url.set_host(Some("127.0.0.1")).expect("it has a host");
    url.set_port(Some(proxy.addr.port())).expect("it has a port");
    let node = direct.neighbour_with(|config| config.database.url = url.into()).await;
    (node, direct, proxy)
}

async fn ready(node: &TestApp) -> (u16, Value) {
    let reply = Reply::of(node.http.request(Method::GET, "/health/ready")).await;
    (reply.status.as_u16(), reply.at("/delivery").clone())
}

async fn until_ready(node: &TestApp, status: u16) -> Value {
    soon(async {
        loop {
            let (found, delivery) = ready(node).await;
            if found == status && (status == 200 || delivery == "late") {
                return delivery;
            }
        }
    })
    .await
}

async fn titles(socket: &Socket, feed: &Subscription, count: usize) -> Vec<Value> {
    let mut titles = Vec::new();
    for _ in 0..count {
        titles.push(socket.next(feed).await["data"]["jobPosted"]["job"]["title"].take());
    }
    titles
}

async fn post(ada: &Person, titles: &[impl AsRef<str>]) {
    for title in titles {
        ada.post(new_job(title.as_ref(), "1.00")).await.good();
    }
}

async fn a_database_falls_silent(settings: &str) {
    let (node, direct, proxy) = behind_a_firewall(settings).await;
    let (ada, ben) = (direct.client("Ada").await, direct.freelancer("Ben").await);
    let ada = ada.at(&node);
    let (public, own) = (node.socket(None).await, ben.at(&node).socket().await);
    let (feed, of_ben) = (public.subscribe(FEED, json!({})), own.subscribe(OWN, json!({})));
    node.listening(2).await;
    let start = node.anonymous().run("{ streamCursor }", json!({})).await.at("/data/streamCursor").clone();
    post(&ada, &["Before"]).await;
    assert_eq!(titles(&public, &feed, 1).await, ["Before"]);
    assert_eq!(titles(&own, &of_ben, 1).await, ["Before"]);

    for round in ["First", "Second"] {
        proxy.silence();
        let began = Instant::now();
        let meanwhile = [format!("{round} here"), format!("{round} there")];
        let mutations = async {
            post(&ada, &meanwhile[..1]).await;
            post(&ada.at(&direct), &meanwhile[1..]).await;
        };
        let told = until_ready(&node, 503);
        let ((), delivery, (heard, heard_by_ben)) =
            join3(mutations, told, join(titles(&public, &feed, 2), titles(&own, &of_ben, 2))).await;
        assert_eq!(delivery, "late");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?} until all was delivered");
        for title in meanwhile.map(Value::from) {
            assert!(heard.contains(&title) && heard_by_ben.contains(&title), "{heard:?} {heard_by_ben:?}");
        }
        assert_eq!(until_ready(&node, 200).await, "ok");
    }

    // Replay reads, and a subscription begins, over what fell silent a moment ago.
    proxy.silence();
    let replayed = public.subscribe(FEED, json!({ "after": start }));
    assert_eq!(titles(&public, &replayed, 5).await[0], "Before");
    drop((public, own));
    node.finish().await;
    direct.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_falls_silent_delays_and_loses_nothing() {
    a_database_falls_silent("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_falls_silent_beside_redis_delays_and_loses_nothing() {
    let redis = Redis::start().await;
    a_database_falls_silent(&format!("[bus]\nredis_url = \"redis://{}\"\n", redis.addr())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_falls_silent_delays_and_loses_nothing() {
    let redis = Redis::start().await;
    let proxy = Proxy::to(redis.addr(), None);
    // What the bus does not bring is not found by a poll, either.
    let settings = format!("[events]\npoll_ms = 600000\n[bus]\nredis_url = \"redis://{}\"\n", redis.addr());
    let one = TestApp::start_with(Database::Postgres, &settings, Clock::system()).await;
    let url = format!("redis://{}", proxy.addr);
    let other = one.neighbour_with(|config| config.bus.redis_url = url).await;
    let ada = one.client("Ada").await;
    let (here, there) = (one.socket(None).await, other.socket(None).await);
    let (feed_here, feed_there) = (here.subscribe(FEED, json!({})), there.subscribe(FEED, json!({})));
    one.listening(1).await;
    other.listening(1).await;
    for round in 0..2 {
        let began = Instant::now();
        for (title, node) in [("here", &one), ("there", &other)] {
            let title = format!("{round} {title}");
            post(&ada.at(node), &[&title]).await;
            let (at_one, at_other) = join(titles(&here, &feed_here, 1), titles(&there, &feed_there, 1)).await;
            assert_eq!((&at_one[0], &at_other[0]), (&title.as_str().into(), &title.as_str().into()));
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        proxy.silence();
    }
    other.finish().await;
    one.finish().await;
}
