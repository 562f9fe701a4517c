//! What mutations of money answer with: the changed rows, or why nothing was done.

use async_graphql::{Context, Result, SimpleObject};

use super::{
    errors::WalletMutationError,
    objects::{TransactionObject, WalletObject},
};
use crate::{
    graphql::context::ContextExt,
    wallet::{WalletError, Wallets, model::Transaction},
};

/// Result of `deposit`.
#[derive(SimpleObject)]
pub(crate) struct DepositPayload {
    /// The wallet after this step; null if nothing was done.
    pub(super) wallet: Option<WalletObject>,
    /// The new deposit: PENDING until it is settled; null if nothing was done.
    pub(super) transaction: Option<TransactionObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<WalletMutationError>,
}

/// Result of `withdraw`.
#[derive(SimpleObject)]
pub(crate) struct WithdrawPayload {
    /// The wallet after this step; null if nothing was done.
    pub(super) wallet: Option<WalletObject>,
    /// The new withdrawal: PENDING until it is settled; null if nothing was done.
    pub(super) transaction: Option<TransactionObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<WalletMutationError>,
}

/// Result of `confirmTransaction`.
#[derive(SimpleObject)]
pub(crate) struct ConfirmTransactionPayload {
    /// The wallet after this step; null if nothing was done.
    pub(super) wallet: Option<WalletObject>,
    /// The transaction as it is now; null if nothing was done.
    pub(super) transaction: Option<TransactionObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<WalletMutationError>,
}

/// What came of a wallet mutation, in the parts of its payload.
type Moved = (Option<WalletObject>, Option<TransactionObject>, Vec<WalletMutationError>);

pub(super) async fn moved(ctx: &Context<'_>, done: Result<Transaction, WalletError>) -> Result<Moved> {
    Ok(match done {
        Ok(transaction) => {
            let wallet = ctx.get::<Wallets>().find(ctx.actor(), transaction.wallet_id).await?;
            (wallet.map(Into::into), Some(transaction.into()), Vec::new())
        }
        Err(error) => (None, None, vec![WalletMutationError::of(error)?]),
    })
}
