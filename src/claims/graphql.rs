//! Claims in the API: `Claim`, `Deliverable`, and the way from the claim to the payment.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, Result, SimpleObject, dataloader::Loader};

use super::{
    ClaimError, Claims, StepError, intervention,
    list::{ClaimScope, ClaimsIn, WorkFor},
    model::{self, Claim, Deliverable},
    service::Stepped,
};
use crate::{
    accounts::graphql::{UserObject, user},
    connection,
    error::InternalError,
    graphql::{
        connections::{PageArguments, PageInfo, edges},
        context::{ContextExt, denied, signed_in},
        errors::{ErrorCode, fault},
        scalars::DateTime,
        user_errors::{IdempotencyError, InputError, UserErrorCode},
    },
    ids::{ClaimId, DeliverableId, JobId, UserId},
    jobs::{
        graphql::{InvalidTransitionError, JobObject, JobStepError, VersionConflictError},
        model::Job,
    },
    page::{Cursor, Page, PageRequest},
    schema::Loaders,
    user_errors,
    wallet::{
        Wallets,
        graphql::{TransactionObject, WalletObject},
        model::wallet_of,
    },
};

/// Claim lifecycle. A job has at most one claim that is ACTIVE, IN_REVIEW, REVISION_REQUESTED or DISPUTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::ClaimStatus")]
pub(crate) enum ClaimStatus {
    /// The freelancer works; nothing was submitted yet.
    Active,
    /// Work was submitted and waits for the client.
    InReview,
    /// The client sent the last submission back; the freelancer works again.
    RevisionRequested,
    /// The client accepted the work and the freelancer was paid. Final.
    Approved,
    /// The freelancer gave it back; the job reopened. Final.
    Released,
    /// `expiresAt` passed without a submission; the job reopened. Final. Reserved: nothing acts on `expiresAt` yet.
    Expired,
    /// An admin ended it when a dispute was resolved for the client. Final. Reserved: there are no disputes yet.
    Cancelled,
    /// An admin decides; escrow is frozen meanwhile. Reserved: there are no disputes yet.
    Disputed,
}

/// Review state of one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::DeliverableStatus")]
pub(crate) enum DeliverableStatus {
    /// Waits for the client's review.
    Submitted,
    /// The client sent it back with a note.
    RevisionRequested,
    /// The client accepted it; this is the work that was paid.
    Approved,
    /// The freelancer submitted a newer one before it was reviewed.
    Superseded,
}

/// A claim in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct ClaimObject(pub(crate) Arc<Claim>);

impl From<Claim> for ClaimObject {
    fn from(claim: Claim) -> Self {
        Self(Arc::new(claim))
    }
}

/// One freelancer's exclusive hold on one job.
#[Object(name = "Claim")]
impl ClaimObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Grows by one with each committed change of the claim. Keep the object with the higher version.
    async fn version(&self) -> i64 {
        self.0.version
    }

    /// Where the claim is in its life.
    async fn status(&self) -> ClaimStatus {
        self.0.status().into()
    }

    /// What is claimed.
    async fn job(&self, ctx: &Context<'_>) -> Result<JobObject> {
        // A job that was claimed has been posted, and is public.
        let job = Box::pin(ctx.get::<Loaders>().jobs().load_one(self.0.job_id)).await?;
        Ok(job.ok_or_else(|| InternalError::corrupt(format!("{} is missing", self.0.job_id)))?.into())
    }

    /// Who holds or held it.
    async fn freelancer(&self, ctx: &Context<'_>) -> Result<UserObject> {
        user(ctx, self.0.freelancer_id).await
    }

    /// When the job was claimed.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When an ACTIVE claim lapses and the job reopens, unless work was submitted.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at().map(Into::into)
    }

    /// When an IN_REVIEW deliverable counts as approved unless the client acts.
    async fn auto_approve_at(&self) -> Option<DateTime> {
        self.0.auto_approve_at().map(Into::into)
    }

    /// When it was approved, released, expired or cancelled; null while it is live.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at().map(Into::into)
    }

    /// Why it ended, in the words of who ended it.
    async fn end_reason(&self) -> Option<&str> {
        self.0.end_reason()
    }
}

/// Which claims a connection counts.
struct Counted(ClaimScope, Vec<model::ClaimStatus>);

connection! {
    /// A page of claims.
    ClaimConnection,
    /// A claim in a page of claims.
    ClaimEdge,
    ClaimObject,
    complex Counted
}

impl ClaimConnection {
    pub(crate) fn new(page: Page<Claim>, scope: ClaimScope, statuses: Vec<model::ClaimStatus>) -> Self {
        let (edges, page_info) = edges(page, |claim| Cursor::by_id(claim.id.into()));
        let edges: Vec<_> = edges.into_iter().map(|(cursor, node)| ClaimEdge { cursor, node: node.into() }).collect();
        let nodes = edges.iter().map(|edge| edge.node.clone()).collect();
        Self { edges, nodes, page_info, scope: Counted(scope, statuses) }
    }
}

#[ComplexObject]
impl ClaimConnection {
    /// All claims of the list, not of this page alone.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = ctx.get::<Claims>().count(self.scope.0, &self.scope.1).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// A submission in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct DeliverableObject(Arc<Deliverable>);

impl From<Deliverable> for DeliverableObject {
    fn from(deliverable: Deliverable) -> Self {
        Self(Arc::new(deliverable))
    }
}

/// One numbered submission of work for a claim.
#[Object(name = "Deliverable")]
impl DeliverableObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Counts the submissions of one claim from 1, without holes.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// What became of it.
    async fn status(&self) -> DeliverableStatus {
        self.0.status().into()
    }

    /// The claim that it was submitted for.
    async fn claim(&self, ctx: &Context<'_>) -> Result<ClaimObject> {
        // A viewer who may see the work may see the claim.
        let claim = Box::pin(ctx.get::<Loaders>().claims().load_one(self.0.claim_id)).await?;
        Ok(claim.ok_or_else(|| InternalError::corrupt(format!("{} is missing", self.0.claim_id)))?.into())
    }

    /// What the freelancer says about it. Plain text: render it as untrusted.
    async fn note(&self) -> &str {
        &self.0.note
    }

    /// What the client wants changed; null unless it was sent back.
    async fn revision_note(&self) -> Option<&str> {
        self.0.revision_note()
    }

    /// When it was handed in.
    async fn submitted_at(&self) -> DateTime {
        self.0.submitted_at.into()
    }

    /// When the client approved it or sent it back; null before that.
    async fn reviewed_at(&self) -> Option<DateTime> {
        self.0.reviewed_at().map(Into::into)
    }
}

connection! {
    /// A page of deliverables.
    DeliverableConnection,
    /// A deliverable in a page of deliverables.
    DeliverableEdge,
    DeliverableObject,
}

impl ClaimEdge {
    /// A new claim as a row of its freelancer's list.
    fn newest(claim: &ClaimObject) -> Self {
        Self { cursor: Cursor::by_id(claim.0.id.into()).encode(), node: claim.clone() }
    }
}

impl DeliverableEdge {
    fn new(deliverable: Deliverable) -> Self {
        Self { cursor: Cursor::by_id(deliverable.id.into()).encode(), node: deliverable.into() }
    }
}

/// Batches look-ups of claims.
pub(crate) struct ClaimLoader(pub(crate) Claims);

/// Asks for a job's live claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LiveOn(JobId);

/// Asks for a freelancer's own latest claim on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LatestOf(UserId, JobId);

impl Loader<ClaimId> for ClaimLoader {
    type Value = Claim;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[ClaimId]) -> Result<HashMap<ClaimId, Claim>, Arc<InternalError>> {
        self.0.by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<LiveOn> for ClaimLoader {
    type Value = Claim;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[LiveOn]) -> Result<HashMap<LiveOn, Claim>, Arc<InternalError>> {
        let jobs: Vec<JobId> = keys.iter().map(|key| key.0).collect();
        let claims = self.0.live_of(&jobs).await.map_err(Arc::new)?;
        Ok(claims.into_iter().map(|(job, claim)| (LiveOn(job), claim)).collect())
    }
}

impl Loader<LatestOf> for ClaimLoader {
    type Value = Claim;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[LatestOf]) -> Result<HashMap<LatestOf, Claim>, Arc<InternalError>> {
        // One job for many freelancers, or many jobs for one: of both together no more than they have claimed.
        let (mut freelancers, mut jobs): (Vec<UserId>, Vec<JobId>) = keys.iter().map(|key| (key.0, key.1)).unzip();
        freelancers.sort_unstable();
        freelancers.dedup();
        jobs.sort_unstable();
        jobs.dedup();
        let claims = self.0.latest_of(&freelancers, &jobs).await.map_err(Arc::new)?;
        Ok(claims.into_iter().map(|((freelancer, job), claim)| (LatestOf(freelancer, job), claim)).collect())
    }
}

impl Loader<DeliverableId> for ClaimLoader {
    type Value = Deliverable;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[DeliverableId]) -> Result<HashMap<DeliverableId, Deliverable>, Arc<InternalError>> {
        self.0.deliverables_by_id(keys).await.map_err(Arc::new)
    }
}

/// Asks for all claims there ever were on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AllOn(JobId);

impl Loader<AllOn> for ClaimLoader {
    type Value = Vec<Claim>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[AllOn]) -> Result<HashMap<AllOn, Vec<Claim>>, Arc<InternalError>> {
        let jobs: Vec<JobId> = keys.iter().map(|key| key.0).collect();
        let claims = self.0.all_of(&jobs).await.map_err(Arc::new)?;
        Ok(claims.into_iter().map(|(job, claims)| (AllOn(job), claims)).collect())
    }
}

impl Loader<ClaimsIn> for ClaimLoader {
    type Value = Page<Claim>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[ClaimsIn]) -> Result<HashMap<ClaimsIn, Page<Claim>>, Arc<InternalError>> {
        let pages = self.0.pages(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().cloned().zip(pages).collect())
    }
}

impl Loader<WorkFor> for ClaimLoader {
    type Value = Page<Deliverable>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[WorkFor]) -> Result<HashMap<WorkFor, Page<Deliverable>>, Arc<InternalError>> {
        let pages = self.0.pages_of_work(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().cloned().zip(pages).collect())
    }
}

/// A claim and its job, if the viewer may see the claim.
async fn visible(ctx: &Context<'_>, id: ClaimId) -> Result<Option<(Claim, Job)>> {
    let loaders = ctx.get::<Loaders>();
    let Some(claim) = Box::pin(loaders.claims().load_one(id)).await? else { return Ok(None) };
    let job = Box::pin(loaders.jobs().load_one(claim.job_id)).await?;
    let actor = ctx.actor();
    Ok(job.filter(|job| claim.is_visible_to(job, &actor)).map(|job| (claim, job)))
}

/// A claim, for those who may see it.
pub(crate) async fn visible_claim(ctx: &Context<'_>, id: ClaimId) -> Result<Option<ClaimObject>> {
    Ok(visible(ctx, id).await?.map(|(claim, _)| claim.into()))
}

/// A submission, for those who may see it.
pub(crate) async fn visible_deliverable(ctx: &Context<'_>, id: DeliverableId) -> Result<Option<DeliverableObject>> {
    let Some(deliverable) = Box::pin(ctx.get::<Loaders>().claims().load_one(id)).await? else { return Ok(None) };
    let seen = visible(ctx, deliverable.claim_id).await?;
    let actor = ctx.actor();
    Ok(seen.filter(|(claim, job)| claim.shows_work_to(job, &actor)).map(|_| deliverable.into()))
}

/// The live claim of a job whose private fields the viewer may see.
pub(crate) async fn active_claim(ctx: &Context<'_>, job: &Job) -> Result<Option<ClaimObject>> {
    let claim = Box::pin(ctx.get::<Loaders>().claims().load_one(LiveOn(job.id))).await?;
    // Of an event's job the live claim may be another one by now, which its parties then may see, but not the old ones.
    let actor = ctx.actor();
    Ok(claim.filter(|claim| claim.is_visible_to(job, &actor)).map(Into::into))
}

/// The viewer's own latest claim on a job.
pub(crate) async fn viewer_claim(ctx: &Context<'_>, job: &Job) -> Result<Option<ClaimObject>> {
    let actor = ctx.actor();
    let Some(viewer) = actor.user().filter(|_| !job.is_own(&actor)) else { return Ok(None) };
    let claim = Box::pin(ctx.get::<Loaders>().claims().load_one(LatestOf(viewer, job.id))).await?;
    Ok(claim.map(Into::into))
}

/// The work handed in for a job: all of it for its client and admins, their own for its claimant, nothing for anybody else.
pub(crate) async fn deliverables_of(
    ctx: &Context<'_>,
    job: &Job,
    request: PageRequest,
) -> Result<DeliverableConnection> {
    let loader = ctx.get::<Loaders>().claims();
    let claims = Box::pin(loader.load_one(AllOn(job.id))).await?.unwrap_or_default();
    let actor = ctx.actor();
    let shown = claims.iter().filter(|claim| claim.shows_work_to(job, &actor)).map(|claim| claim.id);
    let list = WorkFor { claims: shown.collect(), request };
    let page = Box::pin(loader.load_one(list)).await?.unwrap_or_else(|| request.page(Vec::new()));
    let (edges, page_info): (Vec<_>, PageInfo) = edges(page, |deliverable| Cursor::by_id(deliverable.id.into()));
    let edges: Vec<_> = edges.into_iter().map(|(cursor, node)| DeliverableEdge { cursor, node: node.into() }).collect();
    Ok(DeliverableConnection { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info })
}

/// Somebody else was faster, or the job is not OPEN. Carries the job as it is now, so the cache heals itself. The code is
/// `DEADLINE_PASSED` where the time for claiming it is over.
#[derive(Clone, SimpleObject)]
pub(crate) struct JobNotClaimableError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The job as it is now.
    job: JobObject,
}

/// The freelancer already holds as many live claims as allowed.
#[derive(Clone, SimpleObject)]
pub(crate) struct ClaimLimitError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// How many live claims one freelancer may hold at once.
    limit: i32,
}

user_errors! {
    /// Why `claimJob` did nothing.
    pub(crate) enum ClaimJobError {
        InputError, JobNotClaimableError, ClaimLimitError, VersionConflictError, IdempotencyError
    }
}

impl ClaimJobError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    fn of(error: ClaimError) -> Result<Self> {
        let message = error.to_string();
        let not_claimable = |message, code, job: Box<Job>| {
            let path = Some(vec!["input".into(), "jobId".into()]);
            JobNotClaimableError { message, code, path, job: (*job).into() }
        };
        Ok(match error {
            ClaimError::Denied(refused) => return Err(denied(refused)),
            ClaimError::Invalid(invalid) => InputError::from(invalid).into(),
            ClaimError::NotClaimable(job) => not_claimable(message, UserErrorCode::JobNotClaimable, job).into(),
            ClaimError::DeadlinePassed(job) => not_claimable(message, UserErrorCode::DeadlinePassed, job).into(),
            ClaimError::LimitReached { limit } => {
                let (code, limit) = (UserErrorCode::ClaimLimitReached, i32::try_from(limit).unwrap_or(i32::MAX));
                ClaimLimitError { message, code, path: None, limit }.into()
            }
            ClaimError::VersionConflict(conflict) => VersionConflictError::from(conflict).into(),
            ClaimError::Key(conflict) => IdempotencyError::from(conflict).into(),
            ClaimError::InternalError(failed) => return Err(fault(failed)),
        })
    }
}

/// The same for a step in a claim's life.
fn step_error(error: StepError) -> Result<JobStepError> {
    let message = error.to_string();
    match error {
        StepError::Job(error) => JobStepError::of(error),
        StepError::InvalidTransition { job, claim, allowed } => Ok(InvalidTransitionError {
            message,
            code: UserErrorCode::InvalidTransition,
            path: None,
            job: (*job).into(),
            claim: Some((*claim).into()),
            allowed: allowed.iter().copied().map(Into::into).collect(),
        }
        .into()),
    }
}

/// Claim an OPEN job. `expectedVersion` refuses a job whose terms changed since it was read.
#[derive(InputObject)]
pub(crate) struct ClaimJobInput {
    /// An OPEN job of somebody else.
    job_id: ID,
    /// The `Job.version` that the caller decided on. If the job has changed since, nothing is done and
    /// `VersionConflictError` tells. Null: any version.
    expected_version: Option<i32>,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
}

/// Give a claim back; the job reopens.
#[derive(InputObject)]
pub(crate) struct ReleaseClaimInput {
    /// A claim of the caller's own: ACTIVE or REVISION_REQUESTED.
    claim_id: ID,
    /// Shown to the client as `Claim.endReason`: 1 to 500 characters. Left out or null: none is given.
    reason: Option<String>,
    /// As for `claimJob`. Left out or null: the request has its effect each time that it comes.
    idempotency_key: Option<String>,
}

/// Hand work in.
#[derive(InputObject)]
pub(crate) struct SubmitDeliverableInput {
    /// A live claim of the caller's own.
    claim_id: ID,
    /// What was done and where it is: 1 to 5,000 characters.
    note: String,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
}

/// Send work back.
#[derive(InputObject)]
pub(crate) struct RequestRevisionInput {
    /// The latest submission of a claim on one of the caller's own jobs; an older one is refused.
    deliverable_id: ID,
    /// What should change: 1 to 5,000 characters.
    note: String,
    /// As for `approveDeliverable`. Left out or null: the request has its effect each time that it comes.
    idempotency_key: Option<String>,
}

/// Accept work: pays the freelancer and completes the job, in one transaction.
#[derive(InputObject)]
pub(crate) struct ApproveDeliverableInput {
    /// The latest submission of a claim on one of the caller's own jobs; an older one is refused.
    deliverable_id: ID,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
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
    job_id: ID,
    /// What becomes of it.
    step: JobIntervention,
    /// Told to both sides and kept in the audit log: 1 to 500 characters.
    reason: String,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
}

/// Result of `interveneInJob`.
#[derive(SimpleObject)]
pub(crate) struct InterveneInJobPayload {
    /// The job after this step; null if nothing was done.
    job: Option<JobObject>,
    /// The claim that held it, after this step; null if nothing was done.
    claim: Option<ClaimObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<JobStepError>,
}

/// Result of `claimJob`.
#[derive(SimpleObject)]
pub(crate) struct ClaimJobPayload {
    /// The caller's new claim; null if nothing was done.
    claim: Option<ClaimObject>,
    /// The new claim as a row of `User.claims`, to put at the head of a cached list; null if nothing was done.
    claim_edge: Option<ClaimEdge>,
    /// The job after this step; null if nothing was done.
    job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<ClaimJobError>,
}

/// Result of `releaseClaim`.
#[derive(SimpleObject)]
pub(crate) struct ReleaseClaimPayload {
    /// The claim after this step; null if nothing was done.
    claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<JobStepError>,
}

/// Result of `submitDeliverable`.
#[derive(SimpleObject)]
pub(crate) struct SubmitDeliverablePayload {
    /// The new submission; null if nothing was done, or if a repeated request may no longer see it.
    deliverable: Option<DeliverableObject>,
    /// The new submission as a row of `Job.deliverables`, to put at the head of a cached list; null as `deliverable`
    /// is.
    deliverable_edge: Option<DeliverableEdge>,
    /// The claim after this step; null if nothing was done.
    claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<JobStepError>,
}

/// Result of `requestRevision`.
#[derive(SimpleObject)]
pub(crate) struct RequestRevisionPayload {
    /// The reviewed submission; null if nothing was done, or if a repeated request may no longer see it.
    deliverable: Option<DeliverableObject>,
    /// The claim after this step; null if nothing was done.
    claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<JobStepError>,
}

/// Result of `approveDeliverable`.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct ApproveDeliverablePayload {
    /// The reviewed submission; null if nothing was done, or if a repeated request may no longer see it.
    deliverable: Option<DeliverableObject>,
    /// The claim after this step; null if nothing was done.
    claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<JobStepError>,
}

#[ComplexObject]
impl ApproveDeliverablePayload {
    // The caller's own line in the history: the client's side of the payment.
    /// The client's side of the payment: it leaves escrow and changes nothing in `available`; null if nothing was done.
    async fn transaction(&self, ctx: &Context<'_>) -> Result<Option<TransactionObject>> {
        let Some(job) = &self.job else { return Ok(None) };
        Ok(ctx.get::<Wallets>().release_of(job.job.client_id, job.job.id.into()).await?.map(Into::into))
    }

    /// The client's wallet after the payment; null if nothing was done.
    async fn wallet(&self, ctx: &Context<'_>) -> Result<Option<WalletObject>> {
        let Some(job) = &self.job else { return Ok(None) };
        Ok(ctx.get::<Wallets>().find(ctx.actor(), wallet_of(job.job.client_id)).await?.map(Into::into))
    }
}

/// What came of a step, in the parts that payloads share.
struct Step {
    deliverable: Option<Deliverable>,
    claim: Option<ClaimObject>,
    job: Option<JobObject>,
    errors: Vec<JobStepError>,
}

fn step(done: Result<Stepped, StepError>) -> Result<Step> {
    Ok(match done {
        Ok(Stepped { job, claim, deliverable }) => {
            Step { deliverable, claim: Some(claim.into()), job: Some(job.into()), errors: Vec::new() }
        }
        Err(error) => Step { deliverable: None, claim: None, job: None, errors: vec![step_error(error)?] },
    })
}

/// Reads of claims.
#[derive(Default)]
pub(crate) struct ClaimQuery;

#[Object]
impl ClaimQuery {
    /// One claim. Its freelancer, its job's client and admins.
    async fn claim(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As `Claim.id` gives it; an id of something else finds nothing.")] id: ID,
    ) -> Result<Option<ClaimObject>> {
        signed_in(ctx)?;
        let Ok(id) = id.parse() else { return Ok(None) };
        visible_claim(ctx, id).await
    }

    /// The viewer's claims as a freelancer, or on one of the viewer's own jobs as a client.
    #[expect(clippy::too_many_arguments, reason = "the arguments are the API's")]
    async fn claims(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only claims on this job; on the viewer's own one, everybody's. Null: the viewer's claims on any job."
        )]
        job_id: Option<ID>,
        #[graphql(desc = "Only claims in one of these statuses; null or empty: any.")] status: Option<Vec<ClaimStatus>>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<ClaimConnection>> {
        let actor = signed_in(ctx)?;
        let request = PageArguments { first, after, last, before }.nested()?;
        let missing = |_| ErrorCode::BadUserInput.error("There is no such job. Check the id in jobId.");
        let job = job_id.map(|id| id.parse().map_err(missing)).transpose()?;
        let claims = ctx.get::<Claims>();
        let scope = claims.scope(&actor, actor.signed_in().map_err(denied)?, job).await?;
        let statuses: Vec<_> = status.into_iter().flatten().map(Into::into).collect();
        let page = claims.page(scope, &statuses, request).await?;
        Ok(Some(ClaimConnection::new(page, scope, statuses)))
    }
}

/// Writes of claims.
#[derive(Default)]
pub(crate) struct ClaimMutation;

#[Object]
impl ClaimMutation {
    /// Freelancer. Of any number of simultaneous callers exactly one succeeds. Emits `jobUpdated`. To the two sides of the
    /// claim it emits `claimUpdated`, as every step of its life does.
    async fn claim_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job to claim.")] input: ClaimJobInput,
    ) -> Result<Option<ClaimJobPayload>> {
        let ClaimJobInput { job_id, expected_version, idempotency_key } = input;
        let claims = ctx.get::<Claims>();
        let done = claims.claim(ctx.actor(), &job_id, expected_version.map(Into::into), &idempotency_key).await;
        Ok(Some(match done {
            Ok(Stepped { job, claim, .. }) => {
                let claim = ClaimObject::from(claim);
                let claim_edge = Some(ClaimEdge::newest(&claim));
                ClaimJobPayload { claim: Some(claim), claim_edge, job: Some(job.into()), errors: Vec::new() }
            }
            Err(error) => {
                let errors = vec![ClaimJobError::of(error)?];
                ClaimJobPayload { claim: None, claim_edge: None, job: None, errors }
            }
        }))
    }

    /// Freelancer, own claim. Emits `jobUpdated` and `jobPosted`. The job is OPEN again.
    async fn release_claim(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which claim to give back, and why.")] input: ReleaseClaimInput,
    ) -> Result<Option<ReleaseClaimPayload>> {
        let ReleaseClaimInput { claim_id, reason, idempotency_key } = input;
        let claims = ctx.get::<Claims>();
        let done = claims.release(ctx.actor(), &claim_id, reason.as_deref(), idempotency_key.as_deref()).await;
        let Step { claim, job, errors, .. } = step(done)?;
        Ok(Some(ReleaseClaimPayload { claim, job, errors }))
    }

    /// Freelancer, own claim. Emits `jobUpdated`. Hands work in; a submission that still waits is superseded.
    async fn submit_deliverable(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The work, and the claim that it is for.")] input: SubmitDeliverableInput,
    ) -> Result<Option<SubmitDeliverablePayload>> {
        let SubmitDeliverableInput { claim_id, note, idempotency_key } = input;
        let done = ctx.get::<Claims>().submit(ctx.actor(), &claim_id, &note, &idempotency_key).await;
        let Step { deliverable, claim, job, errors } = step(done)?;
        let deliverable_edge = deliverable.clone().map(DeliverableEdge::new);
        let deliverable = deliverable.map(Into::into);
        Ok(Some(SubmitDeliverablePayload { deliverable, deliverable_edge, claim, job, errors }))
    }

    /// Client, own job. Emits `jobUpdated`. Sends the latest submission back.
    async fn request_revision(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which submission to send back, and what should change.")] input: RequestRevisionInput,
    ) -> Result<Option<RequestRevisionPayload>> {
        let RequestRevisionInput { deliverable_id, note, idempotency_key } = input;
        let claims = ctx.get::<Claims>();
        let done = claims.request_revision(ctx.actor(), &deliverable_id, &note, idempotency_key.as_deref()).await;
        let Step { deliverable, claim, job, errors } = step(done)?;
        Ok(Some(RequestRevisionPayload { deliverable: deliverable.map(Into::into), claim, job, errors }))
    }

    /// Client, own job. Emits `jobUpdated`, and `walletUpdated` to both sides. Pays the freelancer and completes the job.
    async fn approve_deliverable(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which submission to accept and pay.")] input: ApproveDeliverableInput,
    ) -> Result<Option<ApproveDeliverablePayload>> {
        let ApproveDeliverableInput { deliverable_id, idempotency_key } = input;
        let done = ctx.get::<Claims>().approve(ctx.actor(), &deliverable_id, &idempotency_key).await;
        let Step { deliverable, claim, job, errors } = step(done)?;
        Ok(Some(ApproveDeliverablePayload { deliverable: deliverable.map(Into::into), claim, job, errors }))
    }

    /// Admin. Emits `jobUpdated`; REOPEN also `jobPosted`, REFUND and PAY `walletUpdated` to whose money it is. Frees what
    /// its two sides cannot move any more.
    async fn intervene_in_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, what becomes of it, and why.")] input: InterveneInJobInput,
    ) -> Result<Option<InterveneInJobPayload>> {
        let InterveneInJobInput { job_id, step: kind, reason, idempotency_key } = input;
        let claims = ctx.get::<Claims>();
        let done = claims.intervene(ctx.actor(), &job_id, kind.into(), &reason, &idempotency_key).await;
        let Step { claim, job, errors, .. } = step(done)?;
        Ok(Some(InterveneInJobPayload { job, claim, errors }))
    }
}
