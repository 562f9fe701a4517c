//! Who is there: present in a conversation, and writing in it. Soft state of the nodes, in no table and in no log.
//!
//! A user is present while they have a seat ([`Presence::join`]), one for each of their `presenceChanged` subscriptions to
//! the conversation, at any node, and for [`book::GRACE`] after the last has gone. Each node keeps a [`book::Book`] of its
//! own seats and of what the others say, and tells them over the [`Bus`]: at once when somebody comes, goes or writes, and
//! again every [`book::HEARTBEAT`] while somebody is here. What a node has not said again for [`book::LIFETIME`] is not so
//! any more: that is how a dead node's people go. So the bus may lose, repeat or reorder messages, and the state is right
//! again with the next heartbeat.
//!
//! Bounds: [`book::MOST_PEOPLE`] people at a node, [`MOST_SEATS`] seats of one user at a node, messages of
//! [`PresenceUpdate::LIMIT`](crate::realtime::PresenceUpdate::LIMIT) bytes. A signal of writing that comes within
//! [`book::THROTTLE`] of the last is dropped. Called by `graphql` and `subscription`, which have checked that the user is a
//! side of the conversation; run by `app`.

mod book;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

pub use book::{GRACE, HEARTBEAT, LIFETIME, MOST_PEOPLE, State, THROTTLE, TYPING};

use super::model::Conversation;
use crate::{
    clock::Clock,
    ids::{ConversationId, Ids, UserId},
    lifecycle::Lifecycle,
    realtime::{Bus, PresenceUpdate},
};
use book::{Book, Word};

/// Seats that one user may have at one node.
pub const MOST_SEATS: u32 = 200;

/// How often times that are over are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Words of one message: one takes 46 bytes at most.
const WORDS: usize = (PresenceUpdate::LIMIT - 16) / 48;

/// Why nobody more can be present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many as one user may have.
    #[error("You have {MOST_SEATS} open presenceChanged subscriptions here, as many as one may. End one first.")]
    User,
    /// As many as the node keeps.
    #[error("Too many people are present right now. Subscribe again in a moment.")]
    Node,
}

/// The presence at this node. Clones share it.
#[derive(Clone)]
pub struct Presence(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<Inner>,
    /// What the other nodes are to be told.
    outbox: Mutex<Vec<Word>>,
    filled: Notify,
}

struct Inner {
    book: Book,
    watched: HashMap<ConversationId, watch::Sender<()>>,
    seats: HashMap<UserId, u32>,
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").finish_non_exhaustive()
    }
}

/// What nodes say to each other.
#[derive(serde::Serialize, serde::Deserialize)]
struct Message {
    /// Who speaks.
    node: u64,
    /// Whether the others are to say what they know: somebody new listens.
    asks: bool,
    words: Vec<Word>,
}

/// A user's place in a conversation. Dropping it leaves.
pub struct Seat {
    presence: Presence,
    conversation: ConversationId,
    sides: [UserId; 2],
    user: UserId,
    changes: watch::Receiver<()>,
}

impl Seat {
    /// Both sides as they are now.
    pub fn state(&self) -> [State; 2] {
        self.presence.of(self.conversation, self.sides)
    }

    /// Completes when something has changed since this was last called. Cancel safe.
    pub async fn changed(&mut self) {
        // The sender is kept for as long as there is a receiver.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Shared { clock, state, .. } = &*self.presence.0;
        let mut inner = state.lock();
        inner.book.leave(self.conversation, self.user, clock.now());
        if let Some(seats) = inner.seats.get_mut(&self.user) {
            *seats -= 1;
            if *seats == 0 {
                inner.seats.remove(&self.user);
            }
        }
    }
}

impl Presence {
    /// Nobody is here yet.
    pub fn new(clock: Clock, ids: &Ids) -> Self {
        let node = u64::from_le_bytes(ids.secret());
        let inner = Inner { book: Book::new(node), watched: HashMap::new(), seats: HashMap::new() };
        let (state, outbox, filled) = (Mutex::new(inner), Mutex::default(), Notify::new());
        Self(Arc::new(Shared { clock, state, outbox, filled }))
    }

    /// A seat for this side of a conversation.
    pub fn join(&self, conversation: &Conversation, user: UserId) -> Result<Seat, Full> {
        let mut inner = self.0.state.lock();
        if inner.seats.get(&user).is_some_and(|seats| *seats >= MOST_SEATS) {
            return Err(Full::User);
        }
        let word = inner.book.arrive(conversation.id, user).map_err(|_| Full::Node)?;
        *inner.seats.entry(user).or_default() += 1;
        let changes = inner.watched.entry(conversation.id).or_insert_with(|| watch::Sender::new(())).subscribe();
        inner.notify(conversation.id);
        drop(inner);
        self.say(word);
        Ok(Seat { presence: self.clone(), conversation: conversation.id, sides: conversation.sides(), user, changes })
    }

    /// This side writes, or does no more.
    pub fn signal_typing(&self, conversation: &Conversation, user: UserId, typing: bool) {
        let mut inner = self.0.state.lock();
        let word = inner.book.signal(conversation.id, user, typing, self.0.clock.now());
        if word.is_some() {
            inner.notify(conversation.id);
        }
        drop(inner);
        self.say(word);
    }

    /// Both sides of a conversation as they are now.
    pub fn state(&self, conversation: &Conversation) -> [State; 2] {
        self.of(conversation.id, conversation.sides())
    }

    fn of(&self, conversation: ConversationId, sides: [UserId; 2]) -> [State; 2] {
        let (inner, now) = (self.0.state.lock(), self.0.clock.now());
        sides.map(|user| inner.book.state(conversation, user, now))
    }

    fn say(&self, words: impl IntoIterator<Item = Word>) {
        let mut outbox = self.0.outbox.lock();
        let before = outbox.len();
        outbox.extend(words);
        if outbox.len() > before {
            self.0.filled.notify_one();
        }
    }

    /// Tells the other nodes, hears them, and ends what is over, until the process stops.
    pub async fn run(self, bus: Arc<dyn Bus>, lifecycle: Lifecycle) {
        let node = self.0.state.lock().book.node();
        send(&*bus, &Message { node, asks: true, words: Vec::new() });
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = lifecycle.drained() => return,
                _ = ticks.tick() => {
                    let words = self.tick();
                    self.say(words);
                }
                () = self.0.filled.notified() => {
                    let words = std::mem::take(&mut *self.0.outbox.lock());
                    for words in words.chunks(WORDS) {
                        send(&*bus, &Message { node, asks: false, words: words.to_vec() });
                    }
                }
                update = bus.presence() => self.hear(&update),
            }
        }
    }

    fn tick(&self) -> Vec<Word> {
        let now = self.0.clock.now();
        let mut inner = self.0.state.lock();
        let (words, changed) = inner.book.tick(now);
        for conversation in changed {
            inner.notify(conversation);
        }
        inner.watched.retain(|_, watched| watched.receiver_count() > 0);
        let here = u32::try_from(inner.book.people()).unwrap_or(u32::MAX);
        metrics::gauge!("lancewire_presence_people").set(f64::from(here));
        words
    }

    fn hear(&self, update: &PresenceUpdate) {
        // One of another version says nothing here.
        let Ok(Message { node, asks, words }) = postcard::from_bytes(&update.body) else { return };
        let now = self.0.clock.now();
        let mut inner = self.0.state.lock();
        if asks {
            inner.book.asked();
        }
        for word in words {
            if inner.book.hear(node, word, now) {
                inner.notify(word.conversation.into());
            }
        }
    }
}

impl Inner {
    fn notify(&self, conversation: ConversationId) {
        if let Some(watched) = self.watched.get(&conversation) {
            watched.send_replace(());
        }
    }
}

fn send(bus: &dyn Bus, message: &Message) {
    match postcard::to_allocvec(message) {
        Ok(body) => bus.tell_presence(PresenceUpdate { body }),
        Err(error) => tracing::error!(error = %error, "a message about presence cannot be written"),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{book::Said, *};

    #[test]
    fn a_full_message_fits() {
        let said = Said::Gone { seen_ms: i64::MIN };
        let word = Word { conversation: Uuid::from_u128(u128::MAX), user: Uuid::from_u128(u128::MAX), said };
        let message = Message { node: u64::MAX, asks: true, words: vec![word; WORDS] };
        assert!(postcard::to_allocvec(&message).expect("written").len() <= PresenceUpdate::LIMIT);
    }
}
