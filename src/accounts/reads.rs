//! Reads of many accounts at once; public fields come with cards ([`cards`](super::cards)).

use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{
    entity::{skills, user_skills, users},
    model::Skill,
    service::Accounts,
};
use crate::{error::InternalError, ids::UserId};

impl Accounts {
    /// The emails of many users, for a loader whose caller checked who may know them.
    pub async fn emails(&self, users: &[UserId]) -> Result<HashMap<UserId, String>, InternalError> {
        let rows: Vec<(UserId, String)> = users::Entity::find()
            .select_only()
            .columns([users::Column::Id, users::Column::Email])
            .filter(users::Column::Id.is_in(users.to_vec()))
            .into_tuple()
            .all(self.db.reader())
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// The skills of many users, by name.
    pub async fn skills_of(&self, users: &[UserId]) -> Result<HashMap<UserId, Vec<Skill>>, InternalError> {
        let rows = user_skills::Entity::find()
            .find_also_related(skills::Entity)
            .filter(user_skills::Column::UserId.is_in(users.to_vec()))
            .order_by_asc(skills::Column::Name)
            .all(self.db.reader())
            .await?;
        let rows = rows.into_iter().filter_map(|(link, skill)| skill.map(|skill| (link.user_id, skill))).collect();
        self.with_merged(self.db.reader(), rows).await
    }

    /// Whether nobody has an account yet.
    pub async fn is_empty(&self) -> Result<bool, InternalError> {
        Ok(users::Entity::find()
            .select_only()
            .column(users::Column::Id)
            .into_tuple::<UserId>()
            .one(self.db.reader())
            .await?
            .is_none())
    }
}
