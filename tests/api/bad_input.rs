//! What cannot be used is refused by its place, leaves nothing behind and tells nothing of the inside.
//!
//! Each story sends one kind of nonsense through every door that takes it. All answers pass [`tells_nothing`].

mod amounts;
mod documents;
mod ids;
mod pages;
mod patches;
mod searches;
mod skills;
mod texts;
mod times;

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    footprint::footprint,
    http::Reply,
    people::{Outcome, Person, text},
};

/// Words that only the inside uses: SQL, names of types, crates and files, and how Rust writes values.
const INSIDE: [&str; 26] = [
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE ",
    " FROM ",
    "WHERE ",
    "SQL",
    "sql",
    "sqlx",
    "sea_orm",
    "constraint",
    "postgres",
    "relation",
    "column \"",
    "::",
    ".rs",
    "src/",
    "panicked",
    "Some(",
    "None",
    "Err(",
    "Ok(",
    "String(",
    "Vec<",
    "i64",
    "serde",
];

/// Asserts that no message in an answer, at whatever depth, shows the inside, and returns the answer.
fn tells_nothing(reply: &Reply) -> &Reply {
    fn messages<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("message").and_then(Value::as_str));
                fields.values().for_each(|value| messages(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    messages(&reply.body, &mut found);
    assert!(!found.is_empty(), "an error has a message: {reply}");
    for message in found {
        let word = INSIDE.iter().find(|word| message.contains(**word));
        assert!(word.is_none(), "{word:?} is nobody's business: {message}");
        assert!(!message.contains("Something went wrong"), "a fault of ours and not of the caller's: {reply}");
    }
    reply
}

/// The `InputError` of a mutation, which must be about this place and nothing else.
fn refused_at(outcome: Outcome, path: &str) -> Value {
    tells_nothing(&outcome.reply);
    let error = outcome.refused("INVALID");
    assert_eq!(error["__typename"], "InputError");
    assert_eq!(error["path"], json!(path.split('.').collect::<Vec<_>>()), "{error}");
    error
}

/// A top-level `BAD_USER_INPUT` whose message names the argument.
fn refused_argument(reply: &Reply, argument: &str) {
    tells_nothing(reply);
    assert_eq!(reply.code(), "BAD_USER_INPUT", "{reply}");
    let message = reply.at("/errors/0/message").as_str().expect("a message");
    assert!(message.contains(argument), "{message:?} does not name {argument}");
}

/// A client, a freelancer, and something of theirs in each state that takes an input.
struct Scene {
    app: TestApp,
    ada: Person,
    ben: Person,
    /// A draft.
    draft: String,
    /// An OPEN job.
    open: String,
    /// Ben's claim without work.
    claim: String,
    /// Ben's work that waits for Ada.
    work: String,
}

impl Scene {
    async fn new(app: &TestApp) -> Self {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await.funded("50.00").await);
        let draft = text(&ada.draft(crate::support::people::new_job("A draft", "10.00")).await.good(), "/job/id");
        let open = text(&ada.post_job("An open job").await, "/id");
        let claimed = text(&ada.post_job("A claimed job").await, "/id");
        let claim = text(&ben.claim(&claimed).await.good(), "/claim/id");
        let reviewed = text(&ada.post_job("A job under review").await, "/id");
        let reviewed = text(&ben.claim(&reviewed).await.good(), "/claim/id");
        let work = text(&ben.submit(&reviewed).await.good(), "/deliverable/id");
        app.admin().await;
        Self { app: app.clone(), ada, ben, draft, open, claim, work }
    }

    async fn footprint(&self) -> Vec<(String, i64)> {
        footprint(&self.app).await
    }
}

/// A copy of `input` with `value` at a dotted path.
fn with(input: &Value, path: &str, value: Value) -> Value {
    let mut input = input.clone();
    let place = path.split('.').fold(&mut input, |place, step| &mut place[step]);
    *place = value;
    input
}
