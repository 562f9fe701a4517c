//! Positions in the log when many write at once, commit late, or lose the database in between.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::{join, join_all};
use lancewire::jobs::events::{JOB_POSTED, JOB_UPDATED};
use lancewire::notifications::events::NOTIFICATION_RECEIVED;
use lancewire::{
    app::App,
    clock::Clock,
    events::{EventCursor, NewEvent, record},
    ids::Ids,
};
use reqwest::Method;
use sea_orm::DbErr;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, soon, until},
        http::{Http, Reply},
        people::{Person, money, text},
        socket::Socket,
    },
};

const FEED: &str = "subscription { jobPosted { cursor job { id title } } }";

fn position(event: &Value) -> i64 {
    EventCursor::decode(event["cursor"].as_str().expect("a cursor")).expect("one of ours").position
}

/// All of the log, as positions and what was recorded.
pub(crate) async fn log(app: &TestApp) -> Vec<(i64, NewEvent)> {
    let (log, mut events) = (app.app.services.hub.log(), Vec::new());
    loop {
        let after = events.last().map_or(0, |(position, _)| *position);
        let page = log.after(after, 100).await.expect("readable");
        if page.is_empty() {
            return events;
        }
        events.extend(page.into_iter().map(|event| (event.position, event.recorded)));
    }
}

/// The one `jobPosted` of a job that was just posted.
pub(crate) async fn event_of(app: &TestApp, title: &str) -> NewEvent {
    app.published().await;
    let of_job = |event: &NewEvent| event.kind == JOB_POSTED && event.payload.contains(title);
    let found = log(app).await.into_iter().map(|(_, event)| event).find(of_job);
    found.expect("the job's event")
}

on_both! {
    async fn positions_are_contiguous_and_versions_in_order_with_many_writers(app: TestApp) {
        let clients: Vec<Person> =
            join_all((0..16).map(|number| { let app = app.clone(); async move { app.client(&format!("Client{number}")).await } })).await;
        let freelancers: Vec<Person> =
            join_all((0..4).map(|number| { let app = app.clone(); async move { app.freelancer(&format!("Free{number}")).await } })).await;
        let socket = app.admin().await.socket().await;
        let updates = socket.subscribe("subscription { jobUpdated { cursor job { id version } } }", json!({}));
        app.listening(1).await;

        let done = AtomicBool::new(false);
        let write = async {
            let jobs = join_all(clients.iter().enumerate().map(|(number, client)| {
                let freelancer = &freelancers[number % freelancers.len()];
                async move {
                    let id = text(&client.post_job("Contested").await, "/id");
                    // Two writers on one job: each change waits for the other's commit, or is told to come again.
                    let patch = |cents: i32| client.update(&id, json!({ "budget": money(&format!("1{cents}.00")) }));
                    join(join_all((10..14).map(patch)), async {
                        let claim = freelancer.claim(&id).await;
                        if claim.is_good() {
                            freelancer.release(&text(&claim.good(), "/claim/id")).await.good();
                        }
                    })
                    .await;
                    client.cancel(&id).await.good();
                    id
                }
            }))
            .await;
            done.store(true, Ordering::Release);
            jobs
        };
        let stamp = async || {
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let head = app.app.services.hub.log().stamp().await.expect("a stamp");
                assert!(head >= last, "the head ran back from {last} to {head}");
                last = head;
            }
        };
        let (jobs, _) = soon(join(write, join_all([stamp(), stamp(), stamp(), stamp()]))).await;
        app.app.services.hub.log().stamp().await.expect("a stamp");

        let events = log(&app).await;
        let places: Vec<i64> = events.iter().map(|(position, _)| *position).collect();
        assert_eq!(places, (1..=i64::try_from(events.len()).expect("few")).collect::<Vec<_>>());
        let mut versions = HashMap::new();
        for (position, event) in &events {
            let last = versions.entry((event.subject, event.kind == NOTIFICATION_RECEIVED)).or_insert(0);
            assert!(event.subject_version >= *last, "{event:?} at {position} comes after version {last}");
            *last = event.subject_version;
        }

        let expected = events.iter().filter(|(_, event)| event.kind == JOB_UPDATED).count();
        let mut last: HashMap<String, i64> = HashMap::new();
        let mut before = 0;
        for _ in 0..expected {
            let event = socket.next(&updates).await["data"]["jobUpdated"].take();
            assert!(position(&event) > before, "{event} comes after {before}");
            before = position(&event);
            let version = event["job"]["version"].as_i64().expect("a version");
            let previous = last.insert(text(&event, "/job/id"), version).unwrap_or(1);
            assert_eq!(version, previous + 1, "no version of a job is left out or comes twice");
        }
        assert_eq!(last.len(), jobs.len());
    }

    async fn idle_subscriptions_cost_no_query(app: TestApp) {
        let ada = app.client("Ada").await;
        // Its tail sleeps until its own doorbell rings.
        let (quiet, addr) = second_node(&app, 600_000).await;
        let sockets: Vec<Socket> = join_all((0..15).map(|_| Socket::connect(addr, ada.token.as_deref()))).await;
        for socket in &sockets {
            for query in [FEED, "subscription { jobUpdated { id } }", "subscription { walletUpdated { id } }"] {
                socket.subscribe(query, json!({}));
            }
            socket.ping(Value::Null).await;
        }
        until("all listen", || quiet.services.hub.listeners(JOB_POSTED) == 15).await;
        let before = quiet.db.statements();
        for _ in 0..5 {
            join_all(sockets.iter().map(|socket| socket.ping(Value::Null))).await;
        }
        // The clock room looks for due rows every few seconds.
        let asked = quiet.db.statements() - before;
        assert!(asked < 15, "45 subscriptions that hear nothing ask {asked} times");
        assert_eq!(quiet.services.hub.listeners(JOB_POSTED), 15, "though they are there");
        drop(sockets);
        assert!(quiet.shut_down().await, "a task did not leave by itself");
        quiet.db.clone().close().await;
    }

    async fn a_snapshot_needs_no_query_however_many_hear_it(app: TestApp) {
        let ada = app.client("Ada").await;
        let query = "subscription { jobPosted { id cursor occurredAt job { id version title description status \
                     budget { amount } skills { id slug } client { id displayName } postedAt } } }";
        let mut costs = Vec::new();
        let mut sockets = Vec::new();
        for listeners in [1, 40] {
            while sockets.len() < listeners {
                let socket = app.socket(None).await;
                let feed = socket.subscribe(query, json!({}));
                sockets.push((socket, feed));
            }
            app.listening(listeners).await;
            let before = app.app.db.statements();
            ada.post_job("Heard by many").await;
            for (socket, feed) in &sockets {
                assert_eq!(socket.next(feed).await["data"]["jobPosted"]["job"]["title"], "Heard by many");
            }
            costs.push(app.app.db.statements() - before);
        }
        // The tail polls while the sockets are served; 39 more listeners with a query each would be 39 more.
        assert!(costs[1] < costs[0] + 30, "{costs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_commits_late_is_still_delivered() {
    let app = TestApp::start(Database::Postgres).await;
    let ada = app.client("Ada").await;
    let socket = app.socket(None).await;
    let feed = socket.subscribe(FEED, json!({}));
    app.listening(1).await;
    ada.post_job("The first").await;
    let mut heard = vec![socket.next(&feed).await["data"]["jobPosted"].take()];
    app.db_tampered("7 what an event says of a job").await;
    let template = &event_of(&app, "The first").await;
    let late = &NewEvent {
        id: app.app.db.ids().next(),
        subject: uuid::Uuid::from_u128(7),
        payload: template.payload.replace("The first", "The late one"),
        ..template.clone()
    };

    let (inserted, release) = (&Notify::new(), &Notify::new());
    let slow = app.app.db.transact(|tx| async move {
        record(&tx, late.clone()).await?;
        inserted.notify_one();
        release.notified().await;
        Ok::<_, DbErr>(())
    });
    let meanwhile = async {
        inserted.notified().await;
        for title in ["The second", "The third"] {
            ada.post_job(title).await;
            heard.push(socket.next(&feed).await["data"]["jobPosted"].take());
        }
        release.notify_one();
        heard.push(socket.next(&feed).await["data"]["jobPosted"].take());
        ada.post_job("The last").await;
        heard.push(socket.next(&feed).await["data"]["jobPosted"].take());
    };
    let (committed, ()) = soon(join(slow, meanwhile)).await;
    committed.expect("commits");
    let titles: Vec<String> = heard.iter().map(|event| text(event, "/job/title")).collect();
    assert_eq!(titles, ["The first", "The second", "The third", "The late one", "The last"]);
    assert!(heard.iter().map(position).is_sorted_by(|one, two| one < two));
    let places: Vec<i64> = log(&app).await.iter().map(|(position, _)| *position).collect();
    assert_eq!(places, (1..=i64::try_from(places.len()).expect("few")).collect::<Vec<_>>());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_hear_each_other_in_the_same_order() {
    let app = TestApp::start(Database::Postgres).await;
    let (second, addr) = second_node(&app, 20).await;
    let ada = app.client("Ada").await;
    let mut ben = app.client("Ben").await;
    ben.http = Http::new(addr);
    let sockets = [app.socket(None).await, Socket::connect(addr, None).await];
    let feeds = sockets.each_ref().map(|socket| socket.subscribe(FEED, json!({})));
    app.listening(1).await;
    until("the second node listens", || second.services.hub.listeners(JOB_POSTED) == 1).await;

    let post = async |client: &Person| {
        for number in 0..30 {
            client.post_job(&format!("Job {number}")).await;
        }
    };
    join(post(&ada), post(&ben)).await;
    let mut heard = [const { Vec::new() }; 2];
    for ((socket, feed), heard) in sockets.iter().zip(&feeds).zip(&mut heard) {
        for _ in 0..60 {
            heard.push(socket.next(feed).await["data"]["jobPosted"].take());
        }
    }
    assert_eq!(heard[0], heard[1], "cursors included");
    assert!(heard[0].iter().map(position).is_sorted_by(|one, two| one < two));
    drop(sockets);
    assert!(second.shut_down().await, "a task did not leave by itself");
    second.db.clone().close().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_survives_a_database_that_goes_away() {
    let app = TestApp::start_with(Database::Postgres, "[database]\nacquire_timeout_ms = 1000", Clock::system()).await;
    let ada = app.client("Ada").await;
    let socket = ada.socket().await;
    let feed = socket.subscribe(FEED, json!({}));
    app.listening(1).await;
    ada.post_job("Before").await;
    assert_eq!(socket.next(&feed).await["data"]["jobPosted"]["job"]["title"], "Before");

    app.db_away(true).await;
    let ready = async || Reply::of(app.http.request(Method::GET, "/health/ready")).await;
    let away = ready().await;
    assert_eq!((away.status.as_u16(), away.at("/database")), (503, &json!("unreachable")));
    let live = Reply::of(app.http.request(Method::GET, "/health/live")).await;
    assert_eq!(live.status.as_u16(), 200, "a restart would not help");
    let reply = ada.run("{ viewer { id } }", json!({})).await;
    assert_eq!(reply.code(), "INTERNAL_SERVER_ERROR");
    assert!(!reply.body.to_string().to_lowercase().contains("connect"), "nothing of the database shows: {reply}");
    assert_eq!(socket.ping(json!({ "open": true })).await, json!({ "open": true }));

    app.db_away(false).await;
    ada.post_job("While the tail was waiting").await;
    ada.post_job("After").await;
    for title in ["While the tail was waiting", "After"] {
        assert_eq!(socket.next(&feed).await["data"]["jobPosted"]["job"]["title"], title);
    }
    assert_eq!(ready().await.status.as_u16(), 200);
    app.finish().await;
}

/// Another server on the same database.
async fn second_node(app: &TestApp, poll_ms: u64) -> (App, SocketAddr) {
    let mut config = app.app.config.clone();
    (config.events.poll_ms, config.http.listen) = (poll_ms, "127.0.0.1:0".parse().expect("an address"));
    config.auth.keys_reload_ms = 600_000;
    let node = App::build(config, Clock::system(), Ids::from_entropy(Clock::system())).await.expect("builds");
    let addr = node.serve(node.listen().expect("a port")).expect("an address");
    (node, addr)
}
