//! An entry in an inbox. Pure, and without words.
//!
//! Kept is what happened: the kind, and [`Details`] with the names as they were. The API words it (`graphql`), for the
//! part that the inbox's owner has in it. [`Details`] only ever gets more fields that may be missing: the version
//! before reads what this one writes.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::InternalError,
    ids::{ClaimId, JobId, NotificationId, TransactionId, UserId},
    money::Money,
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
        /// To the side that had read everything: the other side wrote.
        MessageReceived = "MESSAGE_RECEIVED",
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

/// The kinds of subjects, as [`Subject::to_columns`] names them.
pub const SUBJECT_KINDS: [&str; 3] = ["JOB", "CLAIM", "TRANSACTION"];

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
    pub fn from_columns(kind: &str, id: Uuid) -> Result<Self, InternalError> {
        match kind {
            "JOB" => Ok(Self::Job(id.into())),
            "CLAIM" => Ok(Self::Claim(id.into())),
            "TRANSACTION" => Ok(Self::Transaction(id.into())),
            other => Err(InternalError::corrupt(format!("notification subject {other:?}"))),
        }
    }
}

named_enum! {
    /// What the reader is to the job.
    pub enum Part {
        /// Who pays.
        Client = "CLIENT",
        /// Who works.
        Freelancer = "FREELANCER",
    }
}

/// Somebody, and what they were called at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub id: UserId,
    /// Their name then.
    pub name: String,
}

/// What a notification's words are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The reader's part in it.
    pub part: Part,
    /// What the job was called.
    pub job_title: String,
    /// Who did it; nobody, if the marketplace did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Person>,
    /// The money that moved to the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Details {
    /// About a job of this title, for who has this part in it.
    pub fn new(part: Part, job_title: &str) -> Self {
        Self { part, job_title: job_title.to_owned(), actor: None, amount: None, reason: None }
    }

    /// Done by this user.
    #[must_use]
    pub fn by(mut self, id: UserId, name: &str) -> Self {
        self.actor = Some(Person { id, name: name.to_owned() });
        self
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
    /// The sentence that it was kept as before there were details; empty since.
    pub title: String,
    /// What its words are made of; none for what was kept as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// What it points at.
    pub subject: Subject,
    /// When it came.
    pub created_at: Timestamp,
    /// When it was marked read.
    pub read_at: Option<Timestamp>,
}
