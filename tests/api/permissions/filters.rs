//! A filter matches the job before or after the change, so that a subscriber learns that a job leaves, and with a job's
//! id both must hold.

use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        people::{Outcome, money, new_job, text},
        socket::{Socket, Subscription},
    },
};

const FIELDS: &str = "{ job { id version } }";

on_both! {
    async fn one_hears_a_job_leave_and_come_back_and_nothing_in_between(app: TestApp) {
        let (ada, cleo, ben) = (app.client("Ada").await, app.client("Cleo").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("The one").await, "/id");
        let other = text(&cleo.post_job("Another").await, "/id");
        let socket = app.socket(None).await;
        let listen = |arguments: String| {
            let query = format!("subscription {{ jobUpdated({arguments}) {FIELDS} }}");
            Listener { heard: socket.subscribe(&query, json!({})), due: Vec::new(), arguments }
        };
        let by = |filter: &str| listen(format!("filter: {{ {filter} }}"));
        let mut skill = by("anySkill: [\"rust\"]");
        let mut skills = by("allSkills: [\"rust\", \"postgresql\"]");
        let mut budget = by("budget: { currencyCode: \"USD\", max: \"100.00\" }");
        let mut open = by("status: [OPEN]");
        let mut client = by(&format!("clientId: \"{}\"", ada.id));
        let mut both = listen(format!("jobId: \"{job}\", filter: {{ anySkill: [\"rust\"] }}"));
        let mut one = listen(format!("jobId: \"{job}\""));
        let mut others = by(&format!("clientId: \"{}\"", cleo.id));
        app.listening(8).await;
        let told = |version: i64, listeners: &mut [&mut Listener]| {
            for listener in listeners {
                listener.due.push((job.clone(), version));
            }
        };

        // It leaves those who want Rust, and is not theirs any more.
        told(version(ada.update(&job, json!({ "skills": ["postgresql"] })).await),
            &mut [&mut skill, &mut both, &mut budget, &mut open, &mut client, &mut one]);
        told(version(ada.update(&job, json!({ "title": "Without Rust" })).await),
            &mut [&mut budget, &mut open, &mut client, &mut one]);
        // It leaves those with little money.
        told(version(ada.update(&job, json!({ "budget": money("200.00") })).await),
            &mut [&mut budget, &mut open, &mut client, &mut one]);
        told(version(ada.update(&job, json!({ "budget": money("300.00") })).await),
            &mut [&mut open, &mut client, &mut one]);
        // It leaves the feed, and comes back.
        let claimed = ben.claim(&job).await;
        let claim = text(&claimed.reply.data()["claimJob"], "/claim/id");
        told(version(claimed), &mut [&mut open, &mut client, &mut one]);
        let submitted = ben.submit(&claim).await;
        let work = text(&submitted.reply.data()["submitDeliverable"], "/deliverable/id");
        let at = version(submitted);
        told(at, &mut [&mut client, &mut one]);
        ada.request_revision(&work).await.good();
        told(at + 1, &mut [&mut client, &mut one]);
        told(version(ben.release(&claim).await), &mut [&mut open, &mut client, &mut one]);
        // Another job changes: none of the business of those who asked for this one.
        let theirs = version(cleo.update(&other, json!({ "title": "Still another" })).await);
        for listener in [&mut skill, &mut budget, &mut open, &mut others] {
            listener.due.push((other.clone(), theirs));
        }
        // It comes back to all, which ends the story.
        let patch = json!({ "skills": ["rust", "postgresql"], "budget": money("100.00") });
        told(version(ada.update(&job, patch).await),
            &mut [&mut skill, &mut skills, &mut both, &mut budget, &mut open, &mut client, &mut one]);
        let last = version(cleo.cancel(&other).await);
        for listener in [&mut skill, &mut budget, &mut open, &mut others] {
            listener.due.push((other.clone(), last));
        }
        for listener in [skill, skills, budget, open, client, both, one, others] {
            listener.heard_what_was_due(&socket).await;
        }
    }
}

on_both! {
    async fn a_feed_with_a_filter_hears_the_jobs_that_match_when_they_are_posted(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let socket = app.socket(None).await;
        let query = format!("subscription {{ jobPosted(filter: {{ anySkill: [\"rust\"] }}) {FIELDS} }}");
        let feed = socket.subscribe(&query, json!({}));
        app.listening(1).await;
        let mut without = new_job("Without", "10.00");
        without["skills"] = json!([]);
        ada.post(without).await.good();
        let first = text(&ada.post_job("With").await, "/id");
        let claim = text(&ben.claim(&first).await.good(), "/claim/id");
        let released = version(ben.release(&claim).await);
        for at in [1, released] {
            let event = socket.next(&feed).await["data"]["jobPosted"]["job"].clone();
            assert_eq!(event, json!({ "id": first, "version": at }), "posted, and posted again");
        }
    }
}

/// A subscription and what it should have heard, as ids and versions.
struct Listener {
    arguments: String,
    heard: Subscription,
    due: Vec<(String, i64)>,
}

impl Listener {
    async fn heard_what_was_due(self, socket: &Socket) {
        let is = |event: &Value, (id, version): &(String, i64)| {
            event["data"]["jobUpdated"]["job"] == json!({ "id": id, "version": version })
        };
        let last = self.due.last().expect("something is due");
        let events = socket.drain_until(&self.heard, |event| is(event, last)).await;
        let all = events.len() == self.due.len() && events.iter().zip(&self.due).all(|(event, due)| is(event, due));
        assert!(all, "({}) was due {:?} and heard {events:#?}", self.arguments, self.due);
    }
}

/// The version of the job that a mutation made.
fn version(outcome: Outcome) -> i64 {
    outcome.good()["job"]["version"].as_i64().expect("a version")
}
