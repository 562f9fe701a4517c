//! From whose budget subscriptions pay for what they make necessary.
//!
//! The same budgets as those of operations, by the same rule of who pays
//! ([`Payer`](crate::limits::budgets::Payer)). Made by the composition root, for the hub.

use std::{sync::Arc, time::Duration};

use crate::{auth::actor::Origin, limits::Budgets, realtime::Payment};

/// The budgets, as delivery charges them.
#[derive(Clone, Debug)]
pub struct SubscriptionPayment(pub Arc<Budgets>);

impl Payment for SubscriptionPayment {
    fn charge(&self, viewer: &Origin, cost: u64) -> Option<Duration> {
        self.0.charge(viewer, cost)
    }
}
