//! What the handlers share.
//!
//! Built once by [`app`](crate::app). Each handler and each middleware extracts the part that it needs
//! (`State<Sessions>`, `State<Probes>`), so that its signature says what it depends on.

use std::{sync::Arc, time::Duration};

use axum::extract::FromRef;

use super::{client_address::Proxies, health::Probes, origins::Origins, pages::Site, websocket::Sockets};
use crate::{
    auth::sessions::Sessions, events::EventLog, files::Files, lifecycle::Lifecycle, limits::Arrivals,
    operations::Operations,
};

/// All of it. Clones share everything.
#[derive(Clone, FromRef)]
pub struct HttpState {
    /// `/graphql`.
    pub graphql: GraphqlState,
    /// `/health` and `/metrics`.
    pub probes: Probes,
    /// Makes the ids of requests.
    pub operations: Operations,
    /// `/files`.
    pub files: Files,
    /// Runs what must end whatever becomes of the client.
    pub lifecycle: Lifecycle,
    /// For the public keys.
    pub sessions: Sessions,
    /// The pages that may call.
    pub origins: Arc<Origins>,
    /// The proxies whose word about the client's address is taken.
    pub proxies: Arc<Proxies>,
    /// How fast an address may come.
    pub arrivals: Arrivals,
    /// What the pages say of this server.
    pub site: Arc<Site>,
}

/// What `/graphql` needs. Clones share everything.
#[derive(Clone)]
pub struct GraphqlState {
    /// Runs operations.
    pub operations: Operations,
    /// The open sockets and streams.
    pub sockets: Sockets<Operations>,
    /// For the cursors of streams.
    pub log: EventLog,
    /// The proxies whose word about the client's address is taken.
    pub proxies: Arc<Proxies>,
    /// What the playground says of this server.
    pub site: Arc<Site>,
    /// Whether async-graphql-axum's handlers are mounted as well.
    pub stock_mount: bool,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}
