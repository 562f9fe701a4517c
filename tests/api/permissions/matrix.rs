//! The matrix: every viewer, every field, every object, every path that reads.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer},
    judge::{Judge, Steps, nodes_in_full, stable},
    policy::{knows_all_of, private_fields},
    schema::{Schema, Show},
};
use crate::{on_both, support::people::text};

/// Every root field that reads; [`root_fields`] asks each.
const ROOTS: &str = "viewer skills searchSuggestions job jobs claim claims wallet transactions node nodes events streamCursor rateLimit";

/// What cannot be found yet: no mutation makes a REVERSAL.
const NOT_YET: (&str, &str) = ("Transaction", "reverses");

on_both! {
    with "[search]\nenabled = true";
    async fn every_viewer_reads_what_the_policy_says_and_no_more(app: TestApp) {
        let schema = Schema::read(&app).await;
        knows_all_of(&schema);
        let cast = Cast::assemble(&app).await;
        let judge = Judge::convene(&cast, &schema).await;
        // Facets and suggestions come from the index.
        app.searchable().await;
        the_states_are_all_there(&cast, &judge);
        let mut steps = Steps::new();
        for viewer in cast.viewers() {
            let look = Look { viewer: &viewer, judge: &judge, schema: &schema };
            look.by_id(&mut steps).await;
            look.step_by_step(&mut steps).await;
            look.root_fields(&cast, &mut steps).await;
        }
        let mut missing = schema.steps_to_nodes(&schema.types_of_reading());
        missing.retain(|step| !steps.contains(step) && *step != (NOT_YET.0.into(), NOT_YET.1.into()));
        assert_eq!(missing, BTreeSet::new(), "steps on which nobody found anything");
    }
}

on_both! {
    async fn a_token_of_an_account_that_was_shut_out_reads_nothing(app: TestApp) {
        let cast = Cast::assemble(&app).await;
        let queries = ["{ viewer { id } }", "{ jobs(first: 1) { totalCount } }", "{ skills { id } }", "{ wallet { id } }"];
        for query in queries {
            let reply = cast.shut_out.run(query, json!({})).await;
            assert_eq!(reply.code(), "UNAUTHENTICATED", "{reply}");
            assert!(reply.body.get("data").is_none_or(Value::is_null), "{reply}");
        }
    }
}

/// One viewer's view.
struct Look<'a> {
    viewer: &'a Viewer,
    judge: &'a Judge<'a>,
    schema: &'a Schema,
}

impl Look<'_> {
    /// `node` and `nodes`, for every object there is.
    async fn by_id(&self, steps: &mut Steps) {
        for (node, ids) in self.judge.objects() {
            for ids in ids.chunks(8) {
                let expected: Value = ids.iter().map(|id| self.judge.expected(self.viewer, id)).collect();
                let found = self.read("query($ids: [ID!]!)", &nodes_in_full(&node), json!({ "ids": ids })).await;
                assert_eq!(found["nodes"], expected, "nodes, for {}", self.viewer.part);
                self.check("nodes", &found, steps);
                let found: Value = self.each(ids, &format!("{{ ...All{node} }}")).await.into();
                assert_eq!(found, expected, "node, for {}", self.viewer.part);
                self.check("node", &json!({ "__typename": "Query", "node": found }), steps);
            }
        }
    }

    /// From every object that the viewer may see, by every field, to every object behind it.
    async fn step_by_step(&self, steps: &mut Steps) {
        for (node, ids) in self.judge.objects() {
            for field in self.schema.fields(&node).iter().filter(|field| self.schema.leads_to_nodes(&field.of)) {
                // Where any object may stand, one type at a time: their fields would clash.
                let targets = if field.of == "Node" { self.schema.nodes() } else { std::slice::from_ref(&node) };
                for target in targets {
                    let all = self.schema.field(field, Show::All(target));
                    for ids in ids.chunks(3) {
                        let found = self.each(ids, &format!("{{ __typename ... on {node} {{ {all} }} }}")).await;
                        self.check(&format!("{node}.{}", field.name), &found.into(), steps);
                    }
                }
            }
        }
    }

    /// Every root field that reads.
    async fn root_fields(&self, cast: &Cast, steps: &mut Steps) {
        let roots: Vec<_> = self.schema.fields("Query").iter().map(|field| field.name.as_str()).collect();
        assert_eq!(roots, sorted_like(&roots, ROOTS), "ask every root field here");
        let objects = self.judge.objects();
        for (root, node) in [("job", "Job"), ("claim", "Claim"), ("wallet", "Wallet")] {
            let body = format!("{root}(id: $id) {{ ...All{node} }}");
            for id in &objects[node] {
                if self.viewer.is_anonymous() && root != "job" {
                    self.refused("query($id: ID!)", &body, json!({ "id": id }), "UNAUTHENTICATED").await;
                } else {
                    let found = self.read("query($id: ID!)", &body, json!({ "id": id })).await;
                    assert_eq!(found[root], self.judge.expected(self.viewer, id), "{root}, for {}", self.viewer.part);
                    self.check(root, &found, steps);
                }
            }
        }
        for job in &objects["Job"] {
            self.list("claims", &format!("jobId: {job:?}"), steps).await;
        }
        self.list("claims", "", steps).await;
        self.list("transactions", "", steps).await;
        for status in ["OPEN", "DRAFT", "CANCELLED", "CLAIMED, IN_REVIEW, COMPLETED", "EXPIRED, DISPUTED"] {
            let found = self.list("jobs", &format!("filter: {{ status: [{status}] }}"), steps).await;
            let found: BTreeSet<_> = found.iter().map(|job| text(job, "/id")).collect();
            let drafts = [&cast.jobs.draft, &cast.jobs.cancelled_draft];
            assert!(drafts.iter().all(|draft| !found.contains(*draft)), "a draft is in the feed");
            let public = objects["Job"].iter().filter(|id| !self.judge.truth(id)["postedAt"].is_null());
            let public = public.filter(|id| status.split(", ").any(|one| self.judge.truth(id)["status"] == one));
            assert_eq!(found, public.cloned().collect(), "the feed is the same for all, for {}", self.viewer.part);
        }
        self.itself(steps).await;
        self.events(steps).await;
        self.read("query", "streamCursor", json!({})).await;
        self.check("skills", &self.read("query", "skills { ...AllSkill }", json!({})).await, steps);
        let suggested = "searchSuggestions(prefix: \"ru\") { __typename skill { ...AllSkill } }";
        self.check("searchSuggestions", &self.read("query", suggested, json!({})).await, steps);
        self.read("query", "rateLimit { cost limit remaining }", json!({})).await;
    }

    /// `events` shows objects as they were, so only what is private in them is compared: a viewer who may not see a field now
    /// may not see what it was, and money and inbox are told to their owner alone.
    async fn events(&self, steps: &mut Steps) {
        let job = "job { id escrow { amount } activeClaim { id } deliverables(first: 1) { nodes { id } } }";
        let body = format!(
            "events(last: 85) {{ nodes {{ ... on JobPostedEvent {{ {job} }} ... on JobUpdatedEvent {{ {job} }} \
             ... on WalletUpdatedEvent {{ wallet {{ owner {{ id }} }} transaction {{ id }} }} \
             ... on ClaimUpdatedEvent {{ claim {{ id freelancer {{ id }} }} {job} }} \
             ... on NotificationReceivedEvent {{ notification {{ id }} }} __typename }} }}"
        );
        let found = self.read("query", &body, json!({})).await;
        let events = found["events"]["nodes"].as_array().expect("events");
        assert!(!events.is_empty(), "everybody hears of something");
        for event in events {
            let fields = event.as_object().expect("an event").keys().filter(|field| *field != "__typename");
            steps.extend(fields.map(|field| (text(event, "/__typename"), field.clone())));
            if let Some(id) = event.pointer("/notification/id").or(event.pointer("/transaction/id")) {
                let id = id.as_str().expect("an id");
                assert!(!self.judge.expected(self.viewer, id).is_null(), "{} hears of {id}", self.viewer.part);
            }
            if let Some(owner) = event.pointer("/wallet/owner/id").and_then(Value::as_str) {
                assert!(self.viewer.is(owner), "{} hears of the wallet of {owner}", self.viewer.part);
            }
            let Some(id) = event.pointer("/job/id").and_then(Value::as_str) else { continue };
            let job = self.judge.truth(id);
            let client = text(job, "/client/id");
            if let Some(freelancer) = event.pointer("/claim/freelancer/id").and_then(Value::as_str) {
                let part = self.viewer.part;
                assert!(
                    self.viewer.is(freelancer) || self.viewer.is(&client),
                    "{part} hears of a claim of {freelancer}"
                );
            }
            assert!(
                !job["postedAt"].is_null() || self.viewer.is(&client),
                "{} hears of the draft {id}",
                self.viewer.part
            );
            let now = self.judge.expected(self.viewer, id);
            for field in ["escrow", "activeClaim", "deliverables"] {
                let hidden = now[field].is_null();
                assert!(!hidden || event["job"][field].is_null(), "{field} of {id}, for {}", self.viewer.part);
            }
        }
    }

    /// `viewer` and `wallet` without an id.
    async fn itself(&self, steps: &mut Steps) {
        let found = self.read("query", "viewer { ...AllUser }", json!({})).await;
        self.check("viewer", &found, steps);
        if self.viewer.is_anonymous() {
            assert_eq!(found["viewer"], Value::Null);
            self.refused("query", "wallet { ...AllWallet }", json!({}), "UNAUTHENTICATED").await;
        } else {
            assert!(self.viewer.is(&text(&found, "/viewer/id")));
            let found = self.read("query", "wallet { ...AllWallet }", json!({})).await;
            assert!(self.viewer.is(&text(&found, "/wallet/owner/id")));
            self.check("wallet", &found, steps);
        }
    }

    /// A list at the root, or the refusal that the policy asks for.
    async fn list(&self, root: &str, arguments: &str, steps: &mut Steps) -> Vec<Value> {
        let field = self.schema.fields("Query").iter().find(|field| field.name == root).expect("a root field");
        let body = format!("{root}(first: 9 {arguments}) {}", self.schema.select(&field.of, Show::All("")));
        let refusal = match root {
            "claims" | "transactions" if self.viewer.is_anonymous() => Some("UNAUTHENTICATED"),
            "transactions" if !self.viewer.is_admin() => Some("FORBIDDEN"),
            _ => None,
        };
        if let Some(code) = refusal {
            self.refused("query", &body, json!({}), code).await;
            return Vec::new();
        }
        let found = self.read("query", &body, json!({})).await;
        self.check(root, &found, steps);
        found[root]["nodes"].as_array().cloned().unwrap_or_default()
    }

    /// Many `node`s in one operation.
    async fn each(&self, ids: &[String], select: &str) -> Vec<Value> {
        let one = |(place, id): (usize, &String)| format!("n{place}: node(id: {id:?}) {select} ");
        let body: String = ids.iter().enumerate().map(one).collect();
        let found = self.read("query", &body, json!({})).await;
        (0..ids.len()).map(|place| found[format!("n{place}")].clone()).collect()
    }

    async fn read(&self, head: &str, body: &str, variables: Value) -> Value {
        stable(self.viewer.person.run(&self.schema.operation(head, body), variables).await.data())
    }

    async fn refused(&self, head: &str, body: &str, variables: Value, code: &str) {
        let reply = self.viewer.person.run(&self.schema.operation(head, body), variables).await;
        assert_eq!(reply.code(), code, "{body}, for {}", self.viewer.part);
        let data = reply.body["data"].as_object();
        let data = data.into_iter().flatten().filter(|(field, _)| *field != "__typename");
        assert!(data.clone().all(|(_, value)| value.is_null()), "{reply}");
    }

    fn check(&self, what: &str, found: &Value, steps: &mut Steps) {
        self.judge.check(self.viewer, what, found, steps);
    }
}

/// The cast is what the test thinks it is, so that no rule is tested on nothing.
fn the_states_are_all_there(cast: &Cast, judge: &Judge) {
    let jobs = &cast.jobs;
    for (id, status, posted) in [
        (&jobs.draft, "DRAFT", false),
        (&jobs.cancelled_draft, "CANCELLED", false),
        (&jobs.open, "OPEN", true),
        (&jobs.reopened, "OPEN", true),
        (&jobs.claimed, "CLAIMED", true),
        (&jobs.in_review, "IN_REVIEW", true),
        (&jobs.completed, "COMPLETED", true),
        (&jobs.cancelled, "CANCELLED", true),
    ] {
        let job = judge.truth(id);
        assert_eq!((&job["status"], !job["postedAt"].is_null()), (&json!(status), posted), "{job:#}");
        assert_eq!(text(job, "/client/id"), cast.ada.id);
    }
    assert_eq!(text(judge.truth(&jobs.claimed), "/activeClaim/__typename"), "Claim");
    assert_eq!(judge.truth(&jobs.in_review)["deliverables"]["nodes"].as_array().map(Vec::len), Some(2));
    for (node, field) in private_fields() {
        let told = judge.objects()[node].iter().filter(|id| !judge.truth(id)[field].is_null()).count();
        assert!(told > 0, "{node}.{field} is empty everywhere: hiding it proves nothing");
    }
}

/// `words` in the order of `like`, as far as they are there, and then the rest.
fn sorted_like<'a>(like: &[&'a str], words: &'a str) -> Vec<&'a str> {
    let mut words: Vec<_> = words.split(' ').collect();
    words.sort_by_key(|word| like.iter().position(|other| other == word).unwrap_or(usize::MAX));
    words
}
