//! What clients do with their jobs, and what `claims` does to them.

use std::collections::BTreeSet;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryTrait, sea_query::SelectStatement,
};
use serde::{Deserialize, Serialize};

use super::{
    entity::{
        job_skills,
        jobs::{self, Finders as _},
    },
    error::{JobError, PostError, UpdateError, VersionConflict},
    events::{JobSnapshot, JobText, JobUpdate, posted, updated},
    model::{Job, JobChange, JobFacts, JobStatus, Step, Terms},
    quota::DraftQuota,
};
use crate::{
    accounts::{
        Accounts,
        cards::{CardAndSkills, SkillList},
        model::{Skill, UserCard},
        skills::SkillUse,
    },
    auth::actor::{Actor, Denied},
    clock::{Clock, Timestamp},
    db::{Db, Tx},
    error::{InternalError, Invalid},
    events,
    idempotency::{IdempotencyKey, Once, once_if_in, once_in},
    ids::{Ids, JobId, UserId},
    notifications::{
        Notifications,
        model::{Details, NotificationKind, Part, Subject},
    },
    schedule::Schedule,
    search::Search,
    text,
    wallet::{Wallets, service::AmountInput},
};

/// The jobs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Jobs {
    pub(super) db: Db,
    pub(super) accounts: Accounts,
    clock: Clock,
    ids: Ids,
    pub(super) wallets: Wallets,
    pub(super) notifications: Notifications,
    quota: DraftQuota,
    pub(super) schedule: Schedule,
    pub(super) search: Search,
}

/// `postJob` and `draftJob`, as they came.
#[derive(Clone, Debug, Serialize)]
pub struct NewJob {
    /// What it is called.
    pub title: String,
    /// What is wanted.
    pub description: String,
    /// What it pays.
    pub budget: AmountInput,
    /// What it asks for, by slug.
    pub skills: Vec<String>,
    /// Until when it can be claimed.
    pub deadline: Option<Timestamp>,
}

/// `updateJob`: what is left out stays.
#[derive(Clone, Debug, Default, Serialize)]
pub struct JobPatch {
    /// A new title.
    pub title: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// A new budget.
    pub budget: Option<AmountInput>,
    /// New skills, by slug.
    pub skills: Option<Vec<String>>,
    /// A new deadline; `Some(None)` removes it.
    pub deadline: Option<Option<Timestamp>>,
}

#[derive(Serialize, Deserialize)]
struct Made {
    job: JobId,
}

/// What a snapshot holds beside the job itself.
#[derive(Clone, Debug)]
pub struct Around {
    skills: Vec<Skill>,
    client: UserCard,
    /// Whether the client is suspended.
    suspended: bool,
}

impl Around {
    /// The client's card.
    pub const fn client(&self) -> &UserCard {
        &self.client
    }

    /// The same after one more job of the client's was completed in this transaction.
    #[must_use]
    pub fn with_completed_job(mut self) -> Self {
        self.client.completed_job_count += 1;
        self
    }

    fn snapshot(self, job: &Job) -> JobSnapshot {
        JobSnapshot { job: job.clone(), skills: self.skills, client: self.client }
    }
}

impl Jobs {
    /// Jobs on these tools.
    pub fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        accounts: Accounts,
        wallets: Wallets,
        notifications: Notifications,
        (quota, schedule): (DraftQuota, Schedule),
    ) -> Self {
        Self { db, accounts, clock, ids, wallets, notifications, quota, schedule, search: Search::default() }
    }

    /// The same with this index to search in.
    #[must_use]
    pub fn with_search(self, search: Search) -> Self {
        Self { search, ..self }
    }

    /// The same on another view of the database.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        let (accounts, wallets) = (self.accounts.on(db), self.wallets.on(db));
        Self { db: db.clone(), accounts, wallets, notifications: self.notifications.on(db), ..self.clone() }
    }

    /// Posts a job: OPEN at once, its budget in escrow.
    #[tracing::instrument(skip_all)]
    pub async fn post(&self, actor: Actor, input: NewJob, key: &str) -> Result<Job, PostError> {
        self.create(actor, input, ("postJob", key), Job::posted).await
    }

    /// Writes a job down. Only its author ever sees it.
    #[tracing::instrument(skip_all)]
    pub async fn draft(&self, actor: Actor, input: NewJob, key: &str) -> Result<Job, PostError> {
        self.create(actor, input, ("draftJob", key), Job::draft).await
    }

    async fn create(
        &self,
        actor: Actor,
        input: NewJob,
        (mutation, key): (&'static str, &str),
        begin: fn(JobId, UserId, Terms, Timestamp) -> Job,
    ) -> Result<Job, PostError> {
        let client = actor.client()?;
        let key = &IdempotencyKey::parse(key)?;
        let terms = &self.terms(&input)?;
        let input = &input;
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let posted = once_in(&tx, now, client, (mutation, key), input, || async {
                    check_deadline("deadline", input.deadline, now)?;
                    let skills =
                        self.accounts.resolve_skills(&*tx, "skills", &input.skills, SkillUse::Given(&[])).await?;
                    let job = begin(self.ids.next(), client, terms.clone(), now);
                    let posted = job.status() == JobStatus::Open;
                    if !posted {
                        self.quota.hold_in(&tx, &self.accounts, &job, now).await?;
                    }
                    // Not deferred: it holds the client's row before the role is looked at.
                    tx.pipeline_built(&jobs::Entity::insert(jobs::ActiveModel::from(job.clone()))).await?;
                    insert_skills_in(&tx, job.id, &skills).await?;
                    let client = self.accounts.card_in(&tx, client).await?;
                    if !client.roles.client {
                        // Taken since the request began: nobody would be left to review the work.
                        return Err(Denied::Role("CLIENT").into());
                    }
                    let around = Around { skills, client, suspended: false };
                    if posted {
                        self.wallets.hold_in(&tx, &around.client, job.budget, job.id.into()).await?;
                        self.record_posted_with_in(&tx, &job, around).await?;
                    } else {
                        let before = (JobFacts::of(&job, &around.skills), None);
                        let changes = &[JobChange::Details, JobChange::Status];
                        self.record_updated_in(&tx, before, None, &job, changes, around).await?;
                    }
                    Ok::<_, PostError>((Made { job: job.id }, job))
                })
                .await?;
                Ok(self.outcome_in(&tx, posted).await?)
            })
            .await
    }

    /// Posts a draft.
    #[tracing::instrument(skip_all, fields(job.id = id))]
    pub async fn publish(&self, actor: Actor, id: &str, key: &str) -> Result<Job, PostError> {
        let client = actor.client()?;
        let key = &IdempotencyKey::parse(key)?;
        let id = parse_id("id", id)?;
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let published = once_in(&tx, now, client, ("publishJob", key), &id, || async {
                    let before = self.lock_own_in(&tx, client, "id", id).await?;
                    let job = before.publish(now).map_err(|refused| JobError::refused(&before, refused))?;
                    let job = job.succeeding(&before, now);
                    check_deadline("id", before.deadline, now)?;
                    let around = self.around_in(&tx, &job).await?;
                    self.wallets.hold_in(&tx, &around.client, job.budget, id.into()).await?;
                    self.record_posted_with_in(&tx, &job, around).await?;
                    self.save_in(&tx, &before, &job).await?;
                    Ok::<_, PostError>((Made { job: id }, job))
                })
                .await?;
                Ok(self.outcome_in(&tx, published).await?)
            })
            .await
    }

    /// Changes a DRAFT or OPEN job; a new budget moves the difference. A patch that changes nothing does nothing. With a
    /// key, once.
    #[tracing::instrument(skip_all, fields(job.id = id))]
    pub async fn update(
        &self,
        actor: Actor,
        id: &str,
        expected_version: Option<i64>,
        patch: JobPatch,
        key: Option<&str>,
    ) -> Result<Job, UpdateError> {
        let caller = actor.client()?;
        let key = &key.map(IdempotencyKey::parse).transpose()?;
        let id = parse_id("id", id)?;
        // In JSON a deadline that is removed looks like one that is left out.
        let input = &(id, expected_version, patch.clone(), patch.deadline.is_some());
        let title = patch.title.map(|title| text::TITLE.parse("patch.title", &title)).transpose()?;
        let description =
            patch.description.map(|text| text::DESCRIPTION.parse("patch.description", &text)).transpose()?;
        let currency = self.wallets.currency();
        let budget = patch.budget.map(|budget| budget.parse(currency, "patch.budget")).transpose()?;
        let (title, description, slugs) = (&title, &description, &patch.skills);
        let deadline = patch.deadline;
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let updated = once_if_in(&tx, now, caller, ("updateJob", key.as_ref()), input, || async {
                    let before = self.lock_own_in(&tx, caller, "id", id).await?;
                    require(&before, Step::Update)?;
                    check_version(&before, expected_version)?;
                    if let Some(deadline) = deadline {
                        check_deadline("patch.deadline", deadline, now)?;
                    }
                    let Around { skills: skills_before, client, suspended } = self.around_in(&tx, &before).await?;
                    let skills = match slugs {
                        Some(slugs) => {
                            let given = SkillUse::Given(&skills_before);
                            self.accounts.resolve_skills(&*tx, "patch.skills", slugs, given).await?
                        }
                        None => skills_before.clone(),
                    };
                    let terms = Terms {
                        title: title.clone().unwrap_or_else(|| before.title.clone()),
                        description: description.clone().unwrap_or_else(|| before.description.clone()),
                        budget: budget.unwrap_or(before.budget),
                        deadline: deadline.unwrap_or(before.deadline),
                    };
                    let job = before.revise(terms).map_err(|refused| JobError::refused(&before, refused))?;
                    if job == before && skills == skills_before {
                        return Ok((Made { job: id }, before));
                    }
                    // A draft that becomes shorter is always welcome.
                    if job.status() == JobStatus::Draft
                        && job.title.len() + job.description.len() > before.title.len() + before.description.len()
                    {
                        self.quota.hold_in(&tx, &self.accounts, &job, now).await?;
                    }
                    let job = job.succeeding(&before, now);
                    if skills != skills_before {
                        tx.pipeline("DELETE FROM job_skills WHERE job_id = ?", [id.into()]).await?;
                        insert_skills_in(&tx, id, &skills).await?;
                    }
                    let mut changes = vec![JobChange::Details];
                    if job.status() == JobStatus::Open && job.budget != before.budget {
                        changes.push(JobChange::Escrow);
                        let difference = job.budget.minus(before.budget)?;
                        if difference.is_positive() {
                            self.wallets.hold_in(&tx, &client, difference, id.into()).await?;
                        } else {
                            self.wallets.refund_in(&tx, &client, difference.negated()?, id.into()).await?;
                        }
                    }
                    let was = (JobFacts::of(&before, &skills_before), JobText::changed(&before, &job));
                    self.record_updated_in(&tx, was, None, &job, &changes, Around { skills, client, suspended })
                        .await?;
                    self.save_in(&tx, &before, &job).await?;
                    Ok::<_, UpdateError>((Made { job: id }, job))
                })
                .await?;
                Ok(self.outcome_in(&tx, updated).await?)
            })
            .await
    }

    /// Calls a job off: a DRAFT or OPEN one by its client, an OPEN one by an admin, which is noted and told the client.
    /// With a key, once.
    #[tracing::instrument(skip_all, fields(job.id = id))]
    pub async fn cancel(
        &self,
        actor: Actor,
        id: &str,
        reason: Option<&str>,
        key: Option<&str>,
    ) -> Result<Job, JobError> {
        let caller = actor.signed_in()?;
        if !actor.is_admin() {
            actor.client()?;
        }
        let key = &key.map(IdempotencyKey::parse).transpose()?;
        let id = parse_id("id", id)?;
        let reason = &reason.map(|reason| text::REASON.parse("reason", reason)).transpose()?;
        let input = &(id, reason);
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let cancelled = once_if_in(&tx, now, caller, ("cancelJob", key.as_ref()), input, || async {
                    let before = if actor.is_admin() {
                        self.lock_in(&tx, id).await?.ok_or_else(|| Invalid::not_found("id", "job"))?
                    } else {
                        self.lock_own_in(&tx, caller, "id", id).await?
                    };
                    let own = before.is_own(&actor) && actor.roles().client;
                    let why = reason.as_deref();
                    let cancelled = if own { before.cancel(why) } else { before.cancel_as_admin(why) };
                    let job = cancelled.map_err(|refused| JobError::refused(&before, refused))?;
                    let around = self.around_in(&tx, &job).await?;
                    let posted = before.status() == JobStatus::Open;
                    if posted {
                        self.wallets.refund_in(&tx, &around.client, job.budget, id.into()).await?;
                    }
                    let changes: &[_] =
                        if posted { &[JobChange::Status, JobChange::Escrow] } else { &[JobChange::Status] };
                    let (job, _) = self.change_with_in(&tx, &before, job, changes, around).await?;
                    if !own {
                        self.accounts
                            .audit_in(&tx, caller, "cancelJob", &id.to_string(), reason.as_deref().unwrap_or(""))
                            .await?;
                        let mut details = Details::new(Part::Client, &job.title);
                        details.amount = posted.then_some(job.budget);
                        details.reason.clone_from(reason);
                        let kind = NotificationKind::JobCancelled;
                        self.notifications.notify_in(&tx, job.client_id, kind, details, Subject::Job(id)).await?;
                    }
                    Ok::<_, JobError>((Made { job: id }, job))
                })
                .await?;
                Ok(self.outcome_in(&tx, cancelled).await?)
            })
            .await
    }

    /// Locks a job until the transaction ends. Everything that changes a job begins here, so steps on one job queue.
    pub async fn lock_in(&self, tx: &Tx, id: JobId) -> Result<Option<Job>, InternalError> {
        let row = jobs::Entity::find_by_id(id).locked().one(&**tx).await?;
        row.map(Job::try_from).transpose()
    }

    /// The same for a job that the actor may see.
    pub async fn lock_visible_in(&self, tx: &Tx, actor: &Actor, id: JobId) -> Result<Option<Job>, InternalError> {
        let row = jobs::Entity::find_by_id(id).visible_to(actor).locked().one(&**tx).await?;
        row.map(Job::try_from).transpose()
    }

    /// The same for the one job whose id a query gives; if a client is named, only if it is theirs.
    pub async fn lock_where_in(
        &self,
        tx: &Tx,
        id: SelectStatement,
        client: Option<UserId>,
    ) -> Result<Option<Job>, InternalError> {
        let mut select = jobs::Entity::find().filter(jobs::Column::Id.in_subquery(id));
        if let Some(client) = client {
            select = select.of_client(client);
        }
        select.locked().one(&**tx).await?.map(Job::try_from).transpose()
    }

    /// The same for a client's own job, which `input.<field>` names.
    async fn lock_own_in(&self, tx: &Tx, client: UserId, field: &str, id: JobId) -> Result<Job, JobError> {
        let row = jobs::Entity::find_by_id(id).of_client(client).locked().one(&**tx).await?;
        Ok(row.ok_or_else(|| Invalid::not_found(field, "job"))?.try_into()?)
    }

    /// Writes the next version of a locked job and records `jobUpdated`. Returns the job as it is now, and as an event
    /// keeps it. Who changes its claim records `claimUpdated` beside it.
    pub async fn change_in(
        &self,
        tx: &Tx,
        before: &Job,
        job: Job,
        changes: &[JobChange],
    ) -> Result<(Job, JobSnapshot), InternalError> {
        let around = self.around_in(tx, before).await?;
        self.change_with_in(tx, before, job, changes, around).await
    }

    /// The same for a job that is being claimed; none if its client is suspended: then the caller must give up its
    /// transaction.
    pub async fn claimed_in(
        &self,
        tx: &Tx,
        before: &Job,
        job: Job,
        changes: &[JobChange],
    ) -> Result<Option<(Job, JobSnapshot)>, InternalError> {
        let around = self.around_in(tx, before).await?;
        if around.suspended {
            return Ok(None);
        }
        self.change_with_in(tx, before, job, changes, around).await.map(Some)
    }

    /// This process's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The same with what is around the job already read.
    pub async fn change_with_in(
        &self,
        tx: &Tx,
        before: &Job,
        job: Job,
        changes: &[JobChange],
        around: Around,
    ) -> Result<(Job, JobSnapshot), InternalError> {
        let job = job.succeeding(before, self.clock.now()).withheld_if(around.suspended);
        let was = (JobFacts::of(before, &around.skills), JobText::changed(before, &job));
        let left = before.claimant().filter(|claimant| job.claimant() != Some(*claimant));
        let snapshot = self.record_updated_in(tx, was, left, &job, changes, around).await?;
        self.save_in(tx, before, &job).await?;
        Ok((job, snapshot))
    }

    /// Writes a job whose row is locked. Must be last: it sends the pipelined statements in the same round trip.
    /// `RETURNING` makes the driver return rows, which allows that.
    async fn save_in(&self, tx: &Tx, before: &Job, job: &Job) -> Result<(), InternalError> {
        let mut update = jobs::Entity::update_many()
            .set(jobs::changes(before, job))
            .filter(jobs::Column::Id.eq(job.id))
            .filter(jobs::Column::Version.eq(before.version))
            .filter(jobs::Column::Status.eq(before.status().as_str()));
        QueryTrait::query(&mut update).returning_col(jobs::Column::Version);
        let saved = tx.query_all_raw(update.build(tx.get_database_backend())).await?;
        // The row is locked: nobody else can have changed it since.
        if saved.len() == 1 {
            Ok(())
        } else {
            Err(InternalError::corrupt(format!("{} changed under its lock", job.id)))
        }
    }

    /// Records that a change has made a job OPEN again, as that change's event has it. Nobody is told of one that is
    /// withheld.
    pub async fn record_reposted_in(&self, tx: &Tx, snapshot: &JobSnapshot) -> Result<(), InternalError> {
        if snapshot.job.is_withheld() {
            return Ok(());
        }
        Ok(events::record(tx, posted(self.ids.next(), snapshot, self.clock.now())?).await?)
    }

    async fn record_posted_with_in(&self, tx: &Tx, job: &Job, around: Around) -> Result<(), InternalError> {
        Ok(events::record(tx, posted(self.ids.next(), &around.snapshot(job), self.clock.now())?).await?)
    }

    /// Records a change of a job, which only its author receives as long as it was never posted.
    async fn record_updated_in(
        &self,
        tx: &Tx,
        (before, text_before): (JobFacts, Option<JobText>),
        left: Option<UserId>,
        job: &Job,
        changes: &[JobChange],
        around: Around,
    ) -> Result<JobSnapshot, InternalError> {
        let changes: Vec<JobChange> = changes.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let previous_status = (before.status != job.status()).then_some(before.status);
        let snapshot = around.snapshot(job);
        let claim_told = changes.contains(&JobChange::Claim);
        let update = JobUpdate { snapshot, changes, previous_status, before, left, text_before, claim_told };
        events::record(tx, updated(self.ids.next(), &update, self.clock.now())?).await?;
        Ok(update.snapshot)
    }

    /// The skills and the client of a job, which are there.
    pub async fn around_in(&self, tx: &Tx, job: &Job) -> Result<Around, InternalError> {
        const LIST: SkillList = SkillList { table: "job_skills", of: "job_id" };

        let found = self.accounts.card_and_skills_in(tx, job.client_id, LIST, job.id.into()).await?;
        let CardAndSkills { card: client, suspended, skills } = found;
        Ok(Around { skills, client, suspended })
    }

    /// A job as the transaction sees it, for every caller.
    pub async fn find_in(&self, tx: &Tx, id: JobId) -> Result<Option<Job>, InternalError> {
        jobs::Entity::find_by_id(id).one(&**tx).await?.map(Job::try_from).transpose()
    }

    /// The job that a request made: as it made it, or as it is by now.
    async fn outcome_in(&self, tx: &Tx, outcome: Once<Made, Job>) -> Result<Job, InternalError> {
        match outcome {
            Once::Now(job) => Ok(job),
            Once::Before(Made { job: id }) => {
                self.find_in(tx, id).await?.ok_or_else(|| InternalError::corrupt(format!("{id} is missing")))
            }
        }
    }

    fn terms(&self, input: &NewJob) -> Result<Terms, Invalid> {
        Ok(Terms {
            title: text::TITLE.parse("title", &input.title)?,
            description: text::DESCRIPTION.parse("description", &input.description)?,
            budget: input.budget.parse(self.wallets.currency(), "budget")?,
            deadline: input.deadline,
        })
    }
}

async fn insert_skills_in(tx: &Tx, job: JobId, skills: &[Skill]) -> Result<(), InternalError> {
    if skills.is_empty() {
        return Ok(());
    }
    let rows = (0_i32..).zip(skills).map(|(place, skill)| job_skills::ActiveModel {
        job_id: Set(job),
        skill_id: Set(skill.id),
        place: Set(place),
    });
    tx.defer_built(&job_skills::Entity::insert_many(rows)).await?;
    Ok(())
}

/// Reads a job's id from `input.<field>`; what is not an id names no job.
pub fn parse_id(field: &str, text: &str) -> Result<JobId, Invalid> {
    text.parse().map_err(|_| Invalid::not_found(field, "job"))
}

/// Refuses a step that the job's status does not allow.
pub fn require(job: &Job, step: Step) -> Result<(), JobError> {
    job.allows(step).map_err(|refused| JobError::refused(job, refused))
}

/// Refuses a caller who decided on an older version.
pub fn check_version(job: &Job, expected: Option<i64>) -> Result<(), VersionConflict> {
    match expected {
        Some(expected) if expected != job.version => Err(VersionConflict(Box::new(job.clone()))),
        _ => Ok(()),
    }
}

fn check_deadline(field: &str, deadline: Option<Timestamp>, now: Timestamp) -> Result<(), Invalid> {
    match deadline {
        Some(deadline) if deadline <= now => {
            Err(Invalid::value(field, "must have a deadline in the future; set a later one or none"))
        }
        // Four digits for the year are all that RFC 3339 has.
        Some(deadline) if deadline.timestamp() > 253_402_214_399 => {
            Err(Invalid::value(field, "must lie before the year 9999-12-31"))
        }
        _ => Ok(()),
    }
}
