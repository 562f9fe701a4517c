//! What mutations of jobs answer with: the changed rows, or why nothing was done.

use async_graphql::{ComplexObject, Context, Result, SimpleObject};

use super::{
    connections::JobEdge,
    errors::{JobStepError, PostJobError, UpdateJobError},
    objects::JobObject,
};
use crate::{
    graphql::context::ContextExt,
    jobs::{JobError, PostError, UpdateError, model::Job},
    wallet::{Wallets, graphql::WalletObject, model::wallet_of},
};

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
            pub(super) fn of(done: Result<Job, $domain>) -> Result<Option<Self>> {
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
    pub(super) job: Option<JobObject>,
    /// The new job as a row of the feed, newest first, to put at the head of a cached list; null if nothing was done.
    pub(super) job_edge: Option<JobEdge>,
    /// The caller's wallet after the budget moved into escrow; null if nothing was done.
    pub(super) wallet: Option<WalletObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<PostJobError>,
}

/// Result of `draftJob`.
#[derive(SimpleObject)]
pub(crate) struct DraftJobPayload {
    /// The new draft; null if nothing was done.
    pub(super) job: Option<JobObject>,
    /// The new draft as a row of `User.postedJobs`, to put at the head of a cached list; null if nothing was done.
    pub(super) job_edge: Option<JobEdge>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<PostJobError>,
}
