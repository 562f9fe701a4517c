//! The bus of a single process. Alone it delivers nothing; several of one [`MemoryNetwork`] deliver to each other, so
//! that tests can run several nodes without a network.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
};

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;

use super::{Announced, Bus, Inbox, LimitUpdate, Party, PresenceUpdate, ReceivedEvent, Signal};

/// What connects the buses of one process.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    nodes: Arc<Mutex<Vec<Weak<Node>>>>,
}

#[derive(Debug, Default)]
struct Node {
    inbox: Inbox,
    followed: Mutex<HashSet<Party>>,
}

/// A bus without a wire.
#[derive(Clone, Debug)]
pub struct MemoryBus {
    node: Arc<Node>,
    network: MemoryNetwork,
}

impl MemoryNetwork {
    /// One more node.
    pub fn join(&self) -> MemoryBus {
        let node = Arc::<Node>::default();
        let mut nodes = self.nodes.lock();
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(&node));
        drop(nodes);
        MemoryBus { node, network: self.clone() }
    }
}

impl MemoryBus {
    /// A bus with nobody else on it.
    pub fn alone() -> Self {
        MemoryNetwork::default().join()
    }

    fn others(&self) -> Vec<Arc<Node>> {
        let nodes = self.network.nodes.lock();
        nodes.iter().filter_map(Weak::upgrade).filter(|node| !Arc::ptr_eq(node, &self.node)).collect()
    }
}

impl Bus for MemoryBus {
    fn carries_events(&self) -> bool {
        true
    }

    fn ring(&self, head: i64) {
        self.others().iter().for_each(|node| node.inbox.signal(Signal::Head(head)));
    }

    fn announce(&self, events: &[Announced]) {
        for node in self.others() {
            let followed = node.followed.lock();
            let heard = |event: &Announced| {
                let mut parties = Party::all_of(event.delivery.event());
                let has_body = event.delivery.audience().public || parties.any(|party| followed.contains(&party));
                ReceivedEvent::of(event, has_body)
            };
            let signal = Signal::Events(events.iter().map(heard).collect());
            drop(followed);
            node.inbox.signal(signal);
        }
    }

    fn follow(&self, party: Party) {
        self.node.followed.lock().insert(party);
    }

    fn unfollow(&self, party: Party) {
        self.node.followed.lock().remove(&party);
    }

    fn heard(&self) -> BoxFuture<'_, Signal> {
        self.node.inbox.heard().boxed()
    }

    fn tell(&self, limit_update: LimitUpdate) {
        self.others().iter().for_each(|node| node.inbox.limit_update(limit_update.clone()));
    }

    fn told(&self) -> BoxFuture<'_, LimitUpdate> {
        self.node.inbox.told().boxed()
    }

    fn tell_presence(&self, update: PresenceUpdate) {
        self.others().iter().for_each(|node| node.inbox.presence_update(update.clone()));
    }

    fn presence(&self) -> BoxFuture<'_, PresenceUpdate> {
        self.node.inbox.presence().boxed()
    }

    fn is_connected(&self) -> bool {
        true
    }
}
