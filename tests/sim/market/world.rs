//! One process of the server: its database and its use cases, without transports and without tasks of its own.
//!
//! A database is a copy of a template with all people in it, made once. A crash of the process is a copy of its files
//! as they stand, which a new process opens.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{Arc, OnceLock},
};

use chrono::DateTime;
use futures_util::future::{BoxFuture, FutureExt};
use lancewire::{
    accounts::{Accounts, service::SignUp},
    app::open_database,
    auth::{
        actor::{Actor, Principal, Roles},
        keys::{KeyPolicy, Keyring},
        passwords::Passwords,
        sessions::Sessions,
        tokens::AccessTokens,
    },
    claims::{
        ClaimError, Claims, StepError,
        escrow::Escrow,
        intervention::JobIntervention,
        service::{Neighbours, Stepped, Work},
    },
    clock::Clock,
    config::{Config, Environment},
    db::{Db, points::CommitObserver},
    error::{Invalid, InvalidKind},
    files::{Files, links::Links},
    idempotency::KeyConflict,
    ids::Ids,
    jobs::{
        JobError, Jobs, PostError, UpdateError,
        model::Job,
        service::{JobPatch, NewJob},
    },
    lifecycle::Lifecycle,
    limits::{Attempts, SignUps, attempts::AttemptSettings},
    notifications::Notifications,
    schedule::{DatabaseTime, Schedule},
    wallet::{
        WalletError, Wallets,
        model::{SettlementOutcome, Transaction},
        service::AmountInput,
    },
};
use sea_orm::{ConnectionTrait, QueryResult};
use tempfile::TempDir;
use uuid::Uuid;

use super::oracle::{Deed, Names, Refusal};
use crate::model::{self, Code, Move};

/// Who takes part, by what they may do: 20 people.
pub(crate) const CAST: [model::Roles; 20] = {
    let client = model::Roles { client: true, freelancer: false, admin: false };
    let freelancer = model::Roles { client: false, freelancer: true, admin: false };
    let both = model::Roles { client: true, freelancer: true, admin: false };
    let admin = model::Roles { client: false, freelancer: false, admin: true };
    [
        client, client, client, client, client, client, client, freelancer, freelancer, freelancer, freelancer,
        freelancer, freelancer, freelancer, freelancer, both, both, both, admin, admin,
    ]
};

const FILE: &str = "market.db";

/// What everybody begins with.
pub(crate) struct Template {
    file: Vec<u8>,
    pub(crate) actors: Vec<Actor>,
    config: Config,
    keyring: Arc<Keyring>,
}

/// A process.
pub(crate) struct World {
    pub(crate) db: Db,
    lifecycle: Lifecycle,
    folder: TempDir,
    jobs: Jobs,
    claims: Claims,
    wallets: Wallets,
}

/// What a use case answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What it made, or was about.
    pub(crate) id: Option<Uuid>,
    /// The version that it left behind.
    pub(crate) version: Option<i64>,
    /// Of a wallet that was looked at: what can be spent, is held, comes and goes.
    pub(crate) money: Option<[i64; 4]>,
}

pub(crate) type Ended = Result<Answer, Refusal>;

/// In memory where that is possible: a commit waits for no disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary directory")
}

fn at(folder: &Path) -> String {
    format!("sqlite:{}", folder.join(FILE).display())
}

impl Template {
    /// The one of this process, made by the first caller. Not within a runtime.
    pub(crate) fn get() -> &'static Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(|| super::runtime().block_on(Self::make()))
    }

    async fn make() -> Self {
        let home = folder();
        let settings = format!(
            "[database]\nurl = {:?}\nmax_connections = 1\nacquire_timeout_ms = 3000\n\
             [auth]\nkeys_dir = {:?}\npassword_memory_kib = 8\npassword_iterations = 1\n\
             free_attempts_per_address = 1000\n[payments]\nprovider = \"none\"\n[marketplace]\nlive_claims = {}\n",
            at(home.path()),
            home.path().join("keys").display().to_string(),
            model::LIVE_CLAIMS,
        );
        let config = Config::layered(Environment::Development, &[&settings]).expect("usable settings");
        let (clock, lifecycle) = (start(), Lifecycle::new());
        let ids = Ids::seeded(clock.clone(), 0);
        let db = open_database(&config, ids.clone(), lifecycle.clone()).await.expect("a database");
        let keyring = Keyring::load(&config.auth.keys_dir, None, KeyPolicy::CreateIfMissing, &ids);
        let keyring = Arc::new(keyring.expect("keys"));
        let accounts = accounts(&config, &keyring, &db, &clock, &ids);
        let mut actors = Vec::new();
        for (place, roles) in CAST.into_iter().enumerate() {
            let (email, name) = (format!("person-{place}@example.com"), format!("Person {place}"));
            let password = "correct horse battery staple";
            let roles = Roles { client: roles.client, freelancer: roles.freelancer, admin: roles.admin };
            let user = if roles.admin {
                accounts.create_admin(&email, password, &name).await.expect("an admin").id
            } else {
                let command = SignUp { email, password: password.into(), display_name: name, roles };
                let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
                accounts.sign_up(command, from).await.expect("an account").0.id
            };
            let (session, expires_at) = (ids.next(), clock.now());
            actors.push(Actor::User(Principal { user, session, roles, expires_at, commits: None }));
        }
        db.writer().execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.expect("one file");
        db.close().await;
        let file = fs::read(home.path().join(FILE)).expect("the file");
        Self { file, actors, config, keyring }
    }

    /// A first process.
    pub(crate) async fn open(&self, clock: &Clock, ids: Ids, observer: Arc<dyn CommitObserver>) -> World {
        let folder = folder();
        fs::write(folder.path().join(FILE), &self.file).expect("a copy");
        self.open_in(folder, clock, ids, observer).await
    }

    /// A process on the files that another one left behind.
    pub(crate) async fn open_in(
        &self,
        folder: TempDir,
        clock: &Clock,
        ids: Ids,
        observer: Arc<dyn CommitObserver>,
    ) -> World {
        let (config, lifecycle) = (&self.config, Lifecycle::new());
        let mut settings = config.database.clone();
        settings.url = at(folder.path());
        let db = Db::simulated(&settings, ids.clone(), lifecycle.clone(), observer).await.expect("a database");
        let accounts = accounts(config, &self.keyring, &db, clock, &ids);
        let currency = config.marketplace.currency();
        let notifications = Notifications::new(db.clone(), clock.clone(), ids.clone());
        let wallets = Wallets::new(db.clone(), clock.clone(), ids.clone(), accounts.clone(), currency, None);
        // Nobody is in the room here.
        let schedule = Schedule::new(db.clone(), clock.clone(), DatabaseTime::asked(&db).await.expect("a time"));
        let jobs = Jobs::new(
            db.clone(),
            clock.clone(),
            ids.clone(),
            accounts.clone(),
            wallets.clone(),
            notifications.clone(),
            (config.marketplace.draft_quota(), schedule.clone()),
        );
        let rules = ((&config.marketplace).into(), schedule.clone());
        let escrow = Escrow::new(wallets.clone());
        let links = Links::new(&[0; 32], String::new()).expect("links");
        // Nobody uploads anything here.
        let files = Files::new(db.clone(), ids.clone(), schedule, links, None, (&config.files).into());
        let neighbours = Neighbours { accounts, jobs: jobs.clone(), escrow, notifications, files };
        let claims = Claims::new(db.clone(), clock.clone(), ids, neighbours, rules);
        World { db, lifecycle, folder, jobs, claims, wallets }
    }
}

/// A clock that the scheduler moves.
pub(crate) fn start() -> Clock {
    Clock::manual(DateTime::from_timestamp_millis(1_800_000_000_000).expect("a time"))
}

fn accounts(config: &Config, keyring: &Arc<Keyring>, db: &Db, clock: &Clock, ids: &Ids) -> Accounts {
    let tokens = AccessTokens::new(Arc::clone(keyring), config.auth.tokens(), clock.clone(), ids.clone());
    let lifetimes = config.auth.lifetimes();
    let sessions = Sessions::new(db.clone(), Arc::new(tokens), clock.clone(), ids.clone(), lifetimes);
    let passwords = Passwords::new(&config.auth.passwords(), ids.clone()).expect("settings");
    let attempts = Attempts::new(
        clock.clone(),
        AttemptSettings::new(config.auth.free_attempts_per_account, config.auth.free_attempts_per_address),
    );
    let sign_ups = SignUps::new(config.auth.sign_ups_per_address);
    Accounts::new(db.clone(), clock.clone(), ids.clone(), sessions, passwords, (attempts, sign_ups))
}

impl World {
    /// Waits until what dropped futures left behind is rolled back.
    pub(crate) async fn settle(&self) {
        while self.lifecycle.running() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// The files as they stand, for a process that comes after this one is killed.
    pub(crate) fn copy(&self) -> TempDir {
        let next = folder();
        for file in [FILE.to_owned(), format!("{FILE}-wal")] {
            let from = self.folder.path().join(&file);
            if from.exists() {
                fs::copy(from, next.path().join(&file)).expect("a copy");
            }
        }
        next
    }

    pub(crate) async fn close(self) {
        self.settle().await;
        let Self { db, lifecycle, folder, jobs, claims, wallets } = self;
        drop((jobs, claims, wallets, lifecycle));
        db.close().await;
        drop(folder);
    }

    /// Rows that the scheduler wants to see.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<QueryResult> {
        self.db.reader().query_all_raw(self.db.statement(sql, [])).await.expect(sql)
    }

    /// A use case, not yet begun.
    pub(crate) fn begin(&self, names: &Names, actor: Actor, deed: &Deed) -> BoxFuture<'static, Ended> {
        let (jobs, claims, wallets, key) =
            (self.jobs.clone(), self.claims.clone(), self.wallets.clone(), deed.key.clone());
        let expected = deed.expected;
        let Some(asked) = deed.asked else {
            return async move {
                let wallet = wallets.own(actor).await.map_err(of_wallet)?;
                let parts = [wallet.available, wallet.in_escrow, wallet.pending_in, wallet.pending_out];
                let money = Some(parts.map(lancewire::money::Money::minor));
                Ok(Answer { id: None, version: Some(wallet.version), money })
            }
            .boxed();
        };
        match asked {
            Move::Deposit { cents } => async move {
                wallets.deposit(actor, amount(cents), &key).await.map(|made| moved(&made)).map_err(of_wallet)
            }
            .boxed(),
            Move::Withdraw { cents } => async move {
                let to = "DE02 1203 0000 0000 2020 51";
                wallets.withdraw(actor, amount(cents), to, &key).await.map(|made| moved(&made)).map_err(of_wallet)
            }
            .boxed(),
            Move::Settle { transaction, outcome } => {
                let id = names.transaction(transaction);
                let outcome = [SettlementOutcome::Post, SettlementOutcome::Void, SettlementOutcome::Fail][outcome];
                async move { wallets.confirm(actor, &id, outcome, &key).await.map(|made| moved(&made)).map_err(of_wallet) }.boxed()
            }
            Move::Post { cents } => {
                async move { jobs.post(actor, new_job(cents), &key).await.map(|job| changed(&job)).map_err(of_post) }
                    .boxed()
            }
            Move::Draft { cents } => {
                async move { jobs.draft(actor, new_job(cents), &key).await.map(|job| changed(&job)).map_err(of_post) }
                    .boxed()
            }
            Move::Publish { job } => {
                let id = names.job(job);
                async move { jobs.publish(actor, &id, &key).await.map(|job| changed(&job)).map_err(of_post) }.boxed()
            }
            Move::Budget { job, cents } => {
                let id = names.job(job);
                let patch = JobPatch { budget: Some(amount(cents)), ..JobPatch::default() };
                async move {
                    jobs.update(actor, &id, expected, patch, None).await.map(|job| changed(&job)).map_err(of_update)
                }
                .boxed()
            }
            Move::Cancel { job } => {
                let id = names.job(job);
                async move {
                    jobs.cancel(actor, &id, Some("No longer needed"), None)
                        .await
                        .map(|job| changed(&job))
                        .map_err(of_job)
                }
                .boxed()
            }
            Move::Claim { job } => {
                let id = names.job(job);
                async move { claims.claim(actor, &id, expected, &key).await.map(|step| claimed(&step)).map_err(of_claim) }.boxed()
            }
            Move::Release { claim } => {
                let id = names.claim(claim);
                async move { claims.release(actor, &id, None, None).await.map(|step| claimed(&step)).map_err(of_step) }
                    .boxed()
            }
            Move::Submit { claim } => {
                let id = names.claim(claim);
                async move {
                    claims
                        .submit(actor, &id, Work { note: "Done.", files: &[] }, &key)
                        .await
                        .map(|step| submitted(&step))
                        .map_err(of_step)
                }
                .boxed()
            }
            Move::Revise { work } => {
                let id = names.work(work);
                async move {
                    claims
                        .request_revision(actor, &id, "Again.", None)
                        .await
                        .map(|step| claimed(&step))
                        .map_err(of_step)
                }
                .boxed()
            }
            Move::Approve { work } => {
                let id = names.work(work);
                async move { claims.approve(actor, &id, &key).await.map(|step| claimed(&step)).map_err(of_step) }
                    .boxed()
            }
            Move::Intervene { job, step } => {
                let id = names.job(job);
                let step = [JobIntervention::Reopen, JobIntervention::Refund, JobIntervention::Pay][step];
                async move {
                    let done = claims.intervene(actor, &id, step, "Stuck.", &key).await;
                    done.map(|step| claimed(&step)).map_err(of_step)
                }
                .boxed()
            }
        }
    }
}

fn amount(cents: i64) -> AmountInput {
    AmountInput { amount: format!("{}.{:02}", cents / 100, cents % 100), currency_code: "USD".into() }
}

fn new_job(cents: i64) -> NewJob {
    NewJob {
        title: "A thing to do".into(),
        description: "As we said.".into(),
        budget: amount(cents),
        skills: Vec::new(),
        deadline: None,
    }
}

fn moved(transaction: &Transaction) -> Answer {
    Answer { id: Some(transaction.id.into()), version: None, money: None }
}

fn changed(job: &Job) -> Answer {
    Answer { id: Some(job.id.into()), version: Some(job.version), money: None }
}

fn claimed(stepped: &Stepped) -> Answer {
    Answer { id: Some(stepped.claim.id.into()), version: Some(stepped.claim.version), money: None }
}

fn submitted(stepped: &Stepped) -> Answer {
    Answer {
        id: stepped.deliverable.as_ref().map(|work| work.id.into()),
        version: Some(stepped.claim.version),
        money: None,
    }
}

fn of_invalid(invalid: &Invalid) -> Refusal {
    match invalid.kind {
        InvalidKind::Value => Refusal::Rule(Code::Invalid),
        InvalidKind::NotFound => Refusal::Rule(Code::NotFound),
        InvalidKind::OwnJob => Refusal::Rule(Code::OwnJob),
        InvalidKind::OwnTransaction => Refusal::Rule(Code::OwnTransaction),
        InvalidKind::Forbidden
        | InvalidKind::FileRejected
        | InvalidKind::VersionConflict
        | InvalidKind::EmailTaken
        | InvalidKind::InvalidCredentials => Refusal::Fault(invalid.to_string()),
    }
}

fn of_key(conflict: KeyConflict) -> Refusal {
    match conflict {
        KeyConflict::Reused => Refusal::KeyReused,
        KeyConflict::InProgress { .. } => Refusal::Fault(conflict.to_string()),
    }
}

fn of_wallet(error: WalletError) -> Refusal {
    match error {
        WalletError::Denied(_) => Refusal::Rule(Code::Forbidden),
        WalletError::Invalid(invalid) => of_invalid(&invalid),
        WalletError::InsufficientFunds { .. } => Refusal::Rule(Code::InsufficientFunds),
        WalletError::NotPending(_) => Refusal::Rule(Code::TransactionNotPending),
        WalletError::Key(conflict) => of_key(conflict),
        WalletError::InternalError(fault) => Refusal::Fault(fault.to_string()),
    }
}

fn of_job(error: JobError) -> Refusal {
    match error {
        JobError::Denied(_) => Refusal::Rule(Code::Forbidden),
        JobError::Invalid(invalid) => of_invalid(&invalid),
        JobError::InvalidTransition { .. } => Refusal::Rule(Code::InvalidTransition),
        JobError::Key(conflict) => of_key(conflict),
        JobError::InternalError(fault) => Refusal::Fault(fault.to_string()),
    }
}

fn of_post(error: PostError) -> Refusal {
    match error {
        PostError::Job(error) => of_job(error),
        PostError::InsufficientFunds(_) => Refusal::Rule(Code::InsufficientFunds),
    }
}

fn of_update(error: UpdateError) -> Refusal {
    match error {
        UpdateError::Post(error) => of_post(error),
        UpdateError::VersionConflict(_) => Refusal::VersionConflict,
    }
}

fn of_step(error: StepError) -> Refusal {
    match error {
        StepError::Job(error) => of_job(error),
        StepError::InvalidTransition { .. } => Refusal::Rule(Code::InvalidTransition),
    }
}

fn of_claim(error: ClaimError) -> Refusal {
    match error {
        ClaimError::Denied(_) => Refusal::Rule(Code::Forbidden),
        ClaimError::Invalid(invalid) => of_invalid(&invalid),
        ClaimError::NotClaimable(_) | ClaimError::DeadlinePassed(_) => Refusal::Rule(Code::JobNotClaimable),
        ClaimError::LimitReached { .. } => Refusal::Rule(Code::ClaimLimitReached),
        ClaimError::VersionConflict(_) => Refusal::VersionConflict,
        ClaimError::Key(conflict) => of_key(conflict),
        ClaimError::InternalError(fault) => Refusal::Fault(fault.to_string()),
    }
}
