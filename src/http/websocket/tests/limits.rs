//! Too much, too slow, too quiet, and the end of the process.

use super::*;

fn code(error: &Value) -> &Value {
    &error["payload"][0]["extensions"]["code"]
}

#[tokio::test]
async fn too_many_messages_are_1013() {
    let server = Server::with(|settings| settings.messages_per_minute = u32(3)).await;
    let mut client = server.client("").await;
    client.settled().await;
    client.settled().await;
    client.send(json!({ "type": "pong" })).await;
    assert_eq!(client.closed().await, (1013, "Try again later: too many messages".to_owned()));
    server.empty().await;
}

#[tokio::test]
async fn an_operation_too_many_is_refused_and_the_socket_lives() {
    let server = Server::with(|settings| settings.operations_per_socket = u32(2)).await;
    let mut client = server.client("").await;
    client.subscribe("1", "forever").await;
    client.subscribe("2", "forever").await;
    for n in 0..200 {
        client.subscribe(&format!("more {n}"), "forever").await;
    }
    for n in 0..200 {
        let error = client.next().await;
        assert_eq!((&error["id"], &error["type"]), (&json!(format!("more {n}")), &json!("error")));
        assert_eq!(code(&error), "RATE_LIMITED");
    }
    client.complete("1").await;
    client.subscribe("3", "viewer").await;
    assert_eq!([client.next().await, client.next().await], [next("3", "nobody"), complete("3")]);
}

#[tokio::test]
async fn a_user_and_an_address_have_so_many_sockets() {
    let server = Server::with(|settings| {
        settings.sockets_per_user = u32(1);
        settings.sockets_per_address = u32(3);
    })
    .await;
    let ada = server.client("ada").await;
    let mut again = server.open().await;
    again.send(json!({ "type": "connection_init", "payload": { "authToken": "ada" } })).await;
    assert_eq!(again.closed().await.0, 1013);
    drop(again);
    let ben = server.client("ben").await;
    let nobody = server.client("").await;
    // A page can read a close code and no status; but those who do not even close cannot pile up.
    let mut turned_away = Vec::new();
    for _ in 0..8 {
        turned_away.push(server.open().await);
    }
    let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
    match server.connect(&[protocol]).await.err().expect("refused") {
        WireError::Http(response) => {
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["retry-after"], "10");
            let body: Value = serde_json::from_slice(response.body().as_deref().unwrap()).expect("JSON");
            assert_eq!(body["errors"][0]["extensions"]["code"], "RATE_LIMITED");
        }
        other => panic!("{other}"),
    }
    let full = (1013, "Try again later: too many sockets from this address".to_owned());
    for client in &mut turned_away {
        client.send(json!({ "type": "connection_init" })).await;
        assert_eq!(client.closed().await, full, "and nothing is served on it");
    }
    drop(turned_away);
    let mut again = server.open().await;
    assert_eq!(again.closed().await, full, "there is room to tell the next one");
    drop((ada, ben, nobody));
    server.empty().await;
    drop(server.client("ada").await);
}

#[tokio::test]
async fn a_result_larger_than_the_queue_is_an_error_of_its_operation() {
    let server = Server::with(|settings| settings.queue_bytes = u32(20_000)).await;
    let mut client = server.client("").await;
    client.subscribe("1", "size 20000").await;
    assert_eq!(code(&client.next().await), "OPERATION_TOO_COMPLEX");
    client.subscribe("1", "size 19000").await;
    assert_eq!(client.next().await["type"], "next");
    assert_eq!(client.next().await, complete("1"));
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_own_results_and_nothing_else() {
    let server = Server::with(|settings| settings.queue_bytes = u32(100_000)).await;
    let mut client = server.client("").await;
    client.subscribe("1", "flood 10000").await;
    // No byte is read from here on, and everything that was sent is still received.
    let mut made = server.fake.0.made.subscribe();
    for n in 0..10 {
        client.subscribe(&format!("m{n}"), "mutate").await;
        server.fake.0.gate.add_permits(1);
        until(&server.fake.0.mutated, |mutated| *mutated == n + 1).await;
    }
    // The flood stands still once the queue and the kernel's buffers are full.
    while timeout(Duration::from_millis(200), made.changed()).await.is_ok() {}
    assert!(*made.borrow() < 2_000, "{} results of 10 kB were made for nobody", *made.borrow());
    client.complete("1").await;
    until(&server.fake.0.live, |live| *live <= 10).await;
    let mut results = 0;
    while results < 10 {
        let message = client.next().await;
        results += u32::from(message["type"] == "complete");
    }
    client.settled().await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_1013() {
    let server = Server::with(|settings| settings.write_timeout_ms = u64(100)).await;
    let mut client = server.client("ada").await;
    client.subscribe("1", "flood 100000").await;
    until(&server.fake.0.live, |live| *live == 1).await;
    until(&server.fake.0.live, |live| *live == 0).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 1013, "{reason}");
    server.empty().await;
}

#[tokio::test]
async fn the_server_pings_and_a_silent_peer_is_dropped() {
    let server = Server::with(|settings| settings.ping_interval_ms = u64(50)).await;
    let mut client = server.client("ada").await;
    client.subscribe("1", "forever").await;
    for _ in 0..4 {
        assert_eq!(client.next().await, json!({ "type": "ping", "payload": { "viewer": "ada" } }));
        client.send(json!({ "type": "pong" })).await;
    }
    let mut pings = 0;
    let dropped = loop {
        match timeout(TIME_LIMIT, client.socket.next()).await.expect("in time") {
            Some(Ok(Message::Text(_))) => pings += 1,
            other => break other,
        }
    };
    assert!(pings <= 2, "{pings} pings without a word");
    assert!(matches!(dropped, Some(Err(_)) | None), "no goodbye: {dropped:?}");
    server.empty().await;
}

#[tokio::test]
async fn a_stopping_server_sends_everyone_home_and_finishes_mutations() {
    let server = Server::start().await;
    let mut watching = server.client("ada").await;
    watching.subscribe("1", "forever").await;
    let mut opened = server.open().await;
    let mut changing = server.client("ben").await;
    changing.subscribe("1", "mutate").await;
    changing.subscribe("2", "forever").await;
    until(&server.fake.0.live, |live| *live == 3).await;

    server.lifecycle.stop();
    let restart = (1012, "Service restart".to_owned());
    assert_eq!(watching.closed().await, restart);
    assert_eq!(opened.closed().await, restart);
    until(&server.fake.0.live, |live| *live == 1).await;
    changing.subscribe("3", "viewer").await;
    changing.settled().await;
    server.fake.0.gate.add_permits(1);
    assert_eq!([changing.next().await, changing.next().await], [next("1", "done"), complete("1")]);
    assert_eq!(changing.closed().await, restart);
    let late = server.connect(&[("sec-websocket-protocol", "graphql-transport-ws")]).await;
    assert!(matches!(late.err(), Some(WireError::Http(response)) if response.status() == 503));
    assert!(server.lifecycle.shut_down(TIME_LIMIT).await, "all left by themselves");
    server.empty().await;
}

#[tokio::test]
async fn an_old_socket_leaves_as_for_a_restart_and_finishes_its_mutation() {
    let server = Server::with(|settings| {
        settings.max_age_ms = 300;
        settings.ping_interval_ms = u64(500);
    })
    .await;
    let mut changing = server.client("ben").await;
    changing.subscribe("1", "mutate").await;
    changing.subscribe("2", "forever").await;
    until(&server.fake.0.live, |live| *live == 2).await;
    // Without a word from us: the server has come to its first ping.
    until(&server.fake.0.live, |live| *live == 1).await;
    server.fake.0.gate.add_permits(1);
    assert_eq!([changing.next().await, changing.next().await], [next("1", "done"), complete("1")]);
    assert_eq!(changing.closed().await, (1012, "Service restart".to_owned()));
    server.empty().await;
    assert!(!server.lifecycle.is_stopping());
}

#[tokio::test]
async fn a_new_operation_on_a_stopping_server_is_sent_elsewhere() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(server.client("").await);
    }
    server.lifecycle.stop();
    // Whether or not its turn has come.
    let mut last = clients.pop().expect("fifty");
    last.subscribe("1", "viewer").await;
    match last.next_raw().await {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1012),
        other => panic!("{other:?}"),
    }
    drop(clients);
    server.empty().await;
}

#[tokio::test]
async fn a_mutation_that_does_not_end_holds_the_process_no_longer_than_the_drain_time() {
    let server = Server::with(|settings| settings.drain_ms = u64(100)).await;
    let mut client = server.client("").await;
    client.subscribe("1", "mutate").await;
    until(&server.fake.0.live, |live| *live == 1).await;
    server.lifecycle.stop();
    assert_eq!(client.closed().await.0, 1012);
    assert!(!server.lifecycle.shut_down(Duration::from_millis(50)).await, "it is cut off by the hard end only");
    assert_eq!(*server.fake.0.live.borrow(), 0);
}
