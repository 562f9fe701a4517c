//! The events that this domain records: what they keep, who receives them, and by what they are found.
//!
//! `service` records them in the transaction of the change itself. Their payloads are read back by `subscription`,
//! `interest` and `verify`, also those of any version before: a field that is added has a default.
//!
//! A job that was never posted is its author's alone, so its changes are a kind of their own ([`DRAFT_UPDATED`]): no
//! subscription to the changes of jobs receives drafts unless it asks for them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::model::{Job, JobChange, JobFacts, JobStatus};
use crate::{
    accounts::model::{Skill, UserCard},
    clock::Timestamp,
    error::InternalError,
    events::{Audience, EventKind, NewEvent},
    ids::{EventId, SkillId, UserId},
    realtime::{Delivery, EventTerms},
    search::{live, query::Words},
};

/// A job became OPEN. The same for everybody. Payload: [`JobSnapshot`].
pub const JOB_POSTED: EventKind = EventKind::named("JOB_POSTED").for_everybody();
/// A job changed that was posted. Public if everybody may see what changed. Payload: [`JobUpdate`].
pub const JOB_UPDATED: EventKind = EventKind::named("JOB_UPDATED").for_everybody().for_parties().for_admins();
/// A job changed that was never posted, for its author alone. Payload: [`JobUpdate`].
pub const DRAFT_UPDATED: EventKind = EventKind::named("DRAFT_UPDATED").for_parties();

/// All of them.
pub const KINDS: &[EventKind] = &[JOB_POSTED, JOB_UPDATED, DRAFT_UPDATED];

/// A job as an event keeps it: with all that the usual selection needs, so that a replay needs no database and reads
/// the same, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSnapshot {
    /// The job after the change.
    pub job: Job,
    /// What it asks for.
    pub skills: Vec<Skill>,
    /// Who pays.
    pub client: UserCard,
}

/// What the change of a job keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobUpdate {
    /// After the change.
    pub snapshot: JobSnapshot,
    /// What changed.
    pub changes: Vec<JobChange>,
    /// The status before, if it changed.
    pub previous_status: Option<JobStatus>,
    /// What a filter looks at, before the change.
    pub before: JobFacts,
    /// Who was party to the job until this change and is no more: the freelancer whose claim ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<UserId>,
    /// What it was called and said before, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_before: Option<JobText>,
    /// Whether a `claimUpdated` event of the same transaction tells what happened to the claim. `verify` looks for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claim_told: bool,
}

/// What a job says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobText {
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: String,
}

impl JobText {
    /// What a job said before a change, if that is not what it says after.
    pub fn changed(before: &Job, after: &Job) -> Option<Self> {
        let same = before.title == after.title && before.description == after.description;
        (!same).then(|| Self { title: before.title.clone(), description: before.description.clone() })
    }
}

/// The words of a job, to be looked at by many queries.
#[derive(Debug)]
pub struct JobWords {
    /// Of its title.
    pub title: Words,
    /// Of its description.
    pub description: Words,
}

/// The words of the job of an event.
#[derive(Debug)]
pub struct EventWords {
    after: JobWords,
    before: Option<JobWords>,
}

impl JobWords {
    fn of(title: &str, description: &str) -> Self {
        Self { title: Words::of(title), description: Words::of(description) }
    }

    fn terms(&self) -> impl Iterator<Item = Uuid> {
        live::terms(&self.title).chain(live::terms(&self.description))
    }

    fn bytes(&self) -> usize {
        self.title.bytes() + self.description.bytes()
    }
}

impl EventWords {
    /// As the event left the job.
    pub const fn after(&self) -> &JobWords {
        &self.after
    }

    /// As it was before.
    pub fn before(&self) -> &JobWords {
        self.before.as_ref().unwrap_or(&self.after)
    }
}

/// The words of an event of a job, found when they are first asked for.
pub(super) fn words(delivery: &Delivery) -> Result<&EventWords, InternalError> {
    let (snapshot, before): (_, Option<&JobText>) = if delivery.kind() == JOB_POSTED {
        (delivery.payload::<JobSnapshot>()?, None)
    } else {
        let update = delivery.payload::<JobUpdate>()?;
        (&update.snapshot, update.text_before.as_ref())
    };
    let words = delivery.derived(|| {
        let after = JobWords::of(&snapshot.job.title, &snapshot.job.description);
        let before = before.map(|before| JobWords::of(&before.title, &before.description));
        let bytes = after.bytes() + before.as_ref().map_or(0, JobWords::bytes);
        (EventWords { after, before }, size_of::<EventWords>() + bytes)
    });
    words.ok_or_else(|| InternalError::corrupt(format!("the words of {}", delivery.id())))
}

/// `JOB_POSTED`: the job opened, for the first time or again.
pub(super) fn posted(id: EventId, snapshot: &JobSnapshot, occurred_at: Timestamp) -> Result<NewEvent, InternalError> {
    event(id, JOB_POSTED, &snapshot.job, (true, snapshot), occurred_at)
}

/// `JOB_UPDATED`, or `DRAFT_UPDATED` for a job that was never posted.
pub(super) fn updated(id: EventId, update: &JobUpdate, occurred_at: Timestamp) -> Result<NewEvent, InternalError> {
    let job = &update.snapshot.job;
    let posted = job.posted_at().is_some();
    let kind = if posted { JOB_UPDATED } else { DRAFT_UPDATED };
    let public = posted && update.changes.iter().any(|change| change.is_public());
    event(id, kind, job, (public, update), occurred_at)
}

fn event(
    id: EventId,
    kind: EventKind,
    job: &Job,
    (public, payload): (bool, &impl Serialize),
    occurred_at: Timestamp,
) -> Result<NewEvent, InternalError> {
    Ok(NewEvent {
        id,
        kind,
        subject: job.id.into(),
        subject_version: job.version,
        audience: audience(kind, job, public),
        payload: serde_json::to_string(payload).map_err(InternalError::corrupt)?,
        occurred_at,
    })
}

/// Who receives such an event of a job: its parties, admins where the kind says so, and everybody if it is public.
pub(super) fn audience(kind: EventKind, job: &Job, public: bool) -> Audience {
    Audience::of([job.client_id].into_iter().chain(job.claimant())).public(public).admins(kind.is_told_to_admins())
}

/// What an event of a job can be found by: the job, its client, and its skills before and after; its words before and
/// after, if they are asked for.
pub(crate) fn terms(delivery: &Delivery, with_words: bool) -> Result<EventTerms, InternalError> {
    let (snapshot, before): (_, &[SkillId]) = if delivery.kind() == JOB_POSTED {
        (delivery.payload::<JobSnapshot>()?, &[])
    } else {
        let update = delivery.payload::<JobUpdate>()?;
        (&update.snapshot, &update.before.skills)
    };
    let after = snapshot.skills.iter().map(|skill| skill.id);
    let gone = before.iter().copied().filter(|skill| snapshot.skills.iter().all(|kept| kept.id != *skill));
    let named = [snapshot.job.id.into(), snapshot.job.client_id.into()];
    let named = named.into_iter().chain(after.chain(gone).map(Uuid::from)).collect();
    let words = with_words.then(|| words(delivery)).transpose()?.map(|EventWords { after, before }| {
        let all: HashSet<Uuid> = after.terms().chain(before.iter().flat_map(JobWords::terms)).collect();
        all.into_iter().collect()
    });
    Ok(EventTerms { named, words })
}
