//! The table of inboxes, and the way from its rows to the domain.

use sea_orm::entity::prelude::*;
use uuid::Uuid;

use super::model::{Notification, NotificationKind, Subject};
use crate::{
    clock::Timestamp,
    error::Fault,
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

impl TryFrom<Model> for Notification {
    type Error = Fault;

    fn try_from(row: Model) -> Result<Self, Fault> {
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
