//! The life of one subscription in its group: catching up, live, and catching up again when its reader was too slow.
//!
//! A [`Feed`] reads from its position on, out of the ring or the log in bounded pages, under the same filter, the same
//! audience and the same execution as live events, at the pace of its reader. When it has caught up with the hub it
//! becomes [`Live`]: then it is an entry in its section and nothing else. When its outlet had no room the group lets it
//! go, and its transport makes a feed of it again, from the position before the first result that was not taken: up to
//! there it has been offered everything, however long ago its own last event was.
//!
//! What it reads and has executed for itself is charged to its subscriber ([`charges`](super::charges)): with nothing
//! left it waits, whatever it is doing, and of the feeds of one address only some work at the same time.
//!
//! A database that is away is waited for: the position says where to go on. A hole between the position and the oldest
//! event that is kept is never skipped in silence.

use std::{sync::Arc, time::Duration};

use super::{
    Delivery,
    hub::MemberSeat,
    members::{Member, Place},
    outlet::{Offer, Outlet, Payload},
    replay::{Progress, Replay},
    section::Section,
};
use crate::auth::actor::Origin;

/// Results of single viewers that are made before the reader is asked whether there is room for them.
const BATCH: usize = 32;
/// Events that are looked at without a pause for other tasks.
const UNPAUSED: usize = 16;

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
    seat: MemberSeat,
    outlet: Arc<dyn Outlet>,
    replay: Replay,
}

/// A subscription that gets events as they come. Dropping it ends the subscription: nothing is offered afterwards.
pub struct Live {
    // Before the seat: a member leaves its group before the group may end.
    membership: Membership,
    seat: MemberSeat,
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
    pub(super) fn begin(seat: MemberSeat, viewer: Origin, outlet: Arc<dyn Outlet>, position: i64) -> Self {
        let Self { seat, outlet, replay } = Self::new(seat, viewer, outlet, position);
        Self { seat, outlet, replay: replay.paid() }
    }

    fn new(seat: MemberSeat, viewer: Origin, outlet: Arc<dyn Outlet>, position: i64) -> Self {
        let turns = outlet.runs_by_itself().then(|| Arc::clone(&seat.replays));
        let replay = Replay::new(seat.hub.clone(), viewer, position, turns);
        Self { seat, outlet, replay }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.replay.progress()
    }

    /// Gives the outlet all that came after the position, as it takes it, and goes live.
    pub async fn catch_up(mut self) -> Result<Live, FeedEnd> {
        loop {
            // What has just begun is paid for, with its first page; a member may have left its group for want of budget.
            self.replay.afford_reading().await?;
            if let Some(place) = self.go_live() {
                self.replay.caught_up();
                let Self { seat, outlet, replay } = self;
                let membership = Membership { section: Arc::clone(&seat.section), place };
                return Ok(Live { membership, seat, viewer: replay.viewer, outlet });
            }
            let page = self.replay.read(self.seat.section.interest()).await?;
            self.give(&page).await?;
        }
    }

    fn go_live(&self) -> Option<Place> {
        let Self { seat, outlet, replay } = self;
        let member = Member { viewer: replay.viewer, outlet: Arc::clone(outlet), position: replay.position() };
        seat.hub.go_live(&seat.section, &member)
    }

    async fn give(&mut self, page: &[Arc<Delivery>]) -> Result<(), FeedEnd> {
        let mut waiting: Vec<Payload> = Vec::new();
        let mut turn = None;
        for (number, delivery) in page.iter().enumerate() {
            if number % UNPAUSED == UNPAUSED - 1 {
                tokio::task::yield_now().await;
            }
            if let Some(hearing) = self.replay.hears(self.seat.section.interest(), delivery) {
                if turn.is_none() {
                    turn = self.replay.turn().await;
                }
                let (response, executed) =
                    self.seat.section.group().response(delivery, hearing, self.replay.viewer).await;
                if executed {
                    self.replay.owe(self.seat.section.group().execution().cost());
                    tokio::task::yield_now().await;
                }
                waiting.push(Payload { response, position: delivery.position() });
            }
            if waiting.len() >= BATCH {
                // A reader that is slow holds nobody's turn.
                turn = None;
                self.offer(&mut waiting).await?;
                self.replay.reach(delivery.position());
                self.replay.afford().await?;
            }
        }
        drop(turn);
        self.offer(&mut waiting).await?;
        if let Some(last) = page.last() {
            self.replay.reach(last.position());
        }
        Ok(())
    }

    async fn offer(&mut self, waiting: &mut Vec<Payload>) -> Result<(), FeedEnd> {
        while !waiting.is_empty() {
            match self.outlet.offer(waiting) {
                Offer::Taken(0) => self.outlet.room(waiting[0].response.len()).await,
                Offer::Taken(count) => {
                    if let Some(last) = waiting.drain(..count.min(waiting.len())).next_back() {
                        self.replay.reach(last.position);
                    }
                }
                Offer::TooLarge => return Err(FeedEnd::TooLarge),
                Offer::Gone => return Err(FeedEnd::Gone),
            }
        }
        Ok(())
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
