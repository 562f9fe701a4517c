//! Statements in the form that each of the two databases takes.

use sea_orm::{DbBackend, Statement, Value};

use super::Backend;

/// A statement for `SQLite` that is nothing but a word or two.
pub(super) fn command(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}

/// Several statements as one command, which sqlx takes apart again on `SQLite`; each takes its share of the values.
pub(super) fn joined(statements: Vec<Statement>) -> Option<Statement> {
    statements.into_iter().reduce(|mut all, next| {
        all.sql.push_str("; ");
        all.sql.push_str(&next.sql);
        match (&mut all.values, next.values) {
            (Some(values), Some(more)) => values.0.extend(more.0),
            (values @ None, more) => *values = more,
            (Some(_), None) => {}
        }
        all
    })
}

/// A statement for this database; `?` stands for each value.
pub(super) fn statement(backend: Backend, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    let (backend, sql) = match backend {
        Backend::Sqlite => (DbBackend::Sqlite, sql.to_owned()),
        Backend::Postgres => {
            let mut parts = sql.split('?');
            let first = parts.next().unwrap_or_default().to_owned();
            let numbered = parts.enumerate().fold(first, |sql, (place, part)| format!("{sql}${}{part}", place + 1));
            (DbBackend::Postgres, numbered)
        }
    };
    Statement::from_sql_and_values(backend, sql, values)
}
