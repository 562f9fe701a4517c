//! Who may run what: callers, what they may spend, and documents that are read and weighed before anything runs.
//!
//! Called with the head of a request ([`Operations::look`]), with its token, and with its document
//! ([`Operations::admit`]). Invariants: nothing is read that its caller cannot pay for; each document is charged for,
//! one that cannot run included; a credential that is not good never stands for an anonymous viewer.

use std::net::IpAddr;

use async_graphql::{Response, parser::types::OperationType};

use super::{Admission, Document, Operations, PreparedOperation, Stopped};
use crate::{
    auth::{
        actor::{Actor, Origin},
        authorization::Authorization,
        revocations::Watch,
        sessions::Unauthenticated,
        tokens::AccessClaims,
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

/// What a request's token says of its sender, once its signature was verified; nothing of one without a token. Whether the
/// session lives is asked of the database, after the body has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bearer(Option<AccessClaims>);

impl Operations {
    /// What a request's `Authorization` says, by its signature and its time alone.
    pub(crate) fn bearer(&self, authorization: Authorization<'_>) -> Result<Bearer, Unauthenticated> {
        match authorization {
            Authorization::Empty => Ok(Bearer(None)),
            Authorization::Bearer(token) => self.shared.sessions.verify(token).map(Some).map(Bearer),
            Authorization::Foreign => Err(Unauthenticated::Invalid),
        }
    }

    /// Whom a request stands for now; nobody without a token.
    pub(crate) async fn authenticate(&self, bearer: Bearer) -> Result<Actor, Unauthenticated> {
        match &bearer.0 {
            None => Ok(Actor::Anonymous),
            Some(claims) => self.shared.sessions.stands_for(claims).await.map(Actor::User),
        }
    }

    /// Refuses a request of which no more than the head is known: with a token that is not good, at the cost of a point
    /// for one that never was, or from a caller who has nothing left. Spends nothing else and asks no database.
    pub(crate) fn look(&self, authorization: Authorization<'_>, address: IpAddr) -> Result<Bearer, Box<Stopped>> {
        let budgets = &self.shared.budgets;
        let known = self.bearer(authorization);
        let refused = match &known {
            Ok(Bearer(Some(claims))) => {
                budgets.look(Payer { caller: Caller::User(claims.user), address: Some(address) })
            }
            Err(Unauthenticated::Invalid) => budgets.spend(Caller::Address(address), 1).map(drop),
            Ok(Bearer(None)) | Err(_) => budgets.look(Caller::Address(address)),
        };
        if let Err(refused) = refused {
            metrics::counter!("lancewire_operations_rejected_total", "reason" => "budget").increment(1);
            let user = known.ok().and_then(|bearer| bearer.0).map(|claims| claims.user);
            let response = Response::from_errors(vec![unpaid(&refused)]);
            return Err(Box::new(Stopped::Refused(response, refused.budget(), user)));
        }
        known.map_err(|error| Box::new(Stopped::Unauthenticated(error)))
    }

    /// The same, with word of the session's end for what lasts longer than a request.
    pub(crate) async fn authenticate_and_watch(
        &self,
        bearer: Bearer,
    ) -> Result<(Actor, Option<Watch>), Unauthenticated> {
        let Some(claims) = &bearer.0 else { return Ok((Actor::Anonymous, None)) };
        let (principal, watch) = self.shared.sessions.stands_for_and_watch(claims).await?;
        Ok((Actor::User(principal), Some(watch)))
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
