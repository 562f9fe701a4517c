//! One history: nodes, writers, clients, and what happens to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lancewire::claims::events::CLAIM_UPDATED;
use lancewire::jobs::events::{JOB_POSTED, JOB_UPDATED};
use lancewire::wallet::events::WALLET_UPDATED;
use lancewire::{
    auth::actor::{Actor, Principal, Roles},
    clock::Clock,
    config::{Config, Environment},
    db::Db,
    events::{Audience, EventKind, EventLog, NewEvent},
    ids::{Ids, UserId},
    lifecycle::Lifecycle,
    realtime::{AskingSettings, Bus, Free, Hub, HubSettings, Pace, Tail},
    schedule::DatabaseTime,
};
use tempfile::TempDir;
use tokio::{sync::Notify, time::sleep};
use uuid::Uuid;

use super::{
    Chance,
    bus::Network,
    log::Log,
    session::{Client, Filter, Got, TERMS, Wish},
};
use crate::random::Random;

/// Transactions of one history, and the clients that wait for what they leave.
const TRANSACTIONS: usize = 150;
const CLIENTS: usize = 18;
const NODES: usize = 3;
/// Events that are kept when the log forgets: fewer than a node may be behind.
const KEPT: i64 = 60;
/// How long everybody may take to get everything once nothing goes wrong any more.
const CALM: usize = 600;
const KINDS: [EventKind; 4] = [JOB_POSTED, JOB_UPDATED, WALLET_UPDATED, CLAIM_UPDATED];

/// What a history came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) hash: String,
    pub(crate) events: u64,
    pub(crate) deliveries: u64,
    pub(crate) connections: u64,
    pub(crate) nodes: u64,
    /// Nodes that gave up, and lists that had to be read anew.
    pub(crate) failed: u64,
    pub(crate) expired: u64,
}

struct Node {
    hub: Hub,
    lifecycle: Lifecycle,
    doorbell: Arc<Notify>,
}

struct Play {
    db: Db,
    time: DatabaseTime,
    chance: Chance,
    log: Log,
    identity: Uuid,
    network: Network,
    clock: Clock,
    /// By number; the next one has a number that none had.
    nodes: Mutex<BTreeMap<usize, Arc<Node>>>,
    started: AtomicUsize,
    connections: AtomicUsize,
    failed: AtomicUsize,
    calm: AtomicBool,
}

/// A database that nobody asks anything: a log has one beside it. Opened outside the paused clock.
pub(super) async fn unused(seed: u64) -> (Db, DatabaseTime) {
    // Gone from the folder once it is open.
    let home = TempDir::new().expect("a temporary directory");
    let settings =
        format!("[database]\nurl = \"sqlite:{}\"\nmax_connections = 1\n", home.path().join("unused.db").display());
    let config = Config::layered(Environment::Development, &[&settings]).expect("usable settings");
    let ids = Ids::seeded(crate::market::start(), seed);
    let db = Db::connect(&config.database, ids, Lifecycle::new()).await.expect("a database");
    let time = DatabaseTime::asked(&db).await.expect("its time");
    (db, time)
}

pub(super) async fn play(chance: Chance, seed: u64, (db, time): (Db, DatabaseTime)) -> Result<Report, String> {
    let clock = crate::market::start();
    let ids = Ids::seeded(clock.clone(), seed);
    let log = Log::new(chance.clone());
    let network = Network::new(log.clone(), chance.clone(), ids.clone(), !chance.once_in(3));
    let people: Vec<UserId> = (0..5).map(|_| ids.next()).collect();
    let play = Arc::new(Play {
        db,
        time,
        identity: Uuid::from_u128(u128::from(Random::new(seed).next()) << 64 | 1),
        chance: chance.clone(),
        log,
        network,
        clock,
        nodes: Mutex::default(),
        started: AtomicUsize::new(0),
        connections: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        calm: AtomicBool::new(false),
    });
    for _ in 0..NODES {
        play.start_node().await;
    }
    let tasks = Lifecycle::new();
    let clients: Vec<Arc<Client>> = (0..CLIENTS).map(|name| Arc::new(client(name, &people, &ids, &chance))).collect();
    for client in &clients {
        let (play, client) = (Arc::clone(&play), Arc::clone(client));
        drop(tasks.spawn(async move { play.keep_connected(&client).await }));
    }
    let tending = Arc::clone(&play);
    drop(tasks.spawn(async move { tending.replace_failed_nodes().await }));
    let troubles = Lifecycle::new();
    let trouble = Arc::clone(&play);
    drop(troubles.spawn(async move { trouble.make_trouble().await }));
    let watched = play.write(&people, &ids, &clients).await;
    troubles.shut_down(Duration::ZERO).await;
    let outcome = match watched {
        Ok(()) => play.calm_down(&clients).await,
        Err(why) => Err(why),
    };
    tasks.shut_down(Duration::ZERO).await;
    let nodes = std::mem::take(&mut *play.nodes.lock().expect("whole"));
    for node in nodes.values() {
        node.lifecycle.shut_down(Duration::ZERO).await;
    }
    outcome?;
    let count = |count: usize| u64::try_from(count).expect("64 bits");
    let of_clients =
        |of: fn(&Got) -> usize| count(clients.iter().map(|client| of(&client.got.lock().expect("whole"))).sum());
    Ok(Report {
        hash: String::new(),
        events: count(play.log.everything().len()),
        deliveries: of_clients(|got| got.earlier + got.results.len()),
        connections: count(play.connections.load(Ordering::Relaxed)),
        nodes: count(play.started.load(Ordering::Relaxed)),
        failed: count(play.failed.load(Ordering::Relaxed)),
        expired: of_clients(|got| got.expired),
    })
}

fn client(name: usize, people: &[UserId], ids: &Ids, chance: &Chance) -> Client {
    let user = |user, roles| {
        let (session, expires_at) = (ids.next(), chrono::DateTime::UNIX_EPOCH);
        Actor::User(Principal { user, session, roles, expires_at, commits: None })
    };
    let actor = match name % 6 {
        0 => Actor::Anonymous,
        1 => user(ids.next(), Roles { admin: true, ..Roles::default() }),
        _ => user(people[chance.below(people.len())], Roles { client: true, freelancer: true, admin: false }),
    };
    let filter = match chance.below(6) {
        0 => Filter::Owners([people[0], people[1 + chance.below(2)]]),
        1 => Filter::Even,
        2 => Filter::Mine,
        _ => Filter::All,
    };
    let kind = if matches!(filter, Filter::Mine) { JOB_UPDATED } else { KINDS[chance.below(KINDS.len())] };
    let wish = Wish { kind, looks: chance.once_in(4), filter };
    Client { name, actor, wish, slow: chance.once_in(3), got: Mutex::new(Got::default()) }
}

impl Play {
    async fn start_node(&self) {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let source = Arc::new(self.log.clone());
        let log = EventLog::simulated(self.db.clone(), self.identity, self.time.clone(), source);
        let bus: Arc<dyn Bus> = self.network.join();
        let (lifecycle, doorbell) = (Lifecycle::new(), Arc::new(Notify::new()));
        let settings = HubSettings {
            ring_bytes: 4_000 << self.chance.below(6),
            backlog: 2 << self.chance.below(6),
            broadcast: 1,
            asking: AskingSettings::default(),
        };
        let hub = Hub::new(
            log,
            Arc::clone(&bus),
            TERMS,
            settings,
            Arc::new(Free),
            self.clock.clone(),
            lifecycle.until_drained(),
        );
        let pace = Pace {
            poll: Duration::from_millis(80),
            heartbeat: Duration::from_millis(300),
            hold: Duration::from_millis(10),
        };
        loop {
            let (bus, doorbell) = (Arc::clone(&bus), Arc::clone(&doorbell));
            let tail = Tail::begin(hub.clone(), bus, doorbell, pace, lifecycle.clone(), |_| {}).await;
            if let Ok(tail) = tail {
                drop(lifecycle.until_drained().spawn(tail.run()));
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.chance.line(format!("node {number} starts at {}", hub.head()));
        self.nodes.lock().expect("whole").insert(number, Arc::new(Node { hub, lifecycle, doorbell }));
    }

    fn any_node(&self) -> Option<(usize, Arc<Node>)> {
        let nodes = self.nodes.lock().expect("whole");
        let at = self.chance.below(nodes.len().max(1));
        nodes.iter().nth(at).map(|(number, node)| (*number, Arc::clone(node)))
    }

    /// A client that comes back whenever its connection ends.
    async fn keep_connected(&self, client: &Client) {
        self.chance.pause(300).await;
        loop {
            if let Some((number, node)) = self.any_node() {
                self.connections.fetch_add(1, Ordering::Relaxed);
                self.chance.line(format!("client {} at node {number}", client.name));
                let calm = self.calm.load(Ordering::Relaxed);
                let lasts = if calm { 10_000_000 } else { 20 + self.chance.below(2_500) };
                let lasts = sleep(Duration::from_millis(u64::try_from(lasts).expect("64 bits")));
                tokio::select! {
                    biased;
                    () = self.sent_home(&node) => {}
                    () = node.lifecycle.failed() => {}
                    () = lasts => {}
                    _ = client.connect(&node.hub, (self.identity, &self.log), &self.calm, &self.chance) => {}
                }
            }
            self.chance.pause(60).await;
        }
    }

    /// Sockets of a node that is about to end are closed over a while.
    async fn sent_home(&self, node: &Node) {
        node.lifecycle.stopping().await;
        self.chance.pause(200).await;
    }

    async fn write(&self, people: &[UserId], ids: &Ids, clients: &[Arc<Client>]) -> Result<(), String> {
        for number in 0..TRANSACTIONS {
            self.chance.pause(30).await;
            self.clock.advance(Duration::from_millis(7));
            let count = if self.chance.once_in(20) { 40 } else { 1 + self.chance.below(3) };
            let events = (0..count).map(|part| {
                let kind = KINDS[self.chance.below(KINDS.len())];
                let claimant = self.chance.once_in(2).then(|| people[self.chance.below(people.len())]);
                let public = match kind {
                    JOB_POSTED => true,
                    JOB_UPDATED => self.chance.once_in(2),
                    _ => false,
                };
                let owner = people[self.chance.below(people.len())];
                NewEvent {
                    id: ids.next(),
                    kind,
                    subject: owner.into(),
                    subject_version: 1,
                    audience: Audience::of([owner].into_iter().chain(claimant))
                        .public(public)
                        .admins(kind.is_told_to_admins()),
                    payload: format!("\"{number}.{part}\""),
                    occurred_at: self.clock.now(),
                }
            });
            self.log.commit(events.collect());
            // The committing task may end before it rings.
            if let Some((_, node)) = self.any_node().filter(|_| !self.chance.once_in(10)) {
                node.doorbell.notify_one();
            }
            if self.chance.once_in(60) {
                self.log.forget_all_but(KEPT);
            }
            if number % 10 == 0 {
                let log = self.log.everything();
                for client in clients {
                    client.is_right(&log, false)?;
                }
            }
        }
        Ok(())
    }

    /// A node that gives up is started anew, as by whatever supervises processes.
    async fn replace_failed_nodes(&self) {
        loop {
            sleep(Duration::from_millis(50)).await;
            let failed = {
                let nodes = self.nodes.lock().expect("whole");
                nodes.iter().find(|(_, node)| node.lifecycle.has_failed()).map(|(number, _)| *number)
            };
            let failed = failed.and_then(|number| self.nodes.lock().expect("whole").remove_entry(&number));
            if let Some((number, node)) = failed {
                self.chance.line(format!("node {number} gives up"));
                self.failed.fetch_add(1, Ordering::Relaxed);
                node.lifecycle.shut_down(Duration::ZERO).await;
                self.start_node().await;
            }
        }
    }

    async fn make_trouble(&self) {
        loop {
            self.chance.pause(400).await;
            match self.chance.below(5) {
                0 | 1 => {
                    let gone = self.any_node().map(|(number, _)| number);
                    let gone = gone.and_then(|number| self.nodes.lock().expect("whole").remove_entry(&number));
                    if let Some((number, node)) = gone {
                        if self.chance.once_in(2) {
                            self.chance.line(format!("node {number} is about to end"));
                            node.lifecycle.stop();
                            self.chance.pause(300).await;
                            node.lifecycle.set_drained();
                        }
                        self.chance.line(format!("node {number} is gone"));
                        node.lifecycle.shut_down(Duration::ZERO).await;
                        self.chance.pause(200).await;
                        self.start_node().await;
                    }
                }
                2 => {
                    self.log.away.store(true, Ordering::Relaxed);
                    self.chance.pause(600).await;
                    self.log.away.store(false, Ordering::Relaxed);
                }
                _ => self.network.mislead(),
            }
        }
    }

    /// From here on all is well: everybody gets everything, in so many steps of a tenth of a second.
    async fn calm_down(&self, clients: &[Arc<Client>]) -> Result<(), String> {
        self.chance.line("calm".into());
        self.log.away.store(false, Ordering::Relaxed);
        self.log.troubled.store(false, Ordering::Relaxed);
        self.calm.store(true, Ordering::Relaxed);
        if self.nodes.lock().expect("whole").is_empty() {
            self.start_node().await;
        }
        for _ in 0..CALM {
            sleep(Duration::from_millis(100)).await;
            let log = self.log.everything();
            let mut all = self.log.is_numbered();
            for client in clients {
                all &= client.is_right(&log, true)?;
            }
            if all {
                return Ok(());
            }
        }
        let log = self.log.everything();
        let behind = clients.iter().filter(|client| !client.is_right(&log, true).unwrap_or(false));
        let behind = behind.map(|client| {
            let got = client.got.lock().expect("whole");
            let last = got.results.last().map(|(position, _)| *position);
            format!("client {} ({:?}) from {:?} to {last:?}", client.name, client.wish, got.from)
        });
        Err(format!("something never came, of {}: {}", log.len(), behind.collect::<Vec<_>>().join("; ")))
    }
}
