//! The double-entry ledger.
//!
//! Owns `accounts`, `journals` and `entries`. A journal moves money between accounts: its entries add up to zero, so
//! the sum of all accounts, the outside world included, is zero for ever. A balance changes only here, by a conditional
//! update that refuses to go below zero, with a CHECK behind it. Accounts are locked in the order of their ids, so that
//! journals that share accounts queue and never deadlock. Entries are append-only; triggers hold that.
//!
//! Own code, being core: a general ledger crate brings its own transactions, and a hold must commit with the job that
//! it is for. Called by [`super::service`] alone.

use sea_orm::{DbErr, Value};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    db::Tx,
    error::Fault,
    faults_into,
    ids::{AccountId, Ids, JournalId, UserId},
    money::Money,
    named_enum,
};

named_enum! {
    /// What an account holds.
    pub enum AccountKind {
        /// Everything outside: the only account that may be negative.
        World = "WORLD",
        /// A user's money that can be spent.
        Available = "AVAILABLE",
        /// A user's withdrawals on their way.
        PendingOut = "PENDING_OUT",
        /// Held for one reference.
        Escrow = "ESCROW",
        /// The platform's.
        Fees = "FEES",
    }
}

named_enum! {
    /// What a journal is about.
    pub enum JournalKind {
        /// World to available.
        Deposit = "DEPOSIT",
        /// Available to `pending_out`.
        WithdrawalReserve = "WITHDRAWAL_RESERVE",
        /// `pending_out` to world.
        WithdrawalSettle = "WITHDRAWAL_SETTLE",
        /// `pending_out` back to available.
        WithdrawalVoid = "WITHDRAWAL_VOID",
        /// Available to escrow.
        EscrowHold = "ESCROW_HOLD",
        /// Escrow to available, and a share to fees.
        EscrowRelease = "ESCROW_RELEASE",
        /// Escrow back to available.
        EscrowRefund = "ESCROW_REFUND",
        /// The opposite of another journal.
        Reversal = "REVERSAL",
    }
}

/// Names an account by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountName {
    kind: AccountKind,
    owner: Uuid,
}

impl AccountName {
    /// Everything outside.
    pub const WORLD: Self = Self { kind: AccountKind::World, owner: Uuid::nil() };
    /// The platform's fees.
    pub const FEES: Self = Self { kind: AccountKind::Fees, owner: Uuid::nil() };

    /// What a user can spend.
    pub fn available(user: UserId) -> Self {
        Self { kind: AccountKind::Available, owner: user.into() }
    }

    /// What a user is withdrawing.
    pub fn pending_out(user: UserId) -> Self {
        Self { kind: AccountKind::PendingOut, owner: user.into() }
    }

    /// What is held for a reference.
    pub const fn escrow(reference: Uuid) -> Self {
        Self { kind: AccountKind::Escrow, owner: reference }
    }
}

/// One side of a journal.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    /// Whose balance changes.
    pub account: AccountName,
    /// By how much, signed.
    pub amount: Money,
}

/// A journal to be posted.
#[derive(Clone, Copy, Debug)]
pub struct Journal<'a> {
    /// What it is about.
    pub kind: JournalKind,
    /// What it is for, opaque here.
    pub reference: Option<Uuid>,
    /// Two or more sides, of zero together; those of zero alone are left out.
    pub legs: &'a [Leg],
    /// When.
    pub at: Timestamp,
}

/// Why a journal was not posted.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// This account would fall below zero.
    #[error("{0:?} would be overdrawn")]
    Insufficient(AccountName),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

faults_into!(LedgerError);

/// Posts a journal: all of it or, by the error that ends the transaction, nothing.
pub async fn post(tx: &Tx, ids: &Ids, journal: Journal<'_>) -> Result<JournalId, LedgerError> {
    let legs: Vec<Leg> = journal.legs.iter().copied().filter(|leg| leg.amount != Money::ZERO).collect();
    let sum = legs.iter().try_fold(Money::ZERO, |sum, leg| sum.plus(leg.amount))?;
    if sum != Money::ZERO || legs.len() < 2 {
        return Err(Fault::corrupt(format!("a journal of {} legs adds up to {sum:?}", legs.len())).into());
    }
    let ids_of_accounts = accounts_in(tx, ids, &legs).await?;
    let mut accounts: Vec<(AccountId, Leg)> = ids_of_accounts.into_iter().zip(legs).collect();
    accounts.sort_by_key(|(account, _)| *account);

    let id: JournalId = ids.next();
    let sql = "INSERT INTO journals (id, kind, reference_id, created_at) VALUES (?, ?, ?, ?)";
    tx.later(sql, [id.into(), journal.kind.as_str().into(), journal.reference.into(), journal.at.into()]).await?;
    for (place, (account, leg)) in (0_i32..).zip(accounts) {
        let amount = leg.amount.minor();
        if leg.amount.is_positive() {
            let sql = "UPDATE accounts SET balance_minor = balance_minor + ? WHERE id = ?";
            tx.later(sql, [amount.into(), account.into()]).await?;
        } else {
            let moved = tx
                .query(
                    "UPDATE accounts SET balance_minor = balance_minor + ? \
                     WHERE id = ? AND (kind = 'WORLD' OR balance_minor + ? >= 0) RETURNING 1",
                    [amount.into(), account.into(), amount.into()],
                )
                .await?;
            if moved.is_empty() {
                return Err(LedgerError::Insufficient(leg.account));
            }
        }
        let sql = "INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor) \
                   SELECT ?, ?, id, ?, balance_minor FROM accounts WHERE id = ?";
        tx.later(sql, [id.into(), place.into(), amount.into(), account.into()]).await?;
    }
    Ok(id)
}

/// The accounts of these legs, in their order; each is opened on its first use.
async fn accounts_in(tx: &Tx, ids: &Ids, legs: &[Leg]) -> Result<Vec<AccountId>, DbErr> {
    let key = |name: AccountName| -> [Value; 2] { [name.kind.as_str().into(), name.owner.into()] };
    let find = format!(
        "SELECT id, kind, owner_id FROM accounts WHERE (kind = ? AND owner_id = ?){}",
        " OR (kind = ? AND owner_id = ?)".repeat(legs.len() - 1)
    );
    let known = tx.query(&find, legs.iter().flat_map(|leg| key(leg.account))).await?;
    let mut accounts = Vec::with_capacity(legs.len());
    for leg in legs {
        let name = leg.account;
        let mut found = None;
        for row in &known {
            let owner: Uuid = row.try_get("", "owner_id")?;
            if owner == name.owner && row.try_get::<String>("", "kind")? == name.kind.as_str() {
                found = Some(row.try_get("", "id")?);
            }
        }
        accounts.push(match found {
            Some(account) => account,
            None => opened_in(tx, ids, name).await?,
        });
    }
    Ok(accounts)
}

/// An account that was not there a moment ago.
async fn opened_in(tx: &Tx, ids: &Ids, name: AccountName) -> Result<AccountId, DbErr> {
    let (kind, owner) = (name.kind.as_str(), name.owner);
    let fresh: AccountId = ids.next();
    let sql = "INSERT INTO accounts (id, kind, owner_id, balance_minor) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING RETURNING id";
    if let Some(row) = tx.query(sql, [fresh.into(), kind.into(), owner.into()]).await?.first() {
        return row.try_get("", "id");
    }
    // Somebody else opened it meanwhile, and has committed.
    let rows = tx.query("SELECT id FROM accounts WHERE kind = ? AND owner_id = ?", [kind.into(), owner.into()]).await?;
    let row = rows.first().ok_or_else(|| DbErr::RecordNotFound(format!("{name:?}")))?;
    row.try_get("", "id")
}
