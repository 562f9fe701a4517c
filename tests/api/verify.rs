//! `verify` finds what is wrong: one thing is broken in each copy of a busy database, by somebody who gets past every
//! CHECK and trigger, and the finding that names it is there. What is sound is called so, also under traffic and after
//! retention.

mod definitions;
mod kinds;
mod messages;
mod size;

use futures_util::future::join_all;
use lancewire::{
    app::App,
    db::{Backend, Pool},
    events, verify, wallet,
};
use sea_orm::ConnectionTrait;

use self::kinds::{CHAIN, GUARDS_POSTGRES, GUARDS_SQLITE, Kind, ROWS, WITHOUT, spelled};
use crate::{
    guards::busy_marketplace,
    on_both,
    support::{
        app::{Database, DbCopy, TestApp},
        people::{Person, text},
    },
};

/// Breaks the copy as one could who owns the database.
async fn inflict(app: &TestApp, copy: &DbCopy, kind: &Kind) {
    let connection = copy.db.writer();
    let sql = app.db_dialect(&spelled(copy.db.backend(), kind.sql));
    match copy.db.backend() {
        Backend::Sqlite => {
            let triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'";
            let triggers = connection.query_all_raw(copy.db.statement(triggers, [])).await.expect("triggers");
            let text = |row: &sea_orm::QueryResult, column| row.try_get::<String>("", column).expect("a text");
            run(connection, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").await;
            for trigger in &triggers {
                run(connection, &format!("DROP TRIGGER {}", text(trigger, "name"))).await;
            }
            run(connection, &sql).await;
            for trigger in &triggers {
                run(connection, &text(trigger, "sql")).await;
            }
        }
        Backend::Postgres => {
            let without = WITHOUT.iter().find(|(name, _)| *name == kind.name).map_or("", |(_, sql)| sql);
            // A replica fires no triggers and checks no foreign keys.
            run(connection, &format!("SET session_replication_role = replica; {without}; {sql}")).await;
        }
    }
}

async fn run(connection: &Pool, sql: &str) {
    connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The invariants that `verify` says are broken.
async fn broken(copy: &DbCopy) -> Vec<&'static str> {
    let findings = verify::verify(&copy.db).await.expect("verify runs");
    findings.iter().filter(|finding| !finding.broken.is_empty()).map(|finding| finding.invariant).collect()
}

/// Chains and seals all there is, as the nodes do in the background.
async fn seal(app: &App) {
    app.services.hub.log().stamp().await.expect("a stamp");
    wallet::seal::seal(&app.db, &app.clock, true).await.expect("the ledger is sealed");
    events::seal::seal(&app.db, &app.clock).await.expect("the log is sealed");
}

/// Plays each kind on a copy of its own and says which were not found.
async fn every_kind_is_found(database: Database) {
    let app = TestApp::start(database).await;
    app.admin().await;
    busy_marketplace(&app).await;
    seal(&app.app).await;
    app.clone().finish().await;

    let copy = app.db_copy().await;
    assert_eq!(broken(&copy).await, [""; 0], "a copy is as good as the original");
    copy.db.close().await;
    let guards = if database == Database::Sqlite { GUARDS_SQLITE } else { GUARDS_POSTGRES };
    let mut missed = Vec::new();
    for (kind, is_guard) in ROWS.iter().map(|kind| (kind, false)).chain(guards.iter().map(|kind| (kind, true))) {
        let copy = app.db_copy().await;
        if is_guard {
            run(copy.db.writer(), kind.sql).await;
        } else {
            inflict(&app, &copy, kind).await;
        }
        let found = broken(&copy).await;
        if !found.iter().any(|found| found.starts_with(kind.finding)) {
            missed.push(format!("{}: expected {:?}, found {found:#?}", kind.name, kind.finding));
        }
        copy.db.close().await;
    }
    let kinds = ROWS.len() + guards.len();
    println!("{database:?}: {} of {kinds} kinds were found as expected", kinds - missed.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_found_on_sqlite() {
    every_kind_is_found(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_found_on_postgres() {
    every_kind_is_found(Database::Postgres).await;
}

/// One turn of what people do, with every ending that money has.
async fn traffic(people: &[(Person, Person)], admin: &Person, turn: usize) {
    join_all(people.iter().map(async |(client, freelancer)| {
        let job = text(&client.post_job(&format!("Turn {turn}")).await, "/id");
        let claim = text(&freelancer.claim(&job).await.good(), "/claim/id");
        if turn.is_multiple_of(3) {
            freelancer.release(&claim).await.good();
            client.cancel(&job).await.good();
        } else {
            let work = text(&freelancer.submit(&claim).await.good(), "/deliverable/id");
            client.request_revision(&work).await.good();
            let work = text(&freelancer.submit(&claim).await.good(), "/deliverable/id");
            client.approve(&work).await.good();
        }
        let deposit = text(&client.deposit("3.00").await.good(), "/transaction/id");
        let withdrawal = text(&client.withdraw("2.00").await.good(), "/transaction/id");
        admin.confirm(&deposit, ["POST", "VOID", "FAIL"][turn % 3]).await.good();
        admin.confirm(&withdrawal, ["FAIL", "POST", "VOID"][turn % 3]).await.good();
    }))
    .await;
}

on_both! {
    /// Ten looks in the middle of what people do, with seals and retention between them.
    async fn what_is_sound_is_called_so_under_traffic_and_retention(app: TestApp) {
        let mut people = Vec::new();
        for number in 0..4 {
            people.push((app.client(&format!("C{number}")).await, app.freelancer(&format!("F{number}")).await));
        }
        let admin = app.admin().await;
        for turn in 0..10 {
            futures_util::future::join(traffic(&people, &admin, turn), app.db_proves_its_invariants()).await;
            seal(&app.app).await;
            if turn % 4 == 3 {
                app.db_age().await;
                traffic(&people, &admin, turn).await;
                futures_util::future::join(app.db_forget(), app.db_proves_its_invariants()).await;
            }
        }
        let report = verify::examine(&app.app.db, &|_| ()).await.expect("verify runs");
        assert!(report.is_sound(), "{:#?}", report.findings);
        let notes = report.notes.join("\n");
        assert!(notes.contains("last seal of the ledger: ") && notes.contains("last seal of the event log: "), "{notes}");
    }
}

/// Entries of before, and those that the version before writes during a deploy, get their hashes later.
async fn entries_without_a_hash_are_chained_in_the_background(database: Database) {
    let app = TestApp::start(database).await;
    busy_marketplace(&app).await;
    let journal =
        "INSERT INTO journals (id, kind, created_at) SELECT {fresh}, 'DEPOSIT', MAX(created_at) FROM journals";
    let entries = "INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor) \
                   SELECT j.id, CASE a.kind WHEN 'FEES' THEN 0 ELSE 1 END, a.id, CASE a.kind WHEN 'FEES' THEN 5 ELSE -5 END, \
                   CASE a.kind WHEN 'FEES' THEN 5 ELSE -5 END FROM accounts a, journals j \
                   WHERE a.kind IN ('FEES', 'WORLD') AND a.balance_minor = 0 \
                   AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.journal_id = j.id)";
    // Both in one transaction, on the accounts that the version before has for everybody.
    let both = app.db_dialect(&format!("BEGIN; {journal}; {entries}; COMMIT"));
    app.db_run(&both).await;
    let unchained = "SELECT COUNT(*) FROM entries WHERE sequence IS NULL";
    assert_eq!(app.db_number(unchained).await, 2);
    let report = verify::examine(&app.app.db, &|_| ()).await.expect("verify runs");
    assert!(
        report.notes.iter().any(|note| note.starts_with("2 entries of the ledger have no hash yet")),
        "{report:#?}"
    );
    seal(&app.app).await;
    assert_eq!(app.db_number(unchained).await, 0);
    let journals = app.db_number("SELECT COUNT(*) FROM journals").await;
    assert_eq!(app.db_number("SELECT COUNT(*) FROM sealed_journals").await, journals);
    let findings = verify::verify(&app.app.db).await.expect("verify runs");
    let chain = findings.iter().find(|finding| finding.invariant.starts_with(CHAIN)).expect("it is looked at");
    assert_eq!(chain.broken, [""; 0]);
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_without_a_hash_are_chained_in_the_background_on_sqlite() {
    entries_without_a_hash_are_chained_in_the_background(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_without_a_hash_are_chained_in_the_background_on_postgres() {
    entries_without_a_hash_are_chained_in_the_background(Database::Postgres).await;
}
