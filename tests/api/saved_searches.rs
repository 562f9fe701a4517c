//! A saved search is a subscription: `filter.query` of `jobPosted` and `jobUpdated` lets the same jobs through as a search
//! finds, live and in a replay, over every transport.

use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        people::{Person, new_job, text},
        socket::{Socket, Subscription},
        stream::{MULTIPART, SSE, Stream, request},
    },
};

const DOCUMENTATION: &str = include_str!("../../docs/search.md");
const POSTED: &str = "subscription($filter: JobFilter, $after: String) { jobPosted(filter: $filter, after: $after) { cursor job { title } } }";
const UPDATED: &str = "subscription($filter: JobFilter, $mine: Boolean, $after: String) \
                       { jobUpdated(filter: $filter, mine: $mine, after: $after) { cursor job { title } } }";

fn query(words: &str) -> Value {
    json!({ "filter": { "query": words } })
}

async fn title(socket: &Socket, feed: &Subscription) -> String {
    let event = socket.next(feed).await;
    let event = &event["data"];
    let event = if event["jobPosted"].is_null() { &event["jobUpdated"] } else { &event["jobPosted"] };
    text(event, "/job/title")
}

async fn describes(person: &Person, title: &str, description: &str) -> String {
    let mut job = new_job(title, "10.00");
    job["description"] = description.into();
    text(&person.post(job).await.good(), "/job/id")
}

on_both! {
    with "[sockets]\noperations_per_socket = 1000\nmessages_per_minute = 100000";
    async fn each_saved_search_hears_what_a_search_would_find(app: TestApp) {
        let ada = app.client("Ada").await;
        let socket = app.socket(None).await;
        let jobs = [
            ("Café résumé naïve", "Words with accents."),
            ("C++ developer", "For a plugin."),
            ("Developer wanted", "Knows C# and Node.js."),
            ("ロゴ設計の依頼です", "A logo."),
            ("Full‑stack lessons", "Teach me."),
            ("The end", "One search is told of this one by its label."),
        ];
        // What is looked for, and which of the jobs it lets through.
        let searches: &[(&str, &[usize])] = &[
            ("cafe", &[0]),
            ("RESUME naive", &[0]),
            ("c++", &[1]),
            ("developer", &[1, 2]),
            ("developer -plugin", &[2]),
            ("C#", &[2]),
            ("node", &[2]),
            ("\"developer wanted\"", &[2]),
            ("\"wanted developer\"", &[]),
            ("設計", &[3]),
            ("fullstack lesson", &[4]),
            ("less", &[4]),
            ("for", &[1]),
            ("nothing of the kind", &[]),
        ];
        // Events come in order, also across the subscriptions of a socket: after the last one nothing earlier is to come.
        let end = jobs.len() - 1;
        let start = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let feeds: Vec<_> = searches.iter().map(|(words, _)| socket.subscribe(POSTED, query(words))).collect();
        let last = socket.subscribe(POSTED, query("label"));
        app.listening(searches.len() + 1).await;
        for (title, description) in jobs {
            describes(&ada, title, description).await;
        }
        assert_eq!(title(&socket, &last).await, jobs[end].0);
        for ((words, found), feed) in searches.iter().zip(&feeds) {
            for job in *found {
                assert_eq!(title(&socket, feed).await, jobs[*job].0, "{words}");
            }
            assert_eq!(socket.unread(feed), 0, "{words}");
        }
        // And the same in a replay.
        for (words, found) in searches {
            let both = socket.subscribe(POSTED, json!({ "filter": { "query": words }, "after": start }));
            for job in *found {
                assert_eq!(title(&socket, &both).await, jobs[*job].0, "{words} again");
            }
            socket.complete(&both);
        }
    }

    async fn one_hears_a_job_leave_a_saved_search_and_its_other_conditions_hold_too(app: TestApp) {
        let ada = app.client("Ada").await;
        let socket = app.socket(None).await;
        let own = ada.socket().await;
        let job = describes(&ada, "Paint a fence", "Green.").await;
        let feed = socket.subscribe(UPDATED, query("fence"));
        let rich = socket.subscribe(
            UPDATED,
            json!({ "filter": { "query": "fence", "budget": { "currencyCode": "USD", "min": "11.00" } } }),
        );
        let elsewhere = socket.subscribe(UPDATED, query("wall"));
        let mine = own.subscribe(UPDATED, json!({ "filter": { "query": "wall" }, "mine": true }));
        app.listening(4).await;
        ada.update(&job, json!({ "description": "Blue." })).await.good();
        assert_eq!(title(&socket, &feed).await, "Paint a fence");
        ada.update(&job, json!({ "title": "Paint a wall" })).await.good();
        assert_eq!(title(&socket, &feed).await, "Paint a wall", "it leaves");
        assert_eq!(title(&socket, &elsewhere).await, "Paint a wall", "and comes");
        assert_eq!(title(&own, &mine).await, "Paint a wall");
        ada.update(&job, json!({ "budget": { "amount": "12.00", "currencyCode": "USD" } })).await.good();
        assert_eq!(title(&socket, &elsewhere).await, "Paint a wall");
        ada.update(&job, json!({ "title": "Paint a fence again" })).await.good();
        assert_eq!(title(&socket, &elsewhere).await, "Paint a fence again", "it leaves");
        assert_eq!(title(&socket, &feed).await, "Paint a fence again", "what was between was no affair of this one");
        assert_eq!(title(&socket, &rich).await, "Paint a fence again");
        assert_eq!(socket.unread(&rich), 0);
        // A draft's words are its author's alone.
        let draft = text(&ada.draft(new_job("Build a wall", "10.00")).await.good(), "/job/id");
        assert_eq!(title(&own, &mine).await, "Paint a wall", "its budget");
        assert_eq!(title(&own, &mine).await, "Paint a fence again");
        let drafted = title(&own, &mine).await;
        assert_eq!(drafted, "Build a wall");
        ada.update(&draft, json!({ "title": "Build a house" })).await.good();
        assert_eq!(title(&own, &mine).await, "Build a house", "it leaves");
        assert_eq!(socket.unread(&elsewhere), 0, "nobody else hears of it");
    }

    async fn streams_hear_the_same(app: TestApp) {
        let ada = app.client("Ada").await;
        let mut events = Stream::open(request(&app.http, SSE, None, POSTED, query("violin"))).await;
        let mut parts = Stream::open(request(&app.http, MULTIPART, None, POSTED, query("violin"))).await;
        app.listening(2).await;
        describes(&ada, "Learn the trumpet", "Loud.").await;
        describes(&ada, "Learn the violin", "Lessons.").await;
        for heard in [events.next().await, parts.payload().await] {
            assert_eq!(text(&heard, "/data/jobPosted/job/title"), "Learn the violin");
        }
    }

    async fn a_list_takes_the_same_filter_beside_its_query(app: TestApp) {
        let ada = app.client("Ada").await;
        describes(&ada, "Paint a fence", "Green.").await;
        describes(&ada, "Paint a wall", "Green.").await;
        let list = "query($filter: JobFilter, $query: String) { jobs(first: 9, filter: $filter, query: $query) \
                    { totalCount nodes { title } } }";
        for (saved, typed, found) in [
            (json!("fence"), json!(null), vec!["Paint a fence"]),
            (json!("green"), json!(""), vec!["Paint a wall", "Paint a fence"]),
            (json!("green -fence"), json!("paint"), vec!["Paint a wall"]),
            (json!("fence"), json!("wall"), vec![]),
            (json!("fence"), json!("!!!"), vec![]),
            (json!(null), json!("fence"), vec!["Paint a fence"]),
        ] {
            let asked = json!({ "filter": { "query": saved }, "query": typed });
            let jobs = ada.run(list, asked.clone()).await.data()["jobs"].clone();
            let titles: Vec<_> = jobs["nodes"].as_array().expect("a list").iter().map(|job| text(job, "/title")).collect();
            assert_eq!(titles, found, "{asked}");
            assert_eq!(jobs["totalCount"], found.len(), "{asked}");
        }
        let refused = ada.run(list, query("!!!")).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT", "{refused}");
    }

    async fn the_one_of_the_documentation_runs_as_it_stands(app: TestApp) {
        let (_, rest) = DOCUMENTATION.split_once("```graphql\n").expect("a subscription");
        let (subscription, _) = rest.split_once("```").expect("its end");
        let (ada, socket) = (app.client("Ada").await, app.socket(None).await);
        let feed = socket.subscribe(subscription, json!({}));
        app.listening(1).await;
        describes(&ada, "A logo design for a label", "Black.").await;
        describes(&ada, "Design our logo", "White.").await;
        assert_eq!(title(&socket, &feed).await, "Design our logo");
    }

    async fn what_is_no_search_is_refused_by_its_name(app: TestApp) {
        let socket = app.socket(None).await;
        let many: String = (0..40).map(|number| format!("w{number} ")).collect();
        for (words, why) in [("!!!", "must have a word"), ("-fence", "must have a word"), (many.as_str(), "at most 32")] {
            let refused = socket.error(&socket.subscribe(POSTED, query(words))).await;
            let refused = &refused[0];
            assert_eq!(refused["extensions"]["code"], "BAD_USER_INPUT", "{refused}");
            let message = text(refused, "/message");
            assert!(message.contains("filter.query") && message.contains(why), "{message}");
        }
        for none in [json!(null), json!(""), json!("  ")] {
            socket.subscribe(POSTED, json!({ "filter": { "query": none } }));
        }
        app.listening(3).await;
    }
}
