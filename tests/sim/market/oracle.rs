//! What must have happened, from the rules alone, beside what did.
//!
//! Transactions of `SQLite` are one after the other, so at each commit the [`Model`] of what was committed before is
//! asked whether this may be committed, and makes the same move. It also says which events the move has, and who
//! receives them: the table in `domain.md`, written a second time. At the end everything in the database is compared
//! with all of it: money and versions of each wallet, job, claim and transaction, and the log from its first event to
//! its last.

use std::{collections::HashMap, fmt};

use lancewire::claims::events::CLAIM_UPDATED;
use lancewire::jobs::events::{DRAFT_UPDATED, JOB_POSTED, JOB_UPDATED};
use lancewire::notifications::events::NOTIFICATION_RECEIVED;
use lancewire::wallet::events::WALLET_UPDATED;
use lancewire::{
    events::EventKind,
    ids::{ClaimId, DeliverableId, JobId, TransactionId},
    verify::verify,
};
use sea_orm::QueryResult;
use uuid::Uuid;

use super::world::{Answer, CAST, Ended, World};
use crate::model::{Code, Model, Move, STEPS};

/// What somebody asks for; nothing is a look at their own wallet.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) who: usize,
    pub(crate) asked: Option<Move>,
    /// The version on which they decided.
    pub(crate) expected: Option<i64>,
    pub(crate) key: String,
}

/// Why a use case did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Rule(Code),
    VersionConflict,
    KeyReused,
    /// Never right.
    Fault(String),
}

/// Something that was made, by its place in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Job(usize),
    Claim(usize),
    Work(usize),
    Transaction(usize),
}

/// What must become of a deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It takes effect.
    Effect(Option<Thing>),
    /// It took effect before.
    Repeat(Option<Thing>),
    Refused(Refusal),
}

/// Ids by places in the model; none as long as nobody was told.
#[derive(Clone, Default)]
pub(crate) struct Names {
    pub(crate) jobs: Vec<Option<Uuid>>,
    pub(crate) claims: Vec<Option<Uuid>>,
    pub(crate) works: Vec<Option<Uuid>>,
    pub(crate) transactions: Vec<Option<Uuid>>,
}

impl Names {
    pub(crate) fn job(&self, place: usize) -> String {
        JobId::from(self.jobs[place].expect("known")).to_string()
    }

    pub(crate) fn claim(&self, place: usize) -> String {
        ClaimId::from(self.claims[place].expect("known")).to_string()
    }

    pub(crate) fn work(&self, place: usize) -> String {
        DeliverableId::from(self.works[place].expect("known")).to_string()
    }

    pub(crate) fn transaction(&self, place: usize) -> String {
        TransactionId::from(self.transactions[place].expect("known")).to_string()
    }

    fn place(&mut self, thing: Thing) -> &mut Option<Uuid> {
        match thing {
            Thing::Job(place) => &mut self.jobs[place],
            Thing::Claim(place) => &mut self.claims[place],
            Thing::Work(place) => &mut self.works[place],
            Thing::Transaction(place) => &mut self.transactions[place],
        }
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Job(usize),
    Claim(usize),
    /// A wallet or an inbox.
    Person(usize),
}

/// An event as the rules want it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    kind: EventKind,
    subject: Subject,
    version: i64,
    public: bool,
    owner: usize,
    claimant: Option<usize>,
}

/// The same with ids, as a row has it; comparable.
type Heard = (String, Uuid, i64, bool, Uuid, Option<Uuid>);

#[derive(Clone)]
struct Stored {
    input: String,
    made: Option<Thing>,
}

pub(crate) struct Oracle {
    pub(crate) model: Model,
    pub(crate) names: Names,
    people: Vec<Uuid>,
    keys: HashMap<(usize, &'static str, String), Stored>,
    /// The events of each commit, in the order of commits.
    told: Vec<Vec<Told>>,
    pub(crate) commits: u64,
}

impl Deed {
    /// The mutation, if it takes a key.
    fn keyed(&self) -> Option<&'static str> {
        match self.asked? {
            Move::Deposit { .. } => Some("deposit"),
            Move::Withdraw { .. } => Some("withdraw"),
            Move::Settle { .. } => Some("confirmTransaction"),
            Move::Post { .. } => Some("postJob"),
            Move::Draft { .. } => Some("draftJob"),
            Move::Publish { .. } => Some("publishJob"),
            Move::Claim { .. } => Some("claimJob"),
            Move::Submit { .. } => Some("submitDeliverable"),
            Move::Approve { .. } => Some("approveDeliverable"),
            Move::Intervene { .. } => Some("interveneInJob"),
            Move::Budget { .. } | Move::Cancel { .. } | Move::Release { .. } | Move::Revise { .. } => None,
        }
    }

    fn input(&self) -> String {
        format!("{:?} {:?}", self.asked, self.expected)
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "person {} ", self.who)?;
        match self.asked {
            Some(asked) => write!(f, "{asked:?}")?,
            None => write!(f, "looks at their wallet")?,
        }
        if let Some(expected) = self.expected {
            write!(f, " at version {expected}")?;
        }
        if self.keyed().is_some() { write!(f, " ({})", self.key) } else { Ok(()) }
    }
}

impl Oracle {
    pub(crate) fn new(people: Vec<Uuid>) -> Self {
        Self {
            model: Model::new(CAST),
            names: Names::default(),
            people,
            keys: HashMap::new(),
            told: Vec::new(),
            commits: 0,
        }
    }

    /// What must become of this deed now.
    pub(crate) fn judge(&self, deed: &Deed) -> Verdict {
        let Some(asked) = deed.asked else { return Verdict::Effect(None) };
        let outcome = self.model.clone().make(deed.who, asked);
        if outcome == Err(Code::Forbidden) {
            return Verdict::Refused(Refusal::Rule(Code::Forbidden));
        }
        if let Some(mutation) = deed.keyed()
            && let Some(stored) = self.keys.get(&(deed.who, mutation, deed.key.clone()))
        {
            let same = stored.input == deed.input();
            return if same { Verdict::Repeat(stored.made) } else { Verdict::Refused(Refusal::KeyReused) };
        }
        // What is looked at after the version.
        let late = matches!(outcome, Ok(()) | Err(Code::ClaimLimitReached | Code::InsufficientFunds));
        if late && self.is_outdated(deed) {
            return Verdict::Refused(Refusal::VersionConflict);
        }
        match outcome {
            Ok(()) => Verdict::Effect(self.makes(asked)),
            Err(code) => Verdict::Refused(Refusal::Rule(code)),
        }
    }

    fn is_outdated(&self, deed: &Deed) -> bool {
        let (Some(Move::Budget { job, .. } | Move::Claim { job }), Some(expected)) = (deed.asked, deed.expected) else {
            return false;
        };
        self.model.jobs[job].version != expected
    }

    fn makes(&self, asked: Move) -> Option<Thing> {
        match asked {
            Move::Deposit { .. } | Move::Withdraw { .. } => Some(Thing::Transaction(self.model.transactions.len())),
            Move::Post { .. } | Move::Draft { .. } => Some(Thing::Job(self.model.jobs.len())),
            Move::Claim { .. } => Some(Thing::Claim(self.model.claims.len())),
            Move::Submit { .. } => Some(Thing::Work(self.model.works.len())),
            Move::Settle { .. }
            | Move::Publish { .. }
            | Move::Budget { .. }
            | Move::Cancel { .. }
            | Move::Release { .. }
            | Move::Revise { .. }
            | Move::Approve { .. }
            | Move::Intervene { .. } => None,
        }
    }

    /// The deed was committed. Says what must be answered, or why that must not be.
    pub(crate) fn commit(&mut self, deed: &Deed) -> Result<Verdict, String> {
        self.commits += 1;
        let verdict = self.judge(deed);
        match &verdict {
            Verdict::Refused(refusal) => return Err(format!("{deed} was committed, though it is {refusal:?}")),
            Verdict::Repeat(_) => return Ok(verdict),
            Verdict::Effect(_) => {}
        }
        let Some(asked) = deed.asked else { return Ok(verdict) };
        let before = self.model.clone();
        self.model.make(deed.who, asked).map_err(|code| format!("{deed}: the model refuses with {code:?}"))?;
        self.told.push(self.told_of(deed.who, asked, &before));
        let made = match &verdict {
            Verdict::Effect(made) => *made,
            Verdict::Repeat(_) | Verdict::Refused(_) => None,
        };
        match made {
            Some(Thing::Job(_)) => self.names.jobs.push(None),
            Some(Thing::Claim(_)) => self.names.claims.push(None),
            Some(Thing::Work(_)) => self.names.works.push(None),
            Some(Thing::Transaction(_)) => self.names.transactions.push(None),
            None => {}
        }
        if let Some(mutation) = deed.keyed() {
            self.keys.insert((deed.who, mutation, deed.key.clone()), Stored { input: deed.input(), made });
        }
        Ok(verdict)
    }

    /// Whether this is the answer that the deed must have.
    pub(crate) fn answered(&mut self, deed: &Deed, must: &Verdict, answer: &Ended) -> Result<(), String> {
        let wrong = || Err(format!("{deed} was answered {answer:?}, and must be {must:?}"));
        match (must, answer) {
            (Verdict::Refused(must), Err(is)) if must == is => Ok(()),
            (Verdict::Effect(made) | Verdict::Repeat(made), Ok(is)) => match (made, is.id) {
                (Some(thing), Some(id)) => self.name(*thing, id),
                // The work of a claim that was given back is not shown again.
                (Some(_), None) if matches!(must, Verdict::Repeat(_)) => Ok(()),
                (Some(_), None) => wrong(),
                (None, _) => self.looked(deed, is),
            },
            _ => wrong(),
        }
    }

    fn looked(&self, deed: &Deed, answer: &Answer) -> Result<(), String> {
        let Some(money) = answer.money else { return Ok(()) };
        let person = &self.model.people[deed.who];
        let must = [person.available, person.in_escrow, person.pending_in, person.pending_out];
        if money == must && answer.version == Some(person.version) {
            return Ok(());
        }
        Err(format!(
            "{deed}: it has {money:?} in version {:?}, and must have {must:?} in {}",
            answer.version, person.version
        ))
    }

    /// The id of something, which is the same for ever.
    pub(crate) fn name(&mut self, thing: Thing, id: Uuid) -> Result<(), String> {
        let place = self.names.place(thing);
        match *place {
            None => *place = Some(id),
            Some(known) if known == id => {}
            Some(known) => return Err(format!("{thing:?} is {known} and was answered as {id}")),
        }
        Ok(())
    }

    /// What the deed's stored effect is called, for one that nobody was told of.
    pub(crate) async fn learn(&mut self, deed: &Deed, must: &Verdict, world: &World) -> Result<(), String> {
        let (Verdict::Effect(Some(thing)), Some(mutation)) = (must, deed.keyed()) else { return Ok(()) };
        let sql = format!(
            "SELECT effect FROM idempotency_keys WHERE user_id = x'{}' AND mutation = '{mutation}' AND key = '{}'",
            self.people[deed.who].simple(),
            deed.key
        );
        let rows = world.rows(&sql).await;
        let effect: String = rows
            .first()
            .ok_or_else(|| format!("{deed} was committed and is gone"))?
            .try_get("", "effect")
            .expect("text");
        let effect: serde_json::Value = serde_json::from_str(&effect).expect("JSON");
        let text = |field: &str| effect[field].as_str().unwrap_or_default().to_owned();
        let id = match thing {
            Thing::Job(_) => text("job").parse::<JobId>().map(Uuid::from).ok(),
            Thing::Claim(_) => text("claim").parse::<ClaimId>().map(Uuid::from).ok(),
            Thing::Work(_) => text("deliverable").parse::<DeliverableId>().map(Uuid::from).ok(),
            Thing::Transaction(_) => text("transaction").parse::<TransactionId>().map(Uuid::from).ok(),
        };
        self.name(*thing, id.ok_or_else(|| format!("{deed} has the effect {effect}"))?)
    }

    /// The events of a move that the model has just made.
    fn told_of(&self, who: usize, asked: Move, before: &Model) -> Vec<Told> {
        let model = &self.model;
        let wallet = |user: usize| Told {
            kind: WALLET_UPDATED,
            subject: Subject::Person(user),
            version: model.people[user].version,
            public: false,
            owner: user,
            claimant: None,
        };
        let inbox = |user: usize| Told { kind: NOTIFICATION_RECEIVED, version: 0, ..wallet(user) };
        let of_job = |kind: EventKind, job: usize, public: bool| Told {
            kind,
            subject: Subject::Job(job),
            version: model.jobs[job].version,
            public,
            owner: model.jobs[job].owner,
            claimant: self.claimant(job),
        };
        let posted = |job: usize| of_job(JOB_POSTED, job, true);
        let updated = |job: usize| of_job(JOB_UPDATED, job, true);
        let drafted = |job: usize| of_job(DRAFT_UPDATED, job, false);
        let of_claim = |claim: usize| {
            let made = &model.claims[claim];
            Told {
                kind: CLAIM_UPDATED,
                subject: Subject::Claim(claim),
                version: made.version,
                public: false,
                owner: model.jobs[made.job].owner,
                claimant: Some(made.freelancer),
            }
        };
        let client = |claim: usize| model.jobs[model.claims[claim].job].owner;
        match asked {
            Move::Deposit { .. } | Move::Withdraw { .. } => vec![wallet(who)],
            Move::Settle { transaction, .. } => vec![wallet(model.transactions[transaction].user)],
            Move::Post { .. } => vec![posted(model.jobs.len() - 1), wallet(who)],
            Move::Draft { .. } => vec![drafted(model.jobs.len() - 1)],
            Move::Publish { job } => vec![posted(job), wallet(who)],
            Move::Budget { job, .. } if model.jobs[job].version == before.jobs[job].version => Vec::new(),
            Move::Budget { job, .. } if model.jobs[job].posted => vec![updated(job), wallet(who)],
            Move::Budget { job, .. } => vec![drafted(job)],
            Move::Cancel { job } if !model.jobs[job].posted => vec![drafted(job)],
            Move::Cancel { job } => {
                let owner = model.jobs[job].owner;
                let mut told = vec![updated(job), wallet(owner)];
                if owner != who {
                    told.push(inbox(owner));
                }
                told
            }
            Move::Claim { job } => {
                let claim = model.claims.len() - 1;
                vec![updated(job), of_claim(claim), inbox(client(claim))]
            }
            Move::Release { claim } => {
                let job = model.claims[claim].job;
                vec![updated(job), posted(job), of_claim(claim), inbox(client(claim))]
            }
            Move::Submit { claim } => {
                let job = model.claims[claim].job;
                let public = before.jobs[job].status != model.jobs[job].status;
                vec![Told { public, ..updated(job) }, of_claim(claim), inbox(client(claim))]
            }
            Move::Revise { work } => {
                let claim = model.works[work].claim;
                vec![updated(model.claims[claim].job), of_claim(claim), inbox(model.claims[claim].freelancer)]
            }
            Move::Approve { work } => {
                let claim = model.works[work].claim;
                let freelancer = model.claims[claim].freelancer;
                vec![
                    updated(model.claims[claim].job),
                    of_claim(claim),
                    wallet(client(claim)),
                    wallet(freelancer),
                    inbox(client(claim)),
                    inbox(freelancer),
                    inbox(freelancer),
                ]
            }
            Move::Intervene { job, step } => {
                let claim = model.claims.iter().rposition(|claim| claim.job == job).expect("a claim");
                let (client, freelancer) = (client(claim), model.claims[claim].freelancer);
                let mut told = vec![updated(job), of_claim(claim), inbox(client), inbox(freelancer)];
                match STEPS[step] {
                    "REOPEN" => told.push(posted(job)),
                    "REFUND" => told.push(wallet(client)),
                    _ => told.extend([wallet(client), wallet(freelancer), inbox(freelancer)]),
                }
                told
            }
        }
    }

    /// The freelancer of a job's latest claim, unless that was given back.
    fn claimant(&self, job: usize) -> Option<usize> {
        let latest = self.model.claims.iter().rfind(|claim| claim.job == job)?;
        (latest.status != "RELEASED").then_some(latest.freelancer)
    }

    /// Compares the database with all of this.
    pub(crate) async fn agrees(&self, world: &World) -> Result<(), String> {
        for finding in verify(&world.db).await.map_err(|error| error.to_string())? {
            if !finding.broken.is_empty() {
                return Err(format!("verify: {}: {}", finding.invariant, finding.broken.join("; ")));
            }
        }
        self.log_agrees(world).await?;
        let model = &self.model;
        let people = (0..).zip(&model.people).filter(|(_, person)| person.version > 1);
        let people = people.map(|(place, person): (usize, _)| {
            let money = [person.available, person.in_escrow, person.pending_in, person.pending_out];
            (self.people[place], format!("{money:?} in version {}", person.version))
        });
        let wallets = "SELECT id, '[' || available_minor || ', ' || in_escrow_minor || ', ' || pending_in_minor || ', ' || \
                       pending_out_minor || '] in version ' || version AS is_now FROM wallets";
        compare("wallets", people, world.rows(wallets).await)?;
        let jobs = (0..).zip(&model.jobs).map(|(place, job): (usize, _)| {
            let (owner, claimant) = (self.people[job.owner], self.claimant(place).map(|user| self.people[user]));
            let claimant = claimant.map_or("nobody".into(), |user| hex(&user));
            let is =
                format!("{} {} in version {} of {} for {claimant}", job.status, job.budget, job.version, hex(&owner));
            (known(self.names.jobs[place]), is)
        });
        let sql = "SELECT id, status || ' ' || budget_minor || ' in version ' || version || ' of ' || hex(client_id) || \
                   ' for ' || CASE WHEN claimant_id IS NULL THEN 'nobody' ELSE hex(claimant_id) END AS is_now FROM jobs";
        compare("jobs", jobs, world.rows(sql).await)?;
        let claims = (0..).zip(&model.claims).map(|(place, claim): (usize, _)| {
            let (job, freelancer) = (known(self.names.jobs[claim.job]), self.people[claim.freelancer]);
            let is = format!("{} in version {} of {} on {}", claim.status, claim.version, hex(&freelancer), hex(&job));
            (known(self.names.claims[place]), is)
        });
        let sql = "SELECT id, status || ' in version ' || version || ' of ' || hex(freelancer_id) || ' on ' || hex(job_id) \
                   AS is_now FROM claims";
        compare("claims", claims, world.rows(sql).await)?;
        let works = (0..).zip(&model.works).map(|(place, work): (usize, _)| {
            (
                known(self.names.works[place]),
                format!("{} of {}", work.status, hex(&known(self.names.claims[work.claim]))),
            )
        });
        let sql = "SELECT id, status || ' of ' || hex(claim_id) AS is_now FROM deliverables";
        compare("deliverables", works, world.rows(sql).await)?;
        let transactions = (0..).zip(&model.transactions).map(|(place, made): (usize, _)| {
            let state = if made.pending { "pending" } else { "settled" };
            let is = format!("{} {state} of {}", made.cents, hex(&self.people[made.user]));
            (known(self.names.transactions[place]), is)
        });
        let sql = "SELECT id, amount_minor || CASE status WHEN 'PENDING' THEN ' pending' ELSE ' settled' END || ' of ' || \
                   hex(wallet_id) AS is_now FROM transactions WHERE type IN ('DEPOSIT', 'WITHDRAWAL')";
        compare("transactions", transactions, world.rows(sql).await)?;
        let sql = "SELECT kind, SUM(balance_minor) AS balance_minor FROM accounts WHERE kind IN ('FEES', 'WORLD') GROUP BY kind ORDER BY kind";
        let rows = world.rows(sql).await;
        let rows = rows.iter().map(|row| row.try_get("", "balance_minor").expect("a number"));
        let (is, must) = (rows.collect::<Vec<i64>>(), [model.fees, -model.came_in]);
        if is == must { Ok(()) } else { Err(format!("fees and world are {is:?}, and must be {must:?}")) }
    }

    async fn log_agrees(&self, world: &World) -> Result<(), String> {
        let sql =
            "SELECT kind, subject_id, subject_version, is_public, owner_id, claimant_id FROM events ORDER BY position";
        let mut rows = Vec::new();
        for row in world.rows(sql).await {
            let heard: Heard = (
                column(&row, "kind"),
                column(&row, "subject_id"),
                column(&row, "subject_version"),
                column(&row, "is_public"),
                column(&row, "owner_id"),
                column(&row, "claimant_id"),
            );
            rows.push(heard);
        }
        let mut rest = rows.as_slice();
        for (commit, told) in (1..).zip(&self.told) {
            let mut must: Vec<Heard> = told.iter().map(|told| self.heard(told)).collect();
            must.sort();
            let Some((of_commit, later)) = rest.split_at_checked(must.len()) else {
                return Err(format!("the log ends before the events of commit {commit}: {must:?}"));
            };
            let mut is = of_commit.to_vec();
            is.sort();
            if is != must {
                return Err(format!("commit {commit} has the events\n  {is:?}\nand must have\n  {must:?}"));
            }
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("events of no commit: {rest:?}")) }
    }

    fn heard(&self, told: &Told) -> Heard {
        let subject = match told.subject {
            Subject::Job(job) => known(self.names.jobs[job]),
            Subject::Claim(claim) => known(self.names.claims[claim]),
            Subject::Person(user) => self.people[user],
        };
        let person = |user: usize| self.people[user];
        let kind = told.kind.as_str().to_owned();
        (kind, subject, told.version, told.public, person(told.owner), told.claimant.map(person))
    }
}

fn known(id: Option<Uuid>) -> Uuid {
    id.unwrap_or_default()
}

fn hex(id: &Uuid) -> String {
    id.simple().to_string().to_uppercase()
}

fn column<T: sea_orm::TryGetable>(row: &QueryResult, name: &str) -> T {
    row.try_get("", name).expect("a column")
}

/// Compares rows with what they must be, one by one.
fn compare(what: &str, must: impl Iterator<Item = (Uuid, String)>, rows: Vec<QueryResult>) -> Result<(), String> {
    let mut is: HashMap<Uuid, String> = HashMap::new();
    for row in rows {
        is.insert(column(&row, "id"), column(&row, "is_now"));
    }
    for (id, must) in must {
        match is.remove(&id) {
            Some(is) if is == must => {}
            is => return Err(format!("{what}: {id} is {is:?}, and must be {must}")),
        }
    }
    if is.is_empty() { Ok(()) } else { Err(format!("{what} that nobody made: {is:?}")) }
}
