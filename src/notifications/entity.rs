//! The table of inboxes, the way from its rows to the domain, and finders that take the scope of the caller.

use sea_orm::{QueryFilter, entity::prelude::*};
use uuid::Uuid;

use super::model::{Notification, NotificationKind, Subject};
use crate::{
    clock::Timestamp,
    error::InternalError,
    ids::{NotificationId, UserId},
};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications")]
#[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: NotificationId,
    pub user_id: UserId,
    pub kind: String,
    pub title: String,
    pub details: Option<String>,
    pub subject_kind: String,
    pub subject_id: Uuid,
    pub created_at: Timestamp,
    pub read_at: Option<Timestamp>,
}

/// None that the code follows.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// In whose inbox a query looks.
pub trait Finders: Sized {
    /// Only in this user's own.
    #[must_use]
    fn of_user(self, user: UserId) -> Self;

    /// Only what was not marked read.
    #[must_use]
    fn unread(self) -> Self;
}

impl Finders for Select<Entity> {
    fn of_user(self, user: UserId) -> Self {
        self.filter(Column::UserId.eq(user))
    }

    fn unread(self) -> Self {
        self.filter(Column::ReadAt.is_null())
    }
}

impl TryFrom<Model> for Notification {
    type Error = InternalError;

    fn try_from(row: Model) -> Result<Self, InternalError> {
        Ok(Self {
            id: row.id,
            user_id: row.user_id,
            kind: NotificationKind::from_column(&row.kind)?,
            title: row.title,
            // What a newer version has written in another shape is read as the sentence beside it.
            details: row.details.and_then(|details| serde_json::from_str(&details).ok()),
            subject: Subject::from_columns(&row.subject_kind, row.subject_id)?,
            created_at: row.created_at,
            read_at: row.read_at,
        })
    }
}
