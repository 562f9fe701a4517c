//! Lists: in which order, by which filter and at what price they come, page by page.
//!
//! What a list should hold is computed by the test from what it made, so that both databases are held to the same
//! answer.

mod filters;
mod own;
mod paging;
mod plans;
mod search;
mod statements;

use serde_json::{Value, json};

use crate::support::people::Person;

/// A page of a list: its ids, and the four parts of `pageInfo`.
struct Page {
    ids: Vec<String>,
    has_next: bool,
    has_previous: bool,
    start: Option<String>,
    end: Option<String>,
}

/// Asks for a page. `query` selects `edges { cursor node { id } } pageInfo { .. }` of the list at `place`.
async fn page(who: &Person, query: &str, place: &str, variables: Value) -> Page {
    let reply = who.run(query, variables).await;
    let list = reply.data().pointer(place).unwrap_or_else(|| panic!("nothing at {place} in {reply}"));
    let (edges, info) = (list["edges"].as_array().expect("edges"), &list["pageInfo"]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let cursor = |edge: Option<&Value>| edge.and_then(|edge| text(&edge["cursor"]));
    let page = Page {
        ids: edges.iter().map(|edge| text(&edge["node"]["id"]).expect("an id")).collect(),
        has_next: info["hasNextPage"].as_bool().expect("a flag"),
        has_previous: info["hasPreviousPage"].as_bool().expect("a flag"),
        start: text(&info["startCursor"]),
        end: text(&info["endCursor"]),
    };
    assert_eq!(page.start, cursor(edges.first()), "startCursor is that of the first edge");
    assert_eq!(page.end, cursor(edges.last()), "endCursor is that of the last edge");
    page
}

/// The parts of a list that [`page`] reads.
const PARTS: &str = "edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }";

/// Reads a whole list page by page in both directions, which must agree with each other, and returns its ids.
/// `query` takes `$first`, `$after`, `$last` and `$before`; `extra` are its other variables.
async fn walk(who: &Person, query: &str, place: &str, extra: &Value, size: usize) -> Vec<String> {
    let with = |size_name: &str, cursor_name: &str, cursor: &Option<String>| {
        let mut variables = extra.clone();
        variables[size_name] = json!(size);
        variables[cursor_name] = json!(cursor);
        variables
    };
    let (mut forward, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(who, query, place, with("first", "after", &cursor)).await;
        assert_eq!(
            page.has_previous,
            cursor.is_some(),
            "before the first page is nothing, before the others something"
        );
        assert!(page.ids.len() == size || !page.has_next, "a page is full unless it is the last");
        forward.extend(page.ids);
        if !page.has_next {
            break;
        }
        cursor = page.end;
    }
    let (mut backward, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(who, query, place, with("last", "before", &cursor)).await;
        assert_eq!(page.has_next, cursor.is_some(), "after the last page is nothing, after the others something");
        assert!(page.ids.len() == size || !page.has_previous, "a page is full unless it is the first");
        backward.splice(0..0, page.ids);
        if !page.has_previous {
            break;
        }
        cursor = page.start;
    }
    assert_eq!(forward, backward, "both directions read one list");
    forward
}
