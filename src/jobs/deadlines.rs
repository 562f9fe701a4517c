//! OPEN jobs whose deadline has passed: nobody can claim them any more, so they are EXPIRED, and the budget goes back to
//! their client.
//!
//! Called by the clock room. Invariant: a job expires once, and not before its deadline by the clock that decides, which
//! is asked under the job's lock; who moves the deadline or calls the job off before has been faster.

use sea_orm::prelude::async_trait::async_trait;
use uuid::Uuid;

use super::{Jobs, model::JobChange};
use crate::{
    error::InternalError,
    ids::JobId,
    notifications::model::{Details, NotificationKind, Part, Subject},
    schedule::{Due, DueRows},
};

const ROWS: DueRows = DueRows { table: "jobs", due: "deadline", open: "status = 'OPEN' AND deadline IS NOT NULL" };

/// The work of deadlines in the clock room.
#[derive(Debug)]
pub struct Deadlines(pub Jobs);

#[async_trait]
impl Due for Deadlines {
    fn rows(&self) -> DueRows {
        ROWS
    }

    async fn act(&self, id: Uuid) -> Result<(), InternalError> {
        self.0.expire_due(id.into()).await
    }
}

impl Jobs {
    #[tracing::instrument(skip_all, fields(job.id = %id))]
    async fn expire_due(&self, id: JobId) -> Result<(), InternalError> {
        self.db
            .transact(|tx| async move {
                if !self.schedule.is_due_in(&tx, ROWS, id.into()).await? {
                    return Ok(());
                }
                let before = self.lock_in(&tx, id).await?;
                let Some((before, Ok(job))) = before.map(|before| (before.clone(), before.expire())) else {
                    return Err(InternalError::corrupt(format!("{id} is due, and cannot expire")));
                };
                let around = self.around_in(&tx, &before).await?;
                self.wallets.refund_in(&tx, around.client(), before.budget, id.into()).await?;
                let changes = &[JobChange::Status, JobChange::Escrow];
                let (job, _) = self.change_with_in(&tx, &before, job, changes, around).await?;
                let mut details = Details::new(Part::Client, &job.title);
                details.amount = Some(before.budget);
                let (kind, subject) = (NotificationKind::JobExpired, Subject::Job(id));
                self.notifications.notify_in(&tx, job.client_id, kind, details, subject).await
            })
            .await
    }
}
