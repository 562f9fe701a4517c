//! Indexes of what the clock room finds: OPEN jobs by their deadlines, ACTIVE claims by when they lapse, work under review
//! by when it counts as approved.
//!
//! On `PostgreSQL` they are built beside the writes of the version before, each outside a transaction.

use sea_orm_migration::prelude::*;

use crate::concurrently::create_index;

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const INDEXES: [(&str, &str); 3] = [
    ("jobs_due_idx", "jobs (deadline, id) WHERE status = 'OPEN' AND deadline IS NOT NULL"),
    ("claims_lapse_idx", "claims (expires_at, id) WHERE status = 'ACTIVE' AND expires_at IS NOT NULL"),
    ("claims_review_idx", "claims (auto_approve_at, id) WHERE status = 'IN_REVIEW' AND auto_approve_at IS NOT NULL"),
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
