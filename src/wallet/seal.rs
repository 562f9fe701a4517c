//! What is done to the ledger in the background: entries without a hash are chained, and journals are sealed.
//!
//! **Chaining.** Entries from before there were chains, and those that the version before this one writes during a
//! deploy, get their numbers and hashes here, account by account, behind those that have one. After that nothing is
//! left to do: the ledger chains what it writes.
//!
//! **Seals.** A seal is a hash over the seal before it and up to [`MOST`] journals, each with the hashes of its entries,
//! in the order of their ids. It makes one chain of all accounts' chains without a lock that payments would share. An
//! operator who keeps the last hash elsewhere, as `lancewire verify` prints it, can tell later whether anything before it
//! was changed, all hashes included. `sealed_journals` says which journal stands where.
//!
//! **The bytes** of a seal, integers with the highest byte first: the version 1 (1 byte), the hash of the seal before
//! it (32, zeros for the first), its number (8), then for each journal its id (16) and the hash of each of its entries
//! in the order of their places (32 each).
//!
//! Several nodes may do this at the same time: an account is locked while it is chained, and of two seals with one number
//! one counts.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::chain::{self, Hash, Link};
use crate::{
    clock::{Clock, Timestamp},
    db::{Backend, Db, Tx},
    error::InternalError,
    ids::{AccountId, JournalId},
    lifecycle::Lifecycle,
    money::Money,
};

/// Journals of one seal, and entries that one transaction chains.
pub const MOST: i64 = 500;
/// Between two looks.
const PERIOD: Duration = Duration::from_secs(10);
/// How far back a look goes from the last sealed journal, in milliseconds: ids carry the time of the node that made them,
/// and a transaction takes a while to commit.
const BACK_MS: u64 = 5 * 60 * 1_000;
/// Every so many looks goes all the way back, for what a node with a wrong clock has left behind.
const WHOLE: u32 = 360;

/// The hash of a seal that is being made.
pub(super) struct Sealing(Sha256);

impl Sealing {
    pub(super) fn begin(before: &[u8], number: i64) -> Self {
        let mut hash = Sha256::new();
        hash.update([1]);
        hash.update(before);
        hash.update(number.to_be_bytes());
        Self(hash)
    }

    pub(super) fn journal(&mut self, id: Uuid) {
        self.0.update(id.as_bytes());
    }

    pub(super) fn entry(&mut self, hash: &[u8]) {
        self.0.update(hash);
    }

    pub(super) fn end(self) -> Hash {
        self.0.finalize().into()
    }
}

/// Chains and seals until the process stops.
pub async fn run(db: Db, clock: Clock, lifecycle: Lifecycle) {
    for look in 0_u32.. {
        // Not at once: a start has more urgent things to do.
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        match seal(&db, &clock, look % WHOLE == 0).await {
            Ok(0) => {}
            Ok(chained) => tracing::info!(entries = chained, "entries that had no hash are chained"),
            Err(error) => tracing::warn!(error = %error, "the ledger cannot be sealed now"),
        }
    }
}

/// Chains all that has no hash and seals all journals, or those of late. Returns how many entries had no hash.
pub async fn seal(db: &Db, clock: &Clock, whole: bool) -> Result<u64, InternalError> {
    let mut chained = 0;
    loop {
        let sql = "SELECT account_id FROM entries WHERE sequence IS NULL ORDER BY account_id LIMIT 1";
        let Some(row) = db.writer().query_one_raw(db.statement(sql, [])).await? else { break };
        let account: AccountId = row.try_get_by_index(0)?;
        chained += db.transact(|tx| async move { chain_in(&tx, account).await }).await?;
    }
    let mut from = if whole { Uuid::nil() } else { of_late(db).await? };
    while let Some(last) = seal_next(db, clock, from).await? {
        from = last;
    }
    Ok(chained)
}

/// Chains the oldest entries of an account that have no hash, and returns how many.
async fn chain_in(tx: &Tx, account: AccountId) -> Result<u64, InternalError> {
    let lock = if tx.backend() == Backend::Postgres { " FOR NO KEY UPDATE" } else { "" };
    let sql = format!("SELECT kind, owner_id, entry_count, chain_head FROM accounts WHERE id = ?{lock}");
    let rows = tx.query(&sql, [account.into()]).await?;
    let row = rows.first().ok_or_else(|| InternalError::corrupt(format!("{} is missing", Uuid::from(account))))?;
    let (kind, owner): (String, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let mut sequence: i64 = row.try_get_by_index(2)?;
    let mut head = chain::head_of(row.try_get_by_index::<Option<Vec<u8>>>(3)?.as_deref())?;
    let sql = "SELECT e.journal_id, e.place, e.amount_minor, e.balance_after_minor, j.kind, j.reference_id, j.created_at \
               FROM entries e JOIN journals j ON j.id = e.journal_id WHERE e.account_id = ? AND e.sequence IS NULL \
               ORDER BY e.journal_id, e.place LIMIT CAST(? AS integer)";
    let rows = tx.query(sql, [account.into(), MOST.into()]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut values: Vec<Value> = Vec::with_capacity(rows.len() * 4);
    for row in &rows {
        let (journal, place): (JournalId, i32) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let (amount, balance_after): (Money, Money) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        let journal_kind: String = row.try_get_by_index(4)?;
        let (reference, created_at): (Option<Uuid>, Timestamp) = (row.try_get_by_index(5)?, row.try_get_by_index(6)?);
        sequence += 1;
        let link = Link {
            account,
            kind: &kind,
            owner,
            sequence,
            journal,
            place,
            amount,
            balance_after,
            journal_kind: &journal_kind,
            reference,
            created_at,
        };
        head = chain::next(head, &link);
        values.extend([journal.into(), place.into(), sequence.into(), head.to_vec().into()]);
    }
    let sql = format!(
        "UPDATE entries SET sequence = made.column3, chain_hash = made.column4 FROM (VALUES (?, ?, ?, ?){}) AS made \
         WHERE journal_id = made.column1 AND place = made.column2 RETURNING 1",
        ", (?, ?, ?, ?)".repeat(rows.len() - 1)
    );
    let changed = tx.query(&sql, values).await?;
    if changed.len() != rows.len() {
        return Err(InternalError::corrupt("an entry was chained under its account's lock"));
    }
    let sql = "UPDATE accounts SET entry_count = ?, chain_head = ? WHERE id = ?";
    tx.execute(sql, [sequence.into(), head.to_vec().into(), account.into()]).await?;
    Ok(u64::try_from(rows.len()).unwrap_or_default())
}

/// Where the journals of late begin: a little before the last sealed one.
async fn of_late(db: &Db) -> Result<Uuid, DbErr> {
    let sql = "SELECT journal_id FROM sealed_journals ORDER BY journal_id DESC LIMIT 1";
    let row = db.reader().query_one_raw(db.statement(sql, [])).await?;
    row.map_or(Ok(Uuid::nil()), |row| row.try_get_by_index(0)).map(a_little_before)
}

/// Makes one seal of journals that have none, from this id on, and returns the last of them; none if there is no such
/// journal, or if another node is at it.
async fn seal_next(db: &Db, clock: &Clock, from: Uuid) -> Result<Option<Uuid>, InternalError> {
    let sql = "SELECT j.id FROM journals j WHERE j.id >= ? \
               AND NOT EXISTS (SELECT 1 FROM sealed_journals s WHERE s.journal_id = j.id) \
               AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.journal_id = j.id AND e.sequence IS NULL) \
               ORDER BY j.id LIMIT CAST(? AS integer)";
    let rows = db.reader().query_all_raw(db.statement(sql, [from.into(), MOST.into()])).await?;
    let journals: Vec<Uuid> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, DbErr>>()?;
    let Some(last) = journals.last().copied() else { return Ok(None) };
    let (journals, now) = (&journals, clock.now());
    db.transact(|tx| async move {
        let ids = || journals.iter().map(|id| Value::from(*id));
        let places = ", ?".repeat(journals.len() - 1);
        let sealed = format!("SELECT 1 FROM sealed_journals WHERE journal_id IN (?{places}) LIMIT 1");
        if !tx.query(&sealed, ids()).await?.is_empty() {
            return Ok(None);
        }
        let newest = tx.query("SELECT number, hash FROM ledger_seals ORDER BY number DESC LIMIT 1", []).await?;
        let (number, before) = match newest.first() {
            Some(row) => (row.try_get_by_index::<i64>(0)? + 1, row.try_get_by_index(1)?),
            None => (1, vec![0; 32]),
        };
        let sql = format!(
            "SELECT journal_id, chain_hash FROM entries WHERE journal_id IN (?{places}) ORDER BY journal_id, place"
        );
        let entries = tx.query(&sql, ids()).await?;
        let (mut sealing, mut journal) = (Sealing::begin(&before, number), None);
        for entry in &entries {
            let id: Uuid = entry.try_get_by_index(0)?;
            if journal.replace(id) != Some(id) {
                sealing.journal(id);
            }
            sealing.entry(&entry.try_get_by_index::<Vec<u8>>(1)?);
        }
        // First: of two nodes that make the same seal the second stops here.
        let seal = "INSERT INTO ledger_seals (number, journal_count, hash, sealed_at) VALUES (?, ?, ?, ?) \
                    ON CONFLICT DO NOTHING";
        let count = i32::try_from(journals.len()).unwrap_or(i32::MAX);
        let values = [number.into(), count.into(), sealing.end().to_vec().into(), now.into()];
        if tx.execute(seal, values).await? == 0 {
            return Ok(None);
        }
        for (place, journal) in (0_i32..).zip(journals) {
            let sql = "INSERT INTO sealed_journals (journal_id, seal, place) VALUES (?, ?, ?)";
            tx.defer(sql, [(*journal).into(), number.into(), place.into()]).await?;
        }
        Ok::<_, InternalError>(Some(last))
    })
    .await
}

/// An id of version 7 from so long before: the time stands in its first 48 bits.
fn a_little_before(id: Uuid) -> Uuid {
    let bits = id.as_u128();
    let ms = u64::try_from(bits >> 80).unwrap_or_default().saturating_sub(BACK_MS);
    Uuid::from_u128(u128::from(ms) << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_from_a_little_before_sorts_five_minutes_earlier() {
        let id = Uuid::from_u128((1_000_000_u128 << 80) | 0x7123_4567);
        assert_eq!(a_little_before(id).as_u128() >> 80, 700_000);
        assert_eq!(a_little_before(Uuid::nil()), Uuid::nil());
    }
}
