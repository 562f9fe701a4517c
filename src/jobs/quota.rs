//! How much a client may keep for nothing: drafts.
//!
//! A job that is posted holds its client's money; a draft costs nothing and stays. So a client has so many drafts, and so
//! many bytes of titles and descriptions in them (`marketplace.drafts_per_client`, `marketplace.draft_bytes_per_client`). A
//! draft that was called off counts for a day more: else whoever calls off and writes anew keeps as much as they like.
//! Called by the use cases that write drafts, in their transactions.
//!
//! Invariant: the rule holds under the lock of the client's row, so drafts written at the same moment see each other.

use chrono::TimeDelta;

use super::model::Job;
use crate::{
    accounts::Accounts,
    clock::Timestamp,
    db::{Backend, Tx},
    error::Invalid,
    jobs::JobError,
};

/// How long a draft that was called off still counts.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// What a client may keep in drafts.
#[derive(Clone, Copy, Debug)]
pub struct DraftQuota {
    /// How many.
    pub drafts: u32,
    /// Bytes of their titles and descriptions together, in UTF-8.
    pub bytes: u64,
}

impl DraftQuota {
    /// Refuses `draft`, which is about to be written, if its client keeps too much with it.
    pub(super) async fn hold_in(
        self,
        tx: &Tx,
        accounts: &Accounts,
        draft: &Job,
        now: Timestamp,
    ) -> Result<(), JobError> {
        accounts.lock_in(tx, draft.client_id).await?;
        let bytes = match tx.backend() {
            Backend::Sqlite => "LENGTH(CAST(title AS BLOB)) + LENGTH(CAST(description AS BLOB))",
            Backend::Postgres => "OCTET_LENGTH(title) + OCTET_LENGTH(description)",
        };
        let count = if tx.backend() == Backend::Postgres {
            "CAST(COALESCE(SUM(bytes), 0) AS bigint)"
        } else {
            "COALESCE(SUM(bytes), 0)"
        };
        let sql = format!(
            "SELECT COUNT(*) AS kept, {count} AS bytes FROM (SELECT {bytes} AS bytes FROM jobs WHERE client_id = ? AND \
             posted_at IS NULL AND id <> ? AND (status = 'DRAFT' OR updated_at > ?)) AS others"
        );
        let values = [draft.client_id.into(), draft.id.into(), (now - REMEMBERED).into()];
        let found = tx.query(&sql, values).await?;
        let (kept, bytes) = match found.first() {
            Some(row) => (row.try_get::<i64>("", "kept")?, row.try_get::<i64>("", "bytes")?),
            None => (0, 0),
        };
        self.allows(draft, u64::try_from(kept).unwrap_or_default(), u64::try_from(bytes).unwrap_or_default())?;
        Ok(())
    }

    /// Whether `draft` may be kept beside `others`, which have so many `bytes`.
    fn allows(self, draft: &Job, others: u64, bytes: u64) -> Result<(), Invalid> {
        let own = (draft.title.len() + draft.description.len()) as u64;
        let way_out = "Post some of them, or call some off and write this one tomorrow.";
        let refused = |what: String, field| {
            Err(Invalid::new(crate::error::InvalidKind::Value, format!("{what} {way_out}"), field))
        };
        if others >= u64::from(self.drafts) {
            refused(format!("title: a client keeps at most {} drafts, and you have {others}.", self.drafts), "title")
        } else if bytes + own > self.bytes {
            let left = self.bytes.saturating_sub(bytes);
            let what = format!(
                "description: the drafts of a client hold at most {} bytes of text together; this one has {own} and {left} \
                 are left.",
                self.bytes
            );
            refused(what, "description")
        } else {
            Ok(())
        }
    }
}
