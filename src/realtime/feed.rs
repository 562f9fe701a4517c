//! The life of one subscription in its group: catching up, live, and catching up again when its reader was too slow.
//!
//! A [`Feed`] reads from its position on, out of the ring or the log in bounded pages, under the same filter, the same
//! audience and the same execution as live events, at the pace of its reader. When it has caught up with the hub it
//! becomes [`Live`]: then it is an entry in its section and nothing else. When its outlet had no room the group lets it
//! go, and its transport makes a feed of it again, from the position before the first result that was not taken: up to
//! there it has been offered everything, however long ago its own last event was.
//!
//! What it reads and has executed for itself is charged to its subscriber ([`charges`](super::charges)): with nothing left
//! it waits, whatever it is doing, and of the feeds of one address only some work at the same time.
//!
//! A database that is away is waited for: the position says where to go on. A hole between the position and the oldest
//! event that is kept is never skipped in silence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{
    Delivery,
    charges::{self, PATIENCE, SKIP},
    hub::{Hub, Seat},
    members::{Member, Place},
    outlet::{Offer, Outlet, Payload},
    section::Section,
};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use crate::{
    auth::actor::Origin,
    backoff::BackOff,
    error::Fault,
    events::{Hearing, Listener},
};

/// Results of single viewers that are made before the reader is asked whether there is room for them.
const BATCH: usize = 32;
/// Events that are looked at without a pause for other tasks.
const UNPAUSED: usize = 16;
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

/// Why a subscription ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEnd {
    /// Nobody listens any more.
    Gone,
    /// A result is larger than the transport carries.
    TooLarge,
    /// What comes next is no longer kept.
    Expired,
    /// The subscriber's budget has been spent for too long; what has not come yet could be paid for after this time.
    Unpaid(Duration),
}

impl FeedEnd {
    /// What to tell the client whose budget has been spent for too long.
    pub fn unpaid(retry_after: Duration) -> String {
        let millis = retry_after.as_millis();
        format!(
            "The budget is spent, and these events must be read or executed for this subscription alone. Nothing is lost: \
             subscribe again in {millis} ms, after the last cursor."
        )
    }
}

/// A subscription that catches up. Dropping it ends the subscription.
pub struct Feed {
    seat: Seat,
    member: Member,
    progress: Progress,
    /// Events that may still be read for what the subscription has cost.
    free: usize,
    /// What it has made necessary and not paid for yet, in millionths of a point.
    owed: u64,
}

/// How far a feed has come, for whoever wants to know while it is busy.
#[derive(Clone, Debug)]
pub struct Progress(Arc<AtomicI64>);

impl Progress {
    /// Everything up to here has been given to the outlet, or was not for it.
    pub fn position(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A subscription that gets events as they come. Dropping it ends the subscription: nothing is offered afterwards.
pub struct Live {
    // Before the seat: a member leaves its group before the group may end.
    membership: Membership,
    seat: Seat,
    viewer: Origin,
    outlet: Arc<dyn Outlet>,
}

struct Membership {
    section: Arc<Section>,
    place: Place,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.section.leave(self.place);
    }
}

impl Feed {
    /// One that has just been paid for: the first page is in its price.
    pub(super) fn begin(seat: Seat, viewer: Origin, outlet: Arc<dyn Outlet>, position: i64) -> Self {
        Self { free: PAGE, ..Self::new(seat, viewer, outlet, position) }
    }

    fn new(seat: Seat, viewer: Origin, outlet: Arc<dyn Outlet>, position: i64) -> Self {
        let progress = Progress(Arc::new(AtomicI64::new(position)));
        Self { seat, member: Member { viewer, outlet, position }, progress, free: 0, owed: 0 }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Gives the outlet all that came after the position, as it takes it, and goes live.
    pub async fn catch_up(mut self) -> Result<Live, FeedEnd> {
        let hub = self.seat.hub.clone();
        let mut replayed = false;
        loop {
            // What has just begun is paid for, with its first page; what a group has let go may have been for want of budget.
            if self.free < PAGE {
                self.afford(&hub).await?;
            }
            if let Some(place) = hub.go_live(&self.seat.section, &self.member) {
                if replayed {
                    metrics::counter!("lancewire_recoveries_total", "outcome" => "recovered").increment(1);
                }
                let Self { seat, member: Member { viewer, outlet, .. }, .. } = self;
                let membership = Membership { section: Arc::clone(&seat.section), place };
                return Ok(Live { membership, seat, viewer, outlet });
            }
            replayed = true;
            let skipped = self.skip(&hub).await;
            if self.member.position >= hub.head() {
                continue;
            }
            let page = self.next_page(&hub, if skipped { FEW } else { PAGE }).await?;
            self.give(&hub, &page).await?;
        }
    }

    /// Pays what is owed, and waits until the subscriber's budget has enough left to go on.
    async fn afford(&mut self, hub: &Hub) -> Result<(), FeedEnd> {
        let owed = std::mem::take(&mut self.owed);
        charges::count("replay", owed);
        let mut charged = hub.payment().charge(&self.member.viewer, owed);
        let mut waited = Duration::ZERO;
        while let Some(wait) = charged {
            // No two feeds of one budget come back at the same moment.
            let wait = wait.max(SHORTEST_WAIT);
            let jitter = hub.log().ids().below(u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX).max(1));
            let wait = wait + Duration::from_micros(jitter);
            waited += wait;
            if waited > PATIENCE {
                metrics::counter!("lancewire_recoveries_total", "outcome" => "unpaid").increment(1);
                return Err(FeedEnd::Unpaid(wait));
            }
            metrics::counter!("lancewire_budget_waits_total").increment(1);
            sleep(wait).await;
            charged = hub.payment().charge(&self.member.viewer, 0);
        }
        Ok(())
    }

    /// One's turn to work among the feeds of the same address.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if !self.member.outlet.runs_by_itself() {
            return None;
        }
        // It is never closed; if it were, nobody would have to wait for a turn.
        Arc::clone(&self.seat.replays).acquire_owned().await.ok()
    }

    /// Goes on to just before the next event that may be for the viewer, where memory does not reach back to the position:
    /// catching up costs what lies for them, not what lies between. That all between is kept is looked at first.
    async fn skip(&mut self, hub: &Hub) -> bool {
        let (position, head) = (self.member.position, hub.head());
        let log = hub.log();
        if !log.can_skip() || hub.reaches(position) || position + FAR > head {
            return false;
        }
        if self.free < PAGE {
            self.owed += SKIP;
        }
        let _turn = self.turn().await;
        let actor = &self.member.viewer.actor;
        let listener = Listener { user: actor.user(), admin: actor.is_admin() };
        let kinds = self.seat.section.interest().kinds();
        let found = async {
            let next = log.next_for(listener, kinds, position, head).await?;
            // Afterwards: what was forgotten while it was looked for was not found.
            let kept = log.oldest().await?.is_some_and(|oldest| oldest <= position + 1);
            Ok::<_, Fault>(kept.then_some(next))
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
            Err(fault) => {
                tracing::debug!(error = %fault, position, "a feed reads the log event by event");
                false
            }
        }
    }

    /// The next events, at least one.
    async fn next_page(&mut self, hub: &Hub, most: usize) -> Result<Vec<Arc<Delivery>>, FeedEnd> {
        let position = self.member.position;
        let mut pauses: Option<BackOff> = None;
        loop {
            match self.try_page(hub, position, most).await {
                Ok(Some((page, price))) => {
                    let free = page.len().min(self.free);
                    self.free -= free;
                    self.owed += price * u64::try_from(page.len() - free).unwrap_or(u64::MAX);
                    return Ok(page);
                }
                // The log has no event there yet: it is read from an older snapshot than the head.
                Ok(None) => {}
                Err(Ok(end)) => {
                    metrics::counter!("lancewire_recoveries_total", "outcome" => "expired").increment(1);
                    return Err(end);
                }
                Err(Err(fault)) => {
                    metrics::counter!("lancewire_feed_waits_total").increment(1);
                    tracing::debug!(error = %fault, position, "a feed waits for the log");
                }
            }
            pauses.get_or_insert_with(|| BackOff::new(hub.log().ids(), PAUSE)).pause().await;
        }
    }

    /// Events, with what each of them costs; none, where there is no event yet.
    async fn try_page(&self, hub: &Hub, position: i64, most: usize) -> Result<Option<Page>, Result<FeedEnd, Fault>> {
        let _turn = self.turn().await;
        let (page, price) =
            hub.page_after(position, most, |delivery| self.may_hear(delivery).is_some()).await.map_err(Err)?;
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

    async fn give(&mut self, hub: &Hub, page: &[Arc<Delivery>]) -> Result<(), FeedEnd> {
        let mut waiting: Vec<Payload> = Vec::new();
        let mut turn = None;
        for (number, delivery) in page.iter().enumerate() {
            if number % UNPAUSED == UNPAUSED - 1 {
                tokio::task::yield_now().await;
            }
            if let Some(hearing) = self.hears(delivery) {
                if turn.is_none() {
                    turn = self.turn().await;
                }
                let (response, executed) =
                    self.seat.section.group().response(delivery, hearing, self.member.viewer).await;
                if executed {
                    self.owed += self.seat.section.group().execution().cost();
                    tokio::task::yield_now().await;
                }
                waiting.push(Payload { response, position: delivery.position() });
            }
            if waiting.len() >= BATCH {
                // A reader that is slow holds nobody's turn.
                turn = None;
                self.offer(&mut waiting).await?;
                self.reach(delivery.position());
                self.afford(hub).await?;
            }
        }
        drop(turn);
        self.offer(&mut waiting).await?;
        if let Some(last) = page.last() {
            self.reach(last.position());
        }
        Ok(())
    }

    fn hears(&self, delivery: &Delivery) -> Option<Hearing> {
        self.may_hear(delivery).filter(|_| self.seat.section.interest().wants(delivery))
    }

    /// As whom the viewer hears this event, whatever they ask for within its kinds.
    fn may_hear(&self, delivery: &Delivery) -> Option<Hearing> {
        self.seat.section.interest().circle(delivery).hearing(&self.member.viewer.actor)
    }

    async fn offer(&mut self, waiting: &mut Vec<Payload>) -> Result<(), FeedEnd> {
        while !waiting.is_empty() {
            match self.member.outlet.offer(waiting) {
                Offer::Taken(0) => self.member.outlet.room(waiting[0].response.len()).await,
                Offer::Taken(count) => {
                    if let Some(last) = waiting.drain(..count.min(waiting.len())).next_back() {
                        self.reach(last.position);
                    }
                }
                Offer::TooLarge => return Err(FeedEnd::TooLarge),
                Offer::Gone => return Err(FeedEnd::Gone),
            }
        }
        Ok(())
    }

    fn reach(&mut self, position: i64) {
        self.member.position = position;
        self.progress.0.store(position, Ordering::Release);
    }
}

impl Live {
    /// Everything up to here has been offered, read before anything that is put in the outlet afterwards; none if its
    /// group has let it go, of which its transport is told in a moment. It never goes back.
    pub fn position(&self) -> Option<i64> {
        // The head first: all that was published by then is in the group's backlog, or behind it. Then the mark: who waits
        // aside for something before it was set aside before it.
        let head = self.seat.hub.head();
        let mark = self.seat.section.group().position(head);
        self.seat.section.members().position(self.membership.place, mark)
    }

    /// The subscription again, catching up from the position at which its group let it go.
    pub fn lagged(self, position: i64) -> Feed {
        let Self { membership, seat, viewer, outlet } = self;
        drop(membership);
        Feed::new(seat, viewer, outlet, position)
    }
}
