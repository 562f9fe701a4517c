//! Pages for people: the front door, GraphiQL, the schema, and the answers to a wrong address and method.
//!
//! Each page has a policy that allows what it uses and nothing else. GraphiQL comes in pinned versions.

use axum::{
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::middleware;
use crate::{graphql::errors::ErrorCode, schema};

const HOME: &str = include_str!("pages/home.html");
const GRAPHIQL: &str = include_str!("pages/graphiql.html");
const HOME_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";
const GRAPHIQL_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline' https://unpkg.com; \
                               style-src 'unsafe-inline' https://unpkg.com; font-src https://unpkg.com data:; \
                               img-src data:; connect-src 'self' ws: wss:; worker-src blob:; base-uri 'none'; \
                               form-action 'none'; frame-ancestors 'none'";

/// What this is and where to go.
pub async fn home() -> Response {
    page(HOME, HOME_POLICY)
}

/// An explorer for the API.
pub fn graphiql() -> Response {
    page(GRAPHIQL, GRAPHIQL_POLICY)
}

/// The schema, for tools that generate code.
pub async fn schema() -> Response {
    ([(header::CONTENT_TYPE, "application/graphql; charset=utf-8")], schema::sdl()).into_response()
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

fn page(html: &'static str, policy: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    (headers, html).into_response()
}
