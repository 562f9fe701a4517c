//! The encoding of events and of shared limits between nodes.
//!
//! [`postcard`], authenticated ([`Seal`]). Nodes of two versions run side by side during a deploy: a message of another
//! format counts as lost, and its events are read from the log.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Announced, LimitUpdate, PresenceUpdate, ReceivedEvent, Seal, Topic, seal::Dropped};
use crate::{
    events::{Audience, Event, Kinds, Mark, NewEvent},
    ids::UserId,
};

/// Changes whenever what follows does.
const FORMAT: u8 = 2;

/// What travels.
#[derive(Debug)]
pub(super) enum Message {
    Head(i64),
    Events(Vec<ReceivedEvent>),
    LimitUpdate(LimitUpdate),
    Presence(PresenceUpdate),
}

#[derive(Serialize, Deserialize)]
enum Content<'a> {
    Head(i64),
    #[serde(borrow)]
    Events(Vec<WireEvent<'a>>),
    /// Of versions that shared budgets, as [`Content::GivenBack`] and [`Content::Addresses`] are: not read, and here so that
    /// the others keep their numbers.
    Spending(&'a [u8]),
    Attempts(&'a [u8]),
    // New ones come last, so that a version that does not know of them still reads the others.
    GivenBack(&'a [u8]),
    Addresses(&'a [u8]),
    SignUps(&'a [u8]),
    /// Events of which one at least says something that an owner and a claimant do not.
    #[serde(borrow)]
    Listed(Vec<ListedEvent<'a>>),
    /// The version before does not read it, and looks at the log once.
    Presence(&'a [u8]),
}

/// An event with all of its audience. The version before does not read it: it finds a hole and reads the log.
#[derive(Serialize, Deserialize)]
struct ListedEvent<'a> {
    #[serde(borrow)]
    event: WireEvent<'a>,
    users: Vec<Uuid>,
    admins: bool,
}

#[derive(Serialize, Deserialize)]
struct WireEvent<'a> {
    position: i64,
    follows: u64,
    id: Uuid,
    kind: &'a str,
    subject: Uuid,
    subject_version: i64,
    public: bool,
    owner: Uuid,
    claimant: Option<Uuid>,
    /// Milliseconds since 1970, which is all that a moment has here.
    occurred_at: i64,
    payload: Option<&'a str>,
}

/// Events for the wire; with bodies where `has_body` says so.
pub(super) fn encode_events<'a>(
    seal: &Seal,
    events: impl Iterator<Item = &'a Announced>,
    has_body: impl Fn(&Event) -> bool,
) -> Vec<u8> {
    let events: Vec<_> = events.map(|event| (event, WireEvent::of(event, has_body(event.delivery.event())))).collect();
    // As the version before has them, where that is enough.
    let content = if events.iter().all(|(event, _)| is_a_pair(event.delivery.event())) {
        Content::Events(events.into_iter().map(|(_, event)| event).collect())
    } else {
        let listed = |(of, event): (&Announced, _)| {
            let audience = of.delivery.audience();
            let users = audience.users().iter().map(|user| (*user).into()).collect();
            ListedEvent { event, users, admins: audience.admins }
        };
        Content::Listed(events.into_iter().map(listed).collect())
    };
    seal.seal(FORMAT, &content)
}

/// Whether an owner, a claimant and the kind say who receives an event.
fn is_a_pair(event: &Event) -> bool {
    let NewEvent { kind, audience, .. } = &event.recorded;
    (1..=2).contains(&audience.users().len()) && audience.admins == kind.is_told_to_admins()
}

/// A head for the wire.
pub(super) fn encode_head(seal: &Seal, head: i64) -> Vec<u8> {
    seal.seal(FORMAT, &Content::Head(head))
}

/// [`LimitUpdate`] for the wire.
pub(super) fn encode_limit_update(seal: &Seal, limit_update: &LimitUpdate) -> Vec<u8> {
    let content = match limit_update.topic {
        Topic::Attempts => Content::Attempts(&limit_update.body),
        Topic::SignUps => Content::SignUps(&limit_update.body),
    };
    seal.seal(FORMAT, &content)
}

/// [`PresenceUpdate`] for the wire.
pub(super) fn encode_presence(seal: &Seal, update: &PresenceUpdate) -> Vec<u8> {
    seal.seal(FORMAT, &Content::Presence(&update.body))
}

/// Reads a message, whose events are of these kinds or unknown; none if this node wrote it itself, or if nothing reads it any
/// more.
pub(super) fn decode(seal: &Seal, kinds: Kinds, bytes: &[u8]) -> Result<Option<Message>, Dropped> {
    let Some(content) = seal.open::<Content<'_>>(FORMAT, bytes)? else { return Ok(None) };
    let limit_update = |topic, body: &[u8]| Message::LimitUpdate(LimitUpdate { topic, body: body.to_vec() });
    Ok(Some(match content {
        Content::Head(head) => Message::Head(head),
        Content::Events(events) => {
            Message::Events(events.into_iter().map(|event| event.heard(kinds)).collect::<Result<_, _>>()?)
        }
        Content::Listed(events) => {
            Message::Events(events.into_iter().map(|event| event.heard(kinds)).collect::<Result<_, _>>()?)
        }
        Content::Attempts(body) => limit_update(Topic::Attempts, body),
        Content::Spending(_) | Content::GivenBack(_) | Content::Addresses(_) => return Ok(None),
        Content::SignUps(body) => limit_update(Topic::SignUps, body),
        Content::Presence(body) => Message::Presence(PresenceUpdate { body: body.to_vec() }),
    }))
}

impl<'a> WireEvent<'a> {
    fn of(Announced { delivery, follows }: &'a Announced, has_body: bool) -> Self {
        let event = delivery.event();
        let NewEvent { id, kind, subject, subject_version, audience, payload, occurred_at } = &event.recorded;
        Self {
            position: event.position,
            follows: follows.to_bits(),
            id: (*id).into(),
            kind: kind.as_str(),
            subject: *subject,
            subject_version: *subject_version,
            public: audience.public,
            owner: audience.pair().0,
            claimant: audience.pair().1,
            occurred_at: occurred_at.timestamp_millis(),
            payload: has_body.then_some(payload),
        }
    }

    fn heard(self, kinds: Kinds) -> Result<ReceivedEvent, Dropped> {
        let kind = kinds.recorded_as(self.kind);
        let users = [self.owner].into_iter().chain(self.claimant).map(UserId::from);
        let recorded = NewEvent {
            id: self.id.into(),
            kind,
            subject: self.subject,
            subject_version: self.subject_version,
            audience: Audience::of(users).public(self.public).admins(kind.is_told_to_admins()),
            payload: self.payload.unwrap_or_default().to_owned(),
            occurred_at: DateTime::from_timestamp_millis(self.occurred_at).ok_or(Dropped::Unreadable)?,
        };
        let event = Event { position: self.position, recorded };
        Ok(ReceivedEvent { event, follows: Mark::from_bits(self.follows), has_body: self.payload.is_some() })
    }
}

impl ListedEvent<'_> {
    fn heard(self, kinds: Kinds) -> Result<ReceivedEvent, Dropped> {
        let mut heard = self.event.heard(kinds)?;
        let users = self.users.into_iter().map(UserId::from);
        let audience = &mut heard.event.recorded.audience;
        *audience = Audience::of(users).public(audience.public).admins(self.admins);
        Ok(heard)
    }
}

impl ReceivedEvent {
    /// What of an event goes to a node.
    pub(super) fn of(Announced { delivery, follows }: &Announced, has_body: bool) -> Self {
        let mut event = delivery.event().clone();
        if !has_body {
            event.recorded.payload = String::new();
        }
        Self { event, follows: *follows, has_body }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{clock::Clock, events::EventKind, ids::Ids, realtime::Delivery, schedule::DatabaseTime};

    const KIND: EventKind = EventKind::named("SOMETHING").for_everybody().for_parties();
    const KINDS: Kinds = Kinds::of(&[&[KIND]]);

    fn seal(seed: u64, key: u8, time: i64) -> Seal {
        Seal::new([key; 32], &Ids::seeded(Clock::system(), seed), DatabaseTime::stopped(time))
    }

    fn head(seal: &Seal, bytes: &[u8]) -> Result<Option<i64>, Dropped> {
        decode(seal, KINDS, bytes).map(|message| {
            message.map(|message| match message {
                Message::Head(head) => head,
                other => panic!("no head: {other:?}"),
            })
        })
    }

    fn comes_back(events: &[Announced; 2]) {
        let (own, other) = (seal(1, 1, 1_000), seal(2, 1, 1_000));
        let bytes = encode_events(&other, events.iter(), |event| event.recorded.audience.public);
        let Ok(Some(Message::Events(heard))) = decode(&own, KINDS, &bytes) else { panic!("readable") };
        assert_eq!(heard.iter().map(|heard| heard.has_body).collect::<Vec<_>>(), [true, false]);
        for (heard, event) in heard.iter().zip(events) {
            let mut sent = event.delivery.event().clone();
            if !heard.has_body {
                sent.recorded.payload.clear();
            }
            assert_eq!((format!("{:?}", heard.event), heard.follows), (format!("{sent:?}"), event.follows));
        }
        assert!(matches!(decode(&other, KINDS, &bytes), Ok(None)), "its own");
    }

    #[test]
    fn a_message_comes_back_whole() {
        let ids = Ids::seeded(Clock::system(), 5);
        let event = |position, public, users| {
            let recorded = NewEvent {
                id: ids.next(),
                kind: KIND,
                subject: Uuid::from_u128(9),
                subject_version: 3,
                audience: Audience::of((0..users).map(|_| ids.next())).public(public),
                payload: format!("{{\"text\": \"é {position}\"}}"),
                occurred_at: Clock::system().now(),
            };
            let delivery = Arc::new(Delivery::new(Event { position, recorded }, Uuid::nil()));
            Announced { delivery, follows: Mark::of(ids.next()) }
        };
        for (first, second) in [(1, 2), (2, 3), (0, 1)] {
            comes_back(&[event(7, true, first), event(8, false, second)]);
        }
        let (own, other) = (seal(1, 1, 1_000), seal(2, 1, 1_000));
        let limit_update = LimitUpdate { topic: Topic::Attempts, body: vec![0, 255, 3] };
        let Ok(Some(Message::LimitUpdate(told))) = decode(&own, KINDS, &encode_limit_update(&other, &limit_update))
        else {
            panic!("readable")
        };
        assert_eq!(told, limit_update);
        let update = PresenceUpdate { body: vec![7, 0, 255] };
        let Ok(Some(Message::Presence(told))) = decode(&own, KINDS, &encode_presence(&other, &update)) else {
            panic!("readable")
        };
        assert_eq!(told, update);
    }

    #[test]
    fn what_no_node_of_this_log_has_said_now_and_for_the_first_time_is_dropped() {
        let (own, other) = (seal(1, 1, 100_000), seal(2, 1, 100_000));
        let bytes = encode_head(&other, 5);
        assert_eq!(head(&own, &bytes), Ok(Some(5)));
        assert_eq!(head(&own, &bytes), Err(Dropped::Stale), "said again");
        let (sixth, seventh) = (encode_head(&other, 6), encode_head(&other, 7));
        assert_eq!(head(&own, &seventh), Ok(Some(7)));
        assert_eq!(head(&own, &sixth), Err(Dropped::Stale), "held back until later words came");
        for (at, expected) in [(70_000_i64, Ok(Some(8))), (69_999, Err(Dropped::Stale)), (130_001, Err(Dropped::Stale))]
        {
            assert_eq!(head(&own, &encode_head(&seal(at.unsigned_abs(), 1, at), 8)), expected, "{at}");
        }
        assert_eq!(head(&own, &encode_head(&seal(3, 2, 100_000), 9)), Err(Dropped::Forged), "another key");
        let mut newer = encode_head(&other, 10);
        newer[0] = FORMAT + 1;
        let good = encode_head(&other, 11);
        let mut bad =
            vec![Vec::new(), b"{}".to_vec(), newer, good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat()];
        bad.extend((0..good.len()).map(|at| {
            let mut changed = good.clone();
            changed[at] ^= 1;
            changed
        }));
        for bad in bad {
            assert_eq!(head(&own, &bad), Err(Dropped::Forged), "{bad:?}");
        }
        assert_eq!(head(&own, &good), Ok(Some(11)), "none of them has taken its place");
        let newer = other.seal(FORMAT + 1, &Content::Head(12));
        assert_eq!(head(&own, &newer), Err(Dropped::Unreadable), "a node's, of a later version");
    }
}
