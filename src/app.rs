//! The composition root: builds each service once and starts what runs in the background.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::Router;
use chrono::TimeDelta;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Notify,
};

use crate::{
    accounts::Accounts,
    auth::{
        attempts::Attempts,
        keys::{KeyPolicy, Keyring},
        old_sessions::OldSessions,
        passwords::Passwords,
        rotation::{KeySettings, Rotation},
        sessions::Sessions,
        sign_ups::SignUps,
        tokens::AccessTokens,
    },
    claims::{Claims, escrow::Escrow, service::Neighbours},
    clock::Clock,
    config::{BusKind, BusSettings, Config, ConfigError, Environment, PaymentProvider},
    db::{
        Backend, Db, grants,
        replica::{Replica, ReplicaError},
    },
    descriptors,
    error::{Fault, cause},
    events::{self, EventLog, OldEvents},
    gossip,
    graphql::{
        budget::Budgets,
        language::{Documents, InvalidSchema},
    },
    http::{
        arrivals::Arrivals,
        connections::{self, ConnectionLimits, Connections},
        operations::{Operations, Parts, SubscriptionPayment},
        pages::Site,
        router::{Web, operators, router},
        server::{self, Server, Timeouts},
        tls::{Tls, TlsError},
        websocket::Sockets,
    },
    idempotency::OldKeys,
    ids::Ids,
    jobs::{Jobs, withholding},
    lifecycle::Lifecycle,
    migrations,
    notifications::{Notifications, OldNotifications},
    realtime::{
        Bus, Hub, HubSettings, MemoryBus, Pace, PostgresBus, PostgresBusError, RedisBus, RedisBusError, Seal, Tail,
    },
    retention::{self, Prune},
    schema::{self, Services},
    telemetry,
    wallet::{self, Wallets, currency::CurrencyError, sandbox},
};

/// How often a node says how far the log goes, and how long it waits for what the bus will probably still bring.
const HEARTBEAT: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_millis(10);
/// The least poll of the log where this process is the only one that writes.
const LONE_POLL: Duration = Duration::from_secs(1);
/// Rights that a database user lacks, as far as they are told.
const SHOWN_GRANTS: usize = 5;
/// How often spent budgets that have refilled are forgotten.
const SWEEP: Duration = Duration::from_mins(1);
/// What drained sockets may take beyond twice the drain time: their last words (see `http::websocket`).
const GOODBYE: Duration = Duration::from_secs(5);
/// How many connections there may be where the settings do not say.
const MOST_CONNECTIONS: usize = 100_000;
/// How many connections one address may have where the settings do not say: so many for each socket, and some more.
const CONNECTIONS_OF_A_SOCKET: NonZeroU32 = NonZeroU32::new(2).expect("a literal above zero");
const MORE_THAN_SOCKETS: u32 = 56;
/// Connections that the kernel keeps until they are accepted, if the system lets it (`net.core.somaxconn`, 4,096). Where
/// it is full the kernel drops what an honest client sends first, and that client tries again after a second.
const BACKLOG: u32 = 4_096;
/// Connections of those who run the service, on the listener of their own.
const OPERATORS: NonZeroU32 = NonZeroU32::new(64).expect("a literal above zero");

/// The server, built and not yet serving.
pub struct App {
    /// Its settings.
    pub config: Config,
    /// Its database.
    pub db: Db,
    /// What answers public reads, if the settings name it.
    pub replica: Option<Replica>,
    /// Its services.
    pub services: Services,
    /// Its tasks.
    pub lifecycle: Lifecycle,
    /// Time.
    pub clock: Clock,
    router: Router,
    /// What is answered on the listener of those who run the service.
    operators: Router,
    operators_address: OnceLock<SocketAddr>,
    connections: Connections,
    arrivals: Arrivals,
    tls: Option<Tls>,
}

/// Why the server could not be built, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened.
    #[error("database.url: the database cannot be opened: {}", cause(.0))]
    Connect(sea_orm::DbErr),
    /// There is none to look at.
    #[error("database.url: there is no such file")]
    Absent,
    /// The user may not do what the server does.
    #[error(
        "database.url: the database user {user} lacks {lacks}: let the owner of the tables run what `lancewire grants {user}` \
         prints"
    )]
    Grants {
        /// Whose rights they are.
        user: String,
        /// Which, with commas.
        lacks: String,
    },
    /// The tables do not fit.
    #[error(transparent)]
    Schema(#[from] migrations::Misfit),
    /// The books are in another currency.
    #[error(transparent)]
    Currency(#[from] CurrencyError),
    /// The API's own schema.
    #[error(transparent)]
    Language(#[from] InvalidSchema),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] crate::auth::keys::KeyError),
    /// The signing keys beside those of the other nodes.
    #[error(transparent)]
    Rotation(#[from] crate::auth::rotation::RotationError),
    /// The password settings.
    #[error(transparent)]
    Passwords(#[from] crate::auth::passwords::PasswordFault),
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
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
    #[expect(clippy::too_many_lines, reason = "each part once, in the order in which they need each other")]
    pub async fn build(config: Config, clock: Clock, ids: Ids) -> Result<Self, StartError> {
        // First: what is counted before there is somebody to count it is lost.
        let metrics = telemetry::metrics();
        let lifecycle = Lifecycle::new();
        let tls = Tls::load(&config.tls)?;
        let db = Box::pin(open_database(&config, ids.clone(), lifecycle.clone())).await?;
        lifecycle.spawn_until_stopping(db.clone().watch(config.database.clone()));

        let (tokens, rotation) = load_keys(&config, &db, &ids, &clock)?;
        let lifetimes = config.auth.lifetimes();
        let sessions = Sessions::new(db.clone(), tokens, clock.clone(), ids.clone(), lifetimes);
        let passwords = Passwords::new(&config.auth.passwords(), ids.clone())?;
        let alone = config.bus_kind() == BusKind::Memory;
        let new_attempts = if alone { Attempts::new } else { Attempts::shared };
        let attempts = new_attempts(clock.clone(), config.auth.attempts());
        let new_sign_ups = if alone { SignUps::new } else { SignUps::shared };
        let sign_ups = new_sign_ups(config.auth.sign_ups_per_address);

        let limited = (attempts.clone(), sign_ups.clone());
        let accounts = Accounts::new(db.clone(), clock.clone(), ids.clone(), sessions.clone(), passwords, limited);
        let sandbox_delay = match config.payments.provider {
            PaymentProvider::Sandbox => Some(TimeDelta::milliseconds(config.payments.sandbox_delay_ms.into())),
            PaymentProvider::None => None,
        };
        let currency = config.marketplace.currency();
        let notifications = Notifications::new(db.clone(), clock.clone(), ids.clone());
        let wallets = Wallets::new(db.clone(), clock.clone(), ids.clone(), accounts.clone(), currency, sandbox_delay);
        let jobs = Jobs::new(
            db.clone(),
            clock.clone(),
            ids.clone(),
            accounts.clone(),
            wallets.clone(),
            notifications.clone(),
            config.marketplace.draft_quota(),
        );
        let claims = Claims::new(
            db.clone(),
            clock.clone(),
            ids.clone(),
            Neighbours {
                accounts: accounts.clone(),
                jobs: jobs.clone(),
                escrow: Escrow::new(wallets.clone()),
                notifications: notifications.clone(),
            },
            (&config.marketplace).into(),
        );

        let log = EventLog::open(db.clone()).await?;
        let replica = Replica::connect(&config.database, &db, log.identity()).await?;
        if let Some(replica) = replica.clone() {
            drop(lifecycle.spawn(replica.watch(lifecycle.clone())));
        }
        let bus = start_bus(&config, &log, &ids, &lifecycle).await?;
        let budgets = Arc::new(if alone { Budgets::new(config.budgets) } else { Budgets::shared(config.budgets) });
        let payment = Arc::new(SubscriptionPayment(Arc::clone(&budgets)));
        let delivery = Delivering { log, bus: &bus, doorbell: db.doorbell(), sessions: &sessions, payment };
        let hub = start_delivery(&config, delivery, (&clock, &lifecycle)).await?;
        let kept = TimeDelta::seconds(config.events.retention_seconds.into());
        let seconds = |seconds: u32| TimeDelta::seconds(seconds.into());
        let (read, unread) = (config.retention.read_notification_seconds, config.retention.unread_notification_seconds);
        let old: Vec<Box<dyn Prune>> = vec![
            Box::new(OldEvents::new(hub.log().clone(), kept)),
            Box::new(OldSessions::new(db.clone())),
            Box::new(OldKeys::new(db.clone(), seconds(config.retention.idempotency_key_seconds))),
            Box::new(OldNotifications::new(db.clone(), seconds(read), seconds(unread))),
        ];
        lifecycle.spawn_until_stopping(retention::run(old, db.clone(), lifecycle.clone()));
        lifecycle.spawn_until_stopping(withholding::run(jobs.clone(), lifecycle.clone()));
        lifecycle.spawn_until_stopping(wallet::seal::run(db.clone(), clock.clone(), lifecycle.clone()));
        lifecycle.spawn_until_stopping(events::seal::run(db.clone(), clock.clone(), lifecycle.clone()));
        if sandbox_delay.is_some() {
            lifecycle.spawn_until_stopping(sandbox::run(wallets.clone(), clock.clone(), lifecycle.clone()));
        }

        let services = Services { accounts, wallets, notifications, jobs, claims, hub: hub.clone() };
        let limits = gossip::Limits { budgets: Arc::clone(&budgets), attempts, sign_ups };
        drop(lifecycle.spawn(sweep(limits.clone(), lifecycle.clone())));
        if !alone {
            drop(lifecycle.spawn(gossip::run(Arc::clone(&bus), limits, lifecycle.clone())));
        }
        let operations = Operations::new(Parts {
            db: db.clone(),
            replica: replica.clone(),
            services: services.clone(),
            sessions: sessions.clone(),
            documents: Documents::new(schema::language()?),
            limits: config.limits.clone(),
            budgets,
            share_sizes: Db::share_sizes(&config.database),
            timeout: Duration::from_millis(config.http.operation_timeout_ms),
            clock: clock.clone(),
            ids: ids.clone(),
        });
        if let Some(tls) = tls.clone() {
            drop(lifecycle.spawn(tls.run_reload(clock.clone(), lifecycle.clone())));
        }
        let origins = Arc::new(config.http.origins());
        let sockets = Sockets::new(
            operations.clone(),
            config.sockets.clone(),
            Arc::clone(&origins),
            clock.clone(),
            ids,
            lifecycle.clone(),
        );
        let proxies = Arc::new(config.http.proxies()?);
        let arrivals = Arrivals::new(config.http.requests_per_second, Arc::clone(&proxies));
        let web = Web {
            operations,
            sockets,
            sessions,
            db: db.clone(),
            hub,
            lifecycle: lifecycle.clone(),
            metrics,
            origins,
            max_body_bytes: config.http.max_body_bytes,
            body_timeout: Duration::from_millis(config.http.body_timeout_ms),
            schema: Arc::default(),
            readiness: Arc::default(),
            proxies: Arc::clone(&proxies),
            arrivals: arrivals.clone(),
            site: Arc::new(site(&config)),
            has_operators: config.telemetry.metrics_listen()?.is_some(),
        };
        let connections = Connections::new(connection_limits(&config), proxies);
        // Last: the other nodes wait for what this one knows, and must not wait for one that does not start.
        rotation.begin().await?;
        drop(lifecycle.spawn(rotation.run(clock.clone(), lifecycle.clone())));
        Ok(Self {
            db,
            replica,
            services,
            lifecycle,
            clock,
            operators: operators(Web { arrivals: Arrivals::new(0, Arc::default()), ..web.clone() }),
            operators_address: OnceLock::new(),
            router: router(web),
            connections,
            arrivals,
            tls,
            config,
        })
    }

    /// Listens where the settings say, or says why it cannot.
    pub async fn listen(&self) -> std::io::Result<TcpListener> {
        let address = self.config.http.listen;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As a plain `bind` has it: a restart must not wait for the ends of old connections.
        socket.set_reuseaddr(cfg!(unix))?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }

    /// Says how many connections there may be.
    fn tell_limits(&self) {
        let (connections, files, wanted) =
            (self.connections.limits().total, descriptors::limit(), self.config.http.connections);
        if connections < usize::try_from(wanted).unwrap_or(usize::MAX) {
            tracing::warn!(
                connections,
                files,
                "the system's limit of open files leaves fewer connections than http.connections: raise its hard limit"
            );
        } else {
            tracing::info!(connections, files, "so many connections there may be");
        }
    }

    /// Serves in the background until the lifecycle ends.
    pub fn serve(&self, listener: TcpListener) -> std::io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        self.tell_limits();
        let timeouts = Timeouts {
            head: Duration::from_millis(self.config.http.head_timeout_ms),
            idle: Duration::from_millis(self.config.http.idle_timeout_ms),
            write: Duration::from_millis(self.config.sockets.write_timeout_ms.get()),
        };
        let public = Server {
            router: self.router.clone(),
            timeouts,
            tls: self.tls.clone(),
            connections: self.connections.clone(),
            arrivals: self.arrivals.clone(),
            lifecycle: self.lifecycle.clone(),
        };
        if let Some(listener) = self.listen_to_operators()? {
            let limits = ConnectionLimits { total: OPERATORS.get() as usize, per_address: OPERATORS };
            let connections = Connections::new(limits, Arc::default());
            let arrivals = Arrivals::new(0, Arc::default());
            let own = Server { router: self.operators.clone(), tls: None, connections, arrivals, ..public.clone() };
            drop(self.lifecycle.spawn(server::serve(listener, own)));
        }
        drop(self.lifecycle.spawn(self.arrivals.clone().sweep(self.lifecycle.clone())));
        drop(self.lifecycle.spawn(server::serve(listener, public)));
        Ok(address)
    }

    /// Where those who run the service are answered, once [`App::serve`] was called; none where the settings name no
    /// such place.
    pub fn operators_address(&self) -> Option<SocketAddr> {
        self.operators_address.get().copied()
    }

    fn listen_to_operators(&self) -> std::io::Result<Option<TcpListener>> {
        let Ok(Some(address)) = self.config.telemetry.metrics_listen() else { return Ok(None) };
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let _ = self.operators_address.set(listener.local_addr()?);
            TcpListener::from_std(listener)
        });
        let line = |error| format!("telemetry.metrics_listen: cannot listen on {address}: {error}");
        bound.map(Some).map_err(|error| std::io::Error::new(error.kind(), line(error)))
    }

    /// Says that the end is near and serves on for as long as load balancers need to see it: readiness fails from now
    /// on.
    pub async fn announce_end(&self) {
        self.lifecycle.announce();
        tokio::time::sleep(Duration::from_millis(self.config.http.drain_delay_ms)).await;
    }

    /// Stops: the listener closes, requests in flight finish, sockets are sent home, then everything ends. Returns
    /// whether all left by themselves.
    pub async fn shut_down(&self) -> bool {
        let drain = Duration::from_millis(self.config.sockets.drain_ms.get());
        self.lifecycle.shut_down(drain * 2 + GOODBYE).await
    }
}

/// Opens the database and brings its tables up to date, or refuses them. Two nodes may do so at the same time.
pub async fn open_database(config: &Config, ids: Ids, lifecycle: Lifecycle) -> Result<Db, StartError> {
    if let Some(file) = sqlite_file(&config.database.url).filter(|file| !file.exists()) {
        make_sqlite_file(file).map_err(|error| StartError::Connect(sea_orm::DbErr::Custom(error.to_string())))?;
    }
    let db = Db::connect(&config.database, ids, lifecycle).await.map_err(StartError::Connect)?;
    if db.backend() == Backend::Postgres {
        check_grants(&db).await?;
    }
    migrations::bring_up(&db, &config.database).await?;
    wallet::currency::check(&db, &config.marketplace.currency(), true).await?;
    Ok(db)
}

/// Refuses a database user who would fail at the first request that needs what they lack.
async fn check_grants(db: &Db) -> Result<(), StartError> {
    let lacks = grants::missing(db).await.map_err(StartError::Connect)?;
    if lacks.is_empty() {
        return Ok(());
    }
    let user = grants::user(db).await.map_err(StartError::Connect)?;
    // One line: the first few say what is wrong.
    let more = lacks.len().saturating_sub(SHOWN_GRANTS);
    let mut shown = lacks.into_iter().take(SHOWN_GRANTS).collect::<Vec<_>>().join(", ");
    if more > 0 {
        shown = format!("{shown} and {more} more rights");
    }
    Err(StartError::Grants { user, lacks: shown })
}

/// Opens a database that is there and of this version, and changes nothing in it. Its statements may take as long as they
/// take: it is for a look at everything.
pub async fn open_existing_database(mut config: Config, ids: Ids) -> Result<Db, StartError> {
    if sqlite_file(&config.database.url).is_some_and(|path| !path.exists()) {
        return Err(StartError::Absent);
    }
    config.database.migrate = false;
    config.database.statement_timeout_ms = 0;
    let db = Db::connect(&config.database, ids, Lifecycle::new()).await.map_err(StartError::Connect)?;
    migrations::bring_up(&db, &config.database).await?;
    wallet::currency::check(&db, &config.marketplace.currency(), false).await?;
    Ok(db)
}

/// An empty database in a folder that is made if need be, for its owner alone. SQLite gives the files beside it the same
/// mode.
fn make_sqlite_file(file: &Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create(true).truncate(false).open(file).map(drop)
}

fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    Some(Path::new(path.split('?').next().unwrap_or(path)))
}

/// What delivery stands on.
struct Delivering<'a> {
    log: EventLog,
    bus: &'a Arc<dyn Bus>,
    doorbell: Arc<Notify>,
    sessions: &'a Sessions,
    payment: Arc<SubscriptionPayment>,
}

/// The hub, and the tail that feeds it from the log and the bus.
async fn start_delivery(
    config: &Config,
    Delivering { log, bus, doorbell, sessions, payment }: Delivering<'_>,
    (clock, lifecycle): (&Clock, &Lifecycle),
) -> Result<Hub, StartError> {
    let settings = HubSettings {
        ring_bytes: config.events.ring_bytes,
        backlog: config.events.buffer,
        shared_execution: config.events.shared_execution,
        asking: config.subscriptions,
    };
    let terms = schema::event::terms;
    // Sockets are sent home over a while, and get everything until it is their turn. A delivery under way may wait for a
    // database that is away, for as long as that takes: it ends when nobody is left.
    let hub = Hub::new(log, Arc::clone(bus), terms, settings, payment, clock.clone(), lifecycle.until_drained());
    let poll = Duration::from_millis(config.events.poll_ms);
    // On SQLite nobody else commits but a tool of the operator's, and a commit of ours rings.
    let poll = if config.database.backend() == Backend::Sqlite { poll.max(LONE_POLL) } else { poll };
    let pace = Pace { poll, heartbeat: HEARTBEAT, hold: HOLD };
    let sessions = sessions.clone();
    let witness = move |event: &events::NewEvent| sessions.hear(event);
    let tail = Tail::begin(hub.clone(), Arc::clone(bus), doorbell, pace, lifecycle.clone(), witness).await?;
    if config.events.delivery {
        drop(lifecycle.until_drained().spawn(tail.run()));
        lifecycle.spawn_until_stopping(hub.lag().clone().watch());
    }
    Ok(hub)
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
        BusKind::Postgres => {
            let seal = Seal::new(log.shared_key("bus").await?, ids, log.time().clone());
            Arc::new(PostgresBus::start(&config.database.url, seal, lifecycle)?)
        }
        BusKind::Redis => {
            let installation = log.installation().await?;
            // A copy of the database has the same secret, and may share the Redis.
            let key = log.shared_key(&format!("bus {installation}")).await?;
            let seal = Seal::new(key, ids, log.time().clone());
            let BusSettings { redis_url, redis_ca, .. } = &config.bus;
            Arc::new(RedisBus::start(redis_url, redis_ca, &installation, seal, lifecycle).await?)
        }
    })
}

/// How many connections there may be, by the settings and by what the system leaves.
fn connection_limits(config: &Config) -> ConnectionLimits {
    let wanted = match config.http.connections {
        0 => MOST_CONNECTIONS,
        connections => usize::try_from(connections).unwrap_or(usize::MAX),
    };
    let databases = usize::try_from(config.database.max_connections).unwrap_or(usize::MAX);
    let replicas = if config.database.replica_url.is_empty() { 1 } else { 2 };
    let total = connections::ceiling(wanted, descriptors::limit(), databases.saturating_mul(replicas));
    metrics::gauge!(connections::CEILING).set(f64::from(u32::try_from(total).unwrap_or(u32::MAX)));
    // A socket is a connection, and its page makes some more.
    let sockets = config.sockets.sockets_per_address;
    let per_address = NonZeroU32::new(config.http.connections_per_address)
        .unwrap_or(sockets.saturating_mul(CONNECTIONS_OF_A_SOCKET).saturating_add(MORE_THAN_SOCKETS));
    ConnectionLimits { total, per_address }
}

async fn sweep(limits: gossip::Limits, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {
                limits.budgets.sweep();
                limits.sign_ups.sweep();
            }
        }
    }
}

/// The keys of tokens, and what keeps them in step with those of the other nodes.
fn load_keys(config: &Config, db: &Db, ids: &Ids, clock: &Clock) -> Result<(Arc<AccessTokens>, Rotation), StartError> {
    let settings = KeySettings {
        dir: config.auth.keys_dir.clone(),
        signing_kid: Some(config.auth.signing_kid.clone()).filter(|kid| !kid.is_empty()),
        policy: match config.environment {
            Environment::Development => KeyPolicy::CreateIfMissing,
            Environment::Production => KeyPolicy::Require,
        },
        reload: Duration::from_millis(config.auth.keys_reload_ms),
    };
    let keyring = Keyring::load(&settings.dir, settings.signing_kid.as_deref(), settings.policy, ids)?;
    let tokens = AccessTokens::new(Arc::new(keyring), config.auth.tokens(), clock.clone(), ids.clone());
    let tokens = Arc::new(tokens);
    let rotation = Rotation::new(db.clone(), ids.clone(), settings, Arc::clone(&tokens));
    Ok((tokens, rotation))
}

/// What the pages say of this server.
fn site(config: &Config) -> Site {
    Site {
        playground: config.http.playground,
        demo: config.environment == Environment::Development,
        currency: config.marketplace.currency.clone(),
        secured: config.tls.is_on(),
        listen: config.http.listen,
    }
}
