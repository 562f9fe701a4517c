//! An entry in an inbox, and its words.
//!
//! Kept is what happened: the kind, and [`Details`] with the names as they were. It is worded when it is read, for the
//! part that its reader has in it: who approved work reads of it otherwise than whose work it is. The inbox's owner is
//! that reader, also where an admin looks.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::Fault,
    ids::{ClaimId, JobId, NotificationId, TransactionId, UserId},
    money::{Currency, Money},
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
    pub fn from_columns(kind: &str, id: Uuid) -> Result<Self, Fault> {
        match kind {
            "JOB" => Ok(Self::Job(id.into())),
            "CLAIM" => Ok(Self::Claim(id.into())),
            "TRANSACTION" => Ok(Self::Transaction(id.into())),
            other => Err(Fault::corrupt(format!("notification subject {other:?}"))),
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

    /// One line for the reader.
    pub fn title(&self, kind: NotificationKind, currency: &Currency) -> String {
        let job = &self.job_title;
        let who = self.actor.as_ref().map(|actor| actor.name.as_str());
        let money = self.amount.map(|amount| format!("{} {}", currency.format(amount), currency.code()));
        let (who_or_they, money) = (who.unwrap_or("Somebody"), money.as_deref());
        match (kind, self.part) {
            (NotificationKind::JobClaimed, _) => format!("{who_or_they} claimed \"{job}\""),
            (NotificationKind::ClaimReleased, Part::Client) => match who {
                Some(who) => format!("{who} released \"{job}\"; it is open again"),
                None => format!("An administrator ended the claim on \"{job}\"; it is open again"),
            },
            (NotificationKind::ClaimReleased, Part::Freelancer) => {
                format!("An administrator ended your claim on \"{job}\"")
            }
            (NotificationKind::WorkSubmitted, _) => format!("{who_or_they} submitted work for \"{job}\"; review it"),
            (NotificationKind::RevisionRequested, _) => format!("{who_or_they} requested a revision of \"{job}\""),
            (NotificationKind::WorkApproved, Part::Client) => match who {
                Some(freelancer) => format!("You approved the work of {freelancer} for \"{job}\"; it is completed"),
                None => format!("An administrator approved the work for \"{job}\"; it is completed"),
            },
            (NotificationKind::WorkApproved, Part::Freelancer) => {
                let who = who.unwrap_or("An administrator");
                format!("{who} approved your work for \"{job}\"; it is completed")
            }
            (NotificationKind::PaymentReceived, _) => match money {
                Some(money) => format!("You were paid {money} for \"{job}\""),
                None => format!("You were paid for \"{job}\""),
            },
            (NotificationKind::JobCancelled, _) => match money {
                Some(money) => format!("An administrator cancelled \"{job}\"; {money} is back in your wallet"),
                None => format!("An administrator cancelled \"{job}\""),
            },
            (NotificationKind::JobExpired, _) => format!("Nobody claimed \"{job}\" before its deadline"),
            (NotificationKind::DisputeOpened, _) => match who {
                Some(who) => format!("{who} opened a dispute over \"{job}\""),
                None => format!("A dispute over \"{job}\" was opened"),
            },
            (NotificationKind::DisputeResolved, _) => format!("The dispute over \"{job}\" was resolved"),
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
    /// The sentence that it was kept as before there were details, and that the version from then reads.
    pub title: String,
    /// What its words are made of; none for what was kept before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// What it points at.
    pub subject: Subject,
    /// When it came.
    pub created_at: Timestamp,
    /// When it was marked read.
    pub read_at: Option<Timestamp>,
}

impl Notification {
    /// One line for the inbox's owner.
    pub fn worded(&self, currency: &Currency) -> String {
        self.details.as_ref().map_or_else(|| self.title.clone(), |details| details.title(self.kind, currency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    #[test]
    fn each_side_reads_of_its_own_part() {
        let ids = Ids::seeded(Clock::system(), 3);
        let currency = Currency::new("USD", 2, Money::from_minor(1_000_000));
        let details = |part| Details::new(part, "A logo").by(ids.next(), "Ben");
        let title = |kind, part| details(part).title(kind, &currency);
        let (client, freelancer) = (Part::Client, Part::Freelancer);
        assert_eq!(title(NotificationKind::JobClaimed, client), "Ben claimed \"A logo\"");
        let approved = NotificationKind::WorkApproved;
        assert_eq!(title(approved, client), "You approved the work of Ben for \"A logo\"; it is completed");
        assert_eq!(title(approved, freelancer), "Ben approved your work for \"A logo\"; it is completed");
        let paid = Details { amount: Some(Money::from_minor(9_505)), ..details(freelancer) };
        let words = |currency| paid.title(NotificationKind::PaymentReceived, currency);
        assert_eq!(words(&currency), "You were paid 95.05 USD for \"A logo\"");
        assert_eq!(words(&Currency::new("JPY", 0, Money::from_minor(1))), "You were paid 9505 JPY for \"A logo\"");
        for kind in NotificationKind::ALL {
            for part in Part::ALL {
                let nobody = Details::new(*part, "A logo");
                for details in [details(*part), nobody, Details { amount: Some(Money::ZERO), ..details(*part) }] {
                    assert!(details.title(*kind, &currency).contains("\"A logo\""), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_kept_as_a_sentence_is_read_as_one() {
        let ids = Ids::seeded(Clock::system(), 4);
        let kept = Notification {
            id: ids.next(),
            user_id: ids.next(),
            kind: NotificationKind::JobClaimed,
            title: "Ben took \"A logo\"".into(),
            details: None,
            subject: Subject::Job(ids.next()),
            created_at: Clock::system().now(),
            read_at: None,
        };
        let event = serde_json::to_value(&kept).expect("JSON");
        assert!(event.get("details").is_none(), "as the version before wrote it: {event}");
        let old: Notification = serde_json::from_value(event).expect("reads back");
        let currency = Currency::new("USD", 2, Money::from_minor(1));
        assert_eq!((old.worded(&currency), &old.details), (old.title.clone(), &None));
        let details = Some(Details::new(Part::Client, "Another"));
        let new = Notification { details, ..old };
        let new: Notification = serde_json::from_value(serde_json::to_value(&new).expect("JSON")).expect("reads back");
        assert_eq!(new.worded(&currency), "Somebody claimed \"Another\"");
    }
}
