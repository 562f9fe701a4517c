//! Numbers without holes, messages that are sent twice, edits, deletions, markers, and what cannot be used.

use futures_util::future::join_all;
use lancewire::db::Backend;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{Talk, delete, edit};
use crate::{
    on_both,
    support::people::{Person, fresh_key, text},
};

on_both! {
    async fn messages_are_numbered_without_holes_whoever_sends_at_once(app: TestApp) {
        let talk = Talk::begin(&app).await;
        assert_eq!(talk.get(&talk.ben, "version lastMessage { id } unreadCount messages { nodes { id } }").await,
            json!({ "version": 1, "lastMessage": null, "unreadCount": 0, "messages": { "nodes": [] } }));
        let senders = (0..20).map(|number| (if number % 2 == 0 { &talk.ada } else { &talk.ben }, number.to_string()));
        join_all(senders.map(async |(sender, body)| talk.say(sender, &body).await)).await;
        let all = talk.all(&talk.ada).await;
        assert!(all.iter().map(|(number, _)| *number).eq(1..=20), "{all:?}");
        let mut bodies: Vec<i32> = all.iter().map(|(_, body)| body.parse().expect("a number")).collect();
        bodies.sort_unstable();
        assert!(bodies.into_iter().eq(0..20));
        assert_eq!(talk.get(&talk.ada, "version lastMessage { number }").await,
            json!({ "version": 21, "lastMessage": { "number": 20 } }));
        // Paged by their number, from either end.
        let page = talk.get(&talk.ben, "messages(last: 3) { pageInfo { hasPreviousPage hasNextPage startCursor } nodes { number } }").await;
        assert_eq!(page["messages"]["nodes"], json!([{ "number": 18 }, { "number": 19 }, { "number": 20 }]));
        let before = text(&page, "/messages/pageInfo/startCursor");
        let page = talk.get(&talk.ben, &format!("messages(last: 2, before: {before:?}) {{ nodes {{ number }} }}")).await;
        assert_eq!(page["messages"]["nodes"], json!([{ "number": 16 }, { "number": 17 }]));
    }

    async fn a_message_that_is_sent_twice_is_one(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let key = fresh_key();
        let answers = join_all((0..10).map(|_| talk.send(ada, &key, "Hello"))).await;
        let ids: Vec<Value> = answers.into_iter().map(|answer| answer.good()["message"]["id"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(talk.all(ben).await, [(1, "Hello".to_owned())]);
        let error = talk.send(ada, &key, "Something else").await.refused("IDEMPOTENCY_KEY_REUSED");
        assert_eq!((&error["__typename"], &error["path"]), (&json!("IdempotencyError"), &json!(["input", "clientId"])));
        assert_eq!(talk.send(ben, &key, "Mine").await.good()["message"]["number"], 2, "each sender has names of their own");
        // What it became meanwhile is what is answered; and a name is used once, in whatever conversation.
        let first = json!({ "id": ids[0] });
        edit(ada, &first, "Hello, Ben", None).await.good();
        assert_eq!(talk.send(ada, &key, "Hello").await.good()["message"]["body"], "Hello, Ben");
        let other = Talk::between(ada.clone(), ben.clone()).await;
        other.send(ada, &key, "Hello").await.refused("IDEMPOTENCY_KEY_REUSED");
        assert_eq!(other.all(ada).await, []);
    }

    async fn a_message_is_edited_and_deleted_by_its_sender_alone(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let message = talk.say(ada, "Helo").await;
        assert_eq!((&message["version"], &message["editedAt"]), (&json!(1), &Value::Null));
        edit(ben, &message, "Hello", None).await.refused("NOT_FOUND");
        delete(ben, &message).await.refused("NOT_FOUND");
        let error = edit(ada, &message, "Hello", Some(7)).await.refused("VERSION_CONFLICT");
        assert_eq!(error["path"], json!(["input", "expectedVersion"]));
        let edited = edit(ada, &message, "Hello", Some(1)).await.good();
        assert_eq!((&edited["message"]["version"], &edited["message"]["body"]), (&json!(2), &json!("Hello")));
        assert!(edited["message"]["editedAt"].is_string(), "{edited}");
        assert_eq!(edited["conversation"]["version"], 3);
        let deleted = delete(ada, &message).await.good();
        assert_eq!((&deleted["message"]["body"], &deleted["message"]["number"]), (&json!(""), &json!(1)));
        assert_eq!(deleted["conversation"]["version"], 4);
        assert_eq!(delete(ada, &message).await.good()["conversation"]["version"], 4, "once is enough");
        edit(ada, &message, "Again", None).await.refused("INVALID");
        assert_eq!(talk.all(ben).await, [(1, String::new())], "its number stays");
        assert_eq!(talk.say(ben, "What was that?").await["number"], 2);
    }

    async fn markers_only_grow_and_count_what_is_unread(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        for body in ["One", "Two", "Three"] {
            talk.say(ada, body).await;
        }
        let unread = async |reader: &Person| talk.get(reader, "unreadCount").await["unreadCount"].clone();
        assert_eq!((unread(ada).await, unread(ben).await), (json!(0), json!(3)));
        let read = talk.read(ben, 2).await.good();
        assert_eq!((&read["conversation"]["unreadCount"], &read["conversation"]["version"]), (&json!(1), &json!(5)));
        let again = talk.read(ben, 1).await.good();
        assert_eq!((&again["conversation"]["unreadCount"], &again["conversation"]["version"]), (&json!(1), &json!(5)));
        let markers = json!([{ "user": { "id": ada.id }, "number": 3 }, { "user": { "id": ben.id }, "number": 2 }]);
        assert_eq!(talk.get(ada, "readMarkers { user { id } number }").await["readMarkers"], markers);
        join_all((1..=3).map(|number| talk.read(ben, number))).await.into_iter().for_each(|read| drop(read.good()));
        assert_eq!((unread(ben).await, talk.get(ada, "version").await["version"].clone()), (json!(0), json!(6)));
        talk.say(ben, "Four").await;
        assert_eq!((unread(ada).await, unread(ben).await), (json!(1), json!(0)), "who writes has read");
        for number in [0, -1, 5, i32::MAX] {
            assert_eq!(talk.read(ada, number).await.refused("INVALID")["path"], json!(["input", "upToNumber"]));
        }
    }

    async fn what_cannot_be_used_changes_nothing(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, .. } = &talk;
        let message = talk.say(ada, "Hello").await;
        let good = |body: &str| json!({ "conversationId": talk.id, "clientId": fresh_key(), "body": body });
        for (field, value) in [
            ("body", json!("")), ("body", json!(" \n ")), ("body", json!("a\u{0}b")), ("body", json!("\u{200B}")),
            ("body", json!("x".repeat(4_001))), ("body", json!("a\u{202E}b")),
            ("clientId", json!("")), ("clientId", json!("a b")), ("clientId", json!("é")), ("clientId", json!("x".repeat(101))),
        ] {
            let mut input = good("Hello again");
            input[field] = value.clone();
            let error = ada.mutate("sendMessage", input, "message { id }").await.refused("INVALID");
            assert_eq!(error["path"], json!(["input", field]), "{value}");
        }
        for body in ["", "a\u{7}", &"x".repeat(4_001)] {
            assert_eq!(edit(ada, &message, body, None).await.refused("INVALID")["path"], json!(["input", "body"]));
        }
        for id in ["", "conversation_", &talk.claim, &ada.id, "'; DROP TABLE messages; --"] {
            let mut input = good("Hello again");
            input["conversationId"] = json!(id);
            ada.mutate("sendMessage", input, "message { id }").await.refused("NOT_FOUND");
        }
        assert_eq!(talk.all(ada).await, [(1, "Hello".to_owned())]);
        assert_eq!(talk.say(ada, &format!("{}\n\t{}", "é".repeat(3_990), "👩\u{200D}💻")).await["number"], 2);
    }

    async fn the_database_itself_holds_each_rule(app: TestApp) {
        let talk = Talk::begin(&app).await;
        talk.say(&talk.ada, "One").await;
        talk.say(&talk.ada, "Two").await;
        for sql in [
            "UPDATE messages SET number = 1",
            "UPDATE messages SET number = 0 WHERE number = 1",
            "UPDATE messages SET client_id = 'the same'",
            "UPDATE messages SET body = ''",
            "UPDATE messages SET deleted_at = sent_at",
            "UPDATE messages SET sender_id = {fresh}",
            "UPDATE conversations SET client_read = 3",
            "UPDATE conversations SET last_number = 1",
            "UPDATE conversations SET version = 0",
        ] {
            let refused = app.app.db.writer().execute_unprepared(&app.db_dialect(sql)).await;
            assert!(refused.is_err(), "{sql}");
        }
    }

    async fn one_side_sends_sixty_a_minute_and_no_more(app: TestApp) {
        let talk = Talk::begin(&app).await;
        for _ in 0..6 {
            join_all((0..10).map(|_| talk.say(&talk.ada, "Again"))).await;
        }
        let error = talk.send(&talk.ada, &fresh_key(), "And again").await.refused("TOO_MANY_ATTEMPTS");
        assert_eq!(error["__typename"], "TooManyAttemptsError");
        assert_eq!(talk.say(&talk.ben, "Enough").await["number"], 61, "the other side has its own count");
    }

    async fn a_conversation_closes_thirty_days_after_its_claim_and_can_be_read(app: TestApp) {
        let talk = Talk::begin(&app).await;
        let Talk { ada, ben, .. } = &talk;
        let message = talk.say(ada, "Hello").await;
        let late = talk.send(ben, "late", "In time").await.good();
        ben.release(&talk.claim).await.good();
        talk.say(ben, "Sorry").await;
        // Back door: the claim ended long ago.
        app.db_tampered("7 what an event says of a claim").await;
        app.db_run(match app.app.db.backend() {
            Backend::Sqlite => "UPDATE claims SET ended_at = replace(ended_at, substr(ended_at, 1, 4), '2001') WHERE ended_at IS NOT NULL",
            Backend::Postgres => "UPDATE claims SET ended_at = ended_at - interval '31 days' WHERE ended_at IS NOT NULL",
        }).await;
        for sender in [ada, ben] {
            let error = talk.send(sender, &fresh_key(), "Too late").await.refused("INVALID");
            assert_eq!(error["path"], json!(["input", "conversationId"]));
        }
        assert_eq!(talk.send(ben, "late", "In time").await.good()["message"]["id"], late["message"]["id"], "what was sent in time was sent");
        assert_eq!(talk.all(ada).await.len(), 3);
        talk.read(ada, 3).await.good();
        delete(ada, &message).await.good();
    }

    async fn conversations_of_both_roles_are_listed_by_their_activity(app: TestApp) {
        let ada = Person::sign_up(&app, "Ada", &["CLIENT", "FREELANCER"]).await.funded("1000.00").await;
        let ben = Person::sign_up(&app, "Ben", &["CLIENT", "FREELANCER"]).await.funded("1000.00").await;
        let one = Talk::between(ada.clone(), ben.clone()).await;
        let two = Talk::between(ben.clone(), ada.clone()).await;
        let three = Talk::between(ada.clone(), ben.clone()).await;
        let fields = "pageInfo { hasNextPage endCursor } nodes { id lastMessage { body } unreadCount participants { displayName } }";
        let list = async |reader: &Person, arguments: &str| {
            let reply = reader.run(&format!("{{ viewer {{ conversations{arguments} {{ {fields} }} }} }}"), json!({})).await;
            reply.data()["viewer"]["conversations"].clone()
        };
        let ids = |page: &Value| page["nodes"].as_array().expect("a list").iter().map(|of| text(of, "/id")).collect::<Vec<_>>();
        assert_eq!(ids(&list(&ada, "").await), [&three.id, &two.id, &one.id].map(Clone::clone));
        two.say(&ben, "First").await;
        one.say(&ben, "Second").await;
        let page = list(&ada, "(first: 2)").await;
        assert_eq!(ids(&page), [&one.id, &two.id].map(Clone::clone));
        assert_eq!(page["nodes"][0]["lastMessage"]["body"], "Second");
        assert_eq!(page["nodes"][0]["unreadCount"], 1);
        assert_eq!(page["nodes"][1]["participants"], json!([{ "displayName": "Ben" }, { "displayName": "Ada" }]), "the client first");
        assert_eq!(page["pageInfo"]["hasNextPage"], true);
        let rest = list(&ada, &format!("(first: 2, after: {:?})", text(&page, "/pageInfo/endCursor"))).await;
        assert_eq!((ids(&rest), &rest["pageInfo"]["hasNextPage"]), (vec![three.id.clone()], &json!(false)));
        assert_eq!(ids(&list(&ada, "(last: 1)").await), std::slice::from_ref(&three.id));
    }
}
