//! A conversation and its messages. Pure.
//!
//! Each method that changes something gives the next version, or says why it cannot.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    ids::{ClaimId, ConversationId, MessageId, UserId},
};

/// How long after the end of its claim a conversation takes new messages.
pub const OPEN_AFTER_END: TimeDelta = TimeDelta::days(30);

/// Messages that one side may send within [`RATE_WINDOW`].
pub const MOST_AT_A_TIME: usize = 60;
/// See [`MOST_AT_A_TIME`].
pub const RATE_WINDOW: TimeDelta = TimeDelta::minutes(1);

/// The conversation of a claim: the same UUID, with another prefix.
pub fn conversation_of(claim: ClaimId) -> ConversationId {
    Uuid::from(claim).into()
}

/// The claim of a conversation.
pub fn claim_of(conversation: ConversationId) -> ClaimId {
    Uuid::from(conversation).into()
}

/// Why a message stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unchangeable {
    /// It has no text any more.
    #[error("was deleted")]
    Deleted,
    /// It has changed since the caller read it.
    #[error("has version {0} by now; read it again and decide anew")]
    OtherVersion(i64),
}

/// What the two sides of a claim say to each other, without the messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Which.
    pub id: ConversationId,
    /// Grows by one with each change: a message that is sent, edited or deleted, a read marker that grows.
    pub version: i64,
    /// The job's client.
    pub client_id: UserId,
    /// The claim's freelancer.
    pub freelancer_id: UserId,
    /// The number of the last message; 0 before the first.
    pub last_number: i32,
    /// Up to which number the client has read.
    pub client_read: i32,
    /// The same for the freelancer.
    pub freelancer_read: i32,
    /// When the claim was made.
    pub created_at: Timestamp,
    /// When the last message was sent; before the first, when the claim was made.
    pub active_at: Timestamp,
}

impl Conversation {
    /// Both sides, the client first.
    pub const fn sides(&self) -> [UserId; 2] {
        [self.client_id, self.freelancer_id]
    }

    /// Whether this user is one of the two.
    pub fn has(&self, user: UserId) -> bool {
        self.sides().contains(&user)
    }

    /// The one to whom this side speaks.
    pub fn other_than(&self, user: UserId) -> UserId {
        if user == self.client_id { self.freelancer_id } else { self.client_id }
    }

    /// Up to which number a side has read; 0 for anybody else.
    pub fn read_by(&self, user: UserId) -> i32 {
        match user {
            user if user == self.client_id => self.client_read,
            user if user == self.freelancer_id => self.freelancer_read,
            _ => 0,
        }
    }

    /// How many messages a side has not read; 0 for anybody else.
    pub fn unread_by(&self, user: UserId) -> i32 {
        if self.has(user) { self.last_number - self.read_by(user) } else { 0 }
    }

    /// With one more message, which its sender has read, and with it all before it.
    #[must_use]
    pub fn after_sending(&self, sender: UserId, at: Timestamp) -> Self {
        let number = self.last_number + 1;
        Self { last_number: number, active_at: at.max(self.active_at), ..self.clone() }.next().reading(sender, number)
    }

    /// With one of its messages changed.
    #[must_use]
    pub fn after_change(&self) -> Self {
        self.clone().next()
    }

    /// With a side's marker at `number`, which must be that of a message; none if the marker is there or beyond.
    pub fn mark_read(&self, user: UserId, number: i32) -> Option<Self> {
        (number > self.read_by(user)).then(|| self.clone().next().reading(user, number))
    }

    fn next(self) -> Self {
        Self { version: self.version + 1, ..self }
    }

    fn reading(mut self, user: UserId, number: i32) -> Self {
        if user == self.client_id {
            self.client_read = self.client_read.max(number);
        } else if user == self.freelancer_id {
            self.freelancer_read = self.freelancer_read.max(number);
        }
        self
    }
}

/// Whether a conversation takes no new messages any more at `now`, when its claim ended so.
pub fn is_closed(claim_ended_at: Option<Timestamp>, now: Timestamp) -> bool {
    claim_ended_at.is_some_and(|ended_at| now > ended_at + OPEN_AFTER_END)
}

/// How long a side must wait that has sent messages at these times, oldest first; none if it may send now.
pub fn must_wait(sent: &[Timestamp], now: Timestamp) -> Option<TimeDelta> {
    let since = now - RATE_WINDOW;
    let recent: Vec<_> = sent.iter().filter(|at| **at > since).collect();
    let oldest = recent.len().checked_sub(MOST_AT_A_TIME).and_then(|place| recent.get(place))?;
    Some(**oldest - since)
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Which.
    pub id: MessageId,
    /// Grows by one with each change of it.
    pub version: i64,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// From 1.
    pub number: i32,
    /// Who said it.
    pub sender_id: UserId,
    /// The sender's own name for it.
    pub client_id: String,
    /// What was said; empty once it is deleted.
    pub body: String,
    /// When.
    pub sent_at: Timestamp,
    /// When its text changed last.
    pub edited_at: Option<Timestamp>,
    /// When it lost its text.
    pub deleted_at: Option<Timestamp>,
}

impl Message {
    /// With another text.
    pub fn edit(&self, expected: Option<i64>, body: &str, at: Timestamp) -> Result<Self, Unchangeable> {
        if self.deleted_at.is_some() {
            return Err(Unchangeable::Deleted);
        }
        if expected.is_some_and(|expected| expected != self.version) {
            return Err(Unchangeable::OtherVersion(self.version));
        }
        Ok(Self { version: self.version + 1, body: body.to_owned(), edited_at: Some(at), ..self.clone() })
    }

    /// Without its text; none if it has none.
    pub fn delete(&self, at: Timestamp) -> Option<Self> {
        let deleted = || Self { version: self.version + 1, body: String::new(), deleted_at: Some(at), ..self.clone() };
        self.deleted_at.is_none().then(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    fn conversation(ids: &Ids) -> Conversation {
        let now = Clock::system().now();
        Conversation {
            id: ids.next(),
            version: 1,
            client_id: ids.next(),
            freelancer_id: ids.next(),
            last_number: 0,
            client_read: 0,
            freelancer_read: 0,
            created_at: now,
            active_at: now,
        }
    }

    #[test]
    fn who_sends_has_read_and_markers_only_grow() {
        let ids = Ids::seeded(Clock::system(), 1);
        let new = conversation(&ids);
        let (client, freelancer, stranger) = (new.client_id, new.freelancer_id, ids.next());
        let later = new.created_at + TimeDelta::seconds(1);
        let sent = new.after_sending(client, later).after_sending(client, new.created_at);
        assert_eq!((sent.version, sent.last_number, sent.active_at), (3, 2, later), "it never looks less recent");
        assert_eq!((sent.unread_by(client), sent.unread_by(freelancer), sent.unread_by(stranger)), (0, 2, 0));
        let read = sent.mark_read(freelancer, 1).expect("it grows");
        assert_eq!((read.version, read.unread_by(freelancer)), (4, 1));
        assert_eq!(
            (read.mark_read(freelancer, 1), read.mark_read(freelancer, 0), read.mark_read(client, 2)),
            (None, None, None)
        );
        assert_eq!((read.other_than(client), read.other_than(freelancer)), (freelancer, client));
        assert_eq!(conversation_of(claim_of(new.id)), new.id);
    }

    #[test]
    fn a_conversation_closes_thirty_days_after_its_claim() {
        let ended = Clock::system().now();
        assert!(!is_closed(None, ended));
        assert!(!is_closed(Some(ended), ended + OPEN_AFTER_END));
        assert!(is_closed(Some(ended), ended + OPEN_AFTER_END + TimeDelta::milliseconds(1)));
    }

    #[test]
    fn so_many_messages_a_minute_and_no_more() {
        let now = Clock::system().now();
        let at = |second: i64| now - TimeDelta::seconds(second);
        let sent: Vec<_> = (0..MOST_AT_A_TIME).map(|_| at(30)).collect();
        assert_eq!(must_wait(&sent[1..], now), None);
        assert_eq!(must_wait(&sent, now), Some(TimeDelta::seconds(30)));
        assert_eq!(must_wait(&[&[at(60), at(61)], &sent[1..]].concat(), now), None, "a minute ago is long ago");
    }

    #[test]
    fn a_message_is_edited_by_its_version_and_deleted_once() {
        let ids = Ids::seeded(Clock::system(), 2);
        let now = Clock::system().now();
        let message = Message {
            id: ids.next(),
            version: 1,
            conversation_id: ids.next(),
            number: 1,
            sender_id: ids.next(),
            client_id: "a".into(),
            body: "Helo".into(),
            sent_at: now,
            edited_at: None,
            deleted_at: None,
        };
        assert_eq!(message.edit(Some(2), "Hello", now), Err(Unchangeable::OtherVersion(1)));
        let edited = message.edit(Some(1), "Hello", now).expect("its version");
        assert_eq!((edited.version, edited.body.as_str(), edited.edited_at), (2, "Hello", Some(now)));
        let deleted = edited.delete(now).expect("it has a text");
        assert_eq!((deleted.version, deleted.body.as_str(), deleted.number), (3, "", 1));
        assert_eq!((deleted.delete(now), deleted.edit(None, "x", now)), (None, Err(Unchangeable::Deleted)));
    }
}
