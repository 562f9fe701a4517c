//! Wallets and inboxes are heard by their owners alone, whatever role anybody else has, and by them completely.

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer},
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
    async fn without_a_token_nothing_private_is_heard(app: TestApp) {
        let schema = Schema::read(&app).await;
        let socket = app.socket(None).await;
        for field in schema.fields("Subscription") {
            let id = socket.subscribe(&schema.subscription(&format!("{} {{ id }}", field.name)), json!({}));
            match field.name.as_str() {
                "jobPosted" | "jobUpdated" => socket.complete(&id),
                "walletUpdated" | "notificationReceived" => {
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
