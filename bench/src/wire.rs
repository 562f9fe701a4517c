//! The wire formats, as far as a benchmark needs them: WebSocket frames, HTTP/1.1 messages and the mark in a title.
//!
//! Written by hand because the generator must cost far less than the servers it drives: nothing here allocates on the
//! way of a delivery, and payloads are searched, not parsed.

use std::ops::Range;

/// The client's nonce in every handshake. RFC 6455, section 1.3, has it as its example together with the answer, which
/// saves computing a SHA-1 on either side.
const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server answers to [`NONCE`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Begins and ends a mark. Neither an id nor a cursor of any server contains it.
const FENCE: u8 = b'~';

const CHANNEL_DIGITS: usize = 5;
const SEQUENCE_DIGITS: usize = 8;

/// Digits of channel and sequence with the colon between them.
const MARK: usize = CHANNEL_DIGITS + 1 + SEQUENCE_DIGITS;

/// WebSocket opcodes.
pub mod opcode {
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// A whole frame at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Range<usize>,
}

/// The frame that `bytes` begin with, if all of it is there. Frames of servers only: they are not masked.
pub fn frame(bytes: &[u8]) -> Option<Frame> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let payload = start..start + length;
    (payload.end <= bytes.len()).then_some(Frame { opcode: first & 0x0f, payload })
}

/// A text frame of a server.
pub fn server_text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    push_length(&mut frame, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

/// A frame of a client. The mask is all zeros, which leaves the payload as it is.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    push_length(&mut frame, payload.len(), 0x80);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A text frame of a client.
pub fn client_text(payload: &str) -> Vec<u8> {
    client_frame(1, payload.as_bytes())
}

fn push_length(frame: &mut Vec<u8>, length: usize, mask_bit: u8) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => frame.push(mask_bit | length),
        (_, Ok(length)) => {
            frame.push(mask_bit | 0x7e);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(mask_bit | 0x7f);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A client's request for an upgrade, offering `protocol` if that is not empty.
pub fn handshake(host: &str, path: &str, protocol: &str) -> Vec<u8> {
    let protocol = if protocol.is_empty() { String::new() } else { format!("Sec-WebSocket-Protocol: {protocol}\r\n") };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {NONCE}\r\n{protocol}\r\n"
    )
    .into_bytes()
}

/// A whole HTTP message at the front of a buffer: a request or a response with its body.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub head: Range<usize>,
    pub body: Range<usize>,
    /// Where the next message begins.
    pub end: usize,
}

/// The HTTP message that `bytes` begin with, if all of it is there.
pub fn message(bytes: &[u8]) -> Option<Message> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    if header(&bytes[..head], "transfer-encoding").is_some_and(|coding| coding == "chunked") {
        let body = memchr::memmem::find(&bytes[head..], b"\r\n0\r\n\r\n")?;
        return Some(Message { head: 0..head, body: head..head + body, end: head + body + 7 });
    }
    let length = header(&bytes[..head], "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let end = head + length;
    (end <= bytes.len()).then_some(Message { head: 0..head, body: head..end, end })
}

/// The value of a header, by its name in lower case.
pub fn header<'head>(head: &'head [u8], name: &str) -> Option<&'head str> {
    let head = str::from_utf8(head).ok()?;
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The status of a response, 0 if there is none.
pub fn status(head: &[u8]) -> u16 {
    head.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

/// A mark to be put in a request, still without numbers; [`stamp`] fills it in.
pub fn blank_mark() -> String {
    let fence = char::from(FENCE);
    format!("{fence}{:0CHANNEL_DIGITS$}:{:0SEQUENCE_DIGITS$}{fence}", 0, 0)
}

/// Where the numbers of a mark are in a request that was made with [`blank_mark`].
pub fn mark_slot(request: &[u8]) -> Option<usize> {
    memchr::memmem::find(request, blank_mark().as_bytes()).map(|fence| fence + 1)
}

/// Writes channel and sequence into the mark at `slot`.
pub fn stamp(request: &mut [u8], slot: usize, channel: usize, sequence: u32) {
    write_digits(&mut request[slot..slot + CHANNEL_DIGITS], channel as u64);
    write_digits(&mut request[slot + CHANNEL_DIGITS + 1..slot + MARK], u64::from(sequence));
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Channel and sequence of the first mark in a payload.
pub fn read_mark(payload: &[u8]) -> Option<(usize, u32)> {
    let digits = payload.get(memchr::memchr(FENCE, payload)? + 1..)?.get(..MARK)?;
    let channel = read_digits(&digits[..CHANNEL_DIGITS])?;
    let sequence = read_digits(&digits[CHANNEL_DIGITS + 1..])?;
    Some((channel as usize, sequence))
}

/// The number after the first `"version":` in a payload.
pub fn read_version(payload: &[u8]) -> Option<u32> {
    const KEY: &[u8] = b"\"version\":";
    let digits = payload.get(memchr::memmem::find(payload, KEY)? + KEY.len()..)?;
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    read_digits(digits.get(..length).filter(|digits| !digits.is_empty())?)
}

/// The text after the first `"cursor":"` in a payload.
pub fn read_cursor(payload: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"cursor\":\"";
    let text = payload.get(memchr::memmem::find(payload, KEY)? + KEY.len()..)?;
    str::from_utf8(text.get(..memchr::memchr(b'"', text)?)?).ok()
}

fn read_digits(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        digit.is_ascii_digit().then(|| number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_found_whole_and_not_before() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = server_text(&vec![b'x'; length]);
            assert_eq!(frame(&bytes), Some(Frame { opcode: 1, payload: bytes.len() - length..bytes.len() }));
            assert_eq!(frame(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn responses_end_where_they_say() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}next";
        let found = message(plain).expect("whole");
        assert_eq!((status(&plain[found.head]), &plain[found.body], found.end), (200, &b"{}"[..], plain.len() - 4));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        assert_eq!(message(chunked).map(|found| found.end), Some(chunked.len()));
        assert_eq!(message(&plain[..plain.len() - 5]), None);
    }

    #[test]
    fn a_mark_comes_back_as_it_was_stamped() {
        let mut request = format!("title {} end", blank_mark()).into_bytes();
        let slot = mark_slot(&request).expect("there");
        stamp(&mut request, slot, 42, 1_234_567);
        assert_eq!(read_mark(&request), Some((42, 1_234_567)));
        assert_eq!(read_mark(b"~1"), None);
        assert_eq!(read_version(br#"{"version":17}"#), Some(17));
        assert_eq!(read_cursor(br#"{"cursor":"abc"}"#), Some("abc"));
    }
}
