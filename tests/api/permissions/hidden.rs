//! What a viewer may not see is not there: whatever they do with its id, the answer is the same, byte for byte, as for
//! an id that names nothing.

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer},
    deeds::{DEEDS, knows_all_of},
    judge::Judge,
    policy::{may_aim_at, may_see},
    schema::{Schema, Show},
};
use crate::{
    on_both,
    support::{http::Http, people::fresh_key},
};

on_both! {
    async fn reading_what_is_hidden_is_like_reading_what_is_missing(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let judge = Judge::convene(&cast, &schema).await;
        let mut hidden_ones = 0;
        for viewer in cast.viewers() {
            for (node, ids) in judge.objects() {
                let hidden: Vec<_> = ids.iter().filter(|id| !may_see(&viewer, judge.facts(id))).collect();
                for query in queries(&schema, &node) {
                    let missing = answer(&viewer, &query, &missing(&ids[0])).await;
                    for id in &hidden {
                        hidden_ones += 1;
                        assert_eq!(answer(&viewer, &query, id).await, missing, "{query} of {id}, for {}", viewer.part);
                    }
                    // Whether a text is an id depends on nobody. `claims` says of one that is not that it is not.
                    let asks = (viewer.is_admin() || viewer.is_anonymous()) && !query.contains("claims(");
                    for id in malformed(&ids[0]).iter().filter(|_| asks) {
                        let found = answer(&viewer, &query, id).await;
                        assert_eq!(found, missing, "{query} of {id:?}, for {}", viewer.part);
                    }
                }
            }
        }
        assert!(hidden_ones > 500, "only {hidden_ones} tries");
    }
}

on_both! {
    async fn aiming_at_what_is_not_ones_own_is_like_aiming_at_nothing(app: TestApp) {
        let schema = Schema::read(&app).await;
        knows_all_of(&schema);
        let cast = Cast::assemble(&app).await;
        let judge = Judge::convene(&cast, &schema).await;
        for deed in DEEDS {
            let Some(target) = deed.target else { continue };
            let ids = judge.objects()[target.node].clone();
            let owner = cast.viewers().into_iter().find(|viewer| deed.may_be_done_by(viewer)).expect("somebody may");
            let input = deed.prepare(&cast, &owner.person, owner.has("CLIENT")).await;
            let operation = deed.operation(&schema);
            for viewer in cast.viewers() {
                let try_with = async |id: &str| {
                    let mut input = input.clone();
                    input[target.field] = json!(id);
                    if input.get("idempotencyKey").is_some() {
                        input["idempotencyKey"] = json!(fresh_key());
                    }
                    raw(&viewer, &operation, &json!({ "input": input })).await
                };
                let missing = try_with(&missing(&ids[0])).await;
                let refusal = deed.refusal(&viewer);
                let code = refusal.map_or("NOT_FOUND", |(code, _)| code);
                assert!(missing.1.contains(&format!("\"{code}\"")), "{} by {}: {missing:?}", deed.name, viewer.part);
                // Who lacks the role learns nothing of any id: a few tell as much as all.
                let few = if refusal.is_some() { 2 } else { usize::MAX };
                let not_theirs = |id: &&String| refusal.is_some() || !may_aim_at(&viewer, deed.name, judge.facts(id));
                let not_theirs = ids.iter().filter(not_theirs).take(few).cloned();
                for id in not_theirs.chain(malformed(&ids[0]).into_iter().take(few)) {
                    assert_eq!(try_with(&id).await, missing, "{} of {id:?} by {}", deed.name, viewer.part);
                }
            }
        }
        app.db_proves_its_invariants().await;
    }
}

on_both! {
    async fn listening_to_a_draft_of_somebody_else_is_like_listening_to_nothing(app: TestApp) {
        let cast = Cast::assemble(&app).await;
        let schema = Schema::read(&app).await;
        let judge = Judge::convene(&cast, &schema).await;
        let query = "subscription($id: ID!) { jobUpdated(jobId: $id) { cursor } }";
        for viewer in cast.viewers() {
            let socket = viewer.person.socket().await;
            let refused = async |id: &str| socket.error(&socket.subscribe(query, json!({ "id": id }))).await;
            let missing = refused(&missing(&cast.jobs.draft)).await;
            assert_eq!(missing[0]["extensions"]["code"], "BAD_USER_INPUT", "{missing}");
            for id in [&cast.jobs.draft, &cast.jobs.cancelled_draft] {
                if may_see(&viewer, judge.facts(id)) {
                    socket.complete(&socket.subscribe(query, json!({ "id": id })));
                } else {
                    assert_eq!(refused(id).await, missing, "{id}, for {}", viewer.part);
                }
            }
            for id in malformed(&cast.jobs.draft) {
                assert_eq!(refused(&id).await, missing, "{id:?}, for {}", viewer.part);
            }
            socket.close().await;
        }
    }
}

/// Every query that takes the id of such an object.
fn queries(schema: &Schema, node: &str) -> Vec<String> {
    let all = schema.select(node, Show::All(node));
    let mut queries = vec![format!("node(id: $id) {{ __typename ...All{node} }}")];
    for root in schema.fields("Query").iter().filter(|root| root.of == node && root.takes("id")) {
        queries.push(format!("{}(id: $id) {all}", root.name));
    }
    if node == "Job" {
        let claims = schema.fields("Query").iter().find(|root| root.name == "claims").expect("claims");
        queries.push(format!("claims(first: 5 jobId: $id) {}", schema.select(&claims.of, Show::All(node))));
    }
    let mut queries: Vec<_> = queries.iter().map(|body| schema.operation("query($id: ID!)", body)).collect();
    queries.push(schema.operation("query($id: ID!)", &format!("nodes(ids: [$id]) {{ __typename ...All{node} }}")));
    queries
}

async fn answer(viewer: &Viewer, query: &str, id: &str) -> (u16, String) {
    raw(viewer, query, &json!({ "id": id })).await
}

/// The status and the body, as they come over the wire.
async fn raw(viewer: &Viewer, query: &str, variables: &Value) -> (u16, String) {
    let http: &Http = &viewer.person.http;
    let request = http.request(reqwest::Method::POST, "/graphql");
    let request = request.header("accept", "application/graphql-response+json");
    let mut request = request.json(&json!({ "query": query, "variables": variables }));
    if let Some(token) = &viewer.person.token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

/// An id of the same type that names nothing: no id here ends like this.
fn missing(id: &str) -> String {
    format!("{}zzzzzzzz", &id[..id.len() - 8])
}

/// What is no id of this type at all: of another type, cut, too long, in capitals, or nothing like it.
fn malformed(id: &str) -> Vec<String> {
    let (kind, digits) = id.split_once('_').expect("a type and digits");
    let other = if kind == "skill" { "job" } else { "skill" };
    vec![
        format!("{other}_{digits}"),
        format!("{kind}_"),
        format!("{kind}_{}", digits.to_uppercase()),
        format!("{kind}_8{}", &digits[1..]),
        format!("{id}0"),
        format!(" {id}"),
        digits.to_owned(),
        "' OR 1=1 --".to_owned(),
        "\u{0}".to_owned(),
        String::new(),
    ]
}
