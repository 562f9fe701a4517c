//! One connection, and how its statement is stopped or found to be over.

use std::time::Duration;

use sea_orm::sqlx::{Connection as _, Postgres, Sqlite, pool::PoolConnection};
use tokio::time::{Instant, timeout};

use super::stop::{Interrupt, StopOrders};
use crate::error::is_gone;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) raw: Raw,
    /// How a statement on it is stopped.
    pub(super) interrupt: Interrupt,
    pub(super) out_since: Instant,
    pub(super) used_at: Instant,
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) enum Raw {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    /// In the middle of its end, which nobody sees.
    Closed,
}

impl Connection {
    /// Whether the server answers on it within so long.
    pub(super) async fn lives(&mut self, within: Duration) -> bool {
        let Raw::Postgres(connection) = &mut self.raw else { return true };
        matches!(timeout(within, connection.ping()).await, Ok(Ok(())))
    }

    /// Whether it can be handed on, once the statement on it is over for which nobody waits: it is stopped, and its end is
    /// waited for, for so long at most.
    pub(super) async fn settles(&mut self, stop_orders: Option<&StopOrders>, within: Duration) -> bool {
        self.interrupt.stop(stop_orders).await;
        let settled = async {
            // Before its own answer a ping may get what became of the statement, and what became of the order to stop it.
            for _ in 0..3 {
                let answer = match &mut self.raw {
                    Raw::Sqlite(connection) => connection.ping().await,
                    Raw::Postgres(connection) => connection.ping().await,
                    Raw::Closed => return false,
                };
                match answer {
                    Ok(()) => return true,
                    Err(error) if is_gone(&error) => return false,
                    Err(_) => {}
                }
            }
            false
        };
        let settled = timeout(within, settled).await.unwrap_or(false);
        self.interrupt.stopped();
        settled
    }
}

impl Drop for Connection {
    /// Closes it. Nothing is said to a `PostgreSQL`, which may not listen: the end of the stream is enough.
    fn drop(&mut self) {
        if let Raw::Postgres(_) = &self.raw
            && let Raw::Postgres(connection) = std::mem::replace(&mut self.raw, Raw::Closed)
        {
            drop(connection.detach());
        }
    }
}
