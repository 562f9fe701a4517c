//! A first look at a document's text, before the parser sees it.
//!
//! Owns what must be known before parsing: how many tokens there are, how deep brackets nest, how long names are, and
//! whether an input object names a field twice. One pass, no recursion, linear in the text. Called by
//! [`super::document::prepare`] alone.
//!
//! Own code, because the parser has no such limits. It watches its stack while it matches, but not while it builds the
//! tree: 500 nested lists overflow 2 MiB (debug build) and end the process. A name of 200 KB costs time when "did you
//! mean" compares it with every field. And the tree keeps input objects as maps, so that `{a: 1, a: 2}` (spec 5.6.3)
//! can no longer be seen in it.
//!
//! Invariant: whatever the parser accepts is read here with the same token boundaries. Where the two could differ (a
//! string without an end) the text is refused here, so that no bracket hides from this scan.

use std::collections::HashSet;

use async_graphql::{Pos, ServerError};

use super::{
    errors::ErrorCode,
    limits::{exceeded, failure},
};

/// Brackets that may be open at once. Twelve levels of fields, each in a fragment, need 26; 48 take 470 KB of stack in
/// a debug build.
const MAX_OPEN_BRACKETS: usize = 48;

/// Bytes in one name. Relay and Apollo derive operation names from file names, which stay well below.
const MAX_NAME_BYTES: usize = 128;

/// Refuses a text that must not be given to the parser.
///
/// # Errors
///
/// `OPERATION_TOO_COMPLEX` for too many tokens or too long a name, `OPERATION_TOO_DEEP` for brackets,
/// `GRAPHQL_PARSE_FAILED` for a string without an end, `GRAPHQL_VALIDATION_FAILED` for a repeated input field.
pub(super) fn scan(text: &str, max_tokens: u32) -> Result<(), ServerError> {
    let mut scanner = Scanner { text, at: 0, open: Vec::new(), parentheses: 0 };
    let mut tokens = 0_u64;
    let mut previous = None;
    let mut broken = false;
    while let Some(token) = scanner.next()? {
        tokens += 1;
        // Brackets that do not match end the parse no later than here: from now on only tokens are counted.
        broken = broken || !scanner.follow(&token, previous.as_ref())?;
        previous = Some(token);
    }
    if tokens > u64::from(max_tokens) {
        let fix = "Ask for fewer fields, or move literal input into variables.";
        return Err(exceeded(ErrorCode::OperationTooComplex, "tokens", u64::from(max_tokens), tokens, fix));
    }
    Ok(())
}

/// A lexical token and where it starts.
enum Token<'a> {
    Name(usize, &'a str),
    Punctuator(usize, u8),
    Value,
}

/// An open bracket; an input object also knows the names it has seen.
struct Open<'a> {
    closes_with: u8,
    fields: Option<HashSet<&'a str>>,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open<'a>>,
    /// How many of the open brackets are `(`: within one, `{` opens an input object, else a selection set.
    parentheses: usize,
}

impl<'a> Scanner<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, ServerError> {
        self.skip_ignored();
        let start = self.at;
        let Some(first) = self.peek(0) else { return Ok(None) };
        let token = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                let name = &self.text[start..self.at];
                if name.len() > MAX_NAME_BYTES {
                    let (limit, actual) = (MAX_NAME_BYTES as u64, name.len() as u64);
                    let mut error = exceeded(
                        ErrorCode::OperationTooComplex,
                        "bytes in a name",
                        limit,
                        actual,
                        "Use a shorter one.",
                    );
                    error.locations = vec![self.position(start)];
                    return Err(error);
                }
                Token::Name(start, name)
            }
            b'-' | b'0'..=b'9' => {
                self.skip_number();
                Token::Value
            }
            b'"' => {
                self.skip_string(start)?;
                Token::Value
            }
            b'.' if self.text[start..].starts_with("...") => {
                self.at += 3;
                Token::Punctuator(start, b'.')
            }
            _ => {
                // Also steps over characters that GraphQL does not know; the parser reports them.
                self.at += self.text[start..].chars().next().map_or(1, char::len_utf8);
                Token::Punctuator(start, first)
            }
        };
        Ok(Some(token))
    }

    /// Keeps track of brackets and of field names in input objects; false when brackets do not match.
    fn follow(&mut self, token: &Token<'a>, previous: Option<&Token<'a>>) -> Result<bool, ServerError> {
        let Token::Punctuator(start, punctuator) = *token else { return Ok(true) };
        match punctuator {
            b'(' | b'[' | b'{' => {
                if self.open.len() == MAX_OPEN_BRACKETS {
                    let limit = MAX_OPEN_BRACKETS as u64;
                    let fix = "Flatten the selection or the input.";
                    let mut error =
                        exceeded(ErrorCode::OperationTooDeep, "brackets open at once", limit, limit + 1, fix);
                    error.locations = vec![self.position(start)];
                    return Err(error);
                }
                let is_input_object = punctuator == b'{' && self.parentheses > 0;
                self.parentheses += usize::from(punctuator == b'(');
                let closes_with = match punctuator {
                    b'(' => b')',
                    b'[' => b']',
                    _ => b'}',
                };
                self.open.push(Open { closes_with, fields: is_input_object.then(HashSet::new) });
            }
            b')' | b']' | b'}' => {
                self.parentheses -= usize::from(punctuator == b')' && self.parentheses > 0);
                return Ok(self.open.pop().is_some_and(|open| open.closes_with == punctuator));
            }
            b':' => {
                let fields = self.open.last_mut().and_then(|open| open.fields.as_mut());
                if let (Some(fields), Some(Token::Name(at, name))) = (fields, previous)
                    && !fields.insert(name)
                {
                    let message = format!("There can be only one input field named \"{name}\".");
                    return Err(failure(ErrorCode::GraphqlValidationFailed, message, Some(self.position(*at))));
                }
            }
            _ => {}
        }
        Ok(true)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&belongs) {
            self.at += 1;
        }
    }

    fn skip_ignored(&mut self) {
        loop {
            match self.peek(0) {
                Some(b' ' | b',' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(b'#') => self.skip_while(|byte| byte != b'\n' && byte != b'\r'),
                Some(_) if self.text[self.at..].starts_with('\u{feff}') => self.at += '\u{feff}'.len_utf8(),
                _ => return,
            }
        }
    }

    /// `-1.5e+10`: as little as the grammar allows, since `1-2` is two numbers.
    fn skip_number(&mut self) {
        self.at += usize::from(self.peek(0) == Some(b'-'));
        self.skip_while(|byte| byte.is_ascii_digit());
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1 + sign;
                self.skip_while(|byte| byte.is_ascii_digit());
            }
        }
    }

    fn skip_string(&mut self, start: usize) -> Result<(), ServerError> {
        let bytes = self.text.as_bytes();
        let unterminated = |scanner: &Self| {
            let message = "Syntax error: this string has no end.";
            Err(failure(ErrorCode::GraphqlParseFailed, message, Some(scanner.position(start))))
        };
        if bytes[start..].starts_with(b"\"\"\"") {
            self.at += 3;
            loop {
                match &bytes[self.at..] {
                    [] => return unterminated(self),
                    [b'\\', b'"', b'"', b'"', ..] => self.at += 4,
                    [b'"', b'"', b'"', ..] => break,
                    _ => self.at += 1,
                }
            }
            self.at += 3;
            return Ok(());
        }
        self.at += 1;
        loop {
            match &bytes[self.at..] {
                [] | [b'\n' | b'\r', ..] | [b'\\'] => return unterminated(self),
                [b'\\', ..] => self.at += 1 + self.text[self.at + 1..].chars().next().map_or(0, char::len_utf8),
                [b'"', ..] => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Line and column, counted from one, of a byte. Only for errors: it reads the text again.
    fn position(&self, at: usize) -> Pos {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Pos { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), ServerError>) -> Option<String> {
        let code = result.err()?.extensions?.get("code").cloned()?;
        Some(code.to_string().trim_matches('"').to_owned())
    }

    #[test]
    fn tokens_are_counted_as_the_specification_counts_them() {
        for (text, tokens) in [
            ("", 0),
            ("{ a }", 3),
            ("query A($x: [Int!]! = [1, -2.5e3]) { a(b: $x) ...F @include(if: true) } # { { {", 35),
            ("{a(b:\"\\\"{{\\\\\")}", 8),
            ("{a(b:\"\"\"{ \\\"\"\" \" \"\" {\"\"\")}", 8),
            ("{a(b:[1-2-3 1.5])}", 13),
            ("\u{feff}{ é }", 3),
            ("{a(b:\"\")}", 8),
        ] {
            assert_eq!(scan(text, tokens).err(), None, "{text}");
            if tokens > 0 {
                let error = scan(text, tokens - 1).expect_err(text);
                assert!(error.message.contains(&format!(" {tokens} tokens")), "{text}: {}", error.message);
            }
        }
    }

    #[test]
    fn brackets_names_and_strings_without_end_are_refused_before_parsing() {
        for (text, expected) in [
            (format!("{{a(b:{}", "[".repeat(100_000)), "OPERATION_TOO_DEEP"),
            (format!("query($a: {}", "[".repeat(100_000)), "OPERATION_TOO_DEEP"),
            ("{a".repeat(100_000), "OPERATION_TOO_DEEP"),
            (format!("{{ {} }}", "a".repeat(MAX_NAME_BYTES + 1)), "OPERATION_TOO_COMPLEX"),
            (format!("{{a(b:[\"\"\"abc\" {}", "[".repeat(100_000)), "GRAPHQL_PARSE_FAILED"),
            ("{a(b:\"\n\")}".to_owned(), "GRAPHQL_PARSE_FAILED"),
            ("{a(b:\"\\".to_owned(), "GRAPHQL_PARSE_FAILED"),
        ] {
            assert_eq!(code(scan(&text, u32::MAX)).as_deref(), Some(expected), "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn an_input_object_names_each_field_once() {
        let error = scan("mutation {\n  a(in: {x: 1, y: {x: 2}, x: 3}) { b }\n}", 99).expect_err("x is there twice");
        assert_eq!(error.message, "There can be only one input field named \"x\".");
        assert_eq!(error.locations, [Pos { line: 2, column: 27 }]);
        assert_eq!(code(scan("query($a: I = {x: $y, x: Z}) { a }", 99)).as_deref(), Some("GRAPHQL_VALIDATION_FAILED"));
        for fine in ["{ x: a x: b }", "{ a(x: {y: 1}) b(x: {y: 1}) }", "{ a(x: [{y: 1}, {y: 2}], y: 1) { y: z } }"] {
            assert_eq!(scan(fine, 99).err(), None, "{fine}");
        }
    }

    #[test]
    fn the_parser_bears_what_the_scan_lets_through() {
        let deepest = MAX_OPEN_BRACKETS - 2;
        let lists = format!("{{a(b:{}{})}}", "[".repeat(deepest), "]".repeat(deepest));
        let objects = format!("{{a(b:{}1{})}}", "{c:".repeat(deepest), "}".repeat(deepest));
        let fields = format!("{}b{}", "{a".repeat(MAX_OPEN_BRACKETS), "}".repeat(MAX_OPEN_BRACKETS));
        for text in [lists, objects, fields] {
            assert_eq!(scan(&text, 2_000).err(), None);
            // Half of what the runtime gives its threads, in a build that uses far more stack than a release.
            let parse = std::thread::Builder::new().stack_size(1024 * 1024);
            let parse = parse.spawn(move || async_graphql::parser::parse_query(text).map(|_| ()));
            parse.expect("a thread").join().expect("no overflow").expect("parses");
        }
    }
}
