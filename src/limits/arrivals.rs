//! How fast one address may come: new connections and requests together.
//!
//! Owns a bucket for each network, which holds [`SECONDS`] seconds' worth of `http.requests_per_second` and from which each
//! connection and each request takes one. Everything else that limits a caller looks at what was asked; this is for what
//! costs us before anybody has looked: accepting, reading a head, writing a refusal, and paths that cost no points. Asked by
//! `http` before anything is read of a connection, which is then closed without an answer, and for each request, which is
//! then answered 429 and its connection closed.
//!
//! Trusted proxies bring everybody's connections and are exempt; their clients' requests are counted by the client's
//! address.
//!
//! Invariant: bounded by the addresses that came within the last [`SECONDS`] seconds, and swept ([`Arrivals::sweep`]).

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::time::Instant;

use super::buckets::{Buckets, Short};
use crate::{
    lifecycle::Lifecycle,
    network::{Level, Network},
};

/// How many seconds' worth may come at once.
const SECONDS: u32 = 10;

/// What came lately. Clones share it.
#[derive(Clone, Debug)]
pub struct Arrivals(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    buckets: Buckets<Network>,
    exempt: Vec<IpNet>,
    began: Instant,
}

impl Arrivals {
    /// None yet. At most `per_second` from an IPv4 address or a /64, and 0 for any number; `exempt` are not counted.
    pub fn new(per_second: u32, exempt: Vec<IpNet>) -> Self {
        Self(NonZeroU32::new(per_second.saturating_mul(SECONDS)).map(|limit| {
            let buckets = Buckets::new(limit, Duration::from_secs(SECONDS.into()));
            Arc::new(Inner { buckets, exempt, began: Instant::now() })
        }))
    }

    /// Counts a connection; whether it may be looked at.
    pub fn connection(&self, peer: IpAddr) -> bool {
        self.request(peer).is_ok()
    }

    /// Counts a request; the time after which another one may come where this one may not.
    pub fn request(&self, client: IpAddr) -> Result<(), Duration> {
        match &self.0 {
            Some(inner) => inner.take(client.to_canonical()),
            None => Ok(()),
        }
    }

    /// Forgets those who have not come for a while, until the process stops.
    pub async fn sweep(self, lifecycle: Lifecycle) {
        let Some(inner) = self.0 else { return };
        let mut ticks = tokio::time::interval(Duration::from_secs(SECONDS.into()));
        loop {
            tokio::select! {
                () = lifecycle.stopping() => return,
                _ = ticks.tick() => inner.buckets.sweep(inner.now()),
            }
        }
    }
}

impl Inner {
    fn take(&self, address: IpAddr) -> Result<(), Duration> {
        if self.exempt.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        let now = self.now();
        for level in Level::of(address) {
            match self.buckets.take(&level.network, level.times, 1, now) {
                Ok(_) => {}
                Err(Short::Now { retry_after, .. }) => return Err(retry_after),
                Err(Short::Ever { .. }) => return Err(Duration::from_secs(1)),
            }
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_comes_as_often_as_it_may_and_a_proxy_for_all() {
        let arrivals = Arrivals::new(2, vec!["10.0.0.1/32".parse().expect("a network")]);
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for number in 0..20 {
            let may = if number % 2 == 0 { arrivals.connection(one) } else { arrivals.request(one).is_ok() };
            assert!(may, "{number}");
        }
        assert!(!arrivals.connection(one));
        assert_eq!(arrivals.request(one), Err(Duration::from_millis(500)));
        assert!(arrivals.connection(other));
        let proxy = [10, 0, 0, 1].into();
        assert!((0..100).all(|_| arrivals.connection(proxy)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(arrivals.request(one).is_ok(), "one came back");
        assert!(arrivals.request(one).is_err());
        tokio::time::advance(Duration::from_secs(20)).await;
        let inner = arrivals.0.as_ref().expect("a limit");
        inner.buckets.sweep(inner.now());
        assert_eq!(inner.buckets.known(), 0);
        assert!((0..10_000).all(|_| Arrivals::new(0, Vec::new()).connection(one)), "no limit");
    }
}
