//! Follows the log as it grows and hands each event to the hub, in order.
//!
//! One task a process. It wakes when a transaction of this process has committed, when the [`bus`](super::bus) says
//! that another node has published more, and by a timer in case no message arrived. It alone publishes in the hub, and
//! only the event after the last one: positions are contiguous, so a hole is seen and never skipped.
//!
//! Where events come from:
//! - After a commit here, and at each poll, it has committed events numbered and reads all that follow the last one
//!   ([`EventLog::advance`](crate::events::EventLog::advance)), and tells the bus of those that this process has
//!   numbered.
//! - Events from the bus are published without a read as far as they are contiguous. Several nodes number, so theirs
//!   may arrive in another order: an early one waits for what is missing, for [`Pace::hold`], and then the log is read.
//!   The log is also read when the bus names a position whose event does not arrive, so that a lost last message is
//!   noticed, and for a private event without its body that a subscriber here may receive.
//!
//! **When it must not continue.** Each read returns what stands at the tail's position, and that is compared with what
//! was published last. On a difference the process fails, to be restarted by its supervisor: sockets are closed with
//! 1012, and the new process starts with an empty ring and empty caches, and authorises all clients again.
//! - The log has lost events that this process has read in it (a fail-over, a restore), whether or not new ones have
//!   their positions: the log gets a new identity, which invalidates all cursors.
//! - The log lacks an event that only the bus has brought, for example from a node on another database: cursors stay
//!   valid, since each names its event. What only the bus has said never changes the log's identity.
//! - Retention has removed events before this process read them. They may have been about anything, the ends of
//!   sessions included, so the rights that this process has cached are no longer valid. A client that missed something
//!   gets `CURSOR_EXPIRED` when it resumes.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{Announced, Bus, Delivery, Hub, Lag, ReceivedEvent, Signal};
use crate::{
    backoff::BackOff,
    error::InternalError,
    events::{Advance, Arrivals, Event, Mark, NewEvent, Point},
    lifecycle::Lifecycle,
};

/// Events read at a time.
const PAGE: u32 = 512;
/// Events that fill the ring at the start.
const RECENT: i64 = 8_192;
/// Events that may wait for those before them; more, and the log is read.
const EARLY: usize = 4_096;
/// How long commits that follow each other closely gather before the next numbering, in times of what the last one took
/// with its read, and at the most. Each costs the database and this process about as much as half a mutation, however many
/// events it finds: so under load they take a fifth of the time and no more. A commit that comes alone does not wait.
const GATHER: (u32, Duration) = (4, Duration::from_millis(16));
/// The same where the bus does not carry the events: there each numbering costs every other node a read of its own.
const GATHER_FOR_READERS: (u32, Duration) = (5, Duration::from_millis(20));
/// The longest pause between tries while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often the tail does what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Numbers and reads although nobody said anything.
    pub poll: Duration,
    /// Tells the other nodes up to where the log goes, although nothing happened.
    pub heartbeat: Duration,
    /// Waits for events that the bus will probably still bring.
    pub hold: Duration,
}

/// The tail of one process.
pub struct Tail {
    hub: Hub,
    bus: Arc<dyn Bus>,
    /// Rung after each commit of this process.
    doorbell: Arc<Notify>,
    /// Hears every event before anybody else does.
    observer: Box<dyn Fn(&NewEvent) + Send + Sync>,
    pace: Pace,
    lifecycle: Lifecycle,
    /// The last position published.
    last: i64,
    /// What was published there.
    mark: Mark,
    /// The last place that this process has seen in the log itself.
    confirmed: Point,
    /// What came before its turn.
    early: BTreeMap<i64, Announced>,
    /// The last position of which another node has spoken.
    spoken_of: i64,
    /// When to stop waiting for what the bus has not brought.
    held_until: Option<Instant>,
    poll_at: Instant,
    /// Before this moment commits gather.
    gather_until: Instant,
    /// Whether some are gathering.
    gathering: bool,
    pause: Duration,
    /// The pauses while the database is away.
    pauses: BackOff,
    away: bool,
    /// Whether there is more to number than one statement has numbered.
    unnumbered: bool,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Tail {
    /// Begins where the log stands now; before anybody joins the hub.
    ///
    /// The last events fill the ring, so that a crowd that comes back after a restart is served from memory. `observer`
    /// gets every event that follows, before any subscription does.
    pub async fn begin(
        hub: Hub,
        bus: Arc<dyn Bus>,
        doorbell: Arc<Notify>,
        pace: Pace,
        lifecycle: Lifecycle,
        observer: impl Fn(&NewEvent) + Send + Sync + 'static,
    ) -> Result<Self, InternalError> {
        // Nothing comes after this; but the connection is open when the first event does.
        let Advance { head: last, stands, unnumbered, .. } = hub.log().advance(i64::MAX, 1).await?;
        let begin = Point { position: last, mark: stands.unwrap_or(Mark::NONE) };
        hub.log().note(begin);
        hub.begin_at(last, recent(&hub, last).await);
        let pauses = BackOff::new(hub.log().ids(), ((pace.poll * 2).min(LONGEST_PAUSE), LONGEST_PAUSE));
        Ok(Self {
            hub,
            bus,
            doorbell,
            observer: Box::new(observer),
            pace,
            lifecycle,
            last,
            mark: begin.mark,
            confirmed: begin,
            early: BTreeMap::new(),
            spoken_of: last,
            held_until: None,
            poll_at: Instant::now(),
            gather_until: Instant::now(),
            gathering: false,
            pause: pace.poll,
            pauses,
            away: false,
            unnumbered,
        })
    }

    /// Publishes what comes, until nobody is left to deliver to.
    pub async fn run(mut self) {
        let lifecycle = self.lifecycle.clone();
        let (bus, doorbell) = (Arc::clone(&self.bus), Arc::clone(&self.doorbell));
        let arrivals = self.hub.log().arrivals().clone();
        arrivals.open();
        // Whichever way this ends.
        let lag = self.hub.lag().clone();
        lag.begin(self.pace.poll);
        let _closing = Closing(arrivals, lag);
        let mut beat_at = Instant::now();
        let mut ending = pin!(async {
            tokio::select! {
                () = lifecycle.drained() => {}
                () = lifecycle.failed() => {}
            }
        });
        while !lifecycle.has_failed() {
            let gathered_at = self.gathering.then_some(self.gather_until);
            let wake_at =
                [self.held_until, gathered_at].into_iter().flatten().fold(self.poll_at.min(beat_at), Instant::min);
            // In this order and not in a random one, so that a history can be played again (`tests/sim`). Nobody starves: a
            // deadline that has passed is moved on, and whatever the doorbell or a deadline makes the tail read is all that
            // the bus could tell of.
            tokio::select! {
                biased;
                () = &mut ending => return,
                () = sleep_until(wake_at) => {
                    let now = Instant::now();
                    if now >= beat_at {
                        beat_at = now + self.pace.heartbeat;
                        self.bus.ring(self.last);
                    }
                    if now >= self.poll_at || (self.gathering && now >= self.gather_until) {
                        self.follow(true).await;
                    } else if self.held_until.is_some_and(|until| now >= until) {
                        metrics::counter!("lancewire_bus_holes_total").increment(1);
                        self.follow(false).await;
                    }
                }
                () = doorbell.notified(), if !self.away && !self.gathering => {
                    self.gathering = Instant::now() < self.gather_until;
                    if !self.gathering {
                        self.follow(true).await;
                    }
                }
                signal = bus.heard() => self.hear(signal).await,
            }
        }
    }

    async fn hear(&mut self, signal: Signal) {
        match signal {
            Signal::Head(head) if head <= self.last => {}
            // Its events are probably on their way.
            Signal::Head(head) if self.bus.carries_events() => {
                self.spoken_of = self.spoken_of.max(head);
                self.hold();
            }
            Signal::Head(_) | Signal::Missed => self.follow(false).await,
            Signal::Events(events) => self.take(events).await,
        }
    }

    /// Publishes what another node has read, as far as it goes on from what was published last.
    async fn take(&mut self, events: Vec<ReceivedEvent>) {
        let identity = self.hub.log().identity();
        for ReceivedEvent { event, follows, has_body } in events {
            let position = event.position;
            let known = self.early.get(&position).is_some_and(|known| known.delivery.has_body() || !has_body);
            if position <= self.last || known {
                continue;
            }
            let delivery =
                if has_body { Delivery::new(event, identity) } else { Delivery::without_body(event, identity) };
            self.early.insert(position, Announced { delivery: Arc::new(delivery), follows });
        }
        let (mut end, mut other) = (Point { position: self.last, mark: self.mark }, false);
        let mut contiguous = Vec::new();
        for (position, Announced { delivery, follows }) in &self.early {
            if *position != end.position + 1 {
                break;
            }
            // Of another history, of which there may be two for a while after a fail-over: the log says which one is ours.
            other = end.mark != Mark::NONE && *follows != end.mark;
            if other {
                break;
            }
            end = Point { position: *position, mark: Mark::of(delivery.id()) };
            contiguous.push(Arc::clone(delivery));
        }
        if !contiguous.is_empty() {
            let count = contiguous.len();
            self.publish(contiguous, "bus");
            tracing::trace!(count, position = self.last, "took events from the bus");
        }
        if self.last < end.position || other || self.early.len() > EARLY {
            // A subscriber here may receive an event whose body did not come.
            self.follow(false).await;
        } else if self.early.is_empty() && self.spoken_of <= self.last {
            self.held_until = None;
        } else {
            self.hold();
        }
    }

    fn hold(&mut self) {
        self.held_until.get_or_insert_with(|| Instant::now() + self.pace.hold);
    }

    /// Reads what follows the last event, after having it numbered if `stamp`.
    async fn follow(&mut self, stamp: bool) {
        self.gathering &= !stamp;
        let began = Instant::now();
        match self.advance(stamp).await {
            Ok(numbered) => {
                if numbered {
                    let (times, most) = if self.bus.carries_events() { GATHER } else { GATHER_FOR_READERS };
                    self.gather_until = Instant::now() + (began.elapsed() * times).min(most);
                }
                if stamp && !self.unnumbered {
                    self.hub.lag().caught_up(began);
                }
                if self.away {
                    tracing::info!(position = self.last, "the event log answers again");
                }
                (self.away, self.pause) = (false, self.pace.poll);
                self.pauses.reset();
                self.hub.log().arrivals().open();
                // The log has been read to its end. A position beyond that which another node has announced is no reason to read it again.
                self.early.clear();
                self.spoken_of = self.last;
            }
            Err(error) => {
                if !self.away {
                    tracing::error!(error = %error, "the event log cannot be read; trying again");
                }
                (self.away, self.pause) = (true, self.pauses.length());
                self.hub.log().arrivals().close();
            }
        }
        if self.hub.log().is_replaced() && !self.lifecycle.has_failed() {
            // What is in memory here is of a log that is no more.
            tracing::error!("the event log has another identity; this process must be started anew");
            self.lifecycle.fail();
        }
        // Reading alone numbers nothing: what a node that is gone has committed must not wait for a quiet moment.
        if stamp || self.away {
            self.poll_at = Instant::now() + self.pause;
        }
        if self.unnumbered && !self.away {
            self.poll_at = Instant::now();
        }
        self.held_until = None;
    }

    /// Returns whether this process had any to number. What must not be gone on from has ended the process then.
    async fn advance(&mut self, stamp: bool) -> Result<bool, InternalError> {
        let log = self.hub.log().clone();
        let (stands, mut page) = if stamp {
            let Advance { head, stands, events, unnumbered } = log.advance(self.last, PAGE).await?;
            self.unnumbered = unnumbered;
            if head < self.last {
                self.give_up("the log ends before what was delivered").await?;
                return Ok(false);
            }
            metrics::gauge!("lancewire_events_behind").set(lossy((head - self.last).max(0)));
            if events.is_empty() && head > self.last {
                self.lack(None);
                return Ok(false);
            }
            (stands, events)
        } else {
            let page = log.next(self.last, PAGE).await?;
            (page.stands, page.events)
        };
        if !self.goes_on_from(stands).await? {
            return Ok(false);
        }
        let numbered = log.take_numbered();
        if let Some(head) = numbered.iter().map(|range| *range.end()).max().filter(|_| !self.bus.carries_events()) {
            self.bus.ring(head);
        }
        loop {
            let full = page.len() == PAGE as usize;
            if let Some(first) = page.first().filter(|first| first.position != self.last + 1) {
                self.lack(Some(first.position));
                return Ok(false);
            }
            if page.is_empty() {
                // Nothing behind a full page, or a reader with an older snapshot than the node that announced the head.
                return Ok(!numbered.is_empty());
            }
            let mut follows = self.mark;
            let announced = |event: Event| {
                let mark = Mark::of(event.recorded.id);
                let delivery = Arc::new(Delivery::new(event, log.identity()));
                Announced { delivery, follows: std::mem::replace(&mut follows, mark) }
            };
            let events: Vec<_> = page.into_iter().map(announced).collect();
            let is_ours = |event: &&Announced| numbered.iter().any(|range| range.contains(&event.delivery.position()));
            let ours: Vec<_> = events.iter().filter(is_ours).cloned().collect();
            if !ours.is_empty() {
                self.bus.announce(&ours);
            }
            self.publish(events.into_iter().map(|event| event.delivery).collect(), "log");
            self.confirmed = Point { position: self.last, mark: self.mark };
            if !full {
                return Ok(!numbered.is_empty());
            }
            let next = log.next(self.last, PAGE).await?;
            if !self.goes_on_from(next.stands).await? {
                return Ok(false);
            }
            page = next.events;
        }
    }

    /// Whether the log has, where this process stands, what was published there.
    async fn goes_on_from(&mut self, stands: Option<Mark>) -> Result<bool, InternalError> {
        // Where nobody knows any more what stood there, what follows it is contiguous or it is not.
        let Some(stands) = stands else { return Ok(true) };
        if stands.contradicts(self.mark) {
            self.give_up("another event stands where the last one was delivered").await?;
            return Ok(false);
        }
        self.confirmed = Point { position: self.last, mark: stands };
        Ok(true)
    }

    /// What was delivered is not what the log has. Ends this process; and all cursors, if the log itself had it.
    async fn give_up(&self, why: &'static str) -> Result<(), InternalError> {
        let log = self.hub.log();
        let Point { position, mark } = self.confirmed;
        let at = (self.last, position);
        // Before the first event there is nothing to lose.
        let is_ours = position == 0 || log.stands_at(position).await?.is_some_and(|stands| !stands.contradicts(mark));
        if is_ours {
            tracing::error!(
                why,
                delivered = at.0,
                confirmed = at.1,
                "another node has told of events that the log lacks"
            );
        } else {
            tracing::error!(
                why,
                delivered = at.0,
                confirmed = at.1,
                "the database has lost events that were delivered (a failover or a restore); all cursors expire"
            );
            log.renounce().await?;
        }
        metrics::counter!("lancewire_histories_left_total", "lost" => if is_ours { "bus" } else { "log" }).increment(1);
        self.lifecycle.fail();
        Ok(())
    }

    /// Events are gone that were never delivered here.
    fn lack(&self, next: Option<i64>) {
        metrics::counter!("lancewire_event_gaps_total").increment(1);
        tracing::error!(
            after = self.last,
            next,
            "events were forgotten before they were delivered here; this process must be started anew"
        );
        self.lifecycle.fail();
    }

    /// Hands the next events to the hub.
    fn publish(&mut self, deliveries: Vec<Arc<Delivery>>, from: &'static str) {
        for delivery in &deliveries {
            (self.observer)(&delivery.event().recorded);
        }
        for delivery in &deliveries {
            self.hub.log().note(Point { position: delivery.position(), mark: Mark::of(delivery.id()) });
        }
        let before = self.last;
        let kinds: Vec<_> =
            deliveries.iter().map(|delivery| (delivery.position(), delivery.kind(), delivery.id())).collect();
        self.last = self.hub.publish(deliveries).max(before);
        let published = kinds.iter().filter(|(position, ..)| *position <= self.last);
        if let Some((.., event)) = published.clone().next_back() {
            self.mark = Mark::of(*event);
        }
        self.hub.log().arrivals().arrived(published.clone().map(|(position, _, event)| (*event, *position)));
        for (_, kind, _) in published {
            metrics::counter!("lancewire_events_total", "kind" => kind.as_str()).increment(1);
            metrics::counter!("lancewire_tailed_events_total", "from" => from).increment(1);
        }
        self.early = self.early.split_off(&(self.last + 1));
    }
}

/// Lets nobody wait for a tail that has ended.
struct Closing(Arrivals, Lag);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
        self.1.end();
    }
}

/// The last events up to `head`, as many as are kept of them.
async fn recent(hub: &Hub, head: i64) -> Vec<Delivery> {
    let (mut deliveries, mut last) = (Vec::new(), (head - RECENT).max(0));
    while last < head {
        match hub.log().next(last, PAGE).await {
            Ok(page) => {
                let page = page.events;
                let Some(end) = page.last().map(|event| event.position) else { break };
                let page = page.into_iter().filter(|event| event.position <= head);
                let page = page.inspect(|event| {
                    hub.log().note(Point { position: event.position, mark: Mark::of(event.recorded.id) });
                });
                deliveries.extend(page.map(|event| Delivery::new(event, hub.log().identity())));
                last = end;
            }
            Err(error) => {
                // The ring only saves queries.
                tracing::warn!(error = %error, "the last events cannot be read");
                break;
            }
        }
    }
    deliveries
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of how far behind needs no more than 52 bits")]
const fn lossy(count: i64) -> f64 {
    count as f64
}
