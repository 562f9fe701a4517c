//! The language itself: a thousand generated documents, valid and broken in every rule, are judged as graphql-js judges
//! them, and what is answered has the shape that graphql-js demands.
//!
//! `tests/js/differential.mjs` makes the documents and compares; `make differential` runs many more of them.

use lancewire::{clock::Clock, seed};

use crate::support::{
    app::{Database, TestApp},
    node,
};

/// Wide limits: documents are to be judged by the rules of GraphQL, and the limits have stories of their own. Time is no
/// part of a verdict either, and a busy machine may take long for one.
const SETTINGS: &str = "
    [http]
    operation_timeout_ms = 60000
    [limits]
    tokens = 20000
    depth = 30
    cost = 1000000
    fields = 20000
    aliases = 1000
    root_fields = 50
    directives = 1000
    fragments = 200
    [sockets]
    sockets_per_user = 10000
    messages_per_minute = 1000000
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_documents_are_judged_and_answered_as_by_graphql_js() {
    let app = TestApp::start_with(Database::Sqlite, SETTINGS, Clock::system()).await;
    seed::seed(&app.app).await.expect("demo people and their jobs");
    let url = format!("http://{}/graphql", app.addr);
    let run = node::script("differential.mjs", &url).output().await.expect("node runs");
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    println!("{said}");
    assert!(run.status.success(), "{said}");
    app.finish().await;
}
