//! The subscriptions of jobs: the events `jobPosted` and `jobUpdated`.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, Subscription, futures_util::Stream};

use super::{
    Jobs,
    events::{JOB_POSTED, JobSnapshot, JobUpdate},
    filter::JobFilter,
    graphql::{JobChange, JobFilterArgument, JobObject, JobStatus, top_level, visible_job},
    interest, model,
};
use crate::{
    auth::actor::Actor,
    events::Hearing,
    graphql::{
        context::{ContextExt, signed_in},
        errors::ErrorCode,
        scalars::DateTime,
        subscriptions::events,
    },
    ids::JobId,
    realtime::Delivery,
};

/// A `jobPosted` event in the API.
#[derive(Clone)]
pub(crate) struct JobPostedEvent {
    delivery: Arc<Delivery>,
    job: JobObject,
}

impl JobPostedEvent {
    /// The event as everybody receives it.
    pub(crate) fn of(delivery: Arc<Delivery>) -> Result<Self> {
        let job = delivery.payload::<JobSnapshot>()?.into();
        Ok(Self { delivery, job })
    }
}

/// A job became OPEN for the first time, or again after its claim ended.
#[Object]
impl JobPostedEvent {
    /// Unique for ever: drop an event whose id was seen before.
    pub(crate) async fn id(&self) -> ID {
        self.delivery.id().to_string().into()
    }

    /// Resume point: pass the last one seen as `after` to miss nothing. Cursors compare as strings: the greater one is
    /// the later one.
    pub(crate) async fn cursor(&self) -> String {
        self.delivery.cursor()
    }

    /// When the change was made.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.delivery.occurred_at().into()
    }

    /// The job as it was just after it opened.
    async fn job(&self) -> JobObject {
        self.job.clone()
    }
}

/// A `jobUpdated` event in the API, with what this viewer may see of the change.
#[derive(Clone)]
pub(crate) struct JobUpdatedEvent {
    delivery: Arc<Delivery>,
    job: JobObject,
    changes: Vec<JobChange>,
    previous_status: Option<JobStatus>,
}

impl JobUpdatedEvent {
    /// What the viewer may see of a change, if anything.
    pub(crate) fn heard(actor: &Actor, delivery: Arc<Delivery>) -> Result<Option<Self>> {
        let hearing = delivery.audience().hearing(delivery.kind(), actor.user(), actor.is_admin());
        hearing.map(|hearing| Self::of(delivery, hearing)).transpose()
    }

    /// The event as it is received: all of it by a party to the job when it happened, the public part by others. Today's
    /// rights decide the private fields of the job in it, when those are resolved. The first posting of a job is a change
    /// for those who are party to it.
    fn of(delivery: Arc<Delivery>, hearing: Hearing) -> Result<Self> {
        if delivery.kind() == JOB_POSTED {
            let snapshot = delivery.payload::<JobSnapshot>()?;
            let drafted = snapshot.job.was_drafted();
            let details = (!drafted).then_some(JobChange::Details);
            let changes = details.into_iter().chain([JobChange::Status, JobChange::Escrow]).collect();
            let (job, previous_status) = (snapshot.into(), drafted.then_some(JobStatus::Draft));
            return Ok(Self { delivery, job, changes, previous_status });
        }
        let update = delivery.payload::<JobUpdate>()?;
        let heard = |change: &model::JobChange| hearing == Hearing::Own || change.is_public();
        let changes = update.changes.iter().copied().filter(heard).map(Into::into).collect();
        let previous_status = update.previous_status.map(Into::into);
        let job = (&update.snapshot).into();
        Ok(Self { delivery, job, changes, previous_status })
    }
}

/// A job changed. A job the viewer may no longer see arrives with only its public fields.
#[Object]
impl JobUpdatedEvent {
    /// Unique for ever: drop an event whose id was seen before.
    pub(crate) async fn id(&self) -> ID {
        self.delivery.id().to_string().into()
    }

    /// Resume point: pass the last one seen as `after` to miss nothing. Cursors compare as strings: the greater one is
    /// the later one.
    pub(crate) async fn cursor(&self) -> String {
        self.delivery.cursor()
    }

    /// When the change was made.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.delivery.occurred_at().into()
    }

    /// The job as it was just after the change; its private fields by what the viewer may see now.
    async fn job(&self) -> JobObject {
        self.job.clone()
    }

    /// What changed, as far as the viewer may know: for others than the parties, DETAILS and STATUS alone.
    async fn changes(&self) -> &[JobChange] {
        &self.changes
    }

    /// The status before the change; null if the status stayed, or if the job is new.
    async fn previous_status(&self) -> Option<JobStatus> {
        self.previous_status
    }
}

/// Live changes of jobs.
#[derive(Default)]
pub(crate) struct JobSubscription;

#[Subscription]
impl JobSubscription {
    /// Public. New OPEN jobs that match `filter`.
    async fn job_posted(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only jobs that match; null: all.")] filter: Option<JobFilterArgument>,
        #[graphql(desc = "Events after this cursor are sent first; null: only what happens from now on.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<JobPostedEvent>>> {
        let interest = async { Ok(interest::in_posted(parse_filter(ctx, filter).await?)) };
        events(ctx, after, interest, |received| JobPostedEvent::of(received.delivery)).await
    }

    /// Public for public fields; private fields only for participants. Jobs that match `filter` before or after the change, so that one
    /// hears a job leave; or just `jobId`; with both, both must hold.
    ///
    /// With `mine: true` it is the stream of a page of one's own jobs: everything that happens to jobs the viewer is party to,
    /// their first posting and own drafts included, and for a freelancer also the change by which the claim ended. It needs
    /// a token. Admins hear in it what they are party to themselves.
    async fn job_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this job, which the viewer must be able to see; null: any.")] job_id: Option<ID>,
        #[graphql(desc = "Only jobs that match before or after the change; null: all.")] filter: Option<
            JobFilterArgument,
        >,
        #[graphql(
            default_with = "Some(false)",
            desc = "True: only jobs that the viewer is party to, as client or freelancer, own drafts included."
        )]
        mine: Option<bool>,
        #[graphql(desc = "Events after this cursor are sent first; null: only what happens from now on.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<JobUpdatedEvent>>> {
        let interest = async {
            let job = match job_id {
                Some(id) => Some(visible_id(ctx, &id).await?),
                None => None,
            };
            let filter = parse_filter(ctx, filter).await?;
            if mine == Some(true) {
                signed_in(ctx)?;
                Ok(interest::in_mine(job, filter))
            } else {
                Ok(interest::in_updated(job, filter))
            }
        };
        events(ctx, after, interest, |received| JobUpdatedEvent::of(received.delivery, received.hearing)).await
    }
}

async fn parse_filter(ctx: &Context<'_>, filter: Option<JobFilterArgument>) -> Result<JobFilter> {
    match filter {
        Some(filter) => ctx.get::<Jobs>().parse_filter(filter.into()).await.map_err(top_level),
        None => Ok(JobFilter::default()),
    }
}

/// The id of a job that the viewer may see: a subscription to one that is not there would wait for ever.
async fn visible_id(ctx: &Context<'_>, id: &ID) -> Result<JobId> {
    let missing = || ErrorCode::BadUserInput.error("There is no such job. Check the id in jobId.");
    let id: JobId = id.parse().map_err(|_| missing())?;
    visible_job(ctx, id).await?.map(|_| id).ok_or_else(missing)
}
