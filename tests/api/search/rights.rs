//! Who finds what, and how soon.

use std::slice;

use serde_json::json;

use super::{BEST, INDEXED, find, post, suggested};
use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{Person, new_job, text},
    },
};

async fn suspend(app: &TestApp, person: &Person, suspended: bool) {
    let input = json!({ "userId": person.id, "suspended": suspended, "reason": "We look into it." });
    app.admin().await.mutate("setUserSuspended", input, "user { id }").await.good();
    crate::support::app::soon(async { while app.db_number("SELECT COUNT(*) FROM withholding_due").await > 0 {} }).await;
    app.searchable().await;
}

/// How many skills the facets of a search count.
async fn counted(who: &Person, words: &str) -> usize {
    let query = "query($q: String) { jobs(query: $q, first: 1) { facets { skills { count } } } }";
    let reply = who.run(query, json!({ "q": words })).await;
    reply.data()["jobs"]["facets"]["skills"].as_array().expect("facets").len()
}

on_both! {
    with INDEXED;

    async fn one_finds_ones_own_changes_at_once(app: TestApp) {
        let ada = app.client("Ada").await;
        app.searchable().await;
        for number in 0..5 {
            let job = post(&ada, &format!("Unique{number} thing"), "Plain words.").await;
            assert_eq!(find(&ada, &format!("unique{number}"), "").await, slice::from_ref(&job));
            ada.update(&job, json!({ "title": format!("Other{number} thing") })).await.good();
            assert!(find(&ada, &format!("unique{number}"), "").await.is_empty());
            assert_eq!(find(&ada, &format!("other{number}"), BEST).await, slice::from_ref(&job));
            ada.cancel(&job).await.good();
            assert!(find(&ada, &format!("other{number}"), "").await.is_empty());
        }
    }

    async fn what_a_search_does_not_show_yet_comes_after_the_cursor_beside_it(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        app.searchable().await;
        let socket = ben.socket().await;
        let subscription = "subscription($after: String) { jobPosted(filter: { query: \"gap\" }, after: $after) { job { id } } }";
        for number in 0..10 {
            let job = post(&ada, &format!("Gap {number}"), "Plain words.").await;
            let reply = ben.run("{ streamCursor jobs(first: 20, query: \"gap\") { nodes { id } } }", json!({})).await;
            let page = reply.data();
            let listed = page["jobs"]["nodes"].as_array().expect("a list").iter().any(|listed| listed["id"] == job);
            if !listed {
                let feed = socket.subscribe(subscription, json!({ "after": page["streamCursor"] }));
                // Earlier ones may come again.
                while text(&socket.next(&feed).await, "/data/jobPosted/job/id") != job {}
                socket.complete(&feed);
            }
        }
    }

    async fn what_nobody_may_see_is_found_by_nobody(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        app.searchable().await;
        let who = app.anonymous();
        let draft = text(&ada.draft(new_job("Zebra secret", "1.00")).await.good(), "/job/id");
        app.searchable().await;
        for status in ["", ", filter: { status: [DRAFT, OPEN, CANCELLED] }"] {
            for viewer in [&ada, &who, &app.admin().await] {
                assert!(find(viewer, "zebra", status).await.is_empty(), "a draft is in no list");
                assert_eq!((suggested(viewer, "zebra").await.len(), counted(viewer, "zebra").await), (0, 0));
            }
        }
        ada.publish(&draft).await.good();
        app.searchable().await;
        assert_eq!(find(&who, "zebra", "").await, slice::from_ref(&draft));
        assert_eq!((suggested(&who, "zebra").await.len(), counted(&who, "zebra").await), (1, 1));

        suspend(&app, &ada, true).await;
        for viewer in [&who, &app.admin().await] {
            assert!(find(viewer, "zebra", "").await.is_empty(), "withheld");
            assert_eq!((suggested(viewer, "zebra").await.len(), counted(viewer, "zebra").await), (0, 0));
        }
        suspend(&app, &ada, false).await;
        assert_eq!(find(&who, "zebra", "").await, slice::from_ref(&draft), "back again");

        ben.claim(&draft).await.good();
        app.searchable().await;
        assert!(find(&who, "zebra", "").await.is_empty(), "OPEN unless told otherwise");
        assert_eq!(find(&who, "zebra", ", filter: { status: [CLAIMED] }").await, [draft]);
        assert!(suggested(&who, "zebra").await.is_empty());
    }
}
