//! Look-ups of people and skills, batched for each request.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Result, dataloader::Loader};

use super::objects::{EmailOf, SkillObject, SkillsOf, UserObject};
use crate::{
    accounts::{
        Accounts,
        model::{Skill, UserCard},
    },
    error::InternalError,
    graphql::context::ContextExt,
    ids::{SkillId, UserId},
    schema::Loaders,
};

/// Batches look-ups of people.
pub(crate) struct AccountLoader(pub(crate) Accounts);

impl Loader<EmailOf> for AccountLoader {
    type Value = String;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[EmailOf]) -> Result<HashMap<EmailOf, String>, Arc<InternalError>> {
        let users: Vec<UserId> = keys.iter().map(|key| key.0).collect();
        let emails = self.0.emails(&users).await.map_err(Arc::new)?;
        Ok(emails.into_iter().map(|(user, email)| (EmailOf(user), email)).collect())
    }
}

impl Loader<SkillId> for AccountLoader {
    type Value = Skill;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[SkillId]) -> Result<HashMap<SkillId, Skill>, Arc<InternalError>> {
        self.0.skills_by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<UserId> for AccountLoader {
    type Value = UserCard;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[UserId]) -> Result<HashMap<UserId, UserCard>, Arc<InternalError>> {
        self.0.cards(keys).await.map_err(Arc::new)
    }
}

impl Loader<SkillsOf> for AccountLoader {
    type Value = Vec<Skill>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[SkillsOf]) -> Result<HashMap<SkillsOf, Vec<Skill>>, Arc<InternalError>> {
        let users: Vec<UserId> = keys.iter().map(|key| key.0).collect();
        let skills = self.0.skills_of(&users).await.map_err(Arc::new)?;
        Ok(skills.into_iter().map(|(user, skills)| (SkillsOf(user), skills)).collect())
    }
}

/// A user who must exist, since something refers to them.
pub(crate) async fn user(ctx: &Context<'_>, id: UserId) -> Result<UserObject> {
    let card = Box::pin(ctx.get::<Loaders>().accounts().load_one(id)).await?;
    Ok(card.ok_or_else(|| InternalError::corrupt(format!("{id} is missing")))?.into())
}

/// A user by id, if there is one.
pub(crate) async fn find_user(ctx: &Context<'_>, id: UserId) -> Result<Option<UserObject>> {
    Ok(Box::pin(ctx.get::<Loaders>().accounts().load_one(id)).await?.map(Into::into))
}

/// A skill by id, if there is one.
pub(crate) async fn find_skill(ctx: &Context<'_>, id: SkillId) -> Result<Option<SkillObject>> {
    Ok(Box::pin(ctx.get::<Loaders>().accounts().load_one(id)).await?.map(SkillObject))
}
