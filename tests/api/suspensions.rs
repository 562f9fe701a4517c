//! What depends on an account that is suspended or loses a role: its jobs leave the feed and come back, cannot be
//! claimed, and never end in a state that no one can change.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    on_both, on_both_clocked,
    support::{
        app::{TestApp, soon},
        people::{Person, new_job, text},
        socket::Socket,
    },
};

const FEED: &str = "query($filter: JobFilter, $query: String) { jobs(first: 100, filter: $filter, query: $query) { \
                    totalCount nodes { id } } }";

/// The jobs of the feed, and how many it counts.
async fn feed(person: &Person, variables: Value) -> (Vec<String>, i64) {
    let reply = person.run(FEED, variables).await;
    let jobs = &reply.data()["jobs"];
    let ids = jobs["nodes"].as_array().expect("jobs").iter().map(|job| text(job, "/id")).collect();
    (ids, jobs["totalCount"].as_i64().expect("a number"))
}

async fn suspend(app: &TestApp, person: &Person, suspended: bool) {
    let input = json!({ "userId": person.id, "suspended": suspended, "reason": "We look into it." });
    app.admin().await.mutate("setUserSuspended", input, "user { id }").await.good();
}

/// Waits until the worker is done.
async fn settled(app: &TestApp) {
    soon(async { while app.db_number("SELECT COUNT(*) FROM withholding_due").await > 0 {} }).await;
}

/// The next events of a subscription to `jobUpdated` that are about whether the job is withheld.
async fn withheld(socket: &Socket, feed: &crate::support::socket::Subscription) -> (String, bool, Value) {
    let event = socket.next(feed).await;
    let event = &event["data"]["jobUpdated"];
    (text(event, "/job/id"), event["job"]["withheld"].as_bool().expect("a flag"), event["changes"].clone())
}

async fn set_roles(app: &TestApp, person: &Person, roles: &[&str]) -> crate::support::people::Outcome {
    let input = json!({ "userId": person.id, "roles": roles });
    app.admin().await.mutate("setUserRoles", input, "user { roles }").await
}

on_both! {
    async fn a_suspended_clients_jobs_leave_the_feed_and_come_back(app: TestApp) {
        let (ada, cleo, ben) = (app.client("Ada").await, app.client("Cleo").await, app.freelancer("Ben").await);
        let mut jobs = Vec::new();
        for number in 0..25 {
            jobs.push(text(&ada.post(new_job(&format!("Bakery {number}"), "10.00")).await.good(), "/job/id"));
        }
        let other = text(&cleo.post_job("Another bakery").await, "/id");
        let claimed = text(&ada.post_job("Claimed before").await, "/id");
        let claim = text(&ben.claim(&claimed).await.good(), "/claim/id");
        app.published().await;
        let (socket, posted) = (app.socket(None).await, app.socket(None).await);
        let events = socket.subscribe("subscription { jobUpdated { changes job { id withheld } } }", json!({}));
        let posts = posted.subscribe("subscription { jobPosted { job { id } } }", json!({}));
        app.listening(2).await;

        suspend(&app, &ada, true).await;
        let mut told = Vec::new();
        for _ in &jobs {
            let (id, withheld, changes) = withheld(&socket, &events).await;
            assert!(withheld && changes == json!(["STATUS"]), "{id}: {changes}");
            told.push(id);
        }
        told.sort();
        let mut sorted = jobs.clone();
        sorted.sort();
        assert_eq!(told, sorted, "everybody is told of each, once");
        settled(&app).await;
        for filter in [
            json!({}),
            json!({ "filter": { "status": ["OPEN", "CLAIMED"] } }),
            json!({ "filter": { "status": ["OPEN"] }, "query": "bakery" }),
            json!({ "query": "bakery" }),
        ] {
            let (ids, count) = feed(&ben, filter.clone()).await;
            let hers = usize::from(!filter["filter"]["status"][1].is_null());
            assert_eq!((ids.len(), count), (1 + hers, 1 + i64::try_from(hers).expect("small")), "{filter}");
            assert!(ids.contains(&other), "{filter}");
        }
        let by_her = json!({ "filter": { "clientId": ada.id } });
        assert_eq!(feed(&ben, by_her.clone()).await, (Vec::new(), 0));
        // For everybody but admins it is not there, and is like what never was.
        let node = "query($id: ID!) { node(id: $id) { id } job(id: $id) { id withheld viewerCanClaim } }";
        let hidden = ben.run(node, json!({ "id": jobs[0] })).await;
        assert_eq!(hidden.data(), &json!({ "node": null, "job": null }));
        let seen = app.admin().await.run(node, json!({ "id": jobs[0] })).await;
        assert_eq!(seen.data()["job"], json!({ "id": jobs[0], "withheld": true, "viewerCanClaim": false }));
        ben.claim(&jobs[0]).await.refused("NOT_FOUND");
        let unknown = socket.subscribe("subscription($id: ID) { jobUpdated(jobId: $id) { id } }", json!({ "id": jobs[0] }));
        assert_eq!(socket.error(&unknown).await[0]["extensions"]["code"], "BAD_USER_INPUT");
        // One that is released meanwhile is not shown to anybody either.
        ben.release(&claim).await.good();
        let (id, kept, _) = withheld(&socket, &events).await;
        assert_eq!((id, kept), (claimed.clone(), true));
        assert_eq!(feed(&ben, by_her.clone()).await.1, 0);
        assert_eq!(posted.unread(&posts), 0, "nothing was posted");

        suspend(&app, &ada, false).await;
        for _ in 0..26 {
            let (id, withheld, _) = withheld(&socket, &events).await;
            assert!(!withheld && (jobs.contains(&id) || id == claimed), "{id}");
            posted.next(&posts).await;
        }
        settled(&app).await;
        assert_eq!(feed(&ben, by_her).await.1, 26);
        ben.claim(&jobs[0]).await.good();
    }

    async fn what_an_admin_opens_again_for_a_suspended_client_is_shown_to_nobody(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("Stuck").await, "/id");
        ben.claim(&job).await.good();
        suspend(&app, &ada, true).await;
        settled(&app).await;
        app.published().await;
        let (socket, posted) = (app.socket(None).await, app.socket(None).await);
        let events = socket.subscribe("subscription { jobUpdated { changes job { id withheld } } }", json!({}));
        let posts = posted.subscribe("subscription { jobPosted { job { id } } }", json!({}));
        app.listening(2).await;
        let input = json!({ "jobId": job, "step": "REOPEN", "reason": "Nobody reviews it.", "idempotencyKey": "reopen" });
        app.admin().await.mutate("interveneInJob", input, "job { status withheld }").await.good();
        let (id, hidden, _) = withheld(&socket, &events).await;
        assert_eq!((id, hidden), (job, true));
        app.published().await;
        assert_eq!(posted.unread(&posts), 0, "nothing was posted");
        assert_eq!(feed(&ben, json!({})).await, (Vec::new(), 0));
        suspend(&app, &ada, false).await;
        posted.next(&posts).await;
    }

    async fn no_claim_waits_for_the_worker(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("Bait").await, "/id");
        // As it is between a suspension and the worker's step.
        let id: lancewire::ids::UserId = ada.id.parse().expect("an id");
        let (now, db) = (app.app.db.now().await.expect("the time"), &app.app.db);
        let shut = db.statement("UPDATE users SET suspended_at = ? WHERE id = ?", [now.into(), id.into()]);
        sea_orm::ConnectionTrait::execute_raw(db.writer(), shut).await.expect("suspended");
        ben.claim(&job).await.refused("NOT_FOUND");
        assert_eq!(app.db_number("SELECT COUNT(*) FROM claims").await, 0);
    }

    async fn a_role_stays_while_something_rests_on_it(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("Rests on both").await, "/id");
        let error = set_roles(&app, &ada, &["FREELANCER"]).await.refused("INVALID");
        assert_eq!(error["path"], json!(["input", "roles"]));
        let message = text(&error, "/message");
        assert!(message.contains("1 of the account's jobs hold 100.00 USD") && message.contains("cancelJob"), "{message}");
        set_roles(&app, &ada, &["CLIENT", "FREELANCER"]).await.good();
        ben.claim(&job).await.good();
        let message = text(&set_roles(&app, &ben, &[]).await.refused("INVALID"), "/message");
        assert!(message.contains("1 live claims") && message.contains(&job), "{message}");
        // An admin frees it, and that is written down.
        let free = json!({ "jobId": job, "step": "REFUND", "reason": "Both are gone.", "idempotencyKey": "free" });
        app.admin().await.mutate("interveneInJob", free, "job { status }").await.good();
        let audit = "SELECT COUNT(*) FROM admin_actions WHERE action = 'interveneInJob' AND detail = 'REFUND: Both are gone.'";
        assert_eq!(app.db_number(audit).await, 1);
        set_roles(&app, &ada, &[]).await.good();
        set_roles(&app, &ben, &[]).await.good();
        let inbox = "{ viewer { notifications(first: 1) { nodes { kind title reason } } } }";
        let told = json!([{ "kind": "JOB_CANCELLED", "title": "An administrator cancelled \"Rests on both\"; 100.00 USD is back in your wallet", "reason": "Both are gone." }]);
        assert_eq!(ada.run(inbox, json!({})).await.data()["viewer"]["notifications"]["nodes"], told);
    }

    async fn nobody_intervenes_in_their_own_affairs(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("Mine").await, "/id");
        ben.claim(&job).await.good();
        for (person, roles) in [(&ada, ["CLIENT", "ADMIN"]), (&ben, ["FREELANCER", "ADMIN"])] {
            set_roles(&app, person, &roles).await.good();
            let pay = json!({ "jobId": job, "step": "PAY", "reason": "I say so.", "idempotencyKey": "own" });
            let error = person.mutate("interveneInJob", pay, "job { id }").await.refused("INVALID");
            assert!(text(&error, "/message").contains("party"), "{error}");
        }
    }
}

on_both_clocked! {
    async fn a_claim_after_the_deadline_is_refused(app: TestApp, clock: Clock) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let deadline = clock.now() + TimeDelta::minutes(1);
        let mut job = new_job("Until then", "10.00");
        job["deadline"] = json!(deadline.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
        let job = text(&ada.post(job).await.good(), "/job/id");
        let can = "query($id: ID!) { job(id: $id) { viewerCanClaim } }";
        let may = async || ben.run(can, json!({ "id": job })).await.data()["job"]["viewerCanClaim"].clone();
        assert_eq!(may().await, true);
        clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(may().await, false);
        // PostgreSQL goes by its own clock, which no test moves.
        if app.app.db.backend() == lancewire::db::Backend::Postgres {
            app.db_tampered("7 what an event says of a job").await;
            ben.claim(&job).await.good();
            let past = "UPDATE jobs SET status = 'OPEN', claimant_id = NULL, deadline = now() - interval '1 millisecond'";
            app.db_run("UPDATE claims SET status = 'RELEASED', ended_at = now()").await;
            // The clock room, too, would find that it is late.
            app.db_run("ALTER TABLE jobs ADD CONSTRAINT stays_open CHECK (status <> 'EXPIRED')").await;
            app.db_run(past).await;
        }
        let fields = "errors { ... on JobNotClaimableError { job { id status } } }";
        let input = json!({ "jobId": job, "idempotencyKey": "late" });
        let refusal = ben.mutate("claimJob", input, fields).await;
        // The clock may have been faster.
        let status = if refusal.code() == "DEADLINE_PASSED" { "OPEN" } else { "EXPIRED" };
        let error = refusal.refused(if status == "OPEN" { "DEADLINE_PASSED" } else { "JOB_NOT_CLAIMABLE" });
        assert_eq!(error["__typename"], "JobNotClaimableError");
        assert_eq!(error["job"], json!({ "id": job, "status": status }));
        if app.app.db.backend() == lancewire::db::Backend::Postgres {
            // What the back door did is no step of a job: put things right for the proof.
            app.db_run("ALTER TABLE jobs DROP CONSTRAINT stays_open").await;
            app.db_run("UPDATE jobs SET status = 'CLAIMED', claimant_id = (SELECT freelancer_id FROM claims)").await;
            app.db_run("UPDATE claims SET status = 'ACTIVE', ended_at = NULL").await;
        }
    }
}
