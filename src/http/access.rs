//! What the log says of a request: one line each, from which an operator can tell what was asked, by whom, and what came of
//! it.
//!
//! Owns the fields of that line and how a document is named in it. Filled in where operations are admitted and run; written
//! by [`middleware`](super::middleware) for requests over HTTP, and here for operations over sockets ([`Access::log`]). All
//! lines below a request carry its id, by the span around it ([`span`]).
//!
//! Invariant: nothing that a client sent as a value is in it. A document is named by its operation's name, which is part
//! of the program that sent it, and by a hash of the document without the values in it ([`hash`]): a password that somebody
//! wrote into a document cannot be guessed from that.

use std::{net::IpAddr, time::Duration};

use async_graphql::{Response, parser::types::OperationType};
use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use tracing::{Level, Span};

use crate::{auth::actor::Origin, graphql::classify::code, ids::UserId, limits::budgets::Budget};

/// The most characters of an operation's name.
const LONGEST_NAME: usize = 64;

/// What is known of an operation.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// Of its document; empty where nobody reads the log at this level.
    hash: String,
    /// The name of the operation, if it has one and was understood.
    name: Option<String>,
    kind: &'static str,
    user: Option<UserId>,
    address: IpAddr,
    /// `ok`, or the code of the first error.
    outcome: String,
    /// In points.
    cost: u32,
}

/// The span of a request: every line below it carries the id.
pub(super) fn span(id: &str) -> Span {
    // Not switched off with the lines of lower levels: it is what the others are found by.
    tracing::error_span!("request", request.id = id)
}

impl Access {
    /// An operation that came from somebody, with this document.
    pub(super) fn of(origin: &Origin, document: &str) -> Self {
        let hash = if tracing::enabled!(Level::INFO) { hash(document) } else { String::new() };
        let (user, address) = (origin.actor.user(), origin.address);
        Self { hash, name: None, kind: "-", user, address, outcome: "ok".to_owned(), cost: 0 }
    }

    /// A request of which no more than the head was looked at.
    pub(super) fn unread(user: Option<UserId>, address: IpAddr) -> Self {
        Self { hash: String::new(), name: None, kind: "-", user, address, outcome: "ok".to_owned(), cost: 0 }
    }

    /// It was understood and paid for.
    pub(super) fn admitted(&mut self, name: Option<&str>, kind: OperationType, budget: &Budget) {
        self.name = name.map(|name| name.chars().take(LONGEST_NAME).collect());
        self.kind = match kind {
            OperationType::Query => "query",
            OperationType::Mutation => "mutation",
            OperationType::Subscription => "subscription",
        };
        self.cost = budget.cost;
    }

    /// What came of it.
    pub(super) fn answered(&mut self, response: &Response, cost: u32) {
        self.cost = cost;
        if let Some(error) = response.errors.first() {
            code(error).unwrap_or("ERROR").clone_into(&mut self.outcome);
        }
    }

    /// A stream was begun, or refused with this status.
    pub(super) fn opened(&mut self, status: StatusCode) {
        if !status.is_success() {
            self.outcome = format!("HTTP {}", status.as_u16());
        }
    }

    /// Writes the line of an operation that came over a socket.
    pub(super) fn log(&self, duration: Duration) {
        tracing::info!(
            operation.name = self.name.as_deref(),
            operation.kind = self.kind,
            operation.hash = self.hash,
            user.id = self.user.map(tracing::field::display),
            client.address = %self.address,
            outcome = self.outcome,
            cost = self.cost,
            duration.ms = millis(duration),
            "operation"
        );
    }

    /// Writes the line of a request over HTTP.
    pub(super) fn log_request(&self, request: &Request<'_>) {
        tracing::info!(
            http.method = request.method,
            http.path = request.path,
            http.status = request.status,
            operation.name = self.name.as_deref(),
            operation.kind = self.kind,
            operation.hash = self.hash,
            user.id = self.user.map(tracing::field::display),
            client.address = %self.address,
            outcome = self.outcome,
            cost = self.cost,
            duration.ms = millis(request.duration),
            "request"
        );
    }
}

/// What HTTP knows of a request.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Short and harmless.
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) address: IpAddr,
    pub(super) duration: Duration,
}

impl Request<'_> {
    /// Writes the line of a request that is no operation. Probes come every second or two: they are of interest to
    /// somebody who looks for them.
    pub(super) fn log(&self) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    http.method = self.method,
                    http.path = self.path,
                    http.status = self.status,
                    client.address = %self.address,
                    duration.ms = millis(self.duration),
                    "request"
                )
            };
        }
        let probe = self.path.starts_with("/health/") || self.path == "/metrics";
        if probe && self.status < 400 { line!(debug) } else { line!(info) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The first 16 hexadecimal digits of the SHA-256 of a document without its values: what stands in quotes or is a number is
/// left out, comments too, and white space and commas are one blank. The same operation has the same hash, whatever values
/// are written into it.
pub(super) fn hash(document: &str) -> String {
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
