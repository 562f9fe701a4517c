//! The folder with the bytes: one that all nodes of a database share, and no other database.
//!
//! A file lies at `<last two digits of its id>/<id>`, written once. Uploads are written to `stage/<id>.<attempt>`, and come to
//! their place by a rename, when all is on the disk: so what lies at a place is whole, whatever crashes. A stage that is
//! dropped is removed. Names are made of ids alone, never of what a client has sent.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
};
use uuid::Uuid;

use crate::ids::FileId;

/// The folder of uploads that have not ended.
const STAGE: &str = "stage";

/// The folder. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Store(PathBuf);

/// An upload that has not ended.
#[derive(Debug)]
pub(super) struct Stage {
    file: File,
    path: PathBuf,
    place: PathBuf,
    moved: bool,
}

impl Store {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The folders in which files may lie, places first, and the stage.
    pub(super) fn folders(&self) -> impl Iterator<Item = PathBuf> {
        (0..=u8::MAX).map(|digits| self.0.join(format!("{digits:02x}"))).chain([self.0.join(STAGE)])
    }

    /// The id of the file whose bytes have this name.
    pub(super) fn id_of(name: &str) -> Option<FileId> {
        let id = name.split('.').next()?;
        // Only as they are written here.
        let id = Uuid::try_parse(id).ok().filter(|parsed| parsed.simple().to_string() == id)?;
        Some(id.into())
    }

    fn place(&self, file: FileId) -> PathBuf {
        let name = Uuid::from(file).simple().to_string();
        self.0.join(&name[name.len() - 2..]).join(name)
    }

    /// Begins an attempt. An older stage of the same attempt, of which there should be none, is begun anew.
    pub(super) async fn begin(&self, file: FileId, attempt: i32) -> io::Result<Stage> {
        let place = self.place(file);
        let path = self.0.join(STAGE).join(format!("{}.{attempt}", Uuid::from(file).simple()));
        for folder in [&place, &path].into_iter().filter_map(|path| path.parent()) {
            make(folder).await?;
        }
        Ok(Stage { file: File::create(&path).await?, path, place, moved: false })
    }

    /// The bytes of a file, and how many there are.
    pub(super) async fn open(&self, file: FileId) -> io::Result<(File, u64)> {
        let opened = File::open(self.place(file)).await?;
        let size = opened.metadata().await?.len();
        Ok((opened, size))
    }

    /// Removes the bytes of a file, if there are any.
    pub(super) async fn remove(&self, file: FileId) -> io::Result<()> {
        match fs::remove_file(self.place(file)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A folder of ours, which nobody else of this machine may look into.
async fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(folder).await
}

impl Stage {
    /// Where it is, for the scanner.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Hands all that was written to the system.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.file.flush().await
    }

    /// Puts all of it on the disk, and then in its place.
    pub(super) async fn keep(mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        fs::rename(&self.path, &self.place).await?;
        self.moved = true;
        match self.place.parent() {
            Some(folder) => File::open(folder).await?.sync_all().await,
            None => Ok(()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.moved {
            // Else the sweep removes it a day later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
