//! From the claim to the payment.
//!
//! Each step locks the job first, then the claim, then whatever money it moves, so that steps on one job queue and none
//! deadlocks. What the caller may do is decided on the locked rows.

use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::{
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select, UpdateMany,
};
use serde::{Deserialize, Serialize};

use super::{
    entity::{
        claims::{self, Finders as _},
        deliverables,
    },
    error::{ClaimError, StepError},
    escrow::Escrow,
    events::{ClaimUpdate, updated},
    model::{Claim, ClaimStatus, Deliverable},
    settings::MarketplaceSettings,
};
use crate::{
    accounts::Accounts,
    auth::actor::Actor,
    clock::Clock,
    db::{Backend, Db, Tx},
    error::{InternalError, Invalid, InvalidKind},
    events,
    files::{FileError, Files, model as files},
    idempotency::{IdempotencyKey, Once, once_if_in, once_in},
    ids::{ClaimId, DeliverableId, FileId, Ids, JobId, UserId},
    jobs::{
        Jobs,
        events::JobSnapshot,
        model::{Job, JobChange, Step},
        service::{check_version, parse_id},
    },
    notifications::{
        Notifications,
        model::{Details, NotificationKind, Part, Subject},
    },
    schedule::Schedule,
    text,
};

/// The claims. Clones share everything.
#[derive(Clone, Debug)]
pub struct Claims {
    pub(super) db: Db,
    pub(super) clock: Clock,
    ids: Ids,
    pub(super) accounts: Accounts,
    pub(super) jobs: Jobs,
    pub(super) escrow: Escrow,
    pub(super) notifications: Notifications,
    files: Files,
    rules: ClaimRules,
    pub(super) schedule: Schedule,
}

/// The domains that claims call.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// People.
    pub accounts: Accounts,
    /// What is claimed.
    pub jobs: Jobs,
    /// What is held for it.
    pub escrow: Escrow,
    /// Who is told.
    pub notifications: Notifications,
    /// What is handed in beside words.
    pub files: Files,
}

/// What the marketplace's settings say about claims.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRules {
    /// Live claims a freelancer may hold.
    pub live_claims: u32,
    /// How long a claim lives without a submission.
    pub lifetime: TimeDelta,
    /// How long a client has to review a submission.
    pub review: TimeDelta,
    /// The platform's share of claims made from now on.
    pub fee_basis_points: u16,
}

impl From<&MarketplaceSettings> for ClaimRules {
    fn from(settings: &MarketplaceSettings) -> Self {
        Self {
            live_claims: settings.live_claims,
            lifetime: TimeDelta::seconds(settings.claim_seconds.into()),
            review: TimeDelta::seconds(settings.auto_approve_seconds.into()),
            fee_basis_points: settings.fee_basis_points,
        }
    }
}

/// What a step left behind: all that its payload carries.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// The job.
    pub job: Job,
    /// The claim.
    pub claim: Claim,
    /// The submission, for the steps that have one and while the caller may see it.
    pub deliverable: Option<Deliverable>,
}

/// What a step made, as a key remembers it.
#[derive(Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) claim: ClaimId,
    pub(super) deliverable: Option<DeliverableId>,
}

/// Work as it is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// What the freelancer says.
    pub note: &'a str,
    /// The ids of files.
    pub files: &'a [String],
}

/// All that a submission asks for, as its key remembers it.
#[derive(Serialize)]
#[serde(untagged)]
enum HandedIn<'a> {
    Words(ClaimId, &'a str),
    Files(ClaimId, &'a str, &'a [FileId]),
}

impl Claims {
    /// Claims on these tools, by these rules.
    pub fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        neighbours: Neighbours,
        (rules, schedule): (ClaimRules, Schedule),
    ) -> Self {
        let Neighbours { accounts, jobs, escrow, notifications, files } = neighbours;
        Self { db, clock, ids, accounts, jobs, escrow, notifications, files, rules, schedule }
    }

    /// The same on another view of the database.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        let (accounts, jobs, escrow) = (self.accounts.on(db), self.jobs.on(db), self.escrow.on(db));
        let (notifications, files) = (self.notifications.on(db), self.files.on(db));
        Self { db: db.clone(), accounts, jobs, escrow, notifications, files, ..self.clone() }
    }

    /// Claims an OPEN job. Of any number of callers one succeeds; the others get the job as it is then.
    #[tracing::instrument(skip_all, fields(job.id = job_id))]
    pub async fn claim(
        &self,
        actor: Actor,
        job_id: &str,
        expected_version: Option<i64>,
        key: &str,
    ) -> Result<Stepped, ClaimError> {
        let freelancer = actor.freelancer()?;
        let key = &IdempotencyKey::parse(key)?;
        let job_id = parse_id("jobId", job_id)?;
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let input = &(job_id, expected_version);
                let claimed = once_in(&tx, now, freelancer, ("claimJob", key), input, || async {
                    let before = self.jobs.lock_visible_in(&tx, &actor, job_id).await?;
                    let before = before.ok_or_else(|| Invalid::not_found("jobId", "job"))?;
                    if before.is_own(&actor) {
                        let message = "You cannot claim your own job.";
                        return Err(Invalid::new(InvalidKind::OwnJob, message, "jobId").into());
                    }
                    let Ok(job) = before.claim(freelancer) else {
                        return Err(ClaimError::NotClaimable(Box::new(before)));
                    };
                    check_version(&before, expected_version)?;
                    if self.is_past_deadline_in(&tx, &before).await? {
                        return Err(ClaimError::DeadlinePassed(Box::new(before)));
                    }
                    let name = self.check_limit_in(&tx, freelancer).await?;
                    let expires_at = self.schedule.after(self.rules.lifetime);
                    let (pair, fee) = ((job_id, freelancer), self.rules.fee_basis_points);
                    let claim = Claim::new(self.ids.next(), pair, fee, now, expires_at);
                    tx.defer_built(&claims::Entity::insert(claims::ActiveModel::from(claim.clone()))).await?;
                    let changes = &[JobChange::Status, JobChange::Claim];
                    // Where the job's client is suspended it is not there, for what of it is not withheld yet either.
                    let (job, snapshot) = self
                        .jobs
                        .claimed_in(&tx, &before, job, changes)
                        .await?
                        .ok_or_else(|| Invalid::not_found("jobId", "job"))?;
                    self.record_in(&tx, &claim, None, snapshot).await?;
                    let details = Details::new(Part::Client, &job.title).by(freelancer, &name);
                    let (kind, subject) = (NotificationKind::JobClaimed, Subject::Job(job_id));
                    self.notifications.notify_in(&tx, job.client_id, kind, details, subject).await?;
                    let made = Made { claim: claim.id, deliverable: None };
                    Ok::<_, ClaimError>((made, Stepped { job, claim, deliverable: None }))
                })
                .await?;
                Ok(self.outcome_in(&tx, &actor, claimed).await?)
            })
            .await
    }

    /// Whether a job may not be claimed any more, by the clock that all nodes share: on `SQLite` the process's, of which
    /// there is one.
    async fn is_past_deadline_in(&self, tx: &Tx, job: &Job) -> Result<bool, InternalError> {
        if job.deadline.is_none() {
            return Ok(false);
        }
        let now = match tx.backend() {
            Backend::Sqlite => self.clock.now(),
            Backend::Postgres => {
                let rows = tx.query("SELECT clock_timestamp() AS now", []).await?;
                rows.first().ok_or_else(|| InternalError::corrupt("the database's time"))?.try_get("", "now")?
            }
        };
        Ok(job.is_past_deadline(now))
    }

    /// Locks the freelancer's own row, so that claims of one freelancer on different jobs queue here, counts, and
    /// returns the freelancer's name.
    async fn check_limit_in(&self, tx: &Tx, freelancer: UserId) -> Result<String, ClaimError> {
        let card = self.accounts.lock_in(tx, freelancer).await?;
        let live = claims::Entity::find().of_freelancer(freelancer).live().count(&**tx).await?;
        let limit = self.rules.live_claims;
        if live < u64::from(limit) { Ok(card.display_name) } else { Err(ClaimError::LimitReached { limit }) }
    }

    /// Gives a claim back: the job is OPEN again. With a key, once.
    #[tracing::instrument(skip_all, fields(claim.id = claim_id))]
    pub async fn release(
        &self,
        actor: Actor,
        claim_id: &str,
        reason: Option<&str>,
        key: Option<&str>,
    ) -> Result<Stepped, StepError> {
        let freelancer = actor.freelancer()?;
        let key = &key.map(IdempotencyKey::parse).transpose()?;
        let claim_id = parse_claim(claim_id)?;
        let reason = &reason.map(|reason| text::REASON.parse("reason", reason)).transpose()?;
        let input = &(claim_id, reason);
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let released = once_if_in(&tx, now, freelancer, ("releaseClaim", key.as_ref()), input, || async {
                    let (before, claim) = self.lock_own_in(&tx, freelancer, claim_id).await?;
                    let released = claim.release(self.clock.now(), reason.as_deref());
                    let (Ok(released), Ok(job)) = (released, before.release()) else {
                        return Err(refused(before, claim, Step::Release));
                    };
                    let was = claim.status();
                    let claim = self.save_in(&tx, released).await?;
                    let changes = &[JobChange::Status, JobChange::Claim];
                    let (job, snapshot) = self.jobs.change_in(&tx, &before, job, changes).await?;
                    self.jobs.record_reposted_in(&tx, &snapshot).await?;
                    self.record_in(&tx, &claim, Some(was), snapshot).await?;
                    let name = self.accounts.card_in(&tx, claim.freelancer_id).await?.display_name;
                    let mut details = Details::new(Part::Client, &job.title).by(claim.freelancer_id, &name);
                    details.reason.clone_from(reason);
                    let (kind, subject) = (NotificationKind::ClaimReleased, Subject::Job(job.id));
                    self.notifications.notify_in(&tx, job.client_id, kind, details, subject).await?;
                    let made = Made { claim: claim.id, deliverable: None };
                    Ok::<_, StepError>((made, Stepped { job, claim, deliverable: None }))
                })
                .await?;
                Ok(self.outcome_in(&tx, &actor, released).await?)
            })
            .await
    }

    /// Hands work in. A submission that still waits is superseded.
    #[tracing::instrument(skip_all, fields(claim.id = claim_id))]
    pub async fn submit(&self, actor: Actor, claim_id: &str, work: Work<'_>, key: &str) -> Result<Stepped, StepError> {
        let freelancer = actor.freelancer()?;
        let key = &IdempotencyKey::parse(key)?;
        let claim_id = parse_claim(claim_id)?;
        let note = &text::NOTE.parse("note", work.note)?;
        let files = &files::parse_ids(work.files)?;
        // As the version before remembers it, which knows no files.
        let input =
            &if files.is_empty() { HandedIn::Words(claim_id, note) } else { HandedIn::Files(claim_id, note, files) };
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let submitted = once_in(&tx, now, freelancer, ("submitDeliverable", key), input, || async {
                    let (before, claim) = self.lock_own_in(&tx, freelancer, claim_id).await?;
                    let (Ok(reviewed), Ok(job)) =
                        (claim.submit(self.schedule.after(self.rules.review)), before.submit())
                    else {
                        return Err(refused(before, claim, Step::Submit));
                    };
                    let name = self.accounts.card_in(&tx, freelancer).await?.display_name;
                    let latest = latest_deliverable_in(&tx, claim_id).await?;
                    if let Some(Ok(superseded)) = latest.as_ref().map(Deliverable::supersede) {
                        supersede_in(&tx, superseded).await?;
                    }
                    let deliverable = Deliverable::after(latest.as_ref(), self.ids.next(), claim_id, note.clone(), now);
                    let used_by = (files::Use::Deliverable, deliverable.id.into());
                    self.files.attach_in(&tx, freelancer, files, used_by).await.map_err(|error| match error {
                        FileError::Denied(denied) => StepError::from(denied),
                        FileError::Invalid(invalid) => invalid.into(),
                        FileError::InternalError(error) => error.into(),
                    })?;
                    let row = deliverables::ActiveModel::from(deliverable.clone());
                    tx.defer_built(&deliverables::Entity::insert(row)).await?;
                    let was = claim.status();
                    let claim = self.save_in(&tx, reviewed).await?;
                    let mut changes = vec![JobChange::Claim, JobChange::Deliverable];
                    if before.status() != job.status() {
                        changes.push(JobChange::Status);
                    }
                    let (job, snapshot) = self.jobs.change_in(&tx, &before, job, &changes).await?;
                    self.record_in(&tx, &claim, Some(was), snapshot).await?;
                    let details = Details::new(Part::Client, &job.title).by(freelancer, &name);
                    let (kind, subject) = (NotificationKind::WorkSubmitted, Subject::Claim(claim.id));
                    self.notifications.notify_in(&tx, job.client_id, kind, details, subject).await?;
                    let made = Made { claim: claim.id, deliverable: Some(deliverable.id) };
                    Ok::<_, StepError>((made, Stepped { job, claim, deliverable: Some(deliverable) }))
                })
                .await?;
                Ok(self.outcome_in(&tx, &actor, submitted).await?)
            })
            .await
    }

    /// Sends the latest submission back. With a key, once.
    #[tracing::instrument(skip_all, fields(deliverable.id = deliverable_id))]
    pub async fn request_revision(
        &self,
        actor: Actor,
        deliverable_id: &str,
        note: &str,
        key: Option<&str>,
    ) -> Result<Stepped, StepError> {
        let client = actor.client()?;
        let key = &key.map(IdempotencyKey::parse).transpose()?;
        let deliverable_id = parse_deliverable(deliverable_id)?;
        let note = &text::NOTE.parse("note", note)?;
        let input = &(deliverable_id, note);
        self.db
            .transact(|tx| async move {
                let now = self.clock.now();
                let sent_back = once_if_in(&tx, now, client, ("requestRevision", key.as_ref()), input, || async {
                    let (before, claim, deliverable) = self.lock_for_review_in(&tx, client, deliverable_id).await?;
                    let (Ok(sent_back), Ok(job)) = (claim.request_revision(), before.request_revision()) else {
                        return Err(refused(before, claim, Step::RequestRevision));
                    };
                    let deliverable = deliverable.send_back(self.clock.now(), note).map_err(|_| not_the_latest())?;
                    let around = self.jobs.around_in(&tx, &before).await?;
                    let name = around.client().display_name.clone();
                    update_in(&tx, deliverable.clone()).await?;
                    let was = claim.status();
                    let claim = self.save_in(&tx, sent_back).await?;
                    let changes = &[JobChange::Status, JobChange::Claim, JobChange::Deliverable];
                    let (job, snapshot) = self.jobs.change_with_in(&tx, &before, job, changes, around).await?;
                    self.record_in(&tx, &claim, Some(was), snapshot).await?;
                    let mut details = Details::new(Part::Freelancer, &job.title).by(job.client_id, &name);
                    details.reason = Some(note.clone());
                    let (kind, subject) = (NotificationKind::RevisionRequested, Subject::Claim(claim.id));
                    self.notifications.notify_in(&tx, claim.freelancer_id, kind, details, subject).await?;
                    let made = Made { claim: claim.id, deliverable: Some(deliverable_id) };
                    Ok::<_, StepError>((made, Stepped { job, claim, deliverable: Some(deliverable) }))
                })
                .await?;
                Ok(self.outcome_in(&tx, &actor, sent_back).await?)
            })
            .await
    }

    /// Locks the freelancer's own claim, after its job.
    async fn lock_own_in(&self, tx: &Tx, freelancer: UserId, id: ClaimId) -> Result<(Job, Claim), StepError> {
        let found = self.lock_pair_in(tx, claims::Entity::find_by_id(id).of_freelancer(freelancer), None).await?;
        Ok(found.ok_or_else(|| Invalid::not_found("claimId", "claim"))?)
    }

    /// Locks what a client reviews, on a job of their own.
    pub(super) async fn lock_for_review_in(
        &self,
        tx: &Tx,
        client: UserId,
        id: DeliverableId,
    ) -> Result<(Job, Claim, Deliverable), StepError> {
        let not_found = || Invalid::not_found("deliverableId", "deliverable");
        let reviewed = deliverables::Entity::find_by_id(id).select_only().column(deliverables::Column::ClaimId);
        let its = claims::Entity::find().filter(claims::Column::Id.in_subquery(reviewed.into_query()));
        let (job, claim) = self.lock_pair_in(tx, its, Some(client)).await?.ok_or_else(not_found)?;
        // Not before: the status read before the lock may be an old one.
        let row = deliverables::Entity::find_by_id(id).one(&**tx).await?;
        Ok((job, claim, Deliverable::try_from(row.ok_or_else(not_found)?)?))
    }

    /// Locks the claim that holds a locked job.
    pub(super) async fn lock_live_in(&self, tx: &Tx, job: JobId) -> Result<Claim, InternalError> {
        let row = claims::Entity::find().on_job(job).live().locked().one(&**tx).await?;
        row.ok_or_else(|| InternalError::corrupt(format!("{job} has no live claim")))?.try_into()
    }

    /// Locks the one claim that is meant, after its job, which must be the client's if one is named. Which job that is
    /// never changes.
    pub(super) async fn lock_pair_in(
        &self,
        tx: &Tx,
        meant: Select<claims::Entity>,
        client: Option<UserId>,
    ) -> Result<Option<(Job, Claim)>, InternalError> {
        let of_claim = meant.clone().select_only().column(claims::Column::JobId).into_query();
        let Some(job) = self.jobs.lock_where_in(tx, of_claim, client).await? else { return Ok(None) };
        let row = meant.locked().one(&**tx).await?;
        Ok(row.map(Claim::try_from).transpose()?.map(|claim| (job, claim)))
    }

    /// Writes the next version of a locked claim, as a step has made it.
    pub(super) async fn save_in(&self, tx: &Tx, claim: Claim) -> Result<Claim, InternalError> {
        let saved = claims::Entity::update_many()
            .set(claims::changes(claim.clone()))
            .filter(claims::Column::Id.eq(claim.id))
            .filter(claims::Column::Version.eq(claim.version - 1))
            .exec(&**tx)
            .await?;
        let changed = || InternalError::corrupt(format!("{} changed under its lock", claim.id));
        if saved.rows_affected == 1 { Ok(claim) } else { Err(changed()) }
    }

    /// Records what a step did to a claim, for its freelancer and the job's client. Every step calls this, after the job's
    /// own change, in the transaction in which it saved the claim.
    pub(super) async fn record_in(
        &self,
        tx: &Tx,
        claim: &Claim,
        previous_status: Option<ClaimStatus>,
        job: JobSnapshot,
    ) -> Result<(), InternalError> {
        let previous_status = previous_status.filter(|previous| *previous != claim.status());
        let update = ClaimUpdate { claim: claim.clone(), job, previous_status };
        Ok(events::record(tx, updated(self.ids.next(), &update, self.clock.now())?).await?)
    }

    /// What a step left behind: as it left it, or as it is by now. A repeated request may find that its caller has lost
    /// the work meanwhile.
    pub(super) async fn outcome_in(
        &self,
        tx: &Tx,
        actor: &Actor,
        outcome: Once<Made, Stepped>,
    ) -> Result<Stepped, InternalError> {
        let made = match outcome {
            Once::Now(stepped) => return Ok(stepped),
            Once::Before(made) => made,
        };
        let missing = |what: &dyn std::fmt::Display| InternalError::corrupt(format!("{what} is missing"));
        let row = claims::Entity::find_by_id(made.claim).one(&**tx).await?;
        let claim = Claim::try_from(row.ok_or_else(|| missing(&made.claim))?)?;
        let job = self.jobs.find_in(tx, claim.job_id).await?.ok_or_else(|| missing(&claim.job_id))?;
        let deliverable = match made.deliverable.filter(|_| claim.shows_work_to(&job, actor)) {
            Some(id) => {
                deliverables::Entity::find_by_id(id).one(&**tx).await?.map(Deliverable::try_from).transpose()?
            }
            None => None,
        };
        Ok(Stepped { job, claim, deliverable })
    }

    /// A claim as the transaction sees it, for every caller.
    pub async fn find_in(&self, tx: &Tx, id: ClaimId) -> Result<Option<Claim>, InternalError> {
        claims::Entity::find_by_id(id).one(&**tx).await?.map(Claim::try_from).transpose()
    }

    /// Many submissions by id, for a loader whose caller checked who may see them.
    pub async fn deliverables_by_id(
        &self,
        ids: &[DeliverableId],
    ) -> Result<HashMap<DeliverableId, Deliverable>, InternalError> {
        let select = deliverables::Entity::find().filter(deliverables::Column::Id.is_in(ids.to_vec()));
        let rows = select.all(self.db.reader()).await?;
        rows.into_iter().map(|row| Ok((row.id, row.try_into()?))).collect()
    }

    /// Many claims by id, for a loader whose caller checked who may see them.
    pub async fn by_id(&self, ids: &[ClaimId]) -> Result<HashMap<ClaimId, Claim>, InternalError> {
        let rows = claims::Entity::find().filter(claims::Column::Id.is_in(ids.to_vec())).all(self.db.reader()).await?;
        rows.into_iter().map(|row| Ok((row.id, row.try_into()?))).collect()
    }

    /// The live claims of many jobs, for a loader whose caller checked who may see them.
    pub async fn live_of(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Claim>, InternalError> {
        let select = claims::Entity::find().filter(claims::Column::JobId.is_in(jobs.to_vec())).live();
        let rows = select.all(self.db.reader()).await?;
        rows.into_iter().map(|row| Ok((row.job_id, row.try_into()?))).collect()
    }

    /// The latest claims of these freelancers on these jobs, for a loader that shows each to its own freelancer.
    pub async fn latest_of(
        &self,
        freelancers: &[UserId],
        jobs: &[JobId],
    ) -> Result<HashMap<(UserId, JobId), Claim>, InternalError> {
        let rows = claims::Entity::find()
            .filter(claims::Column::FreelancerId.is_in(freelancers.to_vec()))
            .filter(claims::Column::JobId.is_in(jobs.to_vec()))
            .order_by_asc(claims::Column::Id)
            .all(self.db.reader())
            .await?;
        // In the order of their making, so the latest is the one that stays.
        rows.into_iter().map(|row| Ok(((row.freelancer_id, row.job_id), row.try_into()?))).collect()
    }
}

pub(super) async fn latest_deliverable_in(tx: &Tx, claim: ClaimId) -> Result<Option<Deliverable>, InternalError> {
    let select = deliverables::Entity::find().filter(deliverables::Column::ClaimId.eq(claim));
    let row = select.order_by_desc(deliverables::Column::Number).one(&**tx).await?;
    row.map(Deliverable::try_from).transpose()
}

/// Writes what the client decided on a submission.
pub(super) async fn update_in(tx: &Tx, deliverable: Deliverable) -> Result<(), InternalError> {
    Ok(tx.defer_built(&update(deliverable)).await?)
}

/// The same for one that a newer one takes the place of. Not deferred: before the newer one is written, of which there
/// may be one.
async fn supersede_in(tx: &Tx, deliverable: Deliverable) -> Result<(), InternalError> {
    Ok(tx.pipeline_built(&update(deliverable)).await?)
}

fn update(deliverable: Deliverable) -> UpdateMany<deliverables::Entity> {
    let id = deliverable.id;
    let row = deliverables::changes(deliverable);
    deliverables::Entity::update_many().set(row).filter(deliverables::Column::Id.eq(id))
}

pub(super) fn refused(job: Job, claim: Claim, step: Step) -> StepError {
    StepError::InvalidTransition { job: Box::new(job), claim: Box::new(claim), allowed: step.allowed() }
}

pub(super) fn not_the_latest() -> Invalid {
    Invalid::value("deliverableId", "is not the latest submission; review that one")
}

fn parse_claim(text: &str) -> Result<ClaimId, Invalid> {
    text.parse().map_err(|_| Invalid::not_found("claimId", "claim"))
}

pub(super) fn parse_deliverable(text: &str) -> Result<DeliverableId, Invalid> {
    text.parse().map_err(|_| Invalid::not_found("deliverableId", "deliverable"))
}
