//! Results for one viewer alone: a lane for each viewer, beside what a group executes for all.
//!
//! A member that sees an event in its own way is put aside ([`members`](super::members)), and its group continues with
//! the others at once. The results are made here: for one viewer one after the other, in the order of events, and once
//! for all members of that viewer; for different viewers at the same time, with their loads batched ([`Together`]). A
//! viewer whose execution waits for the database delays no other viewer.
//!
//! What waits in a lane is bounded in bytes. When it is full its members leave the group and catch up by themselves.
//! One task drives the lanes of a group while there is work, and ends with it or with the group.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::{
    Delivery,
    group::{Group, Together, pause_after},
    members::{Lagging, Offered, Place},
    outlet::Payload,
    section::Section,
};
use crate::{
    auth::actor::{Origin, Roles},
    events::Hearing,
    ids::UserId,
};

/// Viewers for whom one group executes at the same time.
const PARALLEL: usize = 128;
/// Bytes of events that may wait in one lane.
const MOST_WAITING: usize = 1024 * 1024;

/// Whose lane it is: all that the answer to an event may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Viewer {
    user: Option<UserId>,
    roles: Roles,
}

/// A member who waits for a result of its own.
pub(super) struct Awaited {
    pub(super) delivery: Arc<Delivery>,
    pub(super) hearing: Hearing,
    pub(super) viewer: Origin,
    pub(super) section: Arc<Section>,
    pub(super) place: Place,
}

/// An event to be executed for one viewer.
struct Work {
    delivery: Arc<Delivery>,
    hearing: Hearing,
    viewer: Origin,
    /// The members who wait for it.
    to: Vec<(Arc<Section>, Place)>,
}

/// The lanes of one group.
#[derive(Default)]
pub(super) struct Lanes {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Of viewers for whom something waits or is executed.
    lanes: HashMap<Viewer, Lane>,
    /// For whom something waits and nothing is executed.
    ready: VecDeque<Viewer>,
    running: bool,
    /// Nobody listens any more: nothing is added.
    closed: bool,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Work>,
    bytes: usize,
}

impl Lanes {
    /// Has these members wait for their viewers' results, in the order of events. True if somebody must now
    /// [`work_off`] the lanes. Members for whom there is no room leave the group.
    pub(super) fn add(&self, awaited: impl IntoIterator<Item = Awaited>) -> bool {
        let mut guard = self.state();
        let State { lanes, ready, running, closed } = &mut *guard;
        if *closed {
            return false;
        }
        let mut too_much = Vec::new();
        for Awaited { delivery, hearing, viewer, section, place } in awaited {
            let of = Viewer { user: viewer.actor.user(), roles: viewer.actor.roles() };
            let lane = match lanes.entry(of) {
                Entry::Occupied(lane) => lane.into_mut(),
                Entry::Vacant(lane) => {
                    ready.push_back(of);
                    lane.insert(Lane::default())
                }
            };
            let same = |work: &&mut Work| work.delivery.position() == delivery.position() && work.hearing == hearing;
            if let Some(work) = lane.waiting.back_mut().filter(same) {
                work.to.push((section, place));
                continue;
            }
            let work = Work { delivery, hearing, viewer, to: vec![(section, place)] };
            lane.bytes += work.bytes();
            lane.waiting.push_back(work);
            if lane.bytes > MOST_WAITING {
                lane.bytes = 0;
                too_much.extend(lane.waiting.drain(..));
            }
        }
        let must_run = !lanes.is_empty() && !std::mem::replace(running, true);
        drop(guard);
        for work in &too_much {
            let_go(work);
        }
        self.changed.notify_one();
        must_run
    }

    /// Throws away what waits, and takes nothing more. What waits holds its sections, and they hold their group.
    pub(super) fn close(&self) {
        let ended = std::mem::replace(&mut *self.state(), State { closed: true, ..State::default() });
        drop(ended);
    }

    /// The next execution that can begin.
    fn next(&self) -> Option<(Viewer, Option<Work>)> {
        let mut state = self.state();
        let viewer = state.ready.pop_front()?;
        let lane = state.lanes.get_mut(&viewer)?;
        let work = lane.waiting.pop_front();
        lane.bytes -= work.as_ref().map_or(0, Work::bytes);
        Some((viewer, work))
    }

    /// A viewer's execution has ended.
    fn done(&self, viewer: Viewer) {
        let mut state = self.state();
        if state.lanes.get(&viewer).is_some_and(|lane| lane.waiting.is_empty()) {
            state.lanes.remove(&viewer);
        } else {
            state.ready.push_back(viewer);
        }
    }

    /// True if there is nothing to do: from then on somebody else must run.
    fn end(&self) -> bool {
        let mut state = self.state();
        state.running = !state.lanes.is_empty();
        if !state.running {
            (state.lanes, state.ready) = Default::default();
        }
        !state.running
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Work {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.delivery.size()
    }
}

/// Works off the lanes of a group until nothing waits.
pub(super) async fn work_off(group: Arc<Group>) {
    let execution = group.execution();
    let together = execution.together();
    let work = async {
        let mut executing = FuturesUnordered::new();
        loop {
            let changed = group.lanes().changed.notified();
            while executing.len() < PARALLEL
                && let Some((viewer, work)) = group.lanes().next()
            {
                executing.push(execute(&group, together.as_deref(), viewer, work));
            }
            if executing.is_empty() {
                if group.lanes().end() {
                    return;
                }
                continue;
            }
            // In this order, so that a history can be played again; what is added is looked for after each of both.
            tokio::select! {
                biased;
                viewer = executing.next() => if let Some(viewer) = viewer { group.lanes().done(viewer) },
                () = changed => {}
            }
        }
    };
    match &together {
        Some(together) => together.drive(work.boxed()).await,
        None => work.await,
    }
}

/// Executes one event for one viewer, and gives the result to those who wait for it.
async fn execute(group: &Group, together: Option<&dyn Together>, viewer: Viewer, work: Option<Work>) -> Viewer {
    if let Some(work) = work {
        let given = AssertUnwindSafe(give(group, together, &work)).catch_unwind().await;
        if given.is_err() {
            tracing::error!("an own result panicked");
            // What they meet when they catch up by themselves ends nobody else.
            let_go(&work);
        }
    }
    viewer
}

async fn give(group: &Group, together: Option<&dyn Together>, work: &Work) {
    let position = work.delivery.position();
    if !work.to.iter().any(|(section, place)| section.members().awaits(*place, position)) {
        return;
    }
    let response = group.execute_for(together, &work.delivery, work.hearing, work.viewer).await;
    let paid = group.charge_own(&work.viewer);
    let (mut results, mut since_pause) = (0, 0);
    for (section, place) in &work.to {
        let mut offered = Offered::default();
        let payload = Payload { response: Arc::clone(&response), position };
        section.members().give_own(*place, payload, &mut offered);
        if !paid {
            section.members().let_unpaid_go(*place, &mut offered);
        }
        results += offered.results;
        Lagging::tell(offered.lagging);
        pause_after(1, &mut since_pause).await;
    }
    group.measure_own(&work.delivery, results, work.to.len());
}

fn let_go(work: &Work) {
    let mut offered = Offered::default();
    for (section, place) in &work.to {
        section.members().let_one_go(*place, &mut offered);
    }
    Lagging::tell(offered.lagging);
}
