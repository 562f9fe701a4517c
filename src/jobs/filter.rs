//! What a `JobFilter` asks for, and whether a job answers it. Pure: the same filter as a condition in SQL is in `list`.

use super::{
    events::{JobSnapshot, JobWords},
    model::{JobFacts, JobStatus},
};
use crate::{
    accounts::model::Skill,
    clock::Timestamp,
    ids::{SkillId, UserId},
    money::Money,
    search::query::Query,
};

/// A filter whose values have been read. An empty list asks for nothing; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// In one of these statuses.
    pub statuses: Vec<JobStatus>,
    /// With at least one of these skills.
    pub any_skill: Vec<SkillId>,
    /// With all of these skills; each with the words that were merged into it, one of which is enough.
    pub all_skills: Vec<Vec<SkillId>>,
    /// Paying at least this.
    pub budget_min: Option<Money>,
    /// Paying at most this.
    pub budget_max: Option<Money>,
    /// Of this client.
    pub client_id: Option<UserId>,
    /// First posted later than this.
    pub posted_after: Option<Timestamp>,
    /// With these words; never without any.
    pub query: Option<Query>,
}

/// What a filter looks at, borrowed from wherever it stands: thousands of filters look at one event.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    status: JobStatus,
    skills: Skills<'a>,
    budget: Money,
    client_id: UserId,
    posted_at: Option<Timestamp>,
    /// Only where the filter asks for words.
    words: Option<&'a JobWords>,
}

#[derive(Clone, Copy, Debug)]
enum Skills<'a> {
    Ids(&'a [SkillId]),
    Whole(&'a [Skill]),
}

impl Skills<'_> {
    fn contain(self, id: SkillId) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&id),
            Self::Whole(skills) => skills.iter().any(|skill| skill.id == id),
        }
    }
}

impl<'a> From<&'a JobFacts> for Facts<'a> {
    fn from(facts: &'a JobFacts) -> Self {
        let JobFacts { status, skills, budget, client_id, posted_at } = facts;
        let (status, budget, client_id, posted_at) = (*status, *budget, *client_id, *posted_at);
        Self { status, skills: Skills::Ids(skills), budget, client_id, posted_at, words: None }
    }
}

impl<'a> From<&'a JobSnapshot> for Facts<'a> {
    fn from(snapshot: &'a JobSnapshot) -> Self {
        let (skills, job) = (Skills::Whole(&snapshot.skills), &snapshot.job);
        let (status, posted_at) = (job.status(), job.posted_at());
        Self { status, skills, budget: job.budget, client_id: job.client_id, posted_at, words: None }
    }
}

impl<'a> Facts<'a> {
    /// The same with the job's words.
    #[must_use]
    pub const fn with_words(self, words: Option<&'a JobWords>) -> Self {
        Self { words, ..self }
    }

    fn hold(&self, query: &Query) -> bool {
        self.words.is_some_and(|JobWords { title, description }| query.matches(title, description))
    }
}

impl JobFilter {
    /// Whether a job with these facts answers.
    pub fn matches(&self, job: &Facts<'_>) -> bool {
        let has = |skill: &SkillId| job.skills.contain(*skill);
        (self.statuses.is_empty() || self.statuses.contains(&job.status))
            && self.budget_min.is_none_or(|min| job.budget >= min)
            && self.budget_max.is_none_or(|max| job.budget <= max)
            && self.client_id.is_none_or(|client| job.client_id == client)
            && self.posted_after.is_none_or(|after| job.posted_at.is_some_and(|posted| posted > after))
            && (self.any_skill.is_empty() || self.any_skill.iter().any(has))
            && self.all_skills.iter().all(|words| words.iter().any(has))
            && self.query.as_ref().is_none_or(|query| job.hold(query))
    }

    /// About how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.statuses.capacity() * size_of::<JobStatus>()
            + (self.any_skill.capacity() + self.all_skills.capacity()) * size_of::<SkillId>()
            + self.query.as_ref().map_or(0, Query::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    #[test]
    fn all_conditions_must_hold() {
        let ids = Ids::seeded(Clock::system(), 1);
        let (rust, design, other): (SkillId, SkillId, SkillId) = (ids.next(), ids.next(), ids.next());
        let now = Clock::system().now();
        let job = JobFacts {
            status: JobStatus::Open,
            skills: vec![rust, design],
            budget: Money::from_minor(500),
            client_id: ids.next(),
            posted_at: Some(now),
        };
        let filter = JobFilter::default;
        assert!(filter().matches(&(&job).into()));
        assert!(JobFilter { any_skill: vec![other, rust], ..filter() }.matches(&(&job).into()));
        assert!(!JobFilter { all_skills: vec![vec![other], vec![rust]], ..filter() }.matches(&(&job).into()));
        assert!(JobFilter { all_skills: vec![vec![design], vec![other, rust]], ..filter() }.matches(&(&job).into()));
        assert!(!JobFilter { statuses: vec![JobStatus::Claimed], ..filter() }.matches(&(&job).into()));
        let money = |minor| Some(Money::from_minor(minor));
        assert!(JobFilter { budget_min: money(500), budget_max: money(500), ..filter() }.matches(&(&job).into()));
        assert!(!JobFilter { budget_min: money(501), ..filter() }.matches(&(&job).into()));
        assert!(!JobFilter { client_id: Some(ids.next()), ..filter() }.matches(&(&job).into()));
        assert!(!JobFilter { posted_after: Some(now), ..filter() }.matches(&(&job).into()), "after means after");
    }
}
