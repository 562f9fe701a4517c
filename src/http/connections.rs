//! How many connections there may be: in all, and from one address.
//!
//! Owns the count that [`server`](super::server) asks before anything is read from a connection, TLS included. A
//! connection keeps its [`ConnectionSeat`] until it is closed, a socket or a stream too, so the number of open files is
//! bounded by it.
//!
//! - From one IPv4 address, or one /64, `http.connections_per_address`, with more for a /56 and a /48
//!   ([`network`](crate::network)). Trusted proxies bring everybody's connections and are exempt.
//! - In all `http.connections`, or what the limit of open files leaves when the database, the listener and files have
//!   theirs ([`ceiling`]).
//! - Above the ceiling in all, [`RESERVE`] more for trusted proxies and this machine itself, so that those who ask
//!   whether the server is ready get an answer while strangers hold all the others.
//! - One too many is not simply cut: so long as few are, it is told why (429 or 503), or whether the server is ready; see
//!   [`Lane`]. The rest is closed at once.
//!
//! Invariant: no count outlives its seats.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use metrics::{counter, gauge};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::client_address::Proxies;
use crate::network::{Level, Network};

/// Gauge: connections that are open, sockets and streams included.
pub const CONNECTIONS: &str = "lancewire_http_connections";
/// Gauge: how many there may be.
pub const CEILING: &str = "lancewire_http_connections_limit";
/// Counter by `reason` (address, total, head, rate): connections that were refused or cut before their first request.
pub const REFUSED: &str = "lancewire_http_connections_refused_total";

/// Connections of trusted proxies and of this machine itself above the ceiling in all.
const RESERVE: usize = 64;
/// Connections that may be told that there is no room, in all and from one network.
const LANE: (usize, u32) = (64, 4);
/// Files that are always left: the log, the listeners, certificates, keys, a core of the runtime.
const OTHERS: usize = 128;
/// Files that one connection to the database may take: `SQLite` opens the file, its log and its index.
const FOR_DATABASE: usize = 4;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From one IPv4 address or one /64.
    pub per_address: NonZeroU32,
}

/// How many of `wanted` connections there may be in all, where so many files may be open and so many connections lead to
/// databases.
pub fn ceiling(wanted: usize, files: u64, databases: usize) -> usize {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let kept = OTHERS + RESERVE + LANE.0 + databases * FOR_DATABASE;
    // Where next to nothing is left, a quarter: then the rest has to do.
    wanted.min(files.saturating_sub(kept).max(files / 4))
}

/// The open connections. Clones share them.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    limits: ConnectionLimits,
    proxies: Arc<Proxies>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: usize,
    networks: HashMap<Network, u32>,
    lane: usize,
    lane_networks: HashMap<Network, u32>,
}

/// What becomes of a connection.
pub(super) enum Admission {
    /// It is served.
    Served(ConnectionSeat),
    /// There is no room for it, and it is told so.
    TurnedAway(ConnectionSeat, Lane),
    /// There is no room to say so.
    Closed,
}

/// Why there is no room. Such a connection gets one answer: this, or whether the server is ready, if it asks that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The address has as many connections as it may have.
    Address,
    /// There are as many as there may be.
    Total,
}

/// One open connection; dropping it gives its place back.
pub(super) struct ConnectionSeat {
    connections: Connections,
    network: Network,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counted,
    /// Of a trusted proxy: counted in all, and not for its address.
    Exempt,
    TurnedAway,
}

/// Counts a connection of an address that comes faster than it may.
pub(super) fn too_fast() {
    counter!(REFUSED, "reason" => "rate").increment(1);
}

/// Counts a connection that sent no head in time.
pub(super) fn without_head() {
    counter!(REFUSED, "reason" => "head").increment(1);
}

impl Connections {
    /// None yet. `proxies` are exempt from the limit for one address.
    pub fn new(limits: ConnectionLimits, proxies: Arc<Proxies>) -> Self {
        Self(Arc::new(Inner { limits, proxies, state: Mutex::default() }))
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.state().open
    }

    /// How many there may be.
    pub fn limits(&self) -> ConnectionLimits {
        self.0.limits
    }

    /// A place for a connection from `peer`.
    pub(super) fn admit(&self, peer: IpAddr) -> Admission {
        let ConnectionLimits { total, per_address } = self.0.limits;
        let proxy = self.0.proxies.trusts(peer.to_canonical());
        let reserve = if proxy || peer.to_canonical().is_loopback() { RESERVE } else { 0 };
        let mut state = self.state();
        let kind = if proxy { Kind::Exempt } else { Kind::Counted };
        let refused = if state.open >= total + reserve {
            Some(Lane::Total)
        } else if kind == Kind::Counted && !count_up(&mut state.networks, peer, per_address.get()) {
            Some(Lane::Address)
        } else {
            None
        };
        let network = Network::of(peer);
        let seat = |kind| ConnectionSeat { connections: self.clone(), network, kind };
        let Some(lane) = refused else {
            state.open += 1;
            drop(state);
            gauge!(CONNECTIONS).increment(1.0);
            return Admission::Served(seat(kind));
        };
        counter!(REFUSED, "reason" => lane.label()).increment(1);
        let (most, of_one) = LANE;
        if state.lane >= most || !count_up(&mut state.lane_networks, peer, of_one) {
            return Admission::Closed;
        }
        state.lane += 1;
        drop(state);
        Admission::TurnedAway(seat(Kind::TurnedAway), lane)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything can panic.
        self.0.state.lock()
    }
}

impl Lane {
    const fn label(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Total => "total",
        }
    }
}

impl Drop for ConnectionSeat {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        let address = self.network.address();
        if self.kind == Kind::TurnedAway {
            state.lane -= 1;
            count_down(&mut state.lane_networks, address);
            return;
        }
        state.open -= 1;
        if self.kind == Kind::Counted {
            count_down(&mut state.networks, address);
        }
        drop(state);
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// Counts one more in all networks of an address, or in none.
fn count_up(counts: &mut HashMap<Network, u32>, address: IpAddr, limit: u32) -> bool {
    let full =
        |level: Level| counts.get(&level.network).is_some_and(|count| *count >= limit.saturating_mul(level.times));
    if Level::of(address).any(full) {
        return false;
    }
    for level in Level::of(address) {
        *counts.entry(level.network).or_default() += 1;
    }
    true
}

fn count_down(counts: &mut HashMap<Network, u32>, address: IpAddr) {
    for level in Level::of(address) {
        if let Entry::Occupied(mut count) = counts.entry(level.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A TCP connection with the place that it takes.
pub(super) struct Seated {
    tcp: TcpStream,
    _seat: Option<ConnectionSeat>,
}

impl Seated {
    pub(super) const fn new(tcp: TcpStream, seat: ConnectionSeat) -> Self {
        Self { tcp, _seat: Some(seat) }
    }

    /// One that is counted nowhere, for tests.
    #[cfg(test)]
    pub(super) const fn uncounted(tcp: TcpStream) -> Self {
        Self { tcp, _seat: None }
    }

    pub(super) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for Seated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::client_address::ProxyHeader;

    fn connections(total: usize, per_address: u32) -> Connections {
        let proxies = Proxies::new(&["10.0.0.1".to_owned()], ProxyHeader::default()).expect("an address");
        let per_address = NonZeroU32::new(per_address).expect("above zero");
        Connections::new(ConnectionLimits { total, per_address }, Arc::new(proxies))
    }

    /// So many as are served, with their seats.
    fn fill(connections: &Connections, from: &str) -> Vec<ConnectionSeat> {
        let from = from.parse().expect("an address");
        std::iter::from_fn(|| match connections.admit(from) {
            Admission::Served(seat) => Some(seat),
            Admission::TurnedAway(..) | Admission::Closed => None,
        })
        .take(1_000)
        .collect()
    }

    #[test]
    fn an_address_has_so_many_and_a_proxy_as_many_as_there_are() {
        let connections = connections(100, 3);
        let one = fill(&connections, "192.0.2.1");
        assert_eq!(one.len(), 3);
        assert_eq!(fill(&connections, "::ffff:192.0.2.1").len(), 0);
        drop(one);
        assert_eq!(fill(&connections, "192.0.2.1").len(), 3, "given back");
        let nets = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:100::1"];
        let held = nets.map(|net| fill(&connections, net));
        assert_eq!(held.each_ref().map(Vec::len), [3, 0, 3, 0, 3], "a /64, a /56, a /48");
        drop(held);
        assert_eq!(fill(&connections, "10.0.0.1").len(), 100 + RESERVE);
        let state = connections.state();
        assert!(state.open == 0 && state.networks.is_empty() && state.lane == 0 && state.lane_networks.is_empty());
    }

    #[test]
    fn strangers_leave_some_to_those_who_ask_whether_the_server_is_ready() {
        let connections = connections(10, 5);
        let strangers =
            [fill(&connections, "192.0.2.1"), fill(&connections, "192.0.2.2"), fill(&connections, "192.0.2.3")];
        assert_eq!(strangers.each_ref().map(Vec::len), [5, 5, 0]);
        assert!(matches!(connections.admit([127, 0, 0, 1].into()), Admission::Served(_)));
        assert!(matches!(connections.admit([10, 0, 0, 1].into()), Admission::Served(_)));
    }

    #[test]
    fn only_so_many_are_told_that_there_is_no_room() {
        let connections = connections(1, 1);
        let _one = fill(&connections, "192.0.2.1");
        let turned_away = |last: u8| match connections.admit([192, 0, 2, last].into()) {
            Admission::TurnedAway(seat, lane) => Some((seat, lane)),
            Admission::Served(_) | Admission::Closed => None,
        };
        let of_one: Vec<_> = std::iter::from_fn(|| turned_away(1)).collect();
        assert!(of_one.len() == 4 && of_one.iter().all(|(_, lane)| *lane == Lane::Total), "{}", of_one.len());
        let of_all: Vec<_> = (2..=255).filter_map(turned_away).collect();
        assert_eq!(of_all.len(), LANE.0 - 4);
        drop((of_one, of_all));
        assert!(turned_away(9).is_some(), "given back");
    }

    #[test]
    fn files_are_left_for_the_database() {
        assert_eq!(ceiling(50_000, 1_048_576, 16), 50_000);
        assert_eq!(ceiling(50_000, 1_024, 16), 1_024 - OTHERS - RESERVE - LANE.0 - 64);
        assert_eq!(ceiling(50_000, 256, 16), 64, "a quarter, where next to nothing is left");
        assert_eq!(ceiling(10, 256, 16), 10);
    }
}
