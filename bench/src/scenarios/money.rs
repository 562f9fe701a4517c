//! What money costs on PostgreSQL: whole lives of jobs as fast as they go, and payments of different pairs that should not
//! wait for each other. With `--against`, two builds in turns.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Bench, lone_lancewire};
use crate::{
    api::{Api, text},
    lancewire::{Lancewire, Settings, names},
    options::{Database, Options},
    postgres::Postgres,
    process::SERVER_CORE,
    report::{figure, ratio},
};

/// Connections that each live through one job after another.
const LIVES: usize = 64;
/// Pairs of a client and a freelancer whose work is approved.
const PAIRS: usize = 24;
/// Approvals of each pair.
const ROUNDS: usize = 8;
/// How long a byte is on its way to the database, and how long back.
const ONE_WAY: Duration = Duration::from_millis(1);

/// Jobs from post to approval, over 64 connections.
pub fn lives(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    bench.report.section(
        "Lives",
        &format!(
            "`postJob`, `claimJob`, `submitDeliverable` and `approveDeliverable`, one after the other, over {LIVES} \
             connections of {LIVES} pairs. PostgreSQL runs on the server's core, which it shares with lancewire; its CPU is \
             the floor that the statements themselves set."
        ),
    );
    let mut rows = Vec::new();
    for (name, options) in builds(bench) {
        rows.push(live(bench, name, &options)?);
    }
    let head = ["", "lives/s", "lancewire CPU ms a life", "PostgreSQL CPU ms a life", "statements a life"];
    bench.report.table(&head, &rows);
    Ok(())
}

fn builds(bench: &Bench) -> Vec<(&'static str, Options)> {
    let other = bench.options.other_build().map(|options| ("the other build", options));
    other.into_iter().chain([("lancewire", bench.options.clone())]).collect()
}

fn live(bench: &mut Bench, name: &str, options: &Options) -> Result<Vec<String>> {
    let home = bench.folder()?;
    let mut server = Lancewire::start(options, &Settings::on(Database::Postgres), &home)?;
    let pairs = people(&mut server, LIVES)?;
    let address = server.process.address;
    let time = bench.options.time();
    let (before, cpu) = (server.metrics()?, cpus(&server)?);
    let begun = Instant::now();
    let lives: u64 = thread::scope(|scope| {
        let workers: Vec<_> = pairs
            .iter()
            .map(|pair| {
                scope.spawn(move || -> Result<u64> {
                    let mut api = Api::connect(address)?;
                    let mut lives = 0;
                    while begun.elapsed() < time {
                        let work = pair.hand_in(&mut api)?;
                        pair.approve(&mut api, &work)?;
                        lives += 1;
                    }
                    Ok(lives)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).sum::<Result<u64>>()
    })?;
    let elapsed = begun.elapsed();
    let (after, spent) = (server.metrics()?, cpus(&server)?);
    let statements = after.since(&before).sum("lancewire_database_statements_total", "");
    let each = |time: Duration| figure(time.as_secs_f64() * 1e3 / lives as f64);
    Ok(vec![
        name.to_owned(),
        figure(lives as f64 / elapsed.as_secs_f64()),
        each(spent.0 - cpu.0),
        each(spent.1.saturating_sub(cpu.1)),
        statements.map_or_else(|| "-".to_owned(), |statements| figure(statements / lives as f64)),
    ])
}

fn cpus(server: &Lancewire) -> Result<(Duration, Duration)> {
    let postgres = server.postgres.as_ref().context("a PostgreSQL")?;
    Ok((server.process.cpu()?, postgres.cpu()?))
}

/// Approvals and confirmations of different pairs, one after the other and all at once, 2 ms away from the database.
pub fn contention(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    bench.report.section(
        "Contention",
        &format!(
            "`approveDeliverable` and `confirmTransaction` of {PAIRS} pairs, {ROUNDS} times each, with 2 ms there and back \
             between lancewire and PostgreSQL: one at a time, then all pairs at the same time."
        ),
    );
    let mut rows = Vec::new();
    for (name, options) in builds(bench) {
        rows.extend(contend(bench, name, &options)?);
    }
    let head = ["", "one at a time, a second", "24 at a time, a second", "times as many"];
    bench.report.table(&head, &rows);
    Ok(())
}

fn contend(bench: &mut Bench, name: &str, options: &Options) -> Result<Vec<Vec<String>>> {
    let home = bench.folder()?;
    let postgres = Postgres::start(SERVER_CORE)?;
    let url = postgres.url();
    let port: u16 = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).context("a port")?.parse()?;
    let far = far_away(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    let url = url.replace(&format!(":{port}/"), &format!(":{}/", far.port()));
    let mut settings = Settings::on(Database::Postgres)
        .set("LANCEWIRE_DATABASE__MAX_CONNECTIONS", 40)
        .set("LANCEWIRE_MARKETPLACE__LIVE_CLAIMS", ROUNDS + 1);
    if names(&options.binary, "caller_share_percent") {
        // One admin confirms everything: what is measured is what pairs wait for, not what one caller may hold.
        settings = settings.set("LANCEWIRE_DATABASE__CALLER_SHARE_PERCENT", 100);
    }
    let mut server = Lancewire::start_on(options, &settings, &url, Some(postgres), &home)?;
    let pairs = people(&mut server, PAIRS)?;
    let admin: String = server.sign_in("root@example.com")?.to_string();
    let address = server.process.address;
    let mut rows = Vec::new();
    for what in ["approvals", "confirmations"] {
        // Three heaps of the same: one for each way, and one before them that nobody times. A connection's first statements cost
        // PostgreSQL several times what they cost later: its caches are empty.
        let mut rates = Vec::new();
        for at_once in [true, false, true] {
            let heap = |pair: &Pair| -> Result<Vec<String>> {
                let mut api = Api::connect(address)?;
                (0..ROUNDS)
                    .map(|_| if what == "approvals" { pair.hand_in(&mut api) } else { pair.deposit(&mut api) })
                    .collect()
            };
            let heaps: Vec<Vec<String>> = pairs.iter().map(heap).collect::<Result<_>>()?;
            let done = |pair: &Pair, ids: &[String]| -> Result<()> {
                let mut api = Api::connect(address)?;
                for id in ids {
                    if what == "approvals" { pair.approve(&mut api, id)? } else { confirm(&mut api, &admin, id)? }
                }
                Ok(())
            };
            let begun = Instant::now();
            if at_once {
                thread::scope(|scope| -> Result<()> {
                    let done = &done;
                    let workers: Vec<_> =
                        pairs.iter().zip(&heaps).map(|(pair, ids)| scope.spawn(move || done(pair, ids))).collect();
                    workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
                })?;
            } else {
                pairs.iter().zip(&heaps).try_for_each(|(pair, ids)| done(pair, ids))?;
            }
            rates.push((PAIRS * ROUNDS) as f64 / begun.elapsed().as_secs_f64());
        }
        let [_, one, many] = rates[..] else { continue };
        rows.push(vec![format!("{name}: {what}"), figure(one), figure(many), ratio(many, Some(one))]);
    }
    Ok(rows)
}

/// A client with money and a freelancer.
struct Pair {
    client: String,
    freelancer: String,
}

const POST: &str =
    "mutation($input: PostJobInput!) { postJob(input: $input) { job { id } errors { ... on UserError { message } } } }";
const CLAIM: &str = "mutation($input: ClaimJobInput!) { claimJob(input: $input) { claim { id } errors { ... on UserError { message } } } }";
const SUBMIT: &str = "mutation($input: SubmitDeliverableInput!) { submitDeliverable(input: $input) { deliverable { id } \
                      errors { ... on UserError { message } } } }";
const APPROVE: &str = "mutation($input: ApproveDeliverableInput!) { approveDeliverable(input: $input) { job { id } \
                       errors { ... on UserError { message } } } }";
const DEPOSIT: &str = "mutation($input: DepositInput!) { deposit(input: $input) { transaction { id } errors { ... on UserError { message } } } }";
const CONFIRM: &str = "mutation($input: ConfirmTransactionInput!) { confirmTransaction(input: $input) { transaction { id } \
                       errors { ... on UserError { message } } } }";
const SIGN_UP: &str = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } errors { ... on UserError { message } } } }";

impl Pair {
    /// Posts a job, claims it and hands work in, whose id is returned.
    fn hand_in(&self, api: &mut Api) -> Result<String> {
        let job = json!({
            "title": "A job", "description": "All of it.", "budget": money("1.00"), "skills": ["rust"],
            "idempotencyKey": key(),
        });
        let job = text(&made(api, &self.client, POST, job)?, "/data/postJob/job/id")?;
        let claim = made(api, &self.freelancer, CLAIM, json!({ "jobId": job, "idempotencyKey": key() }))?;
        let claim = text(&claim, "/data/claimJob/claim/id")?;
        let input = json!({ "claimId": claim, "note": "Here.", "idempotencyKey": key() });
        text(&made(api, &self.freelancer, SUBMIT, input)?, "/data/submitDeliverable/deliverable/id")
    }

    fn approve(&self, api: &mut Api, work: &str) -> Result<()> {
        made(api, &self.client, APPROVE, json!({ "deliverableId": work, "idempotencyKey": key() })).map(drop)
    }

    fn deposit(&self, api: &mut Api) -> Result<String> {
        let input = json!({ "amount": money("1.00"), "idempotencyKey": key() });
        text(&made(api, &self.client, DEPOSIT, input)?, "/data/deposit/transaction/id")
    }
}

fn confirm(api: &mut Api, admin: &str, transaction: &str) -> Result<()> {
    made(api, admin, CONFIRM, json!({ "transactionId": transaction, "outcome": "POST", "idempotencyKey": key() }))
        .map(drop)
}

/// Signs pairs up, and gives each client 10,000.00.
fn people(server: &mut Lancewire, count: usize) -> Result<Vec<Pair>> {
    let admin = server.sign_in("root@example.com")?;
    let api = &mut server.api;
    let sign_up = |api: &mut Api, number: usize, role: &str| -> Result<String> {
        let input = json!({
            "email": format!("{}-{number}@pairs.example.com", role.to_lowercase()), "password": "correct-horse-battery",
            "displayName": "One of a pair", "roles": [role],
        });
        let answer = api.run(None, SIGN_UP, &json!({ "input": input }))?;
        text(&answer, "/data/signUp/session/accessToken")
    };
    (0..count)
        .map(|number| {
            let pair =
                Pair { client: sign_up(api, number, "CLIENT")?, freelancer: sign_up(api, number, "FREELANCER")? };
            let input = json!({ "amount": money("10000.00"), "idempotencyKey": key() });
            let deposit = text(&made(api, &pair.client, DEPOSIT, input)?, "/data/deposit/transaction/id")?;
            confirm(api, &admin, &deposit)?;
            Ok(pair)
        })
        .collect()
}

fn money(amount: &str) -> Value {
    json!({ "amount": amount, "currencyCode": "USD" })
}

/// One that was not used before in this run.
fn key() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("bench-money-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a mutation that must succeed.
fn made(api: &mut Api, token: &str, query: &str, input: Value) -> Result<Value> {
    let answer = api.run(Some(token), query, &json!({ "input": input }))?;
    ensure!(!answer.to_string().contains("\"message\""), "refused: {answer}");
    Ok(answer)
}

/// An address behind which a server is [`ONE_WAY`] away, for as long as this process lives.
fn far_away(server: SocketAddrV4) -> Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let std::net::SocketAddr::V4(address) = listener.local_addr()? else { anyhow::bail!("an IPv4 address") };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(server) else { continue };
            let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
            let (Ok(from_client), Ok(from_server)) = (client.try_clone(), upstream.try_clone()) else { continue };
            carry(from_client, upstream);
            carry(from_server, client);
        }
    });
    Ok(address)
}

/// Carries bytes one way, each so long after it came.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let (sender, received) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length) = from.read(&mut buffer) {
            if length == 0 || sender.send((Instant::now() + ONE_WAY, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((due, bytes)) = received.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
