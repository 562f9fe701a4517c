//! People who use the server, with verbs of the domain. Each verb is one request over real HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    app::TestApp,
    http::{Http, Reply},
    socket::Socket,
};

/// The password of everybody in the tests.
pub const PASSWORD: &str = "a long enough secret";

/// What a job looks like in answers.
pub const JOB: &str =
    "id version title status budget { amount currencyCode } skills { slug } client { id } deadline postedAt";

/// What a file looks like in answers.
pub const FILE: &str = "id name contentType byteSize sha256 status downloadUrl";

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A key that was not used before.
pub fn fresh_key() -> String {
    format!("key-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Somebody with a name, and a token unless they are anonymous.
#[derive(Clone)]
pub struct Person {
    pub id: String,
    pub email: String,
    pub token: Option<Arc<str>>,
    pub refresh_token: String,
    pub http: Http,
    pub app: TestApp,
}

impl Person {
    pub fn anonymous(app: &TestApp) -> Self {
        let (id, email, refresh_token) = Default::default();
        Self { id, email, token: None, refresh_token, http: app.http.clone(), app: app.clone() }
    }

    /// Opens an account with these roles.
    pub async fn sign_up(app: &TestApp, name: &str, roles: &[&str]) -> Self {
        let email = format!("{}-{}@example.com", name.to_lowercase(), fresh_key());
        let query = "mutation($input: SignUpInput!) { signUp(input: $input) { user { id } errors { __typename } \
                     session { accessToken refreshToken } } }";
        let input = json!({ "email": email, "password": PASSWORD, "displayName": name, "roles": roles });
        let reply = app.http.graphql(None, query, json!({ "input": input })).await;
        Self::from_session(app, email, reply.at("/data/signUp"))
    }

    fn from_session(app: &TestApp, email: String, payload: &Value) -> Self {
        let text = |pointer: &str| {
            let text = payload.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_else(|| panic!("no {pointer} in {payload:#}")).to_owned()
        };
        Self {
            id: text("/user/id"),
            email,
            token: Some(text("/session/accessToken").into()),
            refresh_token: text("/session/refreshToken"),
            http: app.http.clone(),
            app: app.clone(),
        }
    }

    /// The same person, signed in once more: another session.
    pub async fn sign_in_again(&self) -> Self {
        let query = "mutation($input: SignInInput!) { signIn(input: $input) { user { id } session { accessToken \
                     refreshToken } errors { __typename } } }";
        let input = json!({ "input": { "email": self.email, "password": PASSWORD } });
        let reply = self.http.graphql(None, query, input).await;
        Self::from_session(&self.app, self.email.clone(), reply.at("/data/signIn"))
    }

    /// The same person with the same tokens, at another server.
    pub fn at(&self, app: &TestApp) -> Self {
        Self { http: app.http.clone(), app: app.clone(), ..self.clone() }
    }

    /// Runs any operation as this person.
    pub async fn run(&self, query: &str, variables: Value) -> Reply {
        self.http.graphql(self.token.as_deref(), query, variables).await
    }

    /// Opens a socket as this person.
    pub async fn socket(&self) -> Socket {
        self.app.published().await;
        Socket::connect(self.app.addr, self.token.as_deref()).await
    }

    /// Runs a mutation with one `input` and selects `fields` of its payload.
    pub async fn mutate(&self, field: &str, input: Value, fields: &str) -> Outcome {
        let mut capital = field.to_owned();
        capital[..1].make_ascii_uppercase();
        let query = format!(
            "mutation($input: {capital}Input!) {{ {field}(input: $input) {{ {fields} errors {{ __typename \
             ... on UserError {{ message code path }} }} }} }}"
        );
        Outcome { reply: self.run(&query, json!({ "input": input })).await, field: field.to_owned() }
    }

    /// Announces money and has the admin confirm it.
    pub async fn funded(self, amount: &str) -> Self {
        let deposit = self.deposit(amount).await.good();
        let id = deposit["transaction"]["id"].as_str().expect("an id");
        self.app.admin().await.confirm(id, "POST").await.good();
        self
    }

    pub async fn deposit(&self, amount: &str) -> Outcome {
        let input = json!({ "amount": money(amount), "idempotencyKey": fresh_key() });
        self.mutate("deposit", input, "transaction { id status version } wallet { version pendingIn { amount } }").await
    }

    pub async fn withdraw(&self, amount: &str) -> Outcome {
        let input = json!({ "amount": money(amount), "destination": "DE02 1203", "idempotencyKey": fresh_key() });
        let fields =
            "transaction { id status amount { amount } } wallet { available { amount } pendingOut { amount } }";
        self.mutate("withdraw", input, fields).await
    }

    pub async fn confirm(&self, transaction: &str, outcome: &str) -> Outcome {
        let input = json!({ "transactionId": transaction, "outcome": outcome, "idempotencyKey": fresh_key() });
        self.mutate("confirmTransaction", input, "transaction { id status version } wallet { available { amount } }")
            .await
    }

    /// Posts a job for 100.00 that asks for Rust.
    pub async fn post_job(&self, title: &str) -> Value {
        self.post(new_job(title, "100.00")).await.good()["job"].clone()
    }

    pub async fn post(&self, job: Value) -> Outcome {
        self.mutate(
            "postJob",
            job,
            &format!("job {{ {JOB} }} wallet {{ available {{ amount }} inEscrow {{ amount }} }}"),
        )
        .await
    }

    pub async fn draft(&self, job: Value) -> Outcome {
        self.mutate("draftJob", job, &format!("job {{ {JOB} }}")).await
    }

    pub async fn publish(&self, job: &str) -> Outcome {
        let input = json!({ "id": job, "idempotencyKey": fresh_key() });
        self.mutate("publishJob", input, &format!("job {{ {JOB} }}")).await
    }

    pub async fn update(&self, job: &str, patch: Value) -> Outcome {
        self.mutate("updateJob", json!({ "id": job, "patch": patch }), &format!("job {{ {JOB} }}")).await
    }

    pub async fn cancel(&self, job: &str) -> Outcome {
        self.mutate("cancelJob", json!({ "id": job, "reason": "Plans changed." }), &format!("job {{ {JOB} }}")).await
    }

    pub async fn claim(&self, job: &str) -> Outcome {
        let input = json!({ "jobId": job, "idempotencyKey": fresh_key() });
        self.mutate("claimJob", input, &format!("claim {{ id version status }} job {{ {JOB} }}")).await
    }

    pub async fn release(&self, claim: &str) -> Outcome {
        let input = json!({ "claimId": claim, "reason": "Too busy." });
        self.mutate("releaseClaim", input, &format!("claim {{ id version status }} job {{ {JOB} }}")).await
    }

    pub async fn submit(&self, claim: &str) -> Outcome {
        let input = json!({ "claimId": claim, "note": "Done.", "idempotencyKey": fresh_key() });
        self.mutate(
            "submitDeliverable",
            input,
            "deliverable { id number status } claim { id status } job { id status version }",
        )
        .await
    }

    /// Hands work in with these files.
    pub async fn submit_files(&self, claim: &str, files: &[String]) -> Outcome {
        let input = json!({ "claimId": claim, "note": "Done.", "fileIds": files, "idempotencyKey": fresh_key() });
        let fields = format!("deliverable {{ id number files {{ {FILE} }} }} claim {{ status }} job {{ status }}");
        self.mutate("submitDeliverable", input, &fields).await
    }

    /// Reserves a file for these bytes.
    pub async fn reserve(&self, name: &str, content_type: &str, bytes: &[u8]) -> Outcome {
        let input = json!({
            "name": name, "contentType": content_type, "byteSize": bytes.len(), "sha256": sha256(bytes),
        });
        let fields = format!("file {{ {FILE} }} target {{ url expiresAt headers {{ name value }} }}");
        self.mutate("createUpload", input, &fields).await
    }

    /// A PUT to a target at this person's server, yet without a body.
    pub fn put(&self, target: &Value) -> RequestBuilder {
        let mut request = self.http.request(Method::PUT, &path_of(&text(target, "/url")));
        for header in target["headers"].as_array().expect("headers") {
            request = request.header(text(header, "/name"), text(header, "/value"));
        }
        request
    }

    /// Reserves a file and sends its bytes; the file's id.
    pub async fn upload(&self, name: &str, content_type: &str, bytes: &[u8]) -> String {
        let reserved = self.reserve(name, content_type, bytes).await.good();
        let sent = Reply::of(self.put(&reserved["target"]).body(bytes.to_vec())).await;
        assert_eq!(sent.status, 204, "{sent}");
        text(&reserved, "/file/id")
    }

    /// What this person sees of a file.
    pub async fn file(&self, id: &str) -> Value {
        let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on File {{ {FILE} }} }} }}");
        self.run(&query, json!({ "id": id })).await.data()["node"].clone()
    }

    pub async fn request_revision(&self, deliverable: &str) -> Outcome {
        let input = json!({ "deliverableId": deliverable, "note": "Almost." });
        self.mutate(
            "requestRevision",
            input,
            "deliverable { id status revisionNote } claim { status } job { id status }",
        )
        .await
    }

    pub async fn approve(&self, deliverable: &str) -> Outcome {
        let input = json!({ "deliverableId": deliverable, "idempotencyKey": fresh_key() });
        let fields = "deliverable { id status } claim { status } job { id status version } wallet { available { amount } \
                      inEscrow { amount } } transaction { type amount { amount } }";
        self.mutate("approveDeliverable", input, fields).await
    }

    /// `[available, inEscrow, pendingIn, pendingOut]` of this person's wallet.
    pub async fn balance(&self) -> [String; 4] {
        let query =
            "{ wallet { available { amount } inEscrow { amount } pendingIn { amount } pendingOut { amount } } }";
        let reply = self.run(query, json!({})).await;
        let wallet = reply.data()["wallet"].clone();
        ["available", "inEscrow", "pendingIn", "pendingOut"]
            .map(|part| wallet[part]["amount"].as_str().unwrap_or_default().to_owned())
    }
}

/// What a mutation answered.
pub struct Outcome {
    pub reply: Reply,
    field: String,
}

impl Outcome {
    /// The payload of a mutation that did what was asked.
    pub fn good(self) -> Value {
        let payload = self.reply.data()[&self.field].clone();
        assert_eq!(payload["errors"], json!([]), "{} did nothing: {payload:#}", self.field);
        payload
    }

    /// The one expected failure of a mutation that did nothing, which must have this code.
    pub fn refused(self, code: &str) -> Value {
        let errors = &self.reply.data()[&self.field]["errors"];
        assert_eq!(errors.as_array().map(Vec::len), Some(1), "expected {code}: {}", self.reply);
        assert_eq!(errors[0]["code"], code, "{}", self.reply);
        errors[0].clone()
    }

    /// Whether it did what was asked.
    pub fn is_good(&self) -> bool {
        self.reply.body.pointer(&format!("/data/{}/errors", self.field)) == Some(&json!([]))
    }

    /// The code of the expected failure or of the top-level error, or `""`.
    pub fn code(&self) -> &str {
        let of_payload = format!("/data/{}/errors/0/code", self.field);
        let code =
            self.reply.body.pointer(&of_payload).or_else(|| self.reply.body.pointer("/errors/0/extensions/code"));
        code.and_then(Value::as_str).unwrap_or_default()
    }
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A link without the place of the server.
pub fn path_of(url: &str) -> String {
    url[url.find("/files/").expect("a link to a file")..].to_owned()
}

/// An amount in dollars.
pub fn money(amount: &str) -> Value {
    json!({ "amount": amount, "currencyCode": "USD" })
}

/// The input of a new job.
pub fn new_job(title: &str, budget: &str) -> Value {
    json!({
        "idempotencyKey": fresh_key(), "title": title, "description": "What is wanted.", "budget": money(budget),
        "skills": ["rust"],
    })
}

/// Makes the admin as an operator would and signs in.
pub async fn sign_up_admin(app: &TestApp) -> Person {
    let email = format!("admin-{}@example.com", fresh_key());
    app.app.services.accounts.create_admin(&email, PASSWORD, "Admin").await.expect("an admin");
    let mut admin = Person::anonymous(app);
    admin.email = email;
    admin.sign_in_again().await
}

/// The text at `pointer`.
pub fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no text at {pointer} in {value:#}")).to_owned()
}
