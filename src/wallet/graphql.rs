//! Money in the API: `Wallet`, `Transaction`, deposits and withdrawals, and the event `walletUpdated`.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    Context, Enum, Error, ID, InputObject, Object, Result, SimpleObject, Subscription, dataloader::Loader,
    futures_util::Stream,
};
use uuid::Uuid;

use super::{
    InsufficientFunds, WalletError, Wallets,
    events::{WALLET_UPDATED, WalletSnapshot},
    model::{self, Transaction, Wallet},
    service::HistoryOf,
};
use crate::{
    accounts::graphql::{UserObject, user},
    accounts::model::UserCard,
    connection,
    error::InternalError,
    graphql::{
        connections::{PageArguments, edges},
        context::{ContextExt, denied, signed_in},
        errors::{ErrorCode, fault},
        scalars::{DateTime, MoneyAmount, MoneyInput},
        subscriptions::events,
        user_errors::{IdempotencyError, InputError, UserErrorCode},
    },
    ids::{TransactionId, WalletId},
    jobs::graphql::{JobObject, visible_job},
    money::Money,
    page::{Cursor, Page},
    realtime::{Delivery, Interest},
    schema::Loaders,
    user_errors,
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
    fn new(page: Page<Transaction>) -> Self {
        let (edges, page_info) = edges(page, |transaction| Cursor::by_id(transaction.id.into()));
        let edges: Vec<_> =
            edges.into_iter().map(|(cursor, node)| TransactionEdge { cursor, node: node.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

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

/// What `InsufficientFundsError` carries.
#[derive(Clone, Debug)]
pub(crate) struct InsufficientFundsError {
    pub(crate) message: String,
    pub(crate) code: UserErrorCode,
    pub(crate) path: Option<Vec<String>>,
    wallet: WalletObject,
    shortfall: Money,
}

/// Not enough `available`. Carries the shortfall.
#[Object]
impl InsufficientFundsError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) async fn message(&self) -> &String {
        &self.message
    }

    /// A stable code: branch on it, never on `message`.
    pub(crate) async fn code(&self) -> &UserErrorCode {
        &self.code
    }

    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) async fn path(&self) -> &Option<Vec<String>> {
        &self.path
    }

    /// The caller's wallet as it is now.
    async fn wallet(&self) -> WalletObject {
        self.wallet.clone()
    }

    /// How much is missing in `available`.
    async fn shortfall(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.shortfall)
    }
}

/// The transaction has already been settled. Carries it as it is.
#[derive(Clone, SimpleObject)]
pub(crate) struct TransactionNotPendingError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The transaction as it is now.
    transaction: TransactionObject,
}

user_errors! {
    /// Why a wallet mutation did nothing.
    #[graphql(name = "WalletError")]
    pub(crate) enum WalletMutationError { InputError, InsufficientFundsError, TransactionNotPendingError, IdempotencyError }
}

impl WalletMutationError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    fn of(error: WalletError) -> Result<Self> {
        let message = error.to_string();
        Ok(match error {
            WalletError::Denied(refused) => return Err(denied(refused)),
            WalletError::Invalid(invalid) => InputError::from(invalid).into(),
            WalletError::InsufficientFunds(missing) => InsufficientFundsError::from(missing).into(),
            WalletError::NotPending(transaction) => TransactionNotPendingError {
                message,
                code: UserErrorCode::TransactionNotPending,
                path: Some(vec!["input".into(), "transactionId".into()]),
                transaction: (*transaction).into(),
            }
            .into(),
            WalletError::Key(conflict) => IdempotencyError::from(conflict).into(),
            WalletError::InternalError(failed) => return Err(fault(failed)),
        })
    }
}

impl From<InsufficientFunds> for InsufficientFundsError {
    fn from(missing: InsufficientFunds) -> Self {
        let (message, code) = (missing.to_string(), UserErrorCode::InsufficientFunds);
        let InsufficientFunds { wallet, shortfall } = missing;
        Self { message, code, path: None, wallet: (*wallet).into(), shortfall }
    }
}

/// Add money. It is `available` once the deposit is settled.
#[derive(InputObject)]
pub(crate) struct DepositInput {
    /// Greater than zero, in the marketplace's currency, within the largest amount that it allows.
    amount: MoneyInput,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
}

/// Take money out.
#[derive(InputObject)]
pub(crate) struct WithdrawInput {
    /// Greater than zero, in the marketplace's currency, at most what is `available`.
    amount: MoneyInput,
    /// Where the money goes, such as an IBAN: 1 to 200 characters.
    destination: String,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
}

/// Settle a PENDING deposit or withdrawal.
#[derive(InputObject)]
pub(crate) struct ConfirmTransactionInput {
    /// A deposit or withdrawal that is PENDING.
    transaction_id: ID,
    /// How it ends: the money moved, or not.
    #[graphql(default_with = "SettlementOutcome::Post")]
    outcome: SettlementOutcome,
    /// Any text that this caller has not used before, 1 to 100 visible ASCII characters, such as a UUID. The same key
    /// with the same input has no second effect. It is remembered for 7 days, unless the server is set otherwise.
    idempotency_key: String,
}

/// Result of `deposit`.
#[derive(SimpleObject)]
pub(crate) struct DepositPayload {
    /// The wallet after this step; null if nothing was done.
    wallet: Option<WalletObject>,
    /// The new deposit: PENDING until it is settled; null if nothing was done.
    transaction: Option<TransactionObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<WalletMutationError>,
}

/// Result of `withdraw`.
#[derive(SimpleObject)]
pub(crate) struct WithdrawPayload {
    /// The wallet after this step; null if nothing was done.
    wallet: Option<WalletObject>,
    /// The new withdrawal: PENDING until it is settled; null if nothing was done.
    transaction: Option<TransactionObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<WalletMutationError>,
}

/// Result of `confirmTransaction`.
#[derive(SimpleObject)]
pub(crate) struct ConfirmTransactionPayload {
    /// The wallet after this step; null if nothing was done.
    wallet: Option<WalletObject>,
    /// The transaction as it is now; null if nothing was done.
    transaction: Option<TransactionObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<WalletMutationError>,
}

/// What came of a wallet mutation, in the parts of its payload.
type Moved = (Option<WalletObject>, Option<TransactionObject>, Vec<WalletMutationError>);

async fn moved(ctx: &Context<'_>, done: Result<Transaction, WalletError>) -> Result<Moved> {
    Ok(match done {
        Ok(transaction) => {
            let wallet = ctx.get::<Wallets>().find(ctx.actor(), transaction.wallet_id).await?;
            (wallet.map(Into::into), Some(transaction.into()), Vec::new())
        }
        Err(error) => (None, None, vec![WalletMutationError::of(error)?]),
    })
}

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

/// An error of a read, which has no payload to tell it in.
fn top_level(error: WalletError) -> Error {
    match error {
        WalletError::Denied(refused) => denied(refused),
        WalletError::Invalid(_)
        | WalletError::InsufficientFunds(_)
        | WalletError::NotPending(_)
        | WalletError::Key(_) => ErrorCode::BadUserInput.error("This cannot be read with these arguments."),
        WalletError::InternalError(failed) => fault(failed),
    }
}

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

/// A `walletUpdated` event in the API.
#[derive(Clone)]
pub(crate) struct WalletUpdatedEvent {
    delivery: Arc<Delivery>,
    wallet: WalletObject,
    transaction: TransactionObject,
}

impl WalletUpdatedEvent {
    /// The event as the wallet's owner hears it.
    pub(crate) fn of(delivery: Arc<Delivery>) -> Result<Self> {
        let snapshot = delivery.payload::<WalletSnapshot>()?;
        let owner = Some(Arc::new(snapshot.owner.clone()));
        let wallet = WalletObject { wallet: Arc::new(snapshot.wallet.clone()), owner };
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
