//! What a resolver may ask its context for.
//!
//! Each operation runs in a [`Scope`]: who asks, from where, at what cost. A resolver whose answer depends on the viewer
//! asks [`ContextExt::actor`], and that marks the execution as *private*: it may not be shared with another viewer. A
//! resolver that never asks gives everybody the same answer.
//!
//! A mutation that lets somebody prove who they are ([`Scope::prove`]) shows them their own account: below that root field,
//! and below no other, they are the viewer. Root fields of a mutation run one after the other, and each is resolved to
//! its end before the next one begins.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_graphql::{Context, QueryPathNode, QueryPathSegment, Result};

use super::{errors::ErrorCode, scalars::MoneyAmount};
use crate::{
    auth::actor::{Actor, Denied},
    clock::{Clock, Timestamp},
    limits::budgets::Budget,
    money::{Currency, Money},
};

/// On whose behalf an operation runs. One for each operation.
#[derive(Debug)]
pub struct Scope {
    actor: Actor,
    address: IpAddr,
    budget: Budget,
    began_at: Timestamp,
    stream_cursor: Option<String>,
    private: AtomicBool,
    /// Who has proved who they are, and by which root field.
    proven: OnceLock<(String, Actor)>,
}

impl Scope {
    /// A scope for one operation.
    pub fn new(actor: Actor, address: IpAddr, budget: Budget, clock: &Clock) -> Self {
        let (began_at, private) = (clock.now(), AtomicBool::new(false));
        Self { actor, address, budget, began_at, stream_cursor: None, private, proven: OnceLock::new() }
    }

    /// The same with the place where the event stream stood before anything was read.
    #[must_use]
    pub fn at(self, stream_cursor: Option<String>) -> Self {
        Self { stream_cursor, ..self }
    }

    /// Where the event stream stood when the operation began, if it asks.
    pub fn stream_cursor(&self) -> Option<&str> {
        self.stream_cursor.as_deref()
    }

    /// Below the root field of `ctx` the viewer is `actor` from now on. Once for an operation: a request may hold one
    /// mutation that does this.
    pub fn prove(&self, ctx: &Context<'_>, actor: Actor) {
        if let Some(root) = root_field(ctx.path_node.as_ref()) {
            // A second one would go on being shown what everybody is.
            let _ = self.proven.set((root.to_owned(), actor));
        }
    }

    /// Whether any resolver asked who the viewer is.
    pub fn is_private(&self) -> bool {
        self.private.load(Ordering::Relaxed)
    }

    /// What is left of the caller's budget, and when this operation began.
    pub const fn budget(&self) -> (&Budget, Timestamp) {
        (&self.budget, self.began_at)
    }
}

/// Shorthands for resolvers.
pub trait ContextExt<'a> {
    /// Who asks; asking makes the execution private.
    fn actor(&self) -> Actor;
    /// Where the request came from.
    fn address(&self) -> IpAddr;
    /// The operation's scope.
    fn scope(&self) -> &'a Scope;
    /// A service or loader that the schema was given.
    fn get<T: Send + Sync + 'static>(&self) -> &'a T;
    /// An amount in the deployment's currency.
    fn money(&self, amount: Money) -> MoneyAmount;
}

impl<'a> ContextExt<'a> for Context<'a> {
    fn actor(&self) -> Actor {
        let scope = self.scope();
        scope.private.store(true, Ordering::Relaxed);
        match scope.proven.get() {
            Some((root, actor)) if root_field(self.path_node.as_ref()) == Some(root) => *actor,
            _ => scope.actor,
        }
    }

    fn address(&self) -> IpAddr {
        self.scope().address
    }

    fn scope(&self) -> &'a Scope {
        self.get::<Arc<Scope>>()
    }

    fn get<T: Send + Sync + 'static>(&self) -> &'a T {
        // The composition root puts in one of each: a missing one is a bug that the first test of any kind finds.
        self.data_unchecked::<T>()
    }

    fn money(&self, amount: Money) -> MoneyAmount {
        MoneyAmount::new(self.get::<Currency>(), amount)
    }
}

/// The root field that a field is below, by the name that it has in the answer.
fn root_field<'a>(node: Option<&QueryPathNode<'a>>) -> Option<&'a str> {
    let mut node = node?;
    while let Some(parent) = node.parent {
        node = parent;
    }
    match node.segment {
        QueryPathSegment::Name(name) => Some(name),
        QueryPathSegment::Index(_) => None,
    }
}

/// A caller who may not use a field at all, as a top-level error.
pub fn denied(denied: Denied) -> async_graphql::Error {
    let code = match denied {
        Denied::Unauthenticated => ErrorCode::Unauthenticated,
        Denied::Role(_) => ErrorCode::Forbidden,
    };
    code.error(denied.to_string())
}

/// Demands a signed-in viewer for a private root field.
pub fn signed_in(ctx: &Context<'_>) -> Result<Actor> {
    let actor = ctx.actor();
    actor.signed_in().map_err(denied)?;
    Ok(actor)
}
