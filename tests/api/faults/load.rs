//! People at work while things break: they post, claim, release, hand in, approve, change and pay, over HTTP, and try
//! again with the same key until they are answered. What was acknowledged is written down.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    time::error::Elapsed,
};

use crate::support::{
    http::Http,
    people::{fresh_key, money, new_job, text},
};

/// How long somebody waits before they try again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the whole crowd may be left without an answer.
const GUARD: Duration = Duration::from_secs(90);
/// Longer than the server lets an operation take.
const PATIENCE: Duration = Duration::from_secs(20);

const CLIENTS: [&str; 3] = ["ada", "brian", "chandra"];
const FREELANCERS: [&str; 5] = ["ben", "dina", "emeka", "fumiko", "gregor"];
const ADMIN: &str = "root";

/// Somebody of the demo people.
#[derive(Clone, Debug)]
pub struct Somebody {
    pub name: &'static str,
    pub token: String,
}

/// A change that the server has said it made.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The job's or wallet's id and its version after the change.
    pub subject: String,
    pub version: i64,
    pub at: Instant,
}

/// The crowd, and what it has done so far.
pub struct Load {
    pub people: Vec<Somebody>,
    http: Http,
    description: String,
    stopped: AtomicBool,
    clocks_differ: AtomicBool,
    acknowledged: watch::Sender<usize>,
    /// Requests without a good answer.
    asked_again: watch::Sender<usize>,
    work: Notify,
    diary: Mutex<Diary>,
}

#[derive(Default)]
struct Diary {
    effects: Vec<Acknowledged>,
    /// Title and id of each job that was posted.
    posted: Vec<(String, String)>,
    /// Jobs that wait for a freelancer, by their client.
    open: VecDeque<(usize, String)>,
    /// Deliverables that wait for their client.
    handed_in: HashMap<usize, VecDeque<String>>,
    deposits: VecDeque<String>,
    /// Who asked to work on each job.
    askers: HashMap<String, HashSet<usize>>,
    /// When the trouble that nobody has got an answer since began.
    trouble: Option<Instant>,
    outages: Vec<Duration>,
}

impl Load {
    /// Signs everybody in. Jobs get descriptions of this length.
    pub async fn new(server: SocketAddr, description: usize) -> Self {
        let http = Http::new(server);
        let sign_in = async |name: &'static str| {
            let query = "mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } } }";
            let email = format!("{name}@example.com");
            let input = json!({ "input": { "email": email, "password": lancewire::seed::PASSWORD } });
            let reply = http.graphql(None, query, input).await;
            Somebody { name, token: text(&reply.body, "/data/signIn/session/accessToken") }
        };
        let mut people = Vec::new();
        for name in CLIENTS.into_iter().chain(FREELANCERS).chain([ADMIN]) {
            people.push(sign_in(name).await);
        }
        Self {
            people,
            http,
            description: "x".repeat(description),
            stopped: AtomicBool::new(false),
            clocks_differ: AtomicBool::new(false),
            acknowledged: watch::Sender::new(0),
            asked_again: watch::Sender::new(0),
            work: Notify::new(),
            diary: Mutex::default(),
        }
    }

    /// Everybody works until [`Load::stop`].
    pub async fn run(&self) {
        let clients = join_all((0..CLIENTS.len()).map(|client| self.client(client)));
        let freelancers = join_all((0..FREELANCERS.len()).map(|number| self.freelancer(CLIENTS.len() + number)));
        futures_util::join!(clients, freelancers, self.admin());
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.work.notify_waiters();
    }

    /// Waits for so many more answers.
    pub async fn answers(&self, more: usize) {
        grows(&self.acknowledged, more).await.expect("the crowd is answered");
    }

    /// Waits until so many more requests have failed.
    pub async fn failures(&self, more: usize) {
        grows(&self.asked_again, more).await.expect("the crowd is in trouble");
    }

    /// Something has just broken: the time from here to the next answer is an outage.
    pub fn in_trouble(&self) {
        self.diary().trouble.get_or_insert_with(Instant::now);
    }

    /// There was trouble for so long. Unlike [`Load::in_trouble`] for faults below which a change that is under way may
    /// still be made.
    pub fn was_out(&self, lasted: Duration) {
        self.diary().outages.push(lasted);
    }

    pub fn effects(&self) -> Vec<Acknowledged> {
        self.diary().effects.clone()
    }

    /// Title and id of each job that was posted.
    pub fn posted(&self) -> Vec<(String, String)> {
        self.diary().posted.clone()
    }

    /// Whether somebody may see what is private about a job: its client, everyone who claimed it, the admin.
    pub fn is_party(&self, who: usize, job: &str, title: &str) -> bool {
        let (name, admin) = (self.people[who].name, self.people.len() - 1);
        let own = title.strip_suffix(name).is_some_and(|title| title.ends_with(" of "));
        own || who == admin || self.diary().askers.get(job).is_some_and(|askers| askers.contains(&who))
    }

    /// From now on a node may refuse tokens that another one has made.
    pub fn expects_refused_tokens(&self) {
        self.clocks_differ.store(true, Ordering::Release);
    }

    /// How many requests failed and were sent again.
    pub fn asked_again(&self) -> usize {
        *self.asked_again.borrow()
    }

    pub fn outages(&self) -> Vec<Duration> {
        self.diary().outages.clone()
    }

    async fn client(&self, client: usize) {
        let mut own = Vec::new();
        for turn in 0_usize.. {
            let handed_in = self.diary().handed_in.get_mut(&client).and_then(VecDeque::pop_front);
            let done = match (turn % 6, handed_in) {
                (_, Some(deliverable)) => {
                    let input = json!({ "deliverableId": deliverable, "idempotencyKey": fresh_key() });
                    self.insist(client, "approveDeliverable", input, "job { id version } wallet { id version }").await
                }
                (2, None) => {
                    let input = json!({ "amount": money("5.00"), "idempotencyKey": fresh_key() });
                    let deposit =
                        self.insist(client, "deposit", input, "transaction { id } wallet { id version }").await;
                    if let Some(deposit) = &deposit {
                        self.diary().deposits.push_back(text(deposit, "/transaction/id"));
                        self.work.notify_waiters();
                    }
                    deposit
                }
                (4, None) if !own.is_empty() => {
                    let job: &String = &own[turn % own.len()];
                    let patch = json!({ "id": job, "patch": { "budget": money(&format!("1.{:02}", turn % 100)) } });
                    self.insist(client, "updateJob", patch, "job { id version } wallet { id version }").await
                }
                _ => {
                    let title = format!("Job {turn} of {}", self.people[client].name);
                    let mut job = new_job(&title, "1.00");
                    job["description"] = json!(self.description);
                    let posted = self.insist(client, "postJob", job, "job { id version } wallet { id version }").await;
                    if let Some(posted) = &posted {
                        let id = text(posted, "/job/id");
                        own.push(id.clone());
                        let mut diary = self.diary();
                        diary.posted.push((title, id.clone()));
                        diary.open.push_back((client, id));
                        drop(diary);
                        self.work.notify_waiters();
                    }
                    posted
                }
            };
            // Without an answer at all the day is over.
            if done.is_none() {
                return;
            }
        }
    }

    async fn freelancer(&self, freelancer: usize) {
        for turn in 0_usize.. {
            let Some((client, job)) = self.next(|diary| diary.open.pop_front()).await else { return };
            self.diary().askers.entry(job.clone()).or_default().insert(freelancer);
            let input = json!({ "jobId": job, "idempotencyKey": fresh_key() });
            let Some(claimed) = self.insist(freelancer, "claimJob", input, "claim { id } job { id version }").await
            else {
                return;
            };
            // Refused: somebody was faster.
            let Some(claim) = claimed["claim"]["id"].as_str() else { continue };
            if turn % 2 == 0 {
                let input = json!({ "claimId": claim, "reason": "Too busy." });
                if self.insist(freelancer, "releaseClaim", input, "job { id version }").await.is_none() {
                    return;
                }
                continue;
            }
            let input = json!({ "claimId": claim, "note": "Done.", "idempotencyKey": fresh_key() });
            let fields = "deliverable { id } job { id version }";
            let Some(submitted) = self.insist(freelancer, "submitDeliverable", input, fields).await else { return };
            let deliverable = text(&submitted, "/deliverable/id");
            self.diary().handed_in.entry(client).or_default().push_back(deliverable);
        }
    }

    async fn admin(&self) {
        let admin = self.people.len() - 1;
        while let Some(transaction) = self.next(|diary| diary.deposits.pop_front()).await {
            let input = json!({ "transactionId": transaction, "outcome": "POST", "idempotencyKey": fresh_key() });
            if self.insist(admin, "confirmTransaction", input, "wallet { id version }").await.is_none() {
                return;
            }
        }
    }

    /// The next piece of work, or none once stopped.
    async fn next<T>(&self, take: impl Fn(&mut Diary) -> Option<T>) -> Option<T> {
        loop {
            let mut changed = std::pin::pin!(self.work.notified());
            changed.as_mut().enable();
            if self.stopped.load(Ordering::Acquire) {
                return None;
            }
            let found = take(&mut self.diary());
            if found.is_some() {
                return found;
            }
            changed.await;
        }
    }

    /// Asks for a change until the server has answered: made, or refused for a reason. None once stopped.
    async fn insist(&self, who: usize, field: &str, input: Value, fields: &str) -> Option<Value> {
        let mut capital = field.to_owned();
        capital[..1].make_ascii_uppercase();
        let query = format!(
            "mutation($input: {capital}Input!) {{ {field}(input: $input) {{ {fields} errors {{ __typename \
             ... on UserError {{ code }} }} }} }}"
        );
        let request = json!({ "query": query, "variables": { "input": input } });
        while !self.stopped.load(Ordering::Acquire) {
            if let Some(mut body) = self.ask(who, &request).await {
                let payload = body["data"][field].take();
                if payload["errors"] == json!([]) {
                    self.write_down(&payload);
                    return Some(payload);
                }
                // A node that is frozen or dead may still be at it, as far as the database knows.
                let underway = payload.pointer("/errors/0/code") == Some(&json!("IDEMPOTENCY_IN_PROGRESS"));
                if payload.is_object() && !underway {
                    return Some(payload);
                }
                let code = body.pointer("/errors/0/extensions/code").and_then(Value::as_str).unwrap_or_default();
                let refused = self.clocks_differ.load(Ordering::Acquire) && code == "UNAUTHENTICATED";
                assert!(underway || refused || matches!(code, "INTERNAL_SERVER_ERROR" | "TIMEOUT"), "{field}: {body}");
            }
            self.asked_again.send_modify(|number| *number += 1);
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    /// The answer to one request, if one comes.
    async fn ask(&self, who: usize, request: &Value) -> Option<Value> {
        let request = self.http.request(Method::POST, "/graphql").json(request).timeout(PATIENCE);
        let response = request.bearer_auth(&self.people[who].token).send().await.ok()?;
        response.json().await.ok()
    }

    fn write_down(&self, payload: &Value) {
        let now = Instant::now();
        let mut diary = self.diary();
        for object in ["job", "wallet"].map(|object| &payload[object]).into_iter().filter(|object| object.is_object()) {
            let version = object["version"].as_i64().expect("a version");
            diary.effects.push(Acknowledged { subject: text(object, "/id"), version, at: now });
        }
        if let Some(since) = diary.trouble.take() {
            diary.outages.push(since.elapsed());
        }
        drop(diary);
        self.acknowledged.send_modify(|number| *number += 1);
    }

    fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().expect("nobody panicked")
    }
}

/// Waits until a number has grown by `more`.
async fn grows(number: &watch::Sender<usize>, more: usize) -> Result<(), Elapsed> {
    let enough = *number.borrow() + more;
    let mut number = number.subscribe();
    let waited = tokio::time::timeout(GUARD, number.wait_for(|number| *number >= enough)).await?;
    waited.map(drop).expect("the sender is held");
    Ok(())
}
