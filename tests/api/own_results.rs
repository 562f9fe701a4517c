//! A result for one viewer alone delays no other viewer, is made once for all of that viewer's sockets, and its loads
//! are batched with those of other viewers of the same event.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all, pending},
};
use lancewire::{
    auth::actor::{Actor, Origin, Principal, Roles},
    clock::Clock,
    events::{EventKind, Hearing},
    ids::UserId,
    realtime::{Delivery, Executed, Execution, Interest, Live, Offer, Outlet, Payload, SharingKey},
};
use sea_orm::{ConnectOptions, ConnectionTrait};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, soon, until},
        people::{Person, text},
    },
};

/// Executes for everybody at once, and for one user only when it is allowed.
#[derive(Clone)]
struct Held {
    user: UserId,
    /// One for each execution.
    allowed: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
}

impl Execution for Held {
    fn execute<'a>(
        &'a self,
        delivery: &'a Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> BoxFuture<'a, Executed> {
        async move {
            if viewer.is_some_and(|viewer| viewer.actor.is(self.user)) {
                self.begun.fetch_add(1, Ordering::Relaxed);
                self.allowed.acquire().await.expect("never closed").forget();
            }
            let response = format!("{} {hearing:?}", delivery.position()).into();
            Executed { response, looked_at_viewer: false, failed: false }
        }
        .boxed()
    }
}

/// Has room for everything.
#[derive(Default)]
struct Reader(Mutex<Vec<(i64, String)>>);

impl Reader {
    fn results(&self) -> Vec<(i64, String)> {
        self.0.lock().expect("whole").clone()
    }
}

impl Outlet for Reader {
    fn offer(&self, payloads: &[Payload]) -> Offer {
        let results = payloads.iter().map(|payload| (payload.position, payload.response.to_string()));
        self.0.lock().expect("whole").extend(results);
        Offer::Taken(payloads.len())
    }

    fn room(&self, _: usize) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn lagged(&self, position: i64) {
        panic!("it has room for everything, at {position}");
    }
}

/// Listens to all changes of jobs.
async fn listen(app: &TestApp, actor: Actor, execution: &Held) -> (Live, Arc<Reader>) {
    let reader = Arc::<Reader>::default();
    let viewer = Origin { actor, address: [127, 0, 0, 1].into() };
    let (key, interest) = (SharingKey::new("held"), Interest::all(EventKind::JobUpdated));
    let outlet = Arc::clone(&reader) as Arc<dyn Outlet>;
    let feed = app.app.services.hub.join(key, interest, execution.clone(), None, viewer, outlet).expect("few listen");
    let Ok(live) = soon(feed.catch_up()).await else { panic!("there is nothing to catch up with") };
    (live, reader)
}

fn user(app: &TestApp, person: &Person) -> Actor {
    let roles = Roles { client: true, ..Roles::default() };
    let (user, session) = (person.id.parse().expect("an id"), app.app.db.ids().next());
    Actor::User(Principal { user, session, roles, expires_at: app.app.clock.now(), commits: None })
}

on_both! {
    async fn waiting_for_a_result_of_ones_own_delays_nobody(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.client("Ben").await);
        let jobs = [text(&ada.post_job("Hers").await, "/id"), text(&ben.post_job("His").await, "/id")];
        app.published().await;
        let execution = Held {
            user: ada.id.parse().expect("an id"),
            allowed: Arc::new(Semaphore::new(0)),
            begun: Arc::default(),
        };
        let (live, one) = listen(&app, user(&app, &ada), &execution).await;
        let (_other_live, other) = listen(&app, user(&app, &ada), &execution).await;
        let (_ben_live, bens) = listen(&app, user(&app, &ben), &execution).await;
        let (public_live, public) = listen(&app, Actor::Anonymous, &execution).await;
        let mut told = live.position().expect("live");
        for round in 0..3 {
            ben.update(&jobs[1], json!({ "title": format!("His, round {round}") })).await.good();
            ada.update(&jobs[0], json!({ "title": format!("Hers, round {round}") })).await.good();
        }
        // Before anything is allowed.
        until("everybody else has heard all of it", || public.results().len() == 6 && bens.results().len() == 6).await;
        until("hers has begun", || execution.begun.load(Ordering::Relaxed) > 0).await;
        let positions: Vec<i64> = public.results().iter().map(|(position, _)| *position).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        let expected = |owns: [bool; 2]| -> Vec<(i64, String)> {
            let hearing = |place: usize| if owns[place % 2] { "Own" } else { "Public" };
            let result = |(place, at): (usize, &i64)| (*at, format!("{at} {}", hearing(place)));
            positions.iter().enumerate().map(result).collect()
        };
        assert_eq!((public.results(), bens.results()), (expected([false, false]), expected([true, false])));
        assert_eq!(execution.begun.load(Ordering::Relaxed), 1, "one at a time, for both of her sockets");
        until("the others are at the end", || public_live.position() >= positions.last().copied()).await;
        for given in 1..=3 {
            for reader in [&one, &other] {
                // What came before her own result is there, and nothing overtakes it.
                let own = 2 * given - 1;
                until("what came before it is there", || reader.results().len() == own).await;
                assert_eq!(reader.results(), expected([false, true])[..own]);
            }
            let position = live.position().expect("live");
            assert!((told..positions[2 * given - 1]).contains(&position), "{position} after {told}, in {positions:?}");
            told = position;
            execution.allowed.add_permits(1);
        }
        for reader in [&one, &other] {
            until("she has heard all of it", || reader.results().len() == 6).await;
            assert_eq!(reader.results(), expected([false, true]));
        }
        assert_eq!(execution.begun.load(Ordering::Relaxed), 3, "once for each event, however many sockets she has");
        until("she is with the others again", || live.position() == public_live.position()).await;
        ben.update(&jobs[1], json!({ "title": "His, at last" })).await.good();
        until("and hears with them", || one.results().len() == 7 && public.results().len() == 7).await;
    }

    async fn one_who_never_gets_their_own_result_ends_with_their_subscription(app: TestApp) {
        let ada = app.client("Ada").await;
        let job = text(&ada.post_job("Hers").await, "/id");
        app.published().await;
        let tasks = app.app.lifecycle.running();
        let execution = Held {
            user: ada.id.parse().expect("an id"),
            allowed: Arc::new(Semaphore::new(0)),
            begun: Arc::default(),
        };
        let (live, _) = listen(&app, user(&app, &ada), &execution).await;
        ada.update(&job, json!({ "title": "Changed" })).await.good();
        until("it has begun", || execution.begun.load(Ordering::Relaxed) == 1).await;
        drop(live);
        until("nothing of it is left", || {
            Arc::strong_count(&execution.begun) == 1 && app.app.lifecycle.running() <= tasks
        })
        .await;
    }

    async fn what_many_viewers_look_up_for_one_event_is_a_few_statements(app: TestApp) {
        const VIEWERS: usize = 60;
        let query = "subscription { jobUpdated { job { title viewerClaim { status } } } }";
        let ada = app.client("Ada").await;
        let job = text(&ada.post_job("Looked at").await, "/id");
        let viewers = join_all((0..VIEWERS).map(|number| {
            let app = app.clone();
            async move { app.freelancer(&format!("Freelancer{number}")).await }
        }))
        .await;
        let mut seats = Vec::new();
        for viewer in &viewers {
            let socket = viewer.socket().await;
            let feed = socket.subscribe(query, json!({}));
            seats.push((socket, feed));
        }
        app.listening(VIEWERS).await;
        viewers[7].claim(&job).await.good();
        for (socket, feed) in &seats {
            soon(socket.next(feed)).await;
        }
        app.published().await;
        let claims: &[Value] = &[json!(null), json!({ "status": "IN_REVIEW" })];
        let before = app.app.db.statements();
        // Shown to everybody, since the status changes.
        let claim = viewers[7].run("{ viewer { claims(first: 1) { nodes { id } } } }", json!({})).await;
        viewers[7].submit(&text(&claim.body, "/data/viewer/claims/nodes/0/id")).await.good();
        for (number, (socket, feed)) in seats.iter().enumerate() {
            let event = soon(socket.next(feed)).await;
            let expected = &claims[usize::from(number == 7)];
            assert_eq!(&event["data"]["jobUpdated"]["job"]["viewerClaim"], expected, "{number}: {event}");
        }
        let statements = app.app.db.statements() - before;
        assert!(statements < VIEWERS as u64 / 2, "{statements} statements for one event");
    }
}

/// The same over sockets, where what holds the result is a lock in the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_whose_claim_cannot_be_read_holds_nobody() {
    let app = TestApp::start_with(Database::Postgres, "", Clock::system()).await;
    let query = "subscription { jobUpdated { job { title activeClaim { id } } } }";
    let ada = app.client("Ada").await;
    let job = text(&ada.post_job("Hers").await, "/id");
    let (party, public) = (ada.socket().await, app.socket(None).await);
    let (own, shared) = (party.subscribe(query, json!({})), public.subscribe(query, json!({})));
    app.listening(2).await;
    let mut options = ConnectOptions::new(app.app.config.database.url.clone());
    options.max_connections(1).sqlx_logging(false);
    let other = sea_orm::Database::connect(options).await.expect("connects");
    other.execute_unprepared("BEGIN; LOCK TABLE claims IN ACCESS EXCLUSIVE MODE").await.expect("locks");
    for round in 0..3 {
        ada.update(&job, json!({ "title": format!("Round {round}") })).await.good();
        let event = soon(public.next(&shared)).await;
        assert_eq!(
            event["data"]["jobUpdated"]["job"],
            json!({ "title": format!("Round {round}"), "activeClaim": null })
        );
    }
    assert_eq!(party.unread(&own), 0, "hers cannot be made");
    other.execute_unprepared("ROLLBACK").await.expect("lets go");
    for round in 0..3 {
        let event = soon(party.next(&own)).await;
        assert_eq!(event["data"]["jobUpdated"]["job"]["title"], format!("Round {round}"));
    }
    other.close().await.expect("closes");
    app.finish().await;
}
