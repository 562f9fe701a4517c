//! The people of the permission stories, and one object in every state that a right depends on.

use std::sync::Mutex;

use serde_json::json;

use crate::support::{
    app::TestApp,
    people::{Person, new_job, sign_up_admin, text},
};

/// Somebody who looks: a person and the roles they hold.
#[derive(Clone)]
pub struct Viewer {
    /// Their part.
    pub part: &'static str,
    pub person: Person,
    roles: &'static [&'static str],
}

impl Viewer {
    fn new(part: &'static str, person: &Person, roles: &'static [&'static str]) -> Self {
        Self { part, person: person.clone(), roles }
    }

    pub fn is(&self, user: &str) -> bool {
        self.person.id == user
    }

    pub fn has(&self, role: &str) -> bool {
        self.roles.contains(&role)
    }

    pub fn is_admin(&self) -> bool {
        self.has("ADMIN")
    }

    pub fn is_anonymous(&self) -> bool {
        self.person.token.is_none()
    }
}

/// Everybody, and everything there is to look at.
pub struct Cast {
    pub app: TestApp,
    pub admin: Person,
    /// Whose jobs they all are.
    pub ada: Person,
    /// Holds the live claims.
    pub ben: Person,
    /// Gave a claim back after handing work in.
    pub eve: Person,
    /// Was paid.
    pub pia: Person,
    /// A client of nobody here, with a draft of their own.
    pub cleo: Person,
    /// A freelancer of nobody here.
    pub fay: Person,
    /// Client and freelancer, and a stranger to all this.
    pub duo: Person,
    /// Was shut out; still has the token.
    pub shut_out: Person,
    pub jobs: Jobs,
    /// Accounts that were added later.
    newcomers: Mutex<Vec<Person>>,
}

/// Ada's jobs by their state.
pub struct Jobs {
    pub draft: String,
    pub cancelled_draft: String,
    pub open: String,
    /// Open again: eve gave it back.
    pub reopened: String,
    /// Claimed by ben, after eve gave it back.
    pub claimed: String,
    pub in_review: String,
    pub completed: String,
    pub cancelled: String,
}

impl Cast {
    /// Tells the stories that lead to every state.
    pub async fn assemble(app: &TestApp) -> Self {
        let admin = app.admin().await;
        let [ada, cleo] = [app.client("Ada").await, app.client("Cleo").await];
        let [ben, eve, pia] = [app.freelancer("Ben").await, app.freelancer("Eve").await, app.freelancer("Pia").await];
        let fay = app.freelancer("Fay").await;
        let duo = Person::sign_up(app, "Duo", &["CLIENT", "FREELANCER"]).await.funded("500.00").await;
        let shut_out = app.client("Sue").await;
        let jobs = Jobs::posted_by(&ada).await;

        ada.cancel(&jobs.cancelled_draft).await.good();
        ada.cancel(&jobs.cancelled).await.good();
        for job in [&jobs.reopened, &jobs.claimed] {
            let claim = claimed(&eve, job).await;
            ada.request_revision(&submitted(&eve, &claim).await).await.good();
            eve.release(&claim).await.good();
        }
        claimed(&ben, &jobs.claimed).await;
        let claim = claimed(&ben, &jobs.in_review).await;
        submitted(&ben, &claim).await;
        submitted(&ben, &claim).await;
        let claim = claimed(&pia, &jobs.completed).await;
        ada.approve(&submitted(&pia, &claim).await).await.good();

        ben.mutate("updateProfile", json!({ "skills": ["rust"] }), "viewer { id }").await.good();
        cleo.draft(new_job("Cleo's draft", "20.00")).await.good();
        cleo.deposit("5.00").await.good();
        pia.withdraw("1.00").await.good();
        let input = json!({ "userId": shut_out.id, "suspended": true, "reason": "Spam." });
        admin.mutate("setUserSuspended", input, "user { id }").await.good();
        let app = app.clone();
        Self { app, admin, ada, ben, eve, pia, cleo, fay, duo, shut_out, jobs, newcomers: Mutex::default() }
    }

    /// Everybody who may look; the one who was shut out may not.
    pub fn viewers(&self) -> Vec<Viewer> {
        vec![
            Viewer::new("anonymous", &self.app.anonymous(), &[]),
            Viewer::new("the jobs' client", &self.ada, &["CLIENT"]),
            Viewer::new("the claimant", &self.ben, &["FREELANCER"]),
            Viewer::new("one who gave the claim back", &self.eve, &["FREELANCER"]),
            Viewer::new("one who was paid", &self.pia, &["FREELANCER"]),
            Viewer::new("another client", &self.cleo, &["CLIENT"]),
            Viewer::new("another freelancer", &self.fay, &["FREELANCER"]),
            Viewer::new("a stranger with both roles", &self.duo, &["CLIENT", "FREELANCER"]),
            Viewer::new("admin", &self.admin, &["ADMIN"]),
        ]
    }

    /// The viewer who is this person.
    pub fn viewer(&self, person: &Person) -> Viewer {
        self.viewers().into_iter().find(|viewer| viewer.is(&person.id)).expect("one of the cast")
    }

    /// Everybody with an account.
    pub fn people(&self) -> Vec<Person> {
        let Self { admin, ada, ben, eve, pia, cleo, fay, duo, shut_out, .. } = self;
        let mut people: Vec<_> = [admin, ada, ben, eve, pia, cleo, fay, duo, shut_out].map(Clone::clone).into();
        people.extend(self.newcomers.lock().expect("newcomers").iter().cloned());
        people
    }

    /// Whom a deed of this person on something made for it can concern: them, the jobs' client, who was shut out, and
    /// the latest newcomer.
    pub fn concerned_by(&self, doer: &Viewer) -> Vec<Person> {
        let latest = self.newcomers.lock().expect("newcomers").last().cloned();
        let known = [self.ada.clone(), self.shut_out.clone()].into_iter().chain(latest);
        known.chain((!doer.is_anonymous()).then(|| doer.person.clone())).collect()
    }

    /// Somebody new, whom the census will count.
    pub async fn newcomer(&self, name: &str, roles: &[&str]) -> Person {
        let person = Person::sign_up(&self.app, name, roles).await;
        self.newcomers.lock().expect("newcomers").push(person.clone());
        person
    }

    /// An admin who is a client too: one who could hear of their own wallet and inbox.
    pub async fn admin_with_a_wallet(&self) -> Viewer {
        let admin = sign_up_admin(&self.app).await;
        let input = json!({ "userId": admin.id, "roles": ["ADMIN", "CLIENT"] });
        self.admin.mutate("setUserRoles", input, "user { id }").await.good();
        let admin = admin.sign_in_again().await.funded("1000.00").await;
        self.newcomers.lock().expect("newcomers").push(admin.clone());
        Viewer::new("an admin who is a client too", &admin, &["ADMIN", "CLIENT"])
    }

    /// Somebody new with the roles of this viewer.
    pub async fn double(&self, viewer: &Viewer) -> Viewer {
        let person = if viewer.is_admin() {
            let admin = sign_up_admin(&self.app).await;
            self.newcomers.lock().expect("newcomers").push(admin.clone());
            admin
        } else {
            self.newcomer("Double", viewer.roles).await
        };
        Viewer::new(viewer.part, &person, viewer.roles)
    }
}

impl Jobs {
    async fn posted_by(ada: &Person) -> Self {
        let posted = async |title| text(&ada.post_job(title).await, "/id");
        let drafted = async |title| text(&ada.draft(new_job(title, "10.00")).await.good(), "/job/id");
        Self {
            draft: drafted("A draft").await,
            cancelled_draft: drafted("A dropped draft").await,
            open: posted("Open").await,
            reopened: posted("Open again").await,
            claimed: posted("Claimed").await,
            in_review: posted("In review").await,
            completed: posted("Completed").await,
            cancelled: posted("Cancelled").await,
        }
    }
}

/// Claims a job; the claim's id.
pub async fn claimed(freelancer: &Person, job: &str) -> String {
    text(&freelancer.claim(job).await.good(), "/claim/id")
}

/// Hands work in, with a file; the deliverable's id.
pub async fn submitted(freelancer: &Person, claim: &str) -> String {
    let file = freelancer.upload("plan.txt", "text/plain", b"What was done.").await;
    text(&freelancer.submit_files(claim, &[file]).await.good(), "/deliverable/id")
}
