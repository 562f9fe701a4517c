//! Root fields that read jobs.

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::{
    connections::JobConnection,
    errors::top_level,
    inputs::{JobFilterArgument, JobOrderArgument, OrderDirection},
    loaders::visible_job,
    objects::JobObject,
};
use crate::{
    accounts::graphql::SkillObject,
    graphql::{
        connections::PageArguments,
        context::ContextExt,
        errors::{ErrorCode, fault},
    },
    jobs::{
        Jobs,
        filter::JobFilter,
        list::{self, JobQuery as JobListQuery},
        model,
        search::{SuggestError, Suggestion},
    },
    search::{Author, query::Query},
};

/// A completion for the search box.
#[derive(SimpleObject)]
pub(crate) struct SearchSuggestion {
    /// What to search for. Plain text: render it as untrusted.
    text: String,
    /// The skill that it names, to filter by; null if it is the title of a job.
    skill: Option<SkillObject>,
}

/// Completions of one text.
const MOST_SUGGESTIONS: usize = 10;

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
            desc = "What to search for in titles and descriptions, at most 200 characters and 32 words. All words must be there, \
                    in any case, with or without accents; \"words in quotes\" follow each other; a word with a hyphen before it \
                    must not be there; the last word may be the beginning of one, unless a blank follows it. Where no job \
                    answers, words with typing errors are taken for others: `JobConnection.search` says so. What is published \
                    is found within a second, what the caller has changed at once. Null or empty: any job."
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
        let order = order_by.map_or(list::JobOrder::NEWEST, |order| list::JobOrder {
            field: order.field.into(),
            ascending: order.direction == OrderDirection::Asc,
        });
        let jobs = ctx.get::<Jobs>();
        let saved = filter.as_ref().and_then(|filter| filter.query.as_deref());
        let texts = [("filter.query", saved), ("query", query.as_deref())];
        let unfiltered = JobListQuery::new(texts, JobFilter::default(), order, jobs.search().is_open());
        let unfiltered = unfiltered.map_err(|invalid| top_level(invalid.into()))?;
        if order.field == list::JobOrderField::Relevance && unfiltered.sought.as_ref().is_none_or(Query::is_empty) {
            let message = "orderBy RELEVANCE needs a query to be relevant to: give query, or choose another order.";
            return Err(ErrorCode::BadUserInput.error(message));
        }
        let request = PageArguments { first, after, last, before }.request(unfiltered.tag(), None)?;
        let mut filter = match filter {
            Some(filter) => jobs.parse_filter(filter.into()).await.map_err(top_level)?,
            None => JobFilter::default(),
        };
        // It is in what is sought by now.
        filter.query = None;
        if filter.statuses.is_empty() {
            filter.statuses.push(model::JobStatus::Open);
        }
        let query = JobListQuery { filter, ..unfiltered };
        if query.asks_index() {
            let user = ctx.actor().user();
            let author = user.map_or_else(|| Author::Address(ctx.address()), |user| Author::User(user.into()));
            jobs.search().reaches_own(author).await;
        }
        Ok(Some(JobConnection::listed(jobs.list(&query, request).await?)))
    }

    /// Completions for a search box as one types: skills, and titles of jobs that are OPEN, most fitting first. Typing errors
    /// in longer words are forgiven. While the server builds its index only skills are suggested.
    async fn search_suggestions(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "What has been typed so far, at most 200 characters; without a word in it nothing is suggested."
        )]
        prefix: String,
        #[graphql(default = 10, desc = "How many, 1 to 10.")] first: i32,
    ) -> Result<Option<Vec<SearchSuggestion>>> {
        let most = usize::try_from(first).ok().filter(|most| (1..=MOST_SUGGESTIONS).contains(most));
        let most = most.ok_or_else(|| ErrorCode::BadUserInput.error("first must be between 1 and 10."))?;
        let found = ctx.get::<Jobs>().suggest(&prefix, most).await.map_err(|error| match error {
            SuggestError::Invalid(invalid) => top_level(invalid.into()),
            SuggestError::InternalError(failed) => fault(failed),
        })?;
        let suggestion = |found: Suggestion| SearchSuggestion { text: found.text, skill: found.skill.map(SkillObject) };
        Ok(Some(found.into_iter().map(suggestion).collect()))
    }
}
