//! How long `verify` takes for many entries. Not a test: it prints figures.
//!
//! `LANCEWIRE_VERIFY_ENTRIES=10000000 cargo test --release --test api verify::size -- --ignored --nocapture`

use std::{env, time::Instant};

use lancewire::{
    db::{Backend, Db},
    ids::{AccountId, JournalId},
    money::Money,
    verify,
    wallet::chain::{self, Link},
};
use sea_orm::{ConnectionTrait, Statement, Value};
use uuid::Uuid;

use crate::support::app::{Database, TestApp};

/// Users, each with deposits one after the other.
const USERS: i64 = 1_000;
/// Journals of one statement.
const STEP: i64 = 1_000;

/// Rows of one shape in one statement.
async fn insert(db: &Db, table: &str, columns: usize, values: Vec<Value>) {
    let sqlite = db.backend() == Backend::Sqlite;
    let mut number = 0;
    let mut mark = || {
        number += 1;
        if sqlite { "?".to_owned() } else { format!("${number}") }
    };
    let rows: Vec<String> = (0..values.len() / columns)
        .map(|_| format!("({})", (0..columns).map(|_| mark()).collect::<Vec<_>>().join(", ")))
        .collect();
    let sql = format!("INSERT INTO {table} VALUES {}", rows.join(", "));
    let backend = db.writer().get_database_backend();
    db.writer().execute_raw(Statement::from_sql_and_values(backend, sql, values)).await.expect("written");
}

/// A ledger of deposits, sound in all its parts, whose events are forgotten.
async fn fill(db: &Db, entries: i64) {
    let now = lancewire::clock::Clock::system().now();
    let id = |kind: u128, number: i64| Uuid::from_u128(kind << 100 | u128::try_from(number).expect("positive"));
    let (mut users, mut wallets, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    let deposits = entries / 2 / USERS;
    for user in 1..=USERS {
        users.extend::<[Value; 12]>([
            id(1, user).into(),
            format!("user-{user}@example.com").into(),
            "A user".into(),
            None::<String>.into(),
            true.into(),
            false.into(),
            false.into(),
            "none".into(),
            0_i32.into(),
            None::<lancewire::clock::Timestamp>.into(),
            now.into(),
            now.into(),
        ]);
        let version = 1 + 2 * deposits;
        wallets.extend::<[Value; 7]>([
            id(1, user).into(),
            version.into(),
            deposits.into(),
            0_i64.into(),
            0_i64.into(),
            0_i64.into(),
            now.into(),
        ]);
    }
    insert(db, "users", 12, users).await;
    insert(db, "wallets", 7, wallets).await;
    let mut heads = vec![[chain::START; 2]; usize::try_from(USERS).expect("fits") + 1];
    for (kind, name) in [(2, "WORLD"), (3, "AVAILABLE")] {
        for user in 1..=USERS {
            let values: [Value; 4] = [id(kind, user).into(), name.into(), id(1, user).into(), 0_i64.into()];
            accounts.extend(values);
        }
    }
    insert(db, "accounts (id, kind, owner_id, balance_minor)", 4, accounts).await;
    for first in (0..deposits * USERS).step_by(usize::try_from(STEP).expect("fits")) {
        let (mut journals, mut legs, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for number in first..(first + STEP).min(deposits * USERS) {
            let (user, sequence) = (number % USERS + 1, number / USERS + 1);
            let journal = id(4, number);
            let values: [Value; 4] = [journal.into(), "DEPOSIT".into(), None::<Uuid>.into(), now.into()];
            journals.extend(values);
            for (place, kind, name, sign) in [(0_i32, 2, "WORLD", -1_i64), (1, 3, "AVAILABLE", 1)] {
                let head = &mut heads[usize::try_from(user).expect("fits")][usize::try_from(place).expect("fits")];
                let link = Link {
                    account: AccountId::from(id(kind, user)),
                    kind: name,
                    owner: id(1, user),
                    sequence,
                    journal: JournalId::from(journal),
                    place,
                    amount: Money::from_minor(sign),
                    balance_after: Money::from_minor(sign * sequence),
                    journal_kind: "DEPOSIT",
                    reference: None,
                    created_at: now,
                };
                *head = chain::next(*head, &link);
                let values: [Value; 7] = [
                    journal.into(),
                    place.into(),
                    id(kind, user).into(),
                    sign.into(),
                    (sign * sequence).into(),
                    sequence.into(),
                    head.to_vec().into(),
                ];
                legs.extend(values);
            }
            let values: [Value; 10] = [
                id(5, number).into(),
                2_i64.into(),
                id(1, user).into(),
                "DEPOSIT".into(),
                "POSTED".into(),
                1_i64.into(),
                sequence.into(),
                journal.into(),
                now.into(),
                now.into(),
            ];
            lines.extend(values);
        }
        insert(db, "journals (id, kind, reference_id, created_at)", 4, journals).await;
        let columns =
            "entries (journal_id, place, account_id, amount_minor, balance_after_minor, sequence, chain_hash)";
        insert(db, columns, 7, legs).await;
        let columns = "transactions (id, version, wallet_id, type, status, amount_minor, available_after_minor, \
                       settlement_journal_id, created_at, settled_at)";
        insert(db, columns, 10, lines).await;
    }
    for user in 1..=USERS {
        for (place, kind, sign) in [(0, 2, -1), (1, 3, 1)] {
            let head = heads[usize::try_from(user).expect("fits")][place].to_vec();
            let sql = "UPDATE accounts SET balance_minor = ?, entry_count = ?, chain_head = ? WHERE id = ?";
            let values = [(sign * deposits).into(), deposits.into(), head.into(), id(kind, user).into()];
            db.writer().execute_raw(db.statement(sql, values)).await.expect("written");
        }
    }
    let forgotten = match db.backend() {
        Backend::Sqlite => {
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', 1); UPDATE event_log SET forgotten_position = 1"
        }
        Backend::Postgres => "UPDATE event_log SET forgotten_position = 1, last_position = 1; ANALYZE",
    };
    db.writer().execute_unprepared(forgotten).await.expect("written");
}

async fn measured(database: Database) {
    let entries = env::var("LANCEWIRE_VERIFY_ENTRIES").ok().and_then(|entries| entries.parse().ok()).unwrap_or(100_000);
    let settings = "[database]\nstatement_timeout_ms = 0\n";
    let app = TestApp::start_with(database, settings, lancewire::clock::Clock::system()).await;
    let begun = Instant::now();
    fill(&app.app.db, entries).await;
    println!("{database:?}: {entries} entries made in {:.1} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let last = std::sync::Mutex::new((String::new(), Instant::now()));
    let tell = |what: &str| {
        let mut last = last.lock().expect("no panic");
        let (before, since) = std::mem::replace(&mut *last, (what.to_owned(), Instant::now()));
        if since.elapsed().as_secs_f64() > 0.5 {
            println!("  {:6.1} s  {before}", since.elapsed().as_secs_f64());
        }
    };
    let report = verify::examine(&app.app.db, &tell).await.expect("verify runs");
    println!("{database:?}: verified in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(report.is_sound(), "{:#?}", report.findings);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn sqlite() {
    measured(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn postgres() {
    measured(Database::Postgres).await;
}
