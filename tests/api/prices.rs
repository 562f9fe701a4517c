//! What operations cost: what a field does, however small its answer is, and a ceiling over every transport.

use lancewire::clock::Clock;
use reqwest::{
    Method,
    header::{ACCEPT, HeaderMap},
};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp},
        http::Reply,
        people::{Person, text},
        stream::{MULTIPART, SSE, request},
    },
};

/// The page of jobs of docs/api.md, "Limits".
const PAGE: &str = "nodes { id title budget { amount } client { displayName } skills { name } }";

fn left(headers: &HeaderMap) -> i64 {
    headers["ratelimit-remaining"].to_str().expect("a text").parse().expect("a number")
}

/// What a query costs at most, and what was taken for it in the end, for somebody whose budget is full.
async fn cost(who: &Person, query: &str) -> (i64, i64) {
    let before = left(&who.run("{ streamCursor }", json!({})).await.headers);
    let reply = who.run(&format!("{{ rateLimit {{ cost }} {query} }}"), json!({})).await;
    let most = reply.data()["rateLimit"]["cost"].as_i64().expect("a number");
    (most, before - left(&reply.headers))
}

on_both! {
    with "[budgets]\nanonymous = 100000\nsigned_in = 1000";
    async fn counts_searches_and_rankings_cost_what_they_take_however_little_they_find(app: TestApp) {
        let twenty_nine = |of: &str| (0..29).map(|number| format!("a{number}: {of} ")).collect::<String>();
        let ranked = "query: \"nothing\", orderBy: { field: RELEVANCE, direction: DESC }";
        for (query, most, least) in [
            // Two points for the page and the budget, and 29 times ten for the counts; twice that for a search, and for its page.
            (format!("jobs(first: 1) {{ {} }}", twenty_nine("totalCount")), 292, 292),
            (format!("jobs(first: 1, query: \"nothing\") {{ {} }}", twenty_nine("totalCount")), 592, 592),
            (format!("jobs(first: 1, filter: {{ query: \"nothing\" }}) {{ {} }}", twenty_nine("totalCount")), 592, 592),
            (format!("jobs(first: 1, filter: {{ anySkill: [] }}) {{ {} }}", twenty_nine("totalCount")), 292, 292),
            // Two points for the field and the budget, and five to complete.
            ("searchSuggestions(prefix: \"nothing\", first: 1) { text }".to_owned(), 7, 6),
            (format!("jobs(first: 20) {{ {PAGE} }}"), 89, 2),
            (format!("jobs(first: 20) {{ totalCount {PAGE} }}"), 99, 12),
            (format!("jobs(first: 20, {ranked}) {{ totalCount {PAGE} }}"), 139, 52),
        ] {
            let (cost, charged) = cost(&app.freelancer("Ben").await, &query).await;
            assert_eq!(cost, most, "{query}");
            // Sixteen points come back each second while it runs.
            assert!((least - 50..=least + 1).contains(&charged), "{charged} for {query}");
        }
    }

    async fn an_operation_over_the_ceiling_is_refused_over_every_transport(app: TestApp) {
        let ada = app.client("Ada").await;
        let job = "title ".repeat(10) + &"description ".repeat(20);
        let ids = (0..100).map(|number| format!("\"job_{number}\"")).collect::<Vec<_>>().join(" ");
        let query = format!("{{ nodes(ids: [{ids}]) {{ ... on Job {{ {job} }} }} }}");
        let counts = (0..30).map(|number| format!("a{number}: totalCount ")).collect::<String>();
        let list = format!("postedJobs(first: 100) {{ {counts} nodes {{ {job} }} }}");
        let event = format!("subscription {{ jobPosted {{ job {{ client {{ {list} }} }} }} }}");
        for (what, query) in [("values in bulk", query.as_str()), ("an event", event.as_str())] {
            let refused = |error: &Value| {
                assert_eq!(error["extensions"]["code"], "OPERATION_TOO_COMPLEX", "{what}: {error}");
                assert_eq!(error["extensions"]["limit"], 2_000, "{what}: {error}");
            };
            let reply = ada.run(query, json!({})).await;
            refused(reply.at("/errors/0"));
            let url = format!("/graphql?{}", encoded(query));
            let by_get = app.http.request(Method::GET, &url).header(ACCEPT, "application/graphql-response+json");
            refused(Reply::of(by_get).await.at("/errors/0"));
            let socket = ada.socket().await;
            let id = socket.subscribe(query, json!({}));
            refused(&socket.error(&id).await[0]);
            for accept in [SSE, MULTIPART] {
                let reply = Reply::of(request(&ada.http, accept, ada.token.as_deref(), query, json!({}))).await;
                let text = reply.body.to_string();
                assert!(text.contains("OPERATION_TOO_COMPLEX") && text.contains("the limit is 2000"), "{what}: {text}");
            }
        }
    }
}

fn encoded(query: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish()
}

/// What a front end asks for in a minute fits many times into the smallest budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_minute_is_far_within_the_budget_of_an_address() {
    let app = TestApp::start_with(Database::Sqlite, "[budgets]\nanonymous = 1000", Clock::system()).await;
    let ada = app.client("Ada").await;
    for number in 0..20 {
        ada.post_job(&format!("Garden {number}")).await;
    }
    let anonymous = app.anonymous();
    let before = left(&anonymous.run("{ streamCursor }", json!({})).await.headers);
    let feed =
        format!("{{ streamCursor jobs(first: 20) {{ totalCount {PAGE} pageInfo {{ hasNextPage endCursor }} }} }}");
    let reply = anonymous.run(&feed, json!({})).await;
    let id = text(reply.data(), "/jobs/nodes/0/id");
    let detail =
        format!("{{ job(id: \"{id}\") {{ id title description status client {{ displayName skills {{ name }} }} }} }}");
    let search = "orderBy: { field: RELEVANCE, direction: DESC }, query: \"garden\"";
    let search = format!("{{ jobs(first: 20, {search}) {{ totalCount {PAGE} }} }}");
    for query in [&detail, &search, &detail] {
        anonymous.run(query, json!({})).await.data();
    }
    let spent = before - left(&anonymous.run("{ streamCursor }", json!({})).await.headers);
    assert!((100..300).contains(&spent), "{spent} points for a feed, a search and two jobs");
    app.finish().await;
}
