//! What a subscription asks for, in terms that delivery can index.
//!
//! A domain describes an interest by *terms*, of which an event must carry one (a job, a client, a skill), and by a
//! predicate for the rest. Terms are opaque here. [`Index`] finds the sections that may want an event by its terms, so
//! that ten thousand filters on skills do not cost ten thousand predicates for each event.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use smallvec::{SmallVec, smallvec};
use uuid::Uuid;

use super::{Delivery, section::Section};
use crate::{
    auth::actor::Actor,
    error::InternalError,
    events::{EventKind, Hearing},
    ids::UserId,
};

/// What a term takes: in the interest, and in the index by it.
const PLACE: usize = 128;

/// Decides on what the terms leave open.
type Predicate = Box<dyn Fn(&Delivery) -> Result<bool, InternalError> + Send + Sync>;

/// Of which terms an event must carry one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terms {
    /// None: every event of the kind may be wanted.
    Any,
    /// At least one of these.
    OneOf(Vec<Uuid>),
}

/// Says who was party to what an event is about until it happened, and is no more.
pub type Leaving = fn(&Delivery) -> Option<UserId>;

/// The events that a subscription asks for. The same for all who give the same arguments: it must not depend on the
/// viewer.
pub struct Interest {
    kinds: SmallVec<[EventKind; 1]>,
    pub(super) terms: Terms,
    /// Asks for what concerns the listener alone, be the event public or not.
    parties: Option<Leaving>,
    predicate: Option<Predicate>,
    /// What the predicate keeps in memory.
    bytes: usize,
}

/// Who receives an event that an interest asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Circle {
    /// Whether everybody does.
    pub(super) everybody: bool,
    /// Whether admins receive it as their own.
    pub(super) admins: bool,
    /// Who receives it in a way of their own.
    pub(super) parties: SmallVec<[(UserId, Hearing); 3]>,
}

impl Circle {
    /// As whom this viewer receives the event; not at all if that is none.
    pub(super) fn hearing(&self, actor: &Actor) -> Option<Hearing> {
        if self.admins && actor.is_admin() {
            return Some(Hearing::Own);
        }
        let own = self.parties.iter().find(|(party, _)| actor.is(*party)).map(|(_, hearing)| *hearing);
        own.or(self.everybody.then_some(Hearing::Public))
    }
}

impl Interest {
    /// Every event of a kind.
    pub fn all(kind: EventKind) -> Self {
        Self { kinds: smallvec![kind], terms: Terms::Any, parties: None, predicate: None, bytes: 0 }
    }

    /// The events of a kind that satisfy `predicate`. All of these carry one of `terms`, which only find them sooner: who
    /// catches up asks the predicate alone.
    pub fn matching(
        kind: EventKind,
        terms: Terms,
        predicate: impl Fn(&Delivery) -> Result<bool, InternalError> + Send + Sync + 'static,
    ) -> Self {
        Self { kinds: smallvec![kind], terms, parties: None, predicate: Some(Box::new(predicate)), bytes: 0 }
    }

    /// The events of these kinds that satisfy `predicate`, for those alone whom each names, and for whom it names no more:
    /// they receive what is public of it. Terms as in [`Interest::matching`].
    pub fn of_parties(
        kinds: &[EventKind],
        terms: Terms,
        leaving: Leaving,
        predicate: impl Fn(&Delivery) -> Result<bool, InternalError> + Send + Sync + 'static,
    ) -> Self {
        Self { kinds: kinds.into(), terms, parties: Some(leaving), predicate: Some(Box::new(predicate)), bytes: 0 }
    }

    /// The same, whose predicate keeps so many bytes in memory.
    #[must_use]
    pub fn keeping(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// About how many bytes it takes in memory, with its places in the index.
    pub(super) fn bytes(&self) -> usize {
        let terms = match &self.terms {
            Terms::Any => 1,
            Terms::OneOf(terms) => terms.len(),
        };
        size_of::<Section>() + terms * PLACE + self.bytes
    }

    /// The kinds of events that it asks for; at least one.
    pub(super) fn kinds(&self) -> &[EventKind] {
        &self.kinds
    }

    /// Whether its subscribers may receive what others may not.
    pub(super) fn has_parties(&self) -> bool {
        self.kinds.iter().any(|kind| kind.has_parties())
    }

    /// Whether admins receive all of it.
    pub(super) fn is_told_to_admins(&self) -> bool {
        self.parties.is_none() && self.kinds.iter().any(|kind| kind.is_told_to_admins())
    }

    /// Who receives this event, if it is wanted. By the event's own audience, for what was so when it happened.
    pub(super) fn circle(&self, delivery: &Delivery) -> Circle {
        let (kind, audience) = (delivery.kind(), delivery.audience());
        if kind.is_internal() || !self.kinds.contains(&kind) {
            return Circle::default();
        }
        let named = audience.users().iter().map(|party| (*party, Hearing::Own));
        match self.parties {
            None if kind.has_parties() => {
                Circle { everybody: audience.public, admins: audience.admins, parties: named.collect() }
            }
            None => Circle { everybody: audience.public, ..Circle::default() },
            Some(leaving) => {
                let left = audience.public.then(|| leaving(delivery)).flatten();
                let left = left.filter(|left| !audience.users().contains(left));
                let left = left.map(|left| (left, Hearing::Public));
                Circle { parties: named.chain(left).collect(), ..Circle::default() }
            }
        }
    }

    /// Whether it asks for this event. One whose snapshot cannot be read is wanted: its subscribers must get the error.
    pub(super) fn wants(&self, delivery: &Delivery) -> bool {
        let satisfied = |predicate: &Predicate| predicate(delivery).unwrap_or(true);
        self.kinds.contains(&delivery.kind()) && self.predicate.as_ref().is_none_or(satisfied)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest").field("kinds", &self.kinds).field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// The sections of one kind of event, by what they ask for; in the order in which they began, which is mostly that of their
/// places in memory, and the same in each history that a simulation plays again.
#[derive(Debug, Default)]
pub(super) struct Index {
    any: BTreeMap<u64, Arc<Section>>,
    by_term: HashMap<Uuid, BTreeMap<u64, Arc<Section>>>,
}

impl Index {
    pub(super) fn insert(&mut self, section: &Arc<Section>) {
        match &section.interest().terms {
            Terms::Any => drop(self.any.insert(section.number(), Arc::clone(section))),
            Terms::OneOf(terms) => {
                for term in terms {
                    self.by_term.entry(*term).or_default().insert(section.number(), Arc::clone(section));
                }
            }
        }
    }

    pub(super) fn remove(&mut self, section: &Section) {
        match &section.interest().terms {
            Terms::Any => drop(self.any.remove(&section.number())),
            Terms::OneOf(terms) => {
                for term in terms {
                    if let Some(sections) = self.by_term.get_mut(term) {
                        sections.remove(&section.number());
                        if sections.is_empty() {
                            self.by_term.remove(term);
                        }
                    }
                }
            }
        }
    }

    /// The sections that may want an event with these terms, all of them without; one that asks for several of the terms
    /// comes several times.
    pub(super) fn candidates<'a>(&'a self, terms: Option<&[Uuid]>, candidate: impl FnMut(&'a Arc<Section>)) {
        match terms {
            Some(terms) => {
                let by_term = terms.iter().filter_map(|term| self.by_term.get(term)).flat_map(BTreeMap::values);
                self.any.values().chain(by_term).for_each(candidate);
            }
            None => self.any.values().chain(self.by_term.values().flat_map(BTreeMap::values)).for_each(candidate),
        }
    }
}
