//! The same story over our transports and over async-graphql-axum's: an independent oracle of what we answer.
//!
//! README's operations are taken out of the file and played. Each mutation is sent to one of the two and then, with the same
//! idempotency key, to the other, which must give the same data byte for byte; watchers of both are told the same bytes,
//! also when they come back with a cursor. What may differ is what the GraphQL-over-HTTP draft and graphql-transport-ws
//! leave to the server, or the library does in its own way: statuses, envelopes, `error` in place of `next`, and
//! `extensions.cursor`, which a repeated mutation has no reason to name.

use lancewire::{domains, seed::seed};
use reqwest::{Method, header::ACCEPT};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{TestApp, until},
        people::{fresh_key, text},
        socket::{Socket, Subscription},
        stream::{MULTIPART, SSE, Stream, request},
    },
};

const README: &str = include_str!("../../README.md");
const OURS: &str = "/graphql";
const STOCK: &str = "/stock/graphql";

const WATCH: &str = "subscription($after: String) { jobUpdated(after: $after) { id cursor occurredAt changes previousStatus \
                     job { title status version escrow { amount } viewerClaim { id status } } } }";
const WALLET: &str = "subscription($after: String) { walletUpdated(after: $after) { id cursor wallet { version available { amount } } \
                      transaction { type amount { amount currencyCode } } } }";

/// The documents of README's story, in order, with the names of shell variables in place of values.
fn documents() -> Vec<String> {
    let lines = README.lines().filter_map(|line| line.strip_prefix("gql '")?.strip_suffix('\''));
    lines.map(|line| line.replace(r#"\""#, r#"""#).replace("'$", "$").replace('\'', "")).collect()
}

/// The text of an answer at this path.
async fn post(app: &TestApp, path: &str, token: Option<&str>, query: &str, variables: &Value) -> String {
    let request = app.http.request(Method::POST, path).header(ACCEPT, "application/graphql-response+json");
    let request = request.json(&json!({ "query": query, "variables": variables }));
    let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
    let response = request.send().await.expect("an answer");
    let content_type = response.headers()["content-type"].to_str().expect("a text");
    assert_eq!(content_type.split(';').next(), Some("application/graphql-response+json"));
    response.text().await.expect("a text")
}

/// The part of an answer that is its data, byte for byte.
fn data(answer: &str) -> &str {
    let end = answer.find(r#","extensions":"#).unwrap_or(answer.len() - 1);
    assert!(answer.starts_with(r#"{"data":"#), "{answer}");
    &answer[..end]
}

fn at(answer: &str, pointer: &str) -> String {
    text(&serde_json::from_str(answer).expect("JSON"), pointer)
}

/// The same document to both, of which both give the same bytes.
async fn same(app: &TestApp, token: Option<&str>, query: &str, variables: Value) -> String {
    let ours = post(app, OURS, token, query, &variables).await;
    assert_eq!(ours, post(app, STOCK, token, query, &variables).await, "{query}");
    ours
}

/// Subscriptions in groups and subscriptions on their own.
fn watching(app: &TestApp) -> (usize, usize) {
    let hub = &app.app.services.hub;
    (domains::KINDS.iter().map(|kind| hub.listeners(kind)).sum(), hub.followers())
}

/// A watcher at each, after the same cursor.
struct Watchers {
    sockets: [Socket; 2],
    ids: [Subscription; 2],
    /// How many watched before.
    before: (usize, usize),
}

impl Watchers {
    async fn begin(app: &TestApp, token: Option<&str>, query: &str, after: Option<&str>) -> Self {
        let before = watching(app);
        let sockets =
            [Socket::connect_to(app.addr, OURS, token).await, Socket::connect_to(app.addr, STOCK, token).await];
        let ids = [0, 1].map(|side: usize| sockets[side].subscribe(query, json!({ "after": after })));
        until("both watch", || watching(app) == (before.0 + 1, before.1 + 1)).await;
        Self { sockets, ids, before }
    }

    /// What comes after a cursor, to watchers that are gone afterwards.
    async fn replay(app: &TestApp, token: Option<&str>, query: &str, after: &str, count: usize) -> Vec<String> {
        let watchers = Self::begin(app, token, query, Some(after)).await;
        let told = watchers.told(count).await;
        let before = watchers.before;
        drop(watchers);
        until("they watch no more", || watching(app) == before).await;
        told
    }

    /// So many events, the same at both; returns them as they came.
    async fn told(&self, count: usize) -> Vec<String> {
        for (socket, id) in self.sockets.iter().zip(&self.ids) {
            // Of what has come some may not have been taken: waiting for the next would not wait for the last.
            until("so many have come", || socket.results(id).len() >= count).await;
        }
        let [ours, stock] = [0, 1].map(|side: usize| self.sockets[side].results(&self.ids[side]));
        assert_eq!(ours, stock);
        assert_eq!(ours.len(), count);
        ours
    }
}

on_both! {
    async fn readmes_story_is_told_in_the_same_bytes(app: TestApp) {
        seed(&app.app).await.expect("demo data");
        let documents = documents();
        assert_eq!(documents.len(), 6, "{documents:#?}");
        let start = at(&same(&app, None, "{ streamCursor }", json!({})).await, "/data/streamCursor");
        let mut tokens = Vec::new();
        for (document, path) in documents[..2].iter().zip([OURS, STOCK]) {
            // Each session has its own tokens: all else is the same.
            tokens.push(at(&post(&app, path, None, document, &json!({})).await, "/data/signIn/session/accessToken"));
        }
        let (ben, ada) = (tokens[0].clone(), tokens[1].clone());
        let watchers = Watchers::begin(&app, None, WATCH, None).await;
        let wallets = Watchers::begin(&app, Some(&ada), WALLET, None).await;

        let key = fresh_key();
        let (mut job, mut claim, mut deliverable) = (String::new(), String::new(), String::new());
        let mut cut = None;
        for (number, document) in documents[2..].iter().enumerate() {
            let document = document.replace("$KEY", &key).replace("$JOB", &job).replace("$CLAIM", &claim);
            let document = document.replace("$DELIVERABLE", &deliverable);
            let token = if document.contains("postJob") || document.contains("approve") { &ada } else { &ben };
            // By turns first here and first there.
            let paths = if number % 2 == 0 { [OURS, STOCK] } else { [STOCK, OURS] };
            let first = post(&app, paths[0], Some(token), &document, &json!({})).await;
            let second = post(&app, paths[1], Some(token), &document, &json!({})).await;
            assert_eq!(data(&first), data(&second), "{document}");
            assert!(at(&first, "/extensions/cursor") > start, "{first}");
            match number {
                0 => job = at(&first, "/data/postJob/job/id"),
                1 => {
                    claim = at(&first, "/data/claimJob/claim/id");
                    // Both are cut off here and come back at the end.
                    let told = watchers.told(1).await;
                    cut = Some(at(&told[0], "/data/jobUpdated/cursor"));
                }
                2 => deliverable = at(&first, "/data/submitDeliverable/deliverable/id"),
                _ => {}
            }
        }
        let all = watchers.told(3).await;
        let paid = wallets.told(2).await;
        assert!(paid[1].contains(r#""type":"ESCROW_RELEASE""#), "{paid:?}");

        let resumed = Watchers::replay(&app, None, WATCH, &cut.expect("a cursor"), 2).await;
        assert_eq!(resumed, all[1..], "what was missed, as it was told live");
        let from_start = Watchers::replay(&app, None, WATCH, &start, 3).await;
        assert_eq!(from_start, all);
        let private = Watchers::replay(&app, Some(&ada), WALLET, &start, 2).await;
        assert_eq!(private, paid);
        // Our streams over HTTP beside them.
        let mut events = Stream::open(request(&app.http, SSE, None, WATCH, json!({ "after": start }))).await;
        let mut parts = Stream::open(request(&app.http, MULTIPART, None, WATCH, json!({ "after": start }))).await;
        for told in &all {
            assert_eq!(events.event().await.expect("an event").data, *told);
            let part = parts.payload().await;
            assert_eq!(part, serde_json::from_str::<Value>(told).expect("JSON"));
        }

        let page = "query($after: String) { events(first: 50, after: $after) { edges { cursor node { __typename id } } pageInfo { \
                    hasNextPage endCursor } } jobs(first: 3) { nodes { id title status viewerCanClaim skills { slug name } \
                    client { displayName } } } }";
        for token in [None, Some(ada.as_str()), Some(ben.as_str())] {
            same(&app, token, page, json!({ "after": start })).await;
        }
        same(&app, Some(&ada), "{ viewer { id email roles wallet { version available { amount } } } __typename }", json!({})).await;
        // Refusals: the same errors, each in its server's envelope.
        for (query, variables) in [
            ("{ jobs(first: 1000) { nodes { id } } }", json!({})),
            ("{ nothing }", json!({})),
            ("query($n: Int!) { jobs(first: $n) { nodes { id } } }", json!({ "n": "x" })),
            ("{", json!({})),
        ] {
            let errors = async |path| {
                let answer: Value = serde_json::from_str(&post(&app, path, None, query, &variables).await).expect("JSON");
                answer["errors"].clone()
            };
            let ours = errors(OURS).await;
            assert!(ours[0]["extensions"]["code"].is_string(), "{ours}");
            assert_eq!(ours, errors(STOCK).await, "{query}");
        }
    }
}
