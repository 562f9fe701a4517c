//! Whether the database takes writes: it may answer and not do so, on a full or broken disk, or after it was made
//! read-only.
//!
//! Learned from the writes that fail anyway, so it costs nothing while all is well. From then on each call of
//! [`Db::takes_writes`] (for readiness) tries a write of its own until one succeeds: a node that gets no traffic
//! because it is not ready would not find out otherwise. A node that has never tried to write does not know, and says
//! that it does: the first request that fails tells.
//!
//! A small write may find room in what `SQLite` has already taken from a full disk, where the next larger one fails. So
//! there it must also be possible to take some more.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sea_orm::{ConnectionTrait, DbErr, RuntimeErr, SqlxError};
use tokio::{sync::Mutex, task::spawn_blocking};
use uuid::Uuid;

use crate::{
    db::{Backend, Db},
    error::cause,
};

/// What must be free on the disk below `SQLite`, in bytes: more than any transaction takes.
const ROOM: usize = 1 << 20;

/// What is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::db) struct Writes {
    refused: Arc<AtomicBool>,
    /// Held while the disk is tried: one that does not answer holds one thread, however often is asked.
    trying: Arc<Mutex<()>>,
}

impl Writes {
    /// Takes note of why a transaction failed.
    pub(in crate::db) fn note(&self, backend: Backend, error: &DbErr) {
        if is_about_writing(backend, error) && !self.refused.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %cause(error), "the database takes no writes");
        }
    }
}

impl Db {
    /// Whether the database takes writes, as far as is known; see the module.
    pub async fn takes_writes(&self) -> bool {
        let refused = &self.shared.writes.refused;
        if !refused.load(Ordering::Relaxed) {
            return true;
        }
        if !self.has_room().await || self.write().await.is_err() {
            return false;
        }
        if refused.swap(false, Ordering::Relaxed) {
            tracing::info!("the database takes writes again");
        }
        true
    }

    /// Writes something of nobody, which is gone before the commit: nothing of it is ever seen.
    async fn write(&self) -> Result<(), DbErr> {
        self.transact(|tx| async move {
            let (insert, nobody) = ("INSERT INTO commit_marks (user_id, commits) VALUES (?, 1)", Uuid::nil());
            tx.execute(&format!("{insert} ON CONFLICT DO NOTHING"), [nobody.into()]).await?;
            tx.execute("DELETE FROM commit_marks WHERE user_id = ?", [nobody.into()]).await.map(drop)
        })
        .await
    }

    /// Whether the disk below has room. Only `SQLite` can be asked.
    async fn has_room(&self) -> bool {
        if self.shared.backend == Backend::Postgres {
            return true;
        }
        let file = self.statement("SELECT file FROM pragma_database_list WHERE name = 'main'", []);
        let Ok(Some(row)) = self.reader.query_one_raw(file).await else { return false };
        let (Ok(file), Ok(trying)) =
            (row.try_get::<String>("", "file"), Arc::clone(&self.shared.writes.trying).try_lock_owned())
        else {
            return false;
        };
        let tried = spawn_blocking(move || {
            let _trying = trying;
            take_room(Path::new(&(file + "-room")))
        });
        matches!(tried.await, Ok(Ok(())))
    }
}

fn take_room(path: &Path) -> io::Result<()> {
    let written = fs::write(path, vec![0; ROOM]);
    // What could be written of it must not stay, either.
    let _ = fs::remove_file(path);
    written
}

/// Whether it says that nothing can be written, and not that this cannot.
fn is_about_writing(backend: Backend, error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let SqlxError::Database(error) = &**error else { return false };
    let Some(code) = error.code() else { return false };
    match backend {
        // Disk full, I/O error, or a transaction that may only read, which a primary gets when it is taken out of service.
        Backend::Postgres => ["53100", "58030", "25006"].contains(&code.as_ref()),
        // READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB: the low byte of the extended code.
        Backend::Sqlite => code.parse().is_ok_and(|code: u32| [8, 10, 11, 13, 14, 26].contains(&(code & 0xff))),
    }
}
