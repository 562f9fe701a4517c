//! GraphQL over HTTP, as the reference suite of the draft judges it: MUST, SHOULD and MAY.

use crate::support::{
    app::{Database, TestApp},
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
