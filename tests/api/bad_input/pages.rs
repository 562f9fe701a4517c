//! Arguments of pages: sizes out of bounds, both ends at once, and cursors of another list, of another order or of no
//! list.

use lancewire::page::Cursor;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Scene, refused_argument, tells_nothing};
use crate::{
    on_both,
    support::people::{Person, text},
};

/// Every list: how to ask for it with some arguments, where it is in the answer, and what it is sorted by.
const LISTS: [(&str, &str, &str); 9] = [
    ("{ jobs(ARGS) { edges { cursor } pageInfo { hasNextPage } } }", "/data/jobs", "POSTED_AT"),
    ("{ jobs(ARGS, orderBy: { field: BUDGET, direction: ASC }) { edges { cursor } } }", "/data/jobs", "BUDGET"),
    (
        "{ jobs(ARGS, orderBy: { field: DEADLINE, direction: DESC }) { edges { cursor } } }",
        "/data/jobs",
        "DEADLINE DESC",
    ),
    (
        "{ jobs(ARGS, query: \"job\", orderBy: { field: RELEVANCE, direction: DESC }) { edges { cursor } } }",
        "/data/jobs",
        "RELEVANCE",
    ),
    ("{ viewer { postedJobs(ARGS) { edges { cursor } } } }", "/data/viewer/postedJobs", "id"),
    ("{ viewer { claims(ARGS) { edges { cursor } } } }", "/data/viewer/claims", "id"),
    ("{ viewer { notifications(ARGS) { edges { cursor } } } }", "/data/viewer/notifications", "id"),
    ("{ claims(ARGS) { edges { cursor } } }", "/data/claims", "id"),
    ("{ wallet { transactions(ARGS) { edges { cursor } } } }", "/data/wallet/transactions", "id"),
];

/// 0, the ends of 64 bits, and what lies beyond the calendars of the databases and of the API.
const KEYS: [i64; 9] = [
    0,
    1,
    -1,
    i64::MAX,
    i64::MIN,
    253_402_300_800_000,
    -62_135_596_800_001,
    -210_866_803_200_001,
    9_000_000_000_000_000,
];

async fn page(who: &Person, list: &str, arguments: &str) -> crate::support::http::Reply {
    who.run(&list.replace("ARGS", arguments), json!({})).await
}

on_both! {
    async fn a_size_is_between_1_and_100_and_from_one_end(app: TestApp) {
        let scene = Scene::new(&app).await;
        for (list, place, _) in LISTS {
            for (arguments, word) in [
                ("first: 0", "first"), ("first: 101", "first"), ("first: -1", "first"), ("last: 0", "last"),
                ("last: 101", "last"), ("last: -2147483648", "last"), ("first: 1, last: 1", "not both"),
            ] {
                let reply = page(&scene.ada, list, arguments).await;
                refused_argument(&reply, word);
                assert_eq!(reply.at(place), &Value::Null, "{list} {arguments}");
            }
            for arguments in ["first: 1", "first: 100", "last: 1", "last: 100", "first: 1, last: null"] {
                page(&scene.ada, list, arguments).await.data();
            }
        }
        refused_argument(&app.anonymous().run("{ jobs { nodes { id } } }", json!({})).await, "first or last");
        refused_argument(&app.anonymous().run("{ jobs(first: null) { nodes { id } } }", json!({})).await, "first or last");
        for first in [0, 101, -1] {
            refused_argument(&app.anonymous().run(&format!("{{ skills(first: {first}) {{ slug }} }}"), json!({})).await, "first");
        }
        // Nested lists have a size of their own.
        let reply = scene.ada.run("{ viewer { postedJobs { nodes { id } } } claims { nodes { id } } }", json!({})).await;
        assert_eq!(reply.at("/data/viewer/postedJobs/nodes").as_array().map(Vec::len), Some(4));
    }

    async fn a_cursor_of_another_order_is_refused(app: TestApp) {
        let scene = Scene::new(&app).await;
        let mut cursors = Vec::new();
        for (list, place, _) in LISTS {
            let reply = page(&scene.ada, list, "first: 1").await;
            cursors.push(reply.at(place)["edges"].pointer("/0/cursor").and_then(Value::as_str).map(str::to_owned));
        }
        for (list, _, order) in LISTS {
            for (cursor, (.., other)) in cursors.iter().zip(LISTS) {
                let Some(cursor) = cursor else { continue };
                for argument in ["after", "before"] {
                    let reply = page(&scene.ada, list, &format!("first: 1, {argument}: \"{cursor}\"")).await;
                    // Lists sorted by id alone have one kind of cursor: it says where, and no list has it twice.
                    if order == other {
                        reply.data();
                    } else {
                        refused_argument(&reply, argument);
                    }
                }
            }
        }
    }

    async fn garbage_is_no_cursor(app: TestApp) {
        let scene = Scene::new(&app).await;
        for (list, place, _) in LISTS {
            for garbage in ["", " ", "garbage", "AAAA", "MQ==", "'; DROP TABLE jobs --", "%00", "🦀", &"A".repeat(33), &"A".repeat(9_999)] {
                for argument in ["after", "before"] {
                    let reply = page(&scene.ada, list, &format!("first: 1, {argument}: \"{garbage}\"")).await;
                    refused_argument(&reply, argument);
                    assert_eq!(reply.at(place), &Value::Null);
                }
            }
        }
    }

    async fn a_forged_cursor_is_a_place_like_any_other(app: TestApp) {
        let scene = Scene::new(&app).await;
        for (list, ..) in LISTS {
            // The order is the first byte: all that there are, and the keys at the ends of what fits.
            for order in 0..=9 {
                for key in KEYS {
                    let cursor = Cursor { order, key, id: if key < 0 { Uuid::nil() } else { Uuid::max() } }.encode();
                    let after = page(&scene.ada, list, &format!("first: 1, after: \"{cursor}\"")).await;
                    if after.body.get("errors").is_some() {
                        refused_argument(&after, "after");
                        // Whatever the key, it is not this list's order.
                        break;
                    }
                    page(&scene.ada, list, &format!("last: 1, before: \"{cursor}\"")).await.data();
                }
            }
        }
    }

    async fn a_hundred_ids_are_answered_in_their_order_and_one_more_is_refused(app: TestApp) {
        let scene = Scene::new(&app).await;
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
        let mut ids = vec!["job_00000000000000000000000000".to_owned(); 100];
        (ids[3], ids[99]) = (scene.open.clone(), scene.ada.id.clone());
        let reply = scene.ada.run(query, json!({ "ids": ids })).await;
        let nodes = reply.data()["nodes"].as_array().expect("a list");
        assert_eq!((nodes.len(), text(&nodes[3], "/id"), text(&nodes[99], "/id")), (100, scene.open.clone(), scene.ada.id.clone()));
        assert_eq!(nodes.iter().filter(|node| node.is_null()).count(), 98);
        ids.push(scene.open.clone());
        let reply = scene.ada.run(query, json!({ "ids": ids })).await;
        tells_nothing(&reply);
        assert_eq!(reply.code(), "OPERATION_TOO_COMPLEX");
    }
}
