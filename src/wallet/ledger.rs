//! The double-entry ledger.
//!
//! Owns `accounts`, `journals` and `entries`. A journal moves money between accounts: its entries add up to zero, so
//! the sum of all accounts, the outside world included, is zero for ever. A balance changes only here, on a locked row,
//! by a conditional update that refuses to go below zero, with a CHECK behind it. Accounts are locked in the order of
//! their ids, so that journals that share accounts queue and never deadlock. Entries are append-only; triggers hold
//! that. Each continues the chain of hashes of its account: see [`chain`].
//!
//! **No row is everybody's.** What came in from outside and what the platform has earned is kept for each user: the
//! world that a user's deposits come from, the fees that a freelancer has paid. A journal therefore locks rows of its
//! own parties alone, and payments of different people never wait for each other. The platform's balance is the sum
//! over all accounts of the kind. The two accounts with the owner zero are those of earlier versions, which kept one
//! for everybody; what they hold stays in them.
//!
//! Own code, being core: a general ledger crate brings its own transactions, and a hold must commit with the job that
//! it is for. Called by [`super::service`] alone.

use sea_orm::{QueryResult, Value};
use uuid::Uuid;

use super::chain::{self, Hash, Link};
use crate::{
    clock::Timestamp,
    db::{Backend, Tx},
    error::InternalError,
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
    /// Everything outside, as far as this user's money came from there or went there.
    pub fn world(user: UserId) -> Self {
        Self { kind: AccountKind::World, owner: user.into() }
    }

    /// The platform's fees that were kept from this user's pay.
    pub fn fees(user: UserId) -> Self {
        Self { kind: AccountKind::Fees, owner: user.into() }
    }

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
    InternalError(#[from] InternalError),
}

faults_into!(LedgerError);

/// An account whose row is locked until the transaction ends.
struct Account {
    id: AccountId,
    name: AccountName,
    balance: Money,
    /// Entries of its chain, and the hash of the last one.
    sequence: i64,
    head: Hash,
}

/// Posts a journal: all of it or, by the error that ends the transaction, nothing.
pub async fn post(tx: &Tx, ids: &Ids, journal: Journal<'_>) -> Result<JournalId, LedgerError> {
    let legs: Vec<Leg> = journal.legs.iter().copied().filter(|leg| leg.amount != Money::ZERO).collect();
    let sum = legs.iter().try_fold(Money::ZERO, |sum, leg| sum.plus(leg.amount))?;
    if sum != Money::ZERO || legs.len() < 2 {
        return Err(InternalError::corrupt(format!("a journal of {} legs adds up to {sum:?}", legs.len())).into());
    }
    let mut accounts = lock_in(tx, ids, &legs).await?;
    let id: JournalId = ids.next();
    let sql = "INSERT INTO journals (id, kind, reference_id, created_at) VALUES (?, ?, ?, ?)";
    tx.defer(sql, [id.into(), journal.kind.as_str().into(), journal.reference.into(), journal.at.into()]).await?;
    let mut moved = Vec::with_capacity(accounts.len() * 4);
    for (place, account) in (0_i32..).zip(&mut accounts) {
        let leg = legs.iter().find(|leg| leg.account == account.name);
        let leg = leg.ok_or_else(|| InternalError::corrupt(format!("{:?} has no leg", account.name)))?;
        account.balance = account.balance.plus(leg.amount)?;
        if account.balance < Money::ZERO && account.name.kind != AccountKind::World {
            return Err(LedgerError::Insufficient(account.name));
        }
        account.sequence += 1;
        account.head = chain::next(
            account.head,
            &Link {
                account: account.id,
                kind: account.name.kind.as_str(),
                owner: account.name.owner,
                sequence: account.sequence,
                journal: id,
                place,
                amount: leg.amount,
                balance_after: account.balance,
                journal_kind: journal.kind.as_str(),
                reference: journal.reference,
                created_at: journal.at,
            },
        );
        let sql = "INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor, sequence, \
                   chain_hash) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values: [Value; 7] = [
            id.into(),
            place.into(),
            account.id.into(),
            leg.amount.minor().into(),
            account.balance.minor().into(),
            account.sequence.into(),
            account.head.to_vec().into(),
        ];
        tx.defer(sql, values).await?;
        let values: [Value; 4] =
            [account.id.into(), leg.amount.minor().into(), account.sequence.into(), account.head.to_vec().into()];
        moved.extend(values);
    }
    // A statement of its own and not deferred: another journal of the same transaction reads the balances.
    let sql = format!(
        "UPDATE accounts SET balance_minor = balance_minor + moved.column2, entry_count = moved.column3, \
         chain_head = moved.column4 FROM (VALUES (?, ?, ?, ?){}) AS moved \
         WHERE accounts.id = moved.column1 AND (kind = 'WORLD' OR balance_minor + moved.column2 >= 0) \
         RETURNING 1",
        ", (?, ?, ?, ?)".repeat(accounts.len() - 1)
    );
    let changed = tx.query(&sql, moved).await?;
    if changed.len() == accounts.len() {
        Ok(id)
    } else {
        Err(InternalError::corrupt("an account changed under its lock").into())
    }
}

/// Locks the accounts of these legs, one for each, in the order of their ids. An account is opened on its first use.
async fn lock_in(tx: &Tx, ids: &Ids, legs: &[Leg]) -> Result<Vec<Account>, InternalError> {
    let lock = match tx.backend() {
        // There is one writer.
        Backend::Sqlite => "",
        Backend::Postgres => " FOR NO KEY UPDATE",
    };
    let find = format!(
        "SELECT id, kind, owner_id, balance_minor, entry_count, chain_head FROM accounts \
         WHERE (owner_id = ? AND kind = ?){} ORDER BY id{lock}",
        " OR (owner_id = ? AND kind = ?)".repeat(legs.len() - 1)
    );
    let names = || legs.iter().flat_map(|Leg { account, .. }| [account.owner.into(), account.kind.as_str().into()]);
    let rows = tx.query(&find, names()).await?;
    let mut accounts: Vec<Account> = rows.iter().map(Account::read).collect::<Result<_, _>>()?;
    let missing: Vec<AccountName> = legs
        .iter()
        .map(|leg| leg.account)
        .filter(|name| accounts.iter().all(|account| account.name != *name))
        .collect();
    if !missing.is_empty() {
        // Their ids are later than all there are, so the order of locks holds.
        let fresh: Vec<Account> = missing.iter().map(|name| Account::fresh(ids.next(), *name)).collect();
        let sql = format!(
            "INSERT INTO accounts (id, kind, owner_id, balance_minor) VALUES (?, ?, ?, 0){} \
             ON CONFLICT (owner_id, kind) DO NOTHING RETURNING 1",
            ", (?, ?, ?, 0)".repeat(fresh.len() - 1)
        );
        let values = fresh.iter().flat_map(|Account { id, name, .. }| -> [Value; 3] {
            [(*id).into(), name.kind.as_str().into(), name.owner.into()]
        });
        if tx.query(&sql, values).await?.len() == fresh.len() {
            accounts.extend(fresh);
        } else {
            // Somebody else has opened one meanwhile, and has committed.
            let rows = tx.query(&find, names()).await?;
            accounts = rows.iter().map(Account::read).collect::<Result<_, _>>()?;
        }
    }
    if accounts.len() == legs.len() {
        Ok(accounts)
    } else {
        Err(InternalError::corrupt(format!("{} accounts for {} legs", accounts.len(), legs.len())))
    }
}

impl Account {
    /// One that nothing has moved on yet.
    const fn fresh(id: AccountId, name: AccountName) -> Self {
        Self { id, name, balance: Money::ZERO, sequence: 0, head: chain::START }
    }

    fn read(row: &QueryResult) -> Result<Self, InternalError> {
        let kind = AccountKind::from_column(&row.try_get_by_index::<String>(1)?)?;
        let head: Option<Vec<u8>> = row.try_get_by_index(5)?;
        Ok(Self {
            id: row.try_get_by_index(0)?,
            name: AccountName { kind, owner: row.try_get_by_index(2)? },
            balance: row.try_get_by_index(3)?,
            sequence: row.try_get_by_index(4)?,
            head: chain::head_of(head.as_deref())?,
        })
    }
}
