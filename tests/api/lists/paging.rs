//! Keyset paging over the feed in each of its orders, at rest and while jobs come and go.

use std::{collections::HashSet, time::Duration};

use chrono::TimeDelta;
use lancewire::clock::Clock;
use serde_json::{Value, json};

use super::{PARTS, page, walk};
use crate::{
    on_both_clocked,
    support::{
        app::TestApp,
        people::{Person, new_job, text},
    },
};

/// A job that was posted, with what it may be sorted by; each of these is shared by several jobs.
#[derive(Clone, Debug)]
struct Made {
    id: String,
    posted: usize,
    budget: usize,
    /// The end of time for none.
    deadline: i64,
    /// Whether the word looked for is in its title, and not in its description.
    in_title: bool,
}

fn query() -> String {
    format!(
        "query($order: JobOrder, $words: String, $filter: JobFilter, $first: Int, $after: String, $last: Int, $before: String) {{ \
         jobs(query: $words, filter: $filter, orderBy: $order, first: $first, after: $after, last: $last, before: $before) {{ {PARTS} }} }}"
    )
}

/// The variables of a list in some order.
fn in_order(field: &str, direction: &str) -> Value {
    let words = (field == "RELEVANCE").then_some("rust");
    json!({ "order": { "field": field, "direction": direction }, "words": words })
}

async fn post(ada: &Person, app: &TestApp, number: usize) -> Made {
    let in_title = number.is_multiple_of(3);
    // Equally long, so that only the place of the word makes a difference in relevance.
    let (title, description) = if in_title { ("Rust work", "Plain words") } else { ("Some work", "Rust words") };
    let budget = 10 + (number * 5) % 7;
    let deadline = (!number.is_multiple_of(4))
        .then(|| app.app.clock.now() + TimeDelta::days(1 + i64::try_from(number % 5).expect("small")));
    let mut job = new_job(title, &format!("{budget}.00"));
    job["description"] = description.into();
    job["deadline"] = json!(deadline.map(|deadline| deadline.to_rfc3339()));
    let posted = ada.post(job).await.good();
    // Days apart, so that the few milliseconds by which the clock was moved do not matter.
    let deadline = deadline.map_or(i64::MAX, |deadline| deadline.timestamp());
    Made { id: text(&posted, "/job/id"), posted: number / 4, budget, deadline, in_title }
}

/// So many jobs, four of them at each moment.
async fn post_all(app: &TestApp, ada: &Person, clock: &Clock, jobs: usize) -> Vec<Made> {
    let mut made = Vec::new();
    for number in 0..jobs {
        if number.is_multiple_of(4) {
            clock.advance(Duration::from_millis(1));
        }
        made.push(post(ada, app, number).await);
    }
    made
}

/// What the list must be. Ids are compared as texts, whose order is that of the ids themselves.
fn sorted(mut jobs: Vec<Made>, field: &str, direction: &str) -> Vec<String> {
    jobs.sort_by_key(|job| {
        let key = match field {
            "POSTED_AT" => i64::try_from(job.posted).expect("small"),
            "BUDGET" => i64::try_from(job.budget).expect("small"),
            "DEADLINE" => job.deadline,
            "RELEVANCE" => i64::from(job.in_title),
            other => panic!("no order {other}"),
        };
        (key, job.id.clone())
    });
    if direction == "DESC" {
        jobs.reverse();
    }
    jobs.into_iter().map(|job| job.id).collect()
}

const ORDERS: [(&str, &str); 8] = [
    ("POSTED_AT", "ASC"),
    ("POSTED_AT", "DESC"),
    ("BUDGET", "ASC"),
    ("BUDGET", "DESC"),
    ("DEADLINE", "ASC"),
    ("DEADLINE", "DESC"),
    ("RELEVANCE", "ASC"),
    ("RELEVANCE", "DESC"),
];

on_both_clocked! {
    async fn pages_of_any_size_make_up_the_whole_list(app: TestApp, clock: Clock) {
        let ada = app.client("Ada").await;
        let made = post_all(&app, &ada, &clock, 45).await;
        let anonymous = app.anonymous();
        for (field, direction) in ORDERS {
            let (expected, extra) = (sorted(made.clone(), field, direction), in_order(field, direction));
            for size in [2, 9, 44, 45, 46, 100] {
                let list = walk(&anonymous, &query(), "/jobs", &extra, size).await;
                assert_eq!(list, expected, "{field} {direction} by {size}");
            }
        }
        let newest_first = walk(&anonymous, &query(), "/jobs", &json!({}), 20).await;
        assert_eq!(newest_first, sorted(made, "POSTED_AT", "DESC"), "unless told otherwise");
    }

    async fn a_range_between_two_cursors_is_read_from_either_end(app: TestApp, clock: Clock) {
        let ada = app.client("Ada").await;
        let made = post_all(&app, &ada, &clock, 45).await;
        for (field, direction) in ORDERS {
            let expected = sorted(made.clone(), field, direction);
            let at = |place: usize| {
                let mut variables = in_order(field, direction);
                variables["first"] = json!(place + 1);
                variables
            };
            let after = page(&ada, &query(), "/jobs", at(9)).await.end;
            let before = page(&ada, &query(), "/jobs", at(30)).await.end;
            let mut variables = in_order(field, direction);
            (variables["after"], variables["before"]) = (json!(after), json!(before));
            for (size_name, size, range) in [
                ("first", 100, 10..30), ("last", 100, 10..30), ("first", 3, 10..13), ("last", 3, 27..30),
            ] {
                let mut variables = variables.clone();
                variables[size_name] = size.into();
                assert_eq!(page(&ada, &query(), "/jobs", variables).await.ids, expected[range], "{field} {direction} {size_name} {size}");
            }
            (variables["after"], variables["before"], variables["first"]) = (json!(before), json!(after), 5.into());
            let crossed = page(&ada, &query(), "/jobs", variables).await;
            assert_eq!((crossed.ids.len(), crossed.start, crossed.has_next), (0, None, false), "{field} {direction}");
        }
    }

    async fn a_reader_misses_nothing_while_jobs_come_and_go(app: TestApp, clock: Clock) {
        for ((field, direction), backward) in ORDERS.iter().flat_map(|order| [(order, false), (order, true)]) {
            // Reads their jobs alone, so that no round is in the way of the next.
            let ada = app.client("Ada").await;
            let made = post_all(&app, &ada, &clock, 24).await;
            let mut expected = sorted(made, field, direction);
            let names = if backward { ["last", "before"] } else { ["first", "after"] };
            let (mut seen, mut gone, mut cursor) = (Vec::new(), Vec::new(), None);
            for number in 24.. {
                let mut variables = in_order(field, direction);
                variables["filter"] = json!({ "clientId": ada.id });
                (variables[names[0]], variables[names[1]]) = (4.into(), json!(cursor));
                let mut page = page(&app.anonymous(), &query(), "/jobs", variables).await;
                if backward {
                    page.ids.reverse();
                }
                let more = if backward { page.has_previous } else { page.has_next };
                cursor = if backward { page.start } else { page.end };
                let on_cursor = page.ids.last().cloned();
                seen.extend(page.ids);
                if !more {
                    break;
                }
                let stays = |id: &&String| !gone.contains(*id) && Some(*id) != on_cursor.as_ref();
                // One goes that was read, one that was not, or the very one that the cursor stands on. By relevance a
                // page is cut from a window, and a cursor whose job is gone has no place in it.
                let leaving = match number % 3 {
                    0 => expected.iter().filter(stays).find(|id| seen.contains(id)),
                    1 => expected.iter().filter(stays).find(|id| !seen.contains(id)),
                    _ => on_cursor.as_ref().filter(|_| *field != "RELEVANCE"),
                };
                if let Some(id) = leaving.cloned() {
                    ada.cancel(&id).await.good();
                    gone.push(id);
                }
                post(&ada, &app, number).await;
            }
            if backward {
                seen.reverse();
            }
            let context = format!("{field} {direction}{}", if backward { " backward" } else { "" });
            assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "{context}: nothing comes twice");
            assert!(gone.len() >= 3, "{context}: enough went to say so");
            expected.retain(|id| !gone.contains(id));
            seen.retain(|id| expected.contains(id));
            assert_eq!(seen, expected, "{context}: nothing is missed, and the order stays");
        }
    }

    async fn by_relevance_a_cursor_whose_job_left_ends_the_list(app: TestApp, clock: Clock) {
        let ada = app.client("Ada").await;
        post_all(&app, &ada, &clock, 45).await;
        for (size, cursor_name, forward) in [("first", "after", true), ("last", "before", false)] {
            let mut variables = in_order("RELEVANCE", "DESC");
            variables[size] = 5.into();
            let first = page(&ada, &query(), "/jobs", variables.clone()).await;
            let (cursor, id) = if forward { (first.end, &first.ids[4]) } else { (first.start, &first.ids[0]) };
            ada.cancel(id).await.good();
            variables[cursor_name] = json!(cursor);
            let next = page(&ada, &query(), "/jobs", variables).await;
            let more = if forward { next.has_next } else { next.has_previous };
            assert_eq!((next.ids.len(), more), (0, false), "{size}: rather than from the start again");
        }
    }
}
