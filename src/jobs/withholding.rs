//! Takes the OPEN jobs of a suspended client out of the feed, and puts them back when the client is reinstated.
//!
//! Whether a job is *withheld* is a column of its own: lists then need not look at each job's client. A suspension notes
//! the client in `withholding_due` in its own transaction; this worker walks their jobs from there in pages, each one
//! transaction, and goes on after a restart. Any node may do so: the row that is noted is locked meanwhile. Each job that
//! changes gets its next version and a `jobUpdated` event for everybody, and `jobPosted` when it comes back.
//!
//! No claim waits for the worker: [`Jobs::claimed_in`] looks at the client itself. And a job that becomes OPEN again
//! while its client is suspended is withheld by the change itself (`service`).

use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{
    Jobs,
    entity::jobs,
    model::{JobChange, JobStatus},
};
use crate::{
    db::{Backend, Tx},
    error::InternalError,
    ids::{JobId, UserId},
    lifecycle::Lifecycle,
};

/// How often it looks where nobody calls it: for what a node has noted and not lived to do.
const PERIOD: Duration = Duration::from_mins(1);
/// Jobs of one transaction.
const PAGE: usize = 20;

/// Does what suspensions and reinstatements leave to be done, until the process stops. May be cut off anywhere.
pub async fn run(jobs: Jobs, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(PERIOD);
    let noted = jobs.accounts.suspensions();
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = noted.notified() => {}
            _ = ticks.tick() => {}
        }
        loop {
            match jobs.withhold_some().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "jobs of suspended clients cannot be withheld now");
                    break;
                }
            }
        }
    }
}

impl Jobs {
    /// Looks at a page of one client's jobs; false if no client is noted.
    pub async fn withhold_some(&self) -> Result<bool, InternalError> {
        // Nearly always there is none, and on `SQLite` a transaction takes the only writer.
        let noted = self.db.statement("SELECT 1 FROM withholding_due LIMIT 1", []);
        if self.db.writer().query_one_raw(noted).await?.is_none() {
            return Ok(false);
        }
        self.db.transact(|tx| async move { self.withhold_some_in(&tx).await }).await
    }

    async fn withhold_some_in(&self, tx: &Tx) -> Result<bool, InternalError> {
        let lock = if tx.backend() == Backend::Postgres { " FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!("SELECT user_id, after_job FROM withholding_due LIMIT 1{lock}");
        let rows = tx.query(&sql, []).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let (client, after): (UserId, Uuid) = (row.try_get("", "user_id")?, row.try_get("", "after_job")?);
        let running = JobStatus::ALL.iter().filter(|status| status.holds_escrow()).map(|status| status.as_str());
        // Claimed ones too: one whose claim is just being released is waited for, and seen as it is then.
        let page: Vec<JobId> = jobs::Entity::find()
            .select_only()
            .column(jobs::Column::Id)
            .filter(jobs::Column::ClientId.eq(client))
            .filter(jobs::Column::Id.gt(after))
            .filter(jobs::Column::Status.is_in(running))
            .order_by_asc(jobs::Column::Id)
            .limit(u64::try_from(PAGE).unwrap_or(u64::MAX))
            .into_tuple()
            .all(&**tx)
            .await?;
        for id in &page {
            let Some(before) = self.lock_in(tx, *id).await? else { continue };
            if before.status() != JobStatus::Open
                || self.accounts.is_suspended_in(tx, before.client_id).await? == before.is_withheld()
            {
                continue;
            }
            // The change itself looks at the client.
            let (_, snapshot) = self.change_in(tx, &before, before.clone(), &[JobChange::Status]).await?;
            self.record_reposted_in(tx, &snapshot).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => {
                let sql = "UPDATE withholding_due SET after_job = ? WHERE user_id = ?";
                tx.pipeline(sql, [(*last).into(), client.into()]).await?;
            }
            _ => tx.pipeline("DELETE FROM withholding_due WHERE user_id = ?", [client.into()]).await?,
        }
        Ok(true)
    }
}
