//! The tables that show the ledger to users, the way from their rows to the domain, and finders that take the scope of
//! the caller.

/// `wallets`
pub mod wallets {
    use sea_orm::entity::prelude::*;

    use crate::{clock::Timestamp, ids::WalletId, money::Money, wallet::model::Wallet};

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "wallets")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: WalletId,
        pub version: i64,
        pub available_minor: Money,
        pub in_escrow_minor: Money,
        pub pending_in_minor: Money,
        pub pending_out_minor: Money,
        pub updated_at: Timestamp,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl From<Model> for Wallet {
        fn from(row: Model) -> Self {
            Self {
                id: row.id,
                version: row.version,
                available: row.available_minor,
                in_escrow: row.in_escrow_minor,
                pending_in: row.pending_in_minor,
                pending_out: row.pending_out_minor,
                updated_at: row.updated_at,
            }
        }
    }
}

/// `transactions`
pub mod transactions {
    use sea_orm::{QueryFilter, QuerySelect, entity::prelude::*};
    use uuid::Uuid;

    use crate::{
        clock::Timestamp,
        error::InternalError,
        ids::{JournalId, TransactionId, WalletId},
        money::Money,
        wallet::model::{Transaction, TransactionRecord, TransactionStatus, TransactionType},
    };

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "transactions")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: TransactionId,
        pub version: i64,
        pub wallet_id: WalletId,
        #[sea_orm(column_name = "type")]
        pub kind: String,
        pub status: String,
        pub amount_minor: Money,
        pub available_after_minor: Money,
        pub fee_minor: Option<Money>,
        pub reference_id: Option<Uuid>,
        pub journal_id: Option<JournalId>,
        pub settlement_journal_id: Option<JournalId>,
        pub reverses_id: Option<TransactionId>,
        pub destination: Option<String>,
        pub settle_due_at: Option<Timestamp>,
        pub created_at: Timestamp,
        pub settled_at: Option<Timestamp>,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    /// In whose history a query looks, and whether it locks what it finds.
    pub trait Finders: Sized {
        /// Only in this wallet's.
        #[must_use]
        fn of_wallet(self, wallet: WalletId) -> Self;

        /// Locks them until the transaction ends.
        #[must_use]
        fn locked(self) -> Self;
    }

    impl Finders for Select<Entity> {
        fn of_wallet(self, wallet: WalletId) -> Self {
            self.filter(Column::WalletId.eq(wallet))
        }

        fn locked(self) -> Self {
            self.lock_exclusive()
        }
    }

    impl TryFrom<Model> for Transaction {
        type Error = InternalError;

        fn try_from(row: Model) -> Result<Self, InternalError> {
            TransactionRecord {
                id: row.id,
                version: row.version,
                wallet_id: row.wallet_id,
                kind: TransactionType::from_column(&row.kind)?,
                status: TransactionStatus::from_column(&row.status)?,
                amount: row.amount_minor,
                available_after: row.available_after_minor,
                fee: row.fee_minor,
                reference: row.reference_id,
                reverses: row.reverses_id,
                created_at: row.created_at,
                settled_at: row.settled_at,
            }
            .try_into()
        }
    }
}
