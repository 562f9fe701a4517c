//! The server behind the sockets: operations, as a socket sees them.
//!
//! Reads a socket's token and its documents, and writes the line of each operation in the log. The operations
//! themselves are [`operations`](crate::operations)' affair.

use std::{net::IpAddr, sync::Arc};

use async_graphql::{Response, parser::types::OperationType};
use futures_util::{FutureExt, StreamExt, future, stream};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    access::{self, Access},
    graphql::Refusal as HttpRefusal,
    websocket::{
        Brings, Identity, NotJoined, Operation, OperationKind, Outcome, Position, Refused, SocketBackend,
        SubscribePayload, Subscription,
    },
};
use crate::{
    auth::{
        actor::{Actor, Origin, Principal},
        revocations::Watch,
        sessions::Unauthenticated,
    },
    graphql::{
        classify::{classify, is_request_error},
        subscriptions::Resume,
    },
    operations::{Admission, Document, Joined, Operations, errors, next},
};

/// A response as the protocol tells it.
fn outcome(response: Response) -> Outcome {
    if is_request_error(&response) { Outcome::Errors(errors(response)) } else { Outcome::Next(next(response)) }
}

/// Who is at the other end of a socket. The watch lives as long as anything that runs for them.
#[derive(Clone, Debug)]
pub struct SocketViewer {
    origin: Origin,
    _watch: Option<Arc<Watch>>,
}

impl SocketBackend for Operations {
    type Viewer = SocketViewer;

    async fn authenticate(&self, token: Option<&str>, address: IpAddr) -> Result<Identity<SocketViewer>, Refused> {
        let Some(token) = token else {
            let viewer = SocketViewer { origin: Origin { actor: Actor::Anonymous, address }, _watch: None };
            return Ok(Identity { viewer, user: None, expires_at: None, revoked: CancellationToken::new() });
        };
        match self.sessions().authenticate_and_watch(token).await {
            Ok((principal, watch)) => {
                // What was so when the socket opened says nothing about when it is used.
                let principal = Principal { commits: None, ..principal };
                let revoked = watch.ended();
                let origin = Origin { actor: Actor::User(principal), address };
                let viewer = SocketViewer { origin, _watch: Some(Arc::new(watch)) };
                let (user, expires_at) = (Some(principal.user), Some(principal.expires_at));
                Ok(Identity { viewer, user, expires_at, revoked })
            }
            Err(Unauthenticated::Expired | Unauthenticated::Invalid) => Err(Refused::Forbidden),
            Err(Unauthenticated::InternalError(error)) => {
                tracing::error!(error = %error, "a socket's token cannot be looked at");
                Err(Refused::Unavailable)
            }
        }
    }

    fn execute(&self, viewer: SocketViewer, payload: SubscribePayload, position: &Position) -> Operation {
        let request_id = self.request_id();
        if payload.is_hash {
            let refused = Response::from_errors(vec![HttpRefusal::PersistedQuery.error()]);
            let refused = Outcome::Errors(errors(refused));
            return Operation::Outcomes(OperationKind::Query, stream::once(future::ready(refused)).boxed());
        }
        let SubscribePayload { query, operation_name, variables, .. } = payload;
        let document = Document { query, operation_name, variables };
        let (began, mut access) = (tokio::time::Instant::now(), Access::of(&viewer.origin, &document.query));
        let span = access::span(&request_id);
        let Ok(admitted) = self.admit(viewer.origin, document, |_| Ok::<_, std::convert::Infallible>(()));
        match admitted {
            Admission::Refused(mut response, budget) => {
                span.in_scope(|| {
                    classify(&mut response, &request_id);
                    access.answered(&response, budget.map_or(0, |budget| budget.cost));
                    access.log(began.elapsed());
                });
                let refused = Outcome::Errors(errors(*response));
                Operation::Outcomes(OperationKind::Query, stream::once(future::ready(refused)).boxed())
            }
            Admission::Ready(ready) if ready.kind == OperationType::Subscription => {
                let operations = self.clone();
                access.admitted(&ready);
                let name = "connection_init payload.after";
                let resume = match position {
                    Position::Absent => None,
                    Position::Cursor(cursor) => Some(Resume { name, cursor: Some(Arc::clone(cursor)) }),
                    Position::Malformed => Some(Resume { name, cursor: None }),
                };
                Operation::Subscription(Box::new(move |outlet| {
                    async move {
                        let cost = ready.budget.cost;
                        let joined = operations.join(ready, resume, &request_id, outlet).await;
                        if let Err(refused) = &joined {
                            access.answered(&refused.response, cost);
                        }
                        access.log(began.elapsed());
                        match joined {
                            // The viewer's watch must not end before what runs for them.
                            Ok(Joined::Events(feed, listening)) => {
                                Ok(Subscription { brings: Brings::Feed(feed), guard: Box::new((listening, viewer)) })
                            }
                            Ok(Joined::States(states)) => {
                                let brings = Brings::Stream(states.map(outcome).boxed());
                                Ok(Subscription { brings, guard: Box::new(viewer) })
                            }
                            Err(refused) => Err(NotJoined(errors(refused.response))),
                        }
                    }
                    .instrument(span)
                    .boxed()
                }))
            }
            Admission::Ready(ready) => {
                let kind = match ready.kind {
                    OperationType::Mutation => OperationKind::Mutation,
                    OperationType::Query | OperationType::Subscription => OperationKind::Query,
                };
                let operations = self.clone();
                access.admitted(&ready);
                let answer = async move {
                    let (response, budget) = operations.run(ready, &request_id).await;
                    access.answered(&response, budget.cost);
                    access.log(began.elapsed());
                    outcome(response)
                };
                let answer = answer.instrument(span);
                Operation::Outcomes(kind, stream::once(answer).boxed())
            }
        }
    }

    fn ping_payload(&self, _: &SocketViewer, position: Option<i64>) -> Option<String> {
        let cursor = self.log().cursor(position?)?;
        Some(serde_json::json!({ "cursor": cursor }).to_string())
    }
}
