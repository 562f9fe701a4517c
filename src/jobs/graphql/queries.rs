//! Root fields that read jobs.

use async_graphql::{Context, ID, Object, Result};

use super::{
    connections::{Counted, JobConnection},
    errors::top_level,
    inputs::{JobFilterArgument, JobOrderArgument, OrderDirection},
    loaders::visible_job,
    objects::JobObject,
};
use crate::{
    graphql::{connections::PageArguments, context::ContextExt, errors::ErrorCode},
    jobs::{
        Jobs,
        filter::JobFilter,
        list::{self, JobQuery as JobListQuery},
        model,
    },
};

/// Reads of jobs.
#[derive(Default)]
pub(crate) struct JobQuery;

#[Object]
impl JobQuery {
    /// One job. Public unless it is a draft.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As `Job.id` gives it; an id of something else finds nothing.")] id: ID,
    ) -> Result<Option<JobObject>> {
        match id.parse() {
            Ok(id) => visible_job(ctx, id).await,
            Err(_) => Ok(None),
        }
    }

    /// The discovery feed and search. Public; OPEN jobs, newest first, unless told otherwise. `first` or `last` is required, 1 to 100.
    #[expect(clippy::too_many_arguments, reason = "the arguments are the API's")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Words that must all stand in the title or description, at most 200 characters. Null or empty: any."
        )]
        query: Option<String>,
        #[graphql(desc = "Which jobs; null: all that are OPEN.")] filter: Option<JobFilterArgument>,
        #[graphql(desc = "How to sort them; null: newest first.")] order_by: Option<JobOrderArgument>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; `first` or `last` is required.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<JobConnection>> {
        let words = JobListQuery::words(query.as_deref()).map_err(|invalid| top_level(invalid.into()))?;
        let order = order_by.map_or(list::JobOrder::NEWEST, |order| list::JobOrder {
            field: order.field.into(),
            ascending: order.direction == OrderDirection::Asc,
        });
        if order.field == list::JobOrderField::Relevance && words.is_empty() {
            let message = "orderBy RELEVANCE needs a query to be relevant to: give query, or choose another order.";
            return Err(ErrorCode::BadUserInput.error(message));
        }
        let request = PageArguments { first, after, last, before }.request(order.tag(), None)?;
        let jobs = ctx.get::<Jobs>();
        let mut filter = match filter {
            Some(filter) => jobs.parse_filter(filter.into()).await.map_err(top_level)?,
            None => JobFilter::default(),
        };
        if filter.statuses.is_empty() {
            filter.statuses.push(model::JobStatus::Open);
        }
        let query = Box::new(JobListQuery { words, filter, order });
        let page = jobs.page(&query, request).await?;
        Ok(Some(JobConnection::new(page, Counted::Public(query), |job| order.cursor(job))))
    }
}
