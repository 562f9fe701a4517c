//! Demo people, jobs and wallets for development.
//!
//! Everything is made through the use cases, on behalf of the people concerned: what the seed leaves behind could have
//! been clicked together by hand, and its books balance. Run once, on an empty database.

use std::net::{IpAddr, Ipv4Addr};

use chrono::TimeDelta;

pub use crate::demo::{PASSWORD, PEOPLE};
use crate::{
    accounts::{model::UserCard, service::ProfilePatch, service::SignUp},
    app::App,
    auth::actor::{Actor, Principal, Roles},
    claims::service::{Stepped, Work},
    jobs::{model::Job, service::NewJob},
    wallet::{model::SettlementOutcome, service::AmountInput},
};

/// What the demo people can do: slugs of the vocabulary.
const SKILLS: [&str; 12] = [
    "rust",
    "typescript",
    "graphql",
    "postgresql",
    "react",
    "logo-design",
    "illustration",
    "copywriting",
    "translation",
    "video-editing",
    "data-analysis",
    "accessibility",
];

/// Titles of the demo jobs with two skills each; they take turns.
const WORK: [(&str, &str, &str); 10] = [
    ("Port a billing service to Rust", "rust", "postgresql"),
    ("Design a logo for a bakery", "logo-design", "illustration"),
    ("Add subscriptions to our GraphQL API", "graphql", "rust"),
    ("Translate a help centre into German", "translation", "copywriting"),
    ("Make our shop usable by keyboard", "accessibility", "react"),
    ("Cut a two-minute product video", "video-editing", "copywriting"),
    ("Find out why customers leave", "data-analysis", "postgresql"),
    ("Rebuild the sign-up form in React", "react", "typescript"),
    ("Illustrate a children's book", "illustration", "logo-design"),
    ("Write the release notes of a year", "copywriting", "graphql"),
];

/// How far the seed takes each of its 40 jobs.
#[derive(Clone, Copy)]
enum Fate {
    Draft,
    Open,
    Claimed,
    Released,
    InReview,
    SentBack,
    Completed,
    Cancelled,
}

/// Who takes a job how far: 40 jobs, no freelancer with more than five live claims.
const FATES: [(Fate, usize); 8] = [
    (Fate::Open, 14),
    (Fate::Draft, 3),
    (Fate::Claimed, 5),
    (Fate::Released, 2),
    (Fate::InReview, 4),
    (Fate::SentBack, 3),
    (Fate::Completed, 7),
    (Fate::Cancelled, 2),
];

/// Fills an empty database.
pub async fn seed(app: &App) -> anyhow::Result<()> {
    let services = &app.services;
    let mut people = Vec::with_capacity(PEOPLE.len());
    for (place, (email, name, roles)) in PEOPLE.into_iter().enumerate() {
        people.push(open_account(app, email, name, roles, place).await?);
    }
    let (clients, freelancers, admin) = (&people[..3], &people[3..8], people[8]);

    for (place, client) in clients.iter().enumerate() {
        fund(app, *client, admin, &format!("{}.00", 40_000 + 5_000 * place), place).await?;
    }
    let fates = FATES.into_iter().flat_map(|(fate, count)| std::iter::repeat_n(fate, count));
    for (place, fate) in fates.enumerate() {
        let freelancer = freelancers[place % freelancers.len()];
        play(app, clients[place % clients.len()], freelancer, place, fate).await?;
    }
    // Something for each state of a transaction: a deposit and a withdrawal under way, one that failed, one called off.
    let wallets = &services.wallets;
    wallets.deposit(clients[0], amount("750.00"), "seed-pending-deposit").await?;
    wallets.withdraw(clients[1], amount("120.00"), "DE02 1203 0000 0000 2020 51", "seed-pending-withdrawal").await?;
    let refused = wallets.deposit(clients[2], amount("99.00"), "seed-refused-deposit").await?.id.to_string();
    wallets.confirm(admin, &refused, SettlementOutcome::Fail, "seed-refuse").await?;
    let destination = "DE02 1203 0000 0000 2020 51";
    let voided = wallets.withdraw(clients[2], amount("45.00"), destination, "seed-voided-withdrawal").await?;
    wallets.confirm(admin, &voided.id.to_string(), SettlementOutcome::Void, "seed-void").await?;
    Ok(())
}

async fn open_account(app: &App, email: &str, name: &str, roles: Roles, place: usize) -> anyhow::Result<Actor> {
    let accounts = &app.services.accounts;
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let card: UserCard = if roles.admin {
        accounts.create_admin(email, PASSWORD, name).await?
    } else {
        let command = SignUp { email: email.into(), password: PASSWORD.into(), display_name: name.into(), roles };
        accounts.sign_up(command, home).await?.0
    };
    let (user, session) = (card.id, app.db.ids().next());
    let actor = Actor::User(Principal { user, session, roles, expires_at: app.clock.now(), commits: None });
    if roles.freelancer {
        let skills = [place, place + 3, place + 7].map(|skill| SKILLS[skill % SKILLS.len()].to_owned());
        let patch = ProfilePatch { skills: Some(skills.to_vec()), ..ProfilePatch::default() };
        accounts.update_profile(actor, patch).await?;
    }
    Ok(actor)
}

async fn fund(app: &App, client: Actor, admin: Actor, sum: &str, place: usize) -> anyhow::Result<()> {
    let wallets = &app.services.wallets;
    let deposit = wallets.deposit(client, amount(sum), &format!("seed-deposit-{place}")).await?.id.to_string();
    wallets.confirm(admin, &deposit, SettlementOutcome::Post, &format!("seed-confirm-{place}")).await?;
    Ok(())
}

async fn play(app: &App, client: Actor, freelancer: Actor, place: usize, fate: Fate) -> anyhow::Result<()> {
    let (jobs, claims) = (&app.services.jobs, &app.services.claims);
    let key = |step: &str| format!("seed-{step}-{place}");
    let (title, first, second) = WORK[place % WORK.len()];
    let new = NewJob {
        title: title.to_owned(),
        description: format!("We need this soon.\n\n**What we ask for:** {}.", title.to_lowercase()),
        budget: amount(&format!("{}.00", 250 + 125 * (place % 9))),
        skills: vec![first.to_owned(), second.to_owned()],
        deadline: place
            .is_multiple_of(3)
            .then(|| app.clock.now() + TimeDelta::days(14 + i64::try_from(place).unwrap_or(0))),
    };
    if let Fate::Draft = fate {
        jobs.draft(client, new, &key("draft")).await?;
        return Ok(());
    }
    let job: Job = jobs.post(client, new, &key("post")).await?;
    let id = job.id.to_string();
    let claim = async || claims.claim(freelancer, &id, None, &key("claim")).await;
    let submit = async |claim: Stepped| {
        let note = "Here it is. Tell me what you think.";
        let work = Work { note, files: &[] };
        claims.submit(freelancer, &claim.claim.id.to_string(), work, &key("submit")).await
    };
    let deliverable = |stepped: Stepped| stepped.deliverable.map(|work| work.id.to_string()).unwrap_or_default();
    match fate {
        Fate::Draft | Fate::Open => {}
        Fate::Cancelled => {
            jobs.cancel(client, &id, Some("Our plans have changed."), None).await?;
        }
        Fate::Claimed => {
            claim().await?;
        }
        Fate::Released => {
            let claimed = claim().await?;
            claims
                .release(freelancer, &claimed.claim.id.to_string(), Some("I have too much on my desk."), None)
                .await?;
        }
        Fate::InReview => {
            let submitted = submit(claim().await?).await?;
            // Some think better of it before the client has looked: the first submission is superseded.
            if place.is_multiple_of(2) {
                let (claim, note) = (submitted.claim.id.to_string(), "This one is better. Please look at it instead.");
                claims.submit(freelancer, &claim, Work { note, files: &[] }, &key("resubmit")).await?;
            }
        }
        Fate::SentBack => {
            let work = deliverable(submit(claim().await?).await?);
            claims.request_revision(client, &work, "Almost. Please look at the details again.", None).await?;
        }
        Fate::Completed => {
            let work = deliverable(submit(claim().await?).await?);
            claims.approve(client, &work, &key("approve")).await?;
        }
    }
    Ok(())
}

fn amount(text: &str) -> AmountInput {
    AmountInput { amount: text.to_owned(), currency_code: "USD".to_owned() }
}
