//! Reading what was published before: what a feed and a follower have in common.
//!
//! Owns a subscription's position while it catches up: pages out of the ring or the log, the skip over what is not for
//! its viewer, and what both cost ([`charges`](super::charges)). Used by [`Feed`](super::Feed), which gives the events
//! to an outlet, and by [`Follower`](super::Follower), which gives them to its poller.
//!
//! Invariants: the position only moves over events that were read, or that a query says are not for the viewer; a hole
//! between the position and the oldest event that is kept ends the subscription and is never passed over in silence; a
//! database that is away is waited for; at most [`PAGE`] events are in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::{
    Delivery, FeedEnd, Hub, Interest,
    charges::{self, SKIP, TIME_LIMIT},
};
use crate::{
    auth::actor::Origin,
    backoff::BackOff,
    error::InternalError,
    events::{Hearing, Listener},
};

/// The shortest wait for a budget: what comes back in less is too little to begin for.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
/// How many events the position must be behind for a skip to be worth a query.
const FAR: i64 = 256;
/// Events that are read at a time, and behind a skip: there the next one for the viewer may be far again.
const PAGE: usize = 256;
const FEW: usize = 8;
/// The first and the longest pause between tries while the database is away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Events, with what each of them costs to read, in millionths of a point.
type Page = (Vec<Arc<Delivery>>, u64);

/// How far a feed has come; can be read while it is busy.
#[derive(Clone, Debug)]
pub struct Progress(Arc<AtomicI64>);

impl Progress {
    /// Everything up to here has been given to the outlet, or was not for it.
    pub fn position(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A subscription's place in what was published, and what going on from there costs.
pub(super) struct Replay {
    pub(super) hub: Hub,
    pub(super) viewer: Origin,
    position: i64,
    progress: Progress,
    /// Events that may still be read for what the subscription has cost.
    free: usize,
    /// What it has made necessary and not paid for yet, in millionths of a point; none where nobody pays.
    owed: Option<u64>,
    /// Turns with the others of its address; none for one that runs when its reader takes something.
    turns: Option<Arc<Semaphore>>,
    /// Whether anything was read.
    replayed: bool,
}

impl Replay {
    /// One that goes on after `position`, at its viewer's cost.
    pub(super) fn new(hub: Hub, viewer: Origin, position: i64, turns: Option<Arc<Semaphore>>) -> Self {
        let progress = Progress(Arc::new(AtomicI64::new(position)));
        Self { hub, viewer, position, progress, free: 0, owed: Some(0), turns, replayed: false }
    }

    /// One whose first page is paid for.
    pub(super) fn paid(self) -> Self {
        Self { free: PAGE, ..self }
    }

    /// One that costs nobody anything.
    pub(super) fn free_of_charge(self) -> Self {
        Self { owed: None, ..self }
    }

    pub(super) const fn position(&self) -> i64 {
        self.position
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Everything up to here was given, or was not for the viewer.
    pub(super) fn reach(&mut self, position: i64) {
        self.position = position;
        self.progress.0.store(position, Ordering::Release);
    }

    /// So many millionths of a point more.
    pub(super) fn owe(&mut self, cost: u64) {
        if let Some(owed) = &mut self.owed {
            *owed += cost;
        }
    }

    /// What is owed, in millionths of a point.
    pub(super) fn owed(&self) -> u64 {
        self.owed.unwrap_or(0)
    }

    /// Says that the subscription is live: it has caught up with the hub.
    pub(super) fn caught_up(&mut self) {
        if std::mem::take(&mut self.replayed) {
            metrics::counter!("lancewire_recoveries_total", "outcome" => "recovered").increment(1);
        }
    }

    /// Pays before more is read, but for what was paid for when the subscription began.
    pub(super) async fn afford_reading(&mut self) -> Result<(), FeedEnd> {
        if self.free < PAGE { self.afford().await } else { Ok(()) }
    }

    /// Pays what is owed, and waits until the subscriber's budget has enough left to go on.
    pub(super) async fn afford(&mut self) -> Result<(), FeedEnd> {
        let Some(owed) = &mut self.owed else { return Ok(()) };
        let owed = std::mem::take(owed);
        charges::count("replay", owed);
        let mut charged = self.hub.payment().charge(&self.viewer, owed);
        let mut waited = Duration::ZERO;
        while let Some(wait) = charged {
            // No two subscriptions of one budget come back at the same moment.
            let wait = wait.max(SHORTEST_WAIT);
            let jitter = self.hub.log().ids().below(u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX).max(1));
            let wait = wait + Duration::from_micros(jitter);
            waited += wait;
            if waited > TIME_LIMIT {
                metrics::counter!("lancewire_recoveries_total", "outcome" => "unpaid").increment(1);
                return Err(FeedEnd::Unpaid(wait));
            }
            metrics::counter!("lancewire_budget_waits_total").increment(1);
            sleep(wait).await;
            charged = self.hub.payment().charge(&self.viewer, 0);
        }
        Ok(())
    }

    /// One's turn to work among the feeds of the same address.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed; if it were, nobody would have to wait for a turn.
        Arc::clone(self.turns.as_ref()?).acquire_owned().await.ok()
    }

    /// The next events after the position, none where a skip has come to the head.
    pub(super) async fn read(&mut self, interest: &Interest) -> Result<Vec<Arc<Delivery>>, FeedEnd> {
        self.replayed = true;
        let skipped = self.skip(interest).await;
        if self.position >= self.hub.head() {
            return Ok(Vec::new());
        }
        self.next_page(interest, if skipped { FEW } else { PAGE }).await
    }

    /// Goes on to just before the next event that may be for the viewer, where memory does not reach back to the position:
    /// catching up costs what lies for them, not what lies between. That all between is kept is looked at first.
    async fn skip(&mut self, interest: &Interest) -> bool {
        let (position, head) = (self.position, self.hub.head());
        let log = self.hub.log();
        if !log.can_skip() || self.hub.reaches(position) || position + FAR > head {
            return false;
        }
        if self.free < PAGE {
            self.owed = self.owed.map(|owed| owed + SKIP);
        }
        let _turn = self.turn().await;
        let actor = &self.viewer.actor;
        let listener = Listener { user: actor.user(), admin: actor.is_admin() };
        let found = async {
            let next = log.next_for(listener, interest.kinds(), position, head).await?;
            // Afterwards: what was forgotten while it was looked for was not found.
            let kept = log.oldest().await?.is_some_and(|oldest| oldest <= position + 1);
            Ok::<_, InternalError>(kept.then_some(next))
        };
        match found.await {
            // Forgotten in part: the page that is read next says so.
            Ok(None) => false,
            Ok(Some(next)) => {
                let before = next.map_or(head, |next| next - 1);
                if before > position {
                    self.reach(before);
                }
                before > position
            }
            // Nor is anything skipped where nobody can tell.
            Err(error) => {
                tracing::debug!(error = %error, position, "a feed reads the log event by event");
                false
            }
        }
    }

    /// The next events, at least one.
    async fn next_page(&mut self, interest: &Interest, most: usize) -> Result<Vec<Arc<Delivery>>, FeedEnd> {
        let position = self.position;
        let mut pauses: Option<BackOff> = None;
        loop {
            match self.try_page(interest, position, most).await {
                Ok(Some((page, price))) => {
                    let free = page.len().min(self.free);
                    self.free -= free;
                    self.owe(price * u64::try_from(page.len() - free).unwrap_or(u64::MAX));
                    return Ok(page);
                }
                // The log has no event there yet: it is read from an older snapshot than the head.
                Ok(None) => {}
                Err(Ok(end)) => {
                    metrics::counter!("lancewire_recoveries_total", "outcome" => "expired").increment(1);
                    return Err(end);
                }
                Err(Err(error)) => {
                    metrics::counter!("lancewire_feed_waits_total").increment(1);
                    tracing::debug!(error = %error, position, "a feed waits for the log");
                }
            }
            pauses.get_or_insert_with(|| BackOff::new(self.hub.log().ids(), PAUSE)).pause().await;
        }
    }

    /// Events, with what each of them costs; none, where there is no event yet.
    async fn try_page(
        &self,
        interest: &Interest,
        position: i64,
        most: usize,
    ) -> Result<Option<Page>, Result<FeedEnd, InternalError>> {
        let hub = &self.hub;
        let _turn = self.turn().await;
        let (page, price) = hub
            .page_after(position, most, |delivery| self.may_hear(interest, delivery).is_some())
            .await
            .map_err(Err)?;
        let hole = match page.first() {
            Some(first) => first.position() != position + 1,
            // Nothing at all, though something was published: has it been forgotten?
            None => hub.log().oldest().await.map_err(Err)?.is_none_or(|oldest| oldest > position + 1),
        };
        if hole && hub.head() > position {
            Err(Ok(FeedEnd::Expired))
        } else {
            Ok((!page.is_empty()).then_some((page, price)))
        }
    }

    /// As whom the viewer receives this event, if it is one that the interest asks for.
    pub(super) fn hears(&self, interest: &Interest, delivery: &Delivery) -> Option<Hearing> {
        self.may_hear(interest, delivery).filter(|_| interest.wants(delivery))
    }

    /// As whom the viewer receives this event, whatever they ask for within its kinds.
    pub(super) fn may_hear(&self, interest: &Interest, delivery: &Delivery) -> Option<Hearing> {
        interest.circle(delivery).hearing(&self.viewer.actor)
    }
}
