//! Signing keys that come and go while nodes run: no token is refused on the way, and none of a key that was taken away is
//! good for a moment longer.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use lancewire::{app::App, clock::Clock, config::Environment, ids::Ids};
use serde_json::{Value, json};

use crate::support::{
    app::{Database, TestApp, soon},
    people::Person,
};

const QUICK: &str = "[auth]\nkeys_reload_ms = 50";

/// Ed25519 keys in PKCS#8 that nobody uses elsewhere.
const NEW: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
const OTHER: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                     -----END PRIVATE KEY-----\n";

/// The key that a token was signed with.
fn kid(token: &str) -> String {
    let head = token.split('.').next().expect("a head");
    let head = BASE64_URL_SAFE_NO_PAD.decode(head).expect("base64");
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    head["kid"].as_str().expect("a text").to_owned()
}

async fn token(ada: &Person, app: &TestApp) -> String {
    ada.at(app).sign_in_again().await.token.expect("a token").to_string()
}

/// Whether a token is good at a server.
async fn is_good(app: &TestApp, token: &str) -> bool {
    let reply = app.http.graphql(Some(token), "{ viewer { id } }", json!({})).await;
    if reply.status.as_u16() == 200 {
        return true;
    }
    assert_eq!(reply.code(), "UNAUTHENTICATED", "{reply}");
    false
}

fn copy_keys(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in fs::read_dir(from).expect("a folder").map(|file| file.expect("a file").path()) {
        if file.extension().is_some_and(|ending| ending == "pem") {
            fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_signs_once_all_nodes_know_it() {
    let one = TestApp::start_with(Database::Postgres, QUICK, Clock::system()).await;
    let ada = one.freelancer("Ada").await;
    let old = kid(&token(&ada, &one).await);
    // Half of a rolling restart: the second node comes with a new key, which the first one has not.
    let home = tempfile::tempdir().expect("a folder");
    copy_keys(&one.app.config.auth.keys_dir, home.path());
    fs::write(home.path().join("z-new.pem"), NEW).expect("written");
    let two = one.neighbour_with(|config| config.auth.keys_dir = home.path().to_owned()).await;
    let early = token(&ada, &two).await;
    assert_eq!(kid(&early), old, "the first node does not know the new one");
    assert!(is_good(&one, &early).await && is_good(&two, &early).await);

    fs::write(one.app.config.auth.keys_dir.join("z-new.pem"), NEW).expect("written");
    let signed = async |app: &TestApp| {
        loop {
            let token = token(&ada, app).await;
            // Whichever signs, both take it.
            assert!(is_good(&one, &token).await && is_good(&two, &token).await, "{}", kid(&token));
            if kid(&token) == "z-new" {
                return token;
            }
        }
    };
    let new = soon(signed(&one)).await;
    soon(signed(&two)).await;

    // A node that would refuse what the others sign does not start.
    let behind = tempfile::tempdir().expect("a folder");
    fs::write(behind.path().join("2026-01.pem"), OTHER).expect("written");
    let mut config = one.app.config.clone();
    config.environment = Environment::Production;
    config.auth.keys_dir = behind.path().to_owned();
    let refused = App::build(config, Clock::system(), Ids::from_entropy(Clock::system())).await;
    let refused = refused.err().expect("it does not start").to_string();
    assert!(refused.starts_with("auth.keys_dir: another node signs with z-new"), "{refused}");
    assert!(refused.contains("put z-new.pem there") && !refused.contains('\n'), "{refused}");

    // The old key goes: its tokens die, though they have been looked at before.
    for folder in [&one.app.config.auth.keys_dir, home.path()] {
        fs::remove_file(folder.join(format!("{old}.pem"))).expect("removed");
    }
    soon(async { while is_good(&one, &early).await || is_good(&two, &early).await {} }).await;
    assert!(is_good(&one, &new).await && is_good(&two, &new).await);

    // Nobody waits for a node that has stopped.
    two.finish().await;
    fs::write(one.app.config.auth.keys_dir.join("zz-newer.pem"), OTHER).expect("written");
    soon(async { while kid(&token(&ada, &one).await) != "zz-newer" {} }).await;
    one.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_reads_its_folder_again() {
    let app = TestApp::start_with(Database::Sqlite, QUICK, Clock::system()).await;
    let ada = app.freelancer("Ada").await;
    let first = token(&ada, &app).await;
    assert!(is_good(&app, &first).await);
    let folder = &app.app.config.auth.keys_dir;
    fs::write(folder.join("z-new.pem"), NEW).expect("written");
    soon(async { while kid(&token(&ada, &app).await) != "z-new" {} }).await;
    let keys = app.http.request(reqwest::Method::GET, "/.well-known/jwks.json").send().await.expect("an answer");
    let keys: Value = keys.json().await.expect("JSON");
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2), "{keys}");
    // What is no key changes nothing.
    fs::write(folder.join("zz-broken.pem"), "nonsense").expect("written");
    assert!(is_good(&app, &token(&ada, &app).await).await && is_good(&app, &first).await);
    fs::remove_file(folder.join("zz-broken.pem")).expect("removed");
    fs::remove_file(folder.join(format!("{}.pem", kid(&first)))).expect("removed");
    soon(async { while is_good(&app, &first).await {} }).await;
    app.finish().await;
}
