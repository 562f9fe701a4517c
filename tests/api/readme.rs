//! README's story, run as it stands there: its shell lines are taken out of the file and given to bash.

use std::process::Command;

use lancewire::seed::seed;

use crate::support::app::{Database, TestApp};

const README: &str = include_str!("../../README.md");

/// The lines of all `sh` blocks between two headings.
fn shell_lines(from: &str, to: &str) -> String {
    let section = README.split_once(from).and_then(|(_, rest)| rest.split_once(to)).expect("both headings").0;
    section.split("```sh\n").skip(1).filter_map(|block| block.split_once("```")).map(|(lines, _)| lines).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_in_five_operations_runs_as_it_stands() {
    let app = TestApp::start(Database::Sqlite).await;
    seed(&app.app).await.expect("demo data");
    let script = shell_lines("## The story in five operations", "## Subscribing");
    let script = script.replace("127.0.0.1:4000", &app.addr.to_string());
    let output = tokio::task::spawn_blocking(move || {
        Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().expect("bash runs")
    });
    let output = output.await.expect("bash ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let answers: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect();
    assert_eq!(answers.len(), 6, "{out}");
    for (place, field) in [(2, "postJob"), (3, "claimJob"), (4, "submitDeliverable"), (5, "approveDeliverable")] {
        assert_eq!(answers[place]["data"][field]["errors"], serde_json::json!([]), "{out}");
    }
    assert_eq!(answers[5]["data"]["approveDeliverable"]["job"]["status"], "COMPLETED");
    app.finish().await;
}
