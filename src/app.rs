//! The composition root: builds each service once and starts what runs in the background.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use chrono::TimeDelta;
use migration::{Migrator, MigratorTrait};
use tokio::net::TcpListener;

use crate::{
    accounts::Accounts,
    auth::{
        attempts::Attempts,
        keys::{KeyPolicy, Keyring},
        passwords::Passwords,
        sessions::Sessions,
        tokens::AccessTokens,
    },
    claims::Claims,
    clock::Clock,
    config::{BusKind, Config, Environment, PaymentProvider},
    db::{Backend, Db},
    error::Fault,
    events::{self, EventLog},
    gossip,
    graphql::budget::Budgets,
    http::{
        operations::{Operations, Parts},
        router::{Web, router},
        server,
        websocket::Sockets,
    },
    ids::Ids,
    jobs::Jobs,
    lifecycle::Lifecycle,
    notifications::Notifications,
    realtime::{Bus, Hub, HubSettings, MemoryBus, Pace, PostgresBus, PostgresBusError, RedisBus, RedisBusError, Tail},
    schema::{self, Services},
    telemetry,
    wallet::{Wallets, sandbox},
};

/// How often a node says how far the log goes, and how long it waits for what the bus will probably still bring.
const HEARTBEAT: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_millis(10);
/// How often spent budgets that have refilled are forgotten.
const SWEEP: Duration = Duration::from_mins(1);
/// What drained sockets may take beyond twice the drain time: their last words (see `http::websocket`).
const GOODBYE: Duration = Duration::from_secs(5);

/// The server, built and not yet serving.
pub struct App {
    /// Its settings.
    pub config: Config,
    /// Its database.
    pub db: Db,
    /// Its services.
    pub services: Services,
    /// Its tasks.
    pub lifecycle: Lifecycle,
    /// Time.
    pub clock: Clock,
    router: Router,
}

/// Why the server could not be built, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened.
    #[error("database.url: the database cannot be opened: {0}")]
    Connect(#[source] sea_orm::DbErr),
    /// The tables could not be brought up to date.
    #[error("the database cannot be migrated: {0}")]
    Migrate(#[source] sea_orm::DbErr),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] crate::auth::keys::KeyError),
    /// The password settings.
    #[error(transparent)]
    Passwords(#[from] crate::auth::passwords::PasswordFault),
    /// The event log.
    #[error("the event log cannot be opened: {0}")]
    Log(#[from] Fault),
    /// What connects the nodes.
    #[error(transparent)]
    PostgresBus(#[from] PostgresBusError),
    /// What connects the nodes.
    #[error(transparent)]
    RedisBus(#[from] RedisBusError),
}

impl App {
    /// Opens and migrates the database and builds every service.
    pub async fn build(config: Config, clock: Clock, ids: Ids) -> Result<Self, StartError> {
        let lifecycle = Lifecycle::new();
        let db = open_database(&config, ids.clone()).await?;

        let policy = match config.environment {
            Environment::Development => KeyPolicy::CreateIfMissing,
            Environment::Production => KeyPolicy::Require,
        };
        let signing_kid = Some(config.auth.signing_kid.as_str()).filter(|kid| !kid.is_empty());
        let keyring = Keyring::load(&config.auth.keys_dir, signing_kid, policy, &ids)?;
        let tokens = AccessTokens::new(Arc::new(keyring), config.auth.tokens(), clock.clone(), ids.clone());
        let refresh = config.auth.refresh_token_seconds;
        let sessions = Sessions::new(db.clone(), Arc::new(tokens), clock.clone(), ids.clone(), refresh);
        let passwords = Passwords::new(&config.auth.passwords(), ids.clone())?;
        let alone = config.bus_kind() == BusKind::Memory;
        let new_attempts = if alone { Attempts::new } else { Attempts::shared };
        let attempts = new_attempts(clock.clone(), config.auth.attempts());

        let accounts =
            Accounts::new(db.clone(), clock.clone(), ids.clone(), sessions.clone(), passwords, attempts.clone());
        let sandbox_delay = match config.payments.provider {
            PaymentProvider::Sandbox => Some(TimeDelta::milliseconds(config.payments.sandbox_delay_ms.into())),
            PaymentProvider::None => None,
        };
        let currency = config.marketplace.currency();
        let wallets = Wallets::new(db.clone(), clock.clone(), ids.clone(), accounts.clone(), currency, sandbox_delay);
        let notifications = Notifications::new(db.clone(), clock.clone(), ids.clone());
        let jobs =
            Jobs::new(db.clone(), clock.clone(), ids.clone(), accounts.clone(), wallets.clone(), notifications.clone());
        let claims = Claims::new(
            db.clone(),
            clock.clone(),
            ids.clone(),
            accounts.clone(),
            jobs.clone(),
            notifications.clone(),
            (&config.marketplace).into(),
        );

        let log = EventLog::open(db.clone()).await?;
        let delivery = HubSettings {
            ring_bytes: config.events.ring_bytes,
            backlog: config.events.buffer,
            shared_execution: config.events.shared_execution,
        };
        let bus = start_bus(&config, &log, &ids, &lifecycle).await?;
        let hub = Hub::new(log, Arc::clone(&bus), schema::event::terms, delivery, clock.clone(), lifecycle.clone());
        let pace = Pace { poll: Duration::from_millis(config.events.poll_ms), heartbeat: HEARTBEAT, hold: HOLD };
        let witness = sessions.clone();
        let tail = Tail::begin(hub.clone(), Arc::clone(&bus), db.doorbell(), pace, move |event| witness.hear(event));
        let tail = tail.await?;
        if config.events.delivery {
            drop(lifecycle.spawn(tail.run(lifecycle.clone())));
        }
        let kept = TimeDelta::seconds(config.events.retention_seconds.into());
        let retention = events::run_retention(hub.log().clone(), kept, clock.clone(), lifecycle.clone());
        drop(lifecycle.spawn(retention));
        if sandbox_delay.is_some() {
            drop(lifecycle.spawn(sandbox::run(wallets.clone(), lifecycle.clone())));
        }

        let services = Services { accounts, wallets, notifications, jobs, claims, hub: hub.clone() };
        let budgets = Arc::new(if alone { Budgets::new(config.budgets) } else { Budgets::shared(config.budgets) });
        drop(lifecycle.spawn(sweep(Arc::clone(&budgets), lifecycle.clone())));
        if !alone {
            let gossip = gossip::run(Arc::clone(&bus), Arc::clone(&budgets), attempts, lifecycle.clone());
            drop(lifecycle.spawn(gossip));
        }
        let operations = Operations::new(Parts {
            services: services.clone(),
            sessions: sessions.clone(),
            limits: config.limits.clone(),
            budgets,
            timeout: Duration::from_millis(config.http.operation_timeout_ms),
            clock: clock.clone(),
            ids,
        });
        let metrics = telemetry::metrics();
        let origins = config.http.allowed_origins.clone();
        let sockets =
            Sockets::new(operations.clone(), config.sockets.clone(), &origins, clock.clone(), lifecycle.clone());
        let web = Web {
            operations,
            sockets,
            sessions,
            db: db.clone(),
            hub,
            lifecycle: lifecycle.clone(),
            metrics,
            allowed_origins: origins.into(),
            max_body_bytes: config.http.max_body_bytes,
            body_timeout: Duration::from_millis(config.http.body_timeout_ms),
        };
        Ok(Self { config, db, services, lifecycle, clock, router: router(web) })
    }

    /// Listens where the settings say, or says why it cannot.
    pub async fn listen(&self) -> std::io::Result<TcpListener> {
        TcpListener::bind(self.config.http.listen).await
    }

    /// Serves in the background until the lifecycle ends.
    pub fn serve(&self, listener: TcpListener) -> std::io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let timeouts = server::Timeouts {
            idle: Duration::from_millis(self.config.http.idle_timeout_ms),
            write: Duration::from_millis(self.config.sockets.write_timeout_ms.get()),
        };
        let serving = server::serve(listener, self.router.clone(), timeouts, self.lifecycle.clone());
        drop(self.lifecycle.spawn(serving));
        Ok(address)
    }

    /// Stops: readiness fails, requests in flight finish, sockets are sent home, then everything ends.
    pub async fn shut_down(&self) -> bool {
        let drain = Duration::from_millis(self.config.sockets.drain_ms.get());
        self.lifecycle.shut_down(drain * 2 + GOODBYE).await
    }
}

/// Opens the database and brings its tables up to date. Two nodes may do so at the same time.
pub async fn open_database(config: &Config, ids: Ids) -> Result<Db, StartError> {
    if let Some(path) = config.database.url.strip_prefix("sqlite:") {
        let path = path.trim_start_matches("//");
        let folder = std::path::Path::new(path.split('?').next().unwrap_or(path)).parent();
        if let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| StartError::Connect(sea_orm::DbErr::Custom(error.to_string())))?;
        }
    }
    let db = Db::connect(&config.database, ids).await.map_err(StartError::Connect)?;
    migrate(&db).await.map_err(StartError::Migrate)?;
    Ok(db)
}

/// What connects this node with the others.
async fn start_bus(
    config: &Config,
    log: &EventLog,
    ids: &Ids,
    lifecycle: &Lifecycle,
) -> Result<Arc<dyn Bus>, StartError> {
    Ok(match config.bus_kind() {
        BusKind::Auto | BusKind::Memory => Arc::new(MemoryBus::alone()),
        BusKind::Postgres => Arc::new(PostgresBus::start(&config.database.url, ids, lifecycle)?),
        BusKind::Redis => Arc::new(RedisBus::start(&config.bus.redis_url, log.identity(), ids, lifecycle).await?),
    })
}

async fn migrate(db: &Db) -> Result<(), sea_orm::DbErr> {
    use sea_orm::{ConnectionTrait, TransactionTrait};

    match db.backend() {
        // One writing connection, and IMMEDIATE transactions: a second process waits at the first statement.
        Backend::Sqlite => Migrator::up(db.writer(), None).await,
        Backend::Postgres => {
            // Held by this transaction alone; the migrations run in their own beside it.
            let lock = db.writer().begin().await?;
            // However long the other node takes: its migrations are ours too.
            lock.execute_unprepared("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").await?;
            lock.execute_unprepared("SELECT pg_advisory_xact_lock(4721001)").await?;
            Migrator::up(db.writer(), None).await?;
            lock.commit().await
        }
    }
}

async fn sweep(budgets: Arc<Budgets>, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => budgets.sweep(),
        }
    }
}
