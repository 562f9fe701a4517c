//! `examples/subscriber.rs`, played: it misses nothing while it is away, nor while the server is.

use lancewire::{clock::Clock, jobs::events::JOB_UPDATED};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinHandle,
};

use crate::support::{
    app::{Database, TestApp, soon, until},
    people::text,
};

#[path = "../../examples/subscriber.rs"]
#[expect(dead_code, reason = "`main` is for the command line")]
mod example;

/// Starts the subscriber as its `main` does, and gives the titles that it is told of.
async fn start(app: &TestApp, file: &str) -> (JoinHandle<()>, UnboundedReceiver<Value>) {
    let (heard, titles) = mpsc::unbounded_channel();
    let (url, file) = (format!("ws://{}/graphql", app.addr), file.to_owned());
    #[expect(clippy::disallowed_methods, reason = "aborted by the story, as somebody ends it on the command line")]
    let task = tokio::spawn(async move {
        loop {
            let heard = heard.clone();
            let _ = example::follow(&url, &file, |job| drop(heard.send(job["title"].clone()))).await;
            tokio::task::yield_now().await;
        }
    });
    let hub = &app.app.services.hub;
    until("it subscribes", || hub.listeners(JOB_UPDATED) == 1).await;
    (task, titles)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subscriber_of_the_examples_resumes_from_its_file() {
    let app = TestApp::start_with(Database::Sqlite, "[sockets]\nping_interval_ms = 1000", Clock::system()).await;
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("cursor").display().to_string();
    let ada = app.client("Ada").await;
    let job = text(&ada.post_job("Posted").await, "/id");
    app.published().await;

    let (task, mut titles) = start(&app, &file).await;
    ada.update(&job, json!({ "title": "One" })).await.good();
    assert_eq!(soon(titles.recv()).await.expect("an event"), "One");
    task.abort();
    assert!(soon(task).await.is_err(), "it is stopped");
    app.listening(0).await;

    ada.update(&job, json!({ "title": "Two" })).await.good();
    let (task, mut titles) = start(&app, &file).await;
    assert_eq!(soon(titles.recv()).await.expect("an event"), "Two");

    let app = app.restarted().await;
    ada.update(&job, json!({ "title": "Three" })).await.good();
    assert_eq!(soon(titles.recv()).await.expect("an event"), "Three");
    task.abort();
    assert!(soon(task).await.is_err(), "it is stopped");
    app.listening(0).await;
    app.finish().await;
}
