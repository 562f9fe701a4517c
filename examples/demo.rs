//! The whole story against a running server, as a front end would live it: over HTTP and `graphql-transport-ws`.
//!
//! One client and three freelancers sign up; the client deposits, posts a job, and the three claim it at the same
//! moment. The winner delivers, the client approves, escrow pays. Every event is printed as it arrives. Ends with 0 only
//! if exactly one claim won and both balances are what they must be.
//!
//! `LANCEWIRE_URL` names another server than `http://127.0.0.1:4000`; its payment provider must be the sandbox.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// How long one step of the story may take.
const PATIENCE: Duration = Duration::from_secs(10);

static KEYS: AtomicU64 = AtomicU64::new(0);

#[tokio::main]
async fn main() -> Result<()> {
    let base = std::env::var("LANCEWIRE_URL").unwrap_or_else(|_| "http://127.0.0.1:4000".to_owned());
    let server = Server { http: reqwest::Client::builder().no_proxy().build()?, base };
    server.ready().await?;

    title("Four people sign up");
    let ada = server.sign_up("Ada", "CLIENT").await?;
    let freelancers =
        [server.sign_up("Ben", "FREELANCER"), server.sign_up("Cem", "FREELANCER"), server.sign_up("Dee", "FREELANCER")];
    let freelancers = join_all(freelancers).await.into_iter().collect::<Result<Vec<_>>>()?;

    title("They listen");
    let mut adas_wallet = ada.listen(WALLET, json!({})).await?;
    let mut adas_inbox = ada.listen(INBOX, json!({})).await?;
    let mut feed = freelancers[0]
        .listen("subscription { jobPosted { cursor job { id title budget { amount } } } }", json!({}))
        .await?;

    title("Ada deposits 1000.00 and waits until it is posted");
    let deposit = ada
        .mutate("deposit", json!({ "amount": usd("1000.00"), "idempotencyKey": key() }), "transaction { id status }")
        .await?;
    let deposit = text(&deposit, "/transaction/id")?;
    adas_wallet
        .until(|event| {
            let transaction = &event["walletUpdated"]["transaction"];
            transaction["id"] == deposit.as_str() && transaction["status"] == "POSTED"
        })
        .await
        .context("the deposit was not confirmed; is payments.provider the sandbox?")?;

    title("She posts a job for 800.00; its budget moves to escrow");
    let input = json!({
        "idempotencyKey": key(), "title": "Port a billing service to Rust", "description": "All of it, please.",
        "budget": usd("800.00"), "skills": ["rust"],
    });
    let posted = ada.mutate("postJob", input, "job { id }").await?;
    let job = text(&posted, "/job/id")?;
    feed.until(|event| event["jobPosted"]["job"]["id"] == job.as_str()).await?;
    adas_wallet.until(|event| event["walletUpdated"]["transaction"]["type"] == "ESCROW_HOLD").await?;

    let updates = "subscription($id: ID!) { jobUpdated(jobId: $id) { job { status version } changes } }";
    let mut updates = ada.listen(updates, json!({ "id": job })).await?;

    title("Three freelancers claim it at the same moment");
    let claims = freelancers.iter().map(|freelancer| {
        let input = json!({ "jobId": job, "idempotencyKey": key() });
        freelancer.try_mutate("claimJob", input, "claim { id }")
    });
    let mut winner = None;
    let mut winners = 0;
    for (freelancer, claimed) in freelancers.iter().zip(join_all(claims).await) {
        let claimed = claimed?;
        match claimed.pointer("/claim/id").and_then(Value::as_str) {
            Some(claim) => {
                println!("  {} won", freelancer.name);
                winners += 1;
                winner = Some((freelancer, claim.to_owned()));
            }
            None => println!("  {} was too late: {}", freelancer.name, text(&claimed, "/errors/0/message")?),
        }
    }
    ensure!(winners == 1, "{winners} claims won instead of one");
    let (winner, claim) = winner.context("nobody won")?;
    adas_inbox.until(|event| event["notificationReceived"]["notification"]["kind"] == "JOB_CLAIMED").await?;
    updates.until(|event| event["jobUpdated"]["job"]["status"] == "CLAIMED").await?;

    let mut winners_wallet = winner.listen(WALLET, json!({})).await?;
    title("The winner delivers");
    let input = json!({ "claimId": claim, "note": "Done, with tests.", "idempotencyKey": key() });
    let submitted = winner.mutate("submitDeliverable", input, "deliverable { id number }").await?;
    let deliverable = text(&submitted, "/deliverable/id")?;
    updates.until(|event| event["jobUpdated"]["job"]["status"] == "IN_REVIEW").await?;

    title("Ada approves; escrow pays");
    let input = json!({ "deliverableId": deliverable, "idempotencyKey": key() });
    ada.mutate("approveDeliverable", input, "job { status }").await?;
    updates.until(|event| event["jobUpdated"]["job"]["status"] == "COMPLETED").await?;
    let release = |event: &Value| event["walletUpdated"]["transaction"]["type"] == "ESCROW_RELEASE";
    adas_wallet.until(release).await?;
    winners_wallet.until(release).await?;

    title("Both balances");
    let (adas, theirs) = (ada.balance().await?, winner.balance().await?);
    println!("  Ada     available {}  in escrow {}", adas.0, adas.1);
    println!("  {}     available {}  in escrow {}", winner.name, theirs.0, theirs.1);
    let fee = winner.fee().await?;
    println!("  the platform keeps {fee}");
    ensure!(adas == ("200.00".into(), "0.00".into()), "Ada should have 200.00 and nothing in escrow");
    ensure!(cents(&theirs.0)? + cents(&fee)? == 80_000, "{} + {fee} is not the budget of 800.00", theirs.0);
    println!("\nExactly one claim won, and the books balance.");
    Ok(())
}

const WALLET: &str = "subscription { walletUpdated { wallet { version available { amount } inEscrow { amount } } \
                      transaction { id type status amount { amount } } } }";
const INBOX: &str = "subscription { notificationReceived { notification { kind title } } }";

/// The server under the story.
#[derive(Clone)]
struct Server {
    http: reqwest::Client,
    base: String,
}

/// Somebody who is signed in.
struct Person {
    name: String,
    token: String,
    server: Server,
}

/// A subscription on a socket of its own; prints what arrives.
struct Listening {
    events: mpsc::Receiver<Value>,
}

impl Server {
    async fn ready(&self) -> Result<()> {
        let ready = self.http.get(format!("{}/health/ready", self.base)).send().await;
        let ready = ready.with_context(|| format!("no server at {}; start one with `make run`", self.base))?;
        ensure!(ready.status().is_success(), "the server at {} is not ready", self.base);
        Ok(())
    }

    async fn run(&self, token: Option<&str>, query: &str, variables: Value) -> Result<Value> {
        let mut request = self.http.post(format!("{}/graphql", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let body = json!({ "query": query, "variables": variables });
        let answer: Value = request.json(&body).send().await?.json().await?;
        ensure!(answer["errors"].is_null(), "{}", answer["errors"]);
        Ok(answer["data"].clone())
    }

    async fn sign_up(&self, name: &str, role: &str) -> Result<Person> {
        let query = "mutation($input: SignUpInput!) { signUp(input: $input) { session { accessToken } \
                     errors { ... on UserError { message } } } }";
        let email = format!("{}-{}@example.com", name.to_lowercase(), key());
        let input = json!({ "email": email, "password": "battery-horse-staple", "displayName": name, "roles": [role] });
        let data = self.run(None, query, json!({ "input": input })).await?;
        let token = text(&data, "/signUp/session/accessToken").with_context(|| data.to_string())?;
        println!("  {name} is a {role}");
        Ok(Person { name: name.to_owned(), token, server: self.clone() })
    }
}

impl Person {
    /// Runs a mutation that may fail in the expected ways.
    async fn try_mutate(&self, field: &str, input: Value, fields: &str) -> Result<Value> {
        let mut capital = field.to_owned();
        capital[..1].make_ascii_uppercase();
        let query = format!(
            "mutation($input: {capital}Input!) {{ {field}(input: $input) {{ {fields} errors {{ ... on UserError {{ message }} }} }} }}"
        );
        let data = self.server.run(Some(&self.token), &query, json!({ "input": input })).await?;
        Ok(data[field].clone())
    }

    /// Runs a mutation that must do what it says.
    async fn mutate(&self, field: &str, input: Value, fields: &str) -> Result<Value> {
        let payload = self.try_mutate(field, input, fields).await?;
        ensure!(payload["errors"] == json!([]), "{field}: {}", payload["errors"]);
        Ok(payload)
    }

    /// Available and in escrow.
    async fn balance(&self) -> Result<(String, String)> {
        let query = "{ wallet { available { amount } inEscrow { amount } } }";
        let data = self.server.run(Some(&self.token), query, json!({})).await?;
        Ok((text(&data, "/wallet/available/amount")?, text(&data, "/wallet/inEscrow/amount")?))
    }

    /// What the platform kept of the last payment.
    async fn fee(&self) -> Result<String> {
        let query = "{ wallet { transactions(type: [ESCROW_RELEASE], first: 1) { nodes { fee { amount } } } } }";
        let data = self.server.run(Some(&self.token), query, json!({})).await?;
        text(&data, "/wallet/transactions/nodes/0/fee/amount")
    }

    /// Subscribes over a socket, and returns once the server has read the subscription: a ping sent after it was answered.
    async fn listen(&self, query: &str, variables: Value) -> Result<Listening> {
        let url = format!("{}/graphql", self.server.base.replacen("http", "ws", 1));
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        let (mut socket, _) = connect_async(request).await?;
        let authorization = format!("Bearer {}", self.token);
        for message in [
            json!({ "type": "connection_init", "payload": { "Authorization": authorization } }),
            json!({ "type": "subscribe", "id": "1", "payload": { "query": query, "variables": variables } }),
            json!({ "type": "ping" }),
        ] {
            let subscribes = message["type"] == "subscribe";
            if subscribes {
                wait_for(&mut socket, "connection_ack").await?;
            }
            socket.send(Message::text(message.to_string())).await?;
        }
        wait_for(&mut socket, "pong").await?;
        let (sender, events) = mpsc::channel(64);
        let name = self.name.clone();
        #[expect(clippy::disallowed_methods, reason = "the task ends with the program")]
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let Ok(message) = message.to_text().map(serde_json::from_str::<Value>) else { continue };
                match message {
                    Ok(message) if message["type"] == "next" => {
                        println!("  {name:4} <- {}", message["payload"]["data"]);
                        if sender.send(message["payload"]["data"].clone()).await.is_err() {
                            return;
                        }
                    }
                    Ok(message) if message["type"] == "ping" => {
                        let _ = socket.send(Message::text(json!({ "type": "pong" }).to_string())).await;
                    }
                    Ok(message) if message["type"] == "error" => eprintln!("  {name:4} <- {}", message["payload"]),
                    _ => {}
                }
            }
        });
        Ok(Listening { events })
    }
}

impl Listening {
    /// Takes events until one is what is waited for.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let search = async {
            while let Some(event) = self.events.recv().await {
                if wanted(&event) {
                    return Ok(());
                }
            }
            bail!("the socket closed")
        };
        timeout(PATIENCE, search).await.context("the event did not come")?
    }
}

async fn wait_for<S>(socket: &mut S, kind: &str) -> Result<()>
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let wait = async {
        while let Some(message) = socket.next().await {
            let message = message?;
            if serde_json::from_str::<Value>(message.to_text()?).is_ok_and(|message| message["type"] == kind) {
                return Ok(());
            }
        }
        bail!("the socket closed before {kind}")
    };
    timeout(PATIENCE, wait).await.with_context(|| format!("no {kind}"))?
}

fn title(words: &str) {
    println!("\n{words}");
}

fn usd(amount: &str) -> Value {
    json!({ "amount": amount, "currencyCode": "USD" })
}

fn cents(amount: &str) -> Result<i64> {
    Ok(amount.replace('.', "").parse()?)
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(ToOwned::to_owned).with_context(|| format!("no {pointer} in {value}"))
}

/// A key that no earlier run used.
#[expect(clippy::disallowed_methods, reason = "a client has no clock but its own")]
fn key() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("demo-{}-{}", since.as_nanos(), KEYS.fetch_add(1, Ordering::Relaxed))
}
