//! All who subscribe in the same words, and what is done once for all of them.
//!
//! A group is made by its first subscription and ends with its last. The hub puts each event that the group may want in
//! its backlog; a task takes them out, in order, as many as wait at a time: it executes each event once for everybody who
//! hears it as everybody does, once for each member who hears it as their own, and offers every member's outlet all that
//! came for it in one go. So results are gathered exactly when there is much to do: a group that is behind writes fewer
//! and larger pieces. The task exists while there is a backlog: a quiet group costs no task, no timer and no query.
//!
//! **Positions.** Members get events in the order of positions, each once: a member knows the last position it was given,
//! and one that joins while a backlog is being worked off skips what it has caught up with itself.
//!
//! **Who hears what** is decided for each event and member, by the event's own audience and the member's rights. An
//! execution is shared only if no resolver asked for the viewer, and it is made as nobody in particular: what marks
//! itself too late could still not show what is somebody's own.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream,
};

use super::{
    Delivery, Encoding, SharingKey,
    interest::Interest,
    members::{Lagging, Member, Members, OwnPayloads, Place},
    outlet::Payload,
};
use crate::{auth::actor::Origin, clock::Clock, events::Hearing};

/// Events worked off at a time, at the most.
const BATCH: usize = 64;
/// Members that are offered results under one lock and without a pause for other tasks.
const CHUNK: usize = 64;
/// Executions for single viewers that wait for the database at the same time.
const PARALLEL: usize = 16;

/// Executes a subscription's document on one event. Given by whoever knows the schema.
pub trait Execution: Send + Sync + 'static {
    /// The response as `viewer` hears the event; as nobody in particular without one.
    fn execute<'a>(
        &'a self,
        delivery: &'a Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> BoxFuture<'a, Executed>;
}

/// A response to one event.
#[derive(Clone, Debug)]
pub struct Executed {
    /// In JSON.
    pub response: Arc<str>,
    /// Whether a resolver asked for the viewer: another one might get another answer.
    pub looked_at_viewer: bool,
    /// Whether anything failed, which may be of this moment or of this viewer alone.
    pub failed: bool,
}

/// Those who subscribe in the same words.
pub(super) struct Group {
    number: u64,
    key: SharingKey,
    interest: Interest,
    execution: Box<dyn Execution>,
    /// Off for measurements: each member's execution is its own then.
    shares: bool,
    backlog_limit: usize,
    clock: Clock,
    backlog: Mutex<Backlog>,
    members: Mutex<Members>,
    /// An execution has asked for the viewer before: the next one will.
    looks_at_viewer: AtomicBool,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<Arc<Delivery>>,
    /// The position of the last event put in.
    last: i64,
    /// Everything up to here has been offered to all members.
    done: i64,
    running: bool,
    /// More came than may wait: the members must catch up by themselves.
    overflown: bool,
}

enum Work {
    Events(Vec<Arc<Delivery>>),
    LetGo,
    Nothing,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("number", &self.number).field("interest", &self.interest).finish_non_exhaustive()
    }
}

impl Group {
    pub(super) fn new(
        (number, key): (u64, SharingKey),
        interest: Interest,
        execution: Box<dyn Execution>,
        (shares, backlog_limit): (bool, usize),
        clock: Clock,
    ) -> Self {
        Self {
            number,
            key,
            interest,
            execution,
            shares,
            backlog_limit,
            clock,
            backlog: Mutex::default(),
            members: Mutex::default(),
            looks_at_viewer: AtomicBool::new(false),
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) const fn key(&self) -> SharingKey {
        self.key
    }

    pub(super) const fn interest(&self) -> &Interest {
        &self.interest
    }

    /// Whether any member may want this event.
    pub(super) fn wants(&self, delivery: &Delivery) -> bool {
        self.interest.wants(delivery) && self.members().any_hears(&self.interest.circle(delivery))
    }

    /// Puts the next event in the backlog; true if somebody must now [`work_off`](Self::work_off) the backlog.
    pub(super) fn enqueue(&self, delivery: &Arc<Delivery>) -> bool {
        let mut backlog = self.backlog();
        // It comes once for each term that it has in common with the interest.
        if delivery.position() <= backlog.last {
            return false;
        }
        backlog.last = delivery.position();
        if !backlog.running {
            backlog.done = delivery.position() - 1;
        }
        if backlog.overflown || backlog.waiting.len() >= self.backlog_limit {
            backlog.overflown = true;
            backlog.waiting = VecDeque::new();
        } else {
            backlog.waiting.push_back(Arc::clone(delivery));
        }
        !std::mem::replace(&mut backlog.running, true)
    }

    /// Everything up to here has been offered to all members, if the hub had published up to `head` a moment ago.
    pub(super) fn position(&self, head: i64) -> i64 {
        let backlog = self.backlog();
        if backlog.running { backlog.done.min(head) } else { head }
    }

    /// Adds a member that has caught up with its own position. Under the hub's lock.
    pub(super) fn join(&self, member: Member) -> Place {
        self.members().insert(member)
    }

    /// Takes a member out: it gets nothing more.
    pub(super) fn leave(&self, place: Place) {
        drop(self.members().remove(place));
    }

    /// Works off the backlog until nothing waits.
    pub(super) async fn work_off(self: Arc<Self>) {
        loop {
            match self.next_work() {
                Work::Events(events) => {
                    let dispatched = AssertUnwindSafe(self.dispatch(&events)).catch_unwind().await;
                    if dispatched.is_err() {
                        tracing::error!(group.interest = ?self.interest, "delivery to a group panicked");
                        self.let_go();
                    }
                }
                Work::LetGo => self.let_go(),
                Work::Nothing => return,
            }
        }
    }

    /// Has every member catch up by itself.
    fn let_go(&self) {
        let lagging = self.members().let_go();
        tell(lagging);
    }

    fn next_work(&self) -> Work {
        let mut backlog = self.backlog();
        if backlog.overflown {
            // Whoever joins from here on has caught up with more than was thrown away.
            backlog.overflown = false;
            return Work::LetGo;
        }
        if backlog.waiting.is_empty() {
            backlog.running = false;
            return Work::Nothing;
        }
        // Where each member has its own execution, an event makes many results: one at a time.
        let most = if self.looks_at_viewer.load(Ordering::Relaxed) { 1 } else { BATCH };
        let count = backlog.waiting.len().min(most);
        let events = backlog.waiting.drain(..count).collect();
        backlog.waiting.shrink_to(BATCH);
        Work::Events(events)
    }

    async fn dispatch(&self, events: &[Arc<Delivery>]) {
        let mut shared = Vec::with_capacity(events.len());
        let mut own = OwnPayloads::new();
        let mut parties_places = Vec::new();
        for delivery in events {
            let circle = self.interest.circle(delivery);
            let (mut singles, members) = {
                let members = self.members();
                (members.parties(&circle), members.len())
            };
            if circle.everybody && members > singles.len() {
                if let Some(response) = self.shared(delivery).await {
                    shared.push(Payload { response, position: delivery.position() });
                } else {
                    let others = self.members().all().into_iter();
                    let others = others.filter(|(place, _)| !singles.iter().any(|(party, ..)| party == place));
                    let others: Vec<_> = others.map(|(place, viewer)| (place, viewer, Hearing::Public)).collect();
                    singles.extend(others);
                }
            }
            let executions = singles.into_iter().map(|(place, viewer, hearing)| async move {
                (place, self.execute_for(delivery, hearing, viewer).await)
            });
            let mut executions = stream::iter(executions).buffered(PARALLEL);
            while let Some((place, response)) = executions.next().await {
                parties_places.push(place.index);
                own.entry(place.number).or_default().push(Payload { response, position: delivery.position() });
            }
        }
        let delivered = self.fan_out(&shared, &own, parties_places).await;
        let done = events.last().map_or(0, |event| event.position());
        self.backlog().done = done;
        self.measure(events, delivered, &own);
    }

    /// Offers everybody what is theirs, and lets other tasks run now and then. Returns how many results were taken.
    async fn fan_out(&self, shared: &[Payload], own: &OwnPayloads, mut some: Vec<usize>) -> usize {
        some.sort_unstable();
        some.dedup();
        // Where nothing is for everybody, only those are looked at who have something.
        let total = if shared.is_empty() { some.len() } else { self.members().places() };
        let mut delivered = 0;
        let mut begin = 0;
        while begin < total {
            let end = (begin + CHUNK).min(total);
            let offered = if shared.is_empty() {
                self.members().offer(some[begin..end].iter().copied(), shared, own)
            } else {
                self.members().offer(begin..end, shared, own)
            };
            delivered += offered.results;
            tell(offered.lagging);
            begin = end;
            if begin < total {
                tokio::task::yield_now().await;
            }
        }
        delivered
    }

    fn measure(&self, events: &[Arc<Delivery>], delivered: usize, own: &OwnPayloads) {
        let singles: usize = own.values().map(Vec::len).sum();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        metrics::counter!("lancewire_deliveries_total", "execution" => "own").increment(count(singles.min(delivered)));
        let shared = delivered.saturating_sub(singles);
        metrics::counter!("lancewire_deliveries_total", "execution" => "shared").increment(count(shared));
        let now = self.clock.now();
        let latency = metrics::histogram!("lancewire_commit_to_socket_seconds");
        for event in events {
            latency.record((now - event.occurred_at()).to_std().unwrap_or_default().as_secs_f64());
        }
    }

    /// The response for one viewer.
    pub(super) async fn response(&self, delivery: &Arc<Delivery>, hearing: Hearing, viewer: Origin) -> Arc<str> {
        if hearing == Hearing::Public
            && let Some(response) = self.shared(delivery).await
        {
            return response;
        }
        self.execute_for(delivery, hearing, viewer).await
    }

    /// The response for all who hear the event as everybody does, if it is the same for all.
    async fn shared(&self, delivery: &Arc<Delivery>) -> Option<Arc<str>> {
        if !self.shares || self.looks_at_viewer.load(Ordering::Relaxed) {
            return None;
        }
        let encoding = delivery.encoding(self.key, async || {
            let executed = self.execution.execute(delivery, Hearing::Public, None).await;
            executions("shared");
            if executed.looked_at_viewer {
                self.looks_at_viewer.store(true, Ordering::Relaxed);
            }
            if executed.looked_at_viewer || executed.failed {
                Encoding::Own
            } else {
                Encoding::Shared(executed.response)
            }
        });
        match encoding.await {
            Encoding::Shared(response) => Some(response),
            Encoding::Own => None,
        }
    }

    async fn execute_for(&self, delivery: &Arc<Delivery>, hearing: Hearing, viewer: Origin) -> Arc<str> {
        executions("own");
        self.execution.execute(delivery, hearing, Some(viewer)).await.response
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Outside every lock: a transport does what it likes.
fn tell(lagging: Vec<Lagging>) {
    if !lagging.is_empty() {
        metrics::counter!("lancewire_feed_lags_total").increment(u64::try_from(lagging.len()).unwrap_or(u64::MAX));
    }
    for Lagging { outlet, position } in lagging {
        outlet.lagged(position);
    }
}

fn executions(kind: &'static str) {
    metrics::counter!("lancewire_executions_total", "execution" => kind).increment(1);
}
