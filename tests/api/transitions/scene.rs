//! A job brought into a stage, the people around it, and what a step leaves behind.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{
    Stage::{
        self, Cancelled, CancelledDraft, Claimed, ClaimedAnew, Completed, Draft, InReview, Open, Reopened, Revised,
    },
    Step::{
        self, Approve, Cancel, CancelAsAdmin, Claim, Lower, Pay, Publish, Raise, Refund, Release, Reopen,
        RequestRevision, Retitle, Submit,
    },
};
use crate::support::{
    app::TestApp,
    people::{Outcome, Person, fresh_key, money, new_job, text},
};

/// A job in a stage, and the people around it.
pub(super) struct Scene {
    app: TestApp,
    ada: Person,
    /// Who claimed first, where somebody did.
    ben: Person,
    /// Who claims next.
    cem: Person,
    pub(super) job: String,
    claim: Option<String>,
    deliverable: Option<String>,
}

impl Scene {
    pub(super) async fn at(app: &TestApp, stage: Stage) -> Self {
        let (ada, ben, cem) = (app.client("Ada").await, app.freelancer("Ben").await, app.freelancer("Cem").await);
        let draft = matches!(stage, Draft | CancelledDraft);
        let made = if draft { ada.draft(job()).await } else { ada.post(job()).await };
        let job = text(&made.good(), "/job/id");
        let mut scene = Self { app: app.clone(), ada, ben, cem, job, claim: None, deliverable: None };
        match stage {
            Draft | Open => {}
            CancelledDraft => drop(scene.ada.cancel(&scene.job).await.good()),
            Claimed => scene.claimed().await,
            InReview => scene.submitted().await,
            Revised => scene.revised().await,
            Reopened => scene.reopened().await,
            ClaimedAnew => {
                scene.reopened().await;
                scene.cem.claim(&scene.job).await.good();
            }
            Cancelled => {
                scene.reopened().await;
                scene.ada.cancel(&scene.job).await.good();
            }
            Completed => {
                scene.submitted().await;
                scene.ada.approve(scene.deliverable.as_deref().expect("work")).await.good();
            }
        }
        scene
    }

    async fn claimed(&mut self) {
        self.claim = Some(text(&self.ben.claim(&self.job).await.good(), "/claim/id"));
    }

    async fn submitted(&mut self) {
        self.claimed().await;
        let work = self.ben.submit(self.claim.as_deref().expect("a claim")).await.good();
        self.deliverable = Some(text(&work, "/deliverable/id"));
    }

    async fn revised(&mut self) {
        self.submitted().await;
        self.ada.request_revision(self.deliverable.as_deref().expect("work")).await.good();
    }

    async fn reopened(&mut self) {
        self.revised().await;
        self.ben.release(self.claim.as_deref().expect("a claim")).await.good();
    }

    /// Takes a step, unless there is no claim or deliverable yet to name.
    pub(super) async fn take(&self, step: Step) -> Option<Outcome> {
        let (job, key) = (&self.job, fresh_key());
        let patch = |patch: Value| json!({ "id": job, "patch": patch });
        let admin = self.app.admin().await;
        let intervene = |step: &str| {
            let reason = "Nobody answers.";
            (&admin, "interveneInJob", json!({ "jobId": job, "step": step, "reason": reason, "idempotencyKey": key }))
        };
        let (who, field, input) = match step {
            Reopen => intervene("REOPEN"),
            Refund => intervene("REFUND"),
            Pay => intervene("PAY"),
            Publish => (&self.ada, "publishJob", json!({ "id": job, "idempotencyKey": key })),
            Retitle => (&self.ada, "updateJob", patch(json!({ "title": "Another title" }))),
            Raise => (&self.ada, "updateJob", patch(json!({ "budget": money("120.00") }))),
            Lower => (&self.ada, "updateJob", patch(json!({ "budget": money("80.00") }))),
            Cancel => (&self.ada, "cancelJob", json!({ "id": job, "reason": "Plans changed." })),
            CancelAsAdmin => (&admin, "cancelJob", json!({ "id": job, "reason": "Against the rules." })),
            Claim => (&self.cem, "claimJob", json!({ "jobId": job, "idempotencyKey": key })),
            Release => (&self.ben, "releaseClaim", json!({ "claimId": self.claim.as_ref()?, "reason": "Ill." })),
            Submit => {
                let input = json!({ "claimId": self.claim.as_ref()?, "note": "Done.", "idempotencyKey": key });
                (&self.ben, "submitDeliverable", input)
            }
            RequestRevision => {
                (&self.ada, "requestRevision", json!({ "deliverableId": self.deliverable.as_ref()?, "note": "No." }))
            }
            Approve => {
                let input = json!({ "deliverableId": self.deliverable.as_ref()?, "idempotencyKey": key });
                (&self.ada, "approveDeliverable", input)
            }
        };
        let errors = match step {
            Claim => "... on JobNotClaimableError { job { id status version } }",
            _ => "... on InvalidTransitionError { allowed job { id status version } claim { id status version } }",
        };
        Some(who.mutate(field, input, &format!("job {{ id status version }} errors {{ {errors} }}")).await)
    }

    /// The job and Ben's claim as they are now.
    pub(super) async fn look(&self) -> (Value, Value) {
        let job =
            self.ada.run("query($id: ID!) { job(id: $id) { id status version } }", json!({ "id": self.job })).await;
        let Some(claim) = &self.claim else { return (job.data()["job"].clone(), Value::Null) };
        let claim =
            self.ben.run("query($id: ID!) { claim(id: $id) { id status version } }", json!({ "id": claim })).await;
        (job.data()["job"].clone(), claim.data()["claim"].clone())
    }

    pub(super) async fn balances(&self) -> [String; 3] {
        let [available, in_escrow, ..] = self.ada.balance().await;
        let [earned, ..] = self.ben.balance().await;
        [available, in_escrow, earned]
    }

    pub(super) async fn completed_jobs(&self) -> [i64; 2] {
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on User { completedJobCount } } }";
        let reply = self.ada.run(query, json!({ "ids": [self.ada.id, self.ben.id] })).await;
        [0, 1].map(|place| reply.data()["nodes"][place]["completedJobCount"].as_i64().expect("a count"))
    }

    fn name(&self, user: &Value) -> &'static str {
        match user.as_str() {
            Some(id) if id == self.ada.id => "ada",
            Some(id) if id == self.ben.id => "ben",
            _ => "somebody else",
        }
    }

    /// Back door: the events after `last`, in the words of the table: of the job, of its claim, of wallets, of inboxes.
    pub(super) async fn recorded(&self, last: i64, version: i64) -> [Vec<String>; 4] {
        let sql = "SELECT kind, payload, is_public, subject_version FROM events WHERE id > ? ORDER BY id";
        let db = &self.app.app.db;
        let rows = db.reader().query_all_raw(db.statement(sql, [last.into()])).await.expect("events");
        let [mut job, mut claim, mut wallets, mut told] = [const { Vec::new() }; 4];
        for row in rows {
            let payload: String = row.try_get("", "payload").expect("a payload");
            let payload: Value = serde_json::from_str(&payload).expect("JSON");
            let public: bool = row.try_get("", "is_public").expect("a flag");
            let word = |value: &Value| value.as_str().expect("a word").to_owned();
            let kind: String = row.try_get("", "kind").expect("a kind");
            assert!(told.is_empty() || kind == "NOTIFICATION_RECEIVED", "told before it happened");
            match kind.as_str() {
                "JOB_POSTED" => {
                    assert!(public && payload["job"]["version"] == version, "{payload:#}");
                    job.push("posted".to_owned());
                }
                "JOB_UPDATED" | "DRAFT_UPDATED" => {
                    assert_eq!(payload["snapshot"]["job"]["version"], version);
                    assert_eq!(row.try_get::<i64>("", "subject_version").expect("a version"), version);
                    let changes: Vec<_> = payload["changes"].as_array().expect("a list").iter().map(word).collect();
                    let draft = if kind == "DRAFT_UPDATED" { "draft " } else { "" };
                    let mut line = format!("{draft}updated {}", changes.join(" "));
                    if !payload["previous_status"].is_null() {
                        line = format!("{line} from {}", word(&payload["previous_status"]));
                    }
                    job.push(if public { line } else { format!("{line} (private)") });
                }
                "CLAIM_UPDATED" => {
                    assert!(!public, "the two sides' business: {payload:#}");
                    assert_eq!(payload["job"]["job"]["version"], version, "{payload:#}");
                    assert_eq!(
                        row.try_get::<i64>("", "subject_version").expect("a version"),
                        payload["claim"]["version"]
                    );
                    let mut line = format!("{} {}", word(&payload["claim"]["status"]), payload["claim"]["version"]);
                    if !payload["previous_status"].is_null() {
                        line = format!("{line} from {}", word(&payload["previous_status"]));
                    }
                    claim.push(line);
                }
                "WALLET_UPDATED" => {
                    assert!(!public, "nobody else's business: {payload:#}");
                    let (owner, transaction) = (self.name(&payload["owner"]["id"]), &payload["transaction"]);
                    wallets.push(format!("{owner} {} {}", word(&transaction["kind"]), transaction["amount"]));
                }
                "NOTIFICATION_RECEIVED" => {
                    assert!(!public, "nobody else's business: {payload:#}");
                    told.push(format!("{} {}", self.name(&payload["user_id"]), word(&payload["kind"])));
                }
                other => panic!("an event of the kind {other}"),
            }
        }
        // Wallets are touched in the order of their ids, which are random.
        wallets.sort();
        [job, claim, wallets, told]
    }

    pub(super) async fn last_event(&self) -> i64 {
        self.app.db_number("SELECT MAX(id) FROM events").await
    }
}

fn job() -> Value {
    new_job("Port it to Rust", "100.00")
}
