//! What a subscription to jobs asks for, in the terms that their events carry (`events`).
//!
//! Called by `subscription`. A filter's terms are the fewest of which each answer
//! must carry one; its other conditions are looked at only for the events that do.
//!
//! **Whose jobs.** [`in_mine`] is what a page of one's own jobs asks for: all that happens to the jobs to which the
//! viewer is party, public or not. Its events are those of three kinds: changes of posted jobs, of drafts, and the
//! first posting, which is a change too. Who the listener is decides the event's own audience, so listeners who ask in
//! the same words share a group like all others.

use super::{
    events::{DRAFT_UPDATED, EventWords, JOB_POSTED, JOB_UPDATED, JobSnapshot, JobUpdate, words},
    filter::{Facts, JobFilter},
    model::{JobFacts, JobStatus},
};
use crate::{
    error::InternalError,
    events::EventKind,
    ids::{JobId, UserId},
    realtime::{Delivery, Interest, Terms},
    search::live,
};

/// What happens to a job; changes first, since that is what is subscribed to.
const MINE: &[EventKind] = &[JOB_UPDATED, DRAFT_UPDATED, JOB_POSTED];

/// Jobs that become OPEN and answer the filter.
pub(super) fn in_posted(filter: JobFilter) -> Interest {
    let bytes = filter.bytes();
    let interest = Interest::matching(JOB_POSTED, terms_of(&filter, None), move |delivery| {
        let words = words_for(&filter, delivery)?.map(EventWords::after);
        Ok(filter.matches(&Facts::from(delivery.payload::<JobSnapshot>()?).with_words(words)))
    });
    interest.keeping(bytes)
}

/// Changes of this job, if one is named, that answer the filter before or after.
pub(super) fn in_updated(job: Option<JobId>, filter: JobFilter) -> Interest {
    let bytes = filter.bytes();
    let interest =
        Interest::matching(JOB_UPDATED, terms_of(&filter, job), move |delivery| answers(delivery, job, &filter));
    interest.keeping(bytes)
}

/// The same for those who are party to the job, or were until this change: drafts and the first posting included.
pub(super) fn in_mine(job: Option<JobId>, filter: JobFilter) -> Interest {
    let bytes = filter.bytes();
    let interest = Interest::of_parties(MINE, terms_of(&filter, job), left, move |delivery| {
        if delivery.kind() != JOB_POSTED {
            return answers(delivery, job, &filter);
        }
        // A job that opens again has told so by a change.
        let snapshot = delivery.payload::<JobSnapshot>()?;
        let before =
            JobFacts { status: JobStatus::Draft, posted_at: None, ..JobFacts::of(&snapshot.job, &snapshot.skills) };
        let meant = snapshot.job.is_just_posted() && job.is_none_or(|job| job == snapshot.job.id);
        let words = words_for(&filter, delivery)?.map(EventWords::after);
        let left_drafts = snapshot.job.was_drafted() && filter.matches(&Facts::from(&before).with_words(words));
        Ok(meant && (left_drafts || filter.matches(&Facts::from(snapshot).with_words(words))))
    });
    interest.keeping(bytes)
}

fn answers(delivery: &Delivery, job: Option<JobId>, filter: &JobFilter) -> Result<bool, InternalError> {
    let update = delivery.payload::<JobUpdate>()?;
    if job.is_some_and(|job| job != update.snapshot.job.id) {
        return Ok(false);
    }
    let words = words_for(filter, delivery)?;
    let before = Facts::from(&update.before).with_words(words.map(EventWords::before));
    let after = Facts::from(&update.snapshot).with_words(words.map(EventWords::after));
    Ok(filter.matches(&before) || filter.matches(&after))
}

/// The words of the job, if the filter asks for some.
fn words_for<'a>(filter: &JobFilter, delivery: &'a Delivery) -> Result<Option<&'a EventWords>, InternalError> {
    filter.query.as_ref().map(|_| words(delivery)).transpose()
}

/// Who was party to the job until this change.
fn left(delivery: &Delivery) -> Option<UserId> {
    match delivery.kind() {
        JOB_UPDATED => delivery.payload::<JobUpdate>().ok()?.left,
        _ => None,
    }
}

fn terms_of(filter: &JobFilter, job: Option<JobId>) -> Terms {
    if let Some(job) = job {
        Terms::OneOf(vec![job.into()])
    } else if let Some(client) = filter.client_id {
        Terms::OneOf(vec![client.into()])
    } else if let Some(query) = &filter.query {
        Terms::OneWordOf(live::terms_of(query))
    } else if let Some(words) = filter.all_skills.first() {
        Terms::OneOf(words.iter().map(|word| (*word).into()).collect())
    } else if filter.any_skill.is_empty() {
        Terms::Any
    } else {
        Terms::OneOf(filter.any_skill.iter().map(|skill| (*skill).into()).collect())
    }
}
