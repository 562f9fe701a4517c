//! Positions are compared by the event that stands there: a log that has lost events and has others in their places,
//! events that were deleted before a node read them, and clocks that must not be trusted.

use std::net::SocketAddr;

use chrono::TimeDelta;
use lancewire::jobs::events::JOB_POSTED;
use lancewire::{app::App, clock::Clock, db::Backend, events::EventCursor, ids::Ids, realtime::BusKind};
use serde_json::json;

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, WEEK, soon, until},
        http::Http,
        people::{Person, new_job, text},
        socket::{Socket, Subscription},
    },
};

const FEED: &str = "subscription($after: String) { jobPosted(after: $after) { cursor job { title } } }";
const EVENTS: &str = "query($after: String) { events(first: 100, after: $after) { nodes { id } } }";
const RESTART: u16 = 1012;

async fn stream_cursor(person: &Person) -> String {
    text(&person.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor")
}

/// The titles of so many events.
async fn titles(socket: &Socket, feed: &Subscription, count: usize) -> Vec<String> {
    let mut titles = Vec::new();
    for _ in 0..count {
        titles.push(text(&socket.next(feed).await, "/data/jobPosted/job/title"));
    }
    titles
}

/// What a fail-over to a standby that lacked the last 5 commits looks like half a second later: they are gone, and 40
/// others have come, which are numbered from the position of the first lost one on. In one transaction.
fn fail_over(app: &TestApp, head: i64) -> String {
    let kept = head - 5;
    let columns = "kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload, occurred_at";
    let others = format!(
        "INSERT INTO events (event_id, {columns}) SELECT {{fresh}}, {columns} FROM \
         (SELECT * FROM events WHERE kind = 'JOB_POSTED' ORDER BY id LIMIT 1) AS one, \
         (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 40) \
          SELECT n FROM numbers) AS many"
    );
    // Past the guard against deletions: what a standby lacks is not deleted there either.
    let (begin, rewind) = match app.app.db.backend() {
        Backend::Sqlite => {
            ("BEGIN IMMEDIATE", "sqlite_sequence SET seq = {kept} WHERE name = 'events'; DELETE FROM early_deletions")
        }
        Backend::Postgres => {
            ("BEGIN; SET LOCAL session_replication_role = replica", "event_log SET last_position = {kept} WHERE id = 1")
        }
    };
    let rewind = format!("UPDATE {}", rewind.replace("{kept}", &kept.to_string()));
    let sql = format!("{begin}; DELETE FROM events WHERE {{position}} > {kept}; {rewind}; {others}; COMMIT");
    app.db_dialect(&sql)
}

/// Ten posts, heard by `socket`. Returns each kind of cursor that names one of the last five positions: an event's, a
/// ping's, an answer's, and the stream's; and the head.
async fn ten_posts(app: &TestApp, ada: &Person, socket: &Socket) -> (Vec<String>, i64) {
    let feed = socket.subscribe(FEED, json!({}));
    app.listening(1).await;
    let mut lost = Vec::new();
    for number in 0..10 {
        ada.post_job(&format!("Job {number}")).await;
        lost.push(text(&socket.next(&feed).await, "/data/jobPosted/cursor"));
    }
    let mut lost = lost.split_off(9);
    let post = "mutation($input: PostJobInput!) { postJob(input: $input) { errors { __typename } } }";
    let answer = ada.run(post, json!({ "input": new_job("The last", "1.00") })).await;
    socket.next(&feed).await;
    lost.push(text(&answer.body, "/extensions/cursor"));
    lost.push(stream_cursor(ada).await);
    let head = app.app.services.hub.log().stamp().await.expect("a stamp");
    loop {
        let ping = socket.pinged().await;
        let Some(cursor) = ping["cursor"].as_str() else { continue };
        if EventCursor::decode(cursor).expect("one of ours").position == head {
            lost.push(cursor.to_owned());
            break;
        }
    }
    for cursor in &lost {
        let position = EventCursor::decode(cursor).expect("one of ours").position;
        assert!(position > head - 5, "{position} of {head} is kept");
    }
    (lost, head)
}

/// A subscription, a page, a stream's header: none of them goes on from any of these.
async fn all_expired(app: &TestApp, cursors: &[String]) {
    let socket = Socket::connect(app.addr, None).await;
    for cursor in cursors {
        let refused = socket.subscribe(FEED, json!({ "after": cursor }));
        assert_eq!(socket.error(&refused).await[0]["extensions"]["code"], "CURSOR_EXPIRED", "{cursor}");
        assert_eq!(app.anonymous().run(EVENTS, json!({ "after": cursor })).await.code(), "CURSOR_EXPIRED", "{cursor}");
    }
}

/// A new subscription is served as before.
async fn it_goes_on(app: &TestApp, ada: &Person) {
    let start = stream_cursor(ada).await;
    let socket = Socket::connect(app.addr, None).await;
    let feed = socket.subscribe(FEED, json!({ "after": start }));
    ada.post_job("After all that").await;
    assert_eq!(titles(&socket, &feed, 1).await, ["After all that"]);
}

const PINGS: &str = "[sockets]\nping_interval_ms = 300";

async fn a_fail_over_that_put_others_in_the_places_of_lost_events_is_noticed(database: Database) {
    let app = TestApp::start_with(database, PINGS, Clock::system()).await;
    let ada = app.client("Ada").await;
    let before = stream_cursor(&ada).await;
    let socket = app.socket(None).await;
    let (mut lost, head) = ten_posts(&app, &ada, &socket).await;
    let identity = app.app.services.hub.log().identity();
    app.db_run(&fail_over(&app, head)).await;
    // Nobody restarts anything, and the head is beyond what was delivered.
    until("the node gives up what it has", || app.app.lifecycle.has_failed()).await;
    assert!(app.app.shut_down().await, "a task did not leave by itself");
    assert_eq!(socket.closed().await.0, RESTART);
    let app = app.restarted().await;
    assert_ne!(app.app.services.hub.log().identity(), identity);
    lost.push(before);
    all_expired(&app, &lost).await;
    it_goes_on(&app, &ada).await;
    // A fork leaves neither books nor log whole: they are not looked at.
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

async fn so_is_a_restore_while_no_node_ran(database: Database) {
    let app = TestApp::start_with(database, PINGS, Clock::system()).await;
    let ada = app.client("Ada").await;
    let before = stream_cursor(&ada).await;
    let socket = app.socket(None).await;
    let (lost, head) = ten_posts(&app, &ada, &socket).await;
    assert!(app.app.shut_down().await, "a task did not leave by itself");
    app.db_run(&fail_over(&app, head)).await;
    let app = app.restarted().await;
    // Each of these positions has an event, in the ring as in the log.
    all_expired(&app, &lost).await;
    let kept = Socket::connect(app.addr, None).await;
    let feed = kept.subscribe(FEED, json!({ "after": before }));
    assert_eq!(titles(&kept, &feed, 2).await, ["Job 0", "Job 1"], "what was before the fork is as good as ever");
    drop(kept);
    it_goes_on(&app, &ada).await;
    assert!(!app.app.lifecycle.has_failed());
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

async fn a_log_that_is_not_as_far_as_it_was_is_no_mistake_of_the_clients(database: Database) {
    let app = TestApp::start_with(database, PINGS, Clock::system()).await;
    let ada = app.client("Ada").await;
    let socket = app.socket(None).await;
    let (lost, head) = ten_posts(&app, &ada, &socket).await;
    assert!(app.app.shut_down().await, "a task did not leave by itself");
    let whole = fail_over(&app, head);
    let without: Vec<&str> = whole.split("; ").filter(|sql| !sql.starts_with("INSERT")).collect();
    app.db_run(&without.join("; ")).await;
    let app = app.restarted().await;
    all_expired(&app, &lost).await;
    it_goes_on(&app, &ada).await;
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

macro_rules! on_each {
    ($($story:ident),+) => {$(
        mod $story {
            use super::Database;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$story(Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$story(Database::Postgres).await;
            }
        }
    )+};
}

on_each!(
    a_fail_over_that_put_others_in_the_places_of_lost_events_is_noticed,
    so_is_a_restore_while_no_node_ran,
    a_log_that_is_not_as_far_as_it_was_is_no_mistake_of_the_clients
);

/// The node that is on the new database tells the others, whether or not they have noticed themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_notices_a_fail_over() {
    let app = TestApp::start_with(Database::Postgres, "[sockets]\nping_interval_ms = 300", Clock::system()).await;
    let neighbour = app.neighbour().await;
    let ada = app.client("Ada").await;
    let (here, there) = (app.socket(None).await, neighbour.socket(None).await);
    let feed = there.subscribe(FEED, json!({}));
    neighbour.listening(1).await;
    let (lost, head) = ten_posts(&app, &ada, &here).await;
    assert_eq!(titles(&there, &feed, 11).await.len(), 11);
    app.db_run(&fail_over(&app, head)).await;
    until("both give up", || app.app.lifecycle.has_failed() && neighbour.app.lifecycle.has_failed()).await;
    assert!(neighbour.app.shut_down().await && app.app.shut_down().await, "a task did not leave by itself");
    for socket in [&here, &there] {
        assert_eq!(socket.closed().await.0, RESTART);
    }
    assert_eq!(there.unread(&feed), 0, "nothing of the other history was delivered");
    let app = app.restarted().await;
    all_expired(&app, &lost).await;
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}

/// Another server on the same database, with a clock of its own, that hears nothing of the first.
async fn apart(app: &TestApp, clock: Clock) -> (App, SocketAddr) {
    let mut config = app.app.config.clone();
    (config.events.poll_ms, config.http.listen) = (600_000, "127.0.0.1:0".parse().expect("an address"));
    config.bus.kind = BusKind::Memory;
    let node = App::build(config, clock.clone(), Ids::from_entropy(clock)).await.expect("builds");
    let addr = node.serve(node.listen().expect("a port")).expect("an address");
    (node, addr)
}

/// Events that were forgotten before a node came to them: it does not go on behind the hole, where it would know neither
/// what its readers have missed nor whose rights have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_that_retention_tore_is_not_passed_over() {
    let app = TestApp::start(Database::Postgres).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    app.published().await;
    let start = stream_cursor(&ada).await;
    let (late, addr) = apart(&app, Clock::system()).await;
    let socket = Socket::connect(addr, ben.token.as_deref()).await;
    let feed = socket.subscribe(FEED, json!({}));
    until("somebody listens there", || late.services.hub.listeners(JOB_POSTED) == 1).await;

    ada.post_job("Missed").await;
    ben.run("mutation { signOut { errors { __typename } } }", json!({})).await;
    app.db_age().await;
    app.db_forget().await;
    ada.post_job("After the hole").await;
    app.published().await;
    late.db.doorbell().notify_one();
    until("it does not go on", || late.lifecycle.has_failed()).await;
    assert!(late.shut_down().await, "a task did not leave by itself");
    assert_eq!(socket.closed().await.0, RESTART);
    // Something else may have made it look while the first was still kept.
    while socket.unread(&feed) > 0 {
        let came = socket.next(&feed).await;
        assert_eq!(came["data"]["jobPosted"]["job"]["title"], "Missed", "nothing came from behind the hole");
    }
    late.db.clone().close().await;

    // Started anew it knows that his session is over, and that he has missed something.
    let (anew, addr) = apart(&app, Clock::system()).await;
    let mut ben = ben;
    ben.http = Http::new(addr);
    assert_eq!(ben.run("{ me { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    let socket = Socket::connect(addr, None).await;
    let refused = socket.subscribe(FEED, json!({ "after": start }));
    assert_eq!(socket.error(&refused).await[0]["extensions"]["code"], "CURSOR_EXPIRED");
    drop(socket);
    assert!(anew.shut_down().await, "a task did not leave by itself");
    anew.db.clone().close().await;
    app.finish().await;
}

on_both! {
    /// The same where nothing has come since: the head alone says that something is missing.
    async fn nor_is_one_at_the_end_of_the_log(app: TestApp) {
        let ada = app.client("Ada").await;
        let (late, _) = apart(&app, Clock::system()).await;
        ada.post_job("Missed").await;
        app.db_age().await;
        app.db_forget().await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM events").await, 0);
        late.db.doorbell().notify_one();
        until("it does not go on", || late.lifecycle.has_failed()).await;
        assert!(late.shut_down().await, "a task did not leave by itself");
        late.db.clone().close().await;
    }

    /// An idle log is emptied in the end. A cursor at its end has missed nothing.
    async fn an_empty_log_is_no_hole(app: TestApp) {
        let ada = app.client("Ada").await;
        let socket = app.socket(None).await;
        let feed = socket.subscribe(FEED, json!({}));
        app.listening(1).await;
        app.published().await;
        app.db_age().await;
        app.db_forget().await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM events").await, 0);
        for title in ["One", "Two"] {
            ada.post_job(title).await;
            assert_eq!(titles(&socket, &feed, 1).await, [title]);
        }
        assert!(!app.app.lifecycle.has_failed());
    }

    /// The database's clock decides how old an event is, not the clock of the reader or of the writer.
    async fn no_nodes_clock_empties_the_log(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = stream_cursor(&ada).await;
        ada.post_job("Of today").await;
        let wrong = [TimeDelta::days(8), TimeDelta::days(-8)];
        for (number, wrong) in wrong.into_iter().enumerate() {
            app.db_run("DELETE FROM event_ages").await;
            let (node, addr) = apart(&app, Clock::manual(app.app.clock.now() + wrong)).await;
            // Its retention looks once at the start.
            soon(async { while app.db_number("SELECT COUNT(*) FROM event_ages").await == 0 {} }).await;
            assert_eq!(node.services.hub.log().forget(WEEK, 1_000).await.expect("it looks"), 0, "{wrong}");
            let mut eve = app.anonymous();
            eve.http = Http::new(addr);
            let input = json!({ "email": format!("eve{number}@example.com"), "password": "a long secret of hers",
                                "displayName": "Eve", "roles": ["CLIENT"] });
            let session = eve.mutate("signUp", input, "session { accessToken }").await.good();
            eve.token = Some(text(&session, "/session/accessToken").into());
            eve.draft(new_job("Written at another time", "1.00")).await.good();
            assert_eq!(app.app.services.hub.log().forget(WEEK, 1_000).await.expect("it looks"), 0, "{wrong}");
            assert!(node.shut_down().await, "a task did not leave by itself");
            node.db.clone().close().await;
        }
        let events = ada.run(EVENTS, json!({ "after": start })).await;
        assert!(events.data()["events"]["nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()), "{events}");
    }
}

/// A tool, or a node that could not number for long, leaves more than one statement can number in its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_wait_for_a_position_each_gets_one() {
    const COUNT: i64 = 40_000;
    let app = TestApp::start_with(Database::Postgres, "[database]\nstatement_timeout_ms = 1200", Clock::system()).await;
    app.client("Ada").await;
    app.published().await;
    let head = app.app.services.hub.head();
    // As slow as a disk that is busy: numbering all of them takes more than two seconds.
    app.db_run(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN PERFORM pg_sleep(0.001); RETURN new; END $$; \
         CREATE TRIGGER events_dawdle BEFORE UPDATE ON events FOR EACH ROW WHEN (new.id % 20 = 0) \
         EXECUTE FUNCTION dawdle()",
    )
    .await;
    app.db_run(&format!(
        "BEGIN; SET LOCAL statement_timeout = 0; \
         INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, payload, occurred_at) \
         SELECT gen_random_uuid(), 'WALLET_UPDATED', gen_random_uuid(), 1, false, gen_random_uuid(), '{{}}', now() \
         FROM generate_series(1, {COUNT}); COMMIT"
    ))
    .await;
    until("all are delivered", || app.app.services.hub.head() == head + COUNT).await;
    assert_eq!(app.db_number("SELECT COUNT(*) FROM events WHERE position IS NULL").await, 0);
    let whole = "SELECT MAX(position) - MIN(position) + 1 - COUNT(*) FROM events";
    assert_eq!(app.db_number(whole).await, 0, "positions are contiguous");
    assert!(app.app.shut_down().await, "a task did not leave by itself");
}
