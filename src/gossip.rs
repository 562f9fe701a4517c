//! Limits that hold for all nodes together: what callers have spent and how often passwords were tried.
//!
//! Owns how [`Budgets`] and [`Attempts`] of several nodes hear of each other over the [`Bus`]. Started by `app` where
//! there is more than one node. No request ever waits for it: each node decides by itself, tells the others a moment
//! later, and counts in what they tell. A bus that is away makes the limits those of each node until it is back; what it
//! could not carry is not said again.
//!
//! A sign-in is told at once, since few guesses are many; spending four times a second, summed up for each caller.

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    auth::attempts::{Attempts, Word},
    graphql::budget::{Budgets, Caller},
    lifecycle::Lifecycle,
    realtime::{Bus, Gossip, Topic},
};

/// How often spending is told.
const PERIOD: Duration = Duration::from_millis(250);
/// Entries of one message: the largest takes 45 bytes.
const ENTRIES: usize = Gossip::LIMIT / 48;

/// Tells and hears until the process stops.
pub async fn run(bus: Arc<dyn Bus>, budgets: Arc<Budgets>, attempts: Attempts, lifecycle: Lifecycle) {
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
            }
            words = attempts.said(ENTRIES) => tell(&*bus, Topic::Attempts, &words),
            gossip = bus.told() => hear(&gossip, &budgets, &attempts),
        }
    }
}

fn tell(bus: &dyn Bus, topic: Topic, entries: &impl Serialize) {
    match postcard::to_allocvec(entries) {
        Ok(body) => bus.tell(Gossip { topic, body }),
        Err(error) => tracing::error!(error = %error, ?topic, "gossip cannot be written"),
    }
}

fn hear(gossip: &Gossip, budgets: &Budgets, attempts: &Attempts) {
    match gossip.topic {
        Topic::Spending => {
            read::<(Caller, u32)>(gossip).for_each(|(caller, points)| budgets.spent_elsewhere(caller, points));
        }
        Topic::GivenBack => {
            read::<(Caller, u32)>(gossip).for_each(|(caller, points)| budgets.given_back_elsewhere(caller, points));
        }
        Topic::Attempts => read::<Word>(gossip).for_each(|word| attempts.hear(word)),
    }
}

/// The entries; none if another version wrote them.
fn read<T: DeserializeOwned>(gossip: &Gossip) -> impl Iterator<Item = T> + use<T> {
    postcard::from_bytes::<Vec<T>>(&gossip.body).unwrap_or_default().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::attempts::{Attempt, AttemptKey, AttemptSettings},
        clock::Clock,
        graphql::budget::BudgetSettings,
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
    }

    #[tokio::test]
    async fn a_budget_spent_on_one_node_is_spent_on_the_other() {
        let (network, lifecycle) = (MemoryNetwork::default(), Lifecycle::new());
        let node = || {
            let budgets = Arc::new(Budgets::shared(BudgetSettings::default()));
            let attempts = Attempts::shared(Clock::system(), AttemptSettings::default());
            let task = run(Arc::new(network.join()), Arc::clone(&budgets), attempts.clone(), lifecycle.clone());
            drop(lifecycle.spawn(task));
            (budgets, attempts)
        };
        let (one, two) = (node(), node());
        let caller = Caller::Address([192, 0, 2, 1].into());
        one.0.spend(caller, 1_000).expect("full");
        while two.0.known() == 0 {
            tokio::task::yield_now().await;
        }
        two.0.spend(caller, 100).expect_err("it was spent on the other node");
        // Long after it was told.
        one.0.give_back(caller, 900);
        while two.0.spend(caller, 100).is_err() {
            tokio::task::yield_now().await;
        }
        let keys = [AttemptKey::account("ada@example.org")];
        (0..6).for_each(|_| drop(one.1.begin(&keys).expect("is free")));
        while two.1.begin(&keys).map(Attempt::not_tried).is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(lifecycle.shut_down(Duration::from_secs(1)).await);
    }
}
