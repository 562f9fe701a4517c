//! The hash by which a document is named in the log.
//!
//! Owns [`hash`]. Made once for each document that is kept ([`super::documents`]), and for one that was refused when its line
//! is written. Pure.
//!
//! Invariant: nothing that a client wrote as a value has a part in it, so nobody can guess a value from a hash.

use sha2::{Digest, Sha256};

/// The first 16 hexadecimal digits of the SHA-256 of a document without its values: what stands in quotes or is a number is
/// left out, comments too, and white space and commas are one blank. The same operation has the same hash, whatever values
/// are written into it.
pub fn hash(document: &str) -> String {
    let digest = Sha256::digest(without_values(document));
    digest[..8].iter().fold(String::with_capacity(16), |text, byte| text + &format!("{byte:02x}"))
}

fn without_values(document: &str) -> String {
    let mut shape = String::with_capacity(document.len());
    let mut rest = document;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '"' => {
                shape.push('"');
                text_length(rest)
            }
            '#' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '-' | '0'..='9' => {
                shape.push('0');
                rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter))
                    .unwrap_or(rest.len())
            }
            letter if letter == ',' || letter.is_whitespace() || letter == '\u{feff}' => {
                if !shape.ends_with(' ') {
                    shape.push(' ');
                }
                letter.len_utf8()
            }
            letter if letter.is_ascii_alphabetic() || letter == '_' => {
                let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                let end = end.unwrap_or(rest.len());
                shape.push_str(&rest[..end]);
                end
            }
            letter => {
                shape.push(letter);
                letter.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    shape
}

/// The length of the quoted text that `rest` begins with; all of it where the text has no end.
fn text_length(rest: &str) -> usize {
    let (quotes, escape) = if rest.starts_with("\"\"\"") { ("\"\"\"", "\\\"\"\"") } else { ("\"", "\\") };
    let mut at = quotes.len();
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with(escape) {
            // In a block only the three quotes can be escaped, elsewhere whatever comes next.
            let more = if quotes.len() == 3 { 0 } else { here[1..].chars().next().map_or(0, char::len_utf8) };
            at += escape.len() + more;
        } else if here.starts_with(quotes) {
            return at + quotes.len();
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_one_hash_whatever_values_are_written_into_it() {
        let shape = without_values("mutation A {\n signIn(input: { email: \"a\\\"b\", n: -1.5e3 }), # \"secret\n id }");
        assert_eq!(shape, "mutation A { signIn(input: { email: \" n: 0 }) id }");
        for (one, other) in [
            ("{ a(b: \"x\") }", "{ a(b: \"another\") }"),
            (
                "{ a(b: \"x\\\\\") c }",
                "{a(b:\"\") c}".replace('{', "{ ").replace("(b:", "(b: ").replace("c}", "c }").as_str(),
            ),
            ("{ a(b: \"\"\"x \\\"\"\" \" y\"\"\") }", "{ a(b: \"z\") }"),
            ("{ a(b: 1) }", "{ a(b: 23.5) }"),
            ("{ a }", "{\n\t a,\n}"),
            ("{ a } # b", "{ a } # c"),
        ] {
            assert_eq!(hash(one), hash(other), "{one} and {other}");
        }
        assert_ne!(hash("{ a }"), hash("{ b }"));
        assert_ne!(hash("{ a1 }"), hash("{ a2 }"), "a number in a name is no value");
        for unfinished in ["\"", "\"\\", "\"\"\"", "\"\"\"\\\"\"\"", "{ a(b: \"é", "#", "é"] {
            assert!(!hash(unfinished).is_empty(), "{unfinished}");
        }
        assert!(!without_values("\"\"\"a secret").contains("secret"));
    }
}
