//! Spellings that the specification allows and the library does not read.
//!
//! - White space, commas and comments may stand between the `$` of a variable and its name; the library reads both as one
//!   token. So a sign that stands apart is moved to its name.
//! - A pair of surrogates (`\ud83d\ude00`) is not read behind another escape. It is written as `\u{0001F600}`, which is
//!   as long.
//!
//! Everything else stays where it was, and so do the positions of errors. One pass over the bytes; texts without such
//! spellings, as nearly all are, are not copied. Called by [`super::Documents`] before a text is parsed.

use std::borrow::Cow;

/// What takes the place of a part of the text, from a byte up to another. It is as long as the part.
struct Edit {
    from: usize,
    to: usize,
    text: String,
}

/// The text as the library reads it.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut edits = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b'#' => end_of_comment(bytes, at),
            b'"' => end_of_string(bytes, at, &mut edits),
            b'$' => {
                let name = end_of_ignored(bytes, at + 1);
                let is_name = bytes.get(name).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
                if name > at + 1 && is_name {
                    edits.push(Edit { from: at, to: name, text: format!("{}$", &text[at + 1..name]) });
                }
                name
            }
            _ => at + 1,
        };
    }
    if edits.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut edited, mut copied) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        edited.push_str(&text[copied..edit.from]);
        edited.push_str(&edit.text);
        copied = edit.to;
    }
    edited.push_str(&text[copied..]);
    Cow::Owned(edited)
}

/// Behind white space, commas, byte order marks and comments.
fn end_of_ignored(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = match bytes.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r' | b',') => at + 1,
            Some(b'#') => end_of_comment(bytes, at),
            Some(0xEF) if bytes[at..].starts_with("\u{FEFF}".as_bytes()) => at + 3,
            _ => return at,
        };
    }
}

fn end_of_comment(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(bytes.len(), |length| at + length)
}

/// Behind the string that begins here; behind its line or the text for one that does not end.
fn end_of_string(bytes: &[u8], at: usize, edits: &mut Vec<Edit>) -> usize {
    let is_block = bytes[at..].starts_with(b"\"\"\"");
    let mut next = at + if is_block { 3 } else { 1 };
    while next < bytes.len() {
        let rest = &bytes[next..];
        next += match rest[0] {
            b'"' if is_block && rest.starts_with(b"\"\"\"") => return next + 3,
            b'\\' if is_block && rest.starts_with(b"\\\"\"\"") => 4,
            b'"' | b'\n' | b'\r' if !is_block => return next + 1,
            b'\\' if !is_block => match surrogates(rest) {
                Some(character) => {
                    let text = format!("\\u{{{:08X}}}", u32::from(character));
                    edits.push(Edit { from: next, to: next + PAIR, text });
                    PAIR
                }
                None => 2,
            },
            _ => 1,
        };
    }
    bytes.len()
}

/// The length of two escapes of four digits, in bytes.
const PAIR: usize = 12;

/// The character that a pair of surrogates at the beginning of these bytes stands for.
fn surrogates(bytes: &[u8]) -> Option<char> {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let digits =
            std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    let pair = [unit(0)?, unit(6)?];
    let is_pair = (0xD800..0xDC00).contains(&pair[0]) && (0xDC00..0xE000).contains(&pair[1]);
    char::decode_utf16(pair).next()?.ok().filter(|_| is_pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_stand_beside_their_names_and_pairs_are_one_escape() {
        for (text, expected) in [
            ("query($ a: Int) { a }", "query( $a: Int) { a }"),
            ("query($\n,# \"$ b\n\u{FEFF}a: Int) { a(b: $\ta) }", "query(\n,# \"$ b\n\u{FEFF}$a: Int) { a(b: \t$a) }"),
            ("query($a: Int) { a(b: $a) }", "query($a: Int) { a(b: $a) }"),
            (
                "{ a(b: \"$ a\\\" $ b\", c: \"\"\"$ c \\\"\"\" $ d\"\"\") } # $ e",
                "{ a(b: \"$ a\\\" $ b\", c: \"\"\"$ c \\\"\"\" $ d\"\"\") } # $ e",
            ),
            ("{ a(b: $ 1) } $", "{ a(b: $ 1) } $"),
            ("\"never ended $ a", "\"never ended $ a"),
            ("\"\"\"never ended $ a\\", "\"\"\"never ended $ a\\"),
            ("\"ends with its line\n$ a", "\"ends with its line\n $a"),
            (r#"{ a(b: "\u0061\ud83d\uDE00\\ud83d\ude00") }"#, r#"{ a(b: "\u0061\u{0001F600}\\ud83d\ude00") }"#),
            (
                r#"{ a(b: "\ud83d \ude00\ud83d", c: """\ud83d\ude00""") } # \ud83d\ude00"#,
                r#"{ a(b: "\ud83d \ude00\ud83d", c: """\ud83d\ude00""") } # \ud83d\ude00"#,
            ),
            ("", ""),
        ] {
            assert_eq!(plain(text), expected, "{text}");
            assert_eq!(plain(text).len(), text.len());
        }
    }
}
