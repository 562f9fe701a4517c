//! `$ name` as `$name`.
//!
//! The specification lets white space, commas and comments stand between the `$` of a variable and its name; the library
//! reads both as one token. So a sign that stands apart is moved to its name before a text is parsed. Everything stays
//! where it was but the sign, and so do the positions of errors. One pass over the bytes; texts without such a sign, as
//! nearly all are, are not copied. Called by [`super::Documents`].

use std::borrow::Cow;

/// The text with each `$` beside its name.
pub(super) fn beside_names(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut moves = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b'#' => end_of_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'$' => {
                let name = end_of_ignored(bytes, at + 1);
                let is_name = bytes.get(name).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
                if name > at + 1 && is_name {
                    moves.push((at, name));
                }
                name
            }
            _ => at + 1,
        };
    }
    if moves.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut changed, mut copied) = (String::with_capacity(text.len()), 0);
    for (sign, name) in moves {
        changed.push_str(&text[copied..sign]);
        changed.push_str(&text[sign + 1..name]);
        changed.push('$');
        copied = name;
    }
    changed.push_str(&text[copied..]);
    Cow::Owned(changed)
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
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let is_block = bytes[at..].starts_with(b"\"\"\"");
    let mut next = at + if is_block { 3 } else { 1 };
    while next < bytes.len() {
        let rest = &bytes[next..];
        next += match rest[0] {
            b'"' if is_block && rest.starts_with(b"\"\"\"") => return next + 3,
            b'\\' if is_block && rest.starts_with(b"\\\"\"\"") => 4,
            b'"' | b'\n' | b'\r' if !is_block => return next + 1,
            b'\\' if !is_block => 2,
            _ => 1,
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_moved_to_its_name_and_nothing_else_is() {
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
            ("", ""),
        ] {
            assert_eq!(beside_names(text), expected, "{text}");
            assert_eq!(beside_names(text).len(), text.len());
        }
    }
}
