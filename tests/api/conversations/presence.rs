//! Who is there: over several tabs, transports and nodes, with a grace, and gone with a node that dies. Time stands still
//! until a story moves it.

use std::time::Duration;

use lancewire::clock::Clock;
use serde_json::{Value, json};

use super::Talk;
use crate::{
    on_both_clocked,
    support::{
        app::{Database, TestApp},
        people::Person,
        redis::Redis,
        socket::{Socket, Subscription},
        stream::{MULTIPART, SSE, Stream, request},
    },
};

const PRESENCE: &str = "subscription($id: ID!) { presenceChanged(conversationId: $id) { conversation { id } \
    presence { user { id } online typing lastSeenAt } } }";

/// A socket with the state that it was shown first.
struct Watcher {
    socket: Socket,
    id: Subscription,
    first: Value,
}

impl Watcher {
    async fn of(talk: &Talk, person: &Person) -> Self {
        let socket = person.socket().await;
        let id = socket.subscribe(PRESENCE, json!({ "id": talk.id }));
        let first = socket.next(&id).await;
        Self { socket, id, first }
    }

    /// Waits for a state in which somebody is so.
    async fn sees(&self, person: &Person, field: &str, value: Value) -> Value {
        let seen = self.socket.drain_until(&self.id, |state| of(state, person)[field] == value).await;
        seen.last().expect("a state").clone()
    }
}

/// How a state has somebody.
fn of(state: &Value, person: &Person) -> Value {
    let people = state["data"]["presenceChanged"]["presence"].as_array().unwrap_or_else(|| panic!("{state:#}")).clone();
    assert_eq!(people.len(), 2, "the whole list: {state:#}");
    people.into_iter().find(|of| of["user"]["id"] == json!(person.id)).expect("a side")
}

async fn typing(talk: &Talk, person: &Person, typing: bool) {
    let input = json!({ "conversationId": talk.id, "typing": typing });
    person.mutate("signalTyping", input, "").await.good();
}

async fn online(talk: &Talk, reader: &Person) -> Vec<bool> {
    let presence = talk.get(reader, "presence { online }").await["presence"].clone();
    presence.as_array().expect("a list").iter().map(|of| of["online"] == true).collect()
}

/// Lets the grace pass, again if the server came to know of the end of a connection only meanwhile.
async fn away(talk: &Talk, reader: &Person, side: usize, clock: &Clock) {
    while online(talk, reader).await[side] {
        clock.advance(Duration::from_secs(16));
    }
}

on_both_clocked! {
    async fn who_has_it_open_is_there_until_a_grace_after_the_last_tab(app: TestApp, clock: Clock) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        assert_eq!(online(&talk, ada).await, [false, false]);
        let watcher = Watcher::of(&talk, ada).await;
        assert_eq!((of(&watcher.first, ada)["online"].clone(), of(&watcher.first, ben)["online"].clone()), (json!(true), json!(false)));
        assert_eq!(watcher.first["data"]["presenceChanged"]["conversation"]["id"], json!(talk.id));
        let (one, two) = (Watcher::of(&talk, ben).await, Watcher::of(&talk, ben).await);
        watcher.sees(ben, "online", json!(true)).await;
        assert_eq!(online(&talk, ben).await, [true, true]);
        // One tab is closed, the other vanishes.
        one.socket.close().await;
        drop(two);
        clock.advance(Duration::from_secs(14));
        assert_eq!(online(&talk, ada).await, [true, true], "for a while they may come back");
        away(&talk, ada, 1, &clock).await;
        let gone = watcher.sees(ben, "online", json!(false)).await;
        assert!(of(&gone, ben)["lastSeenAt"].is_string(), "{gone:#}");
        assert_eq!(of(&gone, ada)["lastSeenAt"], Value::Null, "who is there was not seen last");
        // A subscription that its client completes is one less, too.
        let back = Watcher::of(&talk, ben).await;
        watcher.sees(ben, "online", json!(true)).await;
        back.socket.complete(&back.id);
        back.socket.ping(json!({})).await;
        away(&talk, ada, 1, &clock).await;
        watcher.sees(ben, "online", json!(false)).await;
    }

    async fn writing_is_shown_and_ends_by_itself(app: TestApp, clock: Clock) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let watcher = Watcher::of(&talk, ada).await;
        typing(&talk, ben, true).await;
        let state = watcher.sees(ben, "typing", json!(true)).await;
        assert_eq!(of(&state, ben)["online"], true, "who writes is there");
        typing(&talk, ben, false).await;
        watcher.sees(ben, "typing", json!(false)).await;
        typing(&talk, ben, true).await;
        clock.advance(Duration::from_secs(3));
        typing(&talk, ben, true).await;
        watcher.sees(ben, "typing", json!(true)).await;
        clock.advance(Duration::from_secs(5));
        assert_eq!(talk.get(ada, "presence { typing }").await["presence"][1]["typing"], true);
        clock.advance(Duration::from_secs(2));
        watcher.sees(ben, "typing", json!(false)).await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM events WHERE kind = 'MESSAGE_UPDATED'").await, 0, "nothing of it is kept");
    }

    async fn it_comes_over_every_transport(app: TestApp, clock: Clock) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let (id, token) = (json!({ "id": talk.id }), ada.token.as_deref());
        let mut sse = Stream::open(request(&app.http, SSE, token, PRESENCE, id.clone())).await;
        let mut multipart = Stream::open(request(&app.http, MULTIPART, token, PRESENCE, id.clone())).await;
        let stock = Socket::connect_to(app.addr, "/stock/graphql", token).await;
        let on_stock = stock.subscribe(PRESENCE, id.clone());
        let own = Watcher::of(&talk, ada).await;
        let firsts = [sse.next().await, multipart.payload().await, stock.next(&on_stock).await, own.first.clone()];
        for first in &firsts {
            assert_eq!((of(first, ada)["online"].clone(), of(first, ben)["online"].clone()), (json!(true), json!(false)));
        }
        let there = Watcher::of(&talk, ben).await;
        for state in [sse.next().await, multipart.payload().await, stock.next(&on_stock).await, own.sees(ben, "online", json!(true)).await] {
            assert_eq!(of(&state, ben)["online"], true);
        }
        // Nothing that is left behind keeps them there.
        there.socket.close().await;
        drop((sse, multipart));
        stock.complete(&on_stock);
        own.socket.close().await;
        let last = Watcher::of(&talk, ben).await;
        away(&talk, ben, 0, &clock).await;
        last.sees(ada, "online", json!(false)).await;
    }

    async fn nobody_but_the_two_sides_sees_it(app: TestApp, clock: Clock) {
        let talk = Talk::begin(&app).await;
        let (eve, admin) = (app.freelancer("Eve").await, app.admin().await);
        let missing = json!({ "id": "conversation_01j9zt5e9qf6sbf0yxv6xg5k8m" });
        for stranger in [&eve, &admin] {
            let socket = stranger.socket().await;
            let refused = socket.error(&socket.subscribe(PRESENCE, json!({ "id": talk.id }))).await;
            assert_eq!(refused[0]["extensions"]["code"], "BAD_USER_INPUT");
            let words = socket.error(&socket.subscribe(PRESENCE, missing.clone())).await;
            assert_eq!(refused[0]["message"], words[0]["message"]);
            let mut stream = Stream::open(request(&app.http, SSE, stranger.token.as_deref(), PRESENCE, json!({ "id": talk.id }))).await;
            assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
        }
        let anonymous = app.socket(None).await;
        let refused = anonymous.error(&anonymous.subscribe(PRESENCE, json!({ "id": talk.id }))).await;
        assert_eq!(refused[0]["extensions"]["code"], "UNAUTHENTICATED");
        // Who was refused is not there; and a session that ends takes its tabs with it.
        let watcher = Watcher::of(&talk, &talk.ada).await;
        let there = Watcher::of(&talk, &talk.ben).await;
        watcher.sees(&talk.ben, "online", json!(true)).await;
        talk.ben.run("mutation { signOut { errors { __typename } } }", json!({})).await;
        there.socket.closed().await;
        away(&talk, &talk.ada, 1, &clock).await;
        watcher.sees(&talk.ben, "online", json!(false)).await;
    }
}

/// Two nodes, of which one ends without a word about who was there.
async fn two_nodes_know_of_each_other(settings: &str) {
    let clock = Clock::manual(Clock::system().now());
    let one = TestApp::start_with(Database::Postgres, settings, clock.clone()).await;
    let other = one.neighbour().await;
    let talk = Talk::begin(&one).await;
    let Talk { ada, ben, .. } = &talk;
    let watcher = Watcher::of(&talk, ada).await;
    let there = Watcher::of(&talk, &ben.at(&other)).await;
    watcher.sees(ben, "online", json!(true)).await;
    if of(&there.first, ada)["online"] != true {
        there.sees(ada, "online", json!(true)).await;
    }
    typing(&talk, &ben.at(&other), true).await;
    watcher.sees(ben, "typing", json!(true)).await;
    // From one node to the other, within the grace: they were never away.
    let here = Watcher::of(&talk, ben).await;
    there.socket.close().await;
    assert_eq!(online(&talk, ada).await, [true, true]);
    let back = Watcher::of(&talk, &ben.at(&other)).await;
    here.socket.close().await;
    clock.advance(Duration::from_secs(16));
    assert_eq!(online(&talk, ada).await, [true, true], "at the other node");
    // It ends, and says nothing of its people.
    assert!(other.app.shut_down().await, "a task did not leave by itself");
    drop(back);
    clock.advance(Duration::from_secs(31));
    watcher.sees(ben, "online", json!(false)).await;
    // One that starts anew knows who is there once it has asked.
    let anew = one.neighbour().await;
    let newcomer = Watcher::of(&talk, &ben.at(&anew)).await;
    if of(&newcomer.first, ada)["online"] != true {
        newcomer.sees(ada, "online", json!(true)).await;
    }
    watcher.sees(ben, "online", json!(true)).await;
    anew.finish().await;
    one.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_know_of_each_other_by_notify() {
    Box::pin(two_nodes_know_of_each_other("")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_know_of_each_other_over_redis() {
    let redis = Redis::start().await;
    Box::pin(two_nodes_know_of_each_other(&format!("[bus]\nredis_url = \"redis://{}\"\n", redis.addr()))).await;
}
