//! How a statement is stopped for which nobody waits any more.
//!
//! Owns a flag for each connection to `SQLite`, which its thread looks at while a statement runs ([`Interrupt`]), and
//! one more connection to each `PostgreSQL`, opened when it is first needed, over which running statements are called
//! off ([`StopOrders`]). Used by [`super::pool`] alone, which keeps a connection to itself from before the order until
//! the end of the statement: an order that comes late meets nobody else's. One that comes early, before the statement
//! has reached the server, is repeated ([`super::connection`]).
//!
//! `SQLite` looks at the flag every [`STEPS`] steps of its virtual machine: some ten times a millisecond, so that a long
//! statement ends at once and a short one never gets there. Under callgrind 200 pages of 100 jobs take 144.1 million
//! instructions without a flag and 144.4 million with it; 48 million steps take 0.8 s either way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::sqlx::{self, Connection as _, PgConnection, SqliteConnection, postgres::PgConnectOptions};
use tokio::{sync::Mutex, time::timeout};

/// How many steps of its virtual machine `SQLite` makes between two looks at the flag.
const STEPS: i32 = 4_000;
/// How long an order may take. A statement that it does not reach ends with its own deadline.
const ORDER: Duration = Duration::from_secs(2);

/// How the statement on one connection is stopped.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// Raised, the statement ends with `SQLITE_INTERRUPT`; so would the next one.
    Flag(Arc<AtomicBool>),
    /// The process at the server.
    Process(i32),
}

impl Interrupt {
    pub(super) async fn of_sqlite(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let flag = Arc::new(AtomicBool::new(false));
        let looked_at = Arc::clone(&flag);
        let go_on = move || !looked_at.load(Ordering::Relaxed);
        connection.lock_handle().await?.set_progress_handler(STEPS, go_on);
        Ok(Self::Flag(flag))
    }

    pub(super) async fn of_postgres(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        Ok(Self::Process(sqlx::query_scalar("SELECT pg_backend_pid()").persistent(false).fetch_one(connection).await?))
    }

    /// Has the statement on the connection stop. It may be over already.
    pub(super) async fn stop(&self, orders: Option<&StopOrders>) {
        metrics::counter!("lancewire_database_stops_total").increment(1);
        match (self, orders) {
            (Self::Flag(flag), _) => flag.store(true, Ordering::Relaxed),
            (Self::Process(process), Some(orders)) => orders.stop(*process).await,
            (Self::Process(_), None) => {}
        }
    }

    /// The statement is over, and the next one is to run.
    pub(super) fn stopped(&self) {
        if let Self::Flag(flag) = self {
            flag.store(false, Ordering::Relaxed);
        }
    }
}

/// Calls off what runs at a `PostgreSQL`.
#[derive(Debug)]
pub(super) struct StopOrders {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
}

impl StopOrders {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: Mutex::default() }
    }

    /// Asks the server to stop what this process of it runs.
    async fn stop(&self, process: i32) {
        let order = async {
            let mut kept = self.connection.lock().await;
            // One that has been idle may have been closed meanwhile.
            for _ in 0..2 {
                let mut connection = match kept.take() {
                    Some(connection) => connection,
                    None => PgConnection::connect_with(&self.options).await?,
                };
                let asked = sqlx::query("SELECT pg_cancel_backend($1)").bind(process).execute(&mut connection).await;
                if asked.is_ok() {
                    *kept = Some(connection);
                    break;
                }
            }
            Ok::<_, sqlx::Error>(())
        };
        // What is wrong with the server is reported by those who use it.
        let _ = timeout(ORDER, order).await;
    }
}
