//! The fences of the house, held by reading the sources: who may know whom, and what has one home.
//!
//! What the compiler cannot refuse without more crates is refused here. Only what runs in production is looked at:
//! comments and `#[cfg(test)]` are cut away first.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One file of ours.
struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
    /// The text without comments and tests.
    code: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root, &root.join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} is not where the sources are");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
            let code = if is_test { String::new() } else { production(&text) };
            found.push(Source { path, text, code });
        }
    }
}

/// Without comments and without what only tests see: a `mod tests;`, or everything from the test module on.
fn production(text: &str) -> String {
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let mut code = text.lines().map(without_comment).collect::<Vec<_>>().join("\n");
    while let Some(at) = code.find("#[cfg(test)]") {
        let rest = code[at..].to_owned();
        code.truncate(at);
        if let Some((declaration, after)) = rest.split_once(';')
            && !declaration.contains('{')
        {
            code.push_str(after);
        }
    }
    code
}

impl Source {
    /// The module below the crate's root that this file is part of; `main.rs` and `lib.rs` are parts of themselves.
    fn module(&self) -> &str {
        self.path.trim_start_matches("src/").split(['/', '.']).next().expect("a name")
    }

    fn file(&self) -> &str {
        self.path.rsplit('/').next().expect("a name")
    }

    /// The modules of the crate that its code names.
    fn neighbours(&self) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for (at, start) in self.code.match_indices("crate::") {
            let rest = &self.code[at + start.len()..];
            if rest.starts_with('{') {
                named.extend(heads_of_group(rest));
            } else {
                named.insert(head(rest));
            }
        }
        named.remove(self.module());
        named
    }
}

/// The first name of each member of `{a::b, c::{d, e}}`.
fn heads_of_group(text: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0, 1, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && character == ',') {
            heads.push(head(text[start..at].trim_start()));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn head(path: &str) -> String {
    path.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Asserts that only files that `may` name something do.
fn only(what: &str, names: impl Fn(&str) -> bool, may: impl Fn(&Source) -> bool) {
    let strangers: Vec<String> = sources("src")
        .into_iter()
        .filter(|source| names(&source.code) && !may(source))
        .map(|source| source.path)
        .collect();
    assert_eq!(strangers, [""; 0], "{what} has its home elsewhere");
}

#[test]
fn each_library_stays_behind_its_fence() {
    only(
        "async_graphql",
        |code| code.contains("async_graphql"),
        |source| SHOWN.contains(&source.file()) || ["graphql", "schema", "http"].contains(&source.module()),
    );
    only("axum", |code| code.contains("axum"), |source| ["http", "app"].contains(&source.module()));
    only("sea_orm", |code| code.contains("sea_orm"), |source| !["model.rs", "filter.rs"].contains(&source.file()));
    only("sea_orm", |code| code.contains("sea_orm"), |source| !SHOWN.contains(&source.file()));
    only("anyhow", |code| code.contains("anyhow"), |source| ["main", "seed"].contains(&source.module()));
}

#[test]
fn time_randomness_and_tasks_have_one_home_each() {
    for (what, home) in [
        ("Utc::now", "src/clock.rs"),
        ("SystemTime::now", "src/clock.rs"),
        ("rand::rng", "src/ids.rs"),
        ("tokio::spawn(", "src/lifecycle.rs"),
    ] {
        only(what, |code| code.contains(what), |source| source.path == home);
    }
}

#[test]
fn failures_are_handled_and_not_unwrapped() {
    for what in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
        only(what, |code| code.contains(what), |_| false);
    }
}

#[test]
fn states_are_written_where_the_domain_is_modelled() {
    // The states themselves are private there; these flat forms of them are how rows and events are read and written.
    for record in ["JobRecord", "ClaimRecord", "DeliverableRecord", "TransactionRecord"] {
        only(record, |code| code.contains(record), |source| ["model.rs", "entity.rs"].contains(&source.file()));
    }
}

#[test]
fn users_are_read_and_locked_by_accounts_alone() {
    // Below the domains `auth` keeps sessions, whose rights are a user's roles; beside them `verify` looks at all tables
    // on one snapshot, and `backup` ends all sessions of a copy.
    let may =
        |source: &Source| ["accounts", "auth", "backup"].contains(&source.module()) || source.file() == "verify.rs";
    for names in ["entity::users", "users::Entity", "FROM users", "JOIN users", "UPDATE users", "INTO users"] {
        only(names, |code| code.contains(names), may);
    }
}

#[test]
fn claims_know_wallets_by_their_escrow_alone() {
    let may =
        |source: &Source| source.module() != "claims" || source.file() == "escrow.rs" || is_graphql_of_a_domain(source);
    only("wallet", |code| code.contains("Wallets") || code.contains(".wallets()"), may);
}

#[test]
fn errors_are_matched_to_the_last_one_where_they_are_told() {
    let told = |source: &Source| is_graphql_of_a_domain(source) || source.path.ends_with("/user_errors.rs");
    only("a wild card that is an error", |code| code.contains("_ => Err("), |source| !told(source));
}

/// A part of the house and whom it may know. What is not in the list is told by
/// [`every_part_knows_only_whom_it_may`].
const KNOWS: &[(&str, &str)] = &[
    // Leaves.
    ("clock", ""),
    ("descriptors", ""),
    ("lifecycle", ""),
    ("money", ""),
    ("network", ""),
    ("page", ""),
    ("settings", ""),
    ("trust", ""),
    ("ids", "clock"),
    ("backoff", "ids"),
    ("error", "money"),
    ("text", "error"),
    ("db", "backoff error ids lifecycle settings trust"),
    ("retention", "db error lifecycle settings"),
    ("idempotency", "clock db error ids retention"),
    ("migrations", "db lifecycle"),
    // What domains stand on.
    ("events", "clock db error ids lifecycle named_enum proof retention settings"),
    ("auth", "buckets clock db error events ids lifecycle network retention settings"),
    // What a part proves of its tables.
    ("proof", "db error events"),
    // Domains: claims -> jobs -> {wallet, notifications} -> accounts.
    ("accounts", "auth clock db error ids limits text"),
    ("notifications", "auth clock db error events ids money named_enum page proof retention"),
    (
        "wallet",
        "accounts auth clock db error events idempotency ids lifecycle money named_enum page proof settings text",
    ),
    (
        "jobs",
        // Delivery finds the listeners of a job's events by terms that only this domain can name.
        "accounts auth clock db error events idempotency ids lifecycle money named_enum notifications page proof \
         realtime text wallet",
    ),
    (
        "claims",
        "accounts auth clock db error events idempotency ids jobs money named_enum notifications page proof settings text \
         wallet",
    ),
    // Delivery knows the log and no domain.
    ("realtime", "auth backoff clock error events ids lifecycle network settings trust"),
    // Limits know callers and addresses, and what they do not.
    ("limits", "auth clock ids lifecycle network realtime settings"),
    // The kit knows no domain, but for the shape of an amount.
    ("graphql", "auth clock connection error idempotency ids lifecycle limits money network page wallet"),
    ("schema", "accounts auth claims db error events graphql ids jobs lifecycle notifications realtime wallet"),
    (
        "http",
        "auth backoff clock db demo error events graphql ids lifecycle limits migrations network realtime schema settings",
    ),
    // The process.
    ("config", "auth claims db events graphql http limits realtime retention settings telemetry wallet"),
    ("telemetry", "auth http settings"),
    ("fuzzing", "graphql http schema"),
    ("verify", "claims db error events jobs notifications proof wallet"),
    ("backup", "db error"),
    ("demo", "auth"),
    ("seed", "accounts app auth claims demo jobs wallet"),
    (
        "app",
        "accounts auth claims clock config db descriptors error events graphql http idempotency ids jobs lifecycle limits \
         migrations notifications realtime retention schema settings telemetry wallet",
    ),
];

/// Where a domain speaks GraphQL: its types and roots, and what is heard of it where that fills a file of its own.
const SHOWN: [&str; 2] = ["graphql.rs", "subscription.rs"];

const DOMAINS: [&str; 5] = ["accounts", "jobs", "claims", "wallet", "notifications"];

#[test]
fn every_part_knows_only_whom_it_may() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.module();
        if ["main", "lib"].contains(&module) || is_graphql_of_a_domain(&source) {
            continue;
        }
        let known = KNOWS.iter().find(|(part, _)| *part == module);
        let (_, known) = known.unwrap_or_else(|| panic!("{} is not on the map: add {module}", source.path));
        let known: BTreeSet<&str> = known.split_ascii_whitespace().chain(["errors_through", "faults_into"]).collect();
        let strangers = source.neighbours().into_iter().filter(|neighbour| !known.contains(neighbour.as_str()));
        wrong.extend(strangers.map(|stranger| format!("{} knows {stranger}", source.path)));
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_domains_show_is_one_layer_above_what_they_do() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| DOMAINS.contains(&source.module())) {
        let shows = is_graphql_of_a_domain(source);
        // A layer knows those below it and itself, never the transports or the process.
        let above: &[&str] =
            if shows { &["http", "app", "config", "db"] } else { &["graphql", "schema", "http", "app"] };
        let neighbours = source.neighbours();
        wrong.extend(above.iter().filter(|part| neighbours.contains(**part)).map(|part| (source.path.clone(), *part)));
        let names_graphql = ["::graphql", "graphql::"].iter().any(|path| source.code.contains(path));
        if !shows && names_graphql {
            wrong.push((source.path.clone(), "graphql.rs"));
        }
    }
    assert_eq!(wrong, []);
}

fn is_graphql_of_a_domain(source: &Source) -> bool {
    DOMAINS.contains(&source.module()) && SHOWN.contains(&source.file())
}

#[test]
fn every_domain_has_the_same_rooms() {
    let paths: BTreeSet<String> = sources("src").into_iter().map(|source| source.path).collect();
    for domain in DOMAINS {
        for room in ["mod", "entity", "model", "service", "error", "graphql"] {
            assert!(paths.contains(&format!("src/{domain}/{room}.rs")), "{domain} has no {room}.rs");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let all = ["src", "tests", "migration/src"].into_iter().flat_map(sources);
    let silent: Vec<String> = all.filter(|source| !source.text.starts_with("//! ")).map(|source| source.path).collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    // What these do to the server are delays: a writer that commits late, a client that tries again, a database that is
    // slow. They wait for none.
    let delaying = ["tests/api/writers.rs", "tests/api/faults/load.rs", "tests/api/histories.rs"];
    // Its clock stands still: time passes when everybody sleeps, and takes none.
    let simulated = "tests/sim/delivery/";
    // In two words, or this line would find itself.
    let call = format!("{}(", "sleep");
    let sleepy: Vec<String> = sources("tests")
        .into_iter()
        .filter(|source| source.text.contains(&call) && !delaying.contains(&source.path.as_str()))
        .filter(|source| !source.path.starts_with(simulated))
        .map(|source| source.path)
        .collect();
    assert_eq!(sleepy, [""; 0]);
}

#[test]
fn the_reader_of_sources_reads_what_is_there() {
    let code = "use crate::{a::b, c::{d, e},\n f};\n// crate::comment\nfn g() { crate::h::i(); }\n\
                #[cfg(test)]\nmod tests;\nuse crate::j;\n#[cfg(test)]\nmod tests { use crate::k; }";
    let source = Source { path: "src/a/x.rs".into(), text: String::new(), code: production(code) };
    assert_eq!(source.neighbours().into_iter().collect::<Vec<_>>(), ["c", "f", "h", "j"]);
    assert_eq!((source.module(), source.file()), ("a", "x.rs"));
}
