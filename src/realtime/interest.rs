//! What a subscription asks for, in terms that delivery can index.
//!
//! A domain describes an interest by the *terms* of which an event must carry one (a job, a client, a skill) and by a
//! predicate for the rest. Terms are opaque here. [`Index`] finds the groups that may want an event by its terms, so that
//! ten thousand filters on skills are not ten thousand predicates an event.

use std::{collections::HashMap, fmt, sync::Arc};

use uuid::Uuid;

use super::{Delivery, group::Group};
use crate::{error::Fault, events::EventKind};

/// Decides on what the terms leave open.
type Predicate = Box<dyn Fn(&Delivery) -> Result<bool, Fault> + Send + Sync>;

/// Of which terms an event must carry one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terms {
    /// None: every event of the kind may be wanted.
    Any,
    /// At least one of these.
    OneOf(Vec<Uuid>),
}

/// The events that a subscription asks for. The same for all who subscribe in the same words: it must not depend on the
/// viewer.
pub struct Interest {
    pub(super) kind: EventKind,
    pub(super) terms: Terms,
    predicate: Option<Predicate>,
}

impl Interest {
    /// Every event of a kind.
    pub const fn all(kind: EventKind) -> Self {
        Self { kind, terms: Terms::Any, predicate: None }
    }

    /// The events of a kind that carry one of `terms` and satisfy `predicate`.
    pub fn matching(
        kind: EventKind,
        terms: Terms,
        predicate: impl Fn(&Delivery) -> Result<bool, Fault> + Send + Sync + 'static,
    ) -> Self {
        Self { kind, terms, predicate: Some(Box::new(predicate)) }
    }

    /// Whether it asks for this event. One whose snapshot cannot be read is wanted: its listeners must hear of the fault.
    pub(super) fn wants(&self, delivery: &Delivery) -> bool {
        let satisfied = |predicate: &Predicate| predicate(delivery).unwrap_or(true);
        self.kind == delivery.kind() && self.predicate.as_ref().is_none_or(satisfied)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest").field("kind", &self.kind).field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// The groups of one kind of event, by what they ask for.
#[derive(Debug, Default)]
pub(super) struct Index {
    any: HashMap<u64, Arc<Group>>,
    by_term: HashMap<Uuid, HashMap<u64, Arc<Group>>>,
}

impl Index {
    pub(super) fn insert(&mut self, group: &Arc<Group>) {
        match &group.interest().terms {
            Terms::Any => drop(self.any.insert(group.number(), Arc::clone(group))),
            Terms::OneOf(terms) => {
                for term in terms {
                    self.by_term.entry(*term).or_default().insert(group.number(), Arc::clone(group));
                }
            }
        }
    }

    pub(super) fn remove(&mut self, group: &Group) {
        match &group.interest().terms {
            Terms::Any => drop(self.any.remove(&group.number())),
            Terms::OneOf(terms) => {
                for term in terms {
                    if let Some(groups) = self.by_term.get_mut(term) {
                        groups.remove(&group.number());
                        if groups.is_empty() {
                            self.by_term.remove(term);
                        }
                    }
                }
            }
        }
    }

    /// The groups that may want an event with these terms; one that asks for several of them comes several times.
    pub(super) fn candidates(&self, terms: &[Uuid]) -> impl Iterator<Item = &Arc<Group>> {
        let by_term = terms.iter().filter_map(|term| self.by_term.get(term)).flat_map(HashMap::values);
        self.any.values().chain(by_term)
    }
}
