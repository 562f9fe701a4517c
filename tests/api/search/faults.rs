//! What befalls an index: restarts, damage, another process. A search is answered all the same, and never wrongly.

use std::{fs, path::PathBuf, slice};

use reqwest::Method;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;

use super::{INDEXED, find, post};
use crate::{
    on_both,
    support::{
        app::{Database, TestApp, soon, until},
        binary::Home,
        http::Http,
        people::{fresh_key, new_job, text},
    },
};

/// Where the index is.
fn folder(app: &TestApp) -> PathBuf {
    app.app.config.search.folder(&app.app.config.database.url)
}

/// Gives the one job another title by the back door, with no event: an index that goes on does not know it.
async fn db_rename(app: &TestApp, title: &str) {
    app.db_run(&format!("UPDATE jobs SET title = '{title}'")).await;
}

/// Tells a story on both databases that stops its server itself.
macro_rules! on_both_with_a_restart {
    ($(async fn $name:ident($app:ident: TestApp) -> TestApp $story:block)+) => {$(
        mod $name {
            use super::*;

            async fn story($app: TestApp) -> TestApp $story

            async fn tell(database: Database) {
                let app = TestApp::start_with(database, INDEXED, lancewire::clock::Clock::system()).await;
                story(app).await.finish().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                tell(Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                tell(Database::Postgres).await;
            }
        }
    )+};
}

on_both_with_a_restart! {
    async fn an_index_goes_on_where_it_stood(app: TestApp) -> TestApp {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let job = post(&ada, "Kale soup", "Plain words.").await;
        app.searchable().await;
        db_rename(&app, "Bread").await;
        let app = app.restarted().await;
        app.searchable().await;
        assert_eq!(find(&app.anonymous(), "kale", "").await, slice::from_ref(&job), "nothing was read anew");
        db_rename(&app, "Kale soup").await;
        let other = post(&ada.at(&app), "Kale stew", "Plain words.").await;
        app.searchable().await;
        assert_eq!(find(&app.anonymous(), "kale", "").await, [other, job]);
        app
    }

    async fn a_damaged_index_is_built_anew(app: TestApp) -> TestApp {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let job = post(&ada, "Kale soup", "Plain words.").await;
        app.searchable().await;
        for entry in fs::read_dir(folder(&app).join("index")).expect("a folder") {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a file");
            fs::write(&path, &bytes[..bytes.len() / 2]).expect("truncated");
        }
        assert_eq!(find(&app.anonymous(), "kale", "").await, slice::from_ref(&job), "it runs on");
        db_rename(&app, "Leek soup").await;
        let app = app.restarted().await;
        app.searchable().await;
        assert_eq!(find(&app.anonymous(), "leek", "").await, slice::from_ref(&job), "read anew");
        db_rename(&app, "Kale soup").await;
        app
    }

    async fn rows_without_events_are_noticed_at_the_start(app: TestApp) -> TestApp {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let job = post(&ada, "Kale soup", "Plain words.").await;
        app.searchable().await;
        app.db_run("UPDATE jobs SET withheld = true").await;
        let app = app.restarted().await;
        app.searchable().await;
        app.db_run("UPDATE jobs SET withheld = false").await;
        assert!(find(&app.anonymous(), "kale", "").await.is_empty(), "built from what the database had");
        let app = app.restarted().await;
        app.searchable().await;
        assert_eq!(find(&app.anonymous(), "kale", "").await, [job]);
        app
    }
}

on_both! {
    with INDEXED;

    async fn a_folder_that_is_gone_is_made_anew(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let first = post(&ada, "Kale soup", "Plain words.").await;
        app.searchable().await;
        fs::remove_dir_all(folder(&app)).expect("removed");
        let second = post(&ada, "Kale stew", "Plain words.").await;
        assert!(find(&app.anonymous(), "kale", "").await.contains(&first), "by whatever way");
        app.searchable().await;
        assert_eq!(find(&app.anonymous(), "kale", "").await, [second, first]);
        assert!(folder(&app).join("index/meta.json").exists());
    }

    async fn a_second_process_leaves_the_folder_alone(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let job = post(&ada, "Kale soup", "Plain words.").await;
        let other = app.neighbour().await;
        assert_eq!(find(&other.anonymous(), "kale", "").await, slice::from_ref(&job), "by the database");
        assert!(!other.app.services.jobs.search().is_open());
        assert!(other.app.shut_down().await);
        app.searchable().await;
        assert_eq!(find(&app.anonymous(), "kal", "").await, [job], "by the index");
    }

    async fn retention_may_overtake_an_index_that_was_away(app: TestApp) {
        let ada = app.client("Ada").await;
        let away = folder(&app).with_extension("away");
        let start = async |app: &TestApp| {
            let path = away.display().to_string();
            let other = app.neighbour_with(|config| config.search.folder = path).await;
            let search = other.app.services.jobs.search().clone();
            let head = app.app.services.hub.log().stamp().await.expect("a stamp");
            until("the other index has come so far", || search.place().is_some_and(|place| place.position >= head)).await;
            other
        };
        let first = post(&ada, "Kale soup", "Plain words.").await;
        let other = start(&app).await;
        assert_eq!(find(&other.anonymous(), "kal", "").await, slice::from_ref(&first), "each node has its own");
        assert!(other.app.shut_down().await);
        let second = post(&ada, "Kale stew", "Plain words.").await;
        app.db_age().await;
        app.db_forget().await;
        let third = post(&ada, "Kale pie", "Plain words.").await;
        let other = start(&app).await;
        assert_eq!(find(&other.anonymous(), "kal", "").await, [third, second, first]);
        assert!(other.app.shut_down().await);
    }
}

/// Posts a job and says whether that was answered.
async fn posted(http: &Http, token: &str, title: &str) -> bool {
    let query = "mutation($input: PostJobInput!) { postJob(input: $input) { job { id } } }";
    let mut input = new_job(title, "1.00");
    input["idempotencyKey"] = fresh_key().into();
    let body = json!({ "query": query, "variables": { "input": input } });
    let sent = http.request(Method::POST, "/graphql").bearer_auth(token).json(&body).send().await;
    match sent {
        Ok(answer) => answer.text().await.is_ok_and(|text| text.contains("job_")),
        Err(_) => false,
    }
}

/// Killed at any moment, also in the middle of a commit: the next start goes on, and what was answered is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing() {
    let home = Home::new();
    let mut known = 0;
    for round in 0..6_u32 {
        let server = home.serve().await;
        let http = Http::new(server.addr);
        let found = async || {
            let query = "{ jobs(query: \"axe\", first: 1) { totalCount facets { skills { count } } } }";
            let reply = http.graphql(None, query, json!({})).await;
            let jobs = reply.data()["jobs"].clone();
            (!jobs["facets"].is_null()).then(|| jobs["totalCount"].as_i64().expect("a number"))
        };
        soon(async { while found().await != Some(known) {} }).await;
        let sign_in = "mutation { signIn(input: { email: \"ada@example.com\", password: \"correct-horse-battery\" }) \
                       { session { accessToken } } }";
        let token = text(http.graphql(None, sign_in, json!({})).await.data(), "/signIn/session/accessToken");
        let work = async {
            let mut answered = 0;
            for number in 0..8 {
                answered += i64::from(posted(&http, &token, &format!("axe {round} {number}")).await);
            }
            answered
        };
        let kill = async {
            soon(async { while found().await.is_none_or(|count| count < known + 2) {} }).await;
            server.signal("KILL").await;
        };
        let before = known;
        let (answered, ()) = futures_util::future::join(work, kill).await;
        assert!(!server.ended().await.success());
        known = committed(&home).await;
        assert!(known >= before + answered, "what was answered is there");
    }
}

/// How many of the jobs that were posted stand in the database.
async fn committed(home: &Home) -> i64 {
    let url = format!("sqlite:{}", home.path().join("data/lancewire.db").display());
    let db = sea_orm::Database::connect(url).await.expect("opens");
    let count = Statement::from_string(db.get_database_backend(), "SELECT COUNT(*) FROM jobs WHERE title LIKE 'axe %'");
    let row = db.query_one_raw(count).await.expect("the query runs").expect("a row");
    let count = row.try_get_by_index(0).expect("a number");
    db.close().await.expect("closes");
    count
}
