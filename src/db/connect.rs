//! How connections are opened: what each database is told, how a connection is secured, and why there is none.
//!
//! Called by [`Db::connect`](super::Db::connect) and by [`replica`](super::replica). A pool tells little: it tries on for
//! as long as a request may wait, and then says that time is over. So a `PostgreSQL` is first connected to once without
//! one ([`probe`]), and what is wrong is said at once, in one line. What follows from the settings alone is refused
//! before that.
//!
//! `sslmode`, `sslrootcert`, `sslcert` and `sslkey` in the URL mean what they mean to `libpq`, with two differences of
//! the library: the authorities that the system trusts are trusted beside those of `sslrootcert`, and `require` never
//! looks at the certificate. The second would hide that a certificate which is named is not looked at, so that is
//! refused.

use std::{io, path::Path, time::Duration};

use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError,
    sqlx::{
        ConnectOptions as _, Connection,
        postgres::{PgConnectOptions, PgSslMode},
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::rustls;

use super::DatabaseSettings;
use crate::{
    error::sqlx_cause,
    tls_roots::{authorities, tls_failure},
};

/// What `sslmode` may be.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// Pages in the write-ahead log of `SQLite` (16 MiB) after which a commit copies them into the file, and waits for the disk
/// twice more. After the usual 1,000 that is one `updateJob` in ninety, and the p99 of delivery is its time; the index of
/// the log holds 4,062 in its first part.
const CHECKPOINT: &str = "4000";
/// Between two tries to reach a server that is about to let us in.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn sqlite(settings: &DatabaseSettings, read_only: bool) -> Result<DatabaseConnection, DbErr> {
    address(&settings.url)?;
    let mut options = options(settings, &settings.url);
    let lock_timeout = Duration::from_millis(settings.lock_timeout_ms);
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .create_if_missing(!read_only)
            .read_only(read_only)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL loses the last commits on power loss but never the file's integrity. A job posted, paid and
            // announced must not vanish: FULL.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(lock_timeout)
            .statement_cache_capacity(256)
            // REPLACE deletes without firing triggers otherwise, past those that keep the books append-only.
            .pragma("recursive_triggers", "on")
            .pragma("temp_store", "memory")
            .pragma("wal_autocheckpoint", CHECKPOINT)
        // No mmap_size: each commit unmaps the file for the next reader, which costs more than it saves (bench/README.md,
        // "What made lancewire cheaper"), and an error of the disk would be a signal that ends the process.
    });
    options.max_connections(if read_only { settings.max_connections } else { 1 });
    options.min_connections(1);
    options.idle_timeout(None);
    options.max_lifetime(None);
    options.test_before_acquire(false);
    Database::connect(options).await
}

pub(super) async fn postgres(settings: &DatabaseSettings) -> Result<DatabaseConnection, DbErr> {
    let (mut options, connect) = primary_options(settings)?;
    probe(&connect, Duration::from_millis(settings.acquire_timeout_ms)).await?;
    options.map_sqlx_postgres_opts(move |_| connect.clone());
    options.max_connections(settings.max_connections);
    // None that sqlx keeps by itself: it would try it without a deadline when it hands it out.
    options.min_connections(0);
    Database::connect(options).await
}

/// One connection, opened when it is first used.
pub(super) async fn tail(settings: &DatabaseSettings) -> Result<DatabaseConnection, DbErr> {
    let (mut options, connect) = primary_options(settings)?;
    // The same few statements for ever.
    let connect = connect.options([("plan_cache_mode", "force_generic_plan")]);
    options.map_sqlx_postgres_opts(move |_| connect.clone());
    options.max_connections(1);
    options.connect_lazy(true);
    Database::connect(options).await
}

fn primary_options(settings: &DatabaseSettings) -> Result<(ConnectOptions, PgConnectOptions), DbErr> {
    let (options, connect) = postgres_options(settings, &settings.url)?;
    let (statement_timeout, lock_timeout) = (settings.statement_timeout_ms, settings.lock_timeout_ms);
    let connect = connect.application_name("lancewire").statement_cache_capacity(256).options([
        ("statement_timeout", statement_timeout.to_string()),
        ("lock_timeout", lock_timeout.to_string()),
        ("idle_in_transaction_session_timeout", "60000".to_owned()),
        // For statements outside of a transaction: what they rely on is not to depend on the server's default.
        ("default_transaction_isolation", "read committed".to_owned()),
        // For the server's side of it: a node that is gone without a word gives its locks back. Ours is `pool`'s.
        ("tcp_keepalives_idle", "10".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "20000".to_owned()),
    ]);
    Ok((options, connect))
}

/// Whether the server lets us in now, and if not, why.
pub(super) async fn reach(settings: &DatabaseSettings, patience: Duration) -> Result<(), DbErr> {
    let (_, connect) = postgres_options(settings, &settings.url)?;
    probe(&connect.application_name("lancewire"), patience).await
}

/// Connects once. One that starts, or has no connection to spare for the moment, is waited for; whatever else is wrong
/// is said at once.
async fn probe(connect: &PgConnectOptions, patience: Duration) -> Result<(), DbErr> {
    let deadline = Instant::now() + patience;
    loop {
        let error = match timeout_at(deadline, Box::pin(connect.connect())).await {
            Ok(Ok(connection)) => {
                // It was opened to be closed: how that goes is of no interest.
                let _ = connection.close().await;
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(unreachable(format!("{} does not answer", place(connect)))),
        };
        let waits = matches!(&error, SqlxError::Database(error)
            if error.code().is_some_and(|code| ["53300", "57P03"].contains(&code.as_ref())));
        if !waits || Instant::now() + PAUSE >= deadline {
            return Err(unreachable(why_not(connect, &error)));
        }
        sleep(PAUSE).await;
    }
}

/// Why there is no connection, with what can be done about it.
pub(super) fn why_not(connect: &PgConnectOptions, error: &SqlxError) -> String {
    let (place, cause) = (place(connect), sqlx_cause(error));
    match error {
        SqlxError::Io(io) if matches!(tls_failure(io), Some(rustls::Error::InvalidCertificate(_))) => format!(
            "{place} is not to be trusted: {cause}; sslrootcert in the URL names the file (PEM) of the authority to trust"
        ),
        SqlxError::Io(io) if tls_failure(io).is_some() => format!("{place} cannot be spoken to over TLS: {cause}"),
        SqlxError::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
            format!("nobody listens at {place}: {cause}")
        }
        SqlxError::Io(_) => format!("{place} cannot be reached: {cause}"),
        SqlxError::Tls(_) => format!("{place} cannot be spoken to over TLS: {cause}; sslmode in the URL asks for it"),
        SqlxError::Database(_) => format!("{place} refuses: {cause}"),
        _ => cause,
    }
}

/// Whether the connection was to be secured and is not: no matter of the moment.
pub(super) fn is_insecure(error: &SqlxError) -> bool {
    match error {
        SqlxError::Io(io) => tls_failure(io).is_some(),
        SqlxError::Tls(_) => true,
        _ => false,
    }
}

fn place(connect: &PgConnectOptions) -> String {
    match connect.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", connect.get_host(), connect.get_port()),
    }
}

fn unreachable(why: String) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(why))
}

/// Options of a `PostgreSQL` whose address has nothing secret in it, since sea-orm shows it in its spans; and how to
/// connect, which takes the place of what it makes of that address.
pub(super) fn postgres_options(
    settings: &DatabaseSettings,
    url: &str,
) -> Result<(ConnectOptions, PgConnectOptions), DbErr> {
    let mut shown = address(url)?;
    let connect = how_to_connect(url, &shown)?;
    // It fails where there is no host, and so no password.
    let _ = shown.set_password(None);
    shown.set_query(None);
    Ok((options(settings, shown.as_str()), connect.disable_statement_logging()))
}

/// How to connect, with all that can be known to be wrong with it.
fn how_to_connect(url: &str, read: &url::Url) -> Result<PgConnectOptions, DbErr> {
    let named = |names: &[&str]| {
        let found = read.query_pairs().find(|(name, _)| names.contains(&name.as_ref()));
        found.map(|(_, value)| value.into_owned())
    };
    if let Some(mode) = named(&["sslmode", "ssl-mode"]).filter(|mode| !SSL_MODES.contains(&mode.as_str())) {
        return Err(unreachable(format!("sslmode must be one of {}, not {mode:?}", SSL_MODES.join(", "))));
    }
    let connect: PgConnectOptions = url.parse().map_err(|error| unreachable(sqlx_cause(&error)))?;
    if let Some(roots) = named(&["sslrootcert", "ssl-root-cert", "ssl-ca"]) {
        if !matches!(connect.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa) {
            let rule = "sslrootcert is of use with sslmode=verify-full (or verify-ca) only";
            return Err(unreachable(format!("{rule}: else nobody looks at the certificate")));
        }
        authorities(Path::new(&roots)).map_err(|why| unreachable(format!("sslrootcert: {roots} {why}")))?;
    }
    Ok(connect)
}

/// An address that can be read. sea-orm repeats what it cannot read, password and all.
fn address(url: &str) -> Result<url::Url, DbErr> {
    url::Url::parse(url).map_err(|error| no_address(&error))
}

fn no_address(error: &dyn std::error::Error) -> DbErr {
    let fix = "what is no letter and no digit in a password is written as %2F, %23 and so on";
    unreachable(format!("it is no URL: {error} ({fix})"))
}

fn options(settings: &DatabaseSettings, url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    options.acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms));
    // Statements hold values that must not be logged.
    options.sqlx_logging(false);
    options
}
