//! Conversations, one a claim, and their messages.
//!
//! - `conversations`: its id is its claim's, so there can be one for each and no more. A trigger makes it with the claim,
//!   also with one of the version before, which knows no conversations; on `PostgreSQL` with the rights of the tables'
//!   owner, since that version may run as a user who has none on this table. Claims from before get theirs here.
//! - `messages`: numbered from 1 under the lock of the conversation's row. `client_id` is the sender's own name for one,
//!   and `request_hash` what was sent first under it. A deleted one keeps its row and loses its text.
//!
//! The lists of kinds only get wider. A node of the version before passes over events of a kind that it does not know; an
//! inbox with a notification of the new kind it cannot show, which lasts until it is replaced.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

use crate::lists::{Listed, widen};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE conversations (
    id {uuid} NOT NULL CONSTRAINT conversations_pkey PRIMARY KEY
        CONSTRAINT conversations_claim_fkey REFERENCES claims (id),
    version {int8} NOT NULL CONSTRAINT conversations_version_check CHECK (version >= 1),
    client_id {uuid} NOT NULL CONSTRAINT conversations_client_fkey REFERENCES users (id),
    freelancer_id {uuid} NOT NULL CONSTRAINT conversations_freelancer_fkey REFERENCES users (id),
    last_number {int4} NOT NULL CONSTRAINT conversations_number_check CHECK (last_number >= 0),
    client_read {int4} NOT NULL,
    freelancer_read {int4} NOT NULL,
    created_at {time} NOT NULL,
    active_at {time} NOT NULL,
    CONSTRAINT conversations_sides_check CHECK (client_id <> freelancer_id),
    CONSTRAINT conversations_read_check CHECK (
        client_read >= 0 AND client_read <= last_number AND freelancer_read >= 0 AND freelancer_read <= last_number)
) {strict};
CREATE INDEX conversations_client_idx ON conversations (client_id, active_at, id);
CREATE INDEX conversations_freelancer_idx ON conversations (freelancer_id, active_at, id);
CREATE TABLE messages (
    id {uuid} NOT NULL CONSTRAINT messages_pkey PRIMARY KEY,
    version {int8} NOT NULL CONSTRAINT messages_version_check CHECK (version >= 1),
    conversation_id {uuid} NOT NULL CONSTRAINT messages_conversation_fkey REFERENCES conversations (id),
    number {int4} NOT NULL CONSTRAINT messages_number_check CHECK (number >= 1),
    sender_id {uuid} NOT NULL CONSTRAINT messages_sender_fkey REFERENCES users (id),
    client_id TEXT NOT NULL,
    request_hash {bytes} NOT NULL,
    body TEXT NOT NULL,
    sent_at {time} NOT NULL,
    edited_at {time},
    deleted_at {time},
    CONSTRAINT messages_number_key UNIQUE (conversation_id, number),
    CONSTRAINT messages_client_key UNIQUE (sender_id, client_id),
    CONSTRAINT messages_body_check CHECK (length(body) <= 4000 AND (deleted_at IS NULL) = (body <> ''))
) {strict};
";

/// With the claim: its conversation. Nothing of the job that this reads ever changes.
const SQLITE: &str = "
CREATE TRIGGER claims_conversation AFTER INSERT ON claims BEGIN
    INSERT INTO conversations (id, version, client_id, freelancer_id, last_number, client_read, freelancer_read,
            created_at, active_at)
        SELECT new.id, 1, j.client_id, new.freelancer_id, 0, 0, 0, new.created_at, new.created_at
        FROM jobs j WHERE j.id = new.job_id;
END;
";

const POSTGRES: &str = "
CREATE FUNCTION begin_conversation() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO conversations (id, version, client_id, freelancer_id, last_number, client_read, freelancer_read,
            created_at, active_at)
        SELECT new.id, 1, j.client_id, new.freelancer_id, 0, 0, 0, new.created_at, new.created_at
        FROM jobs AS j WHERE j.id = new.job_id;
    RETURN NULL;
END $$;
CREATE TRIGGER claims_conversation AFTER INSERT ON claims FOR EACH ROW EXECUTE FUNCTION begin_conversation();
";

/// After the trigger, which keeps new claims away until this step is done.
const EARLIER: &str = "
INSERT INTO conversations (id, version, client_id, freelancer_id, last_number, client_read, freelancer_read,
        created_at, active_at)
    SELECT c.id, 1, j.client_id, c.freelancer_id, 0, 0, 0, c.created_at, c.created_at
    FROM claims c JOIN jobs j ON j.id = c.job_id
";

const WIDER: [(Listed, &str); 2] = [
    (Listed { table: "events", column: "kind", name: "events_kind_check" }, "MESSAGE_UPDATED"),
    (Listed { table: "notifications", column: "kind", name: "notifications_kind_check" }, "MESSAGE_RECEIVED"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (backend, connection) = (manager.get_database_backend(), manager.get_connection());
        let words = match backend {
            DbBackend::Sqlite => ["BLOB", "INTEGER", "INTEGER", "TEXT", "BLOB", "STRICT"],
            _ => ["uuid", "bigint", "integer", "timestamptz", "bytea", ""],
        };
        let names = ["{uuid}", "{int8}", "{int4}", "{time}", "{bytes}", "{strict}"];
        let tables = names.iter().zip(words).fold(TABLES.to_owned(), |sql, (name, word)| sql.replace(name, word));
        connection.execute_unprepared(&tables).await?;
        let trigger = if backend == DbBackend::Sqlite {
            SQLITE.to_owned()
        } else {
            // A function with its owner's rights must not find another table of the same name.
            let schema = "SELECT CAST(quote_ident(current_schema()) AS text) AS name";
            let row = connection.query_one_raw(Statement::from_string(backend, schema)).await?;
            let row = row.ok_or_else(|| DbErr::RecordNotFound("current_schema()".into()))?;
            POSTGRES.replace("{schema}", &row.try_get::<String>("", "name")?)
        };
        connection.execute_unprepared(&trigger).await?;
        connection.execute_unprepared(EARLIER).await?;
        for (listed, word) in WIDER {
            widen(manager, listed, &[word]).await?;
        }
        Ok(())
    }
}
