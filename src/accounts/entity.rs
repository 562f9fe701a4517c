//! The tables of accounts, and the way from their rows to the domain.

/// `users`
pub mod users {
    use sea_orm::entity::prelude::*;

    use crate::{accounts::model::UserCard, auth::actor::Roles, clock::Timestamp, ids::UserId};

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: UserId,
        pub email: String,
        pub display_name: String,
        pub avatar_url: Option<String>,
        pub is_client: bool,
        pub is_freelancer: bool,
        pub is_admin: bool,
        pub password_hash: String,
        pub completed_job_count: i32,
        pub suspended_at: Option<Timestamp>,
        pub created_at: Timestamp,
        pub updated_at: Timestamp,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl From<Model> for UserCard {
        fn from(row: Model) -> Self {
            Self {
                id: row.id,
                display_name: row.display_name,
                avatar_url: row.avatar_url,
                roles: Roles { client: row.is_client, freelancer: row.is_freelancer, admin: row.is_admin },
                completed_job_count: row.completed_job_count,
                created_at: row.created_at,
            }
        }
    }
}

/// `skills`
pub mod skills {
    use sea_orm::entity::prelude::*;

    use crate::{accounts::model::Skill, clock::Timestamp, ids::SkillId};

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "skills")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: SkillId,
        pub slug: String,
        pub name: String,
        pub retired_at: Option<Timestamp>,
        pub merged_into: Option<SkillId>,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl From<Model> for Skill {
        fn from(row: Model) -> Self {
            Self { id: row.id, slug: row.slug, name: row.name, retired: row.retired_at.is_some() }
        }
    }
}

/// `user_skills`
pub mod user_skills {
    use sea_orm::entity::prelude::*;

    use super::skills;
    use crate::ids::{SkillId, UserId};

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "user_skills")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: UserId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub skill_id: SkillId,
    }

    /// To the vocabulary.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        /// The skill.
        #[sea_orm(belongs_to = "super::skills::Entity", from = "Column::SkillId", to = "super::skills::Column::Id")]
        Skill,
    }

    impl Related<skills::Entity> for Entity {
        fn to() -> RelationDef {
            Relation::Skill.def()
        }
    }

    impl ActiveModelBehavior for ActiveModel {}
}
