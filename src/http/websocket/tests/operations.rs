//! How operations begin, answer and end.

use super::*;

fn error(id: &str) -> Value {
    json!({ "id": id, "type": "error", "payload": [{ "message": "no" }] })
}

#[tokio::test]
async fn an_operation_answers_and_completes() {
    let server = Server::start().await;
    let mut client = server.client("ada").await;
    client.subscribe("1", "viewer").await;
    assert_eq!([client.next().await, client.next().await], [next("1", "ada"), complete("1")]);
    client.subscribe("1", "count 3").await;
    for n in 0..3 {
        assert_eq!(client.next().await, next("1", n));
    }
    assert_eq!(client.next().await, complete("1"));
    client.subscribe("\"\\\u{7}", "mutate").await;
    server.fake.0.gate.add_permits(1);
    assert_eq!([client.next().await, client.next().await], [next("\"\\\u{7}", "done"), complete("\"\\\u{7}")]);
    client.settled().await;
}

#[tokio::test]
async fn an_error_ends_an_operation_without_complete() {
    let server = Server::start().await;
    let mut client = server.client("").await;
    client.subscribe("1", "refuse").await;
    assert_eq!(client.next().await, error("1"));
    client.subscribe("1", "break").await;
    assert_eq!([client.next().await, client.next().await], [next("1", 1), error("1")]);
    client.settled().await;
    until(&server.fake.0.live, |live| *live == 0).await;
}

#[tokio::test]
async fn a_panic_is_one_operations_masked_error() {
    let server = Server::start().await;
    let mut client = server.client("").await;
    client.subscribe("other", "forever").await;
    client.subscribe("1", "panic").await;
    assert_eq!(client.next().await, next("1", 1));
    let masked = |id: &str| {
        let error = json!({ "message": "Internal server error", "extensions": { "code": "INTERNAL_SERVER_ERROR" } });
        json!({ "id": id, "type": "error", "payload": [error] })
    };
    assert_eq!(client.next().await, masked("1"));
    client.subscribe("2", "explode").await;
    assert_eq!(client.next().await, masked("2"));
    client.settled().await;
    assert_eq!(*server.fake.0.live.borrow(), 1, "the other one goes on");
}

#[tokio::test]
async fn a_live_id_is_taken_and_a_completed_one_is_free() {
    let server = Server::start().await;
    let mut client = server.client("").await;
    client.complete("unknown").await;
    client.subscribe("1", "forever").await;
    client.complete("1").await;
    client.complete("1").await;
    client.settled().await;
    until(&server.fake.0.live, |live| *live == 0).await;
    client.subscribe("1", "forever").await;
    client.subscribe("1", "viewer").await;
    assert_eq!(client.closed().await, (4409, "Subscriber for \"1\" already exists".to_owned()));
    server.empty().await;
}

#[tokio::test]
async fn an_id_may_be_as_long_as_a_message_and_is_taken_while_it_lives() {
    let server = Server::start().await;
    for length in [256, 257, 1_000, 60_000] {
        let id = "x".repeat(length);
        let mut client = server.client("").await;
        client.complete(&id).await;
        client.subscribe(&id, "count 1").await;
        assert_eq!([client.next().await, client.next().await], [next(&id, 0), complete(&id)]);
        client.subscribe(&id, "forever").await;
        client.complete(&id).await;
        client.subscribe(&id, "forever").await;
        client.settled().await;
        client.subscribe(&id, "viewer").await;
        let (code, reason) = client.closed().await;
        assert!(code == 4409 && reason.starts_with("Subscriber for \"xxx"), "{length}: {code} {reason}");
        server.empty().await;
    }
}

#[tokio::test]
async fn long_ids_take_no_more_than_their_share() {
    let server = Server::with(|settings| settings.operations_per_socket = u32(20)).await;
    let id = |number: usize| format!("{number:060000}");
    let mut client = server.client("").await;
    for number in 0..2 {
        client.subscribe(&id(number), "forever").await;
    }
    client.settled().await;
    client.complete(&id(0)).await;
    client.subscribe(&id(8), "forever").await;
    client.settled().await;
    client.subscribe(&id(9), "forever").await;
    let expected = (1013, "Try again later: too many operations with long ids".to_owned());
    assert_eq!(client.closed().await, expected);

    let server = Server::with(|settings| settings.operations_per_socket = u32(1)).await;
    let mut client = server.client("").await;
    client.subscribe("short", "forever").await;
    client.subscribe(&id(1), "forever").await;
    assert_eq!(client.closed().await, expected);
    server.empty().await;
}

/// Over several threads: a client that answers a `complete` at once never meets an id that is not yet free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_free_by_the_time_its_client_knows() {
    let server = Server::with(|settings| settings.messages_per_minute = u32(100_000)).await;
    let mut client = server.client("").await;
    for _ in 0..2_000 {
        client.subscribe("1", "count 1").await;
        assert_eq!([client.next().await, client.next().await], [next("1", 0), complete("1")]);
    }
    client.settled().await;
}

#[tokio::test]
async fn a_completed_operation_is_silent_at_once_even_if_its_results_wait() {
    let server = Server::start().await;
    let mut client = server.client("").await;
    client.subscribe("1", "flood 1000").await;
    client.complete("1").await;
    client.subscribe("1", "viewer").await;
    // What was written before the completion was read comes first; nothing of it comes after the new answer.
    loop {
        let message = client.next().await;
        if message == next("1", "nobody") {
            break;
        }
        assert_eq!(message["type"], "next");
    }
    assert_eq!(client.next().await, complete("1"));
    client.settled().await;
}

#[tokio::test]
async fn a_mutation_is_done_even_if_its_client_no_longer_listens() {
    let server = Server::with(|settings| settings.operations_per_socket = u32(1)).await;
    let mut client = server.client("").await;
    client.subscribe("1", "mutate").await;
    client.complete("1").await;
    client.settled().await;
    assert_eq!(*server.fake.0.live.borrow(), 1);
    client.subscribe("2", "viewer").await;
    assert_eq!(client.next().await["payload"][0]["extensions"]["code"], "RATE_LIMITED", "it still counts");
    server.fake.0.gate.add_permits(1);
    until(&server.fake.0.live, |live| *live == 0).await;
    assert_eq!(*server.fake.0.mutated.borrow(), 1);
    client.settled().await;

    client.subscribe("3", "mutate").await;
    until(&server.fake.0.live, |live| *live == 1).await;
    drop(client);
    server.fake.0.gate.add_permits(1);
    server.empty().await;
    assert_eq!(*server.fake.0.mutated.borrow(), 2);
}

#[tokio::test]
async fn nothing_runs_when_the_client_vanishes() {
    let server = Server::start().await;
    let mut client = server.client("ada").await;
    for id in ["1", "2", "3"] {
        client.subscribe(id, "forever").await;
    }
    until(&server.fake.0.live, |live| *live == 3).await;
    assert_eq!(server.sockets.open(), 1);
    drop(client);
    server.empty().await;
}

#[tokio::test]
async fn ten_thousand_operations_leave_nothing_behind() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _local = ::metrics::set_default_local_recorder(&recorder);
    let value = |name: &str| {
        let text = recorder.handle().render();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok())
    };
    let server = Server::with(|settings| settings.messages_per_minute = u32(100_000)).await;
    let mut client = server.client("ada").await;
    for n in 0..10_000 {
        let id = n.to_string();
        client.subscribe(&id, "forever").await;
        client.complete(&id).await;
    }
    client.subscribe("last", "forever").await;
    client.settled().await;
    until(&server.fake.0.live, |live| *live == 1).await;
    assert_eq!(value(r#"lancewire_socket_operations{kind="subscription"}"#), Some(1.0));
    assert_eq!(value("lancewire_sockets"), Some(1.0));
    drop(client);
    server.empty().await;
    server.lifecycle.shut_down(TIME_LIMIT).await;
    assert_eq!(value(r#"lancewire_socket_operations{kind="subscription"}"#), Some(0.0));
    assert_eq!(value("lancewire_sockets"), Some(0.0));
    // Usually nothing ever waited, and there is no gauge.
    assert!(matches!(value("lancewire_socket_queue_bytes"), None | Some(0.0)));
    assert_eq!(value(r#"lancewire_socket_closes_total{code="gone"}"#), Some(1.0));
}
