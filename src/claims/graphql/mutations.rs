//! Root fields that move claims. The rules are in [`Claims`]; here inputs are handed over and results returned.

use async_graphql::{Context, Object, Result};

use super::{
    connections::{ClaimEdge, DeliverableEdge},
    errors::ClaimJobError,
    inputs::{
        ApproveDeliverableInput, ClaimJobInput, InterveneInJobInput, ReleaseClaimInput, RequestRevisionInput,
        SubmitDeliverableInput,
    },
    objects::ClaimObject,
    payloads::{
        ApproveDeliverablePayload, ClaimJobPayload, InterveneInJobPayload, ReleaseClaimPayload, RequestRevisionPayload,
        Step, SubmitDeliverablePayload, step,
    },
};
use crate::{
    claims::{
        Claims,
        service::{Stepped, Work},
    },
    graphql::context::ContextExt,
};

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
        let SubmitDeliverableInput { claim_id, note, file_ids, idempotency_key } = input;
        let files: Vec<String> = file_ids.into_iter().map(|id| id.0).collect();
        let work = Work { note: &note, files: &files };
        let done = ctx.get::<Claims>().submit(ctx.actor(), &claim_id, work, &idempotency_key).await;
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
