//! The commands of `docs/backups.md` and `docs/upgrades.md`, run unchanged.

use std::{fs, path::Path, process::Output};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use serde_json::{Value, json};
use url::Url;

use crate::support::{
    app::soon,
    binary::Home,
    http::Http,
    people::text,
    postgres::{self, Mortal},
};

const BACKUPS: &str = include_str!("../../docs/backups.md");
const UPGRADES: &str = include_str!("../../docs/upgrades.md");

/// The shell lines below a heading, in the order of their blocks.
fn blocks(page: &str, heading: &str) -> Vec<String> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split_once("```").expect("its end").0);
    blocks.map(ToOwned::to_owned).collect()
}

/// Runs a block with the program on the path; it must do what it says.
async fn run(home: &Home, block: &str, variables: &[(&str, &str)]) -> String {
    let Output { status, stdout, stderr } = try_run(home, block, variables).await;
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{block}\n{out}\n{err}");
    out.into_owned()
}

async fn try_run(home: &Home, block: &str, variables: &[(&str, &str)]) -> Output {
    let mut shell = home.shell(block);
    shell.envs(variables.iter().copied());
    soon(shell.output()).await.expect("bash runs")
}

async fn opened(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.expect("opens")
}

const SIGN_IN: &str = "mutation { signIn(input: { email: \"ada@example.com\", password: \"correct horse battery\" }) \
                       { session { accessToken } errors { __typename } } }";

/// The password that everybody knows, as the greeting says it.
async fn sign_in(http: &Http, greeting: &str) -> String {
    let (_, password) = greeting.split_once("all with the password ").expect("a password");
    let password = password.split([':', '\n']).next().expect("a word").trim();
    let email = greeting.lines().find(|line| line.contains('@')).expect("a login").split_whitespace().next();
    let query =
        SIGN_IN.replace("ada@example.com", email.expect("an address")).replace("correct horse battery", password);
    text(&http.graphql(None, &query, json!({})).await.body, "/data/signIn/session/accessToken")
}

async fn titles(http: &Http) -> Vec<Value> {
    let reply = http.graphql(None, "{ jobs(first: 100) { nodes { id title } } streamCursor }", json!({})).await;
    reply.data()["jobs"]["nodes"].as_array().expect("jobs").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_database_is_copied_while_it_is_used_and_restored() {
    let home = Home::new();
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let token = sign_in(&http, &server.greeting).await;
    let before = titles(&http).await;
    let [backup, restore] = blocks(BACKUPS, "SQLite").try_into().expect("two blocks");
    let told = run(&home, &backup, &[]).await;
    assert!(told.starts_with("lancewire-backup.db has "), "{told}");
    let copy = home.path().join("lancewire-backup.db");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&copy).expect("a copy").permissions());
    assert_eq!(mode & 0o777, 0o600, "it has everybody's password hash");
    assert!(!home.path().join("lancewire-backup.db.part").exists());
    // Nothing is overwritten.
    let again = try_run(&home, &backup, &[]).await;
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"), "{again:?}");

    // What comes after the copy is lost with it.
    let post = "mutation { postJob(input: { idempotencyKey: \"after\", title: \"After the copy\", description: \"Lost.\", \
                budget: { amount: \"1.00\", currencyCode: \"USD\" }, skills: [] }) { job { id } errors { __typename } } }";
    let posted = http.graphql(Some(&token), post, json!({})).await;
    assert!(posted.body.pointer("/data/postJob/job/id").is_some(), "{posted}");
    let cursors = "{ streamCursor }";
    let old = text(&http.graphql(None, cursors, json!({})).await.body, "/data/streamCursor");
    let early = {
        let events = "{ events(first: 1) { nodes { cursor } } }";
        text(&http.graphql(None, events, json!({})).await.body, "/data/events/nodes/0/cursor")
    };
    server.signal("TERM").await;
    server.ended().await;
    let told = run(&home, &restore, &[]).await;
    assert!(told.contains("accounts sign in again") && !told.contains("BROKEN"), "{told}");

    let server = home.serve().await;
    let http = Http::new(server.addr);
    assert_eq!(titles(&http).await, before);
    let resume = "query($after: String) { events(first: 1, after: $after) { nodes { id } } }";
    for cursor in [&old, &early] {
        assert_eq!(http.graphql(None, resume, json!({ "after": cursor })).await.code(), "CURSOR_EXPIRED", "{cursor}");
    }
    let viewer = http.graphql(Some(&token), "{ viewer { id } }", json!({})).await;
    assert_eq!(viewer.code(), "UNAUTHENTICATED", "the session of before has ended: {viewer}");
    sign_in(&http, &server.greeting).await;
    server.signal("TERM").await;
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_is_dumped_and_restored() {
    let postgres = Mortal::start().await;
    let home = Home::new().with("LANCEWIRE_DATABASE__URL", postgres.url());
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let before = titles(&http).await;
    let cursor = text(&http.graphql(None, "{ streamCursor }", json!({})).await.body, "/data/streamCursor");
    let [dump, restore, base] = blocks(BACKUPS, "PostgreSQL").try_into().expect("three blocks");
    let binaries = postgres::binaries_path();
    let path = ("PATH_OF_POSTGRESQL", binaries.as_str());
    run(&home, &dump, &[path]).await;
    run(&home, &base, &[path]).await;
    assert!(home.path().join("lancewire-base/PG_VERSION").exists());
    server.signal("TERM").await;
    server.ended().await;

    let administrator = opened(postgres.url()).await;
    administrator.execute_unprepared("CREATE DATABASE restored").await.expect("made");
    let mut new: Url = postgres.url().parse().expect("a URL");
    new.set_path("restored");
    let told = run(&home, &restore, &[path, ("NEW_URL", new.as_str())]).await;
    assert!(told.contains("accounts sign in again") && !told.contains("BROKEN"), "{told}");
    let home = Home::new().with("LANCEWIRE_DATABASE__URL", new.as_str());
    let server = home.serve().await;
    let http = Http::new(server.addr);
    assert_eq!(titles(&http).await, before);
    let resume = "query($after: String) { events(first: 1, after: $after) { nodes { id } } }";
    assert_eq!(http.graphql(None, resume, json!({ "after": cursor })).await.code(), "CURSOR_EXPIRED");
    server.signal("TERM").await;
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_user_serves_and_one_who_lacks_a_right_is_told_which() {
    let postgres = Mortal::start().await;
    let owner = Home::new().with("LANCEWIRE_DATABASE__URL", postgres.url());
    let [migrate] = blocks(UPGRADES, "The order").try_into().expect("one block");
    let [role, grant] = blocks(UPGRADES, "A restricted database user (PostgreSQL)").try_into().expect("two blocks");
    let binaries = postgres::binaries_path();
    let path = ("PATH_OF_POSTGRESQL", binaries.as_str());
    run(&owner, &migrate, &[path]).await;
    run(&owner, &role, &[path]).await;

    let mut url: Url = postgres.url().parse().expect("a URL");
    url.set_username("lancewire_app").expect("a name");
    let app = Home::new().with("LANCEWIRE_DATABASE__URL", url.as_str()).with("LANCEWIRE_DATABASE__MIGRATE", "false");
    let refused = app.run(&["serve"]).await;
    let line = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("lacks") && line.contains("on accounts") && line.contains("lancewire grants"), "{line}");

    run(&owner, &grant, &[path]).await;
    // With the demo data all kinds of steps are taken, deposits, claims, payments and refusals among them.
    let server = app.serve().await;
    let http = Http::new(server.addr);
    assert!(titles(&http).await.len() > 10);
    sign_in(&http, &server.greeting).await;
    server.signal("TERM").await;
    server.ended().await;
    let proved = app.run(&["verify"]).await;
    assert!(proved.status.success(), "{proved:?}");

    let administrator = opened(postgres.url()).await;
    for (revoked, lacks) in [
        ("INSERT ON entries", "lacks INSERT on entries:"),
        ("USAGE ON SEQUENCE events_id_seq", "lacks USAGE on events_id_seq:"),
    ] {
        administrator.execute_unprepared(&format!("REVOKE {revoked} FROM lancewire_app")).await.expect("revoked");
        let refused = app.run(&["serve"]).await;
        let line = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && line.contains(lacks), "{line}");
        administrator.execute_unprepared(&format!("GRANT {revoked} TO lancewire_app")).await.expect("granted");
    }
    // The books cannot be changed by this role, whatever becomes of their triggers.
    let app = opened(url.as_str()).await;
    let error = app.execute_unprepared("DELETE FROM entries").await.expect_err("refused");
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn a_vocabulary_is_imported_once() {
    let home = Home::new();
    let write = |text: &str| fs::write(home.path().join("skills.csv"), text).expect("written");
    let import = async || {
        let output = home.run(&["skills", "import", "skills.csv"]).await;
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&told).into_owned())
    };
    assert!(home.run(&["migrate"]).await.status.success());
    write("slug,name\nwelding,Welding\nrust,Rust (the language)\nTig welding\ngo,Go\n");
    assert_eq!(import().await, (true, "2 added, 1 renamed, 1 as they were\n".to_owned()));
    assert_eq!(import().await, (true, "0 added, 0 renamed, 4 as they were\n".to_owned()));
    write("smithing,Smithing\nTurning,Turning\n");
    let (done, told) = import().await;
    assert!(!done && told.contains("skills.csv: line 2: \"Turning\" is no slug"), "{told}");
    write("smithing,Smithing\n");
    assert_eq!(import().await.1, "1 added, 0 renamed, 0 as they were\n", "nothing of the file that was wrong came in");
    let missing = home.run(&["skills", "import", "nowhere.csv"]).await;
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nowhere.csv cannot be read"));
    assert!(Path::new(env!("CARGO_BIN_EXE_lancewire")).exists());
}
