//! Who is in a group, by place, by user, and in the order of joining as far as places allow.
//!
//! Pure bookkeeping under the group's lock. A place is used again once it is free; a member's *number* never is, so
//! what was worked out for one member cannot reach the next one in its place.

use std::{collections::HashMap, hint::black_box, sync::Arc};

use super::{
    interest::Circle,
    outlet::{Offer, Outlet, Payload},
};
use crate::{auth::actor::Origin, events::Hearing, ids::UserId};

/// Results for single members, by number, in order of position.
pub(super) type OwnPayloads = HashMap<u64, Vec<Payload>>;

/// A subscription that gets events as they come.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) viewer: Origin,
    pub(super) outlet: Arc<dyn Outlet>,
    /// Everything up to here has been given to it, or was not for it.
    pub(super) position: i64,
}

/// Where a member is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) number: u64,
}

/// A member that was let go because its outlet had no room.
pub(super) struct Lagging {
    pub(super) outlet: Arc<dyn Outlet>,
    pub(super) position: i64,
}

/// The members of one group.
#[derive(Default)]
pub(super) struct Members {
    places: Vec<Option<(u64, Member)>>,
    free: Vec<usize>,
    users: HashMap<UserId, Vec<Place>>,
    admins: Vec<Place>,
    last_number: u64,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many places there are, free ones included.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) fn insert(&mut self, member: Member) -> Place {
        self.last_number += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let place = Place { index, number: self.last_number };
        if let Some(user) = member.viewer.actor.user() {
            self.users.entry(user).or_default().push(place);
        }
        if member.viewer.actor.is_admin() {
            self.admins.push(place);
        }
        self.places[index] = Some((place.number, member));
        place
    }

    /// Takes a member out; none if it has gone before.
    pub(super) fn remove(&mut self, place: Place) -> Option<Member> {
        let (_, member) = self.places.get_mut(place.index)?.take_if(|(number, _)| *number == place.number)?;
        self.free.push(place.index);
        if let Some(user) = member.viewer.actor.user()
            && let Some(places) = self.users.get_mut(&user)
        {
            places.retain(|other| *other != place);
            if places.is_empty() {
                self.users.remove(&user);
            }
        }
        self.admins.retain(|other| *other != place);
        if self.free.len() == self.places.len() {
            self.places = Vec::new();
            self.free = Vec::new();
        }
        Some(member)
    }

    /// Whether anybody may hear of an event.
    pub(super) fn any_hears(&self, circle: &Circle) -> bool {
        circle.everybody
            || circle.parties.iter().any(|(user, _)| self.users.contains_key(user))
            || (circle.admins && !self.admins.is_empty())
    }

    /// Who hears an event in a way of their own.
    pub(super) fn parties(&self, circle: &Circle) -> Vec<(Place, Origin, Hearing)> {
        let named = circle
            .parties
            .iter()
            .flat_map(|(user, hearing)| self.users.get(user).into_iter().flatten().map(move |place| (place, *hearing)));
        let admins = self.admins.iter().filter(|_| circle.admins).map(|place| (place, Hearing::Own));
        let viewer = |(place, hearing): (&Place, Hearing)| {
            Some((*place, self.places.get(place.index)?.as_ref()?.1.viewer, hearing))
        };
        let mut parties: Vec<_> = named.chain(admins).filter_map(viewer).collect();
        parties.sort_unstable_by_key(|(place, ..)| place.index);
        parties.dedup_by_key(|(place, ..)| place.index);
        debug_assert!(parties.iter().all(|(_, viewer, hearing)| circle.hearing(&viewer.actor) == Some(*hearing)));
        parties
    }

    /// Everybody.
    pub(super) fn all(&self) -> Vec<(Place, Origin)> {
        let place = |(index, place): (usize, &Option<(u64, Member)>)| {
            place.as_ref().map(|(number, member)| (Place { index, number: *number }, member.viewer))
        };
        self.places.iter().enumerate().filter_map(place).collect()
    }

    /// Offers the members at these places what is theirs: `shared`, and what is in `own` under their number, in order of
    /// position. Whoever has no room leaves.
    pub(super) fn offer(
        &mut self,
        indices: impl Iterator<Item = usize> + Clone,
        shared: &[Payload],
        own: &OwnPayloads,
    ) -> Offered {
        let members = indices.clone().filter_map(|index| self.places.get(index)?.as_ref());
        black_box(members.map(|(_, member)| member.outlet.touch()).fold(0, usize::wrapping_add));
        let mut offered = Offered::default();
        for index in indices {
            let Some((number, member)) = self.places.get_mut(index).and_then(Option::as_mut) else { continue };
            let number = *number;
            let (taken, leaves) = match own.get(&number) {
                None => member.offer(shared),
                Some(own) => {
                    let mut merged: Vec<Payload> = shared.iter().chain(own).cloned().collect();
                    merged.sort_by_key(|payload| payload.position);
                    // Who hears an event as their own does not hear it as everybody does.
                    merged.dedup_by(|later, first| {
                        let same = later.position == first.position;
                        if same {
                            *first = later.clone();
                        }
                        same
                    });
                    member.offer(&merged)
                }
            };
            offered.results += taken;
            if leaves {
                offered.leaving.push(Place { index, number });
            }
        }
        for place in &offered.leaving {
            if let Some(member) = self.remove(*place) {
                offered.lagging.push(Lagging { outlet: member.outlet, position: member.position });
            }
        }
        offered
    }

    /// Lets everybody go.
    pub(super) fn let_go(&mut self) -> Vec<Lagging> {
        let members = std::mem::take(&mut self.places).into_iter().flatten();
        (self.free, self.users, self.admins) = Default::default();
        members.map(|(_, member)| Lagging { outlet: member.outlet, position: member.position }).collect()
    }
}

/// What became of a round of offers.
#[derive(Default)]
pub(super) struct Offered {
    pub(super) results: usize,
    pub(super) lagging: Vec<Lagging>,
    leaving: Vec<Place>,
}

impl Member {
    /// How many results were taken, and whether the member must leave.
    fn offer(&mut self, payloads: &[Payload]) -> (usize, bool) {
        let new = payloads.partition_point(|payload| payload.position <= self.position);
        let payloads = &payloads[new..];
        if payloads.is_empty() {
            return (0, false);
        }
        match self.outlet.offer(payloads) {
            Offer::Taken(taken) => {
                if let Some(last) = taken.checked_sub(1).and_then(|last| payloads.get(last)) {
                    self.position = last.position;
                }
                (taken, taken < payloads.len())
            }
            // Its own catching up meets the same result, and knows whom to tell.
            Offer::TooLarge | Offer::Gone => (0, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::{BoxFuture, FutureExt, pending};
    use smallvec::SmallVec;

    use super::*;
    use crate::{
        auth::actor::{Actor, Principal, Roles},
        clock::Clock,
        ids::Ids,
    };

    /// Takes so many results, and remembers their positions.
    struct Taking(Mutex<(usize, Vec<i64>)>);

    impl Taking {
        fn new(room: usize) -> Arc<Self> {
            Arc::new(Self(Mutex::new((room, Vec::new()))))
        }

        fn positions(&self) -> Vec<i64> {
            self.0.lock().expect("whole").1.clone()
        }
    }

    impl Outlet for Taking {
        fn offer(&self, payloads: &[Payload]) -> Offer {
            let mut state = self.0.lock().expect("whole");
            let taken = payloads.len().min(state.0);
            state.0 -= taken;
            state.1.extend(payloads[..taken].iter().map(|payload| payload.position));
            Offer::Taken(taken)
        }

        fn room(&self, _: usize) -> BoxFuture<'_, ()> {
            pending().boxed()
        }

        fn lagged(&self, _: i64) {}
    }

    fn member(actor: Actor, outlet: &Arc<Taking>, position: i64) -> Member {
        let viewer = Origin { actor, address: [127, 0, 0, 1].into() };
        Member { viewer, outlet: Arc::clone(outlet) as Arc<dyn Outlet>, position }
    }

    fn payloads(positions: &[i64]) -> Vec<Payload> {
        positions.iter().map(|position| Payload { response: "{}".into(), position: *position }).collect()
    }

    #[test]
    fn each_gets_what_is_new_to_it_and_whoever_has_no_room_leaves_where_it_stands() {
        let mut members = Members::default();
        let (early, late, full) = (Taking::new(9), Taking::new(9), Taking::new(1));
        members.insert(member(Actor::Anonymous, &early, 0));
        members.insert(member(Actor::Anonymous, &late, 2));
        let gone = members.insert(member(Actor::Anonymous, &full, 0));
        let offered = members.offer(0..3, &payloads(&[1, 2, 3]), &OwnPayloads::new());
        assert_eq!((early.positions(), late.positions(), full.positions()), (vec![1, 2, 3], vec![3], vec![1]));
        assert_eq!((offered.results, offered.lagging.len(), offered.lagging[0].position), (5, 1, 1));
        assert_eq!(members.len(), 2);
        let next = members.insert(member(Actor::Anonymous, &full, 0));
        assert_eq!((next.index, next.number == gone.number), (gone.index, false));
        assert!(members.remove(gone).is_none(), "a place that was given away is not given back");
        assert!(members.remove(next).is_some());
    }

    #[test]
    fn parties_are_found_without_asking_everybody_and_hear_their_own_in_order() {
        let ids = Ids::seeded(Clock::system(), 1);
        let now = Clock::system().now();
        let user = |roles| {
            let (user, session) = (ids.next(), ids.next());
            (user, Actor::User(Principal { user, session, roles, expires_at: now, commits: None }))
        };
        let (owner, ada) = user(Roles { client: true, ..Roles::default() });
        let (claimant, ben) = user(Roles { freelancer: true, ..Roles::default() });
        let (_, root) = user(Roles { admin: true, ..Roles::default() });
        let (_, eve) = user(Roles::default());
        let mut members = Members::default();
        let outlets: Vec<_> = (0..4).map(|_| Taking::new(9)).collect();
        let places: Vec<_> = [ada, ben, root, eve]
            .into_iter()
            .zip(&outlets)
            .map(|(actor, to)| members.insert(member(actor, to, 0)))
            .collect();
        let named = |circle: &Circle| -> Vec<(usize, Hearing)> {
            members.parties(circle).iter().map(|(place, _, hearing)| (place.index, *hearing)).collect()
        };
        let (own, public) = (Hearing::Own, Hearing::Public);
        let parties: SmallVec<_> = [(owner, own), (claimant, public)].into_iter().collect();
        let circle = Circle { everybody: false, admins: true, parties };
        assert_eq!(named(&circle), [(0, own), (1, public), (2, own)]);
        assert_eq!(named(&Circle { admins: false, ..circle.clone() }), [(0, own), (1, public)]);
        assert_eq!(named(&Circle { everybody: true, ..Circle::default() }), []);
        let somebody: SmallVec<_> = std::iter::once((ids.next(), own)).collect();
        let nobody = Circle { parties: somebody, ..Circle::default() };
        assert!(!members.any_hears(&nobody));
        assert!(members.any_hears(&Circle { admins: true, ..nobody }), "admins hear of every job");

        let own = OwnPayloads::from([(places[0].number, payloads(&[2, 3]))]);
        members.offer(0..4, &payloads(&[1, 3]), &own);
        assert_eq!(outlets[0].positions(), [1, 2, 3], "its own in place of everybody's, and in order");
        assert_eq!(outlets[3].positions(), [1, 3]);
    }
}
