//! What a database user of the server must be allowed to do, for one who may do no more: `PostgreSQL` only.
//!
//! The server reads and writes rows, and never changes a table. [`missing`] says at the start what a user lacks, in one
//! line, where the first request that needs it would fail else; [`statements`] prints what gives it. Both go by the tables
//! that are there, so that a table of a later version is among them. Called by [`app`](crate::app) and the command line.

use sea_orm::{ConnectionTrait, DbErr};

use super::Db;

/// Tables, views and sequences of the owner of the tables; what else is in the schema is not ours.
const OURS: &str = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_class s ON s.relnamespace = n.oid AND s.relname = 'seaql_migrations' AND s.relowner = c.relowner \
     WHERE n.nspname = 'public'";

/// What is needed on a table, besides reading it.
const WRITES: &str = "(VALUES ('SELECT', 1), ('INSERT', 2), ('UPDATE', 3), ('DELETE', 4)) AS p (privilege, place)";

/// Nothing but the steps of the migration writes these; and books are only ever added to. An entry may be given its hash
/// once, which a trigger holds. Who an event is for is written by triggers alone, with their owner's rights.
const NEEDED: &str = "NOT (c.relname IN ('seaql_migrations', 'schema_compat') AND p.privilege <> 'SELECT') \
     AND NOT (c.relname IN ('journals', 'ledger_seals', 'sealed_journals', 'event_seals', 'deployment') \
         AND p.privilege IN ('UPDATE', 'DELETE')) AND NOT (c.relname = 'entries' AND p.privilege = 'DELETE') \
     AND NOT (c.relname = 'event_viewers' AND p.privilege <> 'SELECT')";

/// What the user of this connection lacks, such as `INSERT on events`; nothing where it has all, or where there are no
/// tables yet.
pub async fn missing(db: &Db) -> Result<Vec<String>, DbErr> {
    let sql = format!(
        "SELECT 'USAGE on schema public' AS lacks, 0 AS place WHERE NOT has_schema_privilege('public', 'USAGE') \
         UNION ALL SELECT p.privilege || ' on ' || c.relname, p.place {from} AND c.relkind IN ('r', 'p') AND {NEEDED} \
         AND NOT has_table_privilege(c.oid, p.privilege) \
         UNION ALL SELECT 'USAGE on ' || c.relname, 5 {OURS} \
         AND CASE c.relkind WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') ELSE false END ORDER BY 2, 1",
        from = OURS.replacen("FROM pg_class c", &format!("FROM {WRITES} CROSS JOIN pg_class c"), 1),
    );
    let rows = db.writer().query_all_raw(db.statement(&sql, [])).await?;
    rows.iter().map(|row| row.try_get("", "lacks")).collect()
}

/// The user of this connection.
pub async fn user(db: &Db) -> Result<String, DbErr> {
    let row = db.writer().query_one_raw(db.statement("SELECT CAST(current_user AS text) AS name", [])).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("current_user".into()))?.try_get("", "name")
}

/// The statements that give a role what it needs, for the owner of the tables to run.
pub async fn statements(db: &Db, role: &str) -> Result<Vec<String>, DbErr> {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let sql = format!(
        "SELECT string_agg(p.privilege, ', ' ORDER BY p.place) || ' ON ' || quote_ident(c.relname) AS gives \
         {from} AND c.relkind IN ('r', 'p') AND {NEEDED} GROUP BY c.relname \
         UNION ALL SELECT 'USAGE ON SEQUENCE ' || quote_ident(c.relname) {OURS} AND c.relkind = 'S' ORDER BY 1",
        from = OURS.replacen("FROM pg_class c", &format!("FROM {WRITES} CROSS JOIN pg_class c"), 1),
    );
    let rows = db.writer().query_all_raw(db.statement(&sql, [])).await?;
    let gives: Vec<String> = rows.iter().map(|row| row.try_get("", "gives")).collect::<Result<_, _>>()?;
    let schema = "USAGE ON SCHEMA public".to_owned();
    Ok(std::iter::once(schema).chain(gives).map(|gives| format!("GRANT {gives} TO {role};")).collect())
}
