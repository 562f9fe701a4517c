//! `verify` finds what is wrong: one thing is broken in each copy of a busy database, by somebody who gets past every
//! CHECK and trigger, and the findings are those that name it and no others.

use lancewire::{
    db::{Backend, Pool},
    verify::verify,
};
use sea_orm::ConnectionTrait;

use crate::{
    guards::busy_marketplace,
    support::app::{Database, DbCopy, TestApp},
};

/// One thing that is wrong, and how the findings about it begin.
struct Damage {
    /// What PostgreSQL has to forget before, as `ALTER TABLE` says it. SQLite can be told to look away.
    without: &'static str,
    sql: &'static str,
    findings: &'static [&'static str],
}

const fn damage(sql: &'static str, findings: &'static [&'static str]) -> Damage {
    Damage { without: "", sql, findings }
}

const SUM: &str = "1 the entries of each journal";
const BALANCE: &str = "1 each account's balance";
const WORLD: &str = "1 all accounts together";
const NEGATIVE: &str = "2 no account but the world";
const WALLET: &str = "2 each wallet is what";
const CLAIM: &str = "3 a job has one live claim";
const ESCROW: &str = "4 escrow is the budget";
const RELEASED: &str = "5 what was held";
const PAID: &str = "5 a completed job was paid";
const JOB_EVENTS: &str = "7 each version of a posted job";
const WALLET_EVENTS: &str = "7 each version of a wallet";
const DRAFT: &str = "7 what happened to a draft";
const CLAIM_EVENTS: &str = "7 what happened to a claim";
const CLAIM_TOLD: &str = "7 each change of a claim";
const POSITIONS: &str = "12 positions";
const TRIGGERS: &str = "12 entries, journals and events";

const DAMAGES: &[Damage] = &[
    // The ledger.
    damage(
        "UPDATE entries SET amount_minor = amount_minor + 1 WHERE place = 0 \
         AND journal_id = (SELECT id FROM journals ORDER BY id LIMIT 1)",
        &[SUM, BALANCE],
    ),
    damage(
        "DELETE FROM entries WHERE place = 1 AND journal_id = (SELECT id FROM journals ORDER BY id LIMIT 1)",
        &[SUM, BALANCE],
    ),
    damage("DELETE FROM entries WHERE journal_id = (SELECT id FROM journals ORDER BY id LIMIT 1)", &[SUM, BALANCE]),
    damage(
        "INSERT INTO journals (id, kind, created_at) SELECT {fresh}, kind, created_at FROM journals LIMIT 1",
        &[SUM],
    ),
    damage("UPDATE accounts SET balance_minor = balance_minor + 1 WHERE kind = 'WORLD'", &[BALANCE, WORLD]),
    damage("UPDATE accounts SET balance_minor = balance_minor - 1 WHERE kind = 'FEES'", &[BALANCE, WORLD]),
    damage("UPDATE accounts SET balance_minor = balance_minor + 1 WHERE kind = 'AVAILABLE'", &[BALANCE, WORLD, WALLET]),
    Damage {
        without: "accounts DROP CONSTRAINT accounts_balance_check",
        sql: "UPDATE accounts SET balance_minor = -1 WHERE kind = 'FEES'",
        findings: &[BALANCE, WORLD, NEGATIVE],
    },
    // Money that went from one to another, in books that add up.
    damage(
        "UPDATE accounts SET balance_minor = balance_minor + CASE kind WHEN 'FEES' THEN 1 ELSE -1 END \
         WHERE kind IN ('FEES', 'WORLD')",
        &[BALANCE],
    ),
    // Wallets and their history.
    damage("UPDATE wallets SET available_minor = available_minor + 1", &[WALLET]),
    damage("UPDATE wallets SET in_escrow_minor = in_escrow_minor + 1", &[WALLET]),
    damage("UPDATE wallets SET pending_in_minor = pending_in_minor + 1", &[WALLET]),
    damage("UPDATE wallets SET pending_out_minor = pending_out_minor + 1", &[WALLET]),
    damage("UPDATE transactions SET amount_minor = amount_minor + 1 WHERE type = 'ESCROW_HOLD'", &[WALLET]),
    damage(
        "UPDATE transactions SET status = 'POSTED', settled_at = created_at \
         WHERE type = 'DEPOSIT' AND status = 'PENDING'",
        &[WALLET],
    ),
    damage("DELETE FROM transactions WHERE status = 'PENDING' AND type = 'WITHDRAWAL'", &[WALLET]),
    // Jobs and claims.
    damage(
        "DROP INDEX claims_one_live_key; INSERT INTO claims (id, version, job_id, freelancer_id, status, fee_basis_points, created_at) \
              SELECT {fresh}, 1, job_id, freelancer_id, 'ACTIVE', 0, created_at FROM claims WHERE status = 'ACTIVE'",
        &[CLAIM],
    ),
    damage("UPDATE jobs SET status = 'OPEN', claimant_id = NULL WHERE status = 'CLAIMED'", &[CLAIM]),
    damage("UPDATE claims SET status = 'RELEASED', ended_at = created_at WHERE status = 'ACTIVE'", &[CLAIM]),
    damage("DELETE FROM claims WHERE status = 'ACTIVE'", &[CLAIM, CLAIM_EVENTS, CLAIM_TOLD]),
    damage("UPDATE jobs SET budget_minor = budget_minor + 1 WHERE status = 'OPEN'", &[ESCROW]),
    damage("UPDATE jobs SET status = 'OPEN', claimant_id = NULL WHERE status = 'COMPLETED'", &[ESCROW, RELEASED]),
    damage("UPDATE jobs SET status = 'OPEN' WHERE status = 'CANCELLED'", &[ESCROW]),
    damage("UPDATE jobs SET status = 'CANCELLED' WHERE status = 'OPEN'", &[ESCROW]),
    damage("UPDATE jobs SET status = 'COMPLETED' WHERE status = 'IN_REVIEW'", &[CLAIM, ESCROW, PAID]),
    damage("UPDATE journals SET kind = 'ESCROW_REFUND' WHERE kind = 'ESCROW_RELEASE'", &[PAID]),
    // A second payment for one job, in books that add up.
    damage(
        "INSERT INTO journals (id, kind, reference_id, created_at) \
             SELECT {fresh}, kind, reference_id, created_at FROM journals WHERE kind = 'ESCROW_RELEASE'; \
         INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor) \
             SELECT j.id, p.place, a.id, 2 * p.place - 1, 0 FROM journals j, accounts a, \
                 (SELECT 0 AS place UNION ALL SELECT 1) p \
             WHERE a.kind = 'FEES' AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.journal_id = j.id)",
        &[RELEASED],
    ),
    // The log.
    damage(
        "DELETE FROM events WHERE id = (SELECT e.id FROM events e JOIN jobs j ON j.id = e.subject_id \
         WHERE j.status = 'CLAIMED' AND e.subject_version = j.version)",
        &[JOB_EVENTS, POSITIONS],
    ),
    damage(
        "DELETE FROM events WHERE id = (SELECT e.id FROM events e JOIN jobs j ON j.id = e.subject_id \
         WHERE j.status = 'IN_REVIEW' AND e.subject_version = 2)",
        &[JOB_EVENTS, POSITIONS],
    ),
    damage(
        "DELETE FROM events WHERE id = (SELECT MIN(id) FROM events WHERE kind = 'NOTIFICATION_RECEIVED')",
        &[POSITIONS],
    ),
    damage(
        "DELETE FROM events WHERE id = (SELECT MIN(id) + 2 FROM events WHERE kind = 'WALLET_UPDATED')",
        &[WALLET_EVENTS, POSITIONS],
    ),
    damage("UPDATE jobs SET version = version + 1 WHERE status = 'OPEN'", &[JOB_EVENTS]),
    damage("UPDATE wallets SET version = version - 1", &[WALLET_EVENTS]),
    damage(
        "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, payload, occurred_at) \
         SELECT {fresh}, 'JOB_UPDATED', id, version, {true}, client_id, '{}', created_at FROM jobs \
         WHERE status = 'DRAFT'",
        &[DRAFT],
    ),
    damage(
        "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, payload, occurred_at) \
         SELECT {fresh}, 'DRAFT_UPDATED', id, version, {true}, client_id, '{}', created_at FROM jobs \
         WHERE status = 'DRAFT'",
        &[DRAFT],
    ),
    damage("UPDATE events SET claimant_id = owner_id WHERE kind = 'DRAFT_UPDATED'", &[DRAFT]),
    damage("UPDATE events SET is_public = {true} WHERE kind = 'CLAIM_UPDATED'", &[CLAIM_EVENTS]),
    damage("UPDATE events SET owner_id = claimant_id WHERE kind = 'CLAIM_UPDATED'", &[CLAIM_EVENTS]),
    damage("UPDATE events SET subject_version = 1 WHERE kind = 'CLAIM_UPDATED'", &[CLAIM_EVENTS]),
    damage(
        "DELETE FROM events WHERE id = (SELECT MIN(id) FROM events WHERE kind = 'CLAIM_UPDATED')",
        &[CLAIM_TOLD, POSITIONS],
    ),
    damage("UPDATE events SET {position} = {position} + 7 WHERE id = (SELECT MAX(id) FROM events)", &[POSITIONS]),
];

/// Breaks the copy as one could who owns the database.
async fn inflict(app: &TestApp, copy: &DbCopy, damage: &Damage) {
    let connection = copy.db.writer();
    let sql = app.db_dialect(damage.sql);
    match copy.db.backend() {
        Backend::Sqlite => {
            let triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%_no_%'";
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
            let without =
                if damage.without.is_empty() { String::new() } else { format!("ALTER TABLE {};", damage.without) };
            // A replica fires no triggers and checks no foreign keys.
            run(connection, &format!("SET session_replication_role = replica; {without} {sql}")).await;
        }
    }
}

async fn run(connection: &Pool, sql: &str) {
    connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The invariants that `verify` says are broken.
async fn broken(copy: &DbCopy) -> Vec<&'static str> {
    let findings = verify(&copy.db).await.expect("verify runs");
    findings.iter().filter(|finding| !finding.broken.is_empty()).map(|finding| finding.invariant).collect()
}

async fn every_damage_is_found(database: Database) {
    let app = TestApp::start(database).await;
    busy_marketplace(&app).await;
    app.clone().finish().await;

    let copy = app.db_copy().await;
    assert_eq!(broken(&copy).await, [""; 0], "a copy is as good as the original");
    for damage in DAMAGES {
        let copy = app.db_copy().await;
        inflict(&app, &copy, damage).await;
        let found = broken(&copy).await;
        let named = found.len() == damage.findings.len()
            && found.iter().zip(damage.findings).all(|(found, expected)| found.starts_with(expected));
        assert!(named, "{}\nexpected {:#?}\nfound {found:#?}", damage.sql, damage.findings);
        copy.db.close().await;
    }

    let triggers: &[&str] = match database {
        Database::Sqlite => &["entries_no_update", "entries_no_delete", "journals_no_update", "events_no_update"],
        Database::Postgres => &["entries", "journals", "events"],
    };
    for trigger in triggers {
        let copy = app.db_copy().await;
        let sql = match database {
            Database::Sqlite => format!("DROP TRIGGER {trigger}"),
            Database::Postgres => format!("ALTER TABLE {trigger} DISABLE TRIGGER {trigger}_append_only"),
        };
        run(copy.db.writer(), &sql).await;
        let found = broken(&copy).await;
        assert!(found.len() == 1 && found[0].starts_with(TRIGGERS), "{sql}: {found:?}");
        copy.db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    every_damage_is_found(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    every_damage_is_found(Database::Postgres).await;
}
