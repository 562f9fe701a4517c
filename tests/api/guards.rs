//! What the database refuses, whatever the code above does: CHECKs, unique indexes, foreign keys and the triggers that
//! make books and log append-only. Tried through the back door.

use lancewire::{db::Backend, error::DbErrorKind};
use sea_orm::ConnectionTrait;

use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{new_job, text},
    },
};

/// Runs SQL that must be refused, for this reason and with these words in it.
async fn refused(app: &TestApp, kind: DbErrorKind, words: &str, sql: &str) {
    let sql = app.db_dialect(sql);
    match app.app.db.writer().execute_unprepared(&sql).await {
        Ok(_) => panic!("the database let it happen: {sql}"),
        Err(error) => {
            assert_eq!(DbErrorKind::of(&error), kind, "{sql}: {error}");
            assert!(error.to_string().contains(words), "{sql}: {error}");
        }
    }
}

/// The same whatever the kind.
async fn refused_for_words(app: &TestApp, words: &str, sql: &str) {
    let sql = app.db_dialect(sql);
    match app.app.db.writer().execute_unprepared(&sql).await {
        Ok(_) => panic!("the database let it happen: {sql}"),
        Err(error) => assert!(error.to_string().contains(words), "{sql}: {error}"),
    }
}

/// Jobs in every state that steps lead to, a deposit and a withdrawal under way.
pub(crate) async fn busy_marketplace(app: &TestApp) {
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await.funded("20.00").await);
    ada.draft(new_job("Draft", "10.00")).await.good();
    ada.post_job("Open").await;
    let cancelled = text(&ada.post_job("Cancelled").await, "/id");
    ada.cancel(&cancelled).await.good();
    let claim = async |title: &str| {
        let job = text(&ada.post_job(title).await, "/id");
        text(&ben.claim(&job).await.good(), "/claim/id")
    };
    claim("Claimed").await;
    let released = claim("Released").await;
    ben.release(&released).await.good();
    let reviewed = claim("In review").await;
    ben.submit(&reviewed).await.good();
    ben.submit(&reviewed).await.good();
    let completed = claim("Completed").await;
    let work = text(&ben.submit(&completed).await.good(), "/deliverable/id");
    ada.approve(&work).await.good();
    ada.deposit("5.00").await.good();
    ben.withdraw("10.00").await.good();
}

on_both! {
    async fn no_account_but_the_world_and_no_wallet_goes_below_zero(app: TestApp) {
        busy_marketplace(&app).await;
        for kind in ["AVAILABLE", "PENDING_OUT", "ESCROW", "FEES"] {
            let sql = format!("UPDATE accounts SET balance_minor = -1 WHERE kind = '{kind}'");
            refused(&app, DbErrorKind::Check, "accounts_balance_check", &sql).await;
        }
        assert_eq!(app.db_number("SELECT CAST(SUM(balance_minor) AS BIGINT) FROM accounts WHERE kind = 'WORLD'").await, -1_002_000);
        for part in ["available", "in_escrow", "pending_in", "pending_out"] {
            let sql = format!("UPDATE wallets SET {part}_minor = -1");
            refused(&app, DbErrorKind::Check, &format!("wallets_{part}_check"), &sql).await;
        }
    }

    async fn a_job_has_one_live_claim_and_never_its_own_client_for_claimant(app: TestApp) {
        busy_marketplace(&app).await;
        let columns = "version, job_id, freelancer_id, status, fee_basis_points, created_at";
        let again = format!("INSERT INTO claims (id, {columns}) SELECT {{fresh}}, {columns} FROM claims WHERE status = ");
        for status in ["ACTIVE", "IN_REVIEW"] {
            refused(&app, DbErrorKind::Unique, "claims", &format!("{again}'{status}'")).await;
        }
        let live = "INSERT INTO claims (id, version, job_id, freelancer_id, status, fee_basis_points, created_at) \
                    SELECT {fresh}, 1, job_id, freelancer_id, 'DISPUTED', 0, created_at FROM claims \
                    WHERE status = 'ACTIVE'";
        refused(&app, DbErrorKind::Unique, "claims", live).await;
        let own = "UPDATE jobs SET claimant_id = client_id WHERE status = 'CLAIMED'";
        refused(&app, DbErrorKind::Check, "jobs_own_job_check", own).await;
        let two_open = "UPDATE deliverables SET status = 'SUBMITTED' WHERE status = 'SUPERSEDED'";
        refused(&app, DbErrorKind::Unique, "deliverables", two_open).await;
        let same_number = "UPDATE deliverables SET number = 1";
        refused(&app, DbErrorKind::Unique, "deliverables", same_number).await;
    }

    async fn books_and_log_are_append_only(app: TestApp) {
        busy_marketplace(&app).await;
        app.app.services.hub.log().stamp().await.expect("a stamp");
        for table in ["entries", "journals"] {
            let column = if table == "entries" { "amount_minor = amount_minor + 1" } else { "kind = 'DEPOSIT'" };
            let words = format!("{table} are append-only");
            refused(&app, DbErrorKind::Other, &words, &format!("UPDATE {table} SET {column}")).await;
            refused(&app, DbErrorKind::Other, &words, &format!("DELETE FROM {table}")).await;
        }
        let columns = ["payload = '{}'", "subject_version = 7", "{position} = {position} + 1000", "is_public = {true}"];
        for column in columns.into_iter().chain(["claimant_id = NULL", "occurred_at = occurred_at"]) {
            let sql = format!("UPDATE events SET {column}");
            refused(&app, DbErrorKind::Other, "events are append-only", &sql).await;
        }
        refused(&app, DbErrorKind::Check, "entries_amount_check", "INSERT INTO entries (journal_id, place, account_id, \
            amount_minor, balance_after_minor) SELECT journal_id, 9, account_id, 0, 0 FROM entries").await;
    }

    /// REPLACE deletes what it takes the place of: past triggers against deletion, unless the connection says otherwise.
    async fn nothing_takes_the_place_of_a_row_of_the_books(app: TestApp) {
        busy_marketplace(&app).await;
        let replace = match app.app.db.backend() {
            Backend::Sqlite => {
                app.db_run("PRAGMA recursive_triggers = OFF").await;
                "INSERT OR REPLACE"
            }
            // There it is a plain insert, and its key is taken.
            Backend::Postgres => "INSERT",
        };
        for (table, columns) in [
            ("entries", "journal_id, place, account_id, amount_minor, balance_after_minor, sequence, chain_hash"),
            ("journals", "id, kind, reference_id, created_at"),
            ("transactions", "id, version, wallet_id, type, status, amount_minor, available_after_minor, created_at, settled_at"),
            ("events", "event_id, kind, subject_id, subject_version, is_public, owner_id, payload, occurred_at"),
        ] {
            let sql = format!("{replace} INTO {table} ({columns}) SELECT {columns} FROM {table}");
            match app.app.db.writer().execute_unprepared(&sql).await {
                Ok(_) => panic!("the database let it happen: {sql}"),
                Err(error) => {
                    let kind = DbErrorKind::of(&error);
                    assert!(kind == DbErrorKind::Unique || error.to_string().contains(table), "{sql}: {error}");
                }
            }
        }
        if app.app.db.backend() == Backend::Sqlite {
            app.db_run("PRAGMA recursive_triggers = ON").await;
        }
    }

    async fn entries_that_do_not_add_up_are_refused_at_the_commit(app: TestApp) {
        busy_marketplace(&app).await;
        let more = "INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor) \
                    SELECT journal_id, 9, account_id, 5, 5 FROM entries WHERE place = 0";
        match app.app.db.backend() {
            Backend::Sqlite => refused(&app, DbErrorKind::ForeignKey, "", more).await,
            Backend::Postgres => {
                refused(&app, DbErrorKind::Check, "do not add up to zero", more).await;
                let empty = "INSERT INTO journals (id, kind, created_at) SELECT {fresh}, kind, created_at FROM journals LIMIT 1";
                refused(&app, DbErrorKind::Check, "has no entries", empty).await;
            }
        }
        let half = "INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor, sequence) \
                    SELECT journal_id, 9, account_id, 5, 5, 99 FROM entries WHERE place = 0 LIMIT 1";
        refused_for_words(&app, "entries_chain_check", half).await;
    }

    async fn a_settled_transaction_never_changes(app: TestApp) {
        busy_marketplace(&app).await;
        let words = "transactions are settled once";
        for sql in [
            "UPDATE transactions SET status = 'VOIDED' WHERE status = 'POSTED'",
            "UPDATE transactions SET available_after_minor = 0 WHERE type = 'ESCROW_RELEASE'",
            "UPDATE transactions SET amount_minor = 7 WHERE status = 'PENDING'",
            "UPDATE transactions SET destination = 'Mine' WHERE type = 'WITHDRAWAL'",
            "DELETE FROM transactions WHERE status = 'PENDING'",
            "DELETE FROM transactions WHERE type = 'DEPOSIT' AND status = 'POSTED'",
        ] {
            refused_for_words(&app, words, sql).await;
        }
    }

    async fn events_are_deleted_when_the_log_says_so(app: TestApp) {
        busy_marketplace(&app).await;
        app.app.services.hub.log().stamp().await.expect("a stamp");
        let delete = "DELETE FROM events WHERE {position} <= 2";
        match app.app.db.backend() {
            Backend::Sqlite => refused(&app, DbErrorKind::ForeignKey, "", delete).await,
            Backend::Postgres => refused_for_words(&app, "is not forgotten", delete).await,
        }
        app.db_age().await;
        app.db_forget().await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM events").await, 0, "what is old enough is forgotten as ever");
    }

    async fn rows_that_no_step_could_leave_are_refused(app: TestApp) {
        busy_marketplace(&app).await;
        for (constraint, sql) in [
            ("jobs_status_check", "UPDATE jobs SET status = 'LOST' WHERE status = 'OPEN'"),
            ("jobs_posted_check", "UPDATE jobs SET posted_at = NULL WHERE status = 'OPEN'"),
            ("jobs_posted_check", "UPDATE jobs SET posted_at = created_at WHERE status = 'DRAFT'"),
            ("jobs_claimant_check", "UPDATE jobs SET claimant_id = NULL WHERE status = 'CLAIMED'"),
            ("jobs_claimant_check", "UPDATE jobs SET status = 'OPEN' WHERE status = 'COMPLETED'"),
            ("jobs_budget_check", "UPDATE jobs SET budget_minor = 0"),
            ("jobs_version_check", "UPDATE jobs SET version = 0"),
            ("claims_fee_check", "UPDATE claims SET fee_basis_points = 10001"),
            ("claims_ended_check", "UPDATE claims SET status = 'RELEASED' WHERE status = 'ACTIVE'"),
            ("transactions_settled_check", "UPDATE transactions SET status = 'POSTED' WHERE status = 'PENDING'"),
            ("transactions_status_check", "UPDATE transactions SET status = 'LOST', settled_at = created_at WHERE status = 'PENDING'"),
            ("accounts_kind_check", "UPDATE accounts SET kind = 'LOST' WHERE kind = 'FEES'"),
            ("conversations_read_check", "UPDATE conversations SET client_read = 1"),
            ("conversations_sides_check", "UPDATE conversations SET client_id = freelancer_id"),
        ] {
            refused(&app, DbErrorKind::Check, constraint, sql).await;
        }
        let key = "INSERT INTO idempotency_keys SELECT * FROM idempotency_keys";
        refused(&app, DbErrorKind::Unique, "idempotency_keys", key).await;
        let account = "INSERT INTO accounts (id, kind, owner_id, balance_minor) \
                       SELECT {fresh}, kind, owner_id, 0 FROM accounts";
        refused(&app, DbErrorKind::Unique, "accounts", account).await;
        for sql in ["DELETE FROM users", "UPDATE claims SET job_id = {fresh}", "UPDATE wallets SET id = {fresh}"] {
            refused(&app, DbErrorKind::ForeignKey, "", sql).await;
        }
    }
}
