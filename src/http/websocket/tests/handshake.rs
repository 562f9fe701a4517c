//! The upgrade, the messages and what is wrong with them.

use super::*;

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

fn status(refused: Result<Client, WireError>) -> u16 {
    match refused.err().expect("refused") {
        WireError::Http(response) => response.status().as_u16(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn only_graphql_transport_ws_is_spoken() {
    let server = Server::start().await;
    for offered in [&[][..], &[("sec-websocket-protocol", "graphql-ws")]] {
        let mut client = server.connect(offered).await.expect("an upgrade");
        assert_eq!(client.closed().await.0, 4406, "{offered:?}");
    }
    for offered in ["graphql-ws, graphql-transport-ws", "graphql-transport-ws,graphql-ws"] {
        let mut client = server.connect(&[("sec-websocket-protocol", offered)]).await.expect("an upgrade");
        client.send(json!({ "type": "connection_init" })).await;
        assert_eq!(client.next().await, json!({ "type": "connection_ack" }), "{offered}");
    }
    server.empty().await;
}

#[tokio::test]
async fn the_names_of_the_answer_are_spelled_as_the_standard_has_them() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let server = Server::start().await;
    let mut tcp = server.tcp().await;
    let request = "GET /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   sec-websocket-protocol: graphql-transport-ws\r\n\r\n";
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(TIME_LIMIT, tcp.read_u8()).await.expect("in time").expect("an answer"));
    }
    let head = String::from_utf8(head).expect("a text");
    for line in [
        "HTTP/1.1 101 Switching Protocols",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol: graphql-transport-ws",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    drop(tcp);
    server.empty().await;
}

#[tokio::test]
async fn pages_that_are_not_listed_stay_out_and_native_clients_come_in() {
    let server = Server::start().await;
    for bad in ["https://evil.example", "null", "https://lance.example.evil", "http://lance.example"] {
        assert_eq!(status(server.connect(&[PROTOCOL, ("origin", bad)]).await), 403, "{bad}");
    }
    let both = [PROTOCOL, ("origin", "https://lance.example"), ("origin", "https://evil.example")];
    assert_eq!(status(server.connect(&both).await), 403);
    assert!(server.connect(&[PROTOCOL, ("origin", "https://LANCE.example")]).await.is_ok());
    assert!(server.connect(&[PROTOCOL]).await.is_ok());
    server.empty().await;
}

#[tokio::test]
async fn an_invalid_message_is_4400_and_names_the_field() {
    let server = Server::start().await;
    for (message, field) in [
        (Message::text("nonsense"), "JSON"),
        (Message::text(r#"{"type":"hello"}"#), "type"),
        (Message::text(r#"{"type":"connection_init","payload":1}"#), "payload"),
        (Message::text(r#"{"type":"subscribe","payload":{"query":"count 1"}}"#), "id"),
        (Message::text(r#"{"type":"complete","id":""}"#), "id"),
        (Message::text(r#"{"type":"subscribe","id":"","payload":{"query":"viewer"}}"#), "id"),
        (Message::binary(&br#"{"type":"ping"}"#[..]), "binary"),
        (Message::text(format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(70_000))), "too large"),
    ] {
        let mut client = server.open().await;
        client.send_raw(message).await;
        let (code, reason) = client.closed().await;
        assert_eq!(code, 4400, "{field}");
        assert!(reason.contains(field) && reason.len() <= 123, "{reason}");
    }
    server.empty().await;
}

#[tokio::test]
async fn a_handshake_out_of_order_is_told_so() {
    let server = Server::with(|settings| settings.init_timeout_ms = u64(50)).await;
    assert_eq!(server.open().await.closed().await.0, 4408);

    let server = Server::start().await;
    let mut client = server.open().await;
    client.subscribe("1", "viewer").await;
    assert_eq!(client.closed().await.0, 4401);

    let mut client = server.client("").await;
    client.send(json!({ "type": "connection_init" })).await;
    assert_eq!(client.closed().await.0, 4429);

    let mut client = server.open().await;
    client.send(json!({ "type": "connection_init", "payload": { "authToken": "slow" } })).await;
    client.subscribe("1", "viewer").await;
    assert_eq!(client.closed().await.0, 4401, "not acknowledged yet");

    let mut client = server.open().await;
    client.send(json!({ "type": "connection_init", "payload": { "authToken": "slow" } })).await;
    client.settled().await;
    client.send(json!({ "type": "connection_init" })).await;
    assert_eq!(client.closed().await.0, 4429, "also while the first is looked at");
    server.empty().await;
}

#[tokio::test]
async fn the_clients_pings_are_answered_before_and_after_the_acknowledgement() {
    let server = Server::start().await;
    let mut client = server.open().await;
    client.settled().await;
    client.send(json!({ "type": "ping", "payload": { "authToken": "ada" } })).await;
    assert_eq!(client.next().await, json!({ "type": "pong" }), "nothing to renew, and a token is never echoed");
    client.send(json!({ "type": "connection_init", "payload": null })).await;
    assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
    client.send(json!({ "type": "ping", "payload": { "n": [1] } })).await;
    assert_eq!(client.next().await, json!({ "type": "pong", "payload": { "n": [1] } }));
    client.send(json!({ "type": "ping", "payload": { "n": "x".repeat(1024) } })).await;
    assert_eq!(client.next().await, json!({ "type": "pong" }));
    client.send_raw(Message::Ping("frame".into())).await;
    assert_eq!(client.next_raw().await, Message::Pong("frame".into()));
}

#[tokio::test]
async fn a_clients_goodbye_is_answered() {
    let server = Server::start().await;
    let mut client = server.client("ada").await;
    client.subscribe("1", "forever").await;
    client.send_raw(Message::Close(None)).await;
    assert_eq!(client.next_raw().await, Message::Close(None));
    server.empty().await;
}
