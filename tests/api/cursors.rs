//! An answer to a mutation names the cursor of its own events, so that a client knows when its stream has passed them;
//! and an answer arrives even if it is the last message of its session.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lancewire::jobs::events::JOB_POSTED;
use lancewire::{clock::Clock, events::EventCursor};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    on_both,
    positions::log,
    support::{
        app::{Database, TestApp, until},
        http::Reply,
        people::{PASSWORD, Person, fresh_key, new_job, text},
        socket::Socket,
        stream::{SSE, Stream, request},
    },
};

const POST: &str = "mutation($input: PostJobInput!) { postJob(input: $input) { job { id } errors { __typename } } }";
const SIGN_OUT: &str = "mutation { signOut { errors { __typename } } }";

/// Where the answer says that its events stand; none if it says nothing.
fn named(answer: &Value) -> Option<i64> {
    let cursor = answer.pointer("/extensions/cursor")?.as_str().expect("a text");
    Some(EventCursor::decode(cursor).expect("one of ours").position)
}

/// Where the log ends.
async fn end(app: &TestApp) -> i64 {
    app.app.services.hub.log().stamp().await.expect("a stamp")
}

async fn post(client: &Person) -> Reply {
    client.run(POST, json!({ "input": new_job("Port it", "1.00") })).await
}

on_both! {
    async fn an_answer_names_the_last_of_its_own_events(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let socket = ada.socket().await;
        let wallet = socket.subscribe("subscription { walletUpdated { cursor } }", json!({}));
        app.listening(1).await;
        let posted = post(&ada).await;
        assert_eq!(named(&posted.body), Some(end(&app).await));
        let event = socket.next(&wallet).await;
        let (passed, own) = (text(&event, "/data/walletUpdated/cursor"), text(&posted.body, "/extensions/cursor"));
        assert!(passed <= own, "its own event is not beyond it: {passed} and {own}");

        let mut claims = Vec::new();
        for _ in 0..2 {
            let job = text(&post(&ada).await.body, "/data/postJob/job/id");
            let claimed = ben.claim(&job).await;
            assert_eq!(named(&claimed.reply.body), Some(end(&app).await));
            claims.push(text(&claimed.good(), "/claim/id"));
        }
        // The last one of several in one request.
        let work = |place: usize| json!({ "claimId": claims[place], "note": "Done.", "idempotencyKey": fresh_key() });
        let both = "mutation($a: SubmitDeliverableInput!, $b: SubmitDeliverableInput!) { \
                    a: submitDeliverable(input: $a) { errors { __typename } } \
                    b: submitDeliverable(input: $b) { errors { __typename } } \
                    c: updateProfile(input: {}) { errors { __typename } } }";
        let variables = json!({ "a": work(0), "b": work(1) });
        let submitted = ben.run(both, variables.clone()).await;
        assert_eq!(named(&submitted.body), Some(end(&app).await));
        // A repetition: at least where the effect stands.
        let effect = text(&submitted.body, "/extensions/cursor");
        let again = ben.run(both, variables).await;
        assert!(text(&again.body, "/extensions/cursor") >= effect, "{again}");

        // Nothing was committed, or nothing that anybody could hear of.
        for (person, query, variables) in [
            (&ben, "mutation { updateProfile(input: {}) { errors { __typename } } }", json!({})),
            (&ada, "{ streamCursor }", json!({})),
            (&ada, POST, json!({ "input": new_job("Too dear", "1000000.00") })),
            (&ben, POST, json!({ "input": new_job("Not his to post", "1.00") })),
            (&ada, "mutation { signIn(input: { email: \"a@b.c\", password: \"x\" }) { errors { __typename } } }", json!({})),
        ] {
            let reply = person.run(query, variables).await;
            assert_eq!(reply.body.get("extensions"), None, "{query}: {reply}");
        }
    }

    async fn it_is_named_over_every_transport(app: TestApp) {
        let ada = app.client("Ada").await;
        let variables = || json!({ "input": new_job("Port it", "1.00") });
        let socket = ada.socket().await;
        let id = socket.subscribe(POST, variables());
        let answer = socket.next(&id).await;
        assert_eq!(named(&answer), Some(end(&app).await), "{answer}");
        let mut stream = Stream::open(request(&ada.http, SSE, ada.token.as_deref(), POST, variables())).await;
        let answer = stream.next().await;
        assert_eq!(named(&answer), Some(end(&app).await), "{answer}");
    }

    async fn each_of_many_is_named_its_own(app: TestApp) {
        let clients = join_all((0..4).map(|number| { let app = app.clone(); async move { app.client(&format!("C{number}")).await } })).await;
        let posted = join_all(clients.iter().map(|client| async move {
            let mut named_ones = Vec::new();
            for _ in 0..10 {
                let reply = post(client).await;
                let position = named(&reply.body).unwrap_or_else(|| panic!("no cursor in {reply}"));
                named_ones.push((text(reply.data(), "/postJob/job/id"), client.id.clone(), position));
            }
            named_ones
        }))
        .await;
        app.published().await;
        let events = log(&app).await;
        for (job, client, position) in posted.concat() {
            let of_job = events.iter().filter(|(_, event)| event.kind == JOB_POSTED);
            let of_job = of_job.filter(|(_, event)| event.payload.contains(&job)).map(|(position, _)| *position);
            assert!(of_job.max().is_some_and(|own| own <= position), "{job} stands behind {position}");
            let (_, last) = events.iter().find(|(at, _)| *at == position).expect("an event");
            let owner: lancewire::ids::UserId = client.parse().expect("an id");
            assert_eq!(last.audience.users()[0], owner, "and what stands there is of the same client");
        }
    }
}

/// A stream that has passed the cursor of an answer has shown what was answered, at whichever node it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_nodes_stream_has_shown_it_by_then() {
    let app = TestApp::start_with(Database::Postgres, "[sockets]\nping_interval_ms = 400", Clock::system()).await;
    let neighbour = app.neighbour().await;
    let ada = app.client("Ada").await;
    let socket = ada.at(&neighbour).socket().await;
    let feed = socket.subscribe("subscription { jobPosted { job { id } } }", json!({}));
    neighbour.listening(1).await;
    for _ in 0..4 {
        let reply = post(&ada).await;
        let own = text(&reply.body, "/extensions/cursor");
        loop {
            let ping = socket.pinged().await;
            if ping["cursor"].as_str().is_some_and(|cursor| *cursor >= *own) {
                break;
            }
        }
        assert_eq!(socket.unread(&feed), 1, "the ping came behind it");
        assert_eq!(socket.next(&feed).await["data"]["jobPosted"]["job"]["id"], reply.data()["postJob"]["job"]["id"]);
    }
    neighbour.finish().await;
    app.finish().await;
}

/// While nothing can be numbered the cursor is left out, and the answer waits for a moment only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_does_not_wait_long_for_what_is_not_coming() {
    let app = TestApp::start(Database::Postgres).await;
    let ada = app.client("Ada").await;
    let head = app.app.db.writer().begin("BEGIN").await.expect("a transaction");
    head.execute_unprepared("SELECT 1 FROM event_log FOR UPDATE").await.expect("locked");
    for _ in 0..2 {
        let began = Instant::now();
        let reply = post(&ada).await;
        assert_eq!((named(&reply.body), &reply.data()["postJob"]["errors"]), (None, &json!([])));
        // Half a second, and the mutation itself; the time limit of an operation is ten.
        assert!(began.elapsed() < Duration::from_secs(4), "an answer took {:?}", began.elapsed());
    }
    head.rollback().await.expect("let go");
    app.finish().await;
}

/// The answer of one mutation over a socket, which ends with 4403 afterwards.
async fn last_answer(socket: &Socket, query: &str, variables: Value) -> Value {
    let id = socket.subscribe(query, variables);
    let answer = socket.next(&id).await;
    socket.completed(&id).await;
    assert_eq!(socket.closed().await, (4403, "Forbidden: token revoked".to_owned()));
    answer
}

on_both! {
    async fn whatever_ends_its_own_session_is_answered_first(app: TestApp) {
        let (ada, admin) = (app.client("Ada").await, app.admin().await);
        for _ in 0..10 {
            let session = ada.sign_in_again().await;
            let socket = session.socket().await;
            let feed = socket.subscribe("subscription { walletUpdated { id } }", json!({}));
            app.listening(1).await;
            let answer = last_answer(&socket, SIGN_OUT, json!({})).await;
            assert_eq!(answer["data"], json!({ "signOut": { "errors": [] } }));
            assert_eq!(socket.unread(&feed), 0);
            app.listening(0).await;
        }
        let roles = "mutation($input: SetUserRolesInput!) { setUserRoles(input: $input) { user { roles } errors { __typename } } }";
        for _ in 0..5 {
            let input = json!({ "userId": admin.id, "roles": ["CLIENT", "ADMIN"] });
            let answer = last_answer(&admin.socket().await, roles, json!({ "input": input })).await;
            assert_eq!(answer["data"]["setUserRoles"]["user"]["roles"], json!(["CLIENT", "ADMIN"]));
        }
        // A token that was used long ago ends the session that it is sent from.
        let refresh = "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) { session { refreshToken } \
                       errors { ... on InputError { code } } } }";
        for _ in 0..5 {
            let session = ada.sign_in_again().await;
            let socket = session.socket().await;
            let mut token = session.refresh_token.clone();
            for _ in 0..2 {
                let id = socket.subscribe(refresh, json!({ "input": { "refreshToken": token } }));
                token = text(&socket.next(&id).await, "/data/refreshSession/session/refreshToken");
            }
            let input = json!({ "input": { "refreshToken": session.refresh_token } });
            let answer = last_answer(&socket, refresh, input).await;
            assert_eq!(answer["data"]["refreshSession"]["errors"][0]["code"], "INVALID_CREDENTIALS", "{answer}");
        }
    }

    async fn a_new_password_keeps_the_socket_that_it_came_by(app: TestApp) {
        let ada = app.client("Ada").await;
        let change = "mutation($input: ChangePasswordInput!) { changePassword(input: $input) { session { accessToken } \
                      viewer { id email wallet { inEscrow { amount } } } errors { __typename } } }";
        let (own, beside) = (ada.socket().await, ada.socket().await);
        let wallet = own.subscribe("subscription { walletUpdated { wallet { inEscrow { amount } } } }", json!({}));
        app.listening(1).await;
        let mut password = PASSWORD.to_owned();
        for round in 0..5 {
            // Signed in by the first password only in the first round: from then on over the socket's own session.
            let next = format!("another long secret {round}");
            let other = session_of(&app, &ada.email, &password).await;
            let other = Socket::connect(app.addr, Some(&other)).await;
            let input = json!({ "input": { "currentPassword": password, "newPassword": next } });
            let id = own.subscribe(change, input);
            let answer = own.next(&id).await["data"]["changePassword"].take();
            assert_eq!(answer["errors"], json!([]), "{answer}");
            let viewer = json!({ "id": ada.id, "email": ada.email, "wallet": { "inEscrow": { "amount": "0.00" } } });
            assert_eq!(answer["viewer"], viewer);
            own.completed(&id).await;
            assert_eq!(other.closed().await, (4403, "Forbidden: token revoked".to_owned()));
            password = next;
        }
        for socket in [&own, &beside] {
            assert_eq!(socket.ping(json!({ "here": true })).await, json!({ "here": true }));
        }
        ada.post_job("Heard by the same socket").await;
        assert_eq!(own.next(&wallet).await["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "100.00");
    }
}

async fn session_of(app: &TestApp, email: &str, password: &str) -> String {
    let input = json!({ "email": email, "password": password });
    text(&app.anonymous().mutate("signIn", input, "session { accessToken }").await.good(), "/session/accessToken")
}

/// All other sessions end at once, on every node; the one that it came from goes on, on every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_the_other_sessions_on_every_node() {
    let app = TestApp::start(Database::Postgres).await;
    let neighbour = app.neighbour().await;
    let ada = app.freelancer("Ada").await;
    let other = ada.sign_in_again().await;
    let ended = [other.socket().await, other.at(&neighbour).socket().await];
    let kept = [ada.socket().await, ada.at(&neighbour).socket().await];
    let input = json!({ "currentPassword": PASSWORD, "newPassword": "another long secret" });
    ada.mutate("changePassword", input, "viewer { email }").await.good();
    for socket in &ended {
        assert_eq!(socket.closed().await, (4403, "Forbidden: token revoked".to_owned()));
    }
    let head = end(&app).await;
    for node in [&app, &neighbour] {
        until("it has heard of it", || node.app.services.hub.head() >= head).await;
    }
    for socket in &kept {
        assert_eq!(socket.ping(json!({ "here": true })).await, json!({ "here": true }));
    }
    neighbour.finish().await;
    app.finish().await;
}
