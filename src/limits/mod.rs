//! How much each caller and each address may do: points, sign-ins and sign-ups.
//!
//! - [`budgets`]: points that operations and subscriptions cost
//! - [`attempts`]: growing delays after failed sign-ins
//! - [`sign_ups`]: accounts that may be opened from one address
//! - [`arrivals`]: connections and requests that may come from one address, whatever they ask
//! - [`buckets`]: the token buckets under budgets and sign-ups
//! - [`sharing`]: what nodes tell each other of attempts and sign-ups
//!
//! Built by [`app`](crate::app) as [`Limits`]. Addresses count as [`network`](crate::network) says. What one operation may
//! hold is [`graphql::limits`](crate::graphql::limits); how many connections and subscriptions there may be is counted
//! where they are kept (`http`, `realtime`).
//!
//! Invariants: what is refused costs nothing; all counts live in memory, are bounded, and are gone after a restart.

use std::{sync::Arc, time::Duration};

use crate::lifecycle::Lifecycle;

pub mod arrivals;
pub mod attempts;
pub mod buckets;
pub mod budgets;
mod settings;
pub mod sharing;
pub mod sign_ups;

pub use arrivals::Arrivals;
pub use attempts::Attempts;
pub use budgets::Budgets;
pub use settings::BudgetSettings;
pub use sign_ups::SignUps;

/// How often full buckets are forgotten.
const SWEEP: Duration = Duration::from_mins(1);

/// The limits of this node. Clones share them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Points.
    pub budgets: Arc<Budgets>,
    /// Failed sign-ins.
    pub attempts: Attempts,
    /// New accounts.
    pub sign_ups: SignUps,
}

impl Limits {
    /// Forgets what counts no longer, every minute until the process stops.
    pub async fn sweep(self, lifecycle: Lifecycle) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = lifecycle.stopping() => return,
                _ = ticks.tick() => {
                    self.budgets.sweep();
                    self.sign_ups.sweep();
                }
            }
        }
    }
}
