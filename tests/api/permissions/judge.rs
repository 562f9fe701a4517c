//! Compares what a viewer was shown with what the policy says.
//!
//! An admin may read everything: what an admin reads of an object is the truth, and what another viewer should read of
//! it follows by the policy. An admin's *census* of all objects tells how users are related.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    cast::{Cast, Viewer},
    policy::{ClaimFacts, Facts, Rule, may_see, may_see_private_fields, own_way, rule},
    schema::Schema,
};
use crate::support::people::{Person, text};

/// All that one account has, as an admin lists it.
const CENSUS: &str = "query($id: ID!) { node(id: $id) { ... on User { \
    wallet { id transactions(first: 60) { nodes { id } } } notifications(first: 60) { nodes { id } } \
    postedJobs(first: 60) { nodes { id postedAt status deliverables(first: 9) { nodes { id claim { id } } } } } \
    claims(first: 60) { nodes { id status freelancer { id } job { id client { id } } } } } } }";

/// The files of the work handed in for a client's jobs. Apart: both together cost more than one request may.
const FILES: &str = "query($id: ID!) { node(id: $id) { ... on User { postedJobs(first: 60) { nodes { \
    deliverables(first: 9) { nodes { id files { id } } } } } } } }";

/// Steps by which a node was found in answers: a type, and a field of it.
pub type Steps = BTreeSet<(String, String)>;

/// Knows the truth and the policy.
pub struct Judge<'a> {
    cast: &'a Cast,
    schema: &'a Schema,
    facts: BTreeMap<String, Facts>,
    /// All claims, as an admin lists them.
    claims: BTreeMap<String, Value>,
    truth: BTreeMap<String, Value>,
}

impl<'a> Judge<'a> {
    /// Takes the census and reads everything.
    pub async fn convene(cast: &'a Cast, schema: &'a Schema) -> Self {
        let (facts, claims, truth) = Default::default();
        let mut judge = Self { cast, schema, facts, claims, truth };
        judge.count(&cast.people()).await;
        // Those that a list without arguments begins with, and the one that jobs and people have here.
        let skills = "{ first: skills(first: 30) { id } used: skills(prefix: \"rust\") { id } }";
        let skills = cast.admin.run(skills, json!({})).await;
        for part in ["first", "used"] {
            judge.facts.extend(list(&skills.data()[part]).iter().map(|skill| (text(skill, "/id"), Facts::Public)));
        }
        judge.read(&judge.facts.keys().cloned().collect()).await;
        judge
    }

    /// Checks the answer of a request that has changed something between these people.
    pub async fn check_change(
        &mut self,
        viewer: &Viewer,
        what: &str,
        answer: &Value,
        between: &[Person],
        steps: &mut Steps,
    ) {
        self.count(between).await;
        self.truth.clear();
        let mut shown = BTreeSet::new();
        self.shown_in_full(answer, &mut shown);
        // What the viewer has just reserved is in no list yet.
        for id in shown.iter().filter(|id| id.starts_with("file_")) {
            let fresh = || Facts::File { id: id.clone(), owner: viewer.person.id.clone(), client: None };
            self.facts.entry(id.clone()).or_insert_with(fresh);
        }
        self.read(&shown).await;
        self.check(viewer, what, answer, steps);
    }

    /// Reads what is so of these.
    async fn read(&mut self, ids: &BTreeSet<String>) {
        let ids: Vec<_> = ids.iter().cloned().collect();
        for (node, ids) in by_type(&self.cast.admin, &ids).await {
            let query = self.schema.operation("query($ids: [ID!]!)", &nodes_in_full(&node));
            for ids in ids.chunks(8) {
                let reply = self.cast.admin.run(&query, json!({ "ids": ids })).await;
                let objects = list(&reply.data()["nodes"]);
                self.truth.extend(objects.into_iter().map(|object| (text(&object, "/id"), object)));
            }
        }
    }

    /// The ids of all objects in an answer that are more than named.
    fn shown_in_full(&self, answer: &Value, shown: &mut BTreeSet<String>) {
        match answer {
            Value::Array(list) => list.iter().for_each(|value| self.shown_in_full(value, shown)),
            Value::Object(of) if self.is_node(of) && of.contains_key("id") => {
                shown.extend((of.len() > 2).then(|| text(answer, "/id")));
            }
            Value::Object(of) => of.values().for_each(|value| self.shown_in_full(value, shown)),
            _ => {}
        }
    }

    /// Everything there is, by its type.
    pub fn objects(&self) -> BTreeMap<String, Vec<String>> {
        let mut objects: BTreeMap<_, Vec<_>> = BTreeMap::new();
        self.truth.values().for_each(|of| objects.entry(text(of, "/__typename")).or_default().push(text(of, "/id")));
        objects
    }

    /// Who is who in an object.
    pub fn facts(&self, id: &str) -> &Facts {
        // A word that a mutation has made is everybody's like all others.
        let word = id.starts_with("skill_").then_some(&Facts::Public);
        self.facts.get(id).or(word).unwrap_or_else(|| panic!("nobody knows of {id}"))
    }

    /// Whether anybody has it.
    pub fn knows(&self, id: &str) -> bool {
        self.facts.contains_key(id)
    }

    /// What an admin reads.
    pub fn truth(&self, id: &str) -> &Value {
        self.truth.get(id).unwrap_or_else(|| panic!("nobody knows of {id}"))
    }

    /// What the viewer should find under an id: everything they may read, or null.
    pub fn expected(&self, viewer: &Viewer, id: &str) -> Value {
        if may_see(viewer, self.facts(id)) { self.shown(viewer, self.truth(id)) } else { Value::Null }
    }

    /// An object as the viewer should read it, when an admin reads `known`.
    pub fn shown(&self, viewer: &Viewer, known: &Value) -> Value {
        let (node, facts) = (text(known, "/__typename"), self.facts(&text(known, "/id")));
        let fields = known.as_object().expect("an object").iter().map(|(field, known)| {
            let value = match field.as_str() {
                "__typename" => known.clone(),
                _ => match rule(&node, field) {
                    Rule::Same => self.pruned(viewer, known),
                    Rule::Private if may_see_private_fields(viewer, facts) => self.pruned(viewer, known),
                    Rule::Private => Value::Null,
                    Rule::OwnWay => own_way(viewer, facts, field, known),
                },
            };
            (field.clone(), value)
        });
        fields.collect()
    }

    /// A value without the objects that are not there for the viewer.
    fn pruned(&self, viewer: &Viewer, known: &Value) -> Value {
        match known {
            Value::Object(of) if self.is_node(of) => {
                let seen = may_see(viewer, self.facts(&text(known, "/id")));
                if seen { known.clone() } else { Value::Null }
            }
            Value::Object(of) => {
                let mut of: Map<_, _> =
                    of.iter().map(|(field, value)| (field.clone(), self.pruned(viewer, value))).collect();
                if of.get("node") == Some(&Value::Null) {
                    return Value::Null;
                }
                if let Some(edges) = of.get("edges").and_then(Value::as_array) {
                    let cursor = |edge: Option<&Value>| edge.map_or(Value::Null, |edge| edge["cursor"].clone());
                    let (first, last) = (cursor(edges.first()), cursor(edges.last()));
                    (of["pageInfo"]["startCursor"], of["pageInfo"]["endCursor"]) = (first, last);
                }
                of.into()
            }
            Value::Array(list) => {
                let list = list.iter().map(|value| (value, self.pruned(viewer, value)));
                list.filter(|(known, pruned)| known.is_null() || !pruned.is_null()).map(|(_, pruned)| pruned).collect()
            }
            leaf => leaf.clone(),
        }
    }

    /// Asks the admin for everything that these people have.
    pub async fn count(&mut self, people: &[Person]) {
        let (mut jobs, mut files) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
        for person in people {
            let reply = self.cast.admin.run(CENSUS, json!({ "id": person.id })).await;
            let user = &reply.data()["node"];
            let [transactions, notifications] = [&user["wallet"]["transactions"], &user["notifications"]];
            let own = [list(&transactions["nodes"]), list(&notifications["nodes"]), vec![user["wallet"].clone()]];
            self.facts.insert(person.id.clone(), Facts::User(person.id.clone()));
            let reply = self.cast.admin.run(FILES, json!({ "id": person.id })).await;
            let with_files = list(&reply.data()["node"]["postedJobs"]["nodes"]);
            for work in with_files.iter().flat_map(|job| list(&job["deliverables"]["nodes"])) {
                let ids = list(&work["files"]).iter().map(|file| text(file, "/id")).collect();
                files.insert(text(&work, "/id"), ids);
            }
            self.facts.extend(own.concat().iter().map(|of| (text(of, "/id"), Facts::Own(person.id.clone()))));
            jobs.extend(list(&user["postedJobs"]["nodes"]).into_iter().map(|job| (person.id.clone(), job)));
            self.claims.extend(list(&user["claims"]["nodes"]).into_iter().map(|claim| (text(&claim, "/id"), claim)));
        }
        for (client, job) in jobs {
            let id = text(&job, "/id");
            // Ids are sorted by their time of birth.
            let claims =
                self.claims.values().filter(|claim| claim["job"]["id"] == id.as_str()).map(claim_facts).collect();
            for work in list(&job["deliverables"]["nodes"]) {
                let claim = claim_facts(&self.claims[&text(&work, "/claim/id")]);
                for id in files.remove(&text(&work, "/id")).into_iter().flatten() {
                    let (owner, client) = (claim.freelancer.clone(), Some(client.clone()));
                    self.facts.insert(id.clone(), Facts::File { id, owner, client });
                }
                let party = (!claim.given_back).then_some(claim.freelancer);
                self.facts.insert(text(&work, "/id"), Facts::Work { client: client.clone(), party });
            }
            let (posted, status) = (!job["postedAt"].is_null(), text(&job, "/status"));
            self.facts.insert(id, Facts::Job { client, posted, status, claims });
        }
        for (id, claim) in &self.claims {
            let (client, freelancer) = (text(claim, "/job/client/id"), text(claim, "/freelancer/id"));
            self.facts.insert(id.clone(), Facts::Claim { client, freelancer });
        }
    }

    fn is_node(&self, of: &Map<String, Value>) -> bool {
        of.get("__typename").and_then(Value::as_str).is_some_and(|name| self.schema.is_node(name))
    }

    /// Checks every object in an answer: it is there for this viewer, and shows what it should. Notes the way to it.
    pub fn check(&self, viewer: &Viewer, what: &str, answer: &Value, steps: &mut Steps) {
        match answer {
            Value::Array(list) => list.iter().for_each(|value| self.check(viewer, what, value, steps)),
            // Without its id it is only on the way to the next.
            Value::Object(of) if self.is_node(of) && of.contains_key("id") => {
                let id = text(answer, "/id");
                let part = viewer.part;
                assert!(may_see(viewer, self.facts(&id)), "{part} is shown {id} by {what}");
                // Merely named: its own fields are another path's affair.
                if of.len() > 2 {
                    let expected = self.shown(viewer, self.truth(&id));
                    assert_eq!(stable(answer), expected, "{part} is shown something else of {id} by {what}");
                    self.note(of, steps);
                }
            }
            Value::Object(of) => {
                self.note(of, steps);
                of.values().for_each(|value| self.check(viewer, what, value, steps));
            }
            _ => {}
        }
    }

    /// Notes the way from this object to the nodes in its fields.
    pub fn note_steps(&self, of: &Value, steps: &mut Steps) {
        self.note(of.as_object().expect("an object"), steps);
    }

    fn note(&self, of: &Map<String, Value>, steps: &mut Steps) {
        let Some(name) = of.get("__typename").and_then(Value::as_str) else { return };
        for (field, value) in of {
            let first = value.as_array().map_or(value, |list| list.first().unwrap_or(&Value::Null));
            if first.as_object().is_some_and(|of| self.is_node(of)) {
                steps.insert((name.to_owned(), field.clone()));
            }
        }
    }
}

/// An answer without what changes from one minute to the next: of links to files, all but the path.
pub fn stable(answer: &Value) -> Value {
    match answer {
        Value::Array(list) => list.iter().map(stable).collect(),
        Value::Object(of) => {
            let path = |url: &Value| {
                let path = url.as_str()?.split('?').next()?;
                path.find("/files/").map(|at| json!(path[at..]))
            };
            let field = |(name, value): (&String, &Value)| {
                let link = path(value).filter(|_| name == "downloadUrl");
                (name.clone(), link.unwrap_or_else(|| stable(value)))
            };
            of.iter().map(field).collect()
        }
        leaf => leaf.clone(),
    }
}

/// The body of a query for objects of one type by their ids.
pub fn nodes_in_full(node: &str) -> String {
    format!("nodes(ids: $ids) {{ ...All{node} }}")
}

/// Sorts ids by the type of what they name.
async fn by_type(admin: &Person, ids: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut sorted: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ids in ids.chunks(100) {
        let reply =
            admin.run("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", json!({ "ids": ids })).await;
        for found in reply.data()["nodes"].as_array().expect("nodes") {
            sorted.entry(text(found, "/__typename")).or_default().push(text(found, "/id"));
        }
    }
    sorted
}

fn list(of: &Value) -> Vec<Value> {
    of.as_array().cloned().unwrap_or_default()
}

fn claim_facts(claim: &Value) -> ClaimFacts {
    let given_back = ["RELEASED", "EXPIRED"].contains(&text(claim, "/status").as_str());
    ClaimFacts { id: text(claim, "/id"), freelancer: text(claim, "/freelancer/id"), given_back }
}
