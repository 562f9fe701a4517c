//! How many accounts may be opened from one address.
//!
//! Owns one limit: `auth.sign_ups_per_address` accounts an hour from an address, twice as many from a /56 and four times
//! as many from a /48 ([`network`]). An account brings a budget, drafts and texts of its own, so what is free to open must
//! not be free to open by the thousand. Called by the sign-up use case alone: [`SignUps::begin`] before the password is
//! hashed, then [`SignUp::opened`] or nothing.
//!
//! A sign-up is reserved under one lock, so that any number at the same moment see each other, and taken back unless an
//! account was opened. The counts live in memory and a restart forgets them. Several nodes count together: each tells the
//! others what was opened ([`SignUps::take_opened`], carried by [`sharing`](super::sharing)).

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    attempts::TooMany,
    buckets::{Buckets, Short},
};
use crate::network::{Level, Network};

/// In what time the limit comes back.
const HOUR: Duration = Duration::from_hours(1);
/// Accounts that may wait to be sent to the other nodes; more are not sent.
const MAX_UNTOLD: usize = 10_000;

/// The sign-ups of each network. Clones share them.
#[derive(Clone)]
pub struct SignUps {
    opened: Arc<Buckets<Network>>,
    /// None if there are no other nodes.
    untold: Option<Arc<Mutex<Vec<IpAddr>>>>,
    began: Instant,
}

/// A reserved sign-up. To let it go is to take it back.
#[must_use = "a sign-up that is let go is taken back at once"]
pub struct SignUp {
    sign_ups: SignUps,
    /// None once an account was opened.
    from: Option<IpAddr>,
}

impl fmt::Debug for SignUps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignUps").field("known", &self.opened.known()).finish_non_exhaustive()
    }
}

impl SignUps {
    /// `per_address` accounts an hour.
    pub fn new(per_address: NonZeroU32) -> Self {
        Self { opened: Arc::new(Buckets::new(per_address, HOUR)), untold: None, began: Instant::now() }
    }

    /// The same, counted together with other nodes.
    pub fn shared(per_address: NonZeroU32) -> Self {
        Self { untold: Some(Arc::default()), ..Self::new(per_address) }
    }

    /// Reserves a sign-up, or says how long to wait.
    pub fn begin(&self, from: IpAddr) -> Result<SignUp, TooMany> {
        let now = self.now();
        for (place, level) in Level::of(from).enumerate() {
            let Err(short) = self.opened.take(&level.network, level.times, 1, now) else { continue };
            for taken in Level::of(from).take(place) {
                self.opened.give_back(&taken.network, taken.times, 1, now);
            }
            let retry_after = match short {
                Short::Now { retry_after, .. } => retry_after,
                Short::Ever { .. } => HOUR,
            };
            return Err(TooMany { retry_after });
        }
        Ok(SignUp { sign_ups: self.clone(), from: Some(from) })
    }

    /// From where accounts were opened here since this was last asked, for the other nodes.
    pub fn take_opened(&self) -> Vec<IpAddr> {
        self.untold.as_ref().map(|untold| std::mem::take(&mut *untold.lock())).unwrap_or_default()
    }

    /// Counts in an account that was opened on another node.
    pub fn opened_elsewhere(&self, from: IpAddr) {
        for level in Level::of(from) {
            self.opened.owe(&level.network, level.times, 1, self.now());
        }
    }

    /// Forgets networks whose limit is whole again. To be called every minute or so.
    pub fn sweep(&self) {
        self.opened.sweep(self.now());
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl SignUp {
    /// The account is there: it counts.
    pub fn opened(mut self) {
        let Some(from) = self.from.take() else { return };
        let Some(untold) = &self.sign_ups.untold else { return };
        let mut untold = untold.lock();
        if untold.len() < MAX_UNTOLD {
            untold.push(Network::of(from).address());
        }
    }
}

impl Drop for SignUp {
    fn drop(&mut self) {
        let Some(from) = self.from else { return };
        let now = self.sign_ups.now();
        for level in Level::of(from) {
            self.sign_ups.opened.give_back(&level.network, level.times, 1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn opened(sign_ups: &SignUps, from: &str) -> usize {
        (0..100).take_while(|_| sign_ups.begin(ip(from)).map(SignUp::opened).is_ok()).count()
    }

    #[test]
    fn an_address_opens_so_many_accounts_and_a_wider_network_some_more() {
        let sign_ups = SignUps::shared(NonZeroU32::new(5).expect("five"));
        (0..100).for_each(|_| drop(sign_ups.begin(ip("192.0.2.1")).expect("nothing was opened")));
        assert_eq!(opened(&sign_ups, "192.0.2.1"), 5);
        let refused = sign_ups.begin(ip("::ffff:192.0.2.1")).map(SignUp::opened).expect_err("five were opened");
        let minute = Duration::from_mins(1);
        assert!(refused.retry_after > 11 * minute && refused.retry_after <= 12 * minute, "{refused:?}");
        let nets = ["2001:db8:1::1", "2001:db8:1:1::1", "2001:db8:1:2::1", "2001:db8:1:100::1", "2001:db8:1:200::1"];
        assert_eq!(nets.map(|net| opened(&sign_ups, net)), [5, 5, 0, 5, 5], "a /56, then the rest of the /48");
        assert_eq!(opened(&sign_ups, "2001:db8:1:300::1"), 0);
        // Another node counts what it receives.
        let other = SignUps::new(NonZeroU32::new(5).expect("five"));
        let told = sign_ups.take_opened();
        assert_eq!((told.len(), sign_ups.take_opened().len()), (25, 0));
        for from in told {
            other.opened_elsewhere(from);
        }
        assert_eq!(["192.0.2.1", "2001:db8:1:400::1", "192.0.2.2"].map(|from| opened(&other, from)), [0, 0, 5]);
    }
}
