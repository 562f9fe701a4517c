//! What mutations of claims answer with: the changed rows, or why nothing was done.

use async_graphql::{ComplexObject, Context, Result, SimpleObject};

use super::{
    connections::{ClaimEdge, DeliverableEdge},
    errors::{ClaimJobError, step_error},
    objects::{ClaimObject, DeliverableObject},
};
use crate::{
    claims::{StepError, model::Deliverable, service::Stepped},
    graphql::context::ContextExt,
    jobs::graphql::{JobObject, JobStepError},
    wallet::{
        Wallets,
        graphql::{TransactionObject, WalletObject},
        model::wallet_of,
    },
};

/// Result of `interveneInJob`.
#[derive(SimpleObject)]
pub(crate) struct InterveneInJobPayload {
    /// The job after this step; null if nothing was done.
    pub(super) job: Option<JobObject>,
    /// The claim that held it, after this step; null if nothing was done.
    pub(super) claim: Option<ClaimObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<JobStepError>,
}

/// Result of `claimJob`.
#[derive(SimpleObject)]
pub(crate) struct ClaimJobPayload {
    /// The caller's new claim; null if nothing was done.
    pub(super) claim: Option<ClaimObject>,
    /// The new claim as a row of `User.claims`, to put at the head of a cached list; null if nothing was done.
    pub(super) claim_edge: Option<ClaimEdge>,
    /// The job after this step; null if nothing was done.
    pub(super) job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<ClaimJobError>,
}

/// Result of `releaseClaim`.
#[derive(SimpleObject)]
pub(crate) struct ReleaseClaimPayload {
    /// The claim after this step; null if nothing was done.
    pub(super) claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    pub(super) job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<JobStepError>,
}

/// Result of `submitDeliverable`.
#[derive(SimpleObject)]
pub(crate) struct SubmitDeliverablePayload {
    /// The new submission; null if nothing was done, or if a repeated request may no longer see it.
    pub(super) deliverable: Option<DeliverableObject>,
    /// The new submission as a row of `Job.deliverables`, to put at the head of a cached list; null as `deliverable`
    /// is.
    pub(super) deliverable_edge: Option<DeliverableEdge>,
    /// The claim after this step; null if nothing was done.
    pub(super) claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    pub(super) job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<JobStepError>,
}

/// Result of `requestRevision`.
#[derive(SimpleObject)]
pub(crate) struct RequestRevisionPayload {
    /// The reviewed submission; null if nothing was done, or if a repeated request may no longer see it.
    pub(super) deliverable: Option<DeliverableObject>,
    /// The claim after this step; null if nothing was done.
    pub(super) claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    pub(super) job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<JobStepError>,
}

/// Result of `approveDeliverable`.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct ApproveDeliverablePayload {
    /// The reviewed submission; null if nothing was done, or if a repeated request may no longer see it.
    pub(super) deliverable: Option<DeliverableObject>,
    /// The claim after this step; null if nothing was done.
    pub(super) claim: Option<ClaimObject>,
    /// The job after this step; null if nothing was done.
    pub(super) job: Option<JobObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<JobStepError>,
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
pub(super) struct Step {
    pub(super) deliverable: Option<Deliverable>,
    pub(super) claim: Option<ClaimObject>,
    pub(super) job: Option<JobObject>,
    pub(super) errors: Vec<JobStepError>,
}

pub(super) fn step(done: Result<Stepped, StepError>) -> Result<Step> {
    Ok(match done {
        Ok(Stepped { job, claim, deliverable }) => {
            Step { deliverable, claim: Some(claim.into()), job: Some(job.into()), errors: Vec::new() }
        }
        Err(error) => Step { deliverable: None, claim: None, job: None, errors: vec![step_error(error)?] },
    })
}
