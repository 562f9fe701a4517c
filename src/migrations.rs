//! Whether the database's schema and this program fit, and bringing the schema up to date.
//!
//! While a deploy goes on, old and new nodes share one database, so a schema that is newer than a program is no fault
//! in itself: steps that only add are served as ever. A step that takes something away names the oldest program that
//! can live with that (`schema_compat.min_version`, see [`migration::compat`]), and an older one keeps its hands off:
//! it does not start, and one that runs already is no longer ready. Nothing is ever undone.
//!
//! Called by [`app`](crate::app) at the start and by the readiness check. Nodes that start together queue: on
//! `PostgreSQL` for an advisory lock, on `SQLite` for the write lock, and the second one finds nothing left to do.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use migration::{Migrator, MigratorTrait, SchemaManager};
use sea_orm::{ConnectionTrait, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};

use crate::{
    db::{Backend, DatabaseSettings, Db},
    lifecycle::Lifecycle,
};

/// How long a node waits for another one's migrations on `SQLite`, in milliseconds: they are its own, too.
const TIME_LIMIT_MS: u64 = 600_000;
/// Of the advisory lock; known to every version.
const LOCK: &str = "SELECT pg_try_advisory_xact_lock(4721001)";
/// Between two tries to get it.
const PAUSE: Duration = Duration::from_millis(100);

/// What keeps this program from the database, in one line.
#[derive(Debug, thiserror::Error)]
pub enum SchemaMismatch {
    /// A newer version has taken away what this one uses.
    #[error(
        "database.url: the database is for a lancewire that knows {needed}, and this one knows nothing after {ours}: \
         start a newer version"
    )]
    TooNew {
        /// The step that a program must know.
        needed: String,
        /// The last step that this one knows.
        ours: String,
    },
    /// Steps are missing, and this process is not to run them.
    #[error("database.migrate is false and the database lacks {0}: run `lancewire migrate`")]
    TooOld(String),
    /// Neither is newer.
    #[error(
        "database.url: the database has {unknown}, which this lancewire does not know, and lacks {missing}, which it \
         does: start a version that has both"
    )]
    Diverged {
        /// A step that was run by another version.
        unknown: String,
        /// A step of ours that was not.
        missing: String,
    },
    /// A step failed, or the database did.
    #[error("the database cannot be migrated: {0}")]
    Failed(#[from] DbErr),
}

/// What a database says of itself.
struct Found {
    applied: Vec<String>,
    needed: Option<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// Nothing.
    UpToDate,
    /// Nothing: a newer version was here, and is compatible.
    Newer,
    /// These steps are missing, the first one named.
    Older(String),
}

/// Brings the schema up to date, or says why this program must not use the database.
pub async fn bring_up(db: &Db, settings: &DatabaseSettings) -> Result<(), SchemaMismatch> {
    // Reads only: a node whose schema is as it should be needs no right to change it.
    match found(db.migrator()).await?.judge(&known())? {
        Fit::UpToDate => Ok(()),
        Fit::Newer => {
            tracing::info!("the database was migrated by a newer version, which this one is compatible with");
            Ok(())
        }
        Fit::Older(missing) if !settings.migrate => Err(SchemaMismatch::TooOld(missing)),
        Fit::Older(_) => {
            // Connections of its own: a step may take longer than a request, and one of them holds the lock.
            let sqlite = db.backend() == Backend::Sqlite;
            let lock_timeout_ms = if sqlite { TIME_LIMIT_MS } else { settings.lock_timeout_ms };
            let patient =
                DatabaseSettings { max_connections: 2, statement_timeout_ms: 0, lock_timeout_ms, ..settings.clone() };
            let own = Db::connect(&patient, db.ids().clone(), Lifecycle::new()).await?;
            let migrated = if sqlite { migrate_sqlite(&own).await } else { migrate_postgres(&own).await };
            own.close().await;
            migrated
        }
    }
}

async fn migrate_sqlite(db: &Db) -> Result<(), SchemaMismatch> {
    // The write lock, before the first look: a transaction that began by reading could not get it any more.
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let lock = db.migrator().begin_with_options(options).await?;
    if let Fit::Older(_) = found(&lock).await?.judge(&known())? {
        Migrator::up(&lock, None).await?;
    }
    Ok(lock.commit().await?)
}

async fn migrate_postgres(db: &Db) -> Result<(), SchemaMismatch> {
    // Tried for however long the other node takes: its steps are ours, too. Not waited for: a statement that waits has
    // a snapshot, and the other node's `CREATE INDEX CONCURRENTLY` would wait for the end of that.
    let lock = loop {
        let lock = db.migrator().begin().await?;
        let row = lock.query_one_raw(db.statement(LOCK, [])).await?;
        if row.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false)) {
            break lock;
        }
        lock.rollback().await?;
        tokio::time::sleep(PAUSE).await;
    };
    // Held by this transaction alone; the steps run in their own beside it, and it has nothing to do meanwhile.
    lock.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
    if let Fit::Older(_) = found(db.migrator()).await?.judge(&known())? {
        Migrator::up(db.migrator(), None).await?;
    }
    Ok(lock.commit().await?)
}

/// The steps that this program knows, oldest first.
fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

async fn found<'c, C>(connection: &'c C) -> Result<Found, DbErr>
where
    C: ConnectionTrait,
    &'c C: migration::IntoSchemaManagerConnection<'c>,
{
    let manager = SchemaManager::new(connection);
    let mut found = Found { applied: Vec::new(), needed: None };
    if manager.has_table("seaql_migrations").await? {
        found.applied = texts(connection, "SELECT version FROM seaql_migrations ORDER BY version").await?;
    }
    if manager.has_table("schema_compat").await? {
        found.needed = texts(connection, NEEDED).await?.pop();
    }
    Ok(found)
}

const NEEDED: &str = "SELECT min_version FROM schema_compat";

async fn texts(connection: &impl ConnectionTrait, sql: &str) -> Result<Vec<String>, DbErr> {
    let query = sea_orm::Statement::from_string(connection.get_database_backend(), sql);
    connection.query_all_raw(query).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

impl Found {
    fn judge(&self, known: &[String]) -> Result<Fit, SchemaMismatch> {
        too_new(self.needed.as_deref(), known)?;
        let missing = known.iter().find(|step| !self.applied.contains(step));
        let unknown = self.applied.iter().find(|step| !known.contains(step));
        match (missing, unknown) {
            (None, None) => Ok(Fit::UpToDate),
            (None, Some(_)) => Ok(Fit::Newer),
            (Some(missing), None) => Ok(Fit::Older(missing.clone())),
            (Some(missing), Some(unknown)) => {
                Err(SchemaMismatch::Diverged { unknown: unknown.clone(), missing: missing.clone() })
            }
        }
    }
}

/// Names begin with their date, so that they are in order.
fn too_new(needed: Option<&str>, known: &[String]) -> Result<(), SchemaMismatch> {
    let ours = known.last().map_or("", String::as_str);
    match needed {
        Some(needed) if needed > ours => {
            Err(SchemaMismatch::TooNew { needed: needed.to_owned(), ours: ours.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Notices that the schema was taken away from under a running node.
#[derive(Debug, Default)]
pub struct SchemaWatch {
    told: AtomicBool,
}

impl SchemaWatch {
    /// Whether this program may still use the database. A change is logged once.
    pub async fn fits(&self, db: &Db) -> Result<bool, DbErr> {
        let needed = texts(db.reader(), NEEDED).await?.pop();
        match too_new(needed.as_deref(), &known()) {
            Ok(()) => {
                self.told.store(false, Ordering::Relaxed);
                Ok(true)
            }
            Err(misfit) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::error!(error = %misfit, "no longer ready");
                }
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn older_is_migrated_newer_is_served_if_it_may_be_and_neither_is_refused() {
        let known = steps(&["m1", "m2"]);
        let judge = |applied: &[&str], needed: Option<&str>| {
            Found { applied: steps(applied), needed: needed.map(ToOwned::to_owned) }.judge(&known)
        };
        assert_eq!(judge(&[], None).expect("fits"), Fit::Older("m1".into()));
        assert_eq!(judge(&["m1"], Some("m1")).expect("fits"), Fit::Older("m2".into()));
        assert_eq!(judge(&["m1", "m2"], Some("m1")).expect("fits"), Fit::UpToDate);
        assert_eq!(judge(&["m1", "m2", "m3"], Some("m1")).expect("fits"), Fit::Newer);
        assert_eq!(judge(&["m1", "m2", "m3"], Some("m2")).expect("fits"), Fit::Newer);
        assert!(matches!(judge(&["m1", "m2", "m3"], Some("m3")), Err(SchemaMismatch::TooNew { .. })));
        assert!(matches!(judge(&["m1", "m3"], Some("m1")), Err(SchemaMismatch::Diverged { .. })));
        assert!(matches!(judge(&["m1", "m3"], Some("m3")), Err(SchemaMismatch::TooNew { .. })));
    }

    #[test]
    fn steps_are_named_in_their_order() {
        assert!(known().is_sorted(), "their names are compared: {:?}", known());
    }
}
