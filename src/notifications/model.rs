//! An entry in an inbox.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::Fault,
    ids::{ClaimId, JobId, NotificationId, TransactionId, UserId},
    named_enum,
};

named_enum! {
    /// What it is about.
    pub enum NotificationKind {
        /// To the client: somebody works on it.
        JobClaimed = "JOB_CLAIMED",
        /// To the client: it is open again.
        ClaimReleased = "CLAIM_RELEASED",
        /// To the client: there is work to review.
        WorkSubmitted = "WORK_SUBMITTED",
        /// To the freelancer: there is work to do again.
        RevisionRequested = "REVISION_REQUESTED",
        /// To both: it is done.
        WorkApproved = "WORK_APPROVED",
        /// To the freelancer: money came.
        PaymentReceived = "PAYMENT_RECEIVED",
        /// To the client: an admin called it off.
        JobCancelled = "JOB_CANCELLED",
        /// To the client: nobody claimed it in time.
        JobExpired = "JOB_EXPIRED",
        /// To both and to admins.
        DisputeOpened = "DISPUTE_OPENED",
        /// To both.
        DisputeResolved = "DISPUTE_RESOLVED",
    }
}

/// What a notification points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Subject {
    /// A job.
    Job(JobId),
    /// A claim.
    Claim(ClaimId),
    /// A transaction of the reader's own wallet.
    Transaction(TransactionId),
}

impl Subject {
    /// As two columns hold it.
    pub fn to_columns(self) -> (&'static str, Uuid) {
        match self {
            Self::Job(id) => ("JOB", id.into()),
            Self::Claim(id) => ("CLAIM", id.into()),
            Self::Transaction(id) => ("TRANSACTION", id.into()),
        }
    }

    /// Reads back what [`Subject::to_columns`] wrote.
    pub fn from_columns(kind: &str, id: Uuid) -> Result<Self, Fault> {
        match kind {
            "JOB" => Ok(Self::Job(id.into())),
            "CLAIM" => Ok(Self::Claim(id.into())),
            "TRANSACTION" => Ok(Self::Transaction(id.into())),
            other => Err(Fault::corrupt(format!("notification subject {other:?}"))),
        }
    }
}

/// Something that happened and concerns its reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Which.
    pub id: NotificationId,
    /// In whose inbox.
    pub user_id: UserId,
    /// What it is about.
    pub kind: NotificationKind,
    /// One line for a person.
    pub title: String,
    /// What it points at.
    pub subject: Subject,
    /// When it came.
    pub created_at: Timestamp,
    /// When it was marked read.
    pub read_at: Option<Timestamp>,
}
