//! Reading and locking users for the domains above, which see no more of them than a [`UserCard`].
//!
//! The one place from which other domains learn about a row of `users`; `tests/api/architecture.rs` holds that no other
//! domain names the table. What is read `_in` a transaction is read on its connection, the rest from a replica where
//! there is one.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryResult, QuerySelect, Value, sea_query::LockType};

use super::{
    entity::users,
    model::{Skill, UserCard},
    service::Accounts,
};
use crate::{
    auth::actor::Roles,
    clock::Timestamp,
    db::Tx,
    error::InternalError,
    ids::{SkillId, UserId},
};

/// The columns of a card, in their order.
type CardRow = (UserId, String, Option<String>, bool, bool, bool, i32, Timestamp);

/// Where another domain keeps which skills something of its own lists: a table with the columns `skill_id` and `place`.
#[derive(Clone, Copy, Debug)]
pub struct SkillList {
    /// The table's name.
    pub table: &'static str,
    /// Its column with the id of what lists them.
    pub of: &'static str,
}

/// A user and the skills that something of theirs lists.
#[derive(Clone, Debug)]
pub struct CardAndSkills {
    /// The user.
    pub card: UserCard,
    /// Whether the user is suspended.
    pub suspended: bool,
    /// The skills in the order of the list, each merged one as the one that stands for it, once each.
    pub skills: Vec<Skill>,
}

impl Accounts {
    /// The public card of a user.
    pub async fn card(&self, user: UserId) -> Result<Option<UserCard>, InternalError> {
        Ok(users::Entity::find_by_id(user).one(self.db.reader()).await?.map(Into::into))
    }

    /// Locks a user's row until the transaction ends, for a rule about all that they have, and returns their card. Rows that merely refer to the
    /// user may be written meanwhile.
    pub async fn lock_in(&self, tx: &Tx, user: UserId) -> Result<UserCard, InternalError> {
        let row = users::Entity::find_by_id(user).lock(LockType::NoKeyUpdate).one(&**tx).await?;
        row.map(Into::into).ok_or_else(|| InternalError::corrupt(format!("{user} is missing")))
    }

    /// The public card of a user who must exist, inside a transaction.
    pub async fn card_in(&self, tx: &Tx, user: UserId) -> Result<UserCard, InternalError> {
        let row = users::Entity::find_by_id(user).one(&**tx).await?;
        row.map(Into::into).ok_or_else(|| InternalError::corrupt(format!("{user} is missing")))
    }

    /// The public cards of two users who must exist, inside a transaction.
    pub async fn cards_in(&self, tx: &Tx, [one, two]: [UserId; 2]) -> Result<[UserCard; 2], InternalError> {
        let rows = users::Entity::find().filter(users::Column::Id.is_in([one, two])).all(&**tx).await?;
        let card = |user: UserId| {
            let row = rows.iter().find(|row| row.id == user);
            row.cloned().map(Into::into).ok_or_else(|| InternalError::corrupt(format!("{user} is missing")))
        };
        Ok([card(one)?, card(two)?])
    }

    /// The public cards of many users.
    pub async fn cards(&self, users: &[UserId]) -> Result<HashMap<UserId, UserCard>, InternalError> {
        // A tuple is read by the places of its columns, at a fraction of what names cost.
        let rows: Vec<CardRow> = users::Entity::find()
            .select_only()
            .columns([users::Column::Id, users::Column::DisplayName, users::Column::AvatarUrl])
            .columns([users::Column::IsClient, users::Column::IsFreelancer, users::Column::IsAdmin])
            .columns([users::Column::CompletedJobCount, users::Column::CreatedAt])
            .filter(users::Column::Id.is_in(users.to_vec()))
            .into_tuple()
            .all(self.db.reader())
            .await?;
        let card =
            |(id, display_name, avatar_url, client, freelancer, admin, completed_job_count, created_at): CardRow| {
                let roles = Roles { client, freelancer, admin };
                (id, UserCard { id, display_name, avatar_url, roles, completed_job_count, created_at })
            };
        Ok(rows.into_iter().map(card).collect())
    }

    /// Whether a user who must exist is suspended, inside a transaction.
    pub async fn is_suspended_in(&self, tx: &Tx, user: UserId) -> Result<bool, InternalError> {
        let row = users::Entity::find_by_id(user)
            .select_only()
            .column(users::Column::SuspendedAt)
            .into_tuple::<Option<Timestamp>>()
            .one(&**tx)
            .await?;
        Ok(row.ok_or_else(|| InternalError::corrupt(format!("{user} is missing")))?.is_some())
    }

    /// A user who must exist and the skills that something of theirs lists, in one statement: a row for each skill, or one
    /// without.
    pub async fn card_and_skills_in(
        &self,
        tx: &Tx,
        user: UserId,
        SkillList { table, of }: SkillList,
        id: Value,
    ) -> Result<CardAndSkills, InternalError> {
        let sql = format!(
            "SELECT u.display_name, u.avatar_url, u.is_client, u.is_freelancer, u.is_admin, u.completed_job_count, \
             u.created_at, u.suspended_at IS NOT NULL AS suspended, s.id AS skill_id, s.slug, s.name, \
             s.retired_at IS NOT NULL AS retired FROM users u LEFT JOIN {table} l ON l.{of} = ? \
             LEFT JOIN skills w ON w.id = l.skill_id LEFT JOIN skills s ON s.id = COALESCE(w.merged_into, w.id) \
             WHERE u.id = ? ORDER BY l.place"
        );
        let rows = tx.query(&sql, [id, user.into()]).await?;
        let first = rows.first().ok_or_else(|| InternalError::corrupt(format!("{user} is missing")))?;
        let role = |column| first.try_get::<bool>("", column);
        let card = UserCard {
            id: user,
            display_name: first.try_get("", "display_name")?,
            avatar_url: first.try_get("", "avatar_url")?,
            roles: Roles { client: role("is_client")?, freelancer: role("is_freelancer")?, admin: role("is_admin")? },
            completed_job_count: first.try_get("", "completed_job_count")?,
            created_at: first.try_get("", "created_at")?,
        };
        let mut skills: Vec<Skill> = Vec::with_capacity(rows.len());
        for found in rows.iter().filter_map(|row| skill_of(row).transpose()) {
            let found = found?;
            // Two of them may have been merged into one.
            if skills.iter().all(|known| known.id != found.id) {
                skills.push(found);
            }
        }
        Ok(CardAndSkills { card, suspended: first.try_get("", "suspended")?, skills })
    }
}

fn skill_of(row: &QueryResult) -> Result<Option<Skill>, InternalError> {
    let id: Option<SkillId> = row.try_get("", "skill_id")?;
    let Some(id) = id else { return Ok(None) };
    let (slug, name) = (row.try_get("", "slug")?, row.try_get("", "name")?);
    Ok(Some(Skill { id, slug, name, retired: row.try_get("", "retired")? }))
}
