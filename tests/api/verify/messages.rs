//! The kinds of corruption that `verify` must find in conversations and in what was told of them.

use super::{
    broken, inflict,
    kinds::{Kind, kind},
    seal,
};
use crate::support::{
    app::{Database, TestApp},
    people::{Person, fresh_key, text},
};
use serde_json::json;

const ONE_EACH: &str = "13 each claim has its conversation";
const NUMBERED: &str = "13 the messages of a conversation";
const READ: &str = "13 a side has read";
const TOLD: &str = "7 the last event of a conversation";
const SAYS: &str = "7 what an event says of a message";

const KINDS: &[Kind] = &[
    kind("a claim has no conversation", "DELETE FROM conversations WHERE last_number = 0", ONE_EACH),
    kind(
        "a conversation is somebody else's",
        "UPDATE conversations SET client_id = NEW WHERE last_number = 0",
        ONE_EACH,
    ),
    kind("a message is gone", "DELETE FROM messages WHERE number = 2", NUMBERED),
    kind("a message has another number", "UPDATE messages SET number = 9 WHERE number = 3", NUMBERED),
    kind("a message is a stranger's", "UPDATE messages SET sender_id = NEW WHERE number = 1", NUMBERED),
    kind("a conversation counts more", "UPDATE conversations SET last_number = 4 WHERE last_number = 3", NUMBERED),
    kind("a marker went back", "UPDATE conversations SET client_read = 0 WHERE last_number = 3", READ),
    kind(
        "a conversation has another version",
        "UPDATE conversations SET version = version + 1 WHERE last_number = 3",
        TOLD,
    ),
    kind("a change was told nobody", "DELETE FROM events WHERE kind = 'MESSAGE_UPDATED' AND subject_version = 2", TOLD),
    kind("a message has another text", "UPDATE messages SET body = 'Never said' WHERE number = 3", SAYS),
    kind(
        "an event of a message cannot be read",
        "UPDATE events SET payload = '{}' WHERE kind = 'MESSAGE_UPDATED'",
        SAYS,
    ),
];

/// Two claims, and three messages about one of them.
async fn talkative_marketplace(app: &TestApp) {
    let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
    let mut claims = Vec::new();
    for title in ["Talked about", "Quiet"] {
        let job = text(&ada.post_job(title).await, "/id");
        claims.push(text(&ben.claim(&job).await.good(), "/claim/id"));
    }
    let id = claims[0].replace("claim_", "conversation_");
    let say = async |sender: &Person, body: &str| {
        let input = json!({ "conversationId": id, "clientId": fresh_key(), "body": body });
        sender.mutate("sendMessage", input, "message { id }").await.good();
    };
    say(&ada, "One").await;
    say(&ben, "Two").await;
    say(&ada, "Three").await;
}

async fn every_kind_is_found(database: Database) {
    let app = TestApp::start(database).await;
    app.admin().await;
    talkative_marketplace(&app).await;
    seal(&app.app).await;
    app.clone().finish().await;
    let mut missed = Vec::new();
    for kind in KINDS {
        let copy = app.db_copy().await;
        inflict(&app, &copy, kind).await;
        let found = broken(&copy).await;
        if !found.iter().any(|found| found.starts_with(kind.finding)) {
            missed.push(format!("{}: expected {:?}, found {found:#?}", kind.name, kind.finding));
        }
        copy.db.close().await;
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_found_on_sqlite() {
    every_kind_is_found(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_found_on_postgres() {
    every_kind_is_found(Database::Postgres).await;
}
