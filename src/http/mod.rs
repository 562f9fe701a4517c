//! The server's face: routes, transports, and what stands around every request.
//!
//! The only layer that knows axum. [`router`] puts the routes together over what handlers share ([`HttpState`]); [`server`] accepts connections, as many as
//! [`connections`] allows, over [`tls`] if there is a certificate; [`client_address`] says whose they are behind a proxy; [`operations`] is the one path from a
//! document to its answer, whatever transport it came by, and [`sharing`] says which subscriptions get the same one.
//! [`origins`] says which web pages may call, and [`cors`] tells their browsers. [`pages`] and [`assets`] are what a
//! browser is shown.

mod access;
pub mod arrivals;
pub mod assets;
mod authorization;
mod bad_heads;
pub mod client_address;
pub mod connections;
pub mod cors;
pub mod graphql;
mod header_values;
pub mod health;
mod impatient;
pub mod json;
pub mod middleware;
pub mod negotiation;
pub mod operations;
pub mod origins;
pub mod pages;
pub mod router;
mod schema_files;
pub mod server;
pub mod settings;
mod sharing;
mod state;
pub mod streams;
pub mod tls;
pub mod websocket;

pub use state::{GraphqlState, HttpState};
