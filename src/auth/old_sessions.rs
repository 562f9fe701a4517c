//! Removes sessions that nobody can use any more, and their refresh tokens.
//!
//! A session goes with the last of its refresh tokens, when that expires: no token of it can be refreshed from then on, and
//! an access token lives for less. One that ended goes a day after its end. A refresh token that was used goes when it
//! expires; presented after that it is refused and no longer ends its session.
//!
//! Sessions of an epoch that is over (see [`Sessions`](super::sessions::Sessions)) are ended here in their own rows, since
//! the one row that ended them says nothing of each.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{DbErr, QueryResult, Value, prelude::async_trait::async_trait};

use crate::{
    db::{Db, Tx},
    ids::SessionId,
    retention::Prune,
};

/// How long the row of a session is kept after its end.
const KEPT: TimeDelta = TimeDelta::days(1);
/// Sessions that one statement names. Always as many, or each number would be a statement of its own to prepare.
const NAMED: usize = 32;

/// The sessions of a database that are over.
#[derive(Debug)]
pub struct OldSessions(Db);

impl OldSessions {
    /// Those of `db`.
    pub const fn new(db: Db) -> Self {
        Self(db)
    }
}

#[async_trait]
impl Prune for OldSessions {
    fn what(&self) -> &'static str {
        "sessions"
    }

    async fn step(&self, now: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
        let expired = self.0.transact(|tx| async move { remove_expired_in(&tx, now, most).await }).await?;
        if expired > 0 {
            return Ok(expired);
        }
        let ended = self.0.transact(|tx| async move { remove_ended_in(&tx, now, most).await }).await?;
        if ended > 0 {
            return Ok(ended);
        }
        self.0.transact(|tx| async move { end_those_of_old_epochs_in(&tx, now, most).await }).await
    }

    async fn overdue(&self, now: DateTime<Utc>) -> Result<TimeDelta, DbErr> {
        let sql = "SELECT MIN(expires_at) AS oldest FROM refresh_tokens WHERE expires_at <= ?";
        let oldest = oldest(&self.0, sql, now).await?;
        Ok(oldest.map_or(TimeDelta::zero(), |oldest| now - oldest))
    }
}

/// Refresh tokens that have expired, and sessions that are left without any.
async fn remove_expired_in(tx: &Tx, now: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
    let sql = "DELETE FROM refresh_tokens WHERE id IN \
               (SELECT id FROM refresh_tokens WHERE expires_at <= ? ORDER BY expires_at LIMIT ?) RETURNING session_id";
    let removed = tx.query(sql, [now.into(), i64::from(most).into()]).await?;
    let mut sessions = named(&removed, "session_id")?;
    sessions.sort_unstable();
    sessions.dedup();
    for sessions in sessions.chunks(NAMED) {
        let sql = format!(
            "DELETE FROM sessions WHERE id IN ({}) \
             AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.session_id = sessions.id)",
            places()
        );
        tx.query(&format!("{sql} RETURNING 1"), padded(sessions)).await?;
    }
    Ok(removed.len().try_into().unwrap_or(u64::MAX))
}

/// Sessions that ended long enough ago, with their refresh tokens: those first, which are many for some.
async fn remove_ended_in(tx: &Tx, now: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
    let sql = "SELECT id FROM sessions WHERE ended_at <= ? ORDER BY ended_at LIMIT ?";
    let named_at_once = u32::try_from(NAMED).unwrap_or(u32::MAX).min(most);
    let ended = named(&tx.query(sql, [(now - KEPT).into(), i64::from(named_at_once).into()]).await?, "id")?;
    if ended.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "DELETE FROM refresh_tokens WHERE id IN (SELECT id FROM refresh_tokens WHERE session_id IN ({}) LIMIT ?) \
         RETURNING 1",
        places()
    );
    let values = padded(&ended).chain([Value::from(i64::from(most))]);
    let tokens = tx.query(&sql, values).await?.len();
    let mut removed = u64::try_from(tokens).unwrap_or(u64::MAX);
    // Else there may be more tokens, and a step after this removes them.
    if u32::try_from(tokens).is_ok_and(|tokens| tokens < most) {
        let sql = format!("DELETE FROM sessions WHERE id IN ({}) RETURNING 1", places());
        removed += u64::try_from(tx.query(&sql, padded(&ended)).await?.len()).unwrap_or(0);
    }
    Ok(removed)
}

/// Puts down in the rows themselves that they are over: they are removed a day later.
async fn end_those_of_old_epochs_in(tx: &Tx, now: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
    let sql = "UPDATE sessions SET ended_at = ?, end_reason = 'ended with all others' WHERE id IN \
               (SELECT s.id FROM users u JOIN sessions s ON s.user_id = u.id \
                WHERE u.session_epoch > 0 AND s.ended_at IS NULL AND s.epoch < u.session_epoch LIMIT ?) \
               AND ended_at IS NULL RETURNING 1";
    Ok(tx.query(sql, [now.into(), i64::from(most).into()]).await?.len().try_into().unwrap_or(u64::MAX))
}

fn named(rows: &[QueryResult], column: &str) -> Result<Vec<SessionId>, DbErr> {
    rows.iter().map(|row| row.try_get("", column)).collect()
}

fn places() -> String {
    vec!["?"; NAMED].join(", ")
}

/// As many as there are places: the last one again and again.
fn padded(sessions: &[SessionId]) -> impl Iterator<Item = Value> + use<'_> {
    sessions.iter().chain(std::iter::repeat_n(sessions.last(), NAMED).flatten()).take(NAMED).map(|id| (*id).into())
}

/// The one moment that a query finds, if any.
async fn oldest(db: &Db, sql: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, DbErr> {
    use sea_orm::ConnectionTrait;
    let row = db.reader().query_one_raw(db.statement(sql, [now.into()])).await?;
    row.map_or(Ok(None), |row| row.try_get("", "oldest"))
}
