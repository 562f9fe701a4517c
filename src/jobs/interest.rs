//! How delivery finds those who want to hear of a job: the terms that its events carry and that filters ask for.
//!
//! Called by `graphql` for subscriptions and by the hub for events. A filter's terms are the fewest of which each answer
//! must carry one; its other conditions are looked at only for the events that do.

use uuid::Uuid;

use super::{
    filter::JobFilter,
    model::{JobSnapshot, JobUpdate},
};
use crate::{
    error::Fault,
    events::EventKind,
    ids::{JobId, SkillId},
    realtime::{Delivery, Interest, Terms},
};

/// What an event of a job can be found by: the job, its client, and its skills before and after.
pub(crate) fn terms(delivery: &Delivery) -> Result<Vec<Uuid>, Fault> {
    let (snapshot, before): (_, &[SkillId]) = if delivery.kind() == EventKind::JobUpdated {
        let update = delivery.payload::<JobUpdate>()?;
        (&update.snapshot, &update.before.skills)
    } else {
        (delivery.payload::<JobSnapshot>()?, &[])
    };
    let after = snapshot.skills.iter().map(|skill| skill.id);
    let gone = before.iter().copied().filter(|skill| snapshot.skills.iter().all(|kept| kept.id != *skill));
    let named = [snapshot.job.id.into(), snapshot.job.client_id.into()];
    Ok(named.into_iter().chain(after.chain(gone).map(Uuid::from)).collect())
}

/// Jobs that become OPEN and answer the filter.
pub(super) fn in_posted(filter: JobFilter) -> Interest {
    Interest::matching(EventKind::JobPosted, terms_of(&filter, None), move |delivery| {
        Ok(filter.matches(&delivery.payload::<JobSnapshot>()?.into()))
    })
}

/// Changes of this job, if one is named, that answer the filter before or after.
pub(super) fn in_updated(job: Option<JobId>, filter: JobFilter) -> Interest {
    Interest::matching(EventKind::JobUpdated, terms_of(&filter, job), move |delivery| {
        let update = delivery.payload::<JobUpdate>()?;
        let meant = job.is_none_or(|job| job == update.snapshot.job.id);
        Ok(meant && (filter.matches(&(&update.before).into()) || filter.matches(&(&update.snapshot).into())))
    })
}

fn terms_of(filter: &JobFilter, job: Option<JobId>) -> Terms {
    if let Some(job) = job {
        Terms::OneOf(vec![job.into()])
    } else if let Some(client) = filter.client_id {
        Terms::OneOf(vec![client.into()])
    } else if let Some(skill) = filter.all_skills.first() {
        Terms::OneOf(vec![(*skill).into()])
    } else if filter.any_skill.is_empty() {
        Terms::Any
    } else {
        Terms::OneOf(filter.any_skill.iter().map(|skill| (*skill).into()).collect())
    }
}
