//! How the bytes of a file come: into a stage, past the hash and the look at their type, past the scanner, to their place,
//! and only then into the row.
//!
//! A lease in the row keeps a second upload of the same file away, on any node; it ends with the upload, or by itself where
//! the node has crashed. The attempt number guards the end: of two uploads, of which one has lost its lease, the later one
//! counts. Memory does not depend on the size. All waits have an end: bytes come at a least rate, and all of them within
//! `files.transfer_timeout_ms`.
//!
//! Called by [`http`](crate::http), as a task of its own: a client that goes away must not keep the lease.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{Stream, StreamExt};
use sea_orm::{EntityTrait, QuerySelect, sea_query::LockType};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::{
    Files, entity,
    error::UploadError,
    kinds::{self, Kind, Look},
    model::{File, FileStatus},
    scanner::Verdict,
    service::Rules,
    store::{Stage, Store},
};
use crate::{ids::FileId, proof::hex};

/// Over what time the least rate is looked at: a pause of less is none.
const WINDOW: Duration = Duration::from_secs(WINDOW_SECONDS as u64);
const WINDOW_SECONDS: usize = 10;
/// How much longer a lease lasts than the bytes may take: for the scanner, the disk and the database.
const AFTERWARDS: TimeDelta = TimeDelta::minutes(15);

/// What the head of a request says of its body.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Its size in bytes.
    pub size: u64,
    /// Its media type, without parameters.
    pub content_type: String,
}

/// What became of the bytes.
enum Checked {
    Good,
    Bad(String),
}

impl Files {
    /// Takes the bytes of a file. Afterwards it is READY; or REJECTED, if they are those that were promised and of a type that
    /// is not taken; or as it was before. Not cancel safe: a caller that gives up leaves a lease behind.
    #[tracing::instrument(skip_all, fields(file.id = %id))]
    pub async fn receive<B: AsRef<[u8]>, E>(
        &self,
        id: FileId,
        announced: &Announced,
        body: impl Stream<Item = Result<B, E>> + Unpin + Send,
    ) -> Result<File, UploadError> {
        let taken = self.take(id, announced, body).await;
        let outcome = match &taken {
            Ok(_) => "ready",
            Err(UploadError::Rejected(_)) => "rejected",
            Err(UploadError::InternalError(_) | UploadError::DiskFull | UploadError::NotScanned) => "failed",
            Err(_) => "refused",
        };
        metrics::counter!("lancewire_uploads_total", "outcome" => outcome).increment(1);
        taken
    }

    async fn take<B: AsRef<[u8]>, E>(
        &self,
        id: FileId,
        announced: &Announced,
        body: impl Stream<Item = Result<B, E>> + Unpin + Send,
    ) -> Result<File, UploadError> {
        let store = self.shared.store.as_ref().ok_or(UploadError::NotFound)?;
        let _permit = self.upload_permit()?;
        let file = self.begin(id, announced).await?;
        // A type that is not taken any more has to be asked for anew.
        let kind = kinds::find(&file.content_type).ok_or(UploadError::NotFound);
        let staged = match kind {
            Ok(kind) => self.stage(store, &file, kind, body).await,
            Err(error) => Err(error),
        };
        let ended = match staged {
            Ok((stage, Checked::Good)) => self.keep(&file, stage).await,
            Ok((_, Checked::Bad(why))) => self.reject(&file, why).await,
            Err(error) => Err(error),
        };
        if ended.is_err()
            && let Err(error) = self.let_go(&file).await
        {
            tracing::warn!(error = %error, "the lease of an upload stays until its end");
        }
        ended
    }

    /// Takes the lease.
    async fn begin(&self, id: FileId, announced: &Announced) -> Result<File, UploadError> {
        let Rules { uploads_per_user, transfer, .. } = self.shared.rules;
        let lease = TimeDelta::from_std(transfer).unwrap_or(TimeDelta::hours(1)) + AFTERWARDS;
        self.db
            .transact(|tx| async move {
                let row = entity::Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(&*tx).await?;
                let file = File::try_from(row.ok_or(UploadError::NotFound)?)?;
                let now = self.now();
                match file.status {
                    FileStatus::Pending => {}
                    FileStatus::Ready => return Err(UploadError::Done),
                    FileStatus::Rejected => return Err(UploadError::Refused(file.rejection.unwrap_or_default())),
                }
                if u64::try_from(file.byte_size) != Ok(announced.size) {
                    return Err(UploadError::OtherSize(file.byte_size));
                }
                if !announced.content_type.eq_ignore_ascii_case(&file.content_type) {
                    return Err(UploadError::OtherType(file.content_type));
                }
                if file.leased_until.is_some_and(|until| until > now) {
                    return Err(UploadError::Busy);
                }
                // Uploads of one owner that begin together queue here, and see each other.
                let lock = "UPDATE file_quotas SET files = files WHERE user_id = ?";
                tx.execute(lock, [file.owner_id.into()]).await?;
                let sql = "SELECT COUNT(*) AS running FROM files WHERE owner_id = ? AND leased_until > ?";
                let rows = tx.query(sql, [file.owner_id.into(), now.into()]).await?;
                let running: i64 = rows.first().map_or(Ok(0), |row| row.try_get("", "running"))?;
                if running >= i64::from(uploads_per_user) {
                    return Err(UploadError::TooMany(uploads_per_user));
                }
                let attempt = file.attempt.saturating_add(1);
                let sql = "UPDATE files SET attempt = ?, leased_until = ? WHERE id = ?";
                tx.execute(sql, [attempt.into(), (now + lease).into(), id.into()]).await?;
                Ok::<_, UploadError>(File { attempt, ..file })
            })
            .await
    }

    /// Writes the body into a stage, as it comes, and looks at it.
    async fn stage<B: AsRef<[u8]>, E>(
        &self,
        store: &Store,
        file: &File,
        kind: &Kind,
        mut body: impl Stream<Item = Result<B, E>> + Unpin + Send,
    ) -> Result<(Stage, Checked), UploadError> {
        let mut stage = store.begin(file.id, file.attempt).await?;
        let (mut hash, mut look, mut missing) = (Sha256::new(), Look::begin(), file.byte_size);
        let mut pace = Pace::begin(&self.shared.rules);
        loop {
            let bytes = match timeout(pace.patience(), body.next()).await {
                Err(_) => return Err(UploadError::TooSlow),
                Ok(None) => break,
                Ok(Some(Err(_))) => return Err(UploadError::BrokeOff),
                Ok(Some(Ok(bytes))) => bytes,
            };
            let bytes = bytes.as_ref();
            missing = missing.saturating_sub_unsigned(bytes.len() as u64);
            if missing < 0 {
                return Err(UploadError::TooLong(file.byte_size));
            }
            hash.update(bytes);
            look.pass(bytes);
            stage.write(bytes).await?;
            if !pace.came(bytes.len()) {
                return Err(UploadError::TooSlow);
            }
        }
        if missing > 0 {
            return Err(UploadError::BrokeOff);
        }
        let hash = hex(&hash.finalize());
        if hash != file.sha256 {
            return Err(UploadError::OtherHash(hash));
        }
        if let Err(why) = look.check(kind) {
            return Ok((stage, Checked::Bad(why)));
        }
        stage.flush().await?;
        match self.shared.scanner.scan(stage.path()).await {
            Ok(Verdict::Clean) => Ok((stage, Checked::Good)),
            Ok(Verdict::Infected(name)) => Ok((stage, Checked::Bad(format!("the virus scanner found {name}")))),
            Err(error) => {
                tracing::error!(error = %error, "the virus scanner cannot be asked, so files stay PENDING");
                Err(UploadError::NotScanned)
            }
        }
    }

    /// Puts the bytes in their place, and says so in the row.
    async fn keep(&self, file: &File, stage: Stage) -> Result<File, UploadError> {
        stage.keep().await?;
        self.db
            .transact(|tx| async move {
                let now = self.now();
                let sql = "UPDATE files SET status = 'READY', ready_at = ?, leased_until = NULL, remove_due_at = ? \
                           WHERE id = ? AND status = 'PENDING' AND attempt = ?";
                let due = now + self.shared.rules.unused;
                let values = [now.into(), due.into(), file.id.into(), file.attempt.into()];
                if tx.execute(sql, values).await? == 1 { Ok(()) } else { Err(UploadError::Busy) }
            })
            .await?;
        Ok(File { status: FileStatus::Ready, leased_until: None, ..file.clone() })
    }

    /// Says in the row why the file is refused, for good. Its bytes give back their share of the quota.
    async fn reject(&self, file: &File, why: String) -> Result<File, UploadError> {
        let why = &why;
        self.db
            .transact(|tx| async move {
                let sql = "UPDATE files SET status = 'REJECTED', rejection = ?, leased_until = NULL \
                           WHERE id = ? AND status = 'PENDING' AND attempt = ?";
                let values = [why.as_str().into(), file.id.into(), file.attempt.into()];
                if tx.execute(sql, values).await? != 1 {
                    return Err(UploadError::Busy);
                }
                Ok(self.give_back_in(&tx, file.owner_id, 0, file.byte_size).await?)
            })
            .await?;
        Err(UploadError::Rejected(why.clone()))
    }

    /// Gives the lease back.
    async fn let_go(&self, file: &File) -> Result<(), UploadError> {
        self.db
            .transact(|tx| async move {
                let sql = "UPDATE files SET leased_until = NULL WHERE id = ? AND attempt = ?";
                tx.execute(sql, [file.id.into(), file.attempt.into()]).await?;
                Ok(())
            })
            .await
    }
}

/// How fast bytes must come.
struct Pace {
    end: Instant,
    /// When the running window ends, and what has yet to come by then, in bytes.
    window: Instant,
    missing: usize,
    least: usize,
}

impl Pace {
    fn begin(rules: &Rules) -> Self {
        let now = Instant::now();
        let per_second = usize::try_from(rules.min_bytes_per_second).unwrap_or(usize::MAX);
        let least = per_second.saturating_mul(WINDOW_SECONDS);
        Self { end: now + rules.transfer, window: now + WINDOW, missing: least, least }
    }

    /// How long the next bytes may take.
    fn patience(&self) -> Duration {
        let end = if self.missing > 0 { self.window.min(self.end) } else { self.end.min(self.window + WINDOW) };
        end.saturating_duration_since(Instant::now())
    }

    /// So many have come. Whether that was fast enough.
    fn came(&mut self, bytes: usize) -> bool {
        let now = Instant::now();
        self.missing = self.missing.saturating_sub(bytes);
        if now >= self.window {
            if self.missing > 0 {
                return false;
            }
            (self.window, self.missing) = (now + WINDOW, self.least);
        }
        now < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn pace() -> Pace {
        let layer = "[files]\nmin_bytes_per_second = 10\ntransfer_timeout_ms = 60000";
        let config = Config::layered(Environment::Development, &[layer]).expect("usable");
        Pace::begin(&(&config.files).into())
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_come_at_a_least_rate_and_all_of_them_in_time() {
        let mut slow = pace();
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(slow.came(9), "the first ten seconds are not over");
        }
        assert!(slow.patience() <= Duration::from_secs(1), "19 bytes have to come in the last of them");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!slow.came(9));
        let (mut steady, mut seconds) = (pace(), 0);
        while steady.came(10) {
            tokio::time::advance(Duration::from_secs(1)).await;
            seconds += 1;
        }
        assert_eq!(seconds, 60, "as long as it may take, and no longer");
        assert_eq!(steady.patience(), Duration::ZERO);
    }
}
