//! A resume point in the event log, as clients hold it.
//!
//! **Form.** 48 lower-case hexadecimal digits: 32 of the log's identity, then 16 of the position. So two cursors of one
//! log compare as plain strings, as JavaScript's `<` does, in the order of their positions, and a client can keep the
//! later of two without knowing what is in them. What a later version adds stands behind the position, where it cannot
//! change that order: 16 more digits are accepted and not looked at.
//!
//! The form of before, 32 characters of base64url of the same 24 bytes, is read and no longer written: clients that
//! stayed connected through a deploy still hold some.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

/// Digits of the identity, and of identity and position.
const LOG_DIGITS: usize = 32;
const DIGITS: usize = 48;
/// With what a later version adds.
const MOST_DIGITS: usize = 64;
/// Characters of the form of before.
const OLD_CHARACTERS: usize = 32;

/// A position, and the identity of the log in which it counts.
///
/// The identity changes only when a log is replaced, by a restore for instance: a cursor of the old log must not be
/// taken for a place in the new one.
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
        let mut text = String::with_capacity(DIGITS);
        push_hex(&mut text, self.log.as_bytes());
        push_hex(&mut text, &self.position.to_be_bytes());
        text
    }

    /// Reads what this version or the one before it wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes = match text.len() {
            DIGITS | MOST_DIGITS => from_hex(text)?,
            OLD_CHARACTERS => BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?,
            _ => return None,
        };
        let (log, position) = bytes.split_at(LOG_DIGITS / 2);
        let position = i64::from_be_bytes(position.try_into().ok()?);
        (position >= 0).then_some(Self { log: Uuid::from_slice(log).ok()?, position })
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(ALPHABET[usize::from(byte >> 4)]));
        text.push(char::from(ALPHABET[usize::from(byte & 15)]));
    }
}

/// The first 24 bytes of nothing but lower-case digits: one position has one spelling.
fn from_hex(text: &str) -> Option<[u8; DIGITS / 2]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; DIGITS / 2];
    for (place, pair) in text.as_bytes().chunks_exact(2).enumerate() {
        let byte = digit(pair[0])? << 4 | digit(pair[1])?;
        if let Some(wanted) = bytes.get_mut(place) {
            *wanted = byte;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Uuid = Uuid::from_u128(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef);

    #[test]
    fn a_cursor_comes_back_and_nothing_else_is_one() {
        let cursor = EventCursor { log: LOG, position: 1_234_567 };
        let text = cursor.encode();
        assert_eq!(text, "fedcba98765432100123456789abcdef000000000012d687");
        assert_eq!(EventCursor::decode(&text), Some(cursor));
        let negative = EventCursor { position: -1, ..cursor }.encode();
        let (short, long, upper) = (text[1..].to_owned(), format!("{text}a"), text.to_uppercase());
        let (letter, signed) = (format!("{}g", &text[1..]), format!("{}+f", &text[2..]));
        for bad in ["", "é", &"é".repeat(24), &negative, &short, &long, &upper, &letter, &signed] {
            assert_eq!(EventCursor::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_order_of_texts_is_that_of_positions() {
        let mut positions = vec![0, 1, 9, 10, 15, 16, 255, 256, 4_095, 4_096, 99_999, 1 << 31, 1 << 32, i64::MAX];
        positions.extend((0..62).map(|bit| (1_i64 << bit) + 7));
        positions.sort_unstable();
        let texts: Vec<String> =
            positions.iter().map(|position| EventCursor { log: LOG, position: *position }.encode()).collect();
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 48));
    }

    #[test]
    fn the_form_of_before_and_the_one_to_come_are_read() {
        let cursor = EventCursor { log: LOG, position: 77 };
        let old = BASE64_URL_SAFE_NO_PAD.encode([LOG.as_bytes().as_slice(), &77_i64.to_be_bytes()].concat());
        assert_eq!((old.len(), EventCursor::decode(&old)), (32, Some(cursor)));
        let longer = format!("{}0123456789abcdef", cursor.encode());
        assert_eq!(EventCursor::decode(&longer), Some(cursor));
        assert!(longer < EventCursor { position: 78, ..cursor }.encode(), "what is added does not change the order");
        assert_eq!(EventCursor::decode(&longer.replace('f', "x")), None);
    }
}
