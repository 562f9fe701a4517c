//! The subscription of money: the event `walletUpdated`.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, Subscription, futures_util::Stream};

use super::{
    events::{WALLET_UPDATED, WalletSnapshot},
    graphql::{TransactionObject, WalletObject},
};
use crate::{
    graphql::{context::signed_in, scalars::DateTime, subscriptions::events},
    realtime::{Delivery, Interest},
};

/// A `walletUpdated` event in the API.
#[derive(Clone)]
pub(crate) struct WalletUpdatedEvent {
    delivery: Arc<Delivery>,
    wallet: WalletObject,
    transaction: TransactionObject,
}

impl WalletUpdatedEvent {
    /// The event as the wallet's owner receives it.
    pub(crate) fn of(delivery: Arc<Delivery>) -> Result<Self> {
        let snapshot = delivery.payload::<WalletSnapshot>()?;
        let wallet = WalletObject::from(snapshot);
        let transaction = snapshot.transaction.clone().into();
        Ok(Self { delivery, wallet, transaction })
    }
}

/// A wallet changed, with the transaction that changed it.
#[Object]
impl WalletUpdatedEvent {
    /// Unique for ever: drop an event whose id was seen before.
    pub(crate) async fn id(&self) -> ID {
        self.delivery.id().to_string().into()
    }

    /// Resume point: pass the last one seen as `after` to miss nothing. Cursors compare as strings: the greater one is
    /// the later one.
    pub(crate) async fn cursor(&self) -> String {
        self.delivery.cursor()
    }

    /// When the change was made.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.delivery.occurred_at().into()
    }

    /// The wallet as it was just after the change.
    async fn wallet(&self) -> WalletObject {
        self.wallet.clone()
    }

    /// The transaction that changed it.
    async fn transaction(&self) -> TransactionObject {
        self.transaction.clone()
    }
}

/// Live changes of money.
#[derive(Default)]
pub(crate) struct WalletSubscription;

#[Subscription]
impl WalletSubscription {
    /// The viewer's own wallet; there is no argument to ask for anybody else's.
    async fn wallet_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Events after this cursor are sent first; null: only what happens from now on.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<WalletUpdatedEvent>>> {
        let interest = async { signed_in(ctx).map(|_| Interest::all(WALLET_UPDATED)) };
        events(ctx, after, interest, |received| WalletUpdatedEvent::of(received.delivery)).await
    }
}
