//! Named consumers of the log: each event is worked on by one node at a time, in order and none left out, whoever dies or
//! freezes at whichever moment.

use std::{
    env, fs,
    io::Write as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use lancewire::{
    app::open_database,
    clock::Clock,
    config::{Config, Environment},
    db::{Backend, Db, Tx},
    domains,
    error::InternalError,
    events::{
        Event, EventLog,
        consumers::{Consumer, ConsumerPace, run},
    },
    ids::Ids,
    lifecycle::Lifecycle,
};
use reqwest::Method;
use sea_orm::{ConnectionTrait, prelude::async_trait::async_trait};
use tokio::{
    process::{Child, Command},
    sync::Notify,
};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, holds, soon, until},
        binary::signal,
    },
};

/// As short as a story can wait for, and long enough for a busy machine.
const PACE: ConsumerPace = ConsumerPace { poll: Duration::from_millis(20), lease: Duration::from_secs(3), batch: 3 };

/// Where a process of [`a_node`] works, and for whom.
const URL: &str = "LANCEWIRE_TEST_CONSUMER_URL";
const NOTES: &str = "LANCEWIRE_TEST_CONSUMER_NOTES";

/// Notes that work was cut off, or has ended.
struct Leaving<'w>(&'w Writing);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.note("leaves");
    }
}

/// Writes down each event: in the database with its position, and in a file outside of it.
#[derive(Debug)]
struct Writing {
    node: &'static str,
    notes: PathBuf,
    /// Stays in the middle of its work on this position until the file named `go` is there.
    stays_at: Option<i64>,
}

impl Writing {
    fn note(&self, line: &str) {
        let mut notes = fs::OpenOptions::new().create(true).append(true).open(&self.notes).expect("a file");
        writeln!(notes, "{line}").expect("written");
    }
}

#[async_trait]
impl Consumer for Writing {
    fn name(&self) -> &'static str {
        "writing"
    }

    async fn act(&self, events: &[Event]) -> Result<(), InternalError> {
        for event in events {
            self.note(&format!("{} {}", self.node, event.position));
            if self.stays_at == Some(event.position) {
                self.note("stays");
                let _leaving = Leaving(self);
                while !self.notes.with_extension("go").exists() {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    async fn act_in(&self, tx: &Tx, events: &[Event]) -> Result<(), InternalError> {
        for event in events {
            let sql = "INSERT INTO written (position, node) VALUES (?, ?)";
            tx.execute(sql, [event.position.into(), self.node.into()]).await?;
        }
        Ok(())
    }

    async fn missed_in(&self, tx: &Tx, missed: RangeInclusive<i64>) -> Result<(), InternalError> {
        let sql = "INSERT INTO missing (first, last) VALUES (?, ?)";
        tx.execute(sql, [(*missed.start()).into(), (*missed.end()).into()]).await?;
        Ok(())
    }
}

/// Where what is written goes; a position that came twice would be refused.
async fn db_tables(app: &TestApp) {
    let place = match app.app.db.backend() {
        Backend::Sqlite => "place INTEGER PRIMARY KEY",
        Backend::Postgres => "place bigserial PRIMARY KEY",
    };
    app.db_run(&format!("CREATE TABLE written ({place}, position bigint NOT NULL UNIQUE, node text NOT NULL)")).await;
    app.db_run("CREATE TABLE missing (first bigint NOT NULL, last bigint NOT NULL)").await;
}

/// A node of this process.
struct Node(Lifecycle);

impl Node {
    fn start(consumer: Writing, db: Db, log: EventLog, pace: ConsumerPace) -> Self {
        let lifecycle = Lifecycle::new();
        let running = run(Arc::new(consumer), (db, log), Arc::new(Notify::new()), pace, lifecycle.clone());
        drop(lifecycle.spawn(running));
        Self(lifecycle)
    }

    /// On the database of the app.
    fn beside(app: &TestApp, consumer: Writing) -> Self {
        Self::start(consumer, app.app.db.clone(), app.app.services.hub.log().clone(), PACE)
    }

    async fn stop(self) {
        assert!(self.0.shut_down(Duration::from_secs(20)).await, "it does not leave by itself");
    }
}

/// Not a story: another process that works for the stories here until it is ended.
#[tokio::test]
#[ignore = "a node of the stories here, which start it"]
async fn a_node() {
    let url = env::var(URL).expect("a story starts it");
    let notes = PathBuf::from(env::var(NOTES).expect("a story starts it"));
    let settings = format!("[database]\nurl = {url:?}\nmigrate = false\n");
    let config = Config::layered(Environment::Development, &[&settings]).expect("usable settings");
    let lifecycle = Lifecycle::new();
    let db = open_database(&config, Ids::from_entropy(Clock::system()), lifecycle.clone()).await.expect("it opens");
    let log = EventLog::open(db.clone(), domains::KINDS).await.expect("a log");
    let consumer = Writing { node: "process", notes, stays_at: Some(5) };
    run(Arc::new(consumer), (db, log), Arc::new(Notify::new()), PACE, lifecycle).await;
}

fn process(app: &TestApp, notes: &Path) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "consumers::a_node", "--ignored"])
        .env(URL, &app.app.config.database.url)
        .env(NOTES, notes)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

/// So many events, in as many transactions. Says where the log ends.
async fn events(app: &TestApp, count: usize) -> i64 {
    let ben = app.freelancer("Ben").await;
    for _ in 0..count {
        ben.deposit("1.00").await.good();
    }
    app.app.services.hub.log().stamp().await.expect("a stamp")
}

async fn all_is_written(app: &TestApp, head: i64) {
    holds(app.app.db.reader(), &format!("(SELECT COUNT(*) FROM written) = {head}")).await;
    let holes = "SELECT COUNT(*) FROM (SELECT position, LAG(position) OVER (ORDER BY place) AS before FROM written) AS w \
                 WHERE position <> COALESCE(before, 0) + 1";
    assert_eq!(app.db_number(holes).await, 0, "in order, and none left out");
}

fn noted(notes: &Path) -> String {
    fs::read_to_string(notes).unwrap_or_default()
}

on_both! {
    async fn two_nodes_share_a_consumer_and_none_takes_what_the_other_has(app: TestApp) {
        db_tables(&app).await;
        let home = tempfile::tempdir().expect("a folder");
        let notes = home.path().join("notes");
        let writing = |node| Writing { node, notes: notes.clone(), stays_at: None };
        let (config, ids) = (app.app.config.clone(), app.app.db.ids().clone());
        let db = open_database(&config, ids, Lifecycle::new()).await.expect("it opens");
        let log = EventLog::open(db.clone(), domains::KINDS).await.expect("a log");
        // No lease runs out here, however busy the machine is.
        let pace = ConsumerPace { lease: Duration::from_secs(600), ..PACE };
        let own = app.app.services.hub.log().clone();
        let one = Node::start(writing("one"), app.app.db.clone(), own, pace);
        let two = Node::start(writing("two"), db.clone(), log, pace);
        all_is_written(&app, events(&app, 10).await).await;
        assert_eq!(app.db_number("SELECT attempt FROM event_consumers").await, 1, "one of them holds it");
        assert_eq!(app.db_number("SELECT COUNT(DISTINCT node) FROM written").await, 1);
        // The one that holds it stops, and the other need not wait for the lease to run out.
        let is_one = app.db_number("SELECT COUNT(*) FROM written WHERE node = 'one'").await > 0;
        let (first, second) = if is_one { (one, two) } else { (two, one) };
        first.stop().await;
        all_is_written(&app, events(&app, 10).await).await;
        assert_eq!(app.db_number("SELECT attempt FROM event_consumers").await, 2);
        second.stop().await;
        db.close().await;
    }

    async fn a_node_that_is_killed_in_the_middle_of_its_work_leaves_no_gap(app: TestApp) {
        db_tables(&app).await;
        let home = tempfile::tempdir().expect("a folder");
        let notes = home.path().join("notes");
        let head = events(&app, 10).await;
        let mut killed = process(&app, &notes);
        until("it is in the middle of its work", || noted(&notes).contains("stays")).await;
        killed.start_kill().expect("it is killed");
        killed.wait().await.expect("it is gone");
        assert_eq!(app.db_number("SELECT COUNT(*) FROM written").await, 3, "what it had ended");
        let heir = Node::beside(&app, Writing { node: "heir", notes: notes.clone(), stays_at: None });
        all_is_written(&app, head).await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM written WHERE node = 'process'").await, 3);
        let noted = noted(&notes);
        assert!(noted.contains("process 4\n") && noted.contains("heir 4\n"), "outside at least once: {noted}");
        heir.stop().await;
    }

    async fn a_node_that_was_frozen_writes_nothing_when_it_goes_on(app: TestApp) {
        db_tables(&app).await;
        let home = tempfile::tempdir().expect("a folder");
        let notes = home.path().join("notes");
        let head = events(&app, 10).await;
        let mut frozen = process(&app, &notes);
        until("it is in the middle of its work", || noted(&notes).contains("stays")).await;
        signal(&frozen, "STOP").await;
        let heir = Node::beside(&app, Writing { node: "heir", notes: notes.clone(), stays_at: None });
        all_is_written(&app, head).await;
        fs::write(notes.with_extension("go"), "").expect("written");
        signal(&frozen, "CONT").await;
        let head = events(&app, 5).await;
        all_is_written(&app, head).await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM written WHERE node = 'process'").await, 3);
        frozen.start_kill().expect("it is killed");
        frozen.wait().await.expect("it is gone");
        heir.stop().await;
    }

    /// Its own deadline stops it long before: this is what stands behind that.
    async fn only_the_last_attempt_may_write(app: TestApp) {
        db_tables(&app).await;
        let home = tempfile::tempdir().expect("a folder");
        let notes = home.path().join("notes");
        let head = events(&app, 10).await;
        let node = Node::beside(&app, Writing { node: "one", notes: notes.clone(), stays_at: Some(5) });
        until("it is in the middle of its work", || noted(&notes).contains("stays")).await;
        app.db_run("UPDATE event_consumers SET attempt = attempt + 1, leased_until_ms = 0").await;
        fs::write(notes.with_extension("go"), "").expect("written");
        // It finds out, takes the lease anew and begins with the same event.
        all_is_written(&app, head).await;
        assert_eq!(app.db_number("SELECT attempt FROM event_consumers").await, 3);
        assert_eq!(noted(&notes).matches("one 4\n").count(), 2, "{}", noted(&notes));
        node.stop().await;
    }

    async fn one_that_retention_has_overtaken_is_told_what_it_has_missed(app: TestApp) {
        db_tables(&app).await;
        let home = tempfile::tempdir().expect("a folder");
        let notes = home.path().join("notes");
        let writing = || Writing { node: "one", notes: notes.clone(), stays_at: None };
        let seen = events(&app, 3).await;
        let node = Node::beside(&app, writing());
        all_is_written(&app, seen).await;
        node.stop().await;
        let gone = events(&app, 5).await;
        app.db_age().await;
        app.db_forget().await;
        let node = Node::beside(&app, writing());
        holds(app.app.db.reader(), &format!("(SELECT position FROM event_consumers) = {gone}")).await;
        assert_eq!(app.db_number("SELECT first FROM missing").await, seen + 1);
        assert_eq!(app.db_number("SELECT last FROM missing").await, gone);
        let head = events(&app, 2).await;
        holds(app.app.db.reader(), &format!("(SELECT MAX(position) FROM written) = {head}")).await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM written").await, seen + head - gone);
        node.stop().await;
    }
}

/// The lease of a batch counts from before it was renewed, and the events are read after that. Where this takes long, the
/// work has the rest of the lease and no more, or the next node would begin while it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_ends_with_its_lease_however_slowly_the_log_was_read() {
    let app = TestApp::start(Database::Postgres).await;
    db_tables(&app).await;
    let home = tempfile::tempdir().expect("a folder");
    let notes = home.path().join("notes");
    let head = events(&app, 2).await;
    let pace = ConsumerPace { lease: Duration::from_millis(4500), ..PACE };
    let db = app.app.db.clone();
    let holder = db.writer().begin("BEGIN").await.expect("a transaction");
    holder.execute_unprepared("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let began = Instant::now();
    let staying = Writing { node: "one", notes: notes.clone(), stays_at: Some(1) };
    let node = Node::start(staying, db.clone(), app.app.services.hub.log().clone(), pace);
    // Four fifths of the lease are over when the log can be read.
    let nearly_over = "EXISTS (SELECT FROM event_consumers \
                       WHERE leased_until_ms - 900 < extract(epoch FROM clock_timestamp()) * 1000)";
    holds(db.writer(), nearly_over).await;
    holder.rollback().await.expect("let go");
    until("it has begun its work", || noted(&notes).contains("stays")).await;
    until("its work is cut off", || noted(&notes).contains("leaves")).await;
    let taken = began.elapsed();
    // Two thirds of a lease from when the log was read would be more than six and a half seconds.
    assert!(taken < Duration::from_millis(5500), "it was at work {taken:?} after it took a lease of {:?}", pace.lease);
    fs::write(notes.with_extension("go"), "").expect("written");
    all_is_written(&app, head).await;
    node.stop().await;
    app.finish().await;
}

/// Fails until it is told to go on.
#[derive(Debug)]
struct Failing(Arc<AtomicBool>);

#[async_trait]
impl Consumer for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    async fn act(&self, _: &[Event]) -> Result<(), InternalError> {
        if self.0.load(Ordering::Acquire) { Ok(()) } else { Err(InternalError::Unavailable("nobody answers".into())) }
    }

    async fn missed_in(&self, _: &Tx, _: RangeInclusive<i64>) -> Result<(), InternalError> {
        Ok(())
    }
}

/// Waits until `/metrics` has this sample with a value that is right.
async fn printed(app: &TestApp, sample: &str, is_right: impl Fn(i64) -> bool) {
    soon(async {
        loop {
            let text = app.http.request(Method::GET, "/metrics").send().await.expect("metrics").text().await;
            let text = text.expect("a body");
            let value = text.lines().find_map(|line| line.strip_prefix(sample)).map(|value| value.trim().parse());
            if value.is_some_and(|value| is_right(value.expect("a number"))) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_consumer_and_what_fails_is_counted() {
    let app = TestApp::start(Database::Sqlite).await;
    let head = events(&app, 7).await;
    let (lifecycle, works) = (Lifecycle::new(), Arc::new(AtomicBool::new(false)));
    let (db, log) = (app.app.db.clone(), app.app.services.hub.log().clone());
    let failing = Arc::new(Failing(Arc::clone(&works)));
    drop(lifecycle.spawn(run(failing, (db, log), Arc::new(Notify::new()), PACE, lifecycle.clone())));
    let waiting = "lancewire_consumer_waiting_events{consumer=\"failing\"}";
    printed(&app, waiting, |waiting| waiting == head).await;
    let failures = "lancewire_consumer_failures_total{consumer=\"failing\",reason=\"error\"}";
    printed(&app, failures, |failures| failures >= 2).await;
    works.store(true, Ordering::Release);
    printed(&app, waiting, |waiting| waiting == 0).await;
    assert!(lifecycle.shut_down(Duration::from_secs(20)).await, "it does not leave by itself");
    app.finish().await;
}
