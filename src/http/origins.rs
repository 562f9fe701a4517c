//! Which web pages may call: the origins that the operator lists, and the server's own pages.
//!
//! The one home of this question: [`cors`](super::cors) asks it for HTTP, [`Sockets`](super::websocket::Sockets) for an
//! upgrade. A browser sends one `Origin`; a client that is no browser sends none and is accepted.
//!
//! **The server's own pages** (GraphiQL, in production) are those whose origin names the host that the request was sent
//! to, whatever is listed. The host is that of `Host`, or what a trusted proxy says it was. The check is about browsers
//! only, and no page can choose these headers: not for an upgrade, and for HTTP not without a preflight.
//!
//! A page can still reach a server under a name of its own whose address it changes after it was loaded (DNS
//! rebinding): then its origin and `Host` agree. It gains only the network access of its visitor, since nothing here
//! depends on cookies; where that access is what protects a server, `http.own_hosts` names the hosts that count.

use axum::http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};
use url::Url;

/// The pages that may call.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    all: bool,
    listed: Vec<String>,
    own_hosts: Vec<String>,
}

/// Where a request was sent to, as its client knows the place.
#[derive(Clone, Debug, Default)]
pub struct Target {
    hosts: Vec<String>,
    /// Whether the client is known to use TLS, to us or to a trusted proxy.
    secure: bool,
}

/// Marks a request that came over our own TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverTls;

impl Target {
    /// The place that a request names, with what trusted proxies add: hosts that their clients used, and whether over TLS.
    pub(super) fn new(uri: &Uri, headers: &HeaderMap, forwarded: Vec<String>, secure: bool) -> Self {
        let mut hosts = forwarded;
        let mut named = headers.get_all(header::HOST).iter();
        // A target in absolute form takes the place of Host (RFC 9112, section 3.2.2). Of two hosts none is meant.
        match (uri.authority(), named.next(), named.next()) {
            (Some(authority), _, _) => hosts.push(authority.as_str().to_owned()),
            (None, Some(host), None) => hosts.extend(host.to_str().map(ToOwned::to_owned)),
            (None, _, _) => {}
        }
        Self { hosts, secure }
    }
}

impl Origins {
    /// The pages of these origins, as browsers write them (`https://example.org`); `*` is every page. `own_hosts` are the
    /// hosts under which the server's own pages are opened; none is any.
    pub fn new(origins: &[String], own_hosts: &[String]) -> Self {
        Self {
            all: origins.iter().any(|origin| origin == "*"),
            listed: origins.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect(),
            own_hosts: own_hosts.to_vec(),
        }
    }

    /// Whether every page may call.
    pub(super) const fn are_all(&self) -> bool {
        self.all
    }

    /// Whether a request may come from where it says: also if it says nothing.
    pub(super) fn admit(&self, headers: &HeaderMap, target: &Target) -> bool {
        self.all || headers.get_all(header::ORIGIN).iter().all(|origin| self.may_call(origin, target))
    }

    fn may_call(&self, origin: &HeaderValue, target: &Target) -> bool {
        self.listed.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
            || origin.to_str().is_ok_and(|origin| self.is_own(origin, target))
    }

    fn is_own(&self, origin: &str, target: &Target) -> bool {
        let Some(page) = web_origin(origin) else { return false };
        // A page that came in clear may be anybody's work on the way.
        if target.secure && page.scheme() != "https" {
            return false;
        }
        let named = |hosts: &[String]| hosts.iter().any(|host| is_at(&page, host));
        named(&target.hosts) && (self.own_hosts.is_empty() || named(&self.own_hosts))
    }
}

/// Whether a host, perhaps with a port, could be one of ours.
pub(crate) fn is_host(text: &str) -> bool {
    text.parse::<Authority>().is_ok_and(|authority| !authority.as_str().contains('@'))
        && Url::parse(&format!("https://{text}")).is_ok_and(|url| url.has_host())
}

/// An origin that is exactly a scheme of the web, a host and perhaps a port.
fn web_origin(origin: &str) -> Option<Url> {
    let url = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.origin().ascii_serialization().eq_ignore_ascii_case(origin).then_some(url)
}

/// Whether a page's host and port are these. A host without a port has the default one of the page's scheme: a proxy
/// that ends TLS passes `Host` on as it is.
fn is_at(page: &Url, host: &str) -> bool {
    if !is_host(host) {
        return false;
    }
    let Ok(place) = Url::parse(&format!("{}://{host}", page.scheme())) else { return false };
    place.host_str() == page.host_str() && place.port_or_known_default() == page.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, secure: bool) -> Target {
        Target { hosts: vec![host.to_owned()], secure }
    }

    fn admits(origins: &Origins, origin: &str, target: &Target) -> bool {
        let headers = HeaderMap::from_iter([(header::ORIGIN, origin.parse().expect("a value"))]);
        origins.admit(&headers, target)
    }

    #[test]
    fn own_pages_are_those_of_the_host_that_was_called() {
        let origins = Origins::new(&["https://app.example".to_owned()], &[]);
        for (origin, host) in [
            ("http://127.0.0.1:4000", "127.0.0.1:4000"),
            ("http://[::1]:4000", "[::1]:4000"),
            ("https://api.example", "api.example"),
            ("https://api.example", "API.example:443"),
            ("http://api.example", "api.example:80"),
            ("https://api.example:8443", "api.example:8443"),
            ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("https://APP.example", "elsewhere"),
        ] {
            assert!(admits(&origins, origin, &target(host, false)), "{origin} at {host}");
        }
        for (origin, host) in [
            ("https://api.example", "api.example:80"),
            ("https://api.example:8443", "api.example"),
            ("http://127.0.0.1:4001", "127.0.0.1:4000"),
            ("http://127.0.0.1", "127.0.0.1:4000"),
            ("https://api.example.evil", "api.example"),
            ("https://evil.example", "evil@evil.example"),
            ("https://evil.example", "evil.example/x"),
            ("https://api.example/", "api.example"),
            ("https://u@api.example", "api.example"),
            ("ftp://api.example", "api.example"),
            ("null", "null"),
            ("", ""),
        ] {
            assert!(!admits(&origins, origin, &target(host, false)), "{origin} at {host}");
        }
        assert!(admits(&origins, "https://api.example", &target("api.example", true)));
        assert!(
            !admits(&origins, "http://api.example", &target("api.example", true)),
            "a page in clear of a secured host"
        );
    }

    #[test]
    fn the_operator_may_say_which_hosts_are_ours() {
        let origins = Origins::new(&[], &["api.example".to_owned(), "[::1]:4000".to_owned()]);
        assert!(admits(&origins, "https://api.example", &target("api.example", false)));
        assert!(admits(&origins, "http://[::1]:4000", &target("[::1]:4000", false)));
        assert!(!admits(&origins, "http://rebound.example:4000", &target("rebound.example:4000", false)));
        assert!(!admits(&origins, "https://api.example:444", &target("api.example:444", false)));
    }

    #[test]
    fn each_of_several_origins_must_hold_and_every_page_is_everybody() {
        let listed = Origins::new(&["https://app.example".to_owned()], &[]);
        let mut headers = HeaderMap::new();
        assert!(listed.admit(&headers, &Target::default()), "who is no browser sends none");
        headers.append(header::ORIGIN, HeaderValue::from_static("https://app.example"));
        assert!(listed.admit(&headers, &Target::default()));
        headers.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(!listed.admit(&headers, &Target::default()));
        assert!(admits(&Origins::new(&["*".to_owned()], &[]), "null", &Target::default()));
    }

    #[test]
    fn the_place_is_the_targets_or_the_one_host() {
        let hosts = |uri: &'static str, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            Target::new(&Uri::from_static(uri), &headers, Vec::new(), false).hosts
        };
        assert_eq!(hosts("/graphql", &["a.example"]), ["a.example"]);
        assert_eq!(hosts("http://b.example/graphql", &["a.example"]), ["b.example"]);
        assert!(hosts("/graphql", &["a.example", "b.example"]).is_empty());
        assert!(hosts("/graphql", &[]).is_empty());
    }
}
