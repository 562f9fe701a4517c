//! The database's own guards: columns, CHECKs, keys, indexes, triggers and functions, by name and by text.
//!
//! They must be those of a database that the same migrations have just made. On `SQLite` one is made in memory; for
//! `PostgreSQL` the definitions are embedded, as `tests/api/verify/definitions.rs` has read them from a new database
//! (`make definitions` writes them). What is there beside them, such as an operator's index, is no finding. A database
//! that a newer version has migrated is not compared, nor is one after steps that the embedded file does not know.

use std::collections::BTreeMap;

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbErr, Statement};
use tokio::sync::OnceCell;

use crate::db::Backend;

/// Name and text of each definition.
pub type Definitions = BTreeMap<String, String>;

/// Tab between name and text, a line each; the first line names the steps after which they were read.
const POSTGRES: &str = include_str!("../../migration/definitions/postgres.txt");

/// What `PostgreSQL` says of its tables, by name, without the name of the schema.
const READ_POSTGRES: &str = "
WITH here AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = current_schema()),
tables AS (SELECT c.oid, c.relname FROM pg_class c JOIN here ON here.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relname <> 'seaql_migrations')
SELECT 'column ' || t.relname || '.' || a.attname AS name,
    format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || COALESCE(' ' || CAST(a.attgenerated AS text) || CAST(a.attidentity AS text) || ' ' || pg_get_expr(d.adbin, d.adrelid), '') AS text
FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
UNION ALL SELECT 'constraint ' || t.relname || '.' || c.conname, pg_get_constraintdef(c.oid)
FROM tables t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype IN ('c', 'f', 'p', 'u')
UNION ALL SELECT 'index ' || i.relname, pg_get_indexdef(i.oid) || CASE WHEN x.indisvalid THEN '' ELSE ' INVALID' END
FROM tables t JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class i ON i.oid = x.indexrelid
UNION ALL SELECT 'trigger ' || t.relname || '.' || g.tgname,
    pg_get_triggerdef(g.oid) || CASE g.tgenabled WHEN 'D' THEN ' DISABLED' WHEN 'R' THEN ' DISABLED' ELSE '' END
FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
UNION ALL SELECT 'trigger of ' || t.relname || '.' || c.conname, 'DISABLED'
FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid AND g.tgisinternal AND g.tgenabled IN ('D', 'R')
JOIN pg_constraint c ON c.oid = g.tgconstraint
UNION ALL SELECT 'function ' || p.proname, pg_get_functiondef(p.oid)
FROM pg_proc p JOIN here ON here.oid = p.pronamespace WHERE p.prokind = 'f'
UNION ALL SELECT 'schema', nspname FROM here";

const READ_SQLITE: &str = "SELECT type || ' ' || name AS name, sql AS text FROM sqlite_master \
     WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND tbl_name <> 'seaql_migrations'";

/// The definitions of a database as they are.
pub async fn read(db: &impl ConnectionTrait, backend: Backend) -> Result<Definitions, DbErr> {
    let sql = if backend == Backend::Sqlite { READ_SQLITE } else { READ_POSTGRES };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    let mut definitions = Definitions::new();
    for row in rows {
        definitions.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    }
    let schema = definitions.remove("schema").map(|schema| format!("{schema}."));
    for text in definitions.values_mut() {
        // Another layout is no other guard, nor is a name in quotes that needs none.
        let plain = schema.as_ref().map_or_else(|| text.clone(), |schema| text.replace(schema, ""));
        *text = plain.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ");
    }
    Ok(definitions)
}

/// What is missing or other than in a new database; and why nothing was compared, if so.
pub(super) async fn compare(
    db: &impl ConnectionTrait,
    backend: Backend,
) -> Result<(Vec<String>, Option<String>), DbErr> {
    let sql = "SELECT version FROM seaql_migrations ORDER BY version";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    let steps: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let (known, expected) = match backend {
        Backend::Sqlite => (known(), in_memory().await?),
        Backend::Postgres => embedded(),
    };
    if steps != known {
        let note = "the database's guards were not compared: it has other migrations than this version knows";
        return Ok((Vec::new(), Some(note.to_owned())));
    }
    let is = read(db, backend).await?;
    let mut broken = Vec::new();
    for (name, text) in &expected {
        match is.get(name) {
            None => broken.push(format!("{name} is missing")),
            Some(found) if found != text => broken.push(format!("{name} is other than it should be: {found}")),
            Some(_) => {}
        }
    }
    let disabled = is.keys().filter(|name| name.starts_with("trigger of "));
    broken.extend(disabled.map(|name| format!("{name} is disabled")));
    Ok((broken, None))
}

/// The steps that this program knows, oldest first.
fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

fn embedded() -> (Vec<String>, Definitions) {
    let mut lines = POSTGRES.lines();
    let steps = lines.next().unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
    let pair = |line: &str| line.split_once('\t').map(|(name, text)| (name.to_owned(), text.to_owned()));
    (steps, lines.filter_map(pair).collect())
}

/// As [`POSTGRES`] has them.
pub fn written(definitions: &Definitions) -> String {
    let lines: Vec<String> = definitions.iter().map(|(name, text)| format!("{name}\t{text}\n")).collect();
    format!("{}\n{}", known().join(" "), lines.concat())
}

/// The definitions of a new `SQLite`, made once a process.
async fn in_memory() -> Result<Definitions, DbErr> {
    static MADE: OnceCell<Definitions> = OnceCell::const_new();
    let made = MADE.get_or_try_init(async || {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1).sqlx_logging(false);
        let db = Database::connect(options).await?;
        Migrator::up(&db, None).await?;
        let definitions = read(&db, Backend::Sqlite).await?;
        db.close().await?;
        Ok::<_, DbErr>(definitions)
    });
    made.await.cloned()
}
