//! The meeting point of the tail and the subscriptions.
//!
//! The tail publishes events here in the order of positions; the hub keeps the last ones in its ring, matches each with
//! the interests that are here, puts it in the backlog of the groups of those, and has the backlogs worked off.
//! Subscriptions come in by [`Hub::join`] as a [`Feed`], which catches up and then becomes a member of a section of its
//! group.
//!
//! Who executes the schema without our transports gets a [`Follower`] by [`Hub::follow`], behind a broadcast channel into
//! which all that is published goes as well.
//!
//! **Limits.** How much one caller may ask for is counted here ([`askers`](super::askers)), in the moment of joining.
//!
//! **The seam.** Publishing and joining hold one lock, so that for each member every event is either published after it
//! joined, or at most the head at which it joined and so caught up with before. Nothing under that lock waits.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, broadcast};

use super::{
    Bus, Delivery, Execution, Feed, Follower, Interest, Lag, Party, Payment, SelectionKey, SharingKey,
    askers::{Asker, Askers, AskingSettings, Noted, TooMuch, Wish},
    charges::{READ_FROM_LOG, READ_FROM_MEMORY},
    group::{Group, Manner},
    interest::{EventTerms, Index},
    members::{Member, Place},
    outlet::Outlet,
    replay::Replay,
    ring::Ring,
    section::Section,
};
use crate::{
    auth::actor::Origin,
    clock::Clock,
    error::InternalError,
    events::{EventCursor, EventKind, EventLog, Mark, ResumeError},
    ids::UserId,
    lifecycle::Lifecycle,
};

/// Finds an event's terms, those of its words only if asked to; given by the domains.
pub type TermsOf = fn(&Delivery, bool) -> Result<EventTerms, InternalError>;

/// What an operator may set about delivery.
#[derive(Clone, Copy, Debug)]
pub struct HubSettings {
    /// Bytes that the last events may take in memory, responses included.
    pub ring_bytes: usize,
    /// Events that may wait for one group.
    pub backlog: usize,
    /// Events that may wait for the slowest [`Follower`]; a slower one goes back to ring or log. At least 1.
    pub broadcast: usize,
    /// How much one caller may ask for.
    pub asking: AskingSettings,
}

/// Where subscriptions listen. Clones share it.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    published: Mutex<Published>,
    /// All that is published, for followers.
    broadcast: broadcast::Sender<Arc<Delivery>>,
    log: EventLog,
    bus: Arc<dyn Bus>,
    terms_of: TermsOf,
    settings: HubSettings,
    payment: Arc<dyn Payment>,
    clock: Clock,
    lifecycle: Lifecycle,
    lag: Lag,
}

/// What has been published so far, and for whom.
#[derive(Default)]
struct Published {
    /// The position of the last event.
    head: i64,
    /// The last events themselves.
    ring: Ring,
    groups: HashMap<SelectionKey, Opened>,
    sections: HashMap<SharingKey, Seated>,
    index: HashMap<EventKind, Index>,
    /// Of groups and of sections.
    last_number: u64,
    /// For whom private events are wanted here, by how many subscriptions.
    parties: HashMap<Party, usize>,
    /// Who subscribes, and to how much.
    askers: Askers,
}

/// A group with the number of its sections.
struct Opened {
    group: Arc<Group>,
    sections: usize,
}

/// A section with the number of subscriptions that it serves, catching up ones included.
struct Seated {
    section: Arc<Section>,
    seats: usize,
}

/// A subscription's hold on its section: the last one dropped ends the section, and the last section its group.
pub(super) struct MemberSeat {
    pub(super) hub: Hub,
    pub(super) section: Arc<Section>,
    /// Whose private events it may receive.
    user: Option<UserId>,
    admin: bool,
    noted: Noted,
    /// The turns of those who replay at the same address.
    pub(super) replays: Arc<Semaphore>,
}

/// A follower's entry among what its caller has asked for.
pub(super) struct Noting {
    hub: Hub,
    noted: Noted,
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.hub.lock().askers.forget(&self.noted);
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("head", &self.head()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub on this log, whose groups run as tasks of `lifecycle`, and which tells `bus` whose private events it wants. What
    /// subscriptions make necessary is charged to `payment`.
    pub fn new(
        log: EventLog,
        bus: Arc<dyn Bus>,
        terms_of: TermsOf,
        settings: HubSettings,
        payment: Arc<dyn Payment>,
        clock: Clock,
        lifecycle: Lifecycle,
    ) -> Self {
        let published = Published { ring: Ring::new(settings.ring_bytes), ..Published::default() };
        let published = Mutex::new(published);
        let broadcast = broadcast::Sender::new(settings.broadcast.clamp(1, usize::MAX / 4));
        let lag = Lag::default();
        Self {
            shared: Arc::new(Shared {
                published,
                broadcast,
                log,
                bus,
                terms_of,
                settings,
                payment,
                clock,
                lifecycle,
                lag,
            }),
        }
    }

    /// The log behind the hub.
    pub fn log(&self) -> &EventLog {
        &self.shared.log
    }

    /// From what subscriptions pay.
    pub(super) fn payment(&self) -> &dyn Payment {
        &*self.shared.payment
    }

    /// Takes what was done for a subscriber off their budget: see [`Payment::charge`].
    pub fn charge(&self, viewer: &Origin, cost: u64) -> Option<std::time::Duration> {
        self.shared.payment.charge(viewer, cost)
    }

    /// Time, as delivery knows it.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// How late delivery is.
    pub fn lag(&self) -> &Lag {
        &self.shared.lag
    }

    /// Takes part in the group and the section of `key`, from the event after the position `after`, or without it from
    /// what is published next. `execution` serves the group if this is its first subscription, and `interest` the section;
    /// so they must follow from what the parts of the key were made of, and from nothing else.
    ///
    /// The feed must be driven by [`Feed::catch_up`] before anything arrives.
    ///
    /// # Errors
    ///
    /// The viewer's user or address has asked for as much as it may ([`AskingSettings`]).
    pub fn join(
        &self,
        key: SharingKey,
        interest: Interest,
        execution: impl Execution,
        after: Option<i64>,
        viewer: Origin,
        outlet: Arc<dyn Outlet>,
    ) -> Result<Feed, TooMuch> {
        let mut published = self.lock();
        let position = after.unwrap_or(published.head);
        let settings = &self.shared.settings;
        let asker = Asker::of(&viewer);
        let group = published.groups.get(&key.selection()).map(|opened| opened.group.number());
        let section = published.sections.get(&key).map(|seated| seated.section.number());
        let selection_bytes = if group.is_none() { execution.bytes() } else { 0 };
        let filter_bytes = if section.is_none() { interest.bytes() } else { 0 };
        let bytes = Askers::weigh(selection_bytes, filter_bytes);
        published.askers.admit(asker, Wish { group, section, bytes }, &settings.asking).inspect_err(|too_much| {
            metrics::counter!("lancewire_subscriptions_refused_total", "limit" => too_much.label()).increment(1);
        })?;
        let section = if let Some(seated) = published.sections.get_mut(&key) {
            seated.seats += 1;
            Arc::clone(&seated.section)
        } else {
            let manner = || Manner {
                backlog: settings.backlog,
                payment: Arc::clone(&self.shared.payment),
                clock: self.shared.clock.clone(),
                lifecycle: self.shared.lifecycle.clone(),
            };
            published.open(key, interest, execution, manner)
        };
        let user = viewer.actor.user().filter(|_| section.interest().has_parties());
        let admin = viewer.actor.is_admin() && section.interest().is_told_to_admins();
        let begun: Vec<Party> = parties(user, admin).filter(|party| count_up(&mut published.parties, *party)).collect();
        // Under the lock, or one that has just left might let go after this one has begun.
        for party in begun {
            self.shared.bus.follow(party);
        }
        let (noted, replays) = published.askers.note(asker, section.group().number(), section.number(), bytes);
        drop(published);
        Ok(Feed::begin(
            MemberSeat { hub: self.clone(), section, user, admin, noted, replays },
            viewer,
            outlet,
            position,
        ))
    }

    /// A subscription on its own, from the event after the position `after`, or without it from what is published next.
    ///
    /// With `cost`, which is that of one execution in millionths of a point, it counts and pays like one in a group; without
    /// it nobody is asked to pay and nothing is counted: for a program that has the schema alone and limits of its own.
    ///
    /// # Errors
    ///
    /// The viewer's user or address has asked for as much as it may ([`AskingSettings`]).
    pub fn follow(
        &self,
        interest: Interest,
        after: Option<i64>,
        viewer: Origin,
        cost: Option<u64>,
    ) -> Result<Follower, TooMuch> {
        let mut published = self.lock();
        let position = after.unwrap_or(published.head);
        let replay = Replay::new(self.clone(), viewer, position, None);
        let Some(cost) = cost else {
            drop(published);
            return Ok(Follower::new(interest, replay.free_of_charge(), 0, None));
        };
        let (asker, bytes) = (Asker::of(&viewer), Askers::weigh(0, interest.bytes()));
        let wish = Wish { group: None, section: None, bytes };
        published.askers.admit(asker, wish, &self.shared.settings.asking).inspect_err(|too_much| {
            metrics::counter!("lancewire_subscriptions_refused_total", "limit" => too_much.label()).increment(1);
        })?;
        // It shares nothing, so it is a group and a section of its own.
        published.last_number += 1;
        let number = published.last_number;
        let (noted, _) = published.askers.note(asker, number, number, bytes);
        drop(published);
        Ok(Follower::new(interest, replay.paid(), cost, Some(Noting { hub: self.clone(), noted })))
    }

    /// How many subscriptions read the broadcast channel now; those that catch up do not count.
    pub fn followers(&self) -> usize {
        self.shared.broadcast.receiver_count()
    }

    /// The channel from the next event on, for a follower that has caught up; none, if `position` is behind that. The same
    /// seam as [`Hub::go_live`].
    pub(super) fn receive_after(&self, position: i64) -> Option<broadcast::Receiver<Arc<Delivery>>> {
        let published = self.lock();
        (position >= published.head).then(|| self.shared.broadcast.subscribe())
    }

    /// How many subscriptions listen to this kind; one to several kinds counts for the first of them.
    pub fn listeners(&self, kind: EventKind) -> usize {
        let published = self.lock();
        let listens = |seated: &&Seated| seated.section.interest().kinds().first() == Some(&kind);
        published.sections.values().filter(listens).map(|seated| seated.seats).sum()
    }

    /// How many groups there are: one for each selection.
    pub fn groups(&self) -> usize {
        self.lock().groups.len()
    }

    /// How many sections the groups have: one for all who subscribe to the same selection with the same arguments.
    pub fn sections(&self) -> usize {
        self.lock().sections.len()
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
    /// cursor is refused nevertheless: it is a mistake in the client's program.
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
            Ok(_) | Err(ResumeError::InternalError(_)) => None,
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

    /// Whether this node is notified by the others at once; else it polls the log.
    pub fn hears_other_nodes(&self) -> bool {
        self.shared.bus.is_connected()
    }

    /// Publishes the next events of the log, and returns the position of the last one published. For the tail alone,
    /// which calls it in the order of positions.
    ///
    /// It stops before an event that has no body though a subscriber here may receive it: that one must be read from the log.
    pub(super) fn publish(&self, deliveries: Vec<Arc<Delivery>>) -> i64 {
        // A subscription that begins after this, and before the events are published, is looked at for each of them.
        let with_words = self.lock().index.values().any(Index::asks_for_words);
        let deliveries: Vec<_> = deliveries
            .into_iter()
            .map(|delivery| {
                let terms = delivery.has_body().then(|| (self.shared.terms_of)(&delivery, with_words).ok());
                (delivery, terms)
            })
            .collect();
        let mut to_work = Vec::new();
        let mut published = self.lock();
        // Followers come under this lock, so that none can come meanwhile.
        let has_followers = self.followers() > 0;
        for (delivery, terms) in deliveries {
            if terms.is_none() && published.is_wanted(&delivery) {
                break;
            }
            published.head = delivery.position();
            published.ring.push(Arc::clone(&delivery));
            if has_followers {
                // The last one may just have gone.
                let _ = self.shared.broadcast.send(Arc::clone(&delivery));
            }
            let Some(terms) = terms else { continue };
            for (group, sections) in published.wanted(&delivery, terms.as_ref()) {
                if group.enqueue(&delivery, sections) {
                    to_work.push(group);
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

    /// Whether memory has all that came after `position`.
    pub(super) fn reaches(&self, position: i64) -> bool {
        self.lock().ring.reaches(position)
    }

    /// Up to `most` events after `position`, out of the ring or, if they are older or one that `hears` has no body there,
    /// out of the log. Says for how much, in millionths of a point for each.
    pub(super) async fn page_after(
        &self,
        position: i64,
        most: usize,
        hears: impl Fn(&Delivery) -> bool,
    ) -> Result<(Vec<Arc<Delivery>>, u64), InternalError> {
        let recent = self.lock().ring.after(position, most);
        let whole = |events: &Vec<Arc<Delivery>>| events.iter().all(|event| event.has_body() || !hears(event));
        if let Some(recent) = recent.filter(whole) {
            metrics::counter!("lancewire_replayed_events_total", "from" => "ring").increment(lossless(recent.len()));
            return Ok((recent, READ_FROM_MEMORY));
        }
        let page = self.log().after(position, u32::try_from(most).unwrap_or(u32::MAX)).await?;
        metrics::counter!("lancewire_replayed_events_total", "from" => "log").increment(lossless(page.len()));
        let page = page.into_iter().map(|event| Arc::new(Delivery::new(event, self.log().identity()))).collect();
        Ok((page, READ_FROM_LOG))
    }

    /// Makes a member of who has caught up with everything published; none, if `position` is behind that.
    pub(super) fn go_live(&self, section: &Section, member: &Member) -> Option<Place> {
        let published = self.lock();
        (member.position >= published.head).then(|| section.join(member.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.shared.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MemberSeat {
    fn drop(&mut self) {
        let mut published = self.hub.lock();
        let over: Vec<Party> =
            parties(self.user, self.admin).filter(|party| count_down(&mut published.parties, *party)).collect();
        // Under the lock, or the next one to come might follow before this one has let go.
        for party in over {
            self.hub.shared.bus.unfollow(party);
        }
        published.askers.forget(&self.noted);
        let ended = published.unseat(&self.section);
        drop(published);
        drop(ended);
    }
}

impl Published {
    /// Whether a subscriber here may receive a private event.
    fn is_wanted(&self, delivery: &Delivery) -> bool {
        let kind = delivery.kind();
        !kind.is_internal() && Party::all_of(delivery.event()).any(|party| self.parties.contains_key(&party))
    }

    /// The groups that want an event, each with its sections that do. One without terms could not be read: it goes to
    /// all who listen to its kind, as those who catch up meet it, and its execution tells them.
    fn wanted(&self, delivery: &Delivery, terms: Option<&EventTerms>) -> Vec<(Arc<Group>, Vec<Arc<Section>>)> {
        let mut wanted: Vec<(Arc<Group>, Vec<Arc<Section>>)> = Vec::new();
        let Some(index) = self.index.get(&delivery.kind()) else { return wanted };
        let mut known: HashMap<u64, usize> = HashMap::new();
        let mut last = None;
        index.candidates(terms, |section| {
            if !section.matches(delivery) {
                return;
            }
            let number = section.group().number();
            // The sections of one group mostly come one after the other.
            let place = match last {
                Some((group, place)) if group == number => place,
                _ => *known.entry(number).or_insert_with(|| {
                    wanted.push((Arc::clone(section.group()), Vec::new()));
                    wanted.len() - 1
                }),
            };
            last = Some((number, place));
            if let Some((_, sections)) = wanted.get_mut(place) {
                sections.push(Arc::clone(section));
            }
        });
        wanted
    }

    /// Opens a section with its first subscription, and its group if it is the first there.
    fn open(
        &mut self,
        key: SharingKey,
        interest: Interest,
        execution: impl Execution,
        manner: impl FnOnce() -> Manner,
    ) -> Arc<Section> {
        self.last_number += 1;
        let number = self.last_number;
        let opened = self.groups.entry(key.selection()).or_insert_with(|| {
            metrics::gauge!("lancewire_groups").increment(1.0);
            let group = Group::new(number, key.selection(), Box::new(execution), manner());
            Opened { group: Arc::new(group), sections: 0 }
        });
        opened.sections += 1;
        let section = Arc::new(Section::new(number, key, Arc::clone(&opened.group), interest));
        opened.group.open(&section);
        for kind in section.interest().kinds() {
            self.index.entry(*kind).or_default().insert(&section);
        }
        self.sections.insert(key, Seated { section: Arc::clone(&section), seats: 1 });
        metrics::gauge!("lancewire_sections").increment(1.0);
        section
    }

    /// A subscription leaves. Returns what has ended with it, to be dropped without the lock.
    fn unseat(&mut self, section: &Section) -> Option<(Seated, Option<Opened>)> {
        let Entry::Occupied(mut seated) = self.sections.entry(section.key()) else { return None };
        seated.get_mut().seats -= 1;
        if seated.get().seats > 0 {
            return None;
        }
        let seated = seated.remove();
        for kind in section.interest().kinds() {
            if let Some(index) = self.index.get_mut(kind) {
                index.remove(section);
            }
        }
        section.group().close(section);
        metrics::gauge!("lancewire_sections").decrement(1.0);
        let Entry::Occupied(mut opened) = self.groups.entry(section.group().selection()) else { return None };
        opened.get_mut().sections -= 1;
        let ended = (opened.get().sections == 0).then(|| opened.remove());
        if let Some(Opened { group, .. }) = &ended {
            metrics::gauge!("lancewire_groups").decrement(1.0);
            group.end();
        }
        Some((seated, ended))
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
