//! A claim and its deliverables. Pure.
//!
//! A status carries what a claim or a submission has only there ([`State`], [`Review`], both private). Only the methods
//! that return an [`InvalidTransition`] lead from one to another; nothing outside of this file can write a state.

use serde::{Deserialize, Serialize};

use crate::{
    auth::actor::Actor,
    clock::Timestamp,
    error::{InternalError, InvalidTransition},
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
}

/// One freelancer's hold on one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ClaimRecord", into = "ClaimRecord")]
pub struct Claim {
    /// Which.
    pub id: ClaimId,
    /// Grows by one with each change.
    pub version: i64,
    /// What is held.
    pub job_id: JobId,
    /// Who holds it.
    pub freelancer_id: UserId,
    /// The platform's share, frozen when it was made.
    pub fee_basis_points: u16,
    /// Since when.
    pub created_at: Timestamp,
    state: State,
}

/// Where a claim is in its life, with what it has only there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Active {
        expires_at: Option<Timestamp>,
    },
    InReview {
        auto_approve_at: Option<Timestamp>,
    },
    RevisionRequested,
    Disputed,
    Ended {
        ending: Ending,
        at: Timestamp,
        reason: Option<String>,
        /// When it would have lapsed, if its freelancer gave it back before they submitted anything.
        expires_at: Option<Timestamp>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Approved,
    Released,
    Expired,
    Cancelled,
}

impl Ending {
    const fn status(self) -> ClaimStatus {
        match self {
            Self::Approved => ClaimStatus::Approved,
            Self::Released => ClaimStatus::Released,
            Self::Expired => ClaimStatus::Expired,
            Self::Cancelled => ClaimStatus::Cancelled,
        }
    }
}

/// A claim as a row or an event keeps it: flat. It becomes a [`Claim`] where its status has all that it needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented where it is read: on `Claim`")]
pub struct ClaimRecord {
    pub id: ClaimId,
    pub version: i64,
    pub job_id: JobId,
    pub freelancer_id: UserId,
    pub status: ClaimStatus,
    pub fee_basis_points: u16,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub auto_approve_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<String>,
}

impl TryFrom<ClaimRecord> for Claim {
    type Error = InternalError;

    fn try_from(record: ClaimRecord) -> Result<Self, InternalError> {
        let ended = |ending| {
            let lacks =
                || InternalError::corrupt(format!("{} is {} without an end", record.id, record.status.as_str()));
            let (at, reason) = (record.ended_at.ok_or_else(lacks)?, record.end_reason.clone());
            Ok::<_, InternalError>(State::Ended { ending, at, reason, expires_at: record.expires_at })
        };
        let state = match record.status {
            ClaimStatus::Active => State::Active { expires_at: record.expires_at },
            ClaimStatus::InReview => State::InReview { auto_approve_at: record.auto_approve_at },
            ClaimStatus::RevisionRequested => State::RevisionRequested,
            ClaimStatus::Disputed => State::Disputed,
            ClaimStatus::Approved => ended(Ending::Approved)?,
            ClaimStatus::Released => ended(Ending::Released)?,
            ClaimStatus::Expired => ended(Ending::Expired)?,
            ClaimStatus::Cancelled => ended(Ending::Cancelled)?,
        };
        let ClaimRecord { id, version, job_id, freelancer_id, fee_basis_points, created_at, .. } = record;
        Ok(Self { id, version, job_id, freelancer_id, fee_basis_points, created_at, state })
    }
}

impl From<Claim> for ClaimRecord {
    fn from(claim: Claim) -> Self {
        Self {
            id: claim.id,
            version: claim.version,
            job_id: claim.job_id,
            freelancer_id: claim.freelancer_id,
            status: claim.status(),
            fee_basis_points: claim.fee_basis_points,
            created_at: claim.created_at,
            expires_at: claim.expires_at(),
            auto_approve_at: claim.auto_approve_at(),
            ended_at: claim.ended_at(),
            end_reason: claim.end_reason().map(ToOwned::to_owned),
        }
    }
}

/// What leads from one state to another. Each gives the next version of the claim.
impl Claim {
    /// A new one, ACTIVE until it lapses at `expires_at`.
    pub const fn new(
        id: ClaimId,
        (job_id, freelancer_id): (JobId, UserId),
        fee_basis_points: u16,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        let state = State::Active { expires_at: Some(expires_at) };
        Self { id, version: 1, job_id, freelancer_id, fee_basis_points, created_at, state }
    }

    /// ACTIVE, IN_REVIEW or REVISION_REQUESTED -> IN_REVIEW: work was handed in, which counts as approved at
    /// `auto_approve_at`.
    pub fn submit(&self, auto_approve_at: Timestamp) -> Result<Self, InvalidTransition<ClaimStatus>> {
        if self.is_worked_on() {
            Ok(self.next(State::InReview { auto_approve_at: Some(auto_approve_at) }))
        } else {
            Err(self.refuse(ClaimStatus::InReview))
        }
    }

    /// IN_REVIEW -> REVISION_REQUESTED, by the client.
    pub fn request_revision(&self) -> Result<Self, InvalidTransition<ClaimStatus>> {
        let State::InReview { .. } = self.state else {
            return Err(self.refuse(ClaimStatus::RevisionRequested));
        };
        Ok(self.next(State::RevisionRequested))
    }

    /// IN_REVIEW -> APPROVED, by the client, or because the time for the review is over.
    pub fn approve(&self, at: Timestamp) -> Result<Self, InvalidTransition<ClaimStatus>> {
        let State::InReview { .. } = self.state else {
            return Err(self.refuse(ClaimStatus::Approved));
        };
        Ok(self.next(State::Ended { ending: Ending::Approved, at, reason: None, expires_at: None }))
    }

    /// ACTIVE or REVISION_REQUESTED -> RELEASED, by the freelancer: nothing was submitted, or the last submission was sent
    /// back.
    pub fn release(&self, at: Timestamp, reason: Option<&str>) -> Result<Self, InvalidTransition<ClaimStatus>> {
        let (State::Active { .. } | State::RevisionRequested) = self.state else {
            return Err(self.refuse(ClaimStatus::Released));
        };
        let (reason, expires_at) = (reason.map(ToOwned::to_owned), self.expires_at());
        Ok(self.next(State::Ended { ending: Ending::Released, at, reason, expires_at }))
    }

    /// ACTIVE -> EXPIRED, because nothing was submitted in time.
    pub fn lapse(&self, at: Timestamp) -> Result<Self, InvalidTransition<ClaimStatus>> {
        let State::Active { expires_at } = self.state else {
            return Err(self.refuse(ClaimStatus::Expired));
        };
        Ok(self.next(State::Ended { ending: Ending::Expired, at, reason: None, expires_at }))
    }

    /// ACTIVE, IN_REVIEW or REVISION_REQUESTED -> RELEASED, by an admin.
    pub fn reopen(&self, at: Timestamp, reason: &str) -> Result<Self, InvalidTransition<ClaimStatus>> {
        self.intervene(Ending::Released, at, reason)
    }

    /// ACTIVE, IN_REVIEW or REVISION_REQUESTED -> CANCELLED, by an admin.
    pub fn refund(&self, at: Timestamp, reason: &str) -> Result<Self, InvalidTransition<ClaimStatus>> {
        self.intervene(Ending::Cancelled, at, reason)
    }

    /// ACTIVE, IN_REVIEW or REVISION_REQUESTED -> APPROVED, by an admin.
    pub fn pay(&self, at: Timestamp, reason: &str) -> Result<Self, InvalidTransition<ClaimStatus>> {
        self.intervene(Ending::Approved, at, reason)
    }

    fn intervene(&self, ending: Ending, at: Timestamp, reason: &str) -> Result<Self, InvalidTransition<ClaimStatus>> {
        if self.is_worked_on() {
            Ok(self.next(State::Ended { ending, at, reason: Some(reason.to_owned()), expires_at: None }))
        } else {
            Err(self.refuse(ending.status()))
        }
    }

    /// Live, and not before an admin who decides.
    const fn is_worked_on(&self) -> bool {
        match self.state {
            State::Active { .. } | State::InReview { .. } | State::RevisionRequested => true,
            State::Disputed | State::Ended { .. } => false,
        }
    }

    fn next(&self, state: State) -> Self {
        Self { version: self.version + 1, state, ..self.clone() }
    }

    const fn refuse(&self, to: ClaimStatus) -> InvalidTransition<ClaimStatus> {
        InvalidTransition { from: self.status(), to }
    }
}

/// What a claim is and whom it is shown to.
impl Claim {
    /// Where it is in its life.
    pub const fn status(&self) -> ClaimStatus {
        match self.state {
            State::Active { .. } => ClaimStatus::Active,
            State::InReview { .. } => ClaimStatus::InReview,
            State::RevisionRequested => ClaimStatus::RevisionRequested,
            State::Disputed => ClaimStatus::Disputed,
            State::Ended { ending, .. } => ending.status(),
        }
    }

    /// When it lapses, as long as nothing was submitted.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Active { expires_at } | State::Ended { expires_at, .. } => expires_at,
            State::InReview { .. } | State::RevisionRequested | State::Disputed => None,
        }
    }

    /// When the work under review counts as approved.
    pub const fn auto_approve_at(&self) -> Option<Timestamp> {
        if let State::InReview { auto_approve_at } = self.state { auto_approve_at } else { None }
    }

    /// When it ended.
    pub const fn ended_at(&self) -> Option<Timestamp> {
        if let State::Ended { at, .. } = self.state { Some(at) } else { None }
    }

    /// Why it ended.
    pub fn end_reason(&self) -> Option<&str> {
        if let State::Ended { reason, .. } = &self.state { reason.as_deref() } else { None }
    }

    /// Its freelancer, its job's client, admins.
    pub fn is_visible_to(&self, job: &Job, actor: &Actor) -> bool {
        actor.is(self.freelancer_id) || job.is_own(actor) || actor.is_admin()
    }

    /// Whether the actor may see the work handed in: the client, and the freelancer unless the claim was given back or
    /// lapsed. One who was paid keeps the papers; one who claims the job anew does not get those of the one before.
    pub fn shows_work_to(&self, job: &Job, actor: &Actor) -> bool {
        let kept = !matches!(self.status(), ClaimStatus::Released | ClaimStatus::Expired);
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliverable {
    /// Which.
    pub id: DeliverableId,
    /// For which claim.
    pub claim_id: ClaimId,
    /// From 1.
    pub number: i32,
    /// What the freelancer says.
    pub note: String,
    /// When it was handed in.
    pub submitted_at: Timestamp,
    review: Review,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Review {
    Waiting,
    SentBack { note: Option<String>, at: Option<Timestamp> },
    Approved { at: Option<Timestamp> },
    Superseded,
}

/// A submission as a row keeps it: flat.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is documented where it is read: on `Deliverable`")]
pub struct DeliverableRecord {
    pub id: DeliverableId,
    pub claim_id: ClaimId,
    pub number: i32,
    pub status: DeliverableStatus,
    pub note: String,
    pub revision_note: Option<String>,
    pub submitted_at: Timestamp,
    pub reviewed_at: Option<Timestamp>,
}

impl From<DeliverableRecord> for Deliverable {
    fn from(record: DeliverableRecord) -> Self {
        let at = record.reviewed_at;
        let review = match record.status {
            DeliverableStatus::Submitted => Review::Waiting,
            DeliverableStatus::RevisionRequested => Review::SentBack { note: record.revision_note, at },
            DeliverableStatus::Approved => Review::Approved { at },
            DeliverableStatus::Superseded => Review::Superseded,
        };
        let DeliverableRecord { id, claim_id, number, note, submitted_at, .. } = record;
        Self { id, claim_id, number, note, submitted_at, review }
    }
}

impl From<Deliverable> for DeliverableRecord {
    fn from(work: Deliverable) -> Self {
        Self {
            id: work.id,
            claim_id: work.claim_id,
            number: work.number,
            status: work.status(),
            revision_note: work.revision_note().map(ToOwned::to_owned),
            submitted_at: work.submitted_at,
            reviewed_at: work.reviewed_at(),
            note: work.note,
        }
    }
}

impl Deliverable {
    /// A new one, after `latest` of the same claim.
    pub fn after(
        latest: Option<&Self>,
        id: DeliverableId,
        claim_id: ClaimId,
        note: String,
        submitted_at: Timestamp,
    ) -> Self {
        let number = latest.map_or(1, |latest| latest.number + 1);
        Self { id, claim_id, number, note, submitted_at, review: Review::Waiting }
    }

    /// SUBMITTED -> APPROVED.
    pub fn approve(&self, at: Timestamp) -> Result<Self, InvalidTransition<DeliverableStatus>> {
        self.reviewed(Review::Approved { at: Some(at) })
    }

    /// SUBMITTED -> REVISION_REQUESTED, with what should change.
    pub fn send_back(&self, at: Timestamp, note: &str) -> Result<Self, InvalidTransition<DeliverableStatus>> {
        self.reviewed(Review::SentBack { note: Some(note.to_owned()), at: Some(at) })
    }

    /// SUBMITTED -> SUPERSEDED, by a newer one.
    pub fn supersede(&self) -> Result<Self, InvalidTransition<DeliverableStatus>> {
        self.reviewed(Review::Superseded)
    }

    fn reviewed(&self, review: Review) -> Result<Self, InvalidTransition<DeliverableStatus>> {
        let next = Self { review, ..self.clone() };
        if self.review == Review::Waiting {
            Ok(next)
        } else {
            Err(InvalidTransition { from: self.status(), to: next.status() })
        }
    }

    /// What became of it.
    pub const fn status(&self) -> DeliverableStatus {
        match self.review {
            Review::Waiting => DeliverableStatus::Submitted,
            Review::SentBack { .. } => DeliverableStatus::RevisionRequested,
            Review::Approved { .. } => DeliverableStatus::Approved,
            Review::Superseded => DeliverableStatus::Superseded,
        }
    }

    /// What the client wants changed.
    pub fn revision_note(&self) -> Option<&str> {
        if let Review::SentBack { note, .. } = &self.review { note.as_deref() } else { None }
    }

    /// When the client decided.
    pub const fn reviewed_at(&self) -> Option<Timestamp> {
        match self.review {
            Review::SentBack { at, .. } | Review::Approved { at } => at,
            Review::Waiting | Review::Superseded => None,
        }
    }
}

#[cfg(test)]
mod tests;
