//! How SQLite reads the feed: each of its orders has an index that is walked, whatever page is asked for.
//!
//! The statements are those of the service. SQLite's planner decides here without statistics, as it does in a database
//! that was never analysed.

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
use sea_orm::{ConnectionTrait, DbBackend, QueryTrait, Select, Statement, StatementBuilder};
use uuid::Uuid;

use crate::support::{
    app::{Database, TestApp},
    people::new_job,
};

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
            let query = JobQuery::new([("query", None); 2], filter.clone(), order, false).expect("nothing to read");
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

/// The best matches as they are specified: each job that matches, by the rank of its own, and then by its id.
const SPECIFIED: &str = "SELECT id FROM jobs WHERE posted_at IS NOT NULL AND status = 'OPEN' AND id IN \
    (SELECT r.job_id FROM job_search s JOIN job_search_rows r ON r.id = s.rowid WHERE job_search MATCH '\"kale\"') \
    ORDER BY (SELECT bm25(job_search, 5.0, 1.0) FROM job_search JOIN job_search_rows r ON r.id = job_search.rowid \
    WHERE job_search MATCH '\"kale\"' AND r.job_id = jobs.id), id DESC";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_matches_are_ranked_once_and_in_the_order_that_is_specified() {
    let app = Box::pin(TestApp::start(Database::Sqlite)).await;
    let ada = app.client("Ada").await;
    for number in 0..24 {
        // Many that match alike, some better and some not at all.
        let mut job = new_job(["Kale", "Soup", "Kale soup", "Bread"][number % 4], "1.00");
        job["description"] = ["Kale.", "With kale and more.", "Something else."][number % 3].into();
        let job = ada.post(job).await.good();
        if number % 7 == 0 {
            ada.cancel(job["job"]["id"].as_str().expect("an id")).await.good();
        }
    }
    let filter = JobFilter { statuses: vec![JobStatus::Open], ..JobFilter::default() };
    let order = JobOrder { field: JobOrderField::Relevance, ascending: false };
    let select = |filter: JobFilter| {
        let query =
            JobQuery::new([("filter.query", None), ("query", Some("kale"))], filter, order, false).expect("a word");
        StatementBuilder::build(&app.app.services.jobs.select_best(&query), &DbBackend::Sqlite)
    };
    let ids = async |statement: Statement| -> Vec<Uuid> {
        let rows = app.app.db.reader().query_all_raw(statement).await.expect("runs");
        rows.iter().map(|row| row.try_get_by_index(0).expect("an id")).collect()
    };
    let specified = ids(app.app.db.statement(SPECIFIED, [])).await;
    assert!((10..24).contains(&specified.len()), "{}", specified.len());
    assert!(ids(select(filter)).await == specified, "they differ");

    for (name, filter, _) in filters() {
        let lines = plan(&app, select(filter)).await;
        // Words first and once; then each job by its id.
        assert!(lines[0].starts_with("SCAN found VIRTUAL TABLE INDEX"), "{name}: {lines:#?}");
        assert!(lines[1].starts_with("SEARCH places USING INTEGER PRIMARY KEY"), "{name}: {lines:#?}");
        let by_id = lines[2].starts_with("SEARCH jobs USING INDEX") && lines[2].contains("id=?)");
        assert!(by_id, "{name}: {lines:#?}");
        let matches = lines.iter().filter(|line| line.contains("VIRTUAL TABLE")).count();
        assert_eq!(matches, 1, "{name}: {lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("CORRELATED")), "{name}: {lines:#?}");
    }
    app.finish().await;
}
