//! No caller uses more of the database than its share, and statements whose callers have given up are stopped.

use std::{collections::HashSet, future::poll_fn, task::Poll};

use futures_util::future::{join_all, try_join_all};
use lancewire::{
    clock::Clock,
    db::{Backend, Db, share::Shares},
};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use tokio::{select, sync::Notify};

use crate::{
    on_both,
    support::app::{Database, TestApp, holds, soon},
};

/// Four connections, of which one caller gets one, and statements that end with their operations alone.
const SETTINGS: &str = "[database]\nmax_connections = 4\nstatement_timeout_ms = 600000\nacquire_timeout_ms = 60000";

/// A statement without an end.
fn endless(db: &Db) -> Statement {
    db.statement(
        match db.backend() {
            Backend::Sqlite => "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT COUNT(*) FROM n",
            Backend::Postgres => "SELECT pg_sleep (3600)",
        },
        [],
    )
}

/// All connections of the pool at the same time: each is free, and answers.
async fn all_are_free(db: &Db) {
    let count = db.statement("SELECT 1", []);
    let take = async || {
        let one = db.snapshot().await?;
        one.query_one_raw(count.clone()).await?;
        Ok::<_, sea_orm::DbErr>(one)
    };
    let all = soon(try_join_all((0..4).map(|_| take()))).await.expect("four connections");
    for one in all {
        one.rollback().await.expect("ends");
    }
}

/// Waits until so many statements that never end run at a PostgreSQL.
async fn sleeping(app: &TestApp, count: u32) {
    holds(app.app.db.writer(), &format!("({SLEEPERS}) = {count}")).await;
}

const SLEEPERS: &str =
    "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";

/// Makes the vocabulary of skills something that takes for ever to read, or gives it back.
async fn skills_are_endless(app: &TestApp, endless: bool) {
    let rows = match app.app.db.backend() {
        Backend::Sqlite => {
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) \
                            SELECT kept_skills.* FROM kept_skills, n"
        }
        Backend::Postgres => "SELECT kept_skills.* FROM kept_skills, LATERAL (SELECT pg_sleep (3600)) AS slow",
    };
    if endless {
        app.db_run("ALTER TABLE skills RENAME TO kept_skills").await;
        app.db_run(&format!("CREATE VIEW skills AS {rows}")).await;
    } else {
        if app.app.db.backend() == Backend::Postgres {
            // A statement that was called off may hold its lock for a moment longer than its caller waits for the answer.
            sleeping(app, 0).await;
        }
        app.db_run("DROP VIEW skills").await;
        app.db_run("ALTER TABLE kept_skills RENAME TO skills").await;
    }
}

const SKILLS: &str = "{ skills { slug } }";

on_both! {
    with SETTINGS;
    async fn one_caller_waits_for_itself_and_others_do_not(app: TestApp) {
        let db = &app.app.db;
        let shares = Shares::new(Db::share_sizes(&app.app.config.database));
        let (mallory, ben) = (shares.enter("mallory").expect("free"), shares.enter("ben").expect("free"));
        let storm = join_all((0..20).map(|_| mallory.run(db.reader().query_one_raw(endless(db)))));
        let meanwhile = async {
            // Callers with a share of their own, and the server itself.
            for _ in 0..5 {
                let one = ben.run(db.reader().query_one_raw(db.statement("SELECT 1", []))).await;
                one.expect("answers").expect("a row");
                db.ping().await.expect("answers");
            }
            app.anonymous().run("{ jobs(first: 1) { nodes { id } } }", json!({})).await.data();
            if db.backend() == Backend::Postgres {
                sleeping(&app, 1).await;
            }
        };
        // Polled in this order: all twenty have asked before anybody else does.
        select! {
            biased;
            _ = storm => panic!("they never end"),
            () = soon(meanwhile) => {}
        }
        // Whose futures are dropped now: what runs is stopped.
        all_are_free(db).await;
    }

    async fn all_callers_together_leave_a_connection_to_the_server(app: TestApp) {
        let db = &app.app.db;
        let shares = Shares::new(Db::share_sizes(&app.app.config.database));
        let callers: Vec<_> = (0..10).map(|number| shares.enter(number).expect("free")).collect();
        let storm = join_all(callers.iter().map(|caller| caller.run(db.reader().query_one_raw(endless(db)))));
        let meanwhile = async {
            for _ in 0..5 {
                db.ping().await.expect("answers");
            }
        };
        select! {
            biased;
            _ = storm => panic!("they never end"),
            () = soon(meanwhile) => {}
        }
        all_are_free(db).await;
    }

    async fn a_write_that_is_given_up_is_undone_and_the_writer_free(app: TestApp) {
        let db = &app.app.db;
        let begun = &Notify::new();
        let writing = db.transact(|tx| async move {
            tx.execute_unprepared("UPDATE users SET display_name = 'Changed'").await?;
            begun.notify_one();
            tx.query_one_raw(endless(db)).await.map(drop)
        });
        select! {
            _ = writing => panic!("it never ends"),
            () = soon(begun.notified()) => {}
        }
        let ada = soon(app.client("Ada")).await;
        let name = ada.run("{ viewer { displayName } }", json!({})).await.data()["viewer"]["displayName"].clone();
        assert_eq!(name, "Ada");
        all_are_free(db).await;
    }
}

async fn others_are_answered_while_an_address_sends_what_never_ends(database: Database) {
    let settings = format!("{SETTINGS}\n[http]\noperation_timeout_ms = 3000");
    let app = TestApp::start_with(database, &settings, Clock::system()).await;
    let ada = app.client("Ada").await;
    ada.post_job("Garden").await;
    skills_are_endless(&app, true).await;
    let mallory = app.anonymous();
    let storm = join_all((0..40).map(|_| mallory.run(SKILLS, json!({}))));
    let mut answered = 0;
    let meanwhile = async {
        loop {
            let reply = ada.run("{ viewer { id } jobs(first: 1) { totalCount nodes { id } } }", json!({})).await;
            assert_eq!(reply.data()["jobs"]["totalCount"], 1);
            ada.deposit("1.00").await.good();
            answered += 1;
        }
    };
    let replies = select! {
        biased;
        replies = storm => replies,
        () = meanwhile => panic!("it goes on"),
    };
    assert!(replies.iter().all(|reply| reply.code() == "TIMEOUT"), "{}", replies[0]);
    assert!(answered > 0);
    skills_are_endless(&app, false).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_while_an_address_sends_what_never_ends_on_sqlite() {
    others_are_answered_while_an_address_sends_what_never_ends(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_while_an_address_sends_what_never_ends_on_postgres() {
    others_are_answered_while_an_address_sends_what_never_ends(Database::Postgres).await;
}

/// Whose caller gives up while it is still on its way to the server, which hears of the order to stop it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_given_up_at_any_moment_is_stopped_on_postgres() {
    let app = TestApp::start_with(Database::Postgres, SETTINGS, Clock::system()).await;
    let (db, running) = (&app.app.db, &format!("({SLEEPERS}) > 0"));
    for round in 0..50 {
        // As often as a statement is polled until it runs, and more; on all connections but one, which looks at them.
        let given_up = (0..3).map(|one| {
            let mut statement = Box::pin(db.reader().query_one_raw(endless(db)));
            let mut left = 1 + (round + one * 3) % 9;
            poll_fn(move |context| {
                left -= 1;
                assert!(statement.as_mut().poll(context).is_pending(), "round {round}: it has no end");
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        // Once it runs nothing more happens to it: it is polled no more, and given up with the others.
        select! {
            _ = join_all(given_up) => {}
            () = holds(app.app.db.writer(), running) => {}
        }
        all_are_free(db).await;
    }
    app.finish().await;
}

async fn nothing_runs_on_after_the_time_limit(database: Database) {
    let settings = format!("{SETTINGS}\n[http]\noperation_timeout_ms = 1500");
    let app = TestApp::start_with(database, &settings, Clock::system()).await;
    skills_are_endless(&app, true).await;
    let anonymous = app.anonymous();
    let replies = join_all((0..3).map(|_| anonymous.run(SKILLS, json!({})))).await;
    let codes: HashSet<_> = replies.iter().map(|reply| reply.code().to_owned()).collect();
    assert_eq!(codes, HashSet::from(["TIMEOUT".to_owned()]));
    all_are_free(&app.app.db).await;
    if database == Database::Postgres {
        sleeping(&app, 0).await;
        // And where the client does not wait.
        select! {
            _ = anonymous.run(SKILLS, json!({})) => panic!("it takes for ever"),
            () = sleeping(&app, 1) => {}
        }
        sleeping(&app, 0).await;
    }
    skills_are_endless(&app, false).await;
    anonymous.run(SKILLS, json!({})).await.data();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_on_after_the_time_limit_on_sqlite() {
    nothing_runs_on_after_the_time_limit(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_on_after_the_time_limit_on_postgres() {
    nothing_runs_on_after_the_time_limit(Database::Postgres).await;
}
