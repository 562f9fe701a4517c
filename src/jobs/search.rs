//! Jobs in the search index: what of them is in it, and how lists, counts, facets and suggestions are read from it.
//!
//! The index gives names and places; the rows are read from the database and looked at again, so that what has just been
//! withheld, or changed so that it answers no more, is not shown. Where this node has no index, lists and counts are read from
//! the database (`list`), by whole words and slower, and there are no facets.
//!
//! Invariant: only what everybody may see is in the index. Whether a job may be seen changes with an event of the job
//! itself, also where its client is suspended (`withholding`), so the index follows by the log alone.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    prelude::async_trait::async_trait,
};
use uuid::Uuid;

use super::{
    Jobs,
    entity::{job_skills, jobs},
    events::{JOB_POSTED, JOB_UPDATED},
    filter::JobFilter,
    list::{COUNT_CAP, JobOrder, JobOrderField, JobQuery},
    model::{Job, JobFacts, JobStatus},
};
use crate::{
    accounts::model::Skill,
    error::{InternalError, Invalid},
    events::EventKind,
    ids::{JobId, SkillId, UserId},
    money::Money,
    page::{Cursor, Page, PageRequest},
    search::{
        Conditions, Correction, Document, Place, Search, SearchError, SortedBy, Source, Window,
        analysis::fold,
        query::{Query, Words, distance},
    },
    text,
};

/// Whole units of the currency at which one step of budgets ends and the next begins.
const STEPS: [i64; 6] = [50, 100, 250, 500, 1_000, 5_000];
/// Skills of the facets, at most: those that most jobs have.
const MOST_SKILLS: usize = 50;
/// Skills of which it is asked whether a job is there for them.
const TRIED: usize = 20;
/// Titles among which suggestions are chosen.
const TITLES: usize = 50;

/// A page with what was looked for.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The rows.
    pub page: Page<Job>,
    /// Where each of them stands, where the order itself does not say it.
    pub cursors: HashMap<JobId, Cursor>,
    /// What was looked for: with other words than were typed, where nothing answers to those.
    pub query: JobQuery,
    /// Which words are in place of which.
    pub corrections: Vec<Correction>,
}

/// What the jobs of a list have in common.
#[derive(Clone, Debug, Default)]
pub struct JobFacets {
    /// How many have each skill; most first.
    pub skills: Vec<(Skill, u64)>,
    /// How many pay at least the first and less than the second amount.
    pub budgets: Vec<(Money, Option<Money>, u64)>,
}

/// A completion of what is being typed.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// What to search for.
    pub text: String,
    /// The skill that it names, if it names one.
    pub skill: Option<Skill>,
}

impl Jobs {
    /// This node's index.
    pub const fn search(&self) -> &Search {
        &self.search
    }

    /// A page of the public jobs, from the index where there is one and words or skills to look for.
    pub async fn list(&self, query: &JobQuery, request: PageRequest) -> Result<Listed, InternalError> {
        let listed = |page| Listed { page, cursors: HashMap::new(), query: query.clone(), corrections: Vec::new() };
        if query.sought.as_ref().is_some_and(Query::is_empty) {
            return Ok(listed(Page { rows: Vec::new(), has_previous: false, has_next: false }));
        }
        if query.asks_index()
            && let Some(found) = self.list_by_index(query, request).await?
        {
            return Ok(found);
        }
        if query.sought.is_some() {
            metrics::counter!("lancewire_search_looks_total", "outcome" => "database").increment(1);
        }
        Ok(listed(self.page(query, request).await?))
    }

    async fn list_by_index(&self, query: &JobQuery, request: PageRequest) -> Result<Option<Listed>, InternalError> {
        let place = |cursor: Cursor| (cursor.key, cursor.id);
        let window = Window {
            by: sorted_by(query.order),
            ascending: query.order.ascending,
            backward: request.backward,
            after: request.after.map(place),
            before: request.before.map(place),
            most: usize::try_from(request.limit()).unwrap_or(usize::MAX),
        };
        let found = self.search.find(query.sought.clone(), conditions(&query.filter), window, true).await;
        let Some(found) = answered(found) else { return Ok(None) };
        let places: Page<Place> = request.page(found.places);
        let ids: Vec<JobId> = places.rows.iter().map(|(_, id)| (*id).into()).collect();
        let mut jobs = self.by_id(&ids).await?;
        let mut cursors = HashMap::new();
        let mut rows = Vec::with_capacity(ids.len());
        for (key, id) in places.rows {
            let shown = jobs.remove(&id.into()).filter(|job| job.is_public() && answers(&query.filter, job));
            if let Some(job) = shown {
                cursors.insert(job.id, Cursor { order: query.tag(), key, id });
                rows.push(job);
            }
        }
        let (corrected, corrections) =
            found.corrected.map_or((None, Vec::new()), |(query, words)| (Some(query), words));
        let query = match corrected {
            Some(corrected) => JobQuery { sought: Some(corrected), ..query.clone() },
            None => query.clone(),
        };
        let page = Page { rows, has_previous: places.has_previous, has_next: places.has_next };
        Ok(Some(Listed { page, cursors, query, corrections }))
    }

    /// How many public jobs answer, counted up to 10,000.
    pub async fn count(&self, query: &JobQuery) -> Result<u64, InternalError> {
        if query.sought.as_ref().is_some_and(Query::is_empty) {
            return Ok(0);
        }
        if query.asks_index() {
            let counted = self.search.count(query.sought.clone(), conditions(&query.filter), COUNT_CAP).await;
            if let Some(count) = answered(counted) {
                return Ok(count);
            }
        }
        self.count_in_database(query).await
    }

    /// What all jobs that answer have in common; none while this node has no index.
    pub async fn facets(&self, query: &JobQuery) -> Result<Option<JobFacets>, InternalError> {
        if query.sought.as_ref().is_some_and(Query::is_empty) {
            return Ok(Some(JobFacets::default()));
        }
        let unit = 10_i64.saturating_pow(self.wallets.currency().decimals());
        let bounds: Vec<i64> = STEPS.iter().map(|step| step.saturating_mul(unit)).collect();
        let found = self.search.facets(query.sought.clone(), conditions(&query.filter), bounds.clone()).await;
        let Some(found) = answered(found) else { return Ok(None) };
        let mut counts: Vec<(SkillId, u64)> = found.skills.into_iter().map(|(id, count)| (id.into(), count)).collect();
        counts.sort_unstable_by_key(|(id, count)| (std::cmp::Reverse(*count), *id));
        counts.truncate(MOST_SKILLS);
        let ids: Vec<SkillId> = counts.iter().map(|(id, _)| *id).collect();
        let mut known = self.accounts.skills_by_id(&ids).await?;
        let skills = counts.into_iter().filter_map(|(id, count)| Some((known.remove(&id)?, count))).collect();
        let from = std::iter::once(0).chain(bounds.iter().copied()).map(Money::from_minor);
        let to = bounds.iter().map(|bound| Some(Money::from_minor(*bound))).chain([None]);
        let budgets = from.zip(to).zip(found.budgets).map(|((from, to), count)| (from, to, count)).collect();
        Ok(Some(JobFacets { skills, budgets }))
    }

    /// Completions of what is being typed, most fitting first: skills and titles of jobs that are OPEN.
    pub async fn suggest(&self, prefix: &str, most: usize) -> Result<Vec<Suggestion>, SuggestError> {
        let typed = text::SEARCH.parse("prefix", prefix)?;
        // The blank at the end says that the word is whole.
        let query = Query::parse(prefix).map_err(|many| Invalid::value("prefix", many))?;
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let open = || Conditions { statuses: vec![status_number(JobStatus::Open)], ..Conditions::default() };
        let window =
            Window { by: SortedBy::Posted, ascending: false, backward: false, after: None, before: None, most: TITLES };
        let in_titles = Conditions { titles_only: true, ..open() };
        let found = answered(self.search.find(Some(query.clone()), in_titles, window, true).await);
        let (places, meant) = found.map_or((Vec::new(), None), |found| (found.places, found.corrected));
        let meant = meant.map_or(query, |(query, _)| query);

        let mut suggestions = Vec::new();
        for skill in self.fitting_skills(&typed, &meant).await?.into_iter().take(TRIED) {
            let with = Conditions { any_skill: vec![skill.id.into()], ..open() };
            if suggestions.len() < most && answered(self.search.count(None, with, 1).await) != Some(0) {
                suggestions.push(Suggestion { text: skill.name.clone(), skill: Some(skill) });
            }
        }
        let ids: Vec<JobId> = places.iter().map(|(_, id)| (*id).into()).collect();
        let mut rows = self.by_id(&ids).await?;
        let mut titles: Vec<(bool, usize, String)> = Vec::new();
        let mut seen: HashSet<String> = suggestions.iter().map(|suggestion| fold(&suggestion.text)).collect();
        let start = fold(&typed);
        for id in ids {
            let Some(job) = rows.remove(&id).filter(|job| job.is_public() && job.status() == JobStatus::Open) else {
                continue;
            };
            let folded = fold(&job.title);
            if meant.matches(&Words::of(&job.title), &Words::default()) && seen.insert(folded.clone()) {
                titles.push((!folded.starts_with(&start), folded.chars().count(), job.title));
            }
        }
        titles.sort();
        let room = most.saturating_sub(suggestions.len());
        suggestions.extend(titles.into_iter().take(room).map(|(.., text)| Suggestion { text, skill: None }));
        Ok(suggestions)
    }

    /// The skills whose name or slug begins so; else those that hold the words; else those that nearly begin so.
    async fn fitting_skills(&self, typed: &str, meant: &Query) -> Result<Vec<Skill>, InternalError> {
        let all = self.accounts.skills(None, u64::MAX).await?;
        let start = fold(typed);
        let length = start.chars().count();
        let errors = meant.words.iter().map(|word| word.errors).max().unwrap_or_default();
        let rank = |skill: &Skill| {
            let name = fold(&skill.name);
            if name.starts_with(&start) || skill.slug.starts_with(&start) {
                return Some(0);
            }
            if meant.matches(&Words::of(&skill.name), &Words::of(&skill.slug)) {
                return Some(1);
            }
            let near: String = name.chars().take(length).collect();
            (errors > 0 && distance(&near, &start, errors) <= errors).then_some(2)
        };
        let mut ranked: Vec<(i32, usize, Skill)> =
            all.into_iter().filter_map(|skill| Some((rank(&skill)?, skill.name.chars().count(), skill))).collect();
        ranked.sort_by(|one, other| (one.0, one.1, &one.2.name).cmp(&(other.0, other.1, &other.2.name)));
        let least = ranked.first().map_or(0, |(rank, ..)| *rank);
        // What is only near is no completion where something fits.
        Ok(ranked.into_iter().filter(|(rank, ..)| *rank < 2 || least == 2).map(|(.., skill)| skill).collect())
    }

    async fn shown(&self, ids: Condition, most: Option<u32>) -> Result<Vec<jobs::Model>, InternalError> {
        let select = jobs::Entity::find().filter(ids).filter(is_shown()).order_by_asc(jobs::Column::Id);
        Ok(select.limit(most.map(u64::from)).all(self.db.reader()).await?)
    }

    async fn documents_of(&self, rows: Vec<jobs::Model>) -> Result<Vec<Document>, InternalError> {
        let ids: Vec<JobId> = rows.iter().map(|row| row.id).collect();
        let pairs: Vec<(JobId, SkillId)> = job_skills::Entity::find()
            .select_only()
            .columns([job_skills::Column::JobId, job_skills::Column::SkillId])
            .filter(job_skills::Column::JobId.is_in(ids))
            .into_tuple()
            .all(self.db.reader())
            .await?;
        let mut skills: HashMap<JobId, Vec<Uuid>> = HashMap::new();
        for (job, skill) in pairs {
            skills.entry(job).or_default().push(skill.into());
        }
        let document = |row: jobs::Model| {
            Ok(Document {
                id: row.id.into(),
                owner: row.client_id.into(),
                skills: skills.remove(&row.id).unwrap_or_default(),
                status: status_number(JobStatus::from_column(&row.status)?),
                budget: row.budget_minor.minor(),
                posted: row.posted_at.map_or(0, |at| at.timestamp_millis()),
                deadline: row.deadline_order.timestamp_millis(),
                title: row.title,
                text: row.description,
            })
        };
        rows.into_iter().map(document).collect()
    }
}

/// Why there are no suggestions.
#[derive(Debug, thiserror::Error)]
pub enum SuggestError {
    /// The text cannot be completed.
    #[error("{}", .0.message)]
    Invalid(#[from] Invalid),
    /// It is not known.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

#[async_trait]
impl Source for Jobs {
    fn concerns(&self, kind: EventKind) -> bool {
        kind == JOB_POSTED || kind == JOB_UPDATED
    }

    async fn documents(&self, ids: &[Uuid]) -> Result<Vec<Document>, InternalError> {
        let ids = ids.iter().map(|id| JobId::from(*id));
        self.documents_of(self.shown(Condition::all().add(jobs::Column::Id.is_in(ids)), None).await?).await
    }

    async fn page(&self, after: Option<Uuid>, most: u32) -> Result<Option<(Vec<Document>, Uuid)>, InternalError> {
        let behind = Condition::all().add_option(after.map(|after| jobs::Column::Id.gt(JobId::from(after))));
        let rows = self.shown(behind, Some(most)).await?;
        let Some(last) = rows.last().map(|row| row.id.into()) else { return Ok(None) };
        Ok(Some((self.documents_of(rows).await?, last)))
    }

    async fn count(&self) -> Result<u64, InternalError> {
        Ok(jobs::Entity::find().filter(is_shown()).count(self.db.reader()).await?)
    }
}

/// What everybody may see.
fn is_shown() -> Condition {
    let not_withheld = jobs::Column::Withheld.eq(false).or(jobs::Column::Status.ne(JobStatus::Open.as_str()));
    Condition::all().add(jobs::Column::PostedAt.is_not_null()).add(not_withheld)
}

/// What the index says; none where it says nothing, which is logged once here.
fn answered<T>(found: Option<Result<T, SearchError>>) -> Option<T> {
    match found? {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!(%error, "a search goes to the database");
            None
        }
    }
}

/// Whether a row still answers. What it asks for is left to the index.
fn answers(filter: &JobFilter, job: &Job) -> bool {
    let bare = JobFilter { any_skill: Vec::new(), all_skills: Vec::new(), ..filter.clone() };
    bare.matches(&(&JobFacts::of(job, &[])).into())
}

const fn sorted_by(order: JobOrder) -> SortedBy {
    match order.field {
        JobOrderField::PostedAt => SortedBy::Posted,
        JobOrderField::Budget => SortedBy::Budget,
        JobOrderField::Deadline => SortedBy::Deadline,
        JobOrderField::Relevance => SortedBy::Relevance,
    }
}

fn status_number(status: JobStatus) -> u64 {
    (0..).zip(JobStatus::ALL).find(|(_, known)| **known == status).map_or(0, |(number, _)| number)
}

fn conditions(filter: &JobFilter) -> Conditions {
    let named = |skills: &[SkillId]| skills.iter().map(|skill| (*skill).into()).collect::<Vec<Uuid>>();
    Conditions {
        statuses: filter.statuses.iter().map(|status| status_number(*status)).collect(),
        any_skill: named(&filter.any_skill),
        all_skills: filter.all_skills.iter().map(|skills| named(skills)).collect(),
        owner: filter.client_id.map(UserId::into),
        budget: (filter.budget_min.map(Money::minor), filter.budget_max.map(Money::minor)),
        posted_after: filter.posted_after.map(|after| after.timestamp_millis()),
        titles_only: false,
    }
}
