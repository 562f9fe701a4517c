//! How much each caller subscribes to: the number of different selections and filters, and the memory kept for them.
//!
//! Owns the limits of [`AskingSettings`]. A caller is a user and an address, and both are counted; addresses by their
//! networks ([`network`]). Two subscriptions of one caller to the same selection count as one *group*, and with the
//! same arguments as one *filter*: a group costs an execution and a filter a comparison for each event, however many
//! subscribe. Memory is weighed when it is allocated and counted for the caller that caused it, until that subscription
//! ends.
//!
//! Invariants: what [`Askers::note`] adds, [`Askers::forget`] subtracts with the same numbers, so a caller without a
//! subscription takes no memory; nothing is noted that [`Askers::admit`] has not accepted under the same lock. Called
//! by the hub, under its lock.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
};

use serde::Deserialize;
use tokio::sync::Semaphore;

use super::charges::REPLAYS;
use crate::{
    auth::actor::Origin,
    ids::UserId,
    network::{self, Network},
};

/// What any subscription takes in memory, beside its selection and its filter: its place in its group, its outlet, its
/// entry in the table of its socket. Measured with 100,000 of them: about 900 bytes.
const SUBSCRIPTION: usize = 1024;

/// How much one caller may ask of delivery at a time, at each node. `config/default.toml` documents the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskingSettings {
    /// Different selections of one user.
    pub groups_per_user: NonZeroU32,
    /// Different selections from one address.
    pub groups_per_address: NonZeroU32,
    /// Different selections with their arguments of one user.
    pub filters_per_user: NonZeroU32,
    /// Different selections with their arguments from one address.
    pub filters_per_address: NonZeroU32,
    /// Bytes kept for one user.
    pub bytes_per_user: NonZeroU32,
    /// Bytes kept for one address.
    pub bytes_per_address: NonZeroU32,
    /// Bytes kept for all.
    pub bytes: NonZeroU32,
}

impl Default for AskingSettings {
    fn default() -> Self {
        const fn limit(value: u32) -> NonZeroU32 {
            NonZeroU32::new(value).expect("a literal above zero")
        }
        const {
            Self {
                groups_per_user: limit(50),
                groups_per_address: limit(100),
                filters_per_user: limit(200),
                filters_per_address: limit(1_000),
                bytes_per_user: limit(4 * 1024 * 1024),
                bytes_per_address: limit(16 * 1024 * 1024),
                bytes: limit(256 * 1024 * 1024),
            }
        }
    }
}

/// Why one more subscription was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// As many different selections as the caller may have.
    #[error(
        "{whose} open subscriptions have {limit} different selections, and no more are executed for one {of} \
         ({setting}). Select the same fields in several subscriptions, which counts once, or end one first.",
        whose = .0.whose(), of = .0.noun(), setting = .0.setting("groups"), limit = .1
    )]
    Groups(Whose, u32),
    /// As many different filters as the caller may have.
    #[error(
        "{whose} open subscriptions ask for {limit} different filters, and no more are looked at for one {of} \
         ({setting}). Use one wider filter in place of several, or end a subscription first.",
        whose = .0.whose(), of = .0.noun(), setting = .0.setting("filters"), limit = .1
    )]
    Filters(Whose, u32),
    /// As many bytes as may be kept.
    #[error(
        "{whose} open subscriptions would keep more than {limit} bytes in memory ({setting}). Send shorter documents \
         and variables, or end a subscription first.",
        whose = .0.whose(), setting = .0.setting("bytes"), limit = .1
    )]
    Bytes(Whose, u32),
}

/// Whose limit it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The user's.
    User,
    /// The address's.
    Address,
    /// Everybody's together.
    All,
}

impl Whose {
    const fn whose(self) -> &'static str {
        match self {
            Self::User => "Your",
            Self::Address => "Your address's",
            Self::All => "All",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Address => "address",
            Self::All => "node",
        }
    }

    fn setting(self, of: &str) -> String {
        match self {
            Self::User => format!("subscriptions.{of}_per_user"),
            Self::Address => format!("subscriptions.{of}_per_address"),
            Self::All => format!("subscriptions.{of}"),
        }
    }
}

impl TooMuch {
    /// The label of a metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Groups(..) => "groups",
            Self::Filters(..) => "filters",
            Self::Bytes(..) => "bytes",
        }
    }
}

/// Who subscribes, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    user: Option<UserId>,
    address: IpAddr,
}

impl Asker {
    pub(super) fn of(viewer: &Origin) -> Self {
        Self { user: viewer.actor.user(), address: viewer.address }
    }
}

/// What one more subscription asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// The number of its group, if there is one already.
    pub(super) group: Option<u64>,
    /// The number of its section, if there is one already.
    pub(super) section: Option<u64>,
    /// What is kept for it in memory.
    pub(super) bytes: usize,
}

/// What a subscription has been counted as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    asker: Asker,
    group: u64,
    section: u64,
    bytes: usize,
}

/// All who subscribe.
#[derive(Debug, Default)]
pub(super) struct Askers {
    users: HashMap<UserId, Asked>,
    networks: HashMap<Network, Asked>,
    /// The turns of those who replay, of each network of one subscriber.
    replays: HashMap<Network, Arc<Semaphore>>,
    bytes: usize,
}

/// What one caller has asked for. Few numbers, in no order: looking through them costs less than a table of their own.
#[derive(Debug, Default)]
struct Asked {
    /// Of groups, with how many subscriptions.
    groups: Vec<(u64, u32)>,
    /// Of sections.
    sections: Vec<(u64, u32)>,
    bytes: usize,
}

impl Askers {
    /// What a subscription keeps in memory, with what its selection and its filter take where they are new.
    pub(super) const fn weigh(selection: usize, filter: usize) -> usize {
        SUBSCRIPTION + selection + filter
    }

    /// Whether one more is admitted.
    pub(super) fn admit(&self, asker: Asker, wish: Wish, settings: &AskingSettings) -> Result<(), TooMuch> {
        let nothing = Asked::default();
        if let Some(user) = asker.user {
            let held = self.users.get(&user).unwrap_or(&nothing);
            let limits = (settings.groups_per_user, settings.filters_per_user, settings.bytes_per_user);
            held.admit(wish, Whose::User, 1, limits)?;
        }
        let limits = (settings.groups_per_address, settings.filters_per_address, settings.bytes_per_address);
        for level in network::Level::of(asker.address) {
            let held = self.networks.get(&level.network).unwrap_or(&nothing);
            held.admit(wish, Whose::Address, level.times, limits)?;
        }
        within(self.bytes + wish.bytes, settings.bytes).map_err(|limit| TooMuch::Bytes(Whose::All, limit))
    }

    /// Counts one that was admitted. Returns with it the turns of its address's replays.
    pub(super) fn note(&mut self, asker: Asker, group: u64, section: u64, bytes: usize) -> (Noted, Arc<Semaphore>) {
        let noted = Noted { asker, group, section, bytes };
        if let Some(user) = asker.user {
            self.users.entry(user).or_default().note(&noted);
        }
        for level in network::Level::of(asker.address) {
            self.networks.entry(level.network).or_default().note(&noted);
        }
        let new = || Arc::new(Semaphore::new(REPLAYS));
        let replays = Arc::clone(self.replays.entry(Network::of(asker.address)).or_insert_with(new));
        self.bytes += bytes;
        self.gauge();
        (noted, replays)
    }

    /// Takes back what was counted.
    pub(super) fn forget(&mut self, noted: &Noted) {
        if let Some(user) = noted.asker.user
            && let Entry::Occupied(mut asked) = self.users.entry(user)
            && asked.get_mut().forget(noted)
        {
            asked.remove();
        }
        for level in network::Level::of(noted.asker.address) {
            if let Entry::Occupied(mut asked) = self.networks.entry(level.network)
                && asked.get_mut().forget(noted)
            {
                asked.remove();
                self.replays.remove(&level.network);
            }
        }
        self.bytes = self.bytes.saturating_sub(noted.bytes);
        self.gauge();
    }

    fn gauge(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 52 bits")]
        metrics::gauge!("lancewire_subscription_bytes").set(self.bytes as f64);
    }
}

impl Asked {
    fn admit(
        &self,
        wish: Wish,
        whose: Whose,
        times: u32,
        (groups, filters, bytes): (NonZeroU32, NonZeroU32, NonZeroU32),
    ) -> Result<(), TooMuch> {
        let one_more = |among: &[(u64, u32)], number: Option<u64>| {
            among.len() + usize::from(number.is_none_or(|number| among.iter().all(|(other, _)| *other != number)))
        };
        let limit = |limit: NonZeroU32| limit.saturating_mul(NonZeroU32::new(times).unwrap_or(NonZeroU32::MIN));
        within(one_more(&self.groups, wish.group), limit(groups)).map_err(|limit| TooMuch::Groups(whose, limit))?;
        within(one_more(&self.sections, wish.section), limit(filters))
            .map_err(|limit| TooMuch::Filters(whose, limit))?;
        within(self.bytes + wish.bytes, limit(bytes)).map_err(|limit| TooMuch::Bytes(whose, limit))
    }

    fn note(&mut self, noted: &Noted) {
        count_up(&mut self.groups, noted.group);
        count_up(&mut self.sections, noted.section);
        self.bytes += noted.bytes;
    }

    /// True if nothing is left.
    fn forget(&mut self, noted: &Noted) -> bool {
        count_down(&mut self.groups, noted.group);
        count_down(&mut self.sections, noted.section);
        self.bytes = self.bytes.saturating_sub(noted.bytes);
        self.groups.is_empty()
    }
}

fn within(actual: usize, limit: NonZeroU32) -> Result<(), u32> {
    if actual <= usize::try_from(limit.get()).unwrap_or(usize::MAX) { Ok(()) } else { Err(limit.get()) }
}

fn count_up(among: &mut Vec<(u64, u32)>, number: u64) {
    match among.iter_mut().find(|(other, _)| *other == number) {
        Some((_, count)) => *count += 1,
        None => among.push((number, 1)),
    }
}

fn count_down(among: &mut Vec<(u64, u32)>, number: u64) {
    if let Some(place) = among.iter().position(|(other, _)| *other == number) {
        among[place].1 -= 1;
        if among[place].1 == 0 {
            among.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::actor::{Actor, Principal, Roles},
        clock::Clock,
        ids::Ids,
    };

    fn limit(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).expect("above zero")
    }

    fn settings() -> AskingSettings {
        AskingSettings {
            groups_per_user: limit(2),
            groups_per_address: limit(3),
            filters_per_user: limit(3),
            filters_per_address: limit(4),
            bytes_per_user: limit(1_000),
            bytes_per_address: limit(2_000),
            bytes: limit(3_000),
        }
    }

    fn anonymous(last: u8) -> Asker {
        Asker::of(&Origin { actor: Actor::Anonymous, address: [192, 0, 2, last].into() })
    }

    fn user(ids: &Ids, last: u8) -> Asker {
        let expires_at = Clock::system().now();
        let principal =
            Principal { user: ids.next(), session: ids.next(), roles: Roles::default(), expires_at, commits: None };
        Asker::of(&Origin { actor: Actor::User(principal), address: [192, 0, 2, last].into() })
    }

    #[test]
    fn different_selections_and_filters_are_limited_for_a_user_and_above_them_for_an_address() {
        let (mut askers, settings, ids) = (Askers::default(), settings(), Ids::seeded(Clock::system(), 1));
        let (ada, ben) = (user(&ids, 1), user(&ids, 1));
        let ask =
            |askers: &Askers, asker, group, section| askers.admit(asker, Wish { group, section, bytes: 1 }, &settings);
        let mut noted = vec![askers.note(ada, 1, 1, 1).0, askers.note(ada, 2, 2, 1).0, askers.note(ada, 2, 2, 1).0];
        assert_eq!(ask(&askers, ada, Some(2), Some(2)), Ok(()), "the same once more is no other");
        assert_eq!(ask(&askers, ada, None, None), Err(TooMuch::Groups(Whose::User, 2)));
        assert_eq!(ask(&askers, ada, Some(2), None), Ok(()));
        noted.push(askers.note(ada, 2, 3, 1).0);
        assert_eq!(ask(&askers, ada, Some(2), None), Err(TooMuch::Filters(Whose::User, 3)));
        assert_eq!(ask(&askers, ben, None, None), Ok(()), "one more of that address");
        noted.push(askers.note(ben, 3, 4, 1).0);
        assert_eq!(ask(&askers, ben, None, None), Err(TooMuch::Groups(Whose::Address, 3)));
        assert_eq!(ask(&askers, ben, Some(3), None), Err(TooMuch::Filters(Whose::Address, 4)));
        assert_eq!(ask(&askers, ben, Some(1), Some(1)), Ok(()), "what others of the address have is no other to it");
        assert_eq!(ask(&askers, anonymous(2), None, None), Ok(()), "another address");
        for noted in &noted {
            askers.forget(noted);
        }
        assert!(
            askers.users.is_empty() && askers.networks.is_empty() && askers.replays.is_empty() && askers.bytes == 0
        );
    }

    #[test]
    fn what_is_kept_is_limited_for_each_and_for_all() {
        let (mut askers, settings, ids) = (Askers::default(), settings(), Ids::seeded(Clock::system(), 1));
        let ask = |askers: &Askers, asker, bytes| {
            askers.admit(asker, Wish { group: Some(1), section: Some(1), bytes }, &settings)
        };
        let ada = user(&ids, 1);
        assert_eq!(ask(&askers, ada, 1_001), Err(TooMuch::Bytes(Whose::User, 1_000)));
        let _ = askers.note(ada, 1, 1, 1_000);
        let _ = askers.note(anonymous(1), 1, 1, 900);
        assert_eq!(ask(&askers, anonymous(1), 101), Err(TooMuch::Bytes(Whose::Address, 2_000)));
        let _ = askers.note(anonymous(2), 1, 1, 1_000);
        assert_eq!(ask(&askers, anonymous(3), 101), Err(TooMuch::Bytes(Whose::All, 3_000)));
        assert_eq!(ask(&askers, anonymous(3), 100), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_limit_and_the_fix() {
        for (refusal, expected) in [
            (
                TooMuch::Groups(Whose::User, 50),
                "50 different selections, and no more are executed for one user (subscriptions.groups_per_user). Select the same",
            ),
            (
                TooMuch::Filters(Whose::Address, 9),
                "9 different filters, and no more are looked at for one address (subscriptions.filters_per_address). Use one wider",
            ),
            (TooMuch::Bytes(Whose::All, 7), "more than 7 bytes in memory (subscriptions.bytes). Send shorter"),
        ] {
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
    }
}
