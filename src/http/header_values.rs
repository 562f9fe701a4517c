//! Lists and parameters in header values, as RFC 9110 writes them (sections 5.6.1 and 5.6.6).
//!
//! Pure. Called by [`negotiation`](super::negotiation) for `Accept` and by [`graphql`](super::graphql) for
//! `Content-Type` and `Content-Encoding`. Lenient in what no reader can mistake: empty members and parameters, white
//! space around `=`, a parameter without a value.
//!
//! Own code: `mime` 0.3 refuses `; ;` and `*`, and has no weights; `headers-accept` 0.2 looks at the first line alone,
//! refuses all of it for one member that it cannot read (`*; q=.2` of Java's `HttpURLConnection`), and takes `q=.8` for 1.

use std::borrow::Cow;

/// The members of a list, without the empty ones.
pub(super) fn members(value: &str) -> impl Iterator<Item = &str> {
    parts(value, ',')
}

/// What comes before the first `;`, and the parameters after it.
pub(super) fn with_parameters(member: &str) -> (&str, impl Iterator<Item = (&str, Cow<'_, str>)>) {
    let (essence, rest) = member.split_once(';').unwrap_or((member, ""));
    (essence.trim_matches(BLANK), parts(rest, ';').map(parameter))
}

/// White space as header values have it.
const BLANK: [char; 2] = [' ', '\t'];

fn parameter(text: &str) -> (&str, Cow<'_, str>) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.trim_matches(BLANK), unquoted(value.trim_matches(BLANK)))
}

/// The text of a token or of a quoted string.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(quoted) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else { return value.into() };
    if !quoted.contains('\\') {
        return quoted.into();
    }
    let mut plain = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain.into()
}

/// The parts between separators that are not in quotes, without the empty ones.
fn parts(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    let parts = std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.find(|character| {
            let was_escaped = std::mem::take(&mut escaped);
            match character {
                '\\' if quoted && !was_escaped => escaped = true,
                '"' if !was_escaped => quoted = !quoted,
                _ => return character == separator && !quoted,
            }
            false
        });
        rest = end.map(|end| &text[end + separator.len_utf8()..]);
        let part = &text[..end.unwrap_or(text.len())];
        Some(part.trim_matches(BLANK))
    });
    parts.filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_members_and_parameters_are_left_out() {
        let list: Vec<_> = members(", a;x=1 ,,\tb;;y = \"1,2;3\\\"4\" ; z;, ,c").collect();
        assert_eq!(list, ["a;x=1", "b;;y = \"1,2;3\\\"4\" ; z;", "c"]);
        let (essence, parameters) = with_parameters(list[1]);
        let parameters: Vec<_> = parameters.map(|(name, value)| (name, value.into_owned())).collect();
        assert_eq!((essence, parameters), ("b", vec![("y", "1,2;3\"4".to_owned()), ("z", String::new())]));
        assert_eq!(members(" ,\t,").count(), 0);
        assert_eq!(with_parameters("a; ; ;").1.count(), 0);
    }

    #[test]
    fn a_quote_that_is_left_open_reaches_to_the_end() {
        assert_eq!(members("a;x=\"b, c").collect::<Vec<_>>(), ["a;x=\"b, c"]);
        let (_, mut parameters) = with_parameters("a;x=\"b; y=1");
        assert_eq!(parameters.next(), Some(("x", "\"b; y=1".into())));
        assert_eq!(unquoted("\"a\\"), "\"a\\");
        assert_eq!(unquoted("\""), "\"");
    }
}
