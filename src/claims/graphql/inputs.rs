//! What mutations of claims take.

use async_graphql::{Enum, ID, InputObject};

use crate::claims::intervention;

/// Claim an OPEN job. `expectedVersion` refuses a job whose terms changed since it was read.
#[derive(InputObject)]
pub(crate) struct ClaimJobInput {
    /// An OPEN job of somebody else.
    pub(super) job_id: ID,
    /// The `Job.version` that the caller decided on. If the job has changed since, nothing is done and
    /// `VersionConflictError` tells. Null: any version.
    pub(super) expected_version: Option<i32>,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}

/// Give a claim back; the job reopens.
#[derive(InputObject)]
pub(crate) struct ReleaseClaimInput {
    /// A claim of the caller's own: ACTIVE or REVISION_REQUESTED.
    pub(super) claim_id: ID,
    /// Shown to the client as `Claim.endReason`: 1 to 500 characters. Left out or null: none is given.
    pub(super) reason: Option<String>,
    /// As for `claimJob`. Left out or null: the request has its effect each time that it comes.
    pub(super) idempotency_key: Option<String>,
}

/// Hand work in.
#[derive(InputObject)]
pub(crate) struct SubmitDeliverableInput {
    /// A live claim of the caller's own.
    pub(super) claim_id: ID,
    /// What was done and where it is: 1 to 5,000 characters.
    pub(super) note: String,
    /// Files of the caller's own that are READY and that nothing else uses, at most 10, in the order to show them.
    #[graphql(default)]
    pub(super) file_ids: Vec<ID>,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}

/// Send work back.
#[derive(InputObject)]
pub(crate) struct RequestRevisionInput {
    /// The latest submission of a claim on one of the caller's own jobs; an older one is refused.
    pub(super) deliverable_id: ID,
    /// What should change: 1 to 5,000 characters.
    pub(super) note: String,
    /// As for `approveDeliverable`. Left out or null: the request has its effect each time that it comes.
    pub(super) idempotency_key: Option<String>,
}

/// Accept work: pays the freelancer and completes the job, in one transaction.
#[derive(InputObject)]
pub(crate) struct ApproveDeliverableInput {
    /// The latest submission of a claim on one of the caller's own jobs; an older one is refused.
    pub(super) deliverable_id: ID,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}

/// How an admin frees what is stuck in a CLAIMED or IN_REVIEW job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "intervention::JobIntervention")]
pub(crate) enum JobIntervention {
    /// The claim ends as RELEASED, and the job is OPEN again.
    Reopen,
    /// The claim and the job end as CANCELLED, and escrow goes back to the client.
    Refund,
    /// The freelancer is paid, less the fee, as if the work had been approved; the job is COMPLETED.
    Pay,
}

/// Free what is stuck in a CLAIMED or IN_REVIEW job. Both sides are told, with the reason, and the audit log keeps it.
#[derive(InputObject)]
pub(crate) struct InterveneInJobInput {
    /// A CLAIMED or IN_REVIEW job to which the caller is no party.
    pub(super) job_id: ID,
    /// What becomes of it.
    pub(super) step: JobIntervention,
    /// Told to both sides and kept in the audit log: 1 to 500 characters.
    pub(super) reason: String,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}
