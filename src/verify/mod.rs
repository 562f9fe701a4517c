//! `lancewire verify`: reads a database and proves that its books and its log are right.
//!
//! Each check is a query for the rows that break an invariant; no row is the proof. Nothing is written, and a live
//! database may be checked: all queries see one snapshot. The numbers are those of the project's list of invariants.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::db::{Backend, Db};

/// An invariant and the query for what breaks it: rows of `subject` (an id) and `detail` (a text).
struct Check {
    invariant: &'static str,
    sql: &'static str,
}

const CHECKS: &[Check] = &[
    Check {
        invariant: "1 the entries of each journal add up to zero",
        sql: "SELECT j.id AS subject, 'sum ' || COALESCE(SUM(e.amount_minor), 0) || ' of ' || COUNT(e.place) || ' entries' \
              AS detail FROM journals j LEFT JOIN entries e ON e.journal_id = j.id GROUP BY j.id \
              HAVING COALESCE(SUM(e.amount_minor), 0) <> 0 OR COUNT(e.place) < 2",
    },
    Check {
        invariant: "1 each account's balance is the sum of its entries",
        sql: "SELECT a.id AS subject, a.kind || ' has ' || a.balance_minor AS detail FROM accounts a \
              LEFT JOIN entries e ON e.account_id = a.id GROUP BY a.id, a.kind, a.balance_minor \
              HAVING a.balance_minor <> COALESCE(SUM(e.amount_minor), 0)",
    },
    Check {
        invariant: "1 all accounts together are zero",
        sql: "SELECT NULL AS subject, 'sum ' || SUM(balance_minor) AS detail FROM accounts HAVING SUM(balance_minor) <> 0",
    },
    Check {
        invariant: "2 no account but the world is below zero",
        sql: "SELECT id AS subject, kind || ' has ' || balance_minor AS detail FROM accounts \
              WHERE kind <> 'WORLD' AND balance_minor < 0",
    },
    Check {
        invariant: "2 each wallet is what the ledger and its history say",
        sql: "SELECT w.id AS subject, 'wallet and ledger differ' AS detail FROM wallets w WHERE \
              w.available_minor <> COALESCE((SELECT balance_minor FROM accounts \
                  WHERE owner_id = w.id AND kind = 'AVAILABLE'), 0) \
              OR w.pending_out_minor <> COALESCE((SELECT balance_minor FROM accounts \
                  WHERE owner_id = w.id AND kind = 'PENDING_OUT'), 0) \
              OR w.in_escrow_minor <> COALESCE((SELECT SUM(a.balance_minor) FROM accounts a \
                  JOIN jobs j ON j.id = a.owner_id WHERE a.kind = 'ESCROW' AND j.client_id = w.id), 0) \
              OR w.pending_in_minor <> COALESCE((SELECT SUM(amount_minor) FROM transactions \
                  WHERE wallet_id = w.id AND type = 'DEPOSIT' AND status = 'PENDING'), 0) \
              OR w.available_minor <> COALESCE((SELECT SUM(amount_minor) FROM transactions WHERE wallet_id = w.id \
                  AND (status = 'POSTED' OR (status = 'PENDING' AND type = 'WITHDRAWAL'))), 0)",
    },
    Check {
        invariant: "3 a job has one live claim while it is claimed, and none otherwise",
        sql: "SELECT j.id AS subject, j.status || ' with ' || COUNT(c.id) || ' live claims' AS detail FROM jobs j \
              LEFT JOIN claims c ON c.job_id = j.id \
                  AND c.status IN ('ACTIVE', 'IN_REVIEW', 'REVISION_REQUESTED', 'DISPUTED') \
              GROUP BY j.id, j.status \
              HAVING COUNT(c.id) <> CASE WHEN j.status IN ('CLAIMED', 'IN_REVIEW', 'DISPUTED') THEN 1 ELSE 0 END",
    },
    Check {
        invariant: "4 escrow is the budget while a job holds it, and else nothing",
        sql: "SELECT j.id AS subject, j.status || ' with ' || COALESCE(a.balance_minor, 0) || ' in escrow' AS detail \
              FROM jobs j LEFT JOIN accounts a ON a.owner_id = j.id AND a.kind = 'ESCROW' \
              WHERE COALESCE(a.balance_minor, 0) <> CASE \
                  WHEN j.status IN ('OPEN', 'CLAIMED', 'IN_REVIEW', 'DISPUTED') THEN j.budget_minor ELSE 0 END",
    },
    Check {
        invariant: "5 what was held for an ended job was released or refunded, and released once",
        sql: "SELECT j.id AS subject, 'released ' || COUNT(DISTINCT r.id) || ' times' AS detail FROM jobs j \
              JOIN journals r ON r.reference_id = j.id AND r.kind = 'ESCROW_RELEASE' GROUP BY j.id, j.status \
              HAVING COUNT(DISTINCT r.id) <> 1 OR j.status NOT IN ('COMPLETED', 'CANCELLED')",
    },
    Check {
        invariant: "5 a completed job was paid",
        sql: "SELECT j.id AS subject, 'not released' AS detail FROM jobs j WHERE j.status = 'COMPLETED' \
              AND NOT EXISTS (SELECT 1 FROM journals r WHERE r.reference_id = j.id AND r.kind = 'ESCROW_RELEASE')",
    },
    Check {
        invariant: "7 each version of a posted job has its events, as far as they are kept",
        sql: "SELECT j.id AS subject, 'version ' || j.version || ', last event ' || COALESCE(MAX(e.subject_version), 0) \
              AS detail FROM jobs j \
              LEFT JOIN events e ON e.subject_id = j.id AND e.kind IN ('JOB_POSTED', 'JOB_UPDATED') \
              WHERE j.posted_at IS NOT NULL GROUP BY j.id, j.version, j.updated_at \
              HAVING CASE WHEN COUNT(e.id) > 0 THEN MAX(e.subject_version) <> j.version \
                      OR COUNT(DISTINCT e.subject_version) <> j.version - MIN(e.subject_version) + 1 \
                  ELSE NOT {forgotten} OR j.updated_at > COALESCE((SELECT MIN(occurred_at) FROM events), j.updated_at) END",
    },
    Check {
        invariant: "7 each version of a wallet has its event, as far as they are kept",
        sql: "SELECT w.id AS subject, 'version ' || w.version || ', ' || COUNT(e.id) || ' events' AS detail \
              FROM wallets w LEFT JOIN events e ON e.subject_id = w.id AND e.kind = 'WALLET_UPDATED' \
              GROUP BY w.id, w.version, w.updated_at \
              HAVING CASE WHEN COUNT(e.id) > 0 THEN MAX(e.subject_version) <> w.version \
                      OR COUNT(e.id) <> w.version - MIN(e.subject_version) + 1 \
                      OR (NOT {forgotten} AND MIN(e.subject_version) <> 2) \
                  ELSE NOT {forgotten} OR w.updated_at > COALESCE((SELECT MIN(occurred_at) FROM events), w.updated_at) END",
    },
    Check {
        invariant: "7 what happened to a draft is its author's alone",
        sql: "SELECT e.event_id AS subject, e.kind || ' of a draft' AS detail FROM events e \
              JOIN jobs j ON j.id = e.subject_id \
              WHERE (j.posted_at IS NULL AND e.kind <> 'DRAFT_UPDATED') OR (e.kind = 'DRAFT_UPDATED' \
                  AND (e.is_public OR e.owner_id <> j.client_id OR e.claimant_id IS NOT NULL))",
    },
    Check {
        invariant: "7 what happened to a claim is told to its two sides alone, once for each version",
        sql: "SELECT e.event_id AS subject, 'version ' || e.subject_version || ' of ' || COALESCE(c.version, 0) AS detail FROM events e \
              LEFT JOIN claims c ON c.id = e.subject_id LEFT JOIN jobs j ON j.id = c.job_id \
              WHERE e.kind = 'CLAIM_UPDATED' AND (c.id IS NULL OR e.is_public OR e.owner_id <> j.client_id \
                  OR e.claimant_id IS NULL OR e.claimant_id <> c.freelancer_id OR e.subject_version > c.version \
                  OR EXISTS (SELECT 1 FROM events o WHERE o.subject_id = e.subject_id AND o.kind = e.kind \
                      AND o.subject_version = e.subject_version AND o.event_id <> e.event_id))",
    },
    Check {
        // Only of those that say so: a version of the server that knows no `claimUpdated` may have made the others.
        invariant: "7 each change of a claim that a job's event speaks of has its own event",
        sql: "SELECT s.job_id AS subject, COALESCE(t.told, 0) || ' of ' || s.said || ' changes' AS detail \
              FROM (SELECT subject_id AS job_id, COUNT(*) AS said FROM events \
                  WHERE kind = 'JOB_UPDATED' AND payload LIKE '%\"claim_told\":true%' GROUP BY subject_id) s \
              LEFT JOIN (SELECT c.job_id, COUNT(*) AS told FROM events e JOIN claims c ON c.id = e.subject_id \
                  WHERE e.kind = 'CLAIM_UPDATED' GROUP BY c.job_id) t ON t.job_id = s.job_id \
              WHERE COALESCE(t.told, 0) < s.said",
    },
    Check {
        invariant: "12 positions are contiguous",
        sql: "SELECT NULL AS subject, COUNT(position) || ' positions from ' || MIN(position) || ' to ' || MAX(position) \
              AS detail FROM events WHERE position IS NOT NULL HAVING MAX(position) - MIN(position) + 1 <> COUNT(position)",
    },
];

/// Whether retention has taken the beginning of the log: what is older than what is kept has no events any more.
const FORGOTTEN_SQLITE: &str = "(COALESCE((SELECT MIN(position) FROM events), \
     COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) + 1) > 1)";
const FORGOTTEN_POSTGRES: &str =
    "(COALESCE((SELECT MIN(position) FROM events), (SELECT last_position FROM event_log) + 1) > 1)";

/// The triggers that make books and log append-only.
const TRIGGERS_SQLITE: &str = "SELECT NULL AS subject, COUNT(*) || ' of 5 triggers' AS detail FROM sqlite_master \
     WHERE type = 'trigger' AND name IN ('entries_no_update', 'entries_no_delete', 'journals_no_update', \
     'journals_no_delete', 'events_no_update') HAVING COUNT(*) <> 5";
const TRIGGERS_POSTGRES: &str = "SELECT NULL AS subject, COUNT(*) || ' of 3 triggers' AS detail FROM pg_trigger \
     WHERE tgenabled <> 'D' AND tgname IN ('entries_append_only', 'journals_append_only', 'events_append_only') \
     AND tgrelid IN ('entries'::regclass, 'journals'::regclass, 'events'::regclass) HAVING COUNT(*) <> 3";

/// What a check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What should hold.
    pub invariant: &'static str,
    /// The rows that break it, in words; none if it holds.
    pub broken: Vec<String>,
}

/// Runs every check on one snapshot.
pub async fn verify(db: &Db) -> Result<Vec<Finding>, DbErr> {
    let (triggers, forgotten) = match db.backend() {
        Backend::Sqlite => (TRIGGERS_SQLITE, FORGOTTEN_SQLITE),
        Backend::Postgres => (TRIGGERS_POSTGRES, FORGOTTEN_POSTGRES),
    };
    let snapshot = db.snapshot().await?;
    let triggers = Check { invariant: "12 entries, journals and events are append-only", sql: triggers };
    let mut findings = Vec::with_capacity(CHECKS.len() + 1);
    for check in CHECKS.iter().chain([&triggers]) {
        let rows = snapshot.query_all_raw(db.statement(&check.sql.replace("{forgotten}", forgotten), [])).await?;
        let broken = rows.iter().map(|row| {
            let subject = row.try_get::<Option<Uuid>>("", "subject")?;
            let detail: String = row.try_get("", "detail")?;
            Ok(subject.map_or_else(|| detail.clone(), |subject| format!("{subject}: {detail}")))
        });
        findings.push(Finding { invariant: check.invariant, broken: broken.collect::<Result<_, DbErr>>()? });
    }
    snapshot.rollback().await?;
    Ok(findings)
}
