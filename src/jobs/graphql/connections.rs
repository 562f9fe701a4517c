//! Pages of jobs, with their cursors and counts.

use async_graphql::{ComplexObject, Context, Result};

use super::objects::JobObject;
use crate::{
    connection,
    graphql::{connections::edges, context::ContextExt},
    ids::UserId,
    jobs::{
        Jobs,
        list::{self, JobQuery as JobListQuery},
        model::{self, Job},
    },
    page::{Cursor, Page},
};

/// Which jobs a connection counts.
pub(super) enum Counted {
    Public(Box<JobListQuery>),
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
            Counted::Public(query) => Box::pin(jobs.count(query)).await?,
            Counted::OfClient(client, statuses) => Box::pin(jobs.count_of_client(*client, statuses)).await?,
        };
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
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
