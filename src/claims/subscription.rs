//! The subscription of a claim's two sides: the event `claimUpdated`.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, Subscription, futures_util::Stream};

use super::{
    events::{CLAIM_UPDATED, ClaimUpdate},
    graphql::{ClaimObject, ClaimStatus},
};
use crate::{
    graphql::{context::signed_in, scalars::DateTime, subscriptions::events},
    jobs::graphql::JobObject,
    realtime::{Delivery, Interest},
};

/// A `claimUpdated` event in the API.
#[derive(Clone)]
pub(crate) struct ClaimUpdatedEvent {
    delivery: Arc<Delivery>,
    claim: ClaimObject,
    job: JobObject,
    previous_status: Option<ClaimStatus>,
}

impl ClaimUpdatedEvent {
    /// The event as the two sides of the claim receive it.
    pub(crate) fn of(delivery: Arc<Delivery>) -> Result<Self> {
        let update = delivery.payload::<ClaimUpdate>()?;
        let (claim, job) = (update.claim.clone().into(), (&update.job).into());
        let previous_status = update.previous_status.map(Into::into);
        Ok(Self { delivery, claim, job, previous_status })
    }
}

/// Something about one of the viewer's claims changed, as its freelancer or as its job's client.
#[Object]
impl ClaimUpdatedEvent {
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

    /// The claim as it was just after the change.
    async fn claim(&self) -> ClaimObject {
        self.claim.clone()
    }

    /// Its job as it was just after the change; its private fields by what the viewer may see now.
    async fn job(&self) -> JobObject {
        self.job.clone()
    }

    /// The claim's status before the change; null if the status stayed, or if the claim is new.
    async fn previous_status(&self) -> Option<ClaimStatus> {
        self.previous_status
    }
}

/// Live changes of claims.
#[derive(Default)]
pub(crate) struct ClaimSubscription;

#[Subscription]
impl ClaimSubscription {
    /// The viewer's claims, as their freelancer or as the client of their jobs: each new claim and every step of its life,
    /// by whichever side. Nobody else hears of them, admins neither.
    async fn claim_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Events after this cursor are sent first; null: only what happens from now on.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<ClaimUpdatedEvent>>> {
        let interest = async { signed_in(ctx).map(|_| Interest::all(CLAIM_UPDATED)) };
        events(ctx, after, interest, |received| ClaimUpdatedEvent::of(received.delivery)).await
    }
}
