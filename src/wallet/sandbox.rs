//! The sandbox payment provider: deposits and withdrawals that settle themselves a moment later.
//!
//! For development, where no processor calls `confirmTransaction`. The due time stands in the transaction's row, so a
//! restart resumes what was on its way, and the settlement is the very use case that a processor would call.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::{Wallets, model::SettlementOutcome};
use crate::lifecycle::Lifecycle;

/// How often due transactions are looked for.
const PERIOD: Duration = Duration::from_millis(100);

/// Settles what is due until the process stops.
pub async fn run(wallets: Wallets, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        let due = match wallets.due().await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(error = %error, "cannot look for due transactions");
                continue;
            }
        };
        for transaction in due {
            if let Err(error) = wallets.settle(transaction, SettlementOutcome::Post).await {
                tracing::error!(transaction.id = %transaction, error = %error, "cannot settle");
            }
        }
    }
}
