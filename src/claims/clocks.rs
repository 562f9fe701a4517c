//! What happens to claims because their time has come: one that nothing was submitted for lapses, and its job is OPEN
//! again; work that its client did not review in time counts as approved, and is paid for.
//!
//! Called by the clock room. Invariant: each happens once, and not before its time by the clock that decides, which is
//! asked under the locks of the job and the claim. Who submits, gives back, reviews or intervenes before has been
//! faster: then nothing is due any more.

use sea_orm::{EntityTrait, prelude::async_trait::async_trait};
use uuid::Uuid;

use super::{Claims, entity::claims, model::Claim, service::latest_deliverable_in};
use crate::{
    db::Tx,
    error::InternalError,
    ids::ClaimId,
    jobs::model::{Job, JobChange},
    notifications::model::{Details, NotificationKind, Part, Subject},
    schedule::{Due, DueRows},
};

const LAPSING: DueRows =
    DueRows { table: "claims", due: "expires_at", open: "status = 'ACTIVE' AND expires_at IS NOT NULL" };
const UNREVIEWED: DueRows =
    DueRows { table: "claims", due: "auto_approve_at", open: "status = 'IN_REVIEW' AND auto_approve_at IS NOT NULL" };

/// ACTIVE claims, in the clock room.
#[derive(Debug)]
pub struct LapsingClaims(pub Claims);

#[async_trait]
impl Due for LapsingClaims {
    fn rows(&self) -> DueRows {
        LAPSING
    }

    async fn act(&self, id: Uuid) -> Result<(), InternalError> {
        self.0.lapse_due(id.into()).await
    }
}

/// Work under review, in the clock room.
#[derive(Debug)]
pub struct UnreviewedWork(pub Claims);

#[async_trait]
impl Due for UnreviewedWork {
    fn rows(&self) -> DueRows {
        UNREVIEWED
    }

    async fn act(&self, id: Uuid) -> Result<(), InternalError> {
        self.0.approve_due(id.into()).await
    }
}

impl Claims {
    #[tracing::instrument(skip_all, fields(claim.id = %id))]
    async fn lapse_due(&self, id: ClaimId) -> Result<(), InternalError> {
        self.db
            .transact(|tx| async move {
                let Some((before, claim)) = self.lock_due_in(&tx, LAPSING, id).await? else { return Ok(()) };
                let (Ok(ended), Ok(job)) = (claim.lapse(self.clock.now()), before.lapse()) else {
                    return Err(InternalError::corrupt(format!("{id} is due, and cannot lapse")));
                };
                let was = claim.status();
                let claim = self.save_in(&tx, ended).await?;
                let changes = &[JobChange::Status, JobChange::Claim];
                let (job, snapshot) = self.jobs.change_in(&tx, &before, job, changes).await?;
                self.jobs.record_reposted_in(&tx, &snapshot).await?;
                self.record_in(&tx, &claim, Some(was), snapshot).await?;
                for (user, part) in [(job.client_id, Part::Client), (claim.freelancer_id, Part::Freelancer)] {
                    let (kind, subject) = (NotificationKind::ClaimReleased, Subject::Job(job.id));
                    let details = Details::new(part, &job.title);
                    self.notifications.notify_in(&tx, user, kind, details, subject).await?;
                }
                Ok(())
            })
            .await
    }

    #[tracing::instrument(skip_all, fields(claim.id = %id))]
    async fn approve_due(&self, id: ClaimId) -> Result<(), InternalError> {
        self.db
            .transact(|tx| async move {
                let Some((before, claim)) = self.lock_due_in(&tx, UNREVIEWED, id).await? else { return Ok(()) };
                let now = self.clock.now();
                let work = latest_deliverable_in(&tx, id).await?;
                let work = work.ok_or_else(|| InternalError::corrupt(format!("{id} is reviewed without work")))?;
                let (Ok(ended), Ok(job), Ok(work)) = (claim.approve(now), before.approve(), work.approve(now)) else {
                    return Err(InternalError::corrupt(format!("{id} is due, and cannot be approved")));
                };
                let around = self.jobs.around_in(&tx, &before).await?;
                let card = self.accounts.card_in(&tx, claim.freelancer_id).await?;
                let details = [Part::Client, Part::Freelancer].map(|part| Details::new(part, &job.title));
                self.complete_in(&tx, (before, job, around), (claim, ended, &card), work, details).await.map(drop)
            })
            .await
    }

    /// Locks a claim that is due, after its job as everywhere.
    async fn lock_due_in(&self, tx: &Tx, rows: DueRows, id: ClaimId) -> Result<Option<(Job, Claim)>, InternalError> {
        let pair = self.lock_pair_in(tx, claims::Entity::find_by_id(id), None).await?;
        Ok(if self.schedule.is_due_in(tx, rows, id.into()).await? { pair } else { None })
    }
}
