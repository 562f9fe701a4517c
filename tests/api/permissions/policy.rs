//! The table "Who may do what", in the test's own words: what each viewer should find, worked out from who is who and
//! whose is what. None of it is the server's code.

use serde_json::{Value, json};

use super::{cast::Viewer, schema::Schema};

/// Who may read a field of an object that they may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Everybody, and all read the same.
    Same,
    /// Those whose affair it is, and admins. Null for everybody else.
    Private,
    /// Everybody, each in their own way: see [`own_way`].
    OwnWay,
}

/// Every field of every object. What is not here fails the test, and so does what is no longer there.
const RULES: &[(&str, Rule, &str)] = &[
    (
        "Job",
        Rule::Same,
        "id version title description status budget skills client deadline postedAt createdAt updatedAt",
    ),
    ("Job", Rule::Same, "cancelReason withheld"),
    ("Job", Rule::Private, "activeClaim escrow deliverables"),
    ("Job", Rule::OwnWay, "viewerCanClaim viewerCanUpdate viewerClaim"),
    ("User", Rule::Same, "id displayName avatarUrl skills completedJobCount createdAt"),
    ("User", Rule::Private, "email wallet postedJobs claims notifications"),
    ("User", Rule::OwnWay, "roles"),
    ("Skill", Rule::Same, "id slug name retired"),
    // From here on the object itself is private; who may see it may read all of it.
    ("Claim", Rule::Same, "id version status job freelancer createdAt expiresAt autoApproveAt endedAt endReason"),
    ("Deliverable", Rule::Same, "id number status claim note files revisionNote submittedAt reviewedAt"),
    ("File", Rule::Same, "id name contentType byteSize sha256 status"),
    // An admin sees that there is a file, and not what is in it.
    ("File", Rule::OwnWay, "downloadUrl"),
    ("Wallet", Rule::Same, "id version owner available inEscrow pendingIn pendingOut updatedAt transactions"),
    ("Transaction", Rule::Same, "id version type status amount availableAfter job fee reverses createdAt settledAt"),
    ("Notification", Rule::Same, "id kind title actor jobTitle amount reason subject createdAt readAt"),
];

/// What must be known of an object to say whose affair it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// A word of the vocabulary.
    Public,
    /// An account, by its id.
    User(String),
    /// A job, with its claims in the order of their making.
    Job { client: String, posted: bool, status: String, claims: Vec<ClaimFacts> },
    /// A claim.
    Claim { client: String, freelancer: String },
    /// Work handed in; `party` is the freelancer, unless the claim was given back.
    Work { client: String, party: Option<String> },
    /// A file, and the client to whom it was handed in, if it was.
    File { id: String, owner: String, client: Option<String> },
    /// What belongs to one user: a wallet, a transaction in it, an entry in the inbox.
    Own(String),
}

/// A claim among those on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    pub id: String,
    pub freelancer: String,
    pub given_back: bool,
}

/// The rule for a field.
pub fn rule(node: &str, field: &str) -> Rule {
    let mut rules = RULES.iter().filter(|(name, _, fields)| *name == node && fields.split(' ').any(|of| of == field));
    let (Some((_, rule, _)), None) = (rules.next(), rules.next()) else {
        panic!("say once in the policy who may read {node}.{field}");
    };
    *rule
}

/// The policy knows every field of every object, and no other.
pub fn knows_all_of(schema: &Schema) {
    for node in schema.nodes() {
        for field in schema.fields(node) {
            let _: Rule = rule(node, &field.name);
        }
    }
    for (node, _, fields) in RULES {
        for known in fields.split(' ') {
            assert!(schema.fields(node).iter().any(|field| field.name == known), "there is no {node}.{known}");
        }
    }
}

/// The private fields, with their types.
pub fn private_fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    let private = RULES.iter().filter(|(_, rule, _)| *rule == Rule::Private);
    private.flat_map(|(node, _, fields)| fields.split(' ').map(move |field| (*node, field)))
}

/// Whether the object is there for this viewer.
pub fn may_see(viewer: &Viewer, object: &Facts) -> bool {
    viewer.is_admin()
        || match object {
            Facts::Public | Facts::User(_) => true,
            Facts::Job { client, posted, .. } => *posted || viewer.is(client),
            Facts::Claim { client, freelancer } => viewer.is(client) || viewer.is(freelancer),
            Facts::Work { client, party } => viewer.is(client) || party.as_ref().is_some_and(|party| viewer.is(party)),
            Facts::File { owner, client, .. } => is_side(viewer, owner, client.as_ref()),
            Facts::Own(owner) => viewer.is(owner),
        }
}

/// Whether a file is this viewer's affair.
fn is_side(viewer: &Viewer, owner: &str, client: Option<&String>) -> bool {
    viewer.is(owner) || client.is_some_and(|client| viewer.is(client))
}

/// Whether the private fields of the object are this viewer's affair.
pub fn may_see_private_fields(viewer: &Viewer, object: &Facts) -> bool {
    viewer.is_admin()
        || match object {
            Facts::User(id) => viewer.is(id),
            Facts::Job { client, claims, .. } => {
                let party = claims.last().filter(|claim| !claim.given_back);
                viewer.is(client) || party.is_some_and(|claim| viewer.is(&claim.freelancer))
            }
            Facts::Public | Facts::Claim { .. } | Facts::Work { .. } | Facts::File { .. } | Facts::Own(_) => {
                may_see(viewer, object)
            }
        }
}

/// Whether the viewer's role and the object let them use it as the target of this mutation. For everybody else with the
/// role it is not there.
pub fn may_aim_at(viewer: &Viewer, mutation: &str, object: &Facts) -> bool {
    match (mutation, object) {
        ("publishJob" | "updateJob", Facts::Job { client, .. })
        | ("requestRevision" | "approveDeliverable", Facts::Work { client, .. }) => viewer.is(client),
        ("cancelJob", Facts::Job { client, .. }) => viewer.is(client) || viewer.is_admin(),
        ("interveneInJob", Facts::Job { .. }) | ("updateSkill", Facts::Public) => viewer.is_admin(),
        ("claimJob", Facts::Job { .. }) => may_see(viewer, object),
        ("releaseClaim" | "submitDeliverable", Facts::Claim { freelancer, .. }) => viewer.is(freelancer),
        ("confirmTransaction", Facts::Own(_)) | ("setUserRoles" | "setUserSuspended", Facts::User(_)) => {
            viewer.is_admin()
        }
        ("markNotificationsRead", Facts::Own(owner)) => viewer.is(owner),
        _ => panic!("say in the policy who may aim {mutation} at {object:?}"),
    }
}

/// What a field that everybody reads in their own way shows this viewer; `known` is what an admin reads there.
pub fn own_way(viewer: &Viewer, object: &Facts, field: &str, known: &Value) -> Value {
    match (field, object) {
        ("viewerCanClaim", Facts::Job { client, status, .. }) => {
            json!(viewer.has("FREELANCER") && !viewer.is(client) && status == "OPEN")
        }
        ("viewerCanUpdate", Facts::Job { client, status, .. }) => {
            json!(viewer.has("CLIENT") && viewer.is(client) && ["DRAFT", "OPEN"].contains(&status.as_str()))
        }
        ("viewerClaim", Facts::Job { claims, .. }) => {
            let own = claims.iter().rfind(|claim| viewer.is(&claim.freelancer));
            own.map_or(Value::Null, |claim| json!({ "__typename": "Claim", "id": claim.id }))
        }
        // Without the part that changes from one minute to the next.
        ("downloadUrl", Facts::File { id, owner, client }) => {
            let shown = client.is_some() && is_side(viewer, owner, client.as_ref());
            if shown { json!(format!("/files/{id}")) } else { Value::Null }
        }
        ("roles", Facts::User(_)) => {
            let roles = known.as_array().into_iter().flatten().filter(|role| viewer.is_admin() || *role != "ADMIN");
            roles.cloned().collect()
        }
        _ => panic!("say in the policy what {field} of {object:?} shows each viewer"),
    }
}
