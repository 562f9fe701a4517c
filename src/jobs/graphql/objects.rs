//! The type `Job` with its statuses, and which of its fields are for whom.
//!
//! Who makes a [`JobObject`] has checked that the viewer may see the job; the object itself keeps the private fields from
//! those whom they do not concern.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, futures_util::future::BoxFuture};

use crate::{
    accounts::{
        graphql::{SkillObject, UserObject, user},
        model::{Skill, UserCard},
    },
    claims::graphql::{ClaimObject, DeliverableConnection, active_claim, deliverables_of, viewer_claim},
    graphql::{
        connections::PageArguments,
        context::ContextExt,
        scalars::{DateTime, MoneyAmount},
    },
    ids::JobId,
    jobs::{
        Jobs,
        events::JobSnapshot,
        model::{self, Job},
    },
    schema::Loaders,
};

/// Job lifecycle: DRAFT > OPEN > CLAIMED > IN_REVIEW > COMPLETED, with CANCELLED, EXPIRED and DISPUTED as exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::JobStatus")]
pub(crate) enum JobStatus {
    /// Written down, not posted: its author and admins alone see it.
    Draft,
    /// Can be claimed; the budget sits in escrow.
    Open,
    /// A freelancer works on it, for the first time or after a revision was requested.
    Claimed,
    /// Work was submitted and waits for the client.
    InReview,
    /// The work was approved and the freelancer was paid. Final.
    Completed,
    /// Called off before it was claimed; escrow went back to the client. Final.
    Cancelled,
    /// Nobody claimed it before its deadline; escrow went back. Final.
    Expired,
    /// An admin decides; escrow is frozen meanwhile. Reserved: there are no disputes yet.
    Disputed,
}

/// What about the job changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::JobChange")]
pub(crate) enum JobChange {
    /// Title, description, budget, skills or deadline. Everybody is told.
    Details,
    /// The status. Everybody is told.
    Status,
    /// It was claimed, or its claim took a step. Told to the job's client, its freelancer and admins.
    Claim,
    /// Work was submitted or reviewed. Told to the job's client, its freelancer and admins.
    Deliverable,
    /// Money moved into or out of escrow. Told to the job's client, its freelancer and admins.
    Escrow,
}

/// A job in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct JobObject {
    pub(crate) job: Arc<Job>,
    /// Known already where the job comes out of an event; such a job is as it was then.
    snapshot: Option<Arc<(Vec<Skill>, Arc<UserCard>)>>,
}

impl From<Job> for JobObject {
    fn from(job: Job) -> Self {
        Self { job: Arc::new(job), snapshot: None }
    }
}

impl From<&JobSnapshot> for JobObject {
    fn from(snapshot: &JobSnapshot) -> Self {
        let around = (snapshot.skills.clone(), Arc::new(snapshot.client.clone()));
        Self { job: Arc::new(snapshot.job.clone()), snapshot: Some(Arc::new(around)) }
    }
}

impl JobObject {
    /// Whether the viewer may see what is between the job's parties.
    fn shows_private_fields<'a>(&'a self, ctx: &'a Context<'_>) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let actor = ctx.actor();
            if self.snapshot.is_none() {
                return Ok(self.job.shows_private_fields_to(&actor));
            }
            if let Some(shows) = self.job.shows_private_fields_for_good_to(&actor) {
                return Ok(shows);
            }
            let now = ctx.get::<Loaders>().jobs().load_one(self.job.id).await?;
            Ok(now.is_some_and(|now| now.shows_private_fields_to(&actor)))
        })
    }

    async fn page_of_deliverables(
        &self,
        ctx: &Context<'_>,
        page: PageArguments,
    ) -> Result<Option<Box<DeliverableConnection>>> {
        if !self.shows_private_fields(ctx).await? {
            return Ok(None);
        }
        Ok(Some(Box::new(deliverables_of(ctx, &self.job, page.nested()?).await?)))
    }
}

/// Asks for a job's skills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SkillsOf(pub(super) JobId);

// Whatever waits for the database stands in a box, here and in the other types of the API: a field's future is as large
// as that of the largest field of its type, and one is made for each field of each row.
//
/// A piece of work a client pays for. While OPEN, CLAIMED, IN_REVIEW or DISPUTED its budget sits in escrow.
#[Object(name = "Job")]
impl JobObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.job.id.to_string().into()
    }

    /// Grows by one with each committed change. Drop an event whose version is not newer than the cached one.
    async fn version(&self) -> i64 {
        self.job.version
    }

    /// One line of 3 to 140 characters. Plain text: render it as untrusted.
    async fn title(&self) -> &str {
        &self.job.title
    }

    /// CommonMark source. Render it as untrusted text.
    async fn description(&self) -> &str {
        &self.job.description
    }

    /// Where the job is in its life.
    async fn status(&self) -> JobStatus {
        self.job.status().into()
    }

    /// What the freelancer's work is paid with, the platform's fee included.
    async fn budget(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.job.budget)
    }

    /// What it asks for, in the order its client gave.
    async fn skills(&self, ctx: &Context<'_>) -> Result<Vec<SkillObject>> {
        let skills = if let Some(snapshot) = &self.snapshot {
            snapshot.0.clone()
        } else {
            let skills = Box::pin(ctx.get::<Loaders>().jobs().load_one(SkillsOf(self.job.id)));
            skills.await?.unwrap_or_default()
        };
        Ok(skills.into_iter().map(SkillObject).collect())
    }

    /// Who posted it and pays.
    async fn client(&self, ctx: &Context<'_>) -> Result<UserObject> {
        match &self.snapshot {
            Some(snapshot) => Ok(UserObject(Arc::clone(&snapshot.1))),
            None => user(ctx, self.job.client_id).await,
        }
    }

    /// Until when it may be claimed; null without one. An OPEN job then becomes EXPIRED.
    async fn deadline(&self) -> Option<DateTime> {
        self.job.deadline.map(Into::into)
    }

    /// When it became OPEN for the first time; null while it never was. A job is public from then on.
    async fn posted_at(&self) -> Option<DateTime> {
        self.job.posted_at().map(Into::into)
    }

    /// When it was written down.
    async fn created_at(&self) -> DateTime {
        self.job.created_at.into()
    }

    /// When it last changed.
    async fn updated_at(&self) -> DateTime {
        self.job.updated_at.into()
    }

    /// *Private*: the job's client, the claimant and admins; null for others.
    async fn active_claim(&self, ctx: &Context<'_>) -> Result<Option<ClaimObject>> {
        if self.shows_private_fields(ctx).await? { active_claim(ctx, &self.job).await } else { Ok(None) }
    }

    /// *Private*: the job's client, the claimant and admins; null for others.
    async fn escrow(&self, ctx: &Context<'_>) -> Result<Option<MoneyAmount>> {
        Ok(self.shows_private_fields(ctx).await?.then(|| ctx.money(self.job.escrow())))
    }

    /// *Private*: the job's client, the claimant and admins; null for others.
    async fn deliverables(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<Box<DeliverableConnection>>> {
        Box::pin(self.page_of_deliverables(ctx, PageArguments { first, after, last, before })).await
    }

    /// False for anonymous viewers, for the job's own client and whenever the job is not OPEN. Also while it is withheld, and
    /// once its deadline is over.
    async fn viewer_can_claim(&self, ctx: &Context<'_>) -> bool {
        self.job.can_be_claimed_by(&ctx.actor(), ctx.get::<Jobs>().now())
    }

    /// True for the job's own client while it is DRAFT or OPEN.
    async fn viewer_can_update(&self, ctx: &Context<'_>) -> bool {
        self.job.can_be_updated_by(&ctx.actor())
    }

    /// True while the job is OPEN and its client suspended: then no list has it, nobody can claim it, and only its client
    /// and admins see it. All who watch it are told by `jobUpdated`, when it begins and when it is over.
    async fn withheld(&self) -> bool {
        self.job.is_withheld()
    }

    /// Why it was cancelled, if it was.
    async fn cancel_reason(&self) -> Option<&str> {
        self.job.cancel_reason()
    }

    /// The viewer's own latest claim on this job.
    async fn viewer_claim(&self, ctx: &Context<'_>) -> Result<Option<ClaimObject>> {
        viewer_claim(ctx, &self.job).await
    }
}
