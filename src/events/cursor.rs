//! A resume point in the event log, as clients hold it.
//!
//! **Form.** 64 lower-case hexadecimal digits: 32 of the log's identity, 16 of the position, and 16 of the [`Mark`] of
//! the event that stands there. So two cursors of one log compare as plain strings, as JavaScript's `<` does, in the
//! order of their positions, and a client can keep the later of two without knowing what is in them.
//!
//! **Why the mark.** A number is not a history: after a fail-over that lost commits, or a restore, other events take the
//! positions of lost ones. Only a cursor that says what stood at its position can be told from one of the other history.
//!
//! Two forms of before are read and no longer written, since clients that stayed connected through a deploy hold some:
//! the first 48 of these digits, and 32 characters of base64url of the same 24 bytes. They have no mark, so only their
//! position can be checked; they are older than the retention, and by that no good any more, a week after the deploy.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::ids::EventId;

/// Digits of the identity, and of identity and position.
const LOG_DIGITS: usize = 32;
const DIGITS_BEFORE: usize = 48;
/// With the mark.
const DIGITS: usize = 64;
/// Characters of the oldest form.
const OLD_CHARACTERS: usize = 32;

/// What stands at a position: 8 bytes of the event's id, of which 62 bits are random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// Nothing stands there, or nobody knows what: at position 0, and in cursors of before.
    pub const NONE: Self = Self(0);

    /// The mark of an event.
    pub fn of(event: EventId) -> Self {
        // The lower half: the upper one is mostly the time, which events of two histories may share.
        Self(Uuid::from(event).as_u64_pair().1)
    }

    /// As a number, for tables and wires.
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// Back from [`Mark::to_bits`].
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether `other` is known to be another event. What is not known contradicts nothing.
    pub(crate) fn contradicts(self, other: Self) -> bool {
        self != Self::NONE && other != Self::NONE && self != other
    }
}

/// A place in the log: a position and what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The position of an event; 0 before the first.
    pub position: i64,
    /// What stands there.
    pub mark: Mark,
}

/// A place, and the identity of the log in which it counts.
///
/// The identity changes when it is noticed that a log was replaced, by a restore for instance: a cursor of the old log
/// must not be taken for a place in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    /// The log's identity.
    pub log: Uuid,
    /// The position of the last event seen; 0 before the first.
    pub position: i64,
    /// What stands there.
    pub mark: Mark,
}

impl EventCursor {
    /// As clients see it.
    pub fn encode(self) -> String {
        let mut text = String::with_capacity(DIGITS);
        push_hex(&mut text, self.log.as_bytes());
        push_hex(&mut text, &self.position.to_be_bytes());
        push_hex(&mut text, &self.mark.0.to_be_bytes());
        text
    }

    /// Reads what this version or one before it wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let mut bytes = [0; DIGITS / 2];
        match text.len() {
            DIGITS | DIGITS_BEFORE => read_hex(text, &mut bytes)?,
            OLD_CHARACTERS => {
                let before = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
                bytes.get_mut(..before.len())?.copy_from_slice(&before);
            }
            _ => return None,
        }
        let (log, rest) = bytes.split_at(LOG_DIGITS / 2);
        let (position, mark) = rest.split_at(size_of::<i64>());
        let position = i64::from_be_bytes(position.try_into().ok()?);
        let mark = Mark(u64::from_be_bytes(mark.try_into().ok()?));
        (position >= 0).then_some(Self { log: Uuid::from_slice(log).ok()?, position, mark })
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(ALPHABET[usize::from(byte >> 4)]));
        text.push(char::from(ALPHABET[usize::from(byte & 15)]));
    }
}

/// Bytes of nothing but lower-case digits: one place has one spelling.
fn read_hex(text: &str, bytes: &mut [u8]) -> Option<()> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Uuid = Uuid::from_u128(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef);
    const MARK: Mark = Mark(0x8123_4567_89ab_cdef);

    #[test]
    fn a_cursor_comes_back_and_nothing_else_is_one() {
        let cursor = EventCursor { log: LOG, position: 1_234_567, mark: MARK };
        let text = cursor.encode();
        assert_eq!(text, "fedcba98765432100123456789abcdef000000000012d6878123456789abcdef");
        assert_eq!(EventCursor::decode(&text), Some(cursor));
        let negative = EventCursor { position: -1, ..cursor }.encode();
        let (short, long, upper) = (text[1..].to_owned(), format!("{text}a"), text.to_uppercase());
        let (letter, signed) = (format!("{}g", &text[1..]), format!("{}+f", &text[2..]));
        for bad in ["", "é", &"é".repeat(24), &"é".repeat(32), &negative, &short, &long, &upper, &letter, &signed] {
            assert_eq!(EventCursor::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_order_of_texts_is_that_of_positions() {
        let mut positions = vec![0, 1, 9, 10, 15, 16, 255, 256, 4_095, 4_096, 99_999, 1 << 31, 1 << 32, i64::MAX];
        positions.extend((0..62).map(|bit| (1_i64 << bit) + 7));
        positions.sort_unstable();
        let mark = |position: i64| Mark(u64::MAX - position.unsigned_abs());
        let text = |position: &i64| EventCursor { log: LOG, position: *position, mark: mark(*position) }.encode();
        let texts: Vec<String> = positions.iter().map(text).collect();
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 64), "whatever their marks");
    }

    #[test]
    fn the_forms_of_before_are_read_and_know_no_event() {
        let cursor = EventCursor { log: LOG, position: 77, mark: MARK };
        let unmarked = EventCursor { mark: Mark::NONE, ..cursor };
        let oldest = BASE64_URL_SAFE_NO_PAD.encode([LOG.as_bytes().as_slice(), &77_i64.to_be_bytes()].concat());
        assert_eq!((oldest.len(), EventCursor::decode(&oldest)), (32, Some(unmarked)));
        let before = &cursor.encode()[..48];
        assert_eq!(EventCursor::decode(before), Some(unmarked));
        assert!(*before < *cursor.encode(), "a later word of the same place is no earlier one");
        assert!(cursor.encode() < EventCursor { position: 78, ..unmarked }.encode());
        assert_eq!(EventCursor::decode(&before.replace('f', "x")), None);
    }

    #[test]
    fn what_is_not_known_contradicts_nothing() {
        let other = Mark(7);
        assert!(MARK.contradicts(other) && !MARK.contradicts(MARK));
        assert!(!MARK.contradicts(Mark::NONE) && !Mark::NONE.contradicts(MARK));
    }
}
