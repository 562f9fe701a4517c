//! The definitions that `verify` compares with are those of a database that the migrations have just made.
//!
//! With `LANCEWIRE_WRITE_DEFINITIONS=1` they are written anew: `make definitions`, after a change of the migrations.

use std::{env, fs};

use lancewire::{db::Backend, verify::guards};

use crate::support::app::{Database, TestApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_definitions_are_those_of_a_new_postgresql() {
    let app = TestApp::start(Database::Postgres).await;
    let read = guards::read(app.app.db.writer(), Backend::Postgres).await.expect("definitions");
    let is = guards::written(&read);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/migration/definitions/postgres.txt");
    if env::var_os("LANCEWIRE_WRITE_DEFINITIONS").is_some() {
        fs::write(file, &is).expect("written");
    }
    let embedded = fs::read_to_string(file).expect("the file is there");
    let differs = is.lines().zip(embedded.lines()).find(|(is, embedded)| is != embedded);
    assert!(is == embedded, "run `make definitions`; the first difference: {differs:#?}");
    app.finish().await;
}
