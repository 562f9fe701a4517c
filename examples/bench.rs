//! How fast the pieces are: commit to socket, deliveries a second, claims a second.
//!
//! Starts a server in this process, on an `SQLite` file of its own or on the database that `LANCEWIRE_BENCH_URL` names
//! (which is filled with rubbish), and drives it over real HTTP and real sockets. Server and load share the machine, so
//! the figures are what one machine does with both. Each figure stands beside its count of lost and doubled events.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use futures_util::{SinkExt, StreamExt, stream};
use lancewire::{
    app::App,
    clock::Clock,
    config::{Config, Environment},
    ids::Ids,
    seed::SKILLS,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

const SUBSCRIBERS: usize = 200;
const PACED: usize = 200;
const BURST: usize = 500;
const CLAIMS: usize = 500;
const WRITERS: usize = 8;

const SETTINGS: &str = r#"
    [http]
    listen = "127.0.0.1:0"
    [auth]
    free_attempts_per_address = 100000
    [marketplace]
    live_claims = 100000
    [budgets]
    anonymous = 4000000000
    signed_in = 4000000000
    [sockets]
    sockets_per_address = 100000
    messages_per_minute = 1000000
"#;

static KEYS: AtomicU64 = AtomicU64::new(0);

/// What a subscriber saw of an event.
struct Seen {
    subscriber: usize,
    id: String,
    occurred_at: DateTime<Utc>,
    arrived_at: DateTime<Utc>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = format!("sqlite:{}", home.path().join("bench.db").display());
    let url = std::env::var("LANCEWIRE_BENCH_URL").unwrap_or(file);
    let places =
        format!("[database]\nurl = {url:?}\n[auth]\nkeys_dir = {:?}\n", home.path().join("keys").display().to_string());
    let config = Config::layered(Environment::Development, &[SETTINGS, &places])?;
    let clock = Clock::system();
    let app = Arc::new(App::build(config, clock.clone(), Ids::from_entropy(clock)).await?);
    app.services.accounts.add_skills(&SKILLS).await?;
    let address = app.serve(app.listen().await?)?;
    let load = Load { http: reqwest::Client::builder().no_proxy().build()?, base: format!("{address}") };

    println!("machine   {}", machine());
    println!("database  {}", url.split(':').next().unwrap_or_default());
    let client = load.sign_up("CLIENT").await?;
    load.fund(&app, &client).await?;
    let freelancer = load.sign_up("FREELANCER").await?;

    let (sender, mut seen) = mpsc::channel(100_000);
    for subscriber in 0..SUBSCRIBERS {
        load.subscribe(subscriber, sender.clone()).await?;
    }

    let mut posted = Vec::new();
    for _ in 0..PACED {
        posted.push(load.post(&client).await?);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let record = collect(&mut seen, posted.len()).await;
    let mut micros: Vec<i64> =
        record.iter().filter_map(|seen| (seen.arrived_at - seen.occurred_at).num_microseconds()).collect();
    micros.sort_unstable();
    let at = |share: usize| micros.get(micros.len() * share / 1_000).copied().unwrap_or_default() as f64 / 1_000.0;
    println!(
        "\ncommit to socket, {SUBSCRIBERS} subscribers, {PACED} posts 10 ms apart (from the time stamp taken inside the \
         transaction, whole milliseconds)\n  p50 {:.1} ms  p95 {:.1} ms  p99 {:.1} ms   {}",
        at(500),
        at(950),
        at(990),
        losses(&record, &posted)
    );

    let began = Instant::now();
    let posts = stream::iter(0..BURST).map(|_| load.post(&client)).buffer_unordered(WRITERS);
    let posted: Vec<String> = posts.collect::<Vec<_>>().await.into_iter().collect::<Result<_>>()?;
    let written = began.elapsed().as_secs_f64();
    let record = collect(&mut seen, posted.len()).await;
    let delivered = began.elapsed().as_secs_f64();
    println!(
        "\nburst, {SUBSCRIBERS} subscribers, {BURST} posts by {WRITERS} writers\n  {:.0} posts/s  {:.0} deliveries/s   {}",
        BURST as f64 / written,
        record.len() as f64 / delivered,
        losses(&record, &posted)
    );

    let jobs = stream::iter(0..CLAIMS).map(|_| load.post(&client)).buffer_unordered(WRITERS);
    let jobs: Vec<String> = jobs.collect::<Vec<_>>().await.into_iter().collect::<Result<_>>()?;
    collect(&mut seen, jobs.len()).await;
    let began = Instant::now();
    let claims = stream::iter(jobs).map(|job| load.claim(&freelancer, job)).buffer_unordered(WRITERS);
    let claims = claims.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>>>()?;
    println!("\nclaims, {WRITERS} at a time\n  {:.0} claims/s", claims.len() as f64 / began.elapsed().as_secs_f64());

    let findings = lancewire::verify::verify(&app.db).await?;
    ensure!(findings.iter().all(|finding| finding.broken.is_empty()), "verify: {findings:#?}");
    println!("\nverify: every invariant holds");
    app.shut_down().await;
    Ok(())
}

/// Takes what the subscribers saw until all events are in or nothing more comes.
async fn collect(seen: &mut mpsc::Receiver<Seen>, events: usize) -> Vec<Seen> {
    let mut record = Vec::with_capacity(events * SUBSCRIBERS);
    while record.len() < events * SUBSCRIBERS {
        match tokio::time::timeout(Duration::from_secs(5), seen.recv()).await {
            Ok(Some(next)) => record.push(next),
            Ok(None) | Err(_) => break,
        }
    }
    record
}

fn losses(record: &[Seen], posted: &[String]) -> String {
    let mut by_subscriber: HashMap<usize, Vec<&str>> = HashMap::new();
    for seen in record {
        by_subscriber.entry(seen.subscriber).or_default().push(&seen.id);
    }
    let (mut lost, mut doubled) = (0, 0);
    for subscriber in 0..SUBSCRIBERS {
        let seen = by_subscriber.remove(&subscriber).unwrap_or_default();
        let unique: HashSet<&str> = seen.iter().copied().collect();
        doubled += seen.len() - unique.len();
        lost += posted.iter().filter(|id| !unique.contains(id.as_str())).count();
    }
    format!("lost {lost}  doubled {doubled}")
}

fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown CPU", |(_, model)| model.trim()).to_owned();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let profile = if cfg!(debug_assertions) { "DEBUG BUILD, not for comparison" } else { "optimised" };
    format!("{model}, {cores} cores for server and load together, {profile}")
}

/// The load generator.
struct Load {
    http: reqwest::Client,
    base: String,
}

impl Load {
    async fn run(&self, token: Option<&str>, query: &str, input: Value) -> Result<Value> {
        let mut request = self.http.post(format!("http://{}/graphql", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let body = json!({ "query": query, "variables": { "input": input } });
        Ok(request.json(&body).send().await?.json().await?)
    }

    async fn sign_up(&self, role: &str) -> Result<String> {
        let query = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } } }";
        let input = json!({
            "email": format!("{}@example.com", key()), "password": "battery-horse-staple", "displayName": role, "roles": [role],
        });
        text(&self.run(None, query, input).await?, "/data/signUp/session/accessToken")
    }

    /// Deposits until there is enough, and waits for the sandbox to confirm it.
    async fn fund(&self, app: &App, client: &str) -> Result<()> {
        let query = "mutation($input: DepositInput!) { deposit(input: $input) { transaction { id } } }";
        let amount = json!({ "amount": "1000000.00", "currencyCode": "USD" });
        let answer = self.run(Some(client), query, json!({ "amount": amount, "idempotencyKey": key() })).await?;
        let id = text(&answer, "/data/deposit/transaction/id")?.parse()?;
        Ok(app.services.wallets.settle(id, lancewire::wallet::model::SettlementOutcome::Post).await?)
    }

    async fn post(&self, client: &str) -> Result<String> {
        let query = "mutation($input: PostJobInput!) { postJob(input: $input) { job { id } } }";
        let input = json!({
            "idempotencyKey": key(), "title": "A job for the benchmark", "description": "Nothing to do.",
            "budget": { "amount": "10.00", "currencyCode": "USD" }, "skills": ["rust", "graphql"],
        });
        text(&self.run(Some(client), query, input).await?, "/data/postJob/job/id")
    }

    async fn claim(&self, freelancer: &str, job: String) -> Result<String> {
        let query = "mutation($input: ClaimJobInput!) { claimJob(input: $input) { claim { id } } }";
        let input = json!({ "jobId": job, "idempotencyKey": key() });
        text(&self.run(Some(freelancer), query, input).await?, "/data/claimJob/claim/id")
    }

    async fn subscribe(&self, subscriber: usize, seen: mpsc::Sender<Seen>) -> Result<()> {
        let mut request = format!("ws://{}/graphql", self.base).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        let (mut socket, _) = connect_async(request).await?;
        socket.send(Message::text(r#"{"type":"connection_init"}"#)).await?;
        socket.next().await.context("no acknowledgement")??;
        let query =
            "subscription { jobPosted { cursor occurredAt job { id title budget { amount } skills { slug } } } }";
        let message = json!({ "type": "subscribe", "id": "1", "payload": { "query": query } });
        socket.send(Message::text(message.to_string())).await?;
        socket.send(Message::text(r#"{"type":"ping"}"#)).await?;
        socket.next().await.context("no pong")??;
        #[expect(clippy::disallowed_methods, reason = "the task ends with the program")]
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                #[expect(clippy::disallowed_methods, reason = "a client has no clock but its own")]
                let arrived_at = Utc::now();
                let Ok(message) = message.to_text().map(serde_json::from_str::<Value>) else { continue };
                let Ok(message) = message else { continue };
                if message["type"] == "ping" {
                    let _ = socket.send(Message::text(r#"{"type":"pong"}"#)).await;
                    continue;
                }
                let event = &message["payload"]["data"]["jobPosted"];
                let (Some(id), Some(at)) = (event["job"]["id"].as_str(), event["occurredAt"].as_str()) else {
                    continue;
                };
                let Ok(occurred_at) = at.parse() else { continue };
                let next = Seen { subscriber, id: id.to_owned(), occurred_at, arrived_at };
                if seen.send(next).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

fn key() -> String {
    format!("bench-{}-{}", std::process::id(), KEYS.fetch_add(1, Ordering::Relaxed))
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(ToOwned::to_owned).with_context(|| format!("no {pointer} in {value}"))
}
