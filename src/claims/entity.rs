//! The tables of claims, the way from their rows to the domain, and finders that take the scope of the caller.
//!
//! Loaders, whose look-ups many viewers share, find by id alone; what they find is judged by
//! [`Claim::is_visible_to`](super::model::Claim::is_visible_to).

/// `claims`
pub mod claims {
    use sea_orm::{
        ActiveValue::{NotSet, Set},
        QueryFilter, QuerySelect,
        entity::prelude::*,
        sea_query::LockType,
    };

    use crate::{
        claims::model::{Claim, ClaimRecord, ClaimStatus},
        clock::Timestamp,
        error::InternalError,
        ids::{ClaimId, JobId, UserId},
    };

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "claims")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: ClaimId,
        pub version: i64,
        pub job_id: JobId,
        pub freelancer_id: UserId,
        pub status: String,
        pub fee_basis_points: i32,
        pub created_at: Timestamp,
        pub expires_at: Option<Timestamp>,
        pub auto_approve_at: Option<Timestamp>,
        pub ended_at: Option<Timestamp>,
        pub end_reason: Option<String>,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    /// Whose claims a query finds, and whether it locks them.
    pub trait Finders: Sized {
        /// Only this freelancer's own.
        #[must_use]
        fn of_freelancer(self, freelancer: UserId) -> Self;

        /// Only those on this job.
        #[must_use]
        fn on_job(self, job: JobId) -> Self;

        /// Only those that hold a job.
        #[must_use]
        fn live(self) -> Self;

        /// Locks them until the transaction ends. Their jobs come first.
        #[must_use]
        fn locked(self) -> Self;
    }

    impl Finders for Select<Entity> {
        fn of_freelancer(self, freelancer: UserId) -> Self {
            self.filter(Column::FreelancerId.eq(freelancer))
        }

        fn on_job(self, job: JobId) -> Self {
            self.filter(Column::JobId.eq(job))
        }

        fn live(self) -> Self {
            self.filter(Column::Status.is_in(ClaimStatus::live().map(ClaimStatus::as_str)))
        }

        fn locked(self) -> Self {
            self.lock(LockType::NoKeyUpdate)
        }
    }

    impl TryFrom<Model> for Claim {
        type Error = InternalError;

        fn try_from(row: Model) -> Result<Self, InternalError> {
            ClaimRecord {
                id: row.id,
                version: row.version,
                job_id: row.job_id,
                freelancer_id: row.freelancer_id,
                status: ClaimStatus::from_column(&row.status)?,
                fee_basis_points: u16::try_from(row.fee_basis_points).map_err(InternalError::corrupt)?,
                created_at: row.created_at,
                expires_at: row.expires_at,
                auto_approve_at: row.auto_approve_at,
                ended_at: row.ended_at,
                end_reason: row.end_reason,
            }
            .try_into()
        }
    }

    /// What may change about a claim. A column that is set to the value that it has is written on `SQLite`, and with it
    /// each index that it stands in.
    pub fn changes(claim: Claim) -> ActiveModel {
        ActiveModel {
            id: NotSet,
            job_id: NotSet,
            freelancer_id: NotSet,
            fee_basis_points: NotSet,
            created_at: NotSet,
            ..claim.into()
        }
    }

    impl From<Claim> for ActiveModel {
        fn from(claim: Claim) -> Self {
            let claim = ClaimRecord::from(claim);
            Self {
                id: Set(claim.id),
                version: Set(claim.version),
                job_id: Set(claim.job_id),
                freelancer_id: Set(claim.freelancer_id),
                status: Set(claim.status.as_str().to_owned()),
                fee_basis_points: Set(claim.fee_basis_points.into()),
                created_at: Set(claim.created_at),
                expires_at: Set(claim.expires_at),
                auto_approve_at: Set(claim.auto_approve_at),
                ended_at: Set(claim.ended_at),
                end_reason: Set(claim.end_reason),
            }
        }
    }
}

/// `deliverables`
pub mod deliverables {
    use sea_orm::{
        ActiveValue::{NotSet, Set},
        entity::prelude::*,
    };

    use crate::{
        claims::model::{Deliverable, DeliverableRecord, DeliverableStatus},
        clock::Timestamp,
        error::InternalError,
        ids::{ClaimId, DeliverableId},
    };

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "deliverables")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: DeliverableId,
        pub claim_id: ClaimId,
        pub number: i32,
        pub status: String,
        pub note: String,
        pub revision_note: Option<String>,
        pub submitted_at: Timestamp,
        pub reviewed_at: Option<Timestamp>,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl TryFrom<Model> for Deliverable {
        type Error = InternalError;

        fn try_from(row: Model) -> Result<Self, InternalError> {
            let record = DeliverableRecord {
                id: row.id,
                claim_id: row.claim_id,
                number: row.number,
                status: DeliverableStatus::from_column(&row.status)?,
                note: row.note,
                revision_note: row.revision_note,
                submitted_at: row.submitted_at,
                reviewed_at: row.reviewed_at,
            };
            Ok(record.into())
        }
    }

    /// What may change about a submission.
    pub fn changes(deliverable: Deliverable) -> ActiveModel {
        ActiveModel {
            id: NotSet,
            claim_id: NotSet,
            number: NotSet,
            note: NotSet,
            submitted_at: NotSet,
            ..deliverable.into()
        }
    }

    impl From<Deliverable> for ActiveModel {
        fn from(deliverable: Deliverable) -> Self {
            let deliverable = DeliverableRecord::from(deliverable);
            Self {
                id: Set(deliverable.id),
                claim_id: Set(deliverable.claim_id),
                number: Set(deliverable.number),
                status: Set(deliverable.status.as_str().to_owned()),
                note: Set(deliverable.note),
                revision_note: Set(deliverable.revision_note),
                submitted_at: Set(deliverable.submitted_at),
                reviewed_at: Set(deliverable.reviewed_at),
            }
        }
    }
}
