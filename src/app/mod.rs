//! The composition root: builds each service once and starts what runs in the background.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
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
    auth::{old_sessions::OldSessions, passwords::Passwords, sessions::Sessions},
    claims::{
        Claims,
        clocks::{LapsingClaims, UnreviewedWork},
        escrow::Escrow,
        service::Neighbours,
    },
    clock::Clock,
    config::Config,
    conversations::{self, Conversations, presence::Presence},
    db::{Backend, Db, replica::Replica},
    descriptors, domains,
    events::{self, EventLog, OldEvents},
    files::{self, Files, UnusedFiles, links::Links},
    graphql::language::Documents,
    http::{
        GraphqlState, HttpState,
        connections::{ConnectionLimits, Connections},
        health::Probes,
        router::{operators, router},
        server::{self, Server, Timeouts},
        tls::Tls,
        websocket::Sockets,
    },
    idempotency::OldKeys,
    ids::Ids,
    jobs::{Jobs, deadlines::Deadlines, withholding},
    lifecycle::Lifecycle,
    limits::{Arrivals, Limits, sharing},
    notifications::{Notifications, OldNotifications},
    operations::{Operations, Parts, SubscriptionPayment},
    realtime::{Bus, BusKind, Hub, HubSettings, Pace, Tail, start_bus},
    retention::{self, Prune},
    schedule::{self, Due, Schedule},
    schema::{self, Services},
    search::{self, Search},
    telemetry,
    wallet::{self, Wallets, due::Sandbox, sandbox::SandboxPayments},
};

mod database;
mod error;
mod parts;

pub use self::{
    database::{open_database, open_existing_database},
    error::StartError,
};

use parts::{connection_limits, limits, load_keys, site};

/// How often a node says how far the log goes, and how long it waits for what the bus will probably still bring.
const HEARTBEAT: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_millis(10);
/// The least poll of the log where this process is the only one that writes.
const LONE_POLL: Duration = Duration::from_secs(1);
/// What drained sockets may take beyond twice the drain time: their last words (see `http::websocket`).
const GOODBYE: Duration = Duration::from_secs(5);
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
    /// Runs operations on them.
    pub operations: Operations,
    /// How much callers and addresses may do.
    pub limits: Limits,
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

impl App {
    /// Opens and migrates the database and builds every service.
    pub async fn build(config: Config, clock: Clock, ids: Ids) -> Result<Self, StartError> {
        // All that is open while it builds would be a part of its caller's task.
        Box::pin(Self::assemble(config, clock, ids)).await
    }

    #[expect(clippy::too_many_lines, reason = "each part once, in the order in which they need each other")]
    async fn assemble(config: Config, clock: Clock, ids: Ids) -> Result<Self, StartError> {
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
        let limits = limits(&config, alone, &clock);

        let limited = (limits.attempts.clone(), limits.sign_ups.clone());
        let accounts = Accounts::new(db.clone(), clock.clone(), ids.clone(), sessions.clone(), passwords, limited);
        let log = EventLog::open(db.clone(), domains::KINDS).await?;
        let schedule = Schedule::new(db.clone(), clock.clone(), log.time().clone());
        let sandbox = config.payments.sandbox_delay().map(|delay| Sandbox { delay, schedule: schedule.clone() });
        let currency = config.marketplace.currency();
        let notifications = Notifications::new(db.clone(), clock.clone(), ids.clone());
        let wallets = Wallets::new(db.clone(), clock.clone(), ids.clone(), accounts.clone(), currency, sandbox.clone());
        let jobs = Jobs::new(
            db.clone(),
            clock.clone(),
            ids.clone(),
            accounts.clone(),
            wallets.clone(),
            notifications.clone(),
            (config.marketplace.draft_quota(), schedule.clone()),
        )
        .with_search(Search::default());
        let base = config.files.base(config.http.listen, config.tls.is_on());
        let files = Files::new(
            db.clone(),
            ids.clone(),
            schedule.clone(),
            Links::new(&log.shared_key("links to files").await?, base)?,
            config.files.folder(&config.database.url),
            (&config.files).into(),
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
                files: files.clone(),
            },
            ((&config.marketplace).into(), schedule.clone()),
        );

        let conversations = Conversations::new(
            db.clone(),
            clock.clone(),
            ids.clone(),
            conversations::service::Neighbours {
                accounts: accounts.clone(),
                jobs: jobs.clone(),
                claims: claims.clone(),
                notifications: notifications.clone(),
            },
        );
        let presence = Presence::new(clock.clone(), &ids);

        let replica = Replica::connect(&config.database, &db, log.identity()).await?;
        if let Some(replica) = replica.clone() {
            drop(lifecycle.spawn(replica.watch(lifecycle.clone())));
        }
        let bus = start_bus(config.bus_kind(), &config.bus, &config.database.url, &log, &ids, &lifecycle).await?;
        let payment = Arc::new(SubscriptionPayment(Arc::clone(&limits.budgets)));
        let bell = jobs.search().bell();
        let delivery = Delivering { log, bus: &bus, doorbell: db.doorbell(), sessions: &sessions, payment, bell };
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
        let mut due: Vec<Box<dyn Due>> = vec![
            Box::new(Deadlines(jobs.clone())),
            Box::new(LapsingClaims(claims.clone())),
            Box::new(UnreviewedWork(claims.clone())),
            Box::new(UnusedFiles(files.clone())),
        ];
        if sandbox.is_some() {
            due.push(Box::new(SandboxPayments(wallets.clone())));
        }
        lifecycle.spawn_until_stopping(schedule::run(due, schedule, lifecycle.clone()));
        lifecycle.spawn_until_stopping(files::sweep(files.clone(), lifecycle.clone()));

        // Until the last socket is gone: while a node drains, its people are there.
        drop(lifecycle.until_drained().spawn(presence.clone().run(Arc::clone(&bus), lifecycle.clone())));
        let services = Services {
            accounts,
            wallets,
            notifications,
            jobs,
            claims,
            conversations,
            presence,
            files: files.clone(),
            hub: hub.clone(),
        };
        drop(lifecycle.spawn(limits.clone().sweep(lifecycle.clone())));
        if !alone {
            drop(lifecycle.spawn(sharing::run(Arc::clone(&bus), limits.clone(), lifecycle.clone())));
        }
        let operations = Operations::new(Parts {
            db: db.clone(),
            replica: replica.clone(),
            services: services.clone(),
            sessions: sessions.clone(),
            documents: Documents::new(schema::language()?),
            limits: config.limits.clone(),
            budgets: Arc::clone(&limits.budgets),
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
        let arrivals = Arrivals::new(config.http.requests_per_second, proxies.networks().to_vec());
        let site = Arc::new(site(&config));
        let graphql = GraphqlState {
            operations: operations.clone(),
            sockets,
            log: hub.log().clone(),
            proxies: Arc::clone(&proxies),
            site: Arc::clone(&site),
            stock_mount: config.http.stock_mount,
            max_body_bytes: config.http.max_body_bytes,
            body_timeout: Duration::from_millis(config.http.body_timeout_ms),
        };
        let state = HttpState {
            graphql,
            probes: Probes::new(db.clone(), hub, lifecycle.clone(), metrics),
            operations: operations.clone(),
            files,
            lifecycle: lifecycle.clone(),
            sessions,
            origins,
            proxies: Arc::clone(&proxies),
            arrivals: arrivals.clone(),
            site,
        };
        let has_operators = config.telemetry.metrics_listen()?.is_some();
        let connections = Connections::new(connection_limits(&config), proxies);
        // Last: the other nodes wait for what this one knows, and must not wait for one that does not start.
        rotation.begin().await?;
        drop(lifecycle.spawn(rotation.run(clock.clone(), lifecycle.clone())));
        Ok(Self {
            db,
            replica,
            services,
            operations,
            limits,
            lifecycle,
            clock,
            operators: operators(HttpState { arrivals: Arrivals::new(0, Vec::new()), ..state.clone() }),
            operators_address: OnceLock::new(),
            router: router(state, has_operators),
            connections,
            arrivals,
            tls,
            config,
        })
    }

    /// Listens where the settings say, or says why it cannot.
    pub fn listen(&self) -> std::io::Result<TcpListener> {
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
            let arrivals = Arrivals::new(0, Vec::new());
            let own = Server { router: self.operators.clone(), tls: None, connections, arrivals, ..public.clone() };
            drop(self.lifecycle.spawn(server::serve(listener, own)));
        }
        self.keep_index();
        drop(self.lifecycle.spawn(self.arrivals.clone().sweep(self.lifecycle.clone())));
        drop(self.lifecycle.spawn(server::serve(listener, public)));
        Ok(address)
    }

    /// Keeps the index that searches are answered from, if the settings want one. Only where somebody is served: a command
    /// that has done its work in a moment needs none.
    fn keep_index(&self) {
        if !self.config.search.enabled {
            return;
        }
        let jobs = &self.services.jobs;
        let folder = self.config.search.folder(&self.config.database.url);
        let log = (self.services.hub.log().clone(), self.db.ids().clone());
        let kept = search::run(jobs.search().clone(), Arc::new(jobs.clone()), log, folder, self.lifecycle.clone());
        drop(self.lifecycle.spawn(kept));
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

/// What delivery stands on.
struct Delivering<'a> {
    log: EventLog,
    bus: &'a Arc<dyn Bus>,
    doorbell: Arc<Notify>,
    sessions: &'a Sessions,
    payment: Arc<SubscriptionPayment>,
    /// Rung for each event, for who follows the log.
    bell: Arc<Notify>,
}

/// The hub, and the tail that feeds it from the log and the bus.
async fn start_delivery(
    config: &Config,
    Delivering { log, bus, doorbell, sessions, payment, bell }: Delivering<'_>,
    (clock, lifecycle): (&Clock, &Lifecycle),
) -> Result<Hub, StartError> {
    let settings = HubSettings {
        ring_bytes: config.events.ring_bytes,
        backlog: config.events.buffer,
        broadcast: config.events.broadcast,
        asking: config.subscriptions,
    };
    let terms = domains::terms;
    // Sockets are sent home over a while, and get everything until it is their turn. A delivery under way may wait for a
    // database that is away, for as long as that takes: it ends when nobody is left.
    let hub = Hub::new(log, Arc::clone(bus), terms, settings, payment, clock.clone(), lifecycle.until_drained());
    let poll = Duration::from_millis(config.events.poll_ms);
    // On SQLite nobody else commits but a tool of the operator's, and a commit of ours rings.
    let poll = if config.database.backend() == Backend::Sqlite { poll.max(LONE_POLL) } else { poll };
    let pace = Pace { poll, heartbeat: HEARTBEAT, hold: HOLD };
    let sessions = sessions.clone();
    let observer = move |event: &events::NewEvent| {
        sessions.hear(event);
        bell.notify_one();
    };
    let tail = Tail::begin(hub.clone(), Arc::clone(bus), doorbell, pace, lifecycle.clone(), observer).await?;
    drop(lifecycle.until_drained().spawn(tail.run()));
    lifecycle.spawn_until_stopping(hub.lag().clone().watch());
    Ok(hub)
}
