//! Wallets and inboxes are received by their owners alone, and claims by their two sides, whatever role another user
//! has; and those receive all of it.

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer, claimed, submitted},
    deeds::notified,
    judge::{Judge, Steps},
    schema::{Schema, Show},
};
use crate::{
    on_both,
    support::{
        people::{Person, text},
        socket::{Socket, Subscription},
    },
};

on_both! {
    async fn a_wallet_is_heard_by_its_owner_alone(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let listeners = listen(&cast, &schema, "walletUpdated").await;
        let mut before = Vec::new();
        for (viewer, ..) in &listeners {
            before.push(version(&viewer.person).await);
        }
        money_moves(&cast).await;
        let mut judge = Judge::convene(&cast, &schema).await;
        for ((viewer, socket, id), before) in listeners.iter().zip(before) {
            let marker = text(&viewer.person.deposit("1.00").await.good(), "/transaction/id");
            let moved = |event: &Value| event["data"]["walletUpdated"]["transaction"]["id"] == marker;
            let events = socket.drain_until(id, moved).await;
            for event in &events {
                let owner = &event["data"]["walletUpdated"]["wallet"]["owner"]["id"];
                assert!(viewer.is(owner.as_str().expect("an id")), "{} hears of the wallet of {owner}", viewer.part);
            }
            let versions = events.iter().map(|event| event["data"]["walletUpdated"]["wallet"]["version"].as_i64());
            let due = before + 1..=version(&viewer.person).await;
            assert!(versions.eq(due.map(Some)), "{} hears all of it, in order", viewer.part);
            check_last(&mut judge, viewer, "walletUpdated", &events, ["wallet", "transaction"]).await;
        }
    }
}

on_both! {
    async fn an_inbox_is_heard_by_its_owner_alone(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let listeners = listen(&cast, &schema, "notificationReceived").await;
        let mut before = Vec::new();
        for (viewer, ..) in &listeners {
            before.push(inbox(&viewer.person).await.len());
        }
        money_moves(&cast).await;
        let mut judge = Judge::convene(&cast, &schema).await;
        for ((viewer, socket, id), before) in listeners.iter().zip(before) {
            let marker = notified(&cast, &viewer.person, viewer.has("CLIENT")).await;
            let heard = |event: &Value| text(event, "/data/notificationReceived/notification/id");
            let events = socket.drain_until(id, |event| heard(event) == marker).await;
            let ids: Vec<_> = events.iter().map(heard).collect();
            assert_eq!(ids, inbox(&viewer.person).await[before..], "{} hears their own inbox", viewer.part);
            judge.count(&cast.people()).await;
            check_last(&mut judge, viewer, "notificationReceived", &events, ["notification"]).await;
        }
    }
}

on_both! {
    async fn a_claim_is_heard_by_its_two_sides_alone(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let mut listeners = listen(&cast, &schema, "claimUpdated").await;
        let Cast { ada, eve, ben, fay, .. } = &cast;
        let job = text(&ada.post_job("Between two").await, "/id");
        let given_back = claimed(eve, &job).await;
        submitted(eve, &given_back).await;
        ada.request_revision(&submitted(eve, &given_back).await).await.good();
        eve.release(&given_back).await.good();
        let claim = claimed(ben, &job).await;
        ada.approve(&submitted(ben, &claim).await).await.good();
        let of_eve = [
            (1, "ACTIVE", Value::Null),
            (2, "IN_REVIEW", json!("ACTIVE")),
            (3, "IN_REVIEW", Value::Null),
            (4, "REVISION_REQUESTED", json!("IN_REVIEW")),
            (5, "RELEASED", json!("REVISION_REQUESTED")),
        ];
        let of_ben = [(1, "ACTIVE", Value::Null), (2, "IN_REVIEW", json!("ACTIVE")), (3, "APPROVED", json!("IN_REVIEW"))];
        let told = |claim: &str, steps: &[(i64, &str, Value)]| -> Vec<Value> {
            steps.iter().map(|(version, status, before)| json!([claim, version, status, before])).collect()
        };

        // Each listener has a claim of their own last, so that what came before it is all that there was.
        let mut judge = Judge::convene(&cast, &schema).await;
        for (viewer, socket, id) in listeners.drain(..) {
            let marker = if viewer.has("CLIENT") {
                claimed(fay, &text(&viewer.person.post_job("The marker").await, "/id")).await
            } else {
                claimed(&viewer.person, &text(&ada.post_job("The marker").await, "/id")).await
            };
            let claim_of = |event: &Value| text(event, "/data/claimUpdated/claim/id");
            let events = socket.drain_until(&id, |event| claim_of(event) == marker).await;
            for event in &events {
                let claim = &event["data"]["claimUpdated"]["claim"];
                let sides = [text(claim, "/freelancer/id"), text(&event["data"]["claimUpdated"]["job"], "/client/id")];
                assert!(sides.iter().any(|side| viewer.is(side)), "{} hears of {claim}", viewer.part);
            }
            let step = |event: &Value| {
                let event = &event["data"]["claimUpdated"];
                json!([event["claim"]["id"], event["claim"]["version"], event["claim"]["status"], event["previousStatus"]])
            };
            let heard: Vec<_> = events.iter().map(step).filter(|step| [&given_back, &claim].iter().any(|id| step[0] == **id)).collect();
            let due = match &viewer {
                viewer if viewer.is(&ada.id) => [told(&given_back, &of_eve), told(&claim, &of_ben)].concat(),
                viewer if viewer.is(&eve.id) => told(&given_back, &of_eve),
                viewer if viewer.is(&ben.id) => told(&claim, &of_ben),
                _ => Vec::new(),
            };
            assert_eq!(heard, due, "{} hears all of it, in order", viewer.part);
            judge.count(&cast.people()).await;
            check_last(&mut judge, &viewer, "claimUpdated", &events, ["claim", "job"]).await;
            release_all(&viewer.person, fay).await;
        }
    }
}

/// Gives back what was claimed for a marker, since nobody may hold many.
async fn release_all(one: &Person, other: &Person) {
    for freelancer in [one, other] {
        let query = "{ viewer { claims(status: [ACTIVE], first: 20) { nodes { id job { title } } } } }";
        let reply = freelancer.run(query, json!({})).await;
        let claims = reply.data()["viewer"]["claims"]["nodes"].as_array().cloned().unwrap_or_default();
        for claim in claims.iter().filter(|claim| claim["job"]["title"] == "The marker") {
            freelancer.release(&text(claim, "/id")).await.good();
        }
    }
}

on_both! {
    async fn without_a_token_nothing_private_is_heard(app: TestApp) {
        let schema = Schema::read(&app).await;
        let socket = app.socket(None).await;
        for field in schema.fields("Subscription") {
            let id = socket.subscribe(&schema.subscription(&format!("{} {{ id }}", field.name)), json!({}));
            match field.name.as_str() {
                "jobPosted" | "jobUpdated" => socket.complete(&id),
                "claimUpdated" | "walletUpdated" | "notificationReceived" => {
                    assert_eq!(socket.error(&id).await[0]["extensions"]["code"], "UNAUTHENTICATED");
                }
                other => panic!("say who may listen to {other}"),
            }
        }
    }
}

/// Everybody who may listen to a stream of their own, doing so; among them an admin who is a client too.
async fn listen(cast: &Cast, schema: &Schema, field: &str) -> Vec<(Viewer, Socket, Subscription)> {
    let of = &schema.fields("Subscription").iter().find(|of| of.name == field).expect("a subscription").of;
    let query = schema.subscription(&format!("{field} {}", schema.select(of, Show::All("Claim"))));
    let mut viewers: Vec<_> = cast.viewers().into_iter().filter(|of| !of.is_anonymous() && !of.is_admin()).collect();
    viewers.push(cast.admin_with_a_wallet().await);
    let mut listeners = Vec::new();
    for viewer in viewers {
        let socket = viewer.person.socket().await;
        let id = socket.subscribe(&query, json!({}));
        listeners.push((viewer, socket, id));
    }
    cast.app.listening(listeners.len()).await;
    listeners
}

/// Something happens to two wallets and two inboxes.
async fn money_moves(cast: &Cast) {
    let Cast { ada, ben, jobs, .. } = cast;
    let work =
        ada.run("query($id: ID!) { job(id: $id) { deliverables { nodes { id } } } }", json!({ "id": jobs.in_review }));
    ada.approve(&text(work.await.data(), "/job/deliverables/nodes/0/id")).await.good();
    ada.post_job("One more").await;
    ben.withdraw("1.00").await.good();
}

/// The objects of the last event are the newest state: they are as the viewer reads them.
async fn check_last<const N: usize>(
    judge: &mut Judge<'_>,
    viewer: &Viewer,
    field: &str,
    events: &[Value],
    objects: [&str; N],
) {
    let last = &events.last().expect("an event")["data"][field];
    let mut steps = Steps::new();
    judge.check_change(viewer, field, last, std::slice::from_ref(&viewer.person), &mut steps).await;
    let kind = text(last, "/__typename");
    assert!(objects.iter().all(|object| steps.contains(&(kind.clone(), (*object).to_owned()))), "{last:#}");
}

async fn version(owner: &Person) -> i64 {
    let reply = owner.run("{ wallet { version } }", json!({})).await;
    reply.data()["wallet"]["version"].as_i64().expect("a version")
}

/// The ids in somebody's inbox, oldest first.
async fn inbox(owner: &Person) -> Vec<String> {
    let query = "{ viewer { notifications(last: 60) { nodes { id } } } }";
    let reply = owner.run(query, json!({})).await;
    let nodes = reply.data()["viewer"]["notifications"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().rev().map(|node| text(node, "/id")).collect()
}
