//! Filters of the feed against a model of a few lines.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PARTS, walk};
use crate::{
    on_both_clocked,
    support::{
        app::TestApp,
        people::{Person, new_job, text},
    },
};

/// A job as the model knows it.
#[derive(Debug)]
struct Made {
    id: String,
    status: &'static str,
    skills: &'static [&'static str],
    /// In dollars.
    budget: i64,
    client: String,
    /// When it was posted; all moments differ.
    posted: Option<chrono::DateTime<chrono::Utc>>,
}

const STATUSES: [&str; 6] = ["OPEN", "CLAIMED", "OPEN", "IN_REVIEW", "CANCELLED", "DRAFT"];
const SKILLS: [&[&str]; 5] =
    [&["rust"], &["react", "graphql"], &[], &["graphql", "rust"], &["react", "graphql", "rust"]];

/// Sixty jobs: two clients, six ways through life, five sets of skills, four budgets.
async fn made(app: &TestApp, clock: &lancewire::clock::Clock) -> Vec<Made> {
    let clients = [app.client("Ada").await, app.client("Bob").await];
    let mut made = Vec::new();
    for number in 0..60 {
        clock.advance(Duration::from_millis(1));
        // Another period for each property, so that they meet in all ways.
        let (client, status, skills) = (&clients[number % 2], STATUSES[number / 2 % 6], SKILLS[number % 5]);
        let budget = 10 * (1 + i64::try_from(number / 3 % 4).expect("small"));
        let mut job = new_job(&format!("Job {number}"), &format!("{budget}.00"));
        job["skills"] = json!(skills);
        let outcome = if status == "DRAFT" { client.draft(job).await } else { client.post(job).await };
        let id = text(&outcome.good(), "/job/id");
        bring(app, client, &id, status).await;
        let posted = (status != "DRAFT").then(|| clock.now());
        made.push(Made { id, status, skills, budget, client: client.id.clone(), posted });
    }
    made
}

async fn bring(app: &TestApp, client: &Person, job: &str, status: &str) {
    match status {
        "CANCELLED" => drop(client.cancel(job).await.good()),
        "CLAIMED" | "IN_REVIEW" => {
            let ben = app.freelancer("Ben").await;
            let claim = text(&ben.claim(job).await.good(), "/claim/id");
            if status == "IN_REVIEW" {
                ben.submit(&claim).await.good();
            }
        }
        _ => {}
    }
}

/// What the filter says, word by word.
fn matches(filter: &Value, job: &Made) -> bool {
    let list = |name: &str| filter[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let bound = |name: &str| filter["budget"][name].as_str().map(|bound| bound.parse::<f64>().expect("a number"));
    let (statuses, any, all) = (list("status"), list("anySkill"), list("allSkills"));
    let statuses = if statuses.is_empty() { vec!["OPEN"] } else { statuses };
    #[expect(clippy::cast_precision_loss, reason = "a few dollars")]
    let budget = job.budget as f64;
    let later = |posted: chrono::DateTime<chrono::Utc>| {
        filter["postedAfter"]
            .as_str()
            .is_none_or(|after| posted > after.parse::<chrono::DateTime<chrono::Utc>>().expect("a moment"))
    };
    job.posted.is_some_and(later)
        && statuses.contains(&job.status)
        && (any.is_empty() || any.iter().any(|skill| job.skills.contains(skill)))
        && all.iter().all(|skill| job.skills.contains(skill))
        && bound("min").is_none_or(|min| budget >= min)
        && bound("max").is_none_or(|max| budget <= max)
        && filter["clientId"].as_str().is_none_or(|client| client == job.client)
}

/// The values that each condition is tried with; the first means that it is left out.
fn conditions(jobs: &[Made]) -> [(&'static str, Vec<Value>); 6] {
    let usd = |range: Value| {
        let mut range = range;
        range["currencyCode"] = "USD".into();
        range
    };
    let every = json!(["DRAFT", "OPEN", "CLAIMED", "IN_REVIEW", "COMPLETED", "CANCELLED", "EXPIRED", "DISPUTED"]);
    let (exactly, between) =
        (jobs[20].posted, jobs[40].posted.map(|posted| posted + chrono::TimeDelta::microseconds(500)));
    let moment = |moment: Option<chrono::DateTime<chrono::Utc>>| json!(moment.expect("posted").to_rfc3339());
    [
        (
            "status",
            vec![
                Value::Null,
                json!(["OPEN"]),
                json!(["CLAIMED", "CANCELLED"]),
                json!(["IN_REVIEW"]),
                json!(["DRAFT"]),
                json!([]),
                every,
            ],
        ),
        ("anySkill", vec![Value::Null, json!(["rust"]), json!(["react", "rust"]), json!(["translation"]), json!([])]),
        (
            "allSkills",
            vec![Value::Null, json!(["graphql"]), json!(["graphql", "rust"]), json!(["graphql", "graphql"]), json!([])],
        ),
        (
            "budget",
            vec![
                Value::Null,
                usd(json!({})),
                usd(json!({ "min": "20" })),
                usd(json!({ "min": "20.01" })),
                usd(json!({ "max": "30.00" })),
                usd(json!({ "min": "20", "max": "20" })),
                usd(json!({ "min": "0", "max": "9.99" })),
            ],
        ),
        ("clientId", vec![Value::Null, json!(jobs[0].client), json!(jobs[1].client)]),
        (
            "postedAfter",
            vec![
                Value::Null,
                moment(exactly),
                moment(between),
                json!("2000-01-01T00:00:00Z"),
                json!("9999-12-31T23:59:59.999Z"),
                json!("0001-01-01T00:00:00Z"),
            ],
        ),
    ]
}

async fn check(app: &TestApp, jobs: &[Made], filter: &Value) {
    let query = format!(
        "query($filter: JobFilter, $first: Int, $after: String, $last: Int, $before: String) {{ \
         jobs(filter: $filter, first: $first, after: $after, last: $last, before: $before) {{ {PARTS} }} }}"
    );
    let mut expected: Vec<_> = jobs.iter().filter(|job| matches(filter, job)).map(|job| job.id.clone()).collect();
    expected.reverse();
    let list = walk(&app.anonymous(), &query, "/jobs", &json!({ "filter": filter }), 40).await;
    assert_eq!(list, expected, "{filter}");
    let count = "query($filter: JobFilter) { jobs(filter: $filter, first: 1) { totalCount } }";
    let reply = app.anonymous().run(count, json!({ "filter": filter })).await;
    assert_eq!(reply.data()["jobs"]["totalCount"], expected.len(), "{filter}");
}

on_both_clocked! {
    async fn each_condition_means_what_it_says_alone_and_with_others(app: TestApp, clock: Clock) {
        let jobs = made(&app, &clock).await;
        let conditions = conditions(&jobs);
        for (name, values) in &conditions {
            for value in values {
                check(&app, &jobs, &json!({ (*name): value })).await;
            }
        }
        let all: usize = conditions.iter().map(|(_, values)| values.len()).product();
        // Every so-maniest of all combinations; the step shares no factor with their number.
        for combination in (0..all).step_by(211) {
            let mut rest = combination;
            let mut filter = json!({});
            for (name, values) in &conditions {
                filter[*name] = values[rest % values.len()].clone();
                rest /= values.len();
            }
            check(&app, &jobs, &filter).await;
        }
    }

    async fn a_filter_holds_in_every_order(app: TestApp, clock: Clock) {
        let jobs = made(&app, &clock).await;
        let filter = json!({ "status": ["OPEN", "CLAIMED"], "anySkill": ["rust"], "budget": { "currencyCode": "USD", "max": "30" } });
        let mut expected: Vec<_> = jobs.iter().filter(|job| matches(&filter, job)).collect();
        expected.sort_by_key(|job| (job.budget, job.id.clone()));
        let expected: Vec<_> = expected.into_iter().map(|job| job.id.clone()).collect();
        assert!(expected.len() > 5, "enough to be sorted");
        let query = format!(
            "query($filter: JobFilter, $first: Int, $after: String, $last: Int, $before: String) {{ jobs(filter: $filter, \
             orderBy: {{ field: BUDGET, direction: ASC }}, first: $first, after: $after, last: $last, before: $before) {{ {PARTS} }} }}"
        );
        assert_eq!(walk(&app.anonymous(), &query, "/jobs", &json!({ "filter": filter }), 3).await, expected);
    }
}
