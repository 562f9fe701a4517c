//! An optional second `PostgreSQL` that answers public reads: who may read it, and how nobody sees too little.
//!
//! # What is read here
//!
//! Queries whose root fields are all public ones (`schema::is_public_read`), anonymous or signed in. The primary alone
//! serves mutations and all that they read, subscriptions, the event log, the viewer's own lists, and the question
//! whose token this is: a sign-out counts at once, however far the replica is behind. A decision is never made on what
//! was read here: use cases read again, under locks, on the primary.
//!
//! # One state for one answer
//!
//! Where an operation reads is decided once, before it begins, and never changes under it: [`Replica::open`] gives one
//! REPEATABLE READ transaction, and the operation gets services of its own whose [`Db`] reads from that
//! ([`Db::with_snapshot`]). So the route is handed through like everything else and needs no task-local: loaders, which
//! hold the same services, cannot stray. `streamCursor` is the log's head in that very state. A row that the state
//! lacks was committed later, got its position later still and comes after the cursor; one that it shows may come
//! again. Nothing falls between.
//!
//! # Reading one's own writes
//!
//! Each transaction that a signed-in user's mutation commits counts up their row in `commit_marks`, as its last
//! statement; the statement on the primary that looks at their session reads that count too. The first statement of the
//! replica's transaction compares: a state whose count is lower lacks something of theirs and is given up for the
//! primary. Since the count is data of the same commit, it is there exactly when the commit is, whichever node wrote
//! and whichever reads. (A position in the write-ahead log would not do: inside the transaction it lies before the
//! commit, and after it somebody would have to tell the other nodes.) The session itself must be there too, which is
//! what makes it right for those who signed up a moment ago. What lives longer than a request, a socket, asks for the
//! count when it reads.
//!
//! # Lag
//!
//! [`Replica::watch`] compares positions in the write-ahead log, which is right for an idle primary too: see `standing`
//! for the lease that it renews. A replica that fails is left out at once, and the operation that noticed runs again on
//! the primary: nothing of its answer was sent, and queries are safe to repeat.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError, Value};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    DatabaseSettings, Db, ON_THE_WAY, Pool,
    connect::{is_insecure, postgres_options},
    pool::{Common, Deadlines, Purpose},
};
use crate::{
    backoff::BackOff,
    error::cause,
    ids::{EventId, SessionId, UserId},
    lifecycle::Lifecycle,
};

mod lease;
mod marks;
mod snapshot;

pub use snapshot::Snapshot;

use lease::ReplicaLease;

/// The longest time between two looks at the replica.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);
/// The shortest, however low the limit.
const SHORTEST_PERIOD: Duration = Duration::from_millis(20);
/// How long a read waits for the replica before it goes to the primary.
const TIME_LIMIT: Duration = Duration::from_millis(250);
/// Between two looks at how far it has come, the first and the longest.
const REPLAY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// How long one look at the replica may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a replica cannot be used at all. One line that names the setting and the fix.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The text is no URL, or the server turned us away.
    #[error("database.replica_url: {}; give the URL of a streaming replica of database.url, or leave it empty", cause(.0))]
    Refused(DbErr),
    /// It follows somebody else.
    #[error(
        "database.replica_url: this server is of another cluster than database.url; give the URL of a streaming replica \
         of that one, or leave it empty"
    )]
    OtherCluster,
    /// It is another database of the same cluster.
    #[error("database.replica_url: this database holds another event log than database.url; name the same one in both")]
    OtherDatabase,
    /// The primary does not say who it is.
    #[error("database.url: the database does not tell of which cluster it is, which database.replica_url needs: {0}")]
    Primary(DbErr),
}

/// For whom a signed-in read is made.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// Who.
    pub user: UserId,
    /// The session that they came with.
    pub session: SessionId,
    /// How many of their commits the primary knew of when the request came; asked for when it is not known.
    pub commits: Option<i64>,
}

/// The replica. Clones share it.
#[derive(Clone, Debug)]
pub struct Replica(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    primary: Db,
    pool: Pool,
    /// A connection of its own: however many read, the replica can be looked at.
    watcher: DatabaseConnection,
    system: i64,
    log: Uuid,
    limit: Duration,
    standing: Mutex<ReplicaLease>,
    statements: Arc<AtomicU64>,
}

/// Why a read goes to the primary after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassedOver {
    /// It lags or is gone.
    LeftOut,
    /// It does not show the viewer's last commit yet.
    OwnWrites,
    /// No connection was free in time.
    Busy,
    /// It failed just now.
    Failed,
}

/// What one look at the replica shows.
struct Look {
    following: bool,
    replayed: i64,
    system: i64,
    log: Option<Uuid>,
}

/// Why the replica is left out, for the log.
#[derive(Debug, thiserror::Error)]
enum Absence {
    #[error("it is further behind than database.replica_max_lag_ms")]
    Behind,
    #[error("it cannot be asked: {}", cause(.0))]
    Unreachable(DbErr),
    #[error("it follows no primary: it was promoted, or database.replica_url names the primary itself")]
    NotFollowing,
    #[error("it is not of the database that database.url names")]
    Stranger,
}

impl Replica {
    /// The replica of the settings, if they name one. One that is away does not stop the start: reads go to the primary
    /// until [`Replica::watch`] finds it. One that is there and follows somebody else does. `log` is the identity of
    /// the primary's event log.
    pub async fn connect(settings: &DatabaseSettings, primary: &Db, log: Uuid) -> Result<Option<Self>, ReplicaError> {
        if settings.replica_url.is_empty() {
            return Ok(None);
        }
        let limit = Duration::from_millis(settings.replica_max_lag_ms);
        let statements = Arc::new(AtomicU64::new(0));
        let opened = open_pool(settings, settings.max_connections).await.map_err(ReplicaError::Refused)?;
        let running = Some(settings.statement_timeout_ms).filter(|limit| *limit > 0).map(Duration::from_millis);
        let deadlines = Deadlines { free: TIME_LIMIT, answer: running.map(|running| running + ON_THE_WAY) };
        let common =
            Common { statements: Arc::clone(&statements), doorbell: Arc::default(), ..primary.common().clone() };
        let pool = Pool::new(&opened, settings.max_connections, Purpose::Replica, deadlines, common);
        let watcher = open_pool(settings, 1).await.map_err(ReplicaError::Refused)?;
        let system = primary.statement("SELECT system_identifier FROM pg_control_system()", []);
        let system = primary.writer().query_one_raw(system).await.and_then(|row| {
            let row = row.ok_or_else(|| DbErr::RecordNotFound("pg_control_system".into()))?;
            row.try_get("", "system_identifier")
        });
        let system = system.map_err(ReplicaError::Primary)?;
        let (primary, standing) = (primary.clone(), Mutex::new(ReplicaLease::new(limit)));
        let replica = Self(Arc::new(Shared { primary, pool, watcher, system, log, limit, standing, statements }));
        match replica.look().await {
            Ok(look) if look.system != system => return Err(ReplicaError::OtherCluster),
            Ok(look) if look.log.is_some_and(|found| found != log) => return Err(ReplicaError::OtherDatabase),
            Err(error) if is_refusal(&error) => return Err(ReplicaError::Refused(error)),
            // What else there is to say, the watch says.
            Ok(_) | Err(_) => {}
        }
        Ok(Some(replica))
    }

    /// SQL statements that reads have run here, for tests that count them.
    pub fn statements(&self) -> u64 {
        self.0.statements.load(Ordering::Relaxed)
    }

    /// Whether it may answer now.
    pub fn serves(&self) -> bool {
        self.standing().serves(Instant::now())
    }

    /// One state of the replica that shows all that `viewer` may expect, or nothing: read on the primary then.
    pub async fn open(&self, viewer: Option<Viewer>) -> Option<Arc<Snapshot>> {
        let opened = tokio::time::timeout(TIME_LIMIT, self.try_open(viewer)).await;
        match opened.unwrap_or(Err(PassedOver::Busy)) {
            Ok(snapshot) => Some(Arc::new(snapshot)),
            Err(passed_over) => {
                count_passed_over(passed_over);
                None
            }
        }
    }

    async fn try_open(&self, viewer: Option<Viewer>) -> Result<Snapshot, PassedOver> {
        if !self.serves() {
            return Err(PassedOver::LeftOut);
        }
        let commits = match viewer {
            // The primary says itself what is wrong with it.
            Some(Viewer { user, commits: None, .. }) => {
                self.0.primary.commits_of(user).await.map_err(|_| PassedOver::Failed)?
            }
            Some(Viewer { commits: Some(commits), .. }) => commits,
            None => 0,
        };
        let failed = |error: DbErr| match error {
            DbErr::ConnectionAcquire(_) => PassedOver::Busy,
            error => {
                self.leave_out(&Absence::Unreachable(error));
                PassedOver::Failed
            }
        };
        // REPEATABLE READ and read-only by the pool's settings.
        let transaction = self.0.pool.begin("BEGIN").await.map_err(failed)?;
        let statement = match viewer {
            None => self.0.primary.statement(
                "SELECT last_position, (SELECT event_id FROM events WHERE position = last_position) AS stands, \
                 true AS is_known, CAST(0 AS bigint) AS commits FROM event_log WHERE id = 1 AND log_id = ?",
                [self.0.log.into()],
            ),
            Some(viewer) => {
                let values: [Value; 3] = [viewer.session.into(), viewer.user.into(), self.0.log.into()];
                self.0.primary.statement(
                    "SELECT last_position, (SELECT event_id FROM events WHERE position = last_position) AS stands, \
                     EXISTS (SELECT FROM sessions WHERE id = ?) AS is_known, \
                     COALESCE((SELECT commits FROM commit_marks WHERE user_id = ?), 0) AS commits \
                     FROM event_log WHERE id = 1 AND log_id = ?",
                    values,
                )
            }
        };
        let row = transaction.query_one_raw(statement).await.map_err(failed)?;
        let Some(row) = row else {
            self.leave_out(&Absence::Stranger);
            return Err(PassedOver::Failed);
        };
        let position = row.try_get("", "last_position").map_err(failed)?;
        let stands: Option<Uuid> = row.try_get("", "stands").map_err(failed)?;
        let known: bool = row.try_get("", "is_known").map_err(failed)?;
        if !known || row.try_get::<i64>("", "commits").map_err(failed)? < commits {
            return Err(PassedOver::OwnWrites);
        }
        let place = (position, stands.map(EventId::from));
        Ok(Snapshot { transaction, place, broken: AtomicBool::new(false), replica: self.clone() })
    }

    /// Looks at the replica again and again until the process stops. Reads are answered here only while this runs.
    pub async fn watch(self, lifecycle: Lifecycle) {
        // Twice within the limit, so that a lease is renewed before it ends.
        let period = (self.0.limit / 2).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        let watching = async {
            loop {
                self.check().await;
                tokio::time::sleep(period).await;
            }
        };
        tokio::select! {
            () = lifecycle.stopping() => {}
            () = watching => {}
        }
    }

    /// Finds out how long the replica takes to get where the primary is now.
    async fn check(&self) {
        let asked = Instant::now();
        // The primary's own failures are reported elsewhere. The lease runs out meanwhile.
        let Ok(target) = self.primary_position().await else { return };
        match self.reach(asked, target).await {
            Ok(()) => self.change(|standing, now| standing.reached(asked, now), &Absence::Behind),
            Err(absence) => self.leave_out(&absence),
        }
    }

    async fn reach(&self, asked: Instant, target: i64) -> Result<(), Absence> {
        let mut pauses = BackOff::new(self.0.primary.ids(), REPLAY);
        loop {
            let look = self.look().await.map_err(Absence::Unreachable)?;
            if look.system != self.0.system || look.log != Some(self.0.log) {
                return Err(Absence::Stranger);
            }
            if !look.following {
                return Err(Absence::NotFollowing);
            }
            if look.replayed >= target {
                return Ok(());
            }
            if asked.elapsed() > self.0.limit {
                return Err(Absence::Behind);
            }
            pauses.pause().await;
        }
    }

    /// Where the primary's write-ahead log stands, in bytes. A commit lies before it once it is durable.
    async fn primary_position(&self) -> Result<i64, DbErr> {
        let sql = "SELECT CAST(pg_current_wal_lsn() - CAST('0/0' AS pg_lsn) AS bigint) AS place";
        let statement = self.0.primary.statement(sql, []);
        let row = self.0.primary.writer().query_one_raw(statement).await?;
        row.ok_or_else(|| DbErr::RecordNotFound("the primary's position".into()))?.try_get("", "place")
    }

    async fn look(&self) -> Result<Look, DbErr> {
        let sql = "SELECT pg_is_in_recovery() AS following, system_identifier, \
                   COALESCE(CAST(pg_last_wal_replay_lsn() - CAST('0/0' AS pg_lsn) AS bigint), 0) AS replayed, \
                   (SELECT log_id FROM event_log WHERE id = 1) AS log_id FROM pg_control_system()";
        let looking = self.0.watcher.query_one_raw(self.0.primary.statement(sql, []));
        let silent = |_| DbErr::Custom(format!("no answer within {} s", LOOK_TIMEOUT.as_secs()));
        let row = tokio::time::timeout(LOOK_TIMEOUT, looking).await.map_err(silent)??;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("pg_control_system".into()))?;
        Ok(Look {
            following: row.try_get("", "following")?,
            replayed: row.try_get("", "replayed")?,
            system: row.try_get("", "system_identifier")?,
            log: row.try_get("", "log_id")?,
        })
    }

    fn leave_out(&self, absence: &Absence) {
        self.change(|standing, _| standing.leave_out(), absence);
    }

    /// Changes what is known, and says so if it makes a difference: `absence` is why, if it is out then.
    fn change(&self, change: impl FnOnce(&mut ReplicaLease, Instant), absence: &Absence) {
        let now = Instant::now();
        let (before, after) = {
            let mut standing = self.standing();
            let before = *standing;
            change(&mut standing, now);
            (before, *standing)
        };
        if let Some(age) = after.age(now) {
            metrics::gauge!("lancewire_replica_lag_seconds").set(age.as_secs_f64());
        }
        metrics::gauge!("lancewire_replica_serving").set(f64::from(u8::from(after.serves(now))));
        match (before.is_in(), after.is_in()) {
            (false, true) => tracing::info!("the replica answers public reads"),
            (true, false) => tracing::warn!(reason = %absence, "the replica is left out"),
            (false, false) if before.is_fresh() => tracing::warn!(reason = %absence, "the replica cannot be read yet"),
            (false, false) | (true, true) => {}
        }
    }

    fn standing(&self) -> MutexGuard<'_, ReplicaLease> {
        self.0.standing.lock()
    }
}

fn count_passed_over(why: PassedOver) {
    let reason = match why {
        PassedOver::LeftOut => "left_out",
        PassedOver::OwnWrites => "own_writes",
        PassedOver::Busy => "busy",
        PassedOver::Failed => "failed",
    };
    metrics::counter!("lancewire_replica_passed_over_total", "reason" => reason).increment(1);
}

async fn open_pool(settings: &DatabaseSettings, connections: u32) -> Result<DatabaseConnection, DbErr> {
    let (mut options, connect) = postgres_options(settings, &settings.replica_url)?;
    let statement_timeout = settings.statement_timeout_ms;
    options.map_sqlx_postgres_opts(move |_| {
        connect.clone().application_name("lancewire-replica").statement_cache_capacity(256).options([
            ("statement_timeout", statement_timeout.to_string()),
            ("idle_in_transaction_session_timeout", "60000".to_owned()),
            ("default_transaction_isolation", "repeatable read".to_owned()),
            ("default_transaction_read_only", "on".to_owned()),
        ])
    });
    options.max_connections(connections);
    options.acquire_timeout(LOOK_TIMEOUT);
    // It may be away when we start.
    options.connect_lazy(true);
    Database::connect(options).await
}

/// Whether the server is there and will not let us in, now or later: a password, a name, a right; or we will not have it:
/// its certificate.
fn is_refusal(error: &DbErr) -> bool {
    let insecure = matches!(error, DbErr::Conn(RuntimeErr::SqlxError(error)) if is_insecure(error));
    insecure || sqlstate(error).is_some_and(|code| ["28", "3D", "42501"].iter().any(|class| code.starts_with(class)))
}

/// The code that the server gave; none if it is not the server that complains.
fn sqlstate(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    let SqlxError::Database(error) = &**error else { return None };
    error.code().map(std::borrow::Cow::into_owned)
}
