//! What an operation lacks that comes to the schema by itself, and not through `operations`.
//!
//! An extension of the schema that [`Services::schema`](super::Services::schema) gives out: it adds to each request what
//! resolvers ask their context for, where the request does not bring it.
//!
//! - A [`Scope`]: that of an anonymous viewer, whose operation nobody pays for, with the place of the event stream from
//!   before anything is read. A program with an authentication of its own brings one that names its user.
//! - Loaders, and what drives them: around the execution of a query or mutation, and around a subscription's stream.
//!
//! What is brought is used as it is: loaders that come with a request are driven by the caller that brought them.

use std::{any::TypeId, net::Ipv4Addr, sync::Arc};

use async_graphql::{
    Request, Response, ServerResult,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextPrepareRequest, NextSubscribe},
    futures_util::{StreamExt, stream, stream::BoxStream},
};

use super::{Loaders, Services};
use crate::{
    auth::actor::Actor,
    graphql::{context::Scope, loader::Batches},
};

/// Makes the extension; one instance serves one request or one subscription.
pub(super) struct Defaults(Arc<Services>);

impl Defaults {
    pub(super) fn new(services: Services) -> Self {
        Self(Arc::new(services))
    }
}

impl ExtensionFactory for Defaults {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(OfRequest { services: Arc::clone(&self.0), batches: Batches::default() })
    }
}

struct OfRequest {
    services: Arc<Services>,
    /// Those of the loaders that are added here; empty, if the request brings its own.
    batches: Batches,
}

impl OfRequest {
    async fn scope(&self) -> Scope {
        let hub = &self.services.hub;
        let scope = Scope::unmetered(Actor::Anonymous, Ipv4Addr::UNSPECIFIED.into(), hub.clock());
        // Up to here everything is committed, so that it is in a list that is read now.
        let cursor = match hub.log().cursor(hub.head()) {
            Some(cursor) => Some(cursor),
            // A database that is away fails the fields that need it, each with its error.
            None => hub.log().head().await.ok().map(|head| hub.log().cursor_at(head)),
        };
        scope.at(cursor)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for OfRequest {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let mut request = next.run(ctx, request).await?;
        if !request.data.contains_key(&TypeId::of::<Arc<Scope>>()) && ctx.data_opt::<Arc<Scope>>().is_none() {
            request = request.data(Arc::new(self.scope().await));
        }
        if !request.data.contains_key(&TypeId::of::<Loaders>()) {
            request = request.data(Loaders::new(Arc::clone(&self.services), self.batches.clone()));
        }
        Ok(request)
    }

    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        self.batches.clone().drive(next.run(ctx, operation_name)).await
    }

    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        let begun = (self.batches.clone(), next.run(ctx, stream));
        let driven = stream::unfold(begun, async |(batches, mut responses)| {
            let response = batches.clone().drive(responses.next()).await?;
            Some((response, (batches, responses)))
        });
        driven.boxed()
    }
}
