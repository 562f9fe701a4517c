//! What one node knows of who is where. Pure: it is told the time and what others say, and says what they should know.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    ids::{ConversationId, UserId},
};

/// How long somebody is still there whose last seat has gone.
pub const GRACE: TimeDelta = TimeDelta::seconds(15);
/// How often a node says again who is here.
pub const HEARTBEAT: TimeDelta = TimeDelta::seconds(10);
/// How long what another node has said is so.
pub const LIFETIME: TimeDelta = TimeDelta::seconds(30);
/// How long a signal of writing lasts.
pub const TYPING: TimeDelta = TimeDelta::seconds(6);
/// The least time between two signals of one user in one conversation.
pub const THROTTLE: TimeDelta = TimeDelta::seconds(2);
/// How long it is known when somebody was there last.
const REMEMBERED: TimeDelta = TimeDelta::hours(1);
/// Places in conversations that a node keeps, its own people's and others'.
pub const MOST_PEOPLE: usize = 200_000;

/// Parts in which everybody who is here is said again, one a tick: ten seconds of them.
const PARTS: u64 = 20;
/// The same after somebody has asked.
const PARTS_ASKED: u64 = 4;

/// There are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// One side of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Who.
    pub user: UserId,
    /// Whether they are there, or write.
    pub online: bool,
    /// When they were there last, if they are not and that is known.
    pub last_seen_at: Option<Timestamp>,
    /// Whether they write.
    pub typing: bool,
}

/// What one node says of one user in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    /// Where.
    pub(super) conversation: Uuid,
    /// Who.
    pub(super) user: Uuid,
    /// What.
    pub(super) said: Said,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// They are here, at the node that says so.
    Here,
    /// They are not here any more; in milliseconds since 1970, since when.
    Gone {
        /// When the last seat went.
        seen_ms: i64,
    },
    /// They write, or do no more.
    Typing(bool),
}

/// Everybody whom a node knows of.
pub(super) struct Book {
    node: u64,
    rooms: HashMap<ConversationId, SmallVec<[Person; 2]>>,
    people: usize,
    ticks: u64,
    /// Ticks for which everybody is said faster, since somebody has asked.
    asked: u64,
}

/// Somebody's place in one conversation.
struct Person {
    user: UserId,
    /// Here.
    seats: u32,
    /// Here, since the last of them went, until the grace is over.
    left_at: Option<Timestamp>,
    /// At other nodes: until when that is so.
    elsewhere: SmallVec<[(u64, Timestamp); 1]>,
    typing_until: Option<Timestamp>,
    /// Here.
    signalled_at: Option<Timestamp>,
    seen_at: Option<Timestamp>,
}

impl Person {
    fn new(user: UserId) -> Self {
        let (left_at, typing_until, signalled_at, seen_at) = Default::default();
        Self { user, seats: 0, left_at, elsewhere: SmallVec::new(), typing_until, signalled_at, seen_at }
    }

    fn is_here(&self) -> bool {
        self.seats > 0 || self.left_at.is_some()
    }

    fn is_typing(&self, now: Timestamp) -> bool {
        self.typing_until.is_some_and(|until| now < until)
    }

    fn is_online(&self, now: Timestamp) -> bool {
        let in_grace = self.left_at.is_some_and(|at| now < at + GRACE);
        let elsewhere = self.elsewhere.iter().any(|(_, until)| now < *until);
        self.seats > 0 || in_grace || elsewhere || self.is_typing(now)
    }

    /// Was there at this moment.
    fn seen(&mut self, at: Timestamp) {
        self.seen_at = self.seen_at.max(Some(at));
    }

    /// Ends what is over. Whether that is to be said to the other nodes, and whether anything has ended.
    fn settle(&mut self, now: Timestamp) -> (Option<Said>, bool) {
        let (mut said, mut ended) = (None, false);
        if let Some(at) = self.left_at.filter(|at| *at + GRACE <= now) {
            self.left_at = None;
            self.seen(at);
            (said, ended) = (Some(Said::Gone { seen_ms: at.timestamp_millis() }), true);
        }
        let mut over = None;
        self.elsewhere.retain(|(_, until)| {
            let lasts = now < *until;
            if !lasts {
                over = over.max(Some(*until - LIFETIME));
            }
            lasts
        });
        if let Some(at) = over {
            self.seen(at);
            ended = true;
        }
        if self.typing_until.is_some_and(|until| until <= now) {
            self.typing_until = None;
            self.seen(now);
            ended = true;
        }
        (said, ended)
    }

    /// Whether anything is left to know of them.
    fn is_of_interest(&self, now: Timestamp) -> bool {
        let remembered = self.seen_at.is_some_and(|at| now < at + REMEMBERED);
        self.is_here() || !self.elsewhere.is_empty() || self.typing_until.is_some() || remembered
    }
}

impl Book {
    /// An empty one of this node.
    pub(super) fn new(node: u64) -> Self {
        Self { node, rooms: HashMap::new(), people: 0, ticks: 0, asked: 0 }
    }

    /// Whose it is.
    pub(super) const fn node(&self) -> u64 {
        self.node
    }

    /// How many places it keeps.
    pub(super) const fn people(&self) -> usize {
        self.people
    }

    /// Somebody takes a seat here. Returns what the other nodes should know.
    pub(super) fn arrive(&mut self, conversation: ConversationId, user: UserId) -> Result<Option<Word>, NoRoom> {
        let person = self.person(conversation, user).ok_or(NoRoom)?;
        let was_here = person.is_here();
        person.seats += 1;
        person.left_at = None;
        Ok((!was_here).then(|| word(conversation, user, Said::Here)))
    }

    /// One of their seats goes. The others are told when the grace is over.
    pub(super) fn leave(&mut self, conversation: ConversationId, user: UserId, now: Timestamp) {
        let Some(person) = self.known(conversation, user) else { return };
        person.seats = person.seats.saturating_sub(1);
        if person.seats == 0 {
            person.left_at = Some(now);
        }
    }

    /// They write here, or do no more. Returns what the other nodes should know; nothing, where nothing has changed or it
    /// was said a moment ago.
    pub(super) fn signal(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        typing: bool,
        now: Timestamp,
    ) -> Option<Word> {
        let person = if typing { self.person(conversation, user)? } else { self.known(conversation, user)? };
        if typing {
            if person.signalled_at.is_some_and(|at| now < at + THROTTLE) {
                return None;
            }
            person.signalled_at = Some(now);
            person.typing_until = Some(now + TYPING);
        } else {
            if !person.is_typing(now) {
                return None;
            }
            person.typing_until = None;
            person.seen(now);
        }
        Some(word(conversation, user, Said::Typing(typing)))
    }

    /// What another node says. Whether anything has changed by it.
    pub(super) fn hear(&mut self, node: u64, Word { conversation, user, said }: Word, now: Timestamp) -> bool {
        let (conversation, user) = (conversation.into(), user.into());
        let person = match said {
            Said::Here | Said::Typing(true) => self.person(conversation, user),
            Said::Gone { .. } | Said::Typing(false) => self.known(conversation, user),
        };
        let Some(person) = person else { return false };
        let was = (person.is_online(now), person.is_typing(now));
        match said {
            Said::Here => {
                person.elsewhere.retain(|(other, _)| *other != node);
                person.elsewhere.push((node, now + LIFETIME));
            }
            Said::Gone { seen_ms } => {
                person.elsewhere.retain(|(other, _)| *other != node);
                let seen = DateTime::from_timestamp_millis(seen_ms).unwrap_or(now);
                person.seen(seen.min(now));
            }
            Said::Typing(true) => person.typing_until = Some(now + TYPING),
            Said::Typing(false) => {
                person.typing_until = None;
                person.seen(now);
            }
        }
        was != (person.is_online(now), person.is_typing(now))
    }

    /// Somebody new wants to know who is here.
    pub(super) fn asked(&mut self) {
        self.asked = PARTS_ASKED;
    }

    /// Ends what is over, to be called twice a second. Returns what the other nodes should know, and the conversations in
    /// which something has changed.
    pub(super) fn tick(&mut self, now: Timestamp) -> (Vec<Word>, HashSet<ConversationId>) {
        self.ticks += 1;
        let parts = if self.asked > 0 { PARTS_ASKED } else { PARTS };
        let turn = self.ticks % parts;
        self.asked = self.asked.saturating_sub(1);
        let (mut words, mut changed) = (Vec::new(), HashSet::new());
        self.rooms.retain(|conversation, room| {
            // The last bits of an id are random.
            let has_turn = (Uuid::from(*conversation).as_u128() % u128::from(parts)) == u128::from(turn);
            for person in room.iter_mut() {
                let (said, ended) = person.settle(now);
                if ended {
                    changed.insert(*conversation);
                }
                let said = said.or_else(|| (has_turn && person.is_here()).then_some(Said::Here));
                words.extend(said.map(|said| word(*conversation, person.user, said)));
            }
            room.retain(|person| person.is_of_interest(now));
            !room.is_empty()
        });
        self.people = self.rooms.values().map(SmallVec::len).sum();
        (words, changed)
    }

    /// How somebody is there.
    pub(super) fn state(&self, conversation: ConversationId, user: UserId, now: Timestamp) -> State {
        let room = self.rooms.get(&conversation);
        let person = room.and_then(|room| room.iter().find(|person| person.user == user));
        let online = person.is_some_and(|person| person.is_online(now));
        let last_seen_at = person.filter(|_| !online).and_then(|person| {
            // What is over and was not looked at yet.
            let left = person.left_at.max(person.elsewhere.iter().map(|(_, until)| *until - LIFETIME).max());
            person.seen_at.max(left)
        });
        State { user, online, last_seen_at, typing: person.is_some_and(|person| person.is_typing(now)) }
    }

    fn known(&mut self, conversation: ConversationId, user: UserId) -> Option<&mut Person> {
        self.rooms.get_mut(&conversation)?.iter_mut().find(|person| person.user == user)
    }

    /// Their place, a new one if need be; none if there is no room.
    fn person(&mut self, conversation: ConversationId, user: UserId) -> Option<&mut Person> {
        if self.known(conversation, user).is_none() {
            if self.people >= MOST_PEOPLE {
                return None;
            }
            self.rooms.entry(conversation).or_default().push(Person::new(user));
            self.people += 1;
        }
        self.known(conversation, user)
    }
}

fn word(conversation: ConversationId, user: UserId, said: Said) -> Word {
    Word { conversation: conversation.into(), user: user.into(), said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    struct Scene {
        conversation: ConversationId,
        ada: UserId,
        now: Timestamp,
        one: Book,
        two: Book,
    }

    impl Scene {
        fn new() -> Self {
            let ids = Ids::seeded(Clock::system(), 1);
            let now = Clock::system().now();
            Self { conversation: ids.next(), ada: ids.next(), now, one: Book::new(1), two: Book::new(2) }
        }

        /// Time passes at the first node, which tells the second what it should know, and there.
        fn pass(&mut self, time: TimeDelta) {
            let until = self.now + time;
            while self.now < until {
                self.now += TimeDelta::milliseconds(500);
                for word in self.one.tick(self.now).0 {
                    self.two.hear(1, word, self.now);
                }
                for word in self.two.tick(self.now).0 {
                    self.one.hear(2, word, self.now);
                }
            }
        }

        fn online(&self) -> [bool; 2] {
            [&self.one, &self.two].map(|book| book.state(self.conversation, self.ada, self.now).online)
        }

        fn arrive(&mut self) {
            if let Some(word) = self.one.arrive(self.conversation, self.ada).expect("room") {
                self.two.hear(1, word, self.now);
            }
        }
    }

    #[test]
    fn who_has_several_tabs_is_there_until_fifteen_seconds_after_the_last() {
        let mut scene = Scene::new();
        let Scene { conversation, ada, .. } = scene;
        scene.arrive();
        assert_eq!(scene.one.arrive(conversation, ada), Ok(None), "a second tab is nobody's news");
        assert_eq!(scene.online(), [true, true]);
        scene.one.leave(conversation, ada, scene.now);
        scene.pass(TimeDelta::minutes(2));
        assert_eq!(scene.online(), [true, true], "said again and again");
        let left = scene.now;
        scene.one.leave(conversation, ada, scene.now);
        scene.pass(GRACE - TimeDelta::seconds(1));
        assert_eq!(scene.online(), [true, true]);
        scene.pass(TimeDelta::seconds(1));
        assert_eq!(scene.online(), [false, false]);
        for book in [&scene.one, &scene.two] {
            assert_eq!(book.state(conversation, ada, scene.now).last_seen_at, Some(left));
        }
        scene.pass(REMEMBERED);
        assert_eq!((scene.one.people(), scene.two.people()), (0, 0), "nothing stays");
    }

    #[test]
    fn who_comes_back_in_time_was_never_away() {
        let mut scene = Scene::new();
        let Scene { conversation, ada, .. } = scene;
        scene.arrive();
        scene.one.leave(conversation, ada, scene.now);
        scene.pass(TimeDelta::seconds(10));
        assert_eq!(scene.one.arrive(conversation, ada), Ok(None));
        scene.pass(TimeDelta::seconds(30));
        assert_eq!(scene.online(), [true, true]);
    }

    #[test]
    fn the_people_of_a_dead_node_go_within_thirty_seconds() {
        let mut scene = Scene::new();
        scene.arrive();
        scene.pass(TimeDelta::seconds(20));
        // From here on the first node says nothing.
        let died = scene.now;
        let mut gone = None;
        for step in 1..=80 {
            scene.now = died + TimeDelta::milliseconds(500 * step);
            let (_, changed) = scene.two.tick(scene.now);
            gone = gone.or((!changed.is_empty()).then_some(scene.now - died));
        }
        let gone = gone.expect("they go");
        assert!(gone > TimeDelta::seconds(15) && gone <= LIFETIME, "{gone}");
    }

    #[test]
    fn who_asks_is_told_within_two_seconds() {
        let mut scene = Scene::new();
        scene.arrive();
        scene.two = Book::new(2);
        scene.one.asked();
        scene.pass(TimeDelta::seconds(2));
        assert_eq!(scene.online(), [true, true]);
    }

    #[test]
    fn writing_ends_by_itself_and_is_not_said_too_often() {
        let mut scene = Scene::new();
        let Scene { conversation, ada, now, .. } = scene;
        let said = |typing| Some(word(conversation, ada, Said::Typing(typing)));
        assert_eq!(scene.one.signal(conversation, ada, false, now), None, "nothing to end");
        assert_eq!(scene.one.signal(conversation, ada, true, now), said(true));
        assert_eq!(scene.one.signal(conversation, ada, true, now + TimeDelta::seconds(1)), None);
        assert!(scene.two.hear(1, said(true).expect("a word"), now));
        let typing = |book: &Book, at| book.state(conversation, ada, at).typing;
        for book in [&scene.one, &scene.two] {
            assert!(typing(book, now + TimeDelta::milliseconds(5_999)) && !typing(book, now + TYPING));
        }
        assert_eq!(scene.one.signal(conversation, ada, true, now + THROTTLE), said(true));
        assert_eq!(scene.one.signal(conversation, ada, false, now + THROTTLE), said(false));
        assert_eq!(scene.one.signal(conversation, ada, false, now + THROTTLE), None, "it has ended");
        let (words, changed) = scene.two.tick(now + TYPING);
        assert_eq!((words, changed.len()), (Vec::new(), 1));
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let ids = Ids::seeded(Clock::system(), 2);
        let now = Clock::system().now();
        let mut book = Book::new(1);
        for _ in 0..MOST_PEOPLE {
            book.arrive(ids.next(), ids.next()).expect("room");
        }
        assert_eq!(book.arrive(ids.next(), ids.next()), Err(NoRoom));
        assert!(!book.hear(2, word(ids.next(), ids.next(), Said::Here), now));
        assert_eq!(book.people(), MOST_PEOPLE);
    }
}
