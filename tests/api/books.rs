//! The books after any sequence of steps, sensible or not.
//!
//! Random people make random requests. Each must end as the [`model`] says, by the same code when it is refused, and
//! afterwards every wallet, job and claim must be what the model holds, to the cent and to the version. A sequence that
//! fails is shrunk and printed; `PROPTEST_CASES` asks for more of them.

mod model;

use std::env;

use model::{Model, Move, OUTCOMES, Roles};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::{Value, json};
use tokio::{runtime::Handle, task::block_in_place};

use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{Outcome, Person, money, new_job, text},
    },
};

/// Who takes part: two clients, two freelancers, one who is both, and the admin.
const CAST: [(&str, Roles); 6] = [
    ("Ada", Roles { client: true, freelancer: false, admin: false }),
    ("Bea", Roles { client: true, freelancer: false, admin: false }),
    ("Cem", Roles { client: false, freelancer: true, admin: false }),
    ("Dee", Roles { client: false, freelancer: true, admin: false }),
    ("Eve", Roles { client: true, freelancer: true, admin: false }),
    ("The admin", Roles { client: false, freelancer: false, admin: true }),
];
const CLIENTS: [usize; 3] = [0, 1, 4];
const FREELANCERS: [usize; 3] = [2, 3, 4];
const ADMIN: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Cancel,
    Release,
    Approve,
    Revise,
    Submit,
    Claim,
    Publish,
    Draft,
    Budget,
    Post,
    Withdraw,
    Settle,
    Deposit,
}

/// Each before what it needs: a sensible step that is not possible yet becomes the next one that is.
const VERBS: [Verb; 13] = [
    Verb::Cancel,
    Verb::Release,
    Verb::Approve,
    Verb::Revise,
    Verb::Submit,
    Verb::Claim,
    Verb::Publish,
    Verb::Budget,
    Verb::Post,
    Verb::Withdraw,
    Verb::Settle,
    Verb::Deposit,
    Verb::Draft,
];

/// A request before it is known what there is to make it about.
#[derive(Clone, Debug)]
struct Step {
    verb: Verb,
    /// About something of which the model says that it works.
    sensible: bool,
    /// Somebody who perhaps has no right to.
    stranger: Option<usize>,
    /// Which of all things, or of the sensible ones.
    which: Index,
    outcome: usize,
    cents: i64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // What leads on is more frequent than what ends.
    let verb = prop_oneof![
        5 => select(vec![Verb::Deposit, Verb::Post, Verb::Claim, Verb::Submit, Verb::Approve]),
        4 => select(vec![Verb::Settle, Verb::Draft, Verb::Publish, Verb::Budget, Verb::Revise]),
        2 => select(vec![Verb::Withdraw, Verb::Cancel, Verb::Release]),
    ];
    let outcome = prop_oneof![6 => Just(0), 1 => Just(1_usize), 1 => Just(2)];
    let sensible = prop::bool::weighted(0.75);
    let stranger = option::weighted(0.1, 0..CAST.len());
    let step = (verb, sensible, stranger, any::<Index>(), outcome, 1..=9_999_i64);
    let step = step.prop_map(|(verb, sensible, stranger, which, outcome, cents)| Step {
        verb,
        sensible,
        stranger,
        which,
        outcome,
        cents,
    });
    vec(step, 1..80)
}

/// The model, and what its things are called by the server.
struct World {
    app: TestApp,
    people: Vec<Person>,
    model: Model,
    jobs: Vec<String>,
    claims: Vec<String>,
    works: Vec<String>,
    transactions: Vec<String>,
}

impl World {
    async fn new(app: &TestApp) -> Self {
        let mut people = Vec::new();
        for (name, roles) in CAST {
            people.push(match roles {
                Roles { admin: true, .. } => app.admin().await,
                Roles { client: true, freelancer: true, .. } => {
                    Person::sign_up(app, name, &["CLIENT", "FREELANCER"]).await
                }
                Roles { client: true, .. } => Person::sign_up(app, name, &["CLIENT"]).await,
                Roles { .. } => app.freelancer(name).await,
            });
        }
        let model = Model::new(CAST.map(|(_, roles)| roles));
        let (jobs, claims, works, transactions) = Default::default();
        Self { app: app.clone(), people, model, jobs, claims, works, transactions }
    }

    /// Who asks for what; nothing if there is no such thing yet.
    fn resolve(&self, step: &Step) -> Option<(usize, Move)> {
        let mut choices = self.choices(step.verb, step);
        if step.sensible {
            let works = |(who, asked): &(usize, Move)| self.model.clone().make(*who, *asked).is_ok();
            let at = VERBS.iter().position(|verb| *verb == step.verb)?;
            let mut sensible =
                VERBS[at..].iter().map(|verb| self.choices(*verb, step).into_iter().filter(works).collect::<Vec<_>>());
            choices = sensible.find(|choices| !choices.is_empty())?;
        }
        let (right, asked) = (!choices.is_empty()).then(|| *step.which.get(&choices))?;
        Some((step.stranger.unwrap_or(right), asked))
    }

    /// Everything that a step can be about, with who has the right to it.
    fn choices(&self, verb: Verb, step: &Step) -> Vec<(usize, Move)> {
        let (model, cents, outcome) = (&self.model, step.cents, step.outcome);
        let clients = |asked: Move| CLIENTS.map(|who| (who, asked)).to_vec();
        let owner = |job: usize| model.jobs[job].owner;
        let claimant = |claim: usize| model.claims[claim].freelancer;
        let reviewer = |work: usize| owner(model.claims[model.works[work].claim].job);
        let (jobs, claims, works) = (0..model.jobs.len(), 0..model.claims.len(), 0..model.works.len());
        match verb {
            Verb::Deposit => clients(Move::Deposit { cents: cents * 10 }),
            Verb::Withdraw => clients(Move::Withdraw { cents }),
            Verb::Settle => (0..model.transactions.len())
                .map(|transaction| (ADMIN, Move::Settle { transaction, outcome }))
                .collect(),
            Verb::Post => clients(Move::Post { cents }),
            Verb::Draft => clients(Move::Draft { cents }),
            Verb::Publish => jobs.map(|job| (owner(job), Move::Publish { job })).collect(),
            Verb::Budget => jobs.map(|job| (owner(job), Move::Budget { job, cents })).collect(),
            Verb::Cancel => jobs.map(|job| (owner(job), Move::Cancel { job })).collect(),
            Verb::Claim => jobs.flat_map(|job| FREELANCERS.map(|who| (who, Move::Claim { job }))).collect(),
            Verb::Release => claims.map(|claim| (claimant(claim), Move::Release { claim })).collect(),
            Verb::Submit => claims.map(|claim| (claimant(claim), Move::Submit { claim })).collect(),
            Verb::Revise => works.map(|work| (reviewer(work), Move::Revise { work })).collect(),
            Verb::Approve => works.map(|work| (reviewer(work), Move::Approve { work })).collect(),
        }
    }

    /// Makes the request and compares its end with the model's.
    async fn take(&mut self, who: usize, step: Move) {
        let outcome = self.request(&self.people[who], step).await;
        match self.model.make(who, step) {
            Ok(()) => {
                let payload = outcome.good();
                match step {
                    Move::Deposit { .. } | Move::Withdraw { .. } => {
                        self.transactions.push(text(&payload, "/transaction/id"));
                    }
                    Move::Post { .. } | Move::Draft { .. } => self.jobs.push(text(&payload, "/job/id")),
                    Move::Claim { .. } => self.claims.push(text(&payload, "/claim/id")),
                    Move::Submit { .. } => self.works.push(text(&payload, "/deliverable/id")),
                    Move::Settle { .. }
                    | Move::Publish { .. }
                    | Move::Budget { .. }
                    | Move::Cancel { .. }
                    | Move::Release { .. }
                    | Move::Revise { .. }
                    | Move::Approve { .. } => {}
                }
            }
            Err(code) => {
                let name = CAST[who].0;
                assert!(!outcome.is_good(), "{name} may not {step:?}: {}", outcome.reply);
                assert_eq!(outcome.code(), code.name(), "{name} may not {step:?}: {}", outcome.reply);
            }
        }
    }

    async fn request(&self, who: &Person, step: Move) -> Outcome {
        match step {
            Move::Deposit { cents } => who.deposit(&amount(cents)).await,
            Move::Withdraw { cents } => who.withdraw(&amount(cents)).await,
            Move::Settle { transaction, outcome } => {
                who.confirm(&self.transactions[transaction], OUTCOMES[outcome]).await
            }
            Move::Post { cents } => who.post(new_job("Posted", &amount(cents))).await,
            Move::Draft { cents } => who.draft(new_job("Drafted", &amount(cents))).await,
            Move::Publish { job } => who.publish(&self.jobs[job]).await,
            Move::Budget { job, cents } => {
                who.update(&self.jobs[job], json!({ "budget": money(&amount(cents)) })).await
            }
            Move::Cancel { job } => who.cancel(&self.jobs[job]).await,
            Move::Claim { job } => who.claim(&self.jobs[job]).await,
            Move::Release { claim } => who.release(&self.claims[claim]).await,
            Move::Submit { claim } => who.submit(&self.claims[claim]).await,
            Move::Revise { work } => who.request_revision(&self.works[work]).await,
            Move::Approve { work } => who.approve(&self.works[work]).await,
        }
    }

    /// Compares what the server holds with the model.
    async fn agrees(&self) {
        self.app.db_proves_its_invariants().await;
        let total = self.model.people.iter().map(|person| person.available + person.in_escrow + person.pending_out);
        assert_eq!(total.sum::<i64>() + self.model.fees, self.model.came_in, "the model itself");
        let query = "{ wallet { version available { amount } inEscrow { amount } pendingIn { amount } \
                     pendingOut { amount } } }";
        for (person, expected) in self.people.iter().zip(&self.model.people).take(ADMIN) {
            let part = |cents| json!({ "amount": amount(cents) });
            let expected = json!({
                "version": expected.version, "available": part(expected.available),
                "inEscrow": part(expected.in_escrow), "pendingIn": part(expected.pending_in),
                "pendingOut": part(expected.pending_out),
            });
            assert_eq!(person.run(query, json!({})).await.data()["wallet"], expected, "{}", person.email);
        }
        let admin = &self.people[ADMIN];
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Job { status version budget { amount } \
                     escrow { amount } } ... on Claim { claimStatus: status version } \
                     ... on Deliverable { workStatus: status } } }";
        let jobs = self.model.jobs.iter().map(|job| {
            let held = if matches!(job.status, "OPEN" | "CLAIMED" | "IN_REVIEW") { job.budget } else { 0 };
            json!({
                "status": job.status, "version": job.version, "budget": { "amount": amount(job.budget) },
                "escrow": { "amount": amount(held) },
            })
        });
        let claims =
            self.model.claims.iter().map(|claim| json!({ "claimStatus": claim.status, "version": claim.version }));
        let works = self.model.works.iter().map(|work| json!({ "workStatus": work.status }));
        let expected: Vec<Value> = jobs.chain(claims).chain(works).collect();
        let ids: Vec<&String> = self.jobs.iter().chain(&self.claims).chain(&self.works).collect();
        for (ids, expected) in ids.chunks(50).zip(expected.chunks(50)) {
            assert_eq!(admin.run(query, json!({ "ids": ids })).await.data()["nodes"], json!(expected));
        }
    }
}

fn amount(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// All money there is came in and has not left.
async fn nothing_is_lost(app: &TestApp) {
    let held = "SELECT CAST(COALESCE(SUM(available_minor + in_escrow_minor + pending_out_minor), 0) AS BIGINT) \
                FROM wallets";
    let fees = "SELECT CAST(COALESCE(SUM(balance_minor), 0) AS BIGINT) FROM accounts WHERE kind = 'FEES'";
    let came_in = "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM transactions \
                   WHERE status = 'POSTED' AND type IN ('DEPOSIT', 'WITHDRAWAL')";
    let world = "SELECT CAST(-SUM(balance_minor) AS BIGINT) FROM accounts WHERE kind = 'WORLD'";
    let held = app.db_number(held).await + app.db_number(fees).await;
    assert_eq!(held, app.db_number(came_in).await);
    assert_eq!(held, app.db_number(world).await);
}

async fn play(app: &TestApp, steps: &[Step]) {
    let mut world = World::new(app).await;
    for (number, step) in (1..).zip(steps) {
        if let Some((who, step)) = world.resolve(step) {
            world.take(who, step).await;
        }
        if number % 10 == 0 {
            app.db_proves_its_invariants().await;
        }
    }
    world.agrees().await;
    nothing_is_lost(app).await;
}

on_both! {
    with &format!("[marketplace]\nlive_claims = {}\n", model::LIVE_CLAIMS);

    async fn any_sequence_of_steps_keeps_the_books(app: TestApp) {
        let cases = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
        let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
        let runtime = Handle::current();
        // A failure is a panic inside, which the runner catches and shrinks.
        let played = block_in_place(|| {
            TestRunner::new(config).run(&steps(), |steps| {
                runtime.block_on(play(&app, &steps));
                Ok::<(), TestCaseError>(())
            })
        });
        played.unwrap_or_else(|failure| panic!("{failure}"));
    }
}
