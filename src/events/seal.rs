//! Seals over the log: a chain of hashes, each over the events of a range of positions and the seal before it.
//!
//! An event is repeated nowhere else as a whole, so without them a changed payload would show in nothing. Seals are made
//! in the background, up to [`MOST`] events each, from what has got its position; a mutation waits for none. What
//! retention forgets can no longer be compared, but its seal stays, and with it the chain.
//!
//! **The bytes**, integers with the highest byte first: the version 1 (1 byte), the hash of the seal before it (32, zeros
//! for the first), first and last position (8 + 8); then for each event its position (8), id (16), kind (length in 1 byte,
//! ASCII), subject (16), subject's version (8), 1 if it is public and else 0 (1), owner (16), 1 and the claimant (1 + 16)
//! or 0 (1), payload (length in 8 bytes, UTF-8), time in milliseconds since 1970 (8). Of an event whose list of users says
//! more than owner and claimant do there follow the byte 255, 1 if admins receive it and else 0 (1), the number of users (4)
//! and each user (16).
//!
//! Called by the task of [`run`], and by `verify`, which computes them anew.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::audience::{AUDIENCE, Columns};
use crate::{
    clock::{Clock, Timestamp},
    db::Db,
    lifecycle::Lifecycle,
};

/// Events of one seal.
pub const MOST: u32 = 1_000;
/// Between two looks.
const PERIOD: Duration = Duration::from_secs(10);

/// Begins the list of an event. No position begins so.
const LISTED: u8 = 0xff;

/// A SHA-256.
pub type Hash = [u8; 32];

/// A hash that is being made.
pub(super) struct Sealing(Sha256);

impl Sealing {
    /// Over these positions, after this seal.
    pub(super) fn begin(before: &[u8], first: i64, last: i64) -> Self {
        let mut hash = Sha256::new();
        hash.update([1]);
        hash.update(before);
        hash.update(first.to_be_bytes());
        hash.update(last.to_be_bytes());
        Self(hash)
    }

    /// One more event, as a row of [`columns`](super::verify::COLUMNS) has it.
    pub(super) fn add(&mut self, row: &QueryResult) -> Result<(), DbErr> {
        let hash = &mut self.0;
        hash.update(row.try_get_by_index::<i64>(0)?.to_be_bytes());
        hash.update(row.try_get_by_index::<Uuid>(1)?.as_bytes());
        let kind: String = row.try_get_by_index(2)?;
        hash.update([u8::try_from(kind.len()).unwrap_or(u8::MAX)]);
        hash.update(kind.as_bytes());
        hash.update(row.try_get_by_index::<Uuid>(3)?.as_bytes());
        hash.update(row.try_get_by_index::<i64>(4)?.to_be_bytes());
        hash.update([u8::from(row.try_get_by_index::<bool>(5)?)]);
        hash.update(row.try_get_by_index::<Uuid>(6)?.as_bytes());
        match row.try_get_by_index::<Option<Uuid>>(7)? {
            Some(claimant) => {
                hash.update([1]);
                hash.update(claimant.as_bytes());
            }
            None => hash.update([0]),
        }
        let payload: String = row.try_get_by_index(8)?;
        hash.update(u64::try_from(payload.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(payload.as_bytes());
        let occurred_at: Timestamp = row.try_get_by_index(9)?;
        hash.update(occurred_at.timestamp_millis().to_be_bytes());
        // The version before knows no list, and makes the same bytes where it would say no more than the two columns.
        let columns = Columns::at(row, AUDIENCE)?;
        let listed = columns.stored().map_err(|error| DbErr::Custom(error.to_string()))?;
        if let Some(listed) = listed.filter(|listed| *listed != columns.pair()) {
            hash.update([LISTED, u8::from(columns.admins.unwrap_or(false))]);
            hash.update(u32::try_from(listed.users().len()).unwrap_or(u32::MAX).to_be_bytes());
            listed.users().iter().for_each(|user| hash.update(Uuid::from(*user).as_bytes()));
        }
        Ok(())
    }

    pub(super) fn end(self) -> Hash {
        self.0.finalize().into()
    }
}

/// Seals what has got its position, until the process stops.
pub async fn run(db: Db, clock: Clock, lifecycle: Lifecycle) {
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if let Err(error) = seal(&db, &clock).await {
            tracing::warn!(error = %error, "the event log cannot be sealed now");
        }
    }
}

/// Seals all that has a position; says how many seals that took. Another node may seal the same: one of the two counts.
pub async fn seal(db: &Db, clock: &Clock) -> Result<u64, DbErr> {
    let mut seals = 0;
    while seal_next(db, clock).await? {
        seals += 1;
    }
    Ok(seals)
}

async fn seal_next(db: &Db, clock: &Clock) -> Result<bool, DbErr> {
    let sql = "SELECT last_position, hash FROM event_seals ORDER BY last_position DESC LIMIT 1";
    let (sealed, before) = match db.reader().query_one_raw(db.statement(sql, [])).await? {
        Some(row) => (row.try_get_by_index(0)?, row.try_get_by_index(1)?),
        None => (0_i64, vec![0; 32]),
    };
    let sql = format!(
        "SELECT {} FROM events WHERE position > ? ORDER BY position LIMIT CAST(? AS integer)",
        super::verify::COLUMNS
    );
    let rows = db.reader().query_all_raw(db.statement(&sql, [sealed.into(), i64::from(MOST).into()])).await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(false) };
    let (first, last): (i64, i64) = (first.try_get_by_index(0)?, last.try_get_by_index(0)?);
    let mut sealing = Sealing::begin(&before, first, last);
    for row in &rows {
        sealing.add(row)?;
    }
    // One for each first position: of two nodes that seal at the same time one comes second.
    let insert = "INSERT INTO event_seals (last_position, first_position, hash, sealed_at) VALUES (?, ?, ?, ?) \
                  ON CONFLICT DO NOTHING";
    let values = [last.into(), first.into(), sealing.end().to_vec().into(), clock.now().into()];
    let inserted = db.writer().execute_raw(db.statement(insert, values)).await?;
    Ok(inserted.rows_affected() == 1)
}
