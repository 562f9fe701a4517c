//! Named consumers of the log: each event is worked on by one node at a time, in order and none left out, whoever dies or
//! freezes at whichever moment.

use std::{
    env, fs,
    io::Write as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
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
use sea_orm::prelude::async_trait::async_trait;
use tokio::{
    process::{Child, Command},
    sync::Notify,
};

use crate::{
    on_both,
    support::{
        app::{TestApp, holds, until},
        binary::signal,
    },
};

/// As short as a story can wait for, and long enough for a busy machine.
const PACE: ConsumerPace = ConsumerPace { poll: Duration::from_millis(20), lease: Duration::from_secs(3), batch: 3 };

/// Where a process of [`a_node`] works, and for whom.
const URL: &str = "LANCEWIRE_TEST_CONSUMER_URL";
const NOTES: &str = "LANCEWIRE_TEST_CONSUMER_NOTES";

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
