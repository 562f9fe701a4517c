//! Who may run what: callers, what they may spend, and documents that are read and weighed before anything runs.
//!
//! Called with the head of a request ([`Operations::look`]), with its token, and with its document
//! ([`Operations::admit`]). Invariants: nothing is read that its caller cannot pay for; each document is charged for,
//! one that cannot run included; a credential that is not good never stands for an anonymous viewer.

use std::net::IpAddr;

use async_graphql::{Response, parser::types::OperationType};

use super::{Admission, Document, Operations, PreparedOperation, Shared, Stopped};
use crate::{
    auth::{
        actor::{Actor, Origin},
        authorization::Authorization,
        revocations::Watch,
        sessions::Unauthenticated,
    },
    graphql::limits::{reading_cost, unpaid},
    limits::budgets::{self, Budget, Caller, Payer},
    schema::SINGLE_MUTATIONS,
};

/// Who pays for an operation. An account is opened at the cost of the address, also by a user who is signed in: otherwise
/// each would pay for the next.
fn payer(origin: &Origin, root_fields: &[String]) -> Payer {
    if root_fields.iter().any(|field| field == "signUp") {
        Caller::Address(origin.address).into()
    } else {
        origin.into()
    }
}

fn refuse(refused: &budgets::Refused) -> Admission {
    metrics::counter!("lancewire_operations_rejected_total", "reason" => "budget").increment(1);
    Admission::Refused(Box::new(Response::from_errors(vec![unpaid(refused)])), refused.budget())
}

impl Operations {
    /// Whom a request's `Authorization` stands for; nobody without one.
    pub(crate) async fn authenticate(&self, authorization: Authorization<'_>) -> Result<Actor, Unauthenticated> {
        match authorization {
            Authorization::Empty => Ok(Actor::Anonymous),
            Authorization::Bearer(token) => self.shared.sessions.authenticate(token).await.map(Actor::User),
            Authorization::Foreign => Err(Unauthenticated::Invalid),
        }
    }

    /// Refuses a request of which no more than the head is known: with a token that is not good, at the cost of a point
    /// for one that never was, or from a caller who has nothing left. Spends nothing else and asks no database.
    pub(crate) fn look(&self, authorization: Authorization<'_>, address: IpAddr) -> Result<(), Box<Stopped>> {
        let Shared { budgets, sessions, .. } = &*self.shared;
        let known = match authorization {
            Authorization::Empty => Ok(None),
            Authorization::Bearer(token) => sessions.bearer(token).map(Some),
            Authorization::Foreign => Err(Unauthenticated::Invalid),
        };
        let refused = match &known {
            Ok(Some(user)) => budgets.look(Payer { caller: Caller::User(*user), address: Some(address) }),
            Err(Unauthenticated::Invalid) => budgets.spend(Caller::Address(address), 1).map(drop),
            Ok(None) | Err(_) => budgets.look(Caller::Address(address)),
        };
        if let Err(refused) = refused {
            metrics::counter!("lancewire_operations_rejected_total", "reason" => "budget").increment(1);
            let (response, user) = (Response::from_errors(vec![unpaid(&refused)]), known.ok().flatten());
            return Err(Box::new(Stopped::Refused(response, refused.budget(), user)));
        }
        known.map(drop).map_err(|error| Box::new(Stopped::Unauthenticated(error)))
    }

    /// The same, with word of the session's end for what lasts longer than a request.
    pub(crate) async fn authenticate_and_watch(
        &self,
        authorization: Authorization<'_>,
    ) -> Result<(Actor, Option<Watch>), Unauthenticated> {
        match authorization {
            Authorization::Empty => Ok((Actor::Anonymous, None)),
            Authorization::Bearer(token) => {
                let (principal, watch) = self.shared.sessions.authenticate_and_watch(token).await?;
                Ok((Actor::User(principal), Some(watch)))
            }
            Authorization::Foreign => Err(Unauthenticated::Invalid),
        }
    }

    /// Reads an operation and charges for it. `may_run` is the transport's word on its kind.
    pub fn admit<E>(
        &self,
        origin: Origin,
        document: Document,
        may_run: impl FnOnce(OperationType) -> Result<(), E>,
    ) -> Result<Admission, E> {
        let shared = &self.shared;
        let Document { query, operation_name, variables } = document;
        // Before it is read: what cannot be paid for must not take our time again and again.
        if let Err(refused) = shared.budgets.look(&origin) {
            return Ok(refuse(&refused));
        }
        let reading = reading_cost(&query);
        if reading > 0
            && let Err(refused) = shared.budgets.spend(&origin, reading)
        {
            return Ok(refuse(&refused));
        }
        let (name, limits) = (operation_name.as_deref(), &shared.limits);
        let prepared = shared.documents.prepare(&query, name, &variables, limits, SINGLE_MUTATIONS);
        if let Ok(prepared) = &prepared {
            may_run(prepared.operation)?;
        }
        // An operation that cannot run was read and costs a point.
        let cost = prepared.as_ref().map_or(1, |prepared| prepared.cost);
        let payer = payer(&origin, prepared.as_ref().map_or(&[], |prepared| &prepared.root_fields));
        let budget = shared.budgets.spend(payer, cost);
        let budget = budget.map(|budget| Budget { cost: budget.cost.saturating_add(reading), ..budget });
        Ok(match (prepared, budget) {
            (_, Err(refused)) => {
                // It was read nevertheless. A caller without points is refused before that the next time.
                let _ = shared.budgets.spend(&origin, 1);
                refuse(&refused)
            }
            (Err(errors), Ok(budget)) => {
                metrics::counter!("lancewire_operations_rejected_total", "reason" => "document").increment(1);
                Admission::Refused(Box::new(Response::from_errors(errors)), Some(budget))
            }
            (Ok(prepared), Ok(budget)) => {
                let kind = prepared.operation;
                Admission::Ready(Box::new(PreparedOperation { origin, payer, prepared, kind, budget }))
            }
        })
    }
}
