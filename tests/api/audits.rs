//! What reference implementations say: of GraphQL over HTTP, by the suite of the draft (MUST, SHOULD and MAY), and of the
//! schema, by graphql-js and the caches that are set up with it.

use lancewire::seed::seed;
use reqwest::{
    Method,
    header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH},
};

use crate::support::{
    app::{Database, TestApp},
    binary::Home,
    node,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_audits_of_graphql_http_pass() {
    let app = TestApp::start(Database::Sqlite).await;
    let url = format!("http://{}/graphql", app.addr);
    let audit = node::script("audit.mjs", &url).output().await.expect("node runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert_eq!(said(&audit.stdout), "61 audits: 61 ok, 0 errors, 0 warnings, 0 notices", "{}", said(&audit.stderr));
    assert!(audit.status.success());
    app.finish().await;
}

/// Code generators and caches believe what the schema says of itself, in whatever form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_schema_tells_of_itself_is_true_in_every_form() {
    let app = TestApp::start(Database::Sqlite).await;
    seed(&app.app).await.expect("demo data");
    let url = format!("http://{}/graphql", app.addr);
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let checks = node::script("schema_files.mjs", &url).arg(written).output().await.expect("node runs");
    let said = String::from_utf8_lossy(&checks.stdout).into_owned() + &String::from_utf8_lossy(&checks.stderr);
    assert!(checks.status.success() && said.lines().filter(|line| line.starts_with("ok ")).count() == 6, "{said}");

    for (path, form) in [
        ("/schema.graphql", "sdl"),
        ("/schema/introspection.json", "introspection"),
        ("/schema/graphcache.json", "graphcache"),
        ("/schema/possible-types.json", "possible-types"),
    ] {
        let served = app.http.request(Method::GET, path).send().await.expect("an answer");
        assert_eq!(served.status().as_u16(), 200);
        let etag = served.headers()[ETAG].clone();
        assert!(served.headers()[CACHE_CONTROL].to_str().expect("a text").contains("max-age"), "{path}");
        let served = served.text().await.expect("a text");
        let printed = Home::new().run(&["schema", "--format", form]).await;
        let printed = String::from_utf8(printed.stdout).expect("UTF-8");
        if form == "sdl" {
            assert_eq!(printed, served);
        } else {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            assert!(value(&printed) == value(&served), "{form} is printed as it is served");
        }
        for tag in
            [etag.to_str().expect("a text").to_owned(), format!("\"other\", W/{}", etag.to_str().expect("a text"))]
        {
            let known = app.http.request(Method::GET, path).header(IF_NONE_MATCH, tag);
            let known = known.send().await.expect("an answer");
            assert_eq!((known.status().as_u16(), known.headers().get(ETAG)), (304, Some(&etag)), "{path}");
            assert!(known.bytes().await.expect("a body").is_empty());
        }
        let other = app.http.request(Method::GET, path).header(IF_NONE_MATCH, "\"another\"");
        assert_eq!(other.send().await.expect("an answer").status().as_u16(), 200);
    }
    app.finish().await;
}
