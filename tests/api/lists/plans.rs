//! How SQLite reads the feed: each of its orders has an index that is walked, whatever page is asked for.
//!
//! The statements are those of the service. What is asked of SQLite's planner here it decides without statistics, as it
//! does in a database that nobody has analysed.

use lancewire::{
    clock::Clock,
    ids::{Ids, SkillId, TypedId, UserId},
    jobs::{
        Jobs,
        entity::jobs,
        filter::JobFilter,
        list::{JobOrder, JobOrderField, JobQuery},
        model::JobStatus,
    },
    money::Money,
    page::{Cursor, PageRequest},
};
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Select, Statement};
use uuid::Uuid;

use crate::support::app::{Database, TestApp};

const FIELDS: [JobOrderField; 3] = [JobOrderField::PostedAt, JobOrderField::Budget, JobOrderField::Deadline];

fn new_id<T: TypedId>() -> T {
    Ids::from_entropy(Clock::system()).next()
}

/// The first page, one in the middle and one from the end.
fn requests(order: u8) -> [PageRequest; 4] {
    let cursor = Some(Cursor { order, key: 1_700_000_000_000, id: Uuid::max() });
    let first = PageRequest { size: 100, backward: false, after: None, before: None };
    [
        first,
        PageRequest { after: cursor, ..first },
        PageRequest { backward: true, ..first },
        PageRequest { backward: true, before: cursor, ..first },
    ]
}

/// The filters of the feed with a name for messages, and whether an index has their rows in an order: the planner may
/// prefer to look for rows by a range of another column, or by several statuses, and sort what it finds.
fn filters() -> Vec<(&'static str, JobFilter, fn(JobOrderField) -> bool)> {
    let filter = || JobFilter { statuses: vec![JobStatus::Open], ..JobFilter::default() };
    let (ever, posted_after): (fn(JobOrderField) -> bool, _) = (|_| true, Some(Clock::system().now()));
    let range = (Some(Money::from_minor(1)), Some(Money::from_minor(9)));
    let skills = || vec![new_id::<SkillId>(), new_id::<SkillId>()];
    vec![
        ("one status", filter(), ever),
        ("a client", JobFilter { client_id: Some(new_id::<UserId>()), ..filter() }, ever),
        ("any skill", JobFilter { any_skill: skills(), ..filter() }, ever),
        ("all skills", JobFilter { all_skills: vec![skills(), skills()], ..filter() }, ever),
        ("since", JobFilter { posted_after, ..filter() }, |field| field == JobOrderField::PostedAt),
        ("a budget", JobFilter { budget_min: range.0, budget_max: range.1, ..filter() }, |field| {
            field == JobOrderField::Budget
        }),
        ("two statuses", JobFilter { statuses: vec![JobStatus::Open, JobStatus::Claimed], ..filter() }, |_| false),
        ("every status", JobFilter { statuses: JobStatus::ALL.to_vec(), ..filter() }, |_| false),
    ]
}

/// Asserts that the rows are found by an index, and come sorted if `sorted`.
async fn check(app: &TestApp, select: &Select<jobs::Entity>, sorted: bool, context: &str) {
    let lines = plan(app, select.build(DbBackend::Sqlite)).await;
    assert!(lines.iter().any(|line| line.starts_with("SEARCH jobs USING INDEX")), "{context}: {lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("SCAN")), "{context} reads a whole table: {lines:#?}");
    assert!(!sorted || !lines.iter().any(|line| line.contains("TEMP B-TREE")), "{context} sorts: {lines:#?}");
}

/// The lines of SQLite's plan.
async fn plan(app: &TestApp, statement: Statement) -> Vec<String> {
    let Statement { sql, values, .. } = statement;
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let explain = Statement { sql, values, db_backend: DbBackend::Sqlite };
    let rows = app.app.db.reader().query_all_raw(explain).await.expect("a plan");
    rows.iter().map(|row| row.try_get::<String>("", "detail").expect("a line")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_is_read_along_an_index() {
    let app = Box::pin(TestApp::start(Database::Sqlite)).await;
    for (name, filter, sorted) in filters() {
        for order in
            FIELDS.iter().flat_map(|field| [true, false].map(|ascending| JobOrder { field: *field, ascending }))
        {
            let query = JobQuery { words: Vec::new(), filter: filter.clone(), order };
            for request in requests(order.tag()) {
                let select = app.app.services.jobs.select(&query, request);
                check(&app, &select, sorted(order.field), &format!("{name} by {order:?}, {request:?}")).await;
            }
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_jobs_are_read_along_an_index() {
    let app = Box::pin(TestApp::start(Database::Sqlite)).await;
    for statuses in [&[][..], &[JobStatus::Draft], &[JobStatus::Draft, JobStatus::Open]] {
        for request in requests(0) {
            check(
                &app,
                &Jobs::select_of_client(new_id(), statuses, request),
                true,
                &format!("{statuses:?} {request:?}"),
            )
            .await;
        }
    }
    app.finish().await;
}
