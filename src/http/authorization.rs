//! The meaning of an `Authorization` value, wherever it is sent: in a request, in an upgrade, in `connection_init`.
//!
//! Pure. One reading for every transport. No value and no token behind the scheme both mean no header: clients send
//! `authorization: token ? .. : ""` and `Bearer ${token ?? ""}` when they are not signed in. Any other value is meant
//! as a credential, and an invalid one is refused; it never counts as an anonymous viewer.

use axum::http::{HeaderMap, header::AUTHORIZATION};

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authorization<'a> {
    /// Nothing.
    Empty,
    /// This token.
    Bearer(&'a str),
    /// Something else: another scheme, no text, or more than one credential.
    Foreign,
}

impl<'a> Authorization<'a> {
    /// Reads one value.
    pub(super) fn of(value: &'a str) -> Self {
        let (scheme, token) = match value.trim().split_once([' ', '\t']) {
            Some((scheme, token)) => (scheme, token.trim()),
            None => (value.trim(), ""),
        };
        match (scheme, token) {
            ("", _) => Self::Empty,
            (scheme, "") if scheme.eq_ignore_ascii_case("bearer") => Self::Empty,
            (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => Self::Bearer(token),
            _ => Self::Foreign,
        }
    }

    /// Reads those of a request. Of several that say something none is taken.
    pub(super) fn of_request(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(AUTHORIZATION).iter();
        let said = values.map(|value| value.to_str().map_or(Self::Foreign, Self::of));
        let mut said = said.filter(|said| *said != Self::Empty);
        match (said.next(), said.next()) {
            (None, _) => Self::Empty,
            (Some(only), None) => only,
            (Some(_), Some(_)) => Self::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_nobody_and_all_else_is_a_credential() {
        for (value, expected) in [
            ("", Authorization::Empty),
            ("  \t ", Authorization::Empty),
            ("Bearer", Authorization::Empty),
            ("bearer   ", Authorization::Empty),
            ("Bearer t", Authorization::Bearer("t")),
            (" BEARER \t t ", Authorization::Bearer("t")),
            ("Bearer null", Authorization::Bearer("null")),
            ("Bearer undefined", Authorization::Bearer("undefined")),
            ("Bearer a b", Authorization::Bearer("a b")),
            ("Basic dTpw", Authorization::Foreign),
            ("Basic", Authorization::Foreign),
            ("t", Authorization::Foreign),
            ("null", Authorization::Foreign),
            ("Bearert", Authorization::Foreign),
        ] {
            assert_eq!(Authorization::of(value), expected, "{value:?}");
        }
    }

    #[test]
    fn of_several_headers_one_may_say_something() {
        let of = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, axum::http::HeaderValue::from_bytes(value).expect("a value"));
            }
            match Authorization::of_request(&headers) {
                Authorization::Empty => "empty".to_owned(),
                Authorization::Bearer(token) => token.to_owned(),
                Authorization::Foreign => "foreign".to_owned(),
            }
        };
        assert_eq!(of(&[]), "empty");
        assert_eq!(of(&[b"", b" "]), "empty");
        assert_eq!(of(&[b"", b"Bearer t"]), "t");
        assert_eq!(of(&[b"Bearer t", b"Bearer t"]), "foreign");
        assert_eq!(of(&[b"Bearer \xff"]), "foreign");
    }
}
