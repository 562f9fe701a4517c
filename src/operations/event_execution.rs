//! A subscription's selection, executed on one event at a time for all who sent it.
//!
//! The arguments of the root field are left out: they say which events are meant, and those who select the same with
//! others are answered together. Executions for several viewers at the same time share their loaders ([`Together`]), so
//! that what each of them looks up is one statement for all.
//!
//! What fails on the fast schema is executed once more by the one that knows how to tell it; while the database is out of
//! reach it is tried again: an event delivered with a database error would never be delivered again. Made by
//! [`Operations::join`](super::Operations::join), called by the groups of the hub.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_graphql::{Response, ServerError};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};

use super::{Operations, PreparedOperation, Shared, next};
use crate::{
    auth::actor::{Actor, Origin},
    backoff::BackOff,
    error::InternalError,
    events::Hearing,
    graphql::{
        classify::classify, context::Scope, errors::ErrorCode, language::ForEvents, limits::failure,
        subscriptions::Source,
    },
    limits::budgets::Budget,
    realtime::{Delivery, EXECUTION, Executed, Execution, POINT, Received, Together},
    schema::{Loads, Schema},
};

/// What part of a subscription's price, which is that of one event asked for by a query, an execution costs: it reads
/// nothing but what the event does not have itself, and is not answered to a request of its own.
const PARTS: u64 = 20;

/// Between tries to answer an event while the database is out of reach: the first pause and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A subscription's selection, to be executed on one event at a time for all who sent it.
pub(super) struct EventExecution {
    operations: Operations,
    operation: ForEvents,
    /// Of the first who subscribed: nothing of it shows in an answer.
    address: IpAddr,
    budget: Budget,
    /// Of one execution, in millionths of a point.
    cost: u64,
}

/// Executions whose loads are made together.
struct SharedLoads<'e> {
    execution: &'e EventExecution,
    loads: Loads,
}

impl EventExecution {
    pub(super) fn new(operations: Operations, ready: &PreparedOperation) -> Self {
        let (operation, address) = (ready.prepared.for_events(), ready.origin.address);
        Self { operations, operation, address, budget: ready.budget, cost: event_cost(ready.prepared.cost) }
    }

    /// The answer, with loads of its own or those of others.
    async fn answer(
        &self,
        loads: Option<&Loads>,
        delivery: &Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> Executed {
        let mut pauses: Option<BackOff> = None;
        loop {
            if let Some(executed) = self.attempt(loads, delivery, hearing, viewer).await {
                return executed;
            }
            // An answer without what the database would have said is never made good: nobody asks again. So this goes on
            // for as long as the database is away, or until those who wait for it are cut off.
            pauses.get_or_insert_with(|| BackOff::new(&self.operations.shared.ids, PAUSE)).pause().await;
        }
    }

    /// The answer, or none while the database is out of reach.
    async fn attempt(
        &self,
        loads: Option<&Loads>,
        delivery: &Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> Option<Executed> {
        let Shared { schema, fast, .. } = &*self.operations.shared;
        let (mut response, mut scope) = self.run((fast, loads), delivery, hearing, viewer).await;
        if !response.errors.is_empty() && !response.errors.iter().any(is_out_of_reach) {
            // What fails is told by the schema that knows how.
            (response, scope) = self.run((schema, loads), delivery, hearing, viewer).await;
        }
        if response.errors.iter().any(is_out_of_reach) {
            return None;
        }
        if !response.errors.is_empty() {
            // By the event's own id: live and in a replay the answer is the same.
            classify(&mut response, &delivery.id().to_string());
        }
        let (looked_at_viewer, failed) = (scope.is_private(), !response.errors.is_empty());
        Some(Executed { response: next(response), looked_at_viewer, failed })
    }

    async fn run(
        &self,
        (schema, loads): (&Schema, Option<&Loads>),
        delivery: &Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> (Response, Arc<Scope>) {
        let Self { operations, operation, address, budget, .. } = self;
        let origin = viewer.unwrap_or(Origin { actor: Actor::Anonymous, address: *address });
        let scope = Scope::new(origin.actor, origin.address, *budget, &operations.shared.clock);
        let scope = Arc::new(scope);
        let own;
        let (loads, is_shared) = if let Some(loads) = loads {
            (loads, true)
        } else {
            own = operations.shared.services.loads();
            (&own, false)
        };
        let request = loads.given_to(operation.request());
        let received = Received { delivery: Arc::clone(delivery), hearing };
        let request = request.data(Arc::clone(&scope)).data(Source::One(received));
        let mut responses = AssertUnwindSafe(schema.execute_stream(request)).catch_unwind();
        // Shared ones are driven by their owner.
        let response = if is_shared { responses.next().await } else { loads.drive(responses.next()).await };
        let response = response.and_then(Result::ok).unwrap_or_else(|| {
            let message = "an event was not executed";
            Response::from_errors(vec![failure(ErrorCode::InternalServerError, message, None)])
        });
        (response, scope)
    }
}

/// What one execution of a subscription of this price costs, in millionths of a point.
pub(super) fn event_cost(price: u32) -> u64 {
    (u64::from(price) * POINT / PARTS).max(EXECUTION)
}

/// Whether the database could not be asked. Loaders share what went wrong among all who asked.
pub(super) fn is_out_of_reach(error: &ServerError) -> bool {
    let shared = || error.source::<Arc<InternalError>>().map(AsRef::as_ref);
    error.source::<InternalError>().or_else(shared).is_some_and(InternalError::is_out_of_reach)
}

impl Execution for EventExecution {
    fn execute<'a>(
        &'a self,
        delivery: &'a Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> BoxFuture<'a, Executed> {
        self.answer(None, delivery, hearing, viewer).boxed()
    }

    fn cost(&self) -> u64 {
        self.cost
    }

    fn bytes(&self) -> usize {
        self.operation.bytes()
    }

    fn together(&self) -> Option<Box<dyn Together + '_>> {
        Some(Box::new(SharedLoads { execution: self, loads: self.operations.shared.services.loads() }))
    }
}

impl Together for SharedLoads<'_> {
    fn execute<'a>(&'a self, delivery: &'a Arc<Delivery>, hearing: Hearing, viewer: Origin) -> BoxFuture<'a, Executed> {
        self.execution.answer(Some(&self.loads), delivery, hearing, Some(viewer)).boxed()
    }

    fn drive<'a>(&'a self, executions: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        self.loads.drive(executions).boxed()
    }
}
