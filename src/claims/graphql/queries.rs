//! Root fields that read claims and deliverables.

use async_graphql::{Context, ID, Object, Result};

use super::{
    connections::ClaimConnection,
    loaders::visible_claim,
    objects::{ClaimObject, ClaimStatus},
};
use crate::{
    claims::Claims,
    graphql::{
        connections::PageArguments,
        context::{ContextExt, denied, signed_in},
        errors::ErrorCode,
    },
};

/// Reads of claims.
#[derive(Default)]
pub(crate) struct ClaimQuery;

#[Object]
impl ClaimQuery {
    /// One claim. Its freelancer, its job's client and admins.
    async fn claim(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As `Claim.id` gives it; an id of something else finds nothing.")] id: ID,
    ) -> Result<Option<ClaimObject>> {
        signed_in(ctx)?;
        let Ok(id) = id.parse() else { return Ok(None) };
        visible_claim(ctx, id).await
    }

    /// The viewer's claims as a freelancer, or on one of the viewer's own jobs as a client.
    #[expect(clippy::too_many_arguments, reason = "the arguments are the API's")]
    async fn claims(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only claims on this job; on the viewer's own one, everybody's. Null: the viewer's claims on any job."
        )]
        job_id: Option<ID>,
        #[graphql(desc = "Only claims in one of these statuses; null or empty: any.")] status: Option<Vec<ClaimStatus>>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<ClaimConnection>> {
        let actor = signed_in(ctx)?;
        let request = PageArguments { first, after, last, before }.nested()?;
        let missing = |_| ErrorCode::BadUserInput.error("There is no such job. Check the id in jobId.");
        let job = job_id.map(|id| id.parse().map_err(missing)).transpose()?;
        let claims = ctx.get::<Claims>();
        let scope = claims.scope(&actor, actor.signed_in().map_err(denied)?, job).await?;
        let statuses: Vec<_> = status.into_iter().flatten().map(Into::into).collect();
        let page = claims.page(scope, &statuses, request).await?;
        Ok(Some(ClaimConnection::new(page, scope, statuses)))
    }
}
