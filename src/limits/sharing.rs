//! What nodes tell each other of sign-ins and sign-ups.
//!
//! Owns how [`Attempts`](super::Attempts) and [`SignUps`](super::SignUps) of several nodes count together over the
//! [`Bus`]. Started by `app` where there is more than one node. No request waits for it: each node decides by itself,
//! tells the others, and counts what they tell. While the bus is away the limits are those of each node; what it could
//! not carry is not sent again.
//!
//! An attempt is sent at once, since few guesses are many; accounts that were opened are sent four times a second.
//! Budgets are not shared: see [`budgets`](super::budgets).

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{Limits, attempts::Word};
use crate::{
    lifecycle::Lifecycle,
    realtime::{Bus, LimitUpdate, Topic},
};

/// How often accounts that were opened are sent.
const PERIOD: Duration = Duration::from_millis(250);
/// Entries of one message: the largest takes 45 bytes.
const ENTRIES: usize = LimitUpdate::LIMIT / 48;

/// Sends and receives until the process stops.
pub async fn run(bus: Arc<dyn Bus>, limits: Limits, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {
                for opened in limits.sign_ups.take_opened().chunks(ENTRIES) {
                    send(&*bus, Topic::SignUps, &opened);
                }
            }
            words = limits.attempts.said(ENTRIES) => send(&*bus, Topic::Attempts, &words),
            message = bus.told() => receive(&message, &limits),
        }
    }
}

fn send(bus: &dyn Bus, topic: Topic, entries: &impl Serialize) {
    match postcard::to_allocvec(entries) {
        Ok(body) => bus.tell(LimitUpdate { topic, body }),
        Err(error) => tracing::error!(error = %error, ?topic, "a message about limits cannot be written"),
    }
}

fn receive(message: &LimitUpdate, limits: &Limits) {
    match message.topic {
        Topic::Attempts => entries::<Word>(message).for_each(|word| limits.attempts.hear(word)),
        Topic::SignUps => entries::<IpAddr>(message).for_each(|from| limits.sign_ups.opened_elsewhere(from)),
    }
}

/// The entries of a message; none if another version wrote it.
fn entries<T: DeserializeOwned>(message: &LimitUpdate) -> impl Iterator<Item = T> + use<T> {
    postcard::from_bytes::<Vec<T>>(&message.body).unwrap_or_default().into_iter()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        clock::Clock,
        limits::{
            Attempts, BudgetSettings, Budgets, SignUps,
            attempts::{AttemptKey, AttemptSettings},
            sign_ups::SignUp,
        },
        realtime::MemoryNetwork,
    };

    #[test]
    fn a_full_message_fits() {
        let words: Vec<Word> = (0..ENTRIES).map(|_| Word::Tried(AttemptKey::Account([255; 32]))).collect();
        assert!(postcard::to_allocvec(&words).expect("written").len() <= LimitUpdate::LIMIT);
        let addresses: Vec<IpAddr> = (0..ENTRIES).map(|_| [0xffff; 8].into()).collect();
        assert!(postcard::to_allocvec(&addresses).expect("written").len() <= LimitUpdate::LIMIT);
    }

    #[tokio::test]
    async fn what_is_tried_and_opened_on_one_node_counts_on_the_other() {
        let (network, lifecycle) = (MemoryNetwork::default(), Lifecycle::new());
        let node = || {
            let budgets = Arc::new(Budgets::new(BudgetSettings::default()));
            let attempts = Attempts::shared(Clock::system(), AttemptSettings::default());
            let sign_ups = SignUps::shared(NonZeroU32::new(5).expect("five"));
            let limits = Limits { budgets, attempts, sign_ups };
            drop(lifecycle.spawn(run(Arc::new(network.join()), limits.clone(), lifecycle.clone())));
            limits
        };
        let (one, two) = (node(), node());
        let keys = [AttemptKey::account("ada@example.org")];
        (0..6).for_each(|_| one.attempts.begin(&keys).expect("is free").failed());
        while two.attempts.check(&keys).is_ok() {
            tokio::task::yield_now().await;
        }
        let from: IpAddr = [192, 0, 2, 9].into();
        (0..5).for_each(|_| one.sign_ups.begin(from).map(SignUp::opened).expect("five"));
        while two.sign_ups.begin(from).is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(lifecycle.shut_down(Duration::from_secs(1)).await);
    }
}
