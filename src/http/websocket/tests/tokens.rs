//! Who is at the other end, for how long, and what ends it.

use super::*;

async fn refused(server: &Server, payload: Value) -> (u16, String) {
    let mut client = server.open().await;
    client.send(json!({ "type": "connection_init", "payload": payload })).await;
    client.closed().await
}

async fn viewer(client: &mut Client) -> Value {
    client.subscribe("who", "viewer").await;
    let answer = client.next().await;
    assert_eq!(client.next().await, complete("who"));
    answer["payload"]["data"].clone()
}

#[tokio::test]
async fn a_bad_token_is_4403_and_never_anonymous() {
    let server = Server::start().await;
    for payload in [
        json!({ "authToken": "forged" }),
        json!({ "authToken": 7 }),
        json!({ "authToken": ["ada"] }),
        json!({ "Authorization": { "Bearer": "ada" } }),
        json!({ "Authorization": 7, "authToken": "ada" }),
        json!({ "Authorization": "Bearer forged" }),
        json!({ "Authorization": "Bearer undefined" }),
        json!({ "authorization": "ada" }),
    ] {
        assert_eq!(refused(&server, payload.clone()).await, (4403, "Forbidden".to_owned()), "{payload}");
    }
    let mut client = server.client("ada").await;
    client.send(json!({ "type": "ping", "payload": { "authToken": 7 } })).await;
    assert_eq!(client.closed().await.0, 4403, "in a ping, too");
    for payload in [json!({ "Authorization": "" }), json!({ "authToken": " " }), json!({ "authorization": "Bearer" })] {
        let mut client = server.open().await;
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.next().await, json!({ "type": "connection_ack" }), "nothing is nobody: {payload}");
    }
    assert_eq!(refused(&server, json!({ "authToken": "down" })).await.0, 1013);
    assert_eq!(refused(&server, json!({ "authToken": "boom" })).await.0, 1012, "a bug of ours");
    server.empty().await;
}

#[tokio::test]
async fn the_payloads_token_beats_the_headers() {
    let server = Server::start().await;
    let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
    for (header, payload, expected) in [
        ("Bearer ben", json!({ "Authorization": "Bearer ada" }), "ada"),
        ("Bearer forged", json!({ "authorization": "bearer ada" }), "ada"),
        ("Basic x", json!({ "authToken": "ada" }), "ada"),
        ("Bearer ben", json!({ "authToken": null }), "ben"),
        ("Bearer ben", json!(null), "ben"),
    ] {
        let mut client = server.connect(&[protocol, ("authorization", header)]).await.expect("an upgrade");
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
        assert_eq!(viewer(&mut client).await, expected);
    }
    for header in ["Bearer forged", "Basic x"] {
        let mut client = server.connect(&[protocol, ("authorization", header)]).await.expect("an upgrade");
        client.send(json!({ "type": "connection_init" })).await;
        assert_eq!(client.closed().await.0, 4403);
    }
    for payload in [json!({ "authToken": "" }), json!({ "Authorization": "" }), json!({ "authorization": "  " })] {
        let mut client = server.connect(&[protocol, ("authorization", "")]).await.expect("an upgrade");
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
        assert_eq!(viewer(&mut client).await, "nobody", "an empty value is one that was not sent");
    }
}

#[tokio::test]
async fn the_place_to_resume_from_is_the_handshakes_and_stays() {
    let server = Server::start().await;
    for (after, expected) in
        [(json!("c1"), "Cursor(\"c1\")"), (json!(""), "Absent"), (json!(null), "Absent"), (json!(7), "Malformed")]
    {
        let mut client = server.open().await;
        let payload = json!({ "authToken": "ada", "after": after });
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
        let payload = json!({ "authToken": "ada again", "after": "c2" });
        client.send(json!({ "type": "ping", "payload": payload })).await;
        assert_eq!(client.next().await["type"], "pong");
        client.subscribe("1", "position").await;
        assert_eq!([client.next().await, client.next().await], [next("1", expected), complete("1")]);
    }
}

#[tokio::test]
async fn a_mutation_that_runs_when_its_token_ends_still_answers_and_nothing_else_does() {
    let server = Server::start().await;
    for (ends, reason) in [("revoke", "token revoked"), ("forged", ""), ("ben", "token of another user")] {
        let mut client = server.client("ada").await;
        client.subscribe("change", "mutate").await;
        client.subscribe("feed", "forever").await;
        until(&server.fake.0.live, |live| *live == 2).await;
        match ends {
            "revoke" => server.fake.revoke("ada"),
            token => client.send(json!({ "type": "ping", "payload": { "authToken": token } })).await,
        }
        until(&server.fake.0.live, |live| *live == 1).await;
        client.subscribe("late", "viewer").await;
        client.send(json!({ "type": "ping", "payload": { "authToken": "ada again" } })).await;
        client.settled().await;
        server.fake.0.gate.add_permits(1);
        assert_eq!([client.next().await, client.next().await], [next("change", "done"), complete("change")]);
        let (code, why) = client.closed().await;
        assert!(code == 4403 && why.ends_with(reason), "{code} {why}");
        server.empty().await;
    }
}

#[tokio::test]
async fn an_expired_or_revoked_token_ends_the_socket_and_anonymous_ones_stay() {
    let server = Server::start().await;
    let (mut ada, mut ben, mut nobody) =
        (server.client("ada").await, server.client("ben").await, server.client("").await);
    ben.subscribe("1", "forever").await;
    ben.settled().await;
    server.fake.revoke("ben");
    assert_eq!(ben.closed().await, (4403, "Forbidden: token revoked".to_owned()));
    ada.settled().await;
    server.clock.advance(Duration::from_mins(1));
    assert_eq!(ada.closed().await, (4403, "Forbidden: token expired".to_owned()));
    nobody.settled().await;
    drop((ada, ben, nobody));
    server.empty().await;
}

#[tokio::test]
async fn a_fresh_token_in_a_ping_keeps_the_socket() {
    let server = Server::start().await;
    let mut client = server.client("ada").await;
    client.send(json!({ "type": "ping", "payload": { "Authorization": "Bearer ada again" } })).await;
    let expected = json!({ "type": "pong", "payload": { "expiresAt": "2023-11-14T22:15:20.000Z" } });
    assert_eq!(client.next().await, expected);
    client.send(json!({ "type": "ping", "payload": { "authToken": "down" } })).await;
    assert_eq!(client.next().await, expected, "nothing renewed, nothing lost");
    server.clock.advance(Duration::from_mins(1));
    server.fake.revoke("ada");
    assert_eq!(viewer(&mut client).await, "ada again", "new operations run for the new viewer");
    server.clock.advance(Duration::from_mins(1));
    assert_eq!(client.closed().await.0, 4403);
    server.empty().await;
}

#[tokio::test]
async fn a_socket_never_changes_its_user() {
    let server = Server::start().await;
    for (first, second) in [("ada", "ben"), ("", "ada"), ("ada", "forged")] {
        let mut client = server.client(first).await;
        client.send(json!({ "type": "ping", "payload": { "authToken": second } })).await;
        assert_eq!(client.closed().await.0, 4403, "{first} and then {second}");
    }
    server.empty().await;
}

#[tokio::test]
async fn a_token_that_takes_long_holds_up_nothing_else() {
    let server = Server::start().await;
    let mut client = server.open().await;
    client.send(json!({ "type": "connection_init", "payload": { "authToken": "slow" } })).await;
    client.settled().await;
    server.fake.0.gate.add_permits(1);
    assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
}
