//! One key, at most one effect.
//!
//! A mutation that moves money or creates objects carries a key of the client's choice. Its row is written in the
//! transaction of the effect, so both are there or neither: after a crash the client repeats the request and gets the
//! effect if it had been committed, or causes it now. Only effects are stored, as the ids they made; the answer is
//! resolved from these as things are now. The scope of a key is one user and one mutation.
//!
//! Two requests with one key at the same time: the second waits for the first's row. It then finds the effect, or, if
//! the first was rolled back, causes it. One that waits longer than `database.lock_timeout_ms` is told that the first
//! is still running. Called by the services of `jobs`, `claims` and `wallet`.
//!
//! A key is kept for `retention.idempotency_key_seconds` and removed after that ([`OldKeys`]): a request that comes again
//! with it then has its effect again.

use std::future::Future;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbErr, Value, prelude::async_trait::async_trait};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    clock::Timestamp,
    db::{Backend, Db, Tx, receipt::Left},
    error::{DbErrorKind, InternalError, Invalid},
    ids::UserId,
    retention::Prune,
};

/// How long a client waits before it repeats a request whose twin still runs, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

/// A key as the client chose it: 1 to 100 visible ASCII characters.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Accepts the value of `input.idempotencyKey`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            let rule = "must be 1 to 100 visible ASCII characters, such as a UUID";
            Err(Invalid::value("idempotencyKey", rule))
        }
    }
}

/// Why a key cannot be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyConflict {
    /// The same key came with other input before.
    #[error("This idempotencyKey was used with other input. Use a new key for a new request.")]
    Reused,
    /// The request that came first has not finished.
    #[error("A request with this idempotencyKey is still running. Send the same request again in a moment.")]
    InProgress {
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
}

/// What became of a request with a key.
#[derive(Debug)]
pub enum Once<T, V> {
    /// It took effect now, with this outcome.
    Now(V),
    /// It took effect before; these are the ids that it made then.
    Before(T),
}

/// Runs `effect` unless this user's mutation did so before under `key`. The effect returns the ids that it made, which
/// are kept, and its outcome, which is not.
///
/// `input` is all that the request asked for: the same key with other input is [`KeyConflict::Reused`].
pub async fn once_in<I, T, V, E, F>(
    tx: &Tx,
    now: Timestamp,
    user: UserId,
    (mutation, key): (&'static str, &IdempotencyKey),
    input: &I,
    effect: impl FnOnce() -> F,
) -> Result<Once<T, V>, E>
where
    I: Serialize,
    T: Serialize + DeserializeOwned,
    F: Future<Output = Result<(T, V), E>>,
    E: From<DbErr> + From<InternalError> + From<KeyConflict>,
{
    let hash = Sha256::digest(serde_json::to_vec(input).map_err(InternalError::corrupt)?).to_vec();
    let scope = || [Value::from(user), Value::from(mutation), Value::from(key.0.as_str())];
    let [owner, name, text] = scope();
    let inserted = tx
        .execute(
            "INSERT INTO idempotency_keys (user_id, mutation, key, request_hash, effect, created_at) \
             VALUES (?, ?, ?, ?, '', ?) ON CONFLICT DO NOTHING",
            [owner, name, text, hash.clone().into(), now.into()],
        )
        .await
        .map_err(|error| match DbErrorKind::of(&error) {
            DbErrorKind::LockTimeout => E::from(KeyConflict::InProgress { retry_after_ms: RETRY_AFTER_MS }),
            _ => E::from(error),
        })?;
    if inserted == 0 {
        let stored = tx
            .query(
                "SELECT request_hash, effect FROM idempotency_keys WHERE user_id = ? AND mutation = ? AND key = ?",
                scope(),
            )
            .await?;
        // It was removed in between, being past its time: the same request, sent again, has its effect.
        let row = stored.first().ok_or(KeyConflict::InProgress { retry_after_ms: RETRY_AFTER_MS })?;
        if row.try_get::<Vec<u8>>("", "request_hash")? != hash {
            return Err(KeyConflict::Reused.into());
        }
        let stored: String = row.try_get("", "effect")?;
        tx.leaves(Left::Earlier);
        return Ok(Once::Before(serde_json::from_str(&stored).map_err(InternalError::corrupt)?));
    }
    let (made, outcome) = effect().await?;
    let text = serde_json::to_string(&made).map_err(InternalError::corrupt)?;
    let [owner, name, key] = scope();
    let sql = "UPDATE idempotency_keys SET effect = ? WHERE user_id = ? AND mutation = ? AND key = ?";
    tx.defer(sql, [text.into(), owner, name, key]).await?;
    Ok(Once::Now(outcome))
}

/// The same for a mutation whose key may be left out: without one, `effect` runs each time.
pub async fn once_if_in<I, T, V, E, F>(
    tx: &Tx,
    now: Timestamp,
    user: UserId,
    (mutation, key): (&'static str, Option<&IdempotencyKey>),
    input: &I,
    effect: impl FnOnce() -> F,
) -> Result<Once<T, V>, E>
where
    I: Serialize,
    T: Serialize + DeserializeOwned,
    F: Future<Output = Result<(T, V), E>>,
    E: From<DbErr> + From<InternalError> + From<KeyConflict>,
{
    match key {
        Some(key) => once_in(tx, now, user, (mutation, key), input, effect).await,
        None => effect().await.map(|(_, outcome)| Once::Now(outcome)),
    }
}

/// The keys of a database beyond those that are kept.
#[derive(Debug)]
pub struct OldKeys {
    db: Db,
    kept: TimeDelta,
}

impl OldKeys {
    /// Those of `db` that were first used longer ago than `kept`.
    pub const fn new(db: Db, kept: TimeDelta) -> Self {
        Self { db, kept }
    }
}

#[async_trait]
impl Prune for OldKeys {
    fn what(&self) -> &'static str {
        "idempotency_keys"
    }

    async fn step(&self, now: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
        // By the rows' own places: the primary key has three columns.
        let (place, one_of) = match self.db.backend() {
            Backend::Sqlite => ("rowid", "IN ({})"),
            Backend::Postgres => ("ctid", "= ANY (ARRAY({}))"),
        };
        let old = format!("SELECT {place} FROM idempotency_keys WHERE created_at <= ? ORDER BY created_at LIMIT ?");
        let sql = format!("DELETE FROM idempotency_keys WHERE {place} {}", one_of.replace("{}", &old));
        let statement = self.db.statement(&sql, [(now - self.kept).into(), i64::from(most).into()]);
        Ok(self.db.writer().execute_raw(statement).await?.rows_affected())
    }

    async fn overdue(&self, now: DateTime<Utc>) -> Result<TimeDelta, DbErr> {
        let due = now - self.kept;
        let sql = "SELECT MIN(created_at) AS oldest FROM idempotency_keys WHERE created_at <= ?";
        let row = self.db.reader().query_one_raw(self.db.statement(sql, [due.into()])).await?;
        let oldest = row.map_or(Ok(None), |row| row.try_get::<Option<DateTime<Utc>>>("", "oldest"))?;
        Ok(oldest.map_or(TimeDelta::zero(), |oldest| due - oldest))
    }
}
