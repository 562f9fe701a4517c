//! TLS to the database and to Redis: every connection uses it, and an untrusted server is refused in one line that names
//! the setting.

use std::{fs, path::Path};

use lancewire::clock::Clock;
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database as SeaDatabase, DatabaseConnection, Statement};
use serde_json::{Value, json};
use url::Url;

use crate::support::{
    app::{Database, TestApp, soon},
    binary::{Home, lines},
    http::Http,
    postgres::{self, Mortal},
    redis::Redis,
    tls::Authority,
};

/// A server's address by the name that its certificate is for, with this at the end.
fn named(server: &Mortal, query: &str) -> String {
    let mut url: Url = server.url().parse().expect("a URL");
    url.set_host(Some("localhost")).expect("it has a host");
    url.set_query(Some(query));
    url.into()
}

fn trusting(authority: &Authority) -> String {
    format!("sslmode=verify-full&sslrootcert={}", authority.certificate.display())
}

/// Ours among the connections of a server, each kind once, with whether it is secured.
async fn connections(administrator: &DatabaseConnection) -> Vec<String> {
    let sql = "SELECT DISTINCT application_name || ' ' || ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE application_name LIKE 'lancewire%' ORDER BY 1";
    let rows = administrator.query_all_raw(Statement::from_string(administrator.get_database_backend(), sql)).await;
    rows.expect("the query runs").iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
}

/// What the program says when it does not start. One line.
async fn refusal(home: &Home) -> String {
    let output = home.run(&["serve"]).await;
    let mut said = lines(&output.stderr);
    assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{said:#?}");
    said.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_to_postgres_and_its_replica_is_secured() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "authority");
    let primary = Mortal::start_secured(&authority).await;
    let replica = primary.follower().await;
    let home = Home::new()
        .with("LANCEWIRE_DATABASE__URL", named(&primary, &trusting(&authority)))
        .with("LANCEWIRE_DATABASE__REPLICA_URL", named(&replica, &trusting(&authority)));
    let server = home.serve().await;
    Http::new(server.addr).graphql(None, "{ skills { slug } }", json!({})).await.data();
    for (database, expected) in
        [(&primary, vec!["lancewire true", "lancewire-bus true"]), (&replica, vec!["lancewire-replica true"])]
    {
        let administrator = SeaDatabase::connect(named(database, "sslmode=require")).await.expect("opens");
        // The bus and the watch of the replica connect when they are ready to.
        soon(async { while connections(&administrator).await != expected {} }).await;
        administrator.close().await.expect("closes");
    }
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_cannot_be_trusted_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let [authority, stranger] = ["authority", "stranger"].map(|name| Authority::new(folder.path(), name));
    let server = Mortal::start_secured(&authority).await;
    let roots = |path: &Path| format!("sslrootcert={}", path.display());
    let known = roots(&authority.certificate);
    fs::write(folder.path().join("empty.pem"), "nothing\n").expect("written");
    let by_number = format!("{}?{}", server.url(), trusting(&authority));
    let cases = [
        (named(&server, &trusting(&stranger)), vec!["is not to be trusted", "UnknownIssuer", "sslrootcert"]),
        (named(&server, "sslmode=verify-full"), vec!["is not to be trusted", "sslrootcert"]),
        (by_number, vec!["is not to be trusted", "not valid for name", "127.0.0.1"]),
        (named(&server, "sslmode=disable"), vec!["refuses", "no encryption"]),
        (named(&server, &format!("sslmode=require&{known}")), vec!["sslrootcert", "verify-full"]),
        (named(&server, &known), vec!["sslrootcert", "verify-full"]),
        (named(&server, "sslmode=verified"), vec!["sslmode must be one of", "verify-full", "\"verified\""]),
        (
            named(&server, &format!("sslmode=verify-full&{}", roots(&folder.path().join("none.pem")))),
            vec!["sslrootcert", "none.pem cannot be read", "No such file"],
        ),
        (
            named(&server, &format!("sslmode=verify-full&{}", roots(&folder.path().join("empty.pem")))),
            vec!["sslrootcert", "empty.pem holds no certificate"],
        ),
    ];
    for (url, expected) in cases {
        let line = refusal(&Home::new().with("LANCEWIRE_DATABASE__URL", &url)).await;
        assert!(line.starts_with("lancewire: database.url: "), "{url}: {line}");
        assert!(expected.iter().all(|words| line.contains(words)), "{url}: {line}");
    }
    let home = Home::new()
        .with("LANCEWIRE_DATABASE__URL", named(&server, &trusting(&authority)))
        .with("LANCEWIRE_DATABASE__REPLICA_URL", named(&server, &trusting(&stranger)));
    let line = refusal(&home).await;
    assert!(line.starts_with("lancewire: database.replica_url: ") && line.contains("UnknownIssuer"), "{line}");

    let plain = postgres::shared().await.empty().await;
    let line = refusal(&Home::new().with("LANCEWIRE_DATABASE__URL", format!("{}?sslmode=require", plain.url()))).await;
    assert!(line.contains("database.url") && line.contains("does not support TLS"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_is_spoken_to_over_tls_and_one_that_cannot_be_trusted_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let [authority, stranger] = ["authority", "stranger"].map(|name| Authority::new(folder.path(), name));
    let Some(redis) = Redis::start_secured(&authority).await else {
        println!("not told: this redis-server is built without TLS");
        return;
    };
    let url = format!("rediss://localhost:{}", redis.addr().port());
    let settings =
        format!("[bus]\nredis_url = {url:?}\nredis_ca = {:?}\n", authority.certificate.display().to_string());
    let one = TestApp::start_with(Database::Postgres, &settings, Clock::system()).await;
    let other = one.neighbour().await;
    for app in [&one, &other] {
        let hears = async || {
            let answer = app.http.request(Method::GET, "/health/ready").send().await.expect("an answer");
            answer.json::<Value>().await.expect("JSON")["bus"] == json!("ok")
        };
        soon(async { while !hears().await {} }).await;
    }
    // What is posted at one is heard at the other.
    let ada = one.client("Ada").await;
    let there = ada.at(&other).socket().await;
    let feed = there.subscribe("subscription { jobPosted { job { id } } }", json!({}));
    other.listening(1).await;
    let job = ada.post_job("Secured").await;
    assert_eq!(there.next(&feed).await["data"]["jobPosted"]["job"]["id"], job["id"]);
    other.finish().await;
    one.finish().await;

    let database = postgres::shared().await.empty().await;
    let ca = |path: &Path| path.display().to_string();
    for (url, ca, expected) in [
        (url.clone(), ca(&stranger.certificate), vec!["bus.redis_url", "UnknownIssuer", "bus.redis_ca"]),
        (url.clone(), String::new(), vec!["bus.redis_url", "UnknownIssuer", "bus.redis_ca"]),
        (
            url.replace("localhost", "127.0.0.1"),
            ca(&authority.certificate),
            vec!["bus.redis_url", "not valid for name"],
        ),
        (url.clone(), ca(&folder.path().join("none.pem")), vec!["bus.redis_ca", "none.pem cannot be read"]),
        (url.replace("rediss", "redis"), ca(&authority.certificate), vec!["bus.redis_ca", "rediss://"]),
    ] {
        let home = Home::new()
            .with("LANCEWIRE_DATABASE__URL", database.url())
            .with("LANCEWIRE_BUS__REDIS_URL", &url)
            .with("LANCEWIRE_BUS__REDIS_CA", &ca);
        let line = refusal(&home).await;
        assert!(expected.iter().all(|words| line.contains(words)), "{url}: {line}");
    }
}
