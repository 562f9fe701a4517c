//! What a search finds, and in which order.

use std::slice;

use serde_json::json;

use super::{BEST, INDEXED, find, post, suggested, understood};
use crate::{
    on_both,
    support::people::{new_job, text},
};

on_both! {
    with INDEXED;

    async fn words_are_found_as_people_type_them(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        for (title, words) in [
            ("ロゴ設計の依頼です", vec!["ロゴ", "設計", "依頼"]),
            ("中文网站开发", vec!["网站", "开发"]),
            ("Reactでアプリ開発", vec!["React", "アプリ"]),
            ("แปลเอกสารภาษาไทย", vec!["เอกสาร"]),
            ("대한민국민국어", vec!["민국"]),
            ("Café résumé naïve", vec!["cafe", "resume", "naive", "CAFE", "café résumé"]),
            ("tiếng Việt", vec!["tieng", "viet"]),
            ("Ångström über São", vec!["angstrom", "uber", "sao"]),
            ("İstanbul", vec!["istanbul", "ISTANBUL"]),
            ("Full–stack e‑mail “quoted” ＦＵＬＬ", vec!["full-stack", "fullstack", "email", "e-mail", "\"full stack\"", "quot"]),
            ("Lessons for writers", vec!["lesson", "lessons", "writ", "\"lessons for\"", "lessons -teachers"]),
        ] {
            let job = post(&ada, title, "Plain words.").await;
            for word in words {
                for order in ["", BEST] {
                    assert!(find(&ada, word, order).await.contains(&job), "{word} finds {title}{order}");
                }
            }
        }
        assert!(find(&ada, "\"for lessons\"", "").await.is_empty());
        assert!(find(&ada, "lessons -writers", "").await.is_empty());
    }

    async fn lists_by_skill_are_read_from_the_index_in_every_order(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let mut jobs = Vec::new();
        for (number, skills) in [json!(["rust"]), json!(["rust", "graphql"]), json!(["graphql"])].into_iter().enumerate() {
            let mut job = new_job(&format!("Job {number}"), &format!("{}.00", 9 - number));
            job["skills"] = skills;
            jobs.push(text(&ada.post(job).await.good(), "/job/id"));
        }
        let [rust, both, graphql] = [0, 1, 2].map(|place: usize| jobs[place].clone());
        let list = async |filter: &str, order: &str| find(&ada, "", &format!(", filter: {{ {filter} }}{order}")).await;
        let any = r#"anySkill: ["rust"]"#;
        assert_eq!(list(any, "").await, [both.clone(), rust.clone()], "one's own are there at once, newest first");
        assert_eq!(list(r#"allSkills: ["rust", "graphql"]"#, "").await, slice::from_ref(&both));
        let cheapest = ", orderBy: { field: BUDGET, direction: ASC }";
        assert_eq!(list(r#"anySkill: ["rust", "graphql"]"#, cheapest).await, [graphql, both.clone(), rust.clone()]);
        let page = r#"query($after: String) { jobs(first: 1, after: $after, filter: { anySkill: ["rust"] }) {
            nodes { id } pageInfo { endCursor hasNextPage } } }"#;
        let first = ada.run(page, json!({})).await.data()["jobs"].clone();
        assert_eq!((text(&first, "/nodes/0/id"), &first["pageInfo"]["hasNextPage"]), (both.clone(), &json!(true)));
        let rest = ada.run(page, json!({ "after": first["pageInfo"]["endCursor"] })).await.data()["jobs"].clone();
        assert_eq!((text(&rest, "/nodes/0/id"), &rest["pageInfo"]["hasNextPage"]), (rust.clone(), &json!(false)));
        ada.cancel(&both).await.good();
        assert_eq!(list(any, "").await, slice::from_ref(&rust));

        // By the back door, of which the index hears nothing: so it was asked, and not the database.
        let change = |from: &str, to: &str| {
            let of = |slug: &str| format!("(SELECT id FROM skills WHERE slug = '{slug}')");
            format!("UPDATE job_skills SET skill_id = {} WHERE skill_id = {}", of(to), of(from))
        };
        app.db_run(&change("rust", "python")).await;
        assert_eq!(list(any, "").await, [rust]);
        app.db_run(&change("python", "rust")).await;
    }

    async fn symbols_tell_languages_apart(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let names = ["C++", "C#", "C", "F#", ".NET", "Node.js"];
        let mut jobs = Vec::new();
        for name in names {
            jobs.push(post(&ada, &format!("tag {name} developer"), "Plain words.").await);
        }
        for (word, expected) in names.into_iter().zip(0..).chain([("node", 5), ("nodejs", 5), ("NODE.JS", 5)]) {
            assert_eq!(find(&ada, &format!("tag {word}"), "").await, slice::from_ref(&jobs[expected]), "{word}");
        }
    }

    async fn hits_in_the_title_come_first_and_pages_go_on_when_their_edge_has_left(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let text_only = post(&ada, "Leafy soup", "Something with kale.").await;
        let mut jobs = Vec::new();
        for number in 0..9 {
            jobs.push(post(&ada, &format!("Kale soup {number}"), &"kale ".repeat(1 + number % 4)).await);
        }
        let all = find(&ada, "kale", BEST).await;
        assert_eq!((all.len(), all.last()), (10, Some(&text_only)));
        let page = async |argument: &str| {
            let query = format!("{{ jobs(query: \"kale\"{BEST}, {argument}) {{ edges {{ cursor node {{ id }} }} pageInfo {{ hasNextPage hasPreviousPage }} }} }}");
            let reply = ada.run(&query, json!({})).await;
            let edges = reply.data()["jobs"]["edges"].as_array().expect("edges").clone();
            let ids: Vec<String> = edges.iter().map(|edge| text(edge, "/node/id")).collect();
            (ids, edges.first().map(|edge| text(edge, "/cursor")), edges.last().map(|edge| text(edge, "/cursor")))
        };
        let (mut read, mut end) = page("first: 3").await.clone_ends();
        while let Some(cursor) = end {
            let (ids, next) = page(&format!("first: 3, after: \"{cursor}\"")).await.clone_ends();
            read.extend(ids);
            end = next;
        }
        assert_eq!(read, all, "page by page");
        let (last, start, _) = page("last: 3").await;
        assert_eq!(last, all[7..], "from the end");
        let (before, ..) = page(&format!("last: 3, before: \"{}\"", start.expect("a cursor"))).await;
        assert_eq!(before, all[4..7]);

        let (first, _, end) = page("first: 3").await;
        let end = end.expect("a cursor");
        ada.cancel(&first[2]).await.good();
        assert_eq!(page(&format!("first: 3, after: \"{end}\"")).await.0, all[3..6], "the edge has left");
        let other = format!("{{ jobs(query: \"kale\", first: 3, after: \"{end}\") {{ totalCount }} }}");
        assert_eq!(ada.run(&other, json!({})).await.code(), "BAD_USER_INPUT", "a cursor of another order");
    }

    async fn every_filter_and_order_holds_with_words(app: TestApp) {
        let (ada, bob) = (app.client("Ada").await, app.client("Bob").await);
        app.searchable().await;
        let mut ids = Vec::new();
        for (client, title, budget, skill) in [
            (&ada, "Soup one", "30.00", "rust"), (&bob, "Soup two", "70.00", "react"), (&ada, "Soup three", "20.00", "react"), (&ada, "Bread", "5.00", "react"),
        ] {
            let mut job = new_job(title, budget);
            job["skills"] = json!([skill]);
            ids.push(text(&client.post(job).await.good(), "/job/id"));
        }
        app.searchable().await;
        let of = |places: &[usize]| places.iter().map(|place| ids[*place].clone()).collect::<Vec<_>>();
        let who = app.anonymous();
        for (field, ascending) in [("POSTED_AT", [0, 1, 2]), ("BUDGET", [2, 0, 1]), ("DEADLINE", [0, 1, 2])] {
            for (direction, backwards) in [("ASC", false), ("DESC", true)] {
                let mut expected = of(&ascending);
                if backwards {
                    expected.reverse();
                }
                let order = format!(", orderBy: {{ field: {field}, direction: {direction} }}");
                assert_eq!(find(&who, "soup", &order).await, expected, "{order}");
            }
        }
        for (filter, expected) in [
            ("anySkill: [\"react\"]".to_owned(), vec![2, 1]),
            ("allSkills: [\"react\"]".to_owned(), vec![2, 1]),
            ("anySkill: [\"react\", \"rust\"]".to_owned(), vec![2, 1, 0]),
            (format!("clientId: \"{}\"", ada.id), vec![2, 0]),
            ("budget: { currencyCode: \"USD\", min: \"20.01\", max: \"70.00\" }".to_owned(), vec![1, 0]),
            ("status: [CLAIMED]".to_owned(), vec![]),
            ("postedAfter: \"2999-01-01T00:00:00Z\"".to_owned(), vec![]),
        ] {
            assert_eq!(find(&who, "soup", &format!(", filter: {{ {filter} }}")).await, of(&expected), "{filter}");
        }
        let query = "{ jobs(query: \"soup\", first: 1) { totalCount facets { skills { skill { slug } count } budgets { from { amount } to { amount } count } } } }";
        let reply = who.run(query, json!({})).await;
        let facets = &reply.data()["jobs"]["facets"];
        assert_eq!(facets["skills"], json!([{ "skill": { "slug": "react" }, "count": 2 }, { "skill": { "slug": "rust" }, "count": 1 }]));
        assert_eq!(facets["budgets"][0], json!({ "from": { "amount": "0.00" }, "to": { "amount": "50.00" }, "count": 2 }));
        assert_eq!(facets["budgets"][1]["count"], 1);
        let reply = who.run("{ jobs(first: 1, filter: { anySkill: [\"rust\"] }) { facets { skills { count } } } }", json!({})).await;
        assert_eq!(reply.data()["jobs"]["facets"]["skills"], json!([{ "count": 1 }]), "without words too");
    }

    async fn typing_errors_are_forgiven_and_told(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let job = post(&ada, "Translation of a manual", "From Czech.").await;
        for (typed, meant) in [("trnaslation", "translation"), ("translaton", "translation"), ("manaul", "manual")] {
            assert_eq!(find(&ada, typed, "").await, slice::from_ref(&job), "{typed}");
            assert_eq!(understood(&ada, typed).await, json!({ "problem": null, "corrections": [{ "typed": typed, "meant": meant }] }));
        }
        assert_eq!(understood(&ada, "translation").await["corrections"], json!([]));
        assert!(find(&ada, "czeh", "").await.is_empty(), "too short to guess");
        assert!(find(&ada, "\"trnaslation of\"", "").await.is_empty(), "quotes are meant");
    }

    async fn suggestions_are_of_skills_and_titles_that_are_public(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let mut job = new_job("Rustic kitchen plan", "1.00");
        job["skills"] = json!(["rust"]);
        let job = text(&ada.post(job).await.good(), "/job/id");
        post(&ada, "A plan for rust removal", "Plain words.").await;
        ada.draft(new_job("Rust secret", "1.00")).await.good();
        app.searchable().await;
        let who = app.anonymous();
        assert_eq!(suggested(&who, "rus").await, ["Rust", "Rustic kitchen plan", "A plan for rust removal"]);
        assert_eq!(suggested(&who, "kitchne").await, ["Rustic kitchen plan"], "with a typing error");
        assert!(suggested(&who, "  ?").await.is_empty());
        for first in [-1, 0, 11] {
            let query = format!("{{ searchSuggestions(prefix: \"rus\", first: {first}) {{ text }} }}");
            let refused = who.run(&query, json!({})).await;
            assert_eq!(refused.code(), "BAD_USER_INPUT", "{refused}");
            assert!(text(&refused.body, "/errors/0/message").contains("first must be between 1 and 10"), "{refused}");
        }
        ada.cancel(&job).await.good();
        app.searchable().await;
        assert!(!suggested(&who, "rustic").await.contains(&"Rustic kitchen plan".to_owned()));
    }

    async fn what_is_no_word_finds_nothing_and_says_why(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        let job = post(&ada, "Plain job", "Plain words.").await;
        for nothing in ["%", "\"", "()", "-plain", "🦊", "-- ;", "'"] {
            assert!(find(&ada, nothing, "").await.is_empty(), "{nothing}");
            assert!(understood(&ada, nothing).await["problem"].is_string(), "{nothing}");
        }
        for all in ["", "   "] {
            assert_eq!(find(&ada, all, "").await, slice::from_ref(&job));
            assert_eq!(understood(&ada, all).await, json!(null));
        }
        for odd in ["p", "שלום عربي", "plain )(*&^:{}[]~!", "/^pla.n$/", "plain \u{202B}", "title:plain", "NOT plain OR"] {
            let reply = ada.run("query($q: String) { jobs(query: $q, first: 5) { nodes { id } } }", json!({ "q": odd })).await;
            assert!(reply.body["errors"].is_null() || reply.code() == "BAD_USER_INPUT", "{odd}: {reply}");
        }
        let many = (0..50).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ");
        for bad in [many, "word ".repeat(10_000), "plain\u{0}".to_owned()] {
            let reply = ada.run("query($q: String) { jobs(query: $q, first: 5) { nodes { id } } }", json!({ "q": bad })).await;
            assert_eq!(reply.code(), "BAD_USER_INPUT", "{reply}");
        }
    }
}

/// The rows of a page and its last cursor.
trait Ends {
    fn clone_ends(self) -> (Vec<String>, Option<String>);
}

impl Ends for (Vec<String>, Option<String>, Option<String>) {
    fn clone_ends(self) -> (Vec<String>, Option<String>) {
        (self.0, self.2)
    }
}
