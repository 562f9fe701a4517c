//! Money's share of `lancewire verify`: the ledger in itself, wallets and their histories against it, and the chains.
//!
//! Queries for rows that break an invariant, and [`chains`], which computes the hash of every entry anew. Nothing of a
//! job is known here: what is held for one is compared by `jobs::verify`. Called by [`crate::verify`] alone, on one
//! snapshot.

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryResult, Statement,
    prelude::{Uuid, async_trait::async_trait},
};

use super::{
    chain::{self, Hash, Link},
    entity::{transactions, wallets},
    events::{WALLET_UPDATED, WalletSnapshot, audience},
    model::{Transaction, Wallet},
    seal::Sealing,
};
use crate::{
    clock::Timestamp,
    db::{self, Backend},
    error::InternalError,
    events::NewEvent,
    ids::{AccountId, JournalId, TransactionId, WalletId},
    money::Money,
    proof::{Finding, MOST, Part, Progress, Report, hex, told},
};

/// This domain's share of the proof.
pub struct Proof;

#[async_trait]
impl Part for Proof {
    #[expect(clippy::too_many_lines, reason = "one entry an invariant")]
    fn checks(&self) -> Vec<(&'static str, String)> {
        let (taken, reserved) = (moved("j", "AVAILABLE", "t.wallet_id"), moved("j", "PENDING_OUT", "t.wallet_id"));
        let (given, settled) = (moved("s", "AVAILABLE", "t.wallet_id"), moved("s", "PENDING_OUT", "t.wallet_id"));
        let escrow = moved("j", "ESCROW", "t.reference_id");
        vec![
            (
                "1 the entries of each journal add up to zero",
                "SELECT j.id AS subject, 'sum ' || COALESCE(SUM(e.amount_minor), 0) || ' of ' || COUNT(e.place) || ' entries' \
                 AS detail FROM journals j LEFT JOIN entries e ON e.journal_id = j.id GROUP BY j.id \
                 HAVING COALESCE(SUM(e.amount_minor), 0) <> 0 OR COUNT(e.place) < 2"
                    .into(),
            ),
            (
                "1 each account's balance is the sum of its entries",
                "SELECT a.id AS subject, a.kind || ' has ' || a.balance_minor AS detail FROM accounts a \
                 LEFT JOIN (SELECT account_id, SUM(amount_minor) AS amount FROM entries GROUP BY account_id) e \
                 ON e.account_id = a.id WHERE a.balance_minor <> COALESCE(e.amount, 0)"
                    .into(),
            ),
            (
                "1 all accounts together are zero",
                "SELECT NULL AS subject, 'sum ' || SUM(balance_minor) AS detail FROM accounts HAVING SUM(balance_minor) <> 0"
                    .into(),
            ),
            (
                "2 no account but the world is below zero",
                "SELECT id AS subject, kind || ' has ' || balance_minor AS detail FROM accounts \
                 WHERE kind <> 'WORLD' AND balance_minor < 0"
                    .into(),
            ),
            (
                "2 each wallet is what the ledger and its history say",
                "SELECT w.id AS subject, 'wallet and ledger differ' AS detail FROM wallets w WHERE \
                 w.available_minor <> COALESCE((SELECT balance_minor FROM accounts \
                     WHERE owner_id = w.id AND kind = 'AVAILABLE'), 0) \
                 OR w.pending_out_minor <> COALESCE((SELECT balance_minor FROM accounts \
                     WHERE owner_id = w.id AND kind = 'PENDING_OUT'), 0) \
                 OR w.pending_in_minor <> COALESCE((SELECT SUM(amount_minor) FROM transactions \
                     WHERE wallet_id = w.id AND type = 'DEPOSIT' AND status = 'PENDING'), 0) \
                 OR w.available_minor <> COALESCE((SELECT SUM(amount_minor) FROM transactions WHERE wallet_id = w.id \
                     AND (status = 'POSTED' OR (status = 'PENDING' AND type = 'WITHDRAWAL'))), 0)"
                    .into(),
            ),
            (
                "2 whose money moved has a wallet",
                "SELECT a.owner_id AS subject, a.kind || ' of ' || a.balance_minor || ' without a wallet' AS detail \
                 FROM accounts a WHERE a.kind IN ('AVAILABLE', 'PENDING_OUT') \
                 AND NOT EXISTS (SELECT 1 FROM wallets w WHERE w.id = a.owner_id) \
                 UNION ALL SELECT t.id, t.type || ' without its wallet' FROM transactions t \
                 WHERE NOT EXISTS (SELECT 1 FROM wallets w WHERE w.id = t.wallet_id)"
                    .into(),
            ),
            (
                "9 a wallet's version counts the changes in its history",
                "SELECT w.id AS subject, 'version ' || w.version || ' after ' || COALESCE(t.changes, 0) || ' changes' AS detail \
                 FROM wallets w LEFT JOIN (SELECT wallet_id, SUM(version) AS changes FROM transactions GROUP BY wallet_id) t \
                 ON t.wallet_id = w.id WHERE w.version <> 1 + COALESCE(t.changes, 0)"
                    .into(),
            ),
            (
                "7 each version of a wallet has its event, as far as they are kept",
                "SELECT w.id AS subject, 'version ' || w.version || ', ' || COUNT(e.id) || ' events' AS detail \
                 FROM wallets w LEFT JOIN events e ON e.subject_id = w.id AND e.kind = 'WALLET_UPDATED' \
                 GROUP BY w.id, w.version, w.updated_at \
                 HAVING CASE WHEN COUNT(e.id) > 0 THEN MAX(e.subject_version) <> w.version \
                         OR COUNT(e.id) <> w.version - MIN(e.subject_version) + 1 \
                         OR (NOT {forgotten} AND MIN(e.subject_version) <> 2) \
                     ELSE NOT {forgotten} OR w.updated_at > COALESCE((SELECT MIN(occurred_at) FROM events), w.updated_at) END"
                    .into(),
            ),
            (
                "5 each line of a history is what its journal moved",
                format!(
                    "SELECT t.id AS subject, t.type || ' ' || t.status || ' of ' || t.amount_minor AS detail \
                     FROM transactions t LEFT JOIN journals j ON j.id = t.journal_id \
                     LEFT JOIN journals s ON s.id = t.settlement_journal_id \
                     WHERE NOT COALESCE(CASE t.type \
                     WHEN 'DEPOSIT' THEN t.amount_minor > 0 AND t.fee_minor IS NULL AND t.journal_id IS NULL \
                         AND t.version = CASE t.status WHEN 'PENDING' THEN 1 ELSE 2 END \
                         AND CASE t.status WHEN 'POSTED' THEN s.kind = 'DEPOSIT' AND {given} = t.amount_minor \
                             ELSE t.settlement_journal_id IS NULL END \
                     WHEN 'WITHDRAWAL' THEN t.amount_minor < 0 AND t.fee_minor IS NULL AND j.kind = 'WITHDRAWAL_RESERVE' \
                         AND {taken} = t.amount_minor AND {reserved} = -t.amount_minor \
                         AND t.version = CASE t.status WHEN 'PENDING' THEN 1 ELSE 2 END \
                         AND CASE t.status WHEN 'PENDING' THEN t.settlement_journal_id IS NULL \
                             WHEN 'POSTED' THEN s.kind = 'WITHDRAWAL_SETTLE' AND {settled} = t.amount_minor \
                             ELSE s.kind = 'WITHDRAWAL_VOID' AND {given} = -t.amount_minor END \
                     WHEN 'ESCROW_HOLD' THEN t.amount_minor < 0 AND t.status = 'POSTED' AND t.version = 1 \
                         AND j.kind = 'ESCROW_HOLD' AND j.reference_id = t.reference_id \
                         AND {taken} = t.amount_minor AND {escrow} = -t.amount_minor \
                     WHEN 'ESCROW_REFUND' THEN t.amount_minor > 0 AND t.status = 'POSTED' AND t.version = 1 \
                         AND j.kind = 'ESCROW_REFUND' AND j.reference_id = t.reference_id \
                         AND {taken} = t.amount_minor AND {escrow} = -t.amount_minor \
                     WHEN 'ESCROW_RELEASE' THEN t.status = 'POSTED' AND t.version = 1 \
                         AND j.kind = 'ESCROW_RELEASE' AND j.reference_id = t.reference_id \
                         AND {taken} = t.amount_minor \
                         AND CASE WHEN t.fee_minor IS NULL THEN t.amount_minor = 0 \
                             ELSE {escrow} = -t.amount_minor - t.fee_minor \
                             AND t.fee_minor = (SELECT COALESCE(SUM(e.amount_minor), 0) FROM entries e \
                                 JOIN accounts a ON a.id = e.account_id WHERE e.journal_id = j.id AND a.kind = 'FEES') END \
                     ELSE {{true}} END, {{false}})"
                ),
            ),
            (
                "5 each journal stands in the histories of its parties",
                "SELECT j.id AS subject, j.kind || ' in ' || COALESCE(SUM(t.lines), 0) || ' lines' AS detail FROM journals j \
                 LEFT JOIN (SELECT journal_id AS id, COUNT(*) AS lines FROM transactions WHERE journal_id IS NOT NULL \
                     GROUP BY journal_id \
                     UNION ALL SELECT settlement_journal_id, COUNT(*) FROM transactions \
                     WHERE settlement_journal_id IS NOT NULL GROUP BY settlement_journal_id) t ON t.id = j.id \
                 WHERE j.kind <> 'REVERSAL' GROUP BY j.id, j.kind \
                 HAVING COALESCE(SUM(t.lines), 0) <> CASE j.kind WHEN 'ESCROW_RELEASE' THEN 2 ELSE 1 END"
                    .into(),
            ),
            (
                "5 each entry on a user's account stands in that user's history",
                "SELECT e.journal_id AS subject, a.kind || ' ' || e.amount_minor AS detail FROM entries e \
                 JOIN accounts a ON a.id = e.account_id AND a.kind <> 'ESCROW' AND a.owner_id <> {nobody} \
                 LEFT JOIN (SELECT journal_id AS id, wallet_id FROM transactions WHERE journal_id IS NOT NULL \
                     UNION SELECT settlement_journal_id, wallet_id FROM transactions WHERE settlement_journal_id IS NOT NULL) t \
                 ON t.id = e.journal_id AND t.wallet_id = a.owner_id \
                 JOIN journals j ON j.id = e.journal_id AND j.kind <> 'REVERSAL' WHERE t.id IS NULL"
                    .into(),
            ),
        ]
    }

    fn agreement(&self) -> Option<&'static str> {
        Some("7 what an event says of a wallet is what happened to it")
    }

    async fn events_agree(
        &self,
        snapshot: &db::DbTransaction,
        events: &[NewEvent],
        wrong: &mut Vec<String>,
    ) -> Result<(), InternalError> {
        let told = told::<WalletSnapshot>(events, WALLET_UPDATED, wrong);
        if told.is_empty() {
            return Ok(());
        }
        let wallets = wallets_of(snapshot, told.iter().map(|(_, snapshot)| snapshot.wallet.id).collect()).await?;
        let lines = lines_of(snapshot, told.iter().map(|(_, snapshot)| snapshot.transaction.id).collect()).await?;
        for (event, WalletSnapshot { wallet, owner, transaction }) in told {
            let row = wallets.iter().find(|row| row.id == wallet.id);
            let line = lines.iter().find(|line| line.id == transaction.id);
            let why = if Uuid::from(wallet.id) != event.subject || wallet.version != event.subject_version {
                "it is about another wallet or version than it says"
            } else if event.audience != audience(wallet.owner()) || owner.id != wallet.owner() {
                "it is for somebody else than the wallet's owner"
            } else if transaction.wallet_id != wallet.id || transaction.available_after != wallet.available {
                "its line is not one of its wallet"
            } else if row
                .is_none_or(|row| row.version < wallet.version || (row.version == wallet.version && *row != wallet))
            {
                "the wallet is not as the event has it"
            } else if line.is_none_or(|line| !is_later_or_same(line, &transaction)) {
                "the transaction is not as the event has it"
            } else {
                continue;
            };
            wrong.push(format!("{}: {why}", Uuid::from(event.id)));
        }
        Ok(())
    }

    /// Computes the ledger's chains and seals anew.
    async fn examine(
        &self,
        snapshot: &db::DbTransaction,
        backend: Backend,
        report: &mut Report,
        progress: Progress<'_>,
    ) -> Result<(), InternalError> {
        let told = |entries| progress(&format!("the chains of the ledger: {entries} entries"));
        let chains = chains(snapshot, (backend, MOST), &told).await?;
        if chains.unchained > 0 {
            report.notes.push(format!(
                "{} entries of the ledger have no hash yet; a node chains them in the background",
                chains.unchained
            ));
        }
        report.findings.push(Finding { invariant: "12 the chain of each account is unbroken", broken: chains.broken });
        progress("the seals of the ledger");
        let seals = seals(snapshot, (backend, MOST)).await?;
        if let Some((number, hash)) = &seals.anchor {
            report.notes.push(format!("last seal of the ledger: {number} {}", hex(hash)));
        }
        report.findings.push(Finding { invariant: "12 the journals are those that were sealed", broken: seals.broken });
        Ok(())
    }
}

/// What a journal moved on one account of its wallet, or of its reference.
fn moved(journal: &str, kind: &str, owner: &str) -> String {
    format!(
        "(SELECT COALESCE(SUM(e.amount_minor), 0) FROM entries e JOIN accounts a ON a.id = e.account_id \
         WHERE e.journal_id = {journal}.id AND a.kind = '{kind}' AND a.owner_id = {owner})"
    )
}

/// Entries that one query reads.
const PAGE: i64 = 10_000;

/// Where a chain stands that is being followed.
struct Followed {
    account: AccountId,
    sequence: i64,
    hash: Hash,
    /// What `accounts` says of it.
    count: i64,
    head: Option<Vec<u8>>,
}

/// What [`chains`] came to.
#[derive(Debug, Default)]
struct Chains {
    /// Entries with a hash.
    pub entries: u64,
    /// Entries that have none yet: from before there were chains, or of the version before this one.
    pub unchained: u64,
    /// What is wrong, by account or journal.
    pub broken: Vec<String>,
}

/// Computes every chain anew, in pages. `progress` is told of the entries so far.
async fn chains(
    db: &impl ConnectionTrait,
    (backend, most): (Backend, usize),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Chains, InternalError> {
    let mut chains = Chains::default();
    let sql = format!(
        "SELECT a.id, a.kind, a.owner_id, e.sequence, e.journal_id, e.place, e.amount_minor, e.balance_after_minor, \
         e.chain_hash, j.kind, j.reference_id, j.created_at, a.entry_count, a.chain_head \
         FROM (SELECT * FROM entries WHERE sequence IS NOT NULL AND (account_id, sequence) > ({}, {}) ORDER BY account_id, sequence LIMIT {PAGE}) e \
         JOIN accounts a ON a.id = e.account_id JOIN journals j ON j.id = e.journal_id ORDER BY e.account_id, e.sequence",
        place(backend, 1),
        place(backend, 2),
    );
    let (mut after, mut followed) = ((Uuid::nil(), 0_i64), None::<Followed>);
    loop {
        let values = [after.0.into(), after.1.into()];
        let statement = Statement::from_sql_and_values(db.get_database_backend(), &sql, values);
        let rows = db.query_all_raw(statement).await?;
        for row in &rows {
            let link: Row = Row::read(row)?;
            after = (link.account.into(), link.sequence);
            chains.entries += 1;
            if followed.as_ref().is_none_or(|followed| followed.account != link.account) {
                if let Some(before) = followed.take() {
                    before.end(&mut chains.broken);
                }
                let (count, head) = (row.try_get_by_index(12)?, row.try_get_by_index(13)?);
                followed = Some(Followed { account: link.account, sequence: 0, hash: chain::START, count, head });
            }
            let Some(chain) = &mut followed else { continue };
            if chains.broken.len() < most {
                if link.sequence != chain.sequence + 1 {
                    let journal = Uuid::from(link.journal);
                    chains.broken.push(format!("{journal}: number {} after {}", link.sequence, chain.sequence));
                } else if link.hash != chain::next(chain.hash, &link.as_link()) {
                    let journal = Uuid::from(link.journal);
                    chains.broken.push(format!("{journal}: entry {} has another hash than it says", link.place));
                }
            }
            (chain.sequence, chain.hash) = (link.sequence, link.hash);
        }
        progress(chains.entries);
        if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            break;
        }
    }
    if let Some(last) = followed {
        last.end(&mut chains.broken);
    }
    let sql = "SELECT a.id, a.entry_count FROM accounts a WHERE (a.entry_count = 0) <> (a.chain_head IS NULL) \
               OR (a.entry_count > 0 AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.account_id = a.id \
                   AND e.sequence IS NOT NULL))";
    for row in db.query_all_raw(plain(db, sql)).await?.iter().take(most) {
        let (account, count): (Uuid, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        chains.broken.push(format!("{account}: {count} entries, and none is there"));
    }
    let unchained = db.query_one_raw(plain(db, "SELECT COUNT(*) FROM entries WHERE sequence IS NULL")).await?;
    let unchained = unchained.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0))?;
    chains.unchained = u64::try_from(unchained).unwrap_or_default();
    Ok(chains)
}

impl Followed {
    /// The account must know the last of its entries.
    fn end(self, broken: &mut Vec<String>) {
        if self.sequence != self.count || self.head.as_deref() != Some(self.hash.as_slice()) {
            let account = Uuid::from(self.account);
            broken.push(format!("{account}: its chain ends at {}, the account says {}", self.sequence, self.count));
        }
    }
}

/// An entry with all that its hash is made of.
struct Row {
    account: AccountId,
    kind: String,
    owner: Uuid,
    sequence: i64,
    journal: JournalId,
    place: i32,
    amount: Money,
    balance_after: Money,
    hash: Hash,
    journal_kind: String,
    reference: Option<Uuid>,
    created_at: Timestamp,
}

impl Row {
    fn read(row: &QueryResult) -> Result<Self, InternalError> {
        let hash: Option<Vec<u8>> = row.try_get_by_index(8)?;
        Ok(Self {
            account: row.try_get_by_index(0)?,
            kind: row.try_get_by_index(1)?,
            owner: row.try_get_by_index(2)?,
            sequence: row.try_get_by_index(3)?,
            journal: row.try_get_by_index(4)?,
            place: row.try_get_by_index(5)?,
            amount: row.try_get_by_index(6)?,
            balance_after: row.try_get_by_index(7)?,
            // None, or one of another length, is no hash of anything.
            hash: hash.and_then(|hash| hash.try_into().ok()).unwrap_or_default(),
            journal_kind: row.try_get_by_index(9)?,
            reference: row.try_get_by_index(10)?,
            created_at: row.try_get_by_index(11)?,
        })
    }

    fn as_link(&self) -> Link<'_> {
        Link {
            account: self.account,
            kind: &self.kind,
            owner: self.owner,
            sequence: self.sequence,
            journal: self.journal,
            place: self.place,
            amount: self.amount,
            balance_after: self.balance_after,
            journal_kind: &self.journal_kind,
            reference: self.reference,
            created_at: self.created_at,
        }
    }
}

/// What [`seals`] came to.
#[derive(Debug, Default)]
struct Seals {
    /// Seals that were computed anew.
    pub computed: u64,
    /// The last one: its number and its hash, for somebody to keep elsewhere.
    pub anchor: Option<(i64, Vec<u8>)>,
    /// What is wrong, by seal.
    pub broken: Vec<String>,
}

/// A seal as its row has it, and as it is made anew.
struct Resealed {
    number: i64,
    count: i32,
    hash: Vec<u8>,
    found: i32,
    journal: Option<Uuid>,
    sealing: Sealing,
}

impl Resealed {
    fn end(self, seals: &mut Seals) -> Vec<u8> {
        seals.computed += 1;
        if self.found != self.count || self.sealing.end().as_slice() != self.hash.as_slice() {
            let (number, count) = (self.number, self.count);
            seals.broken.push(format!("seal {number}: its {count} journals are not those that were sealed"));
        }
        seals.anchor = Some((self.number, self.hash.clone()));
        self.hash
    }
}

/// Computes every seal anew, in pages.
async fn seals(db: &impl ConnectionTrait, (backend, most): (Backend, usize)) -> Result<Seals, InternalError> {
    let mut seals = Seals::default();
    let sql = format!(
        "SELECT s.seal, s.place, s.journal_id, e.chain_hash, l.journal_count, l.hash \
         FROM (SELECT * FROM sealed_journals WHERE (seal, place) > ({}, {}) ORDER BY seal, place LIMIT {PAGE}) s \
         JOIN ledger_seals l ON l.number = s.seal LEFT JOIN entries e ON e.journal_id = s.journal_id \
         ORDER BY s.seal, s.place, e.place",
        place(backend, 1),
        place(backend, 2),
    );
    let (mut after, mut before, mut open) = ((0_i64, -1_i32), vec![0; 32], None::<Resealed>);
    loop {
        let values = [after.0.into(), after.1.into()];
        let statement = Statement::from_sql_and_values(db.get_database_backend(), &sql, values);
        let rows = db.query_all_raw(statement).await?;
        for row in &rows {
            let (number, journal): (i64, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(2)?);
            after = (number, row.try_get_by_index(1)?);
            if open.as_ref().is_none_or(|open| open.number != number) {
                let expected = open.as_ref().map_or(0, |open| open.number) + 1;
                if let Some(ended) = open.take() {
                    before = ended.end(&mut seals);
                }
                if number != expected && seals.broken.len() < most {
                    seals.broken.push(format!("seal {number} comes where {expected} should be"));
                }
                let (count, hash) = (row.try_get_by_index(4)?, row.try_get_by_index(5)?);
                let sealing = Sealing::begin(&before, number);
                open = Some(Resealed { number, count, hash, found: 0, journal: None, sealing });
            }
            let Some(seal) = &mut open else { continue };
            if seal.journal.replace(journal) != Some(journal) {
                seal.found += 1;
                seal.sealing.journal(journal);
            }
            if let Some(hash) = row.try_get_by_index::<Option<Vec<u8>>>(3)? {
                seal.sealing.entry(&hash);
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    if let Some(last) = open {
        last.end(&mut seals);
    }
    Ok(seals)
}

fn place(backend: Backend, number: usize) -> String {
    if backend == Backend::Sqlite { format!("?{number}") } else { format!("${number}") }
}

fn plain(db: &impl ConnectionTrait, sql: &str) -> Statement {
    Statement::from_string(db.get_database_backend(), sql)
}

/// Whether a transaction is the one that an event tells of, or what became of it.
fn is_later_or_same(now: &Transaction, told: &Transaction) -> bool {
    if now.version == told.version { now == told } else { now.version > told.version && now.as_far_as(told) == *told }
}

async fn wallets_of(db: &impl ConnectionTrait, ids: Vec<WalletId>) -> Result<Vec<Wallet>, DbErr> {
    let select = wallets::Entity::find().filter(wallets::Column::Id.is_in(ids));
    Ok(select.all(db).await?.into_iter().map(Wallet::from).collect())
}

async fn lines_of(db: &impl ConnectionTrait, ids: Vec<TransactionId>) -> Result<Vec<Transaction>, DbErr> {
    let select = transactions::Entity::find().filter(transactions::Column::Id.is_in(ids));
    // A row that is no transaction is not as its events have it.
    Ok(select.all(db).await?.into_iter().filter_map(|row| Transaction::try_from(row).ok()).collect())
}
