//! What moves money: deposits, withdrawals and their settlement, and the escrow moves of the neighbours above.
//!
//! Each change is one journal (two over time for a withdrawal), one new version of each wallet concerned, one
//! transaction in each wallet's history and one `walletUpdated` event for each, all in the caller's SQL transaction.

use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, sea_query::Expr};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    due::{ROWS, Sandbox},
    entity::{
        transactions::{self, Finders as _},
        wallets,
    },
    error::{HoldError, InsufficientFunds, WalletError},
    events::{WalletSnapshot, updated},
    ledger::{self, AccountName, Journal, JournalKind, LedgerError, Leg},
    model::{Line, Movement, SettlementOutcome, Transaction, TransactionStatus, TransactionType, Wallet, wallet_of},
};
use crate::{
    accounts::{Accounts, model::UserCard},
    auth::actor::{Actor, Denied},
    clock::{Clock, Timestamp},
    db::{Db, Tx},
    error::{InternalError, Invalid, InvalidKind},
    events,
    idempotency::{IdempotencyKey, Once, once_in},
    ids::{Ids, JournalId, TransactionId, UserId, WalletId},
    money::{Currency, Money, Overflow},
    text,
};

/// The wallets. Clones share everything.
#[derive(Clone, Debug)]
pub struct Wallets {
    pub(super) db: Db,
    clock: Clock,
    ids: Ids,
    pub(super) accounts: Accounts,
    currency: Currency,
    /// Settles by itself what is asked for; none where somebody else does.
    sandbox: Option<Sandbox>,
}

/// An amount as it came: texts, so that a bad one is refused by its path.
#[derive(Clone, Debug, Serialize)]
pub struct AmountInput {
    /// A decimal.
    pub amount: String,
    /// A currency code.
    pub currency_code: String,
}

impl AmountInput {
    /// Reads an amount above zero from `input.<field>`.
    pub fn parse(&self, currency: &Currency, field: &str) -> Result<Money, Invalid> {
        let code = format!("{field}.currencyCode");
        currency.check_code(&self.currency_code).map_err(|why| Invalid::value(&code, why))?;
        let amount = format!("{field}.amount");
        currency.parse(&self.amount).map_err(|why| Invalid::value(&amount, why))
    }
}

/// What a movement looks like in a wallet's history.
struct History {
    kind: TransactionType,
    /// Whether it waits to be settled; otherwise it is final from the beginning.
    pending: bool,
    amount: Money,
    fee: Option<Money>,
    reference: Option<Uuid>,
    journal: Option<JournalId>,
    destination: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Settled {
    transaction: TransactionId,
}

impl Wallets {
    /// Wallets in `currency`, whose deposits and withdrawals a sandbox may settle.
    pub fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        accounts: Accounts,
        currency: Currency,
        sandbox: Option<Sandbox>,
    ) -> Self {
        Self { db, clock, ids, accounts, currency, sandbox }
    }

    /// The same on another view of the database.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        Self { db: db.clone(), accounts: self.accounts.on(db), ..self.clone() }
    }

    /// The one currency.
    pub const fn currency(&self) -> &Currency {
        &self.currency
    }

    /// Announces money from outside. It counts once the processor confirms it.
    #[tracing::instrument(skip_all)]
    pub async fn deposit(&self, actor: Actor, amount: AmountInput, key: &str) -> Result<Transaction, WalletError> {
        let user = actor.client_or_freelancer()?;
        let key = &IdempotencyKey::parse(key)?;
        let sum = amount.parse(&self.currency, "amount")?;
        let amount = &amount;
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let deposited = once_in(&tx, now, user, ("deposit", key), amount, || async {
                    let movement = Movement { pending_in: sum, ..Movement::default() };
                    let history = History {
                        kind: TransactionType::Deposit,
                        pending: true,
                        amount: sum,
                        fee: None,
                        reference: None,
                        journal: None,
                        destination: None,
                    };
                    let owner = self.accounts.card_in(&tx, user).await?;
                    let transaction = self.change_in(&tx, &owner, movement, history, now).await?;
                    Ok::<_, WalletError>((Settled { transaction: transaction.id }, transaction))
                })
                .await?;
                Ok(self.outcome_in(&tx, deposited).await?)
            })
            .await
            .inspect(|_| self.ring())
    }

    /// Reserves money on its way out. It leaves once the processor confirms it.
    #[tracing::instrument(skip_all)]
    pub async fn withdraw(
        &self,
        actor: Actor,
        amount: AmountInput,
        destination: &str,
        key: &str,
    ) -> Result<Transaction, WalletError> {
        let user = actor.client_or_freelancer()?;
        let key = &IdempotencyKey::parse(key)?;
        let sum = amount.parse(&self.currency, "amount")?;
        let input = &(amount, text::DESTINATION.parse("destination", destination)?);
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let withdrawn = once_in(&tx, now, user, ("withdraw", key), input, || async {
                    let legs = transfer(AccountName::available(user), AccountName::pending_out(user), sum)?;
                    let journal =
                        self.take_in(&tx, user, sum, JournalKind::WithdrawalReserve, None, &legs, now).await?;
                    let movement = Movement { available: sum.negated()?, pending_out: sum, ..Movement::default() };
                    let history = History {
                        kind: TransactionType::Withdrawal,
                        pending: true,
                        amount: sum.negated()?,
                        fee: None,
                        reference: None,
                        journal: Some(journal),
                        destination: Some(input.1.clone()),
                    };
                    let owner = self.accounts.card_in(&tx, user).await?;
                    let transaction = self.change_in(&tx, &owner, movement, history, now).await?;
                    Ok::<_, WalletError>((Settled { transaction: transaction.id }, transaction))
                })
                .await?;
                Ok(self.outcome_in(&tx, withdrawn).await?)
            })
            .await
            .inspect(|_| self.ring())
    }

    /// Admin, or a payment processor with an admin's account: settles a pending transaction of somebody else.
    #[tracing::instrument(skip_all, fields(transaction.id = transaction))]
    pub async fn confirm(
        &self,
        actor: Actor,
        transaction: &str,
        outcome: SettlementOutcome,
        key: &str,
    ) -> Result<Transaction, WalletError> {
        let admin = actor.admin()?;
        let key = &IdempotencyKey::parse(key)?;
        let not_found = || Invalid::not_found("transactionId", "transaction");
        let transaction: TransactionId = transaction.parse().map_err(|_| not_found())?;
        self.db
            .transact(|tx| async move {
                let input = &(transaction, outcome);
                let settled = once_in(&tx, self.clock.now(), admin, ("confirmTransaction", key), input, || async {
                    let after = self.settle_in(&tx, transaction, outcome, Some(admin)).await?.ok_or_else(not_found)?;
                    let detail = format!("{transaction} {}", outcome.as_str());
                    self.accounts.audit_in(&tx, admin, "confirmTransaction", &transaction.to_string(), &detail).await?;
                    Ok::<_, WalletError>((Settled { transaction }, after))
                })
                .await?;
                Ok(self.outcome_in(&tx, settled).await?)
            })
            .await
    }

    /// The server itself: settles a transaction that the sandbox has let wait for long enough, by the database's clock. One
    /// that is not due, or settled already, stays as it is.
    #[tracing::instrument(skip_all, fields(transaction.id = %transaction))]
    pub async fn settle_due(&self, actor: Actor, transaction: TransactionId) -> Result<(), WalletError> {
        let Some(Sandbox { schedule, .. }) = self.sandbox.as_ref().filter(|_| actor == Actor::System) else {
            return Err(Denied::Unauthenticated.into());
        };
        self.db
            .transact(|tx| async move {
                if schedule.is_due_in(&tx, ROWS, transaction.into()).await? {
                    self.settle_in(&tx, transaction, SettlementOutcome::Post, None).await?;
                }
                Ok(())
            })
            .await
    }

    /// Tells the clock room of this process that there is something to settle.
    fn ring(&self) {
        if let Some(Sandbox { schedule, .. }) = &self.sandbox {
            schedule.ring();
        }
    }

    /// Moves `amount` from what a user can spend into escrow for `reference`.
    pub async fn hold_in(&self, tx: &Tx, owner: &UserCard, amount: Money, reference: Uuid) -> Result<(), HoldError> {
        let (user, now) = (owner.id, self.clock.now());
        let legs = transfer(AccountName::available(user), AccountName::escrow(reference), amount)?;
        let journal = self.take_in(tx, user, amount, JournalKind::EscrowHold, Some(reference), &legs, now).await?;
        let movement = Movement { available: amount.negated()?, in_escrow: amount, ..Movement::default() };
        let history = escrow(TransactionType::EscrowHold, amount.negated()?, reference, journal, None);
        self.change_in(tx, owner, movement, history, now).await?;
        Ok(())
    }

    /// Moves `amount` from escrow for `reference` back to what a user can spend.
    pub async fn refund_in(
        &self,
        tx: &Tx,
        owner: &UserCard,
        amount: Money,
        reference: Uuid,
    ) -> Result<(), InternalError> {
        let (user, now) = (owner.id, self.clock.now());
        let legs = transfer(AccountName::escrow(reference), AccountName::available(user), amount)?;
        let journal = self.post_in(tx, JournalKind::EscrowRefund, Some(reference), &legs, now).await?;
        let movement = Movement { available: amount, in_escrow: amount.negated()?, ..Movement::default() };
        let history = escrow(TransactionType::EscrowRefund, amount, reference, journal, None);
        self.change_in(tx, owner, movement, history, now).await.map(drop)
    }

    /// Pays `amount` from escrow for `reference`: `fee` to the platform, the rest to the freelancer. One journal, and a
    /// line in the history of each of the two. Returns the freelancer's.
    pub async fn release_in(
        &self,
        tx: &Tx,
        (client, freelancer): (&UserCard, &UserCard),
        amount: Money,
        fee: Money,
        reference: Uuid,
    ) -> Result<Transaction, InternalError> {
        let now = self.clock.now();
        let net = amount.minus(fee)?;
        let legs = [
            Leg { account: AccountName::escrow(reference), amount: amount.negated()? },
            Leg { account: AccountName::available(freelancer.id), amount: net },
            Leg { account: AccountName::fees(freelancer.id), amount: fee },
        ];
        let journal = self.post_in(tx, JournalKind::EscrowRelease, Some(reference), &legs, now).await?;
        let paid = Movement { in_escrow: amount.negated()?, ..Movement::default() };
        let received = Movement { available: net, ..Movement::default() };
        let release = |amount, fee| escrow(TransactionType::EscrowRelease, amount, reference, journal, fee);
        // Wallets are locked in the order of their ids, as accounts are.
        if client.id < freelancer.id {
            self.change_in(tx, client, paid, release(Money::ZERO, None), now).await?;
            self.change_in(tx, freelancer, received, release(net, Some(fee)), now).await
        } else {
            let transaction = self.change_in(tx, freelancer, received, release(net, Some(fee)), now).await?;
            self.change_in(tx, client, paid, release(Money::ZERO, None), now).await?;
            Ok(transaction)
        }
    }

    /// The transaction that a request made or settled: as it left it, or as it is by now.
    async fn outcome_in(&self, tx: &Tx, outcome: Once<Settled, Transaction>) -> Result<Transaction, InternalError> {
        let id = match outcome {
            Once::Now(transaction) => return Ok(transaction),
            Once::Before(Settled { transaction }) => transaction,
        };
        let row = transactions::Entity::find_by_id(id).one(&**tx).await?;
        row.ok_or_else(|| InternalError::corrupt(format!("{id} is missing")))?.try_into()
    }

    /// Settles a pending transaction under its lock, for an admin or for the sandbox; `None` if there is no such
    /// transaction.
    async fn settle_in(
        &self,
        tx: &Tx,
        id: TransactionId,
        outcome: SettlementOutcome,
        admin: Option<UserId>,
    ) -> Result<Option<Transaction>, WalletError> {
        let row = transactions::Entity::find_by_id(id).locked().one(&**tx).await?;
        let Some(row) = row else { return Ok(None) };
        let before = Transaction::try_from(row)?;
        // Whatever its status: an admin who asked for money is not the one who says that it came.
        if admin.is_some_and(|admin| wallet_of(admin) == before.wallet_id) {
            let message = "You cannot settle your own deposit or withdrawal. Ask another admin.";
            return Err(Invalid::new(InvalidKind::OwnTransaction, message, "transactionId").into());
        }
        if before.status() != TransactionStatus::Pending {
            return Err(WalletError::NotPending(Box::new(before)));
        }
        let now = self.clock.now();
        let user: UserId = Uuid::from(before.wallet_id).into();
        let posted = outcome == SettlementOutcome::Post;
        let (journal, movement) = if before.kind == TransactionType::Deposit {
            let sum = before.amount;
            let pending_in = sum.negated()?;
            if posted {
                let legs = transfer(AccountName::world(user), AccountName::available(user), sum)?;
                let journal = self.post_in(tx, JournalKind::Deposit, None, &legs, now).await?;
                (Some(journal), Movement { available: sum, pending_in, ..Movement::default() })
            } else {
                (None, Movement { pending_in, ..Movement::default() })
            }
        } else {
            let sum = before.amount.negated()?;
            let pending_out = before.amount;
            let from = AccountName::pending_out(user);
            let (to, kind) = if posted {
                (AccountName::world(user), JournalKind::WithdrawalSettle)
            } else {
                (AccountName::available(user), JournalKind::WithdrawalVoid)
            };
            let journal = self.post_in(tx, kind, None, &transfer(from, to, sum)?, now).await?;
            let available = if posted { Money::ZERO } else { sum };
            (Some(journal), Movement { available, pending_out, ..Movement::default() })
        };
        let wallet = self.move_in(tx, user, movement, now).await?;
        let after = before.settle(outcome, wallet.available, now);
        let after = after.map_err(|_| WalletError::NotPending(Box::new(before)))?;
        // Deferred, as the journal is that it refers to.
        let update = transactions::Entity::update_many()
            .filter(transactions::Column::Id.eq(id))
            .col_expr(transactions::Column::Version, Expr::value(after.version))
            .col_expr(transactions::Column::Status, Expr::value(after.status().as_str()))
            .col_expr(transactions::Column::AvailableAfterMinor, Expr::value(after.available_after))
            .col_expr(transactions::Column::SettlementJournalId, Expr::value(journal))
            .col_expr(transactions::Column::SettledAt, Expr::value(after.settled_at()));
        tx.defer_built(&update).await?;
        let owner = self.accounts.card_in(tx, user).await?;
        self.record_in(tx, &owner, wallet, after.clone(), now).await?;
        Ok(Some(after))
    }

    /// Posts a journal that takes from what `user` can spend, and says what is missing if that does not cover it.
    #[expect(clippy::too_many_arguments, reason = "each is a plain fact of the one journal")]
    async fn take_in(
        &self,
        tx: &Tx,
        user: UserId,
        amount: Money,
        kind: JournalKind,
        reference: Option<Uuid>,
        legs: &[Leg],
        at: Timestamp,
    ) -> Result<JournalId, HoldError> {
        match ledger::post(tx, &self.ids, Journal { kind, reference, legs, at }).await {
            Err(LedgerError::Insufficient(account)) if account == AccountName::available(user) => {
                let row = wallets::Entity::find_by_id(wallet_of(user)).one(&**tx).await?;
                let wallet = match row {
                    Some(row) => row.into(),
                    None => Wallet::untouched(&self.accounts.card_in(tx, user).await?),
                };
                let shortfall = wallet.shortfall(amount)?;
                Err(InsufficientFunds { wallet: Box::new(wallet), shortfall }.into())
            }
            posted => Ok(posted.map_err(InternalError::from)?),
        }
    }

    async fn post_in(
        &self,
        tx: &Tx,
        kind: JournalKind,
        reference: Option<Uuid>,
        legs: &[Leg],
        at: Timestamp,
    ) -> Result<JournalId, InternalError> {
        Ok(ledger::post(tx, &self.ids, Journal { kind, reference, legs, at }).await?)
    }

    /// Changes a wallet, writes the change into its history and records the event.
    async fn change_in(
        &self,
        tx: &Tx,
        owner: &UserCard,
        movement: Movement,
        history: History,
        now: Timestamp,
    ) -> Result<Transaction, InternalError> {
        let wallet = self.move_in(tx, owner.id, movement, now).await?;
        let History { kind, pending, amount, fee, reference, journal, destination } = history;
        let line = Line { wallet_id: wallet.id, kind, amount, available_after: wallet.available, fee, reference };
        let begin = if pending { Transaction::pending } else { Transaction::posted };
        let transaction = begin(self.ids.next(), line, now);
        let row = transactions::Model {
            id: transaction.id,
            version: transaction.version,
            wallet_id: transaction.wallet_id,
            kind: kind.as_str().to_owned(),
            status: transaction.status().as_str().to_owned(),
            amount_minor: transaction.amount,
            available_after_minor: transaction.available_after,
            fee_minor: transaction.fee,
            reference_id: transaction.reference,
            journal_id: journal,
            settlement_journal_id: None,
            reverses_id: transaction.reverses,
            destination,
            settle_due_at: self
                .sandbox
                .as_ref()
                .filter(|_| pending)
                .map(|sandbox| sandbox.schedule.after(sandbox.delay)),
            created_at: transaction.created_at,
            settled_at: transaction.settled_at(),
        };
        tx.defer_built(&transactions::Entity::insert(row.into_active_model())).await?;
        self.record_in(tx, owner, wallet, transaction.clone(), now).await?;
        Ok(transaction)
    }

    /// Adds `movement` to a wallet, whose row is made on its first movement.
    async fn move_in(
        &self,
        tx: &Tx,
        user: UserId,
        movement: Movement,
        now: Timestamp,
    ) -> Result<Wallet, InternalError> {
        let id = wallet_of(user);
        if let Some(wallet) = add_in(tx, id, movement, now).await? {
            return Ok(wallet);
        }
        let open = "INSERT INTO wallets (id, version, available_minor, in_escrow_minor, pending_in_minor, \
                    pending_out_minor, updated_at) VALUES (?, 1, 0, 0, 0, 0, ?) ON CONFLICT DO NOTHING";
        tx.pipeline(open, [id.into(), now.into()]).await?;
        add_in(tx, id, movement, now).await?.ok_or_else(|| InternalError::corrupt(format!("{id} vanished")))
    }

    async fn record_in(
        &self,
        tx: &Tx,
        owner: &UserCard,
        wallet: Wallet,
        transaction: Transaction,
        now: Timestamp,
    ) -> Result<(), InternalError> {
        let snapshot = WalletSnapshot { wallet, owner: owner.clone(), transaction };
        Ok(events::record(tx, updated(self.ids.next(), &snapshot, now)?).await?)
    }
}

/// Adds `movement` to a wallet that has a row.
async fn add_in(tx: &Tx, id: WalletId, movement: Movement, now: Timestamp) -> Result<Option<Wallet>, InternalError> {
    let add = |column, amount: Money| (column, Expr::col(column).add(amount.minor()));
    let mut update = wallets::Entity::update_many().filter(wallets::Column::Id.eq(id));
    for (column, value) in [
        (wallets::Column::Version, Expr::col(wallets::Column::Version).add(1)),
        (wallets::Column::UpdatedAt, Expr::value(now)),
        add(wallets::Column::AvailableMinor, movement.available),
        add(wallets::Column::InEscrowMinor, movement.in_escrow),
        add(wallets::Column::PendingInMinor, movement.pending_in),
        add(wallets::Column::PendingOutMinor, movement.pending_out),
    ] {
        update = update.col_expr(column, value);
    }
    Ok(update.exec_with_returning(&**tx).await?.pop().map(Into::into))
}

/// Two legs: `amount` from one account to the other.
fn transfer(from: AccountName, to: AccountName, amount: Money) -> Result<[Leg; 2], Overflow> {
    Ok([Leg { account: from, amount: amount.negated()? }, Leg { account: to, amount }])
}

fn escrow(kind: TransactionType, amount: Money, reference: Uuid, journal: JournalId, fee: Option<Money>) -> History {
    History { kind, pending: false, amount, fee, reference: Some(reference), journal: Some(journal), destination: None }
}
