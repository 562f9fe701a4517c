//! What a browser is shown: the first page, whose shell lines run unchanged, and the playground, played from its first
//! tab to its last in a real Chromium that reaches no other host.

use std::{
    fmt::{self, Debug, Formatter},
    process::Stdio,
    time::Duration,
};

use lancewire::{clock::Clock, seed::seed};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, VARY},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::support::{
    app::{Database, TestApp, soon},
    http::Reply,
    node,
};

/// As browsers ask for pages.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Longer than everything that a browser is made to do takes on a busy machine.
const GUARD: Duration = Duration::from_secs(400);

async fn app(settings: &str) -> TestApp {
    TestApp::start_with(Database::Sqlite, settings, Clock::system()).await
}

async fn seeded(settings: &str) -> TestApp {
    let app = app(settings).await;
    seed(&app.app).await.expect("demo data");
    app
}

async fn page(app: &TestApp, path: &str) -> String {
    let reply = Reply::of(app.http.request(Method::GET, path).header(ACCEPT, BROWSER)).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}");
    reply.body.as_str().expect("a page").to_owned()
}

/// What a script printed before it failed. A story that returns it shows it as it is: the backtrace of a panic would stand
/// between it and the end of the log, which may be all that is kept.
struct Failed {
    code: Option<i32>,
    told: String,
}

impl Debug for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

/// The exit code of a script whose browser ended by itself or did not do something in time: `tests/js/browser.mjs`.
const NOT_DONE: i32 = 75;

/// Plays a script of `tests/js` in the browser to its end, on a server of its own. What the browser shows has to be right at
/// the first time; one that ended or was too slow has another try.
async fn play(script: &str, server: impl AsyncFn() -> TestApp) -> Result<(), Failed> {
    let mut tries = 0;
    loop {
        tries += 1;
        let app = server().await;
        match browse(script, &app).await {
            Ok(()) => {
                app.finish().await;
                return Ok(());
            }
            Err(Failed { code: Some(NOT_DONE), told }) if tries < 2 => eprintln!("once more: {told}"),
            Err(failed) => return Err(failed),
        }
    }
}

async fn browse(script: &str, app: &TestApp) -> Result<(), Failed> {
    let mut command = node::script(script, &format!("http://{}", app.addr));
    let ended = tokio::time::timeout(GUARD, command.output()).await;
    let late = |_| Failed { code: Some(NOT_DONE), told: format!("{script} did not end within {GUARD:?}") };
    let output = ended.map_err(late)?.expect("node runs");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let told = format!("{}\n{out}\n{err}", output.status);
    if output.status.success() { Ok(()) } else { Err(Failed { code: output.status.code(), told }) }
}

/// The text of the element with this id, as a person copies it.
fn shown(page: &str, id: &str) -> String {
    let start = format!("<code id=\"{id}\">");
    let text = page.split_once(&start).and_then(|(_, rest)| rest.split_once("</code>")).expect(id).0;
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn bash(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_is_played_in_a_browser_past_the_end_of_a_token() -> Result<(), Failed> {
    play("playground.mjs", async || seeded("[auth]\naccess_token_seconds = 8").await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_is_readable_by_everybody() -> Result<(), Failed> {
    play("home.mjs", async || app("").await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_on_the_first_page_run_as_they_stand() {
    let app = seeded("").await;
    let page = page(&app, "/").await;
    let list = soon(bash(&shown(&page, "list")).output()).await.expect("bash runs");
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert_eq!(list["data"]["jobs"]["nodes"].as_array().map(Vec::len), Some(3), "{list}");

    let mut live = bash(&format!("exec {}", shown(&page, "live"))).stdout(Stdio::piped()).spawn().expect("bash runs");
    let mut lines = BufReader::new(live.stdout.take().expect("a pipe")).lines();
    app.listening(1).await;
    let posted = soon(bash(&shown(&page, "post")).output()).await.expect("bash runs");
    let posted: serde_json::Value = serde_json::from_slice(&posted.stdout).expect("JSON");
    assert_eq!(posted["data"]["postJob"]["job"]["status"], "OPEN", "{posted}");
    let event = soon(async {
        loop {
            let line = lines.next_line().await.expect("readable").expect("the stream goes on");
            if line.starts_with("data: {") {
                return line;
            }
        }
    });
    assert!(event.await.contains("\"title\":\"Design a logo\""));
    live.kill().await.expect("ends");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_tells_the_host_it_was_asked_by_and_nothing_that_a_stranger_wrote() {
    let app = app("").await;
    for (host, told) in [("market.example:81", "http://market.example:81/graphql"), ("a'$(id)", "http://127.0.0.1:")] {
        let request = app.http.request(Method::GET, "/").header(HOST, host);
        let reply = Reply::of(request).await;
        let page = reply.body.as_str().expect("a page");
        assert!(page.contains(told) && !page.contains("$(id)"), "{host}: {page}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_is_read_as_text() {
    let app = app("").await;
    let readme = Reply::of(app.http.request(Method::GET, "/docs/README.md")).await;
    assert_eq!(readme.body.as_str(), Some(include_str!("../../README.md")));
    assert_eq!(readme.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    for path in ["/docs/nothing.md", "/docs/..%2FCargo.toml", "/docs/"] {
        assert_eq!(Reply::of(app.http.request(Method::GET, path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_compressed_and_are_cached_for_good() {
    let app = app("").await;
    let page = page(&app, "/graphql").await;
    let script = page.split_once("src=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a script").0.to_owned();
    let get = async |coding: Option<&str>, known: Option<&str>| {
        let mut request = app.http.request(Method::GET, &script);
        if let Some(coding) = coding {
            request = request.header(ACCEPT_ENCODING, coding);
        }
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        request.send().await.expect("an answer")
    };
    let mut sizes = Vec::new();
    for (coding, expected) in [
        (Some("gzip, deflate, br, zstd"), Some("br")),
        (Some("deflate, gzip"), Some("gzip")),
        (Some("identity"), None),
        (None, None),
    ] {
        let answer = get(coding, None).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let header = |name| answer.headers().get(&name).map(|value| value.to_str().expect("a text").to_owned());
        assert_eq!(header(CONTENT_ENCODING).as_deref(), expected);
        assert_eq!(header(CONTENT_TYPE).as_deref(), Some("text/javascript; charset=utf-8"));
        assert_eq!(header(CACHE_CONTROL).as_deref(), Some("public, max-age=31536000, immutable"));
        let varies = answer.headers().get_all(VARY).iter().any(|vary| vary == "accept-encoding");
        assert!(varies, "a cache would give one client's form to another");
        let tag = header(ETAG).expect("a tag");
        sizes.push((answer.bytes().await.expect("a body").len(), tag.clone()));
        let again = get(coding, Some(&tag)).await;
        assert_eq!((again.status(), again.bytes().await.expect("nothing").len()), (StatusCode::NOT_MODIFIED, 0));
    }
    let (lengths, tags): (Vec<_>, Vec<_>) = sizes.into_iter().unzip();
    assert!(lengths[0] < lengths[1] && lengths[1] < lengths[2] && lengths[2] == lengths[3], "{lengths:?}");
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
    assert_eq!(get(Some("identity;q=0"), None).await.status(), StatusCode::NOT_ACCEPTABLE);
    for path in ["/assets/graphiql/nothing.js", "/assets/graphiql/index.html", "/assets/graphiql/..%2Findex.html"] {
        assert_eq!(Reply::of(app.http.request(Method::GET, path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_switches_the_playground_off_and_leaves_the_api() {
    let on = app("").await;
    let with = page(&on, "/graphql").await;
    let script = with.split_once("src=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a script").0.to_owned();
    on.finish().await;

    let app = app("[http]\nplayground = false").await;
    let off = page(&app, "/graphql").await;
    assert!(off.contains("switched off") && off.contains("http.playground") && !off.contains("<script"), "{off}");
    assert!(page(&app, "/").await.contains("switched off"));
    assert_eq!(Reply::of(app.http.request(Method::GET, &script)).await.status, StatusCode::NOT_FOUND);
    let query = app.http.request(Method::GET, "/graphql?query={skills{slug}}").header(ACCEPT, BROWSER);
    assert!(Reply::of(query).await.data()["skills"].is_array());
    app.finish().await;
}
