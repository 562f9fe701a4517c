//! Look-ups of claims, deliverables and their files, batched for each request, and the checks of who may see what they find.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Result, dataloader::Loader};

use super::{
    connections::DeliverableConnection,
    objects::{ClaimObject, DeliverableObject},
};
use crate::{
    claims::{
        Claims,
        list::{ClaimsIn, WorkFor},
        model::{Claim, Deliverable},
    },
    error::InternalError,
    files::{
        graphql::{FileObject, FilesOf},
        model::File,
    },
    graphql::context::ContextExt,
    ids::{ClaimId, DeliverableId, FileId, JobId, UserId},
    jobs::model::Job,
    page::{Page, PageRequest},
    schema::Loaders,
};

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
pub(super) async fn visible(ctx: &Context<'_>, id: ClaimId) -> Result<Option<(Claim, Job)>> {
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
    Ok(page.into())
}

// A file is its owner's, and that of those who may see the work that it is a part of. Its bytes are for its owner and the
// two sides of the claim; an admin sees that there is a file.

/// The files of work that the viewer may see, in the order in which they were handed in.
pub(super) async fn files_of(ctx: &Context<'_>, deliverable: &Deliverable) -> Result<Vec<FileObject>> {
    let files = Box::pin(ctx.get::<Loaders>().files().load_one(FilesOf(deliverable.id.into()))).await?;
    let Some(files) = files else { return Ok(Vec::new()) };
    let side = is_side(ctx, deliverable.claim_id).await?;
    Ok(files.into_iter().map(|file| shown(ctx, file, side)).collect())
}

/// A file, for those who may see it.
pub(crate) async fn visible_file(ctx: &Context<'_>, id: FileId) -> Result<Option<FileObject>> {
    let loaders = ctx.get::<Loaders>();
    let Some((file, used_by)) = Box::pin(loaders.files().load_one(id)).await? else { return Ok(None) };
    let actor = ctx.actor();
    if actor.is(file.owner_id) {
        return Ok(Some(FileObject::new(file, true)));
    }
    let Some(used_by) = used_by else {
        return Ok(actor.is_admin().then(|| FileObject::new(file, false)));
    };
    let work = Box::pin(loaders.claims().load_one(DeliverableId::from(used_by))).await?;
    let Some(work) = work else { return Ok(None) };
    let seen = visible(ctx, work.claim_id).await?;
    let seen = seen.filter(|(claim, job)| claim.shows_work_to(job, &actor));
    Ok(seen.map(|(claim, job)| shown(ctx, file, job.is_own(&actor) || actor.is(claim.freelancer_id))))
}

/// Whether the viewer is one of a claim's two sides.
async fn is_side(ctx: &Context<'_>, claim: ClaimId) -> Result<bool> {
    let actor = ctx.actor();
    let seen = visible(ctx, claim).await?;
    Ok(seen.is_some_and(|(claim, job)| job.is_own(&actor) || actor.is(claim.freelancer_id)))
}

fn shown(ctx: &Context<'_>, file: File, side: bool) -> FileObject {
    let open = side || ctx.actor().is(file.owner_id);
    FileObject::new(file, open)
}
