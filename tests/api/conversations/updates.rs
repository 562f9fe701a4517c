//! `messageUpdated`: to both sides, on every device, live and again; and the inbox of the side that is away.

use serde_json::{Value, json};

use super::{Talk, delete, edit};
use crate::{
    on_both,
    support::people::{Person, text},
};

const UPDATES: &str = "subscription($id: ID, $after: String) { messageUpdated(conversationId: $id, after: $after) { id cursor occurredAt \
    message { id version number body clientId editedAt deletedAt sender { id } conversation { id } } \
    conversation { id version unreadCount lastMessage { number body } readMarkers { number } } } }";

async fn cursor(of: &Person) -> Value {
    of.run("{ streamCursor }", json!({})).await.data()["streamCursor"].clone()
}

/// What is told of each event: the number, the text, and the conversation's version.
fn told(event: &Value) -> (i64, String, i64) {
    let event = &event["data"]["messageUpdated"];
    let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_i64).expect("a number");
    (number("/message/number"), text(event, "/message/body"), number("/conversation/version"))
}

on_both! {
    async fn both_sides_hear_each_change_on_every_device_and_the_same_again(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let start = cursor(ada).await;
        let (here, tab, there) = (ada.socket().await, ada.socket().await, ben.socket().await);
        let id = json!({ "id": talk.id });
        let live = [here.subscribe(UPDATES, id.clone()), tab.subscribe(UPDATES, json!({})), there.subscribe(UPDATES, id.clone())];
        app.listening(3).await;
        let first = talk.say(ada, "Helo").await;
        talk.say(ben, "Hi").await;
        edit(ada, &first, "Hello", None).await.good();
        talk.read(ada, 2).await.good();
        delete(ada, &first).await.good();
        // Changes nothing, and is told nobody.
        talk.read(ada, 1).await.good();
        delete(ada, &first).await.good();
        talk.say(ben, "The end").await;
        let due = [(1, "Helo", 2), (2, "Hi", 3), (1, "Hello", 4), (2, "Hi", 5), (1, "", 6), (3, "The end", 7)];
        let due: Vec<_> = due.map(|(number, body, version)| (number, body.to_owned(), version)).into();
        for (socket, live) in [&here, &tab, &there].into_iter().zip(&live) {
            let mut events = Vec::new();
            while events.len() < due.len() {
                events.push(told(&socket.next(live).await));
            }
            assert_eq!(events, due);
        }
        let [adas, bens] = [here.results(&live[0]), there.results(&live[2])];
        assert!(adas[1].contains("\"unreadCount\":1") && bens[1].contains("\"unreadCount\":0"), "each has their own: {adas:?}");
        assert!(adas[3].contains("\"unreadCount\":0"), "and has read by then: {}", adas[3]);
        // The same again, byte for byte, from before the first.
        let again = ada.socket().await;
        let replay = again.subscribe(UPDATES, json!({ "id": talk.id, "after": start }));
        for _ in &due {
            again.next(&replay).await;
        }
        assert_eq!(again.results(&replay), adas);
        let after = json!({ "id": talk.id, "after": serde_json::from_str::<Value>(&adas[3]).expect("JSON")["data"]["messageUpdated"]["cursor"] });
        let rest = again.subscribe(UPDATES, after);
        assert_eq!(told(&again.next(&rest).await).2, 6, "from in between");
        let query = "query($after: String) { events(first: 20, after: $after) { nodes { ... on MessageUpdatedEvent { message { body } } } } }";
        let logged = ben.run(query, json!({ "after": start })).await;
        let logged = logged.data()["events"]["nodes"].as_array().expect("a list").clone();
        assert_eq!(logged.iter().filter(|node| node["message"].is_object()).count(), due.len());
    }

    async fn one_conversation_is_not_another_and_nobody_else_hears(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let other = Talk::between(ada.clone(), ben.clone()).await;
        let (eve, cleo, admin) = (app.freelancer("Eve").await, app.client("Cleo").await, app.admin().await);
        let mut listeners = Vec::new();
        for stranger in [&eve, &cleo, &admin] {
            let socket = stranger.socket().await;
            let all = socket.subscribe(UPDATES, json!({}));
            let error = socket.error(&socket.subscribe(UPDATES, json!({ "id": talk.id }))).await;
            assert_eq!(error[0]["extensions"]["code"], "BAD_USER_INPUT");
            let missing = socket.error(&socket.subscribe(UPDATES, json!({ "id": "conversation_01j9zt5e9qf6sbf0yxv6xg5k8m" }))).await;
            assert_eq!(error[0]["message"], missing[0]["message"], "the same words as for one that is not there");
            listeners.push((socket, all));
        }
        let socket = ben.socket().await;
        let one = socket.subscribe(UPDATES, json!({ "id": other.id }));
        app.listening(4).await;
        talk.say(ada, "Elsewhere").await;
        other.say(ada, "Here").await;
        assert_eq!(told(&socket.next(&one).await), (1, "Here".to_owned(), 2));
        // What each of them hears first is their own.
        for (stranger, (socket, all)) in [(&eve, &listeners[0]), (&cleo, &listeners[1])] {
            let own = if stranger.id == eve.id {
                Talk::between(ada.clone(), eve.clone()).await
            } else {
                Talk::between(cleo.clone(), ben.clone()).await
            };
            own.say(stranger, "Mine").await;
            assert_eq!(told(&socket.next(all).await).1, "Mine");
        }
        let (socket, all) = &listeners[2];
        socket.ping(json!({})).await;
        assert_eq!(socket.unread(all), 0, "an admin hears nothing");
    }

    async fn the_side_that_is_away_is_told_once(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let inbox = async |reader: &Person| {
            let query = "{ viewer { notifications(first: 20) { nodes { id kind title subject { ... on Claim { id } } } } } }";
            let nodes = reader.run(query, json!({})).await.data()["viewer"]["notifications"]["nodes"].clone();
            let nodes = nodes.as_array().expect("a list").clone();
            nodes.into_iter().filter(|node| node["kind"] == "MESSAGE_RECEIVED").collect::<Vec<_>>()
        };
        for body in ["One", "Two", "Three"] {
            talk.say(ada, body).await;
        }
        let told = inbox(ben).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(told[0]["title"], "Ada wrote to you about \"A logo\"");
        assert_eq!(told[0]["subject"]["id"], json!(talk.claim));
        // Read, but the entry is still there to be seen.
        talk.read(ben, 3).await.good();
        talk.say(ada, "Four").await;
        assert_eq!(inbox(ben).await.len(), 1);
        ben.mutate("markNotificationsRead", json!({ "upToId": told[0]["id"] }), "viewer { id }").await.good();
        talk.say(ada, "Five").await;
        assert_eq!(inbox(ben).await.len(), 1, "the fourth is unread still");
        talk.read(ben, 5).await.good();
        talk.say(ada, "Six").await;
        assert_eq!(inbox(ben).await.len(), 2);
        assert_eq!(inbox(ada).await.len(), 0);
    }
}
