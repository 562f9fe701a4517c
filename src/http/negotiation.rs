//! Which media type answers a request.
//!
//! Owns the reading of `Accept` (RFC 9110, section 12.5.1). Called by the handlers of `/graphql` with what each offers.
//! Own code: axum has no negotiation, and the GraphQL-over-HTTP draft needs a rule of its own, namely that a wildcard
//! or no header means `application/json`, the type that the oldest clients understand, while
//! `application/graphql-response+json` must be asked for by name.

use axum::http::{HeaderMap, header};

use super::header_values::{members, with_parameters};

/// What an answer can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// Statuses say what happened: 400 and no `data` when execution never began.
    GraphqlResponse,
    /// 200 for whatever a well-formed request led to. The default.
    Json,
    /// Server-sent events.
    EventStream,
    /// Parts of a multipart subscription. Only meant where `Accept` says `subscriptionSpec=1.0`: without it, or with a
    /// `deferSpec`, the type is that of another protocol.
    Multipart,
    /// A page for people.
    Html,
}

impl MediaType {
    /// Type and subtype, as in `Accept`.
    pub const fn essence(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json",
            Self::Json => "application/json",
            Self::EventStream => "text/event-stream",
            Self::Multipart => "multipart/mixed",
            Self::Html => "text/html",
        }
    }
}

/// The best of `offers` for the request, or none if the client accepts none of them.
///
/// By quality first, then by order in `offers`. Wildcards mean [`MediaType::Json`], if it is offered.
pub fn negotiate(headers: &HeaderMap, offers: &[MediaType]) -> Option<MediaType> {
    let json = || offers.contains(&MediaType::Json).then_some(MediaType::Json);
    // What is no text is a member that nobody can mean.
    let lines = headers.get_all(header::ACCEPT).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut entries = lines.flat_map(members).peekable();
    if entries.peek().is_none() {
        return json();
    }
    let ranges: Vec<Range<'_>> = entries.filter_map(range).collect();
    let mut best: Option<(u16, MediaType)> = None;
    for &offer in offers {
        let quality = quality(&ranges, offer);
        if quality > best.map_or(0, |(highest, _)| highest) {
            best = Some((quality, offer));
        }
    }
    best.map(|(_, offer)| offer)
}

/// One entry of `Accept`, its quality in thousandths.
struct Range<'a> {
    essence: &'a str,
    quality: u16,
    /// Whether Apollo's protocol for subscriptions is named.
    subscriptions: bool,
    /// Whether it has parameters that are none of ours: meant for what somebody else sends.
    foreign: bool,
}

/// What an entry says; nothing where it cannot be meant for what we send, or its weight is no weight.
fn range(entry: &str) -> Option<Range<'_>> {
    let (essence, parameters) = with_parameters(entry);
    let essence = match essence {
        // Java's HttpURLConnection before 19 sends it.
        "*" => "*/*",
        other => Some(other).filter(|essence| essence.contains('/'))?,
    };
    let mut range = Range { essence, quality: 1_000, subscriptions: false, foreign: false };
    for (name, value) in parameters {
        if name.eq_ignore_ascii_case("q") {
            range.quality = thousandths(&value)?;
            // What follows was once an extension of Accept and says nothing of the type.
            break;
        }
        if name.eq_ignore_ascii_case("charset") {
            // All we send is UTF-8.
            if !is_utf8(&value) {
                return None;
            }
        } else if name.eq_ignore_ascii_case("subscriptionSpec") {
            range.subscriptions = value == "1.0";
        } else if !name.eq_ignore_ascii_case("boundary") {
            range.foreign = true;
        }
    }
    Some(range)
}

/// Whether a charset is UTF-8, in either of the spellings that are sent.
pub(super) fn is_utf8(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// `0.85` is 850, and so is `.85`; nothing if it is no quality. Digits after the third are of no weight.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let thousandths = fraction.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole.trim_start_matches('0') {
        "" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

/// The quality of an offer: that of the most specific range that matches it. A range with parameters that are not ours
/// (`application/json;odata=verbose`) is taken to mean the type itself, where nothing better does.
fn quality(ranges: &[Range<'_>], offer: MediaType) -> u16 {
    let (offered_type, _) = offer.essence().split_once('/').unwrap_or_default();
    let rank = |range: &Range<'_>| {
        if range.essence.eq_ignore_ascii_case(offer.essence()) {
            if offer == MediaType::Multipart && !range.subscriptions {
                return None;
            }
            // That those parameters are not wanted says nothing of what has none.
            return if range.foreign { Some(2).filter(|_| range.quality > 0) } else { Some(3) };
        }
        let (main, rest) = range.essence.split_once('/').filter(|_| offer == MediaType::Json)?;
        match (main, rest) {
            ("*", "*") => Some(0),
            (main, "*") if main.eq_ignore_ascii_case(offered_type) => Some(1),
            _ => None,
        }
    };
    let ranked = ranges.iter().filter_map(|range| Some((rank(range)?, range.quality)));
    ranked.max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(accept: &str, offers: &[MediaType]) -> Option<MediaType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a header"));
        negotiate(&headers, offers)
    }

    #[test]
    fn clients_get_what_they_prefer() {
        use MediaType::{GraphqlResponse, Html, Json};
        let offers = [GraphqlResponse, Json];
        for (accept, expected) in [
            ("application/graphql-response+json", Some(GraphqlResponse)),
            ("application/json", Some(Json)),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("*/*, application/graphql-response+json", Some(GraphqlResponse)),
            // Apollo Client 4, urql 6, graphql-http's client.
            ("application/graphql-response+json,application/json;q=0.9", Some(GraphqlResponse)),
            (
                "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, \
                 multipart/mixed",
                Some(GraphqlResponse),
            ),
            ("application/graphql-response+json;q=0.5, Application/JSON; charset=UTF-8; q=0.9", Some(Json)),
            ("application/json; charset=iso-8859-1", None),
            ("application/json;q=0, */*;q=0.1", None),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Json)),
            ("application/xml", None),
            ("application/json;q=2", None),
            ("application/json;q=high", None),
            ("application/json;q=", None),
            ("application/json;q=-1", None),
            ("application/json;q=1.5", None),
            ("application/json;q=.", None),
            ("", Some(Json)),
            (" , ,", Some(Json)),
            // As RFC 9110 allows it, and as clients send it.
            ("application/json;", Some(Json)),
            ("application/json ; ; ;", Some(Json)),
            ("application/json;q=.8", Some(Json)),
            ("application/json;q=1.", Some(Json)),
            ("application/json;q=\"0.5\"", Some(Json)),
            ("application/json; Q = 0.3333333;", Some(Json)),
            ("application/json; charset=utf8", Some(Json)),
            ("application/json; CharSet=\"UTF-8\"", Some(Json)),
            ("application/json;odata=verbose", Some(Json)),
            ("application/json;v=\"1,2;q=0\"", Some(Json)),
            ("application/json;foo", Some(Json)),
            ("*;q=.2", Some(Json)),
            ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", Some(Json)),
            (", application/graphql-response+json ,", Some(GraphqlResponse)),
            ("APPLICATION/*;q=0.1", Some(Json)),
            ("application/json;q=0, application/graphql-response+json;q=.001", Some(GraphqlResponse)),
            ("application/json;q=0.0001", None),
            ("application/*;q=0, */*", None),
            ("application/json;odata=verbose;q=0, */*", Some(Json)),
            ("application/json;odata=verbose;q=0.9, application/json;q=0, */*", None),
            ("application/json;q=0.2, application/json;q=0.9, application/graphql-response+json;q=.5", Some(Json)),
            ("*/json", None),
            ("json", None),
        ] {
            assert_eq!(pick(accept, &offers), expected, "{accept}");
        }
        assert_eq!(pick("text/html,*/*;q=0.8", &[Html, GraphqlResponse, Json]), Some(Html));
        assert_eq!(negotiate(&HeaderMap::new(), &offers), Some(Json));
        assert_eq!(negotiate(&HeaderMap::new(), &[Html]), None);
    }

    #[test]
    fn streams_are_sent_to_those_who_ask_for_them_by_name() {
        use MediaType::{EventStream, Multipart};
        for (accept, expected) in [
            ("text/event-stream", Some(EventStream)),
            ("*/*", None),
            ("text/*", None),
            ("application/json", None),
            // Apollo Client 4, with quotes as in its documentation, and urql.
            ("multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json;q=0.9", Some(Multipart)),
            ("multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\", application/json", Some(Multipart)),
            ("text/event-stream, multipart/mixed", Some(EventStream)),
            ("text/event-stream;q=0.5, multipart/mixed;subscriptionSpec=1.0;q=0.6", Some(Multipart)),
            ("multipart/mixed", None),
            ("multipart/mixed;deferSpec=20220824", None),
            ("multipart/mixed;deferSpec=20220824, multipart/mixed;subscriptionSpec=1.0", Some(Multipart)),
            ("multipart/mixed;subscriptionSpec=2.0", None),
            ("text/event-stream;q=0", None),
        ] {
            assert_eq!(pick(accept, &[EventStream, Multipart]), expected, "{accept}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, "application/xml".parse().expect("a header"));
        headers.append(header::ACCEPT, "application/graphql-response+json".parse().expect("a header"));
        let offers = [MediaType::GraphqlResponse, MediaType::Json];
        assert_eq!(negotiate(&headers, &offers), Some(MediaType::GraphqlResponse));
    }
}
