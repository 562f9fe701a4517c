//! Prints each change of a job, in order and without a gap. `cargo run --example subscriber -- FILE` keeps its cursor in
//! FILE: it may be stopped and started again, as may the server. `LANCEWIRE_URL` names another server.
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{env, fs, time::Duration};
use tokio_tungstenite::{connect_async, tungstenite::client::IntoClientRequest};

const QUERY: &str = "subscription($after: String) { jobUpdated(after: $after) { cursor job { status title } } }";

#[tokio::main]
async fn main() -> Result<()> {
    let file = env::args().nth(1).context("name a file for the cursor")?;
    let url = env::var("LANCEWIRE_URL").unwrap_or_else(|_| "ws://127.0.0.1:4000/graphql".to_owned());
    loop {
        eprintln!("{:?}", follow(&url, &file, |job| println!("{job}")).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Calls `changed` for each event after the cursor in `file`, at least once, until the connection ends.
pub(crate) async fn follow(url: &str, file: &str, mut changed: impl FnMut(&Value)) -> Result<()> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
    let (mut socket, _) = connect_async(request).await?;
    socket.send(json!({ "type": "connection_init" }).to_string().into()).await?;
    let payload = json!({ "query": QUERY, "variables": { "after": fs::read_to_string(file).ok() } });
    while let Some(frame) = socket.next().await {
        let message: Value = serde_json::from_str(frame?.to_text()?).unwrap_or_default();
        let event = &message["payload"]["data"]["jobUpdated"];
        let answer = match message["type"].as_str() {
            Some("connection_ack") => json!({ "id": "1", "type": "subscribe", "payload": payload }),
            Some("ping") => json!({ "type": "pong" }),
            Some("next") => {
                changed(&event["job"]);
                fs::write(file, event["cursor"].as_str().context("a cursor")?)?;
                continue;
            }
            _ => bail!("{message}"), // with CURSOR_EXPIRED in it: read your list again, and begin without the file
        };
        socket.send(answer.to_string().into()).await?;
    }
    bail!("the connection has ended")
}
