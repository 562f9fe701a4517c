//! A bus on which everything happens that may.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, pending};
use lancewire::jobs::events::JOB_POSTED;
use lancewire::{
    events::{Audience, Event, Mark, NewEvent},
    ids::{Ids, UserId},
    realtime::{Announced, Bus, LimitUpdate, Party, PresenceUpdate, ReceivedEvent, Signal},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{Chance, log::Log};

/// What connects the nodes. Clones share it.
#[derive(Clone)]
pub(crate) struct Network {
    nodes: Arc<Mutex<Vec<Arc<Inbox>>>>,
    log: Log,
    chance: Chance,
    ids: Ids,
    carries_events: bool,
}

#[derive(Default)]
struct Inbox {
    /// By when they arrive; the number tells apart what arrives at the same time.
    coming: Mutex<BTreeMap<(Instant, usize), Signal>>,
    came: Notify,
    followed: Mutex<BTreeSet<Party>>,
}

impl Network {
    pub(crate) fn new(log: Log, chance: Chance, ids: Ids, carries_events: bool) -> Self {
        Self { nodes: Arc::default(), log, chance, ids, carries_events }
    }

    pub(crate) fn join(&self) -> Arc<SimulatedBus> {
        let inbox = Arc::<Inbox>::default();
        self.nodes.lock().expect("whole").push(Arc::clone(&inbox));
        Arc::new(SimulatedBus { inbox, network: self.clone() })
    }

    /// A node that is wrong itself, of another history for instance, says what is not so.
    pub(crate) fn mislead(&self) {
        for inbox in self.nodes.lock().expect("whole").iter() {
            let said = match self.chance.below(5) {
                0 => Signal::Head(i64::MAX),
                1 => Signal::Head(self.number(2_000)),
                2 => Signal::Missed,
                _ => Signal::Events(self.foreign()),
            };
            self.send(inbox, &said);
        }
    }

    /// Events of another history, about where the log stands; not the first of one, before which nothing stands.
    fn foreign(&self) -> Vec<ReceivedEvent> {
        let first = (self.log.head() + self.number(8) - 4).max(2);
        let mut follows = Mark::of(self.ids.next());
        let mut foreign = Vec::new();
        for position in first..=first + self.number(4) {
            let owner: UserId = self.ids.next();
            let recorded = NewEvent {
                id: self.ids.next(),
                kind: JOB_POSTED,
                subject: owner.into(),
                subject_version: 1,
                audience: Audience::of([owner]).public(true),
                payload: "\"of another history\"".into(),
                occurred_at: chrono::DateTime::UNIX_EPOCH,
            };
            let id = recorded.id;
            foreign.push(ReceivedEvent { event: Event { position, recorded }, follows, has_body: true });
            follows = Mark::of(id);
        }
        foreign
    }

    fn number(&self, below: usize) -> i64 {
        i64::try_from(self.chance.below(below)).expect("64 bits")
    }

    /// Lost, doubled, late, and so before what was sent earlier.
    fn send(&self, to: &Inbox, signal: &Signal) {
        let copies = match self.chance.below(16) {
            0 | 1 => 0,
            2 => 2,
            _ => 1,
        };
        let mut coming = to.coming.lock().expect("whole");
        for _ in 0..copies {
            let late = if self.chance.once_in(12) { self.chance.below(200) } else { self.chance.below(8) };
            let at = Instant::now() + Duration::from_millis(u64::try_from(late).expect("64 bits"));
            let number = coming.len() + self.chance.below(1_000_000);
            coming.insert((at, number), signal.clone());
        }
        drop(coming);
        to.came.notify_one();
    }
}

pub(crate) struct SimulatedBus {
    inbox: Arc<Inbox>,
    network: Network,
}

impl SimulatedBus {
    fn others(&self) -> Vec<Arc<Inbox>> {
        let nodes = self.network.nodes.lock().expect("whole");
        nodes.iter().filter(|inbox| !Arc::ptr_eq(inbox, &self.inbox)).cloned().collect()
    }

    async fn next(&self) -> Signal {
        loop {
            let first = self.inbox.coming.lock().expect("whole").first_key_value().map(|(at, _)| *at);
            match first {
                Some((at, number)) if at <= Instant::now() => {
                    if let Some(signal) = self.inbox.coming.lock().expect("whole").remove(&(at, number)) {
                        return signal;
                    }
                }
                Some((at, _)) => {
                    // In this order whenever both are so.
                    tokio::select! {
                        biased;
                        () = sleep_until(at) => {}
                        () = self.inbox.came.notified() => {}
                    }
                }
                None => self.inbox.came.notified().await,
            }
        }
    }
}

impl Drop for SimulatedBus {
    fn drop(&mut self) {
        self.network.nodes.lock().expect("whole").retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
    }
}

impl Bus for SimulatedBus {
    fn carries_events(&self) -> bool {
        self.network.carries_events
    }

    fn ring(&self, head: i64) {
        for inbox in self.others() {
            self.network.send(&inbox, &Signal::Head(head));
        }
    }

    fn announce(&self, events: &[Announced]) {
        if !self.network.carries_events {
            return;
        }
        for inbox in self.others() {
            let heard = events.iter().map(|Announced { delivery, follows }| {
                let mut event = self.network.log.event(delivery.position());
                let audience = event.recorded.audience.clone();
                let followed = inbox.followed.lock().expect("whole");
                let mut parties = audience.users().iter().copied().map(Party::User).chain([Party::Admins]);
                let has_body = audience.public || parties.any(|party| followed.contains(&party));
                if !has_body {
                    event.recorded.payload = String::new();
                }
                ReceivedEvent { event, follows: *follows, has_body }
            });
            let heard: Vec<_> = heard.collect();
            // Whole, or torn in two.
            let middle = if self.network.chance.once_in(4) { heard.len() / 2 } else { 0 };
            for part in [&heard[..middle], &heard[middle..]] {
                if !part.is_empty() {
                    self.network.send(&inbox, &Signal::Events(part.to_vec()));
                }
            }
        }
    }

    fn follow(&self, party: Party) {
        self.inbox.followed.lock().expect("whole").insert(party);
    }

    fn unfollow(&self, party: Party) {
        self.inbox.followed.lock().expect("whole").remove(&party);
    }

    fn heard(&self) -> BoxFuture<'_, Signal> {
        self.next().boxed()
    }

    fn tell(&self, _: LimitUpdate) {}

    fn told(&self) -> BoxFuture<'_, LimitUpdate> {
        pending().boxed()
    }

    fn tell_presence(&self, _: PresenceUpdate) {}

    fn presence(&self) -> BoxFuture<'_, PresenceUpdate> {
        pending().boxed()
    }

    fn is_connected(&self) -> bool {
        true
    }
}
