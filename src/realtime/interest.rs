//! What a subscription asks for, in terms that delivery can index.
//!
//! A domain describes an interest by *terms*, of which an event must carry one (a job, a client, a skill, a word), and by
//! a predicate for the rest. Terms are opaque here. [`Index`] finds the sections that may want an event by its terms, so
//! that ten thousand filters on skills do not cost ten thousand predicates for each event. An event's words are many and
//! cost time to find, so they are made into terms only while somebody asks for words.

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
    /// At least one of these, which words stand behind.
    OneWordOf(Vec<Uuid>),
}

/// What an event can be found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTerms {
    /// What it names.
    pub named: Vec<Uuid>,
    /// Its words; none where they were not looked for.
    pub words: Option<Vec<Uuid>>,
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
            Terms::OneOf(terms) | Terms::OneWordOf(terms) => terms.len(),
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
    by_term: ByTerm,
    by_word: ByTerm,
}

type ByTerm<T = Arc<Section>> = HashMap<Uuid, BTreeMap<u64, T>>;

impl Index {
    pub(super) fn insert(&mut self, section: &Arc<Section>) {
        let (index, terms) = match &section.interest().terms {
            Terms::Any => return drop(self.any.insert(section.number(), Arc::clone(section))),
            Terms::OneOf(terms) => (&mut self.by_term, terms),
            Terms::OneWordOf(words) => (&mut self.by_word, words),
        };
        for term in terms {
            index.entry(*term).or_default().insert(section.number(), Arc::clone(section));
        }
    }

    pub(super) fn remove(&mut self, section: &Section) {
        let (index, terms) = match &section.interest().terms {
            Terms::Any => return drop(self.any.remove(&section.number())),
            Terms::OneOf(terms) => (&mut self.by_term, terms),
            Terms::OneWordOf(words) => (&mut self.by_word, words),
        };
        for term in terms {
            if let Some(sections) = index.get_mut(term) {
                sections.remove(&section.number());
                if sections.is_empty() {
                    index.remove(term);
                }
            }
        }
    }

    /// Whether anybody asks for words.
    pub(super) fn asks_for_words(&self) -> bool {
        !self.by_word.is_empty()
    }

    /// The sections that may want an event with these terms, all of them without; all that ask for words, if its words were
    /// not looked for. One that asks for several of the terms comes several times.
    pub(super) fn candidates<'a>(&'a self, terms: Option<&EventTerms>, candidate: impl FnMut(&'a Arc<Section>)) {
        let named = registered(&self.by_term, terms.map(|terms| terms.named.as_slice()));
        let words = registered(&self.by_word, terms.and_then(|terms| terms.words.as_deref()));
        self.any.values().chain(named).chain(words).for_each(candidate);
    }
}

/// What is registered under any of these terms; all of it where the terms are not known.
fn registered<'a, T>(index: &'a ByTerm<T>, terms: Option<&[Uuid]>) -> impl Iterator<Item = &'a T> {
    let some = terms.into_iter().flatten().filter_map(|term| index.get(term));
    let all = terms.is_none().then(|| index.values()).into_iter().flatten();
    some.chain(all).flat_map(BTreeMap::values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_is_found_by_its_terms_and_all_of_it_where_they_are_not_known() {
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        let index: ByTerm<&str> = [(one, (1, "a")), (two, (2, "b"))].map(|(term, it)| (term, [it].into())).into();
        let found = |terms: Option<&[Uuid]>| {
            let mut found: Vec<_> = registered(&index, terms).copied().collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(Some(&[two, three])), ["b"]);
        assert!(found(Some(&[])).is_empty(), "an event without words");
        assert_eq!(found(None), ["a", "b"], "one whose words were not looked for, since nobody asked for words then");
    }
}
