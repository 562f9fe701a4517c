//! Says why `PostgreSQL` cannot be reached, while the process runs: a pool only says that time is over, and that late.
//!
//! Statements that end show that all is well, and cost nothing to look at; the tail of the log alone runs several a
//! second. When none has ended for a while, a connection of the pool is tried, and when none answers soon, one is opened
//! beside the pool, which shows the reason. It is logged once, and so is the
//! end of it.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    db::{Backend, DatabaseSettings, Db, connect},
    error::cause,
};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the pool may take before it is suspicious: longer than the pool waits for a connection that is silent.
const SUSPICION: Duration = Duration::from_secs(3);
/// How long a server may take to let us in.
const TIME_LIMIT: Duration = Duration::from_secs(5);

impl Db {
    /// Watches for ever; ends at once on `SQLite`, which is always there.
    pub async fn watch(self, settings: DatabaseSettings) {
        if self.shared.backend == Backend::Sqlite {
            return;
        }
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut away) = (0, false);
        loop {
            ticks.tick().await;
            let before = std::mem::replace(&mut seen, self.statements());
            if !away && (seen != before || matches!(timeout(SUSPICION, self.shared.writer.ping()).await, Ok(Ok(())))) {
                continue;
            }
            match (connect::reach(&settings, TIME_LIMIT).await, away) {
                (Err(error), false) => {
                    tracing::error!(reason = %cause(&error), "database.url: the database cannot be reached; trying again");
                    away = true;
                }
                (Ok(()), true) => {
                    tracing::info!("the database can be reached again");
                    away = false;
                }
                // It is there and has no time for us, or nothing has changed.
                (Ok(()), false) | (Err(_), true) => {}
            }
        }
    }
}
