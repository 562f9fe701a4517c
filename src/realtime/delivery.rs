//! One event while it is delivered, shared by all who receive it.
//!
//! Besides the event itself it holds what was made of it: the payload, parsed once, and the *encodings*: for each
//! selection the response in JSON, executed and encoded once for all who get the same, whatever they filter by. They
//! need no owner and no clean-up: they are freed with the delivery.
//!
//! Everything that a delivery keeps in memory is weighed when it is made ([`Delivery::size`] and what
//! [`Delivery::count_in`] adds), so that the ring stays within its size.
//!
//! An execution is shared only if no resolver asked for the viewer. Asking marks it as private to the viewer
//! ([`Scope`](crate::graphql::context::Scope)); the encoding records that, and each viewer gets an execution of their
//! own. This fails closed: a new resolver that looks at the viewer cannot leak, it can only be slower.

use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::InternalError,
    events::{Audience, Event, EventCursor, EventKind, Mark, NewEvent},
    ids::EventId,
};

/// Names a selection: an operation without the arguments of its root field. Equal keys mean equal answers to an event,
/// but for the viewer.
///
/// A SHA-256 digest: a caller who found two texts with one key could read the answer to another's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SelectionKey([u8; 32]);

/// Names what a subscription asks for: the selection, and by the arguments of its root field which events are shown in
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharingKey {
    selection: SelectionKey,
    interest: [u8; 32],
}

impl SharingKey {
    /// The key of a selection without arguments.
    pub fn new(selection: &str) -> Self {
        Self::of(selection, "")
    }

    /// The key of canonical texts of a selection and of its arguments.
    pub fn of(selection: &str, interest: &str) -> Self {
        Self { selection: SelectionKey(Sha256::digest(selection).into()), interest: Sha256::digest(interest).into() }
    }

    /// What is executed and encoded.
    pub(super) const fn selection(&self) -> SelectionKey {
        self.selection
    }
}

/// A response to one event.
#[derive(Clone, Debug)]
pub(super) enum Encoding {
    /// The same for everybody who receives the public part of the event.
    Shared(Arc<str>),
    /// Some field depends on the viewer: each needs their own.
    Own,
}

/// Encodings that one event keeps; further selections are executed without being kept.
const MAX_ENCODINGS: usize = 64;
/// What stands before the contents of an `Arc`: two counts.
const ARC: usize = 2 * size_of::<usize>();
/// What the encoding of one selection takes without its text. A table is half full on average, and says of each place in
/// a byte whether it is taken.
const ENTRY: usize = 2 * (size_of::<SelectionKey>() + size_of::<Arc<()>>() + 1) + ARC + size_of::<OnceCell<Encoding>>();

#[derive(Debug, Default)]
struct Encodings {
    by_key: HashMap<SelectionKey, Arc<OnceCell<Encoding>>>,
    /// What they take in memory, and the payload as it was parsed.
    bytes: usize,
    /// Where they are counted, while the event is in a ring.
    counted_in: Option<Arc<AtomicUsize>>,
}

/// An event with its place in the log.
#[derive(Debug)]
pub struct Delivery {
    event: Event,
    /// Whether the event came with its payload.
    has_body: bool,
    log: Uuid,
    payload: OnceLock<Option<Box<dyn Any + Send + Sync>>>,
    /// What its domain has made of the payload.
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
    encodings: Mutex<Encodings>,
}

impl Delivery {
    /// An event of the log with this identity.
    pub fn new(event: Event, log: Uuid) -> Self {
        Self {
            event,
            has_body: true,
            log,
            payload: OnceLock::new(),
            derived: OnceLock::new(),
            encodings: Mutex::default(),
        }
    }

    /// An event of which another node has sent the header alone: it keeps its place, and its body is read from the log
    /// for a subscriber that may see it.
    pub(super) fn without_body(event: Event, log: Uuid) -> Self {
        Self { has_body: false, ..Self::new(event, log) }
    }

    /// Whether its payload is here.
    pub(super) const fn has_body(&self) -> bool {
        self.has_body
    }

    /// The event itself.
    pub(super) const fn event(&self) -> &Event {
        &self.event
    }

    /// What it happened to.
    pub const fn subject(&self) -> Uuid {
        self.event.recorded.subject
    }

    /// What happened.
    pub const fn kind(&self) -> EventKind {
        self.event.recorded.kind
    }

    /// Unique for ever.
    pub const fn id(&self) -> EventId {
        self.event.recorded.id
    }

    /// Its place in the log.
    pub const fn position(&self) -> i64 {
        self.event.position
    }

    /// Its place in the log, as clients resume from it.
    pub fn cursor(&self) -> String {
        EventCursor { log: self.log, position: self.event.position, mark: Mark::of(self.id()) }.encode()
    }

    /// When it happened.
    pub const fn occurred_at(&self) -> Timestamp {
        self.event.recorded.occurred_at
    }

    /// Who may receive it.
    pub const fn audience(&self) -> &Audience {
        &self.event.recorded.audience
    }

    /// What it takes in memory by itself, in bytes: with the place that a ring or a backlog has for it, and without what is
    /// made of it.
    pub(super) fn size(&self) -> usize {
        let NewEvent { payload, audience, .. } = &self.event.recorded;
        ARC + size_of::<Self>() + payload.capacity() + audience.heap_bytes() + 2 * size_of::<Arc<Self>>()
    }

    #[cfg(test)]
    pub(super) fn set_payload(&mut self, payload: String) {
        self.event.recorded.payload = payload;
    }

    #[cfg(test)]
    #[expect(clippy::unused_self, reason = "said of a delivery")]
    pub(super) const fn cell_size(&self) -> usize {
        size_of::<OnceCell<Encoding>>()
    }

    /// So many bytes more.
    fn weigh(&self, bytes: usize) {
        let mut encodings = self.encodings();
        encodings.bytes += bytes;
        if let Some(total) = &encodings.counted_in {
            total.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts the encodings in `total` from now on, until [`Delivery::discount`].
    pub(super) fn count_in(&self, total: &Arc<AtomicUsize>) {
        let mut encodings = self.encodings();
        total.fetch_add(encodings.bytes, Ordering::Relaxed);
        encodings.counted_in = Some(Arc::clone(total));
    }

    /// Takes the encodings out of the total in which they count.
    pub(super) fn discount(&self) {
        let mut encodings = self.encodings();
        if let Some(total) = encodings.counted_in.take() {
            total.fetch_sub(encodings.bytes, Ordering::Relaxed);
        }
    }

    /// The snapshot that the domain recorded for this kind of event.
    pub fn payload<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<&T, InternalError> {
        let mut parsed_bytes = 0;
        let parsed = self.payload.get_or_init(|| {
            let text = &self.event.recorded.payload;
            let payload = serde_json::from_str::<T>(text).ok()?;
            // On the heap a value takes no more than half as much again as in JSON: names are left out, but each short text
            // is an allocation of its own, and each list has places for more.
            parsed_bytes = size_of::<T>() + text.len() + text.len() / 2;
            Some(Box::new(payload) as Box<dyn Any + Send + Sync>)
        });
        if parsed_bytes > 0 {
            self.weigh(parsed_bytes);
        }
        let payload = parsed.as_ref().and_then(|payload| payload.downcast_ref());
        payload.ok_or_else(|| InternalError::corrupt(format!("the payload of {}", self.id())))
    }

    /// What the event's domain makes of the payload to look at it many times: made when it is first asked for, and weighed
    /// as so many bytes as `make` says. One kind of event has one type of it; of another type there is none.
    pub fn derived<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> (T, usize)) -> Option<&T> {
        let mut bytes = 0;
        let derived = self.derived.get_or_init(|| {
            let (derived, its_bytes) = make();
            bytes = ARC + its_bytes;
            Box::new(derived)
        });
        if bytes > 0 {
            self.weigh(bytes);
        }
        derived.downcast_ref()
    }

    /// The response to the selection under `key`, made by `encode` if nobody has made it yet. Of several who ask at the
    /// same time one makes it and the others wait; if that one goes away, the next takes over.
    pub(super) async fn encoding<F: Future<Output = Encoding>>(
        &self,
        key: SelectionKey,
        encode: impl FnOnce() -> F,
    ) -> Encoding {
        let (cell, kept) = self.cell(key);
        let mut made = 0;
        let encoding = cell.get_or_init(async || {
            let encoding = encode().await;
            if let Encoding::Shared(response) = &encoding {
                made = ARC + response.len();
            }
            encoding
        });
        let encoding = encoding.await.clone();
        if made > 0 && kept {
            self.weigh(made);
        }
        encoding
    }

    /// Where the response to a selection is kept, and whether there is room to keep it.
    fn cell(&self, key: SelectionKey) -> (Arc<OnceCell<Encoding>>, bool) {
        let mut encodings = self.encodings();
        if let Some(cell) = encodings.by_key.get(&key) {
            return (Arc::clone(cell), true);
        }
        if encodings.by_key.len() >= MAX_ENCODINGS {
            return (Arc::default(), false);
        }
        // The first one makes the table, of four places at least.
        let bytes = if encodings.by_key.is_empty() { 2 * ENTRY } else { ENTRY };
        let cell = Arc::clone(encodings.by_key.entry(key).or_default());
        encodings.bytes += bytes;
        if let Some(total) = &encodings.counted_in {
            total.fetch_add(bytes, Ordering::Relaxed);
        }
        (cell, true)
    }

    fn encodings(&self) -> MutexGuard<'_, Encodings> {
        self.encodings.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use futures_util::future::join_all;

    use super::*;
    use crate::{clock::Clock, ids::Ids};

    fn delivery() -> Delivery {
        let ids = Ids::seeded(Clock::system(), 1);
        let recorded = NewEvent {
            id: ids.next(),
            kind: EventKind::named("SOMETHING").for_everybody(),
            subject: Uuid::nil(),
            subject_version: 1,
            audience: Audience::of([ids.next()]).public(true),
            payload: "{}".into(),
            occurred_at: Clock::system().now(),
        };
        Delivery::new(Event { position: 1, recorded }, Uuid::nil())
    }

    #[tokio::test]
    async fn of_many_who_want_the_same_one_makes_it() {
        let (delivery, made) = (delivery(), AtomicU32::new(0));
        let ask = |key: &'static str| {
            let (delivery, made) = (&delivery, &made);
            async move {
                let encoding = delivery.encoding(SharingKey::new(key).selection(), async || {
                    tokio::task::yield_now().await;
                    Encoding::Shared(format!("{key} {}", made.fetch_add(1, Ordering::Relaxed)).into())
                });
                match encoding.await {
                    Encoding::Shared(text) => text,
                    Encoding::Own => unreachable!("it was shared"),
                }
            }
        };
        let answers = join_all((0..50).map(|_| ask("a"))).await;
        assert!(answers.iter().all(|answer| Arc::ptr_eq(answer, &answers[0])), "one allocation for all");
        assert_eq!((&*ask("b").await, made.load(Ordering::Relaxed)), ("b 1", 2), "another document is another answer");
    }

    #[tokio::test]
    async fn a_maker_that_is_cancelled_leaves_it_to_the_next() {
        let delivery = delivery();
        let key = SharingKey::new("a").selection();
        {
            let stuck = delivery.encoding(key, std::future::pending);
            let mut stuck = std::pin::pin!(stuck);
            assert!(futures_util::poll!(stuck.as_mut()).is_pending());
        }
        assert!(matches!(delivery.encoding(key, async || Encoding::Own).await, Encoding::Own));
    }
}
