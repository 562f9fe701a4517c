//! Many callers compete for one thing: exactly as many succeed as may, the others are refused, and no money moves
//! twice.

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::json;

use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{Outcome, Person, fresh_key, money, new_job, text},
    },
};

const FREELANCERS: usize = 50;
const JOBS: usize = 100;
/// Requests under way at the same time.
const AT_ONCE: usize = 100;

/// So many freelancers, signed up side by side.
async fn crowd(app: &TestApp, size: usize) -> Vec<Person> {
    join_all((0..size).map(async |number| app.freelancer(&format!("F{number}")).await)).await
}

/// Jobs for 100.00 each, as long as the client's money lasts.
async fn jobs(client: &Person, count: usize) -> Vec<String> {
    let posts = stream::iter(0..count).map(async |number| client.post_job(&format!("Job {number}")).await);
    posts.buffered(8).map(|job| text(&job, "/id")).collect().await
}

/// [`Person::claim`] with the shortest answer.
async fn claim(freelancer: &Person, job: &str) -> Outcome {
    let input = json!({ "jobId": job, "idempotencyKey": fresh_key() });
    freelancer.mutate("claimJob", input, "claim { id }").await
}

on_both! {
    with "[marketplace]\nlive_claims = 100\n";

    async fn of_fifty_freelancers_one_gets_each_of_a_hundred_jobs(app: TestApp) {
        let ada = app.client("Ada").await;
        let (crowd, jobs) = tokio::join!(crowd(&app, FREELANCERS), jobs(&ada, JOBS));
        let attempts = jobs.iter().enumerate().flat_map(|(job, id)| {
            // Somebody else is first in line for each job.
            (0..FREELANCERS).map(move |place| (job, id, (job * 7 + place) % FREELANCERS))
        });
        let outcomes = stream::iter(attempts).map(|(job, id, who)| {
            let freelancer = &crowd[who];
            async move { (job, who, claim(freelancer, id).await) }
        });
        let outcomes: Vec<_> = outcomes.buffer_unordered(AT_ONCE).collect().await;

        assert_eq!(outcomes.len(), FREELANCERS * JOBS);
        let mut winners = vec![None; JOBS];
        for (job, who, outcome) in outcomes {
            if outcome.is_good() {
                assert_eq!(winners[job].replace(who), None, "two won job {job}");
            } else {
                assert_eq!(outcome.code(), "JOB_NOT_CLAIMABLE", "{}", outcome.reply);
            }
        }
        for (job, winner) in winners.into_iter().enumerate() {
            let winner = &crowd[winner.unwrap_or_else(|| panic!("nobody won job {job}"))];
            let query = "query($id: ID!) { job(id: $id) { version status activeClaim { version status } } }";
            let seen = winner.run(query, json!({ "id": jobs[job] })).await;
            let claimed = json!({ "version": 2, "status": "CLAIMED", "activeClaim": { "version": 1, "status": "ACTIVE" } });
            assert_eq!(seen.data()["job"], claimed);
        }
        assert_eq!(app.db_number("SELECT COUNT(*) FROM claims").await, 100);
        assert_eq!(app.db_number("SELECT COUNT(*) FROM notifications WHERE kind = 'JOB_CLAIMED'").await, 100);
        assert_eq!(app.db_number("SELECT COUNT(*) FROM events WHERE kind = 'JOB_UPDATED'").await, 100);
        // A refused claim leaves no trace, not even its key.
        assert_eq!(app.db_number("SELECT COUNT(*) FROM idempotency_keys WHERE mutation = 'claimJob'").await, 100);
    }
}

on_both! {
    async fn a_balance_is_withdrawn_once_however_many_ask(app: TestApp) {
        let ada = app.client("Ada").await;
        let outcomes = join_all((0..200).map(async |_| ada.withdraw("10000.00").await)).await;
        let (good, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::is_good);
        assert_eq!(good.len(), 1);
        for outcome in refused {
            outcome.refused("INSUFFICIENT_FUNDS");
        }
        assert_eq!(ada.balance().await, ["0.00", "0.00", "0.00", "10000.00"]);
        // One for the deposit, one for its settlement, one for the withdrawal.
        let version = ada.run("{ wallet { version } }", json!({})).await;
        assert_eq!(version.data()["wallet"]["version"], 4);
    }

    async fn a_balance_is_spent_once_on_jobs_and_withdrawals(app: TestApp) {
        let ada = app.client("Ada").await;
        // Every way out of the balance, each for three tenths of it: three fit.
        let draft = text(&ada.draft(new_job("Draft", "3000.00")).await.good(), "/job/id");
        let open = text(&ada.post_job("Grows").await, "/id");
        let ways = (0..20).map(async |number| match number % 4 {
            0 => ada.withdraw("3000.00").await,
            1 => ada.post(new_job("New", "3000.00")).await,
            2 => ada.publish(&draft).await,
            _ => ada.update(&open, json!({ "budget": money("3100.00") })).await,
        });
        let outcomes = join_all(ways).await;
        // To set a budget twice is no change: the draft and the raise count once each.
        for outcome in &outcomes {
            let code = outcome.code();
            assert!(matches!(code, "" | "INSUFFICIENT_FUNDS" | "INVALID_TRANSITION"), "{}", outcome.reply);
        }
        let [available, escrow, _, pending] = ada.balance().await;
        let cents = |text: &str| text.replace('.', "").parse::<i64>().expect("an amount");
        assert_eq!(available, "900.00", "all that fits is spent, no more");
        assert_eq!(cents(&escrow) + cents(&pending), 910_000);
    }

    async fn twenty_claims_at_once_stay_within_the_limit(app: TestApp) {
        let ada = app.client("Ada").await;
        let ben = app.freelancer("Ben").await;
        let jobs = jobs(&ada, 20).await;
        let outcomes = join_all(jobs.iter().map(async |job| ben.claim(job).await)).await;
        let (good, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::is_good);
        assert_eq!(good.len(), 5);
        for outcome in refused {
            outcome.refused("CLAIM_LIMIT_REACHED");
        }
        assert_eq!(app.db_number("SELECT COUNT(*) FROM claims").await, 5);
        assert_eq!(app.db_number("SELECT COUNT(*) FROM jobs WHERE status = 'OPEN'").await, 15);
    }

    async fn a_transaction_is_settled_once_however_many_confirm_it(app: TestApp) {
        let ada = app.client("Ada").await;
        let admin = app.admin().await;
        for (outcome, deposit) in [("POST", true), ("VOID", true), ("POST", false), ("FAIL", false)] {
            let begun = if deposit { ada.deposit("10.00").await } else { ada.withdraw("10.00").await };
            let id = text(&begun.good(), "/transaction/id");
            let outcomes = join_all((0..20).map(async |_| admin.confirm(&id, outcome).await)).await;
            let (mut good, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::is_good);
            assert_eq!(good.len(), 1, "{outcome}");
            let settled = good.remove(0).good();
            let status = match outcome { "POST" => "POSTED", "VOID" => "VOIDED", _ => "FAILED" };
            assert_eq!(settled["transaction"], json!({ "id": id, "status": status, "version": 2 }));
            for outcome in refused {
                outcome.refused("TRANSACTION_NOT_PENDING");
            }
        }
        // 10.00 came and 10.00 went; what was called off moved nothing.
        assert_eq!(ada.balance().await, ["10000.00", "0.00", "0.00", "0.00"]);
        assert_eq!(app.db_number("SELECT COUNT(*) FROM admin_actions").await, 5, "one for Ada's money, four here");
    }
}
