//! Indexes by time, along which retention finds what is past its time without walking what is not.
//!
//! On `PostgreSQL` they are built beside the writes of the version before, which no lock may keep waiting; so each is made
//! outside a transaction, and one that an attempt before this has left half built is made anew.

use sea_orm_migration::prelude::*;

use crate::concurrently::create_index;

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const INDEXES: [(&str, &str); 6] = [
    ("refresh_tokens_expires_idx", "refresh_tokens (expires_at)"),
    ("sessions_ended_idx", "sessions (ended_at) WHERE ended_at IS NOT NULL"),
    ("sessions_no_epoch_idx", "sessions (user_id) WHERE epoch IS NULL AND ended_at IS NULL"),
    ("users_session_epoch_idx", "users (id) WHERE session_epoch > 0"),
    ("idempotency_keys_created_idx", "idempotency_keys (created_at)"),
    ("notifications_read_idx", "notifications (read_at) WHERE read_at IS NOT NULL"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, on) in INDEXES {
            create_index(manager, name, on).await?;
        }
        Ok(())
    }
}
