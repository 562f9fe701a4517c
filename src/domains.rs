//! What the domains bring to those who know no domain: the kinds of their events, and by what these are found.
//!
//! One line for each domain. The log and the bus get [`KINDS`] from here, the hub gets [`terms`], and `verify` both the
//! kinds and what it compares them with. Called by [`app`](crate::app) and [`verify`](crate::verify) alone.

use crate::{
    auth, claims, conversations,
    error::InternalError,
    events::Kinds,
    jobs, notifications,
    realtime::{Delivery, EventTerms},
    wallet,
};

/// Every kind of event that this version records.
pub const KINDS: Kinds = Kinds::of(&[
    jobs::events::KINDS,
    claims::events::KINDS,
    conversations::events::KINDS,
    wallet::events::KINDS,
    notifications::events::KINDS,
    auth::events::KINDS,
]);

/// What an event can be found by, in the terms of the interests that the domains describe. The events of a domain without
/// terms are found by who receives them alone.
pub fn terms(delivery: &Delivery, with_words: bool) -> Result<EventTerms, InternalError> {
    if jobs::events::KINDS.contains(&delivery.kind()) {
        jobs::events::terms(delivery, with_words)
    } else if conversations::events::KINDS.contains(&delivery.kind()) {
        Ok(conversations::events::terms(delivery))
    } else {
        Ok(EventTerms { words: Some(Vec::new()), ..EventTerms::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::events::EventKind;

    #[test]
    fn each_kind_has_a_name_of_its_own_that_the_log_can_store() {
        let names: Vec<&str> = KINDS.iter().map(EventKind::as_str).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        let fits = |name: &&str| {
            (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        assert!(names.iter().all(fits), "{names:?}");
        for kind in KINDS.iter() {
            assert_eq!(KINDS.recorded_as(kind.as_str()), kind);
            let is_heard = kind.is_for_everybody() || kind.has_parties();
            assert_eq!(is_heard, !kind.is_internal(), "{kind:?} is either for clients or for the nodes");
        }
        assert!(KINDS.recorded_as("MESSAGE_SENT").is_internal(), "what a later version records is nobody's here");
    }
}
