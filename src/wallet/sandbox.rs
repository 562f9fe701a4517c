//! The sandbox payment provider: deposits and withdrawals that settle themselves a moment later.
//!
//! For development, where no processor calls `confirmTransaction`. The due time stands in the transaction's row, so a
//! restart resumes what was on its way, and the settlement is the very use case that a processor would call.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Wallets, model::SettlementOutcome};
use crate::{
    clock::{Clock, Timestamp},
    error::Fault,
    lifecycle::Lifecycle,
};

/// After how long it looks although nobody has asked for anything: what another node left behind when it stopped.
const PERIOD: Duration = Duration::from_secs(5);
/// When what could not be settled is tried again.
const RETRY: TimeDelta = TimeDelta::milliseconds(100);

/// Settles what is due until the process stops.
pub async fn run(wallets: Wallets, clock: Clock, lifecycle: Lifecycle) {
    loop {
        let next = settle_due(&wallets, &clock).await.unwrap_or_else(|error| {
            tracing::error!(error = %error, "cannot look for due transactions");
            Some(clock.now() + RETRY)
        });
        let due = async {
            match next {
                Some(next) => clock.sleep_until(next).await,
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

/// Settles what is due, and says when there is something to do again. What cannot be settled keeps nobody else waiting.
async fn settle_due(wallets: &Wallets, clock: &Clock) -> Result<Option<Timestamp>, Fault> {
    loop {
        let (unsettled, now) = (wallets.unsettled().await?, clock.now());
        if unsettled.is_empty() {
            return Ok(None);
        }
        let mut again = None;
        for (transaction, due) in unsettled {
            if due > now {
                return Ok(Some(again.map_or(due, |again| due.min(again))));
            }
            if let Err(error) = wallets.settle(transaction, SettlementOutcome::Post).await {
                tracing::error!(transaction.id = %transaction, error = %error, "cannot settle");
                again = Some(now + RETRY);
            }
        }
        if again.is_some() {
            return Ok(again);
        }
    }
}
