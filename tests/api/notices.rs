//! The entries of an inbox: worded for their reader, and the same wherever they are read.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::people::{Person, fresh_key, text},
};

const FIELDS: &str = "id kind title jobTitle reason amount { amount currencyCode } actor { id displayName } createdAt";

/// The inbox, newest first.
async fn inbox(reader: &Person) -> Vec<Value> {
    let reply =
        reader.run(&format!("{{ viewer {{ notifications(first: 20) {{ nodes {{ {FIELDS} }} }} }} }}"), json!({})).await;
    reply.data()["viewer"]["notifications"]["nodes"].as_array().expect("a list").clone()
}

/// The same from the log, newest first.
async fn logged(reader: &Person) -> Vec<Value> {
    let query = format!(
        "{{ events(last: 60) {{ nodes {{ ... on NotificationReceivedEvent {{ notification {{ {FIELDS} }} }} }} }} }}"
    );
    let reply = reader.run(&query, json!({})).await;
    let nodes = reply.data()["events"]["nodes"].as_array().expect("a list").clone();
    nodes.into_iter().rev().filter_map(|node| node.get("notification").cloned()).collect()
}

/// Kind and title of each, oldest first.
fn told(inbox: &[Value]) -> Vec<(String, String)> {
    inbox.iter().rev().map(|entry| (text(entry, "/kind"), text(entry, "/title"))).collect()
}

fn expected(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(kind, title)| ((*kind).to_owned(), (*title).to_owned())).collect()
}

on_both! {
    async fn each_side_reads_of_its_own_part(app: TestApp) {
        let (ada, ben, admin) = (app.client("Ada").await, app.freelancer("Ben").await, app.admin().await);
        let socket = ben.socket().await;
        let feed = socket.subscribe(&format!("subscription {{ notificationReceived {{ notification {{ {FIELDS} }} }} }}"), json!({}));
        app.listening(1).await;
        let job = text(&ada.post_job("A logo").await, "/id");
        let claim = text(&ben.claim(&job).await.good(), "/claim/id");
        let release = json!({ "claimId": claim, "reason": "No time." });
        ben.mutate("releaseClaim", release, "claim { id }").await.good();
        let claim = text(&ben.claim(&job).await.good(), "/claim/id");
        let work = json!({ "claimId": claim, "note": "Done.", "idempotencyKey": fresh_key() });
        let work = text(&ben.mutate("submitDeliverable", work, "deliverable { id }").await.good(), "/deliverable/id");
        ada.request_revision(&work).await.good();
        let work = json!({ "claimId": claim, "note": "Done again.", "idempotencyKey": fresh_key() });
        let work = text(&ben.mutate("submitDeliverable", work, "deliverable { id }").await.good(), "/deliverable/id");
        ada.approve(&work).await.good();
        let other = text(&ada.post_job("Another").await, "/id");
        admin.mutate("cancelJob", json!({ "id": other, "reason": "Against the rules." }), "job { id }").await.good();

        let (adas, bens) = (inbox(&ada).await, inbox(&ben).await);
        assert_eq!(told(&adas), expected(&[
            ("JOB_CLAIMED", "Ben claimed \"A logo\""),
            ("CLAIM_RELEASED", "Ben released \"A logo\"; it is open again"),
            ("JOB_CLAIMED", "Ben claimed \"A logo\""),
            ("WORK_SUBMITTED", "Ben submitted work for \"A logo\"; review it"),
            ("WORK_SUBMITTED", "Ben submitted work for \"A logo\"; review it"),
            ("WORK_APPROVED", "You approved the work of Ben for \"A logo\"; it is completed"),
            ("JOB_CANCELLED", "An administrator cancelled \"Another\"; 100.00 USD is back in your wallet"),
        ]));
        assert_eq!(told(&bens), expected(&[
            ("REVISION_REQUESTED", "Ada requested a revision of \"A logo\""),
            ("WORK_APPROVED", "Ada approved your work for \"A logo\"; it is completed"),
            ("PAYMENT_RECEIVED", "You were paid 95.00 USD for \"A logo\""),
        ]));
        let paid = &bens[0];
        assert_eq!(paid["amount"], json!({ "amount": "95.00", "currencyCode": "USD" }));
        assert_eq!((&paid["jobTitle"], &paid["actor"]), (&json!("A logo"), &json!({ "id": ada.id, "displayName": "Ada" })));
        let [cancelled, .., released, _] = &adas[..] else { panic!("seven") };
        assert_eq!((&cancelled["reason"], &cancelled["actor"]), (&json!("Against the rules."), &Value::Null));
        assert_eq!((&released["reason"], &released["actor"]["id"]), (&json!("No time."), &json!(ben.id)));

        // What happened is kept as it was then; who did it is shown as they are now.
        ben.mutate("updateProfile", json!({ "displayName": "Benedict" }), "viewer { id }").await.good();
        let later = inbox(&ada).await;
        assert_eq!(told(&later), told(&adas));
        assert_eq!(later[1]["actor"]["displayName"], "Benedict");

        // The same live, in the log, by its id, and for an admin who looks.
        for entry in bens.iter().rev() {
            assert_eq!(&socket.next(&feed).await["data"]["notificationReceived"]["notification"], entry);
        }
        assert_eq!(logged(&ben).await, bens);
        assert_eq!(logged(&ada).await, later);
        let node = format!("query($id: ID!) {{ node(id: $id) {{ ... on Notification {{ {FIELDS} }} }} }}");
        for reader in [&ben, &admin] {
            assert_eq!(reader.run(&node, json!({ "id": paid["id"] })).await.data()["node"], *paid);
        }
        assert_eq!(ada.run(&node, json!({ "id": paid["id"] })).await.data()["node"], Value::Null);
    }

    async fn what_was_kept_as_a_sentence_is_read_as_one(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("A logo").await, "/id");
        ben.claim(&job).await.good();
        let kept = "SELECT COUNT(*) FROM notifications WHERE title = '' AND details IS NOT NULL";
        assert_eq!(app.db_number(kept).await, 1, "what is kept has no words");
        app.db_tampered("7 what an event says of an inbox").await;
        for details in ["NULL", "'{\"of\":\"a later version\"}'", "'no JSON'"] {
            let old = format!("UPDATE notifications SET title = 'Ben took it', details = {details}");
            app.app.db.writer().execute_unprepared(&old).await.expect("changed");
            let entry = inbox(&ada).await.remove(0);
            assert_eq!((&entry["title"], &entry["kind"]), (&json!("Ben took it"), &json!("JOB_CLAIMED")));
            assert_eq!((&entry["actor"], &entry["jobTitle"], &entry["amount"]), (&Value::Null, &Value::Null, &Value::Null));
        }
    }
}
