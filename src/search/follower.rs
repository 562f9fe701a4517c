//! Keeps this node's index in step with the event log.
//!
//! A node follows the log by itself, from the position that the last commit of its index carries. What an event says is not
//! looked at, only what it is about: the rows are read anew from the database, so that an event may be worked on twice, and
//! the index is never older than its position. What happens within a few milliseconds is one commit.
//!
//! **When it is built anew**: there is none, a byte of it is wrong, it is of another version or another log, the event at its
//! position is another one or is not kept, a commit fails, its folder is gone, or it does not have as many documents as the
//! database has. Then everything is read from the database, page by page, from a position that was taken before; and meanwhile
//! the database answers searches.
//!
//! **Whose folder**: one process has it. Another one looks now and then whether it is free, and uses the database.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use sea_orm::prelude::async_trait::async_trait;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{
    Search,
    folder::{Folder, FolderError},
    index::{Document, Mark, Writing},
};
use crate::{
    backoff::BackOff,
    error::InternalError,
    events::{self, EventKind, EventLog},
    ids::Ids,
    lifecycle::Lifecycle,
};

/// Events of one commit, at most.
const BATCH: u32 = 250;
/// Documents of one page of the database.
const PAGE: u32 = 500;
/// For how long events are gathered before a commit.
const GATHER: Duration = Duration::from_millis(50);
/// How long it looks at nothing where nobody rings.
const POLL: Duration = Duration::from_secs(1);
/// How often a folder of another process is looked at.
const TAKEN: Duration = Duration::from_secs(30);
/// The pauses after failures.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Where documents come from.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Whether an event of this kind may change the document that its subject names.
    fn concerns(&self, kind: EventKind) -> bool;

    /// Those of these that everybody may see, as they are now.
    async fn documents(&self, ids: &[Uuid]) -> Result<Vec<Document>, InternalError>;

    /// The next that everybody may see behind `after`, by name, and the last name that was looked at; none at the end.
    async fn page(&self, after: Option<Uuid>, most: u32) -> Result<Option<(Vec<Document>, Uuid)>, InternalError>;

    /// How many everybody may see.
    async fn count(&self) -> Result<u64, InternalError>;
}

/// Why the index does not go on.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("{0}")]
    Stale(&'static str),
    #[error(transparent)]
    Index(#[from] tantivy::TantivyError),
    #[error("its folder: {0}")]
    Folder(#[from] FolderError),
    #[error("its thread has ended")]
    Thread,
    #[error(transparent)]
    Database(#[from] InternalError),
}

impl From<std::io::Error> for FollowError {
    fn from(error: std::io::Error) -> Self {
        Self::Folder(error.into())
    }
}

/// Runs work on the index on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FollowError> + Send + 'static,
) -> Result<T, FollowError> {
    spawn_blocking(work).await.map_err(|_| FollowError::Thread)?
}

/// Keeps the index in `folder` until the process stops.
pub async fn run(
    search: Search,
    source: Arc<dyn Source>,
    (log, ids): (EventLog, Ids),
    folder: PathBuf,
    lifecycle: Lifecycle,
) {
    let mut follower = Follower { search, source, log, path: folder, folder: None, writing: None, mark: None };
    let mut pauses = BackOff::new(&ids, PAUSE);
    let mut told = false;
    while !lifecycle.is_stopping() {
        let bell = follower.search.bell();
        let turn = tokio::select! {
            () = lifecycle.stopping() => break,
            turn = follower.turn() => turn,
        };
        let wait = match turn {
            Ok(true) => GATHER,
            Ok(false) => {
                told = false;
                pauses.reset();
                POLL
            }
            Err(FollowError::Folder(FolderError::Taken)) => {
                if !told {
                    let folder = follower.path.display();
                    tracing::warn!(%folder, "another process uses the search index; this one searches by the database");
                    told = true;
                }
                TAKEN
            }
            Err(error) => {
                tracing::error!(%error, "the search index cannot be kept now; searches go to the database");
                follower.fail(&error).await;
                pauses.length()
            }
        };
        let hurry = Arc::clone(&follower.search.0.hurry);
        tokio::select! {
            () = lifecycle.stopping() => break,
            () = bell.notified(), if wait != GATHER => {}
            () = tokio::time::sleep(wait) => continue,
        }
        // What follows a moment later is of the same commit, unless somebody waits for it.
        tokio::select! {
            () = hurry.notified() => {}
            () = tokio::time::sleep(GATHER) => {}
        }
    }
    follower.search.show(None, None);
    follower.close().await;
}

struct Follower {
    search: Search,
    source: Arc<dyn Source>,
    log: EventLog,
    path: PathBuf,
    folder: Option<Arc<Folder>>,
    /// Away while a thread works with it.
    writing: Option<Writing>,
    mark: Option<Mark>,
}

impl Follower {
    /// Does what is next. Says whether there may be more at once.
    async fn turn(&mut self) -> Result<bool, FollowError> {
        if self.writing.is_none() {
            self.open().await?;
            return Ok(true);
        }
        let more = self.follow().await?;
        if !more && !self.search.is_open() {
            self.compare().await?;
            return Ok(true);
        }
        Ok(more)
    }

    /// Opens what is in the folder, or builds it anew.
    async fn open(&mut self) -> Result<(), FollowError> {
        let folder = if let Some(folder) = &self.folder {
            Arc::clone(folder)
        } else {
            let path = self.path.clone();
            let folder = blocking(move || Ok(Arc::new(Folder::take(&path)?))).await?;
            Arc::clone(self.folder.insert(folder))
        };
        let found = {
            let folder = Arc::clone(&folder);
            blocking(move || Ok(if folder.index().is_dir() { Writing::open(&folder.index())? } else { None })).await
        };
        match found {
            Ok(Some((writing, mark))) if mark.log == self.log.identity() => {
                tracing::info!(documents = writing.count(), position = mark.position, "the search index goes on");
                (self.writing, self.mark) = (Some(writing), Some(mark));
                Ok(())
            }
            other => {
                let why = match other {
                    Ok(None) => "there is none of this version".to_owned(),
                    Ok(Some(_)) => "it is of another log".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.build(folder, why).await
            }
        }
    }

    /// Reads everything from the database.
    async fn build(&mut self, folder: Arc<Folder>, why: String) -> Result<(), FollowError> {
        tracing::info!(why, "the search index is built anew");
        metrics::counter!("lancewire_search_builds_total").increment(1);
        let started = tokio::time::Instant::now();
        // Before the first row is read: what changes from now on has an event behind it.
        let point = self.log.head().await.map_err(InternalError::from)?;
        let mut writing = blocking(move || Ok(Writing::create(&folder.clear()?)?)).await?;
        let (mut after, mut documents) = (None, 0_usize);
        while let Some((page, last)) = self.source.page(after, PAGE).await? {
            documents += page.len();
            after = Some(last);
            writing = blocking(move || {
                writing.add(page)?;
                Ok(writing)
            })
            .await?;
        }
        let mark = Mark::at(self.log.identity(), point.position, point.mark.to_bits());
        writing = blocking(move || {
            writing.commit(&mark)?;
            Ok(writing)
        })
        .await?;
        tracing::info!(documents, seconds = started.elapsed().as_secs_f64(), "the search index is built");
        metrics::gauge!("lancewire_search_build_seconds").set(started.elapsed().as_secs_f64());
        (self.writing, self.mark) = (Some(writing), Some(mark));
        Ok(())
    }

    /// Works on the next events. Says whether there may be more.
    async fn follow(&mut self) -> Result<bool, FollowError> {
        let Some(mark) = self.mark else { return Err(FollowError::Stale("it has no position")) };
        let events::Page { stands, events } = self.log.follow(mark.position, BATCH).await?;
        if stands.is_some_and(|stands| mark.stands != 0 && stands.to_bits() != mark.stands) {
            return Err(FollowError::Stale("the log has another event at its position"));
        }
        let Some(last) = events.last() else {
            self.note_open(mark);
            return Ok(false);
        };
        if events.first().is_none_or(|first| first.position != mark.position + 1) {
            return Err(FollowError::Stale("retention has removed events that it had not seen"));
        }
        let (position, stands) = (last.position, events::Mark::of(last.recorded.id).to_bits());
        let concerned = events.iter().filter(|event| self.source.concerns(event.recorded.kind));
        let mut subjects: Vec<Uuid> = concerned.map(|event| event.recorded.subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let next = Mark { position, stands, ..mark };
        if subjects.is_empty() {
            // Nothing to write: the position is written with the next that is.
            self.mark = Some(next);
            self.note_open(next);
            return Ok(events.len() >= BATCH as usize);
        }
        let documents = self.source.documents(&subjects).await?;
        if self.folder.as_ref().is_none_or(|folder| !folder.is_there()) {
            return Err(FollowError::Stale("its folder is gone"));
        }
        let Some(mut writing) = self.writing.take() else { return Err(FollowError::Stale("it is closed")) };
        let started = tokio::time::Instant::now();
        self.writing = Some(
            blocking(move || {
                writing.put(documents, &subjects)?;
                writing.commit(&next)?;
                Ok(writing)
            })
            .await?,
        );
        metrics::histogram!("lancewire_search_commit_seconds").record(started.elapsed().as_secs_f64());
        self.mark = Some(next);
        self.note_open(next);
        Ok(events.len() >= BATCH as usize)
    }

    /// Tells those who look how far the index has come, if they may look at it.
    fn note_open(&self, mark: Mark) {
        if self.search.is_open() {
            self.search.0.place.send_replace(Some(mark.point()));
        }
    }

    /// Whether it has as many documents as the database has, where nothing happens meanwhile; shows it then.
    async fn compare(&mut self) -> Result<(), FollowError> {
        let (Some(writing), Some(mark)) = (&self.writing, self.mark) else { return Ok(()) };
        let counted = self.source.count().await?;
        let head = self.log.head().await.map_err(InternalError::from)?;
        // Not of this history, or retention has removed all that it had not seen.
        if head.position < mark.position {
            return Err(FollowError::Stale("the log does not go as far as its position"));
        }
        if head.position > mark.position && self.log.follow(mark.position, 1).await?.events.is_empty() {
            return Err(FollowError::Stale("retention has removed events that it had not seen"));
        }
        if head.position == mark.position && counted != writing.count() {
            return Err(FollowError::Stale("the database has other jobs than it has events of"));
        }
        self.search.show(Some(writing.opened.clone()), Some(mark.point()));
        Ok(())
    }

    /// Nobody looks at it any more; what can be mended by building anew is.
    async fn fail(&mut self, error: &FollowError) {
        // The database is away for all: what the index has is as good as before.
        if matches!(error, FollowError::Database(_)) && self.writing.is_some() {
            return;
        }
        self.search.show(None, None);
        let folder = self.folder.clone().filter(|folder| folder.is_there());
        self.close().await;
        if let Some(folder) = folder {
            // So that it is not opened again as it is.
            let cleared = blocking(move || {
                folder.clear()?;
                Ok(())
            })
            .await;
            if let Err(error) = cleared {
                tracing::warn!(%error, "the folder of the search index cannot be emptied");
            }
        }
    }

    /// Closes the files and lets go of the folder, on a thread that may wait for what is being written.
    async fn close(&mut self) {
        let (writing, folder) = (self.writing.take(), self.folder.take());
        self.mark = None;
        let closed = blocking(move || {
            drop((writing, folder));
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the search index was not closed");
        }
    }
}
