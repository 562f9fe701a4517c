//! The marketplace in its plainest form: who may do what from where, and where every cent must be afterwards.
//!
//! Written from the rules alone (`design/domain.md`), with vectors and integers. What the server answers and holds after
//! a sequence of moves is compared with this.

use Code::{
    ClaimLimitReached, Forbidden, InsufficientFunds, Invalid, InvalidTransition, JobNotClaimable, NotFound, OwnJob,
    OwnTransaction, TransactionNotPending,
};

/// The platform's share, in basis points.
const FEE: i64 = 500;
/// Live claims a freelancer may hold.
pub(super) const LIVE_CLAIMS: usize = 2;

/// Why a move is refused, by the API's code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Forbidden,
    NotFound,
    Invalid,
    OwnJob,
    OwnTransaction,
    InvalidTransition,
    InsufficientFunds,
    TransactionNotPending,
    JobNotClaimable,
    ClaimLimitReached,
}

impl Code {
    pub(super) fn name(self) -> &'static str {
        match self {
            Forbidden => "FORBIDDEN",
            NotFound => "NOT_FOUND",
            Invalid => "INVALID",
            OwnJob => "OWN_JOB",
            OwnTransaction => "OWN_TRANSACTION",
            InvalidTransition => "INVALID_TRANSITION",
            InsufficientFunds => "INSUFFICIENT_FUNDS",
            TransactionNotPending => "TRANSACTION_NOT_PENDING",
            JobNotClaimable => "JOB_NOT_CLAIMABLE",
            ClaimLimitReached => "CLAIM_LIMIT_REACHED",
        }
    }
}

/// One request. Things are named by their place in the order of their making.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Deposit { cents: i64 },
    Withdraw { cents: i64 },
    Settle { transaction: usize, outcome: usize },
    Post { cents: i64 },
    Draft { cents: i64 },
    Publish { job: usize },
    Budget { job: usize, cents: i64 },
    Cancel { job: usize },
    Claim { job: usize },
    Release { claim: usize },
    Submit { claim: usize },
    Revise { work: usize },
    Approve { work: usize },
}

/// What [`Move::Settle`] may ask for.
pub(super) const OUTCOMES: [&str; 3] = ["POST", "VOID", "FAIL"];

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Roles {
    pub client: bool,
    pub freelancer: bool,
    pub admin: bool,
}

/// Somebody and their money.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub roles: Roles,
    pub available: i64,
    pub in_escrow: i64,
    pub pending_in: i64,
    pub pending_out: i64,
    /// Of the wallet.
    pub version: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub owner: usize,
    pub status: &'static str,
    pub posted: bool,
    pub budget: i64,
    pub version: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub job: usize,
    pub freelancer: usize,
    pub status: &'static str,
    pub version: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Work {
    pub claim: usize,
    pub status: &'static str,
}

/// A deposit or, below zero, a withdrawal.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub user: usize,
    pub cents: i64,
    pub pending: bool,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub people: Vec<Person>,
    pub jobs: Vec<Job>,
    pub claims: Vec<Claim>,
    pub works: Vec<Work>,
    pub transactions: Vec<Transaction>,
    pub fees: i64,
    /// Posted deposits less posted withdrawals.
    pub came_in: i64,
}

impl Model {
    pub(super) fn new(roles: impl IntoIterator<Item = Roles>) -> Self {
        let people = roles.into_iter().map(|roles| Person {
            roles,
            available: 0,
            in_escrow: 0,
            pending_in: 0,
            pending_out: 0,
            version: 1,
        });
        Self { people: people.collect(), ..Self::default() }
    }

    /// Makes the move for `who`, or says why not and changes nothing.
    pub(super) fn make(&mut self, who: usize, step: Move) -> Result<(), Code> {
        let roles = self.people[who].roles;
        let allowed = match step {
            Move::Deposit { .. } | Move::Withdraw { .. } => roles.client || roles.freelancer,
            Move::Settle { .. } => roles.admin,
            Move::Cancel { .. } => roles.client || roles.admin,
            Move::Claim { .. } | Move::Release { .. } | Move::Submit { .. } => roles.freelancer,
            Move::Post { .. }
            | Move::Draft { .. }
            | Move::Publish { .. }
            | Move::Budget { .. }
            | Move::Revise { .. }
            | Move::Approve { .. } => roles.client,
        };
        check(allowed, Forbidden)?;
        match step {
            Move::Deposit { cents } => {
                self.people[who].pending_in += cents;
                self.people[who].version += 1;
                self.transactions.push(Transaction { user: who, cents, pending: true });
            }
            Move::Withdraw { cents } => {
                self.spend(who, cents)?;
                self.people[who].pending_out += cents;
                self.transactions.push(Transaction { user: who, cents: -cents, pending: true });
            }
            Move::Settle { transaction, outcome } => {
                check(self.transactions[transaction].user != who, OwnTransaction)?;
                self.settle(transaction, OUTCOMES[outcome] == "POST")?;
            }
            Move::Post { cents } => {
                self.hold(who, cents)?;
                self.jobs.push(Job { owner: who, status: "OPEN", posted: true, budget: cents, version: 1 });
            }
            Move::Draft { cents } => {
                self.jobs.push(Job { owner: who, status: "DRAFT", posted: false, budget: cents, version: 1 });
            }
            Move::Publish { job } => {
                check(self.jobs[job].owner == who, NotFound)?;
                check(self.jobs[job].status == "DRAFT", InvalidTransition)?;
                self.hold(who, self.jobs[job].budget)?;
                self.jobs[job].posted = true;
                self.advance(job, "OPEN");
            }
            Move::Budget { job, cents } => self.change_budget(who, job, cents)?,
            Move::Cancel { job } => self.cancel(who, job)?,
            Move::Claim { job } => {
                check(self.jobs[job].posted || self.jobs[job].owner == who || roles.admin, NotFound)?;
                check(self.jobs[job].owner != who, OwnJob)?;
                check(self.jobs[job].status == "OPEN", JobNotClaimable)?;
                let live = self.claims.iter().filter(|claim| claim.freelancer == who && is_live(claim)).count();
                check(live < LIVE_CLAIMS, ClaimLimitReached)?;
                self.claims.push(Claim { job, freelancer: who, status: "ACTIVE", version: 1 });
                self.advance(job, "CLAIMED");
            }
            Move::Release { claim } => {
                check(self.claims[claim].freelancer == who, NotFound)?;
                let status = self.claims[claim].status;
                check(matches!(status, "ACTIVE" | "REVISION_REQUESTED"), InvalidTransition)?;
                self.advance_claim(claim, "RELEASED", "OPEN");
            }
            Move::Submit { claim } => {
                check(self.claims[claim].freelancer == who, NotFound)?;
                check(is_live(&self.claims[claim]), InvalidTransition)?;
                let waiting = |work: &&mut Work| work.claim == claim && work.status == "SUBMITTED";
                self.works.iter_mut().filter(waiting).for_each(|work| work.status = "SUPERSEDED");
                self.works.push(Work { claim, status: "SUBMITTED" });
                self.advance_claim(claim, "IN_REVIEW", "IN_REVIEW");
            }
            Move::Revise { work } => {
                let claim = self.review(who, work)?;
                self.works[work].status = "REVISION_REQUESTED";
                self.advance_claim(claim, "REVISION_REQUESTED", "CLAIMED");
            }
            Move::Approve { work } => {
                let claim = self.review(who, work)?;
                self.works[work].status = "APPROVED";
                let Claim { job, freelancer, .. } = self.claims[claim];
                let budget = self.jobs[job].budget;
                let fee = budget * FEE / 10_000;
                self.people[who].in_escrow -= budget;
                self.people[who].version += 1;
                self.people[freelancer].available += budget - fee;
                self.people[freelancer].version += 1;
                self.fees += fee;
                self.advance_claim(claim, "APPROVED", "COMPLETED");
            }
        }
        Ok(())
    }

    fn settle(&mut self, transaction: usize, post: bool) -> Result<(), Code> {
        let Transaction { user, cents, pending } = self.transactions[transaction];
        check(pending, TransactionNotPending)?;
        self.transactions[transaction].pending = false;
        let person = &mut self.people[user];
        person.version += 1;
        if cents > 0 {
            person.pending_in -= cents;
            person.available += if post { cents } else { 0 };
        } else {
            person.pending_out += cents;
            person.available -= if post { 0 } else { cents };
        }
        self.came_in += if post { cents } else { 0 };
        Ok(())
    }

    fn change_budget(&mut self, who: usize, job: usize, cents: i64) -> Result<(), Code> {
        let Job { owner, status, budget, .. } = self.jobs[job];
        check(owner == who, NotFound)?;
        check(matches!(status, "DRAFT" | "OPEN"), InvalidTransition)?;
        if cents == budget {
            return Ok(());
        }
        if status == "OPEN" {
            self.hold(who, cents - budget)?;
        }
        self.jobs[job].budget = cents;
        self.advance(job, status);
        Ok(())
    }

    fn cancel(&mut self, who: usize, job: usize) -> Result<(), Code> {
        let roles = self.people[who].roles;
        let Job { owner, status, budget, .. } = self.jobs[job];
        let own = owner == who && roles.client;
        check(own || roles.admin, NotFound)?;
        check(status == "OPEN" || (own && status == "DRAFT"), InvalidTransition)?;
        if status == "OPEN" {
            self.hold(owner, -budget)?;
        }
        self.advance(job, "CANCELLED");
        Ok(())
    }

    /// The claim whose submission `who` may review now.
    fn review(&self, who: usize, work: usize) -> Result<usize, Code> {
        let claim = self.works[work].claim;
        let Claim { job, status, .. } = self.claims[claim];
        check(self.jobs[job].owner == who, NotFound)?;
        check(self.jobs[job].status == "IN_REVIEW" && status == "IN_REVIEW", InvalidTransition)?;
        check(self.works[work].status == "SUBMITTED", Invalid)?;
        Ok(claim)
    }

    /// Takes from what can be spent, or, below zero, gives back.
    fn spend(&mut self, who: usize, cents: i64) -> Result<(), Code> {
        let person = &mut self.people[who];
        check(person.available >= cents, InsufficientFunds)?;
        person.available -= cents;
        person.version += 1;
        Ok(())
    }

    fn hold(&mut self, who: usize, cents: i64) -> Result<(), Code> {
        self.spend(who, cents)?;
        self.people[who].in_escrow += cents;
        Ok(())
    }

    fn advance(&mut self, job: usize, status: &'static str) {
        self.jobs[job].status = status;
        self.jobs[job].version += 1;
    }

    fn advance_claim(&mut self, claim: usize, status: &'static str, job: &'static str) {
        self.claims[claim].status = status;
        self.claims[claim].version += 1;
        self.advance(self.claims[claim].job, job);
    }
}

fn is_live(claim: &Claim) -> bool {
    matches!(claim.status, "ACTIVE" | "IN_REVIEW" | "REVISION_REQUESTED")
}

fn check(holds: bool, code: Code) -> Result<(), Code> {
    if holds { Ok(()) } else { Err(code) }
}
