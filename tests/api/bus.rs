//! Several nodes on one log: whatever a bus does to its messages, each node's subscribers receive every event once, in
//! order, and private events travel only to nodes that need them. The same stories for every bus.
//!
//! A node here is a log, a hub and a tail on connections of their own, without the rest of a server, so that a story
//! can mistreat the messages of the bus ([`Mistreated`]) and knows which node has read what. The polls are an hour
//! apart: an event arrives by the bus, or because the tail has noticed that it is missing.
//!
//! Longer than most files: half of it is the node and its subscriber, which nothing else uses.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, pending},
};
use lancewire::auth::events::{RIGHTS_CHANGED, SESSION_ENDED};
use lancewire::jobs::events::{JOB_POSTED, JOB_UPDATED};
use lancewire::notifications::events::NOTIFICATION_RECEIVED;
use lancewire::wallet::events::WALLET_UPDATED;
use lancewire::{
    app::open_database,
    auth::actor::{Actor, Origin, Principal, Roles},
    clock::Clock,
    config::{Config, Environment},
    db::{Backend, Db},
    events::{Audience, Event, EventKind, EventLog, Hearing, NewEvent, ResumeError, record},
    ids::{Ids, UserId},
    lifecycle::Lifecycle,
    realtime::{
        Announced, AskingSettings, Bus, Delivery, EventTerms, Executed, Execution, Feed, Free, Hub, HubSettings,
        Interest, LimitUpdate, Live, MemoryNetwork, Offer, Outlet, Pace, Party, Payload, PostgresBus, RedisBus, Seal,
        SharingKey, Signal, Tail, Topic,
    },
};
use sea_orm::{ConnectionTrait, DbErr};
use tempfile::TempDir;
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use crate::support::{
    app::{migrate, soon, until},
    postgres,
    proxy::{Proxy, Wire},
    redis::Redis,
};

mod strangers;

/// No story waits for a poll.
const NEVER: Duration = Duration::from_hours(1);

/// What happens to what comes over a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// It arrives as it was sent.
    Careful,
    /// A quarter each is dropped, doubled, and handed over after what came later.
    Rough,
    /// Events never arrive, only the word of how far the log goes.
    EventsLost,
}

/// A bus whose messages suffer on the way in.
struct Mistreated {
    bus: Arc<dyn Bus>,
    treatment: Treatment,
    random: Ids,
    /// What is handed over after the next one, or when nothing else comes.
    late: Mutex<VecDeque<Signal>>,
    /// The events that came with a body although they are private.
    private_bodies: Mutex<Vec<Event>>,
    /// How many signals the bus itself has brought.
    brought: AtomicUsize,
}

impl Mistreated {
    fn new(bus: Arc<dyn Bus>, treatment: Treatment, seed: u64) -> Self {
        Self {
            bus,
            treatment,
            random: Ids::seeded(Clock::system(), seed),
            late: Mutex::default(),
            private_bodies: Mutex::default(),
            brought: AtomicUsize::new(0),
        }
    }

    fn late(&self) -> Option<Signal> {
        self.late.lock().expect("whole").pop_front()
    }

    fn note(&self, signal: &Signal) {
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

    fn tell(&self, gossip: LimitUpdate) {
        self.bus.tell(gossip);
    }

    fn told(&self) -> BoxFuture<'_, LimitUpdate> {
        self.bus.told()
    }

    fn is_connected(&self) -> bool {
        self.bus.is_connected()
    }
}

/// What connects the nodes of a story.
enum Network {
    Memory(MemoryNetwork),
    Postgres,
    Redis(Box<Redis>),
}

/// A database and a network, for as many nodes as a story likes.
struct Ground {
    network: Network,
    url: String,
    /// What the bus connects to instead of its server.
    proxy: Option<Proxy>,
    _home: TempDir,
    lent: Option<postgres::Database>,
}

impl Ground {
    async fn memory() -> Self {
        Self { network: Network::Memory(MemoryNetwork::default()), ..Self::notify().await }
    }

    async fn notify() -> Self {
        let lent = postgres::shared().await.database(migrate).await;
        let (url, home) = (lent.url().to_owned(), tempfile::tempdir().expect("a temporary directory"));
        Self { network: Network::Postgres, url, proxy: None, _home: home, lent: Some(lent) }
    }

    async fn redis() -> Self {
        Self { network: Network::Redis(Box::new(Redis::start().await)), ..Self::notify().await }
    }

    /// With the bus behind a wire that can be cut.
    fn wired(mut self) -> Self {
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

    fn cut(&self, wire: Wire) {
        self.proxy.as_ref().expect("it is wired").set(wire);
    }

    async fn bus(&self, log: &EventLog, ids: &Ids, lifecycle: &Lifecycle) -> Arc<dyn Bus> {
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

    async fn node(&self, treatment: Treatment, pace: Pace) -> Node {
        let settings = format!("[database]\nurl = {:?}\n", self.url);
        let config = Config::layered(Environment::Development, &[&settings]).expect("usable settings");
        let ids = Ids::from_entropy(Clock::system());
        let lifecycle = Lifecycle::new();
        let db = open_database(&config, ids.clone(), lifecycle.clone()).await.expect("it opens");
        let log = EventLog::open(db.clone(), lancewire::domains::KINDS).await.expect("a log");
        let inner = self.bus(&log, &ids, &lifecycle).await;
        until("the bus is connected", || inner.is_connected()).await;
        let bus = Arc::new(Mistreated::new(inner, treatment, 7));
        let delivery = HubSettings {
            ring_bytes: 1 << 20,
            backlog: 1_024,
            broadcast: 1_024,
            shared_execution: true,
            asking: AskingSettings::default(),
        };
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

const QUICK: Pace = Pace { poll: NEVER, heartbeat: Duration::from_millis(50), hold: Duration::from_millis(10) };

/// One node.
struct Node {
    db: Db,
    hub: Hub,
    bus: Arc<Mistreated>,
    ids: Ids,
    lifecycle: Lifecycle,
    /// The internal events that it was told of.
    observed: Arc<Mutex<Vec<NewEvent>>>,
}

impl Node {
    /// Commits one event.
    async fn record(&self, kind: EventKind, audience: Audience) {
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
    async fn listen(&self, user: Option<UserId>, admin: bool, kind: EventKind) -> Listening {
        self.listen_from(user, admin, kind, None).await
    }

    /// The same, after a position.
    async fn listen_from(&self, user: Option<UserId>, admin: bool, kind: EventKind, after: Option<i64>) -> Listening {
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

    async fn stop(self) {
        self.lifecycle.set_drained();
        assert!(self.lifecycle.shut_down(Duration::from_secs(5)).await, "a task did not leave by itself");
        self.db.close().await;
    }
}

/// Gives each event's payload and position.
struct Verbatim;

impl Execution for Verbatim {
    fn execute<'a>(&'a self, delivery: &'a Arc<Delivery>, _: Hearing, _: Option<Origin>) -> BoxFuture<'a, Executed> {
        let payload = delivery.payload::<serde_json::Value>().map(|payload| payload["kind"].to_string());
        let response = format!("{} {}", delivery.position(), payload.unwrap_or_else(|_| "no body".to_owned())).into();
        async { Executed { response, looked_at_viewer: false, failed: false } }.boxed()
    }
}

/// Writes everything down.
#[derive(Default)]
struct Notebook(Mutex<Vec<String>>);

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
struct Listening {
    notebook: Arc<Notebook>,
    actor: Actor,
    kind: EventKind,
    _live: Live,
}

impl Listening {
    fn heard(&self) -> Vec<String> {
        self.notebook.0.lock().expect("whole").clone()
    }

    /// What they must have heard of these events.
    fn due(&self, log: &[Event]) -> Vec<String> {
        let heard = |event: &&Event| {
            event.recorded.kind == self.kind
                && event.recorded.audience.hearing(self.kind, self.actor.user(), self.actor.is_admin()).is_some()
        };
        let written = |event: &Event| format!("{} \"{}\"", event.position, event.recorded.kind.as_str());
        log.iter().filter(heard).map(written).collect()
    }
}

/// Waits until everybody has heard what is theirs, and proves that it was that and nothing else.
async fn all_hear(node: &Node, listening: &[&Listening]) {
    node.hub.log().stamp().await.expect("a stamp");
    let log = node.hub.log().after(0, 10_000).await.expect("readable");
    for listening in listening {
        let due = listening.due(&log);
        until("everything has come", || listening.heard().len() >= due.len()).await;
        assert_eq!(listening.heard(), due);
    }
}

fn audience(public: bool, owner: UserId, claimant: Option<UserId>) -> Audience {
    Audience::of([owner].into_iter().chain(claimant)).public(public)
}

/// Two nodes, listeners of every sort on both, and events of every sort from both.
async fn everybody_hears_of_everything(ground: Ground, treatment: Treatment) {
    let (one, two) = (ground.node(treatment, QUICK).await, ground.node(treatment, QUICK).await);
    let [ada, ben, eve]: [UserId; 3] = std::array::from_fn(|_| one.ids.next());
    let listening = [
        one.listen(None, false, JOB_POSTED).await,
        two.listen(None, false, JOB_POSTED).await,
        one.listen(Some(ada), false, WALLET_UPDATED).await,
        two.listen(Some(ben), false, WALLET_UPDATED).await,
        two.listen(Some(ada), false, JOB_UPDATED).await,
        two.listen(Some(eve), true, JOB_UPDATED).await,
        one.listen(Some(ben), false, NOTIFICATION_RECEIVED).await,
    ];
    let random = Ids::seeded(Clock::system(), 11);
    for number in 0..300 {
        let node = if random.below(2) == 0 { &one } else { &two };
        let owner = if random.below(2) == 0 { ada } else { ben };
        match random.below(5) {
            0 => node.record(JOB_POSTED, audience(true, owner, None)).await,
            1 => node.record(JOB_UPDATED, audience(false, owner, (owner == ada).then_some(ben))).await,
            2 => node.record(WALLET_UPDATED, audience(false, owner, None)).await,
            3 => node.record(NOTIFICATION_RECEIVED, audience(false, owner, None)).await,
            _ => node.record(JOB_UPDATED, audience(true, owner, None)).await,
        }
        // Somebody comes in the middle of it: what was on its way for nobody is now for them.
        if number == 150 {
            let late = two.listen(Some(ada), false, WALLET_UPDATED).await;
            let began = one.hub.log().stamp().await.expect("a stamp");
            one.record(WALLET_UPDATED, audience(false, ada, None)).await;
            until("one is as far", || one.hub.head() > began).await;
            let due = late.due(&one.hub.log().after(began, 100).await.expect("readable"));
            assert!(!due.is_empty());
            // And what was committed before, but had not come that far.
            until("the latecomer hears of it", || late.heard().ends_with(&due)).await;
        }
    }
    all_hear(&one, &listening.each_ref()).await;
    if treatment == Treatment::Careful && one.bus.carries_events() {
        // Nobody listens for Ada's inbox on the second node, nor for Ben's on the second.
        let strays = |node: &Node| {
            let bodies = node.bus.private_bodies.lock().expect("whole");
            bodies.iter().filter(|event| event.recorded.kind == NOTIFICATION_RECEIVED).count()
        };
        let of_nobody =
            one.bus.private_bodies.lock().expect("whole").iter().any(|event| event.recorded.audience.users()[0] == eve);
        assert!(!of_nobody && strays(&two) > 0, "the second node follows both, for other kinds of events");
    }
    drop(listening);
    one.stop().await;
    two.stop().await;
}

/// What nobody listens for comes without its body, and who begins to listen gets it nevertheless.
async fn private_bodies_go_where_they_are_wanted(ground: Ground) {
    // A machine that is busy must not look like a message that is lost.
    let patient = Pace { hold: Duration::from_secs(10), ..QUICK };
    let (one, two) = (ground.node(Treatment::Careful, patient).await, ground.node(Treatment::Careful, patient).await);
    let [ada, ben]: [UserId; 2] = std::array::from_fn(|_| one.ids.next());
    let hers = two.listen(Some(ada), false, WALLET_UPDATED).await;
    // One after the other, until a body has come and nothing was read: the bus may take a moment to hear that somebody
    // listens, and has the log asked when it begins.
    let mut told = 0;
    loop {
        let reads = two.db.statements();
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
        told += 1;
        until("she hears of it", || hers.heard().len() == told).await;
        if two.db.statements() == reads && !two.bus.private_bodies.lock().expect("whole").is_empty() {
            break;
        }
    }
    let began = two.hub.head();
    let reads = two.db.statements();
    for _ in 0..20 {
        one.record(WALLET_UPDATED, audience(false, ben, None)).await;
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
    }
    until("the other node is as far", || two.hub.head() == began + 40).await;
    assert_eq!(two.db.statements(), reads, "a node whose positions are contiguous reads nothing");
    let owners = |owner| {
        let bodies = two.bus.private_bodies.lock().expect("whole");
        bodies.iter().filter(|event| event.recorded.audience.users()[0] == owner).count()
    };
    assert_eq!(owners(ben), 0, "nobody wants it there");
    assert!(owners(ada) >= 20, "somebody does");
    all_hear(&one, &[&hers]).await;
    // Out of the ring, where his events have no bodies, and so out of the log.
    let his = two.listen_from(Some(ben), false, WALLET_UPDATED, Some(began)).await;
    assert_eq!(his.heard().len(), 20);
    all_hear(&one, &[&his]).await;
    drop((hers, his));
    one.stop().await;
    two.stop().await;
}

/// What nodes must know of each other, and clients must not.
async fn ends_of_sessions_reach_every_node(ground: Ground, treatment: Treatment) {
    let (one, two) = (ground.node(treatment, QUICK).await, ground.node(treatment, QUICK).await);
    let ada: UserId = one.ids.next();
    let listening = two.listen(Some(ada), true, JOB_UPDATED).await;
    for _ in 0..10 {
        one.record(SESSION_ENDED, audience(false, ada, None)).await;
        two.record(RIGHTS_CHANGED, audience(false, ada, None)).await;
    }
    // A observer may be told twice, never not at all.
    let ids = |node: &Node| {
        let mut ids: Vec<_> = node.observed.lock().expect("whole").iter().map(|event| event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    until("both have heard of all", || ids(&one).len() == 20 && ids(&two).len() == 20).await;
    assert_eq!(ids(&one), ids(&two));
    assert_eq!(listening.heard(), [""; 0]);
    drop(listening);
    one.stop().await;
    two.stop().await;
}

async fn gossip_reaches_the_others_and_nobody_hears_themselves(ground: Ground) {
    let nodes = [
        ground.node(Treatment::Careful, QUICK).await,
        ground.node(Treatment::Careful, QUICK).await,
        ground.node(Treatment::Careful, QUICK).await,
    ];
    let said = [(Topic::SignUps, vec![0, 255, 10, 13]), (Topic::Attempts, vec![7; LimitUpdate::LIMIT])];
    for (topic, body) in said.clone() {
        nodes[0].bus.tell(LimitUpdate { topic, body });
    }
    for node in &nodes[1..] {
        for (topic, body) in said.clone() {
            assert_eq!(soon(node.bus.told()).await, LimitUpdate { topic, body });
        }
    }
    // What comes back to the first is what the second has said, and nothing before it.
    nodes[1].bus.tell(LimitUpdate { topic: Topic::SignUps, body: vec![1] });
    assert_eq!(soon(nodes[0].bus.told()).await, LimitUpdate { topic: Topic::SignUps, body: vec![1] });
    for node in nodes {
        node.stop().await;
    }
}

/// The wire of the bus is cut and mended again and again: what came meanwhile is found, at the pace of the polls while it
/// is cut and at once afterwards.
async fn a_cut_costs_time_and_nothing_else(ground: Ground) {
    let ground = ground.wired();
    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let (one, two) = (ground.node(Treatment::Careful, polling).await, ground.node(Treatment::Careful, polling).await);
    let ada: UserId = one.ids.next();
    let listening = two.listen(Some(ada), false, WALLET_UPDATED).await;
    let mut told = 0;
    for wire in [Wire::Cut, Wire::Unplugged, Wire::Stalled] {
        ground.cut(wire);
        for _ in 0..10 {
            one.record(WALLET_UPDATED, audience(false, ada, None)).await;
            told += 1;
        }
        until("they come by the poll", || listening.heard().len() == told).await;
        if wire == Wire::Stalled {
            // Nobody says so: only silence tells.
            until("the silence is noticed", || !two.bus.is_connected()).await;
        }
        ground.cut(Wire::Open);
        until("both are back", || one.bus.is_connected() && two.bus.is_connected()).await;
        let brought = two.bus.brought.load(Ordering::Relaxed);
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
        told += 1;
        until("the bus speaks again", || two.bus.brought.load(Ordering::Relaxed) > brought).await;
    }
    all_hear(&one, &[&listening]).await;
    drop(listening);
    one.stop().await;
    two.stop().await;
}

/// A node that begins anew while the others go on; and one that commits and is never heard of again.
async fn what_a_node_left_unnumbered_is_numbered_by_the_others(ground: Ground) {
    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let one = ground.node(Treatment::Careful, polling).await;
    let two = ground.node(Treatment::Careful, polling).await;
    let ada: UserId = one.ids.next();
    let listening = one.listen(Some(ada), false, WALLET_UPDATED).await;
    // Its tail is gone; its last transaction commits.
    two.lifecycle.set_drained();
    assert!(two.lifecycle.shut_down(Duration::from_secs(5)).await);
    two.record(WALLET_UPDATED, audience(false, ada, None)).await;
    until("the other node finds it", || listening.heard().len() == 1).await;
    if two.db.backend() == Backend::Postgres {
        assert_eq!(one.hub.log().stamp().await.expect("a stamp"), one.hub.head());
    }
    drop(listening);
    one.stop().await;
    two.db.close().await;
}

/// As after a failover to a standby that lacked the last commits: the node that has delivered them says so and ends, so
/// does its neighbour, and the cursors of before are good no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_goes_back_gets_another_identity() {
    let ground = Ground::notify().await;
    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let one = ground.node(Treatment::Careful, polling).await;
    let two = ground.node(Treatment::Careful, polling).await;
    let ada: UserId = one.ids.next();
    for _ in 0..3 {
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
    }
    until("both have delivered", || one.hub.head() == 3 && two.hub.head() == 3).await;
    let cursor = one.hub.log().cursor(3).expect("it is known");
    // A replica fires no triggers: what a standby lacks is not deleted there either.
    let lost = "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM events WHERE position > 1; \
                UPDATE event_log SET last_position = 1; COMMIT";
    one.db.writer().execute_unprepared(lost).await.expect("lost");
    until("both must be started anew", || one.lifecycle.has_failed() && two.lifecycle.has_failed()).await;
    let anew = ground.node(Treatment::Careful, polling).await;
    assert_ne!(anew.hub.log().identity(), one.hub.log().identity());
    let resumed = anew.hub.resume_point(&[("after", &cursor)]).await;
    assert!(matches!(resumed, Err(ResumeError::Expired)), "{resumed:?}");
    anew.record(WALLET_UPDATED, audience(false, ada, None)).await;
    until("it goes on", || anew.hub.head() == 2).await;
    for node in [one, two, anew] {
        node.stop().await;
    }
}

/// Tells each story on each bus.
macro_rules! conformance {
    ($($bus:ident),+) => {$(
        mod $bus {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn everybody_hears_of_everything() {
                super::everybody_hears_of_everything(Ground::$bus().await, Treatment::Careful).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn everybody_does_although_it_drops_doubles_reorders_and_delays() {
                super::everybody_hears_of_everything(Ground::$bus().await, Treatment::Rough).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn everybody_does_although_no_event_ever_arrives() {
                super::everybody_hears_of_everything(Ground::$bus().await, Treatment::EventsLost).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ends_of_sessions_reach_every_node() {
                super::ends_of_sessions_reach_every_node(Ground::$bus().await, Treatment::Rough).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn gossip_reaches_the_others_and_nobody_hears_themselves() {
                super::gossip_reaches_the_others_and_nobody_hears_themselves(Ground::$bus().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_a_node_left_unnumbered_is_numbered_by_the_others() {
                super::what_a_node_left_unnumbered_is_numbered_by_the_others(Ground::$bus().await).await;
            }
        }
    )+};
}

conformance!(memory, notify, redis);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_bodies_go_where_they_are_wanted_in_memory() {
    private_bodies_go_where_they_are_wanted(Ground::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_bodies_go_where_they_are_wanted_over_redis() {
    private_bodies_go_where_they_are_wanted(Ground::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_from_postgres_costs_time_and_nothing_else() {
    a_cut_costs_time_and_nothing_else(Ground::notify().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_from_redis_costs_time_and_nothing_else() {
    a_cut_costs_time_and_nothing_else(Ground::redis().await).await;
}
