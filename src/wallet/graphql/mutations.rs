//! Root fields that move money. The rules are in [`Wallets`]; here inputs are handed over and results returned.

use async_graphql::{Context, Object, Result};

use super::{
    inputs::{ConfirmTransactionInput, DepositInput, WithdrawInput},
    payloads::{ConfirmTransactionPayload, DepositPayload, WithdrawPayload, moved},
};
use crate::{graphql::context::ContextExt, wallet::Wallets};

/// Writes of money.
#[derive(Default)]
pub(crate) struct WalletMutation;

#[Object]
impl WalletMutation {
    /// Client or freelancer. Emits `walletUpdated`. The money is `available` once the deposit is settled.
    async fn deposit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How much to add.")] input: DepositInput,
    ) -> Result<Option<DepositPayload>> {
        let DepositInput { amount, idempotency_key } = input;
        let done = ctx.get::<Wallets>().deposit(ctx.actor(), amount.into(), &idempotency_key).await;
        let (wallet, transaction, errors) = moved(ctx, done).await?;
        Ok(Some(DepositPayload { wallet, transaction, errors }))
    }

    /// Client or freelancer. Emits `walletUpdated`. The money leaves `available` at once and the marketplace when it is settled.
    async fn withdraw(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How much to take out, and where it goes.")] input: WithdrawInput,
    ) -> Result<Option<WithdrawPayload>> {
        let WithdrawInput { amount, destination, idempotency_key } = input;
        let wallets = ctx.get::<Wallets>();
        let done = wallets.withdraw(ctx.actor(), amount.into(), &destination, &idempotency_key).await;
        let (wallet, transaction, errors) = moved(ctx, done).await?;
        Ok(Some(WithdrawPayload { wallet, transaction, errors }))
    }

    /// Admin or payment processor. Emits `walletUpdated`. Settles a deposit or withdrawal of somebody else.
    async fn confirm_transaction(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which transaction, and how it ends.")] input: ConfirmTransactionInput,
    ) -> Result<Option<ConfirmTransactionPayload>> {
        let ConfirmTransactionInput { transaction_id, outcome, idempotency_key } = input;
        let wallets = ctx.get::<Wallets>();
        let done = wallets.confirm(ctx.actor(), &transaction_id, outcome.into(), &idempotency_key).await;
        let (wallet, transaction, errors) = moved(ctx, done).await?;
        Ok(Some(ConfirmTransactionPayload { wallet, transaction, errors }))
    }
}
