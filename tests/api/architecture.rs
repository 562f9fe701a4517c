//! The fences of the house, held by reading the sources: who may know whom, and what has one home.
//!
//! What the compiler cannot refuse without more crates is refused here. Only what runs in production is looked at:
//! comments and `#[cfg(test)]` are cut away first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// The names of a module, from the crate's root.
type Path = Vec<String>;

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

fn collect(root: &std::path::Path, folder: &std::path::Path, found: &mut Vec<Source>) {
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

    /// Where the compiler has it.
    fn place(&self) -> Path {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.trim_end_matches("/mod").split('/').map(ToOwned::to_owned).collect()
    }

    /// The modules among `known` that its code names, but for those it lies in and those that lie in it.
    fn imports(&self, known: &BTreeSet<Path>, passed_on: &BTreeMap<Path, Path>) -> BTreeSet<Path> {
        let here = self.place();
        let mut named = Vec::new();
        for root in ["crate", "super", "self"] {
            let begins = |at: usize| {
                !self.code[..at].ends_with(|before: char| before.is_alphanumeric() || ":_".contains(before))
            };
            for (at, _) in self.code.match_indices(&format!("{root}::")).filter(|(at, _)| begins(*at)) {
                let base = match root {
                    "crate" => Vec::new(),
                    "self" => here.clone(),
                    _ => here[..here.len() - 1].to_vec(),
                };
                paths(&self.code[at + root.len() + 2..], base, &mut named);
            }
        }
        let parts = |path: &Path| (1..=path.len()).rev().map(|length| path[..length].to_vec()).collect::<Vec<_>>();
        let home = |path: Path| parts(&path).iter().find_map(|part| passed_on.get(part)).cloned().unwrap_or(path);
        let known_part = |path: Path| parts(&path).into_iter().find(|part| known.contains(part));
        let named = named.into_iter().map(home).filter_map(known_part);
        named.filter(|module| !module.starts_with(&here) && !here.starts_with(module)).collect()
    }

    /// What it passes on from the files of its folder: the path by which others know it, and where it is.
    fn passes_on(&self) -> Vec<(Path, Path)> {
        let here = self.place();
        let mut named = Vec::new();
        for visibility in ["pub", "pub(crate)", "pub(super)"] {
            for (at, start) in self.code.match_indices(&format!("\n{visibility} use ")) {
                paths(&self.code[at + start.len()..], here.clone(), &mut named);
            }
        }
        let within = |path: &Path| !["crate", "super", "std"].contains(&path[here.len()].as_str());
        let named = named.into_iter().filter(within);
        named.map(|path| (here.iter().chain(path.last()).cloned().collect(), path)).collect()
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

/// The paths of `b::{c, d::e}` below `base`; what comes after them.
fn paths<'a>(mut text: &'a str, mut base: Path, found: &mut Vec<Path>) -> &'a str {
    loop {
        if let Some(members) = text.strip_prefix('{') {
            text = members;
            loop {
                text = text.trim_start_matches([' ', '\n', ',']);
                match text.strip_prefix('}') {
                    Some(rest) => return rest,
                    None if text.is_empty() => return text,
                    None => text = paths(text, base.clone(), found),
                }
            }
        }
        let name = head(text);
        text = &text[name.len()..];
        match name.as_str() {
            "" => return text.get(1..).unwrap_or_default(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => base.push(name),
        }
        let Some(rest) = text.strip_prefix("::") else {
            found.push(base);
            return text;
        };
        text = rest;
    }
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
        |source| {
            is_graphql_of_a_domain(source) || ["graphql", "schema", "operations", "http"].contains(&source.module())
        },
    );
    only("axum", |code| code.contains("axum"), |source| ["http", "app"].contains(&source.module()));
    only("sea_orm", |code| code.contains("sea_orm"), |source| !["model.rs", "filter.rs"].contains(&source.file()));
    only("sea_orm", |code| code.contains("sea_orm"), |source| !is_graphql_of_a_domain(source));
    only("tantivy", |code| code.contains("tantivy"), |source| source.module() == "search");
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
fn locks_have_no_poison_to_handle() {
    // The first reads the standard lock's flag ahead of the lock; the others have yet to change.
    let standard = ["src/http/websocket/writer/mod.rs", "src/schema/event.rs", "src/events/log.rs"];
    let standard = [&standard[..], &["src/realtime/hub.rs", "src/realtime/group.rs"]].concat();
    only("PoisonError", |code| code.contains("PoisonError"), |source| standard.contains(&source.path.as_str()));
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
        let may = |source: &Source| {
            ["model.rs", "entity.rs"].contains(&source.file()) || source.path.ends_with("/model/mod.rs")
        };
        only(record, |code| code.contains(record), may);
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
    ("tls_roots", ""),
    ("ids", "clock"),
    ("backoff", "ids"),
    ("error", "money"),
    ("text", "error"),
    ("db", "backoff error ids lifecycle settings tls_roots"),
    ("retention", "db error lifecycle settings"),
    ("schedule", "backoff clock db error lifecycle"),
    ("idempotency", "clock db error ids retention"),
    ("migrations", "db lifecycle"),
    // What domains stand on.
    ("events", "backoff clock db error ids lifecycle retention schedule settings"),
    ("auth", "clock db error events ids lifecycle retention settings"),
    ("search", "backoff error events ids lifecycle text"),
    // What a part proves of its tables.
    ("proof", "db error events"),
    // Domains: conversations -> claims -> {jobs, files}, jobs -> {wallet, notifications} -> accounts.
    ("files", "auth clock db error ids lifecycle named_enum proof schedule settings text"),
    ("accounts", "auth clock db error ids limits text"),
    ("notifications", "auth clock db error events ids money named_enum page proof retention"),
    (
        "wallet",
        "accounts auth clock db error events idempotency ids lifecycle money named_enum page proof schedule settings text",
    ),
    (
        "jobs",
        // Delivery finds the listeners of a job's events by terms that only this domain can name.
        "accounts auth clock db error events idempotency ids lifecycle money named_enum notifications page proof \
         realtime schedule search text wallet",
    ),
    (
        "claims",
        "accounts auth clock db error events files idempotency ids jobs money named_enum notifications page proof schedule \
         settings text wallet",
    ),
    (
        "conversations",
        // By its conversation a message's event is found; who is there is told over the bus.
        "accounts auth claims clock db error events ids jobs lifecycle notifications page proof realtime text",
    ),
    // Delivery knows the log and no domain.
    ("realtime", "auth backoff clock error events ids lifecycle network schedule settings tls_roots"),
    // Limits know callers and addresses, and what they do not.
    ("limits", "auth clock ids lifecycle network realtime settings"),
    // The kit knows no domain, but for the shape of an amount.
    (
        "graphql",
        // Root fields of subscriptions answer with streams of events.
        "auth clock connection error events idempotency ids lifecycle limits money network page realtime wallet",
    ),
    (
        "schema",
        "accounts auth claims conversations db events files graphql ids jobs lifecycle notifications realtime wallet",
    ),
    // From a document to its answer: below every transport, so that any server may have it.
    ("operations", "auth backoff clock db error events graphql ids limits realtime schema"),
    (
        "http",
        "auth backoff clock db demo error events files graphql ids lifecycle limits migrations network operations realtime \
         schema settings",
    ),
    // What the domains bring to the log, to delivery and to `verify`, which know none of them.
    ("domains", "auth claims conversations error events jobs notifications realtime wallet"),
    // The process.
    ("config", "auth claims db events files graphql http limits realtime retention search settings telemetry wallet"),
    ("telemetry", "auth http settings"),
    ("fuzzing", "graphql http schema"),
    ("verify", "claims conversations db domains error events files jobs notifications proof wallet"),
    ("backup", "db error"),
    ("demo", "auth"),
    ("seed", "accounts app auth claims demo jobs wallet"),
    (
        "app",
        "accounts auth claims clock config conversations db descriptors domains error events files graphql http idempotency ids jobs \
         lifecycle limits migrations notifications operations realtime retention schedule schema search settings telemetry wallet",
    ),
];

/// Where a domain speaks GraphQL: its types and roots in `graphql.rs` or a folder of that name, and its subscriptions
/// where they have a file of their own.
const SHOWN: [&str; 3] = ["graphql", "graphql.rs", "subscription.rs"];

const DOMAINS: [&str; 7] = ["accounts", "jobs", "claims", "conversations", "wallet", "notifications", "files"];

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
    let name = source.path.split('/').nth(2);
    DOMAINS.contains(&source.module()) && name.is_some_and(|name| SHOWN.contains(&name))
}

#[test]
fn every_subscription_answers_by_the_one_helper_and_asks_for_no_mode() {
    let what = |code: &str| ["Source::Group", "Source::One", "Source::Own"].iter().any(|mode| code.contains(mode));
    let may = |source: &Source| source.path == "src/graphql/subscriptions.rs" || source.module() == "operations";
    only("the source of a subscription's events", what, may);
    let home = |source: &Source| ["src/realtime/hub.rs", "src/realtime/follower.rs"].contains(&source.path.as_str());
    only("the broadcast channel", |code| code.contains("broadcast::") || code.contains("BroadcastStream"), home);
    let mut streams = 0;
    for source in sources("src").iter().filter(|source| DOMAINS.contains(&source.module())) {
        let roots = source.code.matches("-> Result<impl Stream<").count();
        // One that shows a state, and no events of the log, answers by the other helper.
        let answered =
            ["events(ctx, after, interest, ", "states(ctx, "].map(|helper| source.code.matches(helper).count());
        assert_eq!(answered.iter().sum::<usize>(), roots, "{}", source.path);
        streams += roots;
    }
    assert!(streams >= 5, "the reader of sources finds {streams}");
}

#[test]
fn every_domain_has_the_same_rooms() {
    let paths: BTreeSet<String> = sources("src").into_iter().map(|source| source.path).collect();
    for domain in DOMAINS {
        for room in ["mod", "entity", "model", "service", "error", "graphql"] {
            let as_file_or_folder = [format!("src/{domain}/{room}.rs"), format!("src/{domain}/{room}/mod.rs")];
            assert!(as_file_or_folder.iter().any(|path| paths.contains(path)), "{domain} has no {room}");
        }
        let records = !["accounts", "files"].contains(&domain);
        assert_eq!(paths.contains(&format!("src/{domain}/events.rs")), records, "{domain}");
    }
}

#[test]
fn every_file_says_what_it_is() {
    let all = ["src", "tests", "migration/src"].into_iter().flat_map(sources);
    let silent: Vec<String> = all.filter(|source| !source.text.starts_with("//! ")).map(|source| source.path).collect();
    assert_eq!(silent, [""; 0]);
}

/// What one reads in a sitting.
const LINES: usize = 600;

#[test]
fn no_file_is_longer_than_one_reads_in_a_sitting() {
    let all = ["src", "tests", "migration/src", "bench/src", "examples"].into_iter().flat_map(sources);
    let lengths = all.map(|source| (source.path, source.text.lines().count()));
    let long: Vec<(String, usize)> = lengths.filter(|(_, lines)| *lines > LINES).collect();
    assert_eq!(long, [], "more than {LINES} lines: make it a folder by concern");
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

/// What the log is told of the domains it is told by [`EventKind`](lancewire::events::EventKind) alone: none of their
/// kinds stands in its sources, nor in those of delivery.
#[test]
fn the_log_and_delivery_know_no_kind_of_event() {
    let kinds: Vec<&str> = lancewire::domains::KINDS.iter().map(lancewire::events::EventKind::as_str).collect();
    only(
        "a kind of events",
        |code| kinds.iter().any(|kind| code.contains(kind)),
        |source| !["events", "realtime"].contains(&source.module()),
    );
}

/// How many circles of imports there may be among files, of how many files the largest, and how many among top modules. A
/// change that lowers one lowers it here. The largest are the types of the API, which refer to each other as the schema does.
const CIRCLES: [usize; 3] = [9, 16, 1];

#[test]
fn imports_make_no_more_circles_than_there_are() {
    let sources = sources("src").into_iter().filter(|source| !["main", "lib"].contains(&source.module()));
    let sources: Vec<Source> = sources.filter(|source| !source.code.is_empty()).collect();
    let known: BTreeSet<Path> = sources.iter().map(Source::place).collect();
    let passed_on: BTreeMap<Path, Path> = sources.iter().flat_map(Source::passes_on).collect();
    let files: BTreeMap<Path, BTreeSet<Path>> =
        sources.iter().map(|source| (source.place(), source.imports(&known, &passed_on))).collect();
    let mut tops: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
    for (place, imports) in &files {
        let others = imports.iter().map(|import| vec![import[0].clone()]);
        tops.entry(vec![place[0].clone()]).or_default().extend(others.filter(|other| other[0] != place[0]));
    }
    let (files, tops) = (circles(&files), circles(&tops));
    for circle in files.iter().chain(&tops) {
        println!("{} in a circle: {}", circle.len(), circle.join(", "));
    }
    let found = [files.len(), files.iter().map(Vec::len).max().unwrap_or_default(), tops.len()];
    assert!(found.iter().zip(CIRCLES).all(|(found, most)| *found <= most), "{found:?} are more than {CIRCLES:?}");
}

/// Where one gets from a place.
fn reached<'a>(graph: &'a BTreeMap<Path, BTreeSet<Path>>, from: &'a Path) -> BTreeSet<&'a Path> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(place) = next.pop() {
        next.extend(graph.get(place).into_iter().flatten().filter(|place| seen.insert(*place)));
    }
    seen
}

/// The groups whose members all reach each other, of more than one member.
fn circles(graph: &BTreeMap<Path, BTreeSet<Path>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&Path, BTreeSet<&Path>> = graph.keys().map(|place| (place, reached(graph, place))).collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (place, seen) in &reach {
        if seen.contains(place) {
            let group = seen.iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(place)));
            groups.insert(group.map(|place| place.join("::")).collect());
        }
    }
    groups.into_iter().collect()
}

#[test]
fn a_folder_has_its_head_within() {
    let paths: BTreeSet<String> =
        ["src", "migration/src"].into_iter().flat_map(sources).map(|source| source.path).collect();
    let beside = |path: &&String| {
        let folder = format!("{}/", path.trim_end_matches(".rs"));
        // Unit tests may lie beside the one file that they are of.
        paths.iter().any(|other| other.strip_prefix(&folder).is_some_and(|inner| inner != "tests.rs"))
    };
    let strangers: Vec<&String> = paths.iter().filter(beside).collect();
    assert_eq!(strangers, [""; 0], "x.rs beside x/: write x/mod.rs");
}

#[test]
fn a_circle_is_found() {
    let place = |name: &str| vec![name.to_owned()];
    let graph = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
    let graph = graph.map(|(from, to)| (place(from), BTreeSet::from([place(to)])));
    assert_eq!(circles(&graph.into()), [["b", "c"]]);
    let code = "use super::{b::{C, d}, self};\nfn f() { crate::a::e::g(); self::h::i() }";
    let source = Source { path: "src/a/x.rs".into(), text: String::new(), code: code.into() };
    let known = ["a", "a::b", "a::b::d", "a::e", "a::x", "a::x::h"];
    let known = known.map(|path| path.split("::").map(ToOwned::to_owned).collect()).into();
    let imports: Vec<String> = source.imports(&known, &BTreeMap::new()).iter().map(|path| path.join("::")).collect();
    assert_eq!(imports, ["a::b", "a::b::d", "a::e"], "a folder and what is in it are one way");
}

#[test]
fn the_reader_of_sources_reads_what_is_there() {
    let code = "use crate::{a::b, c::{d, e},\n f};\n// crate::comment\nfn g() { crate::h::i(); }\n\
                #[cfg(test)]\nmod tests;\nuse crate::j;\n#[cfg(test)]\nmod tests { use crate::k; }";
    let source = Source { path: "src/a/x.rs".into(), text: String::new(), code: production(code) };
    assert_eq!(source.neighbours().into_iter().collect::<Vec<_>>(), ["c", "f", "h", "j"]);
    assert_eq!((source.module(), source.file()), ("a", "x.rs"));
}
