//! The server's face: routes, transports, and what stands around every request.
//!
//! The only layer that knows axum. [`router`] puts the routes together over what handlers share ([`HttpState`]);
//! [`server`] accepts connections, as many as [`connections`] allows, over [`tls`] if there is a certificate;
//! [`client_address`] says whose they are behind a proxy. What a document is answered with is decided by
//! [`operations`](crate::operations), whatever transport it came by; [`stock`] mounts async-graphql-axum over the same.
//! [`origins`] says which web pages may call, and [`cors`] tells their browsers. [`pages`] and [`assets`] are what a
//! browser is shown.

mod access;
pub mod assets;
mod authorization;
mod bad_heads;
pub mod client_address;
pub mod connections;
pub mod cors;
mod files;
pub mod graphql;
mod header_values;
pub mod health;
pub mod json;
pub mod middleware;
pub mod negotiation;
pub mod origins;
pub mod pages;
pub mod router;
mod schema_files;
pub mod server;
pub mod settings;
mod socket_backend;
mod state;
mod stock;
pub mod streams;
pub mod tls;
pub mod websocket;
mod write_timeout;

pub use state::{GraphqlState, HttpState};
