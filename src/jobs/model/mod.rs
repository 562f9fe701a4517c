//! A job, its states and who may do what with it. Pure: no database, no async.
//!
//! What a job has besides its terms depends on where it is in its life, so a status carries its data ([`State`], which is
//! private). Only the methods that take a [`Step`] lead from one state to another, each from the statuses of
//! [`Step::allowed`] alone; nothing outside of this file can write a state.

mod step;

use serde::{Deserialize, Serialize};

pub use self::step::{InvalidTransition, Step};
use crate::{
    accounts::model::Skill,
    auth::actor::Actor,
    clock::Timestamp,
    error::InternalError,
    ids::{JobId, SkillId, UserId},
    money::Money,
    named_enum,
};

named_enum! {
    /// Where a job is in its life.
    pub enum JobStatus {
        /// Written down, not posted.
        Draft = "DRAFT",
        /// Can be claimed.
        Open = "OPEN",
        /// A freelancer works on it.
        Claimed = "CLAIMED",
        /// Work was handed in.
        InReview = "IN_REVIEW",
        /// Approved and paid.
        Completed = "COMPLETED",
        /// Called off.
        Cancelled = "CANCELLED",
        /// Nobody claimed it in time.
        Expired = "EXPIRED",
        /// An admin decides.
        Disputed = "DISPUTED",
    }
}

impl JobStatus {
    /// Whether the budget sits in escrow.
    pub const fn holds_escrow(self) -> bool {
        match self {
            Self::Open | Self::Claimed | Self::InReview | Self::Disputed => true,
            Self::Draft | Self::Completed | Self::Cancelled | Self::Expired => false,
        }
    }
}

named_enum! {
    /// What about a job changed.
    pub enum JobChange {
        /// Title, description, budget, skills or deadline.
        Details = "DETAILS",
        /// The status.
        Status = "STATUS",
        /// Its claim.
        Claim = "CLAIM",
        /// Work handed in or reviewed.
        Deliverable = "DELIVERABLE",
        /// Money in escrow.
        Escrow = "ESCROW",
    }
}

impl JobChange {
    /// Whether everybody may receive its events.
    pub const fn is_public(self) -> bool {
        match self {
            Self::Details | Self::Status => true,
            Self::Claim | Self::Deliverable | Self::Escrow => false,
        }
    }
}

/// What a client says about a job: what is wanted, what it pays and until when it can be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it is called.
    pub title: String,
    /// `CommonMark`.
    pub description: String,
    /// What it pays.
    pub budget: Money,
    /// Until when it can be claimed.
    pub deadline: Option<Timestamp>,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "JobRecord", into = "JobRecord")]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// Grows by one with each committed change.
    pub version: i64,
    /// Who pays.
    pub client_id: UserId,
    /// What it is called.
    pub title: String,
    /// `CommonMark`.
    pub description: String,
    /// What it pays.
    pub budget: Money,
    /// Until when it can be claimed.
    pub deadline: Option<Timestamp>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    state: State,
}

/// Where a job is in its life, with what it has only there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Draft,
    Open {
        posted_at: Timestamp,
        /// Whether it is kept from everybody, because its client is suspended.
        withheld: bool,
    },
    Claimed {
        posted_at: Timestamp,
        claimant: UserId,
    },
    InReview {
        posted_at: Timestamp,
        claimant: UserId,
    },
    Disputed {
        posted_at: Timestamp,
        claimant: UserId,
    },
    Completed {
        posted_at: Timestamp,
        claimant: UserId,
    },
    Cancelled {
        /// None if it was called off as a draft.
        posted_at: Option<Timestamp>,
        /// Whose claim ended with it.
        claimant: Option<UserId>,
        reason: Option<String>,
    },
    Expired {
        posted_at: Timestamp,
    },
}

/// A job as a row or an event keeps it: flat. It becomes a [`Job`] where its status has all that it needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented where it is read: on `Job`")]
pub struct JobRecord {
    pub id: JobId,
    pub version: i64,
    pub client_id: UserId,
    pub claimant_id: Option<UserId>,
    pub title: String,
    pub description: String,
    pub status: JobStatus,
    pub budget: Money,
    pub deadline: Option<Timestamp>,
    pub cancel_reason: Option<String>,
    pub posted_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
}

impl TryFrom<JobRecord> for Job {
    type Error = InternalError;

    fn try_from(record: JobRecord) -> Result<Self, InternalError> {
        let (id, status) = (record.id, record.status);
        let lacks = |what: &str| InternalError::corrupt(format!("{id} is {} without {what}", status.as_str()));
        let posted_at = || record.posted_at.ok_or_else(|| lacks("a time of its posting"));
        let claimant = || record.claimant_id.ok_or_else(|| lacks("a claimant"));
        let state = match status {
            JobStatus::Draft => State::Draft,
            JobStatus::Open => State::Open { posted_at: posted_at()?, withheld: record.withheld },
            JobStatus::Claimed => State::Claimed { posted_at: posted_at()?, claimant: claimant()? },
            JobStatus::InReview => State::InReview { posted_at: posted_at()?, claimant: claimant()? },
            JobStatus::Disputed => State::Disputed { posted_at: posted_at()?, claimant: claimant()? },
            JobStatus::Completed => State::Completed { posted_at: posted_at()?, claimant: claimant()? },
            JobStatus::Cancelled => State::Cancelled {
                posted_at: record.posted_at,
                claimant: record.claimant_id,
                reason: record.cancel_reason,
            },
            JobStatus::Expired => State::Expired { posted_at: posted_at()? },
        };
        Ok(Self {
            id,
            version: record.version,
            client_id: record.client_id,
            title: record.title,
            description: record.description,
            budget: record.budget,
            deadline: record.deadline,
            created_at: record.created_at,
            updated_at: record.updated_at,
            state,
        })
    }
}

impl From<Job> for JobRecord {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            version: job.version,
            client_id: job.client_id,
            claimant_id: job.claimant(),
            status: job.status(),
            cancel_reason: job.cancel_reason().map(ToOwned::to_owned),
            posted_at: job.posted_at(),
            withheld: job.is_withheld(),
            title: job.title,
            description: job.description,
            budget: job.budget,
            deadline: job.deadline,
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }
}

/// What leads from one state to another. Each takes the job as it is and gives it as it would be, with the version that
/// it had: [`Job::succeeding`] counts.
impl Job {
    /// Written down and shown to nobody but its client.
    pub fn draft(id: JobId, client_id: UserId, terms: Terms, now: Timestamp) -> Self {
        let Terms { title, description, budget, deadline } = terms;
        let (created_at, updated_at) = (now, now);
        Self {
            id,
            version: 1,
            client_id,
            title,
            description,
            budget,
            deadline,
            created_at,
            updated_at,
            state: State::Draft,
        }
    }

    /// OPEN from the first moment on.
    pub fn posted(id: JobId, client_id: UserId, terms: Terms, now: Timestamp) -> Self {
        let state = State::Open { posted_at: now, withheld: false };
        Self { state, ..Self::draft(id, client_id, terms, now) }
    }

    /// The version that comes after `before`, made at this moment.
    #[must_use]
    pub fn succeeding(self, before: &Self, at: Timestamp) -> Self {
        Self { version: before.version + 1, updated_at: at, ..self }
    }

    /// Kept from everybody as long as it is OPEN and its client suspended; elsewhere it stays what it is.
    #[must_use]
    pub fn withheld_if(self, suspended: bool) -> Self {
        let State::Open { posted_at, .. } = self.state else { return self };
        Self { state: State::Open { posted_at, withheld: suspended }, ..self }
    }

    /// DRAFT -> OPEN, by its client.
    pub fn publish(&self, now: Timestamp) -> Result<Self, InvalidTransition> {
        let State::Draft = self.state else {
            return Err(self.refuse(Step::Publish));
        };
        Ok(self.with(State::Open { posted_at: now, withheld: false }))
    }

    /// Other terms for a DRAFT or OPEN job, by its client.
    pub fn revise(&self, terms: Terms) -> Result<Self, InvalidTransition> {
        let Terms { title, description, budget, deadline } = terms;
        let (State::Draft | State::Open { .. }) = self.state else {
            return Err(self.refuse(Step::Update));
        };
        Ok(Self { title, description, budget, deadline, ..self.clone() })
    }

    /// DRAFT or OPEN -> CANCELLED, by its client.
    pub fn cancel(&self, reason: Option<&str>) -> Result<Self, InvalidTransition> {
        let (State::Draft | State::Open { .. }) = self.state else {
            return Err(self.refuse(Step::Cancel));
        };
        Ok(self.with(self.cancelled(reason)))
    }

    /// OPEN -> CANCELLED, by an admin.
    pub fn cancel_as_admin(&self, reason: Option<&str>) -> Result<Self, InvalidTransition> {
        let State::Open { .. } = self.state else {
            return Err(self.refuse(Step::CancelAsAdmin));
        };
        Ok(self.with(self.cancelled(reason)))
    }

    /// OPEN -> CLAIMED, by the freelancer who holds it from now on.
    pub fn claim(&self, claimant: UserId) -> Result<Self, InvalidTransition> {
        let State::Open { posted_at, .. } = self.state else {
            return Err(self.refuse(Step::Claim));
        };
        Ok(self.with(State::Claimed { posted_at, claimant }))
    }

    /// CLAIMED -> OPEN, by its freelancer.
    pub fn release(&self) -> Result<Self, InvalidTransition> {
        let State::Claimed { posted_at, .. } = self.state else {
            return Err(self.refuse(Step::Release));
        };
        Ok(self.with(State::Open { posted_at, withheld: false }))
    }

    /// CLAIMED or IN_REVIEW -> IN_REVIEW, by its freelancer.
    pub fn submit(&self) -> Result<Self, InvalidTransition> {
        let (State::Claimed { posted_at, claimant } | State::InReview { posted_at, claimant }) = self.state else {
            return Err(self.refuse(Step::Submit));
        };
        Ok(self.with(State::InReview { posted_at, claimant }))
    }

    /// IN_REVIEW -> CLAIMED, by its client.
    pub fn request_revision(&self) -> Result<Self, InvalidTransition> {
        let State::InReview { posted_at, claimant } = self.state else {
            return Err(self.refuse(Step::RequestRevision));
        };
        Ok(self.with(State::Claimed { posted_at, claimant }))
    }

    /// IN_REVIEW -> COMPLETED, by its client, or because the time for the review is over.
    pub fn approve(&self) -> Result<Self, InvalidTransition> {
        let State::InReview { posted_at, claimant } = self.state else {
            return Err(self.refuse(Step::Approve));
        };
        Ok(self.with(State::Completed { posted_at, claimant }))
    }

    /// OPEN -> EXPIRED, because nobody has claimed it in time.
    pub fn expire(&self) -> Result<Self, InvalidTransition> {
        let State::Open { posted_at, .. } = self.state else {
            return Err(self.refuse(Step::Expire));
        };
        Ok(self.with(State::Expired { posted_at }))
    }

    /// CLAIMED -> OPEN, because nothing was submitted in time.
    pub fn lapse(&self) -> Result<Self, InvalidTransition> {
        let State::Claimed { posted_at, .. } = self.state else {
            return Err(self.refuse(Step::Lapse));
        };
        Ok(self.with(State::Open { posted_at, withheld: false }))
    }

    /// CLAIMED or IN_REVIEW -> OPEN, by an admin.
    pub fn reopen(&self) -> Result<Self, InvalidTransition> {
        self.intervene(|posted_at, _| State::Open { posted_at, withheld: false })
    }

    /// CLAIMED or IN_REVIEW -> CANCELLED, by an admin. Whose claim ended with it stays a party to it.
    pub fn refund(&self, reason: &str) -> Result<Self, InvalidTransition> {
        let reason = Some(reason.to_owned());
        self.intervene(|posted_at, claimant| State::Cancelled {
            posted_at: Some(posted_at),
            claimant: Some(claimant),
            reason,
        })
    }

    /// CLAIMED or IN_REVIEW -> COMPLETED, by an admin.
    pub fn pay(&self) -> Result<Self, InvalidTransition> {
        self.intervene(|posted_at, claimant| State::Completed { posted_at, claimant })
    }

    fn intervene(&self, next: impl FnOnce(Timestamp, UserId) -> State) -> Result<Self, InvalidTransition> {
        let (State::Claimed { posted_at, claimant } | State::InReview { posted_at, claimant }) = self.state else {
            return Err(self.refuse(Step::Intervene));
        };
        Ok(self.with(next(posted_at, claimant)))
    }

    /// Refuses a step that does not work from here, before anything else is looked at.
    pub fn allows(&self, step: Step) -> Result<(), InvalidTransition> {
        if step.works_from(self.status()) { Ok(()) } else { Err(self.refuse(step)) }
    }

    fn with(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }

    fn cancelled(&self, reason: Option<&str>) -> State {
        State::Cancelled { posted_at: self.posted_at(), claimant: None, reason: reason.map(ToOwned::to_owned) }
    }

    const fn refuse(&self, step: Step) -> InvalidTransition {
        InvalidTransition { from: self.status(), step }
    }
}

/// What a job is and whom it is shown to.
impl Job {
    /// Where it is in its life.
    pub const fn status(&self) -> JobStatus {
        match self.state {
            State::Draft => JobStatus::Draft,
            State::Open { .. } => JobStatus::Open,
            State::Claimed { .. } => JobStatus::Claimed,
            State::InReview { .. } => JobStatus::InReview,
            State::Disputed { .. } => JobStatus::Disputed,
            State::Completed { .. } => JobStatus::Completed,
            State::Cancelled { .. } => JobStatus::Cancelled,
            State::Expired { .. } => JobStatus::Expired,
        }
    }

    /// When it became OPEN for the first time.
    pub const fn posted_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Draft => None,
            State::Open { posted_at, .. }
            | State::Claimed { posted_at, .. }
            | State::InReview { posted_at, .. }
            | State::Disputed { posted_at, .. }
            | State::Completed { posted_at, .. }
            | State::Expired { posted_at } => Some(posted_at),
            State::Cancelled { posted_at, .. } => posted_at,
        }
    }

    /// The freelancer of the latest claim, unless that was released or expired.
    pub const fn claimant(&self) -> Option<UserId> {
        match self.state {
            State::Draft | State::Open { .. } | State::Expired { .. } => None,
            State::Claimed { claimant, .. }
            | State::InReview { claimant, .. }
            | State::Disputed { claimant, .. }
            | State::Completed { claimant, .. } => Some(claimant),
            State::Cancelled { claimant, .. } => claimant,
        }
    }

    /// Why it was called off.
    pub fn cancel_reason(&self) -> Option<&str> {
        if let State::Cancelled { reason, .. } = &self.state { reason.as_deref() } else { None }
    }

    /// Public from its first posting on, unless it is withheld.
    pub const fn is_public(&self) -> bool {
        self.posted_at().is_some() && !self.is_withheld()
    }

    /// Whether nobody may claim it or see it now, because its client is suspended. What is not OPEN any more is shown
    /// as before.
    pub const fn is_withheld(&self) -> bool {
        matches!(self.state, State::Open { withheld: true, .. })
    }

    /// What is not public is its author's and the admins'.
    pub fn is_visible_to(&self, actor: &Actor) -> bool {
        self.is_public() || self.is_own(actor) || actor.is_admin()
    }

    /// Whether the time for claiming it is over.
    pub fn is_past_deadline(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether the actor is its client.
    pub fn is_own(&self, actor: &Actor) -> bool {
        actor.is(self.client_id)
    }

    /// Whether the actor is its client or its claimant.
    pub fn is_party(&self, actor: &Actor) -> bool {
        self.is_own(actor) || self.claimant().is_some_and(|claimant| actor.is(claimant))
    }

    /// Whether the actor may see what is between its parties.
    pub fn shows_private_fields_to(&self, actor: &Actor) -> bool {
        self.is_party(actor) || actor.is_admin()
    }

    /// The same whatever has happened to the job since; none if it depends on the job as it is now.
    pub fn shows_private_fields_for_good_to(&self, actor: &Actor) -> Option<bool> {
        if self.shows_private_fields_to(actor) {
            (self.is_own(actor) || actor.is_admin()).then_some(true)
        } else {
            Some(false)
        }
    }

    /// What sits in escrow for it.
    pub const fn escrow(&self) -> Money {
        if self.status().holds_escrow() { self.budget } else { Money::ZERO }
    }

    /// Whether the actor might claim it at `now`. The limit of live claims is not looked at.
    pub fn can_be_claimed_by(&self, actor: &Actor, now: Timestamp) -> bool {
        actor.roles().freelancer
            && !self.is_own(actor)
            && Step::Claim.works_from(self.status())
            && !self.is_withheld()
            && !self.is_past_deadline(now)
    }

    /// Whether the actor might change it now.
    pub fn can_be_updated_by(&self, actor: &Actor) -> bool {
        actor.roles().client && self.is_own(actor) && Step::Update.works_from(self.status())
    }

    /// Whether this is the job as it was first posted, and not after any later change.
    pub fn is_just_posted(&self) -> bool {
        self.posted_at() == Some(self.updated_at)
    }

    /// Whether a job that was just posted had been a draft: one that is posted at once is in its first version.
    pub const fn was_drafted(&self) -> bool {
        self.version > 1
    }
}

/// What a filter looks at. Kept in the event for the job before the change, since a filter that matches either side of
/// a change lets one hear a job leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// Its status.
    pub status: JobStatus,
    /// Its skills.
    pub skills: Vec<SkillId>,
    /// What it pays.
    pub budget: Money,
    /// Who pays.
    pub client_id: UserId,
    /// When it was first posted.
    pub posted_at: Option<Timestamp>,
}

impl JobFacts {
    /// The facts of a job with these skills.
    pub fn of(job: &Job, skills: &[Skill]) -> Self {
        Self {
            status: job.status(),
            skills: skills.iter().map(|skill| skill.id).collect(),
            budget: job.budget,
            client_id: job.client_id,
            posted_at: job.posted_at(),
        }
    }
}

#[cfg(test)]
mod tests;
