//! What an admin does about a job that its two sides cannot move any more: a suspended freelancer holds it, or a client
//! who has lost the role would have to review it.
//!
//! An intervention is possible while the job is CLAIMED or IN_REVIEW, needs a reason, is written to the audit log and
//! told to both sides. Nobody intervenes where they are a party. Work that waits for its review is reviewed by it: paid
//! for, or sent back with the reason.

use super::{
    error::StepError,
    model::{Claim, ClaimStatus, Deliverable},
    service::{Claims, Made, Stepped, latest_deliverable_in, refused, update_in},
};
use crate::{
    auth::actor::Actor,
    db::Tx,
    error::{InternalError, Invalid},
    idempotency::{IdempotencyKey, once_in},
    jobs::{
        events::JobSnapshot,
        model::{Job, JobChange, Step},
        service::{parse_id, require},
    },
    money::Money,
    named_enum,
    notifications::model::{Details, NotificationKind, Part, Subject},
    text,
};

named_enum! {
    /// What becomes of a job that is stuck.
    pub enum JobIntervention {
        /// The claim ends and the job is OPEN again.
        Reopen = "REOPEN",
        /// The claim ends and escrow goes back to the client.
        Refund = "REFUND",
        /// The freelancer is paid as if the work had been approved.
        Pay = "PAY",
    }
}

/// What an intervention has ended, before the job is written.
struct Ended {
    before: Job,
    job: Job,
    claim: Claim,
    /// The claim's status before.
    was: ClaimStatus,
    /// The work that it reviewed.
    deliverable: Option<Deliverable>,
}

impl Claims {
    /// Admin: ends what holds a CLAIMED or IN_REVIEW job.
    #[tracing::instrument(skip_all, fields(job.id = job_id, step = step.as_str()))]
    pub async fn intervene(
        &self,
        actor: Actor,
        job_id: &str,
        step: JobIntervention,
        reason: &str,
        key: &str,
    ) -> Result<Stepped, StepError> {
        let admin = actor.admin()?;
        let key = &IdempotencyKey::parse(key)?;
        let job_id = parse_id("jobId", job_id)?;
        let reason = &text::REASON.parse("reason", reason)?;
        let input = &(job_id, step.as_str(), reason);
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let done = once_in(&tx, now, admin, ("interveneInJob", key), input, || async {
                    let before = self.jobs.lock_in(&tx, job_id).await?;
                    let before = before.ok_or_else(|| Invalid::not_found("jobId", "job"))?;
                    if before.is_party(&actor) {
                        let why = "must not be a job to which you are a party; another admin can intervene";
                        return Err(Invalid::value("jobId", why).into());
                    }
                    require(&before, Step::Intervene)?;
                    let claim = self.lock_live_in(&tx, job_id).await?;
                    let at = self.clock.now();
                    let next = match step {
                        JobIntervention::Reopen => (before.reopen(), claim.reopen(at, reason)),
                        JobIntervention::Refund => (before.refund(reason), claim.refund(at, reason)),
                        JobIntervention::Pay => (before.pay(), claim.pay(at, reason)),
                    };
                    let (Ok(job), Ok(ended)) = next else {
                        return Err(refused(before, claim, Step::Intervene));
                    };
                    let deliverable = self.review_in(&tx, &claim, step, reason).await?;
                    let (was, claim) = (claim.status(), self.save_in(&tx, ended).await?);
                    let ended = Ended { before, job, claim, was, deliverable };
                    let stepped = match step {
                        JobIntervention::Reopen => self.reopen_in(&tx, ended, reason).await?,
                        JobIntervention::Refund => self.refund_in(&tx, ended, reason).await?,
                        JobIntervention::Pay => self.pay_in(&tx, ended, reason).await?,
                    };
                    let detail = format!("{}: {reason}", step.as_str());
                    self.accounts.audit_in(&tx, admin, "interveneInJob", &job_id.to_string(), &detail).await?;
                    let made =
                        Made { claim: stepped.claim.id, deliverable: stepped.deliverable.as_ref().map(|d| d.id) };
                    Ok::<_, StepError>((made, stepped))
                })
                .await?;
                Ok(self.outcome_in(&tx, &actor, done).await?)
            })
            .await
    }

    async fn reopen_in(&self, tx: &Tx, ended: Ended, reason: &str) -> Result<Stepped, InternalError> {
        let Ended { before, job, claim, was, deliverable } = ended;
        let changes = changes(&[JobChange::Status, JobChange::Claim], deliverable.as_ref());
        let (job, snapshot) = self.jobs.change_in(tx, &before, job, &changes).await?;
        self.jobs.record_reposted_in(tx, &snapshot).await?;
        self.record_in(tx, &claim, Some(was), snapshot).await?;
        let kind = NotificationKind::ClaimReleased;
        self.tell_both_in(tx, &job, &claim, kind, [None, None], reason).await?;
        Ok(Stepped { job, claim, deliverable })
    }

    async fn refund_in(&self, tx: &Tx, ended: Ended, reason: &str) -> Result<Stepped, InternalError> {
        let Ended { before, job, claim, was, deliverable } = ended;
        let client = self.accounts.card_in(tx, before.client_id).await?;
        self.escrow.refund_in(tx, &client, &before).await?;
        let (job, snapshot) = self.change_with_escrow_in(tx, &before, job, deliverable.as_ref()).await?;
        self.record_in(tx, &claim, Some(was), snapshot).await?;
        let kind = NotificationKind::JobCancelled;
        self.tell_both_in(tx, &job, &claim, kind, [Some(before.budget), None], reason).await?;
        Ok(Stepped { job, claim, deliverable })
    }

    async fn pay_in(&self, tx: &Tx, ended: Ended, reason: &str) -> Result<Stepped, InternalError> {
        let Ended { before, job, claim, was, deliverable } = ended;
        let freelancer = claim.freelancer_id;
        let [client_card, freelancer_card] = self.accounts.cards_in(tx, [before.client_id, freelancer]).await?;
        let payment = self.escrow.pay_in(tx, (&client_card, &freelancer_card), &before, &claim).await?;
        self.accounts.count_completed_job_in(tx, [before.client_id, freelancer]).await?;
        let (job, snapshot) = self.change_with_escrow_in(tx, &before, job, deliverable.as_ref()).await?;
        self.record_in(tx, &claim, Some(was), snapshot).await?;
        let kind = NotificationKind::WorkApproved;
        self.tell_both_in(tx, &job, &claim, kind, [None, None], reason).await?;
        let mut paid = Details::new(Part::Freelancer, &job.title);
        paid.amount = Some(payment.amount);
        let (kind, subject) = (NotificationKind::PaymentReceived, Subject::Transaction(payment.id));
        self.notifications.notify_in(tx, freelancer, kind, paid, subject).await?;
        Ok(Stepped { job, claim, deliverable })
    }

    /// Reviews the work that waits, if any does.
    async fn review_in(
        &self,
        tx: &Tx,
        claim: &Claim,
        step: JobIntervention,
        reason: &str,
    ) -> Result<Option<Deliverable>, InternalError> {
        let (latest, at) = (latest_deliverable_in(tx, claim.id).await?, self.clock.now());
        let review = |work: Deliverable| match step {
            JobIntervention::Pay => work.approve(at).ok(),
            JobIntervention::Reopen | JobIntervention::Refund => work.send_back(at, reason).ok(),
        };
        let Some(reviewed) = latest.and_then(review) else { return Ok(None) };
        update_in(tx, reviewed.clone()).await?;
        Ok(Some(reviewed))
    }

    async fn change_with_escrow_in(
        &self,
        tx: &Tx,
        before: &Job,
        job: Job,
        deliverable: Option<&Deliverable>,
    ) -> Result<(Job, JobSnapshot), InternalError> {
        let changes = changes(&[JobChange::Status, JobChange::Claim, JobChange::Escrow], deliverable);
        self.jobs.change_in(tx, before, job, &changes).await
    }

    /// Tells the client and the freelancer, with what came back to each.
    async fn tell_both_in(
        &self,
        tx: &Tx,
        job: &Job,
        claim: &Claim,
        kind: NotificationKind,
        amounts: [Option<Money>; 2],
        reason: &str,
    ) -> Result<(), InternalError> {
        let both = [(job.client_id, Part::Client), (claim.freelancer_id, Part::Freelancer)];
        for ((user, part), amount) in both.into_iter().zip(amounts) {
            let mut details = Details::new(part, &job.title);
            details.amount = amount;
            details.reason = Some(reason.to_owned());
            self.notifications.notify_in(tx, user, kind, details, Subject::Job(job.id)).await?;
        }
        Ok(())
    }
}

fn changes(always: &[JobChange], deliverable: Option<&Deliverable>) -> Vec<JobChange> {
    always.iter().copied().chain(deliverable.map(|_| JobChange::Deliverable)).collect()
}
