//! Every mutation: who may use it at all, what it is aimed at, and a request that would work.

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer, claimed, submitted},
    schema::{Schema, Show},
};
use crate::support::{
    http::Reply,
    people::{PASSWORD, Person, fresh_key, money, new_job, text},
};

/// Who may use a mutation at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nobody,
    Account,
    /// One of these roles.
    Role(&'static [&'static str]),
}

/// A mutation, and the field of its input that names the object it is aimed at.
#[derive(Clone, Copy, Debug)]
pub struct Deed {
    pub name: &'static str,
    pub needs: Needs,
    pub target: Option<Target>,
}

/// What a mutation is aimed at.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub field: &'static str,
    pub node: &'static str,
}

const CLIENT: Needs = Needs::Role(&["CLIENT"]);
const FREELANCER: Needs = Needs::Role(&["FREELANCER"]);
const ADMIN: Needs = Needs::Role(&["ADMIN"]);
const EITHER: Needs = Needs::Role(&["CLIENT", "FREELANCER"]);

/// Every mutation of the API; [`knows_all_of`] proves that it is every one.
pub const DEEDS: &[Deed] = &[
    deed("signUp", Needs::Nobody),
    deed("signIn", Needs::Nobody),
    deed("refreshSession", Needs::Nobody),
    deed("signOut", Needs::Account),
    deed("changePassword", Needs::Account),
    deed("updateProfile", Needs::Account),
    aimed("setUserRoles", ADMIN, "userId", "User"),
    aimed("setUserSuspended", ADMIN, "userId", "User"),
    deed("createSkill", ADMIN),
    aimed("updateSkill", ADMIN, "id", "Skill"),
    deed("postJob", CLIENT),
    deed("draftJob", CLIENT),
    aimed("publishJob", CLIENT, "id", "Job"),
    aimed("updateJob", CLIENT, "id", "Job"),
    aimed("cancelJob", Needs::Role(&["CLIENT", "ADMIN"]), "id", "Job"),
    aimed("claimJob", FREELANCER, "jobId", "Job"),
    aimed("releaseClaim", FREELANCER, "claimId", "Claim"),
    aimed("submitDeliverable", FREELANCER, "claimId", "Claim"),
    aimed("requestRevision", CLIENT, "deliverableId", "Deliverable"),
    aimed("approveDeliverable", CLIENT, "deliverableId", "Deliverable"),
    aimed("interveneInJob", ADMIN, "jobId", "Job"),
    deed("createUpload", Needs::Account),
    deed("deposit", EITHER),
    deed("withdraw", EITHER),
    aimed("confirmTransaction", ADMIN, "transactionId", "Transaction"),
    aimed("markNotificationsRead", Needs::Account, "upToId", "Notification"),
];

const fn deed(name: &'static str, needs: Needs) -> Deed {
    Deed { name, needs, target: None }
}

const fn aimed(name: &'static str, needs: Needs, field: &'static str, node: &'static str) -> Deed {
    Deed { name, needs, target: Some(Target { field, node }) }
}

/// The table has every mutation of the schema, no other, and names each id in their inputs.
pub fn knows_all_of(schema: &Schema) {
    let known: Vec<_> = DEEDS.iter().map(|deed| deed.name).collect();
    let found: Vec<_> = schema.fields("Mutation").iter().map(|field| field.name.as_str()).collect();
    assert_eq!(found, known, "say who may use each mutation");
    for deed in DEEDS.iter().filter(|deed| deed.name != "signOut") {
        let inputs = schema.inputs(&deed.input_type());
        // What is merged into is a word of the vocabulary like what is merged: everybody sees both. Whose files may be
        // handed in is told by the stories of files.
        let beside = ["mergeInto", "fileIds"];
        let ids = inputs.iter().filter(|field| field.of == "ID" && !beside.contains(&field.name.as_str()));
        let ids: Vec<_> = ids.map(|field| field.name.as_str()).collect();
        assert_eq!(ids, deed.target.iter().map(|target| target.field).collect::<Vec<_>>(), "{}", deed.name);
    }
}

impl Deed {
    /// The code with which this viewer is refused whatever they aim at, and the word that the message must have.
    pub fn refusal(&self, viewer: &Viewer) -> Option<(&'static str, &'static str)> {
        match self.needs {
            Needs::Account | Needs::Role(_) if viewer.is_anonymous() => Some(("UNAUTHENTICATED", "Authorization")),
            Needs::Role(roles) if !roles.iter().any(|role| viewer.has(role)) => Some(("FORBIDDEN", roles[0])),
            Needs::Nobody | Needs::Account | Needs::Role(_) => None,
        }
    }

    /// Whether the viewer may use the mutation on something of their own. Nobody has ever notified an admin.
    pub fn may_be_done_by(&self, viewer: &Viewer) -> bool {
        self.refusal(viewer).is_none() && !(self.name == "markNotificationsRead" && viewer.is_admin())
    }

    pub fn input_type(&self) -> String {
        format!("{}{}Input", self.name[..1].to_uppercase(), &self.name[1..])
    }

    /// The operation, with everything that the payload offers.
    pub fn operation(&self, schema: &Schema) -> String {
        let fields = schema.fields("Mutation");
        let of = &fields.iter().find(|field| field.name == self.name).expect("a mutation").of;
        let payload = schema.select(of, Show::All(""));
        if self.name == "signOut" {
            return schema.operation("mutation", &format!("signOut {payload}"));
        }
        let head = format!("mutation($input: {}!)", self.input_type());
        schema.operation(&head, &format!("{}(input: $input) {payload}", self.name))
    }

    /// Asks for it, with a key that was not used before.
    pub async fn run(&self, schema: &Schema, doer: &Person, input: &Value) -> Reply {
        let mut input = input.clone();
        if input.get("idempotencyKey").is_some() {
            input["idempotencyKey"] = fresh_key().into();
        }
        doer.run(&self.operation(schema), json!({ "input": input })).await
    }

    /// Makes whatever it takes for `doer` to use the mutation, and the input to do so.
    pub async fn prepare(&self, cast: &Cast, doer: &Person, is_client: bool) -> Value {
        let (ada, key) = (&cast.ada, fresh_key());
        match self.name {
            "signUp" => {
                json!({ "email": format!("{key}@example.com"), "password": PASSWORD, "displayName": "Newcomer" })
            }
            "signIn" => json!({ "email": cast.fay.email, "password": PASSWORD }),
            "refreshSession" => json!({ "refreshToken": cast.fay.sign_in_again().await.refresh_token }),
            "signOut" => Value::Null,
            "changePassword" => json!({ "currentPassword": PASSWORD, "newPassword": "quite another secret" }),
            "updateProfile" => json!({ "avatarUrl": format!("https://example.com/{key}.png") }),
            "setUserRoles" => json!({ "userId": cast.shut_out.id, "roles": ["CLIENT", "FREELANCER"] }),
            "setUserSuspended" => json!({ "userId": cast.shut_out.id, "suspended": true, "reason": "Still spam." }),
            "createSkill" => json!({ "slug": key, "name": "A new word" }),
            "updateSkill" => {
                let made =
                    doer.mutate("createSkill", json!({ "slug": key, "name": "A word" }), "skill { id }").await.good();
                json!({ "id": text(&made, "/skill/id"), "name": "The same in other words" })
            }
            "postJob" | "draftJob" => new_job("New", "10.00"),
            "publishJob" => {
                let drafted = doer.draft(new_job("New", "10.00")).await.good();
                json!({ "id": text(&drafted, "/job/id"), "idempotencyKey": key })
            }
            "updateJob" => json!({ "id": posted(doer).await, "patch": { "title": "Changed" } }),
            "cancelJob" => json!({ "id": posted(if is_client { doer } else { ada }).await, "reason": "Over." }),
            "claimJob" => json!({ "jobId": posted(ada).await, "idempotencyKey": key }),
            "releaseClaim" => json!({ "claimId": claimed(doer, &posted(ada).await).await, "reason": "Busy." }),
            "submitDeliverable" => {
                let claim = claimed(doer, &posted(ada).await).await;
                json!({ "claimId": claim, "note": "Here.", "idempotencyKey": key })
            }
            "requestRevision" => json!({ "deliverableId": handed_in(cast, doer).await, "note": "Once more." }),
            "approveDeliverable" => json!({ "deliverableId": handed_in(cast, doer).await, "idempotencyKey": key }),
            "interveneInJob" => {
                let (job, freelancer) = (posted(ada).await, cast.newcomer("Nia", &["FREELANCER"]).await);
                claimed(&freelancer, &job).await;
                json!({ "jobId": job, "step": "REOPEN", "reason": "Nobody answers.", "idempotencyKey": key })
            }
            "createUpload" => {
                json!({ "name": "plan.txt", "contentType": "text/plain", "byteSize": 1, "sha256": "0".repeat(64) })
            }
            "deposit" => json!({ "amount": money("1.00"), "idempotencyKey": key }),
            "withdraw" => {
                doer.clone().funded("2.00").await;
                json!({ "amount": money("1.00"), "destination": "DE02 1203", "idempotencyKey": key })
            }
            "confirmTransaction" => {
                let deposit = ada.deposit("3.00").await.good();
                json!({ "transactionId": text(&deposit, "/transaction/id"), "outcome": "POST", "idempotencyKey": key })
            }
            "markNotificationsRead" => json!({ "upToId": notified(cast, doer, is_client).await }),
            other => panic!("say what it takes to use {other}"),
        }
    }
}

async fn posted(client: &Person) -> String {
    text(&client.post(new_job("New", "10.00")).await.good(), "/job/id")
}

/// Work of somebody new for a job of this client.
async fn handed_in(cast: &Cast, client: &Person) -> String {
    let freelancer = cast.newcomer("Nia", &["FREELANCER"]).await;
    submitted(&freelancer, &claimed(&freelancer, &posted(client).await).await).await
}

/// An entry in somebody's own inbox.
pub async fn notified(cast: &Cast, reader: &Person, is_client: bool) -> String {
    if is_client {
        handed_in(cast, reader).await;
    } else {
        let work = submitted(reader, &claimed(reader, &posted(&cast.ada).await).await).await;
        cast.ada.request_revision(&work).await.good();
    }
    let inbox = reader.run("{ viewer { notifications(first: 1) { nodes { id } } } }", json!({})).await;
    text(inbox.data(), "/viewer/notifications/nodes/0/id")
}
