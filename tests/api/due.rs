//! What happens to jobs and claims because their time has come: deadlines expire jobs, claims without work lapse, work that
//! nobody reviewed is paid for; each once, never early, and also after a month in which nobody served.
//!
//! `schedule` tells what holds for everything that falls due.

use std::time::Duration;

use lancewire::clock::Clock;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, holds, soon},
        people::{Person, new_job, text},
        socket::{Socket, Subscription},
    },
};

const JOB: &str = "query($id: ID!) { job(id: $id) { status version escrow { amount } claims: activeClaim { id } } }";

async fn job(person: &Person, id: &str) -> Value {
    person.run(JOB, json!({ "id": id })).await.data()["job"].clone()
}

/// Waits until a job is in a status.
async fn becomes(app: &TestApp, job: &str, status: &str) {
    let sql = format!("EXISTS (SELECT 1 FROM jobs WHERE status = '{status}' AND title = '{job}')");
    holds(app.app.db.reader(), &sql).await;
}

async fn inbox(person: &Person) -> Vec<(String, String)> {
    let query = "{ viewer { notifications(first: 20) { nodes { kind title } } } }";
    let reply = person.run(query, json!({})).await;
    let nodes = reply.data()["viewer"]["notifications"]["nodes"].as_array().expect("an inbox").clone();
    nodes.iter().map(|node| (text(node, "/kind"), text(node, "/title"))).collect()
}

/// A job that can be claimed for so long from now.
fn with_deadline(title: &str, from_now: Duration) -> Value {
    let mut job = new_job(title, "100.00");
    job["deadline"] = json!((Clock::system().now() + from_now).to_rfc3339());
    job
}

async fn status(socket: &Socket, events: &Subscription) -> (String, String) {
    let event = socket.next(events).await;
    let event = &event["data"]["jobUpdated"];
    (event["previousStatus"].as_str().unwrap_or_default().to_owned(), text(event, "/job/status"))
}

const FOLLOW: &str = "subscription($id: ID!) { jobUpdated(jobId: $id) { previousStatus job { status } } }";

on_both! {
    async fn a_job_that_nobody_claims_in_time_expires_and_its_budget_comes_back(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let id = text(&ada.post(with_deadline("Late", Duration::from_secs(2))).await.good(), "/job/id");
        let later = text(&ada.post(with_deadline("Later", Duration::from_hours(2))).await.good(), "/job/id");
        let socket = app.socket(None).await;
        let events = socket.subscribe(FOLLOW, json!({ "id": id }));
        app.listening(1).await;
        assert_eq!(status(&socket, &events).await, ("OPEN".to_owned(), "EXPIRED".to_owned()));
        let expired = job(&ada, &id).await;
        assert_eq!((&expired["status"], &expired["version"]), (&json!("EXPIRED"), &json!(2)));
        assert_eq!(ada.balance().await[..2], ["9900.00".to_owned(), "100.00".to_owned()], "the other one is held");
        let told = inbox(&ada).await;
        assert_eq!(told[0].0, "JOB_EXPIRED");
        assert_eq!(told[0].1, "Nobody claimed \"Late\" before its deadline; 100.00 USD is back in your wallet");
        ben.claim(&id).await.refused("JOB_NOT_CLAIMABLE");
        ada.cancel(&id).await.refused("INVALID_TRANSITION");
        assert_eq!(job(&ada, &later).await["status"], "OPEN");
    }
}

on_both! {
    with "[marketplace]\nclaim_seconds = 2\n";

    async fn a_claim_without_work_lapses_and_the_job_is_there_for_others(app: TestApp) {
        let (ada, ben, dina) =
            (app.client("Ada").await, app.freelancer("Ben").await, app.freelancer("Dina").await);
        let [idle, busy] = ["Idle", "Busy"].map(|title| async { text(&ada.post_job(title).await, "/id") });
        let (idle, busy) = (idle.await, busy.await);
        let work = text(&dina.claim(&busy).await.good(), "/claim/id");
        dina.submit(&work).await.good();
        let (socket, feed) = (ben.socket().await, app.socket(None).await);
        let claims = "subscription { claimUpdated { previousStatus claim { status endReason expiresAt } } }";
        let claims = socket.subscribe(claims, json!({}));
        let posted = feed.subscribe("subscription { jobPosted { job { title status } } }", json!({}));
        app.listening(2).await;
        let claim = text(&ben.claim(&idle).await.good(), "/claim/id");
        let made = socket.next(&claims).await;
        assert_eq!(made["data"]["claimUpdated"]["claim"]["status"], "ACTIVE");
        let lapsed = socket.next(&claims).await;
        let lapsed = &lapsed["data"]["claimUpdated"];
        assert_eq!((&lapsed["previousStatus"], &lapsed["claim"]["status"]), (&json!("ACTIVE"), &json!("EXPIRED")));
        let again = feed.next(&posted).await;
        assert_eq!(again["data"]["jobPosted"]["job"], json!({ "title": "Idle", "status": "OPEN" }));
        let (to_client, to_freelancer) = (inbox(&ada).await, inbox(&ben).await);
        let released = |words: &str| ("CLAIM_RELEASED".to_owned(), words.to_owned());
        assert_eq!(to_client[0], released("Nothing was submitted for \"Idle\" in time; it is open again"));
        assert_eq!(to_freelancer[0], released("Your claim on \"Idle\" ended: nothing was submitted in time"));
        ben.submit(&claim).await.refused("INVALID_TRANSITION");
        assert_eq!(ada.balance().await[1], "200.00", "it is held on");
        dina.claim(&idle).await.good();
        // What was submitted in time was due before the other one, and stays.
        let still = "SELECT COUNT(*) FROM claims WHERE status = 'IN_REVIEW'";
        assert_eq!(app.db_number(still).await, 1);
    }
}

on_both! {
    with "[marketplace]\nauto_approve_seconds = 2\n";

    async fn work_that_nobody_reviews_in_time_is_paid_for(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let [waits, revised] = ["Waits", "Revised"].map(|title| async { text(&ada.post_job(title).await, "/id") });
        let (waits, revised) = (waits.await, revised.await);
        let back = text(&ben.claim(&revised).await.good(), "/claim/id");
        let work = text(&ben.submit(&back).await.good(), "/deliverable/id");
        ada.request_revision(&work).await.good();
        let claim = text(&ben.claim(&waits).await.good(), "/claim/id");
        let work = text(&ben.submit(&claim).await.good(), "/deliverable/id");
        becomes(&app, "Waits", "COMPLETED").await;
        assert_eq!(ben.balance().await[0], "95.00");
        assert_eq!(ada.balance().await[..2], ["9800.00".to_owned(), "100.00".to_owned()]);
        let approved = |words: &str| ("WORK_APPROVED".to_owned(), words.to_owned());
        let (to_client, to_freelancer) = (inbox(&ada).await, inbox(&ben).await);
        let words = "The time to review \"Waits\" is over: its work counts as approved; it is completed";
        assert!(to_client.contains(&approved(words)), "{to_client:?}");
        let words = "Your work for \"Waits\" was not reviewed in time and counts as approved; it is completed";
        assert!(to_freelancer.contains(&approved(words)), "{to_freelancer:?}");
        assert_eq!(to_freelancer[0].0, "PAYMENT_RECEIVED");
        let status = "SELECT COUNT(*) FROM deliverables WHERE status = 'APPROVED' AND reviewed_at IS NOT NULL";
        assert_eq!(app.db_number(status).await, 1);
        ada.approve(&work).await.refused("INVALID_TRANSITION");
        assert_eq!(job(&ada, &revised).await["status"], "CLAIMED", "what was sent back waits for its freelancer");
        assert_eq!(app.db_number("SELECT MAX(completed_job_count) FROM users").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_without_a_server_is_made_up_for_on_sqlite() {
    after_a_month(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_without_a_server_is_made_up_for_on_postgres() {
    after_a_month(Database::Postgres).await;
}

async fn after_a_month(database: Database) {
    let app = TestApp::start(database).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    let mut ids = Vec::new();
    for title in ["Open", "Claimed", "Submitted", "Extended"] {
        ids.push(text(&ada.post(with_deadline(title, Duration::from_hours(1))).await.good(), "/job/id"));
    }
    ben.claim(&ids[1]).await.good();
    let claim = text(&ben.claim(&ids[2]).await.good(), "/claim/id");
    ben.submit(&claim).await.good();
    // As if all of it had been a month ago.
    for moved in [
        "UPDATE jobs SET deadline = '2026-01-01 00:00:00.000+00:00', deadline_order = '2026-01-01 00:00:00.000+00:00' \
         WHERE title <> 'Extended'",
        "UPDATE claims SET expires_at = '2026-01-01 00:00:00.000+00:00' WHERE expires_at IS NOT NULL",
        "UPDATE claims SET auto_approve_at = '2026-01-01 00:00:00.000+00:00' WHERE auto_approve_at IS NOT NULL",
    ] {
        app.db_run(moved).await;
    }
    let app = app.restarted().await;
    let (ada, ben) = (ada.at(&app), ben.at(&app));
    // What is reopened past its deadline expires in turn.
    for (title, status) in [("Open", "EXPIRED"), ("Claimed", "EXPIRED"), ("Submitted", "COMPLETED")] {
        becomes(&app, title, status).await;
    }
    assert_eq!(job(&ada, &ids[3]).await["status"], "OPEN");
    assert_eq!(ada.balance().await[..2], ["9800.00".to_owned(), "100.00".to_owned()]);
    assert_eq!(ben.balance().await[0], "95.00");
    app.finish().await;
}

/// Both look at the same rows at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_expire_each_job_once() {
    let one = TestApp::start_with(Database::Postgres, "", Clock::system()).await;
    let other = one.neighbour().await;
    let ada = one.client("Ada").await;
    for number in 0..20 {
        ada.post(with_deadline(&format!("Job {number}"), Duration::from_secs(3))).await.good();
    }
    let expired = "(SELECT COUNT(*) FROM jobs WHERE status = 'EXPIRED' AND version = 2) = 20";
    holds(one.app.db.reader(), expired).await;
    assert_eq!(ada.balance().await[..2], ["10000.00".to_owned(), "0.00".to_owned()]);
    let told = "SELECT COUNT(*) FROM notifications WHERE kind = 'JOB_EXPIRED'";
    assert_eq!(one.db_number(told).await, 20);
    other.finish().await;
    one.finish().await;
}

/// The last moment: the first of the client and the clock decides, and the other one finds it decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_and_the_clock_pay_once() {
    let app =
        TestApp::start_with(Database::Postgres, "[marketplace]\nauto_approve_seconds = 1\n", Clock::system()).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    for number in 0..4 {
        let id = text(&ada.post_job(&format!("Job {number}")).await, "/id");
        let claim = text(&ben.claim(&id).await.good(), "/claim/id");
        let work = text(&ben.submit(&claim).await.good(), "/deliverable/id");
        let due = "(SELECT COUNT(*) FROM claims WHERE status = 'IN_REVIEW' AND auto_approve_at > clock_timestamp() \
                   + interval '20 milliseconds') = 0";
        holds(app.app.db.reader(), due).await;
        let outcome = soon(ada.approve(&work)).await;
        assert!(outcome.is_good() || outcome.code() == "INVALID_TRANSITION", "{}", outcome.reply.body);
        becomes(&app, &format!("Job {number}"), "COMPLETED").await;
    }
    assert_eq!(ben.balance().await[0], "380.00");
    app.finish().await;
}
