//! Removes notifications past their time: some while after they were marked read, and much later also those that nobody
//! has read.
//!
//! What was read is found by when that was. What was not is found by its id, whose first 48 bits are the time of its
//! making: the walk from the oldest on meets, beside what it removes, only what was read of late.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, prelude::async_trait::async_trait};
use uuid::Uuid;

use crate::{db::Db, ids::NotificationId, retention::Prune};

/// The notifications of a database beyond those that are kept.
#[derive(Debug)]
pub struct OldNotifications {
    db: Db,
    read: TimeDelta,
    unread: TimeDelta,
}

impl OldNotifications {
    /// Those of `db` that were marked read longer ago than `read`, or made longer ago than `unread`.
    pub const fn new(db: Db, read: TimeDelta, unread: TimeDelta) -> Self {
        Self { db, read, unread }
    }
}

#[async_trait]
impl Prune for OldNotifications {
    fn what(&self) -> &'static str {
        "notifications"
    }

    async fn step(&self, now: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
        let most = i64::from(most);
        let sql = "DELETE FROM notifications WHERE id IN \
                   (SELECT id FROM notifications WHERE read_at <= ? ORDER BY read_at LIMIT ?)";
        let read = self.db.statement(sql, [(now - self.read).into(), most.into()]);
        let removed = self.db.writer().execute_raw(read).await?.rows_affected();
        if removed > 0 {
            return Ok(removed);
        }
        let sql = "DELETE FROM notifications WHERE id IN \
                   (SELECT id FROM notifications WHERE id < ? AND read_at IS NULL ORDER BY id LIMIT ?)";
        let unread = self.db.statement(sql, [first_made_at(now - self.unread).into(), most.into()]);
        Ok(self.db.writer().execute_raw(unread).await?.rows_affected())
    }

    async fn overdue(&self, now: DateTime<Utc>) -> Result<TimeDelta, DbErr> {
        let due = now - self.read;
        let sql = "SELECT MIN(read_at) AS oldest FROM notifications WHERE read_at <= ?";
        let row = self.db.reader().query_one_raw(self.db.statement(sql, [due.into()])).await?;
        let oldest = row.map_or(Ok(None), |row| row.try_get::<Option<DateTime<Utc>>>("", "oldest"))?;
        Ok(oldest.map_or(TimeDelta::zero(), |oldest| due - oldest))
    }
}

/// The least id that can be made at this moment.
fn first_made_at(at: DateTime<Utc>) -> NotificationId {
    let ms = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(ms << 80).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    #[test]
    fn an_id_stands_between_those_of_the_moments_around_it() {
        let now = Clock::system().now();
        let clock = Clock::manual(now);
        let id: NotificationId = Ids::seeded(clock, 1).next();
        assert!(first_made_at(now) <= id && id < first_made_at(now + TimeDelta::milliseconds(1)));
    }
}
