//! Guards that do not lie in the job's state: enough money, the own job, the limit of live claims, the latest work.

use serde_json::json;

use crate::{
    on_both,
    support::{
        footprint::footprint,
        people::{Person, money, new_job, text},
    },
};

on_both! {
    async fn a_budget_above_the_available_balance_moves_nothing(app: TestApp) {
        let ada = app.client("Ada").await;
        let draft = text(&ada.draft(new_job("Too much", "10000.01")).await.good(), "/job/id");
        let open = text(&ada.post_job("Affordable").await, "/id");
        let before = footprint(&app).await;
        let post = ada.post(new_job("Too much", "9900.01")).await;
        let publish = ada.publish(&draft).await;
        let raise = ada.update(&open, json!({ "budget": money("10000.01") })).await;
        let withdraw = ada.withdraw("9900.01").await;
        for outcome in [post, publish, raise, withdraw] {
            let error = outcome.refused("INSUFFICIENT_FUNDS");
            assert_eq!(error["__typename"], "InsufficientFundsError");
            assert_eq!(footprint(&app).await, before);
        }
        let fields = "errors { ... on InsufficientFundsError { shortfall { amount } wallet { available { amount } } } }";
        let input = json!({ "id": open, "patch": { "budget": money("10000.01") } });
        let error = ada.mutate("updateJob", input, fields).await.refused("INSUFFICIENT_FUNDS");
        assert_eq!(error["shortfall"]["amount"], "0.01", "only the difference is asked for");
        assert_eq!(error["wallet"]["available"]["amount"], "9900.00");
        ada.update(&open, json!({ "budget": money("10000.00") })).await.good();
        assert_eq!(ada.balance().await, ["0.00", "10000.00", "0.00", "0.00"], "to the last cent");
    }

    async fn nobody_claims_their_own_job(app: TestApp) {
        let both = Person::sign_up(&app, "Both", &["CLIENT", "FREELANCER"]).await.funded("100.00").await;
        let job = text(&both.post_job("Mine").await, "/id");
        let before = footprint(&app).await;
        let error = both.claim(&job).await.refused("OWN_JOB");
        assert_eq!(error["path"], json!(["input", "jobId"]));
        assert_eq!(footprint(&app).await, before);
    }

    async fn a_freelancer_holds_five_live_claims_and_no_sixth(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let mut claims = Vec::new();
        for number in 0..5 {
            let job = text(&ada.post_job(&format!("Job {number}")).await, "/id");
            claims.push(text(&ben.claim(&job).await.good(), "/claim/id"));
        }
        // Work under review is live too.
        let work = text(&ben.submit(&claims[0]).await.good(), "/deliverable/id");
        let sixth = text(&ada.post_job("The sixth").await, "/id");
        let before = footprint(&app).await;
        let fields = "errors { ... on ClaimLimitError { limit } }";
        let input = json!({ "jobId": sixth, "idempotencyKey": "a-sixth" });
        let error = ben.mutate("claimJob", input, fields).await.refused("CLAIM_LIMIT_REACHED");
        assert_eq!((&error["__typename"], &error["limit"]), (&json!("ClaimLimitError"), &json!(5)));
        assert_eq!(footprint(&app).await, before);
        ada.approve(&work).await.good();
        ben.claim(&sixth).await.good();
    }

    async fn only_the_latest_work_is_reviewed(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("Twice").await, "/id");
        let claim = text(&ben.claim(&job).await.good(), "/claim/id");
        let first = text(&ben.submit(&claim).await.good(), "/deliverable/id");
        let second = text(&ben.submit(&claim).await.good(), "/deliverable/id");
        let before = footprint(&app).await;
        for outcome in [ada.approve(&first).await, ada.request_revision(&first).await] {
            assert_eq!(outcome.refused("INVALID")["path"], json!(["input", "deliverableId"]));
            assert_eq!(footprint(&app).await, before);
        }
        let query = "query($id: ID!) { job(id: $id) { deliverables { nodes { number status } } } }";
        let reply = ada.run(query, json!({ "id": job })).await;
        let expected = json!([{ "number": 2, "status": "SUBMITTED" }, { "number": 1, "status": "SUPERSEDED" }]);
        assert_eq!(reply.data()["job"]["deliverables"]["nodes"], expected);
        ada.approve(&second).await.good();
    }

    async fn a_patch_that_changes_nothing_does_nothing(app: TestApp) {
        let ada = app.client("Ada").await;
        let job = text(&ada.post_job("The same").await, "/id");
        let before = footprint(&app).await;
        for patch in [json!({}), json!({ "title": "The same", "budget": money("100"), "skills": ["rust"], "deadline": null })] {
            ada.update(&job, patch).await.good();
        }
        assert_eq!(footprint(&app).await, before);
    }
}
