//! README's story, run as it stands there: its shell lines are taken out of the file and given to shells, word by word. To
//! bash and to zsh, as a script and as somebody who pastes them at a prompt, the live operation beside the others.

use std::{path::Path, pin::pin, process::Stdio, time::Duration};

use lancewire::jobs::events::JOB_UPDATED;
use lancewire::seed::seed;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use crate::support::app::{Database, TestApp, soon, until};

const README: &str = include_str!("../../README.md");

/// How long a shell may take for one block.
const GUARD: Duration = Duration::from_secs(30);

/// The part of README that tells the story.
fn story() -> &'static str {
    let (_, rest) = README.split_once("\n## The story in six operations\n").expect("the heading");
    rest.split("\n## ").next().expect("a part")
}

/// The fenced blocks of a language in the story.
fn blocks(language: &str, app: &TestApp) -> Vec<String> {
    let begin = format!("```{language}\n");
    let blocks = story().split(&begin).skip(1).filter_map(|block| block.split_once("```"));
    blocks.map(|(lines, _)| lines.replace("127.0.0.1:4000", &app.addr.to_string())).collect()
}

/// The four ways in which the lines are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    Bash,
    Zsh,
    BashAtPrompt,
    ZshAtPrompt,
}

impl Shell {
    const fn prompts(self) -> bool {
        matches!(self, Self::BashAtPrompt | Self::ZshAtPrompt)
    }

    /// A shell with nobody's own settings, and the lines on its standard input; or, if it has no prompt, in place of it,
    /// where one command is to run in the shell's own process.
    async fn start(self, home: &Path, alone: Option<&str>) -> Child {
        let mut command = match self {
            Self::Bash => Command::new("bash"),
            Self::Zsh => Command::new("zsh"),
            // A test that was begun in the background has inherited that the key which ends a command is ignored.
            Self::BashAtPrompt | Self::ZshAtPrompt => Command::new("env"),
        };
        match self {
            Self::Bash => command.args(["-euo", "pipefail"]),
            Self::Zsh => command.args(["-f", "-euo", "pipefail"]),
            Self::BashAtPrompt => {
                command.args(["--default-signal=INT", "script", "-qec", "bash --noprofile --norc -i", "/dev/null"])
            }
            Self::ZshAtPrompt => command.args(["--default-signal=INT", "script", "-qec", "zsh -d -i", "/dev/null"]),
        };
        if let Some(line) = alone.filter(|_| !self.prompts()) {
            command.args(["-c", line]);
        }
        // Where there is no such file, zsh begins by asking questions.
        std::fs::write(home.join(".zshrc"), "").expect("an empty file");
        command.env("HOME", home).env("ZDOTDIR", home).env("TERM", "xterm").env_remove("TOKEN").env_remove("HISTFILE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut shell = command.spawn().unwrap_or_else(|error| panic!("{self:?} runs: {error}"));
        if let (Some(line), Some(lines)) = (alone.filter(|_| self.prompts()), &mut shell.stdin) {
            lines.write_all(line.as_bytes()).await.expect("the shell reads");
        }
        shell
    }

    /// Gives the blocks to the shell, each once the one before has come to its end, and returns all that it printed.
    async fn run(self, blocks: &[String]) -> String {
        let home = tempfile::tempdir().expect("a directory");
        let mut shell = self.start(home.path(), None).await;
        let (mut lines, mut output) = (shell.stdin.take().expect("a pipe"), shell.stdout.take().expect("a pipe"));
        let mut printed = Vec::new();
        for (number, block) in blocks.iter().enumerate() {
            // What a prompt echoes of this is not what the command prints.
            let typed = format!("{block}printf 'block-%s-is-done\\n' {number}\n");
            lines.write_all(typed.as_bytes()).await.expect("the shell reads");
            let end = format!("block-{number}-is-done");
            let read = async {
                while !String::from_utf8_lossy(&printed).contains(&end) {
                    let count = output.read_buf(&mut printed).await.expect("readable");
                    assert!(count > 0, "{self:?} ends in block {number}: {}", String::from_utf8_lossy(&printed));
                }
            };
            let done = timeout(GUARD, read).await;
            assert!(done.is_ok(), "{self:?}, block {number}: {}", String::from_utf8_lossy(&printed));
        }
        String::from_utf8_lossy(&printed).into_owned()
    }
}

/// The lines of an output that are answers.
fn answers(output: &str) -> Vec<Value> {
    let lines = output.lines().filter_map(|line| line.find("{\"data\":").map(|at| line[at..].trim_end()));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// An answer without what is another's each time: ids, tokens, moments and amounts.
fn shape(answer: &Value) -> Value {
    match answer {
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(fields) => {
            let varies = |name: &str| matches!(name, "id" | "accessToken" | "expiresAt" | "amount" | "cursor");
            let field = |(name, value): (&String, &Value)| {
                (name.clone(), if varies(name) && value.is_string() { json!("..") } else { shape(value) })
            };
            fields.iter().map(field).collect()
        }
        leaf => leaf.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_in_six_operations_runs_as_it_stands() {
    let app = TestApp::start(Database::Sqlite).await;
    seed(&app.app).await.expect("demo data");
    let all = blocks("sh", &app);
    let (live, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|block| block.contains("text/event-stream"));
    assert_eq!((live.len(), others.len()), (1, 5), "one operation is live");
    let promised: Vec<Value> = blocks("json", &app).iter().map(|block| shape(&answers(block)[0])).collect();
    let event = blocks("text", &app)[0].lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    let event: Value = serde_json::from_str(&event.expect("an event")).expect("JSON");
    for shell in [Shell::Bash, Shell::Zsh, Shell::BashAtPrompt, Shell::ZshAtPrompt] {
        let home = tempfile::tempdir().expect("a directory");
        let mut watching = shell.start(home.path(), Some(&live[0])).await;
        let hub = &app.app.services.hub;
        until("it watches", || hub.listeners(JOB_UPDATED) == 1).await;

        let told = answers(&shell.run(&others).await);
        assert_eq!(told.len(), 6, "{shell:?}: {told:#?}");
        let told: Vec<Value> = told.iter().map(shape).collect();
        assert_eq!(told[2..], promised, "{shell:?} answers what README shows");

        let mut printed = Vec::new();
        let mut output = watching.stdout.take().expect("a pipe");
        let heard = |printed: &[u8]| answers(&String::from_utf8_lossy(printed));
        soon(async {
            while heard_in_full(&printed) < 3 {
                assert!(output.read_buf(&mut printed).await.expect("readable") > 0, "{shell:?} stops watching");
            }
        })
        .await;
        let heard = heard(&printed);
        let statuses: Vec<_> = heard.iter().map(|event| &event["data"]["jobUpdated"]["job"]["status"]).collect();
        assert_eq!(statuses, ["CLAIMED", "IN_REVIEW", "COMPLETED"], "{shell:?}");
        assert_eq!(heard[0], event, "{shell:?} shows what README shows");
        // At a prompt by its key, and nothing else before that has worked: a shell that loses its terminal may leave curl
        // waiting for the next heartbeat.
        let mut keys = watching.stdin.take().expect("a pipe");
        let ended = format!("{shell:?} watches no more");
        let mut ended = pin!(until(&ended, || hub.listeners(JOB_UPDATED) == 0));
        // Again where the first one came to nothing, as anybody would.
        loop {
            if shell.prompts() {
                let _ = keys.write_all(b"\x03").await;
            } else {
                let _ = watching.start_kill();
            }
            if timeout(Duration::from_secs(3), ended.as_mut()).await.is_ok() {
                break;
            }
        }
        watching.kill().await.expect("it can be stopped");
    }
    app.finish().await;
}

/// How many answers have come with their last line.
fn heard_in_full(printed: &[u8]) -> usize {
    let whole = printed.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    answers(&String::from_utf8_lossy(&printed[..whole])).len()
}

/// What bites at a prompt: zsh takes `#` for a command, and bash and zsh take `!` for something said before.
#[test]
fn nothing_in_the_story_bites_at_a_prompt() {
    for block in story().split("```sh\n").skip(1) {
        let block = block.split_once("```").expect("its end").0;
        for line in block.lines() {
            assert!(!line.contains('!') && !line.contains('\t'), "{line}");
            assert!(!line.trim_start().starts_with('#') && !line.contains(" #"), "{line}");
            assert!(!line.contains("%N"), "only GNU's date knows %N: {line}");
        }
    }
}
