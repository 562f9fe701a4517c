//! What falls due is done once, by the database's clock, and held up by nothing. The sandbox's payments are what falls due
//! here.

use std::time::Duration;

use lancewire::clock::Clock;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;

use crate::{
    faults::clock::find_library,
    support::{
        app::{Database, TestApp, holds, soon},
        binary::Home,
        http::Http,
        people::{fresh_key, money, text},
        postgres,
    },
};

const SANDBOX: &str = "[payments]\nprovider = 'sandbox'\nsandbox_delay_ms = 60000\n";
const DELAY: Duration = Duration::from_mins(1);

/// More than one page of rows that cannot be settled, all due before one that can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_what_fails_keep_nothing_waiting() {
    let clock = Clock::manual(Clock::system().now());
    let app = TestApp::start_with(Database::Sqlite, SANDBOX, clock.clone()).await;
    app.db_run(
        "CREATE TRIGGER stuck BEFORE UPDATE ON transactions WHEN OLD.amount_minor = 1000 \
         BEGIN SELECT RAISE(ABORT, 'stuck'); END",
    )
    .await;
    let (ada, ben) = (app.freelancer("Ada").await, app.freelancer("Ben").await);
    for _ in 0..70 {
        ada.deposit("10.00").await.good();
    }
    clock.advance(Duration::from_millis(1));
    ben.deposit("20.00").await.good();
    clock.advance(DELAY);
    holds(app.app.db.reader(), "(SELECT COUNT(*) FROM transactions WHERE status = 'POSTED') = 1").await;
    assert_eq!(ben.balance().await, ["20.00", "0.00", "0.00", "0.00"]);
    app.db_run("DROP TRIGGER stuck").await;
    // A look that has just failed begins its pause, of ten seconds at the most, by this clock, whenever it ends.
    let pending = "SELECT COUNT(*) FROM transactions WHERE status = 'PENDING'";
    soon(async {
        while app.db_number(pending).await > 0 {
            clock.advance(Duration::from_secs(1));
        }
    })
    .await;
    app.finish().await;
}

/// Both look at the same rows at the same moments; verify proves what was booked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_settle_each_transaction_once() {
    let settings = "[payments]\nprovider = 'sandbox'\nsandbox_delay_ms = 1000\n";
    let one = TestApp::start_with(Database::Postgres, settings, Clock::system()).await;
    let other = one.neighbour().await;
    let people = [one.freelancer("Ada").await, one.freelancer("Ben").await];
    futures_util::future::join_all(people.iter().map(async |person| {
        for turn in 0..40 {
            let node = if turn % 2 == 0 { &one } else { &other };
            person.at(node).deposit("1.00").await.good();
        }
    }))
    .await;
    let settled = "(SELECT COUNT(*) FROM transactions WHERE status = 'POSTED' AND version = 2) = 80";
    holds(one.app.db.reader(), settled).await;
    for person in &people {
        assert_eq!(person.balance().await, ["40.00", "0.00", "0.00", "0.00"]);
    }
    other.finish().await;
    one.finish().await;
}

async fn opened(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await.expect("opens")
}

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let query = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(query).await.expect("runs").expect("a row").try_get_by_index(0).expect("a number")
}

/// The machine says so to this process alone: libfaketime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_an_hour_ahead_pays_nothing_early() {
    let library = find_library().expect("libfaketime is missing: run scripts/prepare-tests");
    let lent = postgres::shared().await.empty().await;
    let home = Home::new()
        .with("LANCEWIRE_DATABASE__URL", lent.url())
        .with("LANCEWIRE_PAYMENTS__PROVIDER", "sandbox")
        .with("LANCEWIRE_PAYMENTS__SANDBOX_DELAY_MS", "1200000")
        .with("LD_PRELOAD", library.display().to_string())
        .with("FAKETIME", "+1h")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } } }";
    let input = json!({ "input": { "email": "ada@example.com", "password": lancewire::seed::PASSWORD } });
    let token = text(&http.graphql(None, sign_in, input).await.body, "/data/signIn/session/accessToken");
    let deposit = "mutation($input: DepositInput!) { deposit(input: $input) { transaction { status } } }";
    for amount in ["11.11", "22.22"] {
        let input = json!({ "input": { "amount": money(amount), "idempotencyKey": fresh_key() } });
        let reply = http.graphql(Some(&token), deposit, input).await;
        assert_eq!(text(&reply.body, "/data/deposit/transaction/status"), "PENDING");
    }

    let db = opened(lent.url()).await;
    let due_in_time = "SELECT COUNT(*) FROM transactions WHERE status = 'PENDING' AND amount_minor IN (1111, 2222) \
                       AND settle_due_at BETWEEN now() + interval '15 minutes' AND now() + interval '20 minutes'";
    assert_eq!(number(&db, due_in_time).await, 2, "due times count from the database's time");
    // One of them is due now: the node looks, finds it, and leaves the other one alone, though its own clock is past that.
    let due = "UPDATE transactions SET settle_due_at = now() - interval '1 second' WHERE amount_minor = 1111";
    db.execute_unprepared(due).await.expect("moved");
    holds(&db, "EXISTS (SELECT 1 FROM transactions WHERE amount_minor = 1111 AND status = 'POSTED')").await;
    let ahead =
        "SELECT COUNT(*) FROM transactions WHERE amount_minor = 1111 AND settled_at > now() + interval '55 minutes'";
    assert_eq!(number(&db, ahead).await, 1, "its clock is an hour ahead");
    let early = "SELECT COUNT(*) FROM transactions WHERE amount_minor = 2222 AND status = 'PENDING' \
                 AND settle_due_at < now() + interval '55 minutes'";
    assert_eq!(number(&db, early).await, 1);
    db.close().await.expect("closes");
    server.signal("TERM").await;
    assert!(server.ended().await.success());
}
