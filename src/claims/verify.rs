//! The claims' share of `lancewire verify`: claims, their jobs and what was handed in are in step, what was paid is what
//! was agreed, and their events.
//!
//! Queries for rows that break an invariant, and the comparison of events with rows. Called by [`crate::verify`] alone, on
//! one snapshot.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter,
    prelude::{Uuid, async_trait::async_trait},
};

use super::{
    entity::claims,
    events::{CLAIM_UPDATED, ClaimUpdate, audience},
    model::Claim,
};
use crate::{
    db::DbTransaction,
    error::InternalError,
    events::NewEvent,
    ids::ClaimId,
    proof::{Part, told},
};

/// This domain's share of the proof.
pub struct Proof;

#[async_trait]
impl Part for Proof {
    fn checks(&self) -> Vec<(&'static str, String)> {
        let checks = [
            (
                "3 a job has one live claim while it is claimed, and none otherwise",
                "SELECT j.id AS subject, j.status || ' with ' || COUNT(c.id) || ' live claims' AS detail FROM jobs j \
                 LEFT JOIN claims c ON c.job_id = j.id \
                     AND c.status IN ('ACTIVE', 'IN_REVIEW', 'REVISION_REQUESTED', 'DISPUTED') \
                 GROUP BY j.id, j.status \
                 HAVING COUNT(c.id) <> CASE WHEN j.status IN ('CLAIMED', 'IN_REVIEW', 'DISPUTED') THEN 1 ELSE 0 END",
            ),
            (
                "3 a claim, its job and its freelancer are in step",
                "SELECT c.id AS subject, c.status || ' on a job that is ' || j.status AS detail FROM claims c \
                 JOIN jobs j ON j.id = c.job_id WHERE c.freelancer_id = j.client_id \
                 OR (c.status NOT IN ('RELEASED', 'EXPIRED') AND (j.claimant_id IS NULL OR j.claimant_id <> c.freelancer_id)) \
                 OR CASE c.status WHEN 'ACTIVE' THEN j.status <> 'CLAIMED' \
                     WHEN 'REVISION_REQUESTED' THEN j.status <> 'CLAIMED' WHEN 'IN_REVIEW' THEN j.status <> 'IN_REVIEW' \
                     WHEN 'DISPUTED' THEN j.status <> 'DISPUTED' WHEN 'APPROVED' THEN j.status <> 'COMPLETED' \
                     WHEN 'CANCELLED' THEN j.status <> 'CANCELLED' ELSE {false} END \
                 UNION ALL SELECT j.id, j.status || ' with ' || COUNT(c.id) || ' claims that count' FROM jobs j \
                 LEFT JOIN claims c ON c.job_id = j.id AND c.status NOT IN ('RELEASED', 'EXPIRED') GROUP BY j.id, j.status \
                 HAVING COUNT(c.id) <> CASE WHEN j.status IN ('CLAIMED', 'IN_REVIEW', 'DISPUTED', 'COMPLETED') THEN 1 \
                     WHEN j.status = 'CANCELLED' AND COUNT(c.id) = 1 THEN 1 ELSE 0 END \
                 UNION ALL SELECT j.id, 'a claimant without a claim' FROM jobs j WHERE j.claimant_id IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.job_id = j.id AND c.freelancer_id = j.claimant_id \
                     AND c.status NOT IN ('RELEASED', 'EXPIRED'))",
            ),
            (
                "3 what was handed in is numbered from 1 and in step with its claim",
                "SELECT c.id AS subject, c.status || ' with ' || COUNT(d.id) || ' submissions, the last ' || \
                 COALESCE(MAX(CASE WHEN d.number = l.last THEN d.status END), 'NONE') AS detail FROM claims c \
                 LEFT JOIN deliverables d ON d.claim_id = c.id \
                 LEFT JOIN (SELECT claim_id, MAX(number) AS last FROM deliverables GROUP BY claim_id) l ON l.claim_id = c.id \
                 GROUP BY c.id, c.status, l.last \
                 HAVING COUNT(d.id) <> COALESCE(l.last, 0) \
                 OR COUNT(CASE WHEN d.number < l.last AND d.status NOT IN ('SUPERSEDED', 'REVISION_REQUESTED') THEN 1 END) > 0 \
                 OR COALESCE(MAX(CASE WHEN d.number = l.last THEN d.status END), 'NONE') <> CASE c.status \
                     WHEN 'IN_REVIEW' THEN 'SUBMITTED' WHEN 'REVISION_REQUESTED' THEN 'REVISION_REQUESTED' \
                     WHEN 'ACTIVE' THEN 'NONE' \
                     ELSE COALESCE(MAX(CASE WHEN d.number = l.last THEN d.status END), 'NONE') END",
            ),
            (
                "5 who was paid for a job, and how much, is what its claim says",
                "SELECT j.id AS subject, 'paid otherwise than agreed' AS detail FROM jobs j \
                 JOIN claims c ON c.job_id = j.id AND c.status = 'APPROVED' \
                 WHERE j.status = 'COMPLETED' AND (1 <> (SELECT COUNT(*) FROM transactions t WHERE t.reference_id = j.id \
                     AND t.type = 'ESCROW_RELEASE' AND t.wallet_id = c.freelancer_id AND t.fee_minor = {fee} \
                     AND t.amount_minor = j.budget_minor - {fee}) \
                 OR 1 <> (SELECT COUNT(*) FROM transactions t WHERE t.reference_id = j.id \
                     AND t.type = 'ESCROW_RELEASE' AND t.wallet_id = j.client_id AND t.fee_minor IS NULL))",
            ),
            (
                "7 what happened to a claim is told to its two sides alone, once for each version",
                "SELECT e.event_id AS subject, 'version ' || e.subject_version || ' of ' || COALESCE(c.version, 0) AS detail \
                 FROM events e LEFT JOIN claims c ON c.id = e.subject_id LEFT JOIN jobs j ON j.id = c.job_id \
                 LEFT JOIN (SELECT subject_id, subject_version, COUNT(*) AS told FROM events WHERE kind = 'CLAIM_UPDATED' \
                     GROUP BY subject_id, subject_version) o \
                     ON o.subject_id = e.subject_id AND o.subject_version = e.subject_version \
                 WHERE e.kind = 'CLAIM_UPDATED' AND (c.id IS NULL OR e.is_public OR e.owner_id <> j.client_id \
                     OR e.claimant_id IS NULL OR e.claimant_id <> c.freelancer_id OR e.subject_version > c.version \
                     OR o.told <> 1)",
            ),
            (
                // Only of those that say so: a version of the server that knows no `claimUpdated` may have made the others.
                "7 each change of a claim that a job's event speaks of has its own event",
                "SELECT s.job_id AS subject, COALESCE(t.told, 0) || ' of ' || s.said || ' changes' AS detail \
                 FROM (SELECT subject_id AS job_id, COUNT(*) AS said FROM events \
                     WHERE kind = 'JOB_UPDATED' AND payload LIKE '%\"claim_told\":true%' GROUP BY subject_id) s \
                 LEFT JOIN (SELECT c.job_id, COUNT(*) AS told FROM events e JOIN claims c ON c.id = e.subject_id \
                     WHERE e.kind = 'CLAIM_UPDATED' GROUP BY c.job_id) t ON t.job_id = s.job_id \
                 WHERE COALESCE(t.told, 0) < s.said",
            ),
            (
                "7 the last event of a claim is of its version",
                "SELECT c.id AS subject, 'version ' || c.version || ', last event ' || e.last AS detail FROM claims c \
                 JOIN (SELECT subject_id, MAX(subject_version) AS last FROM events WHERE kind = 'CLAIM_UPDATED' \
                     GROUP BY subject_id) e ON e.subject_id = c.id WHERE e.last <> c.version",
            ),
            (
                "9 who has completed how many jobs is counted",
                "SELECT u.id AS subject, 'counts ' || u.completed_job_count || ' completed jobs of ' || COALESCE(j.jobs, 0) \
                 AS detail FROM users u LEFT JOIN (SELECT party, COUNT(*) AS jobs FROM \
                     (SELECT client_id AS party FROM jobs WHERE status = 'COMPLETED' \
                      UNION ALL SELECT claimant_id FROM jobs WHERE status = 'COMPLETED') p GROUP BY party) j ON j.party = u.id \
                 WHERE u.completed_job_count <> COALESCE(j.jobs, 0)",
            ),
        ];
        // Rounded down, in a way that has no overflow.
        let fee = "(j.budget_minor / 10000 * c.fee_basis_points + j.budget_minor % 10000 * c.fee_basis_points / 10000)";
        checks.map(|(invariant, sql)| (invariant, sql.replace("{fee}", fee))).into()
    }

    fn agreement(&self) -> Option<&'static str> {
        Some("7 what an event says of a claim is what happened to it")
    }

    async fn events_agree(
        &self,
        snapshot: &DbTransaction,
        events: &[NewEvent],
        wrong: &mut Vec<String>,
    ) -> Result<(), InternalError> {
        let told = told::<ClaimUpdate>(events, CLAIM_UPDATED, wrong);
        let ids: Vec<ClaimId> = told.iter().map(|(_, update)| update.claim.id).collect();
        let rows = claims::Entity::find().filter(claims::Column::Id.is_in(ids)).all(snapshot).await?;
        // A row that is no claim is not as its events have it.
        let rows: HashMap<ClaimId, Claim> =
            rows.into_iter().filter_map(|row| Some((row.id, Claim::try_from(row).ok()?))).collect();
        for (event, ClaimUpdate { claim, job, .. }) in told {
            let why = if Uuid::from(claim.id) != event.subject || claim.version != event.subject_version {
                "it is about another claim or version than it says"
            } else if event.audience != audience(job.job.client_id, &claim) {
                "it is for others than the claim's two sides"
            } else if job.job.id != claim.job_id {
                "it has another job than the claim's"
            } else if !rows.get(&claim.id).is_some_and(|row| is_later_or_same(row, &claim)) {
                "the claim is not as the event has it"
            } else {
                continue;
            };
            wrong.push(format!("{}: {why}", Uuid::from(event.id)));
        }
        Ok(())
    }
}

/// Whether a claim is the one that an event tells of, or what became of it.
fn is_later_or_same(now: &Claim, told: &Claim) -> bool {
    if now.version == told.version {
        return now == told;
    }
    now.version > told.version
        && (now.job_id, now.freelancer_id, now.fee_basis_points, now.created_at)
            == (told.job_id, told.freelancer_id, told.fee_basis_points, told.created_at)
}
