//! The objects that expected failures carry for the caller who is refused: the job as it is now, without what is between its
//! parties. And a request repeated under its key after the right to the answer was lost.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer, claimed},
    deeds::{DEEDS, Deed},
    judge::{Judge, Steps},
    schema::Schema,
};
use crate::{
    on_both,
    support::people::{Person, fresh_key, money, new_job, text},
};

on_both! {
    async fn an_error_shows_its_objects_as_the_policy_says(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let judge = Judge::convene(&cast, &schema).await;
        let mut steps = Steps::new();
        let mut refused = async |doer: &Person, name: &str, input: Value, code: &str| {
            let (viewer, reply) = (cast.viewer(doer), deed(name).run(&schema, doer, &input).await);
            assert_eq!(reply.data()[name]["errors"][0]["code"], code, "{name} by {}: {reply}", viewer.part);
            judge.check(&viewer, name, reply.data(), &mut steps);
        };
        let Cast { ada, ben, eve, pia, fay, duo, admin, jobs, .. } = &cast;
        let of = |job: &str, status: &str| {
            let is = |id: &&String| {
                let claim = judge.truth(id);
                claim["job"]["id"] == job && claim["status"] == status
            };
            judge.objects()["Claim"].iter().find(is).cloned().expect("a claim")
        };
        let work = |job: &str| text(judge.truth(job), "/deliverables/nodes/0/id");
        let with_key = |mut input: Value| {
            input["idempotencyKey"] = json!("");
            input
        };

        // A caller who is late or has old terms gets the job, and only its claimant the rest.
        for freelancer in [ben, eve, pia, fay, duo] {
            for job in [&jobs.claimed, &jobs.in_review, &jobs.completed, &jobs.cancelled] {
                refused(freelancer, "claimJob", with_key(json!({ "jobId": job })), "JOB_NOT_CLAIMABLE").await;
            }
            for job in [&jobs.open, &jobs.reopened] {
                let stale = with_key(json!({ "jobId": job, "expectedVersion": 99 }));
                refused(freelancer, "claimJob", stale, "VERSION_CONFLICT").await;
            }
        }
        let stale = json!({ "id": jobs.open, "expectedVersion": 99, "patch": { "title": "New" } });
        refused(ada, "updateJob", stale, "VERSION_CONFLICT").await;

        for job in [&jobs.open, &jobs.claimed, &jobs.completed, &jobs.cancelled_draft] {
            refused(ada, "publishJob", with_key(json!({ "id": job })), "INVALID_TRANSITION").await;
        }
        for job in [&jobs.claimed, &jobs.in_review, &jobs.completed, &jobs.cancelled, &jobs.cancelled_draft] {
            for doer in [ada, admin] {
                refused(doer, "cancelJob", json!({ "id": job }), "INVALID_TRANSITION").await;
            }
            let patch = json!({ "id": job, "patch": { "title": "New" } });
            refused(ada, "updateJob", patch, "INVALID_TRANSITION").await;
        }
        refused(admin, "cancelJob", json!({ "id": jobs.draft }), "INVALID_TRANSITION").await;
        // One whose claim is over is shown their claim and what everybody may see of the job.
        for (freelancer, claim) in [
            (eve, of(&jobs.claimed, "RELEASED")),
            (eve, of(&jobs.reopened, "RELEASED")),
            (pia, of(&jobs.completed, "APPROVED")),
        ] {
            refused(freelancer, "releaseClaim", json!({ "claimId": claim }), "INVALID_TRANSITION").await;
            let late = with_key(json!({ "claimId": claim, "note": "Late." }));
            refused(freelancer, "submitDeliverable", late, "INVALID_TRANSITION").await;
        }
        let claim = of(&jobs.in_review, "IN_REVIEW");
        refused(ben, "releaseClaim", json!({ "claimId": claim }), "INVALID_TRANSITION").await;
        for job in [&jobs.completed, &jobs.claimed] {
            let approve = json!({ "deliverableId": work(job) });
            let revise = json!({ "deliverableId": work(job), "note": "?" });
            refused(ada, "approveDeliverable", with_key(approve), "INVALID_TRANSITION").await;
            refused(ada, "requestRevision", revise, "INVALID_TRANSITION").await;
        }

        let fortune = json!({ "amount": money("99999.00"), "destination": "DE02 1203", "idempotencyKey": "" });
        for poor in [ben, duo] {
            refused(poor, "withdraw", fortune.clone(), "INSUFFICIENT_FUNDS").await;
        }
        refused(ada, "postJob", new_job("Too dear", "99999.00"), "INSUFFICIENT_FUNDS").await;
        let dearer = json!({ "id": jobs.open, "patch": { "budget": money("99999.00") } });
        refused(ada, "updateJob", dearer, "INSUFFICIENT_FUNDS").await;
        let settled = judge.objects()["Transaction"].iter().find(|id| judge.truth(id)["status"] == "POSTED").cloned();
        let again = with_key(json!({ "transactionId": settled, "outcome": "POST" }));
        refused(admin, "confirmTransaction", again, "TRANSACTION_NOT_PENDING").await;

        let errors = |step: &(String, String)| step.0.ends_with("Error") && !steps.contains(step);
        let of_mutations = schema.steps_to_nodes(&schema.reachable("Mutation"));
        let missing: BTreeSet<_> = of_mutations.into_iter().filter(errors).collect();
        assert_eq!(missing, BTreeSet::new(), "objects that no error carried");
    }
}

on_both! {
    async fn a_request_repeated_after_the_claim_was_given_back_shows_no_more_than_is_due(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let mut judge = Judge::convene(&cast, &schema).await;
        let Cast { ada, fay, .. } = &cast;
        let viewer: Viewer = cast.viewer(fay);
        let claim = json!({ "jobId": cast.jobs.open, "idempotencyKey": fresh_key() });
        let first = repeatable(&schema, fay, "claimJob", &claim).await;
        let submit = json!({
            "claimId": text(&first, "/claimJob/claim/id"), "note": "Between us.", "idempotencyKey": fresh_key()
        });
        let handed_in = repeatable(&schema, fay, "submitDeliverable", &submit).await;
        assert_eq!(text(&handed_in, "/submitDeliverable/deliverable/note"), "Between us.");
        ada.request_revision(&text(&handed_in, "/submitDeliverable/deliverable/id")).await.good();
        fay.release(&text(&first, "/claimJob/claim/id")).await.good();
        claimed(&cast.ben, &cast.jobs.open).await;

        let between = [ada.clone(), fay.clone(), cast.ben.clone()];
        for (name, input) in [("claimJob", &claim), ("submitDeliverable", &submit)] {
            let repeated = repeatable(&schema, fay, name, input).await;
            assert_eq!(repeated[name]["job"]["escrow"], Value::Null, "{repeated:#}");
            judge.check_change(&viewer, name, &repeated, &between, &mut Steps::new()).await;
        }
    }
}

fn deed(name: &str) -> &'static Deed {
    DEEDS.iter().find(|deed| deed.name == name).expect("a mutation")
}

/// Runs a mutation under the key in its input.
async fn repeatable(schema: &Schema, doer: &Person, name: &str, input: &Value) -> Value {
    let reply = doer.run(&deed(name).operation(schema), json!({ "input": input })).await;
    assert_eq!(reply.data()[name]["errors"], json!([]), "{reply}");
    reply.data().clone()
}
