//! Search by the index: what is found, by whom, how soon, and what becomes of the index when something befalls it.

mod answers;
mod faults;
mod rights;
mod scan;

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    people::{Person, new_job, text},
};

/// Settings with an index.
const INDEXED: &str = "[search]\nenabled = true";

async fn post(ada: &Person, title: &str, description: &str) -> String {
    let mut job = new_job(title, "1.00");
    job["description"] = description.into();
    text(&ada.post(job).await.good(), "/job/id")
}

/// The ids that a search finds, in order; the total must agree.
async fn find(who: &Person, words: &str, arguments: &str) -> Vec<String> {
    let query = format!(
        "query($q: String) {{ jobs(query: $q, first: 100{arguments}) {{ totalCount nodes {{ id }} \
         search {{ problem corrections {{ typed meant }} }} }} }}"
    );
    let reply = who.run(&query, json!({ "q": words })).await;
    let list = &reply.data()["jobs"];
    let nodes = list["nodes"].as_array().unwrap_or_else(|| panic!("{words:?}: {reply}"));
    assert_eq!(list["totalCount"], nodes.len(), "{words:?}: {reply}");
    nodes.iter().map(|node| text(node, "/id")).collect()
}

/// How a search was understood.
async fn understood(who: &Person, words: &str) -> Value {
    let query = "query($q: String) { jobs(query: $q, first: 1) { search { problem corrections { typed meant } } } }";
    who.run(query, json!({ "q": words })).await.data()["jobs"]["search"].clone()
}

/// The completions of a text.
async fn suggested(who: &Person, prefix: &str) -> Vec<String> {
    let query = "query($p: String!) { searchSuggestions(prefix: $p) { text skill { slug } } }";
    let reply = who.run(query, json!({ "p": prefix })).await;
    reply.data()["searchSuggestions"].as_array().expect("a list").iter().map(|found| text(found, "/text")).collect()
}

const BEST: &str = ", orderBy: { field: RELEVANCE, direction: DESC }";

impl TestApp {
    /// Waits until all that was committed so far is in the index.
    pub async fn searchable(&self) {
        let head = self.app.services.hub.log().stamp().await.expect("a stamp");
        let search = self.app.services.jobs.search();
        crate::support::app::until("the index has come so far", || {
            search.place().is_some_and(|place| place.position >= head)
        })
        .await;
    }
}
