//! The parts of `docs/clients.md` by themselves: the version guard, the session, and the clients that are no web page.

use std::{collections::HashMap, path::PathBuf, process::Stdio};

use lancewire::clock::Clock;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::mpsc,
};

use super::{TOKEN, renewed, to_and_fro};
use crate::support::{
    app::{Database, TestApp, soon},
    node,
    people::{PASSWORD, Person, text},
    proxy::{Proxy, Wire},
};

async fn passes(mut command: Command) {
    let ended = command.output().await.expect("node runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[tokio::test]
async fn the_guard_lets_no_field_go_back() {
    passes(node::script("guard.mjs", "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_renewed_once_and_before_its_token_ends() {
    // Moments are told in whole seconds: a quarter of the time must be well over half of one.
    let settings = "[auth]\naccess_token_seconds = 6";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let ada = Person::sign_up(&app, "Ada", &["CLIENT"]).await;
    let mut command = node::script("session.mjs", &format!("http://{}/graphql", app.addr));
    command.env("EMAIL", &ada.email).env("PASSWORD", PASSWORD);
    passes(command).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_keeps_the_place_of_each_subscription() {
    let app = TestApp::start_with(Database::Sqlite, "[sockets]\nping_interval_ms = 200", Clock::system()).await;
    let ada = app.client("Ada").await;
    let mut command = node::script("socket.mjs", &format!("http://{}/graphql", app.addr));
    command.env("EMAIL", &ada.email).env("PASSWORD", PASSWORD);
    passes(command).await;
    app.finish().await;
}

/// What a follower tells: the title of a job and its version.
struct Follower<N> {
    next: N,
    versions: HashMap<String, i64>,
}

impl<N: AsyncFnMut() -> (String, i64)> Follower<N> {
    /// Waits until a job was seen in this version. No job was ever seen in an older one than before.
    async fn sees(&mut self, title: &str, version: i64) {
        while self.versions.get(title) != Some(&version) {
            let (title, version) = soon((self.next)()).await;
            let before = self.versions.insert(title.clone(), version).unwrap_or_default();
            assert!(version >= before, "version {version} of {title} after version {before}");
        }
    }
}

/// What becomes of jobs while somebody follows them over a connection that is cut and a server that is restarted.
async fn they_are_followed(app: TestApp, clock: Clock, live: Proxy, next: impl AsyncFnMut() -> (String, i64)) {
    let mut follower = Follower { next, versions: HashMap::new() };
    let (ada, cleo) = tokio::join!(app.client("Ada"), app.freelancer("Cleo"));
    app.listening(1).await;
    let [one, two] = ["One", "Two"].map(|title| ada.post_job(title));
    let (one, two) = (text(&one.await, "/id"), text(&two.await, "/id"));
    to_and_fro(&cleo, &one, 2).await;
    follower.sees("One", 5).await;

    live.set(Wire::Cut);
    to_and_fro(&cleo, &one, 5).await;
    to_and_fro(&cleo, &two, 5).await;
    live.set(Wire::Open);
    follower.sees("One", 15).await;
    follower.sees("Two", 11).await;

    let app = app.restarted().await;
    to_and_fro(&cleo, &two, 2).await;
    follower.sees("Two", 15).await;

    app.listening(1).await;
    clock.advance(TOKEN);
    let cleo = renewed(cleo).await;
    to_and_fro(&cleo, &one, 2).await;
    follower.sees("One", 19).await;
    // Its connection goes with the proxy, and itself with the test.
    drop((live, follower));
    app.listening(0).await;
    app.finish().await;
}

/// A server whose clock is moved by hand, and a wire to it.
async fn stage(database: Database) -> (TestApp, Clock, Proxy) {
    let clock = Clock::manual(Clock::system().now());
    let settings = format!("[auth]\naccess_token_seconds = {}\n[sockets]\nping_interval_ms = 500\n", TOKEN.as_secs());
    let app = TestApp::start_with(database, &settings, clock.clone()).await;
    let live = Proxy::to(app.addr, None);
    (app, clock, live)
}

/// The story for a program that writes a line for each job, in which `seen` finds its title and version.
async fn a_program_follows(
    mut command: Command,
    (app, clock, live): (TestApp, Clock, Proxy),
    seen: fn(&str) -> Option<(String, i64)>,
) {
    command.env("URL", format!("http://{}/graphql", live.addr));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().expect("it runs");
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
    let next = async move || {
        loop {
            let line = lines.next_line().await.expect("text").expect("it goes on");
            if let Some(seen) = seen(&line) {
                return seen;
            }
        }
    };
    they_are_followed(app, clock, live, next).await;
    drop(program);
}

fn of_job(job: &Value) -> Option<(String, i64)> {
    Some((job["title"].as_str()?.to_owned(), job["version"].as_i64()?))
}

fn example(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/clients").join(path)
}

/// Python's gql, signed in: over the websockets package, and over HTTP by aiohttp.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_follows_jobs() {
    let stage = stage(Database::Postgres).await;
    let ben = stage.0.freelancer("Ben").await;
    let mut command = python();
    command.arg(example("python/jobs.py")).env("EMAIL", &ben.email).env("PASSWORD", PASSWORD);
    // "5 CLAIMED One"
    a_program_follows(command, stage, |line| {
        let (version, rest) = line.split_once(' ')?;
        Some((rest.split_once(' ')?.1.to_owned(), version.parse().ok()?))
    })
    .await;
}

/// The other transports of gql say and see the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_speaks_by_each_transport() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.client("Ada").await;
    let mut command = python();
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/transports.py"));
    command.arg(format!("http://{}/graphql", app.addr)).env("TOKEN", ada.token.as_deref().expect("a token"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    passes(command).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bash_and_curl_follow_jobs() {
    shell_follows("bash").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zsh_and_curl_follow_jobs() {
    shell_follows("zsh").await;
}

async fn shell_follows(shell: &str) {
    let mut command = Command::new(shell);
    command.arg(example("curl/jobs.sh"));
    a_program_follows(command, stage(Database::Sqlite).await, |line| {
        of_job(serde_json::from_str::<Value>(line).ok()?.pointer("/data/jobUpdated/job")?)
    })
    .await;
}

/// graphql-ws-client, in this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_follows_jobs() {
    let (app, clock, live) = stage(Database::Sqlite).await;
    let ben = app.freelancer("Ben").await;
    let url = format!("http://{}/graphql", live.addr);
    let token = async || ben.sign_in_again().await.token.map(|token| token.to_string());
    let (sender, mut changes) = mpsc::unbounded_channel();
    let follow = lancewire_client_example::follow(&url, token, |job| {
        let _ = sender.send(of_job(job).expect("a job"));
    });
    let next = async move || changes.recv().await.expect("it goes on");
    tokio::select! {
        ended = follow => panic!("it gave up: {ended:?}"),
        () = they_are_followed(app.clone(), clock, live, next) => {}
    }
}

/// The Python of the tests, with gql.
fn python() -> Command {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    assert!(python.exists(), "target/python is missing: run `make prepare-tests`");
    Command::new(python)
}
