//! The types `Wallet` and `Transaction` with their enums, and pages of transactions.
//!
//! Who makes a [`WalletObject`] or a [`TransactionObject`] has checked that the viewer may see it.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result};

use crate::{
    accounts::{
        graphql::{UserObject, user},
        model::UserCard,
    },
    connection,
    graphql::{
        connections::{PageArguments, edges},
        context::ContextExt,
        scalars::{DateTime, MoneyAmount},
    },
    jobs::graphql::{JobObject, visible_job},
    page::{Cursor, Page},
    schema::Loaders,
    wallet::{
        events::WalletSnapshot,
        model::{self, Transaction, Wallet},
        reads::HistoryOf,
    },
};

/// Why money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::TransactionType")]
pub(crate) enum TransactionType {
    /// Money came in from outside.
    Deposit,
    /// Money goes out to `destination`.
    Withdrawal,
    /// A job's budget moved from the client's `available` into escrow.
    EscrowHold,
    /// A job was approved: the freelancer's pay, or the client's side of it.
    EscrowRelease,
    /// A cancelled job's or a lowered budget's money came back to the client.
    EscrowRefund,
    /// The platform's share of a payment. Reserved: it stands in `fee` of the release.
    PlatformFee,
    /// An equal, opposite transaction that undoes a posted one. Reserved: no mutation makes one yet.
    Reversal,
}

/// PENDING reserves; POSTED, VOIDED and FAILED are final. A posted transaction is only ever undone by a REVERSAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::TransactionStatus")]
pub(crate) enum TransactionStatus {
    /// Waits for `confirmTransaction`; a withdrawal has left `available` already.
    Pending,
    /// The money moved. Final.
    Posted,
    /// Called off; nothing moved. Final.
    Voided,
    /// The bank or payment provider refused it; nothing moved. Final.
    Failed,
}

/// How a PENDING transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::SettlementOutcome")]
pub(crate) enum SettlementOutcome {
    /// The money moved: the transaction becomes POSTED.
    Post,
    /// It was called off: VOIDED, and what was reserved goes back.
    Void,
    /// The bank or payment provider refused it: FAILED, and what was reserved goes back.
    Fail,
}

/// A wallet in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct WalletObject {
    wallet: Arc<Wallet>,
    /// Known already where the wallet comes out of an event.
    owner: Option<Arc<UserCard>>,
}

impl From<Wallet> for WalletObject {
    fn from(wallet: Wallet) -> Self {
        Self { wallet: Arc::new(wallet), owner: None }
    }
}

impl From<&WalletSnapshot> for WalletObject {
    fn from(snapshot: &WalletSnapshot) -> Self {
        let owner = Some(Arc::new(snapshot.owner.clone()));
        Self { wallet: Arc::new(snapshot.wallet.clone()), owner }
    }
}

/// A user's money in one currency. `available` is never negative; every change has exactly one transaction behind it.
#[Object(name = "Wallet")]
impl WalletObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.wallet.id.to_string().into()
    }

    /// Grows by one with each committed change of the wallet. Keep the object with the higher version.
    async fn version(&self) -> i64 {
        self.wallet.version
    }

    /// Whose money it is.
    async fn owner(&self, ctx: &Context<'_>) -> Result<UserObject> {
        match &self.owner {
            Some(card) => Ok(UserObject(Arc::clone(card))),
            None => user(ctx, self.wallet.owner()).await,
        }
    }

    /// Can be spent or withdrawn now.
    async fn available(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.wallet.available)
    }

    /// Held in escrow for this user's live jobs (client side).
    async fn in_escrow(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.wallet.in_escrow)
    }

    /// Deposits not yet settled.
    async fn pending_in(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.wallet.pending_in)
    }

    /// Withdrawals not yet settled; already taken from `available`.
    async fn pending_out(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.wallet.pending_out)
    }

    /// When it last changed.
    async fn updated_at(&self) -> DateTime {
        self.wallet.updated_at.into()
    }

    /// The wallet's history, newest first.
    async fn transactions(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "type", desc = "Only transactions of these types; null: any.")] kind: Option<
            Vec<TransactionType>,
        >,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<TransactionConnection>> {
        let request = PageArguments { first, after, last, before }.nested()?;
        let kinds = kind.into_iter().flatten().map(Into::into).collect();
        let wanted = HistoryOf { wallet: self.wallet.id, kinds, request };
        let page = Box::pin(ctx.get::<Loaders>().wallets().load_one(wanted)).await?;
        Ok(page.map(TransactionConnection::new))
    }
}

/// A transaction in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct TransactionObject(Arc<Transaction>);

impl From<Transaction> for TransactionObject {
    fn from(transaction: Transaction) -> Self {
        Self(Arc::new(transaction))
    }
}

/// An immutable, double-entry movement of money, seen from this wallet.
#[Object(name = "Transaction")]
impl TransactionObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Grows by one with each committed change of the transaction.
    async fn version(&self) -> i64 {
        self.0.version
    }

    /// Why the money moved.
    #[graphql(name = "type")]
    async fn kind(&self) -> TransactionType {
        self.0.kind.into()
    }

    /// How far it has come.
    async fn status(&self) -> TransactionStatus {
        self.0.status().into()
    }

    /// Signed: negative leaves this wallet's available balance.
    async fn amount(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.0.amount)
    }

    /// The wallet's `available` just after this transaction began.
    async fn available_after(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.0.available_after)
    }

    /// The job that it paid for, if it did and the viewer may see it; else null.
    async fn job(&self, ctx: &Context<'_>) -> Result<Option<JobObject>> {
        match self.0.reference {
            Some(reference) => visible_job(ctx, reference.into()).await,
            None => Ok(None),
        }
    }

    /// The platform's share, on an escrow release.
    async fn fee(&self, ctx: &Context<'_>) -> Option<MoneyAmount> {
        self.0.fee.map(|fee| ctx.money(fee))
    }

    /// The transaction that this one undoes; null unless it is a REVERSAL.
    async fn reverses(&self, ctx: &Context<'_>) -> Result<Option<TransactionObject>> {
        let Some(id) = self.0.reverses else { return Ok(None) };
        // Of the same wallet: a viewer who may see the one may see the other.
        Ok(Box::pin(ctx.get::<Loaders>().wallets().load_one(id)).await?.map(Into::into))
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was posted, voided or failed; null while it is PENDING.
    async fn settled_at(&self) -> Option<DateTime> {
        self.0.settled_at().map(Into::into)
    }
}

connection! {
    /// A page of transactions.
    TransactionConnection,
    /// A transaction in a page of transactions.
    TransactionEdge,
    TransactionObject,
}

impl TransactionConnection {
    pub(super) fn new(page: Page<Transaction>) -> Self {
        let (edges, page_info) = edges(page, |transaction| Cursor::by_id(transaction.id.into()));
        let edges: Vec<_> =
            edges.into_iter().map(|(cursor, node)| TransactionEdge { cursor, node: node.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}
