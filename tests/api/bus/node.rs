//! A node of the stories about the bus: a log, a hub and a tail on connections of their own, without the rest of a server,
//! so that a story can mistreat the messages of the bus ([`Mistreated`]) and knows which node has read what. The polls are
//! an hour apart.

use super::*;

/// No story waits for a poll.
pub(super) const NEVER: Duration = Duration::from_hours(1);

/// What happens to what comes over a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It arrives as it was sent.
    Careful,
    /// A quarter each is dropped, doubled, and handed over after what came later.
    Rough,
    /// Events never arrive, only the word of how far the log goes.
    EventsLost,
}

/// A bus whose messages suffer on the way in.
pub(super) struct Mistreated {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) treatment: Treatment,
    pub(super) random: Ids,
    /// What is handed over after the next one, or when nothing else comes.
    pub(super) late: Mutex<VecDeque<Signal>>,
    /// The events that came with a body although they are private.
    pub(super) private_bodies: Mutex<Vec<Event>>,
    /// How many signals the bus itself has brought.
    pub(super) brought: AtomicUsize,
}

impl Mistreated {
    pub(super) fn new(bus: Arc<dyn Bus>, treatment: Treatment, seed: u64) -> Self {
        Self {
            bus,
            treatment,
            random: Ids::seeded(Clock::system(), seed),
            late: Mutex::default(),
            private_bodies: Mutex::default(),
            brought: AtomicUsize::new(0),
        }
    }

    pub(super) fn late(&self) -> Option<Signal> {
        self.late.lock().expect("whole").pop_front()
    }

    pub(super) fn note(&self, signal: &Signal) {
        self.brought.fetch_add(1, Ordering::Relaxed);
        if let Signal::Events(events) = signal {
            let private = events.iter().filter(|heard| heard.has_body && !heard.event.recorded.audience.public);
            self.private_bodies.lock().expect("whole").extend(private.map(|heard| heard.event.clone()));
        }
    }
}

impl Bus for Mistreated {
    fn carries_events(&self) -> bool {
        self.bus.carries_events()
    }

    fn ring(&self, head: i64) {
        self.bus.ring(head);
    }

    fn announce(&self, events: &[Announced]) {
        self.bus.announce(events);
    }

    fn follow(&self, party: Party) {
        self.bus.follow(party);
    }

    fn unfollow(&self, party: Party) {
        self.bus.unfollow(party);
    }

    fn heard(&self) -> BoxFuture<'_, Signal> {
        async {
            loop {
                // Nothing else may ever come: what is late is then only that.
                let Ok(signal) = timeout(Duration::from_millis(20), self.bus.heard()).await else {
                    match self.late() {
                        Some(late) => return late,
                        None => continue,
                    }
                };
                self.note(&signal);
                match self.treatment {
                    Treatment::Careful => return signal,
                    Treatment::EventsLost => {
                        if !matches!(signal, Signal::Events(_)) {
                            return signal;
                        }
                    }
                    Treatment::Rough => {
                        let mut late = self.late.lock().expect("whole");
                        match self.random.below(4) {
                            0 => {}
                            1 => late.push_back(signal),
                            2 => {
                                late.push_back(signal.clone());
                                return signal;
                            }
                            _ => return signal,
                        }
                    }
                }
            }
        }
        .boxed()
    }

    fn tell(&self, limit_update: LimitUpdate) {
        self.bus.tell(limit_update);
    }

    fn told(&self) -> BoxFuture<'_, LimitUpdate> {
        self.bus.told()
    }

    fn tell_presence(&self, update: PresenceUpdate) {
        self.bus.tell_presence(update);
    }

    fn presence(&self) -> BoxFuture<'_, PresenceUpdate> {
        self.bus.presence()
    }

    fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }
}

/// What connects the nodes of a story.
pub(super) enum Network {
    Memory(MemoryNetwork),
    Postgres,
    Redis(Box<Redis>),
}

/// A database and a network, for as many nodes as a story likes.
pub(super) struct Ground {
    pub(super) network: Network,
    pub(super) url: String,
    /// What the bus connects to instead of its server.
    pub(super) proxy: Option<Proxy>,
    pub(super) _home: TempDir,
    pub(super) lent: Option<postgres::Database>,
}

impl Ground {
    pub(super) async fn memory() -> Self {
        Self { network: Network::Memory(MemoryNetwork::default()), ..Self::notify().await }
    }

    pub(super) async fn notify() -> Self {
        let lent = postgres::shared().await.database(migrate).await;
        let (url, home) = (lent.url().to_owned(), tempfile::tempdir().expect("a temporary directory"));
        Self { network: Network::Postgres, url, proxy: None, _home: home, lent: Some(lent) }
    }

    pub(super) async fn redis() -> Self {
        Self { network: Network::Redis(Box::new(Redis::start().await)), ..Self::notify().await }
    }

    /// With the bus behind a wire that can be cut.
    pub(super) fn wired(mut self) -> Self {
        let addr = match &self.network {
            Network::Memory(_) => unreachable!("it has no wire"),
            Network::Postgres => {
                let url: Url = self.url.parse().expect("a URL");
                format!("127.0.0.1:{}", url.port().expect("a port")).parse().expect("an address")
            }
            Network::Redis(redis) => redis.addr(),
        };
        self.proxy = Some(Proxy::to(addr, None));
        self
    }

    pub(super) fn cut(&self, wire: Wire) {
        self.proxy.as_ref().expect("it is wired").set(wire);
    }

    pub(super) async fn bus(&self, log: &EventLog, ids: &Ids, lifecycle: &Lifecycle) -> Arc<dyn Bus> {
        match &self.network {
            Network::Memory(network) => Arc::new(network.join()),
            Network::Postgres => {
                let mut url: Url = self.url.parse().expect("a URL");
                if let Some(proxy) = &self.proxy {
                    url.set_port(Some(proxy.addr.port())).expect("a port");
                }
                let seal = Seal::new(log.shared_key("bus").await.expect("a key"), ids, log.time().clone());
                Arc::new(PostgresBus::start(url.as_str(), seal, lifecycle).expect("a bus"))
            }
            Network::Redis(redis) => {
                let addr = self.proxy.as_ref().map_or_else(|| redis.addr(), |proxy| proxy.addr);
                let url = format!("redis://{addr}");
                let seal = Seal::new(log.shared_key("bus").await.expect("a key"), ids, log.time().clone());
                let name = log.installation().await.expect("a name");
                let bus = RedisBus::start(&url, Path::new(""), &name, (seal, log.kinds()), lifecycle).await;
                Arc::new(bus.expect("a bus"))
            }
        }
    }

    pub(super) async fn node(&self, treatment: Treatment, pace: Pace) -> Node {
        let settings = format!("[database]\nurl = {:?}\n", self.url);
        let config = Config::layered(Environment::Development, &[&settings]).expect("usable settings");
        let ids = Ids::from_entropy(Clock::system());
        let lifecycle = Lifecycle::new();
        let db = open_database(&config, ids.clone(), lifecycle.clone()).await.expect("it opens");
        let log = EventLog::open(db.clone(), lancewire::domains::KINDS).await.expect("a log");
        let inner = self.bus(&log, &ids, &lifecycle).await;
        until("the bus is connected", || inner.is_connected()).await;
        let bus = Arc::new(Mistreated::new(inner, treatment, 7));
        let delivery =
            HubSettings { ring_bytes: 1 << 20, backlog: 1_024, broadcast: 1_024, asking: AskingSettings::default() };
        let clock = Clock::system();
        let as_bus = Arc::clone(&bus) as Arc<dyn Bus>;
        let hub = Hub::new(
            log,
            Arc::clone(&as_bus),
            |_, _| Ok(EventTerms::default()),
            delivery,
            Arc::new(Free),
            clock,
            lifecycle.clone(),
        );
        let observed: Arc<Mutex<Vec<NewEvent>>> = Arc::default();
        let observer = Arc::clone(&observed);
        let tail = Tail::begin(hub.clone(), as_bus, db.doorbell(), pace, lifecycle.clone(), move |event| {
            if event.kind.is_internal() {
                observer.lock().expect("whole").push(event.clone());
            }
        });
        drop(lifecycle.spawn(tail.await.expect("the log answers").run()));
        Node { db, hub, bus, ids, lifecycle, observed }
    }
}

pub(super) const QUICK: Pace =
    Pace { poll: NEVER, heartbeat: Duration::from_millis(50), hold: Duration::from_millis(10) };

/// One node.
pub(super) struct Node {
    pub(super) db: Db,
    pub(super) hub: Hub,
    pub(super) bus: Arc<Mistreated>,
    pub(super) ids: Ids,
    pub(super) lifecycle: Lifecycle,
    /// The internal events that it was told of.
    pub(super) observed: Arc<Mutex<Vec<NewEvent>>>,
}

impl Node {
    /// Commits one event.
    pub(super) async fn record(&self, kind: EventKind, audience: Audience) {
        let audience = audience.admins(kind.is_told_to_admins());
        let event = NewEvent {
            id: self.ids.next(),
            kind,
            subject: audience.users()[0].into(),
            subject_version: 1,
            audience,
            payload: format!("{{\"kind\": \"{}\"}}", kind.as_str()),
            occurred_at: Clock::system().now(),
        };
        let event = &event;
        let recorded = self.db.transact(|tx| async move { record(&tx, event.clone()).await });
        recorded.await.map_err(|error: DbErr| error).expect("it commits");
    }

    /// Somebody listens from now on.
    pub(super) async fn listen(&self, user: Option<UserId>, admin: bool, kind: EventKind) -> Listening {
        self.listen_from(user, admin, kind, None).await
    }

    /// The same, after a position.
    pub(super) async fn listen_from(
        &self,
        user: Option<UserId>,
        admin: bool,
        kind: EventKind,
        after: Option<i64>,
    ) -> Listening {
        let actor = user.map_or(Actor::Anonymous, |user| {
            let roles = Roles { admin, ..Roles::default() };
            let expires_at = Clock::system().now();
            Actor::User(Principal { user, session: self.ids.next(), roles, expires_at, commits: None })
        });
        let viewer = Origin { actor, address: [127, 0, 0, 1].into() };
        let notebook = Arc::<Notebook>::default();
        let key = SharingKey::new(kind.as_str());
        let outlet = Arc::clone(&notebook) as Arc<dyn Outlet>;
        let feed: Feed = self.hub.join(key, Interest::all(kind), Verbatim, after, viewer, outlet).expect("few listen");
        let live = soon(feed.catch_up()).await.expect("it goes live");
        Listening { notebook, actor, kind, _live: live }
    }

    pub(super) async fn stop(self) {
        self.lifecycle.set_drained();
        assert!(self.lifecycle.shut_down(Duration::from_secs(5)).await, "a task did not leave by itself");
        self.db.close().await;
    }
}

/// Gives each event's payload and position.
pub(super) struct Verbatim;

impl Execution for Verbatim {
    fn execute<'a>(&'a self, delivery: &'a Arc<Delivery>, _: Hearing, _: Option<Origin>) -> BoxFuture<'a, Executed> {
        let payload = delivery.payload::<serde_json::Value>().map(|payload| payload["kind"].to_string());
        let response = format!("{} {}", delivery.position(), payload.unwrap_or_else(|_| "no body".to_owned())).into();
        async { Executed { response, looked_at_viewer: false, failed: false } }.boxed()
    }
}

/// Writes everything down.
#[derive(Default)]
pub(super) struct Notebook(pub(super) Mutex<Vec<String>>);

impl Outlet for Notebook {
    fn offer(&self, payloads: &[Payload]) -> Offer {
        self.0.lock().expect("whole").extend(payloads.iter().map(|payload| payload.response.to_string()));
        Offer::Taken(payloads.len())
    }

    fn room(&self, _: usize) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn lagged(&self, position: i64) {
        panic!("it has room for everything, at {position}");
    }
}

/// Somebody who listens, and what they have heard.
pub(super) struct Listening {
    pub(super) notebook: Arc<Notebook>,
    pub(super) actor: Actor,
    pub(super) kind: EventKind,
    pub(super) _live: Live,
}

impl Listening {
    pub(super) fn heard(&self) -> Vec<String> {
        self.notebook.0.lock().expect("whole").clone()
    }

    /// What they must have heard of these events.
    pub(super) fn due(&self, log: &[Event]) -> Vec<String> {
        let heard = |event: &&Event| {
            event.recorded.kind == self.kind
                && event.recorded.audience.hearing(self.kind, self.actor.user(), self.actor.is_admin()).is_some()
        };
        let written = |event: &Event| format!("{} \"{}\"", event.position, event.recorded.kind.as_str());
        log.iter().filter(heard).map(written).collect()
    }
}

/// Waits until everybody has heard what is theirs, and proves that it was that and nothing else.
pub(super) async fn all_hear(node: &Node, listening: &[&Listening]) {
    node.hub.log().stamp().await.expect("a stamp");
    let log = node.hub.log().after(0, 10_000).await.expect("readable");
    for listening in listening {
        let due = listening.due(&log);
        until("everything has come", || listening.heard().len() >= due.len()).await;
        assert_eq!(listening.heard(), due);
    }
}

pub(super) fn audience(public: bool, owner: UserId, claimant: Option<UserId>) -> Audience {
    Audience::of([owner].into_iter().chain(claimant)).public(public)
}
