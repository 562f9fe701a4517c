//! The schema by itself, as any GraphQL server could serve it: `execute` and `execute_stream` without our transports.

use std::{net::Ipv4Addr, sync::Arc};

use async_graphql::{
    Request, Response, Variables,
    futures_util::{StreamExt, stream::BoxStream},
};
use lancewire::{
    auth::actor::{Actor, Principal, Roles},
    graphql::context::Scope,
    schema::Schema,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{TestApp, soon, until},
        http::{Http, Reply},
        people::{Person, text},
        socket::Socket,
    },
};

const POSTED: &str = "subscription($after: String, $f: JobFilter) { jobPosted(after: $after, filter: $f) { id cursor occurredAt \
                      job { id title version status viewerCanClaim skills { slug } client { id displayName } } } }";
const UPDATED: &str = "subscription($after: String) { jobUpdated(after: $after) { id cursor changes previousStatus \
                       job { id version status escrow { amount } viewerClaim { id } } } }";
const WALLET: &str = "subscription($after: String) { walletUpdated(after: $after) { id cursor wallet { version } \
                      transaction { id type } } }";

fn request(query: &str, variables: Value) -> Request {
    Request::new(query).variables(Variables::from_json(variables))
}

/// What a program with an authentication of its own says of who asks.
fn scope(person: &Person, roles: Roles) -> Arc<Scope> {
    let app = &person.app.app;
    let principal = Principal {
        user: person.id.parse().expect("an id"),
        session: app.db.ids().next(),
        roles,
        expires_at: app.clock.now(),
        commits: None,
    };
    Arc::new(Scope::unmetered(Actor::User(principal), Ipv4Addr::LOCALHOST.into(), &app.clock))
}

fn client(person: &Person) -> Arc<Scope> {
    scope(person, Roles { client: true, ..Roles::default() })
}

fn json_of(response: &Response) -> Value {
    serde_json::to_value(response).expect("JSON")
}

/// Polls a stream until it listens to what is published next.
async fn begun(app: &TestApp, stream: &mut BoxStream<'static, Response>, followers: usize) {
    tokio::select! {
        response = stream.next() => panic!("nothing has happened yet: {response:?}"),
        () = until("the stream follows", || app.app.services.hub.followers() == followers) => {}
    }
}

async fn take(stream: &mut BoxStream<'static, Response>, count: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let response = soon(stream.next()).await.expect("an event");
        seen.push(json_of(&response));
    }
    seen
}

fn schema(app: &TestApp) -> Schema {
    app.app.services.schema()
}

on_both! {
    async fn a_query_needs_nothing_but_the_schema(app: TestApp) {
        let ada = app.client("Ada").await;
        ada.post_job("Port it").await;
        let query = "{ streamCursor rateLimit { cost } skills(first: 2) { slug } jobs(first: 5) { nodes { id title viewerCanClaim \
                     skills { slug } client { displayName completedJobCount } viewerClaim { id } escrow { amount } } } \
                     events(first: 100) { nodes { cursor } } viewer { id } }";
        let response = json_of(&schema(&app).execute(query).await);
        assert_eq!(response.get("errors"), None, "{response:#}");
        let job = &response["data"]["jobs"]["nodes"][0];
        assert_eq!((&job["title"], &job["client"]["displayName"]), (&json!("Port it"), &json!("Ada")));
        assert_eq!((&job["escrow"], &response["data"]["viewer"]), (&Value::Null, &Value::Null), "it is nobody's");
        assert_eq!(response["data"]["rateLimit"], Value::Null, "nobody counts");
        let own = schema(&app).execute(Request::new("{ viewer { id wallet { version } } }").data(client(&ada))).await;
        assert_eq!(json_of(&own)["data"]["viewer"]["id"], ada.id, "and with a scope it is hers");
        // What came after the cursor of that list is what a stream from there begins with.
        let after = response["data"]["streamCursor"].clone();
        let next = ada.post_job("Next").await;
        let mut stream = schema(&app).execute_stream(request(POSTED, json!({ "after": after })));
        let seen = take(&mut stream, 1).await;
        assert_eq!(seen[0]["data"]["jobPosted"]["job"]["id"], next["id"]);
        let invalid = json_of(&schema(&app).execute("{ nothing }").await);
        assert_eq!(invalid["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{invalid}");
        let strange = schema(&app).execute_stream(request(POSTED, json!({ "after": "x" }))).next().await.expect("a refusal");
        assert_eq!(json_of(&strange)["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }

    async fn a_stream_has_what_a_socket_has_byte_for_byte(app: TestApp) {
        let (ada, eve) = (app.client("Ada").await, app.client("Eve").await);
        let after = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let socket = ada.socket().await;
        let of_socket = [POSTED, UPDATED, WALLET].map(|query| socket.subscribe(query, json!({})));
        app.listening(3).await;
        // Two servers of the same schema, live; and one that comes later.
        let (first, second) = (schema(&app), schema(&app));
        let live = |query| first.execute_stream(request(query, json!({})).data(client(&ada)));
        let mut streams = [live(POSTED), live(UPDATED), live(WALLET)];
        for (number, stream) in streams.iter_mut().enumerate() {
            begun(&app, stream, number + 1).await;
        }
        let mut of_eve = second.execute_stream(request(WALLET, json!({})).data(client(&eve)));
        begun(&app, &mut of_eve, 4).await;
        let mut anonymous = second.execute_stream(request(UPDATED, json!({})));
        begun(&app, &mut anonymous, 5).await;
        let job = ada.post_job("Port it").await;
        let ben = app.freelancer("Ben").await;
        ben.claim(&text(&job, "/id")).await.good();
        ada.cancel(&text(&ada.post_job("Another").await, "/id")).await.good();
        let numbers = [2, 2, 3];
        for ((stream, on_socket), count) in streams.iter_mut().zip(&of_socket).zip(numbers) {
            let seen = take(stream, count).await;
            for event in &seen {
                assert_eq!(event.to_string(), socket.next(on_socket).await.to_string());
            }
        }
        for (query, count) in [(POSTED, 2), (UPDATED, 2), (WALLET, 3)] {
            let resumed = second.execute_stream(request(query, json!({ "after": after })).data(client(&ada)));
            let seen = take(&mut { resumed }, count).await;
            let again = ada.socket().await;
            let replayed = again.subscribe(query, json!({ "after": after }));
            for event in seen {
                assert_eq!(event.to_string(), again.next(&replayed).await.to_string());
            }
        }
        // What is not theirs does not come: of two changes they see the public part, and of her money nothing.
        let seen = take(&mut anonymous, 2).await;
        assert!(seen.iter().all(|event| event["data"]["jobUpdated"]["job"]["escrow"].is_null()), "{seen:?}");
        eve.post_job("Hers").await;
        let seen = take(&mut of_eve, 1).await;
        assert_eq!(seen[0]["data"]["walletUpdated"]["transaction"]["type"], "ESCROW_HOLD", "{seen:?}");
        let refused = second.execute_stream(request(WALLET, json!({}))).next().await.expect("a refusal");
        assert_eq!(json_of(&refused)["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
        drop((streams, of_eve, anonymous));
        assert_eq!(app.app.services.hub.followers(), 0, "nothing is left of them");
    }
}

/// A stream whose reader falls behind by more than the channel holds.
async fn lags(app: TestApp) {
    const JOBS: usize = 30;
    let ada = app.client("Ada").await;
    let rust = json!({ "anySkill": ["rust"] });
    let mut stream = schema(&app).execute_stream(request(POSTED, json!({ "f": rust })));
    begun(&app, &mut stream, 1).await;
    let posted = |event: &Value| text(event, "/data/jobPosted/job/title");
    for round in 0..2 {
        let titles: Vec<String> = (0..JOBS).map(|number| format!("Job {round} {number}")).collect();
        for title in &titles {
            ada.post_job(title).await;
        }
        app.published().await;
        let seen: Vec<String> = take(&mut stream, JOBS).await.iter().map(posted).collect();
        assert_eq!(seen, titles, "each once, in order");
        begun(&app, &mut stream, 1).await;
    }
}

mod memory_has_it {
    use super::*;

    on_both! {
        with "[events]\nbroadcast = 2";

        async fn a_reader_that_lags_goes_back_to_the_ring(app: TestApp) {
            lags(app).await;
        }
    }
}

mod the_log_has_it {
    use super::*;

    on_both! {
        with "[events]\nbroadcast = 2\nring_bytes = 1";

        async fn a_reader_that_lags_goes_back_to_the_log(app: TestApp) {
            lags(app).await;
        }
    }
}

/// The example, in an application of its own on a server of its own.
#[allow(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/embed.rs"]
mod example;

on_both! {
    async fn an_application_of_ones_own_serves_it(app: TestApp) {
        let ada = app.client("Ada").await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let router = example::router(&app.app).into_make_service_with_connect_info::<std::net::SocketAddr>();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = async {
            axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) }).await.expect("it serves");
        };
        let using = async {
            let http = Http::new(addr);
            let ask = async |path: &str, token: Option<&str>| {
                let request = http.request(Method::POST, path).json(&json!({ "query": "{ viewer { id } rateLimit { cost } }" }));
                let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
                Reply::of(request).await
            };
            let hers = ask("/api", ada.token.as_deref()).await;
            assert_eq!((hers.at("/data/viewer/id"), hers.at("/data/rateLimit/cost")), (&json!(ada.id), &json!(2)));
            assert_eq!(ask("/api", Some("forged")).await.status, 401);
            assert_eq!(ask("/bare", None).await.data(), &json!({ "viewer": null, "rateLimit": null }));
            let sockets = [Socket::connect_to(addr, "/api", None).await, Socket::connect_to(addr, "/bare", None).await];
            let feeds = sockets.each_ref().map(|socket| socket.subscribe(POSTED, json!({})));
            until("both follow", || app.app.services.hub.followers() == 2).await;
            let job = ada.post_job("Port it").await;
            let told = [sockets[0].next(&feeds[0]).await, sockets[1].next(&feeds[1]).await];
            assert_eq!(told[0]["data"]["jobPosted"]["job"]["id"], job["id"]);
            assert_eq!(told[0], told[1]);
            for socket in sockets {
                socket.close().await;
            }
            let _ = stop.send(());
        };
        tokio::join!(serving, using);
    }
}
