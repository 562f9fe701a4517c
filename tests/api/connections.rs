//! Connections that the server closes and requests that are dropped leave nothing behind for later ones.

use std::future::pending;

use futures_util::future::join_all;
use lancewire::{
    clock::Clock,
    db::{Db, Pool},
    error::DbErrorKind,
};
use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::oneshot;

use crate::{
    on_both,
    support::app::{Database, TestApp, holds, soon},
};

async fn app() -> TestApp {
    TestApp::start_with(Database::Postgres, "[database]\nmax_connections = 4\n", Clock::system()).await
}

async fn backend(connection: &impl ConnectionTrait, db: &Db) -> i32 {
    let row = connection.query_one_raw(db.statement("SELECT pg_backend_pid() AS pid", [])).await.expect("an answer");
    row.expect("a row").try_get("", "pid").expect("a number")
}

/// Ends all other connections to this database, and returns when they are gone.
async fn end_the_others(pool: &Pool, db: &Db) {
    let sql = "SELECT COUNT(*) AS ended FROM (SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()) ended";
    let row = pool.query_one_raw(db.statement(sql, [])).await.expect("an answer").expect("a row");
    assert!(row.try_get::<i64>("", "ended").expect("a number") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_that_was_used_last_is_the_next() {
    let app = app().await;
    let db = &app.app.db;
    let first = db.writer().begin("BEGIN").await.expect("a transaction");
    let second = db.writer().begin("BEGIN").await.expect("a transaction");
    let (one, other) = (backend(&first, db).await, backend(&second, db).await);
    assert_ne!(one, other);
    second.rollback().await.expect("the end");
    first.commit().await.expect("the end");
    for _ in 0..5 {
        assert_eq!(backend(db.writer(), db).await, one);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_has_closed_trouble_nobody() {
    let app = app().await;
    let db = &app.app.db;
    let ada = app.client("Ada").await;
    for round in 0..3 {
        // All of them rest when they are closed.
        let hold = join_all((0..4).map(|_| db.writer().begin("BEGIN"))).await;
        join_all(hold.into_iter().map(|begun| begun.expect("a transaction").rollback())).await;
        end_the_others(db.writer(), db).await;
        // Queries and transactions, together.
        let query = async || backend(db.writer(), db).await;
        let transaction = async || {
            let outcome = db.transact(|tx| async move { tx.query("SELECT 1", []).await.map(|rows| rows.len()) }).await;
            assert_eq!(outcome.expect("commits"), 1);
        };
        tokio::join!(query(), query(), query(), query(), transaction(), transaction(), transaction());
        ada.post_job(&format!("Round {round}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_has_ended_as_idle_troubles_nobody() {
    let app = app().await;
    let db = &app.app.db;
    let other = db.writer().begin("BEGIN").await.expect("a transaction");
    let idle = backend(db.writer(), db).await;
    db.writer().execute_unprepared("SET idle_session_timeout = '1ms'").await.expect("is set");
    let there = db.statement("SELECT 1 FROM pg_stat_activity WHERE pid = ?", [idle.into()]);
    // A transaction is shown the activity that it saw first.
    let is_there = async || {
        other.execute_unprepared("SELECT pg_stat_clear_snapshot()").await.expect("is cleared");
        other.query_one_raw(there.clone()).await.expect("an answer").is_some()
    };
    soon(async { while is_there().await {} }).await;
    assert_ne!(backend(db.writer(), db).await, idle);
    other.rollback().await.expect("the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_connection_is_closed_is_not_run_again() {
    let app = app().await;
    let db = &app.app.db;
    db.writer().execute_unprepared("CREATE SEQUENCE runs").await.expect("made");
    let runs = "SELECT nextval('runs'), pg_terminate_backend(pg_backend_pid())";
    // Each on a connection that has rested: there a query would be run again.
    let outcome = db.writer().execute_unprepared(runs).await;
    assert_eq!(DbErrorKind::of(&outcome.expect_err("its own connection")), DbErrorKind::Other);
    backend(db.writer(), db).await;
    let outcome = db.writer().execute_raw(db.statement(runs, [])).await;
    assert_eq!(DbErrorKind::of(&outcome.expect_err("its own connection")), DbErrorKind::Other);
    assert_eq!(app.db_number("SELECT last_value FROM runs").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_has_let_go_of_every_lock() {
    let app = app().await;
    let db = &app.app.db;
    app.client("Ada").await.post_job("Contested").await;
    for _ in 0..100 {
        let refused = db.transact(|tx| async move {
            tx.execute("UPDATE jobs SET version = version + 1", []).await?;
            Err::<(), _>(DbErr::Custom("refused".into()))
        });
        refused.await.expect_err("is refused");
        let free = db.statement("SELECT 1 FROM jobs FOR UPDATE NOWAIT", []);
        db.writer().query_all_raw(free).await.expect("nobody holds it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_on_the_way_leaves_no_lock_and_takes_no_connection_with_it() {
    let app = app().await;
    let db = &app.app.db;
    let ada = app.client("Ada").await;
    ada.post_job("Contested").await;
    // More often than there are connections.
    for round in 0..12 {
        let (locked, is_locked) = oneshot::channel();
        let locked = std::sync::Mutex::new(Some(locked));
        let dropped = db.transact(|tx| {
            let locked = locked.lock().expect("a lock").take();
            async move {
                tx.execute("UPDATE jobs SET version = version + 1", []).await?;
                locked.expect("once").send(()).expect("is waited for");
                // In the middle of a statement, or after it.
                if round % 2 == 0 {
                    tx.query("SELECT COUNT(*) FROM generate_series(1, 200000)", []).await?;
                }
                pending::<Result<(), DbErr>>().await
            }
        });
        tokio::select! {
            _ = dropped => panic!("never ends"),
            is_locked = is_locked => is_locked.expect("locks"),
        }
    }
    let versions = db.transact(|tx| async move {
        tx.execute("UPDATE jobs SET version = version + 1", []).await?;
        tx.query("SELECT version FROM jobs", []).await
    });
    let versions = versions.await.expect("commits");
    assert_eq!(versions[0].try_get::<i64>("", "version").expect("a number"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_while_it_begins_leaves_nothing_open() {
    const BEGIN: &str = "BEGIN; LOCK TABLE jobs IN EXCLUSIVE MODE";
    let locks = "SELECT FROM pg_locks WHERE relation = 'jobs'::regclass AND mode = 'ExclusiveLock'";
    let app = app().await;
    let db = &app.app.db;
    let first = db.writer().begin(BEGIN).await.expect("a transaction");
    let waits = format!("EXISTS ({locks} AND NOT granted)");
    tokio::select! {
        _ = db.writer().begin(BEGIN) => panic!("has to wait"),
        () = holds(db.writer(), &waits) => {}
    }
    first.rollback().await.expect("the end");
    holds(db.writer(), &format!("NOT EXISTS ({locks})")).await;
}

on_both! {
    async fn a_transaction_of_which_a_statement_has_failed_commits_nothing(app: TestApp) {
        let db = &app.app.db;
        app.client("Ada").await.post_job("Steady").await;
        let outcome = db.transact(|tx| async move {
            tx.execute("UPDATE jobs SET title = 'Shaken'", []).await?;
            tx.execute("UPDATE jobs SET title = NULL", []).await.expect_err("is refused");
            Ok::<_, DbErr>(())
        });
        outcome.await.expect_err("must not be called a success");
        assert_eq!(app.db_number("SELECT COUNT(*) FROM jobs WHERE title = 'Steady'").await, 1);
    }
}
