//! The work of subscriptions is paid by those who cause it, and no event is lost by that.
//!
//! A node here is a log, a hub and a tail without the rest of a server, so that a story holds the budgets from which
//! subscriptions pay: it knows each millionth of a point, and decides when there are points again.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, pending};
use lancewire::jobs::events::JOB_UPDATED;
use lancewire::{
    app::open_database,
    auth::actor::{Actor, Origin, Principal, Roles},
    clock::Clock,
    config::{Config, Environment},
    db::Db,
    events::{Audience, EventLog, Hearing, NewEvent, record},
    ids::{Ids, UserId},
    lifecycle::Lifecycle,
    realtime::{
        AskingSettings, Bus, Delivery, Executed, Execution, Feed, FeedEnd, Hub, HubSettings, Interest, MemoryBus,
        Offer, Outlet, Pace, Payload, Payment, SharingKey, Tail,
    },
};
use sea_orm::DbErr;
use tempfile::TempDir;
use tokio::join;

use crate::support::app::{soon, until};

/// A point, in millionths.
const POINT: u64 = 1_000_000;

/// Whose subscriptions have cost how much, and how long those have to wait who have nothing left.
#[derive(Debug, Default)]
struct Purse {
    charged: Mutex<HashMap<IpAddr, u64>>,
    empty: Mutex<Option<Duration>>,
    refused: AtomicUsize,
}

impl Purse {
    fn charged(&self, last: u8) -> u64 {
        self.charged.lock().expect("whole").get(&address(last)).copied().unwrap_or_default()
    }

    fn set_empty(&self, empty: Option<Duration>) {
        *self.empty.lock().expect("whole") = empty;
    }
}

impl Payment for Purse {
    fn charge(&self, viewer: &Origin, cost: u64) -> Option<Duration> {
        *self.charged.lock().expect("whole").entry(viewer.address).or_default() += cost;
        let empty = *self.empty.lock().expect("whole");
        self.refused.fetch_add(usize::from(empty.is_some()), Ordering::Relaxed);
        empty
    }
}

/// Counts how often it is asked.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Execution for Counting {
    fn execute<'a>(&'a self, _: &'a Arc<Delivery>, hearing: Hearing, _: Option<Origin>) -> BoxFuture<'a, Executed> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let response = format!("{hearing:?}").into();
        async { Executed { response, looked_at_viewer: false, failed: false } }.boxed()
    }
}

/// Has room for everything.
#[derive(Default)]
struct Reader {
    positions: Mutex<Vec<i64>>,
    let_go: Mutex<Option<i64>>,
}

impl Reader {
    fn positions(&self) -> Vec<i64> {
        self.positions.lock().expect("whole").clone()
    }

    fn let_go_at(&self) -> Option<i64> {
        *self.let_go.lock().expect("whole")
    }
}

impl Outlet for Reader {
    fn offer(&self, payloads: &[Payload]) -> Offer {
        self.positions.lock().expect("whole").extend(payloads.iter().map(|payload| payload.position));
        Offer::Taken(payloads.len())
    }

    fn room(&self, _: usize) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn lagged(&self, position: i64) {
        *self.let_go.lock().expect("whole") = Some(position);
    }
}

struct Node {
    db: Db,
    hub: Hub,
    ids: Ids,
    purse: Arc<Purse>,
    execution: Counting,
    lifecycle: Lifecycle,
    _home: TempDir,
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

impl Node {
    /// With room for so many bytes of the last events.
    async fn start(ring_bytes: usize) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let settings = format!("[database]\nurl = \"sqlite:{}\"", home.path().join("charges.db").display());
        let config = Config::layered(Environment::Development, &[&settings]).expect("usable settings");
        let (ids, lifecycle) = (Ids::from_entropy(Clock::system()), Lifecycle::new());
        let db = open_database(&config, ids.clone(), lifecycle.clone()).await.expect("it opens");
        let log = EventLog::open(db.clone(), lancewire::domains::KINDS).await.expect("a log");
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::alone());
        let delivery = HubSettings { ring_bytes, backlog: 1_024, broadcast: 1_024, asking: AskingSettings::default() };
        let purse = Arc::<Purse>::default();
        let payment = Arc::clone(&purse) as Arc<dyn Payment>;
        let clock = Clock::system();
        let hub = Hub::new(log, Arc::clone(&bus), |_| Ok(Vec::new()), delivery, payment, clock, lifecycle.clone());
        let (poll, heartbeat) = (Duration::from_millis(50), Duration::from_secs(3600));
        let pace = Pace { poll, heartbeat, hold: Duration::from_millis(10) };
        let tail = Tail::begin(hub.clone(), bus, db.doorbell(), pace, lifecycle.clone(), |_| {});
        drop(lifecycle.spawn(tail.await.expect("the log answers").run()));
        Self { db, hub, ids, purse, execution: Counting::default(), lifecycle, _home: home }
    }

    /// Commits so many events of this owner's, which everybody may hear, and waits until they are published.
    async fn record(&self, count: usize, owner: UserId) {
        let (ids, kind) = (&self.ids, JOB_UPDATED);
        let recorded = self.db.transact(|tx| async move {
            for _ in 0..count {
                let event = NewEvent {
                    id: ids.next(),
                    kind,
                    subject: owner.into(),
                    subject_version: 1,
                    audience: Audience::of([owner]).public(true),
                    payload: "{}".into(),
                    occurred_at: Clock::system().now(),
                };
                record(&tx, event).await?;
            }
            Ok(())
        });
        recorded.await.map_err(|error: DbErr| error).expect("it commits");
        let head = self.hub.log().stamp().await.expect("a stamp");
        until("it is published", || self.hub.head() == head).await;
    }

    fn join(&self, key: &str, actor: Actor, last: u8, after: Option<i64>) -> (Feed, Arc<Reader>) {
        let reader = Arc::<Reader>::default();
        let viewer = Origin { actor, address: address(last) };
        let interest = Interest::all(JOB_UPDATED);
        let outlet = Arc::clone(&reader) as Arc<dyn Outlet>;
        let feed = self.hub.join(SharingKey::new(key), interest, self.execution.clone(), after, viewer, outlet);
        (feed.expect("few listen"), reader)
    }

    fn user(&self, user: UserId) -> Actor {
        let (session, expires_at) = (self.ids.next(), Clock::system().now());
        Actor::User(Principal { user, session, roles: Roles::default(), expires_at, commits: None })
    }

    fn executed(&self) -> usize {
        self.execution.0.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.lifecycle.set_drained();
        assert!(self.lifecycle.shut_down(Duration::from_secs(5)).await, "a task did not leave by itself");
        self.db.close().await;
    }
}

/// Of 600 events that must be read from the log and executed for one subscription.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_paid_by_what_it_reads_and_executes() {
    let node = Node::start(1).await;
    node.record(600, node.ids.next()).await;
    let (feed, reader) = node.join("alone", Actor::Anonymous, 1, Some(0));
    let Ok(live) = soon(feed.catch_up()).await else { panic!("it has caught up") };
    assert_eq!(reader.positions(), (1..=600).collect::<Vec<_>>());
    // The first page of 256 is read for the price of the subscription.
    // After it is one look for what comes next, which is the next one.
    let expected = (600 - 256) * POINT / 100 + POINT / 10 + 600 * POINT / 10;
    assert_eq!((node.purse.charged(1), node.executed()), (expected, 600));
    drop(live);
    node.stop().await;
}

/// A thousand clients that come back after a cut of the network make nothing necessary that was not made already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_memory_and_was_made_for_others_costs_next_to_nothing() {
    let node = Node::start(1 << 24).await;
    let (feed, _) = node.join("popular", Actor::Anonymous, 1, None);
    let Ok(live) = soon(feed.catch_up()).await else { panic!("it is live") };
    node.record(600, node.ids.next()).await;
    until("all are executed", || node.executed() == 600).await;
    let (again, reader) = node.join("popular", Actor::Anonymous, 2, Some(0));
    let Ok(again) = soon(again.catch_up()).await else { panic!("it has caught up") };
    assert_eq!((reader.positions().len(), node.executed()), (600, 600));
    assert_eq!(node.purse.charged(2), (600 - 256) * POINT / 1_000);
    drop((live, again));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_waits_for_its_budget_and_loses_nothing() {
    let node = Node::start(1).await;
    node.record(600, node.ids.next()).await;
    let (feed, reader) = node.join("paced", Actor::Anonymous, 1, Some(0));
    node.purse.set_empty(Some(Duration::from_millis(1)));
    let told = async {
        until("it waits, again and again", || node.purse.refused.load(Ordering::Relaxed) > 5).await;
        let (given, executed) = (reader.positions().len(), node.executed());
        assert!((1..=32).contains(&given) && executed == given, "some of the first page: {given}, {executed}");
        node.purse.set_empty(None);
    };
    let (live, ()) = soon(async { join!(feed.catch_up(), told) }).await;
    assert!(live.is_ok(), "it has caught up");
    assert_eq!(reader.positions(), (1..=600).collect::<Vec<_>>(), "each once and in order");
    drop(live);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_would_wait_for_too_long_says_when_to_come_back() {
    let node = Node::start(1).await;
    node.record(600, node.ids.next()).await;
    let (feed, reader) = node.join("poor", Actor::Anonymous, 1, Some(0));
    node.purse.set_empty(Some(Duration::from_secs(300)));
    let Err(end) = soon(feed.catch_up()).await else { panic!("it cannot pay") };
    assert!(matches!(end, FeedEnd::Unpaid(after) if after >= Duration::from_secs(300)), "{end:?}");
    let given = reader.positions();
    // From the last that it was given it goes on.
    node.purse.set_empty(None);
    let (feed, rest) = node.join("poor", Actor::Anonymous, 1, given.last().copied());
    assert!(soon(feed.catch_up()).await.is_ok());
    let whole: Vec<i64> = given.into_iter().chain(rest.positions()).collect();
    assert_eq!(whole, (1..=600).collect::<Vec<_>>());
    node.stop().await;
}

/// One who is alone pays for each event, and twenty who are alike a twentieth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_executes_is_shared_by_its_members() {
    let node = Node::start(1 << 24).await;
    let mut lives = Vec::new();
    for (key, last) in std::iter::once(("alone", 1)).chain((2..22).map(|last| ("popular", last))) {
        let (feed, _) = node.join(key, Actor::Anonymous, last, None);
        lives.push(soon(feed.catch_up()).await.expect("live"));
    }
    for _ in 0..200 {
        node.record(1, node.ids.next()).await;
    }
    until("both groups have executed all", || node.executed() == 400).await;
    until("the one has paid all of it", || node.purse.charged(1) == 20 * POINT).await;
    let others = || (2..22).map(|last| node.purse.charged(last)).collect::<Vec<_>>();
    until("the others have paid their share", || others().iter().all(|charged| *charged == POINT)).await;
    drop(lives);
    node.stop().await;
}

/// A live subscription whose budget is empty leaves its group: nothing more is executed for it, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_subscription_that_cannot_pay_goes_on_later() {
    let node = Node::start(1 << 24).await;
    let (feed, reader) = node.join("alone", Actor::Anonymous, 1, None);
    let Ok(live) = soon(feed.catch_up()).await else { panic!("it is live") };
    node.purse.set_empty(Some(Duration::from_millis(1)));
    node.record(10, node.ids.next()).await;
    until("it was let go", || reader.let_go_at().is_some()).await;
    assert_eq!((reader.let_go_at(), node.executed()), (Some(10), 10), "a point is ten executions");
    node.record(500, node.ids.next()).await;
    let before = node.purse.refused.load(Ordering::Relaxed);
    let told = async {
        until("it waits", || node.purse.refused.load(Ordering::Relaxed) > before + 3).await;
        assert_eq!(node.executed(), 10, "nothing is made for one who cannot pay");
        node.purse.set_empty(None);
    };
    let (live, ()) = soon(async { join!(live.lagged(10).catch_up(), told) }).await;
    let Ok(live) = live else { panic!("it has caught up") };
    node.record(1, node.ids.next()).await;
    until("it is live again", || reader.positions().len() == 511).await;
    assert_eq!(reader.positions(), (1..=511).collect::<Vec<_>>(), "each once and in order");
    drop(live);
    node.stop().await;
}

/// What is executed for one viewer alone is paid by that one, and by nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_ones_own_are_paid_by_their_viewer() {
    let node = Node::start(1 << 24).await;
    let owner: UserId = node.ids.next();
    let (feed, own) = node.join("mine", node.user(owner), 1, None);
    let mine = soon(feed.catch_up()).await.expect("live");
    let (feed, public) = node.join("mine", Actor::Anonymous, 2, None);
    let other = soon(feed.catch_up()).await.expect("live");
    node.record(5, owner).await;
    until("both have heard all", || own.positions().len() == 5 && public.positions().len() == 5).await;
    until("it is paid", || node.purse.charged(1) == 5 * POINT / 10).await;
    node.purse.set_empty(Some(Duration::from_millis(1)));
    node.record(1, owner).await;
    until("it was let go", || own.let_go_at().is_some()).await;
    assert_eq!((own.positions(), own.let_go_at()), ((1..=6).collect(), Some(6)), "after what was made");
    let executed = node.executed();
    node.record(3, owner).await;
    until("the other has heard all", || public.positions().len() == 9).await;
    assert_eq!(node.executed(), executed + 3, "for the other alone");
    drop((mine, other));
    node.stop().await;
}
