//! Books that prove themselves: a chain of hashes over the entries of each account, seals over ledger and log, the
//! currency, and guards that hold against more.
//!
//! - `entries.sequence` and `entries.chain_hash`, `accounts.entry_count` and `accounts.chain_head`: see the program's
//!   `wallet::chain`. NULL in rows from before and in those that the version before still writes; the program chains them
//!   in the background.
//! - `ledger_seals`, `sealed_journals` and `event_seals`: chains over all journals and over the log, made in the background.
//! - `deployment`: the currency of the books and its decimals, written at the first start after this step. Amounts are
//!   kept in its smallest unit, so another currency or other decimals would change what every amount is worth.
//! - Guards: entries that do not add up to zero are refused at the commit; a settled transaction and one's own facts never
//!   change; an event is deleted only by who says in `event_log` that it is forgotten. On `SQLite` no `REPLACE` takes the
//!   place of a row, whatever the connection's `recursive_triggers` is.
//!
//! For two versions of the program: the one before writes entries without a number and deletes events before it says so;
//! both are let pass, the second because that guard looks at the commit only.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE deployment (
    id {int4} NOT NULL CONSTRAINT deployment_pkey PRIMARY KEY CONSTRAINT deployment_single_check CHECK (id = 1),
    currency TEXT NOT NULL,
    decimals {int4} NOT NULL CONSTRAINT deployment_decimals_check CHECK (decimals BETWEEN 0 AND 8)
) {strict};
CREATE TABLE ledger_seals (
    number {int8} NOT NULL CONSTRAINT ledger_seals_pkey PRIMARY KEY
        CONSTRAINT ledger_seals_number_check CHECK (number >= 1),
    journal_count {int4} NOT NULL CONSTRAINT ledger_seals_count_check CHECK (journal_count >= 1),
    hash {bytes} NOT NULL,
    sealed_at {time} NOT NULL
) {strict};
CREATE TABLE sealed_journals (
    journal_id {uuid} NOT NULL CONSTRAINT sealed_journals_pkey PRIMARY KEY
        CONSTRAINT sealed_journals_journal_fkey REFERENCES journals (id),
    seal {int8} NOT NULL CONSTRAINT sealed_journals_seal_fkey REFERENCES ledger_seals (number),
    place {int4} NOT NULL,
    CONSTRAINT sealed_journals_place_key UNIQUE (seal, place)
) {strict};
CREATE TABLE event_seals (
    last_position {int8} NOT NULL CONSTRAINT event_seals_pkey PRIMARY KEY,
    -- Of two nodes that seal the same, one comes second.
    first_position {int8} NOT NULL CONSTRAINT event_seals_first_key UNIQUE,
    hash {bytes} NOT NULL,
    sealed_at {time} NOT NULL,
    CONSTRAINT event_seals_order_check CHECK (first_position BETWEEN 1 AND last_position)
) {strict};
ALTER TABLE accounts ADD COLUMN entry_count {int8} NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN chain_head {bytes};
ALTER TABLE entries ADD COLUMN sequence {int8};
ALTER TABLE entries ADD COLUMN chain_hash {bytes};
-- An older version of retention did not say how far it had come.
UPDATE event_log SET forgotten_position = (SELECT MIN(position) FROM events) - 1
    WHERE forgotten_position < (SELECT MIN(position) FROM events) - 1;
";

const POSTGRES: &str = "
ALTER TABLE entries ADD CONSTRAINT entries_chain_check CHECK ((sequence IS NULL) = (chain_hash IS NULL)) NOT VALID;

-- One term for each column: PostgreSQL writes a comparison of rows in another way after a dump and a restore.
DROP TRIGGER events_append_only ON events;
CREATE TRIGGER events_append_only BEFORE UPDATE ON events FOR EACH ROW
    WHEN (old.position IS NOT NULL
        OR old.id IS DISTINCT FROM new.id
        OR old.event_id IS DISTINCT FROM new.event_id
        OR old.kind IS DISTINCT FROM new.kind
        OR old.subject_id IS DISTINCT FROM new.subject_id
        OR old.subject_version IS DISTINCT FROM new.subject_version
        OR old.is_public IS DISTINCT FROM new.is_public
        OR old.owner_id IS DISTINCT FROM new.owner_id
        OR old.claimant_id IS DISTINCT FROM new.claimant_id
        OR old.payload IS DISTINCT FROM new.payload
        OR old.occurred_at IS DISTINCT FROM new.occurred_at)
    EXECUTE FUNCTION refuse_change();
DROP TRIGGER entries_append_only ON entries;
CREATE TRIGGER entries_append_only BEFORE UPDATE ON entries FOR EACH ROW
    WHEN (old.sequence IS NOT NULL OR new.sequence IS NULL
        OR old.journal_id IS DISTINCT FROM new.journal_id
        OR old.place IS DISTINCT FROM new.place
        OR old.account_id IS DISTINCT FROM new.account_id
        OR old.amount_minor IS DISTINCT FROM new.amount_minor
        OR old.balance_after_minor IS DISTINCT FROM new.balance_after_minor)
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF (SELECT SUM(amount_minor) FROM entries WHERE journal_id = new.journal_id) <> 0 THEN
        RAISE EXCEPTION 'the entries of journal % do not add up to zero', new.journal_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entries_balanced', TABLE = 'entries';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER entries_balanced AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced();

CREATE FUNCTION refuse_empty() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM entries WHERE journal_id = new.id) THEN
        RAISE EXCEPTION 'journal % has no entries', new.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'journals_filled', TABLE = 'journals';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER journals_filled AFTER INSERT ON journals DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_empty();

CREATE FUNCTION refuse_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transactions are settled once, and nothing else of them changes';
END $$;
CREATE TRIGGER transactions_settled_once BEFORE UPDATE ON transactions FOR EACH ROW
    WHEN (old.status <> 'PENDING'
        OR old.id IS DISTINCT FROM new.id
        OR old.wallet_id IS DISTINCT FROM new.wallet_id
        OR old.type IS DISTINCT FROM new.type
        OR old.amount_minor IS DISTINCT FROM new.amount_minor
        OR old.fee_minor IS DISTINCT FROM new.fee_minor
        OR old.reference_id IS DISTINCT FROM new.reference_id
        OR old.journal_id IS DISTINCT FROM new.journal_id
        OR old.reverses_id IS DISTINCT FROM new.reverses_id
        OR old.destination IS DISTINCT FROM new.destination
        OR old.created_at IS DISTINCT FROM new.created_at)
    EXECUTE FUNCTION refuse_settled();
CREATE TRIGGER transactions_no_delete BEFORE DELETE ON transactions FOR EACH ROW EXECUTE FUNCTION refuse_settled();
CREATE TRIGGER transactions_no_truncate BEFORE TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_settled();

CREATE FUNCTION refuse_early_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.position IS NULL OR old.position > (SELECT forgotten_position FROM event_log WHERE id = 1) THEN
        RAISE EXCEPTION 'event % is not forgotten: events are append-only until event_log says so', old.event_id;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER events_forgotten_first AFTER DELETE ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion();

CREATE TRIGGER deployment_written_once BEFORE UPDATE OR DELETE ON deployment FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_seals_append_only BEFORE UPDATE OR DELETE ON ledger_seals
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER sealed_journals_append_only BEFORE UPDATE OR DELETE ON sealed_journals
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER event_seals_append_only BEFORE UPDATE OR DELETE ON event_seals
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
";

/// A rule of `PostgreSQL`'s that looks at the commit is made here of a foreign key that is looked at then: what is not yet
/// right leaves a row in a table of its own, whose reference to a row that is never there is refused at the commit, and
/// which is gone when it is right.
const SQLITE: &str = "
CREATE TRIGGER entries_chain_check BEFORE INSERT ON entries WHEN (new.sequence IS NULL) <> (new.chain_hash IS NULL)
BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: entries_chain_check'); END;
DROP TRIGGER entries_no_update;
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
WHEN old.sequence IS NOT NULL OR new.sequence IS NULL OR new.chain_hash IS NULL OR old.journal_id <> new.journal_id
    OR old.place <> new.place OR old.account_id <> new.account_id OR old.amount_minor <> new.amount_minor
    OR old.balance_after_minor <> new.balance_after_minor
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_replace BEFORE INSERT ON entries
WHEN EXISTS (SELECT 1 FROM entries WHERE journal_id = new.journal_id AND place = new.place)
    OR EXISTS (SELECT 1 FROM entries WHERE account_id = new.account_id AND sequence = new.sequence)
    OR EXISTS (SELECT 1 FROM entries WHERE rowid = new.rowid)
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER journals_no_replace BEFORE INSERT ON journals
WHEN EXISTS (SELECT 1 FROM journals WHERE id = new.id) OR EXISTS (SELECT 1 FROM journals WHERE rowid = new.rowid)
BEGIN SELECT RAISE(ABORT, 'journals are append-only'); END;
CREATE TRIGGER events_no_replace BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE id = new.id) OR EXISTS (SELECT 1 FROM events WHERE event_id = new.event_id)
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TABLE unbalanced_journals (
    journal_id BLOB NOT NULL CONSTRAINT unbalanced_journals_pkey PRIMARY KEY,
    amount_minor INTEGER NOT NULL,
    never INTEGER NOT NULL DEFAULT 0
        CONSTRAINT unbalanced_journals_balanced_fkey REFERENCES event_log (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE TRIGGER entries_balanced AFTER INSERT ON entries BEGIN
    INSERT INTO unbalanced_journals (journal_id, amount_minor) VALUES (new.journal_id, new.amount_minor)
        ON CONFLICT (journal_id) DO UPDATE SET amount_minor = amount_minor + excluded.amount_minor;
    DELETE FROM unbalanced_journals WHERE journal_id = new.journal_id AND amount_minor = 0;
END;

CREATE TRIGGER transactions_settled_once BEFORE UPDATE ON transactions
WHEN old.status <> 'PENDING' OR old.id <> new.id OR old.wallet_id <> new.wallet_id OR old.type <> new.type
    OR old.amount_minor <> new.amount_minor OR old.fee_minor IS NOT new.fee_minor
    OR old.reference_id IS NOT new.reference_id OR old.journal_id IS NOT new.journal_id
    OR old.reverses_id IS NOT new.reverses_id OR old.destination IS NOT new.destination
    OR old.created_at <> new.created_at
BEGIN SELECT RAISE(ABORT, 'transactions are settled once, and nothing else of them changes'); END;
CREATE TRIGGER transactions_no_delete BEFORE DELETE ON transactions
BEGIN SELECT RAISE(ABORT, 'transactions are settled once, and nothing else of them changes'); END;
CREATE TRIGGER transactions_no_replace BEFORE INSERT ON transactions
WHEN EXISTS (SELECT 1 FROM transactions WHERE id = new.id) OR EXISTS (SELECT 1 FROM transactions WHERE rowid = new.rowid)
BEGIN SELECT RAISE(ABORT, 'transactions are settled once, and nothing else of them changes'); END;

CREATE TABLE early_deletions (
    position INTEGER NOT NULL CONSTRAINT early_deletions_pkey PRIMARY KEY,
    never INTEGER NOT NULL DEFAULT 0
        CONSTRAINT early_deletions_forgotten_fkey REFERENCES event_log (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE TRIGGER events_forgotten_first AFTER DELETE ON events
WHEN old.id > (SELECT forgotten_position FROM event_log WHERE id = 1)
BEGIN INSERT INTO early_deletions (position) VALUES (old.id); END;
CREATE TRIGGER event_log_forgotten AFTER UPDATE OF forgotten_position ON event_log
BEGIN DELETE FROM early_deletions WHERE position <= new.forgotten_position; END;

CREATE TRIGGER deployment_no_update BEFORE UPDATE ON deployment
BEGIN SELECT RAISE(ABORT, 'deployment is append-only'); END;
CREATE TRIGGER deployment_no_delete BEFORE DELETE ON deployment
BEGIN SELECT RAISE(ABORT, 'deployment is append-only'); END;
CREATE TRIGGER deployment_no_replace BEFORE INSERT ON deployment WHEN EXISTS (SELECT 1 FROM deployment)
BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER ledger_seals_no_update BEFORE UPDATE ON ledger_seals
BEGIN SELECT RAISE(ABORT, 'ledger_seals are append-only'); END;
CREATE TRIGGER ledger_seals_no_delete BEFORE DELETE ON ledger_seals
BEGIN SELECT RAISE(ABORT, 'ledger_seals are append-only'); END;
CREATE TRIGGER sealed_journals_no_update BEFORE UPDATE ON sealed_journals
BEGIN SELECT RAISE(ABORT, 'sealed_journals are append-only'); END;
CREATE TRIGGER sealed_journals_no_delete BEFORE DELETE ON sealed_journals
BEGIN SELECT RAISE(ABORT, 'sealed_journals are append-only'); END;
CREATE TRIGGER event_seals_no_update BEFORE UPDATE ON event_seals
BEGIN SELECT RAISE(ABORT, 'event_seals are append-only'); END;
CREATE TRIGGER event_seals_no_delete BEFORE DELETE ON event_seals
BEGIN SELECT RAISE(ABORT, 'event_seals are append-only'); END;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sqlite = manager.get_database_backend() == DbBackend::Sqlite;
        let words = if sqlite {
            [
                ("int8", "INTEGER"),
                ("int4", "INTEGER"),
                ("uuid", "BLOB"),
                ("bytes", "BLOB"),
                ("time", "TEXT"),
                ("strict", "STRICT"),
            ]
        } else {
            [
                ("int8", "bigint"),
                ("int4", "integer"),
                ("uuid", "uuid"),
                ("bytes", "bytea"),
                ("time", "timestamptz"),
                ("strict", ""),
            ]
        };
        let word = |sql: String, (name, word): (&str, &str)| sql.replace(&format!("{{{name}}}"), word);
        let tables = words.into_iter().fold(TABLES.to_owned(), word);
        manager.get_connection().execute_unprepared(&tables).await?;
        manager.get_connection().execute_unprepared(if sqlite { SQLITE } else { POSTGRES }).await.map(drop)
    }
}
