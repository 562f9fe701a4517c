//! Files: how their bytes come and go, who may have them, and what becomes of those that are not what was promised.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::TestApp,
        footprint::footprint,
        http::Reply,
        people::{FILE, Person, fresh_key, path_of, sha256, text},
    },
};

mod checks;
mod removal;
mod transfers;

/// The smallest picture that is one.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

/// A claim of Ben's on a job of Ada's.
async fn claimed(ada: &Person, ben: &Person) -> String {
    let job = text(&ada.post_job("With files").await, "/id");
    text(&ben.claim(&job).await.good(), "/claim/id")
}

/// Sends bytes to a target.
async fn send(person: &Person, target: &Value, bytes: &[u8]) -> Reply {
    Reply::of(person.put(target).body(bytes.to_vec())).await
}

/// What is in the folder of files, stages apart.
fn kept(app: &TestApp) -> (usize, usize) {
    let folder = app.app.config.files.folder(&app.app.config.database.url).expect("a folder");
    let count = |folder: std::path::PathBuf| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let places = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let (stage, places): (Vec<_>, Vec<_>) = places.partition(|path| path.ends_with("stage"));
    (places.into_iter().map(count).sum(), stage.into_iter().map(count).sum())
}

on_both! {
    async fn work_is_handed_in_with_files_that_the_client_gets(app: TestApp) {
        let (ada, ben, eve) = (app.client("Ada").await, app.freelancer("Ben").await, app.freelancer("Eve").await);
        let claim = claimed(&ada, &ben).await;
        let text_file = "Caf\u{e9} \u{2713}\n".as_bytes();
        let reserved = ben.reserve("Pl\u{e4}ne \"v1\".txt".replace('"', "'").as_str(), "text/plain", text_file).await.good();
        assert_eq!(reserved["file"]["status"], "PENDING");
        assert_eq!(reserved["file"]["downloadUrl"], Value::Null);
        assert_eq!(reserved["target"]["headers"], json!([{ "name": "Content-Type", "value": "text/plain" }]));
        let sent = send(&ben, &reserved["target"], text_file).await;
        assert_eq!((sent.status, sent.body.clone()), (StatusCode::NO_CONTENT, json!("")), "{sent}");
        let plan = text(&reserved, "/file/id");
        let picture = ben.upload("a.png", "image/png", PNG).await;

        let work = ben.submit_files(&claim, &[picture.clone(), plan.clone()]).await.good();
        let files = work["deliverable"]["files"].as_array().expect("files");
        assert_eq!((text(&files[0], "/id"), text(&files[1], "/id")), (picture.clone(), plan.clone()), "in their order");
        let deliverable = text(&work, "/deliverable/id");

        // The client comes to them by the deliverable, by the job, and by their ids.
        let query = format!(
            "query($id: ID!) {{ node(id: $id) {{ ... on Deliverable {{ files {{ {FILE} }} claim {{ job {{ \
             deliverables(first: 1) {{ nodes {{ files {{ id }} }} }} }} }} }} }} }}"
        );
        let seen = ada.run(&query, json!({ "id": deliverable })).await.data()["node"].clone();
        assert_eq!(seen["claim"]["job"]["deliverables"]["nodes"][0]["files"].as_array().map(Vec::len), Some(2));
        let file = &seen["files"][1];
        assert_eq!((&file["status"], &file["byteSize"]), (&json!("READY"), &json!(text_file.len())));
        assert_eq!((text(file, "/sha256"), text(file, "/name")), (sha256(text_file), "Pl\u{e4}ne 'v1'.txt".to_owned()));
        assert_eq!(&ada.file(&plan).await, file, "the same link for all who ask in the same minute");

        // A link is for whoever has it, and no browser runs what is behind it.
        let path = path_of(&text(file, "/downloadUrl"));
        let got = app.http.request(Method::GET, &path).send().await.expect("an answer");
        assert_eq!(got.status(), StatusCode::OK);
        let header = |name: &str| got.headers()[name].to_str().expect("a text").to_owned();
        assert_eq!(header("content-type"), "text/plain; charset=utf-8");
        let name = "attachment; filename=\"Pl_ne 'v1'.txt\"; filename*=UTF-8''Pl%C3%A4ne%20%27v1%27.txt";
        assert_eq!(header("content-disposition"), name);
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").contains("default-src 'none'; sandbox"));
        assert_eq!(header("cache-control"), "private, no-store");
        assert_eq!(header("content-length"), text_file.len().to_string());
        assert_eq!(got.bytes().await.expect("bytes"), text_file);
        let part = app.http.request(Method::GET, &path).header(header::RANGE, "bytes=3-4");
        let part = part.send().await.expect("an answer");
        assert_eq!((part.status(), &part.headers()["content-range"]), (StatusCode::PARTIAL_CONTENT, &"bytes 3-4/10".parse().expect("a value")));
        assert_eq!(part.bytes().await.expect("bytes"), &text_file[3..5]);
        let beyond = app.http.request(Method::GET, &path).header(header::RANGE, "bytes=10-");
        assert_eq!(beyond.send().await.expect("an answer").status(), StatusCode::RANGE_NOT_SATISFIABLE);
        let head = app.http.request(Method::HEAD, &path).send().await.expect("an answer");
        assert_eq!((head.status(), &head.headers()["content-length"]), (StatusCode::OK, &"10".parse().expect("a value")));

        // For strangers there is no file; an admin sees that there is one.
        for stranger in [&eve, &app.client("Cleo").await, &app.anonymous()] {
            assert_eq!(stranger.file(&plan).await, Value::Null);
        }
        let admin = app.admin().await.file(&plan).await;
        assert_eq!((&admin["name"], &admin["downloadUrl"]), (&file["name"], &Value::Null));
        // Who gives the claim back keeps their own files, and the client what was handed in.
        ada.request_revision(&deliverable).await.good();
        ben.release(&claim).await.good();
        assert!(ben.file(&plan).await["downloadUrl"].is_string());
        assert!(ada.file(&plan).await["downloadUrl"].is_string());
    }

    async fn only_ones_own_ready_files_are_handed_in_and_each_once(app: TestApp) {
        let (ada, ben, eve) = (app.client("Ada").await, app.freelancer("Ben").await, app.freelancer("Eve").await);
        let claim = claimed(&ada, &ben).await;
        let own = ben.upload("a.png", "image/png", PNG).await;
        let used = ben.upload("b.png", "image/png", PNG).await;
        ben.submit_files(&claim, std::slice::from_ref(&used)).await.good();
        let strangers = eve.upload("c.png", "image/png", PNG).await;
        let pending = text(&ben.reserve("d.png", "image/png", PNG).await.good(), "/file/id");
        let missing = format!("{}zzzzzzzz", &own[..own.len() - 8]);
        let before = footprint(&app).await;
        let not_found = ben.submit_files(&claim, &[own.clone(), missing]).await.refused("NOT_FOUND");
        assert_eq!(not_found["path"], json!(["input", "fileIds", "1"]));
        for id in [strangers, "file_nonsense".into(), String::new(), claim.clone()] {
            let refused = ben.submit_files(&claim, &[own.clone(), id]).await.refused("NOT_FOUND");
            assert_eq!(refused, not_found, "whether it is somebody else's is not told");
        }
        for (ids, words) in [
            (vec![pending], "bytes have not come"),
            (vec![used], "used before"),
            (vec![own.clone(), own.clone()], "second time"),
            (vec![own.clone(); 11], "at most 10"),
        ] {
            let refused = ben.submit_files(&claim, &ids).await.refused("INVALID");
            assert!(text(&refused, "/message").contains(words), "{refused}");
        }
        assert_eq!(footprint(&app).await, before);

        // The same request again gives the same work; the same key with other files is another request.
        let mut input = json!({ "claimId": claim, "note": "Done.", "fileIds": [own], "idempotencyKey": fresh_key() });
        let fields = "deliverable { id files { id } }";
        let first = ben.mutate("submitDeliverable", input.clone(), fields).await.good();
        assert_eq!(ben.mutate("submitDeliverable", input.clone(), fields).await.good(), first);
        input["fileIds"] = json!([]);
        ben.mutate("submitDeliverable", input, fields).await.refused("IDEMPOTENCY_KEY_REUSED");
    }

    async fn what_cannot_be_a_file_is_refused_when_it_is_reserved(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let good = json!({ "name": "a.png", "contentType": "image/png", "byteSize": 41, "sha256": sha256(PNG) });
        let before = footprint(&app).await;
        for (field, value) in [
            ("name", json!("../a.png")),
            ("name", json!("a/../../etc/passwd.png")),
            ("name", json!("..\\a.png")),
            ("name", json!("a.png\u{0}.exe")),
            ("name", json!("a.exe.png")),
            ("name", json!("a.png.exe")),
            ("name", json!("a")),
            ("name", json!("")),
            ("name", json!(format!("{}.png", "a".repeat(197)))),
            ("contentType", json!("image/svg+xml")),
            ("contentType", json!("text/html")),
            ("contentType", json!("application/x-msdownload")),
            ("contentType", json!("")),
            ("byteSize", json!(0)),
            ("byteSize", json!(-1)),
            ("byteSize", json!(104_857_601)),
            ("sha256", json!("abc")),
            ("sha256", json!("z".repeat(64))),
        ] {
            let mut input = good.clone();
            input[field] = value.clone();
            let refused = ben.mutate("createUpload", input, "file { id }").await.refused("INVALID");
            assert_eq!(refused["path"], json!(["input", field]), "{value}");
        }
        assert_eq!(footprint(&app).await, before);
        assert_eq!(app.anonymous().mutate("createUpload", good, "file { id }").await.code(), "UNAUTHENTICATED");
    }
}
