//! A stock graphql-ws client, with its defaults and no code of ours, lives through what happens to connections.

mod caches;
mod documents;
mod parts;

use std::{collections::VecDeque, path::PathBuf, process::Stdio, time::Duration};

use chrono::DateTime;
use lancewire::clock::Clock;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    sync::OnceCell,
};

use crate::support::{
    app::{Database, TestApp},
    node,
    people::{Person, text},
};

/// Longer than the client's first retries take: it waits 1.3 to 4 seconds before the first.
const GUARD: Duration = Duration::from_secs(60);

/// How long an access token is good.
const TOKEN: Duration = Duration::from_secs(900);

/// Somebody claims a job and gives it back, so many times: two versions each time, on two subscriptions.
async fn to_and_fro(person: &Person, job: &str, times: usize) {
    for _ in 0..times {
        let claim = text(&person.claim(job).await.good(), "/claim/id");
        person.release(&claim).await.good();
    }
}

/// relay-compiler and the tags of `examples/clients/relay`, once for all stories.
async fn relay_is_built() {
    static BUILT: OnceCell<()> = OnceCell::const_new();
    let build = async || {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/clients");
        let built =
            tokio::process::Command::new("npm").args(["run", "--silent", "relay"]).current_dir(folder).output().await;
        let built = built.expect("npm runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stdout));
    };
    BUILT.get_or_init(build).await;
}

/// Somebody with a new session.
async fn renewed(person: Person) -> Person {
    Person { token: person.sign_in_again().await.token, ..person }
}

const JOBS: &str = "subscription { jobPosted { job { title version } } }";
const WALLET: &str = "subscription { walletUpdated { wallet { version available { amount } } transaction { type } } }";

/// The client: `tests/js/graphql_ws_client.mjs` says what it understands and tells.
pub(crate) struct Client {
    _process: Child,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    unread: VecDeque<Value>,
}

impl Client {
    fn start(app: &TestApp, token: &str) -> Self {
        Self::of(node::script("graphql_ws_client.mjs", &format!("ws://{}/graphql", app.addr)), token)
    }

    /// A client that another script runs.
    pub(crate) fn of(mut command: tokio::process::Command, token: &str) -> Self {
        let mut process =
            command.env("TOKEN", token).stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("node runs");
        let commands = process.stdin.take().expect("a pipe");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { _process: process, commands, lines, unread: VecDeque::new() }
    }

    pub(crate) async fn tell(&mut self, command: Value) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.expect("the client listens");
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.tell(json!({ "op": "subscribe", "id": id, "query": query })).await;
    }

    /// The next line of this event, and of this subscription if it has one. Errors of any kind are never waited past.
    pub(crate) async fn take(&mut self, event: &str, id: Option<&str>) -> Value {
        let wanted = |line: &Value| line["event"] == event && line["id"].as_str() == id;
        if let Some(place) = self.unread.iter().position(wanted) {
            return self.unread.remove(place).expect("just found");
        }
        loop {
            let line = tokio::time::timeout(GUARD, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{GUARD:?} without {event} {id:?}; unread: {:?}", self.unread));
            let line: Value = serde_json::from_str(&line.expect("readable").expect("the client runs")).expect("JSON");
            assert_ne!(line["event"], "error", "{line}");
            if wanted(&line) {
                return line;
            }
            self.unread.push_back(line);
        }
    }

    pub(crate) async fn next(&mut self, id: &str) -> Value {
        self.take("next", Some(id)).await["payload"]["data"].clone()
    }

    pub(crate) async fn titles(&mut self, id: &str, count: usize) -> Vec<String> {
        let mut titles = Vec::with_capacity(count);
        for _ in 0..count {
            titles.push(text(&self.next(id).await, "/jobPosted/job/title"));
        }
        titles
    }

    async fn closed(&mut self) -> Value {
        self.take("closed", None).await["code"].clone()
    }
}

async fn it_receives_in_order_and_survives_a_restart(database: Database) {
    let app = TestApp::start(database).await;
    let ada = app.client("Ada").await;
    let mut client = Client::start(&app, ada.token.as_deref().expect("a token"));
    client.subscribe("jobs", JOBS).await;
    client.subscribe("wallet", WALLET).await;
    app.listening(2).await;
    client.take("connected", None).await;

    for title in ["One", "Two", "Three"].map(|number| format!("Job {number}")) {
        ada.post_job(&title).await;
    }
    assert_eq!(client.titles("jobs", 3).await, ["Job One", "Job Two", "Job Three"]);
    let first = client.next("wallet").await["walletUpdated"].clone();
    assert_eq!(first["transaction"], json!({ "type": "ESCROW_HOLD" }));
    let version = first["wallet"]["version"].as_i64().expect("a version");
    for (place, available) in ["9800.00", "9700.00"].into_iter().enumerate() {
        let wallet = client.next("wallet").await["walletUpdated"]["wallet"].clone();
        let version = version + 1 + i64::try_from(place).expect("small");
        assert_eq!(wallet, json!({ "version": version, "available": { "amount": available } }));
    }

    let restarted = app.restarted().await;
    assert_eq!(client.closed().await, 1012);
    restarted.listening(2).await;
    client.take("connected", None).await;
    ada.post_job("Job after the restart").await;
    assert_eq!(client.titles("jobs", 1).await, ["Job after the restart"]);
    assert_eq!(client.next("wallet").await["walletUpdated"]["wallet"]["available"]["amount"], "9600.00");
    restarted.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_survived_on_sqlite() {
    it_receives_in_order_and_survives_a_restart(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_survived_on_postgres() {
    it_receives_in_order_and_survives_a_restart(Database::Postgres).await;
}

/// As the documentation tells applications to do: `variables.after` follows the cursor of the last event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_cursor_it_misses_nothing_while_it_is_away() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.client("Ada").await;
    let mut client = Client::start(&app, ada.token.as_deref().expect("a token"));
    let query = "subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }";
    client.tell(json!({ "op": "subscribe", "id": "jobs", "query": query, "resume": true })).await;
    app.listening(1).await;
    ada.post_job("Before").await;
    assert_eq!(client.titles("jobs", 1).await, ["Before"]);

    let restarted = app.restarted().await;
    assert_eq!(client.closed().await, 1012);
    // It waits for a second or more before it comes back.
    for title in ["Missed by a hair", "Missed by a mile"] {
        ada.post_job(title).await;
    }
    restarted.listening(1).await;
    ada.post_job("Seen").await;
    assert_eq!(client.titles("jobs", 3).await, ["Missed by a hair", "Missed by a mile", "Seen"]);
    restarted.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_token_is_invisible_to_subscribers() {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let app = TestApp::start_with(Database::Sqlite, "[auth]\naccess_token_seconds = 900", clock.clone()).await;
    let ada = app.client("Ada").await;
    let mut client = Client::start(&app, ada.token.as_deref().expect("a token"));
    client.subscribe("jobs", JOBS).await;
    app.listening(1).await;

    clock.advance(Duration::from_secs(600));
    let ada = Person { token: Some(ada.sign_in_again().await.token.expect("a token")), ..ada };
    client.tell(json!({ "op": "token", "token": ada.token.as_deref() })).await;
    // The client reads in order: once this one listens, it has the new token too.
    client.subscribe("wallet", WALLET).await;
    app.listening(2).await;
    ada.post_job("Before the end").await;
    let before = client.titles("jobs", 1).await;
    clock.advance(Duration::from_secs(300));
    assert_eq!(client.closed().await, 4403);
    // The first connection is told of last, so this is the second.
    client.take("connected", None).await;
    client.take("connected", None).await;
    app.listening(2).await;
    ada.post_job("After the end").await;
    assert_eq!([before, client.titles("jobs", 1).await].concat(), ["Before the end", "After the end"]);
    app.finish().await;
}
