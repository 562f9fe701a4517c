//! The kinds of corruption that `verify` must find: a name, what is done, and the finding that must be among those it has.
//!
//! `{fresh}` is a new id, `{position}` the column of a position, `{true}` the truth. ADA, BEN and the like stand for
//! subqueries: see [`spelled`].

use lancewire::db::Backend;

/// One kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    /// How the invariant begins that must be said to be broken.
    pub(super) finding: &'static str,
}

pub(super) const fn kind(name: &'static str, sql: &'static str, finding: &'static str) -> Kind {
    Kind { name, sql, finding }
}

const SUM: &str = "1 the entries of each journal";
const BALANCE: &str = "1 each account's balance";
const WORLD: &str = "1 all accounts together";
const NEGATIVE: &str = "2 no account but the world";
const WALLET: &str = "2 each wallet is what";
const OWNED: &str = "2 whose money moved";
const IN_ESCROW: &str = "2 what a wallet shows in escrow";
const CLAIM: &str = "3 a job has one live claim";
const STEP: &str = "3 a claim, its job";
const HANDED_IN: &str = "3 what was handed in";
const ESCROW: &str = "4 escrow is the budget";
const RELEASED: &str = "5 what was held for an ended";
const HELD: &str = "5 what was held for a job";
const PAID: &str = "5 a completed job was paid";
const AGREED: &str = "5 who was paid";
const LINE: &str = "5 each line of a history";
const PARTIES: &str = "5 each journal stands";
const ENTRY: &str = "5 each entry on a user's";
const JOB_EVENTS: &str = "7 each version of a posted job";
const WALLET_EVENTS: &str = "7 each version of a wallet";
const DRAFT: &str = "7 what happened to a draft";
const CLAIM_EVENTS: &str = "7 what happened to a claim";
const CLAIM_TOLD: &str = "7 each change of a claim";
const CLAIM_LAST: &str = "7 the last event of a claim";
const PUBLIC: &str = "7 only what everybody";
const LISTED: &str = "7 the list of an event";
const ADMINS: &str = "7 admins receive";
const FOUND: &str = "7 an event is found";
const SAYS_WALLET: &str = "7 what an event says of a wallet";
const SAYS_JOB: &str = "7 what an event says of a job";
const SAYS_CLAIM: &str = "7 what an event says of a claim";
const SAYS_INBOX: &str = "7 what an event says of an inbox";
const INBOX: &str = "7 each entry of an inbox";
const CHANGES: &str = "9 a wallet's version";
const COMPLETED: &str = "9 who has completed";
const POSITIONS: &str = "12 positions";
const SEALED_EVENTS: &str = "12 the events are those";
pub(super) const CHAIN: &str = "12 the chain of each account";
const SEALED: &str = "12 the journals are those";
const GUARDS: &str = "12 the database's own guards";

/// What changes rows, past every guard.
pub(super) const ROWS: &[Kind] = &[
    // The ledger in itself.
    kind(
        "an entry has another amount",
        "UPDATE entries SET amount_minor = amount_minor + 1 WHERE place = 0 AND journal_id = FIRST",
        SUM,
    ),
    kind("an entry is gone", "DELETE FROM entries WHERE place = 1 AND journal_id = FIRST", SUM),
    kind("the entries of a journal are gone", "DELETE FROM entries WHERE journal_id = FIRST", SUM),
    kind(
        "a journal has no entries",
        "INSERT INTO journals (id, kind, created_at) SELECT {fresh}, kind, created_at FROM journals LIMIT 1",
        SUM,
    ),
    kind(
        "the world owes less",
        "UPDATE accounts SET balance_minor = balance_minor + 1 WHERE kind = 'WORLD' AND owner_id = ADA",
        WORLD,
    ),
    kind(
        "the platform has earned less",
        "UPDATE accounts SET balance_minor = balance_minor - 1 WHERE kind = 'FEES' AND owner_id = BEN",
        BALANCE,
    ),
    kind(
        "everybody has more",
        "UPDATE accounts SET balance_minor = balance_minor + 1 WHERE kind = 'AVAILABLE'",
        BALANCE,
    ),
    kind(
        "an account is below zero",
        "UPDATE accounts SET balance_minor = -1 WHERE kind = 'FEES' AND owner_id = BEN",
        NEGATIVE,
    ),
    kind(
        "a balance went to another account",
        "UPDATE accounts SET balance_minor = balance_minor + CASE kind WHEN 'FEES' THEN 1 ELSE -1 END \
        WHERE (kind = 'FEES' AND owner_id = BEN) OR (kind = 'WORLD' AND owner_id = ADA)",
        BALANCE,
    ),
    kind(
        "two entries of a journal are swapped",
        "UPDATE entries SET balance_after_minor = balance_after_minor + 1 WHERE journal_id = FIRST",
        CHAIN,
    ),
    kind(
        "an entry is chained by another hash",
        "UPDATE entries SET chain_hash = (SELECT chain_head FROM accounts WHERE kind = 'FEES' AND owner_id = BEN) \
        WHERE place = 0 AND journal_id = FIRST",
        CHAIN,
    ),
    kind(
        "an account's chain has another head",
        "UPDATE accounts SET chain_head = (SELECT chain_head FROM accounts WHERE kind = 'FEES' AND owner_id = BEN) \
        WHERE kind = 'AVAILABLE'",
        CHAIN,
    ),
    kind(
        "an account knows of more entries",
        "UPDATE accounts SET entry_count = entry_count + 1 WHERE kind = 'ESCROW'",
        CHAIN,
    ),
    kind(
        "a journal is of another kind",
        "UPDATE journals SET kind = 'ESCROW_REFUND' WHERE kind = 'ESCROW_RELEASE'",
        PAID,
    ),
    kind(
        "a journal is of another time",
        "UPDATE journals SET created_at = (SELECT MAX(created_at) FROM journals) WHERE id = FIRST",
        CHAIN,
    ),
    kind(
        "a journal is for another job",
        "UPDATE journals SET reference_id = (SELECT id FROM jobs WHERE status = 'DRAFT') WHERE kind = 'ESCROW_RELEASE'",
        LINE,
    ),
    kind(
        "money moved with its entries to another user",
        "UPDATE accounts SET balance_minor = balance_minor + CASE WHEN owner_id = ADA THEN 1 ELSE -1 END * PAY \
            WHERE kind = 'AVAILABLE' AND owner_id IN (ADA, BEN); \
         UPDATE wallets SET available_minor = available_minor + CASE WHEN id = ADA THEN 1 ELSE -1 END * PAY WHERE id IN (ADA, BEN); \
         UPDATE entries SET sequence = 1000, account_id = (SELECT id FROM accounts WHERE kind = 'AVAILABLE' AND owner_id = ADA) \
            WHERE journal_id = RELEASE AND account_id = (SELECT id FROM accounts WHERE kind = 'AVAILABLE' AND owner_id = BEN)",
        CHAIN,
    ),
    kind(
        "money moved to another user, who has it in their history",
        "UPDATE entries SET sequence = 1000, account_id = (SELECT id FROM accounts WHERE kind = 'AVAILABLE' AND owner_id = ADA) \
            WHERE journal_id = RELEASE AND account_id = (SELECT id FROM accounts WHERE kind = 'AVAILABLE' AND owner_id = BEN); \
         UPDATE transactions SET wallet_id = ADA WHERE journal_id = RELEASE AND fee_minor IS NOT NULL",
        AGREED,
    ),
    kind("an account is another user's", "UPDATE accounts SET owner_id = ROOT WHERE kind = 'PENDING_OUT'", CHAIN),
    kind(
        "a deposit went to another user",
        "UPDATE entries SET sequence = 1000, account_id = (SELECT id FROM accounts WHERE kind = 'AVAILABLE' AND owner_id = BEN) \
        WHERE journal_id = FIRST AND account_id = (SELECT id FROM accounts WHERE kind = 'AVAILABLE' AND owner_id = ADA)",
        ENTRY,
    ),
    kind(
        "money was minted with journal and entries",
        "INSERT INTO journals (id, kind, created_at) SELECT NEW, 'DEPOSIT', created_at FROM journals WHERE id = FIRST; \
         INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor, sequence, chain_hash) \
            SELECT NEW, CASE kind WHEN 'WORLD' THEN 0 ELSE 1 END, id, CASE kind WHEN 'WORLD' THEN -7 ELSE 7 END, \
            balance_minor + CASE kind WHEN 'WORLD' THEN -7 ELSE 7 END, entry_count + 1, chain_head FROM accounts \
            WHERE owner_id = ADA AND kind IN ('WORLD', 'AVAILABLE'); \
         UPDATE accounts SET balance_minor = balance_minor + CASE kind WHEN 'WORLD' THEN -7 ELSE 7 END, entry_count = entry_count + 1 \
            WHERE owner_id = ADA AND kind IN ('WORLD', 'AVAILABLE'); \
         UPDATE wallets SET available_minor = available_minor + 7 WHERE id = ADA",
        PARTIES,
    ),
    kind(
        "money was minted with its line in a history",
        "INSERT INTO journals (id, kind, created_at) SELECT NEW, 'DEPOSIT', created_at FROM journals WHERE id = FIRST; \
         INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor) \
            SELECT NEW, CASE kind WHEN 'WORLD' THEN 0 ELSE 1 END, id, CASE kind WHEN 'WORLD' THEN -7 ELSE 7 END, \
            balance_minor + CASE kind WHEN 'WORLD' THEN -7 ELSE 7 END FROM accounts \
            WHERE owner_id = ADA AND kind IN ('WORLD', 'AVAILABLE'); \
         UPDATE accounts SET balance_minor = balance_minor + CASE kind WHEN 'WORLD' THEN -7 ELSE 7 END \
            WHERE owner_id = ADA AND kind IN ('WORLD', 'AVAILABLE'); \
         UPDATE wallets SET available_minor = available_minor + 7, version = version + 2 WHERE id = ADA; \
         INSERT INTO transactions (id, version, wallet_id, type, status, amount_minor, available_after_minor, \
            settlement_journal_id, created_at, settled_at) SELECT {fresh}, 2, ADA, 'DEPOSIT', 'POSTED', 7, available_minor, NEW, \
            updated_at, updated_at FROM wallets WHERE id = ADA",
        WALLET_EVENTS,
    ),
    kind(
        "the last journal is gone, and all that knew of it",
        "DELETE FROM sealed_journals WHERE journal_id = LAST; DELETE FROM transactions WHERE journal_id = LAST; \
         DELETE FROM entries WHERE journal_id = LAST; DELETE FROM journals WHERE id = LAST",
        SEALED,
    ),
    kind("a seal has another hash", "UPDATE ledger_seals SET hash = (SELECT chain_hash FROM entries LIMIT 1)", SEALED),
    // Wallets and their history.
    kind("a wallet's available is more", "UPDATE wallets SET available_minor = available_minor + 1", WALLET),
    kind("a wallet's escrow is more", "UPDATE wallets SET in_escrow_minor = in_escrow_minor + 1", IN_ESCROW),
    kind("a wallet's pending deposits are more", "UPDATE wallets SET pending_in_minor = pending_in_minor + 1", WALLET),
    kind(
        "a wallet's pending withdrawals are more",
        "UPDATE wallets SET pending_out_minor = pending_out_minor + 1",
        WALLET,
    ),
    kind("a wallet is gone", "DELETE FROM wallets WHERE id = BEN", OWNED),
    kind("a wallet is of an older version", "UPDATE wallets SET version = version - 1", CHANGES),
    kind("a wallet is of a newer version", "UPDATE wallets SET version = version + 1", WALLET_EVENTS),
    kind(
        "a wallet changed at another time",
        "UPDATE wallets SET updated_at = (SELECT MIN(created_at) FROM users)",
        SAYS_WALLET,
    ),
    kind(
        "a line has another amount",
        "UPDATE transactions SET amount_minor = amount_minor + 1 WHERE type = 'ESCROW_HOLD'",
        LINE,
    ),
    kind(
        "a deposit counts before it was settled",
        "UPDATE transactions SET status = 'POSTED', settled_at = created_at \
        WHERE type = 'DEPOSIT' AND status = 'PENDING'",
        LINE,
    ),
    kind(
        "a settled deposit is voided",
        "UPDATE transactions SET status = 'VOIDED' WHERE type = 'DEPOSIT' AND status = 'POSTED'",
        LINE,
    ),
    kind("a withdrawal is gone", "DELETE FROM transactions WHERE status = 'PENDING' AND type = 'WITHDRAWAL'", PARTIES),
    kind("a line is in another's history", "UPDATE transactions SET wallet_id = BEN WHERE type = 'ESCROW_HOLD'", HELD),
    kind(
        "a line has another fee",
        "UPDATE transactions SET fee_minor = fee_minor + 1 WHERE fee_minor IS NOT NULL",
        LINE,
    ),
    kind(
        "a line had another balance behind it",
        "UPDATE transactions SET available_after_minor = available_after_minor + 1 \
        WHERE type = 'ESCROW_HOLD'",
        SAYS_WALLET,
    ),
    kind(
        "a line is for another job",
        "UPDATE transactions SET reference_id = (SELECT id FROM jobs WHERE status = 'DRAFT') \
        WHERE type = 'ESCROW_REFUND'",
        LINE,
    ),
    kind(
        "a line is of a newer version",
        "UPDATE transactions SET version = version + 1 WHERE type = 'ESCROW_HOLD'",
        LINE,
    ),
    kind(
        "a line began at another time",
        "UPDATE transactions SET created_at = (SELECT MIN(created_at) FROM users)",
        SAYS_WALLET,
    ),
    kind(
        "a line has another's journal",
        "UPDATE transactions SET journal_id = RELEASE WHERE type = 'ESCROW_HOLD'",
        LINE,
    ),
    // Jobs and claims.
    kind(
        "a job has two live claims",
        "DROP INDEX claims_one_live_key; INSERT INTO claims (id, version, job_id, freelancer_id, status, \
        fee_basis_points, created_at) SELECT {fresh}, 1, job_id, freelancer_id, 'ACTIVE', 0, created_at FROM claims WHERE status = 'ACTIVE'",
        CLAIM,
    ),
    kind("a claimed job is open", "UPDATE jobs SET status = 'OPEN', claimant_id = NULL WHERE status = 'CLAIMED'", STEP),
    kind(
        "a live claim is released",
        "UPDATE claims SET status = 'RELEASED', ended_at = created_at WHERE status = 'ACTIVE'",
        CLAIM,
    ),
    kind("a claim is gone", "DELETE FROM claims WHERE status = 'ACTIVE'", STEP),
    kind("a claimant changed in the job alone", "UPDATE jobs SET claimant_id = ROOT WHERE status = 'CLAIMED'", STEP),
    kind(
        "a claimant changed in the claim alone",
        "UPDATE claims SET freelancer_id = ROOT WHERE status = 'APPROVED'",
        STEP,
    ),
    kind(
        "a claimant changed in both",
        "UPDATE jobs SET claimant_id = ROOT WHERE status = 'CLAIMED'; \
        UPDATE claims SET freelancer_id = ROOT WHERE status = 'ACTIVE'",
        SAYS_CLAIM,
    ),
    kind("a claim is ahead of its job", "UPDATE claims SET status = 'IN_REVIEW' WHERE status = 'ACTIVE'", STEP),
    kind("a job is ahead of its claim", "UPDATE jobs SET status = 'IN_REVIEW' WHERE status = 'CLAIMED'", STEP),
    kind(
        "a claim has another fee",
        "UPDATE claims SET fee_basis_points = fee_basis_points + 1 WHERE status = 'APPROVED'",
        AGREED,
    ),
    kind("a live claim has another fee", "UPDATE claims SET fee_basis_points = 1 WHERE status = 'ACTIVE'", SAYS_CLAIM),
    kind(
        "a claim is of a newer version",
        "UPDATE claims SET version = version + 1 WHERE status = 'ACTIVE'",
        CLAIM_LAST,
    ),
    kind("a claim lives for longer", "UPDATE claims SET expires_at = NULL WHERE status = 'ACTIVE'", SAYS_CLAIM),
    kind(
        "an open job has another budget",
        "UPDATE jobs SET budget_minor = budget_minor + 1 WHERE status = 'OPEN'",
        ESCROW,
    ),
    kind(
        "a completed job has another budget",
        "UPDATE jobs SET budget_minor = budget_minor + 100 WHERE status = 'COMPLETED'",
        AGREED,
    ),
    kind(
        "a paid job is open again",
        "UPDATE jobs SET status = 'OPEN', claimant_id = NULL WHERE status = 'COMPLETED'",
        RELEASED,
    ),
    kind("a cancelled job is open again", "UPDATE jobs SET status = 'OPEN' WHERE status = 'CANCELLED'", ESCROW),
    kind("an open job is cancelled", "UPDATE jobs SET status = 'CANCELLED' WHERE status = 'OPEN'", ESCROW),
    kind("a reviewed job is completed", "UPDATE jobs SET status = 'COMPLETED' WHERE status = 'IN_REVIEW'", PAID),
    kind("a job has another title", "UPDATE jobs SET title = 'Another' WHERE status = 'OPEN'", SAYS_JOB),
    kind("a job is of a newer version", "UPDATE jobs SET version = version + 1 WHERE status = 'OPEN'", JOB_EVENTS),
    kind("a job is another client's", "UPDATE jobs SET client_id = ROOT WHERE status = 'CLAIMED'", CLAIM_EVENTS),
    kind("a job was never posted", "UPDATE jobs SET posted_at = NULL, status = 'DRAFT' WHERE status = 'OPEN'", ESCROW),
    kind("a submission is gone", "DELETE FROM deliverables WHERE number = 1 AND status = 'SUPERSEDED'", HANDED_IN),
    kind(
        "a submission was decided on otherwise",
        "UPDATE deliverables SET status = 'REVISION_REQUESTED' WHERE status = 'SUBMITTED'",
        HANDED_IN,
    ),
    kind(
        "a user counts another job",
        "UPDATE users SET completed_job_count = completed_job_count + 1 WHERE id = BEN",
        COMPLETED,
    ),
    kind(
        "a job was paid twice",
        "INSERT INTO journals (id, kind, reference_id, created_at) SELECT {fresh}, kind, reference_id, created_at FROM journals \
            WHERE kind = 'ESCROW_RELEASE'; \
         INSERT INTO entries (journal_id, place, account_id, amount_minor, balance_after_minor) SELECT j.id, p.place, a.id, \
            2 * p.place - 1, 0 FROM journals j, accounts a, (SELECT 0 AS place UNION ALL SELECT 1) p \
            WHERE a.kind = 'FEES' AND a.owner_id = BEN AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.journal_id = j.id)",
        RELEASED,
    ),
    // The log and the inboxes.
    kind(
        "the last event of a job is gone",
        "DELETE FROM events WHERE id = (SELECT MAX(e.id) FROM events e JOIN jobs j \
        ON j.id = e.subject_id WHERE j.status = 'CLAIMED')",
        JOB_EVENTS,
    ),
    kind(
        "an event of a job is gone",
        "DELETE FROM events WHERE id = (SELECT e.id FROM events e JOIN jobs j ON j.id = e.subject_id \
        WHERE j.status = 'IN_REVIEW' AND e.subject_version = 2)",
        JOB_EVENTS,
    ),
    kind(
        "an event of an inbox is gone",
        "DELETE FROM events WHERE id = (SELECT MIN(id) FROM events WHERE kind = 'NOTIFICATION_RECEIVED')",
        INBOX,
    ),
    kind(
        "an event of a wallet is gone",
        "DELETE FROM events WHERE id = (SELECT MIN(id) + 2 FROM events WHERE kind = 'WALLET_UPDATED')",
        POSITIONS,
    ),
    kind(
        "an event of a claim is gone",
        "DELETE FROM events WHERE id = (SELECT MIN(id) FROM events WHERE kind = 'CLAIM_UPDATED')",
        CLAIM_TOLD,
    ),
    kind("the first events of a young log are gone", "DELETE FROM events WHERE {position} <= 3", POSITIONS),
    kind(
        "the last event is gone",
        "DELETE FROM events WHERE {position} = (SELECT MAX({position}) FROM events)",
        POSITIONS,
    ),
    kind(
        "a position moved",
        "UPDATE events SET {position} = {position} + 7 WHERE id = (SELECT MAX(id) FROM events)",
        POSITIONS,
    ),
    kind("the log says that it forgot what is there", "UPDATE event_log SET forgotten_position = 3", POSITIONS),
    kind(
        "a draft was told as a job",
        "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, payload, \
        occurred_at) SELECT {fresh}, 'JOB_UPDATED', id, version, {true}, client_id, '{}', created_at FROM jobs WHERE status = 'DRAFT'",
        DRAFT,
    ),
    kind(
        "an event names one user more",
        "UPDATE events SET recipients = replace(recipients, ']', ',\"00000000000070008000000000000009\"]') \
        WHERE kind = 'CLAIM_UPDATED'",
        SAYS_CLAIM,
    ),
    kind("an event names nobody", "UPDATE events SET recipients = '[]' WHERE kind = 'WALLET_UPDATED'", LISTED),
    kind("an event is for admins", "UPDATE events SET for_admins = {true} WHERE kind = 'WALLET_UPDATED'", ADMINS),
    kind("an event is not found", "DELETE FROM event_viewers WHERE kind = 'WALLET_UPDATED'", FOUND),
    kind(
        "an event is found by another",
        "UPDATE event_viewers SET viewer_id = {fresh} WHERE kind = 'CLAIM_UPDATED'",
        FOUND,
    ),
    kind("an event of a draft is public", "UPDATE events SET is_public = {true} WHERE kind = 'DRAFT_UPDATED'", PUBLIC),
    kind(
        "an event of a draft has a claimant",
        "UPDATE events SET claimant_id = owner_id WHERE kind = 'DRAFT_UPDATED'",
        DRAFT,
    ),
    kind("an event of a claim is public", "UPDATE events SET is_public = {true} WHERE kind = 'CLAIM_UPDATED'", PUBLIC),
    kind(
        "an event of a claim is another owner's",
        "UPDATE events SET owner_id = claimant_id WHERE kind = 'CLAIM_UPDATED'",
        CLAIM_EVENTS,
    ),
    kind(
        "an event of a claim is of another version",
        "UPDATE events SET subject_version = 1 WHERE kind = 'CLAIM_UPDATED'",
        CLAIM_EVENTS,
    ),
    kind(
        "an event of a wallet is public",
        "UPDATE events SET is_public = {true} WHERE kind = 'WALLET_UPDATED'",
        PUBLIC,
    ),
    kind(
        "an event of a wallet is another's",
        "UPDATE events SET owner_id = ROOT WHERE kind = 'WALLET_UPDATED'",
        SAYS_WALLET,
    ),
    kind(
        "an event of an inbox is another's",
        "UPDATE events SET owner_id = ROOT WHERE kind = 'NOTIFICATION_RECEIVED'",
        SAYS_INBOX,
    ),
    kind(
        "a private change of a job is public",
        "UPDATE events SET is_public = {true} WHERE kind = 'JOB_UPDATED'",
        SEALED_EVENTS,
    ),
    kind(
        "a change of a job is told to a stranger",
        "UPDATE events SET claimant_id = ROOT WHERE kind = 'JOB_UPDATED'",
        SAYS_JOB,
    ),
    kind(
        "an old event says something else",
        "UPDATE events SET payload = replace(payload, 'Completed', 'Complete!') \
        WHERE id = (SELECT MIN(id) FROM events WHERE payload LIKE '%\"title\":\"Completed\"%')",
        SEALED_EVENTS,
    ),
    kind(
        "two events have each other's payloads",
        "UPDATE events SET payload = (SELECT e.payload FROM events e WHERE e.kind = events.kind \
        AND e.id <> events.id LIMIT 1) WHERE kind = 'WALLET_UPDATED'",
        SAYS_WALLET,
    ),
    kind(
        "an event has another time",
        "UPDATE events SET occurred_at = (SELECT MIN(created_at) FROM users) WHERE kind = 'JOB_POSTED'",
        SEALED_EVENTS,
    ),
    kind("an event has another id", "UPDATE events SET event_id = {fresh} WHERE kind = 'JOB_POSTED'", SEALED_EVENTS),
    kind("an event is of another kind", "UPDATE events SET kind = 'JOB_UPDATED' WHERE kind = 'JOB_POSTED'", SAYS_JOB),
    kind("an event cannot be read", "UPDATE events SET payload = '{}' WHERE kind = 'CLAIM_UPDATED'", SAYS_CLAIM),
    kind(
        "a notification is gone",
        "DELETE FROM notifications WHERE id = (SELECT id FROM notifications LIMIT 1)",
        SAYS_INBOX,
    ),
    kind(
        "a notification is in another inbox",
        "UPDATE notifications SET user_id = ROOT WHERE kind = 'JOB_CLAIMED'",
        SAYS_INBOX,
    ),
    kind(
        "a notification says something else",
        "UPDATE notifications SET title = 'Another' WHERE kind = 'JOB_CLAIMED'",
        SAYS_INBOX,
    ),
    kind(
        "a notification was never sent",
        "INSERT INTO notifications (id, user_id, kind, title, subject_kind, subject_id, created_at) \
        SELECT {fresh}, user_id, kind, title, subject_kind, subject_id, created_at FROM notifications WHERE kind = 'WORK_APPROVED'",
        INBOX,
    ),
    kind(
        "a seal of the log has another hash",
        "UPDATE event_seals SET hash = (SELECT hash FROM ledger_seals)",
        SEALED_EVENTS,
    ),
];

/// What takes guards away, on each database.
pub(super) const GUARDS_SQLITE: &[Kind] = &[
    kind("a trigger is gone", "DROP TRIGGER entries_no_update", GUARDS),
    kind("a trigger against deletion is gone", "DROP TRIGGER journals_no_delete", GUARDS),
    kind(
        "a trigger does nothing",
        "DROP TRIGGER events_no_update; \
        CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT 1; END",
        GUARDS,
    ),
    kind(
        "a trigger looks at less",
        "DROP TRIGGER transactions_settled_once; CREATE TRIGGER transactions_settled_once \
        BEFORE UPDATE ON transactions WHEN 0 BEGIN SELECT RAISE(ABORT, 'no'); END",
        GUARDS,
    ),
    kind("an index is gone", "DROP INDEX jobs_posted_idx", GUARDS),
    kind("a unique index is gone", "DROP INDEX claims_one_live_key", GUARDS),
    kind(
        "a unique index is no longer unique",
        "DROP INDEX claims_one_live_key; \
        CREATE INDEX claims_one_live_key ON claims (job_id) WHERE status = 'ACTIVE'",
        GUARDS,
    ),
    kind(
        "a CHECK is gone",
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = \
        replace(sql, 'CONSTRAINT jobs_budget_check CHECK (budget_minor > 0)', '') WHERE name = 'jobs'; \
        PRAGMA writable_schema = RESET",
        GUARDS,
    ),
    kind(
        "a foreign key is gone",
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = \
        replace(sql, 'CONSTRAINT claims_job_fkey REFERENCES jobs (id)', '') WHERE name = 'claims'; \
        PRAGMA writable_schema = RESET",
        GUARDS,
    ),
];

pub(super) const GUARDS_POSTGRES: &[Kind] = &[
    kind("a trigger is gone", "DROP TRIGGER entries_append_only ON entries", GUARDS),
    kind("a trigger is disabled", "ALTER TABLE journals DISABLE TRIGGER journals_append_only", GUARDS),
    kind("all triggers of a table are disabled", "ALTER TABLE entries DISABLE TRIGGER ALL", GUARDS),
    kind(
        "a trigger's function does nothing",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN RETURN new; END'",
        GUARDS,
    ),
    kind("an index is gone", "DROP INDEX jobs_posted_idx", GUARDS),
    kind("a unique index is gone", "DROP INDEX claims_one_live_key", GUARDS),
    kind(
        "a unique index is no longer unique",
        "DROP INDEX claims_one_live_key; \
        CREATE INDEX claims_one_live_key ON claims (job_id) WHERE status = 'ACTIVE'",
        GUARDS,
    ),
    kind("a CHECK is gone", "ALTER TABLE jobs DROP CONSTRAINT jobs_budget_check", GUARDS),
    kind(
        "a CHECK allows more",
        "ALTER TABLE jobs DROP CONSTRAINT jobs_budget_check; \
        ALTER TABLE jobs ADD CONSTRAINT jobs_budget_check CHECK (budget_minor > -1)",
        GUARDS,
    ),
    kind("a foreign key is gone", "ALTER TABLE claims DROP CONSTRAINT claims_job_fkey", GUARDS),
    kind("a column may be empty", "ALTER TABLE jobs ALTER COLUMN title DROP NOT NULL", GUARDS),
];

/// What `PostgreSQL` must forget before a kind can be played there, for a CHECK or a key stands in its way.
pub(super) const WITHOUT: &[(&str, &str)] =
    &[("an account is below zero", "ALTER TABLE accounts DROP CONSTRAINT accounts_balance_check")];

/// A kind's SQL with the people and journals of the busy marketplace.
pub(super) fn spelled(backend: Backend, sql: &str) -> String {
    let fresh = match backend {
        Backend::Sqlite => "x'00000000000070008000000000000007'",
        Backend::Postgres => "CAST('00000000-0000-7000-8000-000000000007' AS uuid)",
    };
    let words = [
        ("NEW", fresh),
        ("ADA", "(SELECT id FROM users WHERE display_name = 'Ada')"),
        ("BEN", "(SELECT id FROM users WHERE display_name = 'Ben')"),
        ("ROOT", "(SELECT id FROM users WHERE is_admin)"),
        ("FIRST", "(SELECT id FROM journals ORDER BY id LIMIT 1)"),
        ("LAST", "(SELECT id FROM journals WHERE kind = 'WITHDRAWAL_RESERVE')"),
        ("RELEASE", "(SELECT id FROM journals WHERE kind = 'ESCROW_RELEASE')"),
        ("PAY", "(SELECT amount_minor FROM transactions WHERE type = 'ESCROW_RELEASE' AND fee_minor IS NOT NULL)"),
    ];
    let mut spelled = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(begin) = rest.find(|letter: char| letter.is_ascii_uppercase()) {
        spelled.push_str(&rest[..begin]);
        let after_letter =
            spelled.chars().last().is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '\'');
        let length = rest[begin..]
            .find(|letter: char| !letter.is_ascii_uppercase() && letter != '_')
            .unwrap_or(rest.len() - begin);
        let word = &rest[begin..begin + length];
        let known = words.iter().find(|(name, _)| *name == word && !after_letter);
        spelled.push_str(known.map_or(word, |(_, sql)| sql));
        rest = &rest[begin + length..];
    }
    spelled + rest
}
