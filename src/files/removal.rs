//! How files go: by the clock room, once nothing has used them for a day, and with them their share of the quota; and by a
//! sweep of the folder, for bytes that have no row.
//!
//! The row goes first and the bytes after it: whatever crashes in between leaves bytes that a sweep finds. The sweep takes
//! only what has been there for as long as an unused file may be, so that somebody who points a server at the folder of another
//! database by mistake has a day to see it.

use std::{collections::HashSet, path::Path, time::Duration};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, prelude::async_trait::async_trait};
use tokio::fs;
use uuid::Uuid;

use super::{Files, entity, store::Store};
use crate::{
    clock::Timestamp,
    error::InternalError,
    ids::{FileId, UserId},
    lifecycle::Lifecycle,
    schedule::{Due, DueRows},
};

/// Files that nothing uses.
const ROWS: DueRows = DueRows { table: "files", due: "remove_due_at", open: "remove_due_at IS NOT NULL" };
/// Between two sweeps.
const PERIOD: Duration = Duration::from_hours(1);
/// Names that are looked up at a time.
const PAGE: usize = 500;

/// Their removal in the clock room.
#[derive(Debug)]
pub struct UnusedFiles(pub Files);

#[async_trait]
impl Due for UnusedFiles {
    fn rows(&self) -> DueRows {
        ROWS
    }

    async fn act(&self, id: Uuid) -> Result<(), InternalError> {
        self.0.remove_due(id.into()).await
    }
}

impl Files {
    /// The server itself: removes a file that nothing has used for long enough, by the database's clock.
    #[tracing::instrument(skip_all, fields(file.id = %id))]
    async fn remove_due(&self, id: FileId) -> Result<(), InternalError> {
        let removed = self
            .db
            .transact(|tx| async move {
                if !self.shared.schedule.is_due_in(&tx, ROWS, id.into()).await? {
                    return Ok(false);
                }
                let sql = "DELETE FROM files WHERE id = ? AND used_by IS NULL RETURNING owner_id, byte_size, status";
                let rows = tx.query(sql, [id.into()]).await?;
                let Some(row) = rows.first() else { return Ok(false) };
                let (owner, bytes): (UserId, i64) = (row.try_get("", "owner_id")?, row.try_get("", "byte_size")?);
                // What was refused has given its bytes back.
                let held = if row.try_get::<String>("", "status")? == "REJECTED" { 0 } else { bytes };
                self.give_back_in(&tx, owner, 1, held).await?;
                Ok::<_, InternalError>(true)
            })
            .await?;
        if let Some(store) = self.shared.store.as_ref().filter(|_| removed)
            && let Err(error) = store.remove(id).await
        {
            tracing::warn!(error = %error, "the bytes of a removed file stay until the next sweep");
        }
        Ok(())
    }

    /// Removes old bytes without a row, and old uploads that have not ended. Returns how many.
    pub async fn sweep_once(&self) -> Result<u64, InternalError> {
        let Some(store) = &self.shared.store else { return Ok(0) };
        let mut removed = 0;
        for folder in store.folders() {
            let listed = |error| InternalError::Unavailable(format!("the folder of files: {error}"));
            let mut entries = match fs::read_dir(&folder).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(listed(error)),
            };
            let mut page = Vec::new();
            loop {
                let entry = entries.next_entry().await.map_err(listed)?;
                let is_last = entry.is_none();
                if let Some(entry) = entry {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    // What was not written here is left alone.
                    let Some(id) = Store::id_of(&name) else { continue };
                    let Ok(metadata) = entry.metadata().await else { continue };
                    let age = metadata.modified().map(Timestamp::from).map(|written| self.now() - written);
                    if age.is_ok_and(|age| age > self.shared.rules.unused) {
                        // A stage is of one attempt, and its file may be there.
                        page.push((id, entry.path(), name.contains('.')));
                    }
                }
                if page.len() >= PAGE || is_last {
                    removed += self.remove_without_rows(&std::mem::take(&mut page)).await?;
                }
                if is_last {
                    break;
                }
            }
        }
        if removed > 0 {
            tracing::info!(removed, "bytes without a file are removed");
        }
        Ok(removed)
    }

    async fn remove_without_rows(&self, page: &[(FileId, impl AsRef<Path>, bool)]) -> Result<u64, InternalError> {
        let ids: Vec<FileId> = page.iter().filter(|(.., staged)| !staged).map(|(id, ..)| *id).collect();
        let mut known: HashSet<FileId> = HashSet::new();
        if !ids.is_empty() {
            let select = entity::Entity::find().select_only().column(entity::Column::Id);
            // Of the primary: a replica may not know a row yet.
            let rows = select.filter(entity::Column::Id.is_in(ids)).into_tuple::<FileId>();
            known.extend(rows.all(self.db.writer()).await?);
        }
        let mut removed = 0;
        for (_, path, _) in page.iter().filter(|(id, _, staged)| *staged || !known.contains(id)) {
            removed += u64::from(fs::remove_file(path).await.is_ok());
        }
        Ok(removed)
    }
}

/// Sweeps now and then until the process stops.
pub async fn sweep(files: Files, lifecycle: Lifecycle) {
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if let Err(error) = files.sweep_once().await {
            tracing::warn!(error = %error, "the folder of files cannot be swept now");
        }
    }
}
