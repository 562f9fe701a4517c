//! The canary: what people send is sung into every ear the server has, and must come back from none: not from its log,
//! whatever the level, and not from its metrics.
//!
//! The real binary runs in a process of its own, so that the log is all that an operator would see.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::{
    app::migrate,
    http::{Http, Reply},
    people::{fresh_key, money, text},
    postgres,
    socket::Socket,
};

/// In everything that is sent and is not for the log: names, texts, passwords, addresses, keys, bad ids.
const SONG: &str = "kanarienvogel";

/// The same for passwords, which must not resemble an address.
const OTHER_SONG: &str = "nachtigall";

/// Everything, but the frames and statements of libraries below `debug`, which only somebody who debugs them asks for.
const FILTER: &str = "debug,lancewire=trace";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_private_is_in_log_or_metrics_on_sqlite() {
    let home = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", home.path().join("canary.db").display());
    sing(&url, home, "text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_private_is_in_log_or_metrics_on_postgres() {
    let database = postgres::shared().await.database(migrate).await;
    sing(database.url(), tempfile::tempdir().expect("a directory"), "json").await;
}

async fn sing(url: &str, home: TempDir, format: &str) {
    let mut server = Server::start(url, home.path(), format).await;
    let mut secrets = Secrets::default();
    let [client, freelancer] = sign_in_and_out(&server, &mut secrets).await;
    work(&server, &client, &freelancer).await;
    mistakes(&server, &client).await;
    sockets(&server, &client).await;
    let metrics = server.http.request(Method::GET, "/metrics").send().await.expect("metrics");
    let metrics = metrics.text().await.expect("a text");
    server.process.kill().await.expect("it can be stopped");
    let log = fs::read_to_string(home.path().join("log")).expect("a log");

    // The ears are open: what should be there is there.
    assert!(log.lines().filter(|line| line.contains("/graphql")).count() > 40, "{log}");
    for line in ["Nest", "sign-in failed", "came twice", "socket ended", "operation.hash"] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
    assert!(log.contains(&client.id) && metrics.contains("lancewire_http_requests_total"), "{metrics}");
    for (ear, heard) in [("log", &log), ("metrics", &metrics)] {
        for (what, secret) in &secrets.0 {
            let line = heard.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "the {ear} has {what}: {line:?}");
        }
        for song in [SONG, OTHER_SONG] {
            let line = heard.lines().find(|line| line.to_lowercase().contains(song));
            assert!(line.is_none(), "the {ear} sings: {line:?}");
        }
    }
}

/// What must not be found, by what it is.
#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn keep(&mut self, what: &str, reply: &Reply, pointer: &str) -> String {
        let secret = text(&reply.body, pointer);
        self.0.insert(format!("{what} {}", self.0.len()), secret.clone());
        secret
    }
}

struct Account {
    id: String,
    token: String,
}

const SIGNED_IN: &str = "{ user { id } session { accessToken refreshToken } errors { __typename } }";

/// Every way that a password and a token can go, right and wrong.
async fn sign_in_and_out(server: &Server, secrets: &mut Secrets) -> [Account; 2] {
    let mut accounts = Vec::new();
    for role in ["CLIENT", "FREELANCER"] {
        let email = format!("{SONG}-{}@example.com", fresh_key());
        let (password, next) = (format!("{OTHER_SONG} by night"), format!("{OTHER_SONG} by day"));
        let sign_up = format!("mutation($input: SignUpInput!) {{ signUp(input: $input) {SIGNED_IN} }}");
        let input = json!({ "email": email, "password": password, "displayName": SONG, "roles": [role] });
        let reply = server.run(None, &sign_up, json!({ "input": input })).await;
        let token = secrets.keep("an access token", &reply, "/data/signUp/session/accessToken");
        let refresh = secrets.keep("a refresh token", &reply, "/data/signUp/session/refreshToken");
        let id = text(&reply.body, "/data/signUp/user/id");
        // The address is taken now.
        server.run(None, &sign_up, json!({ "input": input })).await;

        let sign_in = format!("mutation($input: SignInInput!) {{ signIn(input: $input) {SIGNED_IN} }}");
        for wrong in [
            json!({ "email": email, "password": format!("wrong {OTHER_SONG}") }),
            json!({ "email": SONG, "password": SONG }),
        ] {
            server.run(None, &sign_in, json!({ "input": wrong })).await;
        }
        // In the text of the operation, once well and once badly formed.
        for end in ["", " %"] {
            let literal =
                format!("mutation {{ signIn(input: {{ email: {email:?} password: {password:?} }}) {SIGNED_IN} }}{end}");
            server.run(None, &literal, json!({})).await;
        }
        let change = "mutation($input: ChangePasswordInput!) { changePassword(input: $input) \
                      { session { accessToken refreshToken } errors { __typename } } }";
        for current in [&next, &password] {
            let input = json!({ "currentPassword": current, "newPassword": next });
            let reply = server.run(Some(&token), change, json!({ "input": input })).await;
            if current == &password {
                secrets.keep("an access token", &reply, "/data/changePassword/session/accessToken");
                secrets.keep("a refresh token", &reply, "/data/changePassword/session/refreshToken");
            }
        }
        // The session goes on, and its tokens with it.
        server.run(Some(&token), "{ viewer { id } }", json!({})).await;
        let again = format!("mutation($input: RefreshSessionInput!) {{ refreshSession(input: $input) {SIGNED_IN} }}");
        server.run(None, &again, json!({ "input": { "refreshToken": refresh } })).await;
        let input = json!({ "email": email, "password": next });
        let reply = server.run(None, &sign_in, json!({ "input": input })).await;
        let refresh = secrets.keep("a refresh token", &reply, "/data/signIn/session/refreshToken");
        // Used once, and used again: the same comes back. When that has been used, the session ends.
        let mut next = refresh.clone();
        for token in 0..3 {
            let used = if token < 2 { &refresh } else { &next };
            let reply = server.run(None, &again, json!({ "input": { "refreshToken": used } })).await;
            secrets.keep("an access token", &reply, "/data/refreshSession/session/accessToken");
            next = secrets.keep("a refresh token", &reply, "/data/refreshSession/session/refreshToken");
        }
        server.run(None, &again, json!({ "input": { "refreshToken": refresh } })).await;
        let reply = server.run(None, &sign_in, json!({ "input": input })).await;
        let token = secrets.keep("an access token", &reply, "/data/signIn/session/accessToken");
        accounts.push(Account { id, token });
    }
    accounts.try_into().ok().expect("two accounts")
}

/// From the deposit to the payment, with a song in every text.
async fn work(server: &Server, client: &Account, freelancer: &Account) {
    let key = || format!("{SONG}-{}", fresh_key());
    let deposit = json!({ "amount": money("500.00"), "idempotencyKey": key() });
    server.mutate(client, "deposit", deposit, "wallet { id }").await;
    let own = "{ viewer { email wallet { available { amount } } } }";
    // The sandbox settles when it is due; each look is one more line in the log.
    while server.run(Some(&client.token), own, json!({})).await.at("/data/viewer/wallet/available/amount") == "0.00" {}
    let job =
        json!({ "title": SONG, "description": SONG, "budget": money("100.00"), "skills": [], "idempotencyKey": key() });
    let job = text(&server.mutate(client, "postJob", job, "job { id }").await, "/job/id");
    let claim = json!({ "jobId": job, "idempotencyKey": key() });
    let claim = text(&server.mutate(freelancer, "claimJob", claim, "claim { id }").await, "/claim/id");
    let mut work = String::new();
    for _ in 0..2 {
        let submit = json!({ "claimId": claim, "note": SONG, "idempotencyKey": key() });
        work = text(
            &server.mutate(freelancer, "submitDeliverable", submit, "deliverable { id }").await,
            "/deliverable/id",
        );
    }
    let approve = json!({ "deliverableId": work, "idempotencyKey": key() });
    server.mutate(client, "approveDeliverable", approve, "job { status }").await;
    let withdraw = json!({ "amount": money("10.00"), "destination": SONG, "idempotencyKey": key() });
    server.mutate(freelancer, "withdraw", withdraw, "wallet { id }").await;
}

/// What goes wrong is logged, and what was sent is not.
async fn mistakes(server: &Server, client: &Account) {
    let token = Some(client.token.as_str());
    for (query, variables) in [
        ("query($id: ID!) { node(id: $id) { id } }", json!({ "id": format!("job_{SONG}") })),
        ("query($id: ID!) { job(id: $id) { id } }", json!({ "id": { SONG: SONG } })),
        ("query($q: String) { jobs(first: 1, query: $q) { nodes { id } } }", json!({ "q": SONG })),
        ("query($q: Int) { jobs(first: $q) { nodes { id } } }", json!({ "q": SONG })),
        // The name of an operation is part of the program that sends it, and the one thing that the log has of a document.
        ("query Nest { jobs(first: 1) { nodes { id } } }", json!({})),
        ("query { kanarienvogel }", json!({})),
        ("kanarienvogel", json!(SONG)),
    ] {
        server.run(token, query, variables).await;
    }
    for (name, field) in [
        ("cancelJob", "id"),
        ("publishJob", "id"),
        ("updateJob", "id"),
        ("claimJob", "jobId"),
        ("releaseClaim", "claimId"),
        ("submitDeliverable", "claimId"),
        ("requestRevision", "deliverableId"),
        ("approveDeliverable", "deliverableId"),
        ("confirmTransaction", "transactionId"),
        ("setUserRoles", "userId"),
        ("setUserSuspended", "userId"),
        ("markNotificationsRead", "upToId"),
    ] {
        let rest = match name {
            "cancelJob" | "releaseClaim" => json!({ "reason": SONG }),
            "updateJob" => json!({ "patch": { "title": SONG } }),
            "submitDeliverable" => json!({ "note": SONG, "idempotencyKey": SONG }),
            "requestRevision" => json!({ "note": SONG }),
            "setUserRoles" => json!({ "roles": [] }),
            "setUserSuspended" => json!({ "suspended": true, "reason": SONG }),
            "markNotificationsRead" => json!({}),
            _ => json!({ "idempotencyKey": SONG }),
        };
        let mut input = rest;
        input[field] = json!(format!("job_{SONG}"));
        server.run(token, &mutation(name, "errors { __typename }"), json!({ "input": input })).await;
    }
    server.run(Some(SONG), "{ viewer { id } }", json!({})).await;
    let path = format!("/graphql?query={{viewer{{id}}}}&variables={{\"{SONG}\":1}}&operationName={SONG}");
    let in_the_address = server.http.request(Method::GET, &path).header("cookie", SONG).bearer_auth(&client.token);
    in_the_address.send().await.expect("an answer");
    let not_json = server.http.request(Method::POST, "/graphql").header("content-type", "application/json");
    not_json.body(format!("{{ {SONG}")).send().await.expect("an answer");
}

/// The same over a socket.
async fn sockets(server: &Server, client: &Account) {
    let socket = Socket::connect(server.address, Some(&client.token)).await;
    let query = "subscription($filter: JobFilter) { jobPosted(filter: $filter) { id } }";
    let bad = socket.subscribe(query, json!({ "filter": { "anySkill": [SONG] } }));
    socket.error(&bad).await;
    let own = socket.subscribe("subscription { walletUpdated { id wallet { id } } }", json!({}));
    let query = socket.subscribe("query($id: ID!) { node(id: $id) { id } }", json!({ "id": SONG }));
    socket.next(&query).await;
    let deposit = json!({ "amount": money("1.00"), "idempotencyKey": format!("{SONG}-2") });
    // The subscription may begin after the first change; the sandbox makes a second.
    server.mutate(client, "deposit", deposit, "wallet { id }").await;
    socket.next(&own).await;
    socket.send(&json!({ "type": SONG }));
    socket.closed().await;
    let refused = Socket::connect_raw(server.address, &[]).await.expect("an upgrade");
    refused.send(&json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {SONG}") } }));
    refused.closed().await;
}

/// A running server of its own.
struct Server {
    process: Child,
    address: SocketAddr,
    http: Http,
    /// It has more to say, and a pipe that nobody holds would end it.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Server {
    async fn start(url: &str, home: &Path, format: &str) -> Self {
        let log = fs::File::create(home.join("log")).expect("a file");
        let command = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_lancewire"));
            command.env_remove("LANCEWIRE_TEST_POSTGRES_URL");
            command.current_dir(home).kill_on_drop(true).stderr(log.try_clone().expect("a file"));
            for (key, value) in [
                ("DATABASE__URL", url),
                ("HTTP__LISTEN", "127.0.0.1:0"),
                ("AUTH__PASSWORD_MEMORY_KIB", "8"),
                ("AUTH__PASSWORD_ITERATIONS", "1"),
                ("PAYMENTS__SANDBOX_DELAY_MS", "1"),
                ("TELEMETRY__FORMAT", format),
                ("TELEMETRY__FILTER", FILTER),
                ("ADMIN_PASSWORD", "nachtigall rules them all"),
            ] {
                command.env(format!("LANCEWIRE_{key}"), value);
            }
            command
        };
        // The first account: an empty database would be seeded.
        let admin = ["admin", "create", "--email", "kanarienvogel@example.com", "--name", SONG];
        let made = command().args(admin).stdout(Stdio::null()).status().await.expect("it runs");
        assert!(made.success(), "{}", fs::read_to_string(home.join("log")).unwrap_or_default());
        let mut process = command().arg("serve").stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("a line").expect("an address before the end");
            if let Some((_, address)) = line.split_once("is at http://") {
                break address.trim_end_matches('/').parse().expect("an address");
            }
        };
        Self { process, address, http: Http::new(address), _output: lines }
    }

    async fn run(&self, token: Option<&str>, query: &str, variables: Value) -> Reply {
        self.http.graphql(token, query, variables).await
    }

    /// A mutation that must succeed; its payload.
    async fn mutate(&self, who: &Account, name: &str, input: Value, fields: &str) -> Value {
        let query = mutation(name, &format!("{fields} errors {{ __typename ... on UserError {{ message }} }}"));
        let reply = self.run(Some(&who.token), &query, json!({ "input": input })).await;
        assert_eq!(reply.data()[name]["errors"], json!([]), "{reply}");
        reply.data()[name].clone()
    }
}

fn mutation(name: &str, fields: &str) -> String {
    let input = format!("{}{}Input", name[..1].to_uppercase(), &name[1..]);
    format!("mutation($input: {input}!) {{ {name}(input: $input) {{ {fields} }} }}")
}
