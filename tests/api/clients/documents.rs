//! What `docs/api.md` and `docs/clients.md` show is what the tests run: each block of `docs/clients.md` that has a file's name
//! before it is that file of `examples/clients`, and its commands run as they stand.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use lancewire::{clock::Clock, seed::seed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::relay_is_built;
use crate::support::{
    app::{Database, TestApp, soon},
    people::text,
};

const DOCUMENT: &str = include_str!("../../../docs/clients.md");
const API: &str = include_str!("../../../docs/api.md");

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/clients")
}

/// The blocks of the document with the names that stand before them: "`name`:", an empty line, the block.
fn named_blocks() -> Vec<(&'static str, &'static str)> {
    let mut blocks = Vec::new();
    for (before, rest) in DOCUMENT.match_indices("`:\n\n```").map(|(place, _)| DOCUMENT.split_at(place)) {
        let name = before.rsplit('`').next().expect("a part");
        let (_, block) = rest[5..].split_once('\n').expect("a block");
        blocks.push((name, block.split_once("```\n").expect("its end").0));
    }
    blocks
}

/// Every file that somebody wrote below a folder, by its name from there.
fn files(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("a type").is_dir() {
            if !["node_modules", "__generated__", ".venv", "target"].contains(&name.as_str()) {
                files(&entry.path(), &format!("{path}/"), found);
            }
        } else {
            found.insert(path);
        }
    }
}

#[test]
fn each_block_is_the_file_that_is_played() {
    let blocks = named_blocks();
    for (name, block) in &blocks {
        let file = fs::read_to_string(examples().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(*block, file, "docs/clients.md shows another {name}");
    }
    let mut found = BTreeSet::new();
    files(&examples(), "", &mut found);
    for hidden in ["package.json", "package-lock.json", "relay/jobs.built.js", "rust/Cargo.toml"] {
        found.remove(hidden);
    }
    let shown: BTreeSet<String> = blocks.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shown, found, "docs/clients.md shows all of examples/clients");
}

/// The packages that the document tells people to install are those that the tests have, in the same major versions.
#[test]
fn what_is_installed_is_what_is_tested() {
    let read = |name: &str| fs::read_to_string(examples().join(name)).expect("a file");
    let packages: Value = serde_json::from_str(&read("package.json")).expect("JSON");
    let version = |package: &str| {
        let mut groups = ["dependencies", "devDependencies"].iter();
        groups.find_map(|group| packages[group][package].as_str()).unwrap_or_default().to_owned()
    };
    let requirements = include_str!("../../python/requirements.txt");
    let commands = DOCUMENT.lines().filter(|line| line.contains("install "));
    let names = commands.flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    let pinned: Vec<&str> =
        names.map(|name| name.trim_matches('\'')).filter(|name| name[1..].contains(['@', '='])).collect();
    assert!(pinned.len() > 10, "{pinned:?}");
    for package in pinned {
        if let Some((name, wanted)) = package.split_once("==") {
            let name = name.split('[').next().expect("a part");
            assert!(requirements.lines().any(|line| line == format!("{name}=={wanted}")), "{package}");
        } else {
            let (name, wanted) = package.rsplit_once('@').expect("a version");
            assert_eq!(version(name).split('.').next(), Some(wanted), "{package}");
        }
    }
}

/// A program that runs in `examples/clients`, and what it writes.
struct Running {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.current_dir(examples()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("it runs");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { _process: process, lines }
    }

    /// Waits for a line that holds this.
    async fn says(&mut self, wanted: &str) {
        while !soon(self.lines.next_line()).await.expect("text").expect("it goes on").contains(wanted) {}
    }
}

/// A block of `docs/api.md` as a module, unchanged but for the address.
fn module(app: &TestApp, start: &str) -> Command {
    let block = API.split("```js\n").skip(1).find(|block| block.starts_with(start)).expect("a block");
    let code = block.split("```").next().expect("a part").replace("127.0.0.1:4000", &app.addr.to_string());
    let mut command = Command::new("node");
    command.args(["--experimental-eventsource", "--no-warnings", "--input-type=module", "--eval", &code]);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_of_the_api_page_run_as_they_stand() {
    let app = TestApp::start_with(Database::Sqlite, "[sockets]\nping_interval_ms = 100", Clock::system()).await;
    let ada = app.client("Ada").await;
    let mut socket = Running::start(module(&app, "// jobs.mjs"));
    let mut events = Running::start(module(&app, "const url"));
    app.listening(2).await;
    let job = text(&ada.post_job("One").await, "/id");
    events.says("One").await;
    ada.update(&job, json!({ "title": "First" })).await.good();
    socket.says("First").await;
    ada.post_job("Two").await;
    events.says("Two").await;
    // A browser's comes back from a restart. Node's gives up at the first connection that is refused.
    drop(events);
    let app = app.restarted().await;
    ada.update(&job, json!({ "title": "While it was away" })).await.good();
    socket.says("While it was away").await;
    drop(socket);
    app.listening(0).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_the_document_run_as_they_stand() {
    relay_is_built().await;
    let app = TestApp::start(Database::Sqlite).await;
    seed(&app.app).await.expect("demo data");
    let ada = app.client("Ada").await;
    let pages = ["apollo/main.js", "urql/main.js", "relay/main.js"].map(|page| {
        assert!(DOCUMENT.contains(&format!("node {page}")), "{page}");
        let mut command = Command::new("node");
        command.arg(page).env("URL", format!("http://{}/graphql", app.addr));
        Running::start(command)
    });
    app.listening(6).await;
    ada.post_job("The very last one").await;
    for mut page in pages {
        page.says("the newest is The very last one").await;
    }
    app.listening(0).await;
    app.finish().await;
}
