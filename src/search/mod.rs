//! Search: what somebody types, and what is found by it, the same on either database.
//!
//! Owns the one way in which texts become tokens (`analysis`), in which a query is read and matched (`query`), and by which a
//! text finds the saved searches that it may answer (`live`); all are pure, so that whatever matches texts says the same. And owns this node's index of what is public: `index` and `folder` are
//! how it is kept, `terms` and `find` how it is asked, and `follower` how it follows the event log. Knows no domain: what a
//! document is says a [`Source`].
//!
//! Invariants:
//! - An index says of itself where in which log it stands. One that does not go on from there is built anew, and meanwhile
//!   nobody is answered from it: [`Search::is_open`] says no, and the database answers.
//! - All work on it is done on blocking threads, a bounded number at a time, each with a deadline; work for somebody who has
//!   gone away stops.
//! - What is found is a list of names. `jobs` reads the rows and looks at them again.
//!
//! `jobs` asks; the composition runs [`run`].

pub mod analysis;
mod find;
mod folder;
mod follower;
mod index;
pub mod live;
pub mod query;
mod settings;
mod terms;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use moka::sync::Cache;
use parking_lot::RwLock;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::spawn_blocking,
    time::{error::Elapsed, timeout},
};
use uuid::Uuid;

pub use self::{
    find::{Conditions, Facets, Place, SortedBy, Window},
    follower::{Source, run},
    index::Document,
    settings::SearchSettings,
    terms::Correction,
};
use self::{
    find::{Look, Stop},
    index::Opened,
    query::Query,
};
use crate::events::Point;

/// Looks at the index at the same time.
const LOOKS: usize = 8;
/// How long one may take, its turn included.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long somebody waits until what they have written is found.
const OWN_WRITE: Duration = Duration::from_secs(2);
/// For how long it is remembered who has written, and of how many: the index is not further behind.
const REMEMBERED: Duration = Duration::from_secs(30);
const AUTHORS: u64 = 10_000;

/// Why the index has no answer. The database has one.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// It takes too long.
    #[error("the index takes too long")]
    Late(#[from] Elapsed),
    /// It cannot be read.
    #[error("the index cannot be read: {0}")]
    Broken(String),
}

/// This node's index. Clones share it.
#[derive(Clone, Debug)]
pub struct Search(Arc<Shared>);

struct Shared {
    opened: RwLock<Option<Opened>>,
    /// The last place of the log that is in the index; none while there is no index.
    place: watch::Sender<Option<Point>>,
    looks: Arc<Semaphore>,
    /// Up to where the index must be for what somebody has just written.
    own: Cache<Author, i64>,
    /// Rung where somebody waits for what they have written.
    hurry: Arc<Notify>,
    /// Rung where there may be something to follow.
    bell: Arc<Notify>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Search").field("place", &*self.place.borrow()).finish_non_exhaustive()
    }
}

impl Default for Search {
    fn default() -> Self {
        let (place, _) = watch::channel(None);
        let looks = Arc::new(Semaphore::new(LOOKS));
        let own = Cache::builder().max_capacity(AUTHORS).time_to_live(REMEMBERED).build();
        let (bell, hurry) = Default::default();
        Self(Arc::new(Shared { opened: RwLock::default(), place, looks, own, hurry, bell }))
    }
}

/// Who has written something, as far as the next search shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Author {
    /// Who is signed in.
    User(Uuid),
    /// Who is not: what somebody has just done at the same address may be their own.
    Address(IpAddr),
}

/// Says that nobody waits any more when it is dropped.
struct Waiting(Stop);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What a search has found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The part that was asked for, in the direction of reading.
    pub places: Vec<Place>,
    /// What was looked for in place of the query, and which words are in place of which, where nothing answers as typed.
    pub corrected: Option<(Query, Vec<Correction>)>,
}

impl Search {
    /// Whether the index answers now.
    pub fn is_open(&self) -> bool {
        self.0.opened.read().is_some()
    }

    /// The last place of the log that it has; none while there is no index. What is found later may be newer, never older.
    pub fn place(&self) -> Option<Point> {
        *self.0.place.borrow()
    }

    /// Rung where there may be something to follow.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.0.bell)
    }

    /// Notes that somebody at an address has written what stands at this position of the log.
    pub fn wrote(&self, user: Uuid, address: IpAddr, position: i64) {
        if self.is_open() {
            self.0.own.insert(Author::User(user), position);
            self.0.own.insert(Author::Address(address), position);
        }
    }

    /// Waits until somebody finds what they have written on this node, for a bounded time. Others do not wait.
    pub async fn reaches_own(&self, author: Author) {
        let Some(position) = self.0.own.get(&author) else { return };
        // What happens meanwhile is gathered no longer.
        self.0.hurry.notify_one();
        if self.reaches(position).await {
            self.0.own.invalidate(&author);
        }
    }

    /// Waits until the index has what stands at a position, for a bounded time; says whether it has. While there is no index
    /// nobody waits.
    pub async fn reaches(&self, position: i64) -> bool {
        let mut reached = self.0.place.subscribe();
        let there = reached.wait_for(|reached| reached.is_none_or(|reached| reached.position >= position));
        timeout(OWN_WRITE, there).await.is_ok_and(|reached| reached.is_ok_and(|reached| reached.is_some()))
    }

    /// A part of a list. Where nothing answers, and `forgiving`, words with typing errors are looked for as they may be meant.
    pub async fn find(
        &self,
        query: Option<Query>,
        conditions: Conditions,
        window: Window,
        forgiving: bool,
    ) -> Option<Result<Found, SearchError>> {
        self.look(move |look| {
            let places = look.part(query.as_ref(), &conditions, window)?;
            let Some(query) = query.filter(|_| places.is_empty() && forgiving) else {
                return Ok(Found { places, corrected: None });
            };
            // Nothing in this part, or nothing at all?
            if look.count(Some(&query), &Conditions::default(), 1)? > 0 {
                return Ok(Found { places, corrected: None });
            }
            let Some(corrected) = terms::corrected(&look.searcher, &look.opened.fields, &query)? else {
                return Ok(Found { places, corrected: None });
            };
            let places = look.part(Some(&corrected.0), &conditions, window)?;
            Ok(Found { places, corrected: Some(corrected) })
        })
        .await
    }

    /// How many answer, counted up to `most`.
    pub async fn count(
        &self,
        query: Option<Query>,
        conditions: Conditions,
        most: u64,
    ) -> Option<Result<u64, SearchError>> {
        self.look(move |look| look.count(query.as_ref(), &conditions, most)).await
    }

    /// What those that answer have in common; budgets in steps between `bounds`, in minor units.
    pub async fn facets(
        &self,
        query: Option<Query>,
        conditions: Conditions,
        bounds: Vec<i64>,
    ) -> Option<Result<Facets, SearchError>> {
        self.look(move |look| look.facets(query.as_ref(), &conditions, &bounds)).await
    }

    /// Looks at the index on a blocking thread; none while there is none.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Look) -> tantivy::Result<T> + Send + 'static,
    ) -> Option<Result<T, SearchError>> {
        let opened = self.0.opened.read().clone()?;
        let stop = Stop::default();
        let waiting = Waiting(stop.clone());
        let looks = Arc::clone(&self.0.looks);
        let looked = async {
            let turn = looks.acquire_owned().await.map_err(|error| SearchError::Broken(error.to_string()))?;
            let work = spawn_blocking(move || {
                let look = Look { searcher: opened.reader.searcher(), opened, stop };
                let found = work(&look);
                drop(turn);
                found
            });
            let broken = |error: &dyn std::fmt::Display| SearchError::Broken(error.to_string());
            work.await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))
        };
        let found = timeout(LOOK_TIMEOUT, looked).await.unwrap_or_else(|late| Err(late.into()));
        drop(waiting);
        let outcome = if found.is_ok() { "index" } else { "failed" };
        metrics::counter!("lancewire_search_looks_total", "outcome" => outcome).increment(1);
        Some(found)
    }

    fn show(&self, opened: Option<Opened>, place: Option<Point>) {
        metrics::gauge!("lancewire_search_ready").set(f64::from(u8::from(opened.is_some())));
        *self.0.opened.write() = opened;
        self.0.place.send_replace(place);
    }
}
