//! Sixty-four writers at once that take their time before they commit, one of them stuck, and several that number what
//! was committed, one of them frozen: nothing is missing or out of order, and no writer waits for another.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use lancewire::{
    clock::Clock,
    db::{Backend, Tx},
    events::{EventCursor, NewEvent, record},
    ids::Ids,
};
use sea_orm::DbErr;
use serde_json::json;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::{
    positions::{event_of, log},
    support::{
        app::{Database, TestApp, soon, until},
        binary::{Home, Server},
        people::text,
        socket::{Socket, Subscription},
    },
};

const WRITERS: usize = 64;
/// Transactions of each writer.
const EACH: usize = 6;
/// Jobs, wallets or inboxes that they write about.
const SUBJECTS: usize = 16;
/// A writer that waits for a lock of a frozen one gives up after five seconds, so none waits longer.
const PROMPT: Duration = Duration::from_secs(4);
/// The id that the stuck writer's event is about.
const STUCK: Uuid = Uuid::from_u128(99);

const FEED: &str = "subscription { jobPosted { id cursor } }";

/// A committed event: who wrote it, and when they knew.
struct Written {
    writer: usize,
    id: Uuid,
    at: Instant,
}

/// An event that a subscriber has heard.
struct Heard {
    id: String,
    position: i64,
    at: Instant,
}

/// The common ground of all writers.
struct Writers<'a> {
    app: &'a TestApp,
    /// Seeded: delays, subjects and changes of mind are drawn from the same numbers each time.
    random: Ids,
    template: NewEvent,
    /// The last version of each subject, incremented by the holder of its lock.
    versions: [AtomicI64; SUBJECTS],
    written: Mutex<Vec<Written>>,
}

impl<'a> Writers<'a> {
    async fn new(app: &'a TestApp) -> Self {
        app.client("Ada").await.post_job("The first").await;
        app.db_tampered("7 what an event says of a job").await;
        Self {
            template: event_of(app, "The first").await,
            app,
            random: Ids::seeded(Clock::system(), 64),
            versions: [const { AtomicI64::new(0) }; SUBJECTS],
            written: Mutex::default(),
        }
    }

    /// All transactions of one writer: each of one to three events about one subject, held open for a while of up to
    /// `longest`, and some of them rolled back.
    async fn write(&self, writer: usize, longest: Duration) {
        let longest = u64::try_from(longest.as_micros()).expect("short");
        for _ in 0..EACH {
            let (subject, events, regrets) = (self.below(SUBJECTS), 1 + self.below(3), self.below(8) == 0);
            let delay = Duration::from_micros(self.random.below(longest));
            let transaction = self.app.app.db.transact(|tx| async move {
                lock(&tx, subject).await?;
                let mut ids = Vec::with_capacity(events);
                let mut version = self.versions[subject].load(Ordering::Acquire);
                for _ in 0..events {
                    version += 1;
                    ids.push(self.record(&tx, Uuid::from_u128(subject as u128), version).await?);
                }
                tokio::time::sleep(delay).await;
                if regrets {
                    return Err(DbErr::Custom("thought better of it".into()));
                }
                self.versions[subject].store(version, Ordering::Release);
                Ok(ids)
            });
            match transaction.await {
                Ok(ids) => self.remember(writer, ids),
                Err(DbErr::Custom(_)) if regrets => {}
                Err(error) => panic!("writer {writer}: {error}"),
            }
        }
    }

    /// Writes one event and leaves the transaction open until it is released.
    async fn get_stuck(&self, (stuck, release): (&Notify, &Notify)) {
        let transaction = self.app.app.db.transact(|tx| async move {
            let id = self.record(&tx, STUCK, 1).await?;
            stuck.notify_one();
            release.notified().await;
            Ok::<_, DbErr>(vec![id])
        });
        let ids = transaction.await.expect("commits after all");
        self.remember(WRITERS, ids);
    }

    async fn record(&self, tx: &Tx, subject: Uuid, version: i64) -> Result<Uuid, DbErr> {
        let event =
            NewEvent { id: self.app.app.db.ids().next(), subject, subject_version: version, ..self.template.clone() };
        let id = event.id.into();
        record(tx, event).await?;
        Ok(id)
    }

    fn remember(&self, writer: usize, ids: Vec<Uuid>) {
        let at = Instant::now();
        self.written.lock().expect("nobody panicked").extend(ids.into_iter().map(|id| Written { writer, id, at }));
    }

    fn count(&self) -> usize {
        self.written.lock().expect("nobody panicked").len()
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.random.below(u64::try_from(bound).expect("small"))).expect("small")
    }

    /// What the log must look like after all that was written, and how a subscriber must have heard it.
    async fn prove(&self, heard: &[Heard]) {
        let events = log(self.app).await;
        let places: Vec<i64> = events.iter().map(|(position, _)| *position).collect();
        assert_eq!(places, (1..=i64::try_from(events.len()).expect("few")).collect::<Vec<_>>(), "contiguous");

        let positions: HashMap<Uuid, i64> =
            events.iter().map(|(position, event)| (event.id.into(), *position)).collect();
        let written = self.written.lock().expect("nobody panicked");
        let ours: HashSet<Uuid> = written.iter().map(|written| written.id).collect();
        let by_writers = |event: &NewEvent| event.subject != self.template.subject && event.kind == self.template.kind;
        let logged: HashSet<Uuid> =
            events.iter().filter(|(_, event)| by_writers(event)).map(|(_, event)| event.id.into()).collect();
        assert!(ours == logged, "{} were committed, {} are in the log", ours.len(), logged.len());

        let mut versions: HashMap<Uuid, i64> = HashMap::new();
        for (position, event) in events.iter().filter(|(_, event)| by_writers(event)) {
            let last = versions.insert(event.subject, event.subject_version).unwrap_or(0);
            assert_eq!(event.subject_version, last + 1, "of {} at {position}", event.subject);
        }
        // What somebody wrote after they knew of a commit comes after it, whatever it is about.
        let mut last: HashMap<usize, i64> = HashMap::new();
        for written in written.iter() {
            let position = positions[&written.id];
            let before = last.insert(written.writer, position).unwrap_or(0);
            assert!(position > before, "writer {} at {position} after {before}", written.writer);
        }

        assert_eq!(heard.len(), ours.len(), "each once");
        assert!(heard.is_sorted_by(|one, two| one.position < two.position), "in the order of positions");
        let moments: HashMap<i64, Instant> =
            written.iter().map(|written| (positions[&written.id], written.at)).collect();
        for heard in heard {
            let waited = heard.at.saturating_duration_since(moments[&heard.position]);
            assert!(waited < PROMPT, "{} came {waited:?} after its commit", heard.id);
        }
    }
}

/// Holds a subject until the transaction ends, as a use case holds the row it changes. SQLite has one writer anyway.
async fn lock(tx: &Tx, subject: usize) -> Result<(), DbErr> {
    match tx.backend() {
        Backend::Sqlite => Ok(()),
        Backend::Postgres => {
            let subject = i64::try_from(subject).expect("small");
            tx.query("SELECT pg_advisory_xact_lock(?)", [subject.into()]).await.map(drop)
        }
    }
}

/// Writes down what a subscription hears, for as long as it is polled.
async fn listen(socket: &Socket, feed: &Subscription, heard: &watch::Sender<Vec<Heard>>) -> Infallible {
    loop {
        let event = &socket.next(feed).await["data"]["jobPosted"];
        let position = EventCursor::decode(&text(event, "/cursor")).expect("one of ours").position;
        let event = Heard { id: text(event, "/id"), position, at: Instant::now() };
        heard.send_modify(|heard| heard.push(event));
    }
}

async fn until_heard(heard: &watch::Sender<Vec<Heard>>, count: usize) {
    soon(heard.subscribe().wait_for(|heard| heard.len() >= count)).await.expect("we hold the sender");
}

/// Numbers what was committed, over and over, and sees the head go forward only.
async fn stamp(app: &TestApp, done: &AtomicBool) {
    let mut last = 0;
    while !done.load(Ordering::Acquire) {
        let head = app.app.services.hub.log().stamp().await.expect("a stamp");
        assert!(head >= last, "the head ran back from {last} to {head}");
        last = head;
    }
}

/// Stops a process again and again for as long as ten events take, and leaves it stopped.
async fn freeze_and_thaw(node: &Server, heard: &watch::Sender<Vec<Heard>>, done: &AtomicBool) -> usize {
    for freezes in 1.. {
        node.signal("STOP").await;
        if done.load(Ordering::Acquire) {
            return freezes;
        }
        let enough = heard.borrow().len() + 10;
        tokio::select! {
            () = until_heard(heard, enough) => {}
            // Fewer than ten were left.
            () = until("all is written", || done.load(Ordering::Acquire)) => {}
        }
        node.signal("CONT").await;
    }
    unreachable!("a loop without an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_stuck_writer_or_a_frozen_stamper() {
    let settings = "[database]\nmax_connections = 80";
    let app = TestApp::start_with(Database::Postgres, settings, Clock::system()).await;
    let writers = Writers::new(&app).await;
    // Another node, which does nothing but number what the others commit.
    let home = Home::new()
        .with("LANCEWIRE_DATABASE__URL", &app.app.config.database.url)
        .with("LANCEWIRE_EVENTS__POLL_MS", "1");
    let node = home.serve().await;
    let socket = app.socket(None).await;
    let feed = socket.subscribe(FEED, json!({}));
    app.listening(1).await;

    let (heard, done) = (watch::Sender::new(Vec::new()), AtomicBool::new(false));
    let (stuck, release) = (Notify::new(), Notify::new());
    let others = async {
        stuck.notified().await;
        let write = async {
            join_all((1..WRITERS).map(|writer| writers.write(writer, Duration::from_millis(20)))).await;
            done.store(true, Ordering::Release);
        };
        let stampers = join_all([(); 3].map(|()| stamp(&app, &done)));
        let ((), freezes, _) = futures_util::join!(write, freeze_and_thaw(&node, &heard, &done), stampers);
        assert!(freezes > 5, "frozen {freezes} times");
        // All the others have been heard of, while one writer is stuck and one stamper frozen.
        until_heard(&heard, writers.count()).await;
        release.notify_one();
    };
    let story = async {
        join(writers.get_stuck((&stuck, &release)), others).await;
        until_heard(&heard, writers.count()).await;
        socket.ping(json!({})).await;
    };
    tokio::select! {
        never = listen(&socket, &feed, &heard) => match never {},
        () = story => {}
    }
    assert_eq!(socket.unread(&feed), 0, "nothing comes twice");
    let heard = heard.send_replace(Vec::new());
    writers.prove(&heard).await;
    let last = heard.last().expect("heard");
    let (_, last) = log(&app).await.into_iter().find(|(position, _)| *position == last.position).expect("logged");
    assert_eq!(last.subject, STUCK, "the last commit has the last position");
    node.signal("KILL").await;
    node.ended().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_has_one_writer_at_a_time_and_no_reader_waits_for_it() {
    let settings = "[database]\nacquire_timeout_ms = 60000";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let writers = Writers::new(&app).await;
    let socket = app.socket(None).await;
    let feed = socket.subscribe(FEED, json!({}));
    app.listening(1).await;
    let start = text(&app.anonymous().run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");

    let (heard, done) = (watch::Sender::new(Vec::new()), AtomicBool::new(false));
    let (stuck, release) = (Notify::new(), Notify::new());
    let others = async {
        join_all((1..WRITERS).map(|writer| writers.write(writer, Duration::from_millis(2)))).await;
        done.store(true, Ordering::Release);
    };
    let stuck_one = async {
        until_heard(&heard, 50).await;
        writers.get_stuck((&stuck, &release)).await;
    };
    let readers = async {
        stuck.notified().await;
        // Nobody commits now; all that was committed is heard of, live, in `events` and by those who come later.
        until_heard(&heard, writers.count()).await;
        let committed = writers.count();
        let query = "query($after: String) { events(first: 50, after: $after) { edges { cursor } } }";
        let page = app.anonymous().run(query, json!({ "after": start })).await;
        assert_eq!(page.data()["events"]["edges"].as_array().map(Vec::len), Some(50));
        let late = app.socket(None).await;
        let replay = late.subscribe(
            "subscription($after: String) { jobPosted(after: $after) { id cursor } }",
            json!({ "after": start }),
        );
        for number in 0..committed {
            let event = late.next(&replay).await;
            assert_eq!(text(&event, "/data/jobPosted/id"), heard.borrow()[number].id);
        }
        assert!(!done.load(Ordering::Acquire), "the others wait for the stuck one");
        release.notify_one();
    };
    let story = async {
        let stampers = join_all([(); 3].map(|()| stamp(&app, &done)));
        futures_util::join!(others, stuck_one, readers, stampers);
        until_heard(&heard, writers.count()).await;
        socket.ping(json!({})).await;
    };
    tokio::select! {
        never = listen(&socket, &feed, &heard) => match never {},
        () = story => {}
    }
    assert_eq!(socket.unread(&feed), 0, "nothing comes twice");
    writers.prove(&heard.send_replace(Vec::new())).await;
    app.finish().await;
}
