//! The routes, and the handler of `/graphql`: queries and mutations over HTTP, the playground for browsers, streams for
//! subscriptions, and the upgrade to a socket.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_graphql::parser::types::OperationType;
use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    assets,
    authorization::Authorization,
    client_address::Proxies,
    cors::cors,
    graphql::{ALLOWED, Refusal, check_transport, discard, parse_get, parse_post, read_body, respond, tell_budget},
    health, middleware,
    negotiation::{MediaType, negotiate},
    operations::{Admitted, Document, Operations},
    origins::Origins,
    pages::{self, Site},
    schema_files,
    streams::{self, Opening, Transport},
    websocket::Sockets,
};
use crate::{
    auth::{
        actor::Origin,
        sessions::{Sessions, Unauthenticated},
    },
    db::Db,
    graphql::{classify::classify, errors::ErrorCode, limits::failure},
    lifecycle::Lifecycle,
    migrations::Watch,
    realtime::Hub,
};

/// What handlers share. Clones share everything.
#[derive(Clone)]
pub struct Web {
    /// Runs operations.
    pub operations: Operations,
    /// The open sockets.
    pub sockets: Sockets<Operations>,
    /// For the public keys.
    pub sessions: Sessions,
    /// For readiness.
    pub db: Db,
    /// For readiness.
    pub schema: Arc<Watch>,
    /// For readiness.
    pub hub: Hub,
    /// For readiness.
    pub lifecycle: Lifecycle,
    /// What `/metrics` prints.
    pub metrics: Option<PrometheusHandle>,
    /// The pages that may call.
    pub origins: Arc<Origins>,
    /// The largest body.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Who may say for whom they call.
    pub proxies: Arc<Proxies>,
    /// What the pages say of this server.
    pub site: Arc<Site>,
}

/// Everything the server answers.
pub fn router(web: Web) -> Router {
    let assets = if web.site.playground {
        Router::new().route("/assets/graphiql/{name}", get(assets::file))
    } else {
        Router::new()
    };
    Router::new()
        .merge(assets)
        .route("/", get(pages::home))
        .route("/graphql", any(endpoint))
        .merge(schema_files::routes())
        .route("/docs/{name}", get(pages::doc))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(web.clone(), cors))
        .layer(from_fn_with_state(web.clone(), middleware::around))
        .with_state(web)
}

/// `/graphql` in all its forms.
async fn endpoint(State(web): State<Web>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let client = web.proxies.client(peer.ip(), &parts.headers);
    if wants_socket(&parts.headers) {
        return web.sockets.upgrade(&mut parts, client);
    }
    if parts.method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [(header::ALLOW, ALLOWED)]).into_response();
    }
    // Of an answer to HEAD the server sends no more than the head.
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let offers: &[MediaType] = if reads && parts.uri.query().is_none() {
        &[MediaType::GraphqlResponse, MediaType::Json, MediaType::Html, MediaType::EventStream]
    } else {
        &[MediaType::GraphqlResponse, MediaType::Json, MediaType::EventStream]
    };
    // Which of the two it will be depends on the operation: it has one answer or many.
    let many = negotiate(&parts.headers, &[MediaType::EventStream, MediaType::Multipart]);
    let Some(media) = negotiate(&parts.headers, offers).or(many) else {
        return Refusal::NotAcceptable.respond(MediaType::Json);
    };
    if media == MediaType::Html {
        let mut page = pages::playground(&web.site, &parts.headers);
        page.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        return page;
    }
    let request_id = middleware::request_id(&parts);
    answer(&web, client, (&parts.method, &parts.uri, &parts.headers), body, (media, many), &request_id)
        .await
        .unwrap_or_else(|refusal| match Transport::of(media) {
            // About the document, so that it is written as its client reads all that is about documents.
            Some(transport) if matches!(refusal, Refusal::PersistedQuery | Refusal::Unreadable(_)) => {
                streams::refuse(async_graphql::Response::from_errors(vec![refusal.error()]), transport, media)
            }
            _ => refusal.respond(media),
        })
}

async fn answer(
    web: &Web,
    client: IpAddr,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    body: Body,
    (media, many): (MediaType, Option<MediaType>),
    request_id: &str,
) -> Result<Response, Refusal> {
    let incoming = match *method {
        Method::GET | Method::HEAD => parse_get(uri.query())?,
        Method::POST => {
            let body = read_body(headers, body, web.max_body_bytes);
            let Ok(body) = tokio::time::timeout(web.body_timeout, body).await else {
                return Ok(middleware::too_slow());
            };
            parse_post(headers, &body?)?
        }
        _ => {
            discard(body).await;
            return Err(Refusal::Method);
        }
    };
    let authorization = Authorization::of_request(headers);
    // A stream without a body would only cost.
    let many = many.filter(|_| *method != Method::HEAD).and_then(Transport::of);
    let authenticated = match many {
        Some(_) => web.operations.authenticate_and_watch(authorization).await,
        None => web.operations.authenticate(authorization).await.map(|actor| (actor, None)),
    };
    let (actor, watch) = match authenticated {
        Ok(known) => known,
        Err(error) => return Ok(respond(unauthenticated(&error, request_id), media)),
    };
    let document =
        Document { query: incoming.query, operation_name: incoming.operation_name, variables: incoming.variables };
    let origin = Origin { actor, address: client };
    let may_run = |kind| match (kind, many) {
        (OperationType::Subscription, Some(_)) => Ok(()),
        (OperationType::Query | OperationType::Mutation, _) if media == MediaType::Multipart => {
            Err(Refusal::NotAcceptable)
        }
        _ => check_transport(method, kind),
    };
    let once = Transport::of(media);
    let (mut response, budget) = match (web.operations.admit(origin, document, may_run)?, many) {
        (Admitted::Ready(ready), Some(transport)) if ready.kind == OperationType::Subscription => {
            let budget = ready.budget;
            let resume = headers.get(streams::LAST_EVENT_ID);
            let resume = resume.map(|cursor| String::from_utf8_lossy(cursor.as_bytes()).trim().into());
            let request_id = request_id.to_owned();
            let opening = Opening { transport, media, ready, origin, watch, resume, request_id };
            (streams::open(web, opening).await, Some(budget))
        }
        (Admitted::Ready(ready), _) => {
            let (outcome, budget) = web.operations.run(ready, request_id).await;
            let response = match once {
                Some(transport) => streams::once(outcome, transport),
                None => respond(outcome, media),
            };
            (response, Some(budget))
        }
        (Admitted::Refused(mut refused, budget), _) => {
            classify(&mut refused, request_id);
            let response = match once {
                Some(transport) => streams::refuse(*refused, transport, media),
                None => respond(*refused, media),
            };
            (response, budget)
        }
    };
    if let Some(budget) = budget {
        tell_budget(response.headers_mut(), &budget);
    }
    Ok(response)
}

fn unauthenticated(error: &Unauthenticated, request_id: &str) -> async_graphql::Response {
    let code = match error {
        Unauthenticated::Expired => ErrorCode::TokenExpired,
        Unauthenticated::Invalid => ErrorCode::Unauthenticated,
        Unauthenticated::Fault(_) => ErrorCode::InternalServerError,
    };
    let mut response = async_graphql::Response::from_errors(vec![failure(code, error.to_string(), None)]);
    classify(&mut response, request_id);
    response
}

fn wants_socket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

async fn jwks(State(web): State<Web>) -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(web.sessions.jwks())).into_response()
}
