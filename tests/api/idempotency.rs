//! One key, at most one effect: in a storm, after a refusal, while the first request hangs, and after a restart.

use futures_util::future::join_all;
use lancewire::{clock::Clock, ids::UserId};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp},
        people::{Outcome, Person, fresh_key, money, new_job, text},
    },
};

/// One of the mutations that take a key, with two inputs that differ and do the same amount of work.
struct Keyed {
    who: Person,
    field: &'static str,
    inputs: [Value; 2],
    fields: &'static str,
}

impl Keyed {
    async fn send(&self, which: usize, key: &str) -> Outcome {
        let mut input = self.inputs[which].clone();
        input["idempotencyKey"] = json!(key);
        self.who.mutate(self.field, input, self.fields).await
    }
}

/// Every mutation that takes a key, needed or not, and all that must be there before.
async fn every_keyed_mutation(app: &TestApp) -> Vec<Keyed> {
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await.funded("1.00").await);
    let draft = async || text(&ada.draft(new_job("Draft", "10.00")).await.good(), "/job/id");
    let job = async || text(&ada.post_job("Job").await, "/id");
    let claim = async || text(&ben.claim(&job().await).await.good(), "/claim/id");
    let work = async || text(&ben.submit(&claim().await).await.good(), "/deliverable/id");
    let deposit = async || text(&ada.deposit("5.00").await.good(), "/transaction/id");
    let pair = |field: &str, [one, other]: [String; 2]| [json!({ field: one }), json!({ field: other })];
    let new = |title| {
        let mut job = new_job(title, "10.00");
        job.as_object_mut().expect("an object").remove("idempotencyKey");
        job
    };
    let with_note = |mut inputs: [Value; 2]| {
        for input in &mut inputs {
            input["note"] = json!("Done.");
        }
        inputs
    };
    let (drafts, jobs, claims) =
        ([draft().await, draft().await], [job().await, job().await], [claim().await, claim().await]);
    let (works, deposits) = ([work().await, work().await], [deposit().await, deposit().await]);
    let patched = [job().await, job().await].map(|id| json!({ "id": id, "patch": { "title": "Another title" } }));
    let (cancelled, given_back) = ([job().await, job().await], [claim().await, claim().await]);
    let sent_back = with_note(pair("deliverableId", [work().await, work().await]));
    let mut stuck = [text(&ada.post_job("Stuck").await, "/id"), text(&ada.post_job("Stuck").await, "/id")];
    for job in &mut stuck {
        ben.claim(job).await.good();
    }
    let intervened = stuck.map(|id| json!({ "jobId": id, "step": "REFUND", "reason": "Nobody answers." }));
    let whole =
        "job { id version status escrow { amount } } wallet { version available { amount } inEscrow { amount } }";
    let moved = "transaction { id version status amount { amount } } \
                 wallet { version available { amount } pendingIn { amount } pendingOut { amount } }";
    let by = |who: &Person, field, inputs, fields| Keyed { who: who.clone(), field, inputs, fields };
    vec![
        by(&ada, "deposit", ["1.00", "2.00"].map(|amount| json!({ "amount": money(amount) })), moved),
        by(
            &ada,
            "withdraw",
            ["DE02", "DE03"].map(|place| json!({ "amount": money("1.00"), "destination": place })),
            moved,
        ),
        by(&ada, "postJob", ["One", "Other"].map(new), whole),
        by(&ada, "draftJob", ["One", "Other"].map(new), "job { id version status escrow { amount } }"),
        by(&ada, "publishJob", pair("id", drafts), whole),
        by(&ben, "claimJob", pair("jobId", jobs), "claim { id version status } job { id version status }"),
        by(
            &ben,
            "submitDeliverable",
            with_note(pair("claimId", claims)),
            "deliverable { id number status } claim { id version } job { id version status }",
        ),
        by(
            &ada,
            "approveDeliverable",
            pair("deliverableId", works),
            "deliverable { id status } claim { id version status } job { id version status } \
             transaction { id amount { amount } } wallet { version inEscrow { amount } }",
        ),
        by(&app.admin().await, "confirmTransaction", pair("transactionId", deposits), moved),
        by(&ada, "updateJob", patched, whole),
        by(&ada, "cancelJob", pair("id", cancelled), whole),
        by(&ben, "releaseClaim", pair("claimId", given_back), "claim { id version } job { id version status }"),
        by(&ada, "requestRevision", sent_back, "deliverable { id status } claim { version } job { id version }"),
        by(&app.admin().await, "interveneInJob", intervened, "claim { id version status } job { id version status }"),
    ]
}

/// Back door: how much there is of everything that an effect makes or changes.
async fn footprint(app: &TestApp) -> Vec<i64> {
    let counted = ["jobs", "claims", "deliverables", "journals", "entries", "transactions", "notifications", "events"];
    let mut numbers = Vec::new();
    for table in counted.into_iter().chain(["idempotency_keys", "admin_actions"]) {
        numbers.push(app.db_number(&format!("SELECT COUNT(*) FROM {table}")).await);
    }
    for table in ["jobs", "claims", "transactions", "wallets"] {
        numbers.push(app.db_number(&format!("SELECT CAST(COALESCE(SUM(version), 0) AS BIGINT) FROM {table}")).await);
    }
    numbers
}

fn difference(after: &[i64], before: &[i64]) -> Vec<i64> {
    after.iter().zip(before).map(|(after, before)| after - before).collect()
}

on_both! {
    with "[marketplace]\nlive_claims = 100\n";

    async fn a_hundred_requests_with_one_key_are_one_effect_and_one_answer(app: TestApp) {
        for keyed in every_keyed_mutation(&app).await {
            let field = keyed.field;
            let start = footprint(&app).await;
            keyed.send(0, &fresh_key()).await.good();
            let once = footprint(&app).await;
            let effect = difference(&once, &start);
            assert!(effect.iter().any(|change| *change > 0), "{field} has an effect");

            let key = fresh_key();
            let answers = join_all((0..100).map(async |_| keyed.send(1, &key).await.good())).await;
            for answer in &answers {
                assert_eq!(*answer, answers[0], "{field} gives one answer");
            }
            let stormed = footprint(&app).await;
            assert_eq!(difference(&stormed, &once), effect, "{field} a hundred times is {field} once");

            let error = keyed.send(0, &key).await.refused("IDEMPOTENCY_KEY_REUSED");
            assert_eq!(error["path"], json!(["input", "idempotencyKey"]), "{field}");
            assert_eq!(keyed.send(1, &key).await.good(), answers[0], "{field} later");
            assert_eq!(footprint(&app).await, stormed, "neither does {field} again");
        }
    }

    async fn two_inputs_that_fight_for_one_key_are_one_effect(app: TestApp) {
        for keyed in every_keyed_mutation(&app).await {
            let key = fresh_key();
            let outcomes = join_all((0..20).map(async |number| (number % 2, keyed.send(number % 2, &key).await))).await;
            let winner = outcomes.iter().find(|(_, outcome)| outcome.is_good()).expect("one is first").0;
            for (input, outcome) in outcomes {
                if input == winner {
                    outcome.good();
                } else {
                    outcome.refused("IDEMPOTENCY_KEY_REUSED");
                }
            }
            let stored = "SELECT COUNT(*) FROM idempotency_keys WHERE key = ";
            assert_eq!(app.db_number(&format!("{stored}'{key}'")).await, 1, "{}", keyed.field);
        }
    }

    async fn a_key_belongs_to_one_user_and_one_mutation(app: TestApp) {
        // Everybody uses one key for everything, and every effect happens.
        let mutations = every_keyed_mutation(&app).await;
        let start = footprint(&app).await;
        for keyed in &mutations {
            keyed.send(0, "the-only-key").await.good();
        }
        let grown = difference(&footprint(&app).await, &start);
        assert_eq!(grown[8], 14, "fourteen mutations, fourteen keys");
        let eve = app.client("Eve").await;
        let deposit = json!({ "amount": money("1.00"), "idempotencyKey": "the-only-key" });
        let first = eve.mutate("deposit", deposit.clone(), "transaction { id }").await.good();
        assert_eq!(eve.mutate("deposit", deposit, "transaction { id }").await.good(), first);
    }

    async fn a_key_of_bad_form_is_refused_by_its_path(app: TestApp) {
        let mutations = every_keyed_mutation(&app).await;
        let start = footprint(&app).await;
        let long = "k".repeat(101);
        for keyed in &mutations {
            for key in ["", " ", "two words", "tab\tbed", "line\n", "schlüssel", "\u{7f}", &long] {
                let error = keyed.send(0, key).await.refused("INVALID");
                assert_eq!(error["path"], json!(["input", "idempotencyKey"]), "{} with {key:?}", keyed.field);
            }
        }
        assert_eq!(footprint(&app).await, start);
        for keyed in &mutations {
            keyed.send(0, &long[..100]).await.good();
            keyed.send(1, "~").await.good();
        }
    }
}

on_both! {
    async fn a_refused_request_stores_nothing(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let key = fresh_key();

        // Too little money; then enough.
        let withdrawal = json!({ "amount": money("10000.01"), "destination": "DE02", "idempotencyKey": key });
        ada.mutate("withdraw", withdrawal.clone(), "").await.refused("INSUFFICIENT_FUNDS");
        let ada = ada.funded("0.01").await;
        ada.mutate("withdraw", withdrawal, "").await.good();
        let ada = ada.funded("200.00").await;

        // A bad input; then another one under the same key.
        let post = |title, budget| {
            let mut job = new_job(title, budget);
            job["idempotencyKey"] = json!(key);
            job
        };
        ada.post(post("", "100.00")).await.refused("INVALID");
        ada.post(post("A job", "0.001")).await.refused("INVALID");
        ada.post(post("A job", "200.01")).await.refused("INSUFFICIENT_FUNDS");
        let job = text(&ada.post(post("A job", "100.00")).await.good(), "/job/id");

        // Not yet possible; then possible.
        let claim = json!({ "jobId": job, "idempotencyKey": key });
        let dee = app.freelancer("Dee").await;
        let earlier = text(&dee.claim(&job).await.good(), "/claim/id");
        ben.mutate("claimJob", claim.clone(), "").await.refused("JOB_NOT_CLAIMABLE");
        dee.release(&earlier).await.good();
        let claim = text(&ben.mutate("claimJob", claim, "claim { id }").await.good(), "/claim/id");

        let submit = json!({ "claimId": earlier, "note": "Done.", "idempotencyKey": key });
        dee.mutate("submitDeliverable", submit, "").await.refused("INVALID_TRANSITION");
        let submit = |note| json!({ "claimId": claim, "note": note, "idempotencyKey": key });
        ben.mutate("submitDeliverable", submit(""), "").await.refused("INVALID");
        let work = text(&ben.mutate("submitDeliverable", submit("Done."), "deliverable { id }").await.good(), "/deliverable/id");

        let approve = json!({ "deliverableId": work, "idempotencyKey": key });
        ada.request_revision(&work).await.good();
        ada.mutate("approveDeliverable", approve, "").await.refused("INVALID_TRANSITION");
        let again = text(&ben.submit(&claim).await.good(), "/deliverable/id");
        let approve = json!({ "deliverableId": again, "idempotencyKey": key });
        ada.mutate("approveDeliverable", approve, "").await.good();

        let stored = app.db_number(&format!("SELECT COUNT(*) FROM idempotency_keys WHERE key = '{key}'")).await;
        assert_eq!(stored, 5, "withdraw, postJob, claimJob, submitDeliverable, approveDeliverable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_first_request_hangs_is_in_progress() {
    let settings = "[database]\nlock_timeout_ms = 200\n";
    let app = TestApp::start_with(Database::Postgres, settings, Clock::system()).await;
    let ada = app.client("Ada").await;
    let user: UserId = ada.id.parse().expect("a user's id");

    // Back door: a request that has written its key and does not come to an end.
    let db = &app.app.db;
    let hanging = db.writer().begin("BEGIN").await.expect("a transaction");
    let insert = "INSERT INTO idempotency_keys (user_id, mutation, key, request_hash, effect, created_at) \
                  VALUES (?, 'deposit', 'hangs', ?, '', ?)";
    let values = [user.into(), vec![0_u8; 32].into(), app.app.clock.now().into()];
    hanging.execute_raw(db.statement(insert, values)).await.expect("a key");

    let query = "mutation($input: DepositInput!) { deposit(input: $input) { transaction { id } errors { \
                 ... on IdempotencyError { code path retryAfterMs } } } }";
    let input = json!({ "input": { "amount": money("1.00"), "idempotencyKey": "hangs" } });
    let start = footprint(&app).await;
    for reply in join_all((0..5).map(async |_| ada.run(query, input.clone()).await)).await {
        let error =
            json!({ "code": "IDEMPOTENCY_IN_PROGRESS", "path": ["input", "idempotencyKey"], "retryAfterMs": 1000 });
        assert_eq!(reply.data()["deposit"], json!({ "transaction": null, "errors": [error] }));
    }
    assert_eq!(footprint(&app).await, start);
    // Nobody else waits: not the same key for another mutation, nor another key.
    let post = {
        let mut job = new_job("Meanwhile", "1.00");
        job["idempotencyKey"] = json!("hangs");
        job
    };
    ada.post(post).await.good();
    ada.deposit("1.00").await.good();

    hanging.rollback().await.expect("a rollback");
    let reply = ada.run(query, input.clone()).await;
    assert_eq!(reply.data()["deposit"]["errors"], json!([]));
    assert_eq!(ada.run(query, input).await.data(), reply.data());
    app.finish().await;
}

async fn effects_survive(database: Database) {
    let app = TestApp::start(database).await;
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    let post = new_job("Outlives the server", "100.00");
    let posted = ada.post(post.clone()).await.good();
    let job = text(&posted, "/job/id");
    let claim = json!({ "jobId": job, "idempotencyKey": fresh_key() });
    let claimed = ben.mutate("claimJob", claim.clone(), "claim { id version } job { version }").await.good();

    let app = app.restarted().await;
    let (ada, ben) = (ada.at(&app), ben.at(&app));
    let start = footprint(&app).await;
    let again = ben.mutate("claimJob", claim, "claim { id version } job { version }").await.good();
    assert_eq!(again, claimed);
    // The effect is the old one, the objects are as they are now.
    let replayed = ada.post(post).await.good();
    assert_eq!(replayed["job"]["id"], posted["job"]["id"]);
    assert_eq!(replayed["job"]["status"], "CLAIMED");
    assert_eq!(replayed["wallet"], posted["wallet"]);
    assert_eq!(footprint(&app).await, start);
    app.finish().await;
}

mod effects_survive_a_restart {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        effects_survive(Database::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        effects_survive(Database::Postgres).await;
    }
}
