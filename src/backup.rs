//! Copies of an embedded database while it is in use, and what a database must be told after it was restored.
//!
//! `lancewire backup FILE` copies an `SQLite` file as it is at one moment; a server that runs goes on writing. A
//! `PostgreSQL` has tools of its own (`docs/backups.md`).
//!
//! A restore brings back what was so at the time of the copy, which is not all wanted: events of before have positions that
//! others will get now, and sessions that had ended live again. [`restored`] ends both: the log gets another identity, by
//! which every cursor of before is refused as `CURSOR_EXPIRED`, and all accounts must sign in again. No server may run
//! meanwhile. Called by the command line alone.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{
    db::{Backend, Db},
    error::cause,
};

/// Why there is no copy, in one line.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It has tools of its own.
    #[error("database.url is a PostgreSQL: copy it with pg_dump or pg_basebackup, as docs/backups.md shows")]
    Postgres,
    /// Nothing is overwritten.
    #[error("{} is there already: name another file", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database cannot be read.
    #[error("the database cannot be copied: {}", cause(.0))]
    Database(#[from] DbErr),
}

/// Copies the database as it is now into a new file, for its owner alone, and returns its size in bytes. The file has its
/// name only once all of it is on the disk.
pub async fn back_up(db: &Db, file: &Path) -> Result<u64, BackupError> {
    if db.backend() == Backend::Postgres {
        return Err(BackupError::Postgres);
    }
    if file.exists() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let failed = |error| BackupError::File { file: part.clone(), error };
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed)?;
    drop(opened);
    // Reads one state of everything, as any reader does.
    let copy = db.statement("VACUUM INTO ?", [part.to_string_lossy().into_owned().into()]);
    db.reader().execute_raw(copy).await?;
    File::open(&part).and_then(|whole| whole.sync_all()).map_err(failed)?;
    std::fs::rename(&part, file).map_err(|error| BackupError::File { file: file.to_owned(), error })?;
    // The name is on the disk once its folder is.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    std::fs::metadata(file).map(|file| file.len()).map_err(failed)
}

/// Tells a database that it was restored. Returns how many accounts must sign in again.
pub async fn restored(db: &Db) -> Result<u64, DbErr> {
    let now = db.now().await?;
    db.transact(|tx| async move {
        let identity = Uuid::from_bytes(db.ids().secret());
        tx.execute("UPDATE event_log SET log_id = ? WHERE id = 1", [identity.into()]).await?;
        let without =
            "UPDATE sessions SET ended_at = ?, end_reason = 'restored' WHERE epoch IS NULL AND ended_at IS NULL";
        tx.execute(without, [now.into()]).await?;
        tx.execute("UPDATE users SET session_epoch = session_epoch + 1", []).await
    })
    .await
}
