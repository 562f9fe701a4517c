//! Root fields that read money.

use async_graphql::{Context, ID, Object, Result};

use super::{
    errors::top_level,
    objects::TransactionConnection,
    objects::{TransactionStatus, WalletObject},
};
use crate::{
    graphql::{
        connections::PageArguments,
        context::{ContextExt, denied, signed_in},
    },
    wallet::Wallets,
};

/// Reads of money.
#[derive(Default)]
pub(crate) struct WalletQuery;

#[Object]
impl WalletQuery {
    /// The viewer's wallet, or by id for admins.
    async fn wallet(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a wallet; null: the viewer's own.")] id: Option<ID>,
    ) -> Result<Option<WalletObject>> {
        let actor = signed_in(ctx)?;
        let wallets = ctx.get::<Wallets>();
        let Some(id) = id else {
            let wallet = wallets.own(actor).await.map_err(top_level)?;
            return Ok(Some(wallet.into()));
        };
        let Ok(id) = id.parse() else { return Ok(None) };
        Ok(wallets.find(actor, id).await?.map(Into::into))
    }

    /// Admins: transactions of all wallets, such as those that wait for `confirmTransaction`.
    async fn transactions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only transactions in one of these statuses; null: any.")] status: Option<
            Vec<TransactionStatus>,
        >,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<TransactionConnection>> {
        let actor = ctx.actor();
        actor.admin().map_err(denied)?;
        let request = PageArguments { first, after, last, before }.nested()?;
        let statuses = status.map(|statuses| statuses.into_iter().map(Into::into).collect::<Vec<_>>());
        let page = ctx.get::<Wallets>().all_transactions(actor, statuses.as_deref(), request).await;
        Ok(Some(TransactionConnection::new(page.map_err(top_level)?)))
    }
}
