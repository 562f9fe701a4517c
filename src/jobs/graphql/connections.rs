//! Pages of jobs, with their cursors and counts.

use async_graphql::{ComplexObject, Context, Result, SimpleObject};

use super::objects::JobObject;
use crate::{
    accounts::graphql::SkillObject,
    connection,
    graphql::{connections::edges, context::ContextExt, scalars::MoneyAmount},
    ids::UserId,
    jobs::{
        Jobs,
        list::{self, JobQuery as JobListQuery},
        model::{self, Job},
        search::Listed,
    },
    page::{Cursor, Page},
    search::Correction,
};

/// Which jobs a connection counts.
pub(super) enum Counted {
    Public(Box<JobListQuery>, Option<JobSearch>),
    OfClient(UserId, Vec<model::JobStatus>),
}

connection! {
    /// A page of jobs.
    JobConnection,
    /// A job in a page of jobs.
    JobEdge,
    JobObject,
    complex Counted
}

impl JobConnection {
    pub(super) fn new(page: Page<Job>, scope: Counted, cursor: impl Fn(&Job) -> Cursor) -> Self {
        let (edges, page_info) = edges(page, cursor);
        let edges: Vec<_> = edges.into_iter().map(|(cursor, node)| JobEdge { cursor, node: node.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info, scope }
    }

    /// A page of the feed or of a search.
    pub(super) fn listed(listed: Listed) -> Self {
        let Listed { page, cursors, query, corrections } = listed;
        let order = query.order;
        let search = query.sought.as_ref().map(|sought| JobSearch {
            corrections: corrections.into_iter().map(Into::into).collect(),
            problem: sought.is_empty().then(|| NO_WORD.to_owned()),
        });
        let cursor = move |job: &Job| cursors.get(&job.id).copied().unwrap_or_else(|| order.cursor(job));
        Self::new(page, Counted::Public(Box::new(query), search), cursor)
    }

    pub(crate) fn of_client(page: Page<Job>, client: UserId, statuses: Vec<model::JobStatus>) -> Self {
        Self::new(page, Counted::OfClient(client, statuses), |job| Cursor::by_id(job.id.into()))
    }
}

#[ComplexObject]
impl JobConnection {
    /// Exact up to 10 000, then capped.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let jobs = ctx.get::<Jobs>();
        let count = match &self.scope {
            Counted::Public(query, _) => Box::pin(jobs.count(query)).await?,
            Counted::OfClient(client, statuses) => Box::pin(jobs.count_of_client(*client, statuses)).await?,
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// What all jobs of this list have in common, whatever page of it is shown: for the boxes beside a search. Null in lists
    /// of one person's jobs, and while the server builds the index that it counts in.
    async fn facets(&self, ctx: &Context<'_>) -> Result<Option<JobFacets>> {
        let Counted::Public(query, _) = &self.scope else { return Ok(None) };
        let Some(facets) = Box::pin(ctx.get::<Jobs>().facets(query)).await? else { return Ok(None) };
        let count = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
        let skills = facets.skills.into_iter();
        let budgets = facets.budgets.into_iter().map(|(from, to, jobs)| BudgetFacet {
            from: ctx.money(from),
            to: to.map(|to| ctx.money(to)),
            count: count(jobs),
        });
        Ok(Some(JobFacets {
            skills: skills.map(|(skill, jobs)| SkillFacet { skill: SkillObject(skill), count: count(jobs) }).collect(),
            budgets: budgets.collect(),
        }))
    }

    /// How the words of `query` and `filter.query` were understood; null without any.
    async fn search(&self) -> Option<JobSearch> {
        match &self.scope {
            Counted::Public(_, search) => search.clone(),
            Counted::OfClient(..) => None,
        }
    }
}

/// Why a search finds nothing that has no word in it.
const NO_WORD: &str = "There is no word to search for: give at least one word, or a number, that is not excluded.";

/// How a search was understood.
#[derive(Clone, SimpleObject)]
pub(crate) struct JobSearch {
    /// Words that no job holds, and which were searched for in their place; empty where the search is as it was typed.
    corrections: Vec<SearchCorrection>,
    /// Why nothing can be found, to be shown to a person; null if something can.
    problem: Option<String>,
}

/// A word that no job holds, and the nearest one that some do.
#[derive(Clone, SimpleObject)]
pub(crate) struct SearchCorrection {
    /// The word as it was read: in lower case, without accents.
    typed: String,
    /// The word that was searched for in its place.
    meant: String,
}

impl From<Correction> for SearchCorrection {
    fn from(Correction { typed, meant }: Correction) -> Self {
        Self { typed, meant }
    }
}

/// What the jobs of a list have in common.
#[derive(SimpleObject)]
pub(crate) struct JobFacets {
    /// The skills that most of them ask for, at most 50.
    skills: Vec<SkillFacet>,
    /// How many pay how much, from the least on.
    budgets: Vec<BudgetFacet>,
}

/// How many jobs of a list ask for a skill.
#[derive(SimpleObject)]
pub(crate) struct SkillFacet {
    /// The skill: pass its slug as `filter.anySkill`.
    skill: SkillObject,
    /// How many jobs of the list ask for it.
    count: i32,
}

/// How many jobs of a list pay so much.
#[derive(SimpleObject)]
pub(crate) struct BudgetFacet {
    /// At least this much.
    from: MoneyAmount,
    /// Less than this; null: any amount from there on.
    to: Option<MoneyAmount>,
    /// How many jobs of the list pay so much.
    count: i32,
}

impl JobEdge {
    /// A draft as a row of its author's own list, which is sorted by id.
    pub(super) fn written(job: &JobObject) -> Self {
        Self { cursor: Cursor::by_id(job.job.id.into()).encode(), node: job.clone() }
    }

    pub(super) fn newest(job: &Job) -> Self {
        Self { cursor: list::JobOrder::NEWEST.cursor(job).encode(), node: job.clone().into() }
    }
}
