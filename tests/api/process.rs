//! The program itself: how it starts, what it says, how it ends, and what survives when it is killed.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::support::{
    app::{soon, until},
    binary::{Home, lines},
    cluster::Cluster,
    http::Http,
    people::{fresh_key, new_job, text},
    postgres::{self, Mortal},
    proxy::Wire,
    socket::Socket,
    stream::{SSE, Stream, request},
};

const SIGN_IN: &str = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } \
                       errors { __typename } } }";
const POST: &str = "mutation($input: PostJobInput!) { postJob(input: $input) { job { id } errors { __typename } } }";

async fn sign_in(http: &Http, email: &str, password: &str) -> Value {
    let input = json!({ "input": { "email": email, "password": password } });
    http.graphql(None, SIGN_IN, input).await.at("/data/signIn").clone()
}

/// The database of a home, opened behind the program's back.
async fn database(home: &Home) -> DatabaseConnection {
    let url = format!("sqlite:{}", home.path().join("data/lancewire.db").display());
    sea_orm::Database::connect(url).await.expect("opens")
}

/// The first column of a query's rows, as text.
async fn column(db: &DatabaseConnection, sql: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.expect("the query runs");
    rows.iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
}

#[tokio::test]
async fn the_schema_in_the_repository_is_the_one_it_prints() {
    let printed = Home::new().run(&["schema"]).await;
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    assert!(printed == include_str!("../../schema.graphql"), "run `make schema` and look at what changed");
}

#[tokio::test]
async fn what_cannot_be_used_stops_the_start_with_one_line_that_names_it() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    let production = ("LANCEWIRE_ENVIRONMENT", "production");
    let empty = |production: bool| if production { Home::new().in_production() } else { Home::new() };
    let cases: [(&[(&'static str, &str)], &str); 18] = [
        (&[("LANCEWIRE_HTTP__LISSEN", "127.0.0.1:1")], "lissen"),
        (&[("LANCEWIRE_HTPP__LISTEN", "127.0.0.1:1")], "htpp"),
        (&[("LANCEWIRE_HTTP__LISTEN", "nowhere")], "http.listen"),
        (&[("LANCEWIRE_LIMITS__DEPTH", "deep")], "limits.depth"),
        (&[("LANCEWIRE_SOCKETS__PING_INTERVAL_MS", "0")], "sockets.ping_interval_ms"),
        (&[("LANCEWIRE_DATABASE__URL", "mysql://localhost/x")], "database.url"),
        (&[("LANCEWIRE_DATABASE__URL", "postgres://nobody@127.0.0.1:1/x")], "database.url"),
        (&[("LANCEWIRE_DATABASE__REPLICA_URL", "postgres://nobody@127.0.0.1:1/x")], "database.replica_url"),
        (&[("LANCEWIRE_TELEMETRY__FILTER", "lancewire=loud")], "telemetry.filter"),
        (&[("LANCEWIRE_CONFIG", "missing.toml")], "missing.toml"),
        (&[("LANCEWIRE_ENVIRONMENT", "staging")], "LANCEWIRE_ENVIRONMENT"),
        (&[production], "auth.keys_dir"),
        (&[production, ("LANCEWIRE_HTTP__ALLOWED_ORIGINS", "*")], "http.allowed_origins"),
        (&[production, ("LANCEWIRE_PAYMENTS__PROVIDER", "sandbox")], "payments.provider"),
        (&[production, ("LANCEWIRE_AUTH__PASSWORD_ITERATIONS", "1")], "auth.password_memory_kib"),
        (&[production, ("LANCEWIRE_AUTH__ACCESS_TOKEN_SECONDS", "31536000")], "auth.access_token_seconds"),
        (&[production, ("LANCEWIRE_AUTH__REFRESH_TOKEN_SECONDS", "315360000")], "auth.refresh_token_seconds"),
        (&[("LANCEWIRE_HTTP__LISTEN", &taken)], "http.listen"),
    ];
    for (variables, named) in cases {
        let home = empty(variables.first() == Some(&production));
        let home = variables.iter().fold(home, |home, (name, value)| home.with(name, *value));
        let output = home.run(&[]).await;
        let said = lines(&output.stderr);
        assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{variables:?}: {said:#?}");
        assert!(said[0].starts_with("lancewire: ") && said[0].contains(named), "{variables:?}: {said:#?}");
        assert_eq!(lines(&output.stdout), [""; 0], "{variables:?}");
    }
    drop(holder);
}

#[tokio::test]
async fn production_starts_with_keys_of_its_own_only() {
    let home = Home::new();
    assert!(home.run(&["migrate"]).await.status.success());
    home.run(&["seed"]).await;
    let home = home.in_production();
    for (prepare, expected) in [(true, "is a development secret"), (false, "has no signing key")] {
        if !prepare {
            fs::remove_dir_all(home.path().join("data/keys")).expect("removed");
            fs::create_dir(home.path().join("data/keys")).expect("made");
        }
        let output = home.run(&["serve"]).await;
        let said = lines(&output.stderr);
        assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{said:#?}");
        assert!(said[0].contains("auth.keys_dir") && said[0].contains(expected), "{said:#?}");
    }
}

#[tokio::test]
async fn production_does_not_serve_accounts_with_the_demo_password() {
    let home = Home::new();
    assert!(home.run(&["seed"]).await.status.success());
    // Not the key of development either.
    fs::remove_dir_all(home.path().join("data/keys")).expect("removed");
    fs::create_dir(home.path().join("data/keys")).expect("made");
    let key = home.path().join("data/keys/own.pem");
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&key).output().await;
    assert!(made.expect("openssl runs").status.success());
    let home = home.in_production();
    let output = home.run(&["serve"]).await;
    let said = lines(&output.stderr);
    assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{said:#?}");
    assert!(said[0].contains("9 accounts of a development server") && said[0].contains("ada@example.com"), "{said:#?}");
}

#[tokio::test]
async fn a_database_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    let server = home.serve().await;
    for file in ["lancewire.db", "lancewire.db-wal", "lancewire.db-shm"] {
        let mode = fs::metadata(home.path().join("data").join(file)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_serves_people_and_jobs_and_keeps_them() {
    let home = Home::new();
    let began = Instant::now();
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let ready = http.request(Method::GET, "/health/ready").send().await.expect("an answer");
    assert_eq!(ready.status().as_u16(), 200);
    assert!(began.elapsed() < Duration::from_secs(20), "a debug build on a busy machine included");

    let db = database(&home).await;
    let count = async |sql: &str| column(&db, &format!("SELECT CAST(COUNT(*) AS TEXT) FROM {sql}")).await.remove(0);
    for (sql, expected) in [
        ("users WHERE is_client", "3"),
        ("users WHERE is_freelancer", "5"),
        ("users WHERE is_admin", "1"),
        ("users", "9"),
        ("jobs", "40"),
        ("skills", "176"),
    ] {
        assert_eq!(count(sql).await, expected, "{sql}");
    }
    let states = async |table: &str| column(&db, &format!("SELECT DISTINCT status FROM {table} ORDER BY 1")).await;
    assert_eq!(states("jobs").await, ["CANCELLED", "CLAIMED", "COMPLETED", "DRAFT", "IN_REVIEW", "OPEN"]);
    assert_eq!(states("claims").await, ["ACTIVE", "APPROVED", "IN_REVIEW", "RELEASED", "REVISION_REQUESTED"]);
    assert_eq!(states("deliverables").await, ["APPROVED", "REVISION_REQUESTED", "SUBMITTED", "SUPERSEDED"]);
    assert_eq!(states("transactions").await, ["FAILED", "PENDING", "POSTED", "VOIDED"]);

    // The line that newcomers paste.
    let (_, line) = server.greeting.split_once("Try it:").expect("a line to try");
    let tried = Command::new("sh").args(["-c", line]).env("no_proxy", "*").output().await.expect("sh runs");
    assert!(tried.status.success(), "{line}: {}", String::from_utf8_lossy(&tried.stderr));
    let answer: Value = serde_json::from_slice(&tried.stdout).expect("JSON");
    assert_eq!(answer.pointer("/data/jobs/nodes").and_then(Value::as_array).map(Vec::len), Some(3), "{answer}");
    for email in ["ada@example.com", "ben@example.com", "root@example.com"] {
        assert!(server.greeting.contains(email), "{}", server.greeting);
        let signed_in = sign_in(&http, email, "correct-horse-battery").await;
        assert_eq!(signed_in["errors"], json!([]), "{email}");
    }

    let jobs = column(&db, "SELECT hex(id) FROM jobs ORDER BY id").await;
    db.close().await.expect("closes");
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
    let again = home.serve().await;
    let db = database(&home).await;
    assert_eq!(column(&db, "SELECT hex(id) FROM jobs ORDER BY id").await, jobs, "nothing was seeded twice");
    db.close().await.expect("closes");
    again.signal("INT").await;
    assert_eq!(again.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_answered_before_the_end() {
    let home = Home::new();
    let server = home.serve().await;
    let body = json!({ "query": "{ skills(prefix: \"rust\") { slug } }" }).to_string();
    let mut slow = TcpStream::connect(server.addr).await.expect("connects");
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        server.addr,
        body.len()
    );
    let (first, rest) = body.split_at(5);
    slow.write_all(format!("{head}{first}").as_bytes()).await.expect("sends");
    // Another request on another connection: by the time of its answer the first one is being read.
    Http::new(server.addr).graphql(None, "{ viewer { id } }", json!({})).await.data();
    server.signal("TERM").await;
    until("the server takes no new connections", || !server.accepts()).await;
    slow.write_all(rest.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    soon(slow.read_to_string(&mut answer)).await.expect("an answer, and the end of the connection");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"slug\":\"rust\""), "{answer}");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancer_sees_that_a_server_is_about_to_stop_while_it_still_serves() {
    let home = Home::new().with("LANCEWIRE_HTTP__DRAIN_DELAY_MS", "3000");
    let server = home.serve().await;
    let early = Socket::connect(server.addr, None).await;
    let http = Http::new(server.addr);
    let ready = async || {
        let answer = http.request(Method::GET, "/health/ready").send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON")["stopping"].clone())
    };
    assert_eq!(ready().await, (200, json!(false)));
    server.signal("TERM").await;
    let told = async { while ready().await != (503, json!(true)) {} };
    soon(told).await;
    // Clients that have not noticed are served as before.
    Http::new(server.addr).graphql(None, "{ skills { slug } }", json!({})).await.data();
    let late = Socket::connect(server.addr, None).await;
    assert_eq!(early.ping(json!({ "here": true })).await, json!({ "here": true }));
    for socket in [early, late] {
        assert_eq!(socket.closed().await.0, 1012);
    }
    until("the server takes no new connections", || !server.accepts()).await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_twice_does_not_wait_for_load_balancers() {
    let home = Home::new().with("LANCEWIRE_HTTP__DRAIN_DELAY_MS", "3600000");
    let server = home.serve().await;
    let http = Http::new(server.addr);
    server.signal("TERM").await;
    let told = async {
        while http.request(Method::GET, "/health/ready").send().await.expect("an answer").status().as_u16() == 200 {}
    };
    soon(told).await;
    server.signal("INT").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_leave_one_after_the_other_and_a_mutation_under_way_is_answered() {
    let home = Home::new()
        .with("LANCEWIRE_SOCKETS__DRAIN_MS", "4000")
        .with("LANCEWIRE_DATABASE__LOCK_TIMEOUT_MS", "20000")
        .with("LANCEWIRE_AUTH__ACCESS_TOKEN_SECONDS", "3600");
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let token = text(&sign_in(&http, "ada@example.com", "correct-horse-battery").await, "/session/accessToken");
    let busy = Socket::connect(server.addr, Some(&token)).await;
    let idle = join_all((0..20).map(|_| Socket::connect(server.addr, None))).await;

    // Somebody else writes, so the mutation waits. The pong says that it was read, and so has begun.
    let mut options =
        sea_orm::ConnectOptions::new(format!("sqlite:{}", home.path().join("data/lancewire.db").display()));
    let lock = sea_orm::Database::connect(options.max_connections(1).to_owned()).await.expect("opens");
    lock.execute_unprepared("BEGIN IMMEDIATE").await.expect("locked");
    let mutation = busy.subscribe(POST, json!({ "input": new_job("Under way", "1.00") }));
    busy.ping(Value::Null).await;

    let began = Instant::now();
    server.signal("TERM").await;
    let ends = join_all(idle.iter().map(async |socket| (socket.closed().await.0, began.elapsed()))).await;
    assert!(ends.iter().all(|(code, _)| *code == 1012), "{ends:?}");
    let (first, last) = (ends.iter().map(|(_, at)| at).min(), ends.iter().map(|(_, at)| at).max());
    let spread = *last.expect("many") - *first.expect("many");
    assert!(spread >= Duration::from_secs(1), "a batch each tenth of a second: {ends:?}");

    lock.execute_unprepared("ROLLBACK").await.expect("free");
    let answer = busy.next(&mutation).await;
    assert_eq!(answer["data"]["postJob"]["errors"], json!([]), "{answer}");
    busy.completed(&mutation).await;
    assert_eq!(busy.closed().await.0, 1012);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(13), "twice the drain time and five seconds");
    assert_eq!(column(&lock, "SELECT title FROM jobs WHERE title = 'Under way'").await, ["Under way"]);
    lock.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_database_is_away_ends_at_once_and_cleanly() {
    let database = postgres::shared().await.empty().await;
    // Waiting for the end of the grace, or for a connection, would take hours.
    let dress = |home: Home| {
        let home = home.with("LANCEWIRE_DATABASE__ACQUIRE_TIMEOUT_MS", "3600000");
        home.with("LANCEWIRE_SOCKETS__DRAIN_MS", "3600000").with("LANCEWIRE_PAYMENTS__PROVIDER", "sandbox")
    };
    let mut cluster = Cluster::start(database.url(), dress).await;
    let [one, other] = &mut cluster.nodes;
    let http = Http::new(other.addr);
    let feed = "subscription { jobPosted { job { id client { skills { slug } } } } }";
    let socket = Socket::connect(other.addr, None).await;
    socket.subscribe(feed, json!({}));
    let stream = Stream::open(request(&http, SSE, None, feed, json!({}))).await;
    let listen = "lancewire_subscriptions{field=\"jobPosted\"} 2";
    soon(async { while !metrics(&http).await.contains(listen) {} }).await;

    // What the other node posts comes by Redis, and cannot be answered without the database.
    other.database.set(Wire::Cut);
    let ada = Http::new(one.addr);
    let token = text(&sign_in(&ada, "ada@example.com", "correct-horse-battery").await, "/session/accessToken");
    let posted = ada.graphql(Some(&token), POST, json!({ "input": new_job("Unheard", "1.00") })).await;
    assert_eq!(posted.at("/data/postJob/errors"), &json!([]));
    let arrived = async { while !metrics(&http).await.contains("lancewire_events_total{kind=\"JOB_POSTED\"} 1") {} };
    soon(arrived).await;

    // Clean, and nobody was told half of it.
    other.stop().await;
    assert_eq!(socket.closed().await.0, 1012);
    let heard = stream.rest().await;
    assert!(!heard.contains("event: next"), "{heard}");
}

#[tokio::test]
async fn a_log_in_a_file_has_no_colours() {
    let home = Home::new().with("LANCEWIRE_TELEMETRY__FILTER", "info").with("LANCEWIRE_TELEMETRY__FORMAT", "text");
    let server = home.serve_into("log").await;
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
    let log = fs::read_to_string(home.path().join("log")).expect("a log");
    assert!(log.contains("INFO") && !log.contains('\u{1b}'), "{log}");
}

/// At the start at once, in one line; while it runs once for each time, however much fails because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_postgres_cannot_be_reached_is_said() {
    let refused = Home::new()
        .with("LANCEWIRE_DATABASE__URL", "postgres://nobody@127.0.0.1:1/x")
        // Trying for that long would not end in time.
        .with("LANCEWIRE_DATABASE__ACQUIRE_TIMEOUT_MS", "3600000");
    let output = refused.run(&["serve"]).await;
    let line = "lancewire: database.url: the database cannot be opened: nobody listens at 127.0.0.1:1: Connection refused \
                (os error 111)";
    assert_eq!((output.status.code(), lines(&output.stderr)), (Some(1), vec![line.to_owned()]));
    let somewhere = postgres::shared().await.empty().await;
    let nowhere = Home::new().with("LANCEWIRE_DATABASE__URL", format!("{}_not", somewhere.url()));
    let said = lines(&nowhere.run(&["serve"]).await.stderr);
    assert!(said.len() == 1 && said[0].matches("does not exist").count() == 1, "{said:#?}");

    let database = Mortal::start().await;
    let home = Home::new().with("LANCEWIRE_DATABASE__URL", database.url());
    let home = home.with("LANCEWIRE_DATABASE__ACQUIRE_TIMEOUT_MS", "3600000");
    let home = home.with("LANCEWIRE_TELEMETRY__FILTER", "info").with("LANCEWIRE_TELEMETRY__FORMAT", "json");
    let server = home.serve_into("log").await;
    let told = |words: &str| {
        let log = fs::read_to_string(home.path().join("log")).expect("a log");
        log.lines().filter(|line| line.contains(words)).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    for time in 1..=2 {
        database.crash().await;
        let away = "database.url: the database cannot be reached";
        until("it says that the database is away", || told(away).len() == time).await;
        let line = told(away).remove(time - 1);
        assert!(line.contains("nobody listens at 127.0.0.1:") && line.contains("Connection refused"), "{line}");
        database.recover().await;
        until("it says that the database is back", || told("the database can be reached again").len() == time).await;
    }
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

async fn metrics(http: &Http) -> String {
    http.request(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("a text")
}

#[tokio::test]
async fn verify_names_the_row_that_breaks_the_books() {
    let home = Home::new();
    let seeded = home.run(&["seed"]).await;
    assert!(seeded.status.success(), "{:?}", lines(&seeded.stderr));
    assert_eq!(home.run(&["seed"]).await.status.code(), Some(1), "only an empty database is seeded");
    let good = home.run(&["verify"]).await;
    assert_eq!(good.status.code(), Some(0));
    let found = lines(&good.stdout);
    assert!(found.iter().all(|line| line.starts_with("ok ") || line.starts_with("note ")), "{found:#?}");
    let progress = lines(&good.stderr);
    assert!(progress.iter().any(|line| line.starts_with("lancewire: ") && line.contains(" s: ")), "{progress:#?}");

    let db = database(&home).await;
    let refused = db.execute_unprepared("UPDATE entries SET amount_minor = amount_minor + 1").await;
    refused.expect_err("entries are append-only");
    let journal = column(&db, "SELECT lower(hex(journal_id)) FROM entries LIMIT 1").await.remove(0);
    for sql in [
        "DROP TRIGGER entries_no_update".to_owned(),
        format!("UPDATE entries SET amount_minor = amount_minor + 1 WHERE journal_id = x'{journal}' AND place = 0"),
    ] {
        db.execute_unprepared(&sql).await.expect("done");
    }
    db.close().await.expect("closes");
    let bad = home.run(&["verify"]).await;
    assert_eq!(bad.status.code(), Some(1));
    let said = String::from_utf8(bad.stdout).expect("UTF-8");
    let journal = uuid::Uuid::parse_str(&journal).expect("an id").to_string();
    assert!(said.contains("BROKEN 1 the entries of each journal add up to zero"), "{said}");
    assert!(
        said.contains(&journal) && said.contains("trigger entries_no_update is missing"),
        "{journal} is not named:\n{said}"
    );
}

#[tokio::test]
async fn verify_says_when_it_could_not_look() {
    let file = Home::new();
    fs::create_dir_all(file.path().join("data")).expect("a folder");
    fs::write(file.path().join("data/lancewire.db"), "this is no database, and long enough to be told from one")
        .expect("written");
    let homes = [
        Home::new(),
        file,
        Home::new().with("LANCEWIRE_DATABASE__URL", "postgres://nobody@127.0.0.1:1/x"),
        Home::new().with("LANCEWIRE_LIMITS__DEPTH", "deep"),
    ];
    for home in homes {
        let output = home.run(&["verify"]).await;
        let said = lines(&output.stderr);
        assert_eq!((output.status.code(), said.len()), (Some(2), 1), "{said:#?}");
        assert_eq!(lines(&output.stdout), [""; 0]);
    }
}

#[tokio::test]
async fn the_currency_of_the_books_is_for_good() {
    let mut home = Home::new();
    assert!(home.run(&["seed"]).await.status.success());
    let cases: [&[(&'static str, &str)]; 3] = [
        &[("LANCEWIRE_MARKETPLACE__CURRENCY", "EUR")],
        &[("LANCEWIRE_MARKETPLACE__DECIMALS", "0")],
        &[("LANCEWIRE_MARKETPLACE__CURRENCY", "JPY"), ("LANCEWIRE_MARKETPLACE__DECIMALS", "0")],
    ];
    for settings in cases {
        home = settings.iter().fold(home, |home, (name, value)| home.with(name, *value));
        for (command, code) in [("serve", 1), ("migrate", 1), ("verify", 2)] {
            let output = home.run(&[command]).await;
            let said = lines(&output.stderr);
            assert_eq!((output.status.code(), said.len()), (Some(code), 1), "{command} {settings:?}: {said:#?}");
            let named = ["marketplace.currency", "marketplace.decimals", "are in USD with 2 decimals"];
            assert!(named.iter().all(|words| said[0].contains(words)), "{said:#?}");
        }
        home = home.with("LANCEWIRE_MARKETPLACE__CURRENCY", "USD").with("LANCEWIRE_MARKETPLACE__DECIMALS", "2");
    }
    assert_eq!(home.run(&["verify"]).await.status.code(), Some(0));
    let db = database(&home).await;
    db.execute_unprepared("UPDATE deployment SET currency = 'EUR'").await.expect_err("written once");
    db.close().await.expect("closes");
}

#[tokio::test]
async fn settings_come_from_a_file_and_the_environment_has_the_last_word() {
    let home = Home::new().with("LANCEWIRE_CONFIG", "own.toml");
    fs::write(home.path().join("own.toml"), "[marketplace]\ncurrency = \"euro\"\n").expect("written");
    let output = home.run(&["migrate"]).await;
    let said = lines(&output.stderr);
    assert!(output.status.code() == Some(1) && said[0].contains("marketplace.currency"), "{said:#?}");
    let home = home.with("LANCEWIRE_MARKETPLACE__CURRENCY", "EUR");
    let output = home.run(&["migrate"]).await;
    assert!(output.status.success(), "{:#?}", lines(&output.stderr));
    assert!(home.path().join("data/lancewire.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_makes_the_first_admin() {
    let home = Home::new().with("LANCEWIRE_ADMIN_PASSWORD", "an operator's secret");
    let made = home.run(&["admin", "create", "--email", "op@example.com"]).await;
    assert!(made.status.success(), "{:?}", lines(&made.stderr));
    assert!(lines(&made.stdout)[0].starts_with("user_"));
    let twice = home.run(&["admin", "create", "--email", "op@example.com"]).await;
    assert_eq!((twice.status.code(), lines(&twice.stderr).len()), (Some(1), 1), "{:?}", lines(&twice.stderr));

    let server = home.serve().await;
    let http = Http::new(server.addr);
    let token = text(&sign_in(&http, "op@example.com", "an operator's secret").await, "/session/accessToken");
    let viewer = http.graphql(Some(&token), "{ viewer { roles } transactions(first: 1) { nodes { id } } }", json!({}));
    assert_eq!(viewer.await.data()["viewer"]["roles"], json!(["ADMIN"]));
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill_and_the_rest_is_whole_or_nothing() {
    let home = Home::new();
    for _ in 0..4 {
        let server = home.serve().await;
        let http = Http::new(server.addr);
        let token = text(&sign_in(&http, "ada@example.com", "correct-horse-battery").await, "/session/accessToken");
        // Twelve at once, and the axe falls as soon as some of them are through.
        let posts = join_all((0..12).map(|number| post_until_killed(server.addr, &token, number)));
        let kill = async {
            let db = database(&home).await;
            let jobs = async || {
                let count = column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM jobs").await.remove(0);
                count.parse::<usize>().expect("a number")
            };
            let enough = jobs().await + 20;
            while jobs().await < enough {
                tokio::task::yield_now().await;
            }
            server.signal("KILL").await;
            db.close().await.expect("closes");
        };
        let (posts, ()) = soon(futures_util::future::join(posts, kill)).await;
        assert!(!server.ended().await.success());

        let verified = home.run(&["verify"]).await;
        assert_eq!(verified.status.code(), Some(0), "{:#?}", lines(&verified.stdout));
        let db = database(&home).await;
        let kept = column(&db, "SELECT key FROM idempotency_keys").await;
        let answered: Vec<String> = posts.into_iter().flatten().collect();
        assert!(!answered.is_empty());
        for key in answered {
            assert!(kept.contains(&key), "{key} was answered and is gone");
        }
        db.close().await.expect("closes");
    }
}

/// Posts jobs one after the other until the server is gone; returns the keys of those that were answered.
async fn post_until_killed(addr: SocketAddr, token: &str, number: usize) -> Vec<String> {
    let http = Http::new(addr);
    let mut answered = Vec::new();
    loop {
        let mut input = new_job(&format!("Killed {number}"), "1.00");
        let key = fresh_key();
        input["idempotencyKey"] = json!(key);
        let request = http.request(Method::POST, "/graphql").bearer_auth(token);
        let request = request.json(&json!({ "query": POST, "variables": { "input": input } }));
        let Ok(response) = request.send().await else { return answered };
        let Ok(body) = response.json::<Value>().await else { return answered };
        assert_eq!(body.pointer("/data/postJob/errors"), Some(&json!([])), "{body}");
        answered.push(key);
    }
}
