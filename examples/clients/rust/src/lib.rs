//! Follows the jobs for ever. Nothing is missed, and nothing older is taken for news, whatever happens to the connection.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use futures_util::StreamExt;
use graphql_ws_client::{Client, graphql::GraphqlOperation};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{client::IntoClientRequest, http::HeaderValue},
};

/// Why it cannot go on.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

const JOBS: &str = "{ streamCursor jobs(first: 50) { nodes { id version title status } } }";
const CHANGES: &str =
    "subscription($after: String) { jobUpdated(after: $after) { cursor job { id version title status } } }";

#[derive(Serialize)]
struct Operation {
    query: &'static str,
    variables: Value,
}

impl GraphqlOperation for Operation {
    type Response = Value;
    type Error = Infallible;

    fn decode(&self, data: Value) -> Result<Value, Infallible> {
        Ok(data)
    }
}

/// Calls `changed` with each open job, then with each that has changed. `token` is asked before each connection.
///
/// # Errors
///
/// When the server refuses the subscription for good.
pub async fn follow(
    url: &str,
    token: impl AsyncFn() -> Option<String>,
    mut changed: impl FnMut(&Value),
) -> Result<(), Error> {
    let mut versions: HashMap<String, i64> = HashMap::new();
    let mut keep = |job: &Value| {
        let (id, version) = (job["id"].as_str().unwrap_or_default(), job["version"].as_i64().unwrap_or_default());
        if versions.get(id).is_none_or(|known| *known < version) {
            versions.insert(id.to_owned(), version);
            changed(job);
        }
    };
    let mut after: Option<String> = None;
    for tries in 0_u32.. {
        // From half a second to 30, and never all clients at once.
        if tries > 0 {
            sleep(Duration::from_secs(30.min(1 << tries.min(5))).mul_f64(rand::random_range(0.5..1.0))).await;
        }
        let token = token().await;
        if after.is_none() {
            let Ok(answer) = list(url, token.as_deref()).await else { continue };
            answer["jobs"]["nodes"].as_array().into_iter().flatten().for_each(&mut keep);
            after = answer["streamCursor"].as_str().map(ToOwned::to_owned);
        }
        let Ok(Ok(mut events)) = timeout(Duration::from_secs(10), connect(url, token, after.as_deref())).await else {
            continue;
        };
        while let Some(Ok(event)) = events.next().await {
            if let Some(error) = event["errors"].get(0) {
                match error["extensions"]["code"].as_str() {
                    Some("CURSOR_EXPIRED") => after = None, // no longer kept: the list is read anew
                    Some("UNAVAILABLE") => {}               // not now
                    _ => return Err(error.to_string().into()),
                }
                break;
            }
            let event = &event["data"]["jobUpdated"];
            keep(&event["job"]);
            after = event["cursor"].as_str().map(ToOwned::to_owned).or(after);
        }
    }
    Ok(())
}

async fn list(url: &str, token: Option<&str>) -> Result<Value, Error> {
    let request = reqwest::Client::new().post(url).json(&json!({ "query": JOBS })).timeout(Duration::from_secs(10));
    let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    let mut answer: Value = request.send().await?.json().await?;
    Ok(answer["data"].take())
}

async fn connect(
    url: &str,
    token: Option<String>,
    after: Option<&str>,
) -> Result<graphql_ws_client::Subscription<Operation>, Error> {
    let mut request = url.replacen("http", "ws", 1).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let (socket, _) = connect_async(request).await?;
    let init = token.map_or_else(|| json!({}), |token| json!({ "Authorization": format!("Bearer {token}") }));
    let client = Client::build(socket).payload(init)?.keep_alive_interval(Duration::from_secs(15));
    Ok(client.subscribe(Operation { query: CHANGES, variables: json!({ "after": after }) }).await?)
}
