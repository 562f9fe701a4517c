//! How fast one address may come: new connections and requests together.
//!
//! Owns a bucket for each network, which holds [`SECONDS`] seconds' worth of `http.requests_per_second` and from which each
//! connection and each request takes one. Everything else that limits a caller looks at what was asked; this is for what
//! costs us before anybody has looked: accepting, reading a head, writing a refusal, and paths that cost no points. Asked by
//! [`server`](super::server) before anything is read of a connection, which is then closed without an answer, and by
//! [`middleware`](super::middleware) for each request, which is then answered 429 and its connection closed.
//!
//! Trusted proxies bring everybody's connections and are exempt; their clients' requests are counted by the client's
//! address.
//!
//! Invariant: bounded by the addresses that came within the last [`SECONDS`] seconds, and swept ([`Arrivals::sweep`]).

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::client_address::Proxies;
use crate::{
    lifecycle::Lifecycle,
    limits::buckets::{Buckets, Short},
    network::{Level, Network},
};

/// How many seconds' worth may come at once.
const SECONDS: u32 = 10;

/// What came lately. Clones share it.
#[derive(Clone)]
pub struct Arrivals(Option<Arc<Inner>>);

struct Inner {
    buckets: Buckets<Network>,
    proxies: Arc<Proxies>,
    began: Instant,
}

impl Arrivals {
    /// None yet. At most `per_second` from an IPv4 address or a /64, and 0 for any number.
    pub fn new(per_second: u32, proxies: Arc<Proxies>) -> Self {
        Self(NonZeroU32::new(per_second.saturating_mul(SECONDS)).map(|limit| {
            let buckets = Buckets::new(limit, Duration::from_secs(SECONDS.into()));
            Arc::new(Inner { buckets, proxies, began: Instant::now() })
        }))
    }

    /// Counts a connection; whether it may be looked at.
    pub(super) fn connection(&self, peer: IpAddr) -> bool {
        self.request(peer).is_ok()
    }

    /// Counts a request; the time after which another one may come where this one may not.
    pub(super) fn request(&self, client: IpAddr) -> Result<(), Duration> {
        match &self.0 {
            Some(inner) if !inner.proxies.trusts(client.to_canonical()) => inner.take(client),
            _ => Ok(()),
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
    use crate::http::client_address::ProxyHeader;

    #[tokio::test(start_paused = true)]
    async fn an_address_comes_as_often_as_it_may_and_a_proxy_for_all() {
        let proxies = Proxies::new(&["10.0.0.1".to_owned()], ProxyHeader::default()).expect("an address");
        let arrivals = Arrivals::new(2, Arc::new(proxies));
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
        assert!((0..10_000).all(|_| Arrivals::new(0, Arc::default()).connection(one)), "no limit");
    }
}
