//! What a notification's words are made of, beside the words.
//!
//! A notification was kept as a sentence; now as its kind and these details, and it is worded when it is read. NULL for
//! those from before, which are read as the sentence that they were kept as. New ones have a sentence as well, for the
//! version of the program that runs beside during a deploy.

use sea_orm_migration::prelude::*;

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE notifications ADD COLUMN details TEXT";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }
}
