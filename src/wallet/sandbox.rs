//! The sandbox payment provider: deposits and withdrawals that settle themselves a moment later.
//!
//! For development, where no processor calls `confirmTransaction`. The due time stands in the transaction's row, so a
//! restart resumes what was on its way, and the settlement is the very use case that a processor would call.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Wallets, model::SettlementOutcome};
use crate::{clock::Timestamp, error::Fault, lifecycle::Lifecycle};

/// After how long it looks although nobody has asked for anything: what another node left behind when it stopped.
const PERIOD: Duration = Duration::from_secs(5);
/// When what could not be settled is tried again.
const RETRY: TimeDelta = TimeDelta::milliseconds(100);

/// Settles what is due until the process stops.
pub async fn run(wallets: Wallets, lifecycle: Lifecycle) {
    loop {
        let next = settle_due(&wallets).await.unwrap_or_else(|error| {
            tracing::error!(error = %error, "cannot look for due transactions");
            Some(wallets.clock.now() + RETRY)
        });
        let due = async {
            match next {
                Some(next) => wallets.clock.sleep_until(next).await,
                None => tokio::time::sleep(PERIOD).await,
            }
        };
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = wallets.requested.notified() => {}
            () = due => {}
        }
    }
}

/// Settles what is due, and says when the next one is.
async fn settle_due(wallets: &Wallets) -> Result<Option<Timestamp>, Fault> {
    loop {
        let unsettled = wallets.unsettled().await?;
        if unsettled.is_empty() {
            return Ok(None);
        }
        for (transaction, due) in unsettled {
            let now = wallets.clock.now();
            if due > now {
                return Ok(Some(due));
            }
            if let Err(error) = wallets.settle(transaction, SettlementOutcome::Post).await {
                tracing::error!(transaction.id = %transaction, error = %error, "cannot settle");
                return Ok(Some(now + RETRY));
            }
        }
    }
}
