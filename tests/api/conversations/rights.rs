//! Who reads a conversation, on every way that leads to one: its two sides, for good; an admin while the job is DISPUTED,
//! which is written down; and nobody else.

use serde_json::{Value, json};

use super::{Talk, delete, edit};
use crate::{
    on_both,
    support::people::{Person, fresh_key},
};

const FULL: &str = "id version unreadCount claim { id } messages(first: 5) { nodes { id body } } lastMessage { id } readMarkers { number }";

/// All ways to a conversation and its message; null or the conversation, each.
async fn looks(reader: &Person, talk: &Talk, message: &Value) -> Vec<Value> {
    let query = format!(
        "query($id: ID!, $ids: [ID!]!, $message: ID!, $claim: ID!, $job: ID!) {{ \
         node(id: $id) {{ ... on Conversation {{ {FULL} }} }} nodes(ids: $ids) {{ ... on Conversation {{ {FULL} }} }} \
         message: node(id: $message) {{ ... on Message {{ id body conversation {{ {FULL} }} }} }} \
         claim: node(id: $claim) {{ ... on Claim {{ conversation {{ {FULL} }} }} }} \
         job(id: $job) {{ activeClaim {{ conversation {{ {FULL} }} }} viewerClaim {{ conversation {{ {FULL} }} }} }} }}"
    );
    let variables =
        json!({ "id": talk.id, "ids": [talk.id], "message": message["id"], "claim": talk.claim, "job": talk.job });
    let data = reader.run(&query, variables).await.data().clone();
    let ways = ["/node", "/nodes/0", "/message/conversation", "/claim/conversation", "/job/activeClaim/conversation"];
    ways.map(|way| data.pointer(way).cloned().unwrap_or(Value::Null)).into()
}

on_both! {
    async fn the_two_sides_read_on_every_way_and_nobody_else_on_any(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let message = talk.say(ada, "Between us").await;
        for side in [ada, ben] {
            let found = looks(side, &talk, &message).await;
            assert!(found.iter().all(|found| found["id"] == json!(talk.id)), "{found:#?}");
            assert!(found.iter().all(|found| found["messages"]["nodes"][0]["body"] == "Between us"), "{found:#?}");
        }
        let (eve, cleo, admin) = (app.freelancer("Eve").await, app.client("Cleo").await, app.admin().await);
        for stranger in [&eve, &cleo, &admin, &app.anonymous()] {
            let found = looks(stranger, &talk, &message).await;
            assert!(found.iter().all(Value::is_null), "{found:#?}");
            let query = "query($id: ID!) { conversation(id: $id) { id } }";
            let reply = stranger.run(query, json!({ "id": talk.id })).await;
            if stranger.token.is_none() {
                assert_eq!(reply.code(), "UNAUTHENTICATED");
            } else {
                assert_eq!(reply.data()["conversation"], Value::Null);
            }
            let list = "query($id: ID!) { node(id: $id) { ... on User { conversations { nodes { id } } } } }";
            let list = stranger.run(list, json!({ "id": ada.id })).await;
            assert_eq!(list.data()["node"]["conversations"], Value::Null, "not even their number");
        }
        for stranger in [&eve, &cleo, &admin] {
            let own = fresh_key();
            let words = talk.send(stranger, &own, "Let me in").await.refused("NOT_FOUND");
            let missing = json!({ "conversationId": "conversation_01j9zt5e9qf6sbf0yxv6xg5k8m", "clientId": own, "body": "x" });
            let missing = stranger.mutate("sendMessage", missing, "message { id }").await.refused("NOT_FOUND");
            assert_eq!(words["message"], missing["message"]);
            talk.read(stranger, 1).await.refused("NOT_FOUND");
            edit(stranger, &message, "Mine", None).await.refused("NOT_FOUND");
            delete(stranger, &message).await.refused("NOT_FOUND");
            let typing = json!({ "conversationId": talk.id, "typing": true });
            stranger.mutate("signalTyping", typing, "").await.refused("NOT_FOUND");
        }
        assert_eq!(talk.send(&app.anonymous(), "a", "b").await.code(), "UNAUTHENTICATED");
        assert_eq!(app.db_number("SELECT COUNT(*) FROM admin_actions WHERE action = 'readConversation'").await, 0);
    }

    async fn who_gave_the_claim_back_reads_on_and_the_next_one_starts_anew(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let message = talk.say(ada, "Before").await;
        ben.release(&talk.claim).await.good();
        let eve = app.freelancer("Eve").await;
        let claimed = eve.mutate("claimJob", json!({ "jobId": talk.job, "idempotencyKey": fresh_key() }), "claim { conversation { id messages { nodes { id } } } }");
        let anew = claimed.await.good()["claim"]["conversation"].clone();
        assert_ne!(anew["id"], json!(talk.id));
        assert_eq!(anew["messages"]["nodes"], json!([]));
        assert!(looks(&eve, &talk, &message).await[..4].iter().all(Value::is_null));
        assert!(looks(ben, &talk, &message).await[..4].iter().all(|found| found["id"] == json!(talk.id)));
        talk.say(ben, "After").await;
        assert_eq!(talk.all(ada).await.len(), 2);
    }

    async fn an_admin_reads_while_the_job_is_disputed_and_that_is_written_down(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let message = talk.say(&talk.ada, "Not what we agreed on").await;
        let admin = app.admin().await;
        let written = "SELECT COUNT(*) FROM admin_actions WHERE action = 'readConversation'";
        talk.db_disputed(&app, true).await;
        let found = looks(&admin, &talk, &message).await;
        assert!(found.iter().all(|found| found["id"] == json!(talk.id)), "{found:#?}");
        assert_eq!(app.db_number(written).await, 5, "each way is a read");
        assert_eq!(talk.all(&admin).await.len(), 1);
        assert_eq!(app.db_number(written).await, 6);
        let by_whom = format!("{written} AND subject = '{}'", talk.id);
        assert_eq!(app.db_number(&by_whom).await, 6);
        // Reading is all; and what was said stays.
        talk.send(&admin, &fresh_key(), "I say").await.refused("NOT_FOUND");
        assert_eq!(talk.get(&admin, "presence { online } unreadCount").await, json!({ "presence": [], "unreadCount": 0 }));
        edit(&talk.ada, &message, "What we agreed on", None).await.refused("INVALID");
        delete(&talk.ada, &message).await.refused("INVALID");
        talk.say(&talk.ben, "It is").await;
        let eve = app.freelancer("Eve").await;
        assert!(looks(&eve, &talk, &message).await.iter().all(Value::is_null));
        talk.db_disputed(&app, false).await;
        let count = app.db_number(written).await;
        assert!(looks(&admin, &talk, &message).await.iter().all(Value::is_null));
        assert_eq!(app.db_number(written).await, count);
        edit(&talk.ada, &message, "What we agreed on", None).await.good();
    }

    async fn each_claim_has_one_conversation_whoever_writes_it(app: TestApp) {
        let talk = Talk::begin(&app).await;
        talk.ben.release(&talk.claim).await.good();
        talk.ben.claim(&talk.job).await.good();
        // As a node of the version before would have it: the row of a claim, and nothing else.
        app.db_tampered("3 a claim, its job").await;
        app.db_tampered("3 a claimed job").await;
        let insert = "INSERT INTO claims (id, version, job_id, freelancer_id, status, fee_basis_points, created_at, ended_at) \
                      SELECT {fresh}, 1, job_id, freelancer_id, 'RELEASED', 0, created_at, created_at FROM claims WHERE status = 'ACTIVE'";
        app.db_run(&app.db_dialect(insert)).await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM claims").await, 3);
        assert_eq!(app.db_number("SELECT COUNT(*) FROM conversations v JOIN claims c ON c.id = v.id").await, 3);
        let query = "{ viewer { conversations { nodes { claim { status } } } } }";
        let listed = talk.ada.run(query, json!({})).await;
        assert_eq!(listed.data()["viewer"]["conversations"]["nodes"].as_array().map(Vec::len), Some(3));
    }
}
