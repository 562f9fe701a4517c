//! What the bytes must be: those that were promised, of the type that was promised, and without a virus.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{PNG, claimed, kept, send};
use crate::{
    on_both,
    support::{
        app::{Database, TestApp},
        http::Reply,
        people::{path_of, text},
    },
};

on_both! {
    async fn bytes_that_were_not_promised_change_nothing(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let (id, target) = (text(&reserved, "/file/id"), &reserved["target"]);
        let mut others = PNG.to_vec();
        others[20] ^= 1;
        let hash = send(&ben, target, &others).await;
        assert_eq!(hash.status, StatusCode::UNPROCESSABLE_ENTITY, "{hash}");
        assert!(text(&hash.body, "/errors/0/message").contains("SHA-256"), "{hash}");
        for bytes in [&PNG[1..], &[PNG, b"x"].concat()] {
            let size = send(&ben, target, bytes).await;
            assert_eq!(size.status, StatusCode::BAD_REQUEST, "{size}");
            assert!(text(&size.body, "/errors/0/message").contains("Content-Length must be"), "{size}");
        }
        let path = path_of(&text(target, "/url"));
        let put = |name: &str, value: &str| app.http.request(Method::PUT, &path).header(name, value).body(PNG.to_vec());
        for (name, value) in [("content-type", "text/html"), ("accept", "*/*"), ("content-encoding", "gzip")] {
            let refused = Reply::of(put(name, value)).await;
            assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{refused}");
        }
        assert_eq!(ben.file(&id).await["status"], "PENDING");
        assert_eq!(kept(&app), (0, 0), "nothing is left behind");

        // The link is still good, once.
        assert_eq!(send(&ben, target, PNG).await.status, StatusCode::NO_CONTENT);
        assert_eq!(ben.file(&id).await["status"], "READY");
        let again = send(&ben, target, PNG).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{again}");
        assert_eq!(kept(&app), (1, 0));
    }

    async fn bytes_of_another_type_make_a_file_rejected(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let claim = claimed(&ada, &ben).await;
        let zip = b"PK\x05\x06\0\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0";
        let page = "<!DOCTYPE html><script>alert(1)</script>";
        for (name, content_type, bytes, why) in [
            ("a.png", "image/png", page.as_bytes().to_vec(), "not image/png"),
            ("a.png", "image/png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>".to_vec(), "not image/png"),
            ("a.jpg", "image/jpeg", PNG.to_vec(), "not image/jpeg"),
            ("a.txt", "text/plain", page.as_bytes().to_vec(), "not text/plain"),
            ("a.txt", "text/plain", b"#!/bin/sh\n".to_vec(), "not text/plain"),
            ("a.txt", "text/plain", b"MZ\x90\0\x03".to_vec(), "not text/plain"),
            ("a.png", "image/png", [PNG, zip].concat(), "a ZIP as well"),
            ("a.png", "image/png", [PNG, page.as_bytes()].concat(), "a page or a script"),
            ("a.gif", "image/gif", b"GIF89a/*%PDF-1.4".to_vec(), "a PDF as well"),
        ] {
            let reserved = ben.reserve(name, content_type, &bytes).await.good();
            let refused = send(&ben, &reserved["target"], &bytes).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
            assert!(text(&refused.body, "/errors/0/message").contains(why), "{refused}");
            let file = ben.file(&text(&reserved, "/file/id")).await;
            assert_eq!((&file["status"], &file["downloadUrl"]), (&json!("REJECTED"), &Value::Null), "{why}");
            // For good: the same bytes could only be refused again.
            assert_eq!(send(&ben, &reserved["target"], &bytes).await.status, StatusCode::CONFLICT);
            let handed_in = ben.submit_files(&claim, &[text(&file, "/id")]).await.refused("FILE_REJECTED");
            assert_eq!(handed_in["path"], json!(["input", "fileIds", "0"]));
        }
        assert_eq!(kept(&app), (0, 0));
        assert_eq!(app.db_number("SELECT MAX(bytes) FROM file_quotas").await, 0, "what is refused takes no room");
    }
}

/// A clamd that answers each stream with the next of these lines, or with nothing.
async fn clamd(answers: &'static [&'static str]) -> (String, tokio::task::JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("tcp:{}", listener.local_addr().expect("an address"));
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let serving = tokio::spawn(async move {
        let mut sizes = Vec::new();
        for answer in answers {
            let (mut client, _) = listener.accept().await.expect("a client");
            let mut command = [0; 10];
            client.read_exact(&mut command).await.expect("a command");
            assert_eq!(&command, b"zINSTREAM\0");
            let mut size = 0;
            loop {
                let length = client.read_u32().await.expect("a length") as usize;
                if length == 0 {
                    break;
                }
                let mut piece = vec![0; length];
                client.read_exact(&mut piece).await.expect("a piece");
                size += length;
            }
            sizes.push(size);
            client.write_all(answer.as_bytes()).await.expect("answered");
        }
        sizes
    });
    (address, serving)
}

async fn nothing_is_ready_that_the_scanner_has_not_passed(database: Database) {
    let answers = &["INSTREAM size limit exceeded. ERROR\0", "", "stream: OK\0", "stream: Eicar-Test FOUND\0"];
    let (address, serving) = clamd(answers).await;
    let settings = format!("[files]\nscanner = \"{address}\"\nscan_timeout_ms = 10000");
    let app = TestApp::start_with(database, &settings, lancewire::clock::Clock::system()).await;
    let ben = app.freelancer("Ben").await;
    let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
    for _ in 0..2 {
        let unclear = send(&ben, &reserved["target"], PNG).await;
        assert_eq!(unclear.status, StatusCode::SERVICE_UNAVAILABLE, "{unclear}");
        assert_eq!(ben.file(&text(&reserved, "/file/id")).await["status"], "PENDING");
        assert_eq!(kept(&app), (0, 0));
    }
    assert_eq!(send(&ben, &reserved["target"], PNG).await.status, StatusCode::NO_CONTENT);
    let infected = ben.reserve("b.png", "image/png", PNG).await.good();
    let found = send(&ben, &infected["target"], PNG).await;
    assert_eq!(found.status, StatusCode::UNPROCESSABLE_ENTITY, "{found}");
    assert!(text(&found.body, "/errors/0/message").contains("Eicar-Test"), "{found}");
    assert_eq!(ben.file(&text(&infected, "/file/id")).await["status"], "REJECTED");
    assert_eq!(serving.await.expect("served"), [PNG.len(); 4], "it gets all of the bytes");
    // It is away.
    let reserved = ben.reserve("c.png", "image/png", PNG).await.good();
    assert_eq!(send(&ben, &reserved["target"], PNG).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(kept(&app), (1, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scanner_is_asked_sqlite() {
    nothing_is_ready_that_the_scanner_has_not_passed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scanner_is_asked_postgres() {
    nothing_is_ready_that_the_scanner_has_not_passed(Database::Postgres).await;
}
