//! Two steps on one thing at the same moment: one order or the other, never half of both.
//!
//! Each pair runs many times, and takes turns in which is sent first. After each round the job, its claim and its
//! escrow must be in a state that one of the possible orders leaves, with one version for each step that was taken.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::people::{Outcome, Person, fresh_key, money, new_job, text},
};

const ROUNDS: usize = 50;
/// Rounds fought side by side.
const AT_ONCE: usize = 4;
/// Head starts that one side gets, in requests: none, one, and so on.
const HEAD_STARTS: usize = 5;
/// The budget of each job here: 5.00 of fee, rounded down, and 95.01 for the freelancer.
const BUDGET: &str = "100.01";

/// Fights the rounds; each tells which side was served first, and each side must have been at some time.
async fn fight<F: Future<Output = usize>>(round: impl Fn(usize) -> F) -> Vec<usize> {
    let first: Vec<usize> = stream::iter(0..ROUNDS).map(round).buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(first.len(), ROUNDS);
    assert!(first.contains(&0) && first.contains(&1), "a race that one side always wins is none: {first:?}");
    first
}

/// Sends both requests at the same moment, or one of them a few requests of `person` later: which side is first, and by how
/// much, changes from turn to turn. At the same moment alone the side that asks the database for less before it takes its
/// lock could win each time on a machine with one core.
async fn duel(
    turn: usize,
    person: &Person,
    one: impl Future<Output = Outcome>,
    other: impl Future<Output = Outcome>,
) -> (Outcome, Outcome) {
    let late = async {
        for _ in 0..turn / 2 % HEAD_STARTS {
            person.run("{ __typename }", json!({})).await;
        }
    };
    if turn.is_multiple_of(2) {
        tokio::join!(biased; one, async {
            late.await;
            other.await
        })
    } else {
        let (other, one) = tokio::join!(biased; other, async {
            late.await;
            one.await
        });
        (one, other)
    }
}

/// A new job's id.
async fn posted(client: &Person) -> String {
    text(&client.post(new_job("A duel", BUDGET)).await.good(), "/job/id")
}

/// A new job and the claim on it.
async fn claimed(client: &Person, freelancer: &Person) -> (String, String) {
    let job = posted(client).await;
    let claim = text(&freelancer.claim(&job).await.good(), "/claim/id");
    (job, claim)
}

/// A new job, the claim on it, and the work handed in.
async fn submitted(client: &Person, freelancer: &Person) -> (String, String) {
    let (job, claim) = claimed(client, freelancer).await;
    let work = text(&freelancer.submit(&claim).await.good(), "/deliverable/id");
    (job, work)
}

/// `[status, version, escrow, claim's status, claim's version]` as the job's client sees them.
async fn state(client: &Person, job: &str) -> Value {
    let query = "query($id: ID!) { job(id: $id) { status version escrow { amount } activeClaim { status version } } }";
    let reply = client.run(query, json!({ "id": job })).await;
    let job = &reply.data()["job"];
    let claim = &job["activeClaim"];
    json!([job["status"], job["version"], job["escrow"]["amount"], claim["status"], claim["version"]])
}

/// Which of two steps was taken, when only one can be; the other must have been refused with `code`.
fn only_one(one: Outcome, other: Outcome, code: &str) -> usize {
    match (one.is_good(), other.is_good()) {
        (true, false) => {
            other.refused(code);
            0
        }
        (false, true) => {
            one.refused(code);
            1
        }
        both => panic!("{both:?} were taken: {} {}", one.reply, other.reply),
    }
}

on_both! {
    with "[marketplace]\nlive_claims = 1000\n";

    async fn approve_against_approve(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        fight(async |turn| {
            let (job, work) = submitted(&ada, &ben).await;
            let (one, other) = duel(turn, &ada, ada.approve(&work), ada.approve(&work)).await;
            let winner = only_one(one, other, "INVALID_TRANSITION");
            assert_eq!(state(&ada, &job).await, json!(["COMPLETED", 4, "0.00", null, null]));
            winner
        })
        .await;
        assert_eq!(ada.balance().await, ["4999.50", "0.00", "0.00", "0.00"]);
        assert_eq!(ben.balance().await, ["4750.50", "0.00", "0.00", "0.00"], "50 times 95.01");
    }

    async fn approve_against_request_revision(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let winners = fight(async |turn| {
            let (job, work) = submitted(&ada, &ben).await;
            let (approved, sent_back) = duel(turn, &ada, ada.approve(&work), ada.request_revision(&work)).await;
            let winner = only_one(approved, sent_back, "INVALID_TRANSITION");
            let after = [
                json!(["COMPLETED", 4, "0.00", null, null]),
                json!(["CLAIMED", 4, "100.01", "REVISION_REQUESTED", 3]),
            ];
            assert_eq!(state(&ada, &job).await, after[winner]);
            winner
        })
        .await;
        let paid = winners.iter().filter(|winner| **winner == 0).count();
        let earned = format!("{}.{:02}", paid * 9501 / 100, paid * 9501 % 100);
        assert_eq!(ben.balance().await[0], earned);
    }

    async fn cancel_against_claim(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        fight(async |turn| {
            let job = posted(&ada).await;
            let (cancelled, claimed) = duel(turn, &ada, ada.cancel(&job), ben.claim(&job)).await;
            if cancelled.is_good() {
                claimed.refused("JOB_NOT_CLAIMABLE");
                assert_eq!(state(&ada, &job).await, json!(["CANCELLED", 2, "0.00", null, null]));
                0
            } else {
                cancelled.refused("INVALID_TRANSITION");
                claimed.good();
                assert_eq!(state(&ada, &job).await, json!(["CLAIMED", 2, "100.01", "ACTIVE", 1]));
                1
            }
        })
        .await;
    }

    async fn release_against_submit(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        fight(async |turn| {
            let (job, claim) = claimed(&ada, &ben).await;
            let (released, submitted) = duel(turn, &ben, ben.release(&claim), ben.submit(&claim)).await;
            let winner = only_one(released, submitted, "INVALID_TRANSITION");
            let after = [
                json!(["OPEN", 3, "100.01", null, null]),
                json!(["IN_REVIEW", 3, "100.01", "IN_REVIEW", 2]),
            ];
            assert_eq!(state(&ada, &job).await, after[winner]);
            winner
        })
        .await;
    }

    async fn a_new_budget_against_a_claim(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        fight(async |turn| {
            let job = posted(&ada).await;
            let budget = ["150.00", "49.99"][turn / 2 % 2];
            let update = ada.update(&job, json!({ "budget": money(budget) }));
            // Half of the freelancers insist on the terms that they read.
            let insists = turn / 4 % 2 == 0;
            let claim = async {
                let mut input = json!({ "jobId": job, "idempotencyKey": fresh_key() });
                if insists {
                    input["expectedVersion"] = json!(1);
                }
                ben.mutate("claimJob", input, "job { version budget { amount } }").await
            };
            let (updated, claimed) = duel(turn, &ada, update, claim).await;
            if !updated.is_good() {
                updated.refused("INVALID_TRANSITION");
                assert_eq!(claimed.good()["job"], json!({ "version": 2, "budget": { "amount": "100.01" } }));
                assert_eq!(state(&ada, &job).await, json!(["CLAIMED", 2, "100.01", "ACTIVE", 1]));
                1
            } else if insists {
                claimed.refused("VERSION_CONFLICT");
                assert_eq!(state(&ada, &job).await, json!(["OPEN", 2, budget, null, null]));
                0
            } else {
                assert_eq!(claimed.good()["job"], json!({ "version": 3, "budget": { "amount": budget } }));
                assert_eq!(state(&ada, &job).await, json!(["CLAIMED", 3, budget, "ACTIVE", 1]));
                0
            }
        })
        .await;
    }

    async fn publish_against_publish(app: TestApp) {
        let ada = app.client("Ada").await;
        fight(async |turn| {
            let job = text(&ada.draft(new_job("A duel", BUDGET)).await.good(), "/job/id");
            let (one, other) = duel(turn, &ada, ada.publish(&job), ada.publish(&job)).await;
            let winner = only_one(one, other, "INVALID_TRANSITION");
            assert_eq!(state(&ada, &job).await, json!(["OPEN", 2, "100.01", null, null]));
            winner
        })
        .await;
        assert_eq!(ada.balance().await, ["4999.50", "5000.50", "0.00", "0.00"]);
    }

    async fn post_against_void(app: TestApp) {
        let (ada, admin) = (app.client("Ada").await, app.admin().await);
        let winners = fight(async |turn| {
            // Deposits and withdrawals by turns of two, so that each is sent first with either outcome.
            let begun = if turn / 2 % 2 == 0 { ada.deposit("7.00").await } else { ada.withdraw("7.00").await };
            let id = text(&begun.good(), "/transaction/id");
            let (post, void) = duel(turn, &admin, admin.confirm(&id, "POST"), admin.confirm(&id, "VOID")).await;
            let winner = only_one(post, void, "TRANSACTION_NOT_PENDING");
            let query = "query($id: ID!) { node(id: $id) { ... on Transaction { status version } } }";
            let seen = ada.run(query, json!({ "id": id })).await;
            let status = ["POSTED", "VOIDED"][winner];
            assert_eq!(seen.data()["node"], json!({ "status": status, "version": 2 }));
            winner
        })
        .await;
        let [available, escrow, pending_in, pending_out] = ada.balance().await;
        assert_eq!([escrow, pending_in, pending_out], ["0.00", "0.00", "0.00"]);
        assert!(winners.len() == ROUNDS && available.ends_with(".00"));
        // Begun and settled, each time: two versions a round, and three from the wallet's beginning.
        let version = ada.run("{ wallet { version } }", json!({})).await;
        assert_eq!(version.data()["wallet"]["version"], 3 + 2 * ROUNDS);
    }
}
