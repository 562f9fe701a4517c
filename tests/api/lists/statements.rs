//! What a page costs in SQL: as many statements for a hundred rows as for twenty.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{Person, money, new_job, text},
    },
};

/// How many statements a query takes, the one that looks at the session included, and how many rows it gave.
async fn cost(app: &TestApp, who: &Person, query: &str, place: &str) -> (u64, usize) {
    let (mut least, mut rows) = (u64::MAX, 0);
    // The log is read in the background, which adds to the count now and then and never takes from it.
    for _ in 0..7 {
        let before = app.app.db.statements();
        let reply = who.run(query, json!({})).await;
        least = least.min(app.app.db.statements() - before);
        rows = reply.data().pointer(place).and_then(Value::as_array).expect("rows").len();
    }
    (least, rows)
}

/// Runs a query for 20 rows and for 100, whose cost must be the same, and returns it.
async fn steady_cost(app: &TestApp, who: &Person, query: &str, place: &str) -> u64 {
    let (few, twenty) = cost(app, who, &query.replace("SIZE", "20"), place).await;
    let (many, hundred) = cost(app, who, &query.replace("SIZE", "100"), place).await;
    assert_eq!((twenty, hundred), (20, 100), "there are enough rows: {query}");
    assert_eq!(few, many, "the count does not grow with the page: {query}");
    many
}

/// A signed-in caller's session is looked at once for each request.
const SESSION: u64 = 1;

on_both! {
    async fn a_page_of_jobs_costs_six_statements(app: TestApp) {
        let clients = [app.client("Ada").await, app.client("Bob").await, app.client("Cleo").await];
        let mut jobs = Vec::new();
        for number in 0..110 {
            let skill = if number % 2 == 0 { "rust" } else { "react" };
            let mut job = new_job(&format!("Job {number}"), "10.00");
            job["skills"] = json!([skill, "graphql"]);
            jobs.push(text(&clients[number % 3].post(job).await.good(), "/job/id"));
        }
        for five in jobs.rchunks(5).take(10) {
            let ben = app.freelancer("Ben").await;
            for job in five {
                ben.claim(job).await.good();
            }
        }
        let query = "{ jobs(first: SIZE, filter: { status: [OPEN, CLAIMED] }) { totalCount nodes { title client { displayName } \
                     skills { slug } activeClaim { status freelancer { displayName } } escrow { amount } } } }";
        // The page, the total, clients, skills, live claims, their freelancers.
        let statements = steady_cost(&app, &app.admin().await, query, "/jobs/nodes").await;
        assert!(statements <= 6 + SESSION, "{statements} statements");
        // Who may not see claims does not pay for them.
        let statements = steady_cost(&app, &app.anonymous(), query, "/jobs/nodes").await;
        assert!(statements <= 4, "{statements} statements");
        let searched = query.replace("jobs(", "jobs(query: \"job\", orderBy: { field: RELEVANCE, direction: DESC }, ");
        // The window is ranked first and read then.
        let statements = steady_cost(&app, &app.anonymous(), &searched, "/jobs/nodes").await;
        assert!(statements <= 5, "{statements} statements");
    }

    async fn a_page_of_claims_costs_six_statements(app: TestApp) {
        let clients = [app.client("Ada").await, app.client("Bob").await, app.client("Cleo").await];
        let ben = app.freelancer("Ben").await;
        for number in 0..100 {
            let job = text(&clients[number % 3].post_job(&format!("Job {number}")).await, "/id");
            let claim = text(&ben.claim(&job).await.good(), "/claim/id");
            // Five may be live at a time.
            if number < 96 {
                ben.release(&claim).await.good();
            }
        }
        let fields = "status job { title client { displayName } skills { slug } } freelancer { displayName }";
        // The page, the total, freelancers, jobs, clients, skills.
        let query = format!("{{ claims(first: SIZE) {{ totalCount nodes {{ {fields} }} }} }}");
        let statements = steady_cost(&app, &ben, &query, "/claims/nodes").await;
        assert!(statements <= 6 + SESSION, "{statements} statements");
        // The viewer in place of the total.
        let query = format!("{{ viewer {{ claims(first: SIZE) {{ nodes {{ {fields} }} }} }} }}");
        let statements = steady_cost(&app, &ben, &query, "/viewer/claims/nodes").await;
        assert!(statements <= 6 + SESSION, "{statements} statements");
    }

    async fn a_page_of_transactions_costs_no_more_for_its_jobs(app: TestApp) {
        let ada = app.client("Ada").await;
        for number in 0..60 {
            let job = text(&ada.post_job(&format!("Job {number}")).await, "/id");
            ada.update(&job, json!({ "budget": money("20.00") })).await.good();
        }
        let fields = "type amount { amount } reverses { id } job { title skills { slug } client { displayName } }";
        // The wallet, the page, jobs, skills, clients.
        let query = format!("{{ wallet {{ transactions(first: SIZE) {{ nodes {{ {fields} }} }} }} }}");
        let statements = steady_cost(&app, &ada, &query, "/wallet/transactions/nodes").await;
        assert!(statements <= 5 + SESSION, "{statements} statements");
        let query = format!("{{ transactions(first: SIZE) {{ nodes {{ {fields} }} }} }}");
        let statements = steady_cost(&app, &app.admin().await, &query, "/transactions/nodes").await;
        assert!(statements <= 4 + SESSION, "{statements} statements");
    }
}

on_both! {
    // The log is not looked at unless something was committed: what a query takes is counted alone.
    with "[events]\npoll_ms = 60000";
    async fn a_hundred_objects_of_a_kind_cost_as_many_statements_as_one(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await.funded("90000.00").await, app.freelancer("Ben").await);
        let admin = app.admin().await;
        for number in 0..100 {
            let job = text(&ada.post(new_job(&format!("Job {number}"), "10.00")).await.good(), "/job/id");
            let claim = text(&ben.claim(&job).await.good(), "/claim/id");
            let deliverable = text(&ben.submit(&claim).await.good(), "/deliverable/id");
            ada.approve(&deliverable).await.good();
        }
        let people = join_all((0..98).map(|number| {
            let app = &app;
            async move { app.freelancer(&format!("Person{number}")).await.id }
        }));
        let users: Vec<String> = people.await.into_iter().chain([ada.id.clone(), ben.id.clone()]).collect();
        let of = async |who: &Person, query: &str, place: &str| -> Vec<String> {
            let reply = who.run(query, json!({})).await;
            let rows = reply.data().pointer(place).and_then(Value::as_array).expect("rows").clone();
            rows.iter().map(|row| text(row, "/id")).collect()
        };
        let jobs = of(&admin, "{ jobs(first: 100, filter: { status: [COMPLETED] }) { nodes { id } } }", "/jobs/nodes").await;
        let claims = of(&ben, "{ claims(first: 100) { nodes { id } } }", "/claims/nodes").await;
        let transactions = of(&ben, "{ wallet { transactions(first: 100) { nodes { id } } } }", "/wallet/transactions/nodes").await;
        let inbox = "{ viewer { notifications(first: 100) { nodes { id } } } }";
        let notifications = of(&ada, inbox, "/viewer/notifications/nodes").await;
        let query = "{ jobs(first: 100, filter: { status: [COMPLETED] }) { nodes { deliverables(first: 1) { nodes { id } } } } }";
        let reply = admin.run(query, json!({})).await;
        let rows = reply.data()["jobs"]["nodes"].as_array().expect("rows").clone();
        let deliverables: Vec<String> = rows.iter().map(|row| text(row, "/deliverables/nodes/0/id")).collect();
        let wallets: Vec<String> = users.iter().map(|user| user.replace("user_", "wallet_")).collect();
        let skills = of(&ada, "{ skills(first: 100) { id } }", "/skills").await;

        let cost = async |fields: &str, ids: &[String]| {
            let query = format!("query ($ids: [ID!]!) {{ nodes(ids: $ids) {{ id {fields} }} }}");
            let mut least = u64::MAX;
            for _ in 0..5 {
                let before = app.app.db.statements();
                let reply = admin.run(&query, json!({ "ids": ids })).await;
                least = least.min(app.app.db.statements() - before);
                let nodes = reply.data()["nodes"].as_array().expect("rows").clone();
                assert!(nodes.iter().all(|node| node["id"].is_string()), "{fields}: {reply}");
            }
            least - SESSION
        };
        for (kind, ids, fields, most) in [
            ("users", &users, "... on User { displayName email skills { slug } wallet { available { amount } } }", 5),
            (
                "lists of users",
                &users,
                "... on User { postedJobs(first: 2) { nodes { title } } claims(first: 2) { nodes { status } } \
                 notifications(first: 2) { nodes { title } } }",
                4,
            ),
            ("skills", &skills, "... on Skill { slug }", 1),
            ("jobs", &jobs, "... on Job { client { displayName } activeClaim { id } }", 3),
            ("lists of jobs", &jobs, "... on Job { deliverables(first: 2) { nodes { note } } }", 3),
            ("claims", &claims, "... on Claim { status job { title } freelancer { displayName } }", 4),
            ("deliverables", &deliverables, "... on Deliverable { note claim { status } }", 4),
            ("wallets", &wallets, "... on Wallet { available { amount } owner { displayName } }", 3),
            ("lists of wallets", &wallets, "... on Wallet { transactions(last: 2) { nodes { amount { amount } } } }", 3),
            ("transactions", &transactions, "... on Transaction { amount { amount } job { title } }", 2),
            ("notifications", &notifications, "... on Notification { actor { displayName } subject { id } }", 7),
        ] {
            assert!(kind == "skills" || ids.len() == 100, "{kind}: {}", ids.len());
            let (one, all) = (cost(fields, &ids[..1]).await, cost(fields, ids).await);
            // Whether a wallet was ever touched, or a notification is of one kind, decides on a statement more.
            assert!(all <= most, "{kind}: {one} statements for one, {all} for {}", ids.len());
        }
        let mixed: Vec<String> = [&users, &jobs, &claims, &deliverables, &wallets, &transactions, &notifications]
            .iter()
            .flat_map(|ids| ids.iter().take(14).cloned())
            .collect();
        let all = cost("", &mixed).await;
        assert!(all <= 12, "{all} statements for {} of every kind", mixed.len());
    }
}
