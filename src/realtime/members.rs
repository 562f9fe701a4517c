//! The members of a section, by place and by user, and what each of them was given.
//!
//! Pure bookkeeping under the section's lock. A place is used again once it is free; a member's *number* never is, so a
//! result for one member cannot reach the next one in its place.
//!
//! **Aside.** A member that waits for a result of its own is *aside*: what arrives for it meanwhile is kept behind that
//! result, in the order of positions, and given when the result is there ([`Members::give_own`]). It costs the others
//! nothing. What is kept is bounded in bytes; a member that exceeds it leaves the group and catches up by itself.
//!
//! **A member's position.** Everything up to the position before the first result that was not given has been offered,
//! or did not match. So a member that leaves the group continues from there, and not from the last event that matched,
//! which may be long ago.

use std::{
    collections::{HashMap, VecDeque},
    hint::black_box,
    ops::Range,
    sync::Arc,
};

use super::{
    interest::Circle,
    outlet::{Offer, Outlet, Payload},
};
use crate::{auth::actor::Origin, events::Hearing, ids::UserId};

/// Bytes that may wait for one member behind a result of its own.
const MOST_ASIDE: usize = 256 * 1024;

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

/// A member that left because it lags, and from where it goes on.
pub(super) struct Lagging {
    pub(super) outlet: Arc<dyn Outlet>,
    pub(super) position: i64,
}

impl Lagging {
    /// Tells the outlets. Outside every lock: a transport does what it likes.
    pub(super) fn tell(lagging: Vec<Self>) {
        if !lagging.is_empty() {
            metrics::counter!("lancewire_feed_lags_total").increment(u64::try_from(lagging.len()).unwrap_or(u64::MAX));
        }
        for Self { outlet, position } in lagging {
            outlet.lagged(position);
        }
    }
}

/// A member in its place.
struct Seated {
    number: u64,
    member: Member,
    aside: Option<Box<Aside>>,
}

/// What waits for a member, in the order of positions. The first one is a result that is still to come.
#[derive(Default)]
struct Aside {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

enum Waiting {
    Ready(Payload),
    /// The member's own result for the event at this position is still to come.
    Own(i64),
}

/// The members of one section.
#[derive(Default)]
pub(super) struct Members {
    places: Vec<Option<Seated>>,
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
        self.places[index] = Some(Seated { number: place.number, member, aside: None });
        place
    }

    /// Takes a member out; none if it has gone before.
    pub(super) fn remove(&mut self, place: Place) -> Option<Member> {
        let seated = self.places.get_mut(place.index)?.take_if(|seated| seated.number == place.number)?;
        let member = seated.member;
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

    fn at(&mut self, place: Place) -> Option<&mut Seated> {
        self.places.get_mut(place.index)?.as_mut().filter(|seated| seated.number == place.number)
    }

    /// Up to where everything has been offered to this member, if that is so of the others up to `mark`; none if it has
    /// gone. A member that has come from a node that was further is ahead of the mark.
    pub(super) fn position(&mut self, place: Place, mark: i64) -> Option<i64> {
        let seated = self.at(place)?;
        let offered = seated.aside.as_ref().and_then(|aside| aside.first()).map_or(mark, |first| mark.min(first - 1));
        Some(offered.max(seated.member.position))
    }

    /// Whether anybody may receive an event.
    pub(super) fn any_hears(&self, circle: &Circle) -> bool {
        circle.everybody
            || circle.parties.iter().any(|(user, _)| self.users.contains_key(user))
            || (circle.admins && !self.admins.is_empty())
    }

    /// Who receives an event in a way of their own.
    pub(super) fn parties(&self, circle: &Circle) -> Vec<(Place, Origin, Hearing)> {
        let named = circle
            .parties
            .iter()
            .flat_map(|(user, hearing)| self.users.get(user).into_iter().flatten().map(move |place| (place, *hearing)));
        let admins = self.admins.iter().filter(|_| circle.admins).map(|place| (place, Hearing::Own));
        let viewer = |(place, hearing): (&Place, Hearing)| {
            Some((*place, self.places.get(place.index)?.as_ref()?.member.viewer, hearing))
        };
        let mut parties: Vec<_> = named.chain(admins).filter_map(viewer).collect();
        parties.sort_unstable_by_key(|(place, ..)| place.index);
        parties.dedup_by_key(|(place, ..)| place.index);
        debug_assert!(parties.iter().all(|(_, viewer, hearing)| circle.hearing(&viewer.actor) == Some(*hearing)));
        parties
    }

    /// Everybody.
    pub(super) fn all(&self) -> impl Iterator<Item = (Place, Origin)> {
        let place = |(index, seated): (usize, &Option<Seated>)| {
            seated.as_ref().map(|seated| (Place { index, number: seated.number }, seated.member.viewer))
        };
        self.places.iter().enumerate().filter_map(place)
    }

    /// Has a member wait for results of its own for the events at the positions `own`, with what is `shared` of the same
    /// events around them. What comes before the first of them is offered at once. Returns how many of `own`, from the
    /// first on, are not for it, since it has had them or has gone.
    pub(super) fn set_aside(&mut self, place: Place, own: &[i64], shared: &[Payload], offered: &mut Offered) -> usize {
        let Some(seated) = self.at(place) else { return own.len() };
        let reached = seated.reached();
        let skipped = own.partition_point(|position| *position <= reached);
        if skipped == own.len() {
            return skipped;
        }
        let aside = seated.aside.get_or_insert_default();
        let mut shared = shared.iter().filter(|payload| payload.position > reached).peekable();
        for position in &own[skipped..] {
            while let Some(payload) = shared.next_if(|payload| payload.position < *position) {
                aside.push(Waiting::Ready(payload.clone()));
            }
            // Who receives an event as their own does not receive it as everybody does, too.
            shared.next_if(|payload| payload.position == *position);
            aside.push(Waiting::Own(*position));
        }
        for payload in shared {
            aside.push(Waiting::Ready(payload.clone()));
        }
        self.give_ready(place, offered);
        skipped
    }

    /// Whether the member still waits for its own result for the event at this position.
    pub(super) fn awaits(&mut self, place: Place, position: i64) -> bool {
        let aside = self.at(place).and_then(|seated| seated.aside.as_ref());
        aside.is_some_and(|aside| aside.waiting.iter().any(|waiting| waiting.is_own(position)))
    }

    /// Gives a member its own result, and what has waited behind it.
    pub(super) fn give_own(&mut self, place: Place, payload: Payload, offered: &mut Offered) {
        let Some(aside) = self.at(place).and_then(|seated| seated.aside.as_mut()) else { return };
        let Some(waiting) = aside.waiting.iter_mut().find(|waiting| waiting.is_own(payload.position)) else { return };
        aside.bytes += payload.response.len();
        *waiting = Waiting::Ready(payload);
        self.give_ready(place, offered);
    }

    /// Offers a member that is aside what waits for nothing any more.
    fn give_ready(&mut self, place: Place, offered: &mut Offered) {
        let Some(seated) = self.at(place) else { return };
        let Some(aside) = &mut seated.aside else { return };
        let ready = aside.take_ready();
        let (first, bytes) = (aside.first(), aside.bytes);
        if first.is_none() {
            seated.aside = None;
        }
        let (taken, stands_at) = seated.member.offer(&ready);
        offered.results += taken;
        let too_much = first.filter(|_| bytes > MOST_ASIDE).map(|first| first - 1);
        if let Some(position) = stands_at.or(too_much) {
            offered.let_go(self.remove(place), position);
        }
    }

    /// Offers the members at these places what is new to them of `shared`, in order of position. Those who are aside get
    /// it later. A member without room leaves.
    pub(super) fn offer(
        &mut self,
        indices: impl Iterator<Item = usize> + Clone,
        shared: &[Payload],
        offered: &mut Offered,
    ) {
        let members = indices.clone().filter_map(|index| self.places.get(index)?.as_ref());
        black_box(members.map(|seated| seated.member.outlet.touch()).fold(0, usize::wrapping_add));
        for index in indices {
            let Some(seated) = self.places.get_mut(index).and_then(Option::as_mut) else { continue };
            let reached = seated.reached();
            let stands_at = if let Some(aside) = &mut seated.aside {
                for payload in shared.iter().filter(|payload| payload.position > reached) {
                    aside.push(Waiting::Ready(payload.clone()));
                }
                aside.first().filter(|_| aside.bytes > MOST_ASIDE).map(|first| first - 1)
            } else {
                let (taken, stands_at) = seated.member.offer(shared);
                offered.results += taken;
                stands_at
            };
            if let Some(position) = stands_at {
                let place = Place { index, number: seated.number };
                offered.let_go(self.remove(place), position);
            }
        }
    }

    /// Has those at these places pay, who have been offered everything up to `mark`. Returns how many paid or could not, and
    /// those who could not, who leave.
    pub(super) fn charge(
        &mut self,
        indices: Range<usize>,
        mark: i64,
        pays: impl Fn(&Origin) -> bool,
    ) -> (usize, Vec<Lagging>) {
        let mut offered = Offered::default();
        let mut charged = 0;
        for index in indices {
            let Some(seated) = self.places.get(index).and_then(Option::as_ref) else { continue };
            charged += 1;
            if !pays(&seated.member.viewer) {
                let place = Place { index, number: seated.number };
                let position = seated.stands_at(mark);
                offered.let_go(self.remove(place), position);
            }
        }
        (charged, offered.lagging)
    }

    /// Lets one member go that cannot pay for results of its own.
    pub(super) fn let_unpaid_go(&mut self, place: Place, offered: &mut Offered) {
        if let Some(position) = self.at(place).map(|seated| seated.stands_at(i64::MIN)) {
            offered.let_go(self.remove(place), position);
        }
    }

    /// Lets one member go that waits for a result of its own.
    pub(super) fn let_one_go(&mut self, place: Place, offered: &mut Offered) {
        let first = self.at(place).and_then(|seated| seated.aside.as_ref()).and_then(|aside| aside.first());
        if let Some(first) = first {
            offered.let_go(self.remove(place), first - 1);
        }
    }

    /// Lets everybody go, who have all been offered everything up to `mark`.
    pub(super) fn let_go(&mut self, mark: i64) -> Vec<Lagging> {
        let members = std::mem::take(&mut self.places).into_iter().flatten();
        (self.free, self.users, self.admins) = Default::default();
        let lagging = |seated: Seated| {
            let position = seated.stands_at(mark);
            Lagging { outlet: seated.member.outlet, position }
        };
        members.map(lagging).collect()
    }
}

impl Seated {
    /// From where it goes on if it leaves now, and everything up to `mark` has been offered to those who are not aside.
    fn stands_at(&self, mark: i64) -> i64 {
        let mark = self.member.position.max(mark);
        self.aside.as_ref().and_then(|aside| aside.first()).map_or(mark, |first| mark.min(first - 1))
    }

    /// The position of the last result that was given or waits.
    fn reached(&self) -> i64 {
        let last = self.aside.as_ref().and_then(|aside| aside.waiting.back());
        last.map_or(self.member.position, Waiting::position)
    }
}

impl Aside {
    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.waiting.push_back(waiting);
    }

    /// The position of the first that waits.
    fn first(&self) -> Option<i64> {
        self.waiting.front().map(Waiting::position)
    }

    /// Takes out what waits in front of the first result that is still to come.
    fn take_ready(&mut self) -> Vec<Payload> {
        let mut ready = Vec::new();
        while let Some(first) = self.waiting.pop_front_if(|first| matches!(first, Waiting::Ready(_))) {
            self.bytes -= first.bytes();
            if let Waiting::Ready(payload) = first {
                ready.push(payload);
            }
        }
        ready
    }
}

impl Waiting {
    const fn position(&self) -> i64 {
        match self {
            Self::Ready(payload) => payload.position,
            Self::Own(position) => *position,
        }
    }

    fn is_own(&self, position: i64) -> bool {
        matches!(self, Self::Own(own) if *own == position)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Ready(payload) => payload.response.len(),
                Self::Own(_) => 0,
            }
    }
}

/// What became of a round of offers.
#[derive(Default)]
pub(super) struct Offered {
    pub(super) results: usize,
    pub(super) lagging: Vec<Lagging>,
}

impl Offered {
    fn let_go(&mut self, member: Option<Member>, position: i64) {
        self.lagging.extend(member.map(|member| Lagging { outlet: member.outlet, position }));
    }
}

impl Member {
    /// How many results were taken, and where the member stands if it must leave.
    fn offer(&mut self, payloads: &[Payload]) -> (usize, Option<i64>) {
        let new = payloads.partition_point(|payload| payload.position <= self.position);
        let payloads = &payloads[new..];
        if payloads.is_empty() {
            return (0, None);
        }
        let taken = match self.outlet.offer(payloads) {
            Offer::Taken(taken) => taken.min(payloads.len()),
            // Its own catching up meets the same result, and knows whom to tell.
            Offer::TooLarge | Offer::Gone => 0,
        };
        if let Some(last) = taken.checked_sub(1).and_then(|last| payloads.get(last)) {
            self.position = last.position;
        }
        (taken, payloads.get(taken).map(|next| next.position - 1))
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
    fn each_gets_what_is_new_to_it_and_a_member_without_room_leaves_where_it_stands() {
        let mut members = Members::default();
        let (early, late, full) = (Taking::new(9), Taking::new(9), Taking::new(1));
        members.insert(member(Actor::Anonymous, &early, 0));
        members.insert(member(Actor::Anonymous, &late, 2));
        let gone = members.insert(member(Actor::Anonymous, &full, 0));
        let mut offered = Offered::default();
        members.offer(0..3, &payloads(&[1, 2, 3]), &mut offered);
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

        // The owner's own results are still to come: nothing that is behind them overtakes them.
        let mut offered = Offered::default();
        let shared = payloads(&[1, 3, 5]);
        assert_eq!(members.set_aside(places[0], &[2, 3], &shared, &mut offered), 0);
        members.offer(0..4, &shared, &mut offered);
        assert_eq!((outlets[0].positions(), outlets[3].positions()), (vec![1], vec![1, 3, 5]));
        assert_eq!((members.position(places[0], 5), members.position(places[3], 5)), (Some(1), Some(5)));
        for (position, given) in [(2, vec![1, 2]), (3, vec![1, 2, 3, 5])] {
            assert!(members.awaits(places[0], position));
            members.give_own(places[0], payloads(&[position]).remove(0), &mut offered);
            assert_eq!(outlets[0].positions(), given, "its own in place of everybody's, and in order");
        }
        assert_eq!(members.position(places[0], 5), Some(5));
        members.offer(0..4, &payloads(&[5, 6]), &mut offered);
        assert_eq!(outlets[0].positions(), [1, 2, 3, 5, 6], "it is with the others again, and gets nothing twice");
        assert_eq!(members.set_aside(places[0], &[6], &[], &mut offered), 1, "it has had that one");
    }

    #[test]
    fn a_member_that_leaves_stands_before_the_first_result_that_it_was_not_given() {
        let mut members = Members::default();
        let outlets: Vec<_> = [0, 1, 9, 9].map(Taking::new).into();
        let places: Vec<_> = outlets.iter().map(|outlet| members.insert(member(Actor::Anonymous, outlet, 3))).collect();
        let mut offered = Offered::default();
        // All have been offered everything up to 700 by now, though nothing of it was for them.
        members.offer(0..2, &payloads(&[701, 704]), &mut offered);
        let stands = offered.lagging.iter().map(|lagging| lagging.position).collect::<Vec<_>>();
        assert_eq!(stands, [700, 703]);
        members.set_aside(places[2], &[710], &payloads(&[705]), &mut offered);
        let stands = members.let_go(708).iter().map(|lagging| lagging.position).collect::<Vec<_>>();
        assert_eq!(stands, [708, 708], "up to the mark, for one that waits for later ones too");
        let place = members.insert(member(Actor::Anonymous, &outlets[2], 720));
        assert_eq!(members.position(place, 708), Some(720), "it goes on from where it was on another node");
        members.set_aside(place, &[725], &[], &mut offered);
        assert_eq!(members.let_go(730)[0].position, 724);
        assert_eq!(members.position(place, 800), None);
    }

    #[test]
    fn what_waits_behind_an_own_result_is_bounded_in_bytes() {
        let mut members = Members::default();
        let outlet = Taking::new(9);
        let place = members.insert(member(Actor::Anonymous, &outlet, 0));
        let mut offered = Offered::default();
        members.set_aside(place, &[1], &[], &mut offered);
        for position in 2..100 {
            let large = Payload { response: "x".repeat(10_000).into(), position };
            members.offer(0..1, &[large], &mut offered);
        }
        assert_eq!((members.len(), offered.lagging.len(), offered.lagging[0].position), (0, 1, 0));
        assert_eq!(outlet.positions(), [0; 0]);
    }
}
