//! All subscriptions with the same selection, and what is done once for all of them.
//!
//! A *selection* is an operation without the arguments of its root field: what is executed and encoded. Subscriptions
//! with the same arguments are a [`section`](super::section) of the group. A group starts with its first subscription
//! and ends with its last. The hub matches each event with the sections and appends it, with the sections that want it,
//! to the group's backlog. A task takes events out in order, as many as are there: it executes each once for all
//! members who may see the same of it, and offers every member's outlet all its results at once. So a group that is
//! behind writes fewer and larger pieces. The task exists while there is a backlog: a quiet group costs no task, no
//! timer and no query.
//!
//! **Own results.** A member that sees an event in its own way is put aside until that result is there, which is made
//! in a lane of its own ([`lanes`](super::lanes)); the other members do not wait for it.
//!
//! **Positions.** Members get events in the order of positions, each once: a member knows the last position that it was
//! given, and one that joins while a backlog is processed skips what it has caught up with itself. The group's *mark*
//! is the position up to which everything has been offered to all who are not aside.
//!
//! **Audience.** What a member may see is decided for each event and member, by the event's audience and the member's
//! rights. An execution is shared only if no resolver asked for the viewer. It runs as an anonymous viewer, so that a
//! resolver that marks itself private too late cannot leak private data.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery, Encoding, Payment, SelectionKey,
    charges::{self, EXECUTION},
    lanes::{self, Awaited, Lanes},
    members::{Lagging, Offered, Place},
    outlet::Payload,
    section::Section,
};
use crate::{auth::actor::Origin, clock::Clock, events::Hearing, lifecycle::Lifecycle};

/// Events worked off at a time, at the most.
const BATCH: usize = 64;
/// Members that are offered results without a pause for other tasks.
const CHUNK: usize = 64;
/// Sections that may be noted in one backlog, each for each event that it wants.
const MOST_NOTED: usize = 1 << 20;

/// Executes a selection on one event. Implemented by the layer that knows the schema.
pub trait Execution: Send + Sync + 'static {
    /// The response as `viewer` receives the event; as an anonymous viewer without one.
    fn execute<'a>(
        &'a self,
        delivery: &'a Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> BoxFuture<'a, Executed>;

    /// What one execution costs, in millionths of a point.
    fn cost(&self) -> u64 {
        EXECUTION
    }

    /// About how many bytes it takes in memory for as long as the group lives.
    fn bytes(&self) -> usize {
        0
    }

    /// For executions for several viewers at the same time; none if nothing is gained by making them together.
    fn together(&self) -> Option<Box<dyn Together + '_>> {
        None
    }
}

/// Executions for several viewers whose loads are made together.
pub trait Together: Send + Sync {
    /// The response as `viewer` receives the event. Only while it is driven.
    fn execute<'a>(&'a self, delivery: &'a Arc<Delivery>, hearing: Hearing, viewer: Origin) -> BoxFuture<'a, Executed>;

    /// Runs `executions` to their end, and the loads of all of them whenever they wait.
    fn drive<'a>(&'a self, executions: BoxFuture<'a, ()>) -> BoxFuture<'a, ()>;
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

/// What all groups of a hub have in common.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// Events that may wait.
    pub(super) backlog: usize,
    pub(super) payment: Arc<dyn Payment>,
    pub(super) clock: Clock,
    pub(super) lifecycle: Lifecycle,
}

/// Those who subscribe to the same selection.
pub(super) struct Group {
    number: u64,
    selection: SelectionKey,
    execution: Box<dyn Execution>,
    manner: Manner,
    backlog: Mutex<Backlog>,
    lanes: Lanes,
    sections: Mutex<BTreeMap<u64, Weak<Section>>>,
    /// An execution has asked for the viewer before: the next one will.
    looks_at_viewer: AtomicBool,
    /// Cancelled when the last subscription has gone.
    ended: CancellationToken,
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<Matched>,
    /// Sections noted in `waiting`.
    noted: usize,
    /// The position of the last event put in.
    last: i64,
    /// Everything up to here has been offered to all members who are not aside.
    done: i64,
    running: bool,
    /// More came than may wait: the members must catch up by themselves.
    overflown: bool,
}

/// An event and the sections that want it.
struct Matched {
    delivery: Arc<Delivery>,
    sections: Vec<Arc<Section>>,
}

enum Work {
    Events(Vec<Matched>),
    LetGo(i64),
    Nothing,
}

/// What some events are for one section.
struct Part {
    section: Arc<Section>,
    /// For everybody, in order.
    shared: Vec<Payload>,
    /// Who waits for results of their own.
    own: Vec<Awaited>,
}

impl Part {
    fn await_own(&mut self, delivery: &Arc<Delivery>, members: Vec<(Place, Origin, Hearing)>) {
        let section = &self.section;
        self.own.extend(members.into_iter().map(|(place, viewer, hearing)| Awaited {
            delivery: Arc::clone(delivery),
            hearing,
            viewer,
            section: Arc::clone(section),
            place,
        }));
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Group {
    pub(super) fn new(number: u64, selection: SelectionKey, execution: Box<dyn Execution>, manner: Manner) -> Self {
        Self {
            number,
            selection,
            execution,
            manner,
            backlog: Mutex::default(),
            lanes: Lanes::default(),
            sections: Mutex::default(),
            looks_at_viewer: AtomicBool::new(false),
            ended: CancellationToken::new(),
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) const fn selection(&self) -> SelectionKey {
        self.selection
    }

    pub(super) fn execution(&self) -> &dyn Execution {
        &*self.execution
    }

    pub(super) const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// A section begins.
    pub(super) fn open(&self, section: &Arc<Section>) {
        self.sections().insert(section.number(), Arc::downgrade(section));
    }

    /// A section has lost its last subscription.
    pub(super) fn close(&self, section: &Section) {
        self.sections().remove(&section.number());
    }

    /// The last subscription has gone: nothing more is executed.
    pub(super) fn end(&self) {
        self.ended.cancel();
        self.lanes.close();
        // What waits holds its sections, and they hold their group.
        let ended = std::mem::take(&mut self.backlog().waiting);
        drop(ended);
    }

    /// Puts the next event in the backlog, for the sections that want it, and has it worked off.
    pub(super) fn enqueue(self: &Arc<Self>, delivery: &Arc<Delivery>, sections: Vec<Arc<Section>>) -> bool {
        let mut backlog = self.backlog();
        backlog.last = delivery.position();
        if !backlog.running {
            backlog.done = delivery.position() - 1;
        }
        let noted = backlog.noted + sections.len();
        if backlog.overflown || backlog.waiting.len() >= self.manner.backlog || noted > MOST_NOTED {
            backlog.overflown = true;
            (backlog.waiting, backlog.noted) = (VecDeque::new(), 0);
        } else {
            backlog.noted = noted;
            backlog.waiting.push_back(Matched { delivery: Arc::clone(delivery), sections });
        }
        !std::mem::replace(&mut backlog.running, true)
    }

    /// Everything up to here has been offered to all members who are not aside, if the hub had published up to `head` a
    /// moment ago.
    pub(super) fn position(&self, head: i64) -> i64 {
        let backlog = self.backlog();
        if backlog.running { backlog.done.min(head) } else { head }
    }

    /// Works off the backlog until nothing waits, or nobody listens any more.
    pub(super) async fn work_off(self: Arc<Self>) {
        let ended = self.ended.clone();
        let work = async {
            loop {
                match self.next_work() {
                    Work::Events(events) => {
                        let dispatched = AssertUnwindSafe(self.dispatch(&events)).catch_unwind().await;
                        if dispatched.is_err() {
                            tracing::error!(group = ?self, "delivery to a group panicked");
                            // Nobody is known to have been offered any of them.
                            let done = self.backlog().done;
                            self.let_go(done);
                        }
                    }
                    Work::LetGo(done) => self.let_go(done),
                    Work::Nothing => return,
                }
            }
        };
        ended.run_until_cancelled(work).await;
    }

    /// Has every member catch up by itself, who have been offered everything up to `done`.
    fn let_go(&self, done: i64) {
        let sections: Vec<_> = self.sections().values().filter_map(Weak::upgrade).collect();
        for section in sections {
            let lagging = section.members().let_go(done);
            Lagging::tell(lagging);
        }
    }

    fn next_work(&self) -> Work {
        let mut backlog = self.backlog();
        if backlog.overflown {
            // A member that joins from here on has caught up with more than was thrown away.
            backlog.overflown = false;
            return Work::LetGo(backlog.done);
        }
        if backlog.waiting.is_empty() {
            backlog.running = false;
            return Work::Nothing;
        }
        // Where each member has its own execution, an event makes many results: one at a time.
        let most = if self.looks_at_viewer.load(Ordering::Relaxed) { 1 } else { BATCH };
        let count = backlog.waiting.len().min(most);
        let events: Vec<Matched> = backlog.waiting.drain(..count).collect();
        backlog.noted -= events.iter().map(|event| event.sections.len()).sum::<usize>();
        backlog.waiting.shrink_to(BATCH);
        Work::Events(events)
    }

    async fn dispatch(self: &Arc<Self>, events: &[Matched]) {
        let mut parts: Vec<Part> = Vec::new();
        let mut known: HashMap<u64, usize> = HashMap::new();
        let (mut executed, mut due) = (Vec::new(), Vec::new());
        for Matched { delivery, sections } in events {
            // The parts in which a member receives it as everybody does, and who there has a result of their own.
            let mut public: Vec<(usize, Vec<Place>)> = Vec::new();
            let mut listeners = 0;
            for section in sections {
                let index = *known.entry(section.number()).or_insert_with(|| {
                    parts.push(Part { section: Arc::clone(section), shared: Vec::new(), own: Vec::new() });
                    parts.len() - 1
                });
                let Some(part) = parts.get_mut(index) else { continue };
                let circle = section.interest().circle(delivery);
                let members = section.members();
                let parties = members.parties(&circle);
                if circle.everybody && members.len() > parties.len() {
                    listeners += members.len() - parties.len();
                    public.push((index, parties.iter().map(|(place, ..)| *place).collect()));
                }
                drop(members);
                part.await_own(delivery, parties);
            }
            if public.is_empty() {
                continue;
            }
            let response = self.shared(delivery).await;
            if response.is_some() {
                executed.push(delivery);
            }
            if events.len() > 1 {
                // One that has much to do does not hold a thread for all of it.
                tokio::task::yield_now().await;
            }
            let share = charges::share(self.execution.cost(), listeners);
            for (index, parties) in public {
                let Some(part) = parts.get_mut(index) else { continue };
                if let Some(response) = &response {
                    if part.section.owe(share) {
                        due.push(Arc::clone(&part.section));
                    }
                    part.shared.push(Payload { response: Arc::clone(response), position: delivery.position() });
                } else {
                    let members = part.section.members();
                    let others = members.all().filter(|(place, _)| !parties.contains(place));
                    let others: Vec<_> = others.map(|(place, viewer)| (place, viewer, Hearing::Public)).collect();
                    drop(members);
                    part.await_own(delivery, others);
                }
            }
        }
        let (delivered, awaited) = self.fan_out(parts).await;
        if let Some(last) = events.last() {
            self.backlog().done = last.delivery.position();
            for section in due {
                self.settle(&section, last.delivery.position()).await;
            }
        }
        count_deliveries("shared", delivered);
        for delivery in executed {
            self.measure_latency(delivery);
        }
        if !awaited.is_empty() && self.lanes.add(awaited) {
            let lanes = lanes::work_off(Arc::clone(self));
            let ended = self.ended.clone();
            drop(self.manner.lifecycle.spawn(async move { ended.run_until_cancelled(lanes).await }));
        }
    }

    /// Charges the members of a section for what they owe, who have been offered everything up to `done`. Those who cannot
    /// pay leave: they catch up when they can.
    async fn settle(&self, section: &Section, done: i64) {
        let owed = section.take_owed();
        let mut since_pause = 0;
        let places = section.members().places();
        for begin in (0..places).step_by(CHUNK) {
            let end = (begin + CHUNK).min(places);
            let (charged, unpaid) =
                section.members().charge(begin..end, done, |viewer| self.manner.payment.charge(viewer, owed).is_none());
            charges::count("live", owed * u64::try_from(charged).unwrap_or(u64::MAX));
            Lagging::tell(unpaid);
            pause_after(end - begin, &mut since_pause).await;
        }
    }

    /// Charges a viewer for a result of their own. False if nothing more may be made for them until they have paid.
    pub(super) fn charge_own(&self, viewer: &Origin) -> bool {
        let cost = self.execution.cost();
        charges::count("own", cost);
        self.manner.payment.charge(viewer, cost).is_none()
    }

    /// Offers everybody what is shared, puts those aside who wait for a result of their own, and lets other tasks run now
    /// and then. Returns how many results were taken, and who waits, in the order of events.
    async fn fan_out(&self, parts: Vec<Part>) -> (usize, Vec<Awaited>) {
        let (mut delivered, mut since_pause) = (0, 0);
        let mut awaited = Vec::new();
        for Part { section, shared, mut own } in parts {
            own.sort_by_key(|awaited| (awaited.place.index, awaited.delivery.position()));
            let mut own = own.into_iter().peekable();
            while let Some(first) = own.next() {
                let place = first.place;
                let mut of_member = vec![first];
                while let Some(next) = own.next_if(|next| next.place == place) {
                    of_member.push(next);
                }
                let positions: Vec<i64> = of_member.iter().map(|awaited| awaited.delivery.position()).collect();
                let mut offered = Offered::default();
                let skipped = section.members().set_aside(place, &positions, &shared, &mut offered);
                delivered += offered.results;
                Lagging::tell(offered.lagging);
                awaited.extend(of_member.drain(skipped..));
                pause_after(1, &mut since_pause).await;
            }
            let total = if shared.is_empty() { 0 } else { section.members().places() };
            let mut begin = 0;
            while begin < total {
                let end = (begin + CHUNK - since_pause).min(total);
                let mut offered = Offered::default();
                section.members().offer(begin..end, &shared, &mut offered);
                delivered += offered.results;
                Lagging::tell(offered.lagging);
                pause_after(end - begin, &mut since_pause).await;
                begin = end;
            }
        }
        awaited.sort_by_key(|awaited: &Awaited| awaited.delivery.position());
        (delivered, awaited)
    }

    /// How many results of single viewers were taken, and of others that had waited behind them.
    pub(super) fn measure_own(&self, delivery: &Delivery, results: usize, own: usize) {
        count_deliveries("own", results.min(own));
        count_deliveries("shared", results.saturating_sub(own));
        self.measure_latency(delivery);
    }

    fn measure_latency(&self, delivery: &Delivery) {
        let age = self.manner.clock.now() - delivery.occurred_at();
        metrics::histogram!("lancewire_commit_to_socket_seconds")
            .record(age.to_std().unwrap_or_default().as_secs_f64());
    }

    /// The response for one viewer, and whether it had to be executed for them.
    pub(super) async fn response(
        &self,
        delivery: &Arc<Delivery>,
        hearing: Hearing,
        viewer: Origin,
    ) -> (Arc<str>, bool) {
        if hearing == Hearing::Public {
            let made = AtomicBool::new(false);
            if let Some(response) = self.shared_noting(delivery, &made).await {
                return (response, made.into_inner());
            }
        }
        (self.execute_for(None, delivery, hearing, viewer).await, true)
    }

    /// The response for all who receive the event as everybody does, if it is the same for all.
    async fn shared(&self, delivery: &Arc<Delivery>) -> Option<Arc<str>> {
        self.shared_noting(delivery, &AtomicBool::new(false)).await
    }

    /// The same, noting whether it was `made` just now.
    async fn shared_noting(&self, delivery: &Arc<Delivery>, made: &AtomicBool) -> Option<Arc<str>> {
        if self.looks_at_viewer.load(Ordering::Relaxed) {
            return None;
        }
        let encoding = delivery.encoding(self.selection, async || {
            let executed = self.execution.execute(delivery, Hearing::Public, None).await;
            count_executions("shared");
            made.store(true, Ordering::Relaxed);
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

    /// The response for one viewer, with the loads of others if there are such.
    pub(super) async fn execute_for(
        &self,
        together: Option<&dyn Together>,
        delivery: &Arc<Delivery>,
        hearing: Hearing,
        viewer: Origin,
    ) -> Arc<str> {
        count_executions("own");
        let executed = match together {
            Some(together) => together.execute(delivery, hearing, viewer).await,
            None => self.execution.execute(delivery, hearing, Some(viewer)).await,
        };
        executed.response
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sections(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Section>>> {
        self.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets other tasks run once so many members have been offered something.
pub(super) async fn pause_after(members: usize, since_pause: &mut usize) {
    *since_pause += members;
    if *since_pause >= CHUNK {
        *since_pause = 0;
        tokio::task::yield_now().await;
    }
}

fn count_deliveries(execution: &'static str, results: usize) {
    let results = u64::try_from(results).unwrap_or(u64::MAX);
    metrics::counter!("lancewire_deliveries_total", "execution" => execution).increment(results);
}

fn count_executions(execution: &'static str) {
    metrics::counter!("lancewire_executions_total", "execution" => execution).increment(1);
}
