//! Bytes on their way: links that are not good, bodies that break off or do not end, two at once, a full disk.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use super::{PNG, kept, send};
use crate::{
    on_both,
    support::{
        app::{Database, TestApp, holds, soon},
        http::Reply,
        people::{path_of, text},
    },
};

const LEASED: &str = "(SELECT COUNT(*) FROM files WHERE leased_until IS NOT NULL)";

/// A PUT whose body has begun.
async fn begin(app: &TestApp, target: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(app.addr).await.expect("connects");
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n",
        path_of(&text(target, "/url")),
        PNG.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&PNG[..10]).await.expect("sent");
    stream
}

/// The status of the answer.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 12];
    soon(stream.read_exact(&mut bytes)).await.expect("an answer");
    String::from_utf8_lossy(&bytes[9..]).into_owned()
}

on_both! {
    async fn of_two_uploads_of_a_file_the_second_is_refused(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let mut first = begin(&app, &reserved["target"]).await;
        holds(app.app.db.reader(), &format!("{LEASED} = 1")).await;
        let second = send(&ben, &reserved["target"], PNG).await;
        assert_eq!(second.status, StatusCode::CONFLICT, "{second}");
        first.write_all(&PNG[10..]).await.expect("sent");
        assert_eq!(answer(&mut first).await, "204");
        assert_eq!(kept(&app), (1, 0));

        // Who goes away in the middle leaves nothing behind.
        let reserved = ben.reserve("b.png", "image/png", PNG).await.good();
        let gone = begin(&app, &reserved["target"]).await;
        holds(app.app.db.reader(), &format!("{LEASED} = 1")).await;
        drop(gone);
        holds(app.app.db.reader(), &format!("{LEASED} = 0")).await;
        assert_eq!(kept(&app), (1, 0));
        assert_eq!(send(&ben, &reserved["target"], PNG).await.status, StatusCode::NO_CONTENT);
    }

    async fn a_body_without_a_size_is_not_read(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let mut stream = TcpStream::connect(app.addr).await.expect("connects");
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n",
            path_of(&text(&reserved["target"], "/url")),
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        assert_eq!(answer(&mut stream).await, "411");
        assert_eq!(kept(&app), (0, 0));
    }

    async fn a_full_disk_is_told_and_nothing_is_left_behind(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let id = text(&reserved, "/file/id").parse::<lancewire::ids::FileId>().expect("an id");
        // Where the first attempt will write: a device that is always full.
        let folder = app.app.config.files.folder(&app.app.config.database.url).expect("a folder").join("stage");
        std::fs::create_dir_all(&folder).expect("a folder");
        let stage = folder.join(format!("{}.1", Uuid::from(id).simple()));
        std::os::unix::fs::symlink("/dev/full", &stage).expect("a link");
        let full = send(&ben, &reserved["target"], PNG).await;
        assert_eq!(full.status, StatusCode::INSUFFICIENT_STORAGE, "{full}");
        assert!(text(&full.body, "/errors/0/message").contains("no room"), "{full}");
        assert_eq!((kept(&app), ben.file(&text(&reserved, "/file/id")).await["status"].clone()), ((0, 0), "PENDING".into()));
        assert_eq!(send(&ben, &reserved["target"], PNG).await.status, StatusCode::NO_CONTENT);
    }

    async fn a_link_is_good_as_it_is_and_for_its_deed(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let other = ben.upload("b.png", "image/png", PNG).await;
        let upload = path_of(&text(&reserved, "/target/url"));
        let download = path_of(&text(&ben.file(&other).await, "/downloadUrl"));
        let (path, query) = upload.split_once('?').expect("a query");
        let id = text(&reserved, "/file/id");
        for (method, path) in [
            (Method::PUT, path.to_owned()),
            (Method::PUT, format!("{path}?{}", query.replacen("expires=1", "expires=2", 1))),
            (Method::PUT, format!("{path}?{query}A")),
            (Method::PUT, upload.replace(&id, &other)),
            (Method::PUT, download.clone()),
            (Method::GET, upload.clone()),
            (Method::GET, download.replace(&other, &id)),
            (Method::GET, format!("/files/..%2F..%2Fetc?{query}")),
            (Method::GET, format!("/files/{other}")),
        ] {
            let request = app.http.request(method.clone(), &path).header("content-type", "image/png");
            let body = if method == Method::PUT { PNG.to_vec() } else { Vec::new() };
            let refused = Reply::of(request.body(body)).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method} {path}: {refused}");
        }
        assert_eq!(ben.file(&id).await["status"], "PENDING");
    }
}

on_both! {
    with "[files]\ntransfer_timeout_ms = 300";
    async fn a_body_that_does_not_come_is_given_up(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let mut slow = begin(&app, &reserved["target"]).await;
        assert_eq!(answer(&mut slow).await, "408");
        holds(app.app.db.reader(), &format!("{LEASED} = 0")).await;
        assert_eq!(kept(&app), (0, 0));
        assert_eq!(ben.file(&text(&reserved, "/file/id")).await["status"], "PENDING");
    }
}

on_both! {
    with "[files]\nupload_link_seconds = 1\ndownload_link_seconds = 2";
    async fn a_link_ends(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let path = path_of(&text(&reserved, "/target/url"));
        // Of another type, so that it is refused before its end, too.
        let refused = async || Reply::of(app.http.request(Method::PUT, &path).header("content-type", "a/b").body("x")).await;
        soon(async { while refused().await.status != StatusCode::FORBIDDEN {} }).await;
        let over = refused().await;
        assert!(text(&over.body, "/errors/0/message").contains("over"), "{over}");
    }
}

on_both! {
    with "[files]\nuploads_per_user = 1";
    async fn one_user_sends_so_many_files_at_once(app: TestApp) {
        let (ben, eve) = (app.freelancer("Ben").await, app.freelancer("Eve").await);
        let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
        let mut first = begin(&app, &reserved["target"]).await;
        holds(app.app.db.reader(), &format!("{LEASED} = 1")).await;
        let second = ben.reserve("b.png", "image/png", PNG).await.good();
        let refused = send(&ben, &second["target"], PNG).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused}");
        eve.upload("c.png", "image/png", PNG).await;
        first.write_all(&PNG[10..]).await.expect("sent");
        assert_eq!(answer(&mut first).await, "204");
        assert_eq!(send(&ben, &second["target"], PNG).await.status, StatusCode::NO_CONTENT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_take_each_others_links_and_one_upload_of_a_file() {
    let one = TestApp::start(Database::Postgres).await;
    let other = one.neighbour().await;
    let ben = one.freelancer("Ben").await;
    let reserved = ben.reserve("a.png", "image/png", PNG).await.good();
    let mut first = begin(&other, &reserved["target"]).await;
    holds(one.app.db.reader(), &format!("{LEASED} = 1")).await;
    assert_eq!(send(&ben, &reserved["target"], PNG).await.status, StatusCode::CONFLICT);
    first.write_all(&PNG[10..]).await.expect("sent");
    assert_eq!(answer(&mut first).await, "204");
    let link = text(&ben.at(&other).file(&text(&reserved, "/file/id")).await, "/downloadUrl");
    let got = one.http.request(Method::GET, &path_of(&link)).send().await.expect("an answer");
    assert_eq!((got.status(), got.bytes().await.expect("bytes")), (StatusCode::OK, PNG.into()));
    other.finish().await;
    one.finish().await;
}
