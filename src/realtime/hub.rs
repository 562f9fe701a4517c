//! The meeting point of the tail and the subscriptions.
//!
//! The tail publishes events here in the order of positions; the hub keeps the last ones in its ring, puts each in the
//! backlog of the groups that may want it, and has those worked off. Subscriptions come in by [`Hub::join`] as a
//! [`Feed`], which catches up and then becomes a member of its group.
//!
//! **The seam.** Publishing and joining hold one lock, so that for each member every event is either published after it
//! joined, or at most the head at which it joined and so caught up with before. Nothing under that lock waits.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{
    Bus, Delivery, Execution, Feed, Interest, Party, SharingKey,
    group::Group,
    interest::Index,
    members::{Member, Place},
    outlet::Outlet,
    ring::Ring,
};
use crate::{
    auth::actor::Origin,
    clock::Clock,
    error::Fault,
    events::{EventCursor, EventKind, EventLog, Mark, ResumeError},
    ids::UserId,
    lifecycle::Lifecycle,
};

/// Events taken at a time while catching up.
const PAGE: usize = 256;

/// Finds an event's terms; given by the domains.
pub type TermsOf = fn(&Delivery) -> Result<Vec<Uuid>, Fault>;

/// What an operator may set about delivery.
#[derive(Clone, Copy, Debug)]
pub struct HubSettings {
    /// Bytes that the last events may take in memory, responses included.
    pub ring_bytes: usize,
    /// Events that may wait for one group.
    pub backlog: usize,
    /// Whether what is the same for all is executed once. Off only to measure what that is worth.
    pub shared_execution: bool,
}

/// Where subscriptions listen. Clones share it.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    published: Mutex<Published>,
    log: EventLog,
    bus: Arc<dyn Bus>,
    terms_of: TermsOf,
    settings: HubSettings,
    clock: Clock,
    lifecycle: Lifecycle,
}

/// What has been published so far, and for whom.
#[derive(Default)]
struct Published {
    /// The position of the last event.
    head: i64,
    /// The last events themselves.
    ring: Ring,
    groups: HashMap<SharingKey, Seated>,
    index: [Index; EventKind::ALL.len()],
    last_group: u64,
    /// For whom private events are wanted here, by how many subscriptions.
    parties: HashMap<Party, usize>,
}

/// A group with the number of subscriptions that it serves, catching up ones included.
struct Seated {
    group: Arc<Group>,
    seats: usize,
}

/// A subscription's hold on its group: the last one dropped ends the group.
pub(super) struct Seat {
    pub(super) hub: Hub,
    pub(super) group: Arc<Group>,
    /// Whose private events it may hear.
    user: Option<UserId>,
    admin: bool,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("head", &self.head()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub on this log, whose groups run as tasks of `lifecycle`, and which tells `bus` whose private events it wants.
    pub fn new(
        log: EventLog,
        bus: Arc<dyn Bus>,
        terms_of: TermsOf,
        settings: HubSettings,
        clock: Clock,
        lifecycle: Lifecycle,
    ) -> Self {
        let published = Published { ring: Ring::new(settings.ring_bytes), ..Published::default() };
        let published = Mutex::new(published);
        Self { shared: Arc::new(Shared { published, log, bus, terms_of, settings, clock, lifecycle }) }
    }

    /// The log behind the hub.
    pub fn log(&self) -> &EventLog {
        &self.shared.log
    }

    /// Takes part in the group of `key`, from the event after the position `after`, or without it from what is published
    /// next. `execution` serves the group if this is its first subscription; so it and `interest` must follow from what
    /// the key was made of, and from nothing else.
    ///
    /// The feed must be driven by [`Feed::catch_up`] before anything arrives.
    pub fn join(
        &self,
        key: SharingKey,
        interest: Interest,
        execution: impl Execution,
        after: Option<i64>,
        viewer: Origin,
        outlet: Arc<dyn Outlet>,
    ) -> Feed {
        let mut published = self.lock();
        let position = after.unwrap_or(published.head);
        let settings = &self.shared.settings;
        // Of its own kind where nothing is shared: a number that no document has.
        let key = if settings.shared_execution { key } else { SharingKey::unique(published.last_group) };
        let group = if let Some(seated) = published.groups.get_mut(&key) {
            seated.seats += 1;
            Arc::clone(&seated.group)
        } else {
            published.last_group += 1;
            let sharing = (settings.shared_execution, settings.backlog);
            let clock = self.shared.clock.clone();
            let name = (published.last_group, key);
            let group = Arc::new(Group::new(name, interest, Box::new(execution), sharing, clock));
            for kind in group.interest().kinds() {
                published.index[*kind as usize].insert(&group);
            }
            published.groups.insert(key, Seated { group: Arc::clone(&group), seats: 1 });
            metrics::gauge!("lancewire_groups").increment(1.0);
            group
        };
        let user = viewer.actor.user().filter(|_| group.interest().has_parties());
        let admin = viewer.actor.is_admin() && group.interest().is_told_to_admins();
        let begun: Vec<Party> = parties(user, admin).filter(|party| count_up(&mut published.parties, *party)).collect();
        // Under the lock, or one that has just left might let go after this one has begun.
        for party in begun {
            self.shared.bus.follow(party);
        }
        drop(published);
        Feed::new(Seat { hub: self.clone(), group, user, admin }, viewer, outlet, position)
    }

    /// How many subscriptions listen to this kind; one to several kinds counts for the first of them.
    pub fn listeners(&self, kind: EventKind) -> usize {
        let published = self.lock();
        let listens = |seated: &&Seated| seated.group.interest().kinds().first() == Some(&kind);
        published.groups.values().filter(listens).map(|seated| seated.seats).sum()
    }

    /// How many groups there are: one for all who subscribe in the same words.
    pub fn groups(&self) -> usize {
        self.lock().groups.len()
    }

    /// The position of the last event published.
    pub fn head(&self) -> i64 {
        self.lock().head
    }

    /// The later of the places that a client sent back, each with the name of what it came in; none without any. One
    /// that the ring reaches back to costs no query.
    ///
    /// Each says that its reader has seen everything up to there, so the latest is enough. One of another log, or older
    /// than what is kept, is earlier than any that is good: with a good one beside it, it does not matter. What is no
    /// cursor is refused all the same: it is a mistake in the client's program.
    pub async fn resume_point(&self, cursors: &[(&'static str, &str)]) -> Result<Option<i64>, ResumeError> {
        let resumed = match self.latest(cursors) {
            Ok(Some((name, cursor))) => {
                let (position, mark) =
                    EventCursor::decode(cursor).map_or((i64::MAX, Mark::NONE), |cursor| (cursor.position, cursor.mark));
                let is_recent = {
                    let published = self.lock();
                    position == published.head || published.ring.reaches(position)
                };
                match self.log().mark_at(position).filter(|_| is_recent) {
                    // Another event than the one that stood here: of another history.
                    Some(stands) if stands.contradicts(mark) => Err(ResumeError::Expired),
                    Some(_) => return Ok(Some(position)),
                    None => self.log().resume_point(name, cursor).await.map(Some),
                }
            }
            Ok(None) if cursors.is_empty() => return Ok(None),
            Ok(None) => Err(ResumeError::Expired),
            Err(refused) => Err(refused),
        };
        let outcome = match &resumed {
            Ok(_) | Err(ResumeError::Fault(_)) => None,
            Err(ResumeError::Expired) => Some("expired"),
            Err(ResumeError::NotOurs(_)) => Some("refused"),
        };
        if let Some(outcome) = outcome {
            metrics::counter!("lancewire_recoveries_total", "outcome" => outcome).increment(1);
        }
        resumed
    }

    /// The latest cursor of this log; none if all are of other logs.
    fn latest<'a>(&self, cursors: &[(&'static str, &'a str)]) -> Result<Option<(&'static str, &'a str)>, ResumeError> {
        let mut latest = None;
        for &(name, text) in cursors {
            let cursor = EventCursor::decode(text).ok_or(ResumeError::NotOurs(name))?;
            if cursor.log == self.log().identity() {
                let place = (cursor.position, (name, text));
                latest = latest.filter(|(position, _)| *position >= cursor.position).or(Some(place));
            }
        }
        Ok(latest.map(|(_, cursor)| cursor))
    }

    /// Whether this node hears the others at once; else it finds out by polling the log.
    pub fn hears_other_nodes(&self) -> bool {
        self.shared.bus.is_connected()
    }

    /// Publishes the next events of the log, and returns the position of the last one published. For the tail alone,
    /// which calls it in the order of positions.
    ///
    /// It stops before an event that has no body though somebody here may hear of it: that one must be read from the log.
    pub(super) fn publish(&self, deliveries: Vec<Arc<Delivery>>) -> i64 {
        let deliveries: Vec<_> = deliveries
            .into_iter()
            .map(|delivery| {
                // What cannot be read is wanted by every group that would have to read it.
                let terms = delivery.has_body().then(|| (self.shared.terms_of)(&delivery).unwrap_or_default());
                (delivery, terms)
            })
            .collect();
        let mut to_work = Vec::new();
        let mut published = self.lock();
        for (delivery, terms) in deliveries {
            if terms.is_none() && published.is_wanted(&delivery) {
                break;
            }
            published.head = delivery.position();
            published.ring.push(Arc::clone(&delivery));
            let Some(terms) = terms else { continue };
            for group in published.index[delivery.kind() as usize].candidates(&terms) {
                if group.wants(&delivery) && group.enqueue(&delivery) {
                    to_work.push(Arc::clone(group));
                }
            }
        }
        let head = published.head;
        drop(published);
        for group in to_work {
            drop(self.shared.lifecycle.spawn(group.work_off()));
        }
        head
    }

    /// Says where the log stands when the tail begins, and what came last.
    pub(super) fn begin_at(&self, position: i64, recent: Vec<Delivery>) {
        let mut published = self.lock();
        published.head = position;
        for delivery in recent {
            published.ring.push(Arc::new(delivery));
        }
    }

    /// Up to [`PAGE`] events after `position`, out of the ring or, if they are older or one that `hears` has no body there,
    /// out of the log.
    pub(super) async fn page_after(
        &self,
        position: i64,
        hears: impl Fn(&Delivery) -> bool,
    ) -> Result<Vec<Arc<Delivery>>, Fault> {
        let recent = self.lock().ring.after(position, PAGE);
        let whole = |events: &Vec<Arc<Delivery>>| events.iter().all(|event| event.has_body() || !hears(event));
        if let Some(recent) = recent.filter(whole) {
            metrics::counter!("lancewire_replayed_events_total", "from" => "ring").increment(lossless(recent.len()));
            return Ok(recent);
        }
        let page = self.log().after(position, u32::try_from(PAGE).unwrap_or(u32::MAX)).await?;
        metrics::counter!("lancewire_replayed_events_total", "from" => "log").increment(lossless(page.len()));
        Ok(page.into_iter().map(|event| Arc::new(Delivery::new(event, self.log().identity()))).collect())
    }

    /// Makes a member of who has caught up with everything published; none, if `position` is behind that.
    pub(super) fn go_live(&self, group: &Group, member: &Member) -> Option<Place> {
        let published = self.lock();
        (member.position >= published.head).then(|| group.join(member.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.shared.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut published = self.hub.lock();
        let over: Vec<Party> =
            parties(self.user, self.admin).filter(|party| count_down(&mut published.parties, *party)).collect();
        // Under the lock, or the next one to come might follow before this one has let go.
        for party in over {
            self.hub.shared.bus.unfollow(party);
        }
        let key = self.group.key();
        let Some(seated) = published.groups.get_mut(&key) else { return };
        seated.seats -= 1;
        if seated.seats == 0 {
            let ended = published.groups.remove(&key);
            for kind in self.group.interest().kinds() {
                published.index[*kind as usize].remove(&self.group);
            }
            drop(published);
            metrics::gauge!("lancewire_groups").decrement(1.0);
            drop(ended);
        }
    }
}

impl Published {
    /// Whether somebody here may hear of a private event.
    fn is_wanted(&self, delivery: &Delivery) -> bool {
        let kind = delivery.kind();
        !kind.is_internal() && Party::all_of(delivery.event()).any(|party| self.parties.contains_key(&party))
    }
}

fn parties(user: Option<UserId>, admin: bool) -> impl Iterator<Item = Party> {
    user.map(Party::User).into_iter().chain(admin.then_some(Party::Admins))
}

/// True if it is the first.
fn count_up(parties: &mut HashMap<Party, usize>, party: Party) -> bool {
    let count = parties.entry(party).or_default();
    *count += 1;
    *count == 1
}

/// True if it was the last.
fn count_down(parties: &mut HashMap<Party, usize>, party: Party) -> bool {
    let Entry::Occupied(mut count) = parties.entry(party) else { return false };
    *count.get_mut() -= 1;
    let last = *count.get() == 0;
    if last {
        count.remove();
    }
    last
}

fn lossless(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
