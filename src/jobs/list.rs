//! Lists of jobs: the public feed, the search, and a client's own.
//!
//! The one place where a filter, a sort order or a text query becomes SQL. Each order has an index that it walks; the
//! text query is one function for FTS5 and tsvector. Relevance shifts with every job that comes or goes, so a page by
//! relevance is cut from a window of the best [`WINDOW`] matches instead of a key range.
//!
//! On `SQLite` the window is read from the index of words outwards: FTS5 matches once, ranks each match as it comes to
//! it, and the rows of the jobs are looked up after that. Ranking from the jobs inwards runs the match anew for each of
//! them: 1,606 ms instead of 19 at 20,000 jobs, and no end instead of 262 ms at 300,000 (`bench/relevance.py`).

use std::collections::HashMap;

use chrono::DateTime;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, FromQueryResult as _, Order, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, JoinType, Query, SelectStatement, SimpleExpr},
};

use super::{
    Jobs,
    entity::{
        job_skills,
        jobs::{self, Finders as _},
    },
    error::JobError,
    filter::JobFilter,
    model::{Job, JobStatus},
};
use crate::{
    clock::Timestamp,
    db::Backend,
    error::{InternalError, Invalid},
    ids::{JobId, SkillId, UserId},
    money::{Currency, Money},
    page::{Cursor, Page, PageRequest, read_all},
    search::query::Query as Sought,
    text,
};

/// How many matches are ranked.
const WINDOW: u64 = 1_000;
/// Up to where a total is counted.
pub(super) const COUNT_CAP: u64 = 10_000;
/// 9999-12-31T23:59:59.999Z in milliseconds since 1970: no job is sorted by a later moment.
const END_OF_TIME: i64 = 253_402_300_799_999;

/// What a list is sorted by; the id breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOrderField {
    /// When it was first posted.
    PostedAt,
    /// What it pays.
    Budget,
    /// Until when it can be claimed; those without a deadline are last.
    Deadline,
    /// How well it matches the words searched for.
    Relevance,
}

/// Sort order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobOrder {
    /// By what.
    pub field: JobOrderField,
    /// Whether the least comes first.
    pub ascending: bool,
}

impl JobOrder {
    /// Newest first.
    pub const NEWEST: Self = Self { field: JobOrderField::PostedAt, ascending: false };

    /// Marks the cursors of this order, so that those of another are refused.
    pub const fn tag(self) -> u8 {
        let field = match self.field {
            JobOrderField::PostedAt => 1,
            JobOrderField::Budget => 2,
            JobOrderField::Deadline => 3,
            JobOrderField::Relevance => 4,
        };
        if self.ascending { field + 4 } else { field }
    }

    /// Where a job stands in this order.
    pub fn cursor(self, job: &Job) -> Cursor {
        let key = match self.field {
            JobOrderField::PostedAt => job.posted_at().map_or(0, |at| at.timestamp_millis()),
            JobOrderField::Budget => job.budget.minor(),
            JobOrderField::Deadline => jobs::deadline_order(job.deadline).timestamp_millis(),
            JobOrderField::Relevance => 0,
        };
        Cursor { order: self.tag(), key, id: job.id.into() }
    }

    const fn direction(self) -> Order {
        if self.ascending { Order::Asc } else { Order::Desc }
    }
}

/// What a list of public jobs asks for.
#[derive(Clone, Debug)]
pub struct JobQuery {
    /// What is looked for; none: every job answers.
    pub sought: Option<Sought>,
    /// The same for the database: words that must all occur,
    pub words: Vec<String>,
    /// and groups of words of which none may occur altogether.
    pub excluded: Vec<Vec<String>>,
    /// Whether there is an index to ask.
    pub by_index: bool,
    /// Conditions.
    pub filter: JobFilter,
    /// Sort order.
    pub order: JobOrder,
}

/// A query as the database takes it: by whole words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseWords {
    /// All of which must occur.
    pub words: Vec<String>,
    /// Of each of which not all may occur.
    pub excluded: Vec<Vec<String>>,
}

/// A page of what a client wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobsOf {
    /// Whose.
    pub client: UserId,
    /// In one of these statuses; empty: in any.
    pub statuses: Vec<JobStatus>,
    /// Which rows.
    pub request: PageRequest,
}

/// A filter as it came.
#[derive(Clone, Debug, Default)]
pub struct JobFilterInput {
    /// Statuses.
    pub statuses: Vec<JobStatus>,
    /// Slugs, one of which must be there.
    pub any_skill: Vec<String>,
    /// Slugs, all of which must be there.
    pub all_skills: Vec<String>,
    /// Currency, least and most.
    pub budget: Option<(String, Option<String>, Option<String>)>,
    /// A user's id.
    pub client_id: Option<String>,
    /// A moment.
    pub posted_after: Option<Timestamp>,
    /// Words.
    pub query: Option<String>,
}

impl JobQuery {
    /// Asks for the public jobs in an order, with this filter and with all that somebody typed: texts by the fields in which
    /// they came. Blank ones ask for nothing.
    pub fn new(
        texts: [(&str, Option<&str>); 2],
        filter: JobFilter,
        order: JobOrder,
        by_index: bool,
    ) -> Result<Self, Invalid> {
        let (mut sought, mut in_database) = (None::<Sought>, DatabaseWords::default());
        for (field, text) in texts {
            let text = text.unwrap_or_default();
            let checked = text::SEARCH.parse(field, text)?;
            if checked.is_empty() {
                continue;
            }
            // As it was typed: a blank at the end says that the last word is whole.
            let read = Sought::parse(text).map_err(|many| Invalid::value(field, many))?;
            sought = Some(match sought {
                Some(other) => other.and(read),
                None => read,
            });
            let DatabaseWords { words, excluded } = database_words(&checked);
            in_database.words.extend(words);
            in_database.excluded.extend(excluded);
        }
        let DatabaseWords { words, excluded } = in_database;
        Ok(Self { sought, words, excluded, by_index, filter, order })
    }

    /// Whether the index is asked: for words, and for skills, since the database has no order of the jobs with a skill and
    /// looks at all jobs until it has found enough.
    pub const fn asks_index(&self) -> bool {
        let has_skills = !self.filter.any_skill.is_empty() || !self.filter.all_skills.is_empty();
        self.by_index && (self.sought.is_some() || has_skills)
    }

    /// Marks the cursors of this list. Those by relevance are of another order where the index ranks.
    pub const fn tag(&self) -> u8 {
        match (self.order.field, self.by_index) {
            (JobOrderField::Relevance, true) => self.order.tag() + 8,
            _ => self.order.tag(),
        }
    }
}

impl Jobs {
    /// Reads a filter; unknown skills and clients, bad amounts and crossed bounds are refused by their place in it.
    pub async fn parse_filter(&self, input: JobFilterInput) -> Result<JobFilter, JobError> {
        let currency = self.wallets.currency();
        let (mut budget_min, mut budget_max) = (None, None);
        if let Some((code, min, max)) = input.budget {
            currency.check_code(&code).map_err(|why| Invalid::value("filter.budget.currencyCode", why))?;
            budget_min = parse_bound(currency, "filter.budget.min", min.as_deref())?;
            budget_max = parse_bound(currency, "filter.budget.max", max.as_deref())?;
            if budget_min.zip(budget_max).is_some_and(|(min, max)| min > max) {
                return Err(Invalid::value("filter.budget.min", "must not be above max").into());
            }
        }
        let client_id = input.client_id.map(|id| id.parse::<UserId>());
        let client_id = client_id.transpose().map_err(|_| Invalid::not_found("filter.clientId", "user"))?;
        let query = parse_query("filter.query", input.query.as_deref())?;
        Ok(JobFilter {
            query,
            statuses: input.statuses,
            any_skill: self.accounts.sought_skills("filter.anySkill", &input.any_skill).await?.concat(),
            all_skills: self.accounts.sought_skills("filter.allSkills", &input.all_skills).await?,
            budget_min,
            budget_max,
            client_id,
            posted_after: input.posted_after,
        })
    }

    /// A page of the public jobs.
    pub async fn page(&self, query: &JobQuery, request: PageRequest) -> Result<Page<Job>, InternalError> {
        if query.order.field == JobOrderField::Relevance {
            return self.page_by_relevance(query, request).await;
        }
        let rows = self.select(query, request).into_model::<jobs::Placed>().all(self.db.reader()).await?;
        request.page(rows).try_map(Job::try_from)
    }

    /// The rows of a page in an order that an index has: any but relevance, in whose place this takes the date.
    pub fn select(&self, query: &JobQuery, request: PageRequest) -> Select<jobs::Entity> {
        let order = query.order;
        let column = match order.field {
            JobOrderField::PostedAt | JobOrderField::Relevance => jobs::Column::PostedAt,
            JobOrderField::Budget => jobs::Column::BudgetMinor,
            JobOrderField::Deadline => jobs::Column::DeadlineOrder,
        };
        let key = Expr::tuple([Expr::col(column), Expr::col(jobs::Column::Id)]);
        let value = |cursor: Cursor| {
            let key = match order.field {
                JobOrderField::Budget => Expr::value(cursor.key),
                // A forged cursor may hold what no calendar has; one of ours never does.
                _ => Expr::value(DateTime::from_timestamp_millis(cursor.key.clamp(0, END_OF_TIME)).unwrap_or_default()),
            };
            Expr::tuple([key, Expr::value(cursor.id)])
        };
        let direction = request.direction(order.direction());
        self.matching(query)
            .filter(request.bounds(&order.direction(), &key, value))
            .order_by(column, direction.clone())
            .order_by(jobs::Column::Id, direction)
            .limit(request.limit())
    }

    async fn page_by_relevance(&self, query: &JobQuery, request: PageRequest) -> Result<Page<Job>, InternalError> {
        let rows = self.db.reader().query_all(&self.select_best(query)).await?;
        let mut window = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<JobId>, _>>()?;
        if query.order.ascending {
            window.reverse();
        }
        let place = |cursor: Cursor| window.iter().position(|id| *id == JobId::from(cursor.id));
        // A cursor on a job that has left the window stands at the end that is read towards: the list is over there.
        let from = request.after.map_or(0, |after| place(after).map_or(window.len(), |place| place + 1));
        let to = request.before.map_or(window.len(), |before| place(before).unwrap_or(0)).max(from);
        let slice = &window[from..to];
        let size = usize::from(request.size).min(slice.len());
        let ids = if request.backward { &slice[slice.len() - size..] } else { &slice[..size] };
        let mut found: HashMap<JobId, Job> = self.by_id(ids).await?;
        let rows = ids.iter().filter_map(|id| found.remove(id)).collect();
        let more = slice.len() > size;
        let (before, after) = (request.after.is_some(), request.before.is_some());
        let (has_previous, has_next) = if request.backward { (more, after) } else { (before, more) };
        Ok(Page { rows, has_previous, has_next })
    }

    /// The ids of the best matches, best first, as many as are ranked; of those that match alike, the one with the greater id.
    pub fn select_best(&self, query: &JobQuery) -> SelectStatement {
        let id = (jobs::Entity, jobs::Column::Id);
        let mut select = Query::select();
        match self.db.backend() {
            // In this order, which CROSS holds SQLite to. A hit in the title counts for five; ranks are negative, the best the
            // least.
            Backend::Sqlite => select
                .from_as("job_search", "found")
                .join_as(JoinType::CrossJoin, "job_search_rows", "places", Condition::all())
                .join(JoinType::CrossJoin, jobs::Entity, Condition::all())
                .and_where(Expr::col(("places", "id")).equals(("found", "rowid")))
                .and_where(Expr::col(id).equals(("places", "job_id")))
                .and_where(Expr::cust_with_values("job_search MATCH ?", [fts5_query(&query.words)]))
                .and_where(Expr::cust("found.rank MATCH 'bm25(5.0, 1.0)'"))
                .cond_where(self.without_excluded(query, filtered(query)))
                .order_by(("found", "rank"), Order::Asc),
            Backend::Postgres => select.from(jobs::Entity).cond_where(self.condition(query)).order_by_expr(
                Expr::cust_with_values("ts_rank_cd(search, plainto_tsquery('job_words', $1))", [query.words.join(" ")]),
                Order::Desc,
            ),
        };
        select.column(id).order_by(id, Order::Desc).limit(WINDOW).take()
    }

    /// How many public jobs answer, counted up to 10,000 by the database.
    pub(super) async fn count_in_database(&self, query: &JobQuery) -> Result<u64, InternalError> {
        count_capped(self.db.reader(), self.matching(query)).await
    }

    /// Pages of all that clients wrote, drafts included, newest first. The caller has been let to see them.
    pub async fn pages_of_clients(&self, lists: &[JobsOf]) -> Result<Vec<Page<Job>>, InternalError> {
        let select = |list: &JobsOf| Self::select_of_client(list.client, &list.statuses, list.request).into_query();
        let found = read_all(self.db.reader(), lists.iter().map(select).collect()).await?;
        let pages = found.into_iter().zip(lists).map(|(rows, list)| {
            let rows = rows.iter().map(|row| jobs::Placed::from_query_result(row, "")).collect::<Result<_, _>>()?;
            list.request.page(rows).try_map(Job::try_from)
        });
        pages.collect()
    }

    /// The rows of [`Jobs::pages_of_clients`].
    pub fn select_of_client(client: UserId, statuses: &[JobStatus], request: PageRequest) -> Select<jobs::Entity> {
        let id = Expr::col(jobs::Column::Id);
        of_client(client, statuses)
            .filter(request.bounds(&Order::Desc, &id, |cursor| Expr::value(cursor.id)))
            .order_by(jobs::Column::Id, request.direction(Order::Desc))
            .limit(request.limit())
    }

    /// How many jobs a list of [`Jobs::pages_of_clients`] pages through, counted up to 10,000.
    pub async fn count_of_client(&self, client: UserId, statuses: &[JobStatus]) -> Result<u64, InternalError> {
        count_capped(self.db.reader(), of_client(client, statuses)).await
    }

    fn matching(&self, query: &JobQuery) -> Select<jobs::Entity> {
        jobs::Entity::find().filter(self.condition(query))
    }

    fn condition(&self, query: &JobQuery) -> Condition {
        let condition = self.without_excluded(query, filtered(query));
        if query.words.is_empty() { condition } else { condition.add(self.text_match(&query.words)) }
    }

    fn without_excluded(&self, query: &JobQuery, condition: Condition) -> Condition {
        query.excluded.iter().fold(condition, |condition, words| condition.add(self.text_match(words).not()))
    }

    /// Jobs whose title or description hold all the words, on either database.
    fn text_match(&self, words: &[String]) -> SimpleExpr {
        match self.db.backend() {
            Backend::Sqlite => Expr::cust_with_values(
                "jobs.id IN (SELECT r.job_id FROM job_search s JOIN job_search_rows r ON r.id = s.rowid \
                 WHERE job_search MATCH ?)",
                [fts5_query(words)],
            ),
            Backend::Postgres => {
                Expr::cust_with_values("search @@ plainto_tsquery('job_words', $1)", [words.join(" ")])
            }
        }
    }
}

/// All that is asked of a job beside the words.
fn filtered(query: &JobQuery) -> Condition {
    let filter = &query.filter;
    let mut condition = Condition::all().add(jobs::Column::PostedAt.is_not_null());
    condition = match filter.statuses.as_slice() {
        [] => condition,
        [one] => condition.add(jobs::Column::Status.eq(one.as_str())),
        several => condition.add(jobs::Column::Status.is_in(several.iter().map(|status| status.as_str()))),
    };
    // Of suspended clients.
    condition = match filter.statuses.as_slice() {
        [JobStatus::Open] => condition.add(jobs::Column::Withheld.eq(false)),
        some if !some.is_empty() && !some.contains(&JobStatus::Open) => condition,
        _ => condition.add(jobs::Column::Withheld.eq(false).or(jobs::Column::Status.ne(JobStatus::Open.as_str()))),
    };
    if let Some(min) = filter.budget_min {
        condition = condition.add(jobs::Column::BudgetMinor.gte(min.minor()));
    }
    if let Some(max) = filter.budget_max {
        condition = condition.add(jobs::Column::BudgetMinor.lte(max.minor()));
    }
    if let Some(client) = filter.client_id {
        condition = condition.add(jobs::Column::ClientId.eq(client));
    }
    if let Some(after) = filter.posted_after {
        condition = condition.add(jobs::Column::PostedAt.gt(after));
    }
    if !filter.any_skill.is_empty() {
        condition = condition.add(has_skill(&filter.any_skill));
    }
    for skill in &filter.all_skills {
        condition = condition.add(has_skill(skill));
    }
    condition
}

/// Reads words for the database: letters and digits, but for what a hyphen before a word or a quote excludes.
fn database_words(text: &str) -> DatabaseWords {
    let (mut found, mut group, mut word) = (DatabaseWords::default(), None::<Vec<String>>, String::new());
    let (mut quoted, mut before) = (false, ' ');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        } else if !word.is_empty() {
            let word = std::mem::take(&mut word);
            group.as_mut().unwrap_or(&mut found.words).push(word);
        }
        quoted ^= character == '"';
        let excludes = character == '-' && before.is_whitespace() && !quoted;
        if excludes && characters.peek().is_some_and(|next| !next.is_whitespace()) {
            group = Some(Vec::new());
        } else if character.is_whitespace() && !quoted {
            found.excluded.extend(group.take());
        }
        before = character;
    }
    if !word.is_empty() {
        group.as_mut().unwrap_or(&mut found.words).push(word);
    }
    found.excluded.extend(group);
    found.excluded.retain(|words| !words.is_empty());
    found
}

/// Each word as a quoted FTS5 string, so that none of it is an operator. Words are alphanumeric: no quote to escape.
fn fts5_query(words: &[String]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" ")
}

fn of_client(client: UserId, statuses: &[JobStatus]) -> Select<jobs::Entity> {
    let select = jobs::Entity::find().of_client(client);
    if statuses.is_empty() {
        return select;
    }
    select.filter(jobs::Column::Status.is_in(statuses.iter().map(|status| status.as_str())))
}

fn has_skill(skills: &[SkillId]) -> SimpleExpr {
    let jobs_with = Query::select()
        .column(job_skills::Column::JobId)
        .from(job_skills::Entity)
        .and_where(job_skills::Column::SkillId.is_in(skills.to_vec()))
        .to_owned();
    Expr::col((jobs::Entity, jobs::Column::Id)).in_subquery(jobs_with)
}

async fn count_capped<C: ConnectionTrait>(connection: &C, select: Select<jobs::Entity>) -> Result<u64, InternalError> {
    let rows = select.select_only().column(jobs::Column::Id).limit(COUNT_CAP).into_query();
    let count = Query::select().expr_as(Expr::cust("COUNT(*)"), "total").from_subquery(rows, "capped").to_owned();
    let row = connection.query_one(&count).await?.ok_or_else(|| InternalError::corrupt("a count without a row"))?;
    Ok(u64::try_from(row.try_get::<i64>("", "total")?).unwrap_or_default())
}

/// The words of a filter; a blank text asks for none.
fn parse_query(field: &str, given: Option<&str>) -> Result<Option<Sought>, Invalid> {
    let given = given.unwrap_or_default();
    if text::SEARCH.parse(field, given)?.is_empty() {
        return Ok(None);
    }
    // As it was typed: a blank at the end says that the last word is whole.
    let query = Sought::parse(given).map_err(|many| Invalid::value(field, many))?;
    if query.is_empty() {
        return Err(Invalid::value(field, "must have a word that jobs can be found by; leave it out to ask for any"));
    }
    Ok(Some(query))
}

fn parse_bound(currency: &Currency, field: &str, text: Option<&str>) -> Result<Option<Money>, Invalid> {
    text.map(|text| currency.parse_bound(text).map_err(|why| Invalid::value(field, why))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_gets_words_and_what_is_excluded() {
        let read = |text: &str| {
            let DatabaseWords { words, excluded } = database_words(text);
            (words.join(" "), excluded.iter().map(|words| words.join(" ")).collect::<Vec<_>>())
        };
        assert_eq!(read("Logo C++, e-mail"), ("logo c e mail".to_owned(), vec![]));
        assert_eq!(
            read("logo -label -\"two words\" end"),
            ("logo end".to_owned(), vec!["label".into(), "two words".into()])
        );
        let many = (0..60).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ");
        assert_eq!(read(&many), (many.clone(), vec![]), "each narrows what is found");
        assert_eq!(read("a - b \"c -d\""), ("a b c d".to_owned(), vec![]));
    }
}
