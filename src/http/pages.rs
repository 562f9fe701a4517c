//! Pages for people: the first page, the playground, and the answers to a wrong address and method.
//!
//! Owns what each page may do: a policy that allows what it uses and nothing else. Nothing comes from another host.
//! What a page says of this server comes from [`Site`] and from the request's `Host`, which a stranger has written: it
//! is checked by [`Address::of`] and escaped like everything else by [`escape`].

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{assets, middleware};
use crate::{auth::actor::Roles, demo, graphql::errors::ErrorCode};

const HOME: &str = include_str!("pages/home.html");
const DEMO: &str = include_str!("pages/demo.html");
const NO_PLAYGROUND: &str = include_str!("pages/no_playground.html");
const STYLE: &str = include_str!("pages/style.css");

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

/// Where the playground's page expects its settings.
const SETTINGS: &str = r#"data-settings="{}""#;

/// Sits beside `Host` where a proxy in front has taken TLS off.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The policy of pages without scripts: one style, known by its hash, and an icon.
static PLAIN_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// What the pages say of this server.
#[derive(Clone, Debug)]
pub struct Site {
    /// Whether browsers are shown the playground.
    pub playground: bool,
    /// Whether there are demo accounts, whose password anybody may know.
    pub demo: bool,
    /// The marketplace's currency.
    pub currency: String,
    /// Whether connections are secured by us.
    pub secured: bool,
    /// Where we listen, for a request that does not say where it came to.
    pub listen: SocketAddr,
}

/// What this is and where to go.
pub async fn home(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let base = Address::of(&headers, &site).base();
    let playground = match (site.playground, assets::playground()) {
        (true, Some(_)) => "GraphiQL with a job&rsquo;s whole life in eight tabs, and events as they arrive",
        (true, None) => "not built into this server; the page says how to get it",
        (false, _) => "switched off on this server; programs use the same address",
    };
    let list = "{ jobs(first: 3) { nodes { title budget { amount currencyCode } } } }";
    let live = "subscription { jobPosted { job { title budget { amount currencyCode } } } }";
    let values = [
        ("style", STYLE.to_owned()),
        ("playground", playground.to_owned()),
        ("demo", if site.demo { demo_accounts(&base, &site.currency) } else { String::new() }),
        ("list", escape(&curl(&base, "-s", "", list))),
        ("live", escape(&curl(&base, "-sN", " -H 'accept: text/event-stream'", live))),
        ("docs", docs()),
        ("socket", escape(&base.replacen("http", "ws", 1))),
    ];
    page(fill(HOME, &values), &PLAIN_POLICY)
}

/// The playground, or how to get it.
pub fn playground(site: &Site, headers: &HeaderMap) -> Response {
    playground_of(assets::playground(), site, headers)
}

fn playground_of(built: Option<&str>, site: &Site, headers: &HeaderMap) -> Response {
    let why = match built {
        Some(html) if site.playground => return playground_page(html, site, headers),
        None if site.playground => {
            "It is not part of this server: the server was built on a machine without Node. Install Node 20.19 or newer \
             (with npm), then build again with <code>make run</code>, or with <code>make web</code> before \
             <code>cargo build</code>."
        }
        _ => {
            "It is switched off on this server. The setting <code>http.playground</code> switches it on \
             (<code>LANCEWIRE_HTTP__PLAYGROUND=true</code>)."
        }
    };
    let base = Address::of(headers, site).base();
    let list = escape(&curl(&base, "-s", "", "{ jobs(first: 3) { nodes { title } } }"));
    page(fill(NO_PLAYGROUND, &[("style", STYLE.to_owned()), ("why", why.to_owned()), ("list", list)]), &PLAIN_POLICY)
}

fn playground_page(html: &str, site: &Site, headers: &HeaderMap) -> Response {
    let people = if site.demo { &demo::PEOPLE[..] } else { &[] };
    let people =
        people.iter().map(|(email, name, roles)| json!({ "email": email, "name": name, "role": role(*roles) }));
    let mut settings = json!({ "demo": people.collect::<Vec<_>>(), "currency": site.currency });
    if site.demo {
        settings["demoPassword"] = demo::PASSWORD.into();
    }
    let settings = format!("data-settings=\"{}\"", escape(&settings.to_string()));
    let Address { secured, host } = Address::of(headers, site);
    // `'self'` means the socket of the same host as well, but not in every Safari that is still about.
    let socket = format!("{}://{host}", if secured { "wss" } else { "ws" });
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' \
         data:; connect-src 'self' {socket}; worker-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    page(html.replacen(SETTINGS, &settings, 1), &policy)
}

/// `/docs/{name}`: the documentation as it was written, to be read as text.
pub async fn doc(Path(name): Path<String>) -> Response {
    match DOCS.iter().find(|(doc, _)| *doc == name) {
        Some((_, text)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], *text).into_response(),
        None => not_found().await,
    }
}

/// Any other address.
pub async fn not_found() -> Response {
    let message = "There is nothing here. The API is at /graphql; / says what else there is.";
    middleware::error(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
}

/// A page asked for by another method than GET: `Allow`, which the router adds, says which there are.
pub async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = format!("{method} is not served here. Ask by GET; the API is at /graphql, by POST.");
    middleware::error(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, &message)
}

fn page(html: String, policy: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    (headers, html).into_response()
}

/// A template with its `{{names}}` replaced. The values are HTML already.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |page, (name, value)| page.replace(&format!("{{{{{name}}}}}"), value))
}

/// Text as HTML, also between double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Links to the documentation, each with its first heading.
fn docs() -> String {
    let title = |text: &'static str| text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
    let entry = |(name, text): &(&str, &'static str)| {
        format!("<dt><a href=\"/docs/{0}\"><code>{0}</code></a></dt><dd>{1}</dd>\n", escape(name), escape(title(text)))
    };
    DOCS.iter().map(entry).collect()
}

/// One line of shell that runs an operation. `query` must hold no quotes of either kind.
fn curl(base: &str, options: &str, headers: &str, query: &str) -> String {
    format!(
        "curl {options} {base}/graphql \\\n  -H 'content-type: application/json'{headers} \\\n  -d '{{\"query\":\"{query}\"}}'"
    )
}

fn demo_accounts(base: &str, currency: &str) -> String {
    let row = |(email, name, roles): (&str, &str, Roles)| {
        format!("<tr><td><code>{email}</code></td><td>{name}</td><td>{}</td></tr>", role(roles).to_lowercase())
    };
    let (email, password) = (demo::PEOPLE[0].0, demo::PASSWORD);
    let content = "-H 'content-type: application/json'";
    // Two statements for bash, zsh and dash alike.
    let post = format!(
        "TOKEN=$(curl -s {base}/graphql {content} \\\n  \
         -d '{{\"query\":\"mutation {{ signIn(input: {{ email: \\\"{email}\\\", password: \\\"{password}\\\" }}) {{ session {{ \
         accessToken }} }} }}\"}}' \\\n  \
         | sed 's/.*\"accessToken\":\"\\([^\"]*\\)\".*/\\1/')\n\
         curl -s {base}/graphql {content} \\\n  -H \"authorization: Bearer $TOKEN\" \\\n  \
         -d '{{\"query\":\"mutation {{ postJob(input: {{ idempotencyKey: \\\"'$(date +%s)'\\\", title: \\\"Design a logo\\\", \
         description: \\\"For a bakery.\\\", budget: {{ amount: \\\"250.00\\\", currencyCode: \\\"{currency}\\\" }}, skills: \
         [] }}) {{ job {{ id status }} errors {{ ... on UserError {{ code message }} }} }} }}\"}}'"
    );
    let values =
        [("people", demo::PEOPLE.map(row).concat()), ("password", demo::PASSWORD.to_owned()), ("post", escape(&post))];
    fill(DEMO, &values)
}

/// What a demo account is for.
const fn role(roles: Roles) -> &'static str {
    match roles {
        Roles { admin: true, .. } => "ADMIN",
        Roles { client: true, .. } => "CLIENT",
        _ => "FREELANCER",
    }
}

/// Where a request came to, as its client writes it.
struct Address {
    secured: bool,
    /// Name or address, and port. Of a few characters only, none of which means anything in HTML, in a policy or in a
    /// shell.
    host: String,
}

impl Address {
    fn of(headers: &HeaderMap, site: &Site) -> Self {
        let plain = |host: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            (1..=255).contains(&host.len()) && host.bytes().all(allowed)
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(plain);
        let host = host.map_or_else(|| reachable(site.listen).to_string(), ToOwned::to_owned);
        // A forged header changes the forger's own page only.
        let forwarded = headers.get(X_FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes() == b"https");
        Self { secured: site.secured || forwarded, host }
    }

    fn base(&self) -> String {
        format!("http{}://{}", if self.secured { "s" } else { "" }, self.host)
    }
}

/// An address that can be called, where the one we listen on means all there are.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port());
    }
    listen
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, http::HeaderValue};

    use super::*;

    fn site() -> Site {
        let listen = "0.0.0.0:4000".parse().expect("an address");
        Site { playground: true, demo: true, currency: "USD".to_owned(), secured: false, listen }
    }

    fn host(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])
    }

    async fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        String::from_utf8(body.to_vec()).expect("a text")
    }

    #[tokio::test]
    async fn without_the_playground_the_page_says_how_to_get_it() {
        let page = text(playground_of(None, &site(), &host("here:4000"))).await;
        for words in ["without Node", "make run", "make web", "curl -s http://here:4000/graphql"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let built = Some("<div data-settings=\"{}\"></div>");
        let off = Site { playground: false, ..site() };
        let page = text(playground_of(built, &off, &host("here:4000"))).await;
        assert!(page.contains("http.playground") && page.contains("curl") && !page.contains("data-settings"), "{page}");
    }

    #[tokio::test]
    async fn only_a_development_server_tells_of_its_demo_accounts() {
        let built = Some("<div data-settings=\"{}\"></div>");
        let page = text(playground_of(built, &site(), &HeaderMap::new())).await;
        assert!(page.contains("ben@example.com") && page.contains(demo::PASSWORD), "{page}");
        let page = text(playground_of(built, &Site { demo: false, ..site() }, &HeaderMap::new())).await;
        assert_eq!(page, "<div data-settings=\"{&quot;currency&quot;:&quot;USD&quot;,&quot;demo&quot;:[]}\"></div>");
    }

    #[test]
    fn a_page_names_the_host_that_it_was_asked_by_and_no_code() {
        let base = |headers: &HeaderMap| Address::of(headers, &site()).base();
        assert_eq!(base(&host("localhost:4000")), "http://localhost:4000");
        assert_eq!(base(&host("[::1]:4000")), "http://[::1]:4000");
        for evil in ["x\"><script>", "$(reboot)", "a b", "a;b", "a'b", "", "a/b", "ä"] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(evil).expect("a value"))]);
            assert_eq!(base(&headers), "http://127.0.0.1:4000", "{evil}");
        }
        assert_eq!(base(&HeaderMap::new()), "http://127.0.0.1:4000");
        let mut proxied = host("api.example.com");
        proxied.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        assert_eq!(base(&proxied), "https://api.example.com");
        assert_eq!(Address::of(&host("h"), &Site { secured: true, ..site() }).base(), "https://h");
    }

    #[test]
    fn a_template_has_no_name_left() {
        let demo = demo_accounts("http://h", "USD");
        assert!(!demo.contains("{{people") && !demo.contains("{{password") && !demo.contains("{{post"), "{demo}");
    }
}
