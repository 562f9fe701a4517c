//! What the two sides of a claim say to each other, and whether they are there.

mod messages;
mod presence;
mod rights;
mod updates;

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    people::{Outcome, Person, fresh_key, text},
};

/// What a message looks like in answers.
const MESSAGE: &str = "id version clientId number body sender { id } sentAt editedAt deletedAt";

/// Ada's job, Ben's claim on it, and their conversation.
struct Talk {
    ada: Person,
    ben: Person,
    job: String,
    claim: String,
    id: String,
}

impl Talk {
    async fn begin(app: &TestApp) -> Self {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        Self::between(ada, ben).await
    }

    /// About one more job.
    async fn between(ada: Person, ben: Person) -> Self {
        let job = text(&ada.post_job("A logo").await, "/id");
        let claimed = ben.mutate(
            "claimJob",
            json!({ "jobId": job, "idempotencyKey": fresh_key() }),
            "claim { id conversation { id } }",
        );
        let claimed = claimed.await.good();
        let (claim, id) = (text(&claimed, "/claim/id"), text(&claimed, "/claim/conversation/id"));
        Self { ada, ben, job, claim, id }
    }

    /// Says something; the message.
    async fn say(&self, sender: &Person, body: &str) -> Value {
        self.send(sender, &fresh_key(), body).await.good()["message"].clone()
    }

    async fn send(&self, sender: &Person, client_id: &str, body: &str) -> Outcome {
        let input = json!({ "conversationId": self.id, "clientId": client_id, "body": body });
        sender
            .mutate(
                "sendMessage",
                input,
                &format!("message {{ {MESSAGE} }} messageEdge {{ cursor }} conversation {{ version unreadCount }}"),
            )
            .await
    }

    async fn read(&self, reader: &Person, up_to: i32) -> Outcome {
        let input = json!({ "conversationId": self.id, "upToNumber": up_to });
        reader
            .mutate(
                "markConversationRead",
                input,
                "conversation { version unreadCount readMarkers { user { id } number } }",
            )
            .await
    }

    /// The numbers and texts of all messages.
    async fn all(&self, reader: &Person) -> Vec<(i64, String)> {
        let query = "query($id: ID!) { conversation(id: $id) { messages(first: 100) { nodes { number body } } } }";
        let reply = reader.run(query, json!({ "id": self.id })).await;
        let nodes = reply.data()["conversation"]["messages"]["nodes"].as_array().expect("messages").clone();
        nodes.iter().map(|node| (node["number"].as_i64().expect("a number"), text(node, "/body"))).collect()
    }

    /// One value of the conversation, as somebody reads it.
    async fn get(&self, reader: &Person, fields: &str) -> Value {
        let query = format!("query($id: ID!) {{ conversation(id: $id) {{ {fields} }} }}");
        reader.run(&query, json!({ "id": self.id })).await.data()["conversation"].clone()
    }

    /// Back door: the job is before an admin, or is not any more.
    async fn db_disputed(&self, app: &TestApp, disputed: bool) {
        let (job, claim) = if disputed { ("DISPUTED", "DISPUTED") } else { ("CLAIMED", "ACTIVE") };
        app.db_run(&format!("UPDATE claims SET status = '{claim}' WHERE status IN ('ACTIVE', 'DISPUTED')")).await;
        app.db_run(&format!("UPDATE jobs SET status = '{job}' WHERE status IN ('CLAIMED', 'DISPUTED')")).await;
    }
}

/// An edit or a deletion of a message.
async fn edit(sender: &Person, message: &Value, body: &str, expected: Option<i64>) -> Outcome {
    let input = json!({ "messageId": message["id"], "body": body, "expectedVersion": expected });
    sender.mutate("editMessage", input, &format!("message {{ {MESSAGE} }} conversation {{ version }}")).await
}

async fn delete(sender: &Person, message: &Value) -> Outcome {
    let input = json!({ "messageId": message["id"] });
    sender.mutate("deleteMessage", input, &format!("message {{ {MESSAGE} }} conversation {{ version }}")).await
}
