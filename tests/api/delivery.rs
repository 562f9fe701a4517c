//! Between the commit of a change and the sockets of all subscribers no event is lost, doubled or out of order.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    FutureExt, SinkExt, StreamExt,
    future::{BoxFuture, join, join_all},
};
use lancewire::{
    auth::actor::{Actor, Origin},
    clock::Clock,
    events::{EventCursor, EventKind, Hearing, NewEvent, record},
    realtime::{Delivery, Executed, Execution, Interest, Offer, Outlet, Payload, SharingKey, Terms},
};
use sea_orm::DbErr;
use serde_json::{Value, json};
use tokio::{
    net::TcpSocket,
    sync::{Mutex, Notify},
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, soon, until},
        people::{Person, fresh_key, money, text},
        socket::{Socket, Subscription},
    },
};

const FEED: &str = "subscription { jobPosted { cursor job { id title } } }";

/// A server that keeps next to nothing in memory for those who lag, neither events nor messages.
const NO_MEMORY: &str =
    "[events]\nbuffer = 4\nring_bytes = 1\n[sockets]\nqueue_bytes = 65536\nwrite_timeout_ms = 600000";

/// Held by tests that count what feeds catch up with: the counter is the process's.
static COUNTING: Mutex<()> = Mutex::const_new(());

/// So many `jobPosted` events of one subscriber, as `(position, job)`.
async fn jobs(socket: &Socket, feed: &Subscription, count: usize) -> Vec<(i64, String)> {
    let mut jobs = Vec::with_capacity(count);
    for _ in 0..count {
        let event = socket.next(feed).await["data"]["jobPosted"].take();
        jobs.push((position(&event), text(&event, "/job/id")));
    }
    jobs
}

fn position(event: &Value) -> i64 {
    EventCursor::decode(event["cursor"].as_str().expect("a cursor")).expect("one of ours").position
}

/// Posts a job for 1.00 with a description of this length.
async fn post(client: &Person, title: &str, description: usize) -> String {
    let input = json!({
        "idempotencyKey": fresh_key(), "title": title, "description": "x".repeat(description),
        "budget": money("1.00"), "skills": ["rust"],
    });
    text(&client.mutate("postJob", input, "job { id }").await.good(), "/job/id")
}

/// Posts so many jobs, one after the other.
async fn post_many(client: &Person, count: usize, description: usize) -> Vec<String> {
    let mut posted = Vec::with_capacity(count);
    for number in 0..count {
        posted.push(post(client, &format!("Job {number}"), description).await);
    }
    posted
}

/// How many events feeds of this process have caught up with, out of the ring or out of the log.
async fn replayed(app: &TestApp, from: &str) -> u64 {
    let metrics = app.http.request(reqwest::Method::GET, "/metrics").send().await.expect("metrics");
    let text = metrics.text().await.expect("a body");
    let counter = format!("lancewire_replayed_events_total{{from=\"{from}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&counter));
    line.map_or(0, |number| number.parse().expect("a number"))
}

on_both! {
    async fn every_subscriber_gets_every_event_once_and_all_in_one_order(app: TestApp) {
        const EACH: usize = 25;
        let writers: Vec<Person> = join_all((0..20).map(|number| {
            let app = app.clone();
            async move { app.client(&format!("Writer{number}")).await }
        }))
        .await;
        let sockets = [app.socket(None).await, app.socket(None).await, writers[0].socket().await, writers[1].socket().await];
        let feeds: Vec<_> = sockets.iter().map(|socket| (socket, socket.subscribe(FEED, json!({})))).collect();
        // Twice on one socket: each is a subscription of its own.
        let again = sockets[0].subscribe(FEED, json!({}));
        app.listening(5).await;

        let posted: Vec<Vec<String>> = join_all(writers.iter().map(|writer| async move {
            post_many(writer, EACH, 10).await
        }))
        .await;

        let expected = jobs(&sockets[0], &again, 20 * EACH).await;
        assert!(expected.is_sorted_by(|(one, _), (two, _)| one < two), "in the order of positions");
        for (socket, feed) in &feeds {
            assert_eq!(jobs(socket, feed, 20 * EACH).await, expected);
        }
        let places: HashMap<&str, usize> =
            expected.iter().enumerate().map(|(place, (_, job))| (job.as_str(), place)).collect();
        assert_eq!(places.len(), 20 * EACH, "each once");
        for writer in &posted {
            assert!(writer.iter().map(|job| places[job.as_str()]).is_sorted(), "cause before effect");
        }
        // Nothing comes after: the answer to a ping overtakes no event.
        let last = post(&writers[0], "The last", 10).await;
        assert_eq!(jobs(&sockets[0], &again, 1).await[0].1, last);
    }

    async fn what_was_rolled_back_was_never_heard_of(app: TestApp) {
        let ada = app.client("Ada").await;
        let socket = app.socket(None).await;
        let feed = socket.subscribe(FEED, json!({}));
        app.listening(1).await;
        let first = post(&ada, "Committed", 10).await;
        assert_eq!(jobs(&socket, &feed, 1).await[0].1, first);

        let log = app.app.services.hub.log();
        let events = log.after(0, 100).await.expect("readable");
        let template = events.into_iter().map(|event| event.recorded).find(|event| event.kind == EventKind::JobPosted);
        let template = &template.expect("the job's event");
        let ids = app.app.db.ids();
        let rolled_back: Result<(), DbErr> = app
            .app
            .db
            .transact(|tx| async move {
                for _ in 0..3 {
                    record(&tx, NewEvent { id: ids.next(), ..template.clone() }).await?;
                }
                Err(DbErr::Custom("thought better of it".into()))
            })
            .await;
        rolled_back.expect_err("was rolled back");
        // A use case that fails after it has begun leaves nothing either.
        let poor = Person::sign_up(&app, "Poor", &["CLIENT"]).await;
        poor.post(crate::support::people::new_job("Too dear", "1.00")).await.refused("INSUFFICIENT_FUNDS");

        let second = post(&ada, "Committed later", 10).await;
        let heard = jobs(&socket, &feed, 1).await;
        assert_eq!(heard[0].1, second, "nothing in between");
        let end = app.db_number("SELECT COUNT(*) FROM events").await;
        assert_eq!(log.stamp().await.expect("a stamp"), end, "and no position was spent");
    }
}

/// A reader with room for as much as it is given.
#[derive(Default)]
struct Reader {
    state: std::sync::Mutex<(usize, Vec<i64>, Option<i64>)>,
    changed: Notify,
}

impl Reader {
    fn make_room(&self, more: usize) {
        self.state.lock().expect("whole").0 += more;
        self.changed.notify_waiters();
    }

    fn positions(&self) -> Vec<i64> {
        self.state.lock().expect("whole").1.clone()
    }

    fn let_go_at(&self) -> Option<i64> {
        self.state.lock().expect("whole").2
    }
}

impl Outlet for Reader {
    fn offer(&self, payloads: &[Payload]) -> Offer {
        let mut state = self.state.lock().expect("whole");
        let taken = payloads.len().min(state.0);
        state.0 -= taken;
        state.1.extend(payloads[..taken].iter().map(|payload| payload.position));
        Offer::Taken(taken)
    }

    fn room(&self, _: usize) -> BoxFuture<'_, ()> {
        async {
            loop {
                let changed = self.changed.notified();
                if self.state.lock().expect("whole").0 > 0 {
                    return;
                }
                changed.await;
            }
        }
        .boxed()
    }

    fn lagged(&self, position: i64) {
        self.state.lock().expect("whole").2 = Some(position);
    }
}

/// Executes nothing.
struct Blank;

impl Execution for Blank {
    fn execute<'a>(&'a self, _: &'a Arc<Delivery>, _: Hearing, _: Option<Origin>) -> BoxFuture<'a, Executed> {
        async { Executed { response: "{}".into(), looked_at_viewer: false, failed: false } }.boxed()
    }
}

async fn a_feed_that_is_not_read_catches_up(database: Database, from: &str, settings: &str) {
    let app = TestApp::start_with(database, settings, Clock::system()).await;
    let _alone = COUNTING.lock().await;
    let ada = app.client("Ada").await;
    let hub = &app.app.services.hub;
    let reader = Arc::new(Reader::default());
    let viewer = Origin { actor: Actor::Anonymous, address: [127, 0, 0, 1].into() };
    let (key, interest) = (SharingKey::new("a test's"), Interest::all(EventKind::JobPosted));
    let feed =
        hub.join(key, interest, Blank, None, viewer, Arc::clone(&reader) as Arc<dyn Outlet>).expect("few listen");
    let Ok(live) = feed.catch_up().await else { panic!("there is nothing to catch up with") };
    post_many(&ada, 300, 10).await;
    let end = app.db_number("SELECT COUNT(*) FROM events").await;
    until("all are published", || hub.head() == end).await;
    until("it was let go", || reader.let_go_at().is_some()).await;

    let before = replayed(&app, from).await;
    // It takes ten at a time, whenever it is asked.
    let feed = live.lagged(reader.let_go_at().expect("let go"));
    let catching_up = feed.catch_up();
    let reading = async {
        while reader.positions().len() < 300 {
            reader.make_room(10);
            tokio::task::yield_now().await;
        }
    };
    let (live, ()) = soon(join(catching_up, reading)).await;
    let Ok(live) = live else { panic!("it has caught up") };
    let positions = reader.positions();
    assert_eq!(positions.len(), 300);
    assert!(positions.is_sorted_by(|one, two| one < two), "once each and in order: {positions:?}");
    assert!(replayed(&app, from).await >= before + 300, "out of the {from}");
    // And it is live again.
    reader.make_room(1);
    post(&ada, "Later", 10).await;
    until("it comes", || reader.positions().len() == 301).await;
    drop(live);
    assert_eq!(hub.listeners(EventKind::JobPosted), 0, "the group has ended with its last");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_not_read_catches_up_from_the_ring() {
    a_feed_that_is_not_read_catches_up(Database::Sqlite, "ring", "[events]\nbuffer = 4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_not_read_catches_up_from_the_log_on_sqlite() {
    a_feed_that_is_not_read_catches_up(Database::Sqlite, "log", NO_MEMORY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_not_read_catches_up_from_the_log_on_postgres() {
    a_feed_that_is_not_read_catches_up(Database::Postgres, "log", NO_MEMORY).await;
}

/// Up to where its group stands a quiet member has been offered everything: what is older is neither read again nor
/// missed.
async fn a_member_that_was_quiet_goes_on_from_where_its_group_stood(database: Database) {
    let app = TestApp::start_with(database, NO_MEMORY, Clock::system()).await;
    let ada = app.client("Ada").await;
    let hub = &app.app.services.hub;
    let reader = Arc::new(Reader::default());
    let viewer = Origin { actor: Actor::Anonymous, address: [127, 0, 0, 1].into() };
    let wanted = Arc::new(AtomicBool::new(false));
    let wants = Arc::clone(&wanted);
    let interest = Interest::matching(EventKind::JobPosted, Terms::Any, move |_| Ok(wants.load(Ordering::Relaxed)));
    let feed = hub
        .join(SharingKey::new("quiet"), interest, Blank, None, viewer, Arc::clone(&reader) as Arc<dyn Outlet>)
        .expect("few listen");
    let Ok(live) = feed.catch_up().await else { panic!("there is nothing to catch up with") };
    // Of no interest, and forgotten by the time that something is.
    post_many(&ada, 50, 10).await;
    app.published().await;
    until("its place goes along", || live.position() == Some(hub.head())).await;
    let quiet_until = hub.head();
    app.db_age().await;
    app.db_forget().await;
    wanted.store(true, Ordering::Relaxed);
    post(&ada, "Wanted", 10).await;
    until("it was let go", || reader.let_go_at().is_some()).await;
    let stands = reader.let_go_at().expect("let go");
    assert!(stands >= quiet_until, "it goes on from {stands}, and was offered everything up to {quiet_until}");
    reader.make_room(1);
    let live = soon(live.lagged(stands).catch_up()).await.map_err(|end| panic!("it ended: {end:?}"));
    assert_eq!(reader.positions(), [stands + 1], "the one event that it wanted");
    drop(live);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_quiet_goes_on_from_where_its_group_stood_on_sqlite() {
    a_member_that_was_quiet_goes_on_from_where_its_group_stood(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_quiet_goes_on_from_where_its_group_stood_on_postgres() {
    a_member_that_was_quiet_goes_on_from_where_its_group_stood(Database::Postgres).await;
}

async fn a_slow_socket_catches_up_without_loss_or_double(database: Database) {
    let app = TestApp::start_with(database, NO_MEMORY, Clock::system()).await;
    let _alone = COUNTING.lock().await;
    let ada = app.client("Ada").await;
    // What the kernel holds for the reader is small, so that what waits, waits in the server.
    let tcp = TcpSocket::new_v4().expect("a socket");
    tcp.set_recv_buffer_size(4096).expect("a small buffer");
    let mut request = format!("ws://{}/graphql", app.addr).into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let (mut slow, _) = client_async(request, tcp.connect(app.addr).await.expect("connects")).await.expect("upgrade");
    // Ten times 2 KB, 300 times: they do not fit into the buffers on the way.
    let copies = (0..10).map(|number| format!("copy{number}: description")).collect::<Vec<_>>().join(" ");
    let query = format!("subscription {{ jobPosted {{ cursor job {{ id {copies} }} }} }}");
    for message in
        [json!({ "type": "connection_init" }), json!({ "id": "1", "type": "subscribe", "payload": { "query": query } })]
    {
        let acknowledged = message["type"] == "connection_init";
        slow.send(Message::text(message.to_string())).await.expect("sends");
        if acknowledged {
            soon(slow.next()).await.expect("an answer").expect("connection_ack");
        }
    }
    app.listening(1).await;
    let before = replayed(&app, "log").await;
    let posted = post_many(&ada, 300, 2_000).await;

    let mut heard = Vec::new();
    while heard.len() < 300 {
        let frame = soon(slow.next()).await.expect("still open").expect("a frame").into_text().expect("text");
        let message: Value = serde_json::from_str(&frame).expect("JSON");
        if message["type"] == "next" {
            heard.push(text(&message, "/payload/data/jobPosted/job/id"));
        }
    }
    assert_eq!(heard, posted);
    assert!(replayed(&app, "log").await > before, "the reader was not slow enough for this test to show anything");
    drop(slow);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_socket_catches_up_on_sqlite() {
    a_slow_socket_catches_up_without_loss_or_double(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_socket_catches_up_on_postgres() {
    a_slow_socket_catches_up_without_loss_or_double(Database::Postgres).await;
}
