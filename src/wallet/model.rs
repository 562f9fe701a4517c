//! Wallets and transactions, and how a transaction ends.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    accounts::model::UserCard,
    clock::Timestamp,
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

/// A user's money. Its id is the user's own in another dress: everybody has a wallet from the first day.
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

/// A movement of money as one wallet sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Which.
    pub id: TransactionId,
    /// Grows by one with each change.
    pub version: i64,
    /// In whose history it stands.
    pub wallet_id: WalletId,
    /// Why.
    pub kind: TransactionType,
    /// How far it has come.
    pub status: TransactionStatus,
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
    /// When it ended.
    pub settled_at: Option<Timestamp>,
}
