//! The table of files, and the way from its rows to the domain.
//!
//! Loaders, whose look-ups many viewers share, find by id alone; who may see a file is decided where it is shown.

use sea_orm::entity::prelude::*;
use uuid::Uuid;

use super::model::{File, FileStatus};
use crate::{
    clock::Timestamp,
    error::InternalError,
    ids::{FileId, UserId},
};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "files")]
#[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: FileId,
    pub owner_id: UserId,
    pub name: String,
    pub content_type: String,
    pub byte_size: i64,
    pub sha256: String,
    pub status: String,
    pub rejection: Option<String>,
    pub created_at: Timestamp,
    pub ready_at: Option<Timestamp>,
    pub attempt: i32,
    pub leased_until: Option<Timestamp>,
    pub used_as: Option<String>,
    pub used_by: Option<Uuid>,
    pub place: Option<i32>,
    pub remove_due_at: Option<Timestamp>,
}

/// None that the code follows.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for File {
    type Error = InternalError;

    fn try_from(row: Model) -> Result<Self, InternalError> {
        Ok(Self {
            id: row.id,
            owner_id: row.owner_id,
            name: row.name,
            content_type: row.content_type,
            byte_size: row.byte_size,
            sha256: row.sha256,
            status: FileStatus::from_column(&row.status)?,
            rejection: row.rejection,
            created_at: row.created_at,
            attempt: row.attempt,
            leased_until: row.leased_until,
            used_by: row.used_by,
        })
    }
}
