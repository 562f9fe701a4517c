//! Indexes by which a reader of the log comes from one event to the next that is meant for them, whatever lies between.
//!
//! Of the events of jobs, most are for everybody; the others each have an owner, and those of claims a claimant besides.
//! `SQLite` ends each entry of an index with the row's id, which is the position.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::concurrently::create_index;

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const JOBS: &str = "kind IN ('JOB_POSTED', 'JOB_UPDATED')";
const OWN: &str = "kind IN ('DRAFT_UPDATED', 'CLAIM_UPDATED', 'WALLET_UPDATED', 'NOTIFICATION_RECEIVED')";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (position, and_position) = match manager.get_database_backend() {
            DbBackend::Sqlite => ("id", ""),
            _ => ("position", ", position"),
        };
        let jobs = format!("events ({position}) WHERE {JOBS}");
        create_index(manager, "events_jobs_idx", &jobs).await?;
        create_index(manager, "events_owner_idx", &format!("events (owner_id, kind{and_position}) WHERE {OWN}"))
            .await?;
        let claimant = format!("events (claimant_id{and_position}) WHERE kind = 'CLAIM_UPDATED'");
        create_index(manager, "events_claimant_idx", &claimant).await
    }
}
