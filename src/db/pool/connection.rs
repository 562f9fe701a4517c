//! One connection, and how its statement is stopped or found to be over.

use std::{pin::pin, time::Duration};

use sea_orm::{
    SqlxError,
    sqlx::{Connection as _, Postgres, Sqlite, pool::PoolConnection},
};
use tokio::time::{Instant, timeout};

use super::stop::{Interrupt, StopOrders};
use crate::error::is_gone;

/// After how long without an answer a statement is called off once more; twice as long each time after that.
const REPEAT: Duration = Duration::from_millis(50);

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
        let settled = async {
            self.interrupt.stop(stop_orders).await;
            // Before its own answer a ping may get what became of the statement, and what became of the order to stop it.
            for _ in 0..3 {
                match self.answer(stop_orders).await {
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

    /// The answer to a ping. A statement may have been on its way still when the order to stop it came to a `PostgreSQL`,
    /// and begin after that: the order is repeated for as long as there is no answer.
    async fn answer(&mut self, stop_orders: Option<&StopOrders>) -> Result<(), SqlxError> {
        let raw = &mut self.raw;
        let mut ping = pin!(async move {
            match raw {
                Raw::Sqlite(connection) => connection.ping().await,
                Raw::Postgres(connection) => connection.ping().await,
                Raw::Closed => Err(SqlxError::WorkerCrashed),
            }
        });
        let mut pause = REPEAT;
        loop {
            if let Ok(answer) = timeout(pause, ping.as_mut()).await {
                return answer;
            }
            self.interrupt.stop(stop_orders).await;
            pause *= 2;
        }
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
