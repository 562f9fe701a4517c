//! Limits that hold for all nodes together: what callers and addresses have spent, how often passwords were tried, and how
//! many accounts were opened.
//!
//! Owns how [`Budgets`], [`Attempts`] and [`SignUps`] of several nodes hear of each other over the [`Bus`]. Started by `app` where
//! there is more than one node. No request ever waits for it: each node decides by itself, tells the others a moment
//! later, and counts in what they tell. A bus that is away makes the limits those of each node until it is back; what it
//! could not carry is not said again.
//!
//! A sign-in is told at once, since few guesses are many; the rest four times a second, spending summed up for each caller
//! and each address.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    auth::{
        attempts::{Attempts, Word},
        sign_ups::SignUps,
    },
    graphql::budget::{Budgets, Caller},
    lifecycle::Lifecycle,
    realtime::{Bus, Gossip, Topic},
};

/// How often spending is told.
const PERIOD: Duration = Duration::from_millis(250);
/// Entries of one message: the largest takes 45 bytes.
const ENTRIES: usize = Gossip::LIMIT / 48;

/// What is told and heard of. Clones share it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Points.
    pub budgets: Arc<Budgets>,
    /// Failed sign-ins.
    pub attempts: Attempts,
    /// New accounts.
    pub sign_ups: SignUps,
}

/// Tells and hears until the process stops.
pub async fn run(bus: Arc<dyn Bus>, limits: Limits, lifecycle: Lifecycle) {
    let Limits { budgets, attempts, sign_ups } = &limits;
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {
                for spent in budgets.take_spent().chunks(ENTRIES) {
                    tell(&*bus, Topic::Spending, &spent);
                }
                for given_back in budgets.take_given_back().chunks(ENTRIES) {
                    tell(&*bus, Topic::GivenBack, &given_back);
                }
                for spent in budgets.take_by_address().chunks(ENTRIES) {
                    tell(&*bus, Topic::Addresses, &spent);
                }
                for opened in sign_ups.take_opened().chunks(ENTRIES) {
                    tell(&*bus, Topic::SignUps, &opened);
                }
            }
            words = attempts.said(ENTRIES) => tell(&*bus, Topic::Attempts, &words),
            gossip = bus.told() => hear(&gossip, &limits),
        }
    }
}

fn tell(bus: &dyn Bus, topic: Topic, entries: &impl Serialize) {
    match postcard::to_allocvec(entries) {
        Ok(body) => bus.tell(Gossip { topic, body }),
        Err(error) => tracing::error!(error = %error, ?topic, "gossip cannot be written"),
    }
}

fn hear(gossip: &Gossip, Limits { budgets, attempts, sign_ups }: &Limits) {
    match gossip.topic {
        Topic::Spending => {
            read::<(Caller, u32)>(gossip).for_each(|(caller, points)| budgets.spent_elsewhere(caller, points));
        }
        Topic::GivenBack => {
            read::<(Caller, u32)>(gossip).for_each(|(caller, points)| budgets.given_back_elsewhere(caller, points));
        }
        Topic::Attempts => read::<Word>(gossip).for_each(|word| attempts.hear(word)),
        Topic::Addresses => {
            read::<(IpAddr, i64)>(gossip).for_each(|(address, points)| budgets.at_address_elsewhere(address, points));
        }
        Topic::SignUps => read::<IpAddr>(gossip).for_each(|from| sign_ups.opened_elsewhere(from)),
    }
}

/// The entries; none if another version wrote them.
fn read<T: DeserializeOwned>(gossip: &Gossip) -> impl Iterator<Item = T> + use<T> {
    postcard::from_bytes::<Vec<T>>(&gossip.body).unwrap_or_default().into_iter()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        auth::{
            attempts::{AttemptKey, AttemptSettings},
            sign_ups::SignUp,
        },
        clock::Clock,
        graphql::budget::{BudgetSettings, Payer},
        ids::Ids,
        realtime::MemoryNetwork,
    };

    #[tokio::test]
    async fn a_full_message_fits() {
        let ids = Ids::seeded(Clock::system(), 1);
        let spent: Vec<(Caller, u32)> = (0..ENTRIES).map(|_| (Caller::User(ids.next()), u32::MAX)).collect();
        assert!(postcard::to_allocvec(&spent).expect("written").len() <= Gossip::LIMIT);
        let words: Vec<Word> = (0..ENTRIES).map(|_| Word::Tried(AttemptKey::Account([255; 32]))).collect();
        assert!(postcard::to_allocvec(&words).expect("written").len() <= Gossip::LIMIT);
        let addresses: Vec<(IpAddr, i64)> = (0..ENTRIES).map(|_| ([0xffff; 8].into(), i64::MIN)).collect();
        assert!(postcard::to_allocvec(&addresses).expect("written").len() <= Gossip::LIMIT);
    }

    #[tokio::test]
    async fn a_budget_spent_on_one_node_is_spent_on_the_other() {
        let (network, lifecycle) = (MemoryNetwork::default(), Lifecycle::new());
        let node = || {
            let budgets = Arc::new(Budgets::shared(BudgetSettings::default()));
            let attempts = Attempts::shared(Clock::system(), AttemptSettings::default());
            let sign_ups = SignUps::shared(NonZeroU32::new(5).expect("five"));
            let limits = Limits { budgets, attempts, sign_ups };
            drop(lifecycle.spawn(run(Arc::new(network.join()), limits.clone(), lifecycle.clone())));
            limits
        };
        let (one, two) = (node(), node());
        let caller = Caller::Address([192, 0, 2, 1].into());
        one.budgets.spend(caller, 1_000).expect("full");
        while two.budgets.known() == 0 {
            tokio::task::yield_now().await;
        }
        two.budgets.spend(caller, 100).expect_err("it was spent on the other node");
        // Long after it was told.
        one.budgets.give_back(caller, 900);
        while two.budgets.spend(caller, 100).is_err() {
            tokio::task::yield_now().await;
        }
        let keys = [AttemptKey::account("ada@example.org")];
        (0..6).for_each(|_| one.attempts.begin(&keys).expect("is free").failed());
        while two.attempts.check(&keys).is_ok() {
            tokio::task::yield_now().await;
        }
        // All who call from an address, and all who open accounts there.
        let from: IpAddr = [192, 0, 2, 9].into();
        let ids = Ids::seeded(Clock::system(), 1);
        let payer = || Payer { caller: Caller::User(ids.next()), address: Some(from) };
        for _ in 0..5 {
            one.budgets.spend(payer(), 5_000).expect("five have all");
        }
        (0..5).for_each(|_| one.sign_ups.begin(from).map(SignUp::opened).expect("five"));
        while two.budgets.look(payer()).is_ok() || two.sign_ups.begin(from).is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(lifecycle.shut_down(Duration::from_secs(1)).await);
    }
}
