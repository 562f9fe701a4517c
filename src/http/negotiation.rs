//! Which media type answers a request.
//!
//! Owns the reading of `Accept` (RFC 9110, section 12.5.1). Called by the handlers of `/graphql` with what each offers.
//! Own code: axum has no negotiation, and the GraphQL-over-HTTP draft needs a rule of its own, namely that a wildcard
//! or no header means `application/json`, the type that the oldest clients understand, while
//! `application/graphql-response+json` must be asked for by name.

use axum::http::{HeaderMap, header};

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
    let entries = headers.get_all(header::ACCEPT).iter().flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let mut entries = entries.map(str::trim).filter(|entry| !entry.is_empty()).peekable();
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
}

fn range(entry: &str) -> Option<Range<'_>> {
    let mut parts = entry.split(';').map(str::trim);
    let essence = parts.next().filter(|essence| essence.contains('/'))?;
    let mut quality = 1_000;
    let mut subscriptions = false;
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim() {
            "q" | "Q" => quality = thousandths(value)?,
            name if name.eq_ignore_ascii_case("subscriptionSpec") => subscriptions = value == "1.0",
            // All we send is UTF-8.
            "charset" if !value.eq_ignore_ascii_case("utf-8") => return None,
            _ => {}
        }
    }
    Some(Range { essence, quality, subscriptions })
}

/// `0.85` is 850; nothing if it is no quality.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    let whole: u16 = whole.parse().ok()?;
    (whole <= 1).then_some((whole * 1_000 + fraction).min(1_000))
}

/// The quality of an offer: that of the most specific range that matches it.
fn quality(ranges: &[Range<'_>], offer: MediaType) -> u16 {
    let find = |essence: &str| {
        let mut meant = ranges.iter().filter(|range| offer != MediaType::Multipart || range.subscriptions);
        meant.find(|range| range.essence.eq_ignore_ascii_case(essence))
    };
    let named = find(offer.essence());
    let wildcard = || (offer == MediaType::Json).then(|| find("application/*").or_else(|| find("*/*"))).flatten();
    named.or_else(wildcard).map_or(0, |range| range.quality)
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
            ("", Some(Json)),
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
