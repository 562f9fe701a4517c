//! GraphQL over HTTP, knowing nothing of the marketplace.

use std::{fmt, net::SocketAddr, time::Duration};

use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{ACCEPT, HeaderMap},
};
use serde_json::{Value, json};

use super::codes;

/// Longer than any answer takes, shorter than patience.
const GUARD: Duration = Duration::from_secs(20);

/// A caller of one server. Belongs to the runtime that made it: one for each test.
#[derive(Clone, Debug)]
pub struct Http {
    base: String,
    client: Client,
}

/// An answer to a GraphQL request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The JSON of the body; a string if it is none.
    pub body: Value,
}

impl Http {
    /// For the server that listens at `addr`.
    ///
    /// # Panics
    ///
    /// When the system gives no HTTP client.
    pub fn new(addr: SocketAddr) -> Self {
        // A proxy in the environment must not come between.
        let client = Client::builder().no_proxy().timeout(GUARD).build().expect("an HTTP client");
        Self { base: format!("http://{addr}"), client }
    }

    /// A request to `path`, for whatever is not plain GraphQL.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Runs one operation by POST, signed in with an access token or anonymously.
    pub async fn graphql(&self, token: Option<&str>, query: &str, variables: Value) -> Reply {
        let mut request = self
            .request(Method::POST, "/graphql")
            .header(ACCEPT, "application/graphql-response+json")
            .json(&json!({ "query": query, "variables": variables }));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Reply::of(request).await
    }
}

impl Reply {
    /// Sends `request` and reads the whole answer.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an HTTP response");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("an HTTP body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        codes::check(&body);
        Self { status, headers, body }
    }

    /// The data of an operation that went well.
    ///
    /// # Panics
    ///
    /// With the whole answer, when there are errors or no data.
    pub fn data(&self) -> &Value {
        match self.body.get("data") {
            Some(data) if self.body.get("errors").is_none() => data,
            _ => panic!("expected data without errors, got {self}"),
        }
    }

    /// `extensions.code` of the first error.
    ///
    /// # Panics
    ///
    /// With the whole answer, when there is none.
    pub fn code(&self) -> &str {
        self.at("/errors/0/extensions/code").as_str().unwrap_or_else(|| panic!("the code is no string: {self}"))
    }

    /// What is at a JSON pointer into the body, such as `/data/claimJob/errors/0/code`.
    ///
    /// # Panics
    ///
    /// With the whole answer, when nothing is there.
    pub fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer} in {self}"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:#}", self.status, self.body)
    }
}
