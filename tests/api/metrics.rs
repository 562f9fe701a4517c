//! Every metric is described, named as Prometheus wants it, and explained to operators: in the sources, in what `/metrics`
//! prints, and in `docs/operations.md` stand the same ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use lancewire::{
    clock::Clock,
    telemetry::{Kind, METRICS},
};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    app::{Database, TestApp, soon},
    binary::Home,
    http::{Http, Reply},
};

/// Those that come from a library.
const OF_THE_PROCESS: [&str; 8] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
    "process_virtual_memory_max_bytes",
];

/// Texts in the sources that look like names of metrics and are none.
const NO_METRICS: [&str; 1] = ["lancewire_log"];

/// Names of metrics in quotes, in what runs in production.
fn in_sources(folder: &Path, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            in_sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("catalogue.rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let quoted = text.match_indices("\"lancewire_").map(|(at, _)| {
                let rest = &text[at + 1..];
                rest[..rest.find('"').unwrap_or(rest.len())].to_owned()
            });
            found.extend(quoted.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
        }
    }
}

#[test]
fn metrics_are_described_and_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let described: BTreeSet<String> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert!(METRICS.is_sorted_by_key(|(name, ..)| *name) && described.len() == METRICS.len(), "by name, each once");
    let mut used = BTreeSet::new();
    in_sources(&root.join("src"), &mut used);
    for name in NO_METRICS {
        assert!(used.remove(name), "{name} is gone");
    }
    assert_eq!(used, described, "src/telemetry/catalogue.rs describes what is used");

    let docs = fs::read_to_string(root.join("docs/operations.md")).expect("the document");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` ("));
    let rows: BTreeMap<String, String> = rows
        .filter(|(name, _)| name.starts_with("lancewire_") || name.starts_with("process_"))
        .map(|(name, rest)| (name.to_owned(), rest.split(')').next().unwrap_or_default().to_owned()))
        .collect();
    let kind = |kind: &Kind| format!("{kind:?}").to_lowercase();
    let mut expected: BTreeMap<String, String> =
        METRICS.iter().map(|(name, of, _)| ((*name).to_owned(), kind(of))).collect();
    for name in OF_THE_PROCESS {
        expected.insert(name.to_owned(), if name.ends_with("_total") { "counter" } else { "gauge" }.to_owned());
    }
    assert_eq!(rows, expected, "docs/operations.md explains each, and no other");
}

#[test]
fn names_follow_the_rules_of_promtool() {
    // https://prometheus.io/docs/practices/naming and the linter of client_golang.
    for (name, kind, meaning) in METRICS {
        let counter = *kind == Kind::Counter;
        assert_eq!(name.ends_with("_total"), counter, "{name}: _total is for counters and for all of them");
        for ending in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(ending), "{name}: {ending} is for the parts of a histogram");
        }
        let words: Vec<&str> = name.split('_').collect();
        for unit in ["milliseconds", "ms", "us", "minutes", "hours", "kilobytes", "kib", "mib", "percent"] {
            assert!(!words.contains(&unit), "{name}: not in the base unit");
        }
        let kinds = ["counter", "gauge", "histogram", "summary"];
        assert!(!kinds.iter().any(|kind| words.contains(kind)), "{name}: the kind is no part of it");
        if *kind == Kind::Histogram {
            assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name}: of which unit?");
        }
        assert!(meaning.len() > 10 && !meaning.ends_with('.'), "{name}: {meaning}");
    }
}

/// HELP and TYPE of each metric that a server prints.
fn printed(text: &str) -> BTreeMap<String, (String, String)> {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), meaning) => {
                meaning.unwrap_or_default().clone_into(&mut found.entry(name.to_owned()).or_default().0);
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                kind.clone_into(&mut found.entry(name.to_owned()).or_default().1);
            }
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_prints_is_described() {
    let home = Home::new();
    let server = home.serve().await;
    let http = Http::new(server.addr);
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { errors { __typename } } }";
    let ada = json!({ "input": { "email": "ada@example.com", "password": "correct-horse-battery" } });
    http.graphql(None, sign_in, ada).await.data();
    http.graphql(None, "{ jobs(first: 1) { nodes { id } } }", json!({})).await.data();
    let text = Reply::of(http.request(Method::GET, "/metrics")).await;
    let text = text.body.as_str().expect("a text");
    let printed = printed(text);
    for (name, (meaning, kind)) in &printed {
        let known = METRICS.iter().find(|(known, ..)| known == name);
        if let Some((_, of, described)) = known {
            assert_eq!(
                (meaning.as_str(), kind.as_str()),
                (*described, format!("{of:?}").to_lowercase().as_str()),
                "{name}"
            );
        } else {
            assert!(OF_THE_PROCESS.contains(&name.as_str()), "{name} is described nowhere");
            assert!(!meaning.is_empty() && !kind.is_empty(), "{name}");
        }
    }
    for name in OF_THE_PROCESS.iter().chain(&[
        "lancewire_build_info",
        "lancewire_http_connections",
        "lancewire_http_connections_limit",
        "lancewire_password_hash_seconds",
        "lancewire_database_wait_seconds",
        "lancewire_http_requests_total",
        "lancewire_operation_seconds",
    ]) {
        assert!(printed.contains_key(*name), "{name} is not printed:\n{text}");
    }
    assert!(text.contains(&format!("lancewire_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))), "{text}");
    let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let resident: f64 = resident.and_then(|value| value.parse().ok()).expect("a number");
    assert!(resident > 5e6, "{resident}");
    server.signal("TERM").await;
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_connection_is_measured() {
    let settings = "[database]\nmax_connections = 1";
    let app = TestApp::start_with(Database::Sqlite, settings, Clock::system()).await;
    let waits = async || {
        let text = Reply::of(app.http.request(Method::GET, "/metrics")).await;
        let text = text.body.as_str().expect("a text").to_owned();
        let counts = text.lines().filter(|line| line.starts_with("lancewire_database_wait_seconds_count"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    let before = waits().await;
    app.http.graphql(None, "{ skills { slug } }", json!({})).await.data();
    soon(async { while waits().await <= before {} }).await;
    app.finish().await;
}
