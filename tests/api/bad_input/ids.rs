//! Ids that are none, and ids of something else: the same answer as for an object that does not exist.

use serde_json::{Value, json};

use super::{Scene, refused_argument, tells_nothing};
use crate::{
    on_both,
    support::people::{Person, fresh_key},
};

/// No ids at all, and for each type an id that nothing has.
fn malformed() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "job",
        "job_",
        "_",
        "job_0",
        "job_01h455vb4pex5vsknk084sn02",
        "job_01h455vb4pex5vsknk084sn02qq",
        "job_81h455vb4pex5vsknk084sn02q",
        "job_01h455vb4pex5vsknk084sn02u",
        "JOB_01h455vb4pex5vsknk084sn02q",
        "job_01H455VB4PEX5VSKNK084SN02Q",
        "job-01h455vb4pex5vsknk084sn02q",
        " job_01h455vb4pex5vsknk084sn02q",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "job_01h455vb4pex5vsknk084sn02\u{0}",
        "' OR 1=1 --",
        "🦀",
        "../../etc/passwd",
        "Job:1",
        "am9iOjE=",
    ];
    texts.into_iter().map(Value::from).chain([json!(5), json!(-1), json!("x".repeat(10_000))]).collect()
}

const MISSING: [&str; 8] = ["job", "claim", "deliverable", "user", "wallet", "transaction", "notification", "skill"];

fn missing(kind: &str) -> String {
    format!("{kind}_01h455vb4pex5vsknk084sn02q")
}

on_both! {
    async fn a_mutation_finds_nothing_by_an_id_that_is_none(app: TestApp) {
        let scene = Scene::new(&app).await;
        let admin = app.admin().await;
        let (ada, ben) = (&scene.ada, &scene.ben);
        let doors: [(&Person, &str, &str, Value); 12] = [
            (ada, "publishJob", "id", json!({ "idempotencyKey": fresh_key() })),
            (ada, "updateJob", "id", json!({ "patch": { "title": "A title" } })),
            (ada, "cancelJob", "id", json!({})),
            (&admin, "cancelJob", "id", json!({})),
            (ben, "claimJob", "jobId", json!({ "idempotencyKey": fresh_key() })),
            (ben, "releaseClaim", "claimId", json!({})),
            (ben, "submitDeliverable", "claimId", json!({ "note": "Done", "idempotencyKey": fresh_key() })),
            (ada, "requestRevision", "deliverableId", json!({ "note": "Almost" })),
            (ada, "approveDeliverable", "deliverableId", json!({ "idempotencyKey": fresh_key() })),
            (&admin, "confirmTransaction", "transactionId", json!({ "idempotencyKey": fresh_key() })),
            (&admin, "setUserSuspended", "userId", json!({ "suspended": true, "reason": "A reason" })),
            (ada, "markNotificationsRead", "upToId", json!({})),
        ];
        let before = scene.footprint().await;
        let foreign = [&scene.open, &scene.claim, &scene.work, &ada.id];
        for (who, field, path, input) in doors {
            let kind = match path {
                "id" => "job",
                "upToId" => "notification",
                path => path.trim_end_matches("Id"),
            };
            let of_another_type = foreign.iter().filter(|id| !id.starts_with(kind)).map(|id| json!(id));
            let mut told = None;
            for id in [json!(missing(kind))].into_iter().chain(malformed()).chain(of_another_type) {
                let mut input = input.clone();
                input[path] = id.clone();
                let outcome = who.mutate(field, input, "").await;
                tells_nothing(&outcome.reply);
                let error = outcome.refused("NOT_FOUND");
                assert_eq!(error["path"], json!(["input", path]), "{field} {id}");
                let first = told.get_or_insert_with(|| error.clone());
                assert_eq!(*first, error, "{field} {id}: the same words as for an object that is not there");
            }
            assert_eq!(scene.footprint().await, before, "{field} left something behind");
        }
    }

    async fn a_query_answers_null(app: TestApp) {
        let scene = Scene::new(&app).await;
        for id in malformed().into_iter().chain(MISSING.map(|kind| json!(missing(kind)))) {
            let query = "query($id: ID!) { job(id: $id) { id } claim(id: $id) { id } wallet(id: $id) { id } \
                         node(id: $id) { id } nodes(ids: [$id, $id]) { id } }";
            let reply = scene.ada.run(query, json!({ "id": id })).await;
            let nothing = json!({ "job": null, "claim": null, "wallet": null, "node": null, "nodes": [null, null] });
            assert_eq!(*reply.data(), nothing, "{id}");
        }
        let query = "query($job: ID!, $claim: ID!) { job(id: $claim) { id } claim(id: $job) { id } wallet(id: $job) { id } }";
        let reply = scene.ada.run(query, json!({ "job": scene.open, "claim": scene.claim })).await;
        assert_eq!(*reply.data(), json!({ "job": null, "claim": null, "wallet": null }));
    }

    async fn a_list_refuses_an_id_that_is_none(app: TestApp) {
        let scene = Scene::new(&app).await;
        let ids = malformed().into_iter().chain([json!(missing("skill"))]);
        for id in ids {
            let query = "query($id: ID!) { jobs(first: 1, filter: { clientId: $id }) { nodes { id } } }";
            refused_argument(&app.anonymous().run(query, json!({ "id": id })).await, "filter.clientId");
            let query = "query($id: ID!) { claims(jobId: $id) { nodes { id } } }";
            refused_argument(&scene.ada.run(query, json!({ "id": id })).await, "jobId");
        }
        let query = "query($id: ID!) { jobs(first: 1, filter: { clientId: $id }) { nodes { id } totalCount } }";
        let reply = app.anonymous().run(query, json!({ "id": missing("user") })).await;
        assert_eq!(reply.data()["jobs"], json!({ "nodes": [], "totalCount": 0 }));
        let reply = scene.ada.run("query($id: ID!) { claims(jobId: $id) { nodes { id } } }", json!({ "id": missing("job") })).await;
        assert_eq!(reply.data()["claims"], json!({ "nodes": [] }));
    }
}
