//! Jobs in the API: `Job`, the feed and search, and what clients do. Their events stand in `subscription`.
//!
//! Longer than most files, being declarations throughout: the API's largest type with its inputs, payloads and errors,
//! in the one place where a domain speaks GraphQL.

use std::{collections::HashMap, sync::Arc};

use super::{
    JobError, Jobs, PostError, UpdateError,
    error::VersionConflict,
    events::JobSnapshot,
    filter::JobFilter,
    list::{self, JobFilterInput, JobQuery as JobListQuery, JobsOf},
    model::{self, Job},
    service::{JobPatch, NewJob},
};
use crate::{
    accounts::{
        graphql::{SkillObject, UserObject, user},
        model::{Skill, UserCard},
    },
    claims::graphql::{ClaimObject, DeliverableConnection, active_claim, deliverables_of, viewer_claim},
    connection,
    error::{InternalError, Invalid},
    graphql::{
        connections::{PageArguments, edges},
        context::{ContextExt, denied},
        errors::{ErrorCode, fault},
        patch::{clearable, not_null},
        scalars::{CurrencyCode, DateTime, Decimal, MoneyAmount, MoneyInput},
        user_errors::{IdempotencyError, InputError, UserErrorCode},
    },
    ids::{JobId, UserId},
    page::{Cursor, Page},
    schema::Loaders,
    user_errors,
    wallet::{
        Wallets,
        graphql::{InsufficientFundsError, WalletObject},
        model::wallet_of,
    },
};
use async_graphql::{
    ComplexObject, Context, Enum, Error, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject,
    dataloader::Loader, futures_util::future::BoxFuture,
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
    /// Nobody claimed it before its deadline; escrow went back. Final. Reserved: nothing expires by itself yet.
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

    /// Until when it may be claimed; null without one. Reserved: nothing expires by itself yet.
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

/// Which jobs a connection counts.
enum Counted {
    Public(Box<JobListQuery>),
    OfClient(UserId, Vec<model::JobStatus>),
}

connection! {
    /// A page of jobs.
    JobConnection,
    /// A job in a page of jobs.
    JobEdge,
    JobObject,
    complex Counted
}

impl JobConnection {
    fn new(page: Page<Job>, scope: Counted, cursor: impl Fn(&Job) -> Cursor) -> Self {
        let (edges, page_info) = edges(page, cursor);
        let edges: Vec<_> = edges.into_iter().map(|(cursor, node)| JobEdge { cursor, node: node.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info, scope }
    }

    pub(crate) fn of_client(page: Page<Job>, client: UserId, statuses: Vec<model::JobStatus>) -> Self {
        Self::new(page, Counted::OfClient(client, statuses), |job| Cursor::by_id(job.id.into()))
    }
}

#[ComplexObject]
impl JobConnection {
    /// Exact up to 10 000, then capped.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let jobs = ctx.get::<Jobs>();
        let count = match &self.scope {
            Counted::Public(query) => Box::pin(jobs.count(query)).await?,
            Counted::OfClient(client, statuses) => Box::pin(jobs.count_of_client(*client, statuses)).await?,
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

impl JobEdge {
    /// A draft as a row of its author's own list, which is sorted by id.
    fn written(job: &JobObject) -> Self {
        Self { cursor: Cursor::by_id(job.job.id.into()).encode(), node: job.clone() }
    }

    fn newest(job: &Job) -> Self {
        Self { cursor: list::JobOrder::NEWEST.cursor(job).encode(), node: job.clone().into() }
    }
}

/// All given conditions must hold.
#[derive(Clone, Default, InputObject)]
#[graphql(name = "JobFilter")]
pub(crate) struct JobFilterArgument {
    /// In one of these statuses; left out, null or empty: any, and in the feed OPEN.
    status: Option<Vec<JobStatus>>,
    /// Slugs; a job matches when it has at least one.
    any_skill: Option<Vec<String>>,
    /// Slugs; a job matches when it has all.
    all_skills: Option<Vec<String>>,
    /// Paying within these bounds.
    budget: Option<MoneyRange>,
    /// Posted by this user.
    client_id: Option<ID>,
    /// Posted for the first time later than this moment.
    posted_after: Option<DateTime>,
}

/// Inclusive bounds in one currency.
#[derive(Clone, InputObject)]
pub(crate) struct MoneyRange {
    /// The marketplace's currency, which is `USD` unless it was set otherwise; another one is refused.
    currency_code: CurrencyCode,
    /// At least this much; null: no lower bound.
    min: Option<Decimal>,
    /// At most this much, not below `min`; null: no upper bound.
    max: Option<Decimal>,
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
    /// How well it answers `query`, which must be given. The first 1,000 hits can be paged through.
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
    field: JobOrderField,
    /// Which way; for RELEVANCE, DESC is best first.
    direction: OrderDirection,
}

/// Batches look-ups of jobs.
pub(crate) struct JobLoader(pub(crate) Jobs);

/// Asks for a job's skills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SkillsOf(JobId);

impl Loader<JobId> for JobLoader {
    type Value = Job;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[JobId]) -> Result<HashMap<JobId, Job>, Arc<InternalError>> {
        self.0.by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<SkillsOf> for JobLoader {
    type Value = Vec<Skill>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[SkillsOf]) -> Result<HashMap<SkillsOf, Vec<Skill>>, Arc<InternalError>> {
        let jobs: Vec<JobId> = keys.iter().map(|key| key.0).collect();
        let skills = self.0.skills_of(&jobs).await.map_err(Arc::new)?;
        Ok(skills.into_iter().map(|(job, skills)| (SkillsOf(job), skills)).collect())
    }
}

impl Loader<JobsOf> for JobLoader {
    type Value = Page<Job>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[JobsOf]) -> Result<HashMap<JobsOf, Page<Job>>, Arc<InternalError>> {
        let pages = self.0.pages_of_clients(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().cloned().zip(pages).collect())
    }
}

/// A job that something refers to, if the viewer may see it.
pub(crate) async fn visible_job(ctx: &Context<'_>, id: JobId) -> Result<Option<JobObject>> {
    let job = Box::pin(ctx.get::<Loaders>().jobs().load_one(id)).await?;
    let visible = |job: &Job| job.is_public() || job.is_visible_to(&ctx.actor());
    Ok(job.filter(visible).map(Into::into))
}

/// The move is not in the state machine. `allowed`: the statuses from which this mutation works.
#[derive(Clone, SimpleObject)]
pub(crate) struct InvalidTransitionError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The job as it is now.
    pub(crate) job: JobObject,
    /// The claim as it is now, for steps on a claim; else null.
    pub(crate) claim: Option<ClaimObject>,
    /// The statuses of a job from which this mutation works.
    pub(crate) allowed: Vec<JobStatus>,
}

/// `expectedVersion` is stale. Carries the current job.
#[derive(Clone, SimpleObject)]
pub(crate) struct VersionConflictError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The job as it is now.
    job: JobObject,
}

user_errors! {
    /// Why a step in a job's life did nothing.
    pub(crate) enum JobStepError { InputError, InvalidTransitionError, IdempotencyError }
}

impl JobStepError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    pub(crate) fn of(error: JobError) -> Result<Self> {
        let message = error.to_string();
        Ok(match error {
            JobError::Denied(refused) => return Err(denied(refused)),
            JobError::Invalid(invalid) => InputError::from(invalid).into(),
            JobError::InvalidTransition { job, allowed } => InvalidTransitionError {
                message,
                code: UserErrorCode::InvalidTransition,
                path: None,
                job: (*job).into(),
                claim: None,
                allowed: allowed.iter().copied().map(Into::into).collect(),
            }
            .into(),
            JobError::Key(conflict) => IdempotencyError::from(conflict).into(),
            JobError::InternalError(failed) => return Err(fault(failed)),
        })
    }
}

user_errors! {
    /// Why `postJob`, `draftJob` or `publishJob` did nothing.
    pub(crate) enum PostJobError { InputError, InsufficientFundsError, InvalidTransitionError, IdempotencyError }
    with all of JobStepError { InputError, InvalidTransitionError, IdempotencyError }
}

impl PostJobError {
    fn of(error: PostError) -> Result<Self> {
        match error {
            PostError::Job(error) => JobStepError::of(error).map(Into::into),
            PostError::InsufficientFunds(missing) => Ok(InsufficientFundsError::from(missing).into()),
        }
    }
}

user_errors! {
    /// Why `updateJob` did nothing.
    pub(crate) enum UpdateJobError {
        InputError, InsufficientFundsError, InvalidTransitionError, VersionConflictError, IdempotencyError
    }
    with all of PostJobError { InputError, InsufficientFundsError, InvalidTransitionError, IdempotencyError }
}

impl UpdateJobError {
    fn of(error: UpdateError) -> Result<Self> {
        match error {
            UpdateError::Post(error) => PostJobError::of(error).map(Into::into),
            UpdateError::VersionConflict(conflict) => Ok(VersionConflictError::from(conflict).into()),
        }
    }
}

impl From<VersionConflict> for VersionConflictError {
    fn from(conflict: VersionConflict) -> Self {
        Self {
            message: conflict.to_string(),
            code: UserErrorCode::VersionConflict,
            path: Some(vec!["input".into(), "expectedVersion".into()]),
            job: (*conflict.0).into(),
        }
    }
}

/// Post a job: OPEN at once; its budget moves to escrow.
#[derive(InputObject)]
pub(crate) struct PostJobInput {
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
    /// One line of 3 to 140 characters.
    title: String,
    /// What is wanted, as CommonMark: 1 to 20,000 characters.
    description: String,
    /// What the job pays. It moves from `available` into escrow with this mutation.
    budget: MoneyInput,
    /// Slugs from the query `skills`, at most 20; an empty list asks for none.
    skills: Vec<String>,
    /// Until when the job may be claimed: a moment in the future. Null: no deadline.
    deadline: Option<DateTime>,
}

/// Write a job down without posting it.
#[derive(InputObject)]
pub(crate) struct DraftJobInput {
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
    /// One line of 3 to 140 characters.
    title: String,
    /// What is wanted, as CommonMark: 1 to 20,000 characters.
    description: String,
    /// What the job will pay. No money moves before the draft is published.
    budget: MoneyInput,
    /// Slugs from the query `skills`, at most 20; an empty list asks for none.
    skills: Vec<String>,
    /// Until when the job may be claimed: a moment in the future. Null: no deadline.
    deadline: Option<DateTime>,
}

/// Fields left out stay as they are.
#[derive(InputObject)]
#[graphql(name = "JobPatch")]
pub(crate) struct JobPatchInput {
    /// One line of 3 to 140 characters; null is refused.
    title: MaybeUndefined<String>,
    /// CommonMark of 1 to 20,000 characters; null is refused.
    description: MaybeUndefined<String>,
    /// What the job pays from now on; null is refused. For an OPEN job the difference moves into or out of escrow.
    budget: MaybeUndefined<MoneyInput>,
    /// Slugs from the query `skills`, at most 20; they take the place of the old ones. Null is refused.
    skills: MaybeUndefined<Vec<String>>,
    /// A moment in the future; null removes the deadline.
    deadline: MaybeUndefined<DateTime>,
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
    id: ID,
    /// The `Job.version` that the caller decided on. If the job has changed since, nothing is done and
    /// `VersionConflictError` tells. Null: any version.
    expected_version: Option<i32>,
    /// What to change; a patch that changes nothing does nothing and emits nothing.
    patch: JobPatchInput,
    /// As for `postJob`. Left out or null: the request has its effect each time that it comes.
    idempotency_key: Option<String>,
}

/// Move a draft to OPEN.
#[derive(InputObject)]
pub(crate) struct PublishJobInput {
    /// A DRAFT job of the caller's own.
    id: ID,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
}

/// Cancel a DRAFT or OPEN job; escrow returns to the client.
#[derive(InputObject)]
pub(crate) struct CancelJobInput {
    /// A DRAFT or OPEN job of the caller's own; admins may name any OPEN job.
    id: ID,
    /// Shown to everybody as `Job.cancelReason`: 1 to 500 characters. Left out or null: none is given.
    reason: Option<String>,
    /// As for `postJob`. Left out or null: the request has its effect each time that it comes.
    idempotency_key: Option<String>,
}

/// Declares a payload with a job and the wallet of its client, which is read only if it is asked for.
macro_rules! job_payload {
    ($(#[$doc:meta])* $payload:ident, $error:ty, $domain:ty) => {
        $(#[$doc])*
        #[derive(SimpleObject)]
        #[graphql(complex)]
        pub(crate) struct $payload {
            /// The job after this step; null if nothing was done.
            job: Option<JobObject>,
            /// Why nothing was done; empty after a success.
            errors: Vec<$error>,
        }

        impl $payload {
            fn of(done: Result<Job, $domain>) -> Result<Option<Self>> {
                Ok(Some(match done {
                    Ok(job) => Self { job: Some(job.into()), errors: Vec::new() },
                    Err(error) => Self { job: None, errors: vec![<$error>::of(error)?] },
                }))
            }
        }

        #[ComplexObject]
        impl $payload {
            /// The wallet of the job's client as it is now, for that client and admins; null if nothing was done.
            async fn wallet(&self, ctx: &Context<'_>) -> Result<Option<WalletObject>> {
                let Some(job) = &self.job else { return Ok(None) };
                let wallet = ctx.get::<Wallets>().find(ctx.actor(), wallet_of(job.job.client_id));
                Ok(Box::pin(wallet).await?.map(Into::into))
            }
        }
    };
}

job_payload! {
    /// Result of `publishJob`.
    PublishJobPayload, PostJobError, PostError
}

job_payload! {
    /// Result of `updateJob`.
    UpdateJobPayload, UpdateJobError, UpdateError
}

job_payload! {
    /// Result of `cancelJob`.
    CancelJobPayload, JobStepError, JobError
}

/// Result of `postJob`.
#[derive(SimpleObject)]
pub(crate) struct PostJobPayload {
    /// The new job; null if nothing was done.
    job: Option<JobObject>,
    /// The new job as a row of the feed, newest first, to put at the head of a cached list; null if nothing was done.
    job_edge: Option<JobEdge>,
    /// The caller's wallet after the budget moved into escrow; null if nothing was done.
    wallet: Option<WalletObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<PostJobError>,
}

/// Result of `draftJob`.
#[derive(SimpleObject)]
pub(crate) struct DraftJobPayload {
    /// The new draft; null if nothing was done.
    job: Option<JobObject>,
    /// The new draft as a row of `User.postedJobs`, to put at the head of a cached list; null if nothing was done.
    job_edge: Option<JobEdge>,
    /// Why nothing was done; empty after a success.
    errors: Vec<PostJobError>,
}

/// Reads of jobs.
#[derive(Default)]
pub(crate) struct JobQuery;

#[Object]
impl JobQuery {
    /// One job. Public unless it is a draft.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As `Job.id` gives it; an id of something else finds nothing.")] id: ID,
    ) -> Result<Option<JobObject>> {
        match id.parse() {
            Ok(id) => visible_job(ctx, id).await,
            Err(_) => Ok(None),
        }
    }

    /// The discovery feed and search. Public; OPEN jobs, newest first, unless told otherwise. `first` or `last` is required, 1 to 100.
    #[expect(clippy::too_many_arguments, reason = "the arguments are the API's")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Words that must all stand in the title or description, at most 200 characters. Null or empty: any."
        )]
        query: Option<String>,
        #[graphql(desc = "Which jobs; null: all that are OPEN.")] filter: Option<JobFilterArgument>,
        #[graphql(desc = "How to sort them; null: newest first.")] order_by: Option<JobOrderArgument>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; `first` or `last` is required.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<JobConnection>> {
        let words = JobListQuery::words(query.as_deref()).map_err(|invalid| top_level(invalid.into()))?;
        let order = order_by.map_or(list::JobOrder::NEWEST, |order| list::JobOrder {
            field: order.field.into(),
            ascending: order.direction == OrderDirection::Asc,
        });
        if order.field == list::JobOrderField::Relevance && words.is_empty() {
            let message = "orderBy RELEVANCE needs a query to be relevant to: give query, or choose another order.";
            return Err(ErrorCode::BadUserInput.error(message));
        }
        let request = PageArguments { first, after, last, before }.request(order.tag(), None)?;
        let jobs = ctx.get::<Jobs>();
        let mut filter = match filter {
            Some(filter) => jobs.parse_filter(filter.into()).await.map_err(top_level)?,
            None => JobFilter::default(),
        };
        if filter.statuses.is_empty() {
            filter.statuses.push(model::JobStatus::Open);
        }
        let query = Box::new(JobListQuery { words, filter, order });
        let page = jobs.page(&query, request).await?;
        Ok(Some(JobConnection::new(page, Counted::Public(query), |job| order.cursor(job))))
    }
}

/// An error of a read or of a subscription's arguments, which has no payload to tell it in.
pub(super) fn top_level(error: JobError) -> Error {
    match error {
        JobError::Invalid(invalid) => {
            let path = invalid.path.iter().skip(1).map(AsRef::as_ref).collect::<Vec<_>>().join(".");
            ErrorCode::BadUserInput.error(format!("{} (argument {path})", invalid.message))
        }
        JobError::Denied(refused) => denied(refused),
        JobError::InvalidTransition { .. } | JobError::Key(_) => ErrorCode::BadUserInput.error("Unusable arguments."),
        JobError::InternalError(failed) => fault(failed),
    }
}

/// Writes of jobs.
#[derive(Default)]
pub(crate) struct JobMutation;

#[Object]
impl JobMutation {
    /// Client. Emits `jobPosted` and `walletUpdated`. The job is OPEN at once, and its budget in escrow.
    async fn post_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, and what it pays.")] input: PostJobInput,
    ) -> Result<Option<PostJobPayload>> {
        let PostJobInput { idempotency_key, title, description, budget, skills, deadline } = input;
        let deadline = deadline.map(|deadline| deadline.0);
        let job = NewJob { title, description, budget: budget.into(), skills, deadline };
        Ok(Some(match ctx.get::<Jobs>().post(ctx.actor(), job, &idempotency_key).await {
            Ok(job) => {
                let wallet = ctx.get::<Wallets>().find(ctx.actor(), wallet_of(job.client_id)).await?;
                PostJobPayload {
                    job_edge: Some(JobEdge::newest(&job)),
                    job: Some(job.into()),
                    wallet: wallet.map(Into::into),
                    errors: Vec::new(),
                }
            }
            Err(error) => {
                PostJobPayload { job: None, job_edge: None, wallet: None, errors: vec![PostJobError::of(error)?] }
            }
        }))
    }

    /// Client. Emits nothing: only its author sees a draft. The author alone is told, by `jobUpdated(mine: true)`.
    async fn draft_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job to write down.")] input: DraftJobInput,
    ) -> Result<Option<DraftJobPayload>> {
        let DraftJobInput { idempotency_key, title, description, budget, skills, deadline } = input;
        let deadline = deadline.map(|deadline| deadline.0);
        let job = NewJob { title, description, budget: budget.into(), skills, deadline };
        Ok(Some(match ctx.get::<Jobs>().draft(ctx.actor(), job, &idempotency_key).await {
            Ok(job) => {
                let job = JobObject::from(job);
                DraftJobPayload { job_edge: Some(JobEdge::written(&job)), job: Some(job), errors: Vec::new() }
            }
            Err(error) => DraftJobPayload { job: None, job_edge: None, errors: vec![PostJobError::of(error)?] },
        }))
    }

    /// Client, own job. Emits `jobPosted` and `walletUpdated`. A draft becomes OPEN.
    async fn publish_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which draft to post.")] input: PublishJobInput,
    ) -> Result<Option<PublishJobPayload>> {
        PublishJobPayload::of(ctx.get::<Jobs>().publish(ctx.actor(), &input.id, &input.idempotency_key).await)
    }

    /// Client, own job. A new budget moves only the difference. Emits `jobUpdated`, and `walletUpdated` if money moved; for a draft nothing.
    /// The author alone is told of a draft, by `jobUpdated(mine: true)`.
    async fn update_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and what to change about it.")] input: UpdateJobInput,
    ) -> Result<Option<UpdateJobPayload>> {
        let UpdateJobInput { id, expected_version, patch, idempotency_key } = input;
        let (version, key) = (expected_version.map(Into::into), idempotency_key.as_deref());
        let done = match JobPatch::try_from(patch) {
            Ok(patch) => ctx.get::<Jobs>().update(ctx.actor(), &id, version, patch, key).await,
            Err(invalid) => match ctx.actor().client() {
                Ok(_) => Err(invalid.into()),
                Err(refused) => Err(refused.into()),
            },
        };
        UpdateJobPayload::of(done)
    }

    /// Client, own job; admins. Emits `jobUpdated` and `walletUpdated`, for a draft nothing. The author alone is told of a
    /// draft, by `jobUpdated(mine: true)`.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job to call off, and why.")] input: CancelJobInput,
    ) -> Result<Option<CancelJobPayload>> {
        let CancelJobInput { id, reason, idempotency_key } = input;
        let jobs = ctx.get::<Jobs>();
        CancelJobPayload::of(jobs.cancel(ctx.actor(), &id, reason.as_deref(), idempotency_key.as_deref()).await)
    }
}
