//! Columns that hold one word of a closed list, on `SQLite`.
//!
//! A CHECK is part of a table there, and another one needs another table: with the log, the ledger and the inboxes that
//! would copy every row. So the list is held by two triggers, which refuse in the words of the CHECK, and which a later step
//! replaces by [`close`]. On `PostgreSQL` a CHECK can be replaced by itself.
//!
//! The lists are those of the program: `tests/api/closed_lists.rs` compares them with the database and with the API.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, DbBackend, Statement},
};

/// A column and the name under which its list is held.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The name of its CHECK, and of its triggers.
    pub name: &'static str,
}

/// Holds the column to these words from now on, in place of those before. Capital letters and underscores.
pub async fn close(manager: &SchemaManager<'_>, listed: Listed, words: &[&str]) -> Result<(), DbErr> {
    let Listed { table, column, name } = listed;
    let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    let refuse =
        format!("WHEN new.{column} NOT IN ({list}) BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: {name}'); END");
    let sql = format!(
        "DROP TRIGGER IF EXISTS {name}; CREATE TRIGGER {name} BEFORE INSERT ON {table} {refuse}; \
         DROP TRIGGER IF EXISTS {name}_of_update; \
         CREATE TRIGGER {name}_of_update BEFORE UPDATE OF {column} ON {table} {refuse};"
    );
    manager.get_connection().execute_unprepared(&sql).await.map(drop)
}

/// Lets the column hold these words as well as those that it may hold by now, on both databases. What came before does not
/// matter, so that steps of two branches can follow each other in either order.
pub async fn widen(manager: &SchemaManager<'_>, listed: Listed, more: &[&str]) -> Result<(), DbErr> {
    let (Listed { table, column, name }, connection) = (listed, manager.get_connection());
    let backend = manager.get_database_backend();
    let definition = match backend {
        DbBackend::Sqlite => format!("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = '{name}'"),
        _ => format!("SELECT pg_get_constraintdef(oid) AS sql FROM pg_constraint WHERE conname = '{name}'"),
    };
    let row = connection.query_one_raw(Statement::from_string(backend, definition)).await?;
    let definition: String = row.ok_or_else(|| DbErr::RecordNotFound(name.to_owned()))?.try_get("", "sql")?;
    let mut words = listed_words(&definition);
    words.extend(more.iter().copied().filter(|word| !words.contains(word)).collect::<Vec<_>>());
    if backend == DbBackend::Sqlite {
        return close(manager, listed, &words).await;
    }
    let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    // Not valid for rows that are there: they have passed a narrower one, and reading all of them would keep everybody
    // waiting.
    let sql = format!(
        "ALTER TABLE {table} DROP CONSTRAINT {name}; \
         ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IN ({list})) NOT VALID;"
    );
    connection.execute_unprepared(&sql).await.map(drop)
}

/// The words of a list in a trigger or a CHECK: what is quoted and made of capital letters and underscores.
fn listed_words(definition: &str) -> Vec<&str> {
    let of_a_list =
        |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    definition.split('\'').skip(1).step_by(2).filter(of_a_list).collect()
}

/// Takes the CHECK of that name out of its table, without touching a row: a CHECK says nothing of how rows are stored, and
/// `SQLite` describes for that how to edit the text of a table (<https://www.sqlite.org/lang_altertable.html#otheralter>).
pub async fn drop_check(manager: &SchemaManager<'_>, listed: Listed) -> Result<(), DbErr> {
    let (Listed { table, name, .. }, connection) = (listed, manager.get_connection());
    let ask = |sql: String| Statement::from_string(DbBackend::Sqlite, sql);
    let text = format!("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = '{table}'");
    let row = connection.query_one_raw(ask(text)).await?;
    let text: String = row.ok_or_else(|| DbErr::RecordNotFound(table.to_owned()))?.try_get("", "sql")?;
    let without = without_check(&text, name).ok_or_else(|| DbErr::RecordNotFound(name.to_owned()))?;
    let row = connection.query_one_raw(ask("PRAGMA schema_version".to_owned())).await?;
    let version: i64 = row.ok_or_else(|| DbErr::RecordNotFound("schema_version".into()))?.try_get_by_index(0)?;
    let quoted = without.replace('\'', "''");
    let sql = format!(
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET sql = '{quoted}' WHERE type = 'table' AND name = '{table}'; \
         PRAGMA schema_version = {}; PRAGMA writable_schema = RESET;",
        version + 1
    );
    connection.execute_unprepared(&sql).await.map(drop)
}

/// The text of a table without the CHECK of that name. Its words have no parentheses.
fn without_check(text: &str, name: &str) -> Option<String> {
    let begin = text.find(&format!("CONSTRAINT {name} CHECK"))?;
    let mut depth = 0_u32;
    let length = text[begin..].find(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => return false,
        }
        depth == 0
    })?;
    let (before, after) = (text[..begin].trim_end(), text[begin + length + 1..].trim_start());
    // One of the table's own stands in the place of a column, behind a comma of its own.
    let before = before.strip_suffix(',').unwrap_or(before);
    Some(format!("{before} {after}").replace(" ,", ","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_list_are_found_in_a_trigger_and_in_a_check() {
        let trigger = "CREATE TRIGGER a BEFORE INSERT ON b WHEN new.c NOT IN ('D_E', 'F') BEGIN \
                       SELECT RAISE(ABORT, 'CHECK constraint failed: a'); END";
        assert_eq!(listed_words(trigger), ["D_E", "F"]);
        assert_eq!(listed_words("CHECK ((c = ANY (ARRAY['D_E'::text, 'F'::text])))"), ["D_E", "F"]);
    }

    #[test]
    fn a_check_of_a_column_or_of_a_table_is_taken_out_and_nothing_else() {
        let table = "CREATE TABLE a (\n    kind TEXT NOT NULL CONSTRAINT a_kind_check\n        CHECK (kind IN ('B', 'C')),\n    \
                     d TEXT NOT NULL,\n    CONSTRAINT a_d_check CHECK (d IN ('E',\n        'F'))\n) STRICT";
        assert_eq!(
            without_check(&table.replace("a_kind_check\n        CHECK", "a_kind_check CHECK"), "a_kind_check")
                .as_deref(),
            Some(
                "CREATE TABLE a (\n    kind TEXT NOT NULL,\n    d TEXT NOT NULL,\n    CONSTRAINT a_d_check CHECK (d IN ('E',\n        'F'))\n) STRICT"
            )
        );
        let without = without_check(table, "a_d_check").expect("there is one");
        assert!(without.ends_with("d TEXT NOT NULL ) STRICT") && without.contains("a_kind_check"), "{without}");
        assert_eq!(without_check(table, "a_e_check"), None);
    }
}
