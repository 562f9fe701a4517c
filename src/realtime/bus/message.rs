//! How events and gossip look on a wire between nodes.
//!
//! One byte of format, then [`postcard`]. Nodes of two versions run side by side during a deploy: a message of another
//! format is as good as lost, and the log has everything.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Delivery, Gossip, Heard, NodeId, Topic};
use crate::{
    events::{Audience, Event, EventKind, NewEvent},
    ids::UserId,
};

/// Changes whenever what follows does.
const FORMAT: u8 = 1;

/// What travels.
#[derive(Debug)]
pub(super) enum Message {
    Head(i64),
    Events(Vec<Heard>),
    Gossip(Gossip),
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    from: u64,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Serialize, Deserialize)]
enum Content<'a> {
    Head(i64),
    #[serde(borrow)]
    Events(Vec<WireEvent<'a>>),
    Spending(&'a [u8]),
    Attempts(&'a [u8]),
    // Last, so that a version that does not know of it still reads the others.
    GivenBack(&'a [u8]),
}

#[derive(Serialize, Deserialize)]
struct WireEvent<'a> {
    position: i64,
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
    from: NodeId,
    events: impl Iterator<Item = &'a Event>,
    has_body: impl Fn(&Event) -> bool,
) -> Vec<u8> {
    let events = events.map(|event| WireEvent::of(event, has_body(event))).collect();
    encode(from, Content::Events(events))
}

/// A head for the wire.
pub(super) fn encode_head(from: NodeId, head: i64) -> Vec<u8> {
    encode(from, Content::Head(head))
}

/// Gossip for the wire.
pub(super) fn encode_gossip(from: NodeId, gossip: &Gossip) -> Vec<u8> {
    let content = match gossip.topic {
        Topic::Spending => Content::Spending(&gossip.body),
        Topic::GivenBack => Content::GivenBack(&gossip.body),
        Topic::Attempts => Content::Attempts(&gossip.body),
    };
    encode(from, content)
}

fn encode(from: NodeId, content: Content<'_>) -> Vec<u8> {
    let envelope = Envelope { from: from.0, content };
    // Only a sequence without a length or a map could fail to be written.
    postcard::to_extend(&envelope, vec![FORMAT]).unwrap_or_default()
}

/// Reads a message; none if this node wrote it itself.
pub(super) fn decode(own: NodeId, bytes: &[u8]) -> Result<Option<Message>, Unreadable> {
    let Some((&FORMAT, content)) = bytes.split_first() else { return Err(Unreadable) };
    let envelope: Envelope<'_> = postcard::from_bytes(content).map_err(|_| Unreadable)?;
    if envelope.from == own.0 {
        return Ok(None);
    }
    let gossip = |topic, body: &[u8]| Message::Gossip(Gossip { topic, body: body.to_vec() });
    Ok(Some(match envelope.content {
        Content::Head(head) => Message::Head(head),
        Content::Events(events) => Message::Events(events.into_iter().map(WireEvent::heard).collect::<Result<_, _>>()?),
        Content::Spending(body) => gossip(Topic::Spending, body),
        Content::Attempts(body) => gossip(Topic::Attempts, body),
        Content::GivenBack(body) => gossip(Topic::GivenBack, body),
    }))
}

/// A message that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl<'a> WireEvent<'a> {
    fn of(event: &'a Event, has_body: bool) -> Self {
        let NewEvent { id, kind, subject, subject_version, audience, payload, occurred_at } = &event.recorded;
        Self {
            position: event.position,
            id: (*id).into(),
            kind: kind.as_str(),
            subject: *subject,
            subject_version: *subject_version,
            public: audience.public,
            owner: audience.owner.into(),
            claimant: audience.claimant.map(Into::into),
            occurred_at: occurred_at.timestamp_millis(),
            payload: has_body.then_some(payload),
        }
    }

    fn heard(self) -> Result<Heard, Unreadable> {
        let recorded = NewEvent {
            id: self.id.into(),
            kind: EventKind::recorded_as(self.kind),
            subject: self.subject,
            subject_version: self.subject_version,
            audience: Audience {
                public: self.public,
                owner: self.owner.into(),
                claimant: self.claimant.map(UserId::from),
            },
            payload: self.payload.unwrap_or_default().to_owned(),
            occurred_at: DateTime::from_timestamp_millis(self.occurred_at).ok_or(Unreadable)?,
        };
        Ok(Heard { event: Event { position: self.position, recorded }, has_body: self.payload.is_some() })
    }
}

impl Heard {
    /// What of a delivery goes to a node.
    pub(super) fn of(delivery: &Delivery, has_body: bool) -> Self {
        let mut event = delivery.event().clone();
        if !has_body {
            event.recorded.payload = String::new();
        }
        Self { event, has_body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    #[test]
    fn a_message_comes_back_whole_and_anything_else_is_unreadable() {
        let ids = Ids::seeded(Clock::system(), 5);
        let event = |position, public| Event {
            position,
            recorded: NewEvent {
                id: ids.next(),
                kind: EventKind::JobUpdated,
                subject: Uuid::from_u128(9),
                subject_version: 3,
                audience: Audience { public, owner: ids.next(), claimant: Some(ids.next()) },
                payload: format!("{{\"text\": \"é {position}\"}}"),
                occurred_at: Clock::system().now(),
            },
        };
        let events = [event(7, true), event(8, false)];
        let (own, other) = (NodeId(1), NodeId(2));
        let bytes = encode_events(other, events.iter(), |event| event.recorded.audience.public);
        let Ok(Some(Message::Events(heard))) = decode(own, &bytes) else { panic!("readable") };
        assert_eq!(heard.iter().map(|heard| heard.has_body).collect::<Vec<_>>(), [true, false]);
        for (heard, event) in heard.iter().zip(&events) {
            let mut sent = event.clone();
            if !heard.has_body {
                sent.recorded.payload.clear();
            }
            assert_eq!(format!("{:?}", heard.event), format!("{sent:?}"));
        }
        assert!(matches!(decode(other, &bytes), Ok(None)), "its own");
        let gossip = Gossip { topic: Topic::Attempts, body: vec![0, 255, 3] };
        let Ok(Some(Message::Gossip(told))) = decode(own, &encode_gossip(other, &gossip)) else { panic!("readable") };
        assert_eq!(told, gossip);
        let mut newer = encode_head(other, 5);
        newer[0] = FORMAT + 1;
        for bad in [&[][..], b"{}", &newer, &bytes[..bytes.len() - 1]] {
            assert_eq!(decode(own, bad).err(), Some(Unreadable), "{bad:?}");
        }
    }
}
