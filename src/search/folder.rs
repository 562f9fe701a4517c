//! The folder of an index: whose it is, and how its files are read.
//!
//! One process at a time has a folder, by a lock that goes with the process. Files are read into memory when they are opened
//! and not mapped: a file that somebody truncates would end the process at the next look at it, and an index of a million
//! jobs takes less than 150 MB. Nothing in it needs a backup. Called by `follower`.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tantivy::{
    Directory,
    directory::{
        DirectoryLock, FileHandle, Lock, MmapDirectory, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
        error::{DeleteError, LockError, OpenReadError, OpenWriteError},
    },
};

/// A folder that is this process's own as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("another process uses it")]
    Taken,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Folder {
    /// Makes the folder if need be, for its owner alone, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, FolderError> {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path)?;
        let lock = File::options().write(true).create(true).truncate(false).open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Taken),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Whether the folder is still where it was, with the lock in it.
    pub(super) fn is_there(&self) -> bool {
        self.path.join("lock").exists()
    }

    /// Where the files of the index are.
    pub(super) fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// Removes the files of the index, and makes a place for new ones.
    pub(super) fn clear(&self) -> io::Result<PathBuf> {
        match fs::remove_dir_all(self.index()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(self.index())?;
        Ok(self.index())
    }
}

/// Files on disk whose contents are in memory while somebody reads them.
#[derive(Clone, Debug)]
pub(super) struct InMemory {
    disk: MmapDirectory,
    path: Arc<Path>,
    read: Arc<Mutex<HashMap<PathBuf, Weak<[u8]>>>>,
}

impl InMemory {
    pub(super) fn open(path: &Path) -> Result<Self, tantivy::TantivyError> {
        Ok(Self { disk: MmapDirectory::open(path)?, path: path.into(), read: Arc::default() })
    }
}

impl Directory for InMemory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let mut read = self.read.lock();
        if let Some(known) = read.get(path).and_then(Weak::upgrade) {
            return Ok(Arc::new(OwnedBytes::new(known)));
        }
        let bytes: Arc<[u8]> = fs::read(self.path.join(path))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.to_owned()),
                _ => OpenReadError::wrap_io_error(error, path.to_owned()),
            })?
            .into();
        read.retain(|_, held| held.strong_count() > 0);
        read.insert(path.to_owned(), Arc::downgrade(&bytes));
        Ok(Arc::new(OwnedBytes::new(bytes)))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.disk.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.disk.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        self.disk.open_write(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.disk.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.disk.atomic_write(path, data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.disk.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.disk.watch(callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_folder() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("a/b");
        let first = Folder::take(&path).expect("free");
        assert!(matches!(Folder::take(&path), Err(FolderError::Taken)));
        fs::write(first.clear().expect("cleared").join("x"), "x").expect("written");
        assert!(!first.clear().expect("cleared").join("x").exists());
        drop(first);
        assert!(Folder::take(&path).expect("free again").is_there());
    }
}
