//! Pages with a normalised cache never show an older state: Apollo Client, urql with graphcache, and Relay, as stock
//! packages, with the files that `docs/clients.md` shows. Each page watches the open jobs over a socket or over streams.
//!
//! At every step what the page's callback got is looked at: no object's version ever goes down. At the end the page, its
//! cache and the server agree.

use std::collections::HashMap;

use lancewire::clock::Clock;
use serde_json::{Value, json};

use super::{Client, TOKEN, relay_is_built, renewed, to_and_fro};
use crate::support::{
    app::{Database, TestApp},
    node,
    people::{PASSWORD, Person, text},
    proxy::{Proxy, Wire},
};

#[derive(PartialEq)]
enum Cached {
    All,
    Listed,
}

/// A page in front of somebody.
struct Page {
    client: Client,
    versions: HashMap<String, i64>,
    shown: Vec<Value>,
}

impl Page {
    /// Opens one for `person`. `live` carries its subscriptions, the server's own address the rest.
    async fn open(app: &TestApp, person: &Person, library: &str, transport: &str, live: &Proxy) -> Self {
        if library == "relay" {
            relay_is_built().await;
        }
        let mut command = node::script("cache_client.mjs", &format!("http://{}/graphql", app.addr));
        command.args([library, transport, &format!("http://{}/graphql", live.addr)]);
        command.env("EMAIL", &person.email).env("PASSWORD", PASSWORD);
        Self { client: Client::of(command, ""), versions: HashMap::new(), shown: Vec::new() }
    }

    /// Takes what was shown until these are the titles, the newest job first. None of it was older than before.
    async fn shows(&mut self, titles: &[&str]) {
        let is = |jobs: &[Value]| {
            jobs.iter().map(|job| job["title"].as_str().unwrap_or_default()).eq(titles.iter().copied())
        };
        while !is(&self.shown) {
            self.next().await;
        }
    }

    /// Waits until a job is shown in this version.
    async fn shows_version(&mut self, job: &Value, version: i64) {
        while self.versions.get(&id(job)) != Some(&version) {
            self.next().await;
        }
    }

    async fn next(&mut self) {
        let line = self.client.take("shown", None).await;
        for job in line["jobs"].as_array().expect("jobs") {
            let version = job["version"].as_i64().expect("a version");
            let before = self.versions.insert(id(job), version).unwrap_or_default();
            assert!(version >= before, "version {version} of a job is shown after version {before}: {line}");
        }
        self.shown.clone_from(line["jobs"].as_array().expect("jobs"));
    }

    /// Claims a job as it is shown.
    async fn claims(&mut self, job: &Value) -> Value {
        self.client.tell(json!({ "op": "claim", "id": id(job) })).await;
        self.client.take("claimed", None).await["result"].clone()
    }

    /// The page and the server agree, and its cache on `cached` jobs: all, or those that are listed.
    async fn agrees(&mut self, cached: Cached) {
        self.client.tell(json!({ "op": "compare" })).await;
        let compared = self.client.take("compared", None).await;
        assert_eq!(compared["shown"], compared["list"], "the page and the server");
        let listed = |id: &String| compared["list"].as_array().expect("jobs").iter().any(|job| job["id"] == **id);
        for (id, job) in compared["cached"].as_object().expect("jobs") {
            if cached == Cached::All || listed(id) {
                assert_eq!(*job, compared["fresh"][id], "the cache and the server");
            }
        }
        while let Some(place) = self.client.unread.iter().position(|line| line["event"] == "shown") {
            let line = self.client.unread.remove(place).expect("just found");
            assert_eq!(line["jobs"], compared["list"], "what was shown after the last change");
        }
        let failed = self.client.unread.iter().find(|line| line["event"] == "failed");
        assert_eq!(failed, None, "nothing went wrong in the page");
    }
}

fn id(job: &Value) -> String {
    text(job, "/id")
}

async fn a_page_never_shows_an_older_state(library: &str, transport: &str, database: Database) {
    let clock = Clock::manual(Clock::system().now());
    let settings = format!("[auth]\naccess_token_seconds = {}\n[sockets]\nping_interval_ms = 500\n", TOKEN.as_secs());
    let app = TestApp::start_with(database, &settings, clock.clone()).await;
    let (ada, ben, cleo) = tokio::join!(app.client("Ada"), app.freelancer("Ben"), app.freelancer("Cleo"));
    let [one, two, three] = ["One", "Two", "Three"].map(|title| ada.post_job(title));
    let (one, two, three) = (one.await, two.await, three.await);
    app.published().await;

    // A list, and what happens while it is open.
    let live = Proxy::to(app.addr, None);
    let mut page = Page::open(&app, &ben, library, transport, &live).await;
    page.shows(&["Three", "Two", "One"]).await;
    app.listening(2).await;
    let four = ada.post_job("Four").await;
    page.shows(&["Four", "Three", "Two", "One"]).await;
    ada.update(&id(&four), json!({ "title": "Four, in a hurry" })).await.good();
    page.shows(&["Four, in a hurry", "Three", "Two", "One"]).await;

    // A claim that is won, and one that is lost while the page does not know it yet.
    assert_eq!(page.claims(&four).await["job"]["status"], "CLAIMED");
    page.shows(&["Three", "Two", "One"]).await;
    live.set(Wire::Stalled);
    let taken = text(&cleo.claim(&id(&three)).await.good(), "/claim/id");
    let lost = page.claims(&three).await;
    assert_eq!(lost["errors"][0]["__typename"], "JobNotClaimableError");
    assert_eq!(lost["errors"][0]["job"]["version"], 2);
    page.shows(&["Two", "One"]).await;
    live.set(Wire::Open);

    // The network is lost, twice in a row, and a lot happens meanwhile.
    live.set(Wire::Cut);
    cleo.release(&taken).await.good();
    to_and_fro(&cleo, &id(&two), 10).await;
    to_and_fro(&cleo, &id(&three), 10).await;
    live.set(Wire::Open);
    page.shows(&["Three", "Two", "One"]).await;
    live.set(Wire::Cut);
    to_and_fro(&cleo, &id(&two), 5).await;
    cleo.claim(&id(&two)).await.good();
    let five = ada.post_job("Five").await;
    live.set(Wire::Open);
    app.listening(2).await;
    live.set(Wire::Cut);
    to_and_fro(&cleo, &id(&five), 3).await;
    live.set(Wire::Open);
    page.shows_version(&five, 7).await;
    page.shows(&["Five", "Three", "One"]).await;

    // The server is restarted.
    let app = app.restarted().await;
    to_and_fro(&cleo, &id(&one), 5).await;
    ada.cancel(&id(&three)).await.good();
    page.shows_version(&one, 11).await;
    page.shows(&["Five", "One"]).await;

    // The token ends.
    app.listening(2).await;
    clock.advance(TOKEN);
    let (ada, cleo) = (renewed(ada).await, renewed(cleo).await);
    to_and_fro(&cleo, &id(&one), 3).await;
    let six = ada.post_job("Six").await;
    page.shows_version(&one, 17).await;
    page.shows(&["Six", "Five", "One"]).await;
    assert_eq!(page.claims(&one).await["job"]["version"], 18);
    page.shows(&["Six", "Five"]).await;
    page.agrees(Cached::All).await;

    // Its position is no longer kept: the list is read anew.
    live.set(Wire::Cut);
    let six = ada.cancel(&id(&six)).await.good()["job"].clone();
    let app = app.restarted().await;
    app.db_age().await;
    app.db_forget().await;
    ada.post_job("Seven").await;
    live.set(Wire::Open);
    page.shows(&["Seven", "Five"]).await;
    assert_eq!(page.versions.get(&id(&six)), Some(&1), "it was not shown when it was cancelled");
    app.listening(2).await;
    ada.post_job("Eight").await;
    page.shows(&["Eight", "Seven", "Five"]).await;
    page.agrees(Cached::Listed).await;
    drop(page);
    app.listening(0).await;
    app.finish().await;
}

macro_rules! pages {
    ($($name:ident: $library:literal, $transport:literal, $database:ident;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            a_page_never_shows_an_older_state($library, $transport, Database::$database).await;
        }
    )+};
}

pages! {
    apollo_over_a_socket: "apollo", "socket", Sqlite;
    apollo_over_streams: "apollo", "streams", Postgres;
    urql_over_a_socket: "urql", "socket", Postgres;
    urql_over_streams: "urql", "streams", Sqlite;
    relay_over_a_socket: "relay", "socket", Sqlite;
    relay_over_streams: "relay", "streams", Postgres;
}
