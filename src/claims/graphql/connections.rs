//! Pages of claims and of deliverables, with their cursors and counts.

use async_graphql::{ComplexObject, Context, Result};

use super::objects::{ClaimObject, DeliverableObject};
use crate::{
    claims::{
        Claims,
        list::ClaimScope,
        model::{self, Claim, Deliverable},
    },
    connection,
    graphql::{connections::edges, context::ContextExt},
    page::{Cursor, Page},
};

/// Which claims a connection counts.
struct Counted(ClaimScope, Vec<model::ClaimStatus>);

connection! {
    /// A page of claims.
    ClaimConnection,
    /// A claim in a page of claims.
    ClaimEdge,
    ClaimObject,
    complex Counted
}

impl ClaimConnection {
    pub(crate) fn new(page: Page<Claim>, scope: ClaimScope, statuses: Vec<model::ClaimStatus>) -> Self {
        let (edges, page_info) = edges(page, |claim| Cursor::by_id(claim.id.into()));
        let edges: Vec<_> = edges.into_iter().map(|(cursor, node)| ClaimEdge { cursor, node: node.into() }).collect();
        let nodes = edges.iter().map(|edge| edge.node.clone()).collect();
        Self { edges, nodes, page_info, scope: Counted(scope, statuses) }
    }
}

#[ComplexObject]
impl ClaimConnection {
    /// All claims of the list, not of this page alone.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = ctx.get::<Claims>().count(self.scope.0, &self.scope.1).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

connection! {
    /// A page of deliverables.
    DeliverableConnection,
    /// A deliverable in a page of deliverables.
    DeliverableEdge,
    DeliverableObject,
}

impl From<Page<Deliverable>> for DeliverableConnection {
    fn from(page: Page<Deliverable>) -> Self {
        let (edges, page_info) = edges(page, |deliverable| Cursor::by_id(deliverable.id.into()));
        let row = |(cursor, node): (_, Deliverable)| DeliverableEdge { cursor, node: node.into() };
        let edges: Vec<_> = edges.into_iter().map(row).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

impl ClaimEdge {
    /// A new claim as a row of its freelancer's list.
    pub(super) fn newest(claim: &ClaimObject) -> Self {
        Self { cursor: Cursor::by_id(claim.0.id.into()).encode(), node: claim.clone() }
    }
}

impl DeliverableEdge {
    pub(super) fn new(deliverable: Deliverable) -> Self {
        Self { cursor: Cursor::by_id(deliverable.id.into()).encode(), node: deliverable.into() }
    }
}
