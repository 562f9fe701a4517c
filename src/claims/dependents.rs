//! What would be stuck if an account lost a role: money in escrow without the client who reviews the work, a claim
//! without the freelancer who does it.

use sea_orm::prelude::async_trait::async_trait;

use super::{Claims, model::ClaimStatus};
use crate::{
    accounts::service::RoleDependents,
    auth::actor::Roles,
    db::Tx,
    error::InternalError,
    ids::{JobId, UserId},
    jobs::model::JobStatus,
    money::Money,
};

#[async_trait]
impl RoleDependents for Claims {
    async fn of_in(&self, tx: &Tx, user: UserId, lost: Roles) -> Result<Option<String>, InternalError> {
        if lost.client {
            let statuses = listed(JobStatus::ALL.iter().filter(|status| status.holds_escrow()).map(|s| s.as_str()));
            let sql = format!(
                "SELECT COUNT(*) AS jobs, CAST(COALESCE(SUM(budget_minor), 0) AS bigint) AS held FROM jobs \
                 WHERE client_id = ? AND status IN ({statuses})"
            );
            let rows = tx.query(&sql, [user.into()]).await?;
            let row = rows.first().ok_or_else(|| InternalError::corrupt("a count without a row"))?;
            let (jobs, held): (i64, i64) = (row.try_get("", "jobs")?, row.try_get("", "held")?);
            if jobs > 0 {
                let currency = self.escrow.currency();
                let held = currency.format(Money::from_minor(held));
                return Ok(Some(format!(
                    "must keep CLIENT: {jobs} of the account's jobs hold {held} {} in escrow. Cancel those that are \
                     OPEN (cancelJob), and end the others (interveneInJob) or wait until they are completed",
                    currency.code()
                )));
            }
        }
        if lost.freelancer {
            let statuses = listed(ClaimStatus::live().map(ClaimStatus::as_str));
            let sql = format!(
                "SELECT job_id FROM claims WHERE freelancer_id = ? AND status IN ({statuses}) ORDER BY id LIMIT 100"
            );
            let rows = tx.query(&sql, [user.into()]).await?;
            if let Some(first) = rows.first() {
                let first: JobId = first.try_get("", "job_id")?;
                return Ok(Some(format!(
                    "must keep FREELANCER: the account holds {} live claims, one of them on {first}. Have them \
                     released, or end them (interveneInJob)",
                    rows.len()
                )));
            }
        }
        Ok(None)
    }
}

/// Words of ours as SQL lists them.
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}
