//! JSON that a client may send and that no Unicode text can hold.
//!
//! JavaScript's strings may end in the middle of a character: `"😀".slice(0, 1)` is half a surrogate pair, which
//! `JSON.stringify` writes as `"\ud83d"`. That is well-formed JSON, but not Unicode, and `serde_json` refuses the whole
//! document; the same holds for numbers out of range and for deep nesting. Owns the messages for that, with the name of
//! the variable at fault, so that only its own operation fails. Called by [`super::graphql`] for requests and by the
//! sockets' protocol for messages, where parsing failed.

use async_graphql::ServerError;
use serde_json::{Error, Value};

use crate::graphql::{errors::ErrorCode, limits::failure};

/// Stands for half a pair in what is read once more. No text that people write has it.
const MARK: char = '\u{ffff}';

/// Why an operation cannot be read, though it is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    code: ErrorCode,
    message: String,
}

impl Unreadable {
    /// What is wrong with `value`, the parameters of an operation with marks in them.
    pub(super) fn half(value: &Value) -> Self {
        let place = marked(value).unwrap_or_default();
        let what = "holds half of a surrogate pair, such as \"\\ud83d\" alone, which is no character. Cut texts between \
                    characters.";
        match &place[..] {
            [variables, path @ ..] if variables == "variables" && !path.is_empty() => {
                let message = format!("Variable \"${}\" {what}", path.join("."));
                Self { code: ErrorCode::BadUserInput, message }
            }
            place => Self { code: ErrorCode::BadRequest, message: format!("\"{}\" {what}", place.join(".")) },
        }
    }

    /// What is wrong with JSON in which there are no halves.
    pub(super) fn other(error: &Error) -> Self {
        Self { code: ErrorCode::BadRequest, message: format!("The operation cannot be read: {error}.") }
    }

    /// As a GraphQL error.
    pub fn error(&self) -> ServerError {
        failure(self.code, self.message.clone(), None)
    }
}

/// The same JSON with a mark for each half of a surrogate pair; none if there are no halves, or if it is no JSON.
pub(super) fn marked_halves(json: &str) -> Option<Value> {
    let mut rest = json;
    let mut text = String::with_capacity(json.len());
    let mut halves = 0;
    // Outside of strings JSON has no backslashes.
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let length = match unit(escape) {
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
            Some(0xD800..=0xDBFF) if matches!(unit(&escape[6..]), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                halves += 1;
                text.push(MARK);
                rest = &escape[6..];
                continue;
            }
            Some(_) => 6,
        };
        text.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    text.push_str(rest);
    (halves > 0).then(|| serde_json::from_str(&text).ok())?
}

/// The UTF-16 unit of the escape that a text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The way to the first text with a mark.
fn marked(value: &Value) -> Option<Vec<String>> {
    let below = |step: String, value: &Value| {
        let mut place = marked(value)?;
        place.insert(0, step);
        Some(place)
    };
    match value {
        Value::String(text) => text.contains(MARK).then(Vec::new),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| below(index.to_string(), item)),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            if name.contains(MARK) { Some(vec![name.replace(MARK, "?")]) } else { below(name.clone(), field) }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::graphql::classify::code;

    fn told(parameters: &str) -> Option<(String, String)> {
        let unreadable = Unreadable::half(&marked_halves(parameters)?).error();
        Some((code(&unreadable).unwrap_or_default().to_owned(), unreadable.message))
    }

    #[test]
    fn halves_are_found_by_the_variable_that_holds_them() {
        for (parameters, expected_code, place) in [
            (r#"{"query":"{a}","variables":{"p":"é","q":"logo \ud83d"}}"#, "BAD_USER_INPUT", "Variable \"$q\""),
            (r#"{"variables":{"i":{"title":["a","\udfa8 x"]}}}"#, "BAD_USER_INPUT", "Variable \"$i.title.1\""),
            (r#"{"variables":{"q":"\ud83d\ud83c\udfa8"}}"#, "BAD_USER_INPUT", "Variable \"$q\""),
            (r#"{"variables":{"q":"\\\ud83d\\"}}"#, "BAD_USER_INPUT", "Variable \"$q\""),
            (r#"{"variables":{"\ud83d":1}}"#, "BAD_USER_INPUT", "Variable \"$?\""),
            (r#"{"query":"{a(b:\"\uDC00\")}"}"#, "BAD_REQUEST", "\"query\" holds half"),
            (r#"{"extensions":{"x":"\ud83d"}}"#, "BAD_REQUEST", "\"extensions.x\" holds half"),
        ] {
            let (code, message) = told(parameters).expect(parameters);
            assert_eq!(code, expected_code, "{parameters}");
            assert!(message.starts_with(place), "{parameters}: {message}");
        }
    }

    #[test]
    fn what_is_whole_or_no_json_has_no_halves() {
        for text in [
            r#"{"a":"\ud83c\udfa8 🎨 \\ud83d \u00e9"}"#,
            r#"{"a":"\ud83d""#,
            r#"{"a":"\ud8"}"#,
            r#"{"a":"\"#,
            r#"{"a":"\é"}"#,
            "",
        ] {
            assert_eq!(marked_halves(text), None, "{text}");
        }
        assert_eq!(marked_halves(r#"["\ud83d","\ud83c\udfa8"]"#), Some(json!(["\u{ffff}", "🎨"])));
    }
}
