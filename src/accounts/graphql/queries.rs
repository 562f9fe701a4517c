//! Root fields that read people and skills.

use async_graphql::{Context, Object, Result};

use super::{
    loaders::user,
    objects::{SkillObject, UserObject},
};
use crate::{
    accounts::Accounts,
    graphql::{context::ContextExt, errors::ErrorCode},
};

/// Reads of people.
#[derive(Default)]
pub(crate) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// The signed-in user; null when anonymous.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Option<UserObject>> {
        match ctx.actor().user() {
            Some(id) => user(ctx, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// The skill vocabulary. Public; sorted by name. Retired skills are left out.
    async fn skills(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only skills whose slug or name begins with this, in any case; at most 100 bytes. Null: all."
        )]
        prefix: Option<String>,
        #[graphql(default = 20, desc = "How many, 1 to 100.")] first: i32,
    ) -> Result<Option<Vec<SkillObject>>> {
        let first = u64::try_from(first).ok().filter(|first| (1..=100).contains(first));
        let first = first.ok_or_else(|| ErrorCode::BadUserInput.error("first must be between 1 and 100."))?;
        if prefix.as_ref().is_some_and(|prefix| prefix.len() > 100) {
            return Err(ErrorCode::BadUserInput.error("prefix must have at most 100 bytes."));
        }
        let skills = ctx.get::<Accounts>().skills(prefix.as_deref(), first).await?;
        Ok(Some(skills.into_iter().map(SkillObject).collect()))
    }
}
