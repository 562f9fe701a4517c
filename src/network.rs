//! Which addresses are counted as one.
//!
//! The one home of this question: budgets, failed attempts, sign-ups, connections, sockets and streams all count by it.
//! An IPv4 address counts alone, and so does one that is mapped into IPv6. An IPv6 address counts as its /64, which is
//! what one subscriber has at least; many have a /56 or a /48, so these are counted too, with larger limits
//! ([`Level::of`]). Leaf: knows nobody.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// Addresses that are counted together. Ordered and hashed as it is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network {
    /// The first of them.
    address: IpAddr,
    /// How many bits they have in common.
    bits: u8,
}

/// A network that a limit holds for, and how many times the limit of one subscriber it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The network.
    pub network: Network,
    /// How many times the limit of one subscriber.
    pub times: u32,
}

/// Prefixes of IPv6 beyond one subscriber's /64, and how many times its limit each has.
const WIDER: [(u8, u32); 2] = [(56, 2), (48, 4)];

impl Network {
    /// What one subscriber has: an IPv4 address, or a /64.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address @ IpAddr::V4(_) => Self { address, bits: 32 },
            IpAddr::V6(address) => Self::masked(address, 64),
        }
    }

    /// The first address of it.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    fn masked(address: Ipv6Addr, bits: u8) -> Self {
        let mask = u128::MAX << (128 - u32::from(bits));
        Self { address: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), bits }
    }
}

impl Level {
    /// The networks that something from `address` is counted in, the smallest first: one for IPv4, three for IPv6.
    pub fn of(address: IpAddr) -> impl Iterator<Item = Self> {
        let smallest = Self { network: Network::of(address), times: 1 };
        let wider = match address.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => {
                Some(WIDER.map(|(bits, times)| Self { network: Network::masked(address, bits), times }))
            }
        };
        std::iter::once(smallest).chain(wider.into_iter().flatten())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/{}", self.bits),
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_alone_or_in_three_networks() {
        let levels = |text: &str| {
            let levels = Level::of(text.parse().expect("an address"));
            levels.map(|level| format!("{} x{}", level.network, level.times)).collect::<Vec<_>>()
        };
        assert_eq!(levels("192.0.2.1"), ["192.0.2.1 x1"]);
        assert_eq!(levels("::ffff:192.0.2.1"), ["192.0.2.1 x1"]);
        let networks = ["2001:db8:1:2200::/64 x1", "2001:db8:1:2200::/56 x2", "2001:db8:1::/48 x4"];
        assert_eq!(levels("2001:db8:1:2200::9"), networks);
        assert_eq!(levels("2001:db8:1:22ff::9")[1..], networks[1..]);
    }
}
