//! Two whole servers on one database: clients see no difference between them.

use chrono::DateTime;
use futures_util::future::join;
use lancewire::{clock::Clock, limits::attempts::AttemptKey};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    limits::mutations,
    support::{
        app::{Database, TestApp, until},
        people::{Person, new_job, text},
        redis::Redis,
        stream::{SSE, Stream, request},
    },
};

const FEED: &str = "subscription($after: String) { jobPosted(after: $after) { cursor job { id } } }";
const OWN: &str = "subscription { walletUpdated { wallet { inEscrow { amount } } } }";

/// Two nodes with these settings on top.
async fn two_nodes(settings: &str) -> [TestApp; 2] {
    let one = TestApp::start_with(Database::Postgres, settings, Clock::system()).await;
    let other = one.neighbour().await;
    [one, other]
}

fn over(redis: &Redis) -> String {
    format!("[bus]\nredis_url = \"redis://{}\"\n", redis.addr())
}

async fn finish([one, other]: [TestApp; 2]) {
    other.finish().await;
    one.finish().await;
}

async fn events_and_cursors_are_the_same_at_both(settings: &str) {
    let apps = two_nodes(settings).await;
    let [one, other] = &apps;
    let ada = one.client("Ada").await;
    let (here, there) = (ada.socket().await, ada.at(other).socket().await);
    let (feed_here, feed_there) = (here.subscribe(FEED, json!({})), there.subscribe(FEED, json!({})));
    let own = there.subscribe(OWN, json!({}));
    one.listening(1).await;
    other.listening(2).await;
    let mut last = Value::Null;
    for (number, node) in [one, other, other, one, one].into_iter().enumerate() {
        let job = ada.at(node).post_job(&format!("Job {number}")).await;
        let (told_here, told_there) = join(here.next(&feed_here), there.next(&feed_there)).await;
        assert_eq!(told_here, told_there, "with the same cursors");
        assert_eq!(told_here["data"]["jobPosted"]["job"]["id"], job["id"]);
        let wallet = there.next(&own).await;
        assert_eq!(wallet["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], format!("{}00.00", number + 1));
        last = told_here["data"]["jobPosted"]["cursor"].clone();
    }
    // Where one node has stopped, the other goes on.
    here.close().await;
    let missed = ada.post_job("Missed").await;
    let again = ada.at(other).socket().await;
    let resumed = again.subscribe(FEED, json!({ "after": last }));
    assert_eq!(again.next(&resumed).await["data"]["jobPosted"]["job"]["id"], missed["id"]);
    finish(apps).await;
}

/// What is private travels to the nodes where its parties listen, and to their own page of jobs as to any other stream.
async fn drafts_and_claims_are_heard_at_the_other(settings: &str) {
    let apps = two_nodes(settings).await;
    let [one, other] = &apps;
    let (ada, ben) = (one.client("Ada").await, one.freelancer("Ben").await);
    let there = ada.at(other).socket().await;
    let mine = there.subscribe("subscription { jobUpdated(mine: true) { job { title status } } }", json!({}));
    let of_ben = ben.at(other).socket().await;
    let claims = of_ben.subscribe("subscription { claimUpdated { claim { status } job { title } } }", json!({}));
    other.listening(2).await;
    let job = text(&ada.draft(new_job("A draft", "10.00")).await.good(), "/job/id");
    ada.publish(&job).await.good();
    ben.claim(&job).await.good();
    for status in ["DRAFT", "OPEN", "CLAIMED"] {
        let event = there.next(&mine).await["data"]["jobUpdated"]["job"].take();
        assert_eq!(event, json!({ "title": "A draft", "status": status }));
    }
    let event = of_ben.next(&claims).await["data"]["claimUpdated"].take();
    assert_eq!(event, json!({ "claim": { "status": "ACTIVE" }, "job": { "title": "A draft" } }));
    finish(apps).await;
}

async fn rights_that_end_at_one_end_at_both(settings: &str) {
    let apps = two_nodes(settings).await;
    let [one, other] = &apps;
    let revoked = (4403, "Forbidden: token revoked".to_owned());
    let (ada, ben, admin) = (one.client("Ada").await, one.freelancer("Ben").await, one.admin().await);
    let bystander = ben.at(other).socket().await;

    let elsewhere = ada.sign_in_again().await;
    let mut stream = Stream::open(request(&other.http, SSE, ada.token.as_deref(), OWN, json!({}))).await;
    let [signed_out, spared] = [ada.at(other).socket().await, elsewhere.at(other).socket().await];
    ada.run("mutation { signOut { errors { __typename } } }", json!({})).await;
    assert_eq!(signed_out.closed().await, revoked);
    let last = stream.next().await;
    assert_eq!(last["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{last}");
    assert_eq!(spared.ping(json!({ "here": true })).await, json!({ "here": true }), "another session");
    assert_eq!(ada.at(other).run("{ me { id } }", json!({})).await.code(), "UNAUTHENTICATED");

    let roles = json!({ "userId": elsewhere.id, "roles": ["FREELANCER"] });
    admin.mutate("setUserRoles", roles, "user { id }").await.good();
    assert_eq!(spared.closed().await, revoked, "to come back with the new roles");
    let again = elsewhere.at(other).socket().await;
    let suspension = json!({ "userId": elsewhere.id, "suspended": true, "reason": "Spam" });
    admin.mutate("setUserSuspended", suspension, "user { id }").await.good();
    assert_eq!(again.closed().await, revoked);
    assert_eq!(bystander.ping(json!({ "here": true })).await, json!({ "here": true }), "somebody else");
    finish(apps).await;
}

/// Runs a query without a token; what is left of the budget, or none if it was refused.
async fn points_left_after(app: &TestApp, query: &str) -> Option<u32> {
    let reply = app.http.graphql(None, query, json!({})).await;
    let left = reply.headers.get("ratelimit-remaining").expect("a budget").to_str().expect("a text");
    (reply.status == 200).then(|| left.parse().expect("a number"))
}

async fn points_left(app: &TestApp) -> Option<u32> {
    points_left_after(app, "{ skills { slug } }").await
}

/// Budgets are those of a node: what is spent at one is not missing at the other.
async fn a_budget_is_that_of_one_node(settings: &str) {
    let apps = two_nodes(&format!("{settings}\n[budgets]\nanonymous = 10000")).await;
    let [one, other] = &apps;
    while points_left_after(one, &mutations(10)).await.expect("a large budget") > 3_000 {}
    assert!(points_left(other).await.expect("a budget of its own") > 9_000);
    finish(apps).await;
}

async fn guesses_at_one_count_at_both(settings: &str) {
    // Time stands still: nobody has waited for long enough.
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    let settings = format!("{settings}\n[auth]\nfree_attempts_per_account = 3");
    let one = TestApp::start_with(Database::Postgres, &settings, clock).await;
    let other = one.neighbour().await;
    let ada = one.client("Ada").await;
    let guess = async |app: &TestApp| {
        let input = json!({ "email": ada.email, "password": "a wrong guess of mine" });
        let stranger = Person { token: None, ..ada.at(app) };
        stranger.mutate("signIn", input, "session { accessToken }").await.code().to_owned()
    };
    for _ in 0..4 {
        assert_eq!(guess(&one).await, "INVALID_CREDENTIALS");
    }
    assert_eq!(guess(&one).await, "TOO_MANY_ATTEMPTS");
    let keys = [AttemptKey::account(&ada.email)];
    until("the other node has heard of them", || other.app.limits.attempts.check(&keys).is_err()).await;
    assert_eq!(guess(&other).await, "TOO_MANY_ATTEMPTS");
    finish([one, other]).await;
}

/// During a deploy, nodes of the version to come record what this one has never heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_newer_version_is_passed_over() {
    let one = TestApp::start(Database::Postgres).await;
    let ada = one.client("Ada").await;
    let socket = ada.socket().await;
    let feed = socket.subscribe(FEED, json!({}));
    one.listening(1).await;
    one.db_tampered("7 only what everybody may see").await;
    one.db_tampered("12 the database's own guards").await;
    let run = async |sql: &str| one.app.db.writer().execute_unprepared(&one.db_dialect(sql)).await.expect("done");
    run("ALTER TABLE events DROP CONSTRAINT events_kind_check").await;
    run("INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, payload, occurred_at) \
         VALUES ({fresh}, 'JOB_FRAMED', {fresh}, 1, {true}, {fresh}, '{}', now())")
    .await;
    let job = ada.post_job("After it").await;
    let event = socket.next(&feed).await;
    assert_eq!(event["data"]["jobPosted"]["job"]["id"], job["id"]);
    let all = ada.run("{ events(first: 100) { nodes { id cursor } pageInfo { endCursor } } }", json!({})).await;
    let nodes = all.data()["events"]["nodes"].as_array().expect("a list").len();
    assert!(nodes > 0 && all.body.pointer("/errors").is_none(), "{:#}", all.body);
    one.finish().await;
}

/// Tells each story on each bus that connects servers.
macro_rules! on_both_buses {
    ($($story:ident)+) => {$(
        mod $story {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn notify() {
                super::$story("").await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis() {
                super::$story(&over(&Redis::start().await)).await;
            }
        }
    )+};
}

on_both_buses! {
    events_and_cursors_are_the_same_at_both
    drafts_and_claims_are_heard_at_the_other
    rights_that_end_at_one_end_at_both
    a_budget_is_that_of_one_node
    guesses_at_one_count_at_both
}
