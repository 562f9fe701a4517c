//! The documents: every link leads somewhere, README stays short, and the settings of `docs/deploying.md` start a server.
//!
//! Other stories run other commands: `readme` README's, `clients::documents` those of `docs/api.md` and `docs/clients.md`,
//! `operating` those of `docs/backups.md` and `docs/upgrades.md`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use reqwest::Method;

use crate::support::{
    app::soon,
    binary::{Home, Port, signal},
    http::Http,
    postgres::Mortal,
    redis::Redis,
    tls::{Authority, Certificate},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of the repository, as paths from its root.
fn documents() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let foreign = ["node_modules", "target", "data", "results"].contains(&name) || name.starts_with('.');
            if path.is_dir() && !foreign {
                collect(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort();
    found
}

/// The text without fenced blocks and code in backticks, in which brackets are no links.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The targets of `[text](target)`, and of `[name]: target`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
    let named = prose.lines().filter_map(|line| {
        let (name, target) = line.split_once("]: ")?;
        name.starts_with('[').then(|| target.trim().to_owned())
    });
    inline.chain(named).collect()
}

/// The anchors that GitHub gives to the headings of a text.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
        kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).expect("a text");
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            count += 1;
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => root().join(&document),
                path => root().join(document.parent().expect("a folder")).join(path),
            };
            let found = match anchor {
                None => target.exists(),
                Some(anchor) => fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor)),
            };
            if !found {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert_eq!(dead, [""; 0]);
    assert!(count > 100, "only {count} links were found");
}

#[test]
fn links_and_anchors_are_read_as_a_browser_of_sources_does() {
    let text = "# How `much` a node-takes?\n[a](b.md#c) and [d](e)\n```sh\n[not](a-link)\n```\n[1.0]: https://x\n";
    assert_eq!(links(text), ["b.md#c", "e", "https://x"]);
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["how-much-a-node-takes"]);
}

#[test]
fn readme_is_the_first_page_and_no_more() {
    let readme = include_str!("../../README.md");
    assert!(readme.lines().count() <= 130, "README has {} lines; details belong in docs/", readme.lines().count());
}

/// Each decision has the same parts, and the list of decisions names each.
#[test]
fn decisions_have_the_same_parts() {
    let folder = root().join("docs/adr");
    let list = fs::read_to_string(folder.join("README.md")).expect("the list");
    let mut decisions = 0;
    for entry in fs::read_dir(&folder).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name == "README.md" {
            continue;
        }
        decisions += 1;
        let text = fs::read_to_string(folder.join(&name)).expect("a text");
        for part in ["Context", "Decision", "Measured", "Consequences", "When to look again"] {
            assert!(text.contains(&format!("\n## {part}\n")), "{name} has no part {part}");
        }
        assert!(list.contains(&format!("({name})")), "the list lacks {name}");
    }
    assert!(decisions >= 6, "{decisions}");
}

/// The blocks of shell in `docs/deploying.md` below a heading, without the last line that starts the server.
fn settings(heading: &str) -> Vec<String> {
    let page = include_str!("../../docs/deploying.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split_once("```").expect("its end").0);
    blocks.map(|block| block.replace("lancewire serve\n", "")).collect()
}

/// Runs a script that ends in a server, waits until it is ready, and ends it.
async fn starts(home: Home, script: &str) {
    let health = Port::reserve();
    let home = home
        .with("LANCEWIRE_HTTP__DRAIN_DELAY_MS", "0")
        .with("LANCEWIRE_TELEMETRY__METRICS_LISTEN", health.addr.to_string());
    let mut shell = home.shell(&format!("{script}\nexec lancewire serve"));
    let mut server = shell.stderr(Stdio::inherit()).spawn().expect("bash runs");
    let http = Http::new(health.addr);
    soon(async {
        loop {
            let answer = http.request(Method::GET, "/health/ready").send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            assert!(server.try_wait().expect("ours").is_none(), "it ends: {script}");
            tokio::task::yield_now().await;
        }
    })
    .await;
    signal(&server, "TERM").await;
    let ended = soon(server.wait()).await.expect("it was ours");
    assert_eq!(ended.code(), Some(0), "{script}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_a_production_node_start_one() {
    let home = Home::new().in_production();
    let etc = home.path().join("etc");
    for folder in ["keys", "tls"] {
        fs::create_dir_all(etc.join(folder)).expect("a folder");
    }
    let authority = Authority::new(&etc, "authority");
    let database = Mortal::start_secured(&authority).await;
    let redis = Redis::start_secured(&authority).await;
    let own = Certificate::issue(&etc);
    fs::copy(&own.certificate, etc.join("tls/fullchain.pem")).expect("a certificate");
    fs::copy(&own.key, etc.join("tls/privkey.pem")).expect("a key");
    for name in ["db-ca.pem", "redis-ca.pem"] {
        fs::copy(&authority.certificate, etc.join("tls").join(name)).expect("a certificate");
    }

    let mut blocks = settings("Running it");
    blocks.extend(settings("TLS and proxies"));
    assert_eq!(blocks.len(), 4, "{blocks:#?}");
    let url = database.url().replace("127.0.0.1", "localhost");
    let mut script = blocks.concat().replace("/etc/lancewire", &etc.display().to_string());
    script = script.replace("postgres://lancewire:secret@db.internal/lancewire", &url);
    script = script.replace("postgres://lancewire:secret@db.example.com/lancewire", &url);
    script = script.replace(":secret@cache.example.com:6379", "");
    match &redis {
        Some(redis) => script = script.replace("rediss://", &format!("rediss://localhost:{}", redis.addr().port())),
        None => script += "unset LANCEWIRE_BUS__REDIS_URL LANCEWIRE_BUS__REDIS_CA\n",
    }
    assert!(!script.contains("example.com:") && !script.contains(".internal"), "{script}");
    starts(home, &script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_of_one_of_several_nodes_start_one() {
    let home = Home::new();
    fs::create_dir(home.path().join("keys")).expect("a folder");
    let (database, redis) = (Mortal::start().await, Redis::start().await);
    let [block] = settings("Several nodes").try_into().expect("one block");
    let key = "openssl genpkey -algorithm ed25519 -out keys/2026-11.pem\n";
    let script = format!("{key}{block}")
        .replace("postgres://lancewire:secret@db.internal/lancewire", database.url())
        .replace("/etc/lancewire/keys", &home.path().join("keys").display().to_string())
        .replace("cache.internal:6379", &redis.addr().to_string());
    assert!(!script.contains(".internal"), "{script}");
    starts(home, &script).await;
}
