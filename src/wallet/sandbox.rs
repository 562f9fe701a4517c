//! The sandbox payment provider: deposits and withdrawals that settle themselves a moment later.
//!
//! For development, where no processor calls `confirmTransaction`. The due time stands in the transaction's row
//! (`transactions.settle_due_at`), written with it; the clock room ([`schedule`](crate::schedule)) finds what is due,
//! after a restart as well, and the settlement is that of `confirmTransaction`, by `Actor::System`.

use sea_orm::prelude::async_trait::async_trait;
use uuid::Uuid;

use super::{WalletError, Wallets, due::ROWS};
use crate::{
    auth::actor::Actor,
    error::InternalError,
    schedule::{Due, DueRows},
};

/// The sandbox's work in the clock room.
#[derive(Debug)]
pub struct SandboxPayments(pub Wallets);

#[async_trait]
impl Due for SandboxPayments {
    fn rows(&self) -> DueRows {
        ROWS
    }

    async fn act(&self, id: Uuid) -> Result<(), InternalError> {
        match self.0.settle_due(Actor::System, id.into()).await {
            // An admin was faster: settled is settled.
            Ok(()) | Err(WalletError::NotPending(_)) => Ok(()),
            Err(WalletError::InternalError(error)) => Err(error),
            Err(error) => Err(InternalError::corrupt(error)),
        }
    }
}
