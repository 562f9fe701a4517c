//! Search: words of title and description, all of which must be there, in jobs that the filter lets through.

use serde_json::{Value, json};

use crate::{
    on_both,
    support::people::{Person, new_job, text},
};

async fn post(ada: &Person, title: &str, description: &str) -> String {
    let mut job = new_job(title, "10.00");
    job["description"] = description.into();
    text(&ada.post(job).await.good(), "/job/id")
}

/// Titles in the order found; the total must agree.
async fn found(who: &Person, arguments: &str) -> Vec<String> {
    let query = format!("{{ jobs(first: 50, {arguments}) {{ totalCount nodes {{ title }} }} }}");
    let reply = who.run(&query, json!({})).await;
    let nodes = reply.data()["jobs"]["nodes"].as_array().expect("a list");
    assert_eq!(reply.data()["jobs"]["totalCount"], nodes.len(), "{arguments}");
    nodes.iter().map(|node| text(node, "/title")).collect()
}

on_both! {
    async fn all_words_must_be_in_title_or_description(app: TestApp) {
        let ada = app.client("Ada").await;
        post(&ada, "Garden plan", "Draw beds for roses and kale.").await;
        post(&ada, "Kale soup", "Write a recipe.\n\nWith a garden photo.").await;
        post(&ada, "Violin lessons", "Für Anfänger in Kraków, 2 hours; roses welcome.").await;
        for (words, expected) in [
            ("kale", vec!["Kale soup", "Garden plan"]),
            ("KALE", vec!["Kale soup", "Garden plan"]),
            ("garden kale", vec!["Kale soup", "Garden plan"]),
            ("kale garden", vec!["Kale soup", "Garden plan"]),
            ("garden plan kale", vec!["Garden plan"]),
            ("garden violin", vec![]),
            ("recipe", vec!["Kale soup"]),
            ("roses", vec!["Violin lessons", "Garden plan"]),
            ("anfänger", vec!["Violin lessons"]),
            ("Kraków 2", vec!["Violin lessons"]),
            ("kal", vec![]),
            ("gard", vec![]),
            ("photo photo photo", vec!["Kale soup"]),
            ("rust", vec![]),
            ("Ada", vec![]),
        ] {
            assert_eq!(found(&app.anonymous(), &format!("query: {words:?}")).await, expected, "{words}");
        }
        for word in ["lesson", "lessons", "writing", "recipes"] {
            assert_eq!(found(&app.anonymous(), &format!("query: {word:?}")).await.len(), 1, "{word}: the stem counts");
        }
    }

    async fn a_search_follows_the_job_through_its_life(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = post(&ada, "Garden plan", "Draw beds.").await;
        let anonymous = app.anonymous();
        assert_eq!(found(&anonymous, "query: \"garden\"").await, ["Garden plan"]);
        ada.update(&job, json!({ "title": "Balcony plan" })).await.good();
        assert!(found(&anonymous, "query: \"garden\"").await.is_empty(), "the old title is forgotten");
        assert_eq!(found(&anonymous, "query: \"balcony\"").await, ["Balcony plan"]);
        ada.update(&job, json!({ "description": "Draw pots." })).await.good();
        assert_eq!(found(&anonymous, "query: \"balcony pots\"").await, ["Balcony plan"]);
        assert!(found(&anonymous, "query: \"beds\"").await.is_empty());

        let draft = text(&ada.draft(new_job("Balcony secret", "10.00")).await.good(), "/job/id");
        for status in ["", ", filter: { status: [DRAFT, OPEN, CANCELLED] }"] {
            let words = format!("query: \"balcony\"{status}");
            assert_eq!(found(&ada, &words).await, ["Balcony plan"], "a draft is in no feed, not even its author's");
        }
        ada.cancel(&draft).await.good();
        assert!(found(&ada, "query: \"secret\", filter: { status: [CANCELLED] }").await.is_empty(), "it never was public");

        ben.claim(&job).await.good();
        assert!(found(&anonymous, "query: \"balcony\"").await.is_empty(), "OPEN unless told otherwise");
        assert_eq!(found(&anonymous, "query: \"balcony\", filter: { status: [CLAIMED] }").await, ["Balcony plan"]);
    }

    async fn relevance_puts_hits_in_the_title_first(app: TestApp) {
        let ada = app.client("Ada").await;
        post(&ada, "Kale soup", "Something with leaves.").await;
        post(&ada, "Leafy soup", "Something with kale.").await;
        post(&ada, "Other soup", "Something with leaves.").await;
        let best = "query: \"kale\", orderBy: { field: RELEVANCE, direction: DESC }";
        assert_eq!(found(&app.anonymous(), best).await, ["Kale soup", "Leafy soup"]);
        let worst = "query: \"kale\", orderBy: { field: RELEVANCE, direction: ASC }";
        assert_eq!(found(&app.anonymous(), worst).await, ["Leafy soup", "Kale soup"]);
        let newest = "query: \"kale\"";
        assert_eq!(found(&app.anonymous(), newest).await, ["Leafy soup", "Kale soup"], "by date unless told otherwise");
    }

    async fn a_search_is_filtered_and_sorted_like_any_list(app: TestApp) {
        let (ada, bob) = (app.client("Ada").await, app.client("Bob").await);
        for (client, title, budget, skill) in [
            (&ada, "Soup one", "30.00", "rust"), (&bob, "Soup two", "10.00", "react"), (&ada, "Soup three", "20.00", "react"), (&ada, "Bread", "5.00", "react"),
        ] {
            let mut job = new_job(title, budget);
            job["skills"] = json!([skill]);
            client.post(job).await.good();
        }
        let by_budget = "orderBy: { field: BUDGET, direction: ASC }";
        let anonymous = app.anonymous();
        assert_eq!(found(&anonymous, &format!("query: \"soup\", {by_budget}")).await, ["Soup two", "Soup three", "Soup one"]);
        assert_eq!(found(&anonymous, &format!("query: \"soup\", {by_budget}, filter: {{ anySkill: [\"react\"] }}")).await, ["Soup two", "Soup three"]);
        let of_ada = format!("query: \"soup\", {by_budget}, filter: {{ clientId: \"{}\" }}", ada.id);
        assert_eq!(found(&anonymous, &of_ada).await, ["Soup three", "Soup one"]);
        let reply = anonymous.run("{ jobs(query: \"soup\", first: 1) { totalCount nodes { title } pageInfo { hasNextPage } } }", json!({})).await;
        let expected: Value = json!({ "totalCount": 3, "nodes": [{ "title": "Soup three" }], "pageInfo": { "hasNextPage": true } });
        assert_eq!(reply.data()["jobs"], expected, "the total is of the list, not of the page");
    }
}
