//! A resume point in the event log, as clients hold it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

/// A position, and the identity of the log in which it counts.
///
/// The identity changes only when a log is replaced, by a restore for instance: a cursor of the old log must not be
/// taken for a place in the new one. Opaque outside; 32 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    /// The log's identity.
    pub log: Uuid,
    /// The position of the last event seen; 0 before the first.
    pub position: i64,
}

impl EventCursor {
    /// As clients see it.
    pub fn encode(self) -> String {
        let mut bytes = [0_u8; 24];
        bytes[..16].copy_from_slice(self.log.as_bytes());
        bytes[16..].copy_from_slice(&self.position.to_be_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`EventCursor::encode`] wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 24] = BASE64_URL_SAFE_NO_PAD.decode(text.get(..32)?).ok()?.try_into().ok()?;
        let log = Uuid::from_slice(&bytes[..16]).ok()?;
        let position = i64::from_be_bytes(bytes[16..].try_into().ok()?);
        (text.len() == 32 && position >= 0).then_some(Self { log, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_nothing_else_is_one() {
        let cursor = EventCursor { log: Uuid::from_u128(5), position: 1_234_567 };
        assert_eq!(EventCursor::decode(&cursor.encode()), Some(cursor));
        let negative = EventCursor { position: -1, ..cursor }.encode();
        for bad in ["", "é", &negative, &cursor.encode()[1..], &format!("{}A", cursor.encode())] {
            assert_eq!(EventCursor::decode(bad), None, "{bad}");
        }
    }
}
