//! Who is calling: the address of the client, also behind proxies.
//!
//! The one home of this question. Budgets, sign-in attempts and limits of sockets count by the address that
//! [`Proxies::client`] gives the router. Behind a load balancer every connection comes from the balancer, which names
//! the client in a header. Anybody can send that header, so it counts only from an address that the operator has
//! listed, and only the one header that the operator's proxies write: a proxy passes on headers that it does not know,
//! so if both were read, a client could use the other one.
//!
//! Each proxy appends the address that called it, so the list is true from the right up to the first address that is
//! not a listed proxy. That is the client; what stands before it was sent by the client and is not read.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;
use serde::Deserialize;

use super::header_values::{members, with_parameters};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The header in which the proxies in front say for whom they call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses with commas.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239: `for=..`.
    Forwarded,
}

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    header: ProxyHeader,
}

impl Proxies {
    /// Believes `header` from these networks, each an address or a CIDR such as `10.0.0.0/8`; or gives back the first
    /// that is neither.
    pub fn new(networks: &[String], header: ProxyHeader) -> Result<Self, String> {
        let parse = |text: &String| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| text.clone())
        };
        Ok(Self { trusted: networks.iter().map(parse).collect::<Result<_, _>>()?, header })
    }

    /// Those that are believed.
    pub fn networks(&self) -> &[IpNet] {
        &self.trusted
    }

    /// The address of the client that a request with these headers comes from, over a connection from `peer`.
    ///
    /// The peer itself, if it is not trusted, or if what it says has no sense up to the place where the client is
    /// named.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let name = match self.header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => FORWARDED,
        };
        // A proxy may append a line of its own: the last line is the last of the list.
        for line in headers.get_all(name).iter().rev() {
            for hop in self.hops(line) {
                let Some(address) = hop else { return peer };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }

    /// The hosts that clients of trusted proxies have called, as the proxies say, and whether one was called over TLS.
    ///
    /// Nothing, if the peer is not trusted. All that is said counts: each proxy may name the host that it was called by.
    pub(super) fn called(&self, peer: IpAddr, headers: &HeaderMap) -> (Vec<String>, bool) {
        if !self.trusts(peer.to_canonical()) {
            return (Vec::new(), false);
        }
        let texts = |name| headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        let (mut hosts, mut secure) = (Vec::new(), false);
        match self.header {
            ProxyHeader::XForwardedFor => {
                hosts.extend(texts(X_FORWARDED_HOST).flat_map(members).map(ToOwned::to_owned));
                secure = texts(X_FORWARDED_PROTO).flat_map(members).any(|scheme| scheme.eq_ignore_ascii_case("https"));
            }
            ProxyHeader::Forwarded => {
                for element in texts(FORWARDED).flat_map(members) {
                    // The first pair is no different from the others.
                    for (name, value) in with_parameters(&format!(";{element}")).1 {
                        if name.eq_ignore_ascii_case("host") {
                            hosts.push(value.into_owned());
                        } else if name.eq_ignore_ascii_case("proto") {
                            secure |= value.eq_ignore_ascii_case("https");
                        }
                    }
                }
            }
        }
        (hosts, secure)
    }

    /// Whether `address`, in its canonical form, is one of them.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The addresses in one line of the header, from the right; none for what is no address.
    fn hops<'a>(&self, line: &'a HeaderValue) -> impl Iterator<Item = Option<IpAddr>> + 'a {
        let header = self.header;
        // What is no text has no element that is an address.
        let line = line.to_str().unwrap_or_default();
        from_the_right(line, ',').map(move |element| match header {
            ProxyHeader::XForwardedFor => address(element.trim()),
            ProxyHeader::Forwarded => forwarded_for(element),
        })
    }
}

/// The address in `for=` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in from_the_right(element, ';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") {
            let value = value.trim();
            let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            // Twice is once too often.
            if found.replace(address(quoted.unwrap_or(value))?).is_some() {
                return None;
            }
        }
    }
    found
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|text| text.contains(':'));
    let parsed = bare.unwrap_or(text).parse::<IpAddr>();
    let parsed = parsed.or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address| address.to_canonical())
}

/// The parts between separators that are not quoted, the last one first.
///
/// From the right, so that a quote that a client has left open swallows nothing of what a proxy has written after it.
fn from_the_right(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let split = text.char_indices().rev().find(|(at, character)| {
            if *character == '"' && !text[..*at].ends_with('\\') {
                quoted = !quoted;
            }
            *character == separator && !quoted
        });
        let (before, part) = match split {
            Some((at, _)) => (Some(&text[..at]), &text[at + separator.len_utf8()..]),
            None => (None, text),
        };
        rest = before;
        Some(part)
    })
}

/// Takes a request's headers from the bytes of a stranger.
///
/// # Panics
///
/// When a peer that is not listed is believed, or when the client depends on what it wrote itself before the proxy's part.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let header = if choice & 1 == 0 { ProxyHeader::XForwardedFor } else { ProxyHeader::Forwarded };
    let name = if choice & 1 == 0 { X_FORWARDED_FOR } else { FORWARDED };
    let proxies = Proxies::new(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()], header).expect("networks");
    let [proxy, stranger] = [[10, 0, 0, 1], [203, 0, 113, 9]].map(IpAddr::from);
    let lines = || text.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers = |before: &str, after: &str| {
        let mut headers = HeaderMap::new();
        let all: Vec<_> = lines().collect();
        for (at, line) in all.iter().enumerate() {
            let before = if at == 0 { before } else { "" };
            let after = if at + 1 == all.len() { after } else { "" };
            let whole = [before.as_bytes(), line.as_bytes(), after.as_bytes()].concat();
            headers.extend(HeaderValue::from_bytes(&whole).ok().map(|line| (name.clone(), line)));
        }
        headers
    };

    let sent = headers("", "");
    let client = proxies.client(proxy, &sent);
    assert_eq!(client, client.to_canonical());
    assert_eq!(proxies.client(stranger, &sent), stranger, "a stranger is believed");
    assert_eq!(proxies.called(stranger, &sent), (Vec::new(), false), "a stranger is believed");
    drop(proxies.called(proxy, &sent));
    if !proxies.trusts(client) {
        // A proxy that leaves a quote open is taken for the client, which nobody can use against others.
        for forged in ["for=192.0.2.66,", "192.0.2.66,"] {
            let seen = proxies.client(proxy, &headers(forged, ""));
            assert!(seen == client || seen == proxy, "what stands before counts: {seen}");
        }
        let hop = if choice & 1 == 0 { ", 10.2.2.2" } else { ", for=10.2.2.2" };
        assert_eq!(proxies.client(proxy, &headers("", hop)), client, "one more proxy of ours changes the client");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALANCER: &str = "10.0.0.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Whom a request from `peer` with these lines is taken for.
    fn client(header: ProxyHeader, peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"].map(ToOwned::to_owned);
        let proxies = Proxies::new(&trusted, header).expect("networks");
        let name = if header == ProxyHeader::Forwarded { FORWARDED } else { X_FORWARDED_FOR };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(line.as_bytes()).expect("a value"));
        }
        proxies.client(ip(peer), &headers).to_string()
    }

    #[test]
    fn x_forwarded_for_counts_from_the_right_up_to_the_first_stranger() {
        for (peer, lines, expected) in [
            // From strangers nothing counts, not even an address of ours.
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("203.0.113.9", &["10.0.0.5"], "203.0.113.9"),
            ("::ffff:203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("2001:db8::9", &["198.51.100.1"], "2001:db8::9"),
            // From ours, with ports and brackets.
            (BALANCER, &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.7", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.8", &["198.51.100.1"], "192.0.2.8"),
            (BALANCER, &["198.51.100.1:4711"], "198.51.100.1"),
            (BALANCER, &["2001:db8::1"], "2001:db8::1"),
            (BALANCER, &["[2001:db8::1]"], "2001:db8::1"),
            (BALANCER, &["[2001:db8::1]:443"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            (BALANCER, &["::ffff:198.51.100.1"], "198.51.100.1"),
            // Chains: what stands before the client is its own invention.
            (BALANCER, &["1.1.1.1, 198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            (BALANCER, &["1.1.1.1", "198.51.100.1", "10.2.2.2, 10.3.3.3"], "198.51.100.1"),
            (BALANCER, &["nonsense, \u{e9}\", 198.51.100.1"], BALANCER),
            (BALANCER, &["nonsense, 198.51.100.1"], "198.51.100.1"),
            (BALANCER, &["10.9.9.9 , 10.2.2.2"], "10.9.9.9"),
            // What has no sense is nobody's.
            (BALANCER, &[], BALANCER),
            (BALANCER, &[""], BALANCER),
            (BALANCER, &["198.51.100.1, unknown"], BALANCER),
            (BALANCER, &["198.51.100.1,"], BALANCER),
            (BALANCER, &["198.51.100.1, unknown, 10.2.2.2"], BALANCER),
            (BALANCER, &["198.51.100.1:port"], BALANCER),
            (BALANCER, &["198.51.100.256"], BALANCER),
            (BALANCER, &["[198.51.100.1]"], BALANCER),
        ] {
            assert_eq!(client(ProxyHeader::XForwardedFor, peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_standard_has_it() {
        for (line, expected) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=\"198.51.100.1:80\"", "198.51.100.1"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("proto=https; for=198.51.100.1 ;by=203.0.113.43;host=\"a,b;c\"", "198.51.100.1"),
            ("for=1.1.1.1, for=198.51.100.1;proto=https, for=10.2.2.2", "198.51.100.1"),
            // A quote that a client leaves open.
            ("for=\"evil, for=198.51.100.1", "198.51.100.1"),
            ("for=1.1.1.1;host=\"x, for=198.51.100.1", "198.51.100.1"),
            ("for=_hidden", BALANCER),
            ("for=unknown, for=10.2.2.2", BALANCER),
            ("proto=https", BALANCER),
            ("for=198.51.100.1;for=198.51.100.2", BALANCER),
            ("198.51.100.1", BALANCER),
        ] {
            assert_eq!(client(ProxyHeader::Forwarded, BALANCER, &[line]), expected, "{line}");
        }
        assert_eq!(client(ProxyHeader::Forwarded, "203.0.113.9", &["for=198.51.100.1"]), "203.0.113.9");
    }

    #[test]
    fn only_the_header_of_our_proxies_is_read() {
        let proxies = Proxies::new(&["10.0.0.1".to_owned()], ProxyHeader::XForwardedFor).expect("a network");
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED, HeaderValue::from_static("for=1.1.1.1"));
        assert_eq!(proxies.client(ip(BALANCER), &headers), ip(BALANCER));
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        assert_eq!(proxies.client(ip(BALANCER), &headers), ip("198.51.100.1"));
    }

    #[test]
    fn a_trusted_proxy_says_which_host_was_called() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_HOST, HeaderValue::from_static("api.example, inner.example:8443"));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https,http"));
        let forwarded = "for=192.0.2.1;host=\"rfc.example:443\";proto=https, host=b.example; for=\"[2001:db8::1]\"";
        headers.insert(FORWARDED, HeaderValue::from_static(forwarded));
        let networks = [BALANCER.to_owned()];
        let called = |header, peer| Proxies::new(&networks, header).expect("networks").called(ip(peer), &headers);
        let named = |hosts: [&str; 2]| (hosts.map(ToOwned::to_owned).to_vec(), true);
        assert_eq!(called(ProxyHeader::XForwardedFor, BALANCER), named(["api.example", "inner.example:8443"]));
        assert_eq!(called(ProxyHeader::Forwarded, BALANCER), named(["rfc.example:443", "b.example"]));
        assert_eq!(called(ProxyHeader::XForwardedFor, "203.0.113.9"), (Vec::new(), false), "from a stranger");
    }

    #[test]
    fn what_is_no_network_is_given_back() {
        for bad in ["10.0.0.0/33", "10.0.0", "balancer.internal", "", "10.0.0.0/8 "] {
            let networks = ["10.0.0.1".to_owned(), bad.to_owned()];
            assert_eq!(Proxies::new(&networks, ProxyHeader::default()).expect_err(bad), bad);
        }
    }
}
