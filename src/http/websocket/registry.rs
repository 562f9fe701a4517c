//! Which sockets are open, whose they are, and how all are closed.
//!
//! Invariants: a socket is counted from before its 101 until its [`SocketSeat`] is dropped, once for its address and,
//! after its `connection_init`, once for its user; no count outlives its seats; after [`Registry::close_all`] has
//! started, no seat is given. axum runs upgraded sockets in detached tasks, so its graceful shutdown neither waits for
//! nor closes them: this does. Also draws the maximum age of each (`max_age_ms`, plus or minus a tenth), so that after
//! a deploy clients spread over the nodes again; the owner of a seat asks [`SocketSeat::is_too_old`] when it wakes
//! anyway. Called by the upgrade and by the session. Streams over HTTP take seats here too, so that one limit covers
//! both, and are closed in the same batches.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{metrics::Counted, settings::SocketSettings};
use crate::{
    ids::{Ids, UserId},
    network::{Level, Network},
};

/// The pause between two batches of goodbyes.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// How exactly an age is known.
const MOMENT: Duration = Duration::from_millis(100);

/// The open sockets. Clones share them.
#[derive(Clone)]
pub(super) struct Registry(Arc<Inner>);

struct Inner {
    /// None for any age.
    max_age: Option<Duration>,
    ids: Ids,
    began: Instant,
    per_address: u32,
    per_user: u32,
    state: Mutex<State>,
    /// No seat is taken, and none is given any more.
    emptied: Notify,
}

/// Sockets that may be turned away at a time, and of one address.
const TURNED_AWAY: (usize, u32) = (256, 8);

#[derive(Default)]
struct State {
    stopping: bool,
    last: u64,
    seats: HashMap<u64, CancellationToken>,
    addresses: HashMap<Network, u32>,
    users: HashMap<UserId, u32>,
    /// Sockets without a seat, which are being told so.
    turned_away: HashMap<Network, u32>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum NoSeat {
    /// The address, or the user, has as many sockets as it may have.
    Full,
    /// The process stops.
    Stopping,
}

/// One open socket; dropping it gives its place back.
pub(in crate::http) struct SocketSeat {
    registry: Registry,
    number: u64,
    address: IpAddr,
    user: Option<UserId>,
    /// When it is too old, in [`MOMENT`]s after the registry began: as small as that, it takes no room of its own.
    retires: u32,
    leave: CancellationToken,
    _counted: Counted,
}

impl Registry {
    pub(super) fn new(settings: &SocketSettings, ids: Ids) -> Self {
        Self(Arc::new(Inner {
            max_age: settings.max_age(),
            ids,
            began: Instant::now(),
            per_address: settings.sockets_per_address.get(),
            per_user: settings.sockets_per_user.get(),
            state: Mutex::default(),
            emptied: Notify::new(),
        }))
    }

    /// A place for one more socket from `address`.
    pub(super) fn admit(&self, address: IpAddr) -> Result<SocketSeat, NoSeat> {
        self.admit_as(address, Counted::socket)
    }

    /// A place for anything that lasts.
    pub(super) fn admit_as(&self, address: IpAddr, counted: impl FnOnce() -> Counted) -> Result<SocketSeat, NoSeat> {
        let address = Network::of(address).address();
        let mut state = self.state();
        if state.stopping {
            return Err(NoSeat::Stopping);
        }
        count_in_networks(&mut state.addresses, address, self.0.per_address)?;
        state.last += 1;
        let (number, leave) = (state.last, CancellationToken::new());
        state.seats.insert(number, leave.clone());
        drop(state);
        let retires = self.0.retires(self.0.now());
        Ok(SocketSeat { registry: self.clone(), number, address, user: None, retires, leave, _counted: counted() })
    }

    /// A place to tell a socket from `address` that there is no seat; none where so many are being told that one more is
    /// better refused at once.
    pub(super) fn turn_away(&self, address: IpAddr) -> Option<TurnedAway> {
        let address = Network::of(address);
        let mut state = self.state();
        let (most, of_one) = TURNED_AWAY;
        let total: usize = state.turned_away.values().map(|count| *count as usize).sum();
        if total >= most {
            return None;
        }
        count_up(&mut state.turned_away, address, of_one).ok()?;
        drop(state);
        Some(TurnedAway { registry: self.clone(), address })
    }

    /// How many sockets are open.
    pub(super) fn len(&self) -> usize {
        self.state().seats.len()
    }

    /// Admits nobody from now on and tells every socket to leave, in equal batches spread over `drain`.
    ///
    /// The first batch goes at once and a batch is at least one socket, so a node with few sockets is quickly empty.
    /// Returns when all are notified; each socket's own task, which the lifecycle waits for, does the rest.
    pub(super) async fn close_all(&self, drain: Duration) {
        let total = {
            let mut state = self.state();
            state.stopping = true;
            state.seats.len()
        };
        let batch = batch_size(total, drain);
        let mut pace = tokio::time::interval(BATCH_INTERVAL);
        loop {
            pace.tick().await;
            let told: Vec<CancellationToken> =
                self.state().seats.values().filter(|leave| !leave.is_cancelled()).take(batch).cloned().collect();
            if told.is_empty() {
                return;
            }
            // Outside the lock: cancelling wakes tasks.
            told.iter().for_each(CancellationToken::cancel);
        }
    }

    /// Completes when the last seat is given back. After [`Registry::close_all`].
    pub(super) async fn emptied(&self) {
        loop {
            // Listening begins before looking.
            let emptied = self.0.emptied.notified();
            if self.state().seats.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything can panic.
        self.0.state.lock()
    }
}

impl Inner {
    fn now(&self) -> u32 {
        // Enough for 13 years.
        u32::try_from(self.began.elapsed().as_millis() / MOMENT.as_millis()).unwrap_or(u32::MAX)
    }

    /// When a seat that is given now is too old.
    fn retires(&self, now: u32) -> u32 {
        let Some(max_age) = self.max_age else { return u32::MAX };
        let moments = u32::try_from(max_age.as_millis() / MOMENT.as_millis()).unwrap_or(u32::MAX);
        let tenth = moments / 10;
        let drawn = u32::try_from(self.ids.below(u64::from(tenth) * 2 + 1)).unwrap_or(tenth);
        now.saturating_add((moments - tenth).saturating_add(drawn).max(1))
    }
}

impl SocketSeat {
    /// Whether it is time to leave, as if the process stopped: the client comes back, perhaps to another node.
    pub(in crate::http) fn is_too_old(&self) -> bool {
        self.retires != u32::MAX && self.registry.0.now() >= self.retires
    }

    /// Counts the socket for `user`, once.
    pub(in crate::http) fn belongs_to(&mut self, user: UserId) -> Result<(), NoSeat> {
        if self.user.is_none() {
            count_up(&mut self.registry.state().users, user, self.registry.0.per_user)?;
            self.user = Some(user);
        }
        Ok(())
    }

    /// Completes when the socket is told to leave. Cancel safe.
    pub(in crate::http) async fn told_to_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for SocketSeat {
    fn drop(&mut self) {
        let mut state = self.registry.state();
        state.seats.remove(&self.number);
        for level in Level::of(self.address) {
            count_down(&mut state.addresses, level.network);
        }
        if let Some(user) = self.user {
            count_down(&mut state.users, user);
        }
        if state.stopping && state.seats.is_empty() {
            self.registry.0.emptied.notify_one();
        }
    }
}

/// A socket without a seat; dropping it makes room to tell another one.
pub(super) struct TurnedAway {
    registry: Registry,
    address: Network,
}

impl Drop for TurnedAway {
    fn drop(&mut self) {
        count_down(&mut self.registry.state().turned_away, self.address);
    }
}

/// How many of `total` sockets are notified at a time.
fn batch_size(total: usize, drain: Duration) -> usize {
    let batches = usize::try_from(drain.as_millis() / BATCH_INTERVAL.as_millis()).unwrap_or(usize::MAX);
    total.div_ceil(batches.max(1))
}

/// Counts one more in all networks of an address, or in none.
fn count_in_networks(counts: &mut HashMap<Network, u32>, address: IpAddr, limit: u32) -> Result<(), NoSeat> {
    let full =
        |level: Level| counts.get(&level.network).is_some_and(|count| *count >= limit.saturating_mul(level.times));
    if Level::of(address).any(full) {
        return Err(NoSeat::Full);
    }
    for level in Level::of(address) {
        *counts.entry(level.network).or_default() += 1;
    }
    Ok(())
}

fn count_up<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K, limit: u32) -> Result<(), NoSeat> {
    match counts.entry(key) {
        Entry::Occupied(count) if *count.get() >= limit => Err(NoSeat::Full),
        entry => {
            *entry.or_default() += 1;
            Ok(())
        }
    }
}

fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, num::NonZeroU32};

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn seats_get_old_at_different_times_around_the_age_that_is_set() {
        let settings = SocketSettings { max_age_ms: 100_000, ..SocketSettings::default() };
        let registry = Registry::new(&settings, Ids::seeded(Clock::system(), 1));
        let mut ages: Vec<u32> = (0..1_000).map(|_| registry.0.retires(7) - 7).collect();
        ages.sort_unstable();
        assert!(ages[0] >= 900 && ages[999] <= 1_100, "{} to {}", ages[0], ages[999]);
        assert!(ages[100] <= 930 && (980..=1_020).contains(&ages[500]) && ages[900] >= 1_070, "evenly");

        let ageless = SocketSettings { max_age_ms: 0, ..SocketSettings::default() };
        assert_eq!(Registry::new(&ageless, Ids::seeded(Clock::system(), 1)).0.retires(7), u32::MAX);
        assert_eq!(size_of::<SocketSeat>(), 88, "one for each idle socket, and no larger than without an age");
    }

    fn registry(per_address: u32, per_user: u32) -> Registry {
        Registry::new(
            &SocketSettings {
                sockets_per_address: NonZeroU32::new(per_address).expect("above zero"),
                sockets_per_user: NonZeroU32::new(per_user).expect("above zero"),
                ..SocketSettings::default()
            },
            Ids::seeded(Clock::system(), 1),
        )
    }

    fn at(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let registry = registry(2, 1);
        let user = UserId::from(uuid::Uuid::from_u128(1));
        let mut one = registry.admit(at("10.0.0.1")).expect("a seat");
        let mut two = registry.admit(at("::ffff:10.0.0.1")).expect("a seat");
        assert_eq!(registry.admit(at("10.0.0.1")).err(), Some(NoSeat::Full));
        drop(registry.admit(at("10.0.0.2")).expect("another address has its own"));
        assert_eq!(one.belongs_to(user), Ok(()));
        assert_eq!(one.belongs_to(user), Ok(()), "counted once");
        assert_eq!(two.belongs_to(user), Err(NoSeat::Full));
        drop(one);
        assert_eq!(two.belongs_to(user), Ok(()));
        drop(two);
        let state = registry.state();
        assert!(state.seats.is_empty() && state.addresses.is_empty() && state.users.is_empty());
    }

    #[test]
    fn only_so_many_are_told_that_there_is_no_seat() {
        let registry = registry(1, 1);
        let one: Vec<TurnedAway> = (0..8).map(|_| registry.turn_away(at("10.0.0.1")).expect("room")).collect();
        assert!(registry.turn_away(at("10.0.0.1")).is_none(), "of one address");
        let others: Vec<TurnedAway> = (0..248)
            .map(|number| registry.turn_away(Ipv4Addr::from_bits(0x0b00_0000 + number).into()).expect("room"))
            .collect();
        assert!(registry.turn_away(at("12.0.0.1")).is_none(), "in all");
        drop(one);
        drop(registry.turn_away(at("10.0.0.1")).expect("room again"));
        drop(others);
        assert!(registry.state().turned_away.is_empty() && registry.len() == 0);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let registry = registry(1, 1);
        let _one = registry.admit(at("2001:db8::1")).expect("a seat");
        assert_eq!(registry.admit(at("2001:db8::2")).err(), Some(NoSeat::Full));
        let _two = registry.admit(at("2001:db8:0:1::1")).expect("another one");
        assert_eq!(registry.admit(at("2001:db8:0:2::1")).err(), Some(NoSeat::Full), "of one /56");
        let _more = [1, 2].map(|net| registry.admit(at(&format!("2001:db8:0:{net}00::1"))).expect("another /56"));
        assert_eq!(registry.admit(at("2001:db8:0:300::1")).err(), Some(NoSeat::Full), "of one /48");
    }

    #[test]
    fn goodbyes_are_spread_over_the_drain_time() {
        let drain = Duration::from_secs(10);
        assert_eq!((batch_size(0, drain), batch_size(1, drain), batch_size(100, drain)), (0, 1, 1));
        assert_eq!((batch_size(101, drain), batch_size(10_000, drain)), (2, 100));
        assert_eq!(batch_size(10_000, Duration::from_millis(1)), 10_000);
    }

    #[tokio::test]
    async fn everyone_is_told_to_leave_and_nobody_comes_in() {
        let registry = registry(100, 100);
        let seats: Vec<SocketSeat> = (0..10).map(|_| registry.admit(at("::1")).expect("a seat")).collect();
        registry.close_all(Duration::from_millis(200)).await;
        assert!(seats.iter().all(|seat| seat.leave.is_cancelled()));
        assert_eq!(registry.admit(at("::1")).err(), Some(NoSeat::Stopping));
        let mut emptied = std::pin::pin!(registry.emptied());
        assert!(futures_util::poll!(emptied.as_mut()).is_pending(), "they have not left yet");
        drop(seats);
        emptied.await;
    }
}
