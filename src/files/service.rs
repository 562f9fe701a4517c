//! The use cases of files: reserving, using, and what readers ask. How bytes come stands in [`upload`](super::upload), how
//! unused files go in [`removal`](super::removal).
//!
//! A file's row is locked before its owner's quota, wherever both are.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::LockType,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{
    entity,
    error::{FileError, UploadError},
    links::{BadLink, Deed, Links},
    model::{File, FileStatus, NewFile, Reservation, Use},
    scanner::Scanner,
    settings::FileSettings,
    store::Store,
};
use crate::{
    auth::actor::Actor,
    clock::Timestamp,
    db::{Db, Tx},
    error::{InternalError, Invalid},
    ids::{FileId, Ids, UserId},
    schedule::Schedule,
};

/// The files. Clones share everything.
#[derive(Clone, Debug)]
pub struct Files {
    pub(super) db: Db,
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    ids: Ids,
    pub(super) schedule: Schedule,
    links: Links,
    pub(super) rules: Rules,
    pub(super) store: Option<Store>,
    pub(super) scanner: Scanner,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
}

/// What the settings say of files.
#[derive(Clone, Debug)]
pub struct Rules {
    max_bytes: u32,
    bytes_per_user: i64,
    files_per_user: i64,
    pub(super) uploads_per_user: u32,
    transfers: usize,
    upload_link: TimeDelta,
    download_link: TimeDelta,
    /// How long the bytes of one file may take, either way.
    pub(super) transfer: Duration,
    pub(super) min_bytes_per_second: u32,
    pub(super) unused: TimeDelta,
    scan: Duration,
    scanner: String,
}

impl From<&FileSettings> for Rules {
    fn from(settings: &FileSettings) -> Self {
        Self {
            max_bytes: settings.max_bytes,
            bytes_per_user: i64::try_from(settings.bytes_per_user).unwrap_or(i64::MAX / 2),
            files_per_user: settings.files_per_user.into(),
            uploads_per_user: settings.uploads_per_user,
            transfers: usize::try_from(settings.transfers).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS),
            upload_link: TimeDelta::seconds(settings.upload_link_seconds.into()),
            download_link: TimeDelta::seconds(settings.download_link_seconds.into()),
            transfer: Duration::from_millis(settings.transfer_timeout_ms),
            min_bytes_per_second: settings.min_bytes_per_second,
            unused: TimeDelta::seconds(settings.unused_seconds.into()),
            scan: Duration::from_millis(settings.scan_timeout_ms),
            scanner: settings.scanner.clone(),
        }
    }
}

/// Where and how to send the bytes of a file.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to `PUT` them.
    pub url: String,
    /// The type that the request must name.
    pub content_type: String,
    /// Until when the request may begin.
    pub expires_at: Timestamp,
}

/// A file whose bytes may be read.
#[derive(Debug)]
pub struct Opened {
    /// What it is.
    pub file: File,
    /// Its bytes, from the first one on.
    pub bytes: tokio::fs::File,
    /// How long they may take.
    pub within: Duration,
    /// Counts as one of the downloads of this node until it is dropped.
    pub permit: OwnedSemaphorePermit,
}

/// Why bytes are not handed out.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// There are none, or not any more.
    #[error("There is no such file any more.")]
    NotFound,
    /// The node hands out as many files as it may at the same time.
    #[error("This server is sending as many files as it can. Try again in a moment.")]
    Full,
    /// Ours.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

impl Files {
    /// Files by these rules, with their bytes in `folder`; none are taken without one.
    pub fn new(db: Db, ids: Ids, schedule: Schedule, links: Links, folder: Option<PathBuf>, rules: Rules) -> Self {
        let store = folder.map(Store::new);
        let scanner = Scanner::new(&rules.scanner, rules.scan);
        let [uploads, downloads] = [(), ()].map(|()| Arc::new(Semaphore::new(rules.transfers)));
        let shared = Shared { ids, schedule, links, rules, store, scanner, uploads, downloads };
        Self { db, shared: Arc::new(shared) }
    }

    /// The same on another view of the database.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        Self { db: db.clone(), shared: Arc::clone(&self.shared) }
    }

    /// The time that decides: the database's.
    pub(super) fn now(&self) -> Timestamp {
        self.shared.schedule.after(TimeDelta::zero())
    }

    /// Reserves a file: its row, its share of the owner's quota, and where to send its bytes.
    #[tracing::instrument(skip_all, fields(file.bytes = new.byte_size))]
    pub async fn create_upload(&self, actor: Actor, new: &NewFile) -> Result<(File, Target), FileError> {
        let owner = actor.signed_in()?;
        let Shared { ids, links, rules, store, schedule, .. } = &*self.shared;
        let reserved = &new.parse(rules.max_bytes)?;
        if store.is_none() {
            return Err(InternalError::Unavailable("files.folder is not set, so no files are taken".into()).into());
        }
        let file = self
            .db
            .transact(|tx| async move {
                let now = self.now();
                self.take_quota_in(&tx, owner, reserved).await?;
                let file = reserved.file(ids.next(), owner, now);
                let row = entity::ActiveModel {
                    id: Set(file.id),
                    owner_id: Set(file.owner_id),
                    name: Set(file.name.clone()),
                    content_type: Set(file.content_type.clone()),
                    byte_size: Set(file.byte_size),
                    sha256: Set(file.sha256.clone()),
                    status: Set(file.status.as_str().to_owned()),
                    rejection: NotSet,
                    created_at: Set(now),
                    ready_at: NotSet,
                    attempt: Set(file.attempt),
                    leased_until: NotSet,
                    used_as: NotSet,
                    used_by: NotSet,
                    place: NotSet,
                    remove_due_at: Set(Some(now + rules.unused)),
                };
                tx.defer_built(&entity::Entity::insert(row)).await?;
                Ok::<_, FileError>(file)
            })
            .await?;
        let expires_at = schedule.after(rules.upload_link);
        let url = links.make(Deed::Upload, file.id, expires_at);
        let target = Target { url, content_type: file.content_type.clone(), expires_at };
        Ok((file, target))
    }

    /// Takes a file's share of the quota, in the row that all changes of it lock.
    async fn take_quota_in(&self, tx: &Tx, owner: UserId, new: &Reservation) -> Result<(), FileError> {
        let Rules { bytes_per_user, files_per_user, .. } = self.shared.rules;
        let sql = "INSERT INTO file_quotas (user_id, files, bytes) VALUES (?, 1, ?) \
                   ON CONFLICT (user_id) DO UPDATE SET files = file_quotas.files + 1, \
                   bytes = file_quotas.bytes + excluded.bytes \
                   WHERE file_quotas.files < ? AND file_quotas.bytes + excluded.bytes <= ? RETURNING bytes";
        let values = [owner.into(), new.byte_size.into(), files_per_user.into(), bytes_per_user.into()];
        if tx.query(sql, values).await?.is_empty() {
            let rule = format!(
                "is more than there is room for: your files may be {files_per_user} with {bytes_per_user} bytes together. \
                 Files that are not used make room a day later"
            );
            return Err(Invalid::value("byteSize", rule).into());
        }
        Ok(())
    }

    /// Gives back what files held of an owner's quota: after their rows have changed.
    pub(super) async fn give_back_in(
        &self,
        tx: &Tx,
        owner: UserId,
        files: i64,
        bytes: i64,
    ) -> Result<(), InternalError> {
        let sql = "UPDATE file_quotas SET files = files - ?, bytes = bytes - ? WHERE user_id = ?";
        let changed = tx.execute(sql, [files.into(), bytes.into(), owner.into()]).await?;
        if changed == 1 { Ok(()) } else { Err(InternalError::corrupt(format!("{owner} has files and no quota"))) }
    }

    /// Uses files of this owner for something, in this order: each must be READY and unused. The caller has locked what uses
    /// them.
    pub async fn attach_in(
        &self,
        tx: &Tx,
        owner: UserId,
        files: &[FileId],
        (used_as, used_by): (Use, Uuid),
    ) -> Result<(), FileError> {
        if files.is_empty() {
            return Ok(());
        }
        let select = entity::Entity::find().filter(entity::Column::Id.is_in(files.to_vec()));
        // In one order, so that two who use the same files queue and none deadlocks.
        let rows = select.order_by_asc(entity::Column::Id).lock(LockType::NoKeyUpdate).all(&**tx).await?;
        let mut found: HashMap<FileId, File> = HashMap::new();
        for row in rows {
            found.insert(row.id, row.try_into()?);
        }
        for (place, id) in files.iter().enumerate() {
            let file = File::check_use(found.get(id), owner, place)?;
            let sql = "UPDATE files SET used_as = ?, used_by = ?, place = ?, remove_due_at = NULL \
                       WHERE id = ? AND status = 'READY' AND used_by IS NULL";
            let place = i32::try_from(place).unwrap_or(i32::MAX);
            let values = [used_as.as_str().into(), used_by.into(), place.into(), file.id.into()];
            if tx.execute(sql, values).await? != 1 {
                return Err(InternalError::corrupt(format!("{id} changed under its lock")).into());
            }
        }
        Ok(())
    }

    /// Many files by id, for a loader whose caller checked who may see them.
    pub async fn by_id(&self, ids: &[FileId]) -> Result<HashMap<FileId, (File, Option<Uuid>)>, InternalError> {
        let rows = entity::Entity::find().filter(entity::Column::Id.is_in(ids.to_vec())).all(self.db.reader()).await?;
        let mut files = HashMap::new();
        for row in rows {
            let deliverable = row.used_by.filter(|_| row.used_as.as_deref() == Some(Use::Deliverable.as_str()));
            files.insert(row.id, (row.try_into()?, deliverable));
        }
        Ok(files)
    }

    /// The files of many things, each list in its order, for a loader whose caller checked who may see them.
    pub async fn of(&self, users: &[Uuid]) -> Result<HashMap<Uuid, Vec<File>>, InternalError> {
        let select = entity::Entity::find().filter(entity::Column::UsedBy.is_in(users.to_vec()));
        let select = select.order_by_asc(entity::Column::UsedBy).order_by_asc(entity::Column::Place);
        let mut files: HashMap<Uuid, Vec<File>> = HashMap::new();
        for row in select.all(self.db.reader()).await? {
            if let Some(by) = row.used_by {
                files.entry(by).or_default().push(row.try_into()?);
            }
        }
        Ok(files)
    }

    /// A link to a file's bytes, for one whose caller checked that they may read them; none unless they are there. It is
    /// good for at most as long as the settings say, and for half of that at least: all who ask within half of it get the
    /// same.
    pub fn download_link(&self, file: &File) -> Option<String> {
        let half = (self.shared.rules.download_link.num_seconds() / 2).max(1);
        let end = (self.now().timestamp() / half + 2) * half;
        let end = Timestamp::from_timestamp(end, 0).filter(|_| file.status == FileStatus::Ready)?;
        Some(self.shared.links.make(Deed::Download, file.id, end))
    }

    /// The file that a link is about.
    pub fn read_link(&self, deed: Deed, file: &str, query: &str) -> Result<FileId, BadLink> {
        self.shared.links.read(deed, file, query, self.now())
    }

    /// Room for one more upload at this node.
    pub(super) fn upload_permit(&self) -> Result<OwnedSemaphorePermit, UploadError> {
        Arc::clone(&self.shared.uploads).try_acquire_owned().map_err(|_| UploadError::Full)
    }

    /// Opens the bytes of a file for anybody who has a link to them.
    pub async fn open(&self, id: FileId) -> Result<Opened, DownloadError> {
        let permit = Arc::clone(&self.shared.downloads).try_acquire_owned().map_err(|_| DownloadError::Full)?;
        let row = entity::Entity::find_by_id(id).one(self.db.reader()).await.map_err(InternalError::from)?;
        let Some(row) = row else { return Err(DownloadError::NotFound) };
        let file = File::try_from(row)?;
        let Some(store) = self.shared.store.as_ref().filter(|_| file.status == FileStatus::Ready) else {
            return Err(DownloadError::NotFound);
        };
        let missing = |error| InternalError::Unavailable(format!("the bytes of {id}: {error}"));
        let (bytes, size) = store.open(id).await.map_err(missing)?;
        if i64::try_from(size) != Ok(file.byte_size) {
            return Err(
                InternalError::corrupt(format!("{id} has {size} bytes and should have {}", file.byte_size)).into()
            );
        }
        Ok(Opened { file, bytes, within: self.shared.rules.transfer, permit })
    }
}

impl Reservation {
    fn file(&self, id: FileId, owner_id: UserId, created_at: Timestamp) -> File {
        File {
            id,
            owner_id,
            name: self.name.clone(),
            content_type: self.kind.name.to_owned(),
            byte_size: self.byte_size,
            sha256: self.sha256.clone(),
            status: FileStatus::Pending,
            rejection: None,
            created_at,
            attempt: 0,
            leased_until: None,
            used_by: None,
        }
    }
}
