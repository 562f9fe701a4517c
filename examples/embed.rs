//! Lancewire's API inside an axum application of one's own, by async-graphql-axum's handlers.
//!
//! `cargo run --example embed -- 127.0.0.1:8080`
//!
//! `/api` runs operations with everything in front of them that the server has: tokens, budgets, limits, codes. `/bare` is
//! the schema alone, for a program that has its own: there everybody is anonymous, unless the request's data has a
//! `Scope`. Subscriptions resume after a cursor at both.

use std::net::SocketAddr;

use async_graphql_axum::{GraphQL, GraphQLSubscription};
use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, get_service},
    serve::ListenerExt,
};
use lancewire::{app::App, clock::Clock, config::Config, ids::Ids, operations::Operations};
use tokio::net::TcpListener;
use tower::ServiceExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let clock = Clock::system();
    let lancewire = App::build(Config::load()?, clock.clone(), Ids::from_entropy(clock)).await?;
    // Without TCP_NODELAY a small event waits for the acknowledgement of the last one.
    let listener = TcpListener::bind(address).await?.tap_io(|connection| drop(connection.set_nodelay(true)));
    let service = router(&lancewire).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) }).await?;
    lancewire.shut_down().await;
    Ok(())
}

pub(crate) fn router(lancewire: &App) -> Router {
    let bare = lancewire.services.schema();
    Router::new()
        .route("/", get(|| async { "An application with a marketplace in it.\n" }))
        .route("/api", any(api).with_state(lancewire.operations.clone()))
        .route("/bare", get_service(GraphQLSubscription::new(bare.clone())).post_service(GraphQL::new(bare)))
}

type Peer = ConnectInfo<SocketAddr>;

async fn api(State(operations): State<Operations>, ConnectInfo(peer): Peer, request: Request) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or("?"));
    let executor = match operations.requester(token, peer.ip()).await {
        Ok(requester) => operations.executor(requester, 100),
        Err(refused) => return (StatusCode::UNAUTHORIZED, refused.to_string()).into_response(),
    };
    let Ok(response) = if request.headers().contains_key(header::UPGRADE) {
        GraphQLSubscription::new(executor).oneshot(request).await
    } else {
        GraphQL::new(executor).oneshot(request).await
    };
    response
}
