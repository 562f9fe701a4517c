//! Starts the bus that the settings name.

use std::sync::Arc;

use super::{Bus, BusKind, BusSettings, MemoryBus, PostgresBus, PostgresBusError, RedisBus, RedisBusError, Seal};
use crate::{error::InternalError, events::EventLog, ids::Ids, lifecycle::Lifecycle};

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// `PostgreSQL`.
    #[error(transparent)]
    Postgres(#[from] PostgresBusError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisBusError),
    /// The log, which has the key that nodes share.
    #[error("the event log cannot be opened: {0}")]
    Log(#[from] InternalError),
}

/// Connects this node with the others on `log`, by a bus of this kind. `database_url` is the primary's.
pub async fn start(
    kind: BusKind,
    settings: &BusSettings,
    database_url: &str,
    log: &EventLog,
    ids: &Ids,
    lifecycle: &Lifecycle,
) -> Result<Arc<dyn Bus>, BusError> {
    Ok(match kind {
        BusKind::Auto | BusKind::Memory => Arc::new(MemoryBus::alone()),
        BusKind::Postgres => {
            let seal = Seal::new(log.shared_key("bus").await?, ids, log.time().clone());
            Arc::new(PostgresBus::start(database_url, seal, lifecycle)?)
        }
        BusKind::Redis => {
            let installation = log.installation().await?;
            // A copy of the database has the same secret, and may share the Redis.
            let key = log.shared_key(&format!("bus {installation}")).await?;
            let seal = Seal::new(key, ids, log.time().clone());
            let BusSettings { redis_url, redis_ca, .. } = settings;
            Arc::new(RedisBus::start(redis_url, redis_ca, &installation, (seal, log.kinds()), lifecycle).await?)
        }
    })
}
