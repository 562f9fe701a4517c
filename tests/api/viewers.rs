//! Reading the log costs what belongs to the viewer, and not what lies between.

use lancewire::{clock::Clock, db::Backend, events::Listener, ids::UserId};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;

use crate::support::{
    app::{Database, TestApp},
    people::{Person, text},
    socket::Socket,
};

/// So little memory that a resume asks the log.
const SETTINGS: &str = "[events]\nring_bytes = 65536";
/// Events of others.
const MANY: u32 = 30_000;

async fn start(database: Database) -> TestApp {
    TestApp::start_with(database, SETTINGS, Clock::system()).await
}

/// Events that nobody here is meant by.
async fn db_others(app: &TestApp) {
    let columns = "kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload, occurred_at";
    let sql = format!(
        "INSERT INTO events (event_id, {columns}) SELECT {{fresh}}, {columns} FROM \
         (SELECT * FROM events WHERE kind = 'SESSION_ENDED' ORDER BY id LIMIT 1) AS one, \
         (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY}) \
          SELECT n FROM numbers) AS many"
    );
    app.db_run(&app.db_dialect(&sql)).await;
    if app.app.db.backend() == Backend::Postgres {
        app.db_run("ANALYZE events").await;
    }
    // Nobody rings for what a tool has written.
    app.app.db.doorbell().notify_one();
    app.published().await;
}

async fn a_resume_skips_what_is_not_for_it(database: Database) {
    let app = start(database).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    ben.run("mutation { signOut { errors { __typename } } }", json!({})).await;
    let cursor = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
    db_others(&app).await;
    ada.deposit("1.00").await.good();
    db_others(&app).await;
    let job = text(&ada.post_job("Between").await, "/id");
    db_others(&app).await;

    let socket = Socket::connect(app.addr, ada.token.as_deref()).await;
    let statements = app.app.db.statements();
    let wallet = "subscription($after: String) { walletUpdated(after: $after) { wallet { pendingIn { amount } } } }";
    let feed = socket.subscribe(wallet, json!({ "after": cursor }));
    let pending = |event: &serde_json::Value| text(event, "/data/walletUpdated/wallet/pendingIn/amount");
    assert_eq!(pending(&socket.next(&feed).await), "1.00");
    socket.next(&feed).await;
    // And goes live behind all that.
    app.listening(1).await;
    let public = "subscription($after: String) { jobPosted(after: $after) { job { id } } }";
    let posted = socket.subscribe(public, json!({ "after": cursor }));
    assert_eq!(text(&socket.next(&posted).await, "/data/jobPosted/job/id"), job);
    app.listening(2).await;
    let asked = app.app.db.statements() - statements;
    assert!(asked < 100, "{asked} statements, where {} pages lie between", 3 * MANY / 256);
    ada.deposit("2.00").await.good();
    assert_eq!(pending(&socket.next(&feed).await), "3.00");
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

async fn a_page_of_events_is_read_along_indexes(database: Database) {
    let app = start(database).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    let (job, other) = (text(&ada.post_job("First").await, "/id"), app.freelancer("Cem").await);
    ben.claim(&job).await.good();
    ben.run("mutation { signOut { errors { __typename } } }", json!({})).await;
    db_others(&app).await;
    ada.post_job("Second").await;
    app.published().await;
    let log = app.app.services.hub.log();
    let head = log.stamp().await.expect("a stamp");
    let user = |person: &Person| Some(person.id.parse::<UserId>().expect("an id"));
    for (listener, name) in [
        (Listener { user: None, admin: false }, "nobody"),
        (Listener { user: user(&ada), admin: false }, "a client"),
        (Listener { user: user(&ben), admin: false }, "a freelancer"),
        (Listener { user: user(&other), admin: false }, "one with nothing"),
        (Listener { user: user(&app.admin().await), admin: true }, "an admin"),
    ] {
        for (bounds, backward) in [((0, head + 1), false), ((0, head + 1), true), ((head - 20_000, head + 1), false)] {
            let plan = plan(&app, log.select_heard_by(listener, bounds, 101, backward)).await;
            match app.app.db.backend() {
                Backend::Sqlite => {
                    assert!(!plan.contains("SCAN events"), "{name}: {plan}");
                    assert!(plan.contains("events_jobs_idx"), "{name}: {plan}");
                    assert!(listener.user.is_none() || plan.contains("events_owner_idx"), "{name}: {plan}");
                }
                Backend::Postgres => {
                    let pages = plan.split("Buffers: shared hit=").nth(1).expect("a number");
                    let pages: u64 = pages.split([' ', '\n']).next().expect("a number").parse().expect("a number");
                    assert!(pages < 300, "{name} touches {pages} pages: {plan}");
                }
            }
        }
    }
    // The same events as ever, for each.
    let kinds = async |person: &Person| {
        let query = "{ events(last: 100) { nodes { __typename } } }";
        let reply = person.run(query, json!({})).await;
        let nodes = reply.data()["events"]["nodes"].as_array().expect("events").clone();
        nodes.iter().map(|node| text(node, "/__typename")).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&app.anonymous()).await, ["JobPostedEvent", "JobUpdatedEvent", "JobPostedEvent"]);
    let of_ada = kinds(&ada).await;
    let counted = |kind: &str| of_ada.iter().filter(|other| *other == kind).count();
    assert_eq!(
        (counted("WalletUpdatedEvent"), counted("NotificationReceivedEvent"), counted("ClaimUpdatedEvent")),
        (4, 1, 1)
    );
    assert_eq!(of_ada.last().map(String::as_str), Some("JobPostedEvent"));
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

async fn a_large_inbox_is_marked_in_steps_and_counted_up_to_a_bound(database: Database) {
    let app = start(database).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    let job = text(&ada.post_job("Told of").await, "/id");
    ben.claim(&job).await.good();
    let columns = "user_id, kind, title, subject_kind, subject_id, created_at, read_at, details";
    // Older than the one that is there, by their ids.
    let older = match app.app.db.backend() {
        Backend::Sqlite => "CAST(x'0000' || randomblob(14) AS BLOB)",
        Backend::Postgres => "CAST('0000' || substr(CAST(gen_random_uuid() AS text), 5) AS uuid)",
    };
    app.db_run(&format!(
        "INSERT INTO notifications (id, {columns}) SELECT {older}, {columns} FROM \
         (SELECT * FROM notifications LIMIT 1) AS one, \
         (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 12000) \
          SELECT n FROM numbers) AS many"
    ))
    .await;
    let inbox = "{ viewer { notifications(first: 1) { nodes { id } unreadCount } } }";
    let first = ada.run(inbox, json!({})).await;
    assert_eq!(first.data()["viewer"]["notifications"]["unreadCount"], 10_000, "of 12,001");
    let statements = app.app.db.statements();
    let up_to = json!({ "upToId": text(first.data(), "/viewer/notifications/nodes/0/id") });
    let fields = "viewer { notifications(first: 1) { unreadCount } }";
    let marked = ada.mutate("markNotificationsRead", up_to, fields).await.good();
    assert_eq!(marked["viewer"]["notifications"]["unreadCount"], 0);
    let steps = app.app.db.statements() - statements;
    assert!(steps > 20, "{steps} statements: in how many steps was that?");
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

/// The database's plan of a statement: one text.
async fn plan(app: &TestApp, statement: Statement) -> String {
    let (explain, column) = match app.app.db.backend() {
        Backend::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        Backend::Postgres => ("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)", "QUERY PLAN"),
    };
    let Statement { sql, values, db_backend } = statement;
    let explain = Statement { sql: format!("{explain} {sql}"), values, db_backend };
    let rows = app.app.db.reader().query_all_raw(explain).await.expect("a plan");
    rows.iter().map(|row| row.try_get::<String>("", column).expect("a line")).collect::<Vec<_>>().join("\n")
}

macro_rules! on_each {
    ($($story:ident),+) => {$(
        mod $story {
            use super::Database;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$story(Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$story(Database::Postgres).await;
            }
        }
    )+};
}

on_each!(
    a_resume_skips_what_is_not_for_it,
    a_page_of_events_is_read_along_indexes,
    a_large_inbox_is_marked_in_steps_and_counted_up_to_a_bound
);
