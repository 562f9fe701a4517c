//! The database's time: the one clock that all nodes share.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use sea_orm::DbErr;

use crate::db::Db;

/// The database's time as it was when it was last asked, and what has passed since on the clock that nobody sets.
///
/// It is asked at the start and with each look of the retention, once a minute. Clones share what is known.
#[derive(Clone, Debug)]
pub struct DatabaseTime(Arc<Mutex<(i64, Instant)>>);

impl DatabaseTime {
    /// Asks for it.
    pub async fn asked(db: &Db) -> Result<Self, DbErr> {
        Ok(Self(Arc::new(Mutex::new((now_ms(db).await?, Instant::now())))))
    }

    /// One that says this, for tests.
    #[cfg(test)]
    pub(crate) fn stopped(now: i64) -> Self {
        Self(Arc::new(Mutex::new((now, Instant::now() + std::time::Duration::from_hours(1)))))
    }

    /// Asks again, and returns it in milliseconds since 1970.
    pub(super) async fn ask(&self, db: &Db) -> Result<i64, DbErr> {
        let now = now_ms(db).await?;
        *self.0.lock() = (now, Instant::now());
        Ok(now)
    }

    /// About what it is now, in milliseconds since 1970. Asks nobody.
    pub fn now_ms(&self) -> i64 {
        let (asked, at) = *self.0.lock();
        asked.saturating_add(i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

async fn now_ms(db: &Db) -> Result<i64, DbErr> {
    Ok(db.now().await?.timestamp_millis())
}
