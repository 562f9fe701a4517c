//! A claim and its deliverables. Pure.

use serde::{Deserialize, Serialize};

use crate::{
    auth::actor::Actor,
    clock::Timestamp,
    ids::{ClaimId, DeliverableId, JobId, UserId},
    jobs::model::Job,
    named_enum,
};

named_enum! {
    /// Where a claim is in its life.
    pub enum ClaimStatus {
        /// The freelancer works.
        Active = "ACTIVE",
        /// The client reviews.
        InReview = "IN_REVIEW",
        /// The freelancer works again.
        RevisionRequested = "REVISION_REQUESTED",
        /// Paid.
        Approved = "APPROVED",
        /// Given back.
        Released = "RELEASED",
        /// Lapsed.
        Expired = "EXPIRED",
        /// Ended by an admin.
        Cancelled = "CANCELLED",
        /// An admin decides.
        Disputed = "DISPUTED",
    }
}

impl ClaimStatus {
    /// Whether the claim holds its job.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Active | Self::InReview | Self::RevisionRequested | Self::Disputed => true,
            Self::Approved | Self::Released | Self::Expired | Self::Cancelled => false,
        }
    }

    /// The statuses that hold a job.
    pub fn live() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|status| status.is_live())
    }

    /// Whether the freelancer may give it back: nothing was submitted, or the last submission was sent back.
    pub const fn can_be_released(self) -> bool {
        matches!(self, Self::Active | Self::RevisionRequested)
    }
}

/// One freelancer's hold on one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which.
    pub id: ClaimId,
    /// Grows by one with each change.
    pub version: i64,
    /// What is held.
    pub job_id: JobId,
    /// Who holds it.
    pub freelancer_id: UserId,
    /// Where it is in its life.
    pub status: ClaimStatus,
    /// The platform's share, frozen when it was made.
    pub fee_basis_points: u16,
    /// Since when.
    pub created_at: Timestamp,
    /// When it lapses, as long as nothing was submitted.
    pub expires_at: Option<Timestamp>,
    /// When the work under review counts as approved.
    pub auto_approve_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    pub end_reason: Option<String>,
}

impl Claim {
    /// Its freelancer, its job's client, admins.
    pub fn is_visible_to(&self, job: &Job, actor: &Actor) -> bool {
        actor.is(self.freelancer_id) || job.is_own(actor) || actor.is_admin()
    }

    /// Whether the actor may see the work handed in: the client, and the freelancer unless the claim was given back or
    /// lapsed. One who was paid keeps the papers; one who claims the job anew does not get those of the one before.
    pub fn shows_work_to(&self, job: &Job, actor: &Actor) -> bool {
        let kept = !matches!(self.status, ClaimStatus::Released | ClaimStatus::Expired);
        job.is_own(actor) || actor.is_admin() || (kept && actor.is(self.freelancer_id))
    }
}

named_enum! {
    /// What became of a submission.
    pub enum DeliverableStatus {
        /// Waits for the client.
        Submitted = "SUBMITTED",
        /// Sent back.
        RevisionRequested = "REVISION_REQUESTED",
        /// Accepted.
        Approved = "APPROVED",
        /// A newer one took its place.
        Superseded = "SUPERSEDED",
    }
}

/// One numbered submission of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliverable {
    /// Which.
    pub id: DeliverableId,
    /// For which claim.
    pub claim_id: ClaimId,
    /// From 1.
    pub number: i32,
    /// What became of it.
    pub status: DeliverableStatus,
    /// What the freelancer says.
    pub note: String,
    /// What the client wants changed.
    pub revision_note: Option<String>,
    /// When it was handed in.
    pub submitted_at: Timestamp,
    /// When the client decided.
    pub reviewed_at: Option<Timestamp>,
}
