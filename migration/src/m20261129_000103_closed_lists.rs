//! Closed lists that grow without a copy of their table, on `SQLite`: the kinds of events, of notifications and of what
//! these are about, and of journals.
//!
//! Their CHECKs go, and triggers hold the same words: see [`lists`](crate::lists). No row is touched, so positions, chains
//! and seals stay what they are. The version before is refused in the same words. On `PostgreSQL` nothing changes.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::lists::{Listed, close, drop_check};

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

const LISTS: [(Listed, &[&str]); 4] = [
    (
        Listed { table: "events", column: "kind", name: "events_kind_check" },
        &[
            "JOB_POSTED",
            "JOB_UPDATED",
            "DRAFT_UPDATED",
            "CLAIM_UPDATED",
            "WALLET_UPDATED",
            "NOTIFICATION_RECEIVED",
            "SESSION_ENDED",
            "RIGHTS_CHANGED",
        ],
    ),
    (
        Listed { table: "notifications", column: "kind", name: "notifications_kind_check" },
        &[
            "JOB_CLAIMED",
            "CLAIM_RELEASED",
            "WORK_SUBMITTED",
            "REVISION_REQUESTED",
            "WORK_APPROVED",
            "PAYMENT_RECEIVED",
            "JOB_CANCELLED",
            "JOB_EXPIRED",
            "DISPUTE_OPENED",
            "DISPUTE_RESOLVED",
        ],
    ),
    (
        Listed { table: "notifications", column: "subject_kind", name: "notifications_subject_check" },
        &["JOB", "CLAIM", "TRANSACTION"],
    ),
    (
        Listed { table: "journals", column: "kind", name: "journals_kind_check" },
        &[
            "DEPOSIT",
            "WITHDRAWAL_RESERVE",
            "WITHDRAWAL_SETTLE",
            "WITHDRAWAL_VOID",
            "ESCROW_HOLD",
            "ESCROW_RELEASE",
            "ESCROW_REFUND",
            "REVERSAL",
        ],
    ),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        for (listed, words) in LISTS {
            drop_check(manager, listed).await?;
            close(manager, listed, words).await?;
        }
        Ok(())
    }
}
