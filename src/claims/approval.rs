//! Work is approved: by its client, or because the time for the review is over (`clocks`). The freelancer is paid and the job
//! is done, in one transaction.

use super::{
    Claims, StepError,
    model::{Claim, Deliverable},
    service::{Made, Stepped, not_the_latest, parse_deliverable, refused, update_in},
};
use crate::{
    accounts::model::UserCard,
    auth::actor::Actor,
    db::Tx,
    error::InternalError,
    idempotency::{IdempotencyKey, once_in},
    jobs::{
        model::{Job, JobChange, Step},
        service::Around,
    },
    notifications::model::{Details, NotificationKind, Part, Subject},
};

impl Claims {
    /// Accepts the latest submission: the freelancer is paid and the job is done.
    #[tracing::instrument(skip_all, fields(deliverable.id = deliverable_id))]
    pub async fn approve(&self, actor: Actor, deliverable_id: &str, key: &str) -> Result<Stepped, StepError> {
        let client = actor.client()?;
        let key = &IdempotencyKey::parse(key)?;
        let deliverable_id = parse_deliverable(deliverable_id)?;
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let approved = once_in(&tx, now, client, ("approveDeliverable", key), &deliverable_id, || async {
                    let (before, claim, deliverable) = self.lock_for_review_in(&tx, client, deliverable_id).await?;
                    let (Ok(ended), Ok(job)) = (claim.approve(now), before.approve()) else {
                        return Err(refused(before, claim, Step::Approve));
                    };
                    let deliverable = deliverable.approve(now).map_err(|_| not_the_latest())?;
                    let around = self.jobs.around_in(&tx, &before).await?;
                    let card = self.accounts.card_in(&tx, claim.freelancer_id).await?;
                    let details = [
                        Details::new(Part::Client, &job.title).by(claim.freelancer_id, &card.display_name),
                        Details::new(Part::Freelancer, &job.title).by(job.client_id, &around.client().display_name),
                    ];
                    let (job, claim) = ((before, job, around), (claim, ended, &card));
                    let stepped = self.complete_in(&tx, job, claim, deliverable, details).await?;
                    let made = Made { claim: stepped.claim.id, deliverable: Some(deliverable_id) };
                    Ok::<_, StepError>((made, stepped))
                })
                .await?;
                Ok(self.outcome_in(&tx, &actor, approved).await?)
            })
            .await
    }

    /// Ends a locked job whose work is approved, and pays for it. Of the job and the claim as they were and as they are to be, with
    /// the client and the freelancer; `details` are what the client and the freelancer are told of it.
    pub(super) async fn complete_in(
        &self,
        tx: &Tx,
        (before, job, around): (Job, Job, Around),
        (claim, ended, freelancer_card): (Claim, Claim, &UserCard),
        deliverable: Deliverable,
        [for_client, for_freelancer]: [Details; 2],
    ) -> Result<Stepped, InternalError> {
        let freelancer = claim.freelancer_id;
        update_in(tx, deliverable.clone()).await?;
        let was = claim.status();
        let claim = self.save_in(tx, ended).await?;
        let payment = self.escrow.pay_in(tx, (around.client(), freelancer_card), &before, &claim).await?;
        self.accounts.count_completed_job_in(tx, [before.client_id, freelancer]).await?;
        let changes = &[JobChange::Status, JobChange::Claim, JobChange::Deliverable, JobChange::Escrow];
        let (job, snapshot) = self.jobs.change_with_in(tx, &before, job, changes, around.with_completed_job()).await?;
        self.record_in(tx, &claim, Some(was), snapshot).await?;
        let paid = Details { amount: Some(payment.amount), ..for_freelancer.clone() };
        let (kind, subject) = (NotificationKind::WorkApproved, Subject::Job(job.id));
        self.notifications.notify_in(tx, job.client_id, kind, for_client, subject).await?;
        self.notifications.notify_in(tx, freelancer, kind, for_freelancer, subject).await?;
        let (kind, subject) = (NotificationKind::PaymentReceived, Subject::Transaction(payment.id));
        self.notifications.notify_in(tx, freelancer, kind, paid, subject).await?;
        Ok(Stepped { job, claim, deliverable: Some(deliverable) })
    }
}
