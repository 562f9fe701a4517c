//! The jobs' share of `lancewire verify`: what is held for them, and their events.
//!
//! Queries for rows that break an invariant, and the comparison of events with rows. Called by [`crate::verify`] alone, on
//! one snapshot.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter,
    prelude::{Uuid, async_trait::async_trait},
};

use super::{
    entity::jobs,
    events::{DRAFT_UPDATED, JOB_POSTED, JOB_UPDATED, JobSnapshot, JobUpdate, audience},
    model::Job,
};
use crate::{db::DbTransaction, error::InternalError, events::NewEvent, ids::JobId, proof::Part};

/// This domain's share of the proof.
pub struct Proof;

#[async_trait]
impl Part for Proof {
    fn checks(&self) -> Vec<(&'static str, String)> {
        let checks = [
            (
                "2 what a wallet shows in escrow is what is held for its owner's jobs",
                "SELECT w.id AS subject, 'wallet shows ' || w.in_escrow_minor AS detail FROM wallets w \
                 LEFT JOIN (SELECT j.client_id, SUM(a.balance_minor) AS held FROM accounts a \
                     JOIN jobs j ON j.id = a.owner_id WHERE a.kind = 'ESCROW' GROUP BY j.client_id) h ON h.client_id = w.id \
                 WHERE w.in_escrow_minor <> COALESCE(h.held, 0)",
            ),
            (
                "4 escrow is the budget while a job holds it, and else nothing",
                "SELECT j.id AS subject, j.status || ' with ' || COALESCE(a.balance_minor, 0) || ' in escrow' AS detail \
                 FROM jobs j LEFT JOIN accounts a ON a.owner_id = j.id AND a.kind = 'ESCROW' \
                 WHERE COALESCE(a.balance_minor, 0) <> CASE \
                     WHEN j.status IN ('OPEN', 'CLAIMED', 'IN_REVIEW', 'DISPUTED') THEN j.budget_minor ELSE 0 END \
                 UNION ALL SELECT a.owner_id, 'escrow of no job' FROM accounts a \
                 WHERE a.kind = 'ESCROW' AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = a.owner_id)",
            ),
            (
                "5 what was held for an ended job was released or refunded, and released once",
                "SELECT j.id AS subject, 'released ' || COUNT(DISTINCT r.id) || ' times' AS detail FROM jobs j \
                 JOIN journals r ON r.reference_id = j.id AND r.kind = 'ESCROW_RELEASE' GROUP BY j.id, j.status \
                 HAVING COUNT(DISTINCT r.id) <> 1 OR j.status NOT IN ('COMPLETED', 'CANCELLED')",
            ),
            (
                "5 a completed job was paid",
                "SELECT j.id AS subject, 'not released' AS detail FROM jobs j WHERE j.status = 'COMPLETED' \
                 AND NOT EXISTS (SELECT 1 FROM journals r WHERE r.reference_id = j.id AND r.kind = 'ESCROW_RELEASE')",
            ),
            (
                "5 what was held for a job stands in its client's history",
                "SELECT t.id AS subject, t.type || ' in the history of another' AS detail FROM transactions t \
                 LEFT JOIN jobs j ON j.id = t.reference_id \
                 WHERE t.type IN ('ESCROW_HOLD', 'ESCROW_REFUND') AND (j.id IS NULL OR j.client_id <> t.wallet_id)",
            ),
            (
                "7 each version of a posted job has its events, as far as they are kept",
                "SELECT j.id AS subject, 'version ' || j.version || ', last event ' || COALESCE(MAX(e.subject_version), 0) \
                 AS detail FROM jobs j \
                 LEFT JOIN events e ON e.subject_id = j.id AND e.kind IN ('JOB_POSTED', 'JOB_UPDATED') \
                 WHERE j.posted_at IS NOT NULL GROUP BY j.id, j.version, j.updated_at \
                 HAVING CASE WHEN COUNT(e.id) > 0 THEN MAX(e.subject_version) <> j.version \
                         OR COUNT(DISTINCT e.subject_version) <> j.version - MIN(e.subject_version) + 1 \
                     ELSE NOT {forgotten} OR j.updated_at > COALESCE((SELECT MIN(occurred_at) FROM events), j.updated_at) END",
            ),
            (
                "7 what happened to a draft is its author's alone",
                "SELECT e.event_id AS subject, e.kind || ' of a draft' AS detail FROM events e \
                 JOIN jobs j ON j.id = e.subject_id \
                 WHERE (j.posted_at IS NULL AND e.kind <> 'DRAFT_UPDATED') OR (e.kind = 'DRAFT_UPDATED' \
                     AND (e.is_public OR e.owner_id <> j.client_id OR e.claimant_id IS NOT NULL))",
            ),
        ];
        checks.map(|(invariant, sql)| (invariant, sql.to_owned())).into()
    }

    fn agreement(&self) -> Option<&'static str> {
        Some("7 what an event says of a job is what happened to it")
    }

    async fn events_agree(
        &self,
        snapshot: &DbTransaction,
        events: &[NewEvent],
        wrong: &mut Vec<String>,
    ) -> Result<(), InternalError> {
        let mut told: Vec<(&NewEvent, JobSnapshot, bool)> = Vec::new();
        for event in events {
            let read = match event.kind {
                JOB_POSTED => serde_json::from_str(&event.payload).map(|snapshot| (snapshot, true)),
                JOB_UPDATED => serde_json::from_str(&event.payload)
                    .map(|update: JobUpdate| (update.snapshot, update.changes.iter().any(|change| change.is_public()))),
                DRAFT_UPDATED => serde_json::from_str(&event.payload).map(|update: JobUpdate| (update.snapshot, false)),
                _ => continue,
            };
            match read {
                Ok((snapshot, public)) => told.push((event, snapshot, public)),
                Err(error) => wrong.push(format!("{}: cannot be read: {error}", Uuid::from(event.id))),
            }
        }
        let ids: Vec<JobId> = told.iter().map(|(_, snapshot, _)| snapshot.job.id).collect();
        let rows = jobs::Entity::find().filter(jobs::Column::Id.is_in(ids)).all(snapshot).await?;
        // A row that is no job is not as its events have it.
        let rows: HashMap<JobId, Job> =
            rows.into_iter().filter_map(|row| Some((row.id, Job::try_from(row).ok()?))).collect();
        for (event, JobSnapshot { job, client, .. }, public) in told {
            let why = if Uuid::from(job.id) != event.subject || job.version != event.subject_version {
                "it is about another job or version than it says"
            } else if event.audience != audience(event.kind, &job, public) || client.id != job.client_id {
                "it is for others than the job's parties"
            } else if !rows.get(&job.id).is_some_and(|row| is_later_or_same(row, &job)) {
                "the job is not as the event has it"
            } else {
                continue;
            };
            wrong.push(format!("{}: {why}", Uuid::from(event.id)));
        }
        Ok(())
    }
}

/// Whether a job is the one that an event tells of, or what became of it.
fn is_later_or_same(now: &Job, told: &Job) -> bool {
    if now.version == told.version {
        return now == told;
    }
    now.version > told.version
        && now.client_id == told.client_id
        && now.created_at == told.created_at
        && told.posted_at().is_none_or(|posted| now.posted_at() == Some(posted))
}
