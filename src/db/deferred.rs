//! Writes that wait for the end of their transaction, as few statements.
//!
//! A transaction writes many rows that it does not read again: journals, entries, events, notifications, what becomes of
//! an idempotency key. Each as a statement of its own is a way to the database and back. [`together`] makes one statement
//! of all of them: rows of one shape become one `INSERT` with several rows, in the order in which they came, and the
//! statements that are left become the parts of one `WITH` on `PostgreSQL`, or one command on `SQLite`.
//!
//! Called by [`Tx`](super::Tx) alone. The parts of one `WITH` see the same state and run in no certain order; so what waits
//! here must not depend on other writes that wait, and no row may be written by two of them.

use std::{collections::HashMap, fmt::Write as _};

use sea_orm::{DbBackend, Statement, Value, Values};

/// The values that one transaction lets wait; with more of them it writes what it has. `PostgreSQL` takes 65,535 in one
/// statement.
pub(super) const MOST_VALUES: usize = 8_192;

/// All of it, as statements to be run one after the other: one on `PostgreSQL`, one for each shape on `SQLite`.
pub(super) fn together(backend: DbBackend, statements: Vec<Statement>) -> Vec<Statement> {
    let merged = merged(statements);
    if backend != DbBackend::Postgres || merged.len() < 2 {
        return merged;
    }
    let (mut sql, mut values) = (String::from("WITH "), Vec::new());
    let last = merged.len() - 1;
    for (place, statement) in merged.into_iter().enumerate() {
        let part = shifted(&statement.sql, values.len());
        match place {
            _ if place == last => sql.push_str(&part),
            0 => _ = write!(sql, "part0 AS ({part})"),
            _ => _ = write!(sql, ", part{place} AS ({part})"),
        }
        if place + 1 == last {
            sql.push(' ');
        }
        values.extend(held(statement));
    }
    vec![Statement { sql, values: Some(Values(values)), db_backend: backend }]
}

/// Inserts of one shape as one, at the place of the first.
fn merged(statements: Vec<Statement>) -> Vec<Statement> {
    let mut shapes: HashMap<String, usize> = HashMap::new();
    let mut merged: Vec<Statement> = Vec::with_capacity(statements.len());
    for statement in statements {
        let Some(rows) = rows_of(&statement.sql) else {
            merged.push(statement);
            continue;
        };
        if let Some(first) = shapes.get(&statement.sql).and_then(|place| merged.get_mut(*place)) {
            let count = first.values.as_ref().map_or(0, |values| values.0.len());
            let more = shifted(&statement.sql[rows..], count);
            first.sql.push_str(", ");
            first.sql.push_str(&more);
            let more = held(statement);
            first.values.get_or_insert_with(|| Values(Vec::new())).0.extend(more);
        } else {
            shapes.insert(statement.sql.clone(), merged.len());
            merged.push(statement);
        }
    }
    merged
}

/// Where the rows of an insert begin that is nothing but a table, columns and rows.
fn rows_of(sql: &str) -> Option<usize> {
    const VALUES: &str = " VALUES ";
    let place = sql.find(VALUES)? + VALUES.len();
    (sql.starts_with("INSERT INTO ") && sql[place..].starts_with('(') && sql.ends_with(')')).then_some(place)
}

/// The same with the numbers of its values raised. Values never stand in the text, so a `$` is always a number's.
fn shifted(sql: &str, by: usize) -> String {
    let mut parts = sql.split('$');
    let mut shifted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let number: usize = part[..digits].parse().unwrap_or_default();
        _ = write!(shifted, "${}{}", number + by, &part[digits..]);
    }
    shifted
}

fn held(statement: Statement) -> Vec<Value> {
    statement.values.map(|values| values.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(backend: DbBackend, table: &str, numbers: [i64; 2]) -> Statement {
        let values = if backend == DbBackend::Postgres { "($1, $2)" } else { "(?, ?)" };
        let sql = format!("INSERT INTO {table} (a, b) VALUES {values}");
        Statement::from_sql_and_values(backend, sql, numbers.map(Value::from))
    }

    fn all(backend: DbBackend) -> Vec<Statement> {
        let mark = if backend == DbBackend::Postgres { "$1" } else { "?" };
        let update = Statement::from_sql_and_values(backend, format!("UPDATE t SET a = {mark}"), [Value::from(5_i64)]);
        vec![
            insert(backend, "t", [1, 2]),
            insert(backend, "u", [3, 4]),
            update,
            insert(backend, "t", [6, 7]),
            insert(backend, "t", [8, 9]),
        ]
    }

    #[test]
    fn rows_of_one_shape_are_one_insert_and_all_is_one_statement() {
        let statements = together(DbBackend::Postgres, all(DbBackend::Postgres));
        let [statement] = statements.as_slice() else { panic!("{statements:?}") };
        assert_eq!(
            statement.sql,
            "WITH part0 AS (INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4), ($5, $6)), \
             part1 AS (INSERT INTO u (a, b) VALUES ($7, $8)) UPDATE t SET a = $9"
        );
        let numbers = [1_i64, 2, 6, 7, 8, 9, 3, 4, 5].map(Value::from);
        assert_eq!(statement.values.as_ref().expect("values").0, numbers);
    }

    #[test]
    fn on_sqlite_each_shape_is_a_statement() {
        let statements = together(DbBackend::Sqlite, all(DbBackend::Sqlite));
        let texts: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
        let rows = "INSERT INTO t (a, b) VALUES (?, ?), (?, ?), (?, ?)";
        assert_eq!(texts, [rows, "INSERT INTO u (a, b) VALUES (?, ?)", "UPDATE t SET a = ?"]);
    }

    #[test]
    fn one_alone_stays_as_it_is_and_none_is_none() {
        let alone = insert(DbBackend::Postgres, "t", [1, 2]);
        assert_eq!(together(DbBackend::Postgres, vec![alone.clone()]), [alone]);
        assert_eq!(together(DbBackend::Postgres, Vec::new()), []);
    }
}
