//! What queries and mutations of jobs take, and its way into the types of the domain.

use async_graphql::{Enum, ID, InputObject, MaybeUndefined, Result};

use super::objects::JobStatus;
use crate::{
    error::Invalid,
    graphql::{
        patch::{clearable, not_null},
        scalars::{CurrencyCode, DateTime, Decimal, MoneyInput},
    },
    jobs::{
        list::{self, JobFilterInput},
        service::JobPatch,
    },
};

/// All given conditions must hold.
#[derive(Clone, Default, InputObject)]
#[graphql(name = "JobFilter")]
pub(crate) struct JobFilterArgument {
    /// In one of these statuses; left out, null or empty: any, and in the feed OPEN.
    pub(super) status: Option<Vec<JobStatus>>,
    /// Slugs; a job matches when it has at least one.
    pub(super) any_skill: Option<Vec<String>>,
    /// Slugs; a job matches when it has all.
    pub(super) all_skills: Option<Vec<String>>,
    /// Paying within these bounds.
    pub(super) budget: Option<MoneyRange>,
    /// Posted by this user.
    pub(super) client_id: Option<ID>,
    /// Posted for the first time later than this moment.
    pub(super) posted_after: Option<DateTime>,
    /// Whose title or description has these words, read as those of `jobs(query:)` are: all words, `"phrases"`, `-without`,
    /// and the beginning of the last one. In a subscription it is a saved search. Null or empty: any.
    pub(super) query: Option<String>,
}

/// Inclusive bounds in one currency.
#[derive(Clone, InputObject)]
pub(crate) struct MoneyRange {
    /// The marketplace's currency, which is `USD` unless it was set otherwise; another one is refused.
    pub(super) currency_code: CurrencyCode,
    /// At least this much; null: no lower bound.
    pub(super) min: Option<Decimal>,
    /// At most this much, not below `min`; null: no upper bound.
    pub(super) max: Option<Decimal>,
}

impl From<JobFilterArgument> for JobFilterInput {
    fn from(filter: JobFilterArgument) -> Self {
        let bound = |bound: Option<Decimal>| bound.map(|bound| bound.0);
        Self {
            statuses: filter.status.into_iter().flatten().map(Into::into).collect(),
            any_skill: filter.any_skill.unwrap_or_default(),
            all_skills: filter.all_skills.unwrap_or_default(),
            budget: filter.budget.map(|range| (range.currency_code.0, bound(range.min), bound(range.max))),
            client_id: filter.client_id.map(|id| id.0),
            posted_after: filter.posted_after.map(|after| after.0),
            query: filter.query,
        }
    }
}

/// How jobs may be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "list::JobOrderField")]
pub(crate) enum JobOrderField {
    /// When the job was first posted.
    PostedAt,
    /// What it pays.
    Budget,
    /// Until when it may be claimed; jobs without a deadline count as the latest.
    Deadline,
    /// How well it answers `query`, which must be given. Hits in the title count for more.
    Relevance,
}

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum OrderDirection {
    /// Smallest, oldest or least relevant first.
    Asc,
    /// Largest, newest or most relevant first.
    Desc,
}

/// Sort order. The job id breaks ties, so paging is stable.
#[derive(Clone, Copy, InputObject)]
#[graphql(name = "JobOrder")]
pub(crate) struct JobOrderArgument {
    /// What to sort by.
    pub(super) field: JobOrderField,
    /// Which way; for RELEVANCE, DESC is best first.
    pub(super) direction: OrderDirection,
}

/// Post a job: OPEN at once; its budget moves to escrow.
#[derive(InputObject)]
pub(crate) struct PostJobInput {
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
    /// One line of 3 to 140 characters.
    pub(super) title: String,
    /// What is wanted, as CommonMark: 1 to 20,000 characters.
    pub(super) description: String,
    /// What the job pays. It moves from `available` into escrow with this mutation.
    pub(super) budget: MoneyInput,
    /// Slugs from the query `skills`, at most 20; an empty list asks for none.
    pub(super) skills: Vec<String>,
    /// Until when the job may be claimed: a moment in the future. Null: no deadline.
    pub(super) deadline: Option<DateTime>,
}

/// Write a job down without posting it.
#[derive(InputObject)]
pub(crate) struct DraftJobInput {
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
    /// One line of 3 to 140 characters.
    pub(super) title: String,
    /// What is wanted, as CommonMark: 1 to 20,000 characters.
    pub(super) description: String,
    /// What the job will pay. No money moves before the draft is published.
    pub(super) budget: MoneyInput,
    /// Slugs from the query `skills`, at most 20; an empty list asks for none.
    pub(super) skills: Vec<String>,
    /// Until when the job may be claimed: a moment in the future. Null: no deadline.
    pub(super) deadline: Option<DateTime>,
}

/// Fields left out stay as they are.
#[derive(InputObject)]
#[graphql(name = "JobPatch")]
pub(crate) struct JobPatchInput {
    /// One line of 3 to 140 characters; null is refused.
    pub(super) title: MaybeUndefined<String>,
    /// CommonMark of 1 to 20,000 characters; null is refused.
    pub(super) description: MaybeUndefined<String>,
    /// What the job pays from now on; null is refused. For an OPEN job the difference moves into or out of escrow.
    pub(super) budget: MaybeUndefined<MoneyInput>,
    /// Slugs from the query `skills`, at most 20; they take the place of the old ones. Null is refused.
    pub(super) skills: MaybeUndefined<Vec<String>>,
    /// A moment in the future; null removes the deadline.
    pub(super) deadline: MaybeUndefined<DateTime>,
}

impl TryFrom<JobPatchInput> for JobPatch {
    type Error = Invalid;

    fn try_from(patch: JobPatchInput) -> Result<Self, Invalid> {
        Ok(Self {
            title: not_null("patch.title", patch.title)?,
            description: not_null("patch.description", patch.description)?,
            budget: not_null("patch.budget", patch.budget)?.map(Into::into),
            skills: not_null("patch.skills", patch.skills)?,
            deadline: clearable(patch.deadline).map(|deadline| deadline.map(|deadline| deadline.0)),
        })
    }
}

/// Change an OPEN or DRAFT job.
#[derive(InputObject)]
pub(crate) struct UpdateJobInput {
    /// A DRAFT or OPEN job of the caller's own.
    pub(super) id: ID,
    /// The `Job.version` that the caller decided on. If the job has changed since, nothing is done and
    /// `VersionConflictError` tells. Null: any version.
    pub(super) expected_version: Option<i32>,
    /// What to change; a patch that changes nothing does nothing and emits nothing.
    pub(super) patch: JobPatchInput,
    /// As for `postJob`. Left out or null: the request has its effect each time that it comes.
    pub(super) idempotency_key: Option<String>,
}

/// Move a draft to OPEN.
#[derive(InputObject)]
pub(crate) struct PublishJobInput {
    /// A DRAFT job of the caller's own.
    pub(super) id: ID,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    pub(super) idempotency_key: String,
}

/// Cancel a DRAFT or OPEN job; escrow returns to the client.
#[derive(InputObject)]
pub(crate) struct CancelJobInput {
    /// A DRAFT or OPEN job of the caller's own; admins may name any OPEN job.
    pub(super) id: ID,
    /// Shown to everybody as `Job.cancelReason`: 1 to 500 characters. Left out or null: none is given.
    pub(super) reason: Option<String>,
    /// As for `postJob`. Left out or null: the request has its effect each time that it comes.
    pub(super) idempotency_key: Option<String>,
}
