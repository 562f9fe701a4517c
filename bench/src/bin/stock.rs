//! The peer in Rust: async-graphql with its own WebSocket and a tokio broadcast channel, as its book has it.
//!
//! Every subscriber's stream executes its selection for every event, and every socket is async-graphql-axum's. With
//! `--small-buffers` the one change is made that helps such a server most: tungstenite's read buffer, which is zeroed
//! at each poll, shrinks from 128 KiB to 4 KiB.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use async_graphql::{
    Context, ID, InputObject, Object, Schema, SimpleObject, Subscription, http::ALL_WEBSOCKET_PROTOCOLS,
};
use async_graphql_axum::{GraphQL, GraphQLProtocol, GraphQLSubscription, GraphQLWebSocket};
use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    response::Response,
    routing::{get, get_service},
};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::{Stream, StreamExt as _, wrappers::BroadcastStream};

/// Events that may wait for a slow subscriber; what is pushed out is gone, as in the book.
const CHANNEL: usize = 1024;

const SMALL_READ_BUFFER: usize = 4 * 1024;

type PeerSchema = Schema<Query, Mutation, Events>;

struct Shared {
    channel: broadcast::Sender<JobUpdated>,
    position: AtomicI64,
}

#[derive(Clone, SimpleObject)]
struct Job {
    id: ID,
    version: i64,
    title: String,
}

#[derive(Clone, SimpleObject)]
struct JobUpdated {
    id: ID,
    cursor: String,
    job: Job,
}

#[derive(InputObject)]
struct JobPatch {
    title: String,
}

#[derive(InputObject)]
struct UpdateJobInput {
    id: ID,
    patch: JobPatch,
}

#[derive(SimpleObject)]
struct UserError {
    message: String,
}

#[derive(SimpleObject)]
struct UpdateJobPayload {
    job: Job,
    errors: Vec<UserError>,
}

struct Query;

#[Object]
impl Query {
    async fn ready(&self) -> bool {
        true
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn update_job(&self, context: &Context<'_>, input: UpdateJobInput) -> UpdateJobPayload {
        let shared = context.data_unchecked::<Arc<Shared>>();
        let version = shared.position.fetch_add(1, Ordering::Relaxed) + 1;
        let job = Job { id: input.id, version, title: input.patch.title };
        let event =
            JobUpdated { id: ID(format!("event_{version:026}")), cursor: format!("{version:032}"), job: job.clone() };
        // An error means that nobody listens.
        let _ = shared.channel.send(event);
        UpdateJobPayload { job, errors: Vec::new() }
    }
}

struct Events;

#[Subscription]
impl Events {
    async fn job_updated(&self, context: &Context<'_>) -> impl Stream<Item = JobUpdated> + use<> {
        let receiver = context.data_unchecked::<Arc<Shared>>().channel.subscribe();
        BroadcastStream::new(receiver).filter_map(Result::ok)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let address = arguments.first().context("usage: stock ADDRESS [--small-buffers]")?;
    let small = arguments.iter().any(|argument| argument == "--small-buffers");

    let (channel, _) = broadcast::channel(CHANNEL);
    let shared = Arc::new(Shared { channel, position: AtomicI64::new(0) });
    let schema = Schema::build(Query, Mutation, Events).data(shared).finish();
    let sockets = if small {
        get(small_buffered).with_state(schema.clone())
    } else {
        get_service(GraphQLSubscription::new(schema.clone()))
    };
    let router = Router::new().route("/graphql", sockets.post_service(GraphQL::new(schema)));
    axum::serve(TcpListener::bind(address).await?, router).await?;
    Ok(())
}

async fn small_buffered(
    State(schema): State<PeerSchema>,
    protocol: GraphQLProtocol,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .read_buffer_size(SMALL_READ_BUFFER)
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .on_upgrade(move |socket| GraphQLWebSocket::new(socket, schema, protocol).serve())
}
