//! Reads on a streaming replica: which callers it answers, what they see while it lags, and what happens when it fails.
//!
//! Each story has two PostgreSQL servers of its own. The replica's replay is paused where a story needs it to lag.

use std::net::SocketAddr;

use futures_util::future::{join, join_all};
use lancewire::{
    app::{App, StartError},
    clock::Clock,
    config::Config,
    events::EventKind,
    ids::Ids,
};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, Statement};
use serde_json::{Value, json};

use crate::support::{
    app::{Database, TestApp, holds, migrate, soon, until},
    http::Http,
    people::{Person, text},
    postgres::{self, Mortal},
    socket::Socket,
};

/// So far behind that no story gets there.
const PATIENT: u32 = 60_000;
const FEED: &str = "{ jobs(first: 100) { nodes { id title client { displayName } skills { slug } } } streamCursor }";
const JOB: &str = "query($id: ID!) { job(id: $id) { title } }";

/// A primary, its replica and a server on both.
struct Pair {
    primary: Mortal,
    replica: Mortal,
    app: TestApp,
}

impl Pair {
    async fn start(max_lag_ms: u32) -> Self {
        let primary = Mortal::start().await;
        migrate(primary.url().to_owned()).await;
        let replica = primary.follower().await;
        let settings = format!(
            "[database]\nurl = {:?}\nreplica_url = {:?}\nreplica_max_lag_ms = {max_lag_ms}\n",
            primary.url(),
            replica.url()
        );
        let app = TestApp::start_with(Database::Sqlite, &settings, Clock::system()).await;
        let pair = Self { primary, replica, app };
        pair.serves(true).await;
        pair
    }

    /// Waits until the replica answers, or no longer does.
    async fn serves(&self, expected: bool) {
        let replica = self.app.app.replica.as_ref().expect("a replica");
        until("the replica comes or goes", || replica.serves() == expected).await;
    }

    /// Waits until the replica shows all that was committed so far.
    async fn caught_up(&self) {
        let (primary, replica) = (connect(self.primary.url()).await, connect(self.replica.url()).await);
        let place = number(&primary, "SELECT CAST(pg_current_wal_lsn() - '0/0' AS bigint)").await;
        holds(&replica, &format!("pg_last_wal_replay_lsn() - '0/0' >= {place}")).await;
    }

    /// Stops what the replica shows, or lets it go on.
    async fn pause(&self, pause: bool) {
        self.caught_up().await;
        let replica = connect(self.replica.url()).await;
        let (order, state) = if pause { ("pause", "paused") } else { ("resume", "not paused") };
        replica.execute_unprepared(&format!("SELECT pg_wal_replay_{order}()")).await.expect("it does");
        holds(&replica, &format!("pg_get_wal_replay_pause_state() = '{state}'")).await;
    }

    /// Lets the replica go on and waits until it shows everything.
    async fn resume(&self) {
        let replica = connect(self.replica.url()).await;
        replica.execute_unprepared("SELECT pg_wal_replay_resume()").await.expect("it does");
        self.caught_up().await;
    }

    /// How many statements a query takes on the primary and on the replica.
    async fn cost(&self, who: &Person, query: &str) -> (u64, u64) {
        let replica = self.app.app.replica.as_ref().expect("a replica");
        let (mut least, mut most) = (u64::MAX, 0);
        // What runs in the background adds to the primary's count now and then and never takes from it.
        for _ in 0..5 {
            let before = (self.app.app.db.statements(), replica.statements());
            who.run(query, json!({})).await.data();
            least = least.min(self.app.app.db.statements() - before.0);
            most = most.max(replica.statements() - before.1);
        }
        (least, most)
    }

    /// Another server on the same pair.
    async fn second_node(&self) -> (App, SocketAddr) {
        let node = node(self.app.app.config.clone()).await.expect("builds");
        let addr = node.serve(node.listen().await.expect("a port")).expect("an address");
        let replica = node.replica.clone().expect("a replica");
        until("the replica serves the second node", || replica.serves()).await;
        (node, addr)
    }
}

async fn node(mut config: Config) -> Result<App, StartError> {
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    App::build(config, Clock::system(), Ids::from_entropy(Clock::system())).await
}

/// The same server, another database.
fn in_database(url: &str, name: &str) -> String {
    let mut url: url::Url = url.parse().expect("a URL");
    url.set_path(name);
    url.to_string()
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await.expect("connects")
}

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.expect("the query runs");
    row.expect("a row").try_get_by_index(0).expect("a number")
}

/// The titles of a list of jobs, in the order of their posting.
fn titles(answer: &Value) -> Vec<String> {
    let nodes = answer["jobs"]["nodes"].as_array().expect("nodes");
    nodes.iter().rev().map(|job| text(job, "/title")).collect()
}

/// Whether somebody is shown a job.
async fn sees(who: &Person, job: &str) -> bool {
    !who.run(JOB, json!({ "id": job })).await.data()["job"].is_null()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_reads_are_answered_by_the_replica_and_nothing_else_is() {
    let pair = Pair::start(PATIENT).await;
    let ada = pair.app.client("Ada").await;
    ada.post_job("Read by all").await;
    pair.caught_up().await;
    let anonymous = pair.app.anonymous();
    // The state, the page, the clients, the skills.
    assert_eq!(pair.cost(&anonymous, FEED).await, (0, 4));
    // One more on the primary: whose token it is, and how many of their commits the replica must show.
    assert_eq!(pair.cost(&ada, FEED).await, (1, 4));
    assert_eq!(pair.cost(&anonymous, "{ skills { slug } }").await, (0, 2));
    for private in [
        "{ viewer { displayName } }",
        "{ wallet { id } }",
        "{ jobs(first: 1) { nodes { id } } viewer { id } }",
        "{ events(first: 10) { nodes { id } } }",
        "{ streamCursor }",
        "{ rateLimit { cost } }",
        "mutation { updateProfile(input: { displayName: \"Ada\" }) { errors { __typename } } }",
    ] {
        let (_, on_replica) = pair.cost(&ada, private).await;
        assert_eq!(on_replica, 0, "{private}");
    }
    pair.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_reads_their_own_writes_on_every_node_however_far_the_replica_is_behind() {
    let pair = Pair::start(PATIENT).await;
    let (node, addr) = pair.second_node().await;
    let elsewhere = |who: &Person| Person { http: Http::new(addr), ..who.clone() };
    let (ada, ben) = (pair.app.client("Ada").await, pair.app.client("Ben").await);
    let socket = Socket::connect(addr, ada.token.as_deref()).await;
    pair.pause(true).await;

    let fresh = text(&ada.post_job("Fresh").await, "/id");
    let anonymous = pair.app.anonymous();
    for who in [&ben, &elsewhere(&ben), &anonymous, &elsewhere(&anonymous)] {
        assert!(!sees(who, &fresh).await, "the replica does not show it yet");
    }
    assert!(sees(&ada, &fresh).await, "where she wrote");
    assert!(sees(&elsewhere(&ada), &fresh).await, "on another node");
    let answer = socket.subscribe(JOB, json!({ "id": fresh }));
    assert_eq!(socket.next(&answer).await["data"]["job"]["title"], "Fresh", "on a socket from before she wrote");
    // What is no event and no key in a table of deeds counts as well.
    let renamed =
        elsewhere(&ada).mutate("updateProfile", json!({ "displayName": "Ada the Second" }), "viewer { id }").await;
    renamed.good();
    let query = format!("{{ node(id: \"{}\") {{ ... on User {{ displayName }} }} }}", ada.id);
    assert_eq!(ada.run(&query, json!({})).await.at("/data/node/displayName"), "Ada the Second");
    assert_eq!(ben.run(&query, json!({})).await.at("/data/node/displayName"), "Ada");
    // A user who has just signed up can read their own account.
    let cleo = Person::sign_up(&pair.app, "Cleo", &["FREELANCER"]).await;
    let query = format!("{{ node(id: \"{}\") {{ id }} }}", cleo.id);
    assert_eq!(elsewhere(&cleo).run(&query, json!({})).await.at("/data/node/id"), &json!(cleo.id));
    assert!(ben.run(&query, json!({})).await.at("/data/node").is_null());

    pair.resume().await;
    for who in [&ben, &elsewhere(&ben), &anonymous] {
        assert!(sees(who, &fresh).await);
    }
    assert_eq!(pair.cost(&ada, FEED).await, (1, 4), "she is back on the replica");
    assert!(node.shut_down().await, "a task did not leave by itself");
    pair.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_and_its_cursor_are_of_one_state() {
    let pair = Pair::start(PATIENT).await;
    let (ada, anonymous) = (pair.app.client("Ada").await, pair.app.anonymous());
    ada.post_job("Seen").await;
    pair.app.published().await;
    pair.pause(true).await;
    for title in ["Unseen", "Nor this"] {
        ada.post_job(title).await;
    }
    let read = anonymous.run(FEED, json!({})).await.data().clone();
    assert_eq!(titles(&read), ["Seen"]);
    let socket = pair.app.socket(None).await;
    let query = "subscription($after: String) { jobPosted(after: $after) { job { title } } }";
    let feed = socket.subscribe(query, json!({ "after": read["streamCursor"] }));
    pair.app.listening(1).await;
    ada.post_job("Live").await;
    for title in ["Unseen", "Nor this", "Live"] {
        assert_eq!(socket.next(&feed).await["data"]["jobPosted"]["job"]["title"], title);
    }
    assert_eq!(pair.app.app.services.hub.listeners(EventKind::JobPosted), 1);

    // Whenever the list is read, list and stream together are everything.
    pair.resume().await;
    let writers = join_all((0..4).map(|_| async {
        for number in 0..8 {
            ada.post_job(&format!("Job {number}")).await;
        }
    }));
    let reading = async {
        let mut reads = Vec::new();
        while reads.len() < 40 {
            reads.push(anonymous.run(FEED, json!({})).await.data().clone());
        }
        reads
    };
    let (_, reads) = join(writers, reading).await;
    pair.app.published().await;
    pair.caught_up().await;
    let all = titles(anonymous.run(FEED, json!({})).await.data()).len();
    assert_eq!(all, 36);
    for read in reads {
        let query = "query($after: String) { events(first: 100, after: $after) { nodes { ... on JobPostedEvent \
                     { job { id } } } } }";
        let events = anonymous.run(query, json!({ "after": read["streamCursor"] })).await;
        let heard =
            events.at("/data/events/nodes").as_array().expect("events").iter().map(|node| text(node, "/job/id"));
        let listed = read["jobs"]["nodes"].as_array().expect("nodes").iter().map(|node| text(node, "/id"));
        let known: std::collections::HashSet<String> = heard.chain(listed).collect();
        assert_eq!(known.len(), all, "{read}");
    }
    pair.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags_is_left_out_and_comes_back() {
    let pair = Pair::start(400).await;
    let (ada, anonymous) = (pair.app.client("Ada").await, pair.app.anonymous());
    pair.pause(true).await;
    let job = text(&ada.post_job("Not there").await, "/id");
    pair.serves(false).await;
    assert!(sees(&anonymous, &job).await, "the primary answers");
    assert_eq!(pair.cost(&anonymous, FEED).await.1, 0);
    pair.resume().await;
    pair.serves(true).await;
    assert_eq!(pair.cost(&anonymous, FEED).await, (0, 4));
    pair.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_when_the_replica_dies_in_the_middle_of_them() {
    let pair = Pair::start(PATIENT).await;
    let (ada, anonymous) = (pair.app.client("Ada").await, pair.app.anonymous());
    let job = text(&ada.post_job("Read on").await, "/id");
    pair.caught_up().await;
    // Held on the primary and, once replayed, on the replica: a read there has begun and cannot go on.
    let (primary, replica) = (connect(pair.primary.url()).await, connect(pair.replica.url()).await);
    primary.execute_unprepared("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    holds(&replica, "EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'jobs'::regclass)")
        .await;
    let reading = soon(sees(&anonymous, &job));
    let dying = async {
        holds(
            &replica,
            "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'lancewire-replica' AND wait_event_type = 'Lock')",
        )
        .await;
        pair.replica.crash().await;
        pair.serves(false).await;
        primary.execute_unprepared("COMMIT").await.expect("released");
    };
    let (seen, ()) = join(reading, dying).await;
    assert!(seen, "it was read again on the primary");
    let ready = pair.app.http.request(reqwest::Method::GET, "/health/ready").send().await.expect("an answer");
    assert_eq!(ready.status().as_u16(), 200);
    assert_eq!(pair.cost(&anonymous, FEED).await.1, 0);

    pair.replica.recover().await;
    pair.serves(true).await;
    assert_eq!(pair.cost(&anonymous, FEED).await, (0, 4));
    // Nobody notices, however many read while it goes.
    let crowd = async {
        for _ in 0..10 {
            assert!(join_all((0..8).map(|_| sees(&anonymous, &job))).await.into_iter().all(|seen| seen));
        }
    };
    join(crowd, pair.replica.crash()).await;
    pair.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_counts_at_once_however_far_the_replica_is_behind() {
    let pair = Pair::start(PATIENT).await;
    let ada = pair.app.client("Ada").await;
    pair.pause(true).await;
    assert_eq!(pair.cost(&ada, FEED).await, (1, 2), "the replica serves her");
    ada.run("mutation { signOut { errors { __typename } } }", json!({})).await.data();
    assert_eq!(ada.run(FEED, json!({})).await.code(), "UNAUTHENTICATED");
    pair.resume().await;
    pair.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_something_else_stops_the_start_and_one_that_is_away_does_not() {
    let pair = Pair::start(PATIENT).await;
    let with = async |url: &str, replica: &str| {
        let mut config = pair.app.app.config.clone();
        (config.database.url, config.database.replica_url) = (url.to_owned(), replica.to_owned());
        node(config).await
    };
    let primary = connect(pair.primary.url()).await;
    primary.execute_unprepared("CREATE DATABASE other").await.expect("made");
    let other = in_database(pair.primary.url(), "other");
    migrate(other.clone()).await;
    pair.caught_up().await;
    let stranger = postgres::shared().await.database(migrate).await;
    let nowhere = in_database(pair.replica.url(), "nowhere");
    for (url, replica, why) in [
        (pair.primary.url(), stranger.url(), "another cluster"),
        (other.as_str(), pair.replica.url(), "another event log"),
        (pair.primary.url(), nowhere.as_str(), "\"nowhere\" does not exist"),
        (pair.primary.url(), "postgres://[", "database.replica_url"),
    ] {
        let line = with(url, replica).await.err().expect("must be refused").to_string();
        assert!(line.starts_with("database.replica_url: ") && line.contains(why), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
    // One that is away, or is the primary itself, is not read.
    for replica in ["postgres://postgres@127.0.0.1:1/postgres", pair.primary.url()] {
        let node = with(pair.primary.url(), replica).await.expect("starts");
        let http = Http::new(node.serve(node.listen().await.expect("a port")).expect("an address"));
        http.graphql(None, FEED, json!({})).await.data();
        assert_eq!(node.replica.as_ref().map(lancewire::db::replica::Replica::statements), Some(0));
        assert!(node.shut_down().await, "a task did not leave by itself");
    }
    pair.app.finish().await;
}
