//! Root fields that change jobs. The rules are in [`Jobs`]; here inputs are handed over and results returned.

use async_graphql::{Context, Object, Result};

use super::{
    connections::JobEdge,
    errors::PostJobError,
    inputs::{CancelJobInput, DraftJobInput, PostJobInput, PublishJobInput, UpdateJobInput},
    objects::JobObject,
    payloads::{CancelJobPayload, DraftJobPayload, PostJobPayload, PublishJobPayload, UpdateJobPayload},
};
use crate::{
    graphql::context::ContextExt,
    jobs::{
        Jobs,
        service::{JobPatch, NewJob},
    },
    wallet::{Wallets, model::wallet_of},
};

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
