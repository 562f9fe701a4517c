//! The routes, and the handler of `/graphql`: queries and mutations over HTTP, the playground for browsers, streams for
//! subscriptions, and the upgrade to a socket.

use std::net::{IpAddr, SocketAddr};

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
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    GraphqlState, HttpState,
    access::Access,
    assets, authorization,
    cors::cors,
    files,
    graphql::{
        ALLOWED, Refusal, check_transport, discard, discard_little, parse_get, parse_post, read_body, respond,
        tell_budget, unauthenticated,
    },
    health, middleware,
    negotiation::{MediaType, negotiate},
    pages, schema_files, stock,
    streams::{self, Opening, Transport},
    websocket::wants_socket,
};
use crate::{
    auth::{actor::Origin, sessions::Sessions},
    graphql::classify::classify,
    operations::{Admission, Document, Stopped},
};

/// Everything the server answers. With `has_operators`, those who run the service have a listener of their own, which alone
/// answers `/metrics`.
pub fn router(state: HttpState, has_operators: bool) -> Router {
    let assets = if state.site.playground {
        Router::new().route("/assets/graphiql/{name}", get(assets::file))
    } else {
        Router::new()
    };
    let stock = if state.graphql.stock_mount {
        Router::new().route("/stock/graphql", any(stock::endpoint))
    } else {
        Router::new()
    };
    let figures = if has_operators { Router::new() } else { Router::new().route("/metrics", get(health::metrics)) };
    Router::new()
        .merge(assets)
        .merge(figures)
        .merge(stock)
        .route("/", get(pages::home))
        .route("/graphql", any(endpoint))
        .merge(schema_files::routes())
        .merge(files::routes())
        .route("/docs/{name}", get(pages::doc))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(state.clone(), cors))
        .layer(from_fn_with_state(state.clone(), middleware::request_middleware))
        .with_state(state)
}

/// What the listener of those who run the service answers.
pub fn operators(state: HttpState) -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(state.clone(), middleware::request_middleware))
        .with_state(state)
}

/// `/graphql` in all its forms.
async fn endpoint(
    State(state): State<GraphqlState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let client = state.proxies.client(peer.ip(), &parts.headers);
    if wants_socket(&parts.headers) {
        return state.sockets.upgrade(&mut parts, client);
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
        let mut page = pages::playground(&state.site, &parts.headers);
        page.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        return page;
    }
    let request_id = middleware::request_id(&parts);
    answer(&state, client, (&parts.method, &parts.uri, &parts.headers), body, (media, many), &request_id)
        .await
        .unwrap_or_else(|refusal| match Transport::of(media) {
            // About the document, so that it is written as its client reads all that is about documents.
            Some(transport) if matches!(refusal, Refusal::PersistedQuery | Refusal::Unreadable(_)) => {
                streams::refuse(async_graphql::Response::from_errors(vec![refusal.error()]), transport, media)
            }
            _ => refusal.respond(media),
        })
}

#[expect(clippy::too_many_lines, reason = "one request from its head to its answer")]
async fn answer(
    state: &GraphqlState,
    client: IpAddr,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    body: Body,
    (media, many): (MediaType, Option<MediaType>),
    request_id: &str,
) -> Result<Response, Refusal> {
    let authorization = authorization::of_request(headers);
    let once = Transport::of(media);
    // Before a body is read: who cannot pay for anything must not have us read it.
    let bearer = match state.operations.look(authorization, client) {
        Ok(bearer) => bearer,
        Err(stopped) => {
            discard_little(headers, body).await;
            let (mut refused, budget, once, user) = match *stopped {
                Stopped::Unauthenticated(error) => (unauthenticated(&error), None, None, None),
                Stopped::Refused(refused, budget, user) => (refused, budget, once, user),
            };
            classify(&mut refused, request_id);
            let mut access = Access::unread(user, client);
            access.answered(&refused, 0);
            let mut response = match once {
                Some(transport) => streams::refuse(refused, transport, media),
                None => respond(refused, media),
            };
            if let Some(budget) = budget {
                tell_budget(response.headers_mut(), &budget);
            }
            response.extensions_mut().insert(access);
            return Ok(response);
        }
    };
    let incoming = match *method {
        Method::GET | Method::HEAD => parse_get(uri.query())?,
        Method::POST => {
            let body = read_body(headers, body, state.max_body_bytes);
            let Ok(body) = tokio::time::timeout(state.body_timeout, body).await else {
                return Ok(middleware::too_slow());
            };
            parse_post(headers, &body?)?
        }
        _ => {
            discard(body).await;
            return Err(Refusal::Method);
        }
    };
    // A stream without a body would only cost.
    let many = many.filter(|_| *method != Method::HEAD).and_then(Transport::of);
    let authenticated = match many {
        Some(_) => state.operations.authenticate_and_watch(bearer).await,
        None => state.operations.authenticate(bearer).await.map(|actor| (actor, None)),
    };
    let (actor, watch) = match authenticated {
        Ok(known) => known,
        Err(error) => {
            let mut refused = unauthenticated(&error);
            classify(&mut refused, request_id);
            let mut access = Access::unread(None, client);
            access.answered(&refused, 0);
            let mut response = respond(refused, media);
            response.extensions_mut().insert(access);
            return Ok(response);
        }
    };
    let document =
        Document { query: incoming.query, operation_name: incoming.operation_name, variables: incoming.variables };
    let origin = Origin { actor, address: client };
    let mut access = Access::of(&origin, &document.query);
    let may_run = |kind| match (kind, many) {
        (OperationType::Subscription, Some(_)) => Ok(()),
        (OperationType::Query | OperationType::Mutation, _) if media == MediaType::Multipart => {
            Err(Refusal::NotAcceptable)
        }
        _ => check_transport(method, kind),
    };
    let (mut response, budget) = match (state.operations.admit(origin, document, may_run)?, many) {
        (Admission::Ready(ready), Some(transport)) if ready.kind == OperationType::Subscription => {
            let budget = ready.budget;
            access.admitted(&ready);
            let resume = headers.get(streams::LAST_EVENT_ID);
            let resume = resume.map(|cursor| String::from_utf8_lossy(cursor.as_bytes()).trim().into());
            let request_id = request_id.to_owned();
            let opening = Opening { transport, media, ready, origin, watch, resume, request_id };
            let response = streams::open(state, opening).await;
            access.opened(response.status());
            (response, Some(budget))
        }
        (Admission::Ready(ready), _) => {
            access.admitted(&ready);
            let (outcome, budget) = state.operations.run(ready, request_id).await;
            access.answered(&outcome, budget.cost);
            let response = match once {
                Some(transport) => streams::once(outcome, transport),
                None => respond(outcome, media),
            };
            (response, Some(budget))
        }
        (Admission::Refused(mut refused, budget), _) => {
            classify(&mut refused, request_id);
            access.answered(&refused, budget.as_ref().map_or(0, |budget| budget.cost));
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
    response.extensions_mut().insert(access);
    Ok(response)
}

async fn jwks(State(sessions): State<Sessions>) -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(sessions.jwks())).into_response()
}
