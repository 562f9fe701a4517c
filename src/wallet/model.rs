//! Wallets and transactions, and how a transaction ends. Pure.
//!
//! A transaction's status carries when it ended ([`State`], which is private); [`Transaction::settle`] alone leads from
//! one to another.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    accounts::model::UserCard,
    clock::Timestamp,
    error::{InternalError, InvalidTransition},
    ids::{TransactionId, UserId, WalletId},
    money::{Money, Overflow},
    named_enum,
};

named_enum! {
    /// Why money moved.
    pub enum TransactionType {
        /// In from outside.
        Deposit = "DEPOSIT",
        /// Out to the outside.
        Withdrawal = "WITHDRAWAL",
        /// Set aside for a job.
        EscrowHold = "ESCROW_HOLD",
        /// Paid for a job.
        EscrowRelease = "ESCROW_RELEASE",
        /// Given back from a job.
        EscrowRefund = "ESCROW_REFUND",
        /// The platform's share.
        PlatformFee = "PLATFORM_FEE",
        /// Undoes another transaction.
        Reversal = "REVERSAL",
    }
}

named_enum! {
    /// How far a transaction has come.
    pub enum TransactionStatus {
        /// Reserved, not settled.
        Pending = "PENDING",
        /// Final.
        Posted = "POSTED",
        /// Called off.
        Voided = "VOIDED",
        /// Refused outside.
        Failed = "FAILED",
    }
}

named_enum! {
    /// How a pending transaction ends.
    pub enum SettlementOutcome {
        /// The money moved.
        Post = "POST",
        /// It was called off.
        Void = "VOID",
        /// The outside refused.
        Fail = "FAIL",
    }
}

impl SettlementOutcome {
    /// The status that this outcome leads to.
    pub const fn status(self) -> TransactionStatus {
        match self {
            Self::Post => TransactionStatus::Posted,
            Self::Void => TransactionStatus::Voided,
            Self::Fail => TransactionStatus::Failed,
        }
    }
}

/// A user's money. It has the UUID of the user's id, with another prefix: every user has a wallet from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wallet {
    /// Which.
    pub id: WalletId,
    /// Grows by one with each change.
    pub version: i64,
    /// Can be spent now.
    pub available: Money,
    /// Held for the user's jobs.
    pub in_escrow: Money,
    /// Deposits on their way in.
    pub pending_in: Money,
    /// Withdrawals on their way out.
    pub pending_out: Money,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Wallet {
    /// A wallet that nothing has moved in or out of yet.
    pub fn untouched(owner: &UserCard) -> Self {
        Self {
            id: wallet_of(owner.id),
            version: 1,
            available: Money::ZERO,
            in_escrow: Money::ZERO,
            pending_in: Money::ZERO,
            pending_out: Money::ZERO,
            updated_at: owner.created_at,
        }
    }

    /// Whose it is.
    pub fn owner(&self) -> UserId {
        Uuid::from(self.id).into()
    }

    /// How much is missing from `available` to spend `amount`.
    pub fn shortfall(&self, amount: Money) -> Result<Money, Overflow> {
        amount.minus(self.available)
    }
}

/// The wallet of a user.
pub fn wallet_of(user: UserId) -> WalletId {
    Uuid::from(user).into()
}

/// What a change adds to each part of a wallet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Movement {
    /// To what can be spent.
    pub available: Money,
    /// To what is held for jobs.
    pub in_escrow: Money,
    /// To deposits on their way.
    pub pending_in: Money,
    /// To withdrawals on their way.
    pub pending_out: Money,
}

/// What a movement of money is, as one wallet sees it.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// In whose history it stands.
    pub wallet_id: WalletId,
    /// Why.
    pub kind: TransactionType,
    /// What it adds to `available`.
    pub amount: Money,
    /// `available` behind it.
    pub available_after: Money,
    /// The platform's share.
    pub fee: Option<Money>,
    /// What it was for.
    pub reference: Option<Uuid>,
}

/// A movement of money as one wallet sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TransactionRecord", into = "TransactionRecord")]
pub struct Transaction {
    /// Which.
    pub id: TransactionId,
    /// Grows by one with each change.
    pub version: i64,
    /// In whose history it stands.
    pub wallet_id: WalletId,
    /// Why.
    pub kind: TransactionType,
    /// What it adds to `available`. The client's side of a payment for a job adds nothing: that money had left before.
    pub amount: Money,
    /// `available` behind it.
    pub available_after: Money,
    /// The platform's share.
    pub fee: Option<Money>,
    /// What it was for, in the words of who moved it.
    pub reference: Option<Uuid>,
    /// The transaction that it undoes.
    pub reverses: Option<TransactionId>,
    /// When it began.
    pub created_at: Timestamp,
    state: State,
}

/// How far a transaction has come, with what it has only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Settled { outcome: SettlementOutcome, at: Timestamp },
}

/// A transaction as a row or an event keeps it: flat. It becomes a [`Transaction`] where its status has all that it needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented where it is read: on `Transaction`")]
pub struct TransactionRecord {
    pub id: TransactionId,
    pub version: i64,
    pub wallet_id: WalletId,
    pub kind: TransactionType,
    pub status: TransactionStatus,
    pub amount: Money,
    pub available_after: Money,
    pub fee: Option<Money>,
    pub reference: Option<Uuid>,
    pub reverses: Option<TransactionId>,
    pub created_at: Timestamp,
    pub settled_at: Option<Timestamp>,
}

impl TryFrom<TransactionRecord> for Transaction {
    type Error = InternalError;

    fn try_from(record: TransactionRecord) -> Result<Self, InternalError> {
        let settled = |outcome| {
            let lacks =
                || InternalError::corrupt(format!("{} is {} without an end", record.id, record.status.as_str()));
            Ok::<_, InternalError>(State::Settled { outcome, at: record.settled_at.ok_or_else(lacks)? })
        };
        let state = match record.status {
            TransactionStatus::Pending => State::Pending,
            TransactionStatus::Posted => settled(SettlementOutcome::Post)?,
            TransactionStatus::Voided => settled(SettlementOutcome::Void)?,
            TransactionStatus::Failed => settled(SettlementOutcome::Fail)?,
        };
        let TransactionRecord { id, version, wallet_id, kind, amount, available_after, fee, reference, .. } = record;
        let (reverses, created_at) = (record.reverses, record.created_at);
        Ok(Self { id, version, wallet_id, kind, amount, available_after, fee, reference, reverses, created_at, state })
    }
}

impl From<Transaction> for TransactionRecord {
    fn from(transaction: Transaction) -> Self {
        let (status, settled_at) = (transaction.status(), transaction.settled_at());
        let Transaction { id, version, wallet_id, kind, amount, available_after, fee, reference, .. } = transaction;
        let (reverses, created_at) = (transaction.reverses, transaction.created_at);
        Self {
            id,
            version,
            wallet_id,
            kind,
            status,
            amount,
            available_after,
            fee,
            reference,
            reverses,
            created_at,
            settled_at,
        }
    }
}

impl Transaction {
    /// Reserved: PENDING until it is settled.
    pub const fn pending(id: TransactionId, line: Line, now: Timestamp) -> Self {
        Self::new(id, line, now, State::Pending)
    }

    /// POSTED from the beginning, as moves into and out of escrow are.
    pub const fn posted(id: TransactionId, line: Line, now: Timestamp) -> Self {
        Self::new(id, line, now, State::Settled { outcome: SettlementOutcome::Post, at: now })
    }

    const fn new(id: TransactionId, line: Line, created_at: Timestamp, state: State) -> Self {
        let Line { wallet_id, kind, amount, available_after, fee, reference } = line;
        let (version, reverses) = (1, None);
        Self { id, version, wallet_id, kind, amount, available_after, fee, reference, reverses, created_at, state }
    }

    /// PENDING -> POSTED, VOIDED or FAILED, with `available` as it is then.
    pub fn settle(
        &self,
        outcome: SettlementOutcome,
        available_after: Money,
        at: Timestamp,
    ) -> Result<Self, InvalidTransition<TransactionStatus>> {
        match self.state {
            State::Pending => {
                let (version, state) = (self.version + 1, State::Settled { outcome, at });
                Ok(Self { version, available_after, state, ..self.clone() })
            }
            State::Settled { .. } => Err(InvalidTransition { from: self.status(), to: outcome.status() }),
        }
    }

    /// The same transaction as far as `earlier` had come, a version of it.
    #[must_use]
    pub fn as_far_as(&self, earlier: &Self) -> Self {
        let Self { version, available_after, state, .. } = *earlier;
        Self { version, available_after, state, ..self.clone() }
    }

    /// How far it has come.
    pub const fn status(&self) -> TransactionStatus {
        match self.state {
            State::Pending => TransactionStatus::Pending,
            State::Settled { outcome, .. } => outcome.status(),
        }
    }

    /// When it ended.
    pub const fn settled_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Pending => None,
            State::Settled { at, .. } => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    #[test]
    fn a_transaction_is_settled_once() {
        let (ids, now) = (Ids::seeded(Clock::system(), 7), Clock::system().now());
        let line = Line {
            wallet_id: ids.next(),
            kind: TransactionType::Deposit,
            amount: Money::from_minor(5),
            available_after: Money::ZERO,
            fee: None,
            reference: None,
        };
        let pending = Transaction::pending(ids.next(), line, now);
        assert_eq!((pending.status(), pending.settled_at()), (TransactionStatus::Pending, None));
        let posted = Transaction::posted(ids.next(), line, now);
        let settled = SettlementOutcome::ALL.iter().map(|outcome| {
            let settled = pending.settle(*outcome, line.amount, now).expect("pending");
            assert_eq!((settled.status(), settled.version), (outcome.status(), pending.version + 1));
            assert_eq!((settled.settled_at(), settled.available_after), (Some(now), line.amount));
            assert_eq!(settled.as_far_as(&pending), pending);
            settled
        });
        for ended in settled.chain([posted]) {
            for outcome in SettlementOutcome::ALL {
                let refused = ended.settle(*outcome, line.amount, now).expect_err("it is over");
                assert_eq!(refused, InvalidTransition { from: ended.status(), to: outcome.status() });
            }
            let record = TransactionRecord::from(ended.clone());
            let json = serde_json::to_string(&ended).expect("JSON");
            assert_eq!(json, serde_json::to_string(&record).expect("JSON"), "an event keeps the flat form");
            assert_eq!(serde_json::from_str::<Transaction>(&json).expect("reads back"), ended);
            Transaction::try_from(TransactionRecord { settled_at: None, ..record }).expect_err("it never ended");
        }
    }
}
