//! Deferred writes, connections whose transaction was dropped, and the error for an address that is none. On
//! `SQLite`: on `PostgreSQL` nothing waits, and `tests/api/connections.rs` has the like.

use std::sync::{Mutex, atomic::AtomicU32};

use sea_orm::{QueryResult, sqlx::ConnectOptions as _};
use tempfile::TempDir;

use super::*;
use crate::{clock::Clock, error::DbErrorKind};

fn settings(url: String) -> DatabaseSettings {
    DatabaseSettings {
        url,
        migrate: false,
        max_connections: 1,
        caller_share_percent: 25,
        acquire_timeout_ms: 10_000,
        statement_timeout_ms: 10_000,
        lock_timeout_ms: 1,
        replica_url: String::new(),
        replica_max_lag_ms: 0,
    }
}

/// A database of notes, which must say something.
async fn notes() -> (Db, TempDir) {
    notes_of(Lifecycle::new()).await
}

async fn notes_of(lifecycle: Lifecycle) -> (Db, TempDir) {
    let home = tempfile::tempdir().expect("a folder");
    let settings = settings(format!("sqlite:{}", home.path().join("notes.db").display()));
    let db = Db::connect(&settings, Ids::seeded(Clock::system(), 1), lifecycle).await.expect("opens");
    let table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, \
                 CONSTRAINT notes_text_check CHECK (text <> ''))";
    db.writer().execute_unprepared(table).await.expect("made");
    (db, home)
}

async fn add(tx: &Tx, id: i64, text: &str) -> Result<(), DbErr> {
    tx.pipeline("INSERT INTO notes (id, text) VALUES (?, ?)", [id.into(), text.into()]).await
}

fn texts(rows: &[QueryResult]) -> Vec<String> {
    rows.iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
}

/// What is written and committed.
async fn committed(db: &Db) -> Vec<String> {
    let query = db.statement("SELECT text FROM notes ORDER BY id", []);
    texts(&db.reader().query_all_raw(query).await.expect("a query"))
}

#[tokio::test]
async fn what_is_put_off_runs_in_order_before_what_comes_after_it() {
    let (db, _home) = notes().await;
    let db = &db;
    let outcome = db.transact(|tx| async move {
        add(&tx, 1, "a").await?;
        tx.pipeline("UPDATE notes SET text = text || ? WHERE id = ?", ["b".into(), 1_i64.into()]).await?;
        // And before both, the BEGIN.
        assert_eq!(tx.waiting().len(), 3);
        // The values of each statement are its own, and the rows are those of the last one.
        let read = tx.query("SELECT text || ? FROM notes WHERE id = ?", ["!".into(), 1_i64.into()]).await?;
        assert_eq!((texts(&read), tx.waiting().len()), (vec!["ab!".to_owned()], 0));
        add(&tx, 2, "c").await?;
        add(&tx, 3, "d").await?;
        // What is counted is what the statement itself has changed.
        let changed = tx.execute("UPDATE notes SET text = text || '?' WHERE id > ?", [2_i64.into()]).await?;
        assert_eq!(changed, 1);
        add(&tx, 4, "e").await?;
        let one = tx.query_one_raw(db.statement("SELECT text FROM notes ORDER BY id DESC", [])).await?;
        assert_eq!(texts(&[one.expect("a row")]), ["e"]);
        Ok::<_, DbErr>(())
    });
    outcome.await.expect("commits");
    assert_eq!(committed(db).await, ["ab", "c", "d?", "e"]);
}

#[tokio::test]
async fn what_is_left_runs_before_the_commit_and_not_at_all_without_one() {
    let (db, _home) = notes().await;
    db.transact(|tx| async move { add(&tx, 1, "kept").await }).await.expect("commits");
    assert_eq!(committed(&db).await, ["kept"]);
    let refused = db.transact(|tx| async move {
        add(&tx, 2, "lost").await?;
        Err::<(), _>(DbErr::Custom("refused".into()))
    });
    refused.await.expect_err("is refused");
    // A future that is dropped while something waits.
    let dropped = db.transact(|tx| async move {
        add(&tx, 3, "dropped").await?;
        std::future::pending::<Result<(), DbErr>>().await
    });
    assert!(futures_util::FutureExt::now_or_never(Box::pin(dropped)).is_none());
    // And one that is dropped when it has written.
    let (wrote, written) = tokio::sync::oneshot::channel();
    let wrote = Mutex::new(Some(wrote));
    let halfway = db.transact(|tx| {
        let wrote = wrote.lock().expect("a lock").take();
        async move {
            add(&tx, 3, "halfway").await?;
            tx.query("SELECT 1", []).await?;
            wrote.expect("once").send(()).expect("is waited for");
            std::future::pending::<Result<(), DbErr>>().await
        }
    });
    tokio::select! {
        _ = halfway => panic!("never ends"),
        written = written => written.expect("wrote"),
    }
    db.transact(|tx| async move { add(&tx, 4, "after").await }).await.expect("commits");
    assert_eq!(committed(&db).await, ["kept", "after"]);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_heard_of_and_keeps_its_connection() {
    let (db, _home) = notes().await;
    db.writer().execute_unprepared("CREATE TEMPORARY TABLE of_this_connection (id INTEGER)").await.expect("made");
    // All of it goes over in one command, and is let go of when that is done but before its answer is looked at.
    // On a busy machine the thread of the connection may be done before the first look comes back: then another.
    let mut id = 0;
    let committing = loop {
        id += 1;
        let mut committing = Box::pin(db.transact(move |tx| async move { add(&tx, id, "unattended").await }));
        if futures_util::FutureExt::now_or_never(&mut committing).is_none() {
            break committing;
        }
    };
    while i64::try_from(committed(&db).await.len()).expect("few") < id {}
    drop(committing);
    let heard = tokio::time::timeout(Duration::from_secs(10), async { db.doorbell().notified().await });
    heard.await.expect("the doorbell rings");
    db.writer().execute_unprepared("DELETE FROM of_this_connection").await.expect("the connection that made it");
}

#[tokio::test]
async fn a_transaction_that_is_let_go_of_after_the_end_goes_with_its_connection() {
    let lifecycle = Lifecycle::new();
    let (db, _home) = notes_of(lifecycle.clone()).await;
    lifecycle.shut_down(Duration::ZERO).await;
    let transaction = db.writer().begin("BEGIN IMMEDIATE").await.expect("a transaction");
    transaction.execute_unprepared("INSERT INTO notes (id, text) VALUES (1, 'unfinished')").await.expect("runs");
    drop(transaction);
    db.transact(|tx| async move { add(&tx, 2, "after").await }).await.expect("begins anew");
    assert_eq!(committed(&db).await, ["after"]);
}

#[tokio::test]
async fn what_is_wrong_comes_to_light_with_the_next_statement_or_the_commit_and_undoes_all() {
    let (db, _home) = notes().await;
    let at_the_commit = db.transact(|tx| async move {
        add(&tx, 1, "good").await?;
        add(&tx, 2, "").await
    });
    let error = at_the_commit.await.expect_err("a note must say something");
    assert!(error.to_string().contains("notes_text_check"), "{error}");
    let before = db.transact(|tx| async move {
        add(&tx, 1, "good").await?;
        add(&tx, 1, "the same key").await?;
        tx.query("SELECT text FROM notes", []).await.map(drop)
    });
    assert_eq!(DbErrorKind::of(&before.await.expect_err("the key is taken")), DbErrorKind::Unique);
    assert_eq!(committed(&db).await, [""; 0]);
}

#[tokio::test]
async fn a_transaction_that_runs_again_begins_with_nothing_put_off() {
    let (db, home) = notes().await;
    let other = settings(format!("sqlite:{}", home.path().join("notes.db").display()));
    let other = Db::connect(&other, Ids::seeded(Clock::system(), 2), Lifecycle::new()).await.expect("opens");
    let runs = AtomicU32::new(0);
    let outcome = db.transact(|tx| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        let other = &other;
        async move {
            tx.query("SELECT 1", []).await?;
            add(&tx, i64::from(run), &format!("of run {run}")).await?;
            if run == 0 {
                // Locked by us: an error of the kind that is tried again.
                other.writer().execute_unprepared("DELETE FROM notes").await?;
            }
            Ok::<_, DbErr>(())
        }
    });
    outcome.await.expect("the second run commits");
    assert_eq!((runs.into_inner(), committed(&db).await), (2, vec!["of run 1".to_owned()]));
}

#[tokio::test]
async fn who_cannot_begin_keeps_the_connection() {
    let (db, home) = notes().await;
    let other = settings(format!("sqlite:{}", home.path().join("notes.db").display()));
    let other = Db::connect(&other, Ids::seeded(Clock::system(), 2), Lifecycle::new()).await.expect("opens");
    db.writer().execute_unprepared("CREATE TEMPORARY TABLE of_this_connection (id INTEGER)").await.expect("made");
    let locked = other.writer().begin("BEGIN IMMEDIATE").await.expect("a transaction");
    let late = db.transact(|tx| async move { add(&tx, 1, "late").await });
    assert_eq!(DbErrorKind::of(&late.await.expect_err("is locked")), DbErrorKind::Retry);
    locked.rollback().await.expect("the end");
    db.writer().execute_unprepared("DELETE FROM of_this_connection").await.expect("the connection that made it");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_telling_its_password() {
    for url in
        ["postgres://ada:se/cret@127.0.0.1:1/db", "postgres://ada:se#cret@127.0.0.1:1/db", "sqlite://se:cret@x:y"]
    {
        let refused = Db::connect(&settings(url.to_owned()), Ids::seeded(Clock::system(), 1), Lifecycle::new()).await;
        let line = refused.expect_err("is refused").to_string();
        assert!(line.contains("it is no URL") && !line.contains("cret"), "{line}");
    }
}

#[test]
fn what_sea_orm_shows_of_an_address_holds_no_secret() {
    for url in ["postgres://ada:s3cret@db/x?sslmode=disable", "postgres://ada@db/x?password=s3cret&sslmode=disable"] {
        let (options, connect) = connect::postgres_options(&settings(String::new()), url).expect("an address");
        assert!(!format!("{options:?}").contains("s3cret"), "{options:?}");
        let whole = connect.to_url_lossy();
        assert_eq!((whole.password(), whole.host_str(), whole.path()), (Some("s3cret"), Some("db"), "/x"));
    }
}
