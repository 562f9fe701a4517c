//! A job, its states and who may do what with it. Pure: no database, no async.

use serde::{Deserialize, Serialize};

use crate::{
    accounts::model::Skill,
    auth::actor::Actor,
    clock::Timestamp,
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
    /// Whether everybody may hear of it.
    pub const fn is_public(self) -> bool {
        match self {
            Self::Details | Self::Status => true,
            Self::Claim | Self::Deliverable | Self::Escrow => false,
        }
    }
}

/// A step in a job's life, as a mutation asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `publishJob`
    Publish,
    /// `updateJob`
    Update,
    /// `cancelJob`, by the client
    Cancel,
    /// `cancelJob`, by an admin
    CancelAsAdmin,
    /// `claimJob`
    Claim,
    /// `releaseClaim`
    Release,
    /// `submitDeliverable`
    Submit,
    /// `requestRevision`
    RequestRevision,
    /// `approveDeliverable`
    Approve,
    /// `interveneInJob`
    Intervene,
}

impl Step {
    /// The statuses from which the step works; from every other it is refused.
    pub const fn allowed(self) -> &'static [JobStatus] {
        match self {
            Self::Publish => &[JobStatus::Draft],
            Self::Update | Self::Cancel => &[JobStatus::Draft, JobStatus::Open],
            Self::CancelAsAdmin | Self::Claim => &[JobStatus::Open],
            Self::Release => &[JobStatus::Claimed],
            Self::Submit | Self::Intervene => &[JobStatus::Claimed, JobStatus::InReview],
            Self::RequestRevision | Self::Approve => &[JobStatus::InReview],
        }
    }

    /// Whether the step works from `status`.
    pub fn works_from(self, status: JobStatus) -> bool {
        self.allowed().contains(&status)
    }
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// Grows by one with each committed change.
    pub version: i64,
    /// Who pays.
    pub client_id: UserId,
    /// The freelancer of the latest claim, unless that was released or expired.
    pub claimant_id: Option<UserId>,
    /// What it is called.
    pub title: String,
    /// `CommonMark`.
    pub description: String,
    /// Where it is in its life.
    pub status: JobStatus,
    /// What it pays.
    pub budget: Money,
    /// Until when it can be claimed.
    pub deadline: Option<Timestamp>,
    /// Why it was called off.
    pub cancel_reason: Option<String>,
    /// When it became OPEN for the first time.
    pub posted_at: Option<Timestamp>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether it is kept from everybody while it is OPEN, because its client is suspended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
}

impl Job {
    /// Public from its first posting on, unless it is withheld.
    pub fn is_public(&self) -> bool {
        self.posted_at.is_some() && !self.is_withheld()
    }

    /// Whether nobody may claim it or see it now, because its client is suspended. What is not OPEN any more is what it
    /// is, whoever its client is.
    pub fn is_withheld(&self) -> bool {
        self.withheld && self.status == JobStatus::Open
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
        self.is_own(actor) || self.claimant_id.is_some_and(|claimant| actor.is(claimant))
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
        if self.status.holds_escrow() { self.budget } else { Money::ZERO }
    }

    /// Whether the actor might claim it at `now`. The limit of live claims is not looked at.
    pub fn can_be_claimed_by(&self, actor: &Actor, now: Timestamp) -> bool {
        actor.roles().freelancer
            && !self.is_own(actor)
            && Step::Claim.works_from(self.status)
            && !self.is_withheld()
            && !self.is_past_deadline(now)
    }

    /// Whether the actor might change it now.
    pub fn can_be_updated_by(&self, actor: &Actor) -> bool {
        actor.roles().client && self.is_own(actor) && Step::Update.works_from(self.status)
    }

    /// Whether this is the job as it was first posted, and not after any later change.
    pub fn is_just_posted(&self) -> bool {
        self.posted_at == Some(self.updated_at)
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
            status: job.status,
            skills: skills.iter().map(|skill| skill.id).collect(),
            budget: job.budget,
            client_id: job.client_id,
            posted_at: job.posted_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::actor::{Principal, Roles},
        clock::Clock,
        ids::Ids,
    };

    #[test]
    fn every_step_is_allowed_from_the_statuses_of_the_table_alone() {
        let steps = [Step::Publish, Step::Update, Step::Cancel, Step::Claim, Step::Release, Step::Submit];
        let terminal = [JobStatus::Completed, JobStatus::Cancelled, JobStatus::Expired];
        let more = [Step::CancelAsAdmin, Step::RequestRevision, Step::Approve, Step::Intervene];
        for step in steps.into_iter().chain(more) {
            assert!(terminal.iter().all(|status| !step.works_from(*status)), "{step:?}");
        }
        assert!(!Step::Cancel.works_from(JobStatus::Claimed), "a client cannot cancel alone what is claimed");
    }

    #[test]
    fn drafts_and_private_fields_are_shown_to_their_parties_alone() {
        let ids = Ids::seeded(Clock::system(), 5);
        let now = Clock::system().now();
        let user = |roles| {
            let (user, session) = (ids.next(), ids.next());
            (user, Actor::User(Principal { user, session, roles, expires_at: now, commits: None }))
        };
        let (client_id, client) = user(Roles { client: true, freelancer: true, admin: false });
        let (claimant_id, claimant) = user(Roles { freelancer: true, ..Roles::default() });
        let (_, stranger) = user(Roles { client: true, freelancer: true, admin: false });
        let (_, admin) = user(Roles { admin: true, ..Roles::default() });
        let mut job = Job {
            id: ids.next(),
            version: 1,
            client_id,
            claimant_id: None,
            title: "Logo".into(),
            description: "A logo".into(),
            status: JobStatus::Draft,
            budget: Money::from_minor(1),
            deadline: None,
            cancel_reason: None,
            posted_at: None,
            created_at: now,
            updated_at: now,
            withheld: false,
        };
        let sees =
            |job: &Job| [client, claimant, stranger, admin, Actor::Anonymous].map(|actor| job.is_visible_to(&actor));
        assert_eq!(sees(&job), [true, false, false, true, false]);
        job.status = JobStatus::Open;
        job.posted_at = Some(now);
        assert_eq!(sees(&job), [true; 5]);
        assert!(!job.can_be_claimed_by(&client, now), "nobody claims their own job, whatever their roles");
        assert!(job.can_be_claimed_by(&claimant, now) && !job.can_be_claimed_by(&admin, now));
        let late = Job { deadline: Some(now), ..job.clone() };
        assert!(!late.can_be_claimed_by(&claimant, now), "a deadline is the first moment that is too late");
        assert!(late.can_be_claimed_by(&claimant, now - chrono::TimeDelta::milliseconds(1)));
        let withheld = Job { withheld: true, ..job.clone() };
        assert_eq!(sees(&withheld), [true, false, false, true, false]);
        assert!(!withheld.can_be_claimed_by(&claimant, now));
        let ended = Job { status: JobStatus::Cancelled, ..withheld };
        assert_eq!(sees(&ended), [true; 5], "what is over is kept from nobody");
        job.claimant_id = Some(claimant_id);
        let private = [client, claimant, stranger, admin].map(|actor| job.shows_private_fields_to(&actor));
        assert_eq!(private, [true, true, false, true]);
    }
}
