//! Look-ups of wallets and transactions, batched for each request, and the checks of who may see what they find.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Result, dataloader::Loader};
use uuid::Uuid;

use super::objects::{TransactionObject, WalletObject};
use crate::{
    error::InternalError,
    graphql::context::ContextExt,
    ids::{TransactionId, WalletId},
    page::Page,
    schema::Loaders,
    wallet::{
        Wallets,
        model::{Transaction, Wallet},
        reads::HistoryOf,
    },
};

/// Batches look-ups of transactions.
pub(crate) struct WalletLoader(pub(crate) Wallets);

impl Loader<TransactionId> for WalletLoader {
    type Value = Transaction;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[TransactionId]) -> Result<HashMap<TransactionId, Transaction>, Arc<InternalError>> {
        self.0.transactions_by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<WalletId> for WalletLoader {
    type Value = Wallet;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[WalletId]) -> Result<HashMap<WalletId, Wallet>, Arc<InternalError>> {
        self.0.by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<HistoryOf> for WalletLoader {
    type Value = Page<Transaction>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[HistoryOf]) -> Result<HashMap<HistoryOf, Page<Transaction>>, Arc<InternalError>> {
        let pages = self.0.histories(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().cloned().zip(pages).collect())
    }
}

/// A wallet, for its owner and for admins; for everybody else there is none.
pub(crate) async fn visible_wallet(ctx: &Context<'_>, id: WalletId) -> Result<Option<WalletObject>> {
    let (owner, actor) = (Uuid::from(id).into(), ctx.actor());
    if !actor.is(owner) && !actor.is_admin() {
        return Ok(None);
    }
    Ok(Box::pin(ctx.get::<Loaders>().wallets().load_one(id)).await?.map(Into::into))
}

/// A transaction, for its wallet's owner and for admins.
pub(crate) async fn visible_transaction(ctx: &Context<'_>, id: TransactionId) -> Result<Option<TransactionObject>> {
    let transaction = Box::pin(ctx.get::<Loaders>().wallets().load_one(id)).await?;
    let actor = ctx.actor();
    let visible = |of: &Transaction| actor.is_admin() || actor.is(Uuid::from(of.wallet_id).into());
    Ok(transaction.filter(visible).map(Into::into))
}
